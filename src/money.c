/*-------------------------------------------------------------------------
 *
 * money.c
 *		What an amount may be.
 *
 * A currency's number of decimals is ISO 4217's; an amount with more of them
 * is refused and never rounded, because whoever sent it meant something else
 * than what would be charged.  Zeros behind the last decimal say nothing, and
 * are let pass: 50.000 USD is 50.00 USD.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "currency.h"
#include "money.h"

static Numeric zeros[CURRENCY_MAX_EXPONENT + 1];
static Numeric limit = NULL;

static int	decimals(Numeric amount);
static Numeric set_decimals(Numeric amount, int n);
static char *to_cstring(Numeric amount);

void
money_check(Numeric amount)
{
	if (amount == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("amount must not be null")));
	if (numeric_is_nan(amount) || numeric_is_inf(amount))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("amount must be a finite number")));
	if (money_compare(amount, money_zero(0)) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("amount must be greater than zero")));

	if (limit == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		int64		n = 1;

		for (int i = 0; i < MONEY_MAX_DIGITS; i++)
			n *= 10;
		limit = int64_to_numeric(n);
		MemoryContextSwitchTo(old);
	}
	if (money_compare(amount, limit) >= 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("amount is too large"),
				 errdetail("At most %d digits are allowed before the decimal point.",
						   MONEY_MAX_DIGITS)));
}

Numeric
money_in_currency(Numeric amount, const text *currency, int exponent)
{
	Numeric		result;

	if (decimals(amount) == exponent)
		return amount;
	result = set_decimals(amount, exponent);

	if (money_compare(result, amount) != 0)
	{
		int			scale = DatumGetInt32(DirectFunctionCall1(numeric_min_scale,
															  NumericGetDatum(amount)));

		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("amount has more decimals than its currency"),
				 scale <= 2 * CURRENCY_MAX_EXPONENT
				 ? errdetail("The amount is %s, and %s has %d decimals.",
							 to_cstring(amount), text_to_cstring(currency), exponent)
				 : errdetail("The amount has %d decimals, and %s has %d.",
							 scale, text_to_cstring(currency), exponent)));
	}
	return result;
}

Numeric
money_zero(int exponent)
{
	Assert(exponent >= 0 && exponent <= CURRENCY_MAX_EXPONENT);

	if (zeros[exponent] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		zeros[exponent] = set_decimals(int64_to_numeric(0), exponent);
		MemoryContextSwitchTo(old);
	}
	return zeros[exponent];
}

Numeric
money_subtract(Numeric a, Numeric b)
{
	/* most totals are zero most of the time, and a receipt has three differences */
	if (money_is_zero(b))
		return a;
	return DatumGetNumeric(DirectFunctionCall2(numeric_sub, NumericGetDatum(a),
											   NumericGetDatum(b)));
}

int
money_compare(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a),
											 NumericGetDatum(b)));
}

bool
money_is_zero(Numeric a)
{
	return money_compare(a, money_zero(0)) == 0;
}

static int
decimals(Numeric amount)
{
	return DatumGetInt32(DirectFunctionCall1(numeric_scale,
											 NumericGetDatum(amount)));
}

static Numeric
set_decimals(Numeric amount, int n)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_round,
											   NumericGetDatum(amount),
											   Int32GetDatum(n)));
}

static char *
to_cstring(Numeric amount)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(amount)));
}
