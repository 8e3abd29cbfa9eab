/*-------------------------------------------------------------------------
 *
 * store.h
 *		The way to the tables.
 *
 * Everything that reads or writes a row goes through these functions, and
 * nothing outside this folder knows how they do it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_STORE_H
#define IDEM_STORE_H

#include "access/genam.h"
#include "access/itup.h"
#include "access/sdir.h"
#include "access/skey.h"
#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "table/catalog.h"
#include "key.h"

/* Where a row stands, as seen from this transaction. */
typedef enum RowState
{
	ROW_ABSENT,					/* there is none */
	ROW_VISIBLE,				/* committed, and in our snapshot */
	ROW_OWN,					/* written by this transaction */
	ROW_CONCURRENT,				/* committed, but not in our snapshot */
	ROW_IN_PROGRESS				/* of a transaction that has not ended */
} RowState;

/* An open table. */
typedef struct Store
{
	CatalogTable table;
	Relation	heap;
	MemoryContext context;		/* of all that belongs to it */
	TupleTableSlot *slot;		/* the row found last */
	IndexScanDesc scan;			/* kept from one probe to the next, or NULL */
	Relation	index;			/* of the scan */
	CatalogIndex which;			/* likewise */
	ScanDirection direction;	/* of a look-up's scan */
	IndexTuple	entry;			/* the scan is at, if it looks at entries */
	ScanKeyData from[2];		/* where that scan began */
	int			descents;		/* since the first key of those in order */
	int			rounds;			/* since that was last of use */
	SnapshotData dirty;			/* the scan's snapshot, for a probe */
	struct StoreWriter *writer; /* what is needed to insert, or NULL */
	/* for ROW_IN_PROGRESS, what there is to wait for: */
	TransactionId holder;		/* transaction */
	uint32		token;			/* its speculative insertion, or 0 */
} Store;

/*
 * Open a table for reading, and with store_prepare_write() for writing too.  The
 * locks are those of a SELECT and of an INSERT, kept to the end of the
 * transaction as theirs are.  But purging has to wait for readers of requests:
 * their locks on the tables go with store_close(), and on an index with its scan.
 */
extern void store_open(Store *store, CatalogTable table);
extern void store_close(Store *store);
extern void store_prepare_write(Store *store);

/* Nothing is written after all: give the writer's lock back. */
extern void store_no_write(Store *store);

/*
 * Look a key up as a SELECT would: with the statement's snapshot, and at
 * SERIALIZABLE leaving a predicate lock.  True: the row is in store->slot.
 */
extern bool store_find_key(Store *store, const Key *key);

/*
 * Likewise, an operation of a payment: the first in this direction of their
 * numbers; and then the next.
 */
extern bool store_find_payment(Store *store, const text *scope,
							   const pg_uuid_t *payment_id,
							   ScanDirection direction);
extern bool store_find_next(Store *store);

/*
 * Likewise, a hold, a row of a request, or a mark of a purge: of those whose time
 * (a hold's due_at) is this or earlier, the first, or backward the last; and then the next.
 */
extern bool store_find_expired(Store *store, TimestampTz until,
							   ScanDirection direction);

/*
 * Find out where the row of a key stands (of requests, the newest of its rows).
 * Takes no lock, assigns no transaction id, writes no WAL.  The row, if there is
 * one, is in store->slot.
 */
extern RowState store_probe_key(Store *store, const Key *key);

/*
 * Likewise, for keys that are probed in the order of their index (by key, then
 * scope, both by their bytes), of which nobody else can insert one since the
 * probe that was the first: index entries already read are not read again.
 */
extern RowState store_probe_key_in_order(Store *store, const Key *key, bool first);

/*
 * Likewise, of the newest operation of a payment.
 */
extern RowState store_probe_payment(Store *store, const text *scope,
									const pg_uuid_t *payment_id);

/* A column of the row found last, which is not NULL. */
extern Datum store_get(Store *store, AttrNumber column);

/* The (sub)transaction that wrote it. */
extern TransactionId store_get_writer(Store *store);

/*
 * Let go of the pages that the scan and the row found last are on; the row can
 * still be read.  To be called before whatever may wait: VACUUM waits for those
 * who have a page pinned, and no deadlock detection sees that.
 */
extern void store_let_go(Store *store);

/*
 * Let go of the row in the middle of a look-up, which can go on after the wait.
 * The row cannot be read any more.
 */
extern void store_pause(Store *store);

/*
 * Wait for the transaction that the last probe found in progress; then probe
 * again.  Obeys lock_timeout and takes part in deadlock detection.
 */
extern void store_wait(Store *store);

/*
 * Insert a row and its index entries.  values and nulls have an entry for
 * every column.  AFTER triggers that an administrator put on the table fire in
 * store_close() or store_end_write().
 *
 * Error: 23505 if a row with that key came in past the claim (a plain INSERT
 * by an administrator, say).
 */
extern void store_insert(Store *store, Datum *values, bool *nulls);

/* Insert up to STORE_MANY rows at once, likewise. */
#define STORE_MANY	64
extern void store_insert_many(Store *store, int n, Datum **values, bool **nulls);

/*
 * May rows be refused by what an administrator put on the table: a trigger, a
 * CHECK, a NOT NULL, an index?
 */
extern bool store_may_refuse(Store *store);

/*
 * End writing, so that triggers fire now.  Who writes in a subtransaction calls
 * this in it; and if it fails, the other one, after it.
 */
extern void store_end_write(Store *store);
extern void store_forget_write(Store *store);

/*
 * Delete the row found last, if nobody else is deleting it or has; nobody is
 * waited for.  After store_prepare_write().  AFTER triggers and foreign keys
 * fire in store_close() or store_end_write().
 */
extern bool store_delete(Store *store);

/*
 * Lock a table against all others, to the end of the (sub)transaction.
 *
 * Errors: 55P03 and 40P01 from waiting.
 */
extern void store_exclude_others(CatalogTable table);

/*
 * Empty a table that is locked so.
 *
 * Error: 55006 if this session has it open.
 */
extern void store_truncate(CatalogTable table);

#endif							/* IDEM_STORE_H */
