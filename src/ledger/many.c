/*-------------------------------------------------------------------------
 *
 * many.c
 *		Changing the accounts of many operations at a time.
 *
 * The steps are those of ledger.c, for a portion of operations at once:
 *
 * 1.	Lock all their accounts, in the order of the locks.
 * 2.	Read the limits, and look at each account when it is used first.
 * 3.	Decide the operations one after the other.  Each sees what those before it change,
 *		which is not inserted yet.
 * 4.	Insert all entries.  Release the accounts.
 *
 * If it depends on transactions in progress whether one is allowed, the portion ends
 * before it.  The caller inserts what was decided, releases all locks, and waits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"

#include "bytes.h"
#include "claim/lock.h"
#include "ledger/account.h"
#include "ledger/entry.h"
#include "ledger/leg.h"
#include "ledger/many.h"

/* An account of the portion. */
typedef struct ManyAccount
{
	Key			name;
	LOCKTAG		lock;
	bool		exists;
	Account		account;
	AccountScan *scan;			/* NULL: it has not been used yet */
	bool		passes;			/* has it passed the turnstile? */
} ManyAccount;

/* An entry to be inserted. */
typedef struct ManyEntry
{
	EntryOperation operation;
	EntryRow	row;
} ManyEntry;

static void lock_accounts(LedgerMany *many);
static void read_accounts(LedgerMany *many);
static ManyAccount *find_account(const LedgerMany *many, const text *name);
static Refusal *check_legs(LedgerMany *many, const Posting *posting);
static Refusal *decide(LedgerMany *many, const Posting *posting, const Leg **undecided);
static bool may_pass(LedgerMany *many, const text *name);
static void look_at(LedgerMany *many, ManyAccount *account);
static void make_entry(LedgerMany *many, const Posting *posting, Leg *leg);
static int	compare_texts(const void *a, const void *b);
static int	compare_names(const void *a, const void *b);
static int	compare_locks(const void *a, const void *b);
static Account copy_account(const Account *account);

bool
ledger_many_pays(text **names, int n)
{
	int			distinct = 0;

	qsort(names, n, sizeof(text *), compare_texts);
	for (int i = 0; i < n; i++)
		distinct += i == 0 || compare_texts(&names[i], &names[i - 1]) != 0;
	return distinct * 4 < n * 3;
}

void
ledger_many_begin(LedgerMany *many, Ledger *ledger, text *scope, text **names, int n)
{
	Assert(n <= LEDGER_MANY_ACCOUNTS);
	ledger_begin(ledger);
	many->ledger = ledger;
	many->scope = scope;
	many->accounts = palloc(sizeof(ManyAccount) * Max(n, 1));
	many->nrows = 0;
	many->room = 0;
	many->rows = NULL;

	qsort(names, n, sizeof(text *), compare_texts);
	many->naccounts = 0;
	for (int i = 0; i < n; i++)
	{
		if (i == 0 || compare_texts(&names[i], &names[i - 1]) != 0)
			many->accounts[many->naccounts++].name = (Key) {.scope = scope, .key = names[i]};
	}
	lock_accounts(many);
	read_accounts(many);
}

bool
ledger_many_has(const LedgerMany *many, const text *name)
{
	return find_account(many, name) != NULL;
}

Refusal *
ledger_many_post(LedgerMany *many, Posting *posting)
{
	const Leg  *undecided = NULL;
	Refusal    *refusal;

	Assert(many->locked && !ledger_must_wait(many->ledger));
	refusal = check_legs(many, posting);
	if (refusal == NULL)
		refusal = decide(many, posting, &undecided);
	if (refusal)
	{
		ledger_leave_turnstile(many->ledger);
		return refusal;
	}
	if (undecided)
	{
		leg_check_wait(undecided, undecided->scan);
		ledger_wait_for_largest(many->ledger, &find_account(many, undecided->account)->lock,
								undecided->shown, undecided->scan);
		return NULL;
	}
	for (int i = 0; i < posting->nlegs; i++)
	{
		if (leg_decides(&posting->legs[i]) && !may_pass(many, posting->legs[i].account))
			return NULL;
	}
	ledger_leave_turnstile(many->ledger);
	for (int i = 0; i < posting->nlegs; i++)
	{
		posting->legs[i].seq = 0;
		if (!leg_is_empty(&posting->legs[i]))
			make_entry(many, posting, &posting->legs[i]);
	}
	return NULL;
}

void
ledger_many_insert(LedgerMany *many)
{
	for (int from = 0; from < many->nrows; from += STORE_MANY)
	{
		int			n = Min(STORE_MANY, many->nrows - from);
		Datum	   *values[STORE_MANY];
		bool	   *nulls[STORE_MANY];

		for (int i = 0; i < n; i++)
		{
			values[i] = many->rows[from + i]->row.values;
			nulls[i] = many->rows[from + i]->row.nulls;
		}
		store_insert_many(&many->ledger->entries, n, values, nulls);
	}
	many->nrows = 0;
	ledger_many_end(many);
}

void
ledger_many_end(LedgerMany *many)
{
	if (!many->locked)
		return;
	for (int i = 0; i < many->naccounts; i++)
		account_unlock(&many->accounts[i].lock);
	many->locked = false;
}

/*
 * Step 1.
 */
static void
lock_accounts(LedgerMany *many)
{
	LOCKTAG		locks[LEDGER_MANY_ACCOUNTS];

	for (int i = 0; i < many->naccounts; i++)
	{
		account_lock_tag(&many->accounts[i].lock, &many->ledger->accounts, &many->accounts[i].name);
		locks[i] = many->accounts[i].lock;
	}
	qsort(locks, many->naccounts, sizeof(LOCKTAG), compare_locks);
	for (int i = 0; i < many->naccounts; i++)
		account_lock(&locks[i]);
	many->locked = true;
}

/*
 * Step 2: find the accounts.
 */
static void
read_accounts(LedgerMany *many)
{
	for (int i = 0; i < many->naccounts; i++)
	{
		ManyAccount *account = &many->accounts[i];
		Account		found;

		account->scan = NULL;
		account->passes = false;
		account->exists = account_find(&found, &many->ledger->accounts, &account->name);
		if (account->exists)
			account->account = copy_account(&found);
	}
}

/*
 * An account by its name; NULL if it is none of those that are locked.
 */
static ManyAccount *
find_account(const LedgerMany *many, const text *name)
{
	ManyAccount wanted = {.name = {.scope = many->scope, .key = unconstify(text *, name)}};

	return bsearch(&wanted, many->accounts, many->naccounts, sizeof(ManyAccount), compare_names);
}

/*
 * Step 3: find the accounts of an operation, and check its legs.
 */
static Refusal *
check_legs(LedgerMany *many, const Posting *posting)
{
	for (int i = 0; i < posting->nlegs; i++)
	{
		Leg		   *leg = &posting->legs[i];
		ManyAccount *account = find_account(many, leg->account);
		Refusal    *refusal;

		if (!account->exists)
			return account_not_found(&account->name);
		refusal = leg_check(leg, &account->account, posting->begins);
		if (refusal)
			return refusal;
	}
	for (int i = 0; i < posting->nlegs; i++)
	{
		Refusal    *refusal = leg_check_open(&posting->legs[i]);

		if (refusal)
			return refusal;
	}
	return NULL;
}

/*
 * Step 3: decide an operation.  *undecided: set to a leg for which that depends on
 * transactions in progress, if there is one.
 */
static Refusal *
decide(LedgerMany *many, const Posting *posting, const Leg **undecided)
{
	for (int i = 0; i < posting->nlegs; i++)
	{
		Leg		   *leg = &posting->legs[i];
		ManyAccount *account = find_account(many, leg->account);
		Refusal    *refusal;
		bool		depends = false;

		look_at(many, account);
		leg->scan = account->scan;
		refusal = leg_decide(leg, account->scan, &many->ledger->entries, &depends);
		if (refusal)
			return refusal;
		if (depends && *undecided == NULL)
			*undecided = leg;
	}
	return NULL;
}

/*
 * May what was decided for an account be used?  Asked once, as its lock is held.
 */
static bool
may_pass(LedgerMany *many, const text *name)
{
	ManyAccount *account = find_account(many, name);

	if (!account->passes)
		account->passes = ledger_may_pass(many->ledger, &account->lock, account->scan);
	return account->passes;
}

/*
 * Step 2: look at an account, if that has not been done yet.
 */
static void
look_at(LedgerMany *many, ManyAccount *account)
{
	if (account->scan)
		return;
	account->scan = palloc(sizeof(AccountScan));
	scan_account(account->scan, &many->ledger->entries, account->account.id, PG_INT64_MAX,
				 account->account.floor || account->account.ceiling
				 ? SCAN_TO_DECIDE : SCAN_TO_INSERT);
}

/*
 * Make the entry of a leg that is allowed.
 */
static void
make_entry(LedgerMany *many, const Posting *posting, Leg *leg)
{
	ManyEntry  *entry = palloc(sizeof(ManyEntry));
	Sums		change = leg_change(leg);
	ScanNext	next;

	entry->operation = (EntryOperation)
	{
		.payment_id = posting->payment_id,
			.seq = posting->operation,
			.created_at = posting->created_at,
	};
	entry_make(&entry->row, &next, leg->scan, &entry->operation, &change);
	scan_add(leg->scan, &next, GetCurrentTransactionId(), &change);
	leg->seq = next.seq;

	if (many->nrows == many->room)
	{
		many->room = Max(64, 2 * many->room);
		many->rows = many->rows ? repalloc(many->rows, sizeof(ManyEntry *) * many->room)
			: palloc(sizeof(ManyEntry *) * many->room);
	}
	many->rows[many->nrows++] = entry;
}

/*
 * For qsort(): names, in the order of compare_names().
 */
static int
compare_texts(const void *a, const void *b)
{
	return bytes_compare(*(text *const *) a, *(text *const *) b);
}

/*
 * For bsearch(): accounts by name.
 */
static int
compare_names(const void *a, const void *b)
{
	return key_compare(&((const ManyAccount *) a)->name, &((const ManyAccount *) b)->name);
}

/*
 * For qsort(): the order of locks.
 */
static int
compare_locks(const void *a, const void *b)
{
	return lock_tag_compare(a, b);
}

/*
 * A copy of an account, without its metadata.
 */
static Account
copy_account(const Account *account)
{
	Account		copy = *account;

	copy.name = (text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(account->name));
	copy.currency = (text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(account->currency));
	copy.owner = (text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(account->owner));
	if (account->floor)
		copy.floor = DatumGetNumericCopy(NumericGetDatum(account->floor));
	if (account->ceiling)
		copy.ceiling = DatumGetNumericCopy(NumericGetDatum(account->ceiling));
	copy.metadata = NULL;
	return copy;
}
