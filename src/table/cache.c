/*-------------------------------------------------------------------------
 *
 * cache.c
 *		Small tables that a session reads once and keeps.
 *
 * Such a table has few rows, which hardly ever change, and nearly every call
 * needs them.  A session reads them at the first use.  It reads them again after
 * an invalidation message that names the table, or all tables.
 *
 * PostgreSQL sends no such message when the rows of a table change.  So each of
 * these tables has a trigger, idempotency.table_changed(), that sends one.  It
 * reaches every session, on standbys too, when the change commits.
 *
 * A message may also come in while the table is read.  Then the rows read may be
 * the old ones.  This call may use them: it could as well have come before the
 * change.  The next call reads again.
 *
 * A parallel operation sees no more than the snapshot that it was given.  What
 * is read in one is not kept.
 *
 * The rows need no lock on the table, so the lock goes when they have been read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "table/cache.h"

/* The caches that have been used, the newest first. */
static TableCache *caches = NULL;

/* Prepare a cache for its first use. */
static void cache_register(TableCache *cache);

/* The table with this OID may have changed; InvalidOid: all may have. */
static void cache_forget(Oid relid);

void
cache_read(TableCache *cache)
{
	Relation	rel;
	bool		parallel = IsInParallelMode();
	Snapshot	snapshot;
	SysScanDesc scan;
	HeapTuple	tuple;
	MemoryContext old_context;
	uint64		changes;

	if (cache->context == NULL)
		cache_register(cache);
	MemoryContextReset(cache->context);
	cache->clear();

	rel = catalog_open(cache->table, AccessShareLock);
	cache->relid = RelationGetRelid(rel);
	changes = cache->changes;

	snapshot = RegisterSnapshot(parallel ? GetActiveSnapshot() : GetLatestSnapshot());
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		old_context = MemoryContextSwitchTo(cache->context);
		cache->add(tuple, RelationGetDescr(rel));
		MemoryContextSwitchTo(old_context);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);

	cache->valid = changes == cache->changes && !parallel;
}

static void
cache_register(TableCache *cache)
{
	if (caches == NULL)
		catalog_on_invalidation(cache_forget);
	cache->context = AllocSetContextCreate(CacheMemoryContext, "idempotency table",
										   ALLOCSET_SMALL_SIZES);
	cache->next = caches;
	caches = cache;
}

static void
cache_forget(Oid relid)
{
	for (TableCache *cache = caches; cache; cache = cache->next)
	{
		if (relid == InvalidOid || relid == cache->relid)
		{
			cache->valid = false;
			cache->changes++;
		}
	}
}
