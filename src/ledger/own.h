/*-------------------------------------------------------------------------
 *
 * own.h
 *		What this transaction has changed in each account so far.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_OWN_H
#define IDEM_OWN_H

#include "ledger/scan.h"

/*
 * What this (sub)transaction has changed in an account, not counting its parents and
 * children.  NULL: nothing.  It is valid until the next own_add().
 */
extern const Sums *own_find(int64 account, TransactionId xid);

/* Has this transaction changed an account, perhaps in a subtransaction rolled back? */
extern bool own_has(int64 account);

/* Take note of a change that has been inserted. */
extern void own_add(int64 account, TransactionId xid, const Sums *change);

#endif							/* IDEM_OWN_H */
