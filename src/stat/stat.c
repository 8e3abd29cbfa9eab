/*-------------------------------------------------------------------------
 *
 * stat.c
 *		Counting calls and what became of them.
 *
 * A call adds up in its own memory what it has to say: outcomes of items, waits.  When
 * it ends, that goes to the counters in shared memory (memory.c).  If it ends with an
 * error, the error is its only outcome.
 *
 * A call counts when it ends, not when its transaction commits: what is rolled back
 * later stays counted.  The counters are for seeing how the system does, and never for
 * accounting.
 *
 * A call may run within another one: idem_pay() in a trigger, say, or in the command of
 * idem_execute().  Each counts for itself, and so do their waits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "portability/instr_time.h"

#include "errors.h"
#include "stat/memory.h"
#include "stat/session.h"
#include "stat/stat.h"

/* A function: its name, and whether a call of it is for a single request. */
typedef struct CountedFunction
{
	const char *name;
	bool		single;
} CountedFunction;

static const CountedFunction functions[N_STAT_FUNCTIONS] = {
	[STAT_PAY] = {"idem_pay", true},
	[STAT_AUTHORIZE] = {"idem_authorize", true},
	[STAT_INCREASE] = {"idem_increase", true},
	[STAT_CAPTURE] = {"idem_capture", true},
	[STAT_VOID] = {"idem_void", true},
	[STAT_REFUND] = {"idem_refund", true},
	[STAT_CANCEL] = {"idem_cancel", true},
	[STAT_POST] = {"idem_post", true},
	[STAT_PAY_BATCH] = {"idem_pay_batch", false},
	[STAT_CAPTURE_BATCH] = {"idem_capture_batch", false},
	[STAT_REFUND_BATCH] = {"idem_refund_batch", false},
	[STAT_EXPIRE] = {"idem_expire", false},
	[STAT_BEGIN] = {"idem_begin", true},
	[STAT_COMPLETE] = {"idem_complete", true},
	[STAT_FAIL] = {"idem_fail", true},
	[STAT_RELEASE] = {"idem_release", true},
	[STAT_CHECKPOINT] = {"idem_checkpoint", true},
	[STAT_RENEW] = {"idem_renew", true},
	[STAT_EXECUTE] = {"idem_execute", true},
	[STAT_PURGE] = {"idem_purge", false},
	[STAT_RELAY] = {"idem_relay", false},
	[STAT_ACCOUNT_OPEN] = {"idem_account_open", true},
	[STAT_ACCOUNT_CHANGE] = {"idem_account_change", true},
};

/* The counter of waits of each kind; the next counter has their time. */
static const StatCounter wait_counters[] = {
	[STAT_WAIT_KEY] = STAT_WAITS,
	[STAT_WAIT_PAYMENT] = STAT_WAITS,
	[STAT_WAIT_ACCOUNT] = STAT_WAITS,
	[STAT_WAIT_DURABILITY] = STAT_DURABILITY_WAITS,
};

/* A call that runs. */
typedef struct Call
{
	struct Call *outer;			/* the call that it runs in */
	bool		noted;			/* has it noted an outcome? */
	int64		counts[N_STAT_COUNTERS];
} Call;

/* The innermost call; NULL if none runs. */
static Call *current = NULL;

/* What this session waits for now.  It may do so in a call that is not counted. */
static struct
{
	bool		goes_on;		/* does it wait? */
	StatWait	kind;			/* for what? */
	Call	   *call;			/* in which call? NULL: in none */
	instr_time	start;			/* since when? */
	TimestampTz first;			/* since when does the call wait for that? */
}			wait;

static void end_call(StatFunction function, Call *call, StatCounter outcome);
static void end_at_abort(XactEvent event, void *arg);
static void end_at_abort_sub(SubXactEvent event, SubTransactionId mine,
							 SubTransactionId parent, void *arg);

const char *
stat_function_name(StatFunction function)
{
	return functions[function].name;
}

Datum
stat_call(StatFunction function, PGFunction body, FunctionCallInfo fcinfo)
{
	Call		call = {.outer = current};
	Datum		result;

	stat_memory_attach();
	current = &call;
	PG_TRY();
	{
		result = body(fcinfo);
	}
	PG_CATCH();
	{
		memset(call.counts, 0, offsetof(Call, counts[STAT_WAITS]) - offsetof(Call, counts));
		end_call(function, &call, stat_outcome_of_error(geterrcode()));
		PG_RE_THROW();
	}
	PG_END_TRY();

	if (!call.noted && functions[function].single)
		end_call(function, &call, STAT_NEW);
	else
		end_call(function, &call, STAT_CALLS);
	return result;
}

void
stat_note(StatCounter outcome, int64 n)
{
	if (current == NULL)
		return;
	current->counts[outcome] += n;
	current->noted = true;
}

void
stat_wait_begin(StatWait kind)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(end_at_abort, NULL);
		RegisterSubXactCallback(end_at_abort_sub, NULL);
		registered = true;
	}

	/* A wait for an account is many short ones.  What counts is the first. */
	if (current == NULL || wait.call != current || wait.kind != kind)
		wait.first = GetCurrentTimestamp();
	wait.goes_on = true;
	wait.kind = kind;
	wait.call = current;
	INSTR_TIME_SET_CURRENT(wait.start);
	session_set_waiting(wait.first, kind);
}

void
stat_wait_end(void)
{
	StatCounter counter = wait_counters[wait.kind];
	instr_time	now;

	wait.goes_on = false;
	session_set_waiting(0, wait.kind);
	if (wait.call == NULL)
		return;
	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, wait.start);
	wait.call->counts[counter] = 1; /* however often it has waited */
	wait.call->counts[counter + 1] += INSTR_TIME_GET_MICROSEC(now);
}

void
stat_add(StatFunction function, StatCounter counter, int64 n)
{
	stat_memory_attach();
	stat_memory_add(function, counter, n);
}

StatCounter
stat_outcome_of_error(int sqlstate)
{
	if (ERRCODE_TO_CATEGORY(sqlstate) == ERRORS_CLASS_PT)
		sqlstate += ERRORS_CLASS_ID - ERRORS_CLASS_PT;
	switch (sqlstate)
	{
		case ERRCODE_IDEM_IN_FLIGHT:
		case ERRCODE_LOCK_NOT_AVAILABLE:
			return STAT_IN_FLIGHT;
		case ERRCODE_IDEM_DIFFERENT_REQUEST:
			return STAT_MISMATCH;
		case ERRCODE_IDEM_NOT_ENOUGH:
		case ERRCODE_IDEM_STATE:
			return STAT_DECLINED;
		case ERRCODE_T_R_SERIALIZATION_FAILURE:
		case ERRCODE_T_R_DEADLOCK_DETECTED:
			return STAT_CONFLICT;
		default:
			return STAT_FAILED;
	}
}

/*
 * A call has ended: count it, one more outcome, and all that it has noted.
 */
static void
end_call(StatFunction function, Call *call, StatCounter outcome)
{
	if (wait.call == call)
	{
		if (wait.goes_on)
			stat_wait_end();
		wait.call = NULL;
	}
	current = call->outer;
	call->counts[STAT_CALLS] = 1;
	if (outcome != STAT_CALLS)
		call->counts[outcome] = 1;
	for (int i = 0; i < N_STAT_COUNTERS; i++)
	{
		if (call->counts[i] != 0)
			stat_memory_add(function, i, call->counts[i]);
	}
}

/*
 * A wait has ended with an error that is caught, in a function that is not counted, or
 * in no call.
 */
static void
end_at_abort(XactEvent event, void *arg)
{
	if (wait.goes_on && (event == XACT_EVENT_ABORT || event == XACT_EVENT_PARALLEL_ABORT))
		stat_wait_end();
}

static void
end_at_abort_sub(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
				 void *arg)
{
	if (wait.goes_on && event == SUBXACT_EVENT_ABORT_SUB)
		stat_wait_end();
}
