/*-------------------------------------------------------------------------
 *
 * claim.c
 *		The claim: finding out, safely, whether a key is new, in flight or
 *		already answered.
 *
 * The protocol, in the order in which it happens:
 *
 * 1.	Probe the unique index.  A row in the transaction's snapshot, or of the
 *		transaction itself, is the answer: replay it.  So far there is no lock,
 *		no transaction id and no WAL, so this also works in a read-only
 *		transaction and on a standby.
 * 2.	These stop here, with PostgreSQL's own error.  If the probe found a row of
 *		a transaction in progress, wait for that one (or ID409) and probe again;
 *		that needs no lock of the key.
 * 3.	Take the key's advisory lock, or fail with ID409.
 * 4.	Probe again.  A committed row: at READ COMMITTED replay it, above that it
 *		is not in the snapshot, and 40001 has the transaction run again.  A row
 *		of a transaction in progress: let the lock go, wait for that transaction
 *		(or ID409), and start again at the probe.  No row: the key is ours.
 * 5.	The caller does the work and inserts the row with its index entries.
 * 6.	Let the lock go.  Whoever takes it next finds our row in step 4, before
 *		we commit and after.
 *
 * Why it is right.  Between the probe of step 4 that finds nothing and the
 * index entry of step 5 the lock is held, and nobody inserts a row with a key
 * without its lock; so no two transactions insert the same key while both are
 * alive.  If ours rolls back, in whole or to a savepoint, its row is dead to
 * the next probe, and whoever waited finds nothing and goes on as the worker.
 * A prepared transaction is one in progress.  Rows that come in past the claim
 * (INSERT by hand, a logical subscription) meet the unique index.
 *
 * Who waits for whom.  The lock is held only across a probe and the caller's
 * work, never while waiting for a transaction to end; those waits are on
 * the transaction's own lock.  Both are ordinary heavyweight locks: they obey
 * lock_timeout, show in pg_locks, take part in deadlock detection, and go with
 * the (sub)transaction if it fails.  Since a lock does not outlive its call,
 * their number does not grow with the number of keys in a transaction.
 *
 * Two keys whose hashes are alike wait for each other, no more: keys are always
 * compared whole, by the index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/rel.h"

#include "claim.h"
#include "compat.h"
#include "errors.h"
#include "settings.h"

/*
 * Advisory locks are told apart by the fourth field of their tag; PostgreSQL's
 * functions use 1 (one bigint) and 2 (two integers), see lockfuncs.c.  In
 * pg_locks it is objsubid.
 */
#define CLAIM_LOCK_CLASS	0x1D3E

static void take_lock(Claim *claim);
pg_noreturn static void in_flight(void);

bool
claim_find(Claim *claim, Store *store, const Key *key, const char *command)
{
	claim->store = store;
	claim->key = key;
	claim->state = store_probe_key(store, key);
	if (claim->state == ROW_VISIBLE || claim->state == ROW_OWN)
		return true;

	/* a new key is work, which a parallel operation cannot even prepare */
	PreventCommandIfParallelMode(command);
	return false;
}

bool
claim_take(Claim *claim, const char *command)
{
	Store	   *store = claim->store;

	PreventCommandIfReadOnly(command);
	PreventCommandDuringRecovery(command);

	store_prepare_write(store);

	for (;;)
	{
		bool		locked = false;

		if (claim->state == ROW_ABSENT)
		{
			take_lock(claim);
			locked = true;
			claim->state = store_probe_key(store, claim->key);
			if (claim->state == ROW_ABSENT)
				return true;
		}
		if (locked)
			claim_release(claim);

		switch (claim->state)
		{
			case ROW_ABSENT:
				break;			/* cannot happen */

			case ROW_VISIBLE:
			case ROW_OWN:
				return false;

			case ROW_CONCURRENT:
				if (IsolationUsesXactSnapshot())
					ereport(ERROR,
							(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							 errmsg("could not serialize access due to concurrent use of an idempotency key"),
							 errhint("The transaction might succeed if retried.")));
				return false;

			case ROW_IN_PROGRESS:
				if (setting_in_flight == IN_FLIGHT_FAIL)
					in_flight();
				store_wait(store);
				claim->state = store_probe_key(store, claim->key);
				break;
		}
	}
}

void
claim_release(Claim *claim)
{
	LockRelease(&claim->tag, ExclusiveLock, false);
}

static void
take_lock(Claim *claim)
{
	uint64		hash = key_hash(claim->key, RelationGetRelid(claim->store->heap));
	bool		fail = setting_in_flight == IN_FLIGHT_FAIL;

	SET_LOCKTAG_ADVISORY(claim->tag, MyDatabaseId,
						 (uint32) (hash >> 32), (uint32) hash,
						 CLAIM_LOCK_CLASS);

	switch (LockAcquire(&claim->tag, ExclusiveLock, false, fail))
	{
		case LOCKACQUIRE_OK:
			break;

		case LOCKACQUIRE_NOT_AVAIL:
			in_flight();
			break;

		case LOCKACQUIRE_ALREADY_HELD:
		case LOCKACQUIRE_ALREADY_CLEAR:
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("idempotency key is used inside its own work"),
					 errhint("The work that a key stands for cannot itself wait for that key.")));
	}
}

static void
in_flight(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_IN_FLIGHT),
			 errmsg("idempotency key is in flight"),
			 errdetail("Another transaction that uses the key has not ended."),
			 errhint("Retry later with the same key.")));
}
