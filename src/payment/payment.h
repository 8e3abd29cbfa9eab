/*-------------------------------------------------------------------------
 *
 * payment.h
 *		What can be asked of a new payment.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_PAYMENT_H
#define IDEM_PAYMENT_H

#include "payment/operation.h"

/*
 * Check a new payment, whose amount has passed money_check(), and give the
 * amount the decimals of its currency.
 *
 * Refusals: those of currency_exponent() and money_in_currency(); 0A000 if it
 * names accounts.
 */
extern Refusal *payment_check(OperationArgs *args);

#endif							/* IDEM_PAYMENT_H */
