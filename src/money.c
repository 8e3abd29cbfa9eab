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

static Numeric set_decimals(Numeric amount, int n);

Refusal *
money_check(Numeric amount)
{
	if (amount == NULL)
		return refusal_make(ERRCODE_NULL_VALUE_NOT_ALLOWED,
							"amount must not be null", NULL, NULL);
	if (numeric_is_nan(amount) || numeric_is_inf(amount))
		return refusal_make(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
							"amount must be a finite number", NULL, NULL);
	if (money_compare(amount, money_zero(0)) <= 0)
		return refusal_make(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
							"amount must be greater than zero", NULL, NULL);

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
		return refusal_make(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
							"amount is too large",
							psprintf("At most %d digits are allowed before the decimal point.",
									 MONEY_MAX_DIGITS),
							NULL);
	return NULL;
}

Refusal *
money_in_currency(Numeric *amount, const text *currency, int exponent)
{
	Numeric		asked = *amount;

	if (money_decimals(asked) == exponent)
		return NULL;

	*amount = set_decimals(asked, exponent);
	if (money_compare(*amount, asked) != 0)
	{
		int			scale = DatumGetInt32(DirectFunctionCall1(numeric_min_scale,
															  NumericGetDatum(asked)));
		char	   *code = text_to_cstring(currency);

		return refusal_make(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
							"amount has more decimals than its currency",
							scale <= 2 * CURRENCY_MAX_EXPONENT
							? psprintf("The amount is %s, and %s has %d decimals.",
									   money_digits(asked), code, exponent)
							: psprintf("The amount has %d decimals, and %s has %d.",
									   scale, code, exponent),
							NULL);
	}
	return NULL;
}

Numeric
money_zero(int exponent)
{
	/* more than any currency has: written by hand */
	if (exponent < 0 || exponent > CURRENCY_MAX_EXPONENT)
		return set_decimals(int64_to_numeric(0), exponent);

	if (zeros[exponent] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		zeros[exponent] = set_decimals(int64_to_numeric(0), exponent);
		MemoryContextSwitchTo(old);
	}
	return zeros[exponent];
}

int
money_decimals(Numeric amount)
{
	if (numeric_is_nan(amount) || numeric_is_inf(amount))
		return 0;				/* written by hand */
	return DatumGetInt32(DirectFunctionCall1(numeric_scale,
											 NumericGetDatum(amount)));
}

Numeric
money_add(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_add, NumericGetDatum(a),
											   NumericGetDatum(b)));
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

char *
money_text(Numeric a, const text *currency)
{
	return psprintf("%s %s", money_digits(a), text_to_cstring(currency));
}

char *
money_digits(Numeric a)
{
	char	   *digits = DatumGetCString(DirectFunctionCall1(numeric_out,
															 NumericGetDatum(a)));

	/* an amount that was asked for may have thousands of decimals */
	if (strlen(digits) > 80)
		strcpy(digits + 77, "...");
	return digits;
}

static Numeric
set_decimals(Numeric amount, int n)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_round,
											   NumericGetDatum(amount),
											   Int32GetDatum(n)));
}
