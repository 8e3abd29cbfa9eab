/*-------------------------------------------------------------------------
 *
 * xactlock.c
 *		Locks that belong to the (sub)transaction.
 *
 * PostgreSQL releases a lock with its resource owner.  While a statement runs, that
 * may be the owner of a portal.  A cursor's portal can end before the rows that it
 * wrote: when a later FETCH fails and is rolled back.  A lock that guards a row has
 * to last as long as the row may.  So it belongs to the resource owner of the
 * (sub)transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/resowner.h"

#include "xactlock.h"

/* How often xactlock_try() tries, and microseconds between two tries. */
#define TRIES			20
#define SLEEP			50

static ResourceOwner enter(ResourceOwner owner);

LockAcquireResult
xactlock_acquire(const LOCKTAG *tag, LOCKMODE mode, bool dont_wait)
{
	ResourceOwner old_owner = enter(CurTransactionResourceOwner);
	LockAcquireResult result = LockAcquire(tag, mode, false, dont_wait);

	CurrentResourceOwner = old_owner;
	return result;
}

LockAcquireResult
xactlock_try(const LOCKTAG *tag, LOCKMODE mode)
{
	for (int i = 0; i < TRIES; i++)
	{
		LockAcquireResult result = xactlock_acquire(tag, mode, true);

		if (result != LOCKACQUIRE_NOT_AVAIL)
			return result;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(SLEEP);
	}
	return LOCKACQUIRE_NOT_AVAIL;
}

void
xactlock_release(const LOCKTAG *tag, LOCKMODE mode)
{
	ResourceOwner old_owner = enter(CurTransactionResourceOwner);

	LockRelease(tag, mode, false);
	CurrentResourceOwner = old_owner;
}

void
xactlock_release_in_parent(const LOCKTAG *tag, LOCKMODE mode)
{
	ResourceOwner old_owner = enter(ResourceOwnerGetParent(CurTransactionResourceOwner));

	LockRelease(tag, mode, false);
	CurrentResourceOwner = old_owner;
}

void
xactlock_relation(Oid relid, LOCKMODE mode)
{
	ResourceOwner old_owner = enter(CurTransactionResourceOwner);

	LockRelationOid(relid, mode);
	CurrentResourceOwner = old_owner;
}

bool
xactlock_relation_if_free(Oid relid, LOCKMODE mode)
{
	ResourceOwner old_owner = enter(CurTransactionResourceOwner);
	bool		locked = ConditionalLockRelationOid(relid, mode);

	CurrentResourceOwner = old_owner;
	return locked;
}

void
xactlock_release_relation(Oid relid, LOCKMODE mode)
{
	ResourceOwner old_owner = enter(CurTransactionResourceOwner);

	UnlockRelationOid(relid, mode);
	CurrentResourceOwner = old_owner;
}

/*
 * Make a resource owner the current one, and return the one before.  The caller sets
 * that one again.  After an error, the abort of the (sub)transaction sets the owner.
 */
static ResourceOwner
enter(ResourceOwner owner)
{
	ResourceOwner old_owner = CurrentResourceOwner;

	CurrentResourceOwner = owner;
	return old_owner;
}
