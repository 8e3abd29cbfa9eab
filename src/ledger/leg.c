/*-------------------------------------------------------------------------
 *
 * leg.c
 *		One leg of an operation: what its account allows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"

#include "access.h"
#include "bytes.h"
#include "errors.h"
#include "ledger/leg.h"
#include "money/currency.h"
#include "money/money.h"

static Refusal *check_limits(const Leg *leg, const AccountScan *scan, bool *depends);
static Refusal *check_floor(const Leg *leg, const ScanRange *available, bool *depends);
static Refusal *check_ceiling(const Leg *leg, const ScanRange *posted, bool *depends);
static Numeric copy_if(bool condition, Numeric limit);

Refusal *
leg_check(Leg *leg, const Account *account, bool begins)
{
	Sums		change = leg_change(leg);
	Numeric		available = sums_available(&change);
	bool		takes = available && money_compare(available, money_zero(0)) < 0;
	bool		gives = leg->amount && money_compare(leg->amount, money_zero(0)) > 0;

	if (!bytes_equal(account->currency, leg->currency))
		return refusal_make(ERRCODE_INVALID_PARAMETER_VALUE,
							"currency is not that of the account",
							psprintf("The request is in \"%s\", but account %s is in \"%s\".",
									 text_to_cstring(currency_clip(leg->currency)),
									 account_text(account->name),
									 text_to_cstring(account->currency)),
							"A call that names no currency uses the setting \"idempotency.currency\".");
	if (takes)
	{
		Refusal    *refusal = account_check_access(account);

		if (refusal)
			return refusal;
	}

	leg->id = account->id;
	leg->shown = takes || (gives && account->ceiling && access_allowed(account->owner));
	leg->closed = begins && account->closed;
	leg->floor = copy_if(takes, account->floor);
	leg->ceiling = copy_if(gives, account->ceiling);
	return NULL;
}

Refusal *
leg_check_open(const Leg *leg)
{
	if (!leg->closed)
		return NULL;
	return refusal_make(ERRCODE_IDEM_STATE, "account is closed",
						psprintf("Account %s was closed.", account_text(leg->account)), NULL);
}

Refusal *
leg_decide(const Leg *leg, const AccountScan *scan, Store *entries, bool *depends)
{
	Refusal    *refusal = check_limits(leg, scan, depends);

	if (refusal)
		scan_predicate_lock(scan, entries);
	return refusal;
}

void
leg_check_wait(const Leg *leg, const AccountScan *scan)
{
	AccountScan ended;
	bool		depends = false;

	if (!IsolationUsesXactSnapshot())
		return;
	ended = scan_ended(scan);
	if (check_limits(leg, &ended, &depends) == NULL && depends)
		account_raise_changed();
}

Sums
leg_change(const Leg *leg)
{
	return (Sums) {.posted = leg->amount, .held = leg->held, .entries = 1};
}

bool
leg_decides(const Leg *leg)
{
	return leg->closed || leg->floor || leg->ceiling;
}

bool
leg_is_empty(const Leg *leg)
{
	return (leg->amount == NULL || money_is_zero(leg->amount)) &&
		(leg->held == NULL || money_is_zero(leg->held));
}

/*
 * Compare what there would be with the limits.
 */
static Refusal *
check_limits(const Leg *leg, const AccountScan *scan, bool *depends)
{
	Refusal    *refusal = NULL;

	if (leg->floor)
		refusal = check_floor(leg, &scan->available, depends);
	if (leg->ceiling && refusal == NULL)
		refusal = check_ceiling(leg, &scan->posted, depends);
	return refusal;
}

/*
 * Compare what would be available with the floor.
 */
static Refusal *
check_floor(const Leg *leg, const ScanRange *available, bool *depends)
{
	Sums		change = leg_change(leg);
	Numeric		taken = sums_available(&change);

	if (money_compare(sums_add_numeric(available->least, taken), leg->floor) >= 0)
		return NULL;
	if (money_compare(sums_add_numeric(available->most, taken), leg->floor) >= 0)
	{
		*depends = true;
		return NULL;
	}
	return refusal_make(ERRCODE_IDEM_NOT_ENOUGH,
						"not enough is available in the account",
						psprintf("The request takes %s from account %s, but at most %s is available, and the floor is %s.",
								 money_text(money_subtract(money_zero(0), taken), leg->currency),
								 account_text(leg->account),
								 money_text(available->most ? available->most : money_zero(money_decimals(leg->floor)),
											leg->currency),
								 money_text(leg->floor, leg->currency)),
						NULL);
}

/*
 * Compare what would be posted with the ceiling.
 */
static Refusal *
check_ceiling(const Leg *leg, const ScanRange *posted, bool *depends)
{
	if (money_compare(sums_add_numeric(posted->most, leg->amount), leg->ceiling) <= 0)
		return NULL;
	if (money_compare(sums_add_numeric(posted->least, leg->amount), leg->ceiling) <= 0)
	{
		*depends = true;
		return NULL;
	}
	return refusal_make(ERRCODE_IDEM_STATE,
						"account would be above its ceiling",
						!leg->shown ? NULL :
						psprintf("The request gives %s to account %s, which has %s, and the ceiling is %s.",
								 money_text(leg->amount, leg->currency),
								 account_text(leg->account),
								 money_text(posted->least ? posted->least : money_zero(money_decimals(leg->ceiling)),
											leg->currency),
								 money_text(leg->ceiling, leg->currency)),
						NULL);
}

/*
 * A copy of a limit, or NULL if there is none or it does not matter.
 */
static Numeric
copy_if(bool condition, Numeric limit)
{
	return condition && limit ? DatumGetNumericCopy(NumericGetDatum(limit)) : NULL;
}
