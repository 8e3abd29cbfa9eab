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
 *		of a transaction in progress: release the lock, wait for that transaction
 *		(or ID409), and start again at the probe.  No row: the key is ours.
 * 5.	The caller does the work and inserts the row with its index entries.
 * 6.	Release the lock.  Whoever takes it next finds our row in step 4, before
 *		we commit and after.
 *
 * A row of a request may be no answer: it has expired, or the request has not
 * ended.  Such a row is not replayed.  The key is ours, and the caller gets the row,
 * too.
 *
 * Why it is right.  Between the probe of step 4 that finds nothing and the
 * index entry of step 5 the lock is held, and nobody inserts a row with a key
 * without its lock; so no two transactions insert the same key while both are
 * alive.  (idem_expire() needs no lock of a key: nobody else can use its keys.)
 * If ours rolls back, in whole or to a savepoint, its row is dead to the next
 * probe, and whoever waited finds nothing and goes on as the worker.
 * A prepared transaction is one in progress.  Rows that come in past the claim
 * (INSERT by hand, a logical subscription) meet the unique index.
 *
 * Who waits for whom.  The lock is held only across a probe and the caller's
 * work, never while we wait for a transaction to end; those waits are on the
 * transaction's own lock.  Both are ordinary heavyweight locks (lock.c).  An
 * insert may wait all the same: for what an administrator put on the table, an
 * index or a trigger, and for a row with the same key that was inserted by hand.
 * Deadlock detection sees that, too.  Since a lock does not outlive its call, the
 * number of locks does not grow with the number of keys in a transaction.  The
 * exception is a request that is begun without a lease: its lock is kept until it
 * ends (begun.c).  Two transactions that begin the same two requests crosswise may
 * deadlock.
 *
 * Operations on a payment.  With the key ours, the payment is claimed in the
 * same way: take its lock, and look for its newest row with a dirty snapshot.
 * If that is committed, or our own, the state is known, and stays so while the
 * lock is held: decide, and insert the next.  If it is of a transaction in
 * progress, release both locks, wait for that transaction, and start again with
 * the key.  A key's lock comes before a payment's, and whoever has a payment's
 * lock takes no other lock of ours, so these locks cannot close a circle.  At
 * REPEATABLE READ and above, a newest row that is not in the snapshot is
 * 40001.  The primary key (scope, payment_id, seq) is the last guard.
 *
 * Accounts.  Whether an operation is allowed may depend on other transactions that use
 * the same accounts (ledger.c).  Then the caller releases the locks, waits for such a
 * transaction, and starts again with the key.
 *
 * Many keys at a time are claimed by many.c, which follows the same protocol.
 *
 * Before anything is waited for, all pages are released: whoever has one pinned
 * keeps VACUUM waiting, unseen by deadlock detection.  And before an answer is
 * returned, it is settled (settle.c), after the locks of the claim are released.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/rel.h"

#include "claim/claim.h"
#include "claim/lock.h"
#include "compat.h"
#include "errors.h"
#include "settings.h"
#include "stat/session.h"
#include "stat/stat.h"

static void probe(Claim *claim);
static bool is_answer(const Claim *claim);
static bool take_lock(Claim *claim);
static bool wait_for_key(Claim *claim);
static void wait_for_holder(Store *store, StatWait what);
static bool refuse_in_flight(Claim *claim, Refusal *refusal);
static bool refused(Claim *claim);
static bool take_payment(Claim *claim, const text *scope,
						 const pg_uuid_t *payment_id, bool wait);
static bool wait_for_payment(Claim *claim);
pg_noreturn static void payment_not_in_snapshot(void);
static void prepare_write(Claim *claim);
static void unprepare_write(Claim *claim);
static void let_go(Claim *claim);
static void settle_found(Claim *claim);

void
claim_init(Claim *claim, Store *store, const Key *key)
{
	ClaimTables tables = {.stores = store, .nstores = 1, .target = store};

	claim_init_tables(claim, &tables, key);
}

void
claim_init_tables(Claim *claim, const ClaimTables *tables, const Key *key)
{
	claim->tables = *tables;
	claim->key = key;
	claim->unsettled = NULL;
	claim->in_flight = NULL;
	claim->no_answer = (Unsettled) {0};
	claim->store = tables->target;
	claim->state = ROW_ABSENT;
	claim->answered = false;
	claim->waited_for = InvalidTransactionId;
	claim->writes = false;
	claim->locked = false;
	claim->payment_locked = false;
	claim->payment_found = false;
}

void
claim_defer_settling(Claim *claim, Unsettled *unsettled)
{
	claim->unsettled = unsettled;
}

void
claim_defer_refusal(Claim *claim, Refusal **refusal)
{
	claim->in_flight = refusal;
}

bool
claim_find(Claim *claim, const char *command)
{
	probe(claim);
	if (claim->answered && claim->state != ROW_CONCURRENT)
	{
		settle_found(claim);
		return true;
	}

	/* a new key means work, and a parallel operation cannot even prepare it */
	PreventCommandIfParallelMode(command);
	return false;
}

bool
claim_take(Claim *claim, const char *command)
{
	PreventCommandIfReadOnly(command);
	PreventCommandDuringRecovery(command);

	prepare_write(claim);

	for (;;)
	{
		if (claim->state != ROW_IN_PROGRESS && !claim->answered)
		{
			if (!take_lock(claim))
				return refused(claim);
			probe(claim);
			if (claim->state == ROW_CONCURRENT && IsolationUsesXactSnapshot())
				claim_raise_not_in_snapshot();
			if (claim->state != ROW_IN_PROGRESS && !claim->answered)
			{
				if (claim->state != ROW_ABSENT)
				{
					settle_note(&claim->no_answer, claim->store->slot);
					let_go(claim);	/* the insert may have to wait */
				}
				return true;
			}
			claim_release(claim);
		}

		if (claim->state != ROW_IN_PROGRESS)
		{
			if (claim->state == ROW_CONCURRENT && IsolationUsesXactSnapshot())
				claim_raise_not_in_snapshot();
			unprepare_write(claim);
			settle_found(claim);
			return false;
		}
		if (!wait_for_key(claim))
			return refused(claim);
		probe(claim);
	}
}

bool
claim_take_with_payment(Claim *claim, const text *scope,
						const pg_uuid_t *payment_id, const char *command)
{
	for (;;)
	{
		if (!claim_take(claim, command))
			return false;
		if (take_payment(claim, scope, payment_id, setting_in_flight == IN_FLIGHT_WAIT))
			return true;
		if (!wait_for_payment(claim))
			return refused(claim);
		probe(claim);
	}
}

bool
claim_idle_payment(Claim *claim, const text *scope, const pg_uuid_t *payment_id,
				   const char *command)
{
	PreventCommandIfReadOnly(command);
	PreventCommandDuringRecovery(command);

	prepare_write(claim);
	return take_payment(claim, scope, payment_id, false);
}

TupleTableSlot *
claim_slot(const Claim *claim)
{
	return claim->store->slot;
}

bool
claim_has_row(const Claim *claim)
{
	return claim->state != ROW_ABSENT;
}

bool
claim_has_payment(const Claim *claim)
{
	Assert(claim->payment_locked);
	return claim->payment_found;
}

void
claim_insert(Claim *claim, Datum *values, bool *nulls)
{
	Assert(claim->payment_locked ||
		   (claim->locked && lock_is_at_work(&claim->tag, claim->key)));
	store_insert(claim->tables.target, values, nulls);
}

void
claim_give_up(Claim *claim)
{
	claim_withdraw(claim);
	settle(&claim->no_answer);
}

void
claim_withdraw(Claim *claim)
{
	claim_release(claim);
	unprepare_write(claim);
}

void
claim_pause(Claim *claim)
{
	claim_release(claim);
	let_go(claim);
}

void
claim_try_again(Claim *claim)
{
	probe(claim);
}

void
claim_predicate_lock_payment(Claim *claim, const text *scope, const pg_uuid_t *payment_id)
{
	if (IsolationIsSerializable())
		(void) store_find_payment(claim->store, scope, payment_id,
								  BackwardScanDirection);
}

void
claim_release(Claim *claim)
{
	if (claim->payment_locked)
		lock_release_payment(&claim->payment_tag);
	claim->payment_locked = false;
	if (claim->locked)
		lock_release_key(&claim->tag);
	claim->locked = false;
}

LOCKTAG
claim_keep_lock(Claim *claim)
{
	Assert(claim->locked && !claim->payment_locked);
	lock_keep(&claim->tag);
	claim->locked = false;
	return claim->tag;
}

Refusal *
claim_in_flight(void)
{
	return refusal_make(ERRCODE_IDEM_IN_FLIGHT,
						"idempotency key is in flight",
						"Another transaction that uses the key has not ended.",
						"Retry later with the same key.");
}

void
claim_raise_not_in_snapshot(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent use of an idempotency key"),
			 errhint("The transaction might succeed if retried.")));
}

/*
 * Find the key's row and where it stands: the newest, if several tables have one.
 * If one of them is in progress, that one.
 */
static void
probe(Claim *claim)
{
	int			newest = 0;

	claim->state = ROW_ABSENT;
	claim->store = claim->tables.target;
	for (int i = 0; i < claim->tables.nstores; i++)
	{
		Store	   *store = &claim->tables.stores[i];
		RowState	state = store_probe_key(store, claim->key);

		if (state == ROW_ABSENT)
			continue;
		if (state != ROW_IN_PROGRESS && claim->tables.seq != InvalidAttrNumber)
		{
			int			seq = DatumGetInt32(store_get(store, claim->tables.seq));

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
 * Does the row found, if there is one, answer the key for good?
 */
static bool
is_answer(const Claim *claim)
{
	bool		waited;

	if (claim->state == ROW_ABSENT || claim->state == ROW_IN_PROGRESS)
		return false;
	if (claim->tables.is_answer == NULL)
		return true;
	waited = TransactionIdIsValid(claim->waited_for) &&
		TransactionIdEquals(claim->waited_for, store_get_writer(claim->store));
	return claim->tables.is_answer(claim->store->slot, waited);
}

/*
 * Take the key's lock.  False: idempotency.in_flight is "fail", another transaction
 * has it, and ID409 is deferred.
 */
static bool
take_lock(Claim *claim)
{
	Assert(!claim->locked);
	/* where nothing was found, nothing is pinned */
	if (claim->state != ROW_ABSENT)
		let_go(claim);
	lock_tag_of_key(&claim->tag, RelationGetRelid(claim->tables.stores[0].heap), claim->key);
	if (!lock_key(&claim->tag, claim->key, setting_in_flight == IN_FLIGHT_WAIT))
		return refuse_in_flight(claim, claim_in_flight());
	claim->locked = true;
	return true;
}

/*
 * Wait for the transaction that has the key.  False: idempotency.in_flight is "fail",
 * and ID409 is deferred.
 */
static bool
wait_for_key(Claim *claim)
{
	Assert(!claim->locked && !claim->payment_locked);
	if (setting_in_flight == IN_FLIGHT_FAIL)
		return refuse_in_flight(claim, claim_in_flight());
	claim->waited_for = claim->store->holder;
	let_go(claim);
	lock_tag_of_key(&claim->tag, RelationGetRelid(claim->tables.stores[0].heap), claim->key);
	session_set_key(&claim->tag, claim->key);	/* perhaps it was never locked */
	wait_for_holder(claim->store, STAT_WAIT_KEY);
	return true;
}

/*
 * Wait for the transaction whose row was found: what it has is what we wait for.
 */
static void
wait_for_holder(Store *store, StatWait what)
{
	stat_wait_begin(what);
	store_wait(store);
	stat_wait_end();
}

/*
 * Raise ID409, or leave it to the caller.  Then the result is false.
 */
static bool
refuse_in_flight(Claim *claim, Refusal *refusal)
{
	if (claim->in_flight == NULL)
		refusal_raise(refusal);
	*claim->in_flight = refusal;
	return false;
}

/*
 * End a claim whose refusal is the caller's.  Returns false, for claim_take().
 */
static bool
refused(Claim *claim)
{
	Assert(!claim->locked && !claim->payment_locked);
	let_go(claim);
	unprepare_write(claim);
	return false;
}

/*
 * Lock the payment and find its newest row.  False: the row is of a transaction in
 * progress, or the lock is not free; both locks have been released, that of the key and
 * that of the payment.
 *
 * wait: for the lock.
 */
static bool
take_payment(Claim *claim, const text *scope, const pg_uuid_t *payment_id, bool wait)
{
	RowState	state;

	lock_tag_of_payment(&claim->payment_tag, RelationGetRelid(claim->store->heap), scope,
						payment_id);
	if (!lock_payment(&claim->payment_tag, wait))
	{
		claim_release(claim);
		return false;
	}
	claim->payment_locked = true;

	state = store_probe_payment(claim->store, scope, payment_id);
	if (state == ROW_IN_PROGRESS)
	{
		claim_release(claim);
		return false;
	}
	if (state == ROW_CONCURRENT && IsolationUsesXactSnapshot())
		payment_not_in_snapshot();
	claim->payment_found = state != ROW_ABSENT;

	store_let_go(claim->store); /* the insert may have to wait */
	return true;
}

/*
 * Wait for the transaction that has the payment.  False: idempotency.in_flight is
 * "fail", and ID409 is deferred.
 */
static bool
wait_for_payment(Claim *claim)
{
	Assert(!claim->locked && !claim->payment_locked);
	if (setting_in_flight == IN_FLIGHT_FAIL)
		return refuse_in_flight(claim,
								refusal_make(ERRCODE_IDEM_IN_FLIGHT,
											 "payment is in flight",
											 "Another transaction that uses the payment has not ended.",
											 "Retry later with the same key."));
	wait_for_holder(claim->store, STAT_WAIT_PAYMENT);
	return true;
}

/*
 * Raise 40001: the payment's newest row is not in the snapshot.
 */
static void
payment_not_in_snapshot(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent use of a payment"),
			 errhint("The transaction might succeed if retried.")));
}

/*
 * Take the lock of an INSERT on the target, unless the claim has it; and release it.
 */
static void
prepare_write(Claim *claim)
{
	if (!claim->writes)
		store_prepare_write(claim->tables.target);
	claim->writes = true;
}

static void
unprepare_write(Claim *claim)
{
	Assert(claim->writes);
	store_unprepare_write(claim->tables.target);
	claim->writes = false;
}

/*
 * Release all pages, before a wait.
 */
static void
let_go(Claim *claim)
{
	for (int i = 0; i < claim->tables.nstores; i++)
		store_let_go(&claim->tables.stores[i]);
}

/*
 * Settle the row found, or leave it to the caller.
 */
static void
settle_found(Claim *claim)
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
