/*-------------------------------------------------------------------------
 *
 * ledger.c
 *		Changing accounts: all changes of an operation, or none.
 *
 * An operation has a leg for each account that it changes.  A leg "decides" if a limit
 * can forbid it: it lowers what is available in an account with a floor, or raises what
 * is posted in one with a ceiling.
 *
 * The order of locks is: the key, the payment, the accounts.  The lock of an account is
 * held while its newest entries are read and one is inserted, and not to the commit.
 *
 * 1.	Find all accounts, without locks, and see which legs decide.
 * 2.	Lock the accounts of these, in the order of their locks.  Read their limits now:
 *		whoever changes a limit holds the lock to his commit.
 * 3.	Look at each (scan.c), and decide:
 *		- a floor: allowed if the least that is available stays above it; refused if
 *		  even the most would pass it
 *		- a ceiling: allowed if the most that is posted stays below it; refused if even
 *		  the least would pass it
 *		- in between, it depends on transactions in progress.  Release all locks, those of
 *		  the key and the payment, too, wait, and start again.
 * 4.	Insert their entries.  Release each lock after its insert.
 * 5.	Lock the accounts of the other legs, one at a time, and insert their entries.
 *
 * So nothing is inserted before the last decision, and a payment that waits holds
 * nothing that others wait for.  Two transactions that have each paid already may wait
 * for each other in step 3.  That is a deadlock, which is detected: all waits are for
 * heavyweight locks.
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

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "bytes.h"
#include "claim/lock.h"
#include "compat.h"
#include "errors.h"
#include "ledger/account.h"
#include "ledger/entry.h"
#include "ledger/ledger.h"
#include "ledger/scan.h"
#include "money/currency.h"
#include "money/money.h"
#include "xactlock.h"

static Refusal *check_legs(Ledger *ledger, const Posting *posting);
static Refusal *check_leg(Ledger *ledger, const Posting *posting, Leg *leg);
static Refusal *lock_deciding(Ledger *ledger, const Posting *posting, Leg **deciding, int *n);
static int	compare_locks(const void *a, const void *b);
static void unlock(Leg **legs, int n);
static Refusal *decide(Ledger *ledger, Leg **deciding, int n);
static Refusal *decide_leg(const Leg *leg, bool *depends);
static void insert(Ledger *ledger, const Posting *posting, Leg *leg);
static bool insert_others(Ledger *ledger, const Posting *posting, bool inserted, Refusal **refusal);
static Sums change_of(const Leg *leg);
static bool decides(const Leg *leg);
static bool is_empty(const Leg *leg);

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
	store_close(&ledger->entries);
	store_close(&ledger->accounts);
	MemoryContextDelete(ledger->context);
	ledger->is_open = false;
}

bool
ledger_must_wait(const Ledger *ledger)
{
	return TransactionIdIsValid(ledger->wait_for);
}

void
ledger_wait_for_largest(Ledger *ledger, const AccountScan *scan)
{
	ledger->wait_for = scan_largest(scan);
	if (!TransactionIdIsValid(ledger->wait_for))
		account_raise_changed();
}

Refusal *
ledger_post(Ledger *ledger, Posting *posting)
{
	Leg		  **deciding = palloc(sizeof(Leg *) * posting->nlegs);
	Refusal    *refusal;
	int			n;

	Assert(posting->nlegs <= LEDGER_MAX_LEGS);
	ledger_open(ledger);
	if (!ledger->writes)
		store_prepare_write(&ledger->entries);
	ledger->writes = true;
	MemoryContextReset(ledger->context);
	ledger->wait_for = InvalidTransactionId;

	refusal = check_legs(ledger, posting);
	if (refusal)
		return refusal;
	do
	{
		refusal = lock_deciding(ledger, posting, deciding, &n);
		if (refusal == NULL)
			refusal = decide(ledger, deciding, n);
		if (refusal || ledger_must_wait(ledger))
		{
			unlock(deciding, n);
			return refusal;
		}
		for (int i = 0; i < n; i++)
		{
			insert(ledger, posting, deciding[i]);
			unlock(&deciding[i], 1);
		}
	} while (!insert_others(ledger, posting, n > 0, &refusal));
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
 * Find a leg's account, and what it allows.  Sets the leg's id, floor and ceiling.
 */
static Refusal *
check_leg(Ledger *ledger, const Posting *posting, Leg *leg)
{
	Key			name = {.scope = posting->scope, .key = leg->account};
	Sums		change = change_of(leg);
	Numeric		available = sums_available(&change);
	bool		takes = available && money_compare(available, money_zero(0)) < 0;
	bool		gives = leg->amount && money_compare(leg->amount, money_zero(0)) > 0;
	MemoryContext old_context;
	Account		account;

	if (!account_find(&account, &ledger->accounts, &name))
		return account_not_found(&name);
	if (!bytes_equal(account.currency, leg->currency))
		return refusal_make(ERRCODE_INVALID_PARAMETER_VALUE,
							"currency is not that of the account",
							psprintf("The request is in \"%s\", but account %s is in \"%s\".",
									 text_to_cstring(currency_clip(leg->currency)),
									 account_text(account.name),
									 text_to_cstring(account.currency)),
							NULL);
	if (takes)
	{
		Refusal    *refusal = account_check_access(&account);

		if (refusal)
			return refusal;
	}
	if (posting->begins && account.closed)
		return refusal_make(ERRCODE_IDEM_STATE, "account is closed",
							psprintf("Account %s was closed.", account_text(account.name)), NULL);

	leg->id = account.id;
	old_context = MemoryContextSwitchTo(ledger->context);
	leg->floor = takes && account.floor
		? DatumGetNumericCopy(NumericGetDatum(account.floor)) : NULL;
	leg->ceiling = gives && account.ceiling
		? DatumGetNumericCopy(NumericGetDatum(account.ceiling)) : NULL;
	MemoryContextSwitchTo(old_context);
	return NULL;
}

/*
 * Step 2.  Sets deciding[] and *n to the legs that are locked, also if there is a
 * refusal.
 */
static Refusal *
lock_deciding(Ledger *ledger, const Posting *posting, Leg **deciding, int *n)
{
	int			all = 0;

	*n = 0;
	for (int i = 0; i < posting->nlegs; i++)
		if (decides(&posting->legs[i]))
			deciding[all++] = &posting->legs[i];
	qsort(deciding, all, sizeof(Leg *), compare_locks);

	for (int i = 0; i < all; i++)
		account_lock(&deciding[(*n)++]->lock);
	for (int i = 0; i < all; i++)
	{
		Refusal    *refusal = check_leg(ledger, posting, deciding[i]);

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
		refusal = decide_leg(deciding[i], &depends);
		if (refusal)
		{
			scan_predicate_lock(deciding[i]->scan, &ledger->entries);
			return refusal;
		}
		if (depends && undecided == NULL)
			undecided = deciding[i];
	}

	if (undecided)
		ledger_wait_for_largest(ledger, undecided->scan);
	return NULL;
}

/*
 * Decide whether the limits of a leg's account allow it.  *depends: set to true if that
 * is not certain yet.
 */
static Refusal *
decide_leg(const Leg *leg, bool *depends)
{
	const AccountScan *scan = leg->scan;

	if (leg->floor)
	{
		Sums		change = change_of(leg);
		Numeric		available = sums_available(&change);

		if (money_compare(sums_add_numeric(scan->available.most, available), leg->floor) < 0)
			return refusal_make(ERRCODE_IDEM_NOT_ENOUGH,
								"not enough is available in the account",
								psprintf("The request takes %s from account %s, but only %s is available, and the floor is %s.",
										 money_text(money_subtract(money_zero(0), available), leg->currency),
										 account_text(leg->account),
										 money_text(scan->available.most ? scan->available.most : money_zero(0),
													leg->currency),
										 money_text(leg->floor, leg->currency)),
								NULL);
		if (money_compare(sums_add_numeric(scan->available.least, available), leg->floor) < 0)
			*depends = true;
	}
	if (leg->ceiling)
	{
		if (money_compare(sums_add_numeric(scan->posted.least, leg->amount), leg->ceiling) > 0)
			return refusal_make(ERRCODE_IDEM_STATE,
								"account would be above its ceiling",
								psprintf("The request gives %s to account %s, which has %s, and the ceiling is %s.",
										 money_text(leg->amount, leg->currency),
										 account_text(leg->account),
										 money_text(scan->posted.least ? scan->posted.least : money_zero(0),
													leg->currency),
										 money_text(leg->ceiling, leg->currency)),
								NULL);
		if (money_compare(sums_add_numeric(scan->posted.most, leg->amount), leg->ceiling) > 0)
			*depends = true;
	}
	return NULL;
}

/*
 * Step 5.  False: nothing was inserted, and another leg has to decide now.
 *
 * inserted: have entries of other legs been inserted?
 */
static bool
insert_others(Ledger *ledger, const Posting *posting, bool inserted, Refusal **refusal)
{
	for (int i = 0; i < posting->nlegs; i++)
	{
		Leg		   *leg = &posting->legs[i];

		if (leg->seq != 0 || is_empty(leg))
			continue;
		account_lock(&leg->lock);
		*refusal = check_leg(ledger, posting, leg);
		if (*refusal || decides(leg))
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
	Sums		change = change_of(leg);

	if (!decides(leg))
		scan_account(leg->scan, &ledger->entries, leg->id, PG_INT64_MAX, SCAN_TO_INSERT);
	leg->seq = entry_insert(&ledger->entries, leg->scan, &operation, &change);
	MemoryContextSwitchTo(old_context);
}

/*
 * What a leg changes in its account.
 */
static Sums
change_of(const Leg *leg)
{
	return (Sums) {.posted = leg->amount, .held = leg->held, .entries = 1};
}

/*
 * Does a leg decide?
 */
static bool
decides(const Leg *leg)
{
	return leg->floor || leg->ceiling;
}

/*
 * Does a leg change nothing?
 */
static bool
is_empty(const Leg *leg)
{
	return (leg->amount == NULL || money_is_zero(leg->amount)) &&
		(leg->held == NULL || money_is_zero(leg->held));
}
