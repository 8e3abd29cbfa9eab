/*-------------------------------------------------------------------------
 *
 * purge.c
 *		Removing requests that have expired.
 *
 * idem_purge()
 *
 * A table in which all rows have expired is truncated.  row.c says why one table
 * after the other comes to that.
 *
 * Truncation needs an exclusive lock.  Others queue after a pending one, so we wait
 * at most LOCK_TIMEOUT for it and leave the rest to the next purge.  A purge does
 * not wait long while it has a table of requests locked exclusively: once one has
 * been emptied, it hardly waits for the others.  Two purges never run at the same
 * time.
 *
 * A row that lives far longer than others, by its lease or its retention, keeps its
 * table from being emptied.  Then some of the expired rows are deleted instead.  The
 * row that expired first shows that this is so: it would have been removed long ago.
 *
 * A purge checks no rights on the tables.  The right to execute the function is
 * enough.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "request/clock.h"
#include "request/purge.h"
#include "request/row.h"
#include "stat/stat.h"
#include "subtransaction.h"
#include "table/catalog.h"
#include "table/store.h"
#include "xactlock.h"

STAT_FUNCTION(idem_purge, STAT_PURGE);

#define COMMAND			"idem_purge()"

/* How long to wait for a lock on a table. */
#define LOCK_TIMEOUT	"400ms"

/* The most rows that one call deletes from a table. */
#define DELETE_AT_ONCE	10000

/* One table, and what became of it. */
typedef struct TablePurge
{
	CatalogTable table;
	const char *lock_timeout;
	bool		purged;			/* has it been emptied, or rows deleted? */
	bool		more;			/* may there be more rows to delete? */
} TablePurge;

static bool take_turn(Store *mark);
static bool with_timeout(void (*work) (void *arg), TablePurge *t);
static void empty_table(void *arg);
static bool all_expired(CatalogTable table);
static void delete_some(void *arg);
static bool is_stuck(Store *store, TimestampTz now);

/*
 * idem_purge: empty the tables of requests in which all have expired.
 *
 * Result: how many tables have been emptied.
 *
 * Errors: 25000 in a parallel operation; 25001 above READ COMMITTED; 25006 in a
 * read-only transaction or on a standby; those of store_open() and request_note_purge().
 */
static Datum
idem_purge_call(PG_FUNCTION_ARGS)
{
	bool		more;

	PG_RETURN_INT32(purge_requests(&more));
}

int
purge_requests(bool *more)
{
	Store		mark;
	int			emptied = 0;
	bool		deleted = false;

	*more = false;
	PreventCommandIfParallelMode(COMMAND);
	PreventCommandIfReadOnly(COMMAND);
	PreventCommandDuringRecovery(COMMAND);

	/* an older snapshot would not show the rows that came since */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("idem_purge() must be called at isolation level READ COMMITTED")));

	store_open(&mark, TABLE_REQUEST_PURGE);
	if (take_turn(&mark))
	{
		for (int i = 0; i < N_REQUEST_TABLES; i++)
		{
			TablePurge	t = {.table = catalog_request_tables[i]};

			t.lock_timeout = emptied == 0 ? LOCK_TIMEOUT : "1ms";

			if (with_timeout(empty_table, &t))
				emptied++;
		}
		for (int i = 0; i < N_REQUEST_TABLES && emptied == 0; i++)
		{
			TablePurge	t = {
				.table = catalog_request_tables[i],
				.lock_timeout = LOCK_TIMEOUT
			};

			if (with_timeout(delete_some, &t))
				deleted = true;
			if (t.more)
				*more = true;
		}
		if (emptied > 0 || deleted)
			request_note_purge(&mark);
	}
	store_close(&mark);

	stat_note(STAT_NEW, emptied);
	return emptied;
}

/*
 * Lock out other purges, to the end of the (sub)transaction.  False: another purge
 * is under way, or a VACUUM or the like of idempotency.request_purge.
 */
static bool
take_turn(Store *mark)
{
	return xactlock_relation_if_free(RelationGetRelid(mark->heap), ShareUpdateExclusiveLock);
}

/*
 * Do the work on a table in a subtransaction, with its lock timeout.  If a lock is in
 * the way, leave the table to the next purge.
 *
 * Result: has the table been purged?
 */
static bool
with_timeout(void (*work) (void *arg), TablePurge *t)
{
	int			level = NewGUCNestLevel();
	ErrorData  *error;

	(void) set_config_option("lock_timeout", t->lock_timeout, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	error = subtransaction_try(work, t);
	AtEOXact_GUC(true, level);
	if (error == NULL)
		return t->purged;
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
		error->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED &&
		error->sqlerrcode != ERRCODE_OBJECT_IN_USE)
		ReThrowError(error);
	FreeErrorData(error);
	return false;
}

/*
 * Empty a table if all of its rows have expired.  arg: a TablePurge.
 *
 * Errors: 55006 if rows have come in; those of store_exclude_others() and
 * store_truncate().
 */
static void
empty_table(void *arg)
{
	TablePurge *t = arg;

	if (!all_expired(t->table))
		return;
	store_exclude_others(t->table);
	if (!all_expired(t->table))
		ereport(ERROR,			/* which releases the lock */
				(errcode(ERRCODE_OBJECT_IN_USE), errmsg("requests have been added to the table")));
	store_truncate(t->table);
	t->purged = true;
}

/*
 * Are there rows in a table, and have all of them expired, as of now?
 */
static bool
all_expired(CatalogTable table)
{
	Store		store;
	bool		expired;

	PushActiveSnapshot(GetLatestSnapshot());
	store_open(&store, table);
	expired = store_find_until(&store, DT_NOEND, BackwardScanDirection) &&
		DatumGetTimestampTz(store_get(&store, Anum_request_expires_at)) <= GetCurrentTimestamp();
	store_close(&store);
	PopActiveSnapshot();
	return expired;
}

/*
 * Delete up to DELETE_AT_ONCE expired rows of a table, if it is stuck.  arg: a
 * TablePurge.
 */
static void
delete_some(void *arg)
{
	TablePurge *t = arg;
	TimestampTz now = GetCurrentTimestamp();
	Store		store;
	int			n = 0;

	PushActiveSnapshot(GetLatestSnapshot());
	store_open(&store, t->table);
	if (is_stuck(&store, now))
	{
		bool		found;

		store_prepare_write(&store);
		for (found = store_find_until(&store, now, ForwardScanDirection);
			 found && n < DELETE_AT_ONCE;
			 found = store_find_next(&store))
		{
			CHECK_FOR_INTERRUPTS();
			if (store_delete(&store))
				n++;
		}
	}
	store_close(&store);
	PopActiveSnapshot();
	t->purged = n > 0;
	t->more = n == DELETE_AT_ONCE;
}

/*
 * Is a table kept from being emptied in due course?  We take it to be if the row that
 * expired first has been expired for more than twice as long as it was valid.
 */
static bool
is_stuck(Store *store, TimestampTz now)
{
	TimestampTz created;
	TimestampTz expires;

	if (!store_find_until(store, now, ForwardScanDirection))
		return false;
	created = DatumGetTimestampTz(store_get(store, Anum_request_created_at));
	expires = DatumGetTimestampTz(store_get(store, Anum_request_expires_at));
	return (now - expires) / 2 > expires - created;
}
