/*-------------------------------------------------------------------------
 *
 * money.h
 *		What an amount may be.
 *
 * Amounts are numeric, in the currency's major unit: 50 is fifty dollars.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_MONEY_H
#define IDEM_MONEY_H

#include "utils/numeric.h"

#include "refusal.h"

/* Amounts are below ten to the power of this. */
#define MONEY_MAX_DIGITS	18

/*
 * Check what must hold of an amount in any currency: it is not NULL, a finite
 * number, above zero, and below 10 ^ MONEY_MAX_DIGITS.
 *
 * Result: NULL, or a refusal: 22004 for NULL, 22003 for the rest.
 */
extern Refusal *money_check(Numeric amount);

/* The same, but zero is allowed. */
extern Refusal *money_check_or_zero(Numeric amount);

/* Is it Infinity, which asks for all that is left?  amount: not NULL. */
extern bool money_is_all_that_is_left(Numeric amount);

/*
 * Give an amount as many decimals as its currency has: 50 USD is 50.00.  Zeros at
 * the end are cut off.  An amount is never rounded.
 *
 * *amount: has passed money_check().  currency: its code, for the message.
 * exponent: the currency's number of decimals.
 *
 * Result: NULL, or a refusal, 22003, if the amount has more decimals than the
 * currency.  Then *amount is not valid any more.
 */
extern Refusal *money_set_decimals(Numeric *amount, const text *currency,
								   int exponent);

/*
 * Zero, with that many decimals.  It lives as long as the backend.  Only if no
 * currency can have that many, it is in the current memory context.
 */
extern Numeric money_zero(int exponent);

/* The number of decimals that an amount is written with; 0 if it is not finite. */
extern int	money_decimals(Numeric amount);

/* a + b, and a - b, of amounts with the same number of decimals. */
extern Numeric money_add(Numeric a, Numeric b);
extern Numeric money_subtract(Numeric a, Numeric b);

/* Compare two amounts: <0, 0, >0. */
extern int	money_compare(Numeric a, Numeric b);

/* Is it zero, with any number of decimals? */
extern bool money_is_zero(Numeric a);

/*
 * The same of stored amounts, as they are in a row, with a short header or not.  For
 * most it is enough to look at their bytes.
 */
extern bool money_stored_is_zero(Datum a);
extern bool money_stored_equal(Datum a, Datum b);

/*
 * a - b of stored amounts.  zero: the zero to return if their bytes are equal; it
 * has as many decimals as they have.
 */
extern Datum money_stored_subtract(Datum a, Datum b, Datum zero);

/* An amount with its currency, for messages: "50.00 USD". */
extern char *money_text(Numeric a, const text *currency);

/* An amount alone, for messages: "50.00".  It has at most 80 characters. */
extern char *money_digits(Numeric a);

#endif							/* IDEM_MONEY_H */
