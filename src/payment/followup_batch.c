/*-------------------------------------------------------------------------
 *
 * followup_batch.c
 *		Continuing many payments in one call.
 *
 * idem_capture_batch(keys, payment_ids, amounts, final, refs, metadatas, scope,
 *			currencies, declines)
 * idem_refund_batch(keys, payment_ids, amounts, refs, metadatas, scope, currencies,
 *			declines)
 *
 * Each item is answered as idem_capture() or idem_refund() would answer it.  They are
 * done one after the other, by the steps of followup.c.  Items of one payment follow
 * each other, and each sees what the one before has left.
 *
 * The items are processed in the order of their payments, and for a payment in that
 * of their keys.  Two transactions with one batch each wait for each other's
 * payments.  They cannot do so in a circle, unless a key stands for two payments.
 *
 * Where an administrator put triggers, CHECKs, NOT NULLs or further indexes on the
 * table, each row is inserted in a subtransaction of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "call.h"
#include "claim/claim.h"
#include "payment/batch.h"
#include "payment/followup.h"
#include "payment/operation.h"
#include "settings.h"
#include "subtransaction.h"
#include "table/store.h"

PG_FUNCTION_INFO_V1(idem_capture_batch);
PG_FUNCTION_INFO_V1(idem_refund_batch);

/* A row to be inserted. */
typedef struct Insertion
{
	Store	   *store;
	Claim	   *claim;
	Operation	op;
} Insertion;

static Datum follow_many(FunctionCallInfo fcinfo, OperationKind kind,
						 text *declines_arg, const char *command);
static void follow_item(Batch *batch, BatchItem *item, Declines declines,
						const char *command);
static void carry_out(Batch *batch, BatchItem *item, Claim *claim,
					  Declines declines);
static ErrorData *insert(Insertion *insertion);
static void insert_and_end(void *arg);

/*
 * idem_capture_batch: capture many times.
 *
 * keys, payment_ids, amounts: not NULL, with one element for each item.  An item for
 * which one of them is NULL fails.  An amount of Infinity means all that is left.
 * final: of all items; not NULL.  refs, metadatas, currencies: NULL, or with one
 * element for each item.  scope: of all items; NULL means the setting
 * idempotency.scope.  declines: of all items; NULL means the setting
 * idempotency.declines.
 *
 * Result: a row for each item, in the order given, with its outcome: new, replayed
 * or failed.  The row of an item that failed has the SQLSTATE, the message and the
 * DETAIL of the error, or of the refusal that is stored.
 *
 * Errors: those of batch_read_followups(), setting_declines_of_call(), claim_find(),
 * claim_take_with_payment() and batch_end(), but not ID409; 23505 if there is a row
 * with one of the keys that the claim has not seen; 0A000 where no set can be
 * returned.
 */
Datum
idem_capture_batch(PG_FUNCTION_ARGS)
{
	return follow_many(fcinfo, OPERATION_CAPTURE, ARG_TEXT(8), "idem_capture_batch()");
}

/*
 * idem_refund_batch: refund many times.
 *
 * Arguments, result and errors are those of idem_capture_batch, without final.
 */
Datum
idem_refund_batch(PG_FUNCTION_ARGS)
{
	return follow_many(fcinfo, OPERATION_REFUND, ARG_TEXT(7), "idem_refund_batch()");
}

/*
 * Continue many payments.
 */
static Datum
follow_many(FunctionCallInfo fcinfo, OperationKind kind, text *declines_arg,
			const char *command)
{
	Declines	declines = setting_declines_of_call(declines_arg);
	Batch		batch;

	batch_begin(&batch, fcinfo);
	batch_read_followups(&batch, fcinfo, kind);

	store_open(&batch.store, TABLE_OPERATION);
	for (int i = 0; i < batch.nsorted; i++)
	{
		MemoryContext old_context = MemoryContextSwitchTo(batch.portion_context);

		CHECK_FOR_INTERRUPTS();
		follow_item(&batch, batch.sorted[i], declines, command);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(batch.portion_context);
	}
	batch_end(&batch, fcinfo);
	return (Datum) 0;
}

/*
 * Carry out an item, or answer it from the operation that is stored under its key.
 */
static void
follow_item(Batch *batch, BatchItem *item, Declines declines, const char *command)
{
	Claim		claim;
	Refusal    *in_flight = NULL;
	Operation	op;

	claim_init(&claim, &batch->store, &item->key);
	claim_defer_settling(&claim, &batch->unsettled);
	claim_defer_refusal(&claim, &in_flight);
	if (!claim_find(&claim, command) &&
		claim_take_with_payment(&claim, item->key.scope, item->args.payment_id, command))
		carry_out(batch, item, &claim, declines);
	else if (in_flight)
		batch_refuse(batch, item, in_flight);
	else
	{
		operation_from_slot(&op, claim_slot(&claim));
		batch_answer_item(batch, item, &op);
	}
}

/*
 * Carry out an item whose key and payment are ours.
 */
static void
carry_out(Batch *batch, BatchItem *item, Claim *claim, Declines declines)
{
	OperationArgs args = item->args;
	Insertion	insertion = {.store = &batch->store, .claim = claim};
	Refusal    *refusal;
	ErrorData  *error;

	refusal = followup_make(&insertion.op, claim, &item->key, &args, declines);
	if (refusal)
	{
		claim_withdraw(claim);
		batch_refuse(batch, item, refusal);
		return;
	}
	error = insert(&insertion);
	claim_release(claim);
	if (error)
		batch_refuse_error(batch, item, error);
	else if (operation_is_declined(&insertion.op))
		batch_refuse(batch, item, operation_refusal(&insertion.op));
	else
	{
		item->outcome = OUTCOME_NEW;
		item->status = operation_receipt_state(&insertion.op).status;
		item->payment_id = *args.payment_id;
	}
}

/*
 * Insert the row.  Returns the error if the table refuses it, and NULL otherwise.
 *
 * If the table is as the install script made it, we expect no error that concerns
 * one item only.
 */
static ErrorData *
insert(Insertion *insertion)
{
	ErrorData  *error;

	if (!store_may_refuse(insertion->store))
	{
		claim_insert(insertion->claim, insertion->op.values, insertion->op.nulls);
		return NULL;
	}
	store_end_write(insertion->store);	/* begun before the table was altered */
	error = subtransaction_try(insert_and_end, insertion);
	if (error)
		store_forget_write(insertion->store);
	return error;
}

/*
 * Insert the row, and have the triggers fire.  For subtransaction_try().
 */
static void
insert_and_end(void *arg)
{
	Insertion  *insertion = arg;

	claim_insert(insertion->claim, insertion->op.values, insertion->op.nulls);
	store_end_write(insertion->store);
}
