/*-------------------------------------------------------------------------
 *
 * read.c
 *		Reading the tables: look-ups and probes.
 *
 * A look-up finds the rows that a SELECT would find.  A probe finds a row
 * whatever its state, and says where it stands.
 *
 * A claim needs probes.  It must see the rows of transactions in progress.  And
 * of a committed row it must know whether the transaction's snapshot has it.  So
 * a probe is one index scan with a dirty snapshot, which finds the row whatever
 * its state; table_tuple_satisfies_snapshot() then asks for the snapshot.
 * RelationFindReplTupleByIndex() in execReplication.c scans the same way, and so
 * does check_exclusion_or_unique_constraint() in execIndexing.c.  Rows are never
 * updated, so the scan cannot miss one by meeting its old version too late and
 * its new one too early.
 * An account's row is replaced, so that a scan can miss both: account.c says what to do
 * then.
 *
 * A probe leaves no predicate locks at SERIALIZABLE.  A claim that stands needs
 * none.  If it found a row, that row never changes, so nothing can conflict with
 * having read it.  If two transactions found no row and both went on, one of them
 * inserts, and the claim fails in the other (40001).
 *
 * A claim that was rolled back to a savepoint leaves no trace that the key was
 * absent.  The state of a request does change.  So request.c leaves a predicate lock
 * where one is needed.
 *
 * A predicate lock would cover the whole page of the index.  Payments with
 * different keys that are neighbours there would cancel each other.
 *
 * A look-up that is no claim does leave its predicate lock: "absent" is an answer
 * that others may make untrue.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "table/store.h"
#include "table/store_internal.h"

/* Probe with these scan keys: the first row in this direction. */
static RowState store_probe(Store *store, CatalogIndex index, ScanKey keys,
							int nkeys, ScanDirection direction);

/* Begin a look-up with these scan keys, and go to its first row. */
static bool store_find(Store *store, CatalogIndex index, ScanKey keys, int nkeys,
					   ScanDirection direction);

static RowState read_probed(Store *store, ScanDirection direction);

/* One to three scan keys, for the entries of an account in a range.  Returns how many. */
static int	entry_scan_keys(ScanKey keys, int64 account, int64 from, int64 upto);

/* Two scan keys, for the operations of a payment. */
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

	Assert(store->table == TABLE_OPERATION);
	payment_scan_keys(keys, scope, payment_id);
	return store_find(store, INDEX_OPERATION_PAYMENT, keys, 2, direction);
}

bool
store_find_payments(Store *store, const text *scope, const pg_uuid_t *id,
					bool after, const pg_uuid_t *last)
{
	ScanKeyData keys[3];

	Assert(store->table == TABLE_OPERATION);
	store_scan_key(keys, 1, F_TEXTEQ, PointerGetDatum(scope));
	ScanKeyInit(&keys[1], 2,
				after ? BTGreaterStrategyNumber : BTGreaterEqualStrategyNumber,
				after ? F_UUID_GT : F_UUID_GE, UUIDPGetDatum(id));
	ScanKeyInit(&keys[2], 2, BTLessEqualStrategyNumber, F_UUID_LE,
				UUIDPGetDatum(last));
	return store_find(store, INDEX_OPERATION_PAYMENT, keys, 3, ForwardScanDirection);
}

bool
store_find_until(Store *store, TimestampTz until, ScanDirection direction)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(until));
	return store_find(store, catalog_time_index(store->table), &key, 1, direction);
}

bool
store_find_lapsed(Store *store, const text *scope, TimestampTz until)
{
	ScanKeyData keys[2];

	store_scan_key(keys, 1, F_TEXTEQ, PointerGetDatum(scope));
	ScanKeyInit(&keys[1], 2, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(until));
	return store_find(store, catalog_lease_index(store->table), keys, 2,
					  ForwardScanDirection);
}

bool
store_find_entries(Store *store, int64 account, int64 from, int64 upto,
				   ScanDirection direction)
{
	ScanKeyData keys[3];
	int			n = entry_scan_keys(keys, account, from, upto);

	return store_find(store, INDEX_ENTRY, keys, n, direction);
}

void
store_end_look_up(Store *store)
{
	store_end_scan(store, AccessShareLock);
}

bool
store_find_next(Store *store)
{
	MemoryContext old_context = MemoryContextSwitchTo(store->context);
	bool		found;

	Assert(store->scan != NULL);
	found = index_getnext_slot(store->scan, store->direction, store->slot);
	MemoryContextSwitchTo(old_context);
	return found;
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

	Assert(store->table == TABLE_OPERATION);
	payment_scan_keys(keys, scope, payment_id);
	return store_probe(store, INDEX_OPERATION_PAYMENT, keys, 2, BackwardScanDirection);
}

RowState
store_probe_operation(Store *store, const text *scope, const pg_uuid_t *payment_id, int32 seq)
{
	ScanKeyData keys[3];

	Assert(store->table == TABLE_OPERATION);
	payment_scan_keys(keys, scope, payment_id);
	ScanKeyInit(&keys[2], 3, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(seq));
	return store_probe(store, INDEX_OPERATION_PAYMENT, keys, 3, ForwardScanDirection);
}

RowState
store_probe_entries(Store *store, int64 account, int64 from, int64 upto)
{
	ScanKeyData keys[3];
	int			n = entry_scan_keys(keys, account, from, upto);

	return store_probe(store, INDEX_ENTRY, keys, n, BackwardScanDirection);
}

RowState
store_probe_before(Store *store)
{
	MemoryContext old_context = MemoryContextSwitchTo(store->context);
	RowState	state = read_probed(store, BackwardScanDirection);

	MemoryContextSwitchTo(old_context);
	return state;
}

/*
 * The table may be shorter than it was when the row was found there.  The lock on it is
 * kept to the end of the transaction, so it does not become shorter now.
 */
RowState
store_probe_place(Store *store, const ItemPointerData *place)
{
	ItemPointerData tid = *place;

	Assert(store_readers_lock(store) == NoLock);
	InitDirtySnapshot(store->dirty);
	if (ItemPointerGetBlockNumber(&tid) < RelationGetNumberOfBlocks(store->heap) &&
		table_tuple_fetch_row_version(store->heap, &tid, &store->dirty, store->slot))
		return store_row_state(store);
	ExecClearTuple(store->slot);
	return ROW_ABSENT;
}

bool
store_is_being_inserted(Store *store)
{
	return TransactionIdIsValid(store->dirty.xmin);
}

RowState
store_row_state(Store *store)
{
	/* a transaction in progress is inserting it */
	store->holder = store->dirty.xmin;
	store->token = store->dirty.speculativeToken;
	if (TransactionIdIsValid(store->holder))
		return ROW_IN_PROGRESS;

	if (table_tuple_satisfies_snapshot(store->heap, store->slot,
									   GetActiveSnapshot()))
		return ROW_VISIBLE;

	/* a transaction in progress is deleting it: a purge, or an administrator */
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
	Datum		value;

	Assert(!TTS_EMPTY(store->slot));
	Assert(column >= 1 && column <= catalog_natts(store->table));
	value = slot_getattr(store->slot, column, &isnull);
	Assert(!isnull);
	return value;
}

bool
store_get_if_any(Store *store, AttrNumber column, Datum *value)
{
	bool		isnull;

	Assert(!TTS_EMPTY(store->slot));
	*value = slot_getattr(store->slot, column, &isnull);
	return !isnull;
}

TransactionId
store_get_writer(Store *store)
{
	bool		free;

	Assert(!TTS_EMPTY(store->slot) && !TTS_IS_VIRTUAL(store->slot));
	return HeapTupleHeaderGetXmin(ExecFetchSlotHeapTuple(store->slot, false, &free)->t_data);
}

bool
store_written_by_command(Store *store)
{
	bool		isnull;

	return TransactionIdIsCurrentTransactionId(store_get_writer(store)) &&
		DatumGetCommandId(slot_getsysattr(store->slot, MinCommandIdAttributeNumber,
										  &isnull)) >= GetCurrentCommandId(false);
}

static RowState
store_probe(Store *store, CatalogIndex index, ScanKey keys, int nkeys,
			ScanDirection direction)
{
	MemoryContext old_context = MemoryContextSwitchTo(store->context);
	RowState	state;

	store_begin_probe(store, index, nkeys);
	index_rescan(store->scan, keys, nkeys, NULL, 0);
	state = read_probed(store, direction);
	MemoryContextSwitchTo(old_context);
	return state;
}

/*
 * Read the next row of a probe's scan.
 */
static RowState
read_probed(Store *store, ScanDirection direction)
{
	if (index_getnext_slot(store->scan, direction, store->slot))
		return store_row_state(store);
	ExecClearTuple(store->slot);
	return ROW_ABSENT;
}

static bool
store_find(Store *store, CatalogIndex index, ScanKey keys, int nkeys,
		   ScanDirection direction)
{
	MemoryContext old_context = MemoryContextSwitchTo(store->context);

	store_end_scan(store, store_readers_lock(store));
	store->which = index;
	store->index = index_open(catalog_index(store->heap, index), AccessShareLock);
	store->scan = compat_index_beginscan(store->heap, store->index,
										 GetActiveSnapshot(), nkeys);
	store->direction = direction;
	index_rescan(store->scan, keys, nkeys, NULL, 0);
	MemoryContextSwitchTo(old_context);
	return store_find_next(store);
}

static void
payment_scan_keys(ScanKey keys, const text *scope, const pg_uuid_t *payment_id)
{
	store_scan_key(keys, 1, F_TEXTEQ, PointerGetDatum(scope));
	store_scan_key(keys, 2, F_UUID_EQ, UUIDPGetDatum(payment_id));
}

/*
 * A scan compares each entry of a page with each key.  So there is no key that excludes
 * nothing.
 */
static int
entry_scan_keys(ScanKey keys, int64 account, int64 from, int64 upto)
{
	int			n = 0;

	ScanKeyInit(&keys[n++], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(account));
	if (from > 1)
		ScanKeyInit(&keys[n++], 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
	if (upto < PG_INT64_MAX)
		ScanKeyInit(&keys[n++], 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(upto));
	return n;
}
