/*-------------------------------------------------------------------------
 *
 * operation.c
 *		The row of an operation, its comparison with a request, the receipt.
 *
 * A row says what came of a request, with the payment's running totals after
 * it: authorized (held), captured (taken), released (held, and let go again),
 * refunded (taken, and given back).  All else on a receipt follows from these:
 *
 *		capturable = authorized - captured - released, and none once a hold
 *					 has expired, whether it was released by then or not
 *		refundable = captured - refunded
 *
 * and the payment's status:
 *
 *		refunded			all that was captured, and nothing is left to capture
 *		partially_refunded	part of it, or more can be captured
 *		succeeded			captured, and nothing is left to capture
 *		partially_captured	in part
 *		voided				nothing captured, and all released
 *		expired				nothing captured, and the hold has run out (whether
 *							it was released for that by then or not)
 *		authorized			nothing captured yet
 *
 * A declined operation changes nothing: its row carries the totals on, and its
 * own status says so.  A key that was cancelled before it was used has a row of
 * its own payment, with nothing in it.
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
#include "utils/typcache.h"

#include "access.h"
#include "bytes.h"
#include "compat.h"
#include "money/currency.h"
#include "errors.h"
#include "money/money.h"
#include "payment/operation.h"
#include "payment/uuid7.h"

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
	RECEIPT_REFERENCE,
	RECEIPT_METADATA,
	RECEIPT_EXPIRES_AT,
	RECEIPT_CREATED_AT,
	RECEIPT_SQLSTATE,
	RECEIPT_MESSAGE,
	RECEIPT_REPLAYED,
	N_RECEIPT
};

static const Oid receipt_types[N_RECEIPT] = {
	TEXTOID, UUIDOID, INT4OID, TEXTOID, TEXTOID, NUMERICOID, TEXTOID, NUMERICOID,
	NUMERICOID, NUMERICOID, NUMERICOID, NUMERICOID, TEXTOID, TEXTOID, TEXTOID,
	JSONBOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, BOOLOID
};

static void init(Operation *op, const Key *key, const char *kind,
				 const pg_uuid_t *payment_id, TimestampTz now);
static void set_text(Operation *op, int column, const text *value);
static void set_request(Operation *op, const OperationRequest *request);
static bool may_act_for(Datum role);
static Datum capturable(const Operation *op);
static Datum refundable(const Operation *op);
static Datum stored_zero(const Operation *op);
static const char *payment_status(const Operation *op, Datum left,
								  Datum to_refund, TimestampTz at);
static TupleDesc receipt_desc(FunctionCallInfo fcinfo);
static Datum receipt(FunctionCallInfo fcinfo, const Operation *op,
					 TimestampTz at, const char *status, bool replayed);
static bool same_text(const Operation *op, int column, const text *asked);
static bool same_metadata(const Operation *op, Jsonb *asked);
static char *duration_text(int64 us);

#define numeric(op, column)	DatumGetNumeric(operation_get(op, column))

void
operation_from_slot(Operation *op, TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	memcpy(op->values, slot->tts_values, sizeof(op->values));
	memcpy(op->nulls, slot->tts_isnull, sizeof(op->nulls));
}

void
operation_copy(Operation *op, TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);

	heap_deform_tuple(ExecCopySlotHeapTuple(slot), desc, values, nulls);
	memcpy(op->values, values, sizeof(op->values));
	memcpy(op->nulls, nulls, sizeof(op->nulls));
}

void
operation_start(Operation *op, const Key *key, const OperationRequest *request)
{
	TimestampTz now = GetCurrentTimestamp();
	pg_uuid_t  *payment_id = palloc(sizeof(pg_uuid_t));
	Datum		zero = NumericGetDatum(money_zero(money_decimals(request->amount)));
	bool		hold = strcmp(request->operation, OPERATION_AUTHORIZE) == 0;

	uuid7_make(payment_id, now);
	init(op, key, request->operation, payment_id, now);
	operation_get(op, seq) = Int32GetDatum(1);
	set_request(op, request);
	set_text(op, Anum_operation_currency, request->currency);
	set_text(op, Anum_operation_from_account, request->from_account);
	set_text(op, Anum_operation_to_account, request->to_account);
	operation_get(op, authorized) = NumericGetDatum(request->amount);
	operation_get(op, captured) = hold ? zero : NumericGetDatum(request->amount);
	operation_get(op, released) = zero;
	operation_get(op, refunded) = zero;
	if (hold)
		operation_set(op, expires_at, TimestampTzGetDatum(now + request->expires_in));
}

void
operation_follow(Operation *op, const Operation *newest, const Key *key,
				 const OperationRequest *request)
{
	static const int carried[] = {
		Anum_operation_currency,
		Anum_operation_authorized,
		Anum_operation_captured,
		Anum_operation_released,
		Anum_operation_refunded,
		Anum_operation_from_account,
		Anum_operation_to_account,
		Anum_operation_expires_at,
		Anum_operation_expired,
		Anum_operation_owner,
	};
	Datum		owner = operation_is_null(newest, owner)
		? operation_get(newest, role) : operation_get(newest, owner);
	text	   *role;

	init(op, key, request->operation,
		 DatumGetUUIDP(operation_get(newest, payment_id)), GetCurrentTimestamp());
	if (DatumGetInt32(operation_get(newest, seq)) == PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("payment has too many operations")));
	operation_get(op, seq) = Int32GetDatum(DatumGetInt32(operation_get(newest, seq)) + 1);
	for (int i = 0; i < lengthof(carried); i++)
	{
		op->values[carried[i] - 1] = newest->values[carried[i] - 1];
		op->nulls[carried[i] - 1] = newest->nulls[carried[i] - 1];
	}
	set_request(op, request);

	role = DatumGetTextPP(operation_get(op, role));
	operation_set(op, owner, owner);
	if (same_text(op, Anum_operation_owner, role))
		operation_is_null(op, owner) = true;
}

void
operation_of_owner(Operation *op)
{
	if (!operation_is_null(op, owner))
		operation_get(op, role) = operation_get(op, owner);
	operation_is_null(op, owner) = true;
}

void
operation_cancelled(Operation *op, const Key *key)
{
	TimestampTz now = GetCurrentTimestamp();
	pg_uuid_t  *payment_id = palloc(sizeof(pg_uuid_t));
	Datum		zero = NumericGetDatum(money_zero(0));

	uuid7_make(payment_id, now);
	init(op, key, OPERATION_CANCEL, payment_id, now);
	operation_get(op, seq) = Int32GetDatum(1);
	operation_get(op, amount) = zero;
	operation_get(op, authorized) = zero;
	operation_get(op, captured) = zero;
	operation_get(op, released) = zero;
	operation_get(op, refunded) = zero;
}

void
operation_decline(Operation *op, const Refusal *refusal)
{
	operation_set(op, sqlstate,
				  CStringGetTextDatum(unpack_sql_state(refusal->sqlstate)));
	operation_set(op, message, CStringGetTextDatum(refusal->message));
}

text *
operation_currency(const Operation *op)
{
	return operation_is_null(op, currency) ? cstring_to_text("")
		: DatumGetTextPP(operation_get(op, currency));
}

bool
operation_is(const Operation *op, const char *kind)
{
	return bytes_equal_cstring(DatumGetTextPP(operation_get(op, kind)), kind);
}

bool
operation_is_declined(const Operation *op)
{
	return !operation_is_null(op, sqlstate);
}

Refusal *
operation_refusal(const Operation *op)
{
	char	   *state;

	if (!operation_is_declined(op))
		return NULL;
	state = text_to_cstring(DatumGetTextPP(operation_get(op, sqlstate)));
	if (strlen(state) != 5)		/* written by hand */
		state = "XX000";
	return refusal_make(MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]),
						operation_is_null(op, message) ? "declined"
						: text_to_cstring(DatumGetTextPP(operation_get(op, message))),
						NULL, NULL);
}

bool
operation_has_expired(const Operation *op, TimestampTz at)
{
	return !operation_is_null(op, expires_at) &&
		DatumGetTimestampTz(operation_get(op, expires_at)) <= at;
}

bool
operation_is_expired(const Operation *op)
{
	return !operation_is_null(op, expired) && DatumGetBool(operation_get(op, expired));
}

Numeric
operation_capturable(const Operation *op)
{
	return DatumGetNumeric(capturable(op));
}

Numeric
operation_refundable(const Operation *op)
{
	return DatumGetNumeric(refundable(op));
}

Refusal *
operation_check_request(const Operation *op, const OperationRequest *request)
{
	bool		whole = DatumGetBool(operation_get(op, whole));

	if (operation_is(op, OPERATION_CANCEL))
		return NULL;

	if (!operation_is(op, request->operation))
		return refusal_different("kind",
								 text_to_cstring(DatumGetTextPP(operation_get(op, kind))),
								 request->operation);

	if (request->payment_id &&
		memcmp(request->payment_id, DatumGetUUIDP(operation_get(op, payment_id)),
			   UUID_LEN) != 0)
		return refusal_different("payment_id",
								 DatumGetCString(DirectFunctionCall1(uuid_out, operation_get(op, payment_id))),
								 DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(request->payment_id))));

	if (whole != (request->amount == NULL) ||
		(!whole && !money_stored_equal(operation_get(op, amount), NumericGetDatum(request->amount))))
		return refusal_different("amount",
								 whole ? "all that is left" : money_digits(numeric(op, amount)),
								 request->amount ? money_digits(request->amount) : "all that is left");

	if (request->currency &&
		!same_text(op, Anum_operation_currency, request->currency))
		return refusal_different("currency",
								 text_to_cstring(operation_currency(op)),
								 text_to_cstring(currency_clip(request->currency)));

	if (!operation_is_null(op, final) &&
		DatumGetBool(operation_get(op, final)) != request->final)
		return refusal_different("final", request->final ? "false" : "true",
								 request->final ? "true" : "false");

	if (request->expires_in != 0 && !operation_is_null(op, expires_at) &&
		DatumGetTimestampTz(operation_get(op, expires_at)) !=
		DatumGetTimestampTz(operation_get(op, created_at)) + request->expires_in)
		return refusal_different("expires_in",
								 duration_text(DatumGetTimestampTz(operation_get(op, expires_at)) -
									 DatumGetTimestampTz(operation_get(op, created_at))),
								 duration_text(request->expires_in));

	/* free text is named, but not shown: it may be personal, and logs are not */
	if (request->payment_id == NULL)
	{
		if (!same_text(op, Anum_operation_from_account, request->from_account))
			return refusal_different("from_account", NULL, NULL);
		if (!same_text(op, Anum_operation_to_account, request->to_account))
			return refusal_different("to_account", NULL, NULL);
	}
	if (!same_text(op, Anum_operation_reference, request->reference))
		return refusal_different("reference", NULL, NULL);
	if (!same_metadata(op, request->metadata))
		return refusal_different("metadata", NULL, NULL);
	return NULL;
}

Refusal *
operation_check_access(const Operation *op)
{
	return may_act_for(operation_get(op, role)) ? NULL : refusal_forbidden("idempotency key");
}

Refusal *
operation_check_payment_access(const Operation *op)
{
	return may_act_for(operation_is_null(op, owner) ? operation_get(op, role)
					   : operation_get(op, owner)) ? NULL : refusal_forbidden("payment");
}

const char *
operation_payment_status(const Operation *op, TimestampTz at)
{
	return payment_status(op, capturable(op), refundable(op), at);
}

const char *
operation_status(const Operation *op)
{
	if (operation_is_declined(op))
		return "declined";
	return operation_payment_status(op, DatumGetTimestampTz(operation_get(op, created_at)));
}

Datum
operation_receipt(FunctionCallInfo fcinfo, const Operation *op, bool replayed)
{
	return receipt(fcinfo, op, DatumGetTimestampTz(operation_get(op, created_at)),
				   operation_is_declined(op) ? "declined" : NULL, replayed);
}

Datum
operation_receipt_now(FunctionCallInfo fcinfo, const Operation *op)
{
	return receipt(fcinfo, op, GetCurrentStatementStartTimestamp(), NULL, true);
}

Datum
operation_replay(FunctionCallInfo fcinfo, TupleTableSlot *slot,
				 const OperationRequest *request)
{
	Operation	op;

	operation_from_slot(&op, slot);
	refusal_raise(operation_check_access(&op));
	if (request)
		refusal_raise(operation_check_request(&op, request));
	return operation_receipt(fcinfo, &op, true);
}

/*
 * A row with all that every operation has, and NULL for the rest.
 */
static void
init(Operation *op, const Key *key, const char *kind,
	 const pg_uuid_t *payment_id, TimestampTz now)
{
	memset(op->nulls, true, sizeof(op->nulls));
	operation_set(op, payment_id, UUIDPGetDatum(payment_id));
	operation_set(op, created_at, TimestampTzGetDatum(now));
	operation_set(op, seq, (Datum) 0);
	operation_set(op, whole, BoolGetDatum(false));
	set_text(op, Anum_operation_scope, key->scope);
	set_text(op, Anum_operation_key, key->key);
	operation_set(op, kind, CStringGetTextDatum(kind));
	operation_set(op, amount, (Datum) 0);
	operation_set(op, authorized, (Datum) 0);
	operation_set(op, captured, (Datum) 0);
	operation_set(op, released, (Datum) 0);
	operation_set(op, refunded, (Datum) 0);
	set_text(op, Anum_operation_role, access_current_role());
}

static void
set_text(Operation *op, int column, const text *value)
{
	op->values[column - 1] = PointerGetDatum(value);
	op->nulls[column - 1] = value == NULL;
}

static void
set_request(Operation *op, const OperationRequest *request)
{
	operation_get(op, whole) = BoolGetDatum(request->amount == NULL);
	operation_get(op, amount) = request->amount
		? NumericGetDatum(request->amount)
		: NumericGetDatum(money_zero(money_decimals(numeric(op, authorized))));
	if (strcmp(request->operation, OPERATION_CAPTURE) == 0)
		operation_set(op, final, BoolGetDatum(request->final));
	set_text(op, Anum_operation_reference, request->reference);
	if (request->metadata)
		operation_set(op, metadata, JsonbPGetDatum(request->metadata));
}

static bool
may_act_for(Datum role)
{
	return access_allowed(DatumGetTextPP(role));
}

/*
 * What is left to be captured, and refunded, in the form in which amounts are
 * stored.
 */
static Datum
capturable(const Operation *op)
{
	Datum		zero = stored_zero(op);

	return money_stored_subtract(money_stored_subtract(operation_get(op, authorized),
													   operation_get(op, captured), zero),
								 operation_get(op, released), zero);
}

static Datum
refundable(const Operation *op)
{
	return money_stored_subtract(operation_get(op, captured),
								 operation_get(op, refunded), stored_zero(op));
}

/*
 * Zero, with the decimals of the payment: most payments have one at hand.
 */
static Datum
stored_zero(const Operation *op)
{
	if (money_stored_is_zero(operation_get(op, refunded)))
		return operation_get(op, refunded);
	return NumericGetDatum(money_zero(money_decimals(numeric(op, refunded))));
}

/*
 * The status of the payment; left is what could be captured if the hold had not
 * expired.
 */
static const char *
payment_status(const Operation *op, Datum left, Datum to_refund, TimestampTz at)
{
	bool		expired = operation_has_expired(op, at);
	bool		has_left = !money_stored_is_zero(left);
	bool		to_capture = !expired && has_left;

	if (operation_is(op, OPERATION_CANCEL))
		return "cancelled";
	if (!money_stored_is_zero(operation_get(op, refunded)))
		return to_capture || !money_stored_is_zero(to_refund)
			? "partially_refunded" : "refunded";
	if (!money_stored_is_zero(operation_get(op, captured)))
		return to_capture ? "partially_captured" : "succeeded";
	if (to_capture)
		return "authorized";

	return operation_is_expired(op) || (expired && has_left)
		? "expired" : "voided";
}

/*
 * A receipt with the payment's state at a time; status: NULL is the payment's.
 */
static Datum
receipt(FunctionCallInfo fcinfo, const Operation *op, TimestampTz at,
		const char *status, bool replayed)
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
		{RECEIPT_REFERENCE, Anum_operation_reference},
		{RECEIPT_METADATA, Anum_operation_metadata},
		{RECEIPT_EXPIRES_AT, Anum_operation_expires_at},
		{RECEIPT_CREATED_AT, Anum_operation_created_at},
		{RECEIPT_SQLSTATE, Anum_operation_sqlstate},
		{RECEIPT_MESSAGE, Anum_operation_message},
	};
	Datum		values[N_RECEIPT];
	bool		nulls[N_RECEIPT] = {false};
	Datum		left = capturable(op);
	Datum		to_refund = refundable(op);
	TupleDesc	desc;
	Datum		result;

	if (status == NULL)
		status = payment_status(op, left, to_refund, at);
	if (operation_has_expired(op, at))
		left = stored_zero(op);

	for (int i = 0; i < lengthof(copied); i++)
	{
		values[copied[i].receipt] = op->values[copied[i].column - 1];
		nulls[copied[i].receipt] = op->nulls[copied[i].column - 1];
	}
	values[RECEIPT_STATUS] = CStringGetTextDatum(status);
	values[RECEIPT_CAPTURABLE] = left;
	values[RECEIPT_REFUNDABLE] = to_refund;
	values[RECEIPT_REPLAYED] = BoolGetDatum(replayed);

	desc = receipt_desc(fcinfo);
	result = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	ReleaseTupleDesc(desc);
	return result;
}

/*
 * The type of the receipt, as the function being called declares it.  Whoever
 * reads it as a table has it at hand.
 */
static TupleDesc
receipt_desc(FunctionCallInfo fcinfo)
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

static bool
same_text(const Operation *op, int column, const text *asked)
{
	return bytes_equal(op->nulls[column - 1] ? NULL : DatumGetTextPP(op->values[column - 1]),
					   asked);
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

static char *
duration_text(int64 us)
{
	Interval	interval = {.time = us};

	return DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(&interval)));
}
