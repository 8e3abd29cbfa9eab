/*-------------------------------------------------------------------------
 *
 * clock.c
 *		The clock of requests.
 *
 * A row has expired if its expires_at has come.  A purge removes rows that have
 * expired.  After that, somebody may set the server's clock back.  Then a row that
 * was removed would not have expired yet, and its work would be done twice.
 *
 * So a purge notes its time in idempotency.request_purge.  The clock of requests
 * never shows a time before the last purge.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "storage/lmgr.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "request/clock.h"
#include "table/cache.h"

/* The time of the last purge; DT_NOBEGIN: there was none. */
static TimestampTz purged_until;

/* For the cache: forget the purge. */
static void purge_clear(void);

/* For the cache: take a row of idempotency.request_purge. */
static void purge_add(HeapTuple tuple, TupleDesc desc);

/* The cache of idempotency.request_purge. */
static TableCache purge_cache = {
	.table = TABLE_REQUEST_PURGE,
	.clear = purge_clear,
	.add = purge_add,
};

TimestampTz
request_expiry_now(void)
{
	cache_use(&purge_cache);
	return Max(GetCurrentTimestamp(), purged_until);
}

void
request_note_purge(Store *mark)
{
	TimestampTz until = GetCurrentTimestamp();
	Datum		value;
	bool		isnull = false;
	bool		found;

	Assert(mark->table == TABLE_REQUEST_PURGE);
	Assert(CheckRelationLockedByMe(mark->heap, ShareUpdateExclusiveLock, true));

	PushActiveSnapshot(GetLatestSnapshot());
	store_prepare_write(mark);
	for (found = store_find_until(mark, DT_NOEND, ForwardScanDirection);
		 found;
		 found = store_find_next(mark))
	{
		until = Max(until, DatumGetTimestampTz(store_get(mark, Anum_request_purge_purged_until)));
		(void) store_delete(mark);
	}
	value = TimestampTzGetDatum(until);
	store_insert(mark, &value, &isnull);	/* a trigger makes all sessions
											 * read it */
	PopActiveSnapshot();
}

static void
purge_clear(void)
{
	purged_until = DT_NOBEGIN;
}

static void
purge_add(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		until = heap_getattr(tuple, Anum_request_purge_purged_until, desc,
									 &isnull);

	purged_until = Max(purged_until, DatumGetTimestampTz(until));
}
