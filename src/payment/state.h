/*-------------------------------------------------------------------------
 *
 * state.h
 *		What the state of a payment allows: the rules of capture, void,
 *		refund and expiry.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_STATE_H
#define IDEM_STATE_H

#include "payment/operation.h"

/*
 * Carry out a capture, void, refund or expire, at the time of op's created_at.
 *
 * op: made by operation_follow(), so it has the payment's totals before it.  This
 * function sets its totals.  If args name no amount, it sets the amount, too: to
 * all that is left.
 *
 * args: the amount, if named, has the decimals of the payment.
 *
 * Refusal: ID412, and the totals are not changed.
 * - capture, void: the hold has expired, or nothing is left to capture;
 * - capture, refund: the amount is more than what is left;
 * - refund: nothing is left to refund;
 * - expire: the hold has not expired, or nothing is left of it.
 */
extern Refusal *state_apply(Operation *op, const OperationArgs *args);

#endif							/* IDEM_STATE_H */
