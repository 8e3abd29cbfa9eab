/*-------------------------------------------------------------------------
 *
 * lookup.c
 *		The functions that only read.
 *
 * idem_lookup(key, scope)
 * idem_payment(payment_id, scope)
 * idem_history(payment_id, scope)
 *
 * idempotency.payment_status(...), for the view idempotency.payment
 *
 * They see what a SELECT sees.  They wait for no other transaction, and write
 * nothing.  The rows are settled before they are returned (settle.c), which may
 * wait for a standby.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "call.h"
#include "claim/settle.h"
#include "key.h"
#include "payment/lookup.h"
#include "payment/operation.h"
#include "payment/payment.h"
#include "payment/receipt.h"
#include "table/catalog.h"
#include "table/store.h"

PG_FUNCTION_INFO_V1(idem_lookup);
PG_FUNCTION_INFO_V1(idem_payment);
PG_FUNCTION_INFO_V1(idem_history);
PG_FUNCTION_INFO_V1(idem_payment_status);

static void check_payment(const pg_uuid_t *payment_id, text *scope_arg,
						  text **scope);

/*
 * idem_lookup: the receipt stored under a key, or no row.
 *
 * key: not NULL.  scope: NULL means the setting idempotency.scope.
 *
 * Errors: those of key_check_lookup(); ID403 if the operation is another role's;
 * 57014 of settle(); 0A000 where no set can be returned; 55000 of receipt_make().
 */
Datum
idem_lookup(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Key			key;
	Store		store;
	Datum		receipt = (Datum) 0;
	bool		found;
	Unsettled	rows = {0};

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) ||
		(rsinfo->allowedModes & SFRM_ValuePerCall) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	refusal_raise(key_check_lookup(ARG_TEXT(0), ARG_TEXT(1), &key));

	store_open(&store, TABLE_OPERATION);
	found = store_find_key(&store, &key);
	if (found)
	{
		settle_note(&rows, store.slot);
		receipt = receipt_replay(fcinfo, store.slot, NULL);
	}
	store_close(&store);
	settle(&rows);

	/* at most one row: the whole set in one call */
	rsinfo->isDone = found ? ExprSingleResult : ExprEndResult;
	if (!found)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(receipt);
}

/*
 * idem_payment: the receipt of a payment's newest operation that was not declined,
 * with the payment's state now.
 *
 * payment_id: not NULL.  scope: NULL means the setting idempotency.scope.
 *
 * Errors: 22004 if payment_id is NULL; 22023 and 22021 of key_check_scope(); ID404
 * if there is no such payment; ID403 if it is another role's; 57014 of settle();
 * 55000 of receipt_make().
 */
Datum
idem_payment(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *payment_id = ARG_UUID(0);
	text	   *scope;
	Store		store;
	Operation	op;
	Datum		receipt;
	Unsettled	rows = {0};

	check_payment(payment_id, ARG_TEXT(1), &scope);

	store_open(&store, TABLE_OPERATION);
	if (!lookup_newest(&store, scope, payment_id, &op))
		refusal_raise(payment_not_found(payment_id, scope));
	refusal_raise(operation_check_payment_access(&op));
	settle_note(&rows, store.slot);
	receipt = receipt_make_now(fcinfo, &op);
	store_close(&store);
	settle(&rows);

	PG_RETURN_DATUM(receipt);
}

/*
 * idem_history: the receipts of a payment's operations, in their order, each as it
 * was then.
 *
 * Arguments and errors: those of idem_payment; 0A000 where no set can be returned.
 */
Datum
idem_history(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *payment_id = ARG_UUID(0);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	text	   *scope;
	Store		store;
	MemoryContext row_context;
	MemoryContext old_context;
	Unsettled	rows = {0};

	check_payment(payment_id, ARG_TEXT(1), &scope);
	InitMaterializedSRF(fcinfo, 0);

	row_context = AllocSetContextCreate(CurrentMemoryContext,
										"idempotency history",
										ALLOCSET_DEFAULT_SIZES);
	store_open(&store, TABLE_OPERATION);
	if (!store_find_payment(&store, scope, payment_id, ForwardScanDirection))
		refusal_raise(payment_not_found(payment_id, scope));
	do
	{
		Operation	op;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(row_context);
		old_context = MemoryContextSwitchTo(row_context);
		settle_note(&rows, store.slot);
		operation_from_slot(&op, store.slot);
		refusal_raise(operation_check_payment_access(&op));
		receipt_put(rsinfo, receipt_make(fcinfo, &op, true));
		MemoryContextSwitchTo(old_context);
	} while (store_find_next(&store));
	store_close(&store);
	settle(&rows);
	MemoryContextDelete(row_context);

	return (Datum) 0;
}

bool
lookup_newest(Store *store, const text *scope, const pg_uuid_t *payment_id,
			  Operation *op)
{
	bool		found;

	found = store_find_payment(store, scope, payment_id, BackwardScanDirection);
	while (found)
	{
		CHECK_FOR_INTERRUPTS();
		operation_from_slot(op, store->slot);
		if (!operation_is_declined(op))
			return true;
		found = store_find_next(store);
	}
	return false;
}

/*
 * idempotency.payment_status(kind, authorized, captured, released, refunded,
 * expires_at, expired, at): the status, at this time, of a payment with these totals.
 *
 * kind: of its newest operation.  expires_at, expired: may be NULL.  If another argument is NULL, the result is
 * NULL.
 */
Datum
idem_payment_status(PG_FUNCTION_ARGS)
{
	Operation	op;
	PaymentState state;

	for (int i = 0; i < 8; i++)
	{
		if (ARG_IS_NULL(i) && i != 5 && i != 6)
			PG_RETURN_NULL();
	}
	memset(op.nulls, true, sizeof(op.nulls));
	operation_set(&op, kind, PointerGetDatum(PG_GETARG_TEXT_PP(0)));
	operation_set(&op, authorized, PG_GETARG_DATUM(1));
	operation_set(&op, captured, PG_GETARG_DATUM(2));
	operation_set(&op, released, PG_GETARG_DATUM(3));
	operation_set(&op, refunded, PG_GETARG_DATUM(4));
	if (!ARG_IS_NULL(5))
		operation_set(&op, expires_at, PG_GETARG_DATUM(5));
	if (!ARG_IS_NULL(6))
		operation_set(&op, expired, PG_GETARG_DATUM(6));

	state = operation_payment_state(&op, PG_GETARG_TIMESTAMPTZ(7));
	PG_RETURN_TEXT_P(cstring_to_text(payment_status_name(state.status)));
}

/*
 * Check the payment's id, and the scope, into *scope.
 */
static void
check_payment(const pg_uuid_t *payment_id, text *scope_arg, text **scope)
{
	call_not_null(payment_id == NULL, "payment_id");
	refusal_raise(key_check_scope(scope_arg, scope));
}
