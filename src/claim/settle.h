/*-------------------------------------------------------------------------
 *
 * settle.h
 *		Making stored rows as durable as the session's own commits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_SETTLE_H
#define IDEM_SETTLE_H

#include "access/xlogdefs.h"
#include "executor/tuptable.h"

/* Rows that are to be returned, and may not be settled yet; at first {0}. */
typedef struct Unsettled
{
	bool		any;			/* are there some? */
	XLogRecPtr	flush_to;		/* end of the last asynchronous commit */
} Unsettled;

/*
 * Note the row in a slot, one of a heap, that will be returned to the caller.
 * Waits for nothing.  A row of this transaction needs no settling.
 */
extern void settle_note(Unsettled *rows, TupleTableSlot *slot);

/*
 * Wait until all rows that were noted are settled.  No locks and no pins on
 * buffers should be held: a standby may be away for long.
 *
 * Error: 57014 if the wait for a standby is cancelled.
 */
extern void settle(const Unsettled *rows);

#endif							/* IDEM_SETTLE_H */
