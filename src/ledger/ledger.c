/*-------------------------------------------------------------------------
 *
 * ledger.c
 *		Changing accounts: all changes of an operation, or none.
 *
 * An operation has a leg for each account that it changes.  A leg "decides" if its
 * account can forbid it: if it lowers what is available in an account with a floor, or
 * raises what is posted in one with a ceiling; or if the account is closed.
 *
 * The order of locks is: the key, the payment, the accounts.  The lock of an account is
 * held while its newest entries are read and one is inserted, and not to the commit.
 *
 * 1.	Find all accounts, without locks, and see which legs decide.
 * 2.	Lock the accounts of these, in the order of their locks.  Read their limits now:
 *		whoever changes an account holds the lock to his commit.
 * 3.	Look at each (scan.c), in the order given, and decide:
 *		- a floor: allowed if the least that is available stays above it; refused if
 *		  even the most would pass it
 *		- a ceiling: allowed if the most that is posted stays below it; refused if even
 *		  the least would pass it
 *		- in between, it depends on transactions in progress.  Release all locks, those of
 *		  the key and the payment, too, wait (wait.c), and start again.
 * 4.	Insert their entries.  Release each lock after its insert.
 * 5.	Lock the accounts of the other legs, one at a time, and insert their entries.
 *
 * So nothing is inserted before the last decision, and a payment that waits holds
 * nothing that others wait for.  Two transactions that have each paid already may wait
 * for each other in step 3.  That is a deadlock, which is detected: all waits are for
 * heavyweight locks.
 *
 * Whoever changes an account keeps its lock to his commit.  So a leg of step 5 may wait for
 * that, with the entries of other legs inserted.  If the one who changes it then pays from
 * such an account, and depends on us, that is a deadlock, too.
 *
 * In step 5, an account may have got a limit since step 1.  Then the leg would have to
 * decide, but others are inserted.  The transaction fails with 40001, and can be run
 * again.
 *
 * Why a floor holds.  Take, of the committed debits at any moment, the one that was
 * decided last.  It counted all that had ended, all that was being taken, and nothing
 * that was being given.  What was decided after it has not committed, and what has
 * committed since only adds.  So what is available is not below what it counted.  In
 * the order of seq it is the same.  And at REPEATABLE READ and above, it does not count
 * what was given outside its snapshot.  So the floor holds in every serial order, too.
 *
 * At SERIALIZABLE, a refusal leaves a predicate lock: others may make it untrue.  What
 * was allowed needs none, as said above.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "claim/lock.h"
#include "ledger/account.h"
#include "ledger/entry.h"
#include "ledger/ledger.h"
#include "ledger/leg.h"
#include "ledger/scan.h"
#include "ledger/subscription.h"
#include "pause.h"

static Refusal *check_legs(Ledger *ledger, const Posting *posting);
static Refusal *check_leg(Ledger *ledger, const Posting *posting, Leg *leg);
static void lock_deciding(const Posting *posting, Leg **deciding, int *n);
static Refusal *check_deciding(Ledger *ledger, const Posting *posting, Leg **deciding, int n);
static int	compare_locks(const void *a, const void *b);
static void unlock(Leg **legs, int n);
static Refusal *decide(Ledger *ledger, Leg **deciding, int n);
static void insert(Ledger *ledger, const Posting *posting, Leg *leg);
static bool insert_others(Ledger *ledger, const Posting *posting, Refusal **refusal);

void
ledger_open(Ledger *ledger)
{
	if (ledger->is_open)
		return;
	ledger->is_open = true;
	store_open(&ledger->accounts, TABLE_ACCOUNT);
	store_open(&ledger->entries, TABLE_ENTRY);
	ledger->writes = false;
	ledger->context = AllocSetContextCreate(CurrentMemoryContext, "idempotency ledger",
											ALLOCSET_DEFAULT_SIZES);
}

void
ledger_close(Ledger *ledger)
{
	if (!ledger->is_open)
		return;
	ledger_leave_turnstile(ledger);
	store_close(&ledger->entries);
	store_close(&ledger->accounts);
	MemoryContextDelete(ledger->context);
	ledger->is_open = false;
}

void
ledger_begin(Ledger *ledger)
{
	ledger_open(ledger);
	if (!ledger->writes)
	{
		subscription_check(ledger->entries.heap);
		store_prepare_write(&ledger->entries);
	}
	ledger->writes = true;
	MemoryContextReset(ledger->context);
	ledger->wait_for = InvalidTransactionId;
	ledger->wait_turnstile = false;
	ledger->gave_up = false;
}

bool
ledger_must_wait(const Ledger *ledger)
{
	return TransactionIdIsValid(ledger->wait_for) || ledger->wait_turnstile;
}

void
ledger_wait_for_largest(Ledger *ledger, const LOCKTAG *account, bool is_owner,
						const AccountScan *scan)
{
	turnstile_look(&ledger->turnstile, scan);
	ledger->may_take_turnstile = is_owner;
	ledger->account = *account;
	ledger->wait_for = scan_largest(scan);
	if (!TransactionIdIsValid(ledger->wait_for))
		account_raise_changed();
}

Refusal *
ledger_find_currencies(Ledger *ledger, text *scope, Leg *legs, int nlegs)
{
	ledger_open(ledger);
	for (int i = 0; i < nlegs; i++)
	{
		Key			name = {.scope = scope, .key = legs[i].account};
		Account		account;

		if (legs[i].currency)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (!account_find(&account, &ledger->accounts, &name))
			return account_not_found(&name);
		legs[i].currency = DatumGetTextPCopy(PointerGetDatum(account.currency));
	}
	return NULL;
}

Refusal *
ledger_post(Ledger *ledger, Posting *posting)
{
	Leg		  **deciding = palloc(sizeof(Leg *) * posting->nlegs);
	Refusal    *refusal;
	int			n;

	Assert(posting->nlegs <= LEDGER_MAX_LEGS);
	ledger_begin(ledger);
	refusal = check_legs(ledger, posting);
	if (refusal)
		return refusal;
	PAUSE("checked", 1);
	do
	{
		lock_deciding(posting, deciding, &n);
		refusal = check_deciding(ledger, posting, deciding, n);
		if (refusal == NULL)
			refusal = decide(ledger, deciding, n);
		if (refusal || ledger_must_wait(ledger))
		{
			unlock(deciding, n);
			if (refusal)
				ledger_leave_turnstile(ledger);
			return refusal;
		}
		for (int i = 0; i < n; i++)
		{
			if (!leg_is_empty(deciding[i]))
				insert(ledger, posting, deciding[i]);
			unlock(&deciding[i], 1);
		}
	} while (!insert_others(ledger, posting, &refusal));
	ledger_leave_turnstile(ledger);
	return refusal;
}

/*
 * Step 1.
 */
static Refusal *
check_legs(Ledger *ledger, const Posting *posting)
{
	for (int i = 0; i < posting->nlegs; i++)
	{
		Key			name = {.scope = posting->scope, .key = posting->legs[i].account};
		Refusal    *refusal = check_leg(ledger, posting, &posting->legs[i]);

		if (refusal)
			return refusal;
		account_lock_tag(&posting->legs[i].lock, &ledger->accounts, &name);
		posting->legs[i].seq = 0;
	}
	return NULL;
}

/*
 * Find a leg's account, and check what it allows.
 */
static Refusal *
check_leg(Ledger *ledger, const Posting *posting, Leg *leg)
{
	Key			name = {.scope = posting->scope, .key = leg->account};
	Account		account;

	if (!account_find(&account, &ledger->accounts, &name))
		return account_not_found(&name);
	return leg_check(leg, &account, posting->begins);
}

/*
 * Step 2: lock the accounts of the legs that decide.  Sets deciding[] and *n to these, in
 * the order given.
 */
static void
lock_deciding(const Posting *posting, Leg **deciding, int *n)
{
	Leg		  **sorted = palloc(sizeof(Leg *) * posting->nlegs);

	*n = 0;
	for (int i = 0; i < posting->nlegs; i++)
		if (leg_decides(&posting->legs[i]))
			deciding[(*n)++] = &posting->legs[i];

	memcpy(sorted, deciding, sizeof(Leg *) * *n);
	qsort(sorted, *n, sizeof(Leg *), compare_locks);
	for (int i = 0; i < *n; i++)
		account_lock(&sorted[i]->lock);
	pfree(sorted);
}

/*
 * Step 2: check them again, now that they are locked.
 */
static Refusal *
check_deciding(Ledger *ledger, const Posting *posting, Leg **deciding, int n)
{
	for (int i = 0; i < n; i++)
	{
		Refusal    *refusal = check_leg(ledger, posting, deciding[i]);

		if (refusal)
			return refusal;
	}
	for (int i = 0; i < n; i++)
	{
		Refusal    *refusal = leg_check_open(deciding[i]);

		if (refusal)
			return refusal;
	}
	return NULL;
}

/*
 * For qsort(): the order of locks.
 */
static int
compare_locks(const void *a, const void *b)
{
	return lock_tag_compare(&(*(Leg *const *) a)->lock, &(*(Leg *const *) b)->lock);
}

/*
 * Release the locks of these legs.
 */
static void
unlock(Leg **legs, int n)
{
	for (int i = 0; i < n; i++)
		account_unlock(&legs[i]->lock);
}

/*
 * Step 3.
 */
static Refusal *
decide(Ledger *ledger, Leg **deciding, int n)
{
	const Leg  *undecided = NULL;

	for (int i = 0; i < n; i++)
	{
		MemoryContext old_context = MemoryContextSwitchTo(ledger->context);
		Refusal    *refusal;
		bool		depends = false;

		deciding[i]->scan = palloc(sizeof(AccountScan));
		scan_account(deciding[i]->scan, &ledger->entries, deciding[i]->id, PG_INT64_MAX,
					 SCAN_TO_DECIDE);
		MemoryContextSwitchTo(old_context);
		refusal = leg_decide(deciding[i], deciding[i]->scan, &ledger->entries, &depends);
		if (refusal)
			return refusal;
		if (depends && undecided == NULL)
			undecided = deciding[i];
	}

	if (undecided)
	{
		leg_check_wait(undecided, undecided->scan);
		ledger_wait_for_largest(ledger, &undecided->lock, undecided->shown, undecided->scan);
	}
	for (int i = 0; i < n && !ledger_must_wait(ledger); i++)
		(void) ledger_may_pass(ledger, &deciding[i]->lock, deciding[i]->scan);
	return NULL;
}

/*
 * Step 5.  False: nothing was inserted, and another leg has to decide now.
 */
static bool
insert_others(Ledger *ledger, const Posting *posting, Refusal **refusal)
{
	bool		inserted = false;	/* has a leg an entry already? */

	for (int i = 0; i < posting->nlegs; i++)
		inserted = inserted || posting->legs[i].seq != 0;
	for (int i = 0; i < posting->nlegs; i++)
	{
		Leg		   *leg = &posting->legs[i];

		if (leg->seq != 0 || leg_is_empty(leg))
			continue;
		PAUSE("leg", i + 1);
		if (ledger->dont_wait && !account_lock_if_free(&leg->lock))
		{
			Assert(!inserted);
			ledger->gave_up = true;
			return true;
		}
		if (!ledger->dont_wait)
			account_lock(&leg->lock);
		*refusal = check_leg(ledger, posting, leg);
		if (*refusal || leg_decides(leg))
		{
			if (inserted)
				account_raise_changed();
			account_unlock(&leg->lock);
			return *refusal != NULL;
		}
		leg->scan = MemoryContextAlloc(ledger->context, sizeof(AccountScan));
		insert(ledger, posting, leg);
		account_unlock(&leg->lock);
		inserted = true;
	}
	return true;
}

/*
 * Insert the entry of a leg whose account is locked.
 */
static void
insert(Ledger *ledger, const Posting *posting, Leg *leg)
{
	MemoryContext old_context = MemoryContextSwitchTo(ledger->context);
	EntryOperation operation = {
		.payment_id = posting->payment_id,
		.seq = posting->operation,
		.created_at = posting->created_at,
	};
	Sums		change = leg_change(leg);
	EntryRow	row;
	ScanNext	next;

	if (!leg_decides(leg))
		scan_account(leg->scan, &ledger->entries, leg->id, PG_INT64_MAX, SCAN_TO_INSERT);
	entry_make(&row, &next, leg->scan, &operation, &change);
	leg->seq = next.seq;
	PAUSE("insert", 1);
	store_insert(&ledger->entries, row.values, row.nulls);
	MemoryContextSwitchTo(old_context);
}
