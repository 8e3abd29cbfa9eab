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
	LOCKTAG		tag;			/* the key's lock */
	SubTransactionId begun_in;
	SubTransactionId ended_in;	/* InvalidSubTransactionId: not ended */
} Begun;

/*
 * Note that the current (sub)transaction has begun a request.  What is noted
 * is forgotten when that is rolled back, and with the transaction; a
 * transaction that has requests which have not ended is refused COMMIT and
 * PREPARE TRANSACTION (2D000).
 */
extern void begun_add(const Key *key, const Request *row, const LOCKTAG *tag);

/*
 * The request that was begun with this key, if it has not ended; or NULL.
 *
 * Error: 55000 if its command is being run.
 */
extern Begun *begun_find(const Key *key);

/* Is this the lock of a request that has ended, and is kept (see begun.c)? */
extern bool begun_keeps(const LOCKTAG *tag);

/* Note that it has ended: completed, failed or released. */
extern void begun_end(Begun *begun);

#endif							/* IDEM_BEGUN_H */
