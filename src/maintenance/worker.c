/*-------------------------------------------------------------------------
 *
 * worker.c
 *		The background worker that purges requests and releases holds.
 *
 * The launcher starts it in a database.  If the extension is installed there, it
 * does what idem_expire() and idem_purge() do, and ends.  If the database is a
 * router, it calls idem_relay().  An error is logged, and the next worker tries
 * again.
 *
 * The worker runs as the bootstrap superuser, and the owner of a database may put
 * anything into it.  So the worker looks up only the extension and its tables, in
 * a schema that must be the extension's (catalog.c).  It runs only our own code,
 * and what is attached to these tables: triggers, CHECKs, expressions of indexes.
 * The owner of the tables, who is a superuser, can attach these.  A role with the
 * privilege TRIGGER on a table can attach triggers.  The extension gives that
 * privilege to nobody.  If a superuser gives it, that role's triggers run as the
 * superuser.
 *
 * idem_relay() is in SQL.  So it must be a member of the router's extension, and
 * belong to a superuser: anybody may create a function of that name.
 *
 * Durations are measured with the monotonic clock, since somebody may set the
 * system clock.  Stored times, such as the end of a hold, are compared with the
 * system clock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type_d.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "tcop/tcopprot.h"
#include "utils/catcache.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "maintenance/maintenance.h"
#include "payment/hold.h"
#include "request/purge.h"
#include "stat/session.h"
#include "stat/stat.h"

/* How many holds are released in a transaction. */
#define HOLDS_AT_ONCE	1000

/* How many orders of each partition are delivered at a time. */
#define ORDERS_AT_ONCE	1000

/*
 * How long a worker goes on, in milliseconds.  DROP DATABASE waits longer than this
 * for other processes to disconnect.
 */
#define WORK_MS			2000

extern PGDLLEXPORT void idem_maintenance_worker(Datum arg);

static void override_settings(void);
static void repeat(const char *activity, const char *extension, bool (*work) (void));
static bool attempt_once(const char *activity, const char *extension, bool (*work) (void));
static void note_error(void);
static void add_context(void *name);
static bool expire_holds(void);
static bool purge_tables(void);
static Datum purge_call(PG_FUNCTION_ARGS);
static bool relay_orders(void);
static Oid	find_relay(void);

/*
 * A worker: its main function.  arg: the OID of the database.
 */
void
idem_maintenance_worker(Datum arg)
{
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	override_settings();

	repeat("idem_expire()", "idempotency", expire_holds);
	repeat("idem_purge()", "idempotency", purge_tables);
	repeat("idem_relay()", "idempotency_router", relay_orders);
	worker_run_ends();
}

/*
 * Override what was set for the database (ALTER DATABASE ... SET).  That is meant
 * for its clients.
 */
static void
override_settings(void)
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
 * Run a piece of work, each time in a transaction of its own, until nothing is left
 * to do or half of WORK_MS is over.
 *
 * activity: for pg_stat_activity.  extension: the one that it is for.
 */
static void
repeat(const char *activity, const char *extension, bool (*work) (void))
{
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	while (attempt_once(activity, extension, work) && maintenance_ms_since(start) < WORK_MS / 2)
		CHECK_FOR_INTERRUPTS();
}

/*
 * Run a piece of work once, in a transaction, if the extension is installed.
 * Returns whether there is more to do.  If the work fails, its error is logged, and
 * the result is false.
 */
static bool
attempt_once(const char *activity, const char *extension, bool (*work) (void))
{
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = add_context,
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
		if (OidIsValid(get_extension_oid(extension, true)))
			result = work();
		PopActiveSnapshot();
		CommitTransactionCommand();
		error_context_stack = callback.previous;
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		EmitErrorReport();
		note_error();
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
 * Note the current error, for idempotency.activity.
 */
static void
note_error(void)
{
	MemoryContext context = MemoryContextSwitchTo(TopMemoryContext);
	ErrorData  *error = CopyErrorData();

	worker_run_failed(error->message ? error->message : "missing error text");
	FreeErrorData(error);
	MemoryContextSwitchTo(context);
}

/*
 * The error context: name the database in what is logged.
 */
static void
add_context(void *name)
{
	errcontext("maintenance of database \"%s\"", (const char *) name);
}

/*
 * Release expired holds.  Returns whether more may be due.
 */
static bool
expire_holds(void)
{
	Datum		done;

	worker_run_begins();
	done = DirectFunctionCall1(idem_expire, Int32GetDatum(HOLDS_AT_ONCE));
	return DatumGetInt32(done) == HOLDS_AT_ONCE;
}

/*
 * Purge expired requests.  Returns whether more rows are to be deleted.
 */
static bool
purge_tables(void)
{
	return DatumGetBool(stat_call(STAT_PURGE, purge_call, NULL));
}

/*
 * For stat_call().
 */
static Datum
purge_call(PG_FUNCTION_ARGS)
{
	bool		more;

	(void) purge_requests(&more);
	PG_RETURN_BOOL(more);
}

/*
 * Deliver money to other scopes.  Returns whether more may be due.
 */
static bool
relay_orders(void)
{
	Oid			relay = find_relay();

	return OidIsValid(relay) &&
		DatumGetInt32(OidFunctionCall1(relay, Int32GetDatum(ORDERS_AT_ONCE))) >= ORDERS_AT_ONCE;
}

/*
 * The router's idem_relay(); invalid if there is none that can be trusted.
 */
static Oid
find_relay(void)
{
	Oid			extension = get_extension_oid("idempotency_router", false);
	CatCList   *list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum("idem_relay"));
	Oid			result = InvalidOid;

	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(&list->members[i]->tuple);

		if (proc->pronargs == 1 && proc->proargtypes.values[0] == INT4OID &&
			proc->prorettype == INT4OID && superuser_arg(proc->proowner) &&
			getExtensionOfObject(ProcedureRelationId, proc->oid) == extension)
			result = proc->oid;
	}
	ReleaseSysCacheList(list);
	return result;
}
