/*-------------------------------------------------------------------------
 *
 * entry.c
 *		The row of an entry.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "utils/array.h"

#include "ledger/entry.h"
#include "ledger/own.h"
#include "money/money.h"

/* Set a column, by its name. */
#define set(row, column, value) \
	set_column(row, Anum_entry_##column, value)

static void set_column(EntryRow *row, AttrNumber column, Datum value);
static void set_numeric(EntryRow *row, AttrNumber column, Numeric value);
static void set_before(EntryRow *row, const ScanNext *next, Numeric zero);
static void set_cum(EntryRow *row, const Sums *before, const Sums *change);
static Numeric copy(Numeric number);

void
entry_make(EntryRow *row, ScanNext *next, const AccountScan *scan,
		   const EntryOperation *operation, const Sums *change)
{
	TransactionId xid = GetCurrentTransactionId();
	const Sums *before = own_find(scan->account, xid);
	Numeric		zero = money_zero(0);

	Assert(change->entries == 1);
	scan_next(scan, operation->created_at, next);

	memset(row->nulls, true, sizeof(row->nulls));
	set(row, account, Int64GetDatum(scan->account));
	set(row, seq, Int64GetDatum(next->seq));
	set(row, created_at, TimestampTzGetDatum(next->created_at));
	set(row, payment_id, UUIDPGetDatum(&operation->payment_id));
	set(row, operation, Int32GetDatum(operation->seq));
	set(row, amount, NumericGetDatum(change->posted ? change->posted : zero));
	set_numeric(row, Anum_entry_held, change->held);
	set_before(row, next, zero);
	if (before)
		set_cum(row, before, change);

	own_add(scan->account, xid, change);
}

/*
 * Set a column that is not null.
 */
static void
set_column(EntryRow *row, AttrNumber column, Datum value)
{
	row->values[column - 1] = value;
	row->nulls[column - 1] = false;
}

/*
 * Set a number that stays null if it is zero.
 */
static void
set_numeric(EntryRow *row, AttrNumber column, Numeric value)
{
	if (value && !money_stored_is_zero(NumericGetDatum(value)))
		set_column(row, column, NumericGetDatum(value));
}

/*
 * Set what is before the entry: lag, gaps, base and open.
 */
static void
set_before(EntryRow *row, const ScanNext *next, Numeric zero)
{
	int64		reach = next->seq - 1 - next->lag;

	set(row, lag, Int32GetDatum(next->lag));
	if (reach != next->base.entries)
		set(row, gaps, Int64GetDatum(reach - next->base.entries));
	set(row, base, NumericGetDatum(next->base.posted ? next->base.posted : zero));
	set_numeric(row, Anum_entry_base_held, next->base.held);
	if (next->nopen > 0)
	{
		Datum	   *seqs = palloc(sizeof(Datum) * next->nopen);

		for (int i = 0; i < next->nopen; i++)
			seqs[i] = Int64GetDatum(next->open[i]);
		set(row, open, PointerGetDatum(construct_array(seqs, next->nopen, INT8OID,
													   sizeof(int64), FLOAT8PASSBYVAL,
													   TYPALIGN_DOUBLE)));
	}
}

/*
 * Set the sums over the entries of the (sub)transaction.  They are copies: other entries
 * may be made before this one is inserted, and own_add() frees the sums before it.
 */
static void
set_cum(EntryRow *row, const Sums *before, const Sums *change)
{
	Sums		cum = {
		.posted = copy(before->posted),
		.held = copy(before->held),
		.entries = before->entries,
	};

	sums_add(&cum, change);
	set(row, cum_entries, Int32GetDatum(cum.entries));
	set(row, cum, NumericGetDatum(cum.posted ? cum.posted : money_zero(0)));
	set_numeric(row, Anum_entry_cum_held, cum.held);
}

/*
 * A copy of a number, which may be NULL.
 */
static Numeric
copy(Numeric number)
{
	return number ? DatumGetNumericCopy(NumericGetDatum(number)) : NULL;
}
