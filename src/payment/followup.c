/*-------------------------------------------------------------------------
 *
 * followup.c
 *		The functions that continue a payment.
 *
 * idem_increase(key, payment_id, amount, expires_in, reference, metadata, scope,
 *			currency, declines)
 * idem_capture(key, payment_id, amount, final, reference, metadata, scope,
 *			currency, declines)
 * idem_void(key, payment_id, reference, metadata, scope, currency, declines)
 * idem_refund(key, payment_id, amount, reference, metadata, scope, currency,
 *			declines)
 *
 * The steps are those of payment.c.  Once the key is ours, the payment is claimed,
 * too (claim.c).  state.c says what the payment's state allows.  If the state
 * forbids the operation, the argument declines decides: the refusal is raised, or a
 * declined operation is stored.
 *
 * An amount is never left to a null.  The default is Infinity, all that is left, or
 * zero.  So an amount that was lost on its way here moves nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "bytes.h"
#include "call.h"
#include "claim/claim.h"
#include "errors.h"
#include "json_arg.h"
#include "key.h"
#include "money/currency.h"
#include "money/money.h"
#include "payment/followup.h"
#include "payment/movement.h"
#include "payment/operation.h"
#include "payment/payment.h"
#include "payment/receipt.h"
#include "payment/state.h"
#include "settings.h"
#include "stat/stat.h"
#include "table/store.h"

STAT_FUNCTION(idem_increase, STAT_INCREASE);
STAT_FUNCTION(idem_capture, STAT_CAPTURE);
STAT_FUNCTION(idem_void, STAT_VOID);
STAT_FUNCTION(idem_refund, STAT_REFUND);

static Datum follow(FunctionCallInfo fcinfo, text *key, text *scope,
					OperationArgs *args, text *declines, const char *command);
static bool take_and_make(Operation *op, Claim *claim, Ledger *ledger, const Key *key,
						  OperationArgs *args, Declines declines, const char *command);
static Refusal *check_against_payment(const Operation *newest, OperationArgs *args);

/*
 * idem_increase: raise a hold, let it expire later, or both.
 *
 * key, payment_id: not NULL.  amount: by how much the hold is raised, in the major
 * unit of the payment's currency; not NULL.  Zero leaves it as it is, if expires_in
 * is not NULL.  expires_in: how long from now until the hold expires; NULL leaves
 * that as it is.  reference, metadata: may be NULL.  scope: NULL means the setting
 * idempotency.scope.  currency: if not NULL, it must be the payment's.  declines:
 * NULL means the setting idempotency.declines.
 *
 * Result: the receipt.
 *
 * Errors: those of follow(), and of json_arg_jsonb(); those of call_duration() for
 * expires_in.
 */
static Datum
idem_increase_call(PG_FUNCTION_ARGS)
{
	OperationArgs args = {
		.kind = OPERATION_INCREASE,
		.payment_id = ARG_UUID(1),
		.amount = ARG_NUMERIC(2),
		.expires_in = ARG_IS_NULL(3) ? 0 : call_duration(ARG_INTERVAL(3), "expires_in"),
		.reference = ARG_TEXT(4),
		.metadata = json_arg_jsonb(fcinfo, 5, "metadata"),
		.currency = ARG_TEXT(7),
	};

	return follow(fcinfo, ARG_TEXT(0), ARG_TEXT(6), &args, ARG_TEXT(8), "idem_increase()");
}

/*
 * idem_capture: capture all or part of a hold.
 *
 * amount: in the major unit of the payment's currency, not NULL; Infinity means all
 * that is left.  final: not NULL; true releases the rest.  The other arguments are
 * those of idem_increase.
 *
 * Result: the receipt.
 *
 * Errors: those of follow(), and of json_arg_jsonb(); 22004 if final is NULL.
 */
static Datum
idem_capture_call(PG_FUNCTION_ARGS)
{
	OperationArgs args = {
		.kind = OPERATION_CAPTURE,
		.payment_id = ARG_UUID(1),
		.amount = ARG_NUMERIC(2),
		.reference = ARG_TEXT(4),
		.metadata = json_arg_jsonb(fcinfo, 5, "metadata"),
		.currency = ARG_TEXT(7),
	};

	call_not_null(ARG_IS_NULL(3), "final");
	args.final = PG_GETARG_BOOL(3);
	return follow(fcinfo, ARG_TEXT(0), ARG_TEXT(6), &args, ARG_TEXT(8), "idem_capture()");
}

/*
 * idem_void: release what is held and not captured.
 *
 * The arguments are those of idem_capture, without an amount.
 *
 * Result: the receipt.
 *
 * Errors: those of follow(), and of json_arg_jsonb().
 */
static Datum
idem_void_call(PG_FUNCTION_ARGS)
{
	OperationArgs args = {
		.kind = OPERATION_VOID,
		.payment_id = ARG_UUID(1),
		.reference = ARG_TEXT(2),
		.metadata = json_arg_jsonb(fcinfo, 3, "metadata"),
		.currency = ARG_TEXT(5),
	};

	return follow(fcinfo, ARG_TEXT(0), ARG_TEXT(4), &args, ARG_TEXT(6), "idem_void()");
}

/*
 * idem_refund: refund all or part of what was captured.
 *
 * The arguments are those of idem_capture, without final.
 *
 * Result: the receipt.
 *
 * Errors: those of follow(), and of json_arg_jsonb().
 */
static Datum
idem_refund_call(PG_FUNCTION_ARGS)
{
	OperationArgs args = {
		.kind = OPERATION_REFUND,
		.payment_id = ARG_UUID(1),
		.amount = ARG_NUMERIC(2),
		.reference = ARG_TEXT(3),
		.metadata = json_arg_jsonb(fcinfo, 4, "metadata"),
		.currency = ARG_TEXT(6),
	};

	return follow(fcinfo, ARG_TEXT(0), ARG_TEXT(5), &args, ARG_TEXT(7), "idem_refund()");
}

/*
 * Continue a payment, or replay the operation that is stored under the key.
 * Returns the receipt.
 *
 * Errors: those of key_check(), followup_check(), setting_declines_of_call(),
 * claim_find(), claim_take_with_payment(), followup_make() and store_insert(); ID403
 * and ID422 of a replay; 55000 of receipt_make().
 */
static Datum
follow(FunctionCallInfo fcinfo, text *key_arg, text *scope_arg,
	   OperationArgs *args, text *declines_arg, const char *command)
{
	Declines	declines;
	Key			key;
	Store		store;
	Ledger		ledger = {0};
	Claim		claim;
	Operation	op;
	Datum		receipt;

	refusal_raise(key_check(key_arg, scope_arg, &key));
	refusal_raise(followup_check(args));
	declines = setting_declines_of_call(declines_arg);

	store_open(&store, TABLE_OPERATION);
	claim_init(&claim, &store, &key);
	if (!claim_find(&claim, command) &&
		take_and_make(&op, &claim, &ledger, &key, args, declines, command))
	{
		claim_insert(&claim, op.values, op.nulls);
		claim_release(&claim);
		receipt = receipt_new(fcinfo, &op);
	}
	else
		receipt = receipt_replay(fcinfo, claim_slot(&claim), args);
	ledger_close(&ledger);
	store_close(&store);

	return receipt;
}

/*
 * Claim the key and the payment, and make the operation.  It is not inserted yet.
 * False: another answer to the key came first.
 */
static bool
take_and_make(Operation *op, Claim *claim, Ledger *ledger, const Key *key,
			  OperationArgs *args, Declines declines, const char *command)
{
	while (claim_take_with_payment(claim, key->scope, args->payment_id, command))
	{
		refusal_raise(followup_make(op, claim, ledger, key, args, declines));
		if (!ledger_must_wait(ledger))
			return true;
		claim_pause(claim);
		ledger_wait(ledger);
		claim_try_again(claim);
	}
	return false;
}

Refusal *
followup_check(OperationArgs *args)
{
	Refusal    *refusal;

	if (args->payment_id == NULL)
		return refusal_make(ERRCODE_NULL_VALUE_NOT_ALLOWED,
							"payment_id must not be null", NULL, NULL);
	if (args->kind == OPERATION_VOID)
		return NULL;
	if (args->kind == OPERATION_INCREASE)
	{
		refusal = money_check_or_zero(args->amount);
		if (refusal == NULL && args->expires_in == 0 && money_is_zero(args->amount))
			return refusal_make(ERRCODE_INVALID_PARAMETER_VALUE,
								"amount must be greater than zero if expires_in is null",
								NULL, NULL);
		return refusal;
	}
	if (args->amount && money_is_all_that_is_left(args->amount))
	{
		args->amount = NULL;
		return NULL;
	}
	return money_check(args->amount);
}

Refusal *
followup_make(Operation *op, Claim *claim, Ledger *ledger, const Key *key,
			  OperationArgs *args, Declines declines)
{
	Operation	newest;
	Refusal    *refusal;

	if (!claim_has_payment(claim))
	{
		claim_predicate_lock_payment(claim, key->scope, args->payment_id);
		return payment_not_found(args->payment_id, key->scope);
	}
	operation_from_slot(&newest, claim_slot(claim));
	refusal = operation_check_payment_access(&newest);
	if (refusal)
		return refusal;
	if (!operation_has_payment(&newest))
		return payment_not_found(args->payment_id, key->scope);
	if (operation_is(&newest, OPERATION_POST))
		return refusal_make(ERRCODE_IDEM_STATE,
							psprintf("cannot %s a post", operation_kind_name(args->kind)),
							"A post moves all of its money at once, and nothing goes on with it.",
							"To undo it, use idem_post() with the opposite amounts.");
	refusal = check_against_payment(&newest, args);
	if (refusal)
		return refusal;

	operation_follow(op, &newest, key, args);
	refusal = state_apply(op, args);
	if (refusal == NULL)
	{
		refusal = movement_make(ledger, op, &newest);
		if (refusal && !movement_may_be_declined(refusal))
			return refusal;
		if (refusal)			/* as if nothing had been applied */
			operation_keep_totals(op, &newest);
	}
	if (refusal && declines == DECLINES_RAISE)
	{
		claim_predicate_lock_payment(claim, key->scope, args->payment_id);
		return refusal;
	}
	if (refusal)
		operation_decline(op, refusal);
	operation_assert_valid(op, &newest);
	return NULL;
}

/*
 * Check what is asked for against the payment.  The amount gets the payment's
 * decimals: those of its currency may have changed since.
 *
 * Refusals: 22023 if a currency is named and is not the payment's; 22003 if the
 * amount has more decimals, or makes the total too large.
 */
static Refusal *
check_against_payment(const Operation *newest, OperationArgs *args)
{
	text	   *currency = operation_currency(newest);
	Refusal    *refusal;

	if (args->currency && !bytes_equal(args->currency, currency))
		return refusal_make(ERRCODE_INVALID_PARAMETER_VALUE,
							"currency is not that of the payment",
							psprintf("The request is in \"%s\", but the payment is in \"%s\".",
									 text_to_cstring(currency_clip(args->currency)),
									 text_to_cstring(currency)),
							NULL);
	if (args->amount == NULL)
		return NULL;
	refusal = money_set_decimals(&args->amount, currency,
								 money_decimals(operation_numeric(newest, authorized)));
	if (refusal == NULL && args->kind == OPERATION_INCREASE)
		refusal = money_check_or_zero(money_add(operation_numeric(newest, authorized), args->amount));
	return refusal;
}
