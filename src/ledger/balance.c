/*-------------------------------------------------------------------------
 *
 * balance.c
 *		The balance of an account.
 *
 * idem_balance(account, at, scope)
 * idempotency.entry_balance(account), for the view idempotency.account_balance
 *
 * It sees what a SELECT sees, writes nothing, and works on a standby.  A few of the
 * newest entries are read, however many there are: see scan.c.
 *
 * The times of an account's entries are in the order of their numbers.  So the last
 * entry of a given time is found by halving the range of numbers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "miscadmin.h"

#include "call.h"
#include "claim/settle.h"
#include "key.h"
#include "ledger/account.h"
#include "ledger/balance.h"
#include "ledger/scan.h"
#include "money/currency.h"
#include "money/money.h"

PG_FUNCTION_INFO_V1(idem_balance);
PG_FUNCTION_INFO_V1(idem_entry_balance);

static void set_sums(const Sums *sums, int decimals, Datum *posted, Datum *held,
					 Datum *available, Datum *entries);
static int	decimals_of(const text *currency);

/*
 * idem_balance: what an account has.
 *
 * account: its name, not NULL.  at: the balance at this time; NULL means now.  scope:
 * NULL means the setting idempotency.scope.
 *
 * Result: the currency, and in its major unit what is posted, held and available; how
 * many entries these add up.
 *
 * Errors: those of key_check_account(); ID404 if there is no such account; ID403 if
 * another role has opened it; 57014 of settle().
 */
Datum
idem_balance(PG_FUNCTION_ARGS)
{
	enum
	{
		CURRENCY, POSTED, HELD, AVAILABLE, ENTRIES,
		N_COLUMNS
	};
	Key			name;
	Account		account;
	Store		accounts;
	Store		entries;
	AccountScan scan;
	Sums		sums;
	Unsettled	rows = {0};
	int64		upto = PG_INT64_MAX;
	TupleDesc	desc;
	Datum		values[N_COLUMNS];
	bool		nulls[N_COLUMNS] = {false};
	HeapTuple	result;

	refusal_raise(key_check_account(ARG_TEXT(0), ARG_TEXT(2), &name));
	store_open(&accounts, TABLE_ACCOUNT);
	balance_find_account(&account, &accounts, &name, &rows);

	store_open(&entries, TABLE_ENTRY);
	if (!ARG_IS_NULL(1))
		upto = balance_find_time(&entries, account.id, PG_GETARG_TIMESTAMPTZ(1));
	scan_account(&scan, &entries, account.id, upto, SCAN_TO_READ);
	sums = scan_balance(&scan);
	store_close(&entries);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[CURRENCY] = PointerGetDatum(account.currency);
	set_sums(&sums, sums.posted ? 0 : decimals_of(account.currency), &values[POSTED],
			 &values[HELD], &values[AVAILABLE], &values[ENTRIES]);
	result = heap_form_tuple(BlessTupleDesc(desc), values, nulls);
	store_close(&accounts);		/* which has the currency */
	settle(&rows);
	settle(&scan.unsettled);
	PG_RETURN_DATUM(HeapTupleGetDatum(result));
}

/*
 * idempotency.entry_balance(account): the same for the account with this ID, now, without
 * the currency.
 *
 * It asks for no privileges of the account's owner.  So only roles that may read all
 * entries may call it: see rights.c.  As with a SELECT, nothing is settled.
 */
Datum
idem_entry_balance(PG_FUNCTION_ARGS)
{
	enum
	{
		POSTED, HELD, AVAILABLE, ENTRIES,
		N_COLUMNS
	};
	Store		entries;
	AccountScan scan;
	Sums		sums;
	TupleDesc	desc;
	Datum		values[N_COLUMNS];
	bool		nulls[N_COLUMNS] = {false};

	store_open(&entries, TABLE_ENTRY);
	scan_account(&scan, &entries, PG_GETARG_INT64(0), PG_INT64_MAX, SCAN_TO_READ);
	sums = scan_balance(&scan);
	store_close(&entries);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	set_sums(&sums, 0, &values[POSTED], &values[HELD], &values[AVAILABLE], &values[ENTRIES]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

void
balance_find_account(Account *account, Store *accounts, const Key *name, Unsettled *rows)
{
	if (!store_find_key(accounts, name))
		refusal_raise(account_not_found(name));
	settle_note(rows, accounts->slot);
	store_let_go(accounts);
	account_from_slot(account, accounts->slot);
	refusal_raise(account_check_access(account));
}

int64
balance_find_time(Store *entries, int64 account, TimestampTz at)
{
	int64		low = 0;		/* no entry up to here is later */
	int64		high = PG_INT64_MAX;	/* all entries above here are later */

	while (low < high)
	{
		int64		middle = high == PG_INT64_MAX ? high : low + (high - low + 1) / 2;

		CHECK_FOR_INTERRUPTS();
		if (!store_find_entries(entries, account, 1, middle, BackwardScanDirection) ||
			DatumGetTimestampTz(store_get(entries, Anum_entry_created_at)) <= at)
			low = middle;
		else
			high = DatumGetInt64(store_get(entries, Anum_entry_seq)) - 1;
	}
	return low;
}

/*
 * Set the columns that say what entries add up to.  decimals: of the zeros, if there are
 * no entries.
 */
static void
set_sums(const Sums *sums, int decimals, Datum *posted, Datum *held, Datum *available,
		 Datum *entries)
{
	Numeric		zero = money_zero(sums->posted ? money_decimals(sums->posted) : decimals);

	*posted = NumericGetDatum(sums->posted ? sums->posted : zero);
	*held = NumericGetDatum(sums->held ? sums->held : zero);
	*available = NumericGetDatum(sums->posted ? sums_available(sums) : zero);
	*entries = Int64GetDatum(sums->entries);
}

/*
 * How many decimals a currency has; 0 if it is not known any more.
 */
static int
decimals_of(const text *currency)
{
	int			exponent = 0;

	(void) currency_exponent(currency, false, &exponent);
	return exponent;
}
