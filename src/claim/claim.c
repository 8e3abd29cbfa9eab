/*-------------------------------------------------------------------------
 *
 * claim.c
 *		The claim: finding out, safely, whether a key is new, in flight or
 *		already answered.
 *
 * The protocol, in the order in which it happens:
 *
 * 1.	Probe the unique index.  A row in the transaction's snapshot, or of the
 *		transaction itself, is the answer: settle it, and replay it.  So far
 *		there is no lock, no transaction id and no WAL, so this also works in a
 *		read-only transaction and on a standby.
 * 2.	A read-only transaction and a standby stop here, with PostgreSQL's own
 *		error.  If the probe found a row of a transaction in progress, wait for
 *		that one (or ID409) and probe again; that needs no lock of the key.  A
 *		committed row that is not in the snapshot counts as in step 4, also
 *		without the lock.
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
 * alive.  (idem_expire() does without the lock: nobody else can use its keys.)
 * If ours rolls back, in whole or to a savepoint, its row is dead to the next
 * probe, and whoever waited finds nothing and goes on as the worker.
 * A prepared transaction is one in progress.  Rows that come in past the claim
 * (INSERT by hand, a logical subscription) meet the unique index.
 *
 * Who waits for whom.  The lock is held only across a probe and the caller's
 * work, never while waiting for a transaction to end; those waits are on the
 * transaction's own lock.  Both are ordinary heavyweight locks: they obey
 * lock_timeout, show in pg_locks, take part in deadlock detection, and go with
 * the (sub)transaction if it fails.  (An index or a trigger of an
 * administrator's may have the work itself wait; deadlock detection sees that
 * too.)  Since a lock does not outlive its call, their number does not grow
 * with the number of keys in a transaction.  The exception is a request that
 * is begun without a lease: its lock is kept till it ends (begun.c), and who
 * begins two, crosswise with another, may deadlock.
 *
 * Operations on a payment.  With the key ours, the payment is claimed in the
 * same way: take its lock, and look for its newest row with a dirty snapshot.
 * If that is committed, or our own, the state is known, and stays so while the
 * lock is held: decide, and insert the next.  If it is of a transaction in
 * progress, let both locks go, wait for that transaction, and start again with
 * the key.  A key's lock comes before a payment's, and nobody who has a
 * payment's lock waits for anything, so these locks cannot close a circle.  At
 * REPEATABLE READ and above, a newest row that is not in the snapshot is
 * 40001.  The primary key (scope, payment_id, seq) is the last guard.
 *
 * Many keys at a time are locked in the order of their locks, and probed and
 * inserted in the order of the keys: neither can two such callers wait in a
 * circle for locks, nor for each other's transactions.
 *
 * Before anything is waited for, all pages are let go: whoever has one pinned
 * keeps VACUUM waiting, unseen by deadlock detection.  And before an answer is
 * returned, it is settled (settle.c), with no lock held.
 *
 * Two keys whose hashes are alike wait for each other, no more: keys are
 * always compared whole, by the index.  Whoever chooses the keys can make
 * hashes alike; so keys and payments have classes of locks of their own, and
 * nothing depends on two keys having two locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/rel.h"
#include "utils/resowner.h"

#include "request/begun.h"
#include "claim/claim.h"
#include "compat.h"
#include "errors.h"
#include "settings.h"

/*
 * Advisory locks are told apart by the fourth field of their tag; PostgreSQL's
 * functions use 1 (one bigint) and 2 (two integers), see lockfuncs.c.  In
 * pg_locks it is objsubid.
 */
#define KEY_LOCK_CLASS		0x1D3E
#define PAYMENT_LOCK_CLASS	0x1D3F

/* The lock of one of many keys. */
typedef struct LockedKey
{
	LOCKTAG		tag;
	int			number;			/* of the key */
} LockedKey;

static void probe(Claim *claim);
static void let_go(Claim *claim);
static bool is_answer(const Claim *claim);
static void take_lock(Claim *claim);
static bool take_payment(Claim *claim, const text *scope,
						 const pg_uuid_t *payment_id);
static void take_payment_lock(Claim *claim, const text *scope,
							  const pg_uuid_t *payment_id);
static void make_tag(LOCKTAG *tag, uint64 hash, int lock_class);
static void make_key_tag(LOCKTAG *tag, const Store *store, const Key *key);
static LockAcquireResult acquire(const LOCKTAG *tag, bool dont_wait);
static int	compare_tags(const void *a, const void *b);
pg_noreturn static void inside_own_work(void);
pg_noreturn static void not_in_snapshot(const char *what);

void
claim_init(Claim *claim, Store *store, const Key *key)
{
	claim->stores = claim->store = claim->target = store;
	claim->nstores = 1;
	claim->is_answer = NULL;
	claim->waited_for = InvalidTransactionId;
	claim->unsettled = NULL;
	claim->key = key;
	claim->locked = false;
	claim->payment_locked = false;
}

bool
claim_find(Claim *claim, const char *command)
{
	probe(claim);
	if (claim->answered && claim->state != ROW_CONCURRENT)
	{
		claim_settle(claim);
		return true;
	}

	/* a new key is work, which a parallel operation cannot even prepare */
	PreventCommandIfParallelMode(command);
	return false;
}

bool
claim_take(Claim *claim, const char *command)
{
	PreventCommandIfReadOnly(command);
	PreventCommandDuringRecovery(command);

	store_prepare_write(claim->target);

	for (;;)
	{
		if (claim->state != ROW_IN_PROGRESS && !claim->answered)
		{
			take_lock(claim);
			probe(claim);
			if (claim->state == ROW_CONCURRENT && IsolationUsesXactSnapshot())
				not_in_snapshot("an idempotency key");
			if (claim->state != ROW_IN_PROGRESS && !claim->answered)
			{
				/* the insert may have to wait for what is on the table */
				if (claim->state != ROW_ABSENT && store_may_refuse(claim->target))
					let_go(claim);
				return true;
			}
		}
		claim_release(claim);

		if (claim->state != ROW_IN_PROGRESS)
		{
			if (claim->state == ROW_CONCURRENT && IsolationUsesXactSnapshot())
				not_in_snapshot("an idempotency key");
			store_no_write(claim->target);
			claim_settle(claim);
			return false;
		}

		if (setting_in_flight == IN_FLIGHT_FAIL)
			refusal_raise(claim_in_flight());
		claim->waited_for = claim->store->holder;
		let_go(claim);
		store_wait(claim->store);
		probe(claim);
	}
}

void
claim_again(Claim *claim)
{
	probe(claim);
}

bool
claim_payment(Claim *claim, const text *scope, const pg_uuid_t *payment_id)
{
	if (take_payment(claim, scope, payment_id))
		return true;

	if (setting_in_flight == IN_FLIGHT_FAIL)
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_IN_FLIGHT),
				 errmsg("payment is in flight"),
				 errdetail("Another transaction that works on the payment has not ended."),
				 errhint("Retry later with the same key.")));
	store_wait(claim->store);
	probe(claim);
	return false;
}

bool
claim_idle_payment(Claim *claim, const text *scope, const pg_uuid_t *payment_id,
				   const char *command)
{
	PreventCommandIfReadOnly(command);
	PreventCommandDuringRecovery(command);

	store_prepare_write(claim->target);
	return take_payment(claim, scope, payment_id);
}

void
claim_settle(Claim *claim)
{
	Unsettled	rows = {0};

	if (claim->unsettled)
	{
		settle_note(claim->unsettled, claim->store->slot);
		return;
	}
	settle_note(&rows, claim->store->slot);
	if (!rows.any)
		return;
	let_go(claim);
	settle(&rows);
}

void
claim_note_payment(Claim *claim, const text *scope, const pg_uuid_t *payment_id)
{
	if (IsolationIsSerializable())
		(void) store_find_payment(claim->store, scope, payment_id,
								  BackwardScanDirection);
}

void
claim_release(Claim *claim)
{
	if (claim->payment_locked)
		claim_unlock(&claim->payment_tag);
	claim->payment_locked = false;
	if (claim->locked)
		claim_unlock(&claim->tag);
	claim->locked = false;
}

void
claim_unlock(const LOCKTAG *tag)
{
	ResourceOwner old_owner = CurrentResourceOwner;

	CurrentResourceOwner = CurTransactionResourceOwner;
	LockRelease(tag, ExclusiveLock, false);
	CurrentResourceOwner = old_owner;
}

void
claim_many_begin(ClaimMany *many, Store *store, const char *command)
{
	PreventCommandIfParallelMode(command);
	PreventCommandIfReadOnly(command);
	PreventCommandDuringRecovery(command);

	store_prepare_write(store);
	many->store = store;
	many->nlocks = 0;
	many->probed = false;
	many->unsettled = NULL;
}

void
claim_many_lock(ClaimMany *many, int n, const Key **keys, bool *in_flight)
{
	LockedKey	locks[STORE_MANY];

	store_let_go(many->store);
	for (int i = 0; i < n; i++)
	{
		make_key_tag(&locks[i].tag, many->store, keys[i]);
		locks[i].number = i;
	}
	qsort(locks, n, sizeof(LockedKey), compare_tags);

	for (int i = 0; i < n; i++)
	{
		LOCKTAG    *tag = &locks[i].tag;
		bool		again = i > 0 && compare_tags(&locks[i - 1], &locks[i]) == 0;

		in_flight[locks[i].number] = false;
		if (again)
		{
			/* another of these keys has the same lock */
			in_flight[locks[i].number] = in_flight[locks[i - 1].number];
			continue;
		}
		switch (acquire(tag, setting_in_flight == IN_FLIGHT_FAIL))
		{
			case LOCKACQUIRE_OK:
				many->tags[many->nlocks++] = *tag;
				break;

			case LOCKACQUIRE_NOT_AVAIL:
				in_flight[locks[i].number] = true;
				break;

			case LOCKACQUIRE_ALREADY_HELD:
			case LOCKACQUIRE_ALREADY_CLEAR:
				inside_own_work();
		}
	}
}

RowState
claim_many_probe(ClaimMany *many, const Key *key)
{
	RowState	state = store_probe_key_in_order(many->store, key, !many->probed);

	many->probed = true;
	if (state == ROW_CONCURRENT && IsolationUsesXactSnapshot())
		not_in_snapshot("an idempotency key");
	if (state == ROW_ABSENT || state == ROW_IN_PROGRESS)
		return state;
	settle_note(many->unsettled, many->store->slot);
	return ROW_VISIBLE;
}

void
claim_many_release(ClaimMany *many)
{
	while (many->nlocks > 0)
		claim_unlock(&many->tags[--many->nlocks]);
	many->probed = false;
}

Refusal *
claim_in_flight(void)
{
	return refusal_make(ERRCODE_IDEM_IN_FLIGHT,
						"idempotency key is in flight",
						"Another transaction that uses the key has not ended.",
						"Retry later with the same key.");
}

/*
 * Where the key's row stands: the newest, if several tables have one.
 */
static void
probe(Claim *claim)
{
	int			newest = 0;

	claim->state = ROW_ABSENT;
	claim->store = claim->target;
	for (int i = 0; i < claim->nstores; i++)
	{
		Store	   *store = &claim->stores[i];
		RowState	state = store_probe_key(store, claim->key);

		if (state == ROW_ABSENT)
			continue;
		if (state != ROW_IN_PROGRESS && claim->nstores > 1)
		{
			int			seq = DatumGetInt32(store_get(store, Anum_request_seq));

			if (seq < newest)
				continue;
			newest = seq;
		}
		claim->state = state;
		claim->store = store;
		if (state == ROW_IN_PROGRESS)
			break;
	}
	claim->answered = is_answer(claim);
}

/*
 * Let all pages go, before waiting.
 */
static void
let_go(Claim *claim)
{
	for (int i = 0; i < claim->nstores; i++)
		store_let_go(&claim->stores[i]);
}

/*
 * Does the row found, if there is one, answer the key for good?
 */
static bool
is_answer(const Claim *claim)
{
	if (claim->state == ROW_ABSENT || claim->state == ROW_IN_PROGRESS)
		return false;
	return claim->is_answer == NULL ||
		claim->is_answer(claim->store, claim->waited_for);
}

static void
take_lock(Claim *claim)
{
	/* where nothing was found, nothing is pinned */
	if (claim->state != ROW_ABSENT)
		let_go(claim);
	make_key_tag(&claim->tag, &claim->stores[0], claim->key);
	switch (acquire(&claim->tag, setting_in_flight == IN_FLIGHT_FAIL))
	{
		case LOCKACQUIRE_OK:
			break;

		case LOCKACQUIRE_NOT_AVAIL:
			refusal_raise(claim_in_flight());
			break;

		case LOCKACQUIRE_ALREADY_HELD:
		case LOCKACQUIRE_ALREADY_CLEAR:
			if (!begun_keeps(&claim->tag))
				inside_own_work();
	}
	claim->locked = true;
}

/*
 * Lock the payment and find its newest row.  False: that is of a transaction in
 * progress, and all locks have been released.
 */
static bool
take_payment(Claim *claim, const text *scope, const pg_uuid_t *payment_id)
{
	take_payment_lock(claim, scope, payment_id);

	claim->payment_state = store_probe_payment(claim->store, scope, payment_id);
	if (claim->payment_state == ROW_IN_PROGRESS)
	{
		claim_release(claim);
		return false;
	}
	if (claim->payment_state == ROW_CONCURRENT && IsolationUsesXactSnapshot())
		not_in_snapshot("a payment");

	/* the insert may have to wait for what an administrator put on the table */
	if (store_may_refuse(claim->store))
		store_let_go(claim->store);
	return true;
}

/*
 * Always waits: whoever has the lock is about to let it go.
 */
static void
take_payment_lock(Claim *claim, const text *scope, const pg_uuid_t *payment_id)
{
	uint64		hash = RelationGetRelid(claim->store->heap);

	hash = DatumGetUInt64(hash_any_extended((const unsigned char *) VARDATA_ANY(scope),
											VARSIZE_ANY_EXHDR(scope), hash));
	hash = DatumGetUInt64(hash_any_extended(payment_id->data, UUID_LEN, hash));

	make_tag(&claim->payment_tag, hash, PAYMENT_LOCK_CLASS);
	if (acquire(&claim->payment_tag, false) != LOCKACQUIRE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("payment is used inside its own work")));
	claim->payment_locked = true;
}

static void
make_key_tag(LOCKTAG *tag, const Store *store, const Key *key)
{
	make_tag(tag, key_hash(key, RelationGetRelid(store->heap)), KEY_LOCK_CLASS);
}

static void
make_tag(LOCKTAG *tag, uint64 hash, int lock_class)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId,
						 (uint32) (hash >> 32), (uint32) hash, lock_class);
}

/*
 * The locks belong to the (sub)transaction rather than to the statement: that
 * of a request outlasts it (see begun.c).
 */
static LockAcquireResult
acquire(const LOCKTAG *tag, bool dont_wait)
{
	ResourceOwner old_owner = CurrentResourceOwner;
	LockAcquireResult result;

	CurrentResourceOwner = CurTransactionResourceOwner;
	result = LockAcquire(tag, ExclusiveLock, false, dont_wait);
	CurrentResourceOwner = old_owner;
	return result;
}

static int
compare_tags(const void *a, const void *b)
{
	return memcmp(&((const LockedKey *) a)->tag, &((const LockedKey *) b)->tag,
				  sizeof(LOCKTAG));
}

static void
inside_own_work(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("idempotency key is used inside its own work"),
			 errhint("The work that a key stands for cannot itself wait for that key.")));
}

static void
not_in_snapshot(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent use of %s", what),
			 errhint("The transaction might succeed if retried.")));
}
