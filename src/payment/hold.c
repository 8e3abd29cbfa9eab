/*-------------------------------------------------------------------------
 *
 * hold.c
 *		The list of holds, by which those that expire are found.
 *
 * idem_expire(max_holds)
 *
 * An expired hold cannot be captured, whether it has been released or not
 * (state.c).  But only an operation changes a payment's totals.  Until one releases
 * the hold, reports that add up these totals count the hold.
 *
 * The list is the table idempotency.hold.  It has a row for each authorization.
 * idem_expire() goes through the rows that are due, in their order, and deletes
 * them.  If something is left of a hold, it stores the operation "expire", which
 * releases it.
 *
 * The list is a table of its own.  An index on idempotency.operation would cost
 * every payment something; this table costs authorizations only, and stays small.
 * A capture does not touch it.  The row of a payment with nothing left to release
 * is deleted when it is due.
 *
 * A hold is due when it expires.  If it cannot be released then, it is put off:
 * its row is deleted, and inserted again with a later due_at.  So each sweep
 * gets further, however many holds it cannot release.  A hold is put off
 *
 * - while another transaction works on the payment, or changes its account, since a
 *   sweep waits for no transaction to end;
 * - if its release fails, because a trigger refuses it or somebody has changed
 *   rows by hand;
 * - if the payment expires later than the list says.  Its newest operation counts.
 *
 * In the last case, the hold is due at that later time.  In the others, the delay
 * is the time since it expired: at least a minute, at most a day.  So a hold that
 * keeps failing is tried less and less often, and no number of attempts is stored.
 *
 * Two sweeps may run at the same time.  The one that deletes a row has the hold.
 * The other does not wait: it sees that the row is deleted, and goes on to the next
 * one.  It does not insert the row again.  That is why the row is deleted first,
 * outside the subtransaction in which the release may fail.
 *
 * The operation belongs to the role that started the payment, whoever calls
 * idem_expire().  Its key is made from that of the authorization.  It is used
 * only with the payment claimed, so it needs no claim of its own.
 *
 * The whole sweep is tried in one subtransaction first: one for each hold would
 * cost more than the release.  If that fails, the sweep starts again, with a
 * subtransaction for each hold.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "call.h"
#include "claim/claim.h"
#include "errors.h"
#include "key.h"
#include "money/money.h"
#include "payment/hold.h"
#include "payment/movement.h"
#include "payment/state.h"
#include "stat/stat.h"
#include "subtransaction.h"
#include "table/store.h"

STAT_FUNCTION(idem_expire, STAT_EXPIRE);

#define COMMAND			"idem_expire()"

/* For how long a hold is put off, in microseconds. */
#define PUT_OFF_MIN		USECS_PER_MINUTE
#define PUT_OFF_MAX		USECS_PER_DAY

/* What became of a hold. */
typedef enum HoldState
{
	HOLD_STUCK,					/* it could not be released now */
	HOLD_EXPIRES_LATER,			/* than the list said */
	HOLD_DONE					/* it was released, or nothing was left */
} HoldState;

/* A row of the list, and what became of it. */
typedef struct Hold
{
	TimestampTz due_at;
	TimestampTz expires_at;
	pg_uuid_t	payment_id;
	text	   *scope;
	text	   *key;			/* the authorization's */
	HoldState	state;
	bool		released;		/* was anything left to release? */
} Hold;

/* One call of idem_expire(). */
typedef struct Sweep
{
	TimestampTz until;			/* holds that were due by then */
	int			most;			/* how many holds to look at */
	bool		careful;		/* is each in a subtransaction of its own? */
	bool		started;		/* was a hold found? */
	int			done;			/* how many holds have been looked at */
	int			released;		/* how many have been released */
	int			failed;			/* how many releases raised an error */
	/* of the first of those errors: */
	pg_uuid_t	payment_id;
	int			sqlstate;
	char	   *message;
	MemoryContext context;		/* of the message */
} Sweep;

static int	expire(int most);
static void sweep(void *arg);
static void take_hold(Hold *hold, Store *holds);
static void deal_with(Sweep *s, Hold *hold);
static ErrorData *attempt(const Sweep *s, void (*work) (void *arg), Hold *hold);
static void note_failure(Sweep *s, const Hold *hold, const ErrorData *error);
static void warn_of_failures(const Sweep *s);
static void release_hold(void *arg);
static void put_off(void *arg);
static void insert_hold(const Hold *hold);

void
hold_add(const Operation *op)
{
	Hold		hold = {
		.due_at = DatumGetTimestampTz(operation_value(op, expires_at)),
		.expires_at = DatumGetTimestampTz(operation_value(op, expires_at)),
		.payment_id = *DatumGetUUIDP(operation_value(op, payment_id)),
		.scope = DatumGetTextPP(operation_value(op, scope)),
		.key = DatumGetTextPP(operation_value(op, key)),
	};

	insert_hold(&hold);
}

/*
 * idem_expire: release what expired authorizations still hold.
 *
 * max_holds: how many to look at, at most; not NULL, and above zero.
 *
 * Result: how many holds it has looked at.  Each was released, put off, or had
 * nothing left.  If releases raised an error, a warning has their number and the
 * error of the first.
 *
 * Errors: 22004 if max_holds is NULL; 22023 if it is not above zero; 25000 in a parallel operation;
 * 25006 in a read-only transaction or on a standby; 40001 at REPEATABLE READ and
 * SERIALIZABLE; 55P03, 40P01 and 57014 from waiting; those of catalog_open().
 */
static Datum
idem_expire_call(PG_FUNCTION_ARGS)
{
	int			most;

	call_not_null(ARG_IS_NULL(0), "max_holds");
	most = PG_GETARG_INT32(0);
	if (most <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_holds must be greater than zero")));
	PG_RETURN_INT32(expire(most));
}

/*
 * Look at the holds that are due, at most this many.  Returns how many it has looked
 * at.
 */
static int
expire(int most)
{
	Sweep		s = {
		.until = GetCurrentTimestamp(),
		.most = most,
		.context = CurrentMemoryContext,
	};
	ErrorData  *error;

	PreventCommandIfParallelMode(COMMAND);
	PreventCommandIfReadOnly(COMMAND);
	PreventCommandDuringRecovery(COMMAND);

	error = subtransaction_try(sweep, &s);
	if (error == NULL)
	{
		stat_note(STAT_NEW, s.released);
		return s.done;
	}
	if (!s.started || !subtransaction_own_error(error))
		ReThrowError(error);
	FreeErrorData(error);
	s.careful = true;
	s.done = 0;
	s.released = 0;
	sweep(&s);
	stat_note(STAT_NEW, s.released);
	stat_note(STAT_FAILED, s.failed);
	if (s.failed > 0)
		warn_of_failures(&s);
	return s.done;
}

/*
 * Go through the holds that are due.
 */
static void
sweep(void *arg)
{
	Sweep	   *s = arg;
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "idempotency hold",
													  ALLOCSET_DEFAULT_SIZES);
	Store		holds;
	bool		found;

	/* a new snapshot: the statement may have called idem_expire() before */
	PushActiveSnapshot(GetTransactionSnapshot());
	store_open(&holds, TABLE_HOLD);
	store_prepare_write(&holds);
	for (found = store_find_until(&holds, s->until, ForwardScanDirection);
		 found && s->done < s->most;
		 found = store_find_next(&holds))
	{
		MemoryContext old_context;
		Hold		hold;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(row_context);
		old_context = MemoryContextSwitchTo(row_context);
		s->started = true;
		take_hold(&hold, &holds);
		if (store_delete(&holds))	/* false: another sweep has it */
		{
			store_pause(&holds);	/* before what may wait */
			deal_with(s, &hold);
			s->done++;
		}
		MemoryContextSwitchTo(old_context);
	}
	store_close(&holds);
	PopActiveSnapshot();
	MemoryContextDelete(row_context);
}

/*
 * Copy the row that has been found, before it is deleted.
 */
static void
take_hold(Hold *hold, Store *holds)
{
	hold->due_at = DatumGetTimestampTz(store_get(holds, Anum_hold_due_at));
	hold->expires_at = DatumGetTimestampTz(store_get(holds, Anum_hold_expires_at));
	hold->payment_id = *DatumGetUUIDP(store_get(holds, Anum_hold_payment_id));
	hold->scope = DatumGetTextPCopy(store_get(holds, Anum_hold_scope));
	hold->key = DatumGetTextPCopy(store_get(holds, Anum_hold_key));
	hold->state = HOLD_STUCK;
	hold->released = false;
}

/*
 * Release a hold whose row has been deleted, or put it off.
 */
static void
deal_with(Sweep *s, Hold *hold)
{
	ErrorData  *error = attempt(s, release_hold, hold);

	if (error)
		note_failure(s, hold, error);
	else if (hold->released)
		s->released++;
	if (hold->state == HOLD_DONE)
		return;

	error = attempt(s, put_off, hold);
	/* listed twice, by hand: it is on the list already */
	if (error && error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
		ReThrowError(error);
}

/*
 * Run release_hold() or put_off().  A careful sweep runs it in a subtransaction and
 * returns its error, or NULL.  Errors that are not about this hold are raised.
 */
static ErrorData *
attempt(const Sweep *s, void (*work) (void *arg), Hold *hold)
{
	ErrorData  *error;

	if (!s->careful)
	{
		work(hold);
		return NULL;
	}
	error = subtransaction_try(work, hold);
	if (error && !subtransaction_own_error(error))
		ReThrowError(error);
	return error;
}

/*
 * Count a hold whose release has failed, and keep the error of the first.
 */
static void
note_failure(Sweep *s, const Hold *hold, const ErrorData *error)
{
	if (s->failed++ > 0)
		return;
	s->payment_id = hold->payment_id;
	s->sqlstate = errors_sqlstate(error);
	s->message = MemoryContextStrdup(s->context,
									 error->message ? error->message : "");
}

/*
 * Report the failures: one warning for all of them, so that they do not fill the
 * log.
 */
static void
warn_of_failures(const Sweep *s)
{
	const char *payment_id = DatumGetCString(DirectFunctionCall1(uuid_out,
																 UUIDPGetDatum(&s->payment_id)));

	ereport(WARNING,
			(errcode(s->sqlstate),
			 errmsg("could not release %d of %d holds that are due", s->failed, s->done),
			 errdetail("The first failure was that of payment %s, with SQLSTATE %s and message \"%s\".",
					   payment_id, unpack_sql_state(s->sqlstate), s->message),
			 errhint("idem_expire() tries each hold again after the time in column \"due_at\" of table \"idempotency.hold\".")));
}

/*
 * Release what is left of a hold, if it has expired and no other transaction works
 * on the payment.  Sets the hold's state, and when it expires.
 */
static void
release_hold(void *arg)
{
	Hold	   *hold = arg;
	Key			authorization = {.scope = hold->scope, .key = hold->key};
	Key			own_key = key_with_prefix(KEY_EXPIRE_PREFIX, &authorization);
	OperationArgs args = {.kind = OPERATION_EXPIRE};
	HoldState	state = HOLD_STUCK;
	bool		released = false;
	TimestampTz expires_at = hold->expires_at;
	Store		store;
	Ledger		ledger = {.dont_wait = true};
	Claim		claim;

	store_open(&store, TABLE_OPERATION);
	claim_init(&claim, &store, &own_key);
	if (claim_idle_payment(&claim, hold->scope, &hold->payment_id, COMMAND))
	{
		state = HOLD_DONE;
		if (claim_has_payment(&claim))	/* false: it was deleted by hand */
		{
			Operation	newest;
			Operation	op;

			operation_from_slot(&newest, claim_slot(&claim));
			operation_follow(&op, &newest, &own_key, &args);
			operation_give_to_owner(&op);
			if (state_apply(&op, &args) == NULL)
			{
				operation_assert_valid(&op, &newest);
				/* no limit can forbid it, so there is nothing to wait for */
				refusal_raise(movement_make(&ledger, &op, &newest));
				Assert(!ledger_must_wait(&ledger));
				if (ledger.gave_up)
					state = HOLD_STUCK;
				else
				{
					claim_insert(&claim, op.values, op.nulls);
					released = true;
				}
			}
			else if (!money_is_zero(operation_capturable(&op)) &&
					 !operation_is_null(&op, expires_at))
			{
				state = HOLD_EXPIRES_LATER;
				expires_at = DatumGetTimestampTz(operation_value(&op, expires_at));
			}
		}
		claim_release(&claim);
	}
	ledger_close(&ledger);		/* a trigger may still refuse the row */
	store_close(&store);

	hold->state = state;
	hold->expires_at = expires_at;
	hold->released = released;
}

/*
 * Put a hold whose row was deleted on the list again, with a later due_at.
 */
static void
put_off(void *arg)
{
	Hold	   *hold = arg;

	hold->due_at = hold->expires_at;
	if (hold->state == HOLD_STUCK)
	{
		TimestampTz now = GetCurrentTimestamp();
		TimestampTz since = Min(hold->expires_at, now - PUT_OFF_MIN);

		hold->due_at = now + (now - Max(since, now - PUT_OFF_MAX));
	}
	insert_hold(hold);
}

/*
 * Insert a row into the list.
 */
static void
insert_hold(const Hold *hold)
{
	Store		store;
	Datum		values[Natts_hold];
	bool		nulls[Natts_hold] = {false};

	values[Anum_hold_due_at - 1] = TimestampTzGetDatum(hold->due_at);
	values[Anum_hold_expires_at - 1] = TimestampTzGetDatum(hold->expires_at);
	values[Anum_hold_payment_id - 1] = UUIDPGetDatum(&hold->payment_id);
	values[Anum_hold_scope - 1] = PointerGetDatum(hold->scope);
	values[Anum_hold_key - 1] = PointerGetDatum(hold->key);

	store_open(&store, TABLE_HOLD);
	store_prepare_write(&store);
	store_insert(&store, values, nulls);
	store_close(&store);
}
