/*-------------------------------------------------------------------------
 *
 * state.c
 *		What the state of a payment allows: the rules of whatever goes on with
 *		it.
 *
 * They keep  0 <= refunded <= captured  and  captured + released <= authorized.
 * A hold has expired if its expires_at is not after the operation's created_at.
 * An expired hold cannot be captured.  The refusal is the same before it is
 * released and after.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "errors.h"
#include "money/money.h"
#include "payment/state.h"

static Refusal *capture(Operation *op, Numeric amount, bool final);
static Refusal *void_hold(Operation *op, Numeric amount);
static Refusal *increase(Operation *op, Numeric amount, int64 expires_in);
static Refusal *refund(Operation *op, Numeric amount);
static Refusal *reverse(Operation *op, Numeric amount);
static Refusal *expire(Operation *op);
static Refusal *check_hold(const Operation *op, OperationKind kind);
static Refusal *refuse_expired(const Operation *op, Numeric left,
							   OperationKind kind);

/* An amount with its currency, for messages. */
#define money(op, amount)	money_text(amount, operation_currency(op))

/* Add an amount to one of the totals. */
#define add(op, total, amount) \
	operation_set(op, total, \
				  NumericGetDatum(money_add(operation_numeric(op, total), amount)))

Refusal *
state_apply(Operation *op, const OperationArgs *args)
{
	switch (args->kind)
	{
		case OPERATION_CAPTURE:
			return capture(op, args->amount, args->final);

		case OPERATION_VOID:
			return void_hold(op, args->amount);

		case OPERATION_INCREASE:
			return increase(op, args->amount, args->expires_in);

		case OPERATION_REFUND:
			return refund(op, args->amount);

		case OPERATION_REVERSAL:
			return reverse(op, args->amount);

		case OPERATION_EXPIRE:
			return expire(op);

		case OPERATION_UNKNOWN:
		case OPERATION_PAY:
		case OPERATION_AUTHORIZE:
		case OPERATION_CANCEL:
		case OPERATION_POST:
			break;
	}
	elog(ERROR, "no state allows or forbids an operation of kind %d", args->kind);
}

/*
 * Capture an amount, or all that is left (NULL).  final: release the rest.
 */
static Refusal *
capture(Operation *op, Numeric amount, bool final)
{
	Numeric		left = operation_capturable(op);
	Refusal    *refusal;

	if (amount == NULL)
	{
		amount = left;
		operation_set(op, amount, NumericGetDatum(amount));
	}

	refusal = check_hold(op, OPERATION_CAPTURE);
	if (refusal)
		return refusal;
	if (money_compare(amount, left) > 0)
		return refusal_make(ERRCODE_IDEM_STATE,
							"amount is more than can be captured",
							psprintf("The request is for %s, but only %s of the %s authorized can be captured.",
									 money(op, amount), money(op, left),
									 money(op, operation_numeric(op, authorized))),
							NULL);

	add(op, captured, amount);
	if (final)
		add(op, released, money_subtract(left, amount));
	return NULL;
}

/*
 * Release an amount of what is held and not captured, or all of it (NULL), before
 * the hold expires.  The amount is at most what is left.
 */
static Refusal *
void_hold(Operation *op, Numeric amount)
{
	Refusal    *refusal;

	if (amount == NULL)
	{
		amount = operation_capturable(op);
		operation_set(op, amount, NumericGetDatum(amount));
	}
	refusal = check_hold(op, OPERATION_VOID);
	if (refusal)
		return refusal;

	Assert(money_compare(amount, operation_capturable(op)) <= 0);
	add(op, released, amount);
	return NULL;
}

/*
 * Raise a hold by an amount, which may be zero, and let it expire later: after
 * expires_in, in microseconds, unless that is 0.  A hold never expires earlier.
 */
static Refusal *
increase(Operation *op, Numeric amount, int64 expires_in)
{
	Refusal    *refusal = check_hold(op, OPERATION_INCREASE);
	TimestampTz old;
	TimestampTz new;

	if (refusal)
		return refusal;
	old = DatumGetTimestampTz(operation_value(op, expires_at));
	new = expires_in ? DatumGetTimestampTz(operation_value(op, created_at)) + expires_in : old;
	if (new < old)
		return refusal_make(ERRCODE_IDEM_STATE,
							"hold expires later already",
							psprintf("The hold expires at %s.", timestamptz_to_str(old)),
							"An increase can only prolong a hold. Leave expires_in out to keep the time.");

	add(op, authorized, amount);
	operation_set(op, expires_at, TimestampTzGetDatum(new));
	return NULL;
}

/*
 * Refund an amount, or all that is left (NULL).
 */
static Refusal *
refund(Operation *op, Numeric amount)
{
	Numeric		left = operation_refundable(op);

	if (amount == NULL)
	{
		amount = left;
		operation_set(op, amount, NumericGetDatum(amount));
	}

	if (money_is_zero(left))
		return refusal_make(ERRCODE_IDEM_STATE,
							"nothing is left to refund",
							psprintf("Of the %s captured, %s was refunded.",
									 money(op, operation_numeric(op, captured)),
									 money(op, operation_numeric(op, refunded))),
							check_hold(op, OPERATION_VOID) == NULL
							? "Use idem_void() to release what is held." : NULL);
	if (money_compare(amount, left) > 0)
		return refusal_make(ERRCODE_IDEM_STATE,
							"amount is more than can be refunded",
							psprintf("The request is for %s, but only %s of the %s captured can be refunded.",
									 money(op, amount), money(op, left),
									 money(op, operation_numeric(op, captured))),
							NULL);

	add(op, refunded, amount);
	return NULL;
}

/*
 * Take a refund back that reached nobody.
 */
static Refusal *
reverse(Operation *op, Numeric amount)
{
	Numeric		refunded = operation_numeric(op, refunded);

	if (money_compare(amount, refunded) > 0)	/* rows were changed by hand */
		return refusal_make(ERRCODE_IDEM_STATE,
							"amount is more than was refunded",
							psprintf("The refund was %s, but %s is refunded.",
									 money(op, amount), money(op, refunded)),
							NULL);

	operation_set(op, refunded, NumericGetDatum(money_subtract(refunded, amount)));
	return NULL;
}

/*
 * Release what an expired hold still holds.
 */
static Refusal *
expire(Operation *op)
{
	Numeric		left = operation_capturable(op);

	operation_set(op, amount, NumericGetDatum(left));
	if (money_is_zero(left) ||
		!operation_has_expired(op, DatumGetTimestampTz(operation_value(op, created_at))))
		return refusal_make(ERRCODE_IDEM_STATE, "nothing has expired", NULL, NULL);

	add(op, released, left);
	operation_set(op, expired, BoolGetDatum(true));
	return NULL;
}

/*
 * Refuse a capture, a void or an increase (kind) unless something is held, and the
 * hold has not expired.
 */
static Refusal *
check_hold(const Operation *op, OperationKind kind)
{
	Numeric		left = operation_capturable(op);
	const char *hint = NULL;

	if (operation_expiry_is_stored(op))
		return refuse_expired(op, operation_numeric(op, released), kind);

	if (kind == OPERATION_VOID && !money_is_zero(operation_refundable(op)))
		hint = "Use idem_refund() to refund what was captured.";
	if (kind == OPERATION_CAPTURE && !money_is_zero(operation_numeric(op, captured)) &&
		!money_is_zero(operation_numeric(op, released)))
		hint = "A capture releases the rest of the hold unless final is false.";
	if (money_is_zero(left))
		return refusal_make(ERRCODE_IDEM_STATE,
							kind == OPERATION_VOID ? "nothing is left to void"
							: kind == OPERATION_INCREASE ? "no hold is left to increase"
							: "nothing is left to capture",
							psprintf("Of the %s authorized, %s was captured and %s was released.",
									 money(op, operation_numeric(op, authorized)),
									 money(op, operation_numeric(op, captured)),
									 money(op, operation_numeric(op, released))),
							hint);
	if (operation_has_expired(op, DatumGetTimestampTz(operation_value(op, created_at))))
		return refuse_expired(op, left, kind);
	return NULL;
}

/*
 * The refusal: the hold has expired.  left: what it held when it expired.
 */
static Refusal *
refuse_expired(const Operation *op, Numeric left, OperationKind kind)
{
	return refusal_make(ERRCODE_IDEM_STATE,
						"authorization has expired",
						psprintf(kind == OPERATION_VOID ? "%s could be voided until %s."
								 : "%s could be captured until %s.",
								 money(op, left),
								 timestamptz_to_str(DatumGetTimestampTz(operation_value(op, expires_at)))),
						NULL);
}
