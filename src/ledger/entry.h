/*-------------------------------------------------------------------------
 *
 * entry.h
 *		The row of an entry.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_ENTRY_H
#define IDEM_ENTRY_H

#include "utils/uuid.h"

#include "ledger/scan.h"

/* The operation that an entry belongs to. */
typedef struct EntryOperation
{
	pg_uuid_t	payment_id;
	int			seq;			/* its number in the payment */
	TimestampTz created_at;
} EntryOperation;

/* A row of idempotency.entry; column n is at [n - 1]. */
typedef struct EntryRow
{
	Datum		values[Natts_entry];
	bool		nulls[Natts_entry];
} EntryRow;

/*
 * Make the row of an entry, which the caller inserts.  The caller has the account's
 * lock, from before the scan until the row is inserted.
 *
 * scan: the account, not to read only.  *next: set to what the entry stores besides the
 * change.  Who makes another entry by the same scan calls scan_add() first.  Should the
 * insert fail, so does the (sub)transaction.
 */
extern void entry_make(EntryRow *row, ScanNext *next, const AccountScan *scan,
					   const EntryOperation *operation, const Sums *change);

#endif							/* IDEM_ENTRY_H */
