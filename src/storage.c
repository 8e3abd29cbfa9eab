/*-------------------------------------------------------------------------
 *
 * storage.c
 *		The way to the tables.
 *
 * Rows are read and written through the table and index access methods, with
 * no planner, no SPI and no executor node between, so that a call costs what
 * a bare statement costs.
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
 * key having been absent.)  A predicate lock would cover the whole index page,
 * and let payments with different keys that are neighbours there cancel each
 * other.  A look-up that is not a claim (store_find_key) does leave its
 * predicate lock: there "absent" is an answer that others may make untrue.
 *
 * Writing.  Constraints, further indexes and AFTER ROW triggers that an
 * administrator put on a table are honoured.  BEFORE triggers could change or
 * suppress the row of a payment that the caller is told was stored, and
 * statement triggers and transition tables have no statement to go with; a
 * table that has them is refused.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation_d.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "storage.h"

static void probe_begin(Store *store, CatalogIndex index, int nkeys);
static void probe_end(Store *store, LOCKMODE unlock);
static RowState probe_state(Store *store);
static bool find(Store *store, CatalogIndex index, ScanKey keys, int nkeys,
				 ScanDirection direction);
static void key_scan_keys(ScanKey keys, const Key *key);
static void scan_key(ScanKey keys, int column, RegProcedure equals, Datum value);
static void check_triggers(ResultRelInfo *rri);

void
store_open(Store *store, CatalogTable table)
{
	store->heap = catalog_open(table, AccessShareLock);
	store->slot = table_slot_create(store->heap, NULL);
	store->index = NULL;
	store->scan = NULL;
}

void
store_close(Store *store)
{
	probe_end(store, NoLock);
	ExecDropSingleTupleTableSlot(store->slot);
	table_close(store->heap, NoLock);
}

void
store_prepare_write(Store *store)
{
	Oid			relid = RelationGetRelid(store->heap);

	if (ConditionalLockRelationOid(relid, RowExclusiveLock))
		return;

	/*
	 * REINDEX has the table locked against writers when it waits for readers
	 * of the index; so do not wait for the table with the index locked.
	 */
	probe_end(store, AccessShareLock);
	LockRelationOid(relid, RowExclusiveLock);
}

bool
store_find_key(Store *store, const Key *key)
{
	ScanKeyData keys[2];

	key_scan_keys(keys, key);
	return find(store, INDEX_OPERATION_KEY, keys, 2, ForwardScanDirection);
}

bool
store_find_payment(Store *store, text *scope, pg_uuid_t *payment_id)
{
	ScanKeyData keys[2];

	scan_key(keys, 1, F_TEXTEQ, PointerGetDatum(scope));
	scan_key(keys, 2, F_UUID_EQ, UUIDPGetDatum(payment_id));
	return find(store, INDEX_OPERATION_PAYMENT, keys, 2, BackwardScanDirection);
}

RowState
store_probe_key(Store *store, const Key *key)
{
	ScanKeyData keys[2];

	key_scan_keys(keys, key);
	probe_begin(store, INDEX_OPERATION_KEY, 2);
	index_rescan(store->scan, keys, 2, NULL, 0);
	if (!index_getnext_slot(store->scan, ForwardScanDirection, store->slot))
		return ROW_ABSENT;
	return probe_state(store);
}

void
store_wait(Store *store)
{
	TransactionId holder = store->holder;
	uint32		token = store->token;
	ItemPointerData tid = store->slot->tts_tid;

	/* no pins on buffers while waiting: VACUUM may want them */
	ExecClearTuple(store->slot);
	probe_end(store, NoLock);

	if (token != 0)
		SpeculativeInsertionWait(holder, token);
	else
		XactLockTableWait(holder, store->heap, &tid, XLTW_InsertIndexUnique);
}

void
store_insert(Store *store, Datum *values, bool *nulls)
{
	Relation	heap = store->heap;
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *rri = makeNode(ResultRelInfo);
	TupleTableSlot *slot;
	List	   *recheck;

	InitResultRelInfo(rri, heap, 0, NULL, 0);
	estate->es_opened_result_relations =
		lappend(estate->es_opened_result_relations, rri);
	estate->es_output_cid = GetCurrentCommandId(true);
	ExecOpenIndices(rri, false);

	slot = MakeSingleTupleTableSlot(RelationGetDescr(heap), &TTSOpsVirtual);
	memcpy(slot->tts_values, values, sizeof(Datum) * slot->tts_tupleDescriptor->natts);
	memcpy(slot->tts_isnull, nulls, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(heap);

	if (rri->ri_TrigDesc)
		check_triggers(rri);
	if (heap->rd_att->constr)
		ExecConstraints(rri, slot, estate);

	table_tuple_insert(heap, slot, estate->es_output_cid, 0, NULL);
	recheck = compat_insert_index_tuples(rri, slot, estate);

	if (rri->ri_TrigDesc || recheck != NIL)
	{
		AfterTriggerBeginQuery();
		ExecARInsertTriggers(estate, rri, slot, recheck, NULL);
		AfterTriggerEndQuery(estate);
	}

	ExecDropSingleTupleTableSlot(slot);
	ExecResetTupleTable(estate->es_tupleTable, false);	/* triggers' slots */
	ExecCloseResultRelations(estate);
	FreeExecutorState(estate);
	pfree(rri);
}

/*
 * Begin a scan with a dirty snapshot, or go on with the one that is open.
 */
static void
probe_begin(Store *store, CatalogIndex index, int nkeys)
{
	if (store->scan)
		return;
	store->index = index_open(catalog_index(store->heap, index), AccessShareLock);
	InitDirtySnapshot(store->dirty);
	store->scan = compat_index_beginscan(store->heap, store->index,
										 &store->dirty, nkeys);
}

/*
 * End the scan, if there is one, and release this lock on its index.
 */
static void
probe_end(Store *store, LOCKMODE unlock)
{
	if (store->scan == NULL)
		return;
	index_endscan(store->scan);
	index_close(store->index, unlock);
	store->scan = NULL;
}

/*
 * Where the row stands that a dirty scan has just put into the slot.
 */
static RowState
probe_state(Store *store)
{
	Datum		xmin;
	bool		isnull;

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

	xmin = slot_getsysattr(store->slot, MinTransactionIdAttributeNumber, &isnull);
	if (TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin)))
		return ROW_OWN;
	return ROW_CONCURRENT;
}

/*
 * Look a row up with the statement's snapshot.
 */
static bool
find(Store *store, CatalogIndex index, ScanKey keys, int nkeys,
	 ScanDirection direction)
{
	Relation	rel = index_open(catalog_index(store->heap, index), AccessShareLock);
	IndexScanDesc scan = compat_index_beginscan(store->heap, rel,
												GetActiveSnapshot(), nkeys);
	bool		found;

	index_rescan(scan, keys, nkeys, NULL, 0);
	found = index_getnext_slot(scan, direction, store->slot);
	index_endscan(scan);
	index_close(rel, NoLock);
	return found;
}

static void
key_scan_keys(ScanKey keys, const Key *key)
{
	scan_key(keys, 1, F_TEXTEQ, PointerGetDatum(key->key));
	scan_key(keys, 2, F_TEXTEQ, PointerGetDatum(key->scope));
}

/*
 * "The index's column-th column equals value"; all text columns of our indexes
 * have collation "C".
 */
static void
scan_key(ScanKey keys, int column, RegProcedure equals, Datum value)
{
	ScanKeyEntryInitialize(&keys[column - 1], 0, column, BTEqualStrategyNumber,
						   InvalidOid,
						   equals == F_TEXTEQ ? C_COLLATION_OID : InvalidOid,
						   equals, value);
}

static void
check_triggers(ResultRelInfo *rri)
{
	TriggerDesc *triggers = rri->ri_TrigDesc;

	if (triggers->trig_insert_before_row ||
		triggers->trig_insert_before_statement ||
		triggers->trig_insert_after_statement ||
		triggers->trig_insert_new_table)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s.%s\" has a BEFORE INSERT trigger, a statement-level one or a transition table",
						IDEM_SCHEMA, RelationGetRelationName(rri->ri_RelationDesc)),
				 errhint("Use an AFTER INSERT trigger FOR EACH ROW.")));
}
