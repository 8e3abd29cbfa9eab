/*-------------------------------------------------------------------------
 *
 * hold.h
 *		The list of holds, by which those that expire are found.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_HOLD_H
#define IDEM_HOLD_H

#include "payment/operation.h"

/* Put an authorization that has just been stored on the list. */
extern void hold_add(const Operation *op);

/*
 * Look at so many of those that are due, at most; returns at how many.  See
 * idem_expire().
 */
extern int	hold_expire(int most);

#endif							/* IDEM_HOLD_H */
