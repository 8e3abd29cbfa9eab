/*-------------------------------------------------------------------------
 *
 * lock.h
 *		The locks of keys and of payments.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_LOCK_H
#define IDEM_LOCK_H

#include "storage/lock.h"
#include "utils/uuid.h"

#include "key.h"

/*
 * The lock of a key in a table.  table: its OID.  For requests, it is that of the
 * first of their tables.
 */
extern void lock_tag_of_key(LOCKTAG *tag, Oid table, const Key *key);

/* The lock of a payment in a table.  table: its OID. */
extern void lock_tag_of_payment(LOCKTAG *tag, Oid table, const text *scope,
								const pg_uuid_t *payment_id);

/* The order in which a caller takes many locks: <0, 0, >0. */
extern int	lock_tag_compare(const LOCKTAG *a, const LOCKTAG *b);

/*
 * Take a key's lock and begin to work on the key.  False: another transaction has
 * the lock, and wait is false.  The key must stay where it is until the work ends.
 *
 * Errors: 55000 if this transaction is working on the key already; 55P03, 40P01 and
 * 57014 from waiting.
 */
extern bool lock_key(const LOCKTAG *tag, const Key *key, bool wait);

/* End the work on the key whose lock was taken last, and release the lock. */
extern void lock_release_key(const LOCKTAG *tag);

/*
 * End the work on the key whose lock was taken last, and keep the lock:
 * lock_release_kept() releases it, or the end of the (sub)transaction does.
 */
extern void lock_keep(const LOCKTAG *tag);

/*
 * Release a lock that lock_keep() kept.
 *
 * in_parent: the lock belongs to the parent of the current subtransaction.
 */
extern void lock_release_kept(const LOCKTAG *tag, bool in_parent);

/*
 * Take a payment's lock.  wait: as long as it takes; if not, only as long as an insert
 * takes.  False: it is not taken.  Whoever has it is mostly about to release it.  But he
 * may have to wait for an account that is being changed.
 *
 * Errors: 55000 if this transaction is working on the payment already; 55P03, 40P01
 * and 57014 from waiting.
 */
extern bool lock_payment(const LOCKTAG *tag, bool wait);

/* Release a payment's lock. */
extern void lock_release_payment(const LOCKTAG *tag);

/* Is this transaction working on the key, with its lock held? */
extern bool lock_is_at_work(const LOCKTAG *tag, const Key *key);

#endif							/* IDEM_LOCK_H */
