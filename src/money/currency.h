/*-------------------------------------------------------------------------
 *
 * currency.h
 *		Currencies and how many decimals they have.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_CURRENCY_H
#define IDEM_CURRENCY_H

#include "refusal.h"

/* most decimals that idempotency.currency takes */
#define CURRENCY_MAX_EXPONENT	18

/* The beginning of what should be a code, for messages: it may be of any length. */
extern text *currency_clip(const text *code);

/* The currency of a call: what it names, or else the setting. */
extern text *currency_of_call(text *currency);

/*
 * The number of decimals of a currency, its ISO 4217 "minor unit": 2 for USD,
 * 0 for JPY, 3 for KWD.  A row of idempotency.currency goes before ISO 4217.
 *
 * Refusal: 22023 if the code is unknown.
 */
extern Refusal *currency_exponent(const text *code, int *exponent);

#endif							/* IDEM_CURRENCY_H */
