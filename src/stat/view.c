/*-------------------------------------------------------------------------
 *
 * view.c
 *		What the views idempotency.stat and idempotency.activity show.
 *
 * idempotency.stat_counters(), for idempotency.stat
 * idempotency.session_keys() and idempotency.worker_run(), for idempotency.activity
 * idempotency.count_relays(delivered, returned, later)
 * idem_stat_reset()
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "call.h"
#include "compat.h"
#include "stat/memory.h"
#include "stat/session.h"
#include "stat/stat.h"

PG_FUNCTION_INFO_V1(idem_stat_counters);
PG_FUNCTION_INFO_V1(idem_session_keys);
PG_FUNCTION_INFO_V1(idem_worker_run);
PG_FUNCTION_INFO_V1(idem_count_relays);
PG_FUNCTION_INFO_V1(idem_stat_reset);

/* How often a session's key is read again because the session is writing. */
#define READS	1000

static void check_memory(void);
static int64 add_up(StatFunction function, StatCounter counter, TimestampTz *reset_at);
static bool read_session(const StatSession *session, StatSession *copy);

/*
 * idempotency.stat_counters: a row for each function, with its counters, in the order
 * of StatCounter, and since when they are counted.  Times are in seconds.
 *
 * Errors: those of check_memory().
 */
Datum
idem_stat_counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	check_memory();
	InitMaterializedSRF(fcinfo, 0);
	for (int function = 0; function < N_STAT_FUNCTIONS; function++)
	{
		TimestampTz reset_at = DT_NOEND;
		Datum		values[N_STAT_COUNTERS + 2];
		bool		nulls[N_STAT_COUNTERS + 2] = {false};

		values[0] = CStringGetTextDatum(stat_function_name(function));
		for (int counter = 0; counter < N_STAT_COUNTERS; counter++)
		{
			int64		n = add_up(function, counter, &reset_at);

			values[1 + counter] =
				counter == STAT_WAIT_US || counter == STAT_DURABILITY_WAIT_US
				? Float8GetDatum(n / 1e6) : Int64GetDatum(n);
		}
		values[1 + N_STAT_COUNTERS] = TimestampTzGetDatum(reset_at);
		nulls[1 + N_STAT_COUNTERS] = reset_at == DT_NOEND;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * idempotency.session_keys: the key that each session of this database has used last,
 * with the lock of the key as pg_locks has it.  waiting_since: when its call began to wait;
 * NULL if it does not wait.  waits_for: for its key, payment or account, or for durability;
 * NULL, too.
 */
Datum
idem_session_keys(PG_FUNCTION_ARGS)
{
	enum
	{
		PID, CLASSID, OBJID, WAITING_SINCE, WAITS_FOR, SCOPE, KEY, N_COLUMNS
	};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	StatMemory *memory;

	InitMaterializedSRF(fcinfo, 0);
	stat_memory_attach();
	memory = stat_memory();
	for (int i = 0; memory && i < memory->nsessions; i++)
	{
		StatSession s;
		Datum		values[N_COLUMNS];
		bool		nulls[N_COLUMNS] = {false};

		if (!read_session(&memory->sessions[i], &s))
			continue;
		values[PID] = Int32GetDatum(s.pid);
		values[CLASSID] = ObjectIdGetDatum(s.lock_high);
		values[OBJID] = ObjectIdGetDatum(s.lock_low);
		values[WAITING_SINCE] = TimestampTzGetDatum(s.waiting_since);
		nulls[WAITING_SINCE] = nulls[WAITS_FOR] = s.waiting_since == 0;
		if (s.waiting_since != 0)
			values[WAITS_FOR] = CStringGetTextDatum(session_wait_name(s.wait));
		values[SCOPE] = PointerGetDatum(cstring_to_text_with_len(s.bytes, s.scope_len));
		values[KEY] = PointerGetDatum(cstring_to_text_with_len(s.bytes + s.scope_len, s.key_len));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * idempotency.worker_run: the last run of the maintenance worker in this database, and
 * its last error.  No row: it has not run since the server was started.
 */
Datum
idem_worker_run(PG_FUNCTION_ARGS)
{
	enum
	{
		STARTED_AT, ENDED_AT, FAILED_AT, MESSAGE, N_COLUMNS
	};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	StatDatabase *place = NULL;

	InitMaterializedSRF(fcinfo, 0);
	stat_memory_attach();
	while (stat_memory() && (place = stat_memory_place(place)))
	{
		WorkerRun	run;
		Datum		values[N_COLUMNS];
		bool		nulls[N_COLUMNS] = {false};

		SpinLockAcquire(&place->lock);
		run = place->run;
		SpinLockRelease(&place->lock);
		if (run.started_at == 0)
			continue;
		values[STARTED_AT] = TimestampTzGetDatum(run.started_at);
		values[ENDED_AT] = TimestampTzGetDatum(run.ended_at);
		nulls[ENDED_AT] = run.ended_at == 0;
		values[FAILED_AT] = TimestampTzGetDatum(run.failed_at);
		values[MESSAGE] = CStringGetTextDatum(run.message);
		nulls[FAILED_AT] = nulls[MESSAGE] = run.failed_at == 0;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * idempotency.count_relays: count orders that a relay has delivered, returned, and left
 * for later.
 */
Datum
idem_count_relays(PG_FUNCTION_ARGS)
{
	stat_add(STAT_RELAY, STAT_CALLS, 1);
	stat_add(STAT_RELAY, STAT_NEW, PG_GETARG_INT32(0));
	stat_add(STAT_RELAY, STAT_DECLINED, PG_GETARG_INT32(1));
	stat_add(STAT_RELAY, STAT_FAILED, PG_GETARG_INT32(2));
	PG_RETURN_VOID();
}

/*
 * idem_stat_reset: set the counters of this database to zero.
 *
 * Errors: those of check_memory().
 */
Datum
idem_stat_reset(PG_FUNCTION_ARGS)
{
	StatDatabase *place = NULL;

	check_memory();
	while ((place = stat_memory_place(place)))
	{
		pg_atomic_write_u64(&place->reset_at, GetCurrentTimestamp());
		for (int copy = 0; copy < STAT_COPIES; copy++)
		{
			for (int function = 0; function < N_STAT_FUNCTIONS; function++)
			{
				for (int counter = 0; counter < N_STAT_COUNTERS; counter++)
					pg_atomic_write_u64(&place->counts[copy][function][counter], 0);
			}
		}
	}
	PG_RETURN_VOID();
}

/*
 * Check that there is memory for counters, and room for this database.
 *
 * Errors: 55000 if there is no memory; 53400 if there is no room.
 */
static void
check_memory(void)
{
	stat_memory_attach();
	if (stat_memory() == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("calls are not counted"),
				 compat_has_named_segments()
				 ? errdetail("There is no shared memory for the counters. The server's log says why.")
				 : errdetail("Before PostgreSQL 17, only a server that preloads the library counts calls."),
				 errhint("Add \"idempotency\" to \"shared_preload_libraries\", and restart the server.")));
	if (stat_memory_place(NULL) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("calls in this database are not counted"),
				 errdetail("The server counts calls in %d databases, and all of these are taken.",
						   STAT_DATABASES)));
}

/*
 * What the copies of a counter add up to.  *reset_at: since when, if that is earlier.
 */
static int64
add_up(StatFunction function, StatCounter counter, TimestampTz *reset_at)
{
	StatDatabase *place = NULL;
	int64		sum = 0;

	while ((place = stat_memory_place(place)))
	{
		*reset_at = Min(*reset_at, (TimestampTz) pg_atomic_read_u64(&place->reset_at));
		for (int copy = 0; copy < STAT_COPIES; copy++)
			sum += pg_atomic_read_u64(&place->counts[copy][function][counter]);
	}
	return sum;
}

/*
 * Read what a session has left.  False: there is nothing of this database.
 */
static bool
read_session(const StatSession *session, StatSession *copy)
{
	for (int i = 0; i < READS; i++)
	{
		uint32		before = pg_atomic_read_u32(&unconstify(StatSession *, session)->changes);
		uint32		after;

		pg_read_barrier();
		memcpy(copy, session, sizeof(StatSession));
		pg_read_barrier();
		after = pg_atomic_read_u32(&unconstify(StatSession *, session)->changes);
		if (before == after && (before & 1) == 0)
			return copy->pid != 0 && copy->database == MyDatabaseId;
	}
	return false;				/* it was killed while it wrote */
}
