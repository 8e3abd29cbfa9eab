/*-------------------------------------------------------------------------
 *
 * cancel.c
 *		Cancelling a key whose answer was lost.
 *
 * idem_cancel(key, scope)
 *
 * A client cancels a key if it does not know whether its request was carried out,
 * and no longer wants it.
 *
 * If the key was never used, a row is stored under it.  If the request still
 * arrives, that row answers it, and nothing happens.
 *
 * If the key was used, what its operation did is undone.  A hold is voided; a
 * capture or a pay is refunded.  A refund belongs to the payment, not to one of its
 * captures.  So at most what the payment has left is refunded.  Of an increase, the
 * amount is released; the time that it has added stays.
 *
 * A post cannot be cancelled: other legs may have to undo it.  It is undone by another
 * post.
 *
 * A refund is cancelled if it has reached nobody: the bank has sent it back, since
 * the account is closed, say.  That is a reversal.  The money can be refunded again,
 * in another way.
 *
 * What undoes it is an operation like any other, under a key of its own.  That key
 * is made from the one that is cancelled.  So the next cancellation of the same key
 * finds the operation, and replays it.  If it is a refund, it can be cancelled by that
 * key.
 *
 * A cancellation claims the key, as every use of a key does.  So it waits for a
 * request that is in flight, or raises ID409, and a later request finds the key
 * answered.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "call.h"
#include "claim/claim.h"
#include "compat.h"
#include "errors.h"
#include "key.h"
#include "money/money.h"
#include "payment/movement.h"
#include "payment/operation.h"
#include "payment/payment.h"
#include "payment/receipt.h"
#include "payment/state.h"
#include "stat/stat.h"
#include "table/store.h"

STAT_FUNCTION(idem_cancel, STAT_CANCEL);

#define COMMAND "idem_cancel()"

static bool take_unused(Claim *claim, Store *store, const Key *key);
static Datum replay(FunctionCallInfo fcinfo, const Claim *claim);
static Datum undo(FunctionCallInfo fcinfo, Store *store, const Key *own_key,
				  const Operation *original);
static void undoing_operation(Operation *op, const Operation *newest,
							  const Operation *original, Claim *claim,
							  const Key *own_key);
static Numeric at_most(const Operation *op, Numeric left);
pg_noreturn static void cannot_cancel_captured(Claim *claim, const Operation *newest,
											   const Operation *original);
pg_noreturn static void cannot_cancel(const Operation *original);

/*
 * idem_cancel: undo a key's operation, or keep the key from being used.
 *
 * key: not NULL.  scope: NULL means the setting idempotency.scope.
 *
 * Result: a receipt.
 * - The operation was undone: of the operation that undid it.
 * - The key was never used: of the row that keeps it from being used.
 * - The operation was declined: of that operation.
 *
 * Errors: those of key_check() and key_check_lookup(), claim_find(),
 * claim_take_with_payment(), operation_follow(), movement_make() and store_insert(); ID403 if the operation or the payment is
 * another role's; ID412 if the operation cannot be undone; ID404 if the payment's
 * rows were deleted by hand; 55000 of receipt_make().
 */
static Datum
idem_cancel_call(PG_FUNCTION_ARGS)
{
	Key			key;
	Key			own_key;
	Store		store;
	Claim		claim;
	Operation	op;
	Datum		receipt;

	refusal_raise(key_check_lookup(ARG_TEXT(0), ARG_TEXT(1), &key));
	own_key = key_with_prefix(KEY_CANCEL_PREFIX, &key);

	store_open(&store, TABLE_OPERATION);
	claim_init(&claim, &store, &own_key);
	if (claim_find(&claim, COMMAND))
		receipt = replay(fcinfo, &claim);
	else if (take_unused(&claim, &store, &key))
	{
		if (key_is_reserved(key.key))	/* not a client's key */
		{
			claim_withdraw(&claim);
			refusal_raise(key_check(key.key, key.scope, &key));
		}
		operation_make_cancelled(&op, &key);
		claim_insert(&claim, op.values, op.nulls);
		claim_release(&claim);
		receipt = receipt_new(fcinfo, &op);
	}
	else
	{
		operation_copy(&op, claim_slot(&claim));
		refusal_raise(operation_check_access(&op));
		if (operation_is(&op, OPERATION_CANCEL) || operation_is_declined(&op))
		{
			stat_note(STAT_REPLAYED, 1);
			receipt = receipt_make(fcinfo, &op, true);
		}
		else
			receipt = undo(fcinfo, &store, &own_key, &op);
	}
	store_close(&store);

	return receipt;
}

/*
 * Claim the key that is to be cancelled.  False: it was used before, and its row is
 * in claim_slot().
 */
static bool
take_unused(Claim *claim, Store *store, const Key *key)
{
	claim_init(claim, store, key);
	return !claim_find(claim, COMMAND) && claim_take(claim, COMMAND);
}

/*
 * The receipt of an earlier cancellation, whose row is in claim_slot().  Whoever may
 * see the payment may see it, whichever role cancelled the key.
 */
static Datum
replay(FunctionCallInfo fcinfo, const Claim *claim)
{
	Operation	op;

	operation_from_slot(&op, claim_slot(claim));
	refusal_raise(operation_check_payment_access(&op));
	stat_note(STAT_REPLAYED, 1);
	return receipt_make(fcinfo, &op, true);
}

/*
 * Undo an operation, under a key of its own.  Returns the receipt.
 */
static Datum
undo(FunctionCallInfo fcinfo, Store *store, const Key *own_key,
	 const Operation *original)
{
	text	   *scope = DatumGetTextPP(operation_value(original, scope));
	pg_uuid_t  *payment_id = DatumGetUUIDP(operation_value(original, payment_id));
	Ledger		ledger = {0};
	Claim		claim;
	Operation	newest;
	Operation	op;

	claim_init(&claim, store, own_key);
	if (claim_find(&claim, COMMAND))
		return replay(fcinfo, &claim);
	for (;;)
	{
		if (!claim_take_with_payment(&claim, scope, payment_id, COMMAND))
		{
			ledger_close(&ledger);
			return replay(fcinfo, &claim);
		}
		if (!claim_has_payment(&claim))
			refusal_raise(payment_not_found(payment_id, scope));	/* deleted by hand */

		operation_from_slot(&newest, claim_slot(&claim));
		refusal_raise(operation_check_payment_access(&newest));
		undoing_operation(&op, &newest, original, &claim, own_key);
		refusal_raise(movement_make(&ledger, &op, &newest));
		if (!ledger_must_wait(&ledger))
			break;
		claim_pause(&claim);
		ledger_wait(&ledger);
		claim_try_again(&claim);
	}
	claim_insert(&claim, op.values, op.nulls);
	claim_release(&claim);
	ledger_close(&ledger);
	return receipt_new(fcinfo, &op);
}

/*
 * Make the operation that undoes what is left of another one.  If nothing is left,
 * its amount is zero.  It is stored all the same: otherwise, a later cancellation of
 * the same key could find something to undo.
 */
static void
undoing_operation(Operation *op, const Operation *newest,
				  const Operation *original, Claim *claim, const Key *own_key)
{
	OperationArgs args = {0};
	Refusal    *refusal = NULL;

	switch (operation_kind(original))
	{
		case OPERATION_AUTHORIZE:
			if (!money_is_zero(operation_numeric(newest, captured)))
				cannot_cancel_captured(claim, newest, original);
			args.kind = OPERATION_VOID;
			break;

		case OPERATION_PAY:
		case OPERATION_CAPTURE:
			args.kind = OPERATION_REFUND;
			args.amount = at_most(original, operation_refundable(newest));
			break;

		case OPERATION_INCREASE:
			args.kind = OPERATION_VOID;
			args.amount = at_most(original, operation_capturable(newest));
			break;

		case OPERATION_REFUND:
			args.kind = OPERATION_REVERSAL;
			args.amount = operation_numeric(original, amount);
			break;

		case OPERATION_VOID:
		case OPERATION_REVERSAL:
		case OPERATION_EXPIRE:
		case OPERATION_POST:
		case OPERATION_UNKNOWN: /* written by hand */
			cannot_cancel(original);

		case OPERATION_CANCEL:
			elog(ERROR, "a key that was cancelled unused has nothing to undo");
	}

	/* it has other decimals only if rows were changed by hand */
	if (args.amount)
		refusal_raise(money_set_decimals(&args.amount, operation_currency(newest),
										 money_decimals(operation_numeric(newest, authorized))));
	operation_follow(op, newest, own_key, &args);
	if (args.amount == NULL || !money_is_zero(args.amount))
		refusal = state_apply(op, &args);
	if (refusal)				/* the hold was voided, or has expired */
		operation_set(op, amount, operation_zero(op));
	operation_assert_valid(op, newest);
}

/*
 * The amount of an operation, but at most what is left.
 */
static Numeric
at_most(const Operation *op, Numeric left)
{
	Numeric		amount = operation_numeric(op, amount);

	return money_compare(amount, left) > 0 ? left : amount;
}

/*
 * Raise ID412 for an authorization that has been captured.  The hint depends on what
 * is left of the payment.
 */
static void
cannot_cancel_captured(Claim *claim, const Operation *newest, const Operation *original)
{
	bool		to_void = !money_is_zero(operation_capturable(newest)) &&
		!operation_has_expired(newest, GetCurrentTimestamp());
	bool		to_refund = !money_is_zero(operation_refundable(newest));

	claim_predicate_lock_payment(claim, DatumGetTextPP(operation_value(original, scope)),
								 DatumGetUUIDP(operation_value(original, payment_id)));
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_STATE),
			 errmsg("cannot cancel an authorization that has been captured"),
			 to_void && to_refund
			 ? errhint("Use idem_refund() to refund what was captured, and idem_void() to release the rest of the hold.")
			 : to_void ? errhint("Use idem_void() to release the rest of the hold.")
			 : to_refund ? errhint("Use idem_refund() to refund what was captured.")
			 : 0));
}

/*
 * Raise ID412 for an operation of another kind.
 */
static void
cannot_cancel(const Operation *original)
{
	if (operation_is(original, OPERATION_VOID))
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_STATE),
				 errmsg("cannot cancel a void"),
				 errdetail("A hold that was released cannot be restored.")));
	if (operation_is(original, OPERATION_REVERSAL))
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_STATE),
				 errmsg("cannot cancel a reversal"),
				 errhint("Use idem_refund() to refund the money again.")));
	if (operation_is(original, OPERATION_POST))
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_STATE),
				 errmsg("cannot cancel a post"),
				 errhint("To undo it, use idem_post() with the opposite amounts.")));
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_STATE),
			 errmsg("cannot cancel an operation of kind \"%s\"",
					TextDatumGetCString(operation_value(original, kind)))));
}
