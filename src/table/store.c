/*-------------------------------------------------------------------------
 *
 * store.c
 *		The way to the tables: opening and closing.
 *
 * Rows are read and written through the table and index access methods.  There
 * is no planner, no SPI and no executor node between, so that a call costs what
 * a bare statement costs.
 *
 * read.c has look-ups and probes, walk.c the probes of many keys in their order,
 * and write.c all that writes.  What they share is here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_collation_d.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "table/store.h"
#include "table/store_internal.h"

static bool is_probe(const Store *store);
static void release_pages(Store *store);

void
store_open(Store *store, CatalogTable table)
{
	store->table = table;
	store->heap = catalog_open(table, AccessShareLock);
	store->context = CurrentMemoryContext;
	store->slot = table_slot_create(store->heap, NULL);
	store->scan = NULL;
	store->descents = 0;
	store->rounds = 0;
	store->writer = NULL;
	store->reported = 0;
}

void
store_close(Store *store)
{
	LOCKMODE	unlock = store_readers_lock(store);

	/* the triggers that fire now may wait for anything */
	store_end_scan(store, unlock);
	ExecDropSingleTupleTableSlot(store->slot);
	store_end_write(store);
	table_close(store->heap, unlock);
}

void
store_let_go(Store *store)
{
	if (!TTS_EMPTY(store->slot))
		ExecMaterializeSlot(store->slot);
	if (store_readers_lock(store) == NoLock && is_probe(store))
		release_pages(store);
	else
		store_end_scan(store, store_readers_lock(store));
}

/*
 * Is the scan that of a probe, if there is one?
 */
static bool
is_probe(const Store *store)
{
	return store->scan && store->scan->xs_snapshot == &store->dirty;
}

/*
 * Release the pages of a probe's scan.  The next probe can use the scan.
 */
static void
release_pages(Store *store)
{
	MemoryContext old_context = MemoryContextSwitchTo(store->context);

	compat_index_let_go(store->scan);
	index_rescan(store->scan, NULL, store->scan->numberOfKeys, NULL, 0);
	MemoryContextSwitchTo(old_context);
}

void
store_pause(Store *store)
{
	MemoryContext old_context = MemoryContextSwitchTo(store->context);

	Assert(store->scan != NULL);
	ExecClearTuple(store->slot);
	compat_index_let_go(store->scan);
	MemoryContextSwitchTo(old_context);
}

void
store_wait(Store *store)
{
	TransactionId holder = store->holder;
	uint32		token = store->token;
	ItemPointerData tid = store->slot->tts_tid;

	Assert(TransactionIdIsValid(holder));
	store_let_go(store);

	if (token != 0)
		SpeculativeInsertionWait(holder, token);
	else
		XactLockTableWait(holder, store->heap, &tid, XLTW_InsertIndexUnique);
}

void
store_begin_probe(Store *store, CatalogIndex index, int nkeys)
{
	if (is_probe(store) && store->which == index && store->scan->numberOfKeys == nkeys)
		return;

	store_end_scan(store, store_readers_lock(store));
	store->which = index;
	store->index = index_open(catalog_index(store->heap, index), AccessShareLock);
	InitDirtySnapshot(store->dirty);
	store->scan = compat_index_beginscan(store->heap, store->index,
										 &store->dirty, nkeys);
}

void
store_end_scan(Store *store, LOCKMODE unlock)
{
	if (store->scan == NULL)
		return;
	index_endscan(store->scan);
	index_close(store->index, unlock);
	store->scan = NULL;
}

LOCKMODE
store_readers_lock(const Store *store)
{
	return catalog_readers_lock(store->table);
}

void
store_key_scan_keys(ScanKey keys, const Key *key)
{
	store_scan_key(keys, 1, F_TEXTEQ, PointerGetDatum(key->key));
	store_scan_key(keys, 2, F_TEXTEQ, PointerGetDatum(key->scope));
}

void
store_scan_key(ScanKey keys, int column, RegProcedure equals, Datum value)
{
	Assert(column >= 1 && column <= 2);
	ScanKeyEntryInitialize(&keys[column - 1], 0, column, BTEqualStrategyNumber,
						   InvalidOid,
						   equals == F_TEXTEQ ? C_COLLATION_OID : InvalidOid,
						   equals, value);
}
