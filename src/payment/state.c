/*-------------------------------------------------------------------------
 *
 * state.c
 *		What the state of a payment allows: the rules of capture, void,
 *		refund and expiry.
 *
 * They keep  0 <= refunded <= captured  and  captured + released <= authorized.
 * The time that counts for a hold is the operation's created_at.  A hold that
 * has run out cannot be captured, whether it was released by then or not, and
 * the answer is the same.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "money/money.h"
#include "payment/state.h"

static Refusal *capture(Operation *op, Numeric amount, bool final);
static Refusal *void_rest(Operation *op);
static Refusal *refund(Operation *op, Numeric amount);
static Refusal *expire(Operation *op);
static Refusal *check_hold(const Operation *op, const char *verb);
static Refusal *has_expired(const Operation *op, Numeric left, const char *verb);

#define numeric(op, column)	DatumGetNumeric(operation_get(op, column))
#define money(op, amount)	money_text(amount, operation_currency(op))

Refusal *
state_apply(Operation *op, const OperationRequest *request)
{
	if (strcmp(request->operation, OPERATION_CAPTURE) == 0)
		return capture(op, request->amount, request->final);
	if (strcmp(request->operation, OPERATION_VOID) == 0)
		return void_rest(op);
	if (strcmp(request->operation, OPERATION_REFUND) == 0)
		return refund(op, request->amount);
	if (strcmp(request->operation, OPERATION_EXPIRE) == 0)
		return expire(op);
	elog(ERROR, "no operation of a payment: %s", request->operation);
}

static Refusal *
capture(Operation *op, Numeric amount, bool final)
{
	Numeric		left = operation_capturable(op);
	Refusal    *refusal;

	if (amount == NULL)
		operation_get(op, amount) = NumericGetDatum(amount = left);

	refusal = check_hold(op, "capture");
	if (refusal)
		return refusal;
	if (money_compare(amount, left) > 0)
		return refusal_make(ERRCODE_IDEM_STATE,
							"amount is more than can be captured",
							psprintf("%s are asked for; of %s authorized, %s can be captured.",
									 money(op, amount), money(op, numeric(op, authorized)),
									 money(op, left)),
							NULL);

	operation_get(op, captured) =
		NumericGetDatum(money_add(numeric(op, captured), amount));
	if (final)
		operation_get(op, released) =
			NumericGetDatum(money_add(numeric(op, released),
									  money_subtract(left, amount)));
	return NULL;
}

static Refusal *
void_rest(Operation *op)
{
	Numeric		left = operation_capturable(op);
	Refusal    *refusal;

	operation_get(op, amount) = NumericGetDatum(left);
	refusal = check_hold(op, "void");
	if (refusal)
		return refusal;

	operation_get(op, released) =
		NumericGetDatum(money_add(numeric(op, released), left));
	return NULL;
}

static Refusal *
refund(Operation *op, Numeric amount)
{
	Numeric		left = operation_refundable(op);

	if (amount == NULL)
		operation_get(op, amount) = NumericGetDatum(amount = left);

	if (money_is_zero(left))
		return refusal_make(ERRCODE_IDEM_STATE,
							"nothing is left to refund",
							psprintf("Of %s captured, %s are refunded.",
									 money(op, numeric(op, captured)),
									 money(op, numeric(op, refunded))),
							check_hold(op, "void") == NULL
							? "Use idem_void() to release what is held." : NULL);
	if (money_compare(amount, left) > 0)
		return refusal_make(ERRCODE_IDEM_STATE,
							"amount is more than can be refunded",
							psprintf("%s are asked for; of %s captured, %s can be refunded.",
									 money(op, amount), money(op, numeric(op, captured)),
									 money(op, left)),
							NULL);

	operation_get(op, refunded) =
		NumericGetDatum(money_add(numeric(op, refunded), amount));
	return NULL;
}

static Refusal *
expire(Operation *op)
{
	Numeric		left = operation_capturable(op);

	operation_get(op, amount) = NumericGetDatum(left);
	if (money_is_zero(left) ||
		!operation_has_expired(op, DatumGetTimestampTz(operation_get(op, created_at))))
		return refusal_make(ERRCODE_IDEM_STATE, "nothing has expired", NULL, NULL);

	operation_get(op, released) =
		NumericGetDatum(money_add(numeric(op, released), left));
	operation_set(op, expired, BoolGetDatum(true));
	return NULL;
}

/*
 * Is there something held?
 */
static Refusal *
check_hold(const Operation *op, const char *verb)
{
	Numeric		left = operation_capturable(op);
	const char *hint = NULL;

	if (operation_is_expired(op))
		return has_expired(op, numeric(op, released), verb);

	if (strcmp(verb, "void") == 0 && !money_is_zero(operation_refundable(op)))
		hint = "Use idem_refund() to give back what is captured.";
	if (strcmp(verb, "capture") == 0 && !money_is_zero(numeric(op, captured)) &&
		!money_is_zero(numeric(op, released)))
		hint = "A capture releases what it leaves, unless final is false.";
	if (money_is_zero(left))
		return refusal_make(ERRCODE_IDEM_STATE,
							psprintf("nothing is left to %s", verb),
							psprintf("Of %s authorized, %s are captured and %s released.",
									 money(op, numeric(op, authorized)),
									 money(op, numeric(op, captured)),
									 money(op, numeric(op, released))),
							hint);
	if (operation_has_expired(op, DatumGetTimestampTz(operation_get(op, created_at))))
		return has_expired(op, left, verb);
	return NULL;
}

/*
 * left: what was held then.
 */
static Refusal *
has_expired(const Operation *op, Numeric left, const char *verb)
{
	return refusal_make(ERRCODE_IDEM_STATE,
						"authorization has expired",
						psprintf("%s were left to %s until %s.",
								 money(op, left), verb,
								 timestamptz_to_str(DatumGetTimestampTz(operation_get(op, expires_at)))),
						NULL);
}
