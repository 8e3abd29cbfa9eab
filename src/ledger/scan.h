/*-------------------------------------------------------------------------
 *
 * scan.h
 *		Looking at an account: what its newest entries add up to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_SCAN_H
#define IDEM_SCAN_H

#include "utils/timestamp.h"

#include "claim/settle.h"
#include "ledger/sums.h"
#include "table/store.h"

/* Why an account is looked at. */
typedef enum ScanPurpose
{
	SCAN_TO_READ,				/* to read the balance in the snapshot */
	SCAN_TO_FOLLOW,				/* to find entries that the snapshot lacks */
	SCAN_TO_INSERT,				/* to insert an entry that no limit can forbid */
	SCAN_TO_DECIDE				/* to decide by a limit, and insert */
} ScanPurpose;

/* An entry that a scan has found. */
typedef struct ScanEntry
{
	int64		seq;
	TransactionId xid;			/* the (sub)transaction that wrote it */
	bool		in_progress;	/* another transaction's that has not ended */
	bool		outside;		/* it has ended, but is not in the snapshot.
								 * To insert or decide at READ COMMITTED, this
								 * is not asked */
	Sums		change;			/* the entry's; of an open one, all that its
								 * (sub)transaction changed up to it */
} ScanEntry;

/* What a limit is compared with. */
typedef struct ScanRange
{
	Numeric		least;			/* whatever becomes of what is in progress */
	Numeric		most;
} ScanRange;

/* An account, as a scan has found it. */
typedef struct AccountScan
{
	int64		account;
	int64		top;			/* the newest seq; 0: there is none */
	TimestampTz newest;			/* that entry's time */
	bool		has_base;		/* is there an entry that base is of? */
	int64		reach;			/* base covers all seq up to this one */
	Sums		base;			/* what had ended there */
	ScanEntry  *window;			/* the entries above that, the newest first */
	int			nwindow;
	int			window_room;
	ScanEntry  *open;			/* entries that base covers, but does not
								 * count */
	int			nopen;
	TransactionId *seen;		/* those seen in progress */
	int			nseen;
	int			seen_room;
	struct HTAB *seen_many;		/* the same as a hash table, if they are many */
	Unsettled	unsettled;		/* to read: the entries, for settle() */

	/* for SCAN_TO_DECIDE: */
	ScanRange	available;		/* posted - held */
	ScanRange	posted;
} AccountScan;

/* What an insert has to store besides the change itself. */
typedef struct ScanNext
{
	int64		seq;
	TimestampTz created_at;		/* not earlier than that of any entry before */
	int			lag;
	Sums		base;
	int64	   *open;
	int			nopen;
} ScanNext;

/*
 * Look at an account, up to this seq.  To insert or decide, the caller has the
 * account's lock, and upto is PG_INT64_MAX.  Memory is allocated in the current
 * memory context.
 *
 * store: idempotency.entry, open.  Its pages are released.
 *
 * Errors: 40001 to decide at REPEATABLE READ and SERIALIZABLE, if too many entries are
 * newer than the snapshot; those of store_probe_entries().
 */
extern void scan_account(AccountScan *scan, Store *store, int64 account, int64 upto,
						 ScanPurpose purpose);

/*
 * To decide: the same, but with the sums of what has ended only.  At REPEATABLE READ and
 * above, what is in progress will be outside the snapshot when it ends.  So then "least"
 * is at most this one, and "most" at least this one.
 */
extern AccountScan scan_ended(const AccountScan *scan);

/* What all entries that have ended add up to: to read, the balance. */
extern Sums scan_balance(const AccountScan *scan);

/*
 * To follow: the oldest entry that the scan has found and the snapshot lacks; 0: there
 * is none.  Then the snapshot has all entries up to the seq that the scan began at.
 * Otherwise it may lack older ones, too.
 */
extern int64 scan_oldest_missing(const AccountScan *scan);

/*
 * The next entry of the account: its seq, and the sum of what is before it.
 *
 * now: the time of the operation.
 */
extern void scan_next(const AccountScan *scan, TimestampTz now, ScanNext *next);

/* Take note that the next entry has been inserted, by this (sub)transaction. */
extern void scan_add(AccountScan *scan, const ScanNext *next, TransactionId xid,
					 const Sums *change);

/*
 * The transaction in progress that has changed most of what the account has, or
 * InvalidTransactionId if none is in progress.
 */
extern TransactionId scan_largest(const AccountScan *scan);

/*
 * At SERIALIZABLE, leave a predicate lock on the account, before a refusal: what others
 * insert may make it untrue.
 */
extern void scan_predicate_lock(const AccountScan *scan, Store *store);

#endif							/* IDEM_SCAN_H */
