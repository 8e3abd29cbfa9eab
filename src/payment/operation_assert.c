/*-------------------------------------------------------------------------
 *
 * operation_assert.c
 *		What must be true of an operation that is about to be inserted.
 *
 * This is for builds with assertions.  idem_check() checks the same, and more, of
 * the rows that are stored.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "bytes.h"
#include "money/money.h"
#include "payment/operation.h"

#ifdef USE_ASSERT_CHECKING

static bool is_valid(const Operation *op);
static bool currency_is_valid(const Operation *op);
static bool totals_are_valid(const Operation *op);
static bool may_follow(const Operation *op, const Operation *newest);

void
operation_assert_valid(const Operation *op, const Operation *newest)
{
	if (newest && !is_valid(newest))
		return;
	Assert(is_valid(op));
	if (newest)
		Assert(may_follow(op, newest));
	else
		Assert(DatumGetInt32(operation_value(op, seq)) == 1);
}

/*
 * Does the row have what belongs to its kind, and valid totals?
 */
static bool
is_valid(const Operation *op)
{
	bool		declined = operation_is_declined(op);

	if (DatumGetInt32(operation_value(op, seq)) < 1 ||
		operation_is_null(op, message) == declined ||
		!currency_is_valid(op) ||
		operation_is_null(op, legs) == operation_is(op, OPERATION_POST) ||
		operation_is_null(op, final) == operation_is(op, OPERATION_CAPTURE) ||
		operation_is_null(op, prolonged) == operation_is(op, OPERATION_INCREASE) ||
		(operation_expiry_is_stored(op) && operation_is_null(op, expires_at)) ||
		!totals_are_valid(op))
		return false;

	switch (operation_kind(op))
	{
		case OPERATION_PAY:
			return operation_is_null(op, expires_at);

		case OPERATION_CANCEL:
			return !declined && operation_is_null(op, expires_at);

		case OPERATION_AUTHORIZE:
			return true;

		case OPERATION_POST:
			return operation_is_null(op, expires_at) &&
				money_is_zero(operation_numeric(op, authorized));

		case OPERATION_EXPIRE:
		case OPERATION_REVERSAL:
			return !declined;

		case OPERATION_CAPTURE:
		case OPERATION_VOID:
		case OPERATION_REFUND:
		case OPERATION_INCREASE:
			return true;

		case OPERATION_UNKNOWN:
			break;
	}
	return false;
}

/*
 * Does the row have a currency?  A key that was cancelled unused has none, and a post
 * in several currencies has no amount.
 */
static bool
currency_is_valid(const Operation *op)
{
	if (operation_is(op, OPERATION_POST))
		return operation_is_null(op, currency) == money_is_zero(operation_numeric(op, amount));
	return operation_is_null(op, currency) == operation_is(op, OPERATION_CANCEL);
}

/*
 * Is 0 <= refunded <= captured, and captured + released <= authorized?  And are
 * all amounts finite, not negative, and with the same number of decimals?
 */
static bool
totals_are_valid(const Operation *op)
{
	Numeric		amounts[] = {
		operation_numeric(op, amount),
		operation_numeric(op, authorized),
		operation_numeric(op, captured),
		operation_numeric(op, released),
		operation_numeric(op, refunded),
	};

	for (int i = 0; i < lengthof(amounts); i++)
	{
		if (numeric_is_nan(amounts[i]) || numeric_is_inf(amounts[i]) ||
			money_compare(amounts[i], money_zero(0)) < 0 ||
			money_decimals(amounts[i]) != money_decimals(amounts[0]))
			return false;
	}
	return money_compare(operation_refundable(op), money_zero(0)) >= 0 &&
		money_compare(operation_capturable(op), money_zero(0)) >= 0;
}

/*
 * Is it the next operation of the same payment?  The totals never get less, except
 * what is refunded by a reversal.  A declined operation changes none of them.
 */
static bool
may_follow(const Operation *op, const Operation *newest)
{
	static const int totals[] = {
		Anum_operation_authorized,
		Anum_operation_captured,
		Anum_operation_released,
		Anum_operation_refunded,
	};

	if (DatumGetInt32(operation_value(op, seq)) != DatumGetInt32(operation_value(newest, seq)) + 1 ||
		memcmp(DatumGetUUIDP(operation_value(op, payment_id)),
			   DatumGetUUIDP(operation_value(newest, payment_id)), UUID_LEN) != 0 ||
		!bytes_equal(operation_currency(op), operation_currency(newest)))
		return false;

	for (int i = 0; i < lengthof(totals); i++)
	{
		int			change = money_compare(DatumGetNumeric(operation_column(op, totals[i])),
										   DatumGetNumeric(operation_column(newest, totals[i])));

		if (totals[i] == Anum_operation_refunded && operation_is(op, OPERATION_REVERSAL))
			change = -change;
		if (change < 0 || (change > 0 && operation_is_declined(op)))
			return false;
	}
	return true;
}

#endif							/* USE_ASSERT_CHECKING */
