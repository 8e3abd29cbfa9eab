/*-------------------------------------------------------------------------
 *
 * payment.h
 *		Starting a payment, and not finding one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_PAYMENT_H
#define IDEM_PAYMENT_H

#include "compat.h"
#include "payment/operation.h"

/*
 * Check a new payment, whose amount has passed money_check(), and give the
 * amount the decimals of its currency.
 *
 * Refusals: those of currency_exponent() and money_in_currency(); 0A000 if it
 * names accounts.
 */
extern Refusal *payment_check(OperationArgs *args);

/* Raise ID404 for a payment that is not there. */
pg_noreturn extern void payment_not_found(const pg_uuid_t *payment_id,
										  const text *scope);

#endif							/* IDEM_PAYMENT_H */
