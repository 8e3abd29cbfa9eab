/*-------------------------------------------------------------------------
 *
 * limits.c
 *		What the limits of an account may be.
 *
 * A limit may be negative: a floor of -100 is a credit of 100.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"

#include "ledger/limits.h"
#include "money/money.h"

static Refusal *check_limit(Numeric *limit, const char *name, bool none_is_negative);
static bool is_negative(Numeric limit);

Refusal *
limits_check(Account *account)
{
	Refusal    *refusal = check_limit(&account->floor, "floor", true);

	if (refusal == NULL)
		refusal = check_limit(&account->ceiling, "ceiling", false);
	if (refusal == NULL && account->floor && account->ceiling &&
		money_compare(account->floor, account->ceiling) > 0)
		refusal = refusal_make(ERRCODE_INVALID_PARAMETER_VALUE,
							   "floor must not be above ceiling", NULL, NULL);
	return refusal;
}

Refusal *
limits_set_decimals(Numeric *limit, const text *currency, int exponent)
{
	return *limit ? money_set_decimals(limit, currency, exponent) : NULL;
}

const char *
limits_text(Numeric limit)
{
	return limit ? money_digits(limit) : "none";
}

/*
 * Check one limit.  none_is_negative: is it -Infinity, and not Infinity, that means no
 * limit?
 */
static Refusal *
check_limit(Numeric *limit, const char *name, bool none_is_negative)
{
	Numeric		size;
	Refusal    *refusal;

	if (*limit == NULL)
		return NULL;
	if (numeric_is_inf(*limit) && is_negative(*limit) == none_is_negative)
	{
		*limit = NULL;
		return NULL;
	}
	if (numeric_is_nan(*limit) || numeric_is_inf(*limit))
		return refusal_make(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
							psprintf("%s must be a number", name), NULL,
							psprintf("Use %s for no limit.", none_is_negative ? "-Infinity" : "Infinity"));
	size = DatumGetNumeric(DirectFunctionCall1(numeric_abs, NumericGetDatum(*limit)));
	refusal = money_check_or_zero(size);
	if (refusal)
		refusal->message = psprintf("%s is too large", name);
	return refusal;
}

/*
 * Is it below zero?
 */
static bool
is_negative(Numeric limit)
{
	return money_compare(limit, money_zero(0)) < 0;
}
