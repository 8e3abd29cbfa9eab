/*-------------------------------------------------------------------------
 *
 * worker.c
 *		The background worker that purges requests and releases holds.
 *
 * It is there if the library is in shared_preload_libraries.  A launcher lives
 * as long as the server does, once that is no standby.  Every
 * idempotency.naptime it starts a worker in each of idempotency.databases, one
 * after the other; that does what idem_expire() and idem_purge() do, if the
 * extension is installed there, and ends.  So no more than two processes are
 * needed, and nobody stays connected to a database, which would keep it from
 * being dropped.  The launcher itself is connected to none, and sees the shared
 * catalogs alone.
 *
 * Workers are the bootstrap superuser's, and whoever owns a database may put
 * into it what he likes.  So no name is looked up but those of our tables, in a
 * schema that must be the extension's (catalog.c), and no code runs but ours
 * and that of triggers on them, which only a superuser can have made.
 *
 * An error is logged, and the next round tries again.  A worker that does not end
 * is given up, so that the other databases have their turn.
 *
 * What is waited for, and for how long, goes by the monotonic clock: somebody may
 * set the other one.  What is stored with a time, such as the end of a hold, goes
 * by that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "compat.h"
#include "payment/hold.h"
#include "maintenance/maintenance.h"
#include "request/purge.h"
#include "settings.h"

/* How many holds are released in a transaction. */
#define HOLDS_AT_ONCE	1000

/*
 * For how long a worker goes on, in milliseconds: shorter than DROP DATABASE
 * waits for others to be gone.  And when it is given up: one may wait for a lock
 * even before it has connected.
 */
#define WORK_MS			2000
#define GIVE_UP_MS		30000

extern PGDLLEXPORT void idem_maintenance_launcher(Datum arg);
extern PGDLLEXPORT void idem_maintenance_worker(Datum arg);

static void fill_worker(BackgroundWorker *worker, const char *name,
						const char *function);
static void go_round(bool tell);
static Oid	find_database(const char *name);
static void visit(Oid database, const char *name);
static bool wait_for_end(BackgroundWorkerHandle *handle);
static void nap(instr_time start);
static void settle_session(void);
static void attempt_again(const char *activity, bool (*work) (void));
static bool attempt(const char *activity, bool (*work) (void));
static void tell_database(void *name);
static long ms_since(instr_time start);
static bool expire(void);
static bool purge(void);

void
maintenance_register(void)
{
	BackgroundWorker worker;

	/* pg_upgrade wants nothing to change under it */
	if (IsBinaryUpgrade)
		return;

	fill_worker(&worker, "idempotency launcher", "idem_maintenance_launcher");
	worker.bgw_restart_time = 10;
	RegisterBackgroundWorker(&worker);
}

void
idem_maintenance_launcher(Datum arg)
{
	bool		tell = true;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	for (;;)
	{
		instr_time	start;

		INSTR_TIME_SET_CURRENT(start);
		go_round(tell);
		nap(start);
		tell = ConfigReloadPending;
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}

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

	attempt_again("idem_expire()", expire);
	attempt_again("idem_purge()", purge);
}

static void
fill_worker(BackgroundWorker *worker, const char *name, const char *function)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	strlcpy(worker->bgw_name, name, BGW_MAXLEN);
	strlcpy(worker->bgw_type, name, BGW_MAXLEN);
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	strlcpy(worker->bgw_library_name, "idempotency", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function, sizeof(worker->bgw_function_name));
}

/*
 * Visit all the databases that are named in the settings.  tell: log which of
 * them there are not.
 */
static void
go_round(bool tell)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "idempotency round",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	List	   *names;
	ListCell   *lc;

	/* the setting's check hook has seen to it that this works */
	(void) SplitGUCList(pstrdup(setting_databases), ',', &names);
	foreach(lc, names)
	{
		const char *name = lfirst(lc);
		Oid			database;

		database = find_database(name);
		if (OidIsValid(database))
			visit(database, name);
		else if (tell)
			ereport(WARNING,
					(errcode(ERRCODE_UNDEFINED_DATABASE),
					 errmsg("database \"%s\" of idempotency.databases does not exist, or allows no connections", name)));
	}
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
}

/*
 * The OID of a database that one can connect to, or InvalidOid.  As long as
 * nobody has connected to any since the server was started, there may be no
 * index of the shared catalogs; see GetDatabaseTuple() (utils/init/postinit.c).
 */
static Oid
find_database(const char *name)
{
	MemoryContext context = CurrentMemoryContext;
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	Oid			database = InvalidOid;

	StartTransactionCommand();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_database_datname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(name));
	scan = systable_beginscan(rel, DatabaseNameIndexId, criticalSharedRelcachesBuilt,
							  NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		/* DATCONNLIMIT_INVALID_DB: it is being dropped */
		if (form->datallowconn && form->datconnlimit != -2)
			database = form->oid;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);

	return database;
}

/*
 * Run a worker in a database, and wait for its end.
 */
static void
visit(Oid database, const char *name)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	fill_worker(&worker, "idempotency worker", "idem_maintenance_worker");
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	strlcpy(worker.bgw_extra, name, BGW_EXTRALEN);
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
	{
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no background worker is free for the maintenance of database \"%s\"", name),
				 errhint("You may need to increase max_worker_processes.")));
		return;
	}
	if (!wait_for_end(handle))
	{
		ereport(LOG,
				(errmsg("maintenance of database \"%s\" does not end, and is given up", name)));
		TerminateBackgroundWorker(handle);
	}
	pfree(handle);
}

/*
 * False: it has not ended in time.
 */
static bool
wait_for_end(BackgroundWorkerHandle *handle)
{
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	for (;;)
	{
		pid_t		pid;

		CHECK_FOR_INTERRUPTS();
		if (GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED)
			return true;
		if (ms_since(start) >= GIVE_UP_MS)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 1000, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/*
 * Sleep until the round that began then has lasted for idempotency.naptime, or
 * the configuration is to be read again.
 */
static void
nap(instr_time start)
{
	for (;;)
	{
		long		ms;

		CHECK_FOR_INTERRUPTS();
		ms = setting_naptime * 1000L - ms_since(start);
		if (ms <= 0 || ConfigReloadPending)
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 ms, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
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
attempt_again(const char *activity, bool (*work) (void))
{
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	while (attempt(activity, work) && ms_since(start) < WORK_MS / 2)
		CHECK_FOR_INTERRUPTS();
}

/*
 * Do it in a transaction, if the extension is there.  Returns whether there is
 * more to do; if it fails, which is logged, there is not.
 */
static bool
attempt(const char *activity, bool (*work) (void))
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

static void
tell_database(void *name)
{
	errcontext("maintenance of database \"%s\"", (const char *) name);
}

/*
 * How many milliseconds have passed since then, by the monotonic clock.
 */
static long
ms_since(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return (long) INSTR_TIME_GET_MILLISEC(now);
}

static bool
expire(void)
{
	return hold_expire(HOLDS_AT_ONCE) == HOLDS_AT_ONCE;
}

static bool
purge(void)
{
	bool		more;

	(void) purge_requests(&more);
	return more;
}
