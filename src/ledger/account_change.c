/*-------------------------------------------------------------------------
 *
 * account_change.c
 *		Changing an account.
 *
 * idem_account_change(name, floor, ceiling, closed, metadata, scope)
 *
 * The steps are those of a leg that decides (ledger.c).  With the account's lock, its
 * limits are compared with the least and the most that the account has.  If it depends
 * on transactions in progress whether it is within the new limits, we wait.
 *
 * The lock is kept to the end of the transaction.  So a payment that gets it reads the
 * limits that were committed last.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "call.h"
#include "errors.h"
#include "json_arg.h"
#include "ledger/account.h"
#include "ledger/ledger.h"
#include "ledger/limits.h"
#include "ledger/scan.h"
#include "money/currency.h"
#include "money/money.h"
#include "stat/session.h"
#include "stat/stat.h"

STAT_FUNCTION(idem_account_change, STAT_ACCOUNT_CHANGE);

#define COMMAND "idem_account_change()"

/* What is asked for.  NULL: as it is. */
typedef struct AccountChange
{
	Numeric		floor;
	Numeric		ceiling;
	const bool *closed;
	Jsonb	   *metadata;
} AccountChange;

static void change_account(Account *account, Ledger *ledger, const Key *name,
						   const AccountChange *change);
static void apply(Account *account, const AccountChange *change);
static Refusal *set_decimals(Account *account, const AccountChange *change);
static Refusal *decide(Ledger *ledger, const LOCKTAG *lock, const Account *old,
					   Account *account);
static void check_wait(const Account *account, const AccountScan *scan);
static Refusal *check_within(const Account *account, const AccountScan *scan, bool *depends);
static void replace_row(Store *accounts, const Account *account);

/*
 * idem_account_change: change the limits or the metadata of an account, close it, or
 * open it again.
 *
 * name: not NULL.  floor: NULL leaves it as it is, -Infinity removes it.  ceiling: NULL
 * leaves it as it is, Infinity removes it.  closed, metadata: NULL leaves it as it is.
 * scope: NULL means the setting idempotency.scope.
 *
 * Result: the account.
 *
 * Errors: those of json_arg_jsonb(), key_check_account(), limits_check() and
 * limits_set_decimals(); ID404 if there is no such account; ID403 if another role has
 * opened it; ID412 if it is not within the new limits; 40001 as for ledger_post(); 25000
 * in a parallel operation; 25006 in a read-only transaction or on a standby; 55P03,
 * 40P01 and 57014 from waiting.
 */
static Datum
idem_account_change_call(PG_FUNCTION_ARGS)
{
	bool		closed = ARG_IS_NULL(3) ? false : PG_GETARG_BOOL(3);
	AccountChange change = {
		.floor = ARG_NUMERIC(1),
		.ceiling = ARG_NUMERIC(2),
		.closed = ARG_IS_NULL(3) ? NULL : &closed,
		.metadata = json_arg_jsonb(fcinfo, 4, "metadata"),
	};
	Account		account;
	Key			name;
	Ledger		ledger = {0};
	Datum		result;

	refusal_raise(key_check_account(ARG_TEXT(0), ARG_TEXT(5), &name));
	PreventCommandIfParallelMode(COMMAND);
	PreventCommandIfReadOnly(COMMAND);
	PreventCommandDuringRecovery(COMMAND);

	ledger_open(&ledger);
	change_account(&account, &ledger, &name, &change);
	result = account_result(fcinfo, &account);
	ledger_close(&ledger);
	return result;
}

/*
 * Change the account.  Its lock is kept.
 */
static void
change_account(Account *account, Ledger *ledger, const Key *name,
			   const AccountChange *change)
{
	LOCKTAG		lock;

	store_prepare_write(&ledger->accounts);
	account_lock_tag(&lock, &ledger->accounts, name);
	session_set_key(&lock, name);
	for (;;)
	{
		Account		old;

		account_lock(&lock);
		if (!account_find(&old, &ledger->accounts, name))
			refusal_raise(account_not_found(name));
		refusal_raise(account_check_access(&old));
		*account = old;
		apply(account, change);
		refusal_raise(limits_check(account));
		refusal_raise(set_decimals(account, change));
		refusal_raise(decide(ledger, &lock, &old, account));
		if (!ledger_must_wait(ledger))
			break;
		account_unlock(&lock);
		ledger_wait(ledger);
	}
	ledger_leave_turnstile(ledger);
	replace_row(&ledger->accounts, account);
}

/*
 * Apply what is asked for.
 */
static void
apply(Account *account, const AccountChange *change)
{
	if (change->floor)
		account->floor = change->floor;
	if (change->ceiling)
		account->ceiling = change->ceiling;
	if (change->closed)
		account->closed = *change->closed;
	if (change->metadata)
		account->metadata = change->metadata;
}

/*
 * Give the limits that are asked for the decimals of the currency.
 */
static Refusal *
set_decimals(Account *account, const AccountChange *change)
{
	Refusal    *refusal;
	int			exponent = 0;

	if (change->floor == NULL && change->ceiling == NULL)
		return NULL;
	refusal = currency_exponent(account->currency, false, &exponent);
	if (refusal == NULL && change->floor)
		refusal = limits_set_decimals(&account->floor, account->currency, exponent);
	if (refusal == NULL && change->ceiling)
		refusal = limits_set_decimals(&account->ceiling, account->currency, exponent);
	return refusal;
}

/*
 * Is what the account has within its new limits?  If so, they apply from the next entry
 * on.  A limit that allows more than before needs no look, and applies since the old one
 * did.
 */
static Refusal *
decide(Ledger *ledger, const LOCKTAG *lock, const Account *old, Account *account)
{
	bool		raised = account->floor &&
		(old->floor == NULL || money_compare(account->floor, old->floor) > 0);
	bool		lowered = account->ceiling &&
		(old->ceiling == NULL || money_compare(account->ceiling, old->ceiling) < 0);
	MemoryContext old_context;
	Refusal    *refusal;
	AccountScan scan;
	bool		depends = false;

	ledger->wait_for = InvalidTransactionId;
	ledger->wait_turnstile = false;
	if (!raised && !lowered)
		return NULL;
	MemoryContextReset(ledger->context);
	old_context = MemoryContextSwitchTo(ledger->context);
	scan_account(&scan, &ledger->entries, account->id, PG_INT64_MAX, SCAN_TO_DECIDE);
	MemoryContextSwitchTo(old_context);

	refusal = check_within(account, &scan, &depends);
	if (refusal)
		scan_predicate_lock(&scan, &ledger->entries);
	else if (depends)
	{
		check_wait(account, &scan);
		ledger_wait_for_largest(ledger, lock, true, &scan);
	}
	if (raised)
		account->floor_from = scan.top + 1;
	if (lowered)
		account->ceiling_from = scan.top + 1;
	return refusal;
}

/*
 * It depends on transactions in progress.  Raise 40001 if it will depend on what is
 * outside the snapshot, whatever becomes of them.
 */
static void
check_wait(const Account *account, const AccountScan *scan)
{
	AccountScan ended;
	bool		depends = false;

	if (!IsolationUsesXactSnapshot())
		return;
	ended = scan_ended(scan);
	if (check_within(account, &ended, &depends) == NULL && depends)
		account_raise_changed();
}

/*
 * Compare what an account has with its limits.  *depends: set to true if it depends on
 * transactions in progress.
 */
static Refusal *
check_within(const Account *account, const AccountScan *scan, bool *depends)
{
	Numeric		zero = money_zero(money_decimals(account->floor ? account->floor : account->ceiling));
	Numeric		least_available = scan->available.least ? scan->available.least : zero;
	Numeric		most_available = scan->available.most ? scan->available.most : zero;
	Numeric		least_posted = scan->posted.least ? scan->posted.least : zero;
	Numeric		most_posted = scan->posted.most ? scan->posted.most : zero;

	if (account->floor && money_compare(most_available, account->floor) < 0)
		return refusal_make(ERRCODE_IDEM_STATE, "less than the floor is available",
							psprintf("The floor would be %s, but account %s has %s available.",
									 money_text(account->floor, account->currency),
									 account_text(account->name),
									 money_text(most_available, account->currency)),
							NULL);
	if (account->ceiling && money_compare(least_posted, account->ceiling) > 0)
		return refusal_make(ERRCODE_IDEM_STATE, "more than the ceiling is posted",
							psprintf("The ceiling would be %s, but account %s has %s.",
									 money_text(account->ceiling, account->currency),
									 account_text(account->name),
									 money_text(least_posted, account->currency)),
							NULL);
	*depends = (account->floor && money_compare(least_available, account->floor) < 0) ||
		(account->ceiling && money_compare(most_posted, account->ceiling) > 0);
	return NULL;
}

/*
 * Replace the row that account_find() has found.
 */
static void
replace_row(Store *accounts, const Account *account)
{
	Datum		values[Natts_account];
	bool		nulls[Natts_account];

	if (store_written_by_command(accounts))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("account was opened or changed by the same command"),
				 errhint("Use a command of its own for each change.")));
	account_to_row(account, values, nulls);
	if (!store_delete(accounts))	/* somebody changes it by hand */
		account_raise_changed();
	store_insert(accounts, values, nulls);
}
