/*-------------------------------------------------------------------------
 *
 * begun.h
 *		The requests that the current transaction has begun without a lease.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_BEGUN_H
#define IDEM_BEGUN_H

#include "access/xact.h"
#include "lib/ilist.h"
#include "storage/lock.h"

#include "key.h"
#include "request/row.h"

typedef struct Begun
{
	dlist_node	node;
	MemoryContext context;		/* of all that belongs to it */
	Key			key;
	Request		row;			/* to be written when it ends, and then dated */
	bool		executing;		/* by idem_execute(), which alone ends it */
	LOCKTAG		lock;			/* the key's */
	SubTransactionId begun_in;
	SubTransactionId ended_in;	/* InvalidSubTransactionId: not ended */
} Begun;

/*
 * Note that the current (sub)transaction has begun a request, and keeps its lock.
 * The note is dropped when the subtransaction is rolled back, and with the
 * transaction.  COMMIT and PREPARE TRANSACTION fail (2D000) while there are
 * requests that have not ended.
 */
extern void begun_add(const Key *key, const Request *row, LOCKTAG lock);

/*
 * The request that was begun with this key, if it has not ended; or NULL.
 *
 * Error: 55000 if its command is being run.
 */
extern Begun *begun_find(const Key *key);

/* Note that it has ended: completed, failed or released. */
extern void begun_end(Begun *begun);

#endif							/* IDEM_BEGUN_H */
