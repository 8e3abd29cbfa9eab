/*-------------------------------------------------------------------------
 *
 * statement.c
 *		The entries of an account, page by page.
 *
 * idem_statement(account, since, until, after, max, scope)
 *
 * Each entry is returned with the balance after it: the sum of the entries up to it, in
 * the order of their numbers.  The balance before the page is read as idem_balance()
 * reads it.
 *
 * Transactions do not commit in the order of these numbers.  A reader who keeps the last
 * number of a page, and goes on after it, must not miss an entry that commits later with
 * a smaller one.  So we look for the oldest entry that the snapshot lacks, and that may
 * still come to be seen: its transaction is in progress, or has committed since.  All
 * pages end before that entry, and what is before it is "settled".  Nothing can be
 * inserted there any more, as a new entry has a number above all others.
 *
 * To find that entry, we scan from the newest entry in the snapshot (scan.c).  If the
 * scan finds that some are missing, there may be older ones, which it has not come to.
 * So we scan again, from the newest entry in the snapshot that is before all of those.
 *
 * The times of an account's entries are in the order of their numbers.
 *
 * What is done with an operation is in its row.  It was written by the same transaction
 * as the entry.  So a probe finds it, which leaves no predicate lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "call.h"
#include "claim/settle.h"
#include "key.h"
#include "ledger/account.h"
#include "ledger/balance.h"
#include "ledger/scan.h"
#include "money/money.h"
#include "table/store.h"

PG_FUNCTION_INFO_V1(idem_statement);

/* the most entries of a page */
#define PAGE_MAX	1000

/* A page of entries. */
typedef struct StatementPage
{
	Key			name;
	int64		account;
	int64		after;			/* the entries after this one */
	TimestampTz since;			/* from this time on */
	TimestampTz until;			/* before this time */
	int64		settled;		/* and up to here */
	int			max;			/* so many at most */
	Sums		sums;			/* the balance after the last one */
	Store		entries;
	Store		operations;
	MemoryContext context;		/* of sums */
	MemoryContext row_context;	/* of one row */
	Unsettled	unsettled;		/* the account and the entries; and what the
								 * balance before them was read from: */
	Unsettled	before;
} StatementPage;

static void read_arguments(StatementPage *page, FunctionCallInfo fcinfo);
static void find_account(StatementPage *page);
static void find_start(StatementPage *page);
static void find_settled(StatementPage *page);
static int64 oldest_missing(StatementPage *page, int64 upto);
static void put_entries(StatementPage *page, ReturnSetInfo *rsinfo);
static bool put_entry(StatementPage *page, ReturnSetInfo *rsinfo);
static void read_change(StatementPage *page, Sums *change);
static void add_change(StatementPage *page, const Sums *change);

/*
 * idem_statement: the entries of an account, each with the balance after it.
 *
 * account: its name, not NULL.  since, until: NULL means no bound.  after: the seq to go
 * on after; NULL means from the start.  max: not NULL.  scope: NULL means the setting
 * idempotency.scope.
 *
 * Errors: 22004 if max is NULL; 22023 if it is not from 1 to PAGE_MAX; those of
 * key_check_account() and balance_find_account(); 57014 of settle(); 0A000 where no set
 * can be returned.
 */
Datum
idem_statement(PG_FUNCTION_ARGS)
{
	StatementPage page = {0};

	read_arguments(&page, fcinfo);
	find_account(&page);
	InitMaterializedSRF(fcinfo, 0);

	page.context = CurrentMemoryContext;
	page.row_context = AllocSetContextCreate(CurrentMemoryContext,
											 "idempotency statement",
											 ALLOCSET_DEFAULT_SIZES);
	store_open(&page.entries, TABLE_ENTRY);
	find_start(&page);
	find_settled(&page);
	if (page.after < page.settled)
		put_entries(&page, (ReturnSetInfo *) fcinfo->resultinfo);
	store_close(&page.entries);
	settle(&page.before);
	settle(&page.unsettled);
	MemoryContextDelete(page.row_context);

	return (Datum) 0;
}

/*
 * Read the arguments.
 */
static void
read_arguments(StatementPage *page, FunctionCallInfo fcinfo)
{
	refusal_raise(key_check_account(ARG_TEXT(0), ARG_TEXT(5), &page->name));
	page->since = ARG_IS_NULL(1) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(1);
	page->until = ARG_IS_NULL(2) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(2);
	page->after = ARG_IS_NULL(3) ? 0 : PG_GETARG_INT64(3);

	call_not_null(ARG_IS_NULL(4), "max");
	page->max = PG_GETARG_INT32(4);
	if (page->max < 1 || page->max > PAGE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max must be between 1 and %d", PAGE_MAX)));
}

/*
 * Find the account.
 */
static void
find_account(StatementPage *page)
{
	Store		accounts;
	Account		account;

	store_open(&accounts, TABLE_ACCOUNT);
	balance_find_account(&account, &accounts, &page->name, &page->unsettled);
	page->account = account.id;
	store_close(&accounts);
}

/*
 * Set "after" to the last entry before "since", if that is later.
 */
static void
find_start(StatementPage *page)
{
	if (!TIMESTAMP_IS_NOBEGIN(page->since))
		page->after = Max(page->after, balance_find_time(&page->entries, page->account,
														 page->since - 1));
}

/*
 * Set "settled" to the newest entry up to which the snapshot lacks none.  0: there is no
 * such entry.  If no page after "after" has an entry, it may be set to any seq that is
 * not above "after".
 */
static void
find_settled(StatementPage *page)
{
	int64		missing = 0;
	int64		upto = PG_INT64_MAX;

	do
	{
		CHECK_FOR_INTERRUPTS();
		page->settled = 0;
		if (!store_find_entries(&page->entries, page->account, 1, upto, BackwardScanDirection))
			break;
		page->settled = DatumGetInt64(store_get(&page->entries, Anum_entry_seq));
		if (page->settled <= page->after)
			break;
		missing = oldest_missing(page, page->settled);
		upto = missing - 1;
	} while (missing != 0);
}

/*
 * Scan from an entry in the snapshot.  Returns the oldest one found that the snapshot
 * lacks; 0: it lacks none up to there.
 */
static int64
oldest_missing(StatementPage *page, int64 upto)
{
	MemoryContext old_context = MemoryContextSwitchTo(page->row_context);
	AccountScan scan;
	int64		missing;

	scan_account(&scan, &page->entries, page->account, upto, SCAN_TO_FOLLOW);
	missing = scan_oldest_missing(&scan);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(page->row_context);
	return missing;
}

/*
 * Put the entries of the page into the result.
 */
static void
put_entries(StatementPage *page, ReturnSetInfo *rsinfo)
{
	AccountScan scan;
	int			n = 0;

	scan_account(&scan, &page->entries, page->account, page->after, SCAN_TO_READ);
	page->sums = scan_balance(&scan);
	page->before = scan.unsettled;

	store_open(&page->operations, TABLE_OPERATION);
	if (store_find_entries(&page->entries, page->account, page->after + 1, PG_INT64_MAX,
						   ForwardScanDirection))
	{
		bool		found;

		do
		{
			MemoryContext old_context = MemoryContextSwitchTo(page->row_context);

			CHECK_FOR_INTERRUPTS();
			found = put_entry(page, rsinfo);
			MemoryContextSwitchTo(old_context);
			MemoryContextReset(page->row_context);
		} while (found && ++n < page->max && store_find_next(&page->entries));
	}
	store_close(&page->operations);
}

/*
 * Put the entry that was found into the result.  False: the page ends before it.
 */
static bool
put_entry(StatementPage *page, ReturnSetInfo *rsinfo)
{
	enum
	{
		SEQ, CREATED_AT, PAYMENT_ID, OPERATION, KIND, KEY, REFERENCE,
		AMOUNT, HOLD, POSTED, HELD, AVAILABLE, SETTLED,
		N_COLUMNS
	};
	Store	   *entries = &page->entries;
	Store	   *operations = &page->operations;
	Datum		values[N_COLUMNS];
	bool		nulls[N_COLUMNS] = {false};
	Sums		change;

	values[SEQ] = store_get(entries, Anum_entry_seq);
	values[CREATED_AT] = store_get(entries, Anum_entry_created_at);
	if (DatumGetInt64(values[SEQ]) > page->settled ||
		DatumGetTimestampTz(values[CREATED_AT]) >= page->until)
		return false;
	settle_note(&page->unsettled, entries->slot);
	read_change(page, &change);
	add_change(page, &change);

	values[PAYMENT_ID] = store_get(entries, Anum_entry_payment_id);
	values[OPERATION] = store_get(entries, Anum_entry_operation);
	values[AMOUNT] = NumericGetDatum(change.posted);
	values[HOLD] = NumericGetDatum(change.held);
	values[POSTED] = NumericGetDatum(page->sums.posted);
	values[HELD] = NumericGetDatum(page->sums.held);
	values[AVAILABLE] = NumericGetDatum(sums_available(&page->sums));
	values[SETTLED] = Int64GetDatum(page->settled);

	/* somebody may have deleted it */
	nulls[KIND] = nulls[KEY] = nulls[REFERENCE] =
		store_probe_operation(operations, page->name.scope,
							  DatumGetUUIDP(values[PAYMENT_ID]),
							  DatumGetInt32(values[OPERATION])) == ROW_ABSENT;
	if (!nulls[KIND])
	{
		values[KIND] = store_get(operations, Anum_operation_kind);
		values[KEY] = store_get(operations, Anum_operation_key);
		nulls[REFERENCE] = !store_get_if_any(operations, Anum_operation_reference,
											 &values[REFERENCE]);
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	return true;
}

/*
 * Read what the entry that was found changes.  Neither number is NULL.
 */
static void
read_change(StatementPage *page, Sums *change)
{
	Datum		held;

	change->posted = DatumGetNumeric(store_get(&page->entries, Anum_entry_amount));
	change->held = store_get_if_any(&page->entries, Anum_entry_held, &held)
		? DatumGetNumeric(held) : money_zero(money_decimals(change->posted));
	change->entries = 1;
}

/*
 * Add a change to the balance, which outlives the row.
 */
static void
add_change(StatementPage *page, const Sums *change)
{
	Sums		old = page->sums;
	MemoryContext old_context;

	sums_add(&page->sums, change);
	old_context = MemoryContextSwitchTo(page->context);
	page->sums.posted = DatumGetNumericCopy(NumericGetDatum(page->sums.posted));
	page->sums.held = DatumGetNumericCopy(NumericGetDatum(page->sums.held));
	MemoryContextSwitchTo(old_context);
	if (old.posted)
		pfree(old.posted);
	if (old.held)
		pfree(old.held);
}
