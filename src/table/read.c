/*-------------------------------------------------------------------------
 *
 * read.c
 *		Reading the tables: look-ups and probes.
 *
 * Probing.  A claim must see rows of transactions in progress, and must know
 * of a committed one whether the transaction's snapshot has it.  One index
 * scan with a dirty snapshot (the way of RelationFindReplTupleByIndex() in
 * execReplication.c and of check_exclusion_or_unique_constraint() in
 * execIndexing.c) finds the row whatever its state, and
 * table_tuple_satisfies_snapshot() then asks for the snapshot.  Rows are never
 * updated, so the scan cannot miss one by meeting its old version too late and
 * its new one too early.
 *
 * A dirty scan leaves no predicate locks at SERIALIZABLE.  None is needed for
 * a claim that stands: a row that is there never changes, so nothing can
 * conflict with having read it; and of two transactions that both found it
 * absent and went on, one inserts, and the other is told so by the claim
 * (40001).  (A claim that was rolled back to a savepoint leaves no trace of the
 * key having been absent.  Of a request, whose state does change, request.c makes
 * up for it.)  A predicate lock would cover the whole index page,
 * and let payments with different keys that are neighbours there cancel each
 * other.  A look-up that is not a claim (store_find_key) does leave its
 * predicate lock: there "absent" is an answer that others may make untrue.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "table/store.h"
#include "table/store_internal.h"

static RowState store_probe(Store *store, CatalogIndex index, ScanKey keys,
							int nkeys, ScanDirection direction);
static bool store_find(Store *store, CatalogIndex index, ScanKey keys, int nkeys,
					   ScanDirection direction);
static void payment_scan_keys(ScanKey keys, const text *scope,
							  const pg_uuid_t *payment_id);

bool
store_find_key(Store *store, const Key *key)
{
	ScanKeyData keys[2];

	store_key_scan_keys(keys, key);
	return store_find(store, catalog_key_index(store->table), keys, 2, BackwardScanDirection);
}

bool
store_find_payment(Store *store, const text *scope, const pg_uuid_t *payment_id,
				   ScanDirection direction)
{
	ScanKeyData keys[2];

	payment_scan_keys(keys, scope, payment_id);
	return store_find(store, INDEX_OPERATION_PAYMENT, keys, 2, direction);
}

bool
store_find_expired(Store *store, TimestampTz until, ScanDirection direction)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(until));
	return store_find(store, catalog_expiry_index(store->table), &key, 1, direction);
}

bool
store_find_next(Store *store)
{
	return index_getnext_slot(store->scan, store->direction, store->slot);
}

RowState
store_probe_key(Store *store, const Key *key)
{
	ScanKeyData keys[2];

	store_key_scan_keys(keys, key);
	return store_probe(store, catalog_key_index(store->table), keys, 2, BackwardScanDirection);
}

RowState
store_probe_payment(Store *store, const text *scope, const pg_uuid_t *payment_id)
{
	ScanKeyData keys[2];

	payment_scan_keys(keys, scope, payment_id);
	return store_probe(store, INDEX_OPERATION_PAYMENT, keys, 2, BackwardScanDirection);
}

/*
 * Where the row stands that a dirty scan has just put into the slot.
 */
RowState
store_row_state(Store *store)
{
	/* being inserted by another transaction */
	store->holder = store->dirty.xmin;
	store->token = store->dirty.speculativeToken;
	if (TransactionIdIsValid(store->holder))
		return ROW_IN_PROGRESS;

	if (table_tuple_satisfies_snapshot(store->heap, store->slot,
									   GetActiveSnapshot()))
		return ROW_VISIBLE;

	/* being deleted by another transaction, an administrator's */
	store->holder = store->dirty.xmax;
	if (TransactionIdIsValid(store->holder))
		return ROW_IN_PROGRESS;

	if (TransactionIdIsCurrentTransactionId(store_get_writer(store)))
		return ROW_OWN;
	return ROW_CONCURRENT;
}

Datum
store_get(Store *store, AttrNumber column)
{
	bool		isnull;

	return slot_getattr(store->slot, column, &isnull);
}

TransactionId
store_get_writer(Store *store)
{
	bool		isnull;

	return DatumGetTransactionId(slot_getsysattr(store->slot,
												 MinTransactionIdAttributeNumber,
												 &isnull));
}

static RowState
store_probe(Store *store, CatalogIndex index, ScanKey keys, int nkeys,
			ScanDirection direction)
{
	MemoryContext old_context = MemoryContextSwitchTo(store->context);
	RowState	state = ROW_ABSENT;

	store_begin_probe(store, index, nkeys);
	index_rescan(store->scan, keys, nkeys, NULL, 0);
	if (index_getnext_slot(store->scan, direction, store->slot))
		state = store_row_state(store);
	else
		ExecClearTuple(store->slot);
	MemoryContextSwitchTo(old_context);
	return state;
}

/*
 * Scan with the statement's snapshot.
 */
static bool
store_find(Store *store, CatalogIndex index, ScanKey keys, int nkeys,
		   ScanDirection direction)
{
	store_end_scan(store, store_readers_lock(store));
	store->which = index;
	store->index = index_open(catalog_index(store->heap, index), AccessShareLock);
	store->scan = compat_index_beginscan(store->heap, store->index,
										 GetActiveSnapshot(), nkeys);
	store->direction = direction;
	index_rescan(store->scan, keys, nkeys, NULL, 0);
	return store_find_next(store);
}

static void
payment_scan_keys(ScanKey keys, const text *scope, const pg_uuid_t *payment_id)
{
	store_scan_key(keys, 1, F_TEXTEQ, PointerGetDatum(scope));
	store_scan_key(keys, 2, F_UUID_EQ, UUIDPGetDatum(payment_id));
}
