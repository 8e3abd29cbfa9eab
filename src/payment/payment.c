/*-------------------------------------------------------------------------
 *
 * payment.c
 *		The functions that start a payment.
 *
 * idem_pay(key, amount, currency, from_account, to_account, reference,
 *			metadata, scope)
 * idem_authorize(key, amount, currency, from_account, to_account, expires_in,
 *			reference, metadata, scope)
 *
 * The steps of a function that starts or continues a payment:
 *
 * 1.	Check the key, and whether the arguments are well formed.
 * 2.	claim_find().  If it finds an answer, replay that.
 * 3.	Check the rest.  A replay must not depend on it: the currency may no longer
 *		be listed by then.
 * 4.	claim_take().
 * 5.	Do the work, claim_insert() and claim_release().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "call.h"
#include "claim/claim.h"
#include "errors.h"
#include "json_arg.h"
#include "key.h"
#include "money/currency.h"
#include "money/money.h"
#include "payment/hold.h"
#include "payment/operation.h"
#include "payment/payment.h"
#include "payment/receipt.h"
#include "table/store.h"

PG_FUNCTION_INFO_V1(idem_pay);
PG_FUNCTION_INFO_V1(idem_authorize);

static Refusal *check_amount(const OperationArgs *args);
static Datum start_payment(FunctionCallInfo fcinfo, text *key, text *scope,
						   OperationArgs *args, const char *command);

/*
 * idem_pay: authorize and capture an amount in one step.
 *
 * key: not NULL.  amount: in the currency's major unit, not NULL; zero for an order
 * that is free.  currency: NULL means the setting idempotency.currency.
 * from_account, to_account: must be NULL.  reference, metadata: may be NULL.  scope:
 * NULL means the setting idempotency.scope.
 *
 * Result: the receipt.
 *
 * Errors: those of json_arg_jsonb(), key_check(), money_check(), payment_check(),
 * claim_find(), claim_take() and store_insert(); 22021 of setting_text(); ID403 and ID422 of a
 * replay; 55000 of receipt_make().
 */
Datum
idem_pay(PG_FUNCTION_ARGS)
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

	return start_payment(fcinfo, ARG_TEXT(0), ARG_TEXT(7), &args, "idem_pay()");
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
Datum
idem_authorize(PG_FUNCTION_ARGS)
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

	return start_payment(fcinfo, ARG_TEXT(0), ARG_TEXT(8), &args, "idem_authorize()");
}

Refusal *
payment_check(OperationArgs *args)
{
	int			exponent = 0;
	Refusal    *refusal;

	if (args->from_account || args->to_account)
		return refusal_make(ERRCODE_FEATURE_NOT_SUPPORTED,
							"payments between accounts are not supported", NULL,
							"Leave from_account and to_account null. Pass the arguments after them by name.");
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
			  OperationArgs *args, const char *command)
{
	Key			key;
	Store		store;
	Claim		claim;
	Datum		receipt;

	refusal_raise(key_check(key_arg, scope_arg, &key));
	refusal_raise(check_amount(args));

	store_open(&store, TABLE_OPERATION);
	claim_init(&claim, &store, &key);
	if (claim_find(&claim, command))
		receipt = receipt_replay(fcinfo, claim_slot(&claim), args);
	else
	{
		refusal_raise(payment_check(args));

		if (claim_take(&claim, command))
		{
			Operation	op;

			operation_start(&op, &key, args);
			claim_insert(&claim, op.values, op.nulls);
			claim_release(&claim);
			/* hold_add() may wait; the key needs no lock any more */
			if (!operation_is_null(&op, expires_at))
				hold_add(&op);
			receipt = receipt_make(fcinfo, &op, false);
		}
		else
			receipt = receipt_replay(fcinfo, claim_slot(&claim), args);
	}
	store_close(&store);

	return receipt;
}
