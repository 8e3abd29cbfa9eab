/*-------------------------------------------------------------------------
 *
 * launcher.c
 *		The background process that starts workers.
 *
 * There is a launcher if the library is in shared_preload_libraries.  It starts
 * when recovery has finished and runs until shutdown.  Every idempotency.naptime,
 * it makes a round: it starts a worker in each of idempotency.databases, one after
 * the other, and waits until the worker ends.  So two processes are enough.
 *
 * No process stays connected to a database, as that would prevent DROP DATABASE.
 * The launcher itself is connected to none, and sees the shared catalogs only.
 *
 * A worker that takes too long is terminated, so that the other databases have
 * their turn.  The next round tries again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
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
#include "utils/varlena.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "maintenance/maintenance.h"
#include "settings.h"

/*
 * How long a worker may run before it is terminated, in milliseconds.  It ends much
 * earlier by itself (worker.c), unless it has to wait.  It may wait for a lock even
 * before it is connected.
 */
#define TIMEOUT_MS		30000

extern PGDLLEXPORT void idem_maintenance_launcher(Datum arg);

static void fill_worker(BackgroundWorker *worker, const char *name,
						const char *function);
static void go_round(bool warn);
static Oid	find_database(const char *name, bool *exists);
static void visit(Oid database, const char *name);
static bool wait_for_end(BackgroundWorkerHandle *handle);
static void check_for_interrupts(void);
static void nap(instr_time start);

void
maintenance_register(void)
{
	BackgroundWorker worker;

	/* pg_upgrade: nothing may change in the databases meanwhile */
	if (IsBinaryUpgrade)
		return;

	fill_worker(&worker, "idempotency launcher", "idem_maintenance_launcher");
	worker.bgw_restart_time = 10;
	RegisterBackgroundWorker(&worker);
}

/*
 * The launcher: its main function.
 */
void
idem_maintenance_launcher(Datum arg)
{
	bool		warn = true;	/* in the first round, and after a reload */

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	for (;;)
	{
		instr_time	start;

		INSTR_TIME_SET_CURRENT(start);
		go_round(warn);
		nap(start);
		warn = ConfigReloadPending;
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}

/*
 * Fill in what the launcher and a worker have in common.
 */
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
 * Visit each database that the setting names.  warn: warn about those that do not
 * exist or allow no connections.
 */
static void
go_round(bool warn)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "idempotency round",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	List	   *names;
	ListCell   *lc;

	/* the setting's check hook has split it before, so this cannot fail */
	(void) SplitGUCList(pstrdup(setting_databases), ',', &names);
	foreach(lc, names)
	{
		const char *name = lfirst(lc);
		Oid			database;
		bool		exists;

		database = find_database(name, &exists);
		if (OidIsValid(database))
			visit(database, name);
		else if (warn && exists)
			ereport(WARNING,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("database \"%s\" is not accepting connections", name),
					 errdetail("The database is listed in the setting \"idempotency.databases\".")));
		else if (warn)
			ereport(WARNING,
					(errcode(ERRCODE_UNDEFINED_DATABASE),
					 errmsg("database \"%s\" does not exist", name),
					 errdetail("The database is listed in the setting \"idempotency.databases\".")));
	}
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
}

/*
 * The OID of a database that allows connections, or InvalidOid; and whether
 * there is a database of that name.
 *
 * Until some process has connected to a database after the server was started, the
 * indexes of the shared catalogs may not be usable.  See GetDatabaseTuple() in
 * utils/init/postinit.c.
 */
static Oid
find_database(const char *name, bool *exists)
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
	*exists = HeapTupleIsValid(tuple);
	if (*exists)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		/* -2 is DATCONNLIMIT_INVALID_DB: its DROP DATABASE did not finish */
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
 * Run a worker in a database, and wait until it ends.
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
				 errmsg("no background worker is available for maintenance of database \"%s\"", name),
				 errhint("You might need to increase \"max_worker_processes\".")));
		return;
	}
	if (!wait_for_end(handle))
	{
		ereport(LOG,
				(errmsg("maintenance of database \"%s\" timed out", name)));
		TerminateBackgroundWorker(handle);
	}
	pfree(handle);
}

/*
 * Wait until a worker ends.  False: it has not ended after TIMEOUT_MS.
 */
static bool
wait_for_end(BackgroundWorkerHandle *handle)
{
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	for (;;)
	{
		pid_t		pid;

		check_for_interrupts();
		if (GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED)
			return true;
		if (maintenance_ms_since(start) >= TIMEOUT_MS)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 1000, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/*
 * Exit at a shutdown.  It is no failure, so there is no FATAL in the log.
 */
static void
check_for_interrupts(void)
{
	if (ProcDiePending)
		proc_exit(1);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Sleep until idempotency.naptime has passed since start, or the configuration is
 * to be read again.
 */
static void
nap(instr_time start)
{
	for (;;)
	{
		long		ms;

		check_for_interrupts();
		ms = setting_naptime * 1000L - maintenance_ms_since(start);
		if (ms <= 0 || ConfigReloadPending)
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 ms, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}
