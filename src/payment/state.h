/*-------------------------------------------------------------------------
 *
 * state.h
 *		What the state of a payment allows: the rules of whatever goes on with
 *		it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_STATE_H
#define IDEM_STATE_H

#include "payment/operation.h"

/*
 * Carry out a capture, void, increase, refund, reversal or expire, at the time of
 * op's created_at.
 *
 * op: made by operation_follow(), so it has the payment's totals before it.  This
 * function sets its totals.  If args name no amount, it sets the amount, too: to
 * all that is left.
 *
 * args: the amount, if named, has the decimals of the payment.  That of a void is
 * not more than what is left.
 *
 * Refusal: ID412, and the totals are not changed.
 * - capture, void, increase: the hold has expired, or nothing is left to capture;
 * - increase: the hold would expire earlier;
 * - capture, refund: the amount is more than what is left;
 * - reversal: the amount is more than what is refunded;
 * - refund: nothing is left to refund;
 * - expire: the hold has not expired, or nothing is left of it.
 */
extern Refusal *state_apply(Operation *op, const OperationArgs *args);

#endif							/* IDEM_STATE_H */
