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

/* Rows that will be returned, and may not be settled yet.  It begins as {0}. */
typedef struct Unsettled
{
	bool		any;			/* are there some? */
	XLogRecPtr	flush_to;		/* WAL that must be on disk; 0: all is */
} Unsettled;

/*
 * Note a row that will be returned to the caller.  Waits for nothing.  A row of this
 * transaction needs no settling.
 *
 * slot: has the row as a heap tuple in a buffer, or a copy of it.
 */
extern void settle_note(Unsettled *rows, TupleTableSlot *slot);

/*
 * Wait until all rows that were noted are settled.  A standby may be away for long,
 * so the caller should have ended its claim, and should have no buffer pinned.
 *
 * Errors: 57014 if the wait for a standby is canceled.
 */
extern void settle(const Unsettled *rows);

#endif							/* IDEM_SETTLE_H */
