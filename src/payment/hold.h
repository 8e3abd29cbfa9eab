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

/* Release holds that are due.  The maintenance worker calls it, too. */
extern PGDLLEXPORT Datum idem_expire(PG_FUNCTION_ARGS);

#endif							/* IDEM_HOLD_H */
