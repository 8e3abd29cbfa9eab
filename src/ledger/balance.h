/*-------------------------------------------------------------------------
 *
 * balance.h
 *		Reading accounts.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_BALANCE_H
#define IDEM_BALANCE_H

#include "claim/settle.h"
#include "ledger/account.h"

/*
 * Find an account as it is in the snapshot.  The values of *account live until the next
 * look-up in the store.  Its row is noted for settle().
 *
 * Errors: ID404 if there is none; ID403 if another role has opened it.
 */
extern void balance_find_account(Account *account, Store *accounts, const Key *name,
								 Unsettled *rows);

/*
 * The highest seq that no entry later than this time has.
 *
 * entries: idempotency.entry, open.
 */
extern int64 balance_find_time(Store *entries, int64 account, TimestampTz at);

#endif							/* IDEM_BALANCE_H */
