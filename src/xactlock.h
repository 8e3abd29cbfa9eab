/*-------------------------------------------------------------------------
 *
 * xactlock.h
 *		Locks that belong to the (sub)transaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_XACTLOCK_H
#define IDEM_XACTLOCK_H

#include "storage/lock.h"

/*
 * LockAcquire() and LockRelease(), of a lock that belongs to the (sub)transaction.
 * dont_wait: return LOCKACQUIRE_NOT_AVAIL if somebody else has a conflicting lock.
 *
 * Errors: 55P03, 40P01 and 57014 from waiting.
 */
extern LockAcquireResult xactlock_acquire(const LOCKTAG *tag, LOCKMODE mode,
										  bool dont_wait);
extern void xactlock_release(const LOCKTAG *tag, LOCKMODE mode);

/* The same, but wait only for as long as an insert takes, about two milliseconds. */
extern LockAcquireResult xactlock_try(const LOCKTAG *tag, LOCKMODE mode);

/* Release a lock that the parent of the current subtransaction took. */
extern void xactlock_release_in_parent(const LOCKTAG *tag, LOCKMODE mode);

/*
 * LockRelationOid() and UnlockRelationOid(), of such a lock.
 * xactlock_relation_if_free() does not wait.  It returns false if somebody else has
 * a conflicting lock.
 *
 * Errors: 55P03, 40P01 and 57014 from waiting.
 */
extern void xactlock_relation(Oid relid, LOCKMODE mode);
extern bool xactlock_relation_if_free(Oid relid, LOCKMODE mode);
extern void xactlock_release_relation(Oid relid, LOCKMODE mode);

#endif							/* IDEM_XACTLOCK_H */
