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
 * tables, each item is carried out in a subtransaction of its own.  As in a single
 * call, triggers fire when the locks of the key and the payment are released.
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
#include "stat/stat.h"
#include "subtransaction.h"
#include "table/store.h"

STAT_FUNCTION(idem_capture_batch, STAT_CAPTURE_BATCH);
STAT_FUNCTION(idem_refund_batch, STAT_REFUND_BATCH);

/* An item that is being carried out. */
typedef struct FollowItem
{
	Batch	   *batch;
	BatchItem  *item;
	Declines	declines;
	const char *command;
	Ledger	   *ledger;
} FollowItem;

static Datum follow_many(FunctionCallInfo fcinfo, OperationKind kind,
						 text *declines_arg, const char *command);
static void follow_item(const FollowItem *f);
static void try_item(void *arg);
static bool find_item(const FollowItem *f, Claim *claim, Store *store);
static void take_item(const FollowItem *f, Claim *claim);
static bool carry_out(const FollowItem *f, Claim *claim);

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
static Datum
idem_capture_batch_call(PG_FUNCTION_ARGS)
{
	return follow_many(fcinfo, OPERATION_CAPTURE, ARG_TEXT(8), "idem_capture_batch()");
}

/*
 * idem_refund_batch: refund many times.
 *
 * Arguments, result and errors are those of idem_capture_batch, without final.
 */
static Datum
idem_refund_batch_call(PG_FUNCTION_ARGS)
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
	ledger_open(&batch.ledger);
	for (int i = 0; i < batch.nsorted; i++)
	{
		MemoryContext old_context = MemoryContextSwitchTo(batch.portion_context);
		FollowItem	f = {&batch, batch.sorted[i], declines, command, &batch.ledger};

		CHECK_FOR_INTERRUPTS();
		follow_item(&f);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(batch.portion_context);
	}
	batch_end(&batch, fcinfo);
	return (Datum) 0;
}

/*
 * Answer an item from the operation that is stored under its key, or carry it out.
 *
 * If the tables are as the install script made them, we expect no error that concerns
 * one item only.
 */
static void
follow_item(const FollowItem *f)
{
	Store	   *store = &f->batch->store;
	Claim		claim;
	ErrorData  *error;

	if (find_item(f, &claim, store))
		return;
	if (!batch_may_refuse(f->batch))
	{
		take_item(f, &claim);
		return;
	}
	batch_end_write(f->batch);	/* begun before a table was altered */
	store_let_go(store);
	error = subtransaction_try(try_item, unconstify(FollowItem *, f));
	if (error)
		batch_refuse_error(f->batch, f->item, error);
}

/*
 * Carry out an item, and have the triggers fire.  For subtransaction_try().
 */
static void
try_item(void *arg)
{
	FollowItem	f = *(FollowItem *) arg;
	Ledger		ledger = {0};
	Store		store;
	Claim		claim;

	f.ledger = &ledger;
	store_open(&store, TABLE_OPERATION);
	if (!find_item(&f, &claim, &store))
		take_item(&f, &claim);
	ledger_close(&ledger);
	store_close(&store);
}

/*
 * Begin the claim on an item's key.  If the key has an answer, the item gets it, and
 * the result is true.
 */
static bool
find_item(const FollowItem *f, Claim *claim, Store *store)
{
	Operation	op;

	claim_init(claim, store, &f->item->key);
	claim_defer_settling(claim, &f->batch->unsettled);
	if (!claim_find(claim, f->command))
		return false;
	operation_from_slot(&op, claim_slot(claim));
	batch_answer_item(f->batch, f->item, &op);
	return true;
}

/*
 * Take the key of an item and its payment, and carry it out, unless something else
 * comes first.
 */
static void
take_item(const FollowItem *f, Claim *claim)
{
	Refusal    *in_flight = NULL;

	claim_defer_refusal(claim, &in_flight);
	while (claim_take_with_payment(claim, f->item->key.scope, f->item->args.payment_id, f->command))
	{
		if (carry_out(f, claim))
			return;
		claim_pause(claim);
		ledger_wait(f->ledger);
		claim_try_again(claim);
	}
	if (in_flight)
		batch_refuse(f->batch, f->item, in_flight);
	else
	{
		Operation	op;

		operation_from_slot(&op, claim_slot(claim));
		batch_answer_item(f->batch, f->item, &op);
	}
}

/*
 * Carry out an item whose key and payment are ours.  False: ledger_must_wait().
 */
static bool
carry_out(const FollowItem *f, Claim *claim)
{
	BatchItem  *item = f->item;
	OperationArgs args = item->args;
	Operation	op;
	Refusal    *refusal = followup_make(&op, claim, f->ledger, &item->key, &args, f->declines);

	if (refusal)
	{
		claim_withdraw(claim);
		batch_refuse(f->batch, item, refusal);
		return true;
	}
	if (ledger_must_wait(f->ledger))
		return false;
	claim_insert(claim, op.values, op.nulls);
	claim_release(claim);
	if (operation_is_declined(&op))
		batch_refuse_for_ever(f->batch, item, operation_refusal(&op), &op);
	else
	{
		item->outcome = OUTCOME_NEW;
		item->status = operation_receipt_state(&op).status;
		item->payment_id = *args.payment_id;
	}
	return true;
}
