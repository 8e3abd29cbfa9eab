/*-------------------------------------------------------------------------
 *
 * batch.c
 *		What calls with many items have in common.
 *
 * Each item is answered as a call of its own would answer it.  An error that concerns
 * one item only is reported in the row of that item, and does not undo the others.
 *
 * Little memory is kept for each item, besides its metadata.  The rest is in
 * portion_context, which is freed as the batch goes on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "errors.h"
#include "payment/batch.h"
#include "stat/stat.h"
#include "subtransaction.h"

/* The words for the outcomes, as they are in the result. */
static const char *const outcome_names[] = {
	[OUTCOME_FAILED] = "failed",
	[OUTCOME_NEW] = "new",
	[OUTCOME_REPLAYED] = "replayed",
};

static Refusal *refused(const Operation *op);
static void count_items(const Batch *batch);
static void put_rows(Batch *batch, ReturnSetInfo *rsinfo);

void
batch_begin(Batch *batch, FunctionCallInfo fcinfo)
{
	InitMaterializedSRF(fcinfo, 0);

	batch->result_context = CurrentMemoryContext;
	batch->portion_context = AllocSetContextCreate(CurrentMemoryContext,
												   "idempotency batch",
												   ALLOCSET_DEFAULT_SIZES);
	batch->last_message = NULL;
	batch->ledger = (Ledger) {0};
	batch->unsettled = (Unsettled) {0};
}

void
batch_answer_item(Batch *batch, BatchItem *item, const Operation *op)
{
	Refusal    *refusal = operation_check_access(op);

	if (refusal == NULL)
		refusal = operation_check_args(op, &item->args);
	if (refusal)
	{
		batch_refuse(batch, item, refusal);
		return;
	}
	refusal = refused(op);
	if (refusal)
	{
		batch_refuse_for_ever(batch, item, refusal, op);
		item->refusal_is_replay = !operation_is(op, OPERATION_CANCEL);
		return;
	}
	item->outcome = OUTCOME_REPLAYED;
	item->status = operation_receipt_state(op).status;
	item->payment_id = *DatumGetUUIDP(operation_value(op, payment_id));
}

void
batch_refuse(Batch *batch, BatchItem *item, const Refusal *refusal)
{
	if (batch->last_message == NULL ||
		strcmp(batch->last_message, refusal->message) != 0)
		batch->last_message = MemoryContextStrdup(batch->result_context,
												  refusal->message);
	item->outcome = OUTCOME_FAILED;
	item->refusal_is_stored = item->refusal_is_replay = false;
	item->sqlstate = refusal->sqlstate;
	item->message = batch->last_message;
	item->detail = refusal->detail
		? MemoryContextStrdup(batch->result_context, refusal->detail) : NULL;
}

void
batch_refuse_for_ever(Batch *batch, BatchItem *item, const Refusal *refusal, const Operation *op)
{
	batch_refuse(batch, item, refusal);
	item->refusal_is_stored = true;
	item->status = operation_receipt_state(op).status;
}

void
batch_refuse_error(Batch *batch, BatchItem *item, ErrorData *error)
{
	if (!subtransaction_own_error(error))
		ReThrowError(error);
	batch_refuse(batch, item, refusal_make(errors_sqlstate(error),
										   error->message ? error->message : "missing error text",
										   error->detail, error->hint));
	FreeErrorData(error);
}

bool
batch_may_refuse(Batch *batch)
{
	return store_may_refuse(&batch->store) ||
		(batch->ledger.is_open && store_may_refuse(&batch->ledger.entries));
}

void
batch_end_write(Batch *batch)
{
	if (batch->ledger.is_open)
		store_end_write(&batch->ledger.entries);
	store_end_write(&batch->store);
}

void
batch_end(Batch *batch, FunctionCallInfo fcinfo)
{
	ledger_close(&batch->ledger);
	store_close(&batch->store);
	settle(&batch->unsettled);
	count_items(batch);
	put_rows(batch, (ReturnSetInfo *) fcinfo->resultinfo);
}

/*
 * Why the operation under the key did nothing; NULL if it did what it says.
 */
static Refusal *
refused(const Operation *op)
{
	if (operation_is(op, OPERATION_CANCEL))
		return refusal_make(ERRCODE_IDEM_STATE, "idempotency key has been cancelled",
							NULL, NULL);
	return operation_refusal(op);
}

/*
 * Count what became of the items.
 */
static void
count_items(const Batch *batch)
{
	for (int i = 0; i < batch->nitems; i++)
	{
		const BatchItem *item = &batch->items[i];

		switch (item->outcome)
		{
			case OUTCOME_NEW:
				stat_note(STAT_NEW, 1);
				break;
			case OUTCOME_REPLAYED:
				stat_note(STAT_REPLAYED, 1);
				break;
			case OUTCOME_FAILED:
				stat_note(item->refusal_is_replay ? STAT_REPLAYED
						  : stat_outcome_of_error(item->sqlstate), 1);
				break;
		}
	}
}

/*
 * Return a row for each item, in the order given.
 */
static void
put_rows(Batch *batch, ReturnSetInfo *rsinfo)
{
	enum
	{
		ITEM, KEY, OUTCOME, PAYMENT_ID, STATUS, SQLSTATE, MESSAGE, DETAIL,
		N_COLUMNS
	};
	MemoryContext old_context = MemoryContextSwitchTo(batch->portion_context);

	for (int i = 0; i < batch->nitems; i++)
	{
		BatchItem  *item = &batch->items[i];
		bool		failed = item->outcome == OUTCOME_FAILED;
		Datum		values[N_COLUMNS] = {0};
		bool		nulls[N_COLUMNS] = {false};

		CHECK_FOR_INTERRUPTS();
		values[ITEM] = Int32GetDatum(i + 1);
		values[KEY] = PointerGetDatum(item->key.key);
		nulls[KEY] = item->key.key == NULL;
		values[OUTCOME] = CStringGetTextDatum(outcome_names[item->outcome]);
		if (failed)
		{
			values[SQLSTATE] = CStringGetTextDatum(unpack_sql_state(item->sqlstate));
			values[MESSAGE] = CStringGetTextDatum(item->message);
			if (item->detail)
				values[DETAIL] = CStringGetTextDatum(item->detail);
		}
		else
			values[PAYMENT_ID] = UUIDPGetDatum(&item->payment_id);
		if (!failed || item->refusal_is_stored)
			values[STATUS] = CStringGetTextDatum(payment_status_name(item->status));
		nulls[PAYMENT_ID] = failed;
		nulls[STATUS] = failed && !item->refusal_is_stored;
		nulls[SQLSTATE] = nulls[MESSAGE] = !failed;
		nulls[DETAIL] = !failed || item->detail == NULL;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextReset(batch->portion_context);
	}
	MemoryContextSwitchTo(old_context);
}
