/*-------------------------------------------------------------------------
 *
 * operation.c
 *		The row of an operation, its comparison with a request, the receipt.
 *
 * A row says what came of a request, with the payment's running totals after
 * it: authorized (held), captured (taken), released (held, and let go again),
 * refunded (taken, and given back).  All else on a receipt follows from these:
 *
 *		capturable = authorized - captured - released
 *		refundable = captured - refunded
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "access.h"
#include "compat.h"
#include "currency.h"
#include "errors.h"
#include "money.h"
#include "operation.h"

/* The columns of the type idem_receipt, in the install script's order. */
enum
{
	RECEIPT_KEY,
	RECEIPT_PAYMENT_ID,
	RECEIPT_SEQ,
	RECEIPT_OPERATION,
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
	RECEIPT_REFERENCE,
	RECEIPT_METADATA,
	RECEIPT_EXPIRES_AT,
	RECEIPT_CREATED_AT,
	RECEIPT_REPLAYED,
	N_RECEIPT
};

/* The running totals after an operation, and what follows from them. */
typedef struct Totals
{
	Numeric		captured;
	Numeric		refunded;
	Numeric		capturable;
	Numeric		refundable;
} Totals;

static Totals totals_of(const Operation *op);
static const char *status(const Operation *op, const Totals *totals,
						  TimestampTz at);
static bool same_text(const Operation *op, int column, const text *asked);
static bool same_metadata(const Operation *op, Jsonb *asked);
pg_noreturn static void differs(const char *field, const char *stored,
								const char *asked);

void
operation_from_slot(Operation *op, TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	memcpy(op->values, slot->tts_values, sizeof(op->values));
	memcpy(op->nulls, slot->tts_isnull, sizeof(op->nulls));
}


void
operation_check_request(const Operation *op, const OperationRequest *request)
{
	Numeric		amount = DatumGetNumeric(operation_get(op, amount));
	text	   *kind = DatumGetTextPP(operation_get(op, operation));

	if (VARSIZE_ANY_EXHDR(kind) != strlen(request->operation) ||
		memcmp(VARDATA_ANY(kind), request->operation, VARSIZE_ANY_EXHDR(kind)) != 0)
		differs("operation", text_to_cstring(kind), request->operation);

	if (money_compare(amount, request->amount) != 0)
		differs("amount",
				DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(amount))),
				DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(request->amount))));

	if (!same_text(op, Anum_operation_currency, request->currency))
		differs("currency",
				text_to_cstring(DatumGetTextPP(operation_get(op, currency))),
				text_to_cstring(currency_clip(request->currency)));

	/* free text is named, but not shown: it may be personal, and logs are not */
	if (!same_text(op, Anum_operation_from_account, request->from_account))
		differs("from_account", NULL, NULL);
	if (!same_text(op, Anum_operation_to_account, request->to_account))
		differs("to_account", NULL, NULL);
	if (!same_text(op, Anum_operation_reference, request->reference))
		differs("reference", NULL, NULL);
	if (!same_metadata(op, request->metadata))
		differs("metadata", NULL, NULL);
}

void
operation_check_access(const Operation *op)
{
	if (!access_allowed(DatumGetTextPP(operation_get(op, role))))
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_FORBIDDEN),
				 errmsg("permission denied for idempotency key"),
				 errdetail("The key or payment belongs to another role.")));
}

Datum
operation_receipt(FunctionCallInfo fcinfo, const Operation *op,
				  TimestampTz at, bool replayed)
{
	static const struct
	{
		int			receipt;
		int			column;
	}			copied[] = {
		{RECEIPT_KEY, Anum_operation_key},
		{RECEIPT_PAYMENT_ID, Anum_operation_payment_id},
		{RECEIPT_SEQ, Anum_operation_seq},
		{RECEIPT_OPERATION, Anum_operation_operation},
		{RECEIPT_AMOUNT, Anum_operation_amount},
		{RECEIPT_CURRENCY, Anum_operation_currency},
		{RECEIPT_AUTHORIZED, Anum_operation_authorized},
		{RECEIPT_CAPTURED, Anum_operation_captured},
		{RECEIPT_REFUNDED, Anum_operation_refunded},
		{RECEIPT_FROM_ACCOUNT, Anum_operation_from_account},
		{RECEIPT_TO_ACCOUNT, Anum_operation_to_account},
		{RECEIPT_REFERENCE, Anum_operation_reference},
		{RECEIPT_METADATA, Anum_operation_metadata},
		{RECEIPT_EXPIRES_AT, Anum_operation_expires_at},
		{RECEIPT_CREATED_AT, Anum_operation_created_at},
	};
	Datum		values[N_RECEIPT];
	bool		nulls[N_RECEIPT] = {false};
	Totals		totals = totals_of(op);
	TupleDesc	desc;
	Datum		result;

	for (int i = 0; i < lengthof(copied); i++)
	{
		values[copied[i].receipt] = op->values[copied[i].column - 1];
		nulls[copied[i].receipt] = op->nulls[copied[i].column - 1];
	}
	values[RECEIPT_STATUS] = CStringGetTextDatum(status(op, &totals, at));
	values[RECEIPT_CAPTURABLE] = NumericGetDatum(totals.capturable);
	values[RECEIPT_REFUNDABLE] = NumericGetDatum(totals.refundable);
	values[RECEIPT_REPLAYED] = BoolGetDatum(replayed);

	desc = lookup_rowtype_tupdesc(get_func_rettype(fcinfo->flinfo->fn_oid), -1);
	if (desc->natts != N_RECEIPT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("type %s does not have the columns that the library expects",
						format_type_be(desc->tdtypeid)),
				 errhint("Run ALTER EXTENSION idempotency UPDATE.")));
	result = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	ReleaseTupleDesc(desc);
	return result;
}

static Totals
totals_of(const Operation *op)
{
	Numeric		authorized = DatumGetNumeric(operation_get(op, authorized));
	Numeric		released = DatumGetNumeric(operation_get(op, released));
	Totals		totals;

	totals.captured = DatumGetNumeric(operation_get(op, captured));
	totals.refunded = DatumGetNumeric(operation_get(op, refunded));
	totals.capturable = money_subtract(money_subtract(authorized, totals.captured),
									   released);
	totals.refundable = money_subtract(totals.captured, totals.refunded);
	return totals;
}

/*
 * The state of the payment after the operation, as of the moment "at": what was
 * held, taken and given back decides, and whether the hold has run out.
 */
static const char *
status(const Operation *op, const Totals *totals, TimestampTz at)
{
	if (!money_is_zero(totals->refunded))
		return money_is_zero(totals->refundable) ? "refunded" : "partially_refunded";
	if (money_is_zero(totals->capturable))
		return money_is_zero(totals->captured) ? "voided" : "succeeded";
	if (!money_is_zero(totals->captured))
		return "partially_captured";
	if (!operation_is_null(op, expires_at) &&
		DatumGetTimestampTz(operation_get(op, expires_at)) <= at)
		return "expired";
	return "authorized";
}

static bool
same_text(const Operation *op, int column, const text *asked)
{
	text	   *stored;

	if (op->nulls[column - 1] || asked == NULL)
		return op->nulls[column - 1] && asked == NULL;
	stored = DatumGetTextPP(op->values[column - 1]);
	return VARSIZE_ANY_EXHDR(stored) == VARSIZE_ANY_EXHDR(asked) &&
		memcmp(VARDATA_ANY(stored), VARDATA_ANY(asked), VARSIZE_ANY_EXHDR(asked)) == 0;
}

/* As jsonb's "=": the order of members and the way numbers are written do not matter. */
static bool
same_metadata(const Operation *op, Jsonb *asked)
{
	if (operation_is_null(op, metadata) || asked == NULL)
		return operation_is_null(op, metadata) && asked == NULL;
	return compareJsonbContainers(&DatumGetJsonbP(operation_get(op, metadata))->root,
								  &asked->root) == 0;
}

static void
differs(const char *field, const char *stored, const char *asked)
{
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_DIFFERENT_REQUEST),
			 errmsg("idempotency key was used with a different request"),
			 stored ? errdetail("Field \"%s\" differs: the key was used with %s, and now with %s.",
								field, stored, asked)
			 : errdetail("Field \"%s\" differs.", field),
			 errhint("A new request needs a new key.")));
}
