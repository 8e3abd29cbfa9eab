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

/*
 * Put an authorization that has just been stored on the list.  Its expires_at is
 * not null.
 *
 * Errors: those of store_insert(); 55P03, 40P01 and 57014 from waiting.
 */
extern void hold_add(const Operation *op);

/*
 * Look at the holds that are due, at most this many.  Returns how many it has
 * looked at.  See idem_expire(), which has the same errors, except 22023.
 */
extern int	hold_expire(int most);

#endif							/* IDEM_HOLD_H */
