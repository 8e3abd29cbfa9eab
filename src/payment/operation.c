/*-------------------------------------------------------------------------
 *
 * operation.c
 *		The row of an operation, and its totals.
 *
 * A row has the outcome of one call, and the payment's running totals after it:
 * authorized, captured, released (authorized, but never to be captured) and
 * refunded.  The rest of a receipt follows from these totals.
 *
 *		capturable = authorized - captured - released; zero once the hold has
 *					 expired, whether it has been released or not
 *		refundable = captured - refunded
 *
 * The payment's status follows from them, too:
 *
 *		refunded			all that was captured is refunded, and nothing is left
 *							to capture
 *		partially_refunded	something is refunded, and something is left to refund
 *							or to capture
 *		succeeded			something is captured, and nothing is left to capture
 *		partially_captured	something is captured, and something is left to capture
 *		voided				nothing is captured, and all is released
 *		expired				nothing is captured, and the hold has expired, whether
 *							it has been released or not
 *		authorized			nothing is captured yet
 *
 * A payment of zero, for an order that is free, has succeeded from the start.  It is
 * refunded once its pay is cancelled, which makes a refund of zero.
 *
 * A declined operation changes nothing.  Its row repeats the totals, and its
 * receipt has the status "declined".  If it is the first one, all totals are zero, and
 * there is no payment to go on with.  A key that was cancelled before it was used
 * has a row in a payment of its own.  All totals of that payment are zero, and its
 * status is "cancelled".
 *
 * A post has a payment of its own, too, which nothing goes on with.  It moves money
 * between the accounts of its legs, and all totals are zero.  It has succeeded, or it was
 * declined.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "access.h"
#include "bytes.h"
#include "errors.h"
#include "money/money.h"
#include "payment/operation.h"
#include "payment/uuid7.h"

/* The words for the kinds, as they are stored. */
static const char *const operation_kind_names[] = {
	[OPERATION_UNKNOWN] = "unknown",
	[OPERATION_PAY] = "pay",
	[OPERATION_AUTHORIZE] = "authorize",
	[OPERATION_CAPTURE] = "capture",
	[OPERATION_VOID] = "void",
	[OPERATION_REFUND] = "refund",
	[OPERATION_INCREASE] = "increase",
	[OPERATION_REVERSAL] = "reversal",
	[OPERATION_CANCEL] = "cancel",
	[OPERATION_EXPIRE] = "expire",
	[OPERATION_POST] = "post",
};

/* The words for the statuses, as they are on a receipt. */
static const char *const payment_status_names[] = {
	[PAYMENT_AUTHORIZED] = "authorized",
	[PAYMENT_PARTIALLY_CAPTURED] = "partially_captured",
	[PAYMENT_SUCCEEDED] = "succeeded",
	[PAYMENT_PARTIALLY_REFUNDED] = "partially_refunded",
	[PAYMENT_REFUNDED] = "refunded",
	[PAYMENT_VOIDED] = "voided",
	[PAYMENT_EXPIRED] = "expired",
	[PAYMENT_CANCELLED] = "cancelled",
	[PAYMENT_DECLINED] = "declined",
};

static void init(Operation *op, const Key *key, OperationKind kind,
				 const pg_uuid_t *payment_id, TimestampTz now);
static void copy_column(Operation *op, const Operation *from, int column);
static void operation_set_text(Operation *op, int column, const text *value);
static void set_args(Operation *op, const OperationArgs *args);
static bool may_act_for(Datum role);
static Datum capturable(const Operation *op);
static Datum refundable(const Operation *op);
static Datum owner_or_role(const Operation *op);

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
operation_start(Operation *op, const Key *key, const OperationArgs *args)
{
	TimestampTz now = GetCurrentTimestamp();
	pg_uuid_t  *payment_id = palloc(sizeof(pg_uuid_t));
	Datum		zero = NumericGetDatum(money_zero(money_decimals(args->amount)));
	Datum		amount = NumericGetDatum(args->amount);
	bool		hold = args->kind == OPERATION_AUTHORIZE;
	bool		post = args->kind == OPERATION_POST;

	Assert(hold || post || args->kind == OPERATION_PAY);
	uuid7_make(payment_id, now);
	init(op, key, args->kind, payment_id, now);
	operation_set(op, seq, Int32GetDatum(1));
	set_args(op, args);
	operation_set_text(op, Anum_operation_currency, args->currency);
	operation_set_text(op, Anum_operation_from_account, args->from_account);
	operation_set_text(op, Anum_operation_to_account, args->to_account);
	operation_set(op, authorized, post ? zero : amount);
	operation_set(op, captured, post || hold ? zero : amount);
	operation_set(op, released, zero);
	operation_set(op, refunded, zero);
	if (hold)
		operation_set(op, expires_at, TimestampTzGetDatum(now + args->expires_in));
	if (post)
		operation_set(op, legs, JsonbPGetDatum(legs_to_jsonb(args->legs)));
	operation_assert_valid(op, NULL);
}

void
operation_follow(Operation *op, const Operation *newest, const Key *key,
				 const OperationArgs *args)
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
	Datum		owner = owner_or_role(newest);
	text	   *role;

	init(op, key, args->kind,
		 DatumGetUUIDP(operation_value(newest, payment_id)), GetCurrentTimestamp());
	if (DatumGetInt32(operation_value(newest, seq)) == PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("payment has too many operations")));
	operation_set(op, seq, Int32GetDatum(DatumGetInt32(operation_value(newest, seq)) + 1));
	for (int i = 0; i < lengthof(carried); i++)
		copy_column(op, newest, carried[i]);
	set_args(op, args);

	role = DatumGetTextPP(operation_value(op, role));
	operation_set(op, owner, owner);
	if (bytes_equal(DatumGetTextPP(owner), role))
		operation_set_null(op, owner);
}

void
operation_keep_totals(Operation *op, const Operation *newest)
{
	static const int kept[] = {
		Anum_operation_authorized,
		Anum_operation_captured,
		Anum_operation_released,
		Anum_operation_refunded,
		Anum_operation_expires_at,
		Anum_operation_expired,
	};

	for (int i = 0; i < lengthof(kept); i++)
		copy_column(op, newest, kept[i]);
}

void
operation_give_to_owner(Operation *op)
{
	if (!operation_is_null(op, owner))
		operation_set(op, role, operation_value(op, owner));
	operation_set_null(op, owner);
}

void
operation_make_cancelled(Operation *op, const Key *key)
{
	TimestampTz now = GetCurrentTimestamp();
	pg_uuid_t  *payment_id = palloc(sizeof(pg_uuid_t));
	Datum		zero = NumericGetDatum(money_zero(0));

	uuid7_make(payment_id, now);
	init(op, key, OPERATION_CANCEL, payment_id, now);
	operation_set(op, seq, Int32GetDatum(1));
	operation_set(op, amount, zero);
	operation_set(op, authorized, zero);
	operation_set(op, captured, zero);
	operation_set(op, released, zero);
	operation_set(op, refunded, zero);
	operation_assert_valid(op, NULL);
}

void
operation_decline(Operation *op, const Refusal *refusal)
{
	/* the first one starts no payment */
	if (DatumGetInt32(operation_value(op, seq)) == 1)
	{
		operation_set(op, authorized, operation_zero(op));
		operation_set(op, captured, operation_zero(op));
	}
	operation_set(op, sqlstate,
				  CStringGetTextDatum(unpack_sql_state(refusal->sqlstate)));
	operation_set(op, message, CStringGetTextDatum(refusal->message));
}

text *
operation_currency(const Operation *op)
{
	return operation_is_null(op, currency) ? cstring_to_text("")
		: DatumGetTextPP(operation_value(op, currency));
}

OperationKind
operation_kind(const Operation *op)
{
	for (OperationKind kind = OPERATION_PAY; kind < lengthof(operation_kind_names); kind++)
	{
		if (operation_is(op, kind))
			return kind;
	}
	return OPERATION_UNKNOWN;
}

bool
operation_is(const Operation *op, OperationKind kind)
{
	return bytes_equal_cstring(DatumGetTextPP(operation_value(op, kind)),
							   operation_kind_names[kind]);
}

const char *
operation_kind_name(OperationKind kind)
{
	return operation_kind_names[kind];
}

bool
operation_has_payment(const Operation *op)
{
	return !operation_is(op, OPERATION_CANCEL) &&
		!(operation_is_declined(op) && DatumGetInt32(operation_value(op, seq)) == 1);
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
	state = text_to_cstring(DatumGetTextPP(operation_value(op, sqlstate)));
	if (strlen(state) != 5)		/* written by hand */
		state = "XX000";
	return refusal_make(MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]),
						operation_is_null(op, message) ? "declined"
						: text_to_cstring(DatumGetTextPP(operation_value(op, message))),
						NULL, NULL);
}

bool
operation_has_expired(const Operation *op, TimestampTz at)
{
	return !operation_is_null(op, expires_at) &&
		DatumGetTimestampTz(operation_value(op, expires_at)) <= at;
}

bool
operation_expiry_is_stored(const Operation *op)
{
	return !operation_is_null(op, expired) && DatumGetBool(operation_value(op, expired));
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

Datum
operation_zero(const Operation *op)
{
	/* of most payments nothing is refunded, so the row has one already */
	if (money_stored_is_zero(operation_value(op, refunded)))
		return operation_value(op, refunded);
	return NumericGetDatum(money_zero(money_decimals(operation_numeric(op, refunded))));
}

Refusal *
operation_check_access(const Operation *op)
{
	return may_act_for(operation_value(op, role)) ? NULL : refusal_forbidden_key();
}

Refusal *
operation_check_payment_access(const Operation *op)
{
	return may_act_for(owner_or_role(op)) ? NULL : refusal_forbidden_payment();
}

PaymentState
operation_payment_state(const Operation *op, TimestampTz at)
{
	PaymentState state = {
		.capturable = capturable(op),
		.refundable = refundable(op),
	};
	bool		expired = operation_has_expired(op, at);
	bool		has_left = !money_stored_is_zero(state.capturable);
	bool		to_capture = !expired && has_left;

	if (operation_is(op, OPERATION_CANCEL))
		state.status = PAYMENT_CANCELLED;
	else if (money_stored_is_zero(operation_value(op, authorized)))
		state.status = operation_is(op, OPERATION_REFUND) ? PAYMENT_REFUNDED : PAYMENT_SUCCEEDED;
	else if (!money_stored_is_zero(operation_value(op, refunded)))
		state.status = to_capture || !money_stored_is_zero(state.refundable)
			? PAYMENT_PARTIALLY_REFUNDED : PAYMENT_REFUNDED;
	else if (!money_stored_is_zero(operation_value(op, captured)))
		state.status = to_capture ? PAYMENT_PARTIALLY_CAPTURED : PAYMENT_SUCCEEDED;
	else if (to_capture)
		state.status = PAYMENT_AUTHORIZED;
	else
		state.status = operation_expiry_is_stored(op) || (expired && has_left)
			? PAYMENT_EXPIRED : PAYMENT_VOIDED;

	if (expired)
		state.capturable = operation_zero(op);
	return state;
}

PaymentState
operation_receipt_state(const Operation *op)
{
	PaymentState state = operation_payment_state(op, DatumGetTimestampTz(operation_value(op, created_at)));

	if (operation_is_declined(op))
		state.status = PAYMENT_DECLINED;
	return state;
}

const char *
payment_status_name(PaymentStatus status)
{
	return payment_status_names[status];
}

/*
 * Begin a row: set the columns that are the same for every operation.  The other
 * NOT NULL columns get a placeholder, which the caller replaces.  The rest is null.
 */
static void
init(Operation *op, const Key *key, OperationKind kind,
	 const pg_uuid_t *payment_id, TimestampTz now)
{
	memset(op->nulls, true, sizeof(op->nulls));
	operation_set(op, payment_id, UUIDPGetDatum(payment_id));
	operation_set(op, created_at, TimestampTzGetDatum(now));
	operation_set(op, seq, (Datum) 0);
	operation_set(op, whole, BoolGetDatum(false));
	operation_set_text(op, Anum_operation_scope, key->scope);
	operation_set_text(op, Anum_operation_key, key->key);
	operation_set(op, kind, CStringGetTextDatum(operation_kind_names[kind]));
	operation_set(op, amount, (Datum) 0);
	operation_set(op, authorized, (Datum) 0);
	operation_set(op, captured, (Datum) 0);
	operation_set(op, released, (Datum) 0);
	operation_set(op, refunded, (Datum) 0);
	operation_set_text(op, Anum_operation_role, access_current_role());
}

/*
 * Set a column to what it is in another operation.
 */
static void
copy_column(Operation *op, const Operation *from, int column)
{
	op->values[column - 1] = from->values[column - 1];
	op->nulls[column - 1] = from->nulls[column - 1];
}

/*
 * Set a column of type text.  NULL sets it to null.
 */
static void
operation_set_text(Operation *op, int column, const text *value)
{
	if (value)
		operation_set_column(op, column, PointerGetDatum(value));
	else
		operation_set_column_null(op, column);
}

/*
 * Set the columns that say what was asked for.  If no amount was named, the total
 * authorized must have been set: the amount becomes a zero with its decimals.
 */
static void
set_args(Operation *op, const OperationArgs *args)
{
	operation_set(op, whole, BoolGetDatum(args->amount == NULL));
	operation_set(op, amount, args->amount ? NumericGetDatum(args->amount) : operation_zero(op));
	if (args->kind == OPERATION_CAPTURE)
		operation_set(op, final, BoolGetDatum(args->final));
	if (args->kind == OPERATION_INCREASE)
		operation_set(op, prolonged, BoolGetDatum(args->expires_in != 0));
	operation_set_text(op, Anum_operation_reference, args->reference);
	if (args->metadata)
		operation_set(op, metadata, JsonbPGetDatum(args->metadata));
}

/*
 * Does the current role have the privileges of this one, whose name is stored?
 */
static bool
may_act_for(Datum role)
{
	return access_allowed(DatumGetTextPP(role));
}

/*
 * authorized - captured - released, in the form in which amounts are stored.
 */
static Datum
capturable(const Operation *op)
{
	Datum		zero = operation_zero(op);

	return money_stored_subtract(money_stored_subtract(operation_value(op, authorized),
													   operation_value(op, captured), zero),
								 operation_value(op, released), zero);
}

/*
 * captured - refunded, in the form in which amounts are stored.
 */
static Datum
refundable(const Operation *op)
{
	return money_stored_subtract(operation_value(op, captured),
								 operation_value(op, refunded), operation_zero(op));
}

/*
 * The role that started the payment of an operation.
 */
static Datum
owner_or_role(const Operation *op)
{
	return operation_is_null(op, owner) ? operation_value(op, role) : operation_value(op, owner);
}
