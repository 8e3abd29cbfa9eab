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
 * key having been absent.  Of a request, whose state does change, request.c makes
 * up for it.)  A predicate lock would cover the whole index page,
 * and let payments with different keys that are neighbours there cancel each
 * other.  A look-up that is not a claim (store_find_key) does leave its
 * predicate lock: there "absent" is an answer that others may make untrue.
 *
 * Many keys.  Keys in the order of their index are found by walking through its
 * entries: position(), read_on() and what they call.  They read index entries
 * one by one (index_getnext_tid, then index_fetch_heap), which PostgreSQL 20 may
 * not offer to extensions any more.  Nothing else depends on how they do it, and
 * store_probe_key() for each key would do the same, only slower.
 *
 * Writing.  Constraints, foreign keys, further indexes and AFTER ROW triggers
 * that an administrator put on a table are honoured.  BEFORE triggers could
 * change or suppress the row of a payment that the caller is told was stored,
 * and statement triggers and transition tables have no statement to go with; a
 * table that has them is refused.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation_d.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "table/storage.h"

/* Reading on costs as much as a new descent after about so many index entries. */
#define PROBE_MAX_STEPS	32

/* What is needed to insert into a table. */
typedef struct StoreWriter
{
	EState	   *estate;
	ResultRelInfo *rri;			/* the table, with its indexes open */
	CommandId	cid;
	BulkInsertState bulk;		/* these two for many at once, or NULL */
	TupleTableSlot *many[STORE_MANY];
} StoreWriter;

static void probe_begin(Store *store, CatalogIndex index, int nkeys);
static RowState probe(Store *store, CatalogIndex index, ScanKey keys, int nkeys,
					  ScanDirection direction);
static LOCKMODE readers_lock_to_release(const Store *store);
static void probe_end(Store *store, LOCKMODE unlock);
static RowState probe_state(Store *store);
static void position(Store *store, const Key *key);
static bool read_on(Store *store, const Key *key);
static void next_entry(Store *store);
static int	compare_entry(Store *store, const Key *key);
static bool find(Store *store, CatalogIndex index, ScanKey keys, int nkeys,
				 ScanDirection direction);
static void payment_scan_keys(ScanKey keys, const text *scope,
							  const pg_uuid_t *payment_id);
static CatalogIndex key_index(const Store *store);
static void key_scan_keys(ScanKey keys, const Key *key);
static void scan_key(ScanKey keys, int column, RegProcedure equals, Datum value);
static StoreWriter *writer_begin(Store *store);
static void fill_slot(Store *store, TupleTableSlot *slot, Datum *values,
					  bool *nulls);
static void insert_index_entries(StoreWriter *writer, TupleTableSlot *slot);
static void check_triggers(ResultRelInfo *rri, bool deletes);

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
}

void
store_close(Store *store)
{
	LOCKMODE	unlock = readers_lock_to_release(store);

	/* the triggers that fire now may wait for anything */
	probe_end(store, unlock);
	ExecDropSingleTupleTableSlot(store->slot);
	store_end_write(store);
	table_close(store->heap, unlock);
}

void
store_prepare_write(Store *store)
{
	Oid			relid = RelationGetRelid(store->heap);
	ResourceOwner old_owner = CurrentResourceOwner;
	bool		locked;

	/*
	 * The lock is the (sub)transaction's, as the row is: that of a cursor's
	 * portal would be gone, and the table could be emptied, when a later FETCH
	 * fails and is rolled back.
	 */
	CurrentResourceOwner = CurTransactionResourceOwner;
	locked = ConditionalLockRelationOid(relid, RowExclusiveLock);
	CurrentResourceOwner = old_owner;
	if (locked)
		return;

	/*
	 * REINDEX has the table locked against writers when it waits for readers
	 * of the index; so do not wait for the table with the index locked.
	 */
	probe_end(store, AccessShareLock);
	store_let_go(store);
	CurrentResourceOwner = CurTransactionResourceOwner;
	LockRelationOid(relid, RowExclusiveLock);
	CurrentResourceOwner = old_owner;
}

void
store_no_write(Store *store)
{
	ResourceOwner old_owner = CurrentResourceOwner;

	CurrentResourceOwner = CurTransactionResourceOwner;
	UnlockRelationOid(RelationGetRelid(store->heap), RowExclusiveLock);
	CurrentResourceOwner = old_owner;
}

bool
store_find_key(Store *store, const Key *key)
{
	ScanKeyData keys[2];

	key_scan_keys(keys, key);
	return find(store, key_index(store), keys, 2, BackwardScanDirection);
}

bool
store_find_payment(Store *store, const text *scope, const pg_uuid_t *payment_id,
				   ScanDirection direction)
{
	ScanKeyData keys[2];

	payment_scan_keys(keys, scope, payment_id);
	return find(store, INDEX_OPERATION_PAYMENT, keys, 2, direction);
}

bool
store_find_next(Store *store)
{
	return index_getnext_slot(store->scan, store->direction, store->slot);
}

bool
store_find_expired(Store *store, TimestampTz until, ScanDirection direction)
{
	CatalogIndex index = store->table == TABLE_HOLD ? INDEX_HOLD_DUE
		: store->table == TABLE_REQUEST_PURGE ? INDEX_REQUEST_PURGE
		: INDEX_REQUEST_EXPIRY + (store->table - TABLE_REQUEST);
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(until));
	return find(store, index, &key, 1, direction);
}

RowState
store_probe_key(Store *store, const Key *key)
{
	ScanKeyData keys[2];

	key_scan_keys(keys, key);
	return probe(store, key_index(store), keys, 2, BackwardScanDirection);
}

RowState
store_probe_key_in_order(Store *store, const Key *key, bool first)
{
	MemoryContext old_context;
	RowState	state;

	/*
	 * To read a page of entries costs twice as much as to look for one.  It pays
	 * if it tells of several keys: where they lie close together, or with
	 * nothing between.  Where it did not, look for one at a time, and try it
	 * again only now and then.
	 */
	if (first && (store->descents < 2 || ++store->rounds % 8 == 0))
		store->descents = 0;
	if (store->descents >= 2)
		return store_probe_key(store, key);

	old_context = MemoryContextSwitchTo(store->context);
	if (first || store->descents == 0)
		position(store, key);
	state = read_on(store, key) ? probe_state(store) : ROW_ABSENT;
	MemoryContextSwitchTo(old_context);
	return state;
}

RowState
store_probe_payment(Store *store, const text *scope, const pg_uuid_t *payment_id)
{
	ScanKeyData keys[2];

	payment_scan_keys(keys, scope, payment_id);
	return probe(store, INDEX_OPERATION_PAYMENT, keys, 2, BackwardScanDirection);
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

void
store_let_go(Store *store)
{
	if (!TTS_EMPTY(store->slot))
		ExecMaterializeSlot(store->slot);
	probe_end(store, readers_lock_to_release(store));
}

void
store_pause(Store *store)
{
	MemoryContext old_context = MemoryContextSwitchTo(store->context);

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

	store_let_go(store);

	if (token != 0)
		SpeculativeInsertionWait(holder, token);
	else
		XactLockTableWait(holder, store->heap, &tid, XLTW_InsertIndexUnique);
}

void
store_insert(Store *store, Datum *values, bool *nulls)
{
	StoreWriter *writer = writer_begin(store);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(store->heap),
													&TTSOpsVirtual);

	fill_slot(store, slot, values, nulls);
	table_tuple_insert(store->heap, slot, writer->cid, 0, NULL);
	insert_index_entries(writer, slot);
	ExecDropSingleTupleTableSlot(slot);
}

void
store_insert_many(Store *store, int n, Datum **values, bool **nulls)
{
	StoreWriter *writer = writer_begin(store);
	MemoryContext old_context;

	Assert(n <= STORE_MANY);
	old_context = MemoryContextSwitchTo(writer->estate->es_query_cxt);
	if (writer->bulk == NULL)
		writer->bulk = GetBulkInsertState();
	for (int i = 0; i < n; i++)
		if (writer->many[i] == NULL)
			writer->many[i] = table_slot_create(store->heap,
												&writer->estate->es_tupleTable);
	MemoryContextSwitchTo(old_context);

	for (int i = 0; i < n; i++)
		fill_slot(store, writer->many[i], values[i], nulls[i]);
	table_multi_insert(store->heap, writer->many, n, writer->cid, 0, writer->bulk);
	ReleaseBulkInsertStatePin(writer->bulk);	/* the indexes may have us wait */
	for (int i = 0; i < n; i++)
	{
		insert_index_entries(writer, writer->many[i]);
		ExecClearTuple(writer->many[i]);
	}
}

void
store_end_write(Store *store)
{
	StoreWriter *writer = store->writer;

	if (writer == NULL)
		return;
	AfterTriggerEndQuery(writer->estate);
	if (writer->bulk)
	{
		FreeBulkInsertState(writer->bulk);
		table_finish_bulk_insert(store->heap, 0);
	}
	ExecResetTupleTable(writer->estate->es_tupleTable, false);
	ExecCloseResultRelations(writer->estate);
	FreeExecutorState(writer->estate);
	store->writer = NULL;
}

void
store_forget_write(Store *store)
{
	if (store->writer)
		MemoryContextDelete(store->writer->estate->es_query_cxt);
	store->writer = NULL;
}

bool
store_may_refuse(Store *store)
{
	TupleConstr *constr = RelationGetDescr(store->heap)->constr;
	List	   *indexes = RelationGetIndexList(store->heap);
	int			n = list_length(indexes);

	list_free(indexes);
	return store->heap->trigdesc != NULL || (constr && constr->num_check > 0) ||
		n > catalog_nindexes(store->table) ||
		catalog_has_not_null(store->heap, store->table);
}

bool
store_delete(Store *store)
{
	StoreWriter *writer = writer_begin(store);

	if (compat_tuple_delete(store->heap, &store->slot->tts_tid, writer->cid,
							GetActiveSnapshot()) != TM_Ok)
		return false;
	if (writer->rri->ri_TrigDesc)
	{
		ExecARDeleteTriggers(writer->estate, writer->rri,
							 &store->slot->tts_tid, NULL, NULL, false);
		ResetPerTupleExprContext(writer->estate);
	}
	return true;
}

void
store_exclude_others(CatalogTable table)
{
	table_close(catalog_open(table, AccessExclusiveLock), NoLock);
}

void
store_truncate(CatalogTable table)
{
	Relation	heap = catalog_open(table, AccessExclusiveLock);

	CheckTableNotInUse(heap, "idem_purge()");
	compat_truncate(heap);
	table_close(heap, NoLock);
}

/*
 * Begin a scan with a dirty snapshot, or go on with the one that is open if it
 * is alike.
 */
static void
probe_begin(Store *store, CatalogIndex index, int nkeys)
{
	if (store->scan &&
		store->which == index && store->scan->numberOfKeys == nkeys)
		return;

	probe_end(store, readers_lock_to_release(store));
	store->which = index;
	store->index = index_open(catalog_index(store->heap, index), AccessShareLock);
	InitDirtySnapshot(store->dirty);
	store->scan = compat_index_beginscan(store->heap, store->index,
										 &store->dirty, nkeys);
}

static RowState
probe(Store *store, CatalogIndex index, ScanKey keys, int nkeys,
	  ScanDirection direction)
{
	MemoryContext old_context = MemoryContextSwitchTo(store->context);
	RowState	state = ROW_ABSENT;

	probe_begin(store, index, nkeys);
	index_rescan(store->scan, keys, nkeys, NULL, 0);
	if (index_getnext_slot(store->scan, direction, store->slot))
		state = probe_state(store);
	else
		ExecClearTuple(store->slot);
	MemoryContextSwitchTo(old_context);
	return state;
}

/*
 * Go to the first entry of the index on the key that is this key's or behind
 * it; the row is not looked at.
 */
static void
position(Store *store, const Key *key)
{
	ScanKey		members = store->from;	/* read for as long as the scan goes on */
	ScanKeyData row;

	/* (key, scope) >= (...), the way of ExecIndexBuildScanKeys() */
	key_scan_keys(members, key);
	for (int i = 0; i < 2; i++)
	{
		members[i].sk_flags = SK_ROW_MEMBER;
		members[i].sk_strategy = BTGreaterEqualStrategyNumber;
		fmgr_info(F_BTTEXTCMP, &members[i].sk_func);
	}
	members[1].sk_flags |= SK_ROW_END;
	memset(&row, 0, sizeof(row));
	row.sk_flags = SK_ROW_HEADER;
	row.sk_attno = members[0].sk_attno;
	row.sk_strategy = BTGreaterEqualStrategyNumber;
	row.sk_argument = PointerGetDatum(members);

	store->descents++;
	probe_begin(store, INDEX_OPERATION_KEY, 1);
	store->scan->xs_want_itup = true;
	index_rescan(store->scan, &row, 1, NULL, 0);
	next_entry(store);
}

/*
 * Read the index from where the scan is up to this key, and then its row.
 * False: there is none.
 */
static bool
read_on(Store *store, const Key *key)
{
	for (int steps = 0; store->entry;)
	{
		int			order = compare_entry(store, key);

		CHECK_FOR_INTERRUPTS();
		if (order < 0)
			return false;
		if (order == 0 && index_fetch_heap(store->scan, store->slot))
			return true;
		/* of the key's own dead rows none is read twice: a descent leads to the first */
		if (order == 0 || steps++ < PROBE_MAX_STEPS)
			next_entry(store);
		else
		{
			position(store, key);
			steps = 0;
		}
	}
	return false;
}

static void
next_entry(Store *store)
{
	store->entry = index_getnext_tid(store->scan, ForwardScanDirection)
		? store->scan->xs_itup : NULL;
}

/*
 * The order of a key and the entry that the scan is at.
 */
static int
compare_entry(Store *store, const Key *key)
{
	bool		isnull;
	TupleDesc	desc = store->scan->xs_itupdesc;
	Datum		values[2];
	Key			entry;
	int			order;

	for (int i = 0; i < 2; i++)
		values[i] = index_getattr(store->entry, i + 1, desc, &isnull);
	entry.key = DatumGetTextPP(values[0]);
	entry.scope = DatumGetTextPP(values[1]);
	order = key_compare(key, &entry);

	/* a long one, written by hand, was compressed */
	if (PointerGetDatum(entry.key) != values[0])
		pfree(entry.key);
	if (PointerGetDatum(entry.scope) != values[1])
		pfree(entry.scope);
	return order;
}

/*
 * The lock of a reader that goes when reading ends, see store_open().  The lock
 * on an index must not outlive the one on its table: a TRUNCATE would have the
 * table, and wait for the index, and we the other way round.
 */
static LOCKMODE
readers_lock_to_release(const Store *store)
{
	return store->table >= TABLE_REQUEST ? AccessShareLock : NoLock;
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

/*
 * Scan with the statement's snapshot.
 */
static bool
find(Store *store, CatalogIndex index, ScanKey keys, int nkeys,
	 ScanDirection direction)
{
	probe_end(store, readers_lock_to_release(store));
	store->which = index;
	store->index = index_open(catalog_index(store->heap, index), AccessShareLock);
	store->scan = compat_index_beginscan(store->heap, store->index,
										 GetActiveSnapshot(), nkeys);
	store->direction = direction;
	index_rescan(store->scan, keys, nkeys, NULL, 0);
	return store_find_next(store);
}

static CatalogIndex
key_index(const Store *store)
{
	if (store->table == TABLE_OPERATION)
		return INDEX_OPERATION_KEY;
	return INDEX_REQUEST_KEY + (store->table - TABLE_REQUEST);
}

static void
key_scan_keys(ScanKey keys, const Key *key)
{
	scan_key(keys, 1, F_TEXTEQ, PointerGetDatum(key->key));
	scan_key(keys, 2, F_TEXTEQ, PointerGetDatum(key->scope));
}

static void
payment_scan_keys(ScanKey keys, const text *scope, const pg_uuid_t *payment_id)
{
	scan_key(keys, 1, F_TEXTEQ, PointerGetDatum(scope));
	scan_key(keys, 2, F_UUID_EQ, UUIDPGetDatum(payment_id));
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

static StoreWriter *
writer_begin(Store *store)
{
	StoreWriter *writer = store->writer;
	EState	   *estate;
	ResultRelInfo *rri;
	MemoryContext old_context;

	if (writer)
		return writer;

	/* all of it lives and goes with the executor state */
	old_context = MemoryContextSwitchTo(store->context);
	estate = CreateExecutorState();
	MemoryContextSwitchTo(estate->es_query_cxt);
	writer = palloc0(sizeof(StoreWriter));
	writer->estate = estate;
	writer->rri = rri = makeNode(ResultRelInfo);
	InitResultRelInfo(rri, store->heap, 0, NULL, 0);
	if (rri->ri_TrigDesc)
		check_triggers(rri, store->table != TABLE_OPERATION);
	ExecOpenIndices(rri, false);
	estate->es_opened_result_relations =
		lappend(estate->es_opened_result_relations, rri);
	writer->cid = estate->es_output_cid = GetCurrentCommandId(true);
	AfterTriggerBeginQuery();
	MemoryContextSwitchTo(old_context);
	return store->writer = writer;
}

static void
fill_slot(Store *store, TupleTableSlot *slot, Datum *values, bool *nulls)
{
	int			natts = catalog_natts(store->table);

	ExecClearTuple(slot);
	memcpy(slot->tts_values, values, sizeof(Datum) * natts);
	memcpy(slot->tts_isnull, nulls, sizeof(bool) * natts);
	for (int i = natts; i < slot->tts_tupleDescriptor->natts; i++)
		slot->tts_isnull[i] = true;
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(store->heap);

	if (store->heap->rd_att->constr)
		ExecConstraints(store->writer->rri, slot, store->writer->estate);
}

static void
insert_index_entries(StoreWriter *writer, TupleTableSlot *slot)
{
	List	   *recheck = compat_insert_index_tuples(writer->rri, slot,
													 writer->estate);

	if (writer->rri->ri_TrigDesc || recheck != NIL)
		ExecARInsertTriggers(writer->estate, writer->rri, slot, recheck, NULL);
	list_free(recheck);
	ResetPerTupleExprContext(writer->estate);
}

static void
check_triggers(ResultRelInfo *rri, bool deletes)
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

	/* from the table of payments nothing is deleted */
	if (deletes && (triggers->trig_delete_before_row ||
					triggers->trig_delete_before_statement ||
					triggers->trig_delete_after_statement ||
					triggers->trig_delete_old_table))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s.%s\" has a BEFORE DELETE trigger, a statement-level one or a transition table",
						IDEM_SCHEMA, RelationGetRelationName(rri->ri_RelationDesc)),
				 errhint("Use an AFTER DELETE trigger FOR EACH ROW.")));
}
