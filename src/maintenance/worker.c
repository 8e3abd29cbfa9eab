/*-------------------------------------------------------------------------
 *
 * worker.c
 *		The background worker that purges requests and releases holds.
 *
 * The launcher starts it in a database.  If the extension is installed there, it
 * does what idem_expire() and idem_purge() do, and ends.  An error is logged, and
 * the next worker tries again.
 *
 * The worker is the bootstrap superuser's, and the owner of a database may put
 * anything into it.  So the worker looks up no name but those of our tables, in a
 * schema that must be the extension's (catalog.c).  It runs no code but ours, and
 * what hangs on these tables: triggers, CHECKs, expressions of indexes.  Those can
 * be made by the owner of the tables, who is a superuser.  Triggers can also be
 * made by a role that has the privilege TRIGGER on a table.  The extension gives
 * that to nobody; if a superuser does, that role's triggers run as a superuser.
 *
 * What is waited for, and for how long, goes by the monotonic clock: somebody may
 * set the other one.  What is stored with a time, such as the end of a hold, goes
 * by that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "maintenance/maintenance.h"
#include "payment/hold.h"
#include "request/purge.h"

/* How many holds are released in a transaction. */
#define HOLDS_AT_ONCE	1000

/*
 * For how long a worker goes on, in milliseconds: shorter than DROP DATABASE
 * waits for others to be gone.
 */
#define WORK_MS			2000

extern PGDLLEXPORT void idem_maintenance_worker(Datum arg);

static void settle_session(void);
static void repeat(const char *activity, bool (*work) (void));
static bool attempt_once(const char *activity, bool (*work) (void));
static void tell_database(void *name);
static bool expire_holds(void);
static bool purge_tables(void);

/*
 * A worker: what there is to do in one database.
 */
void
idem_maintenance_worker(Datum arg)
{
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	settle_session();

	repeat("idem_expire()", expire_holds);
	repeat("idem_purge()", purge_tables);
}

/*
 * What was set for the database is meant for its clients.
 */
static void
settle_session(void)
{
	static const struct
	{
		const char *name;
		const char *value;
	}			settings[] = {
		{"search_path", ""},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"transaction_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"lock_timeout", "10s"},
	};

	for (int i = 0; i < lengthof(settings); i++)
	{
		/* not all versions have all of them */
		if (GetConfigOption(settings[i].name, true, false))
			SetConfigOption(settings[i].name, settings[i].value, PGC_SUSET, PGC_S_OVERRIDE);
	}
}

/*
 * Do it as long as there is more to do, and time.
 */
static void
repeat(const char *activity, bool (*work) (void))
{
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	while (attempt_once(activity, work) && maintenance_ms_since(start) < WORK_MS / 2)
		CHECK_FOR_INTERRUPTS();
}

/*
 * Do it in a transaction, if the extension is there.  Returns whether there is
 * more to do; if it fails, which is logged, there is not.
 */
static bool
attempt_once(const char *activity, bool (*work) (void))
{
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = tell_database,
		.arg = MyBgworkerEntry->bgw_extra,
	};
	volatile bool result = false;

	PG_TRY();
	{
		error_context_stack = &callback;
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		pgstat_report_activity(STATE_RUNNING, activity);
		if (OidIsValid(get_extension_oid("idempotency", true)))
			result = work();
		PopActiveSnapshot();
		CommitTransactionCommand();
		error_context_stack = callback.previous;
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		result = false;
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return result;
}

/*
 * The error context: what is logged says which database it is about.
 */
static void
tell_database(void *name)
{
	errcontext("maintenance of database \"%s\"", (const char *) name);
}

/*
 * Release holds.  Returns whether there may be more.
 */
static bool
expire_holds(void)
{
	return hold_expire(HOLDS_AT_ONCE) == HOLDS_AT_ONCE;
}

/*
 * Empty tables of requests.  Returns whether there is more to delete.
 */
static bool
purge_tables(void)
{
	bool		more;

	(void) purge_requests(&more);
	return more;
}
