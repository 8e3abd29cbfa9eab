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

/*
 * A request that this transaction has begun without a lease.  It has not ended, or
 * would be open again if a subtransaction were rolled back.
 */
typedef struct Begun
{
	dlist_node	node;			/* in the list of them */
	MemoryContext context;		/* of all that belongs to it */
	Key			key;
	Request		row;			/* will be dated and inserted when it ends */
	bool		executing;		/* is idem_execute() running its command? */
	LOCKTAG		lock;			/* the key's */
	SubTransactionId begun_in;	/* or the one that this has become part of */
	SubTransactionId ended_in;	/* as above; InvalidSubTransactionId: not
								 * ended */
} Begun;

/*
 * Note that the current (sub)transaction has begun a request, and keeps its lock.
 * The note is dropped when the subtransaction is rolled back, and when the
 * transaction ends.  COMMIT and PREPARE TRANSACTION fail (2D000) while there are
 * requests that have not ended.
 *
 * key, row: both are copied.  lock: from claim_keep_lock().
 */
extern void begun_add(const Key *key, const Request *row, LOCKTAG lock);

/*
 * The request that was begun with this key and has not ended, or NULL.  It is valid
 * until begun_end().
 *
 * Errors: 55000 if idem_execute() is running its command.
 */
extern Begun *begun_find(const Key *key);

/*
 * Note that a request has ended: completed, failed or released.  Its row, if it has
 * one, has been inserted.
 */
extern void begun_end(Begun *begun);

#endif							/* IDEM_BEGUN_H */
