/*-------------------------------------------------------------------------
 *
 * money.c
 *		What an amount may be.
 *
 * An amount with more decimals than its currency is refused and never rounded.
 * Whoever sent it meant something else than what would be charged.  Zeros after the
 * last decimal mean nothing and are allowed: 50.000 USD is 50.00 USD.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "bytes.h"
#include "money/currency.h"
#include "money/money.h"

/* The zero for each number of decimals, once it has been asked for; or NULL. */
static Numeric zeros[CURRENCY_MAX_EXPONENT + 1];

/* 10 ^ MONEY_MAX_DIGITS, once it has been asked for; or NULL. */
static Numeric limit = NULL;

/*
 * A number is stored as digits of base 10,000 after a header of two bytes, or of
 * four where two do not suffice.  Zero has no digits.  The first two bytes are
 * described at NumericShort and NumericLong (utils/adt/numeric.c).  We need this
 * much of them.
 */
#define FORM_MASK		0xC000
#define FORM_SHORT		0x8000	/* the form is the two highest bits: 10 is
								 * short, 00 and 01 are long, 11 is no finite
								 * number */
#define SHORT_NEGATIVE	0x2000
#define SHORT_WEIGHT_NEGATIVE	0x0040
#define SHORT_WEIGHT_MASK		0x003F	/* the first digit's power of 10,000 */

static Refusal *check(Numeric amount, bool or_zero);
static int	read_header(Datum amount, uint16 *header);
static bool is_plain(Datum amount);
static Numeric set_decimals(Numeric amount, int n);

Refusal *
money_check(Numeric amount)
{
	return check(amount, false);
}

Refusal *
money_check_or_zero(Numeric amount)
{
	return check(amount, true);
}

bool
money_is_all_that_is_left(Numeric amount)
{
	return numeric_is_inf(amount) && money_compare(amount, money_zero(0)) > 0;
}

/*
 * Check an amount for money_check() and money_check_or_zero().
 */
static Refusal *
check(Numeric amount, bool or_zero)
{
	int			order;

	if (amount == NULL)
		return refusal_make(ERRCODE_NULL_VALUE_NOT_ALLOWED,
							"amount must not be null", NULL, NULL);
	if (is_plain(NumericGetDatum(amount)))
		return NULL;
	if (numeric_is_nan(amount) || numeric_is_inf(amount))
		return refusal_make(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
							"amount must be a finite number", NULL, NULL);
	order = money_compare(amount, money_zero(0));
	if (order < 0 || (order == 0 && !or_zero))
		return refusal_make(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
							or_zero ? "amount must not be negative" : "amount must be greater than zero",
							NULL, NULL);

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
money_set_decimals(Numeric *amount, const text *currency, int exponent)
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
							? psprintf("The amount is %s, but %s has %d decimals.",
									   money_digits(asked), code, exponent)
							: psprintf("The amount has %d decimals, but %s has %d.",
									   scale, code, exponent),
							NULL);
	}
	return NULL;
}

Numeric
money_zero(int exponent)
{
	/* no currency has that many: the row was written by hand */
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
		return 0;				/* the row was written by hand */
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

bool
money_stored_is_zero(Datum a)
{
	uint16		header;
	int			size = read_header(a, &header);
	bool		zero = size == 2 ? (header & FORM_MASK) == FORM_SHORT
		: size == 4 && (header & FORM_SHORT) == 0;

	Assert(zero == money_is_zero(DatumGetNumeric(a)));
	return zero;
}

bool
money_stored_equal(Datum a, Datum b)
{
	return bytes_equal(DatumGetPointer(a), DatumGetPointer(b)) ||
		money_compare(DatumGetNumeric(a), DatumGetNumeric(b)) == 0;
}

Datum
money_stored_subtract(Datum a, Datum b, Datum zero)
{
	/* most totals are zero or the whole amount */
	if (bytes_equal(DatumGetPointer(a), DatumGetPointer(b)))
		return zero;
	if (money_stored_is_zero(b))
		return a;
	return NumericGetDatum(money_subtract(DatumGetNumeric(a), DatumGetNumeric(b)));
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

	/* an amount in a call may have thousands of decimals */
	if (strlen(digits) > 80)
		strcpy(digits + 77, "...");
	return digits;
}

/*
 * Read the first two bytes of a number's header.  Result: how many bytes the header
 * and the digits have together.
 */
static int
read_header(Datum amount, uint16 *header)
{
	const struct varlena *bytes = (struct varlena *) DatumGetPointer(amount);

	memcpy(header, VARDATA_ANY(bytes), sizeof(*header));
	return VARSIZE_ANY_EXHDR(bytes);
}

/*
 * Is it like most amounts: above zero, and far below the limit?  If it is, it passes
 * money_check().  If not, it may pass all the same.
 */
static bool
is_plain(Datum amount)
{
	uint16		header;
	int			size = read_header(amount, &header);

	return (header & FORM_MASK) == FORM_SHORT && size > 2 &&
		(header & SHORT_NEGATIVE) == 0 &&
		((header & SHORT_WEIGHT_NEGATIVE) != 0 ||
		 (header & SHORT_WEIGHT_MASK) < MONEY_MAX_DIGITS / 4);
}

/*
 * The amount with n decimals, rounded.
 */
static Numeric
set_decimals(Numeric amount, int n)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_round,
											   NumericGetDatum(amount),
											   Int32GetDatum(n)));
}
