/*-------------------------------------------------------------------------
 *
 * payment.h
 *		Checking a new payment, and refusing one that does not exist.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_PAYMENT_H
#define IDEM_PAYMENT_H

#include "payment/operation.h"

/*
 * Check what a new payment asks for.  Gives args->amount the decimals of its
 * currency.
 *
 * args: the amount, in the currency's major unit, has passed money_check().  The
 * currency is not NULL.
 *
 * Refusals: those of currency_exponent() and money_set_decimals().
 */
extern Refusal *payment_check(OperationArgs *args);

/* The refusal: ID404, the scope has no such payment. */
extern Refusal *payment_not_found(const pg_uuid_t *payment_id, const text *scope);

#endif							/* IDEM_PAYMENT_H */
