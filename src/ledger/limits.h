/*-------------------------------------------------------------------------
 *
 * limits.h
 *		What the limits of an account may be.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_LIMITS_H
#define IDEM_LIMITS_H

#include "ledger/account.h"

/*
 * Check the limits that are asked for, as far as that does not depend on the currency.
 * A floor of -Infinity and a ceiling of Infinity become NULL: no limit.
 *
 * Refusals: 22003 if one is no number, or is beyond 10 ^ MONEY_MAX_DIGITS; 22023 if the
 * floor is above the ceiling.
 */
extern Refusal *limits_check(Account *account);

/*
 * Give a limit the decimals of its currency.  It may be NULL.
 *
 * Refusal: 22003 if it has more.
 */
extern Refusal *limits_set_decimals(Numeric *limit, const text *currency, int exponent);

/* A limit, for messages: "none" if it is NULL. */
extern const char *limits_text(Numeric limit);

#endif							/* IDEM_LIMITS_H */
