/*-------------------------------------------------------------------------
 *
 * followup.c
 *		The functions that continue a payment.
 *
 * idem_capture(key, payment_id, amount, final, reference, metadata, scope)
 * idem_void(key, payment_id, reference, metadata, scope)
 * idem_refund(key, payment_id, amount, reference, metadata, scope)
 *
 * The steps are those of payment.c.  Once the key is ours, the payment is claimed,
 * too (claim.c).  state.c says what the payment's state allows.  If the state
 * forbids the operation, the setting idempotency.declines decides: the refusal is
 * raised, or a declined operation is stored.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "call.h"
#include "claim/claim.h"
#include "errors.h"
#include "json_arg.h"
#include "key.h"
#include "money/money.h"
#include "payment/operation.h"
#include "payment/payment.h"
#include "payment/receipt.h"
#include "payment/state.h"
#include "settings.h"
#include "table/store.h"

PG_FUNCTION_INFO_V1(idem_capture);
PG_FUNCTION_INFO_V1(idem_void);
PG_FUNCTION_INFO_V1(idem_refund);

static Datum follow(FunctionCallInfo fcinfo, text *key, text *scope,
					OperationArgs *args, const char *command);
static void next_operation(Operation *op, Claim *claim, const Key *key,
						   OperationArgs *args);

/*
 * idem_capture: capture all or part of a hold.
 *
 * key, payment_id: not NULL.  amount: in the major unit of the payment's currency;
 * NULL means all that is left.  final: NULL or true releases the rest.  reference,
 * metadata: may be NULL.  scope: NULL means the setting idempotency.scope.
 *
 * Result: the receipt.
 *
 * Errors: those of follow().
 */
Datum
idem_capture(PG_FUNCTION_ARGS)
{
	OperationArgs args = {
		.kind = OPERATION_CAPTURE,
		.payment_id = ARG_UUID(1),
		.amount = ARG_NUMERIC(2),
		.final = ARG_IS_NULL(3) ? true : PG_GETARG_BOOL(3),
		.reference = ARG_TEXT(4),
		.metadata = json_arg_jsonb(fcinfo, 5, "metadata"),
	};

	return follow(fcinfo, ARG_TEXT(0), ARG_TEXT(6), &args, "idem_capture()");
}

/*
 * idem_void: release what is held and not captured.
 *
 * The arguments are those of idem_capture, without an amount.
 *
 * Result: the receipt.
 *
 * Errors: those of follow().
 */
Datum
idem_void(PG_FUNCTION_ARGS)
{
	OperationArgs args = {
		.kind = OPERATION_VOID,
		.payment_id = ARG_UUID(1),
		.reference = ARG_TEXT(2),
		.metadata = json_arg_jsonb(fcinfo, 3, "metadata"),
	};

	return follow(fcinfo, ARG_TEXT(0), ARG_TEXT(4), &args, "idem_void()");
}

/*
 * idem_refund: refund all or part of what was captured.
 *
 * amount: in the major unit of the payment's currency; NULL means all that is left.
 * The other arguments are those of idem_capture.
 *
 * Result: the receipt.
 *
 * Errors: those of follow().
 */
Datum
idem_refund(PG_FUNCTION_ARGS)
{
	OperationArgs args = {
		.kind = OPERATION_REFUND,
		.payment_id = ARG_UUID(1),
		.amount = ARG_NUMERIC(2),
		.reference = ARG_TEXT(3),
		.metadata = json_arg_jsonb(fcinfo, 4, "metadata"),
	};

	return follow(fcinfo, ARG_TEXT(0), ARG_TEXT(5), &args, "idem_refund()");
}

/*
 * Continue a payment, or replay the operation that is stored under the key.
 * Returns the receipt.
 *
 * Errors: those of key_check(), money_check(), money_set_decimals(), claim_find(),
 * claim_take_with_payment(), operation_follow() and store_insert(); 22004 if
 * payment_id is NULL; ID404 if there is no such payment; ID403 if it is another
 * role's; ID412 of state_apply(), unless it is recorded; ID403 and ID422 of a
 * replay; 55000 of receipt_make().
 */
static Datum
follow(FunctionCallInfo fcinfo, text *key_arg, text *scope_arg,
	   OperationArgs *args, const char *command)
{
	Key			key;
	Store		store;
	Claim		claim;
	Datum		receipt;

	refusal_raise(key_check(key_arg, scope_arg, &key));
	call_not_null(args->payment_id == NULL, "payment_id");
	if (args->amount)
		refusal_raise(money_check(args->amount));

	store_open(&store, TABLE_OPERATION);
	claim_init(&claim, &store, &key);
	if (!claim_find(&claim, command) &&
		claim_take_with_payment(&claim, key.scope, args->payment_id, command))
	{
		Operation	op;

		next_operation(&op, &claim, &key, args);
		claim_insert(&claim, op.values, op.nulls);
		claim_release(&claim);
		receipt = receipt_make(fcinfo, &op, false);
	}
	else
		receipt = receipt_replay(fcinfo, claim_slot(&claim), args);
	store_close(&store);

	return receipt;
}

/*
 * Make the operation to be stored.  The key and the payment are claimed.
 */
static void
next_operation(Operation *op, Claim *claim, const Key *key, OperationArgs *args)
{
	Operation	newest;
	Refusal    *refusal;

	if (!claim_has_payment(claim))
	{
		claim_predicate_lock_payment(claim, key->scope, args->payment_id);
		payment_not_found(args->payment_id, key->scope);
	}
	operation_from_slot(&newest, claim_slot(claim));
	refusal_raise(operation_check_payment_access(&newest));
	if (operation_is(&newest, OPERATION_CANCEL))
		payment_not_found(args->payment_id, key->scope);

	/* the payment's decimals: those of its currency may have changed since */
	if (args->amount)
		refusal_raise(money_set_decimals(&args->amount,
										 operation_currency(&newest),
										 money_decimals(operation_numeric(&newest, authorized))));

	operation_follow(op, &newest, key, args);
	refusal = state_apply(op, args);
	if (refusal && setting_declines == DECLINES_RAISE)
	{
		claim_predicate_lock_payment(claim, key->scope, args->payment_id);
		refusal_raise(refusal);
	}
	if (refusal)
		operation_decline(op, refusal);
	operation_assert_valid(op, &newest);
}
