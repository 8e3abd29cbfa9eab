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

/*
 * Insert an entry.  The caller has the account's lock.
 *
 * entries: the table, prepared for writing.  scan: the account, not read only.  It
 * knows the entry afterwards.
 *
 * Result: the entry's seq.
 *
 * Errors: those of store_insert().
 */
extern int64 entry_insert(Store *entries, AccountScan *scan, const EntryOperation *operation,
						  const Sums *change);

#endif							/* IDEM_ENTRY_H */
