/*-------------------------------------------------------------------------
 *
 * purge.c
 *		Dropping requests that have expired.
 *
 * idem_purge()
 *
 * A table in which all rows have expired is emptied at once (row.c tells why
 * one after the other comes to that).  Nobody may be at work on it then, so its
 * lock is waited for; and behind a lock that is waited for, others wait too: so
 * not for long, and if it is not to be had, the next purge is soon enough.  While
 * it waits, a purge has no table locked that others may want: it waits for the
 * first one alone.  Two purges never meet.
 *
 * A row that lives far longer than others, by its lease or its retention, keeps
 * its table from being emptied.  Then some of the others are deleted.  That it
 * is so is told by the oldest row, which in due course would be gone.
 *
 * No rights on the tables are needed, and none are taken on: who may call the
 * function may do this.
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

#include "table/catalog.h"
#include "compat.h"
#include "request/clock.h"
#include "request/purge.h"
#include "request/row.h"
#include "table/store.h"
#include "subtransaction.h"
#include "xactlock.h"

PG_FUNCTION_INFO_V1(idem_purge);

#define COMMAND			"idem_purge()"
#define LOCK_TIMEOUT	"400ms"
#define DELETE_AT_ONCE	10000	/* rows */

/* One table, and what became of it. */
typedef struct TablePurge
{
	CatalogTable table;
	const char *lock_timeout;
	bool		purged;
	bool		more;			/* could have been deleted */
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
 * Result: how many those were.
 *
 * Errors: 25001 above READ COMMITTED; 25006.
 */
Datum
idem_purge(PG_FUNCTION_ARGS)
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
	PreventCommandIfReadOnly(COMMAND);
	PreventCommandDuringRecovery(COMMAND);

	/* in a snapshot of before, rows that came since would not be seen */
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

	return emptied;
}

/*
 * False: another purge is at it.
 */
static bool
take_turn(Store *mark)
{
	return xactlock_relation_if_free(RelationGetRelid(mark->heap), ShareUpdateExclusiveLock);
}

/*
 * Do it, with the lock timeout; what is in the way is left to the next purge.
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

static void
empty_table(void *arg)
{
	TablePurge *t = arg;

	if (!all_expired(t->table))
		return;
	store_exclude_others(t->table);
	if (!all_expired(t->table))
		ereport(ERROR,			/* which lets the lock go */
				(errcode(ERRCODE_OBJECT_IN_USE), errmsg("requests have come in")));
	store_truncate(t->table);
	t->purged = true;
}

/*
 * Are there rows, and have all of them expired, as of now?
 */
static bool
all_expired(CatalogTable table)
{
	Store		store;
	bool		expired;

	PushActiveSnapshot(GetLatestSnapshot());
	store_open(&store, table);
	expired = store_find_expired(&store, DT_NOEND, BackwardScanDirection) &&
		DatumGetTimestampTz(store_get(&store, Anum_request_expires_at)) <= GetCurrentTimestamp();
	store_close(&store);
	PopActiveSnapshot();
	return expired;
}

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
		for (found = store_find_expired(&store, now, ForwardScanDirection);
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
 * Has the oldest row been expired for twice as long as it was valid?
 */
static bool
is_stuck(Store *store, TimestampTz now)
{
	TimestampTz created;
	TimestampTz expires;

	if (!store_find_expired(store, now, ForwardScanDirection))
		return false;
	created = DatumGetTimestampTz(store_get(store, Anum_request_created_at));
	expires = DatumGetTimestampTz(store_get(store, Anum_request_expires_at));
	return (now - expires) / 2 > expires - created;
}
