/*-------------------------------------------------------------------------
 *
 * currency.h
 *		Which currencies there are, and how many decimals they have.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_CURRENCY_H
#define IDEM_CURRENCY_H

#include "refusal.h"

/* The most decimals that a row of idempotency.currency can have. */
#define CURRENCY_MAX_EXPONENT	18

/* A text that should be a code, cut to at most 32 bytes for a message. */
extern text *currency_clip(const text *code);

/*
 * The currency of a call: the one that it names or, if that is NULL, that of the
 * setting idempotency.currency.  It is not checked.
 *
 * Errors: those of setting_text().
 */
extern text *currency_of_call(text *currency);

/*
 * The number of decimals of a currency, its ISO 4217 "minor unit": 2 for USD, 0 for
 * JPY, 3 for KWD.  A row of idempotency.currency has precedence over ISO 4217.
 *
 * code: not NULL.  from_setting: is it that of idempotency.currency?  For the message.
 * *exponent: the number, from 0 to CURRENCY_MAX_EXPONENT.
 *
 * Result: NULL, or a refusal, 22023, if there is no such currency.
 *
 * Errors: those of catalog_open().
 */
extern Refusal *currency_exponent(const text *code, bool from_setting, int *exponent);

#endif							/* IDEM_CURRENCY_H */
