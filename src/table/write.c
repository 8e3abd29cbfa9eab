/*-------------------------------------------------------------------------
 *
 * write.c
 *		Writing the tables.
 *
 * An administrator may put constraints, foreign keys, indexes and AFTER ROW
 * triggers on a table.  They work as with an INSERT.
 *
 * Other triggers are an error.  A BEFORE trigger could change or suppress the row
 * of a payment, which is reported to the caller as stored.  Statement triggers and
 * transition tables have no statement to go with.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "table/store.h"
#include "table/store_internal.h"
#include "xactlock.h"

/* What is needed to write to a table. */
typedef struct StoreWriter
{
	EState	   *estate;
	ResultRelInfo *rri;			/* the table, with its indexes open */
	CommandId	cid;			/* what is written belongs to this command */
	BulkInsertState bulk;		/* for many rows at once, or NULL */
	TupleTableSlot *many[STORE_MANY];	/* for many rows at once, or NULL */
} StoreWriter;

/* The writer of a store.  The first use makes it. */
static StoreWriter *writer_begin(Store *store);

/* Put a new row into a slot, and check the constraints of the table. */
static void fill_slot(Store *store, TupleTableSlot *slot, Datum *values,
					  bool *nulls);

/* Make the index entries of a row, and note its AFTER triggers. */
static void insert_index_entries(StoreWriter *writer, TupleTableSlot *slot);

/* Errors: 0A000 if there are triggers that cannot be fired. */
static void check_triggers(Relation heap, bool deletes);

void
store_prepare_write(Store *store)
{
	Oid			relid = RelationGetRelid(store->heap);

	if (xactlock_relation_if_free(relid, RowExclusiveLock))
		return;

	/*
	 * REINDEX locks the table against writers, and then waits for readers of
	 * the index.  So we release the index before we wait for the table.
	 */
	store_end_scan(store, AccessShareLock);
	store_let_go(store);
	xactlock_relation(relid, RowExclusiveLock);
}

void
store_unprepare_write(Store *store)
{
	if (store->writer == NULL)
		xactlock_release_relation(RelationGetRelid(store->heap), RowExclusiveLock);
}

void
store_insert(Store *store, Datum *values, bool *nulls)
{
	StoreWriter *writer = writer_begin(store);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(store->heap),
													&TTSOpsVirtual);

	store_report_write(store, CMD_INSERT);
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

	Assert(n >= 0 && n <= STORE_MANY);
	store_report_write(store, CMD_INSERT);
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
	ReleaseBulkInsertStatePin(writer->bulk);	/* the indexes may have us
												 * wait */
	for (int i = 0; i < n; i++)
	{
		insert_index_entries(writer, writer->many[i]);
		ExecClearTuple(writer->many[i]);
	}
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
store_delete(Store *store)
{
	StoreWriter *writer = writer_begin(store);

	Assert(!TTS_EMPTY(store->slot) && ItemPointerIsValid(&store->slot->tts_tid));
	store_report_write(store, CMD_DELETE);
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

static StoreWriter *
writer_begin(Store *store)
{
	StoreWriter *writer = store->writer;
	EState	   *estate;
	ResultRelInfo *rri;
	MemoryContext old_context;

	Assert(CheckRelationLockedByMe(store->heap, RowExclusiveLock, true));
	if (writer)
		return writer;
	if (store->heap->trigdesc)
		check_triggers(store->heap, store->table != TABLE_OPERATION);

	/* all of it belongs to the executor state, and is freed with that */
	old_context = MemoryContextSwitchTo(store->context);
	estate = CreateExecutorState();
	MemoryContextSwitchTo(estate->es_query_cxt);
	writer = palloc0(sizeof(StoreWriter));
	writer->estate = estate;
	writer->rri = rri = makeNode(ResultRelInfo);
	InitResultRelInfo(rri, store->heap, 0, NULL, 0);
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
check_triggers(Relation heap, bool deletes)
{
	TriggerDesc *triggers = heap->trigdesc;

	if (triggers->trig_insert_before_row ||
		triggers->trig_insert_before_statement ||
		triggers->trig_insert_after_statement ||
		triggers->trig_insert_new_table)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s.%s\" has an INSERT trigger of an unsupported kind",
						IDEM_SCHEMA, RelationGetRelationName(heap)),
				 errhint("Use an AFTER INSERT trigger FOR EACH ROW without a transition table.")));

	/* nothing is deleted from the table of operations */
	if (deletes && (triggers->trig_delete_before_row ||
					triggers->trig_delete_before_statement ||
					triggers->trig_delete_after_statement ||
					triggers->trig_delete_old_table))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s.%s\" has a DELETE trigger of an unsupported kind",
						IDEM_SCHEMA, RelationGetRelationName(heap)),
				 errhint("Use an AFTER DELETE trigger FOR EACH ROW without a transition table.")));
}
