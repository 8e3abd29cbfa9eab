/*-------------------------------------------------------------------------
 *
 * receipt.c
 *		What a payment function returns: a value of the type idem_receipt.
 *
 * A receipt has most columns of an operation, and what follows from them: the
 * payment's status, and what can be captured and refunded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

#include "payment/receipt.h"
#include "stat/stat.h"

/* The columns of the type idem_receipt, in the install script's order. */
enum
{
	RECEIPT_KEY,
	RECEIPT_PAYMENT_ID,
	RECEIPT_SEQ,
	RECEIPT_KIND,
	RECEIPT_STATUS,
	RECEIPT_AMOUNT,
	RECEIPT_CURRENCY,
	RECEIPT_AUTHORIZED,
	RECEIPT_CAPTURED,
	RECEIPT_REFUNDED,
	RECEIPT_CAPTURABLE,
	RECEIPT_REFUNDABLE,
	RECEIPT_FROM_ACCOUNT,
	RECEIPT_TO_ACCOUNT,
	RECEIPT_FROM_SEQ,
	RECEIPT_TO_SEQ,
	RECEIPT_LEGS,
	RECEIPT_REFERENCE,
	RECEIPT_METADATA,
	RECEIPT_EXPIRES_AT,
	RECEIPT_CREATED_AT,
	RECEIPT_SQLSTATE,
	RECEIPT_MESSAGE,
	RECEIPT_REPLAYED,
	N_RECEIPT
};

/* The types of these columns. */
static const Oid receipt_types[N_RECEIPT] = {
	TEXTOID, UUIDOID, INT4OID, TEXTOID, TEXTOID, NUMERICOID, TEXTOID, NUMERICOID,
	NUMERICOID, NUMERICOID, NUMERICOID, NUMERICOID, TEXTOID, TEXTOID, INT8OID,
	INT8OID, JSONBOID, TEXTOID, JSONBOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID,
	BOOLOID
};

static Datum form(FunctionCallInfo fcinfo, const Operation *op,
				  const PaymentState *state, bool replayed);
static TupleDesc descriptor(FunctionCallInfo fcinfo);

Datum
receipt_make(FunctionCallInfo fcinfo, const Operation *op, bool replayed)
{
	PaymentState state = operation_receipt_state(op);

	return form(fcinfo, op, &state, replayed);
}

Datum
receipt_new(FunctionCallInfo fcinfo, const Operation *op)
{
	stat_note(operation_is_declined(op) ? STAT_DECLINED : STAT_NEW, 1);
	return receipt_make(fcinfo, op, false);
}

Datum
receipt_make_now(FunctionCallInfo fcinfo, const Operation *op)
{
	PaymentState state = operation_payment_state(op, GetCurrentStatementStartTimestamp());

	return form(fcinfo, op, &state, true);
}

Datum
receipt_replay(FunctionCallInfo fcinfo, TupleTableSlot *slot,
			   const OperationArgs *args)
{
	Operation	op;

	operation_from_slot(&op, slot);
	refusal_raise(operation_check_access(&op));
	if (args)
	{
		refusal_raise(operation_check_args(&op, args));
		stat_note(STAT_REPLAYED, 1);
	}
	return receipt_make(fcinfo, &op, true);
}

void
receipt_put(ReturnSetInfo *rsinfo, Datum receipt)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(receipt);
	HeapTupleData tuple;

	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	tuplestore_puttuple(rsinfo->setResult, &tuple);
}

/*
 * The receipt of an operation, with this state of the payment.
 */
static Datum
form(FunctionCallInfo fcinfo, const Operation *op, const PaymentState *state,
	 bool replayed)
{
	static const struct
	{
		int			receipt;
		int			column;
	}			copied[] = {
		{RECEIPT_KEY, Anum_operation_key},
		{RECEIPT_PAYMENT_ID, Anum_operation_payment_id},
		{RECEIPT_SEQ, Anum_operation_seq},
		{RECEIPT_KIND, Anum_operation_kind},
		{RECEIPT_AMOUNT, Anum_operation_amount},
		{RECEIPT_CURRENCY, Anum_operation_currency},
		{RECEIPT_AUTHORIZED, Anum_operation_authorized},
		{RECEIPT_CAPTURED, Anum_operation_captured},
		{RECEIPT_REFUNDED, Anum_operation_refunded},
		{RECEIPT_FROM_ACCOUNT, Anum_operation_from_account},
		{RECEIPT_TO_ACCOUNT, Anum_operation_to_account},
		{RECEIPT_FROM_SEQ, Anum_operation_from_seq},
		{RECEIPT_TO_SEQ, Anum_operation_to_seq},
		{RECEIPT_LEGS, Anum_operation_legs},
		{RECEIPT_REFERENCE, Anum_operation_reference},
		{RECEIPT_METADATA, Anum_operation_metadata},
		{RECEIPT_EXPIRES_AT, Anum_operation_expires_at},
		{RECEIPT_CREATED_AT, Anum_operation_created_at},
		{RECEIPT_SQLSTATE, Anum_operation_sqlstate},
		{RECEIPT_MESSAGE, Anum_operation_message},
	};
	Datum		values[N_RECEIPT];
	bool		nulls[N_RECEIPT] = {false};
	TupleDesc	desc;
	Datum		result;

	for (int i = 0; i < lengthof(copied); i++)
	{
		values[copied[i].receipt] = op->values[copied[i].column - 1];
		nulls[copied[i].receipt] = op->nulls[copied[i].column - 1];
	}
	values[RECEIPT_STATUS] = CStringGetTextDatum(payment_status_name(state->status));
	values[RECEIPT_CAPTURABLE] = state->capturable;
	values[RECEIPT_REFUNDABLE] = state->refundable;
	values[RECEIPT_REPLAYED] = BoolGetDatum(replayed);

	desc = descriptor(fcinfo);
	result = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	ReleaseTupleDesc(desc);
	return result;
}

/*
 * The type of the receipt, as the function being called declares it.  In FROM, say,
 * the executor passes it; elsewhere it is looked up.
 *
 * Error: 55000 if it has other columns than the library knows.
 */
static TupleDesc
descriptor(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleDesc	desc;
	bool		ok;

	if (rsinfo && IsA(rsinfo, ReturnSetInfo) && rsinfo->expectedDesc &&
		rsinfo->expectedDesc->tdtypeid != RECORDOID)
		desc = rsinfo->expectedDesc;
	else
	{
		Oid			type = get_fn_expr_rettype(fcinfo->flinfo);

		if (!OidIsValid(type))
			type = get_func_rettype(fcinfo->flinfo->fn_oid);
		desc = lookup_rowtype_tupdesc(type, -1);
	}
	ok = desc->natts == N_RECEIPT;
	for (int i = 0; ok && i < N_RECEIPT; i++)
		ok = TupleDescAttr(desc, i)->atttypid == receipt_types[i];
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("type %s does not have the columns that the library expects",
						format_type_be(desc->tdtypeid)),
				 errhint("Run ALTER EXTENSION idempotency UPDATE.")));
	return desc;
}
