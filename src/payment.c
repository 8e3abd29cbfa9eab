/*-------------------------------------------------------------------------
 *
 * payment.c
 *		The functions of payments.
 *
 * idem_pay(key, amount, currency, from_account, to_account, reference,
 *			metadata, scope)
 * idem_lookup(key, scope)
 * idem_payment(payment_id, scope)
 *
 * A keyed function is made of the same steps: check the key; claim_find(), and
 * replay a hit; check the rest, which a replay must not depend on (a currency
 * may be gone by then); claim_take(); do the work; store_insert();
 * claim_release().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "access.h"
#include "claim.h"
#include "currency.h"
#include "errors.h"
#include "key.h"
#include "money.h"
#include "operation.h"
#include "storage.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(idem_pay);
PG_FUNCTION_INFO_V1(idem_lookup);
PG_FUNCTION_INFO_V1(idem_payment);

#define GETARG_TEXT_OR_NULL(n)	(PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n))

static Datum replay(FunctionCallInfo fcinfo, Store *store,
					const OperationRequest *request);
static void new_payment(Operation *op, const Key *key,
						const OperationRequest *request, int exponent);
static void set_text(Operation *op, int column, const text *value);

/*
 * idem_pay: take an amount at once.
 *
 * amount: in the currency's major unit.  currency: NULL is the setting
 * idempotency.currency.  from_account, to_account: NULL.  scope: NULL is the
 * setting idempotency.scope.
 *
 * Errors: those of key_check(), money_check(), money_in_currency(),
 * currency_exponent(), claim_take(); ID403; ID422.
 */
Datum
idem_pay(PG_FUNCTION_ARGS)
{
	Key			key = key_check(GETARG_TEXT_OR_NULL(0), GETARG_TEXT_OR_NULL(7));
	OperationRequest request = {
		.operation = "pay",
		.amount = PG_ARGISNULL(1) ? NULL : PG_GETARG_NUMERIC(1),
		.currency = currency_of_call(GETARG_TEXT_OR_NULL(2)),
		.from_account = GETARG_TEXT_OR_NULL(3),
		.to_account = GETARG_TEXT_OR_NULL(4),
		.reference = GETARG_TEXT_OR_NULL(5),
		.metadata = PG_ARGISNULL(6) ? NULL : PG_GETARG_JSONB_P(6),
	};
	Store		store;
	Claim		claim;
	Operation	op;
	Datum		receipt;

	money_check(request.amount);

	store_open(&store, TABLE_OPERATION);
	if (claim_find(&claim, &store, &key, "idem_pay()"))
		receipt = replay(fcinfo, &store, &request);
	else
	{
		int			exponent;

		if (request.from_account || request.to_account)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("payments between accounts are not supported"),
					 errhint("Leave from_account and to_account null.")));
		exponent = currency_exponent(request.currency);
		request.amount = money_in_currency(request.amount, request.currency, exponent);

		if (claim_take(&claim, "idem_pay()"))
		{
			new_payment(&op, &key, &request, exponent);
			store_insert(&store, op.values, op.nulls);
			claim_release(&claim);
			receipt = operation_receipt(fcinfo, &op,
										DatumGetTimestampTz(operation_get(&op, created_at)),
										false);
		}
		else
			receipt = replay(fcinfo, &store, &request);
	}
	store_close(&store);

	PG_RETURN_DATUM(receipt);
}

/*
 * idem_lookup: the receipt stored under a key, or no row.
 *
 * Errors: those of key_check(); ID403.
 */
Datum
idem_lookup(PG_FUNCTION_ARGS)
{
	Key			key = key_check(GETARG_TEXT_OR_NULL(0), GETARG_TEXT_OR_NULL(1));
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Store		store;
	Datum		receipt = (Datum) 0;
	bool		found;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));

	store_open(&store, TABLE_OPERATION);
	found = store_find_key(&store, &key);
	if (found)
		receipt = replay(fcinfo, &store, NULL);
	store_close(&store);

	/* at most one row: the whole set in one call */
	rsinfo->isDone = found ? ExprSingleResult : ExprEndResult;
	if (!found)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(receipt);
}

/*
 * idem_payment: the state of a payment now, that is after its newest operation.
 *
 * Errors: 22004 if payment_id is NULL; ID404; ID403.
 */
Datum
idem_payment(PG_FUNCTION_ARGS)
{
	text	   *scope = key_check_scope(GETARG_TEXT_OR_NULL(1));
	Store		store;
	Operation	op;
	Datum		receipt;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("payment_id must not be null")));

	store_open(&store, TABLE_OPERATION);
	if (!store_find_payment(&store, scope, PG_GETARG_UUID_P(0)))
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_NOT_FOUND),
				 errmsg("payment %s does not exist",
						DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(0))))));
	operation_from_slot(&op, store.slot);
	operation_check_access(&op);
	receipt = operation_receipt(fcinfo, &op, GetCurrentTimestamp(), true);
	store_close(&store);

	PG_RETURN_DATUM(receipt);
}

/*
 * The receipt of the row in the store's slot, as it was then.  With a request:
 * if the row is what it asks for.
 */
static Datum
replay(FunctionCallInfo fcinfo, Store *store, const OperationRequest *request)
{
	Operation	op;

	operation_from_slot(&op, store->slot);
	operation_check_access(&op);
	if (request)
		operation_check_request(&op, request);
	return operation_receipt(fcinfo, &op,
							 DatumGetTimestampTz(operation_get(&op, created_at)),
							 true);
}

/*
 * The first operation of a payment that takes the whole amount at once.
 */
static void
new_payment(Operation *op, const Key *key, const OperationRequest *request,
			int exponent)
{
	TimestampTz now = GetCurrentTimestamp();
	pg_uuid_t  *payment_id = palloc(sizeof(pg_uuid_t));

	uuid7_make(payment_id, now);

	memset(op->nulls, false, sizeof(op->nulls));
	operation_get(op, payment_id) = UUIDPGetDatum(payment_id);
	operation_get(op, created_at) = TimestampTzGetDatum(now);
	operation_get(op, seq) = Int32GetDatum(1);
	set_text(op, Anum_operation_scope, key->scope);
	set_text(op, Anum_operation_key, key->key);
	operation_get(op, operation) = CStringGetTextDatum(request->operation);
	operation_get(op, amount) = NumericGetDatum(request->amount);
	set_text(op, Anum_operation_currency, request->currency);
	operation_get(op, authorized) = NumericGetDatum(request->amount);
	operation_get(op, captured) = NumericGetDatum(request->amount);
	operation_get(op, released) = NumericGetDatum(money_zero(exponent));
	operation_get(op, refunded) = NumericGetDatum(money_zero(exponent));
	set_text(op, Anum_operation_from_account, request->from_account);
	set_text(op, Anum_operation_to_account, request->to_account);
	set_text(op, Anum_operation_reference, request->reference);
	operation_get(op, metadata) = PointerGetDatum(request->metadata);
	operation_is_null(op, metadata) = request->metadata == NULL;
	operation_get(op, expires_at) = (Datum) 0;
	operation_is_null(op, expires_at) = true;
	operation_get(op, role) = PointerGetDatum(access_current_role());
}

static void
set_text(Operation *op, int column, const text *value)
{
	op->values[column - 1] = PointerGetDatum(value);
	op->nulls[column - 1] = value == NULL;
}
