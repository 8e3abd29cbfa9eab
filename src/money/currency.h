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

/* the most decimals that a row of idempotency.currency can have */
#define CURRENCY_MAX_EXPONENT	18

/* The first 32 bytes of a text that should be a code, for messages. */
extern text *currency_clip(const text *code);

/*
 * The currency of a call: the one that it names, or else (NULL) that of the
 * setting idempotency.currency.
 */
extern text *currency_of_call(text *currency);

/*
 * The number of decimals of a currency, its ISO 4217 "minor unit": 2 for USD,
 * 0 for JPY, 3 for KWD.  A row of idempotency.currency has precedence over ISO
 * 4217.
 *
 * Refusal: 22023 if the code is unknown.
 */
extern Refusal *currency_exponent(const text *code, int *exponent);

#endif							/* IDEM_CURRENCY_H */
