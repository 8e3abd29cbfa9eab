/*-------------------------------------------------------------------------
 *
 * store.h
 *		The way to the tables.
 *
 * All code that reads or writes rows does it through these functions.  How they
 * do it is known in this folder only.
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

#include "key.h"
#include "table/catalog.h"

/* Where a row stands, as this transaction sees it. */
typedef enum RowState
{
	ROW_ABSENT,					/* there is none */
	ROW_VISIBLE,				/* committed, and in our snapshot */
	ROW_OWN,					/* written by this transaction */
	ROW_CONCURRENT,				/* committed, but not in our snapshot */
	ROW_IN_PROGRESS				/* of a transaction that has not ended */
} RowState;

/* An open table.  Callers use the slot and the heap; the rest is the store's. */
typedef struct Store
{
	CatalogTable table;
	Relation	heap;
	MemoryContext context;		/* of the store's own memory */
	TupleTableSlot *slot;		/* the row found last */
	IndexScanDesc scan;			/* kept from one probe to the next, or NULL */
	Relation	index;			/* the scan's */
	CatalogIndex which;			/* the same, as the catalog names it */
	ScanDirection direction;	/* of a look-up's scan */
	SnapshotData dirty;			/* the scan's snapshot, for a probe */

	/* for ROW_IN_PROGRESS, what store_wait() waits for: */
	TransactionId holder;		/* a transaction */
	uint32		token;			/* its speculative insertion, or 0 */

	/* for keys in their order, see walk.c: */
	IndexTuple	entry;			/* the entry that the scan is at, or NULL */
	ScanKeyData from[2];		/* where the scan began */
	int			descents;		/* how often it began, in this round of keys */
	int			rounds;			/* how many began after walks did not pay */

	struct StoreWriter *writer; /* what is needed to write, or NULL */
	int			reported;		/* which writes were reported: 1 << CmdType */
} Store;

/*
 * Opening and closing: store.c
 */

/*
 * Open a table for reading.  Its lock is that of a SELECT, and like that one it is
 * kept to the end of the transaction.  The tables of requests are an exception,
 * since a purge has to wait for their readers.  There the lock on an index is
 * released with its scan, and the lock on the table by store_close().
 *
 * The store's memory is in the current memory context, which must live as long.
 *
 * Errors: those of catalog_open().
 */
extern void store_open(Store *store, CatalogTable table);

/* Close the table.  AFTER triggers that are due fire now, and may fail. */
extern void store_close(Store *store);

/*
 * Release the pages that the scan and the row found last have pinned.  A look-up ends
 * with it.  The row can still be read.  Call this before anything that may wait: VACUUM
 * waits for those who have a page pinned, and no deadlock detection sees that.
 */
extern void store_let_go(Store *store);

/*
 * In the middle of a look-up, release the page of the row before a wait.  After the
 * wait, the look-up can go on.  The row cannot be read any more.
 */
extern void store_pause(Store *store);

/*
 * Wait for the transaction that the last probe found in progress.  The caller then
 * probes again.  The wait obeys lock_timeout and takes part in deadlock detection.
 *
 * Errors: 55P03, 40P01 and 57014 from waiting.
 */
extern void store_wait(Store *store);

/*
 * Look-ups: read.c
 *
 * They see what a SELECT sees.  They use the statement's snapshot, and leave
 * predicate locks at SERIALIZABLE.  True: a row is in store->slot.  False: there
 * is none, or no other.
 *
 * Errors: those of catalog_index().
 */

/* The row of a key.  Of a request, it is the newest one in this table. */
extern bool store_find_key(Store *store, const Key *key);

/* The operations of a payment, by number: the first in this direction. */
extern bool store_find_payment(Store *store, const text *scope,
							   const pg_uuid_t *payment_id,
							   ScanDirection direction);

/*
 * The payments of a scope whose ids are from "id" on (after: only after it) and up to
 * "last": the first operation of the first of them.
 */
extern bool store_find_payments(Store *store, const text *scope,
								const pg_uuid_t *id, bool after,
								const pg_uuid_t *last);

/*
 * The rows whose time (see catalog_time_index()) is this one or earlier, in the
 * order of that time: the first, or backward the last.
 */
extern bool store_find_until(Store *store, TimestampTz until,
							 ScanDirection direction);

/*
 * The rows of requests in a scope whose lease ends at this time or earlier, in the
 * order of that time: the first.
 */
extern bool store_find_lapsed(Store *store, const text *scope,
							  TimestampTz until);

/*
 * The entries of an account from this seq up to that one: the first in this
 * direction.  1 and PG_INT64_MAX mean all.
 */
extern bool store_find_entries(Store *store, int64 account, int64 from,
							   int64 upto, ScanDirection direction);

/* End the look-up, and release the lock on its index. */
extern void store_end_look_up(Store *store);

/* The next row of the look-up, in its direction. */
extern bool store_find_next(Store *store);

/*
 * Probes: read.c, walk.c
 *
 * They find out where a row stands.  They take no lock, assign no transaction
 * id, and write no WAL.  If there is a row, it is in store->slot.
 *
 * Errors: those of catalog_index().
 */

/* The row of a key.  Of a request, it is the newest one in this table. */
extern RowState store_probe_key(Store *store, const Key *key);

/*
 * The operation of a key, for many keys.  They come in the order of their index:
 * by key, then by scope, both by their bytes.  The caller holds all their locks,
 * so entries already read need not be read again.
 *
 * first: this is the first key since they were locked.
 */
extern RowState store_probe_key_in_order(Store *store, const Key *key, bool first);

/* The newest operation of a payment. */
extern RowState store_probe_payment(Store *store, const text *scope,
									const pg_uuid_t *payment_id);

/* The operation of a payment with this number. */
extern RowState store_probe_operation(Store *store, const text *scope,
									  const pg_uuid_t *payment_id, int32 seq);

/* The entries of an account in the same range, whatever their state: the newest. */
extern RowState store_probe_entries(Store *store, int64 account, int64 from,
									int64 upto);

/* The row before the one that the last of these probes, or this, has found. */
extern RowState store_probe_before(Store *store);

/*
 * The row in this place, which was found there before.  It may be gone since, and
 * another row be there.
 */
extern RowState store_probe_place(Store *store, const ItemPointerData *place);

/* Is the row ROW_IN_PROGRESS since it is being inserted?  If not, it is being deleted. */
extern bool store_is_being_inserted(Store *store);

/*
 * The row found last: read.c
 */

/* The value of a column of the row, which is not NULL.  It is part of the row. */
extern Datum store_get(Store *store, AttrNumber column);

/* The same of a column that may be NULL.  False: it is. */
extern bool store_get_if_any(Store *store, AttrNumber column, Datum *value);

/*
 * The (sub)transaction that wrote the row.  FrozenTransactionId: it ended long ago,
 * and another may have its id by now.
 */
extern TransactionId store_get_writer(Store *store);

/* Has the current command written the row?  Then it cannot be deleted yet. */
extern bool store_written_by_command(Store *store);

/*
 * Writing: write.c
 */

/*
 * Take the lock of an INSERT, which store_insert(), store_insert_many() and
 * store_delete() need.  It is kept to the end of the (sub)transaction.
 *
 * Errors: 55P03, 40P01 and 57014 from waiting.
 */
extern void store_prepare_write(Store *store);

/* Release that lock again, unless something has been written: this claim writes nothing. */
extern void store_unprepare_write(Store *store);

/*
 * Insert a row and its index entries.  values and nulls have an entry for each
 * column.  AFTER triggers that an administrator put on the table fire in
 * store_close() or store_end_write().
 *
 * Errors: 23505 if there is a row with that key which the claim has not seen (a
 * plain INSERT by an administrator, say); 0A000 if the table has triggers of
 * another kind; those of its constraints; 55P03, 40P01 and 57014 from waiting for a
 * transaction that inserted the same key by hand.
 */
extern void store_insert(Store *store, Datum *values, bool *nulls);

/* The most rows that can be inserted at once. */
#define STORE_MANY	64

/* Insert n rows at once, at most STORE_MANY.  The rest is as for store_insert(). */
extern void store_insert_many(Store *store, int n, Datum **values, bool **nulls);

/*
 * Delete the row found last.  False: another transaction has deleted it or is
 * deleting it.  This does not wait for that transaction.  AFTER triggers and foreign
 * keys fire in store_close() or store_end_write().
 *
 * Errors: 0A000 if the table has triggers of another kind.
 */
extern bool store_delete(Store *store);

/*
 * May rows be refused by what an administrator put on the table: a trigger, a
 * CHECK, a NOT NULL, an index?
 */
extern bool store_may_refuse(Store *store);

/*
 * End writing, so that triggers fire now.  They may fail.  A caller that writes in a
 * subtransaction calls this before the subtransaction ends.
 */
extern void store_end_write(Store *store);

/* Forget what was being written in a subtransaction that has failed. */
extern void store_forget_write(Store *store);

/*
 * Lock a table against all others, to the end of the (sub)transaction.
 *
 * Errors: 55P03, 40P01 and 57014 from waiting.
 */
extern void store_exclude_others(CatalogTable table);

/*
 * Empty a table that store_exclude_others() has locked.
 *
 * Errors: 55006 if this session has it open.
 */
extern void store_truncate(CatalogTable table);

#endif							/* IDEM_STORE_H */
