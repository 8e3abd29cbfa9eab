/*-------------------------------------------------------------------------
 *
 * maintenance.c
 *		The background worker that purges requests and releases holds.
 *
 * It is there if the library is in shared_preload_libraries.  A launcher lives
 * as long as the server does, once that is no standby.  Every
 * idempotency.naptime it starts a worker in each of idempotency.databases, one
 * after the other; that calls idem_expire() and idem_purge(), if the extension
 * is installed there, and ends.  So no more than two processes are needed, and
 * nobody stays connected to a database, which would keep it from being dropped.
 * The launcher itself is connected to none, and sees the shared catalogs alone.
 *
 * Workers start as the bootstrap superuser, and call the functions as the owner
 * of the extension, in a security-restricted operation: that role may have made
 * the database, schemas and all, and could otherwise have its own code run with
 * more rights than it has.
 *
 * An error is logged, and the next round tries again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "compat.h"
#include "maintenance.h"
#include "settings.h"

/* How many holds are released in a transaction. */
#define HOLDS_AT_ONCE	1000

extern PGDLLEXPORT void idem_maintenance_launcher(Datum arg);
extern PGDLLEXPORT void idem_maintenance_worker(Datum arg);

static void fill_worker(BackgroundWorker *worker, const char *name,
						const char *function);
static void go_round(bool tell);
static Oid	find_database(const char *name);
static void visit(Oid database, const char *name);
static void nap(TimestampTz until);
static void settle_session(void);
static int	attempt(const char *function, int argument);
static int	call_as_owner(const char *function, int argument);
static bool find_function(const char *name, int nargs, Oid *function, Oid *owner);

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
		TimestampTz start = GetCurrentTimestamp();

		go_round(tell);
		nap(TimestampTzPlusMilliseconds(start, setting_naptime * INT64CONST(1000)));
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

	while (attempt("idem_expire", HOLDS_AT_ONCE) == HOLDS_AT_ONCE)
		CHECK_FOR_INTERRUPTS();
	attempt("idem_purge", 0);
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

		if (form->datallowconn)
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
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
	{
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no background worker is free for the maintenance of database \"%s\"", name),
				 errhint("You may need to increase max_worker_processes.")));
		return;
	}
	if (WaitForBackgroundWorkerShutdown(handle) == BGWH_POSTMASTER_DIED)
		proc_exit(1);
}

/*
 * Sleep until then, or until the configuration is to be read again.
 */
static void
nap(TimestampTz until)
{
	for (;;)
	{
		long		ms;

		CHECK_FOR_INTERRUPTS();
		ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		/* if the clock was set back, the round does not wait for it to come up */
		ms = Min(ms, setting_naptime * 1000L);
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
 * Call one of the extension's functions in a transaction, and return its
 * result; 0 if it fails, which is logged.
 */
static int
attempt(const char *function, int argument)
{
	MemoryContext context = CurrentMemoryContext;
	volatile int result = 0;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		pgstat_report_activity(STATE_RUNNING, function);
		result = call_as_owner(function, argument);
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		result = 0;
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return result;
}

/*
 * argument: 0 if the function takes none.
 */
static int
call_as_owner(const char *name, int argument)
{
	Oid			function;
	Oid			owner;
	Oid			user;
	int			sec_context;
	Datum		result;

	if (!find_function(name, argument == 0 ? 0 : 1, &function, &owner))
		return 0;

	/* an error ends the transaction, and with it this */
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(owner, sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	result = argument == 0 ? OidFunctionCall0(function)
		: OidFunctionCall1(function, Int32GetDatum(argument));
	SetUserIdAndSecContext(user, sec_context);

	return DatumGetInt32(result);
}

/*
 * Find a function of the extension, and the extension's owner.  False: it is not
 * installed here.
 */
static bool
find_function(const char *name, int nargs, Oid *function, Oid *owner)
{
	static const char query[] =
		"SELECT p.oid, e.extowner"
		" FROM pg_catalog.pg_extension e"
		" JOIN pg_catalog.pg_proc p ON p.pronamespace = e.extnamespace"
		" JOIN pg_catalog.pg_depend d ON d.refobjid = e.oid AND d.objid = p.oid"
		" AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass"
		" AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e'"
		" WHERE e.extname = 'idempotency' AND p.proname = $1 AND p.pronargs = $2"
		" ORDER BY p.oid";
	Oid			types[] = {TEXTOID, INT2OID};
	Datum		values[] = {CStringGetTextDatum(name), Int16GetDatum(nargs)};
	bool		found;


	SPI_connect();
	if (SPI_execute_with_args(query, lengthof(types), types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look up function %s", name);
	found = SPI_processed == 1;
	if (found)
	{
		bool		isnull;
		HeapTuple	row = SPI_tuptable->vals[0];

		*function = DatumGetObjectId(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
		*owner = DatumGetObjectId(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));
	}
	SPI_finish();
	return found;
}
