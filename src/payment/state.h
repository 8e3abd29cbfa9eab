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
 * Carry out a capture, void, refund or expiry.  op has the totals that the payment
 * had before it (see operation_follow()).  Its totals are set; so is its amount, if
 * all that is left is asked for.
 *
 * Refusal: ID412 if there is nothing, or not as much, to capture or refund; or if
 * the hold has expired; or, for an expiry, if it has not.  Then the totals are not
 * changed.
 */
extern Refusal *state_apply(Operation *op, const OperationArgs *args);

#endif							/* IDEM_STATE_H */
