/*-------------------------------------------------------------------------
 *
 * turnstile.c
 *		Who has waited for long comes first.
 *
 * A large debit could wait for ever while small ones come and go: each time it looks,
 * some are in progress.  After some slices (wait.c) it takes the turnstile of the account,
 * a lock of its own class, and keeps it until it is decided.  Whoever decides in the
 * account meanwhile, and sees others in progress there, waits for the turnstile.  So those
 * in progress get fewer, and it is decided.  A transaction that has entries in the account
 * itself passes: the turnstile's holder may wait for just that one.  What needs no
 * decision passes, too.
 *
 * Who has a turnstile waits for nobody else's, and for no other account.  If another has
 * the turnstile already, we go on with slices.  So turnstiles bring no payment that is
 * alone in its transaction into a deadlock.
 *
 * A transaction that does not end, perhaps a stranger's, must not keep all others behind a
 * turnstile.  So the holder counts those that were there when he took it.  If none of them
 * has ended for some slices, he gives it up, and leaves the others alone for three times
 * as long as he had it.  Then he takes it again, and is more patient.  And only who has
 * the privileges of the account's owner takes it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"

#include "claim/lock.h"
#include "ledger/own.h"
#include "ledger/scan.h"
#include "ledger/turnstile.h"
#include "xactlock.h"

/* The class of its locks: see claim/lock.c. */
#define TURNSTILE_LOCK_CLASS	0x1D41

/* After how many slices the turnstile is taken. */
#define TURNSTILE_AFTER			8

/* After how many in which none has ended it is given up, how often that is doubled. */
#define TURNSTILE_PATIENCE		20
#define TURNSTILE_DOUBLED		3

/* How many times as long it is left to the others. */
#define TURNSTILE_REST			3

static LOCKTAG lock_of(const LOCKTAG *account);
static void take(Turnstile *turnstile, const LOCKTAG *lock);

void
turnstile_look(Turnstile *turnstile, const AccountScan *scan)
{
	int			left = 0;

	if (!turnstile->held)
		return;
	for (int i = 0; i < scan->nseen; i++)
		left += TransactionIdPrecedes(scan->seen[i], turnstile->before);
	if (left < turnstile->left)
		turnstile->idle = 0;
	turnstile->left = Min(turnstile->left, left);
}

void
turnstile_begin_slice(Turnstile *turnstile, const LOCKTAG *account, bool may_take, int waits)
{
	LOCKTAG		lock = lock_of(account);

	if (turnstile->held && lock_tag_compare(&turnstile->lock, &lock) != 0)
		turnstile_release(turnstile);
	if (turnstile->held)
	{
		turnstile->slices++;
		if (turnstile->idle++ >= TURNSTILE_PATIENCE << Min(turnstile->turns - 1, TURNSTILE_DOUBLED))
		{
			turnstile_release(turnstile);
			turnstile->rest = TURNSTILE_REST * turnstile->slices;
		}
	}
	else if (turnstile->rest > 0)
		turnstile->rest--;
	else if (may_take && waits >= TURNSTILE_AFTER)
		take(turnstile, &lock);
}

void
turnstile_release(Turnstile *turnstile)
{
	if (turnstile->held)
		xactlock_release(&turnstile->lock, ExclusiveLock);
	turnstile->held = false;
}

bool
turnstile_may_pass(const LOCKTAG *account, const AccountScan *scan)
{
	LOCKTAG		lock = lock_of(account);

	if (scan->nseen == 0 || own_has(scan->account))
		return true;
	if (xactlock_acquire(&lock, ShareLock, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	xactlock_release(&lock, ShareLock);
	return true;
}

void
turnstile_pass(const LOCKTAG *account)
{
	LOCKTAG		lock = lock_of(account);

	xactlock_acquire(&lock, ShareLock, false);
	xactlock_release(&lock, ShareLock);
}

/*
 * The turnstile's lock, by that of the account.
 */
static LOCKTAG
lock_of(const LOCKTAG *account)
{
	LOCKTAG		lock = *account;

	lock.locktag_field4 = TURNSTILE_LOCK_CLASS;
	return lock;
}

/*
 * Take the turnstile, if nobody has it.
 */
static void
take(Turnstile *turnstile, const LOCKTAG *lock)
{
	if (xactlock_acquire(lock, ExclusiveLock, true) == LOCKACQUIRE_NOT_AVAIL)
		return;
	turnstile->held = true;
	turnstile->lock = *lock;
	turnstile->before = ReadNextTransactionId();
	turnstile->left = INT_MAX;
	turnstile->idle = 0;
	turnstile->slices = 0;
	turnstile->turns++;
}
