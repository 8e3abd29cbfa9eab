/*-------------------------------------------------------------------------
 *
 * lock.c
 *		The locks of keys and of payments.
 *
 * They are advisory locks: ordinary heavyweight locks.  They obey lock_timeout, show
 * in pg_locks and take part in deadlock detection.  They are released when the
 * (sub)transaction fails.
 *
 * The tag of a lock is a hash of 64 bits.  Whoever chooses the keys can find two
 * with the same hash.  So correctness must not depend on two keys having two locks.
 * Between transactions it does not: one waits for the other, no more, as the index
 * compares whole keys.  Within a transaction, a lock can be taken again in two
 * cases:
 *
 * - Another key has the same lock.  The transaction has begun a request with that
 *	 key and not ended it (begun.c); or it is working on that key, and a trigger or
 *	 the expression of an index uses this one.  Then the lock is ours for this key,
 *	 too.  PostgreSQL counts how often we hold it.
 * - It is the same key: its own work uses it.  That would never end, so it is an
 *	 error.
 *
 * To distinguish the two, we remember the keys at work.  The work on a key begins
 * with its lock and ends before the call of the function does.  So these keys form a
 * stack.  A subtransaction that is rolled back removes what it put there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "claim/lock.h"
#include "compat.h"
#include "stat/session.h"
#include "stat/stat.h"
#include "xactlock.h"

/*
 * The fourth field of an advisory lock's tag is its class.  PostgreSQL's own
 * functions use 1 (one bigint) and 2 (two integers); see lockfuncs.c.  In pg_locks
 * the field is objsubid.
 */
#define KEY_LOCK_CLASS		0x1D3E
#define PAYMENT_LOCK_CLASS	0x1D3F

/* A key that is being worked on. */
typedef struct KeyAtWork
{
	LOCKTAG		tag;			/* its lock */
	const Key  *key;
	SubTransactionId subid;		/* the subtransaction that took the lock */
} KeyAtWork;

/* The stack of the keys at work, how many they are, and how many have room. */
static KeyAtWork *at_work = NULL;
static int	n_at_work = 0;
static int	allocated = 0;

static LockAcquireResult acquire(const LOCKTAG *tag, bool wait, StatWait what);
static void push_key(const LOCKTAG *tag, const Key *key);
static void pop_key(const LOCKTAG *tag);
static void set_up(void);
static void lock_at_end_of_transaction(XactEvent event, void *arg);
static void lock_at_end_of_subtransaction(SubXactEvent event, SubTransactionId mine,
										  SubTransactionId parent, void *arg);

void
lock_tag_of_key(LOCKTAG *tag, Oid table, const Key *key)
{
	uint64		hash = key_hash(key, table);

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
						 KEY_LOCK_CLASS);
}

void
lock_tag_of_payment(LOCKTAG *tag, Oid table, const text *scope,
					const pg_uuid_t *payment_id)
{
	uint64		hash = table;

	hash = DatumGetUInt64(hash_any_extended((const unsigned char *) VARDATA_ANY(scope),
											VARSIZE_ANY_EXHDR(scope), hash));
	hash = DatumGetUInt64(hash_any_extended(payment_id->data, UUID_LEN, hash));
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
						 PAYMENT_LOCK_CLASS);
}

int
lock_tag_compare(const LOCKTAG *a, const LOCKTAG *b)
{
	return memcmp(a, b, sizeof(LOCKTAG));
}

bool
lock_key(const LOCKTAG *tag, const Key *key, bool wait)
{
	set_up();
	session_set_key(tag, key);
	switch (acquire(tag, wait, STAT_WAIT_KEY))
	{
		case LOCKACQUIRE_OK:
			break;

		case LOCKACQUIRE_NOT_AVAIL:
			return false;

		case LOCKACQUIRE_ALREADY_HELD:
		case LOCKACQUIRE_ALREADY_CLEAR:
			if (!lock_is_at_work(tag, key))
				break;
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("idempotency key is used inside its own work"),
					 errdetail("Work that is done once for a key cannot use the same key.")));
	}
	push_key(tag, key);
	return true;
}

void
lock_release_key(const LOCKTAG *tag)
{
	pop_key(tag);
	xactlock_release(tag, ExclusiveLock);
}

void
lock_keep(const LOCKTAG *tag)
{
	pop_key(tag);
}

void
lock_release_kept(const LOCKTAG *tag, bool in_parent)
{
	if (in_parent)
		xactlock_release_in_parent(tag, ExclusiveLock);
	else
		xactlock_release(tag, ExclusiveLock);
}

bool
lock_payment(const LOCKTAG *tag, bool wait)
{
	switch (wait ? acquire(tag, true, STAT_WAIT_PAYMENT) : xactlock_try(tag, ExclusiveLock))
	{
		case LOCKACQUIRE_OK:
			break;

		case LOCKACQUIRE_NOT_AVAIL:
			return false;

		case LOCKACQUIRE_ALREADY_HELD:
		case LOCKACQUIRE_ALREADY_CLEAR:

			/*
			 * only work on a payment inside its own work gets here, or an id
			 * made to collide
			 */
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("payment is used inside its own work")));
	}
	return true;
}

void
lock_release_payment(const LOCKTAG *tag)
{
	xactlock_release(tag, ExclusiveLock);
}

bool
lock_is_at_work(const LOCKTAG *tag, const Key *key)
{
	for (int i = n_at_work - 1; i >= 0; i--)
	{
		if (lock_tag_compare(&at_work[i].tag, tag) == 0 &&
			key_compare(at_work[i].key, key) == 0)
			return true;
	}
	return false;
}

/*
 * Take a lock.  A wait for it is counted as a wait for what it protects.
 */
static LockAcquireResult
acquire(const LOCKTAG *tag, bool wait, StatWait what)
{
	LockAcquireResult result = xactlock_acquire(tag, ExclusiveLock, true);

	if (result != LOCKACQUIRE_NOT_AVAIL || !wait)
		return result;
	stat_wait_begin(what);
	result = xactlock_acquire(tag, ExclusiveLock, false);
	stat_wait_end();
	return result;
}

/*
 * Put a key on the stack.  set_up() has made room for it.
 */
static void
push_key(const LOCKTAG *tag, const Key *key)
{
	KeyAtWork  *top = &at_work[n_at_work++];

	top->tag = *tag;
	top->key = key;
	top->subid = GetCurrentSubTransactionId();
}

/*
 * Take the key with this lock off the stack.  It must be the uppermost.
 */
static void
pop_key(const LOCKTAG *tag)
{
	Assert(n_at_work > 0);
	n_at_work--;
	Assert(lock_tag_compare(&at_work[n_at_work].tag, tag) == 0);
}

/*
 * Make room for one more key.  Called before its lock is taken, as this may fail.
 */
static void
set_up(void)
{
	if (at_work == NULL)
	{
		allocated = 64;
		at_work = MemoryContextAlloc(TopMemoryContext, allocated * sizeof(KeyAtWork));
		RegisterXactCallback(lock_at_end_of_transaction, NULL);
		RegisterSubXactCallback(lock_at_end_of_subtransaction, NULL);
	}
	if (n_at_work == allocated)
	{
		at_work = repalloc(at_work, 2 * allocated * sizeof(KeyAtWork));
		allocated *= 2;
	}
}

/*
 * No key is at work any more.
 */
static void
lock_at_end_of_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE ||
		event == XACT_EVENT_ABORT)
		n_at_work = 0;
}

/*
 * Remove the keys of a subtransaction that is rolled back, and of those within it.
 * They began later, so they have higher numbers.
 */
static void
lock_at_end_of_subtransaction(SubXactEvent event, SubTransactionId mine,
							  SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (n_at_work > 0 && at_work[n_at_work - 1].subid >= mine)
		n_at_work--;
}
