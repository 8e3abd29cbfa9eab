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

/* amounts are below ten to the power of this */
#define MONEY_MAX_DIGITS	18

/*
 * What holds of an amount in any currency: it is not NULL, a finite number,
 * above zero, and below 10 ^ MONEY_MAX_DIGITS.
 *
 * Refusals: 22004 for NULL, 22003 for the rest.
 */
extern Refusal *money_check(Numeric amount);

/*
 * Give an amount that money_check() has passed as many decimals as the currency
 * has (50 USD is 50.00).  Never rounds.
 *
 * Refusal: 22003 if the amount has more decimals than the currency.
 */
extern Refusal *money_in_currency(Numeric *amount, const text *currency,
								  int exponent);

/* Nothing, with that many decimals; lives as long as the backend. */
extern Numeric money_zero(int exponent);

/* The number of decimals that an amount is written with. */
extern int	money_decimals(Numeric amount);

/* a + b, and a - b, of amounts with the same number of decimals */
extern Numeric money_add(Numeric a, Numeric b);
extern Numeric money_subtract(Numeric a, Numeric b);
extern int	money_compare(Numeric a, Numeric b);	/* <0, 0, >0 */
extern bool money_is_zero(Numeric a);

/*
 * The same of stored amounts, taken as they are, with a short header or not.  Of
 * most it is enough to look at their bytes.
 */
extern bool money_stored_is_zero(Datum a);
extern bool money_stored_equal(Datum a, Datum b);

/* a - b; zero, one with as many decimals, is returned if there is no difference. */
extern Datum money_stored_subtract(Datum a, Datum b, Datum zero);

/* "50.00", for messages; the first with its currency: "50.00 USD" */
extern char *money_text(Numeric a, const text *currency);
extern char *money_digits(Numeric a);

#endif							/* IDEM_MONEY_H */
