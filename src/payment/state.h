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
 * Carry out a capture, void, refund or expiry: given an operation with the totals that
 * the payment had before it (see operation_follow()), set its amount, if all
 * that is left is asked for, and its totals.
 *
 * Refusal: ID412 if there is nothing, or not as much, to capture or refund, or
 * the hold has expired (or, to be released for that, has not).  Then nothing is changed but an amount that was not
 * named, to what is left.
 */
extern Refusal *state_apply(Operation *op, const OperationArgs *args);

#endif							/* IDEM_STATE_H */
