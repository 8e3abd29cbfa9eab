/*-------------------------------------------------------------------------
 *
 * payment.c
 *		The functions that start a payment.
 *
 * idem_pay(key, amount, currency, from_account, to_account, reference,
 *			metadata, scope, declines)
 * idem_authorize(key, amount, currency, from_account, to_account, expires_in,
 *			reference, metadata, scope, declines)
 *
 * The steps of a function that starts or continues a payment:
 *
 * 1.	Check the key, and whether the arguments are well formed.
 * 2.	claim_find().  If it finds an answer, replay that.
 * 3.	Check the rest.  A replay must not depend on it: the currency may no longer
 *		be listed by then.
 * 4.	claim_take().
 * 5.	If the payment has accounts, insert their entries (movement.c).  If a limit cannot
 *		be decided yet, release all locks, wait, and go on at step 4.
 * 6.	claim_insert() and claim_release().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "call.h"
#include "claim/claim.h"
#include "errors.h"
#include "json_arg.h"
#include "key.h"
#include "money/currency.h"
#include "money/money.h"
#include "payment/hold.h"
#include "payment/movement.h"
#include "payment/operation.h"
#include "payment/payment.h"
#include "payment/receipt.h"
#include "settings.h"
#include "stat/stat.h"
#include "table/store.h"

STAT_FUNCTION(idem_pay, STAT_PAY);
STAT_FUNCTION(idem_authorize, STAT_AUTHORIZE);

static Refusal *check_amount(const OperationArgs *args);
static Datum start_payment(FunctionCallInfo fcinfo, text *key, text *scope,
						   OperationArgs *args, text *declines, const char *command);
static bool start(Operation *op, Claim *claim, Ledger *ledger, const Key *key,
				  OperationArgs *args, Declines declines, const char *command);

/*
 * idem_pay: authorize and capture an amount in one step.
 *
 * key: not NULL.  amount: in the currency's major unit, not NULL; zero for an order
 * that is free.  currency: NULL means the setting idempotency.currency.
 * from_account, to_account: names of two accounts, or both NULL.  reference, metadata:
 * may be NULL.  scope: NULL means the setting idempotency.scope.  declines: NULL means
 * the setting idempotency.declines.
 *
 * Result: the receipt.
 *
 * Errors: those of json_arg_jsonb(), key_check(), money_check(), movement_check(),
 * setting_declines_of_call(), payment_check(), claim_find(), claim_take(),
 * movement_make() and store_insert(); 22021 of setting_text(); ID403 and ID422 of a
 * replay; 55000 of receipt_make().
 */
static Datum
idem_pay_call(PG_FUNCTION_ARGS)
{
	OperationArgs args = {
		.kind = OPERATION_PAY,
		.amount = ARG_NUMERIC(1),
		.currency = currency_of_call(ARG_TEXT(2)),
		.default_currency = ARG_IS_NULL(2),
		.from_account = ARG_TEXT(3),
		.to_account = ARG_TEXT(4),
		.reference = ARG_TEXT(5),
		.metadata = json_arg_jsonb(fcinfo, 6, "metadata"),
	};

	return start_payment(fcinfo, ARG_TEXT(0), ARG_TEXT(7), &args, ARG_TEXT(8), "idem_pay()");
}

/*
 * idem_authorize: hold an amount, to be captured later.
 *
 * amount: above zero.  expires_in: for how long, not NULL.  The other arguments are
 * those of idem_pay.
 *
 * Result: the receipt.
 *
 * Errors: those of idem_pay; 22004 if expires_in is NULL, and those of
 * call_duration().
 */
static Datum
idem_authorize_call(PG_FUNCTION_ARGS)
{
	OperationArgs args = {
		.kind = OPERATION_AUTHORIZE,
		.amount = ARG_NUMERIC(1),
		.currency = currency_of_call(ARG_TEXT(2)),
		.default_currency = ARG_IS_NULL(2),
		.from_account = ARG_TEXT(3),
		.to_account = ARG_TEXT(4),
		.expires_in = call_duration(ARG_INTERVAL(5), "expires_in"),
		.reference = ARG_TEXT(6),
		.metadata = json_arg_jsonb(fcinfo, 7, "metadata"),
	};

	return start_payment(fcinfo, ARG_TEXT(0), ARG_TEXT(8), &args, ARG_TEXT(9), "idem_authorize()");
}

Refusal *
payment_check(OperationArgs *args)
{
	int			exponent = 0;
	Refusal    *refusal;

	refusal = currency_exponent(args->currency, args->default_currency, &exponent);
	if (refusal)
		return refusal;
	return money_set_decimals(&args->amount, args->currency, exponent);
}

Refusal *
payment_not_found(const pg_uuid_t *payment_id, const text *scope)
{
	char	   *id = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(payment_id)));

	return refusal_make(ERRCODE_IDEM_NOT_FOUND,
						psprintf("payment %s does not exist", id),
						psprintf("No payment in scope \"%s\" has this ID.", text_to_cstring(scope)),
						NULL);
}

/*
 * Check the amount of a new payment, as far as that does not depend on the currency.
 * An order that is free is paid, but nothing is held for it.
 */
static Refusal *
check_amount(const OperationArgs *args)
{
	Refusal    *refusal;

	if (args->kind == OPERATION_PAY)
		return money_check_or_zero(args->amount);
	refusal = money_check(args->amount);
	if (refusal && args->amount && money_is_zero(args->amount))
		refusal->hint = "Use idem_pay() for an order that is free. It needs no hold.";
	return refusal;
}

/*
 * Start a payment, or replay the operation that is stored under the key.  Returns
 * the receipt.
 */
static Datum
start_payment(FunctionCallInfo fcinfo, text *key_arg, text *scope_arg,
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
	refusal_raise(check_amount(args));
	refusal_raise(movement_check(args));
	declines = setting_declines_of_call(declines_arg);

	store_open(&store, TABLE_OPERATION);
	claim_init(&claim, &store, &key);
	if (!claim_find(&claim, command) &&
		start(&op, &claim, &ledger, &key, args, declines, command))
	{
		claim_insert(&claim, op.values, op.nulls);
		claim_release(&claim);
		/* hold_add() may wait; the key needs no lock any more */
		if (!operation_is_null(&op, expires_at) && !operation_is_declined(&op))
			hold_add(&op);
		receipt = receipt_new(fcinfo, &op);
	}
	else
		receipt = receipt_replay(fcinfo, claim_slot(&claim), args);
	ledger_close(&ledger);
	store_close(&store);

	return receipt;
}

/*
 * Check the rest of the request, claim the key, and make the operation with its entries.
 * It is not inserted yet.  False: another answer to the key came first.
 */
static bool
start(Operation *op, Claim *claim, Ledger *ledger, const Key *key,
	  OperationArgs *args, Declines declines, const char *command)
{
	refusal_raise(payment_check(args));
	while (claim_take(claim, command))
	{
		Refusal    *refusal;

		operation_start(op, key, args);
		refusal = movement_make(ledger, op, NULL);
		if (refusal)
		{
			if (declines == DECLINES_RAISE || !movement_may_be_declined(refusal))
				refusal_raise(refusal);
			operation_decline(op, refusal);
		}
		if (!ledger_must_wait(ledger))
			return true;
		claim_pause(claim);
		ledger_wait(ledger);
		claim_try_again(claim);
	}
	return false;
}
