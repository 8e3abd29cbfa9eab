/*-------------------------------------------------------------------------
 *
 * scan.c
 *		Looking at an account: what its newest entries add up to.
 *
 * An account has no balance that is updated.  Each entry has one in its row: "base" is
 * the sum of the entries before it that had ended when it was inserted.  So nobody waits
 * for anybody to commit, and a balance is read from a few rows.
 *
 * What an entry stores, besides its change:
 *
 *		lag		base covers all seq <= seq - 1 - lag
 *		base	the sum of those of them that had ended: committed, or made by the
 *				same transaction
 *		open	for each (sub)transaction that had not ended and has entries there, the
 *				seq of its newest there
 *		cum		the sum over all entries of the same (sub)transaction in this account, up
 *				to this one
 *
 * An entry is "in progress" if it is another transaction's that is running or prepared,
 * and "ended" if it is committed, and its transaction not among the running ones any
 * more, or if it is our own.  Entries of transactions that were rolled back are not seen.
 *
 * The scan, to insert or decide.  The caller has the account's lock.
 *
 * 1.	Walk backward from the newest entry, with a dirty snapshot.  "top" is the seq of
 *		the first entry, whichever it is.  A (sub)transaction that was in progress when
 *		one of its entries was seen counts as in progress to the end of the scan,
 *		though it may end meanwhile.  Otherwise one of its entries would be counted in
 *		base, and another one neither there nor in "open".
 * 2.	The first entry that has ended gives "base", and the seq that it reaches to.  The
 *		walk goes on down to there.  The entries above are the "window".  If there is no
 *		such entry, base is zero and reaches to 0.
 * 3.	Look up each seq of "open".  If it is not found, its transaction was rolled back.
 *		If it has ended, its cum counts with base.  Otherwise it stays open.
 * 4.	For the next entry, base reaches to just below the oldest entry in progress that
 *		is less than SCAN_STRAGGLER behind top.  Those further behind go into "open".  So
 *		a transaction that does not end for long makes no window long.  If "open" would
 *		get longer than SCAN_MAX_OPEN, base reaches less far.
 *
 * To decide by a limit, four sums are needed.  "least" is what is there whatever becomes
 * of what is in progress: all that has ended, and of what is in progress what takes.
 * "most" is the same with what gives in place of what takes.  So each is a bound, and
 * a transaction in progress is between the two.
 *
 * At REPEATABLE READ and above, entries that have ended may be outside the snapshot.
 * What they took counts in "least", and what they gave in "most", as if they were in
 * progress.  So whoever takes relies on what he can see only.  Base must be of an entry
 * in the snapshot then, and not our own.  Our own may have counted, in its base, what is
 * outside.  To insert without a decision, any entry that has ended will do.
 *
 * To read, the snapshot says which entries there are, and all of them have ended.  The
 * same rules hold.  No lock is needed: what base counts had ended before its entry was
 * inserted, so whoever sees the entry sees all that.
 *
 * To follow an account is to read its entries and never to miss one.  So we ask for the
 * entries that the snapshot lacks, though they may come to be committed.  Base must be of
 * an entry in the snapshot, as to read.  Then the snapshot has all that base counts.  What
 * it lacks is in the window, or is in progress or newly ended in "open".
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"

#include "ledger/account.h"
#include "ledger/hint.h"
#include "ledger/scan.h"
#include "money/money.h"
#include "pause.h"

/* An entry in progress so far behind the newest is put into "open". */
#define SCAN_STRAGGLER	64

/* So many (sub)transactions in progress are looked up in a hash table. */
#define SCAN_SEEN_MANY	64

/* The most entries in "open". */
#define SCAN_MAX_OPEN	60

/* The most entries of others that are newer than the snapshot of who decides. */
#define SCAN_MAX_NEWER	10000

/* By the id of an account: the seq where its window began when we saw it last. */
static HintTable windows;

static bool walk(AccountScan *scan, Store *store, int64 from, int64 upto, ScanPurpose purpose, ArrayType **open);
static int64 find_window(int64 account, int64 upto);
static bool first_entry(AccountScan *scan, Store *store, int64 from, int64 upto, ScanPurpose purpose,
						RowState *state);
static bool next_entry(Store *store, ScanPurpose purpose, RowState *state);
static ScanEntry *note_entry(AccountScan *scan, Store *store, RowState state, ScanPurpose purpose);
static void set_entry(AccountScan *scan, ScanEntry *entry, Store *store, RowState state, ScanPurpose purpose);
static void add_to_many(AccountScan *scan);
static bool was_seen(const AccountScan *scan, TransactionId xid);
static bool entry_is_own(const ScanEntry *entry);
static bool gives_base(const ScanEntry *entry, RowState state, ScanPurpose purpose);
static ArrayType *read_base(AccountScan *scan, Store *store, int64 seq);
static void read_open(AccountScan *scan, Store *store, ArrayType *open, ScanPurpose purpose);
static void read_cum(Sums *cum, Store *store);
static Numeric get_numeric(Store *store, AttrNumber column);
static void add_ranges(AccountScan *scan, bool in_progress);
static void add_change(AccountScan *scan, const Sums *change, bool maybe);
static void add_to_range(ScanRange *range, Numeric change, bool maybe);

void
scan_account(AccountScan *scan, Store *store, int64 account, int64 upto, ScanPurpose purpose)
{
	ArrayType  *open = NULL;
	int64		from = find_window(account, upto);

	memset(scan, 0, sizeof(AccountScan));
	scan->account = account;

	/* steps 1 and 2 */
	if (!walk(scan, store, from, upto, purpose, &open) && from > 1)
		walk(scan, store, 1, from - 1, purpose, &open);
	if (upto == PG_INT64_MAX)
		hint_keep(&windows, account, scan->reach + 1);

	/* step 3 */
	PAUSE("open", 1);
	if (open)
		read_open(scan, store, open, purpose);
	store_let_go(store);

	if (purpose == SCAN_TO_DECIDE)
		add_ranges(scan, true);
}

AccountScan
scan_ended(const AccountScan *scan)
{
	AccountScan ended = *scan;

	memset(&ended.available, 0, sizeof(ScanRange));
	memset(&ended.posted, 0, sizeof(ScanRange));
	add_ranges(&ended, false);
	return ended;
}

Sums
scan_balance(const AccountScan *scan)
{
	Sums		sums = scan->base;

	for (int i = 0; i < scan->nopen; i++)
		if (!scan->open[i].in_progress)
			sums_add(&sums, &scan->open[i].change);
	for (int i = 0; i < scan->nwindow; i++)
		if (!scan->window[i].in_progress)
			sums_add(&sums, &scan->window[i].change);
	return sums;
}

int64
scan_oldest_missing(const AccountScan *scan)
{
	int64		oldest = 0;

	for (int i = 0; i < scan->nwindow + scan->nopen; i++)
	{
		const ScanEntry *entry = i < scan->nwindow ? &scan->window[i]
			: &scan->open[i - scan->nwindow];

		if ((entry->in_progress || entry->outside) && (oldest == 0 || entry->seq < oldest))
			oldest = entry->seq;
	}
	return oldest;
}

/*
 * Step 4.
 */
void
scan_next(const AccountScan *scan, TimestampTz now, ScanNext *next)
{
	TransactionId xids[SCAN_MAX_OPEN];
	int64		reach = scan->top;

	next->seq = scan->top + 1;
	next->created_at = Max(now, scan->newest);
	next->base = scan->base;
	next->open = palloc(sizeof(int64) * SCAN_MAX_OPEN);
	next->nopen = 0;

	for (int i = 0; i < scan->nopen; i++)
	{
		const ScanEntry *entry = &scan->open[i];

		if (!entry->in_progress)
			sums_add(&next->base, &entry->change);
		else
		{
			xids[next->nopen] = entry->xid;
			next->open[next->nopen++] = entry->seq;
		}
	}
	for (int i = scan->nwindow - 1; i >= 0; i--)
	{
		const ScanEntry *entry = &scan->window[i];
		int			n;

		if (!entry->in_progress)
			continue;
		for (n = 0; n < next->nopen && xids[n] != entry->xid; n++)
			;
		if (scan->top - entry->seq < SCAN_STRAGGLER || n == SCAN_MAX_OPEN)
		{
			reach = entry->seq - 1;
			break;
		}
		xids[n] = entry->xid;
		next->open[n] = entry->seq;
		next->nopen = Max(next->nopen, n + 1);
	}
	for (int i = scan->nwindow - 1; i >= 0 && scan->window[i].seq <= reach; i--)
		if (!scan->window[i].in_progress)
			sums_add(&next->base, &scan->window[i].change);
	next->lag = scan->top - reach;
}

/*
 * What has been inserted becomes part of the base for the next one, so that the window
 * stays short.
 */
void
scan_add(AccountScan *scan, const ScanNext *next, TransactionId xid, const Sums *change)
{
	int64		reach = next->seq - 1 - next->lag;
	int			kept = 0;
	ScanEntry  *open = palloc(sizeof(ScanEntry) * Max(next->nopen, 1));

	for (int i = 0; i < next->nopen; i++)
	{
		for (int j = 0; j < scan->nopen; j++)
			if (scan->open[j].seq == next->open[i])
				open[i] = scan->open[j];
		for (int j = 0; j < scan->nwindow; j++)
			if (scan->window[j].seq == next->open[i])
				open[i] = scan->window[j];
	}
	while (kept < scan->nwindow && scan->window[kept].seq > reach)
		kept++;
	if (kept + 1 > scan->window_room)
	{
		scan->window_room = kept + 8;
		scan->window = scan->window ? repalloc(scan->window, sizeof(ScanEntry) * scan->window_room)
			: palloc(sizeof(ScanEntry) * scan->window_room);
	}
	memmove(&scan->window[1], &scan->window[0], sizeof(ScanEntry) * kept);
	scan->window[0] = (ScanEntry) {.seq = next->seq, .xid = xid, .change = *change};
	scan->nwindow = kept + 1;
	scan->open = open;
	scan->nopen = next->nopen;
	scan->base = next->base;
	scan->reach = reach;
	scan->top = next->seq;
	scan->newest = next->created_at;

	add_change(scan, change, false);
}

TransactionId
scan_largest(const AccountScan *scan)
{
	TransactionId largest = InvalidTransactionId;
	Numeric		most = NULL;

	for (int i = 0; i < scan->nwindow + scan->nopen; i++)
	{
		const ScanEntry *entry = i < scan->nwindow ? &scan->window[i]
			: &scan->open[i - scan->nwindow];
		Numeric		size;

		if (!entry->in_progress)
			continue;
		size = sums_available(&entry->change);
		if (size)
			size = DatumGetNumeric(DirectFunctionCall1(numeric_abs, NumericGetDatum(size)));
		if (!TransactionIdIsValid(largest) ||
			(size && (most == NULL || money_compare(size, most) > 0)))
		{
			largest = entry->xid;
			most = size;
		}
	}
	return largest;
}

/*
 * A look-up leaves the lock on the page of the index that the next entry goes to.
 */
void
scan_predicate_lock(const AccountScan *scan, Store *store)
{
	if (!IsolationIsSerializable())
		return;
	(void) store_find_entries(store, scan->account, 1, PG_INT64_MAX, BackwardScanDirection);
	store_let_go(store);
}

/*
 * Walk backward from the newest entry up to "upto", and not below "from".  False: the
 * window goes on below, or there is no base yet.
 *
 * *open: set to the base's "open", if there is one.
 */
static bool
walk(AccountScan *scan, Store *store, int64 from, int64 upto, ScanPurpose purpose, ArrayType **open)
{
	RowState	state;
	int			newer = 0;

	for (bool found = first_entry(scan, store, from, upto, purpose, &state);
		 found;
		 found = next_entry(store, purpose, &state))
	{
		int64		seq = DatumGetInt64(store_get(store, Anum_entry_seq));
		ScanEntry  *entry;

		CHECK_FOR_INTERRUPTS();
		if (scan->has_base && seq <= scan->reach)
			break;
		if (scan->nwindow == 0)
		{
			scan->top = seq;
			scan->newest = DatumGetTimestampTz(store_get(store, Anum_entry_created_at));
		}
		entry = note_entry(scan, store, state, purpose);
		PAUSE("scan", scan->nwindow);
		if (!scan->has_base && gives_base(entry, state, purpose))
			*open = read_base(scan, store, seq);
		else if (!scan->has_base && purpose == SCAN_TO_DECIDE && IsolationUsesXactSnapshot() &&
				 !entry_is_own(entry) && ++newer > SCAN_MAX_NEWER)
			account_raise_changed();
		if (scan->has_base && seq <= scan->reach + 1)
			break;
	}
	return scan->has_base && from <= scan->reach + 1;
}

/*
 * Where the window of an account may begin.  1: this is not known, or is above "upto".
 *
 * A busy account has hundreds of entries on a page of the index, and a scan without a
 * lower end would look at each.  Its lock is held meanwhile.
 */
static int64
find_window(int64 account, int64 upto)
{
	int64		from = hint_find(&windows, account);

	return from > 1 && from <= upto ? from : 1;
}

/*
 * Find the newest entry in this range.  False: there is none.
 */
static bool
first_entry(AccountScan *scan, Store *store, int64 from, int64 upto, ScanPurpose purpose,
			RowState *state)
{
	if (purpose != SCAN_TO_READ)
	{
		*state = store_probe_entries(store, scan->account, from, upto);
		return *state != ROW_ABSENT;
	}
	*state = ROW_VISIBLE;
	return store_find_entries(store, scan->account, from, upto, BackwardScanDirection);
}

/*
 * Find the entry before.  False: there is none.
 */
static bool
next_entry(Store *store, ScanPurpose purpose, RowState *state)
{
	if (purpose == SCAN_TO_READ)
		return store_find_next(store);
	*state = store_probe_before(store);
	return *state != ROW_ABSENT;
}

/*
 * Add the entry that was found to the window.
 */
static ScanEntry *
note_entry(AccountScan *scan, Store *store, RowState state, ScanPurpose purpose)
{
	ScanEntry  *entry;

	if (scan->nwindow == scan->window_room)
	{
		scan->window_room = Max(8, 2 * scan->window_room);
		scan->window = scan->window ? repalloc(scan->window, sizeof(ScanEntry) * scan->window_room)
			: palloc(sizeof(ScanEntry) * scan->window_room);
	}
	entry = &scan->window[scan->nwindow++];
	set_entry(scan, entry, store, state, purpose);
	entry->change.posted = get_numeric(store, Anum_entry_amount);
	entry->change.held = get_numeric(store, Anum_entry_held);
	entry->change.entries = 1;
	return entry;
}

/*
 * Set which entry it is, and where its transaction stands: step 1.
 */
static void
set_entry(AccountScan *scan, ScanEntry *entry, Store *store, RowState state, ScanPurpose purpose)
{
	if (purpose == SCAN_TO_READ)
		settle_note(&scan->unsettled, store->slot);
	entry->seq = DatumGetInt64(store_get(store, Anum_entry_seq));
	entry->xid = store_get_writer(store);
	entry->in_progress = was_seen(scan, entry->xid) ||
		(state == ROW_IN_PROGRESS && store_is_being_inserted(store));
	if (purpose == SCAN_TO_FOLLOW)
		entry->outside = !entry->in_progress && state != ROW_VISIBLE;
	else
		entry->outside = !entry->in_progress && state == ROW_CONCURRENT &&
			IsolationUsesXactSnapshot();

	if (!entry->in_progress || was_seen(scan, entry->xid))
		return;
	if (scan->nseen == scan->seen_room)
	{
		scan->seen_room = Max(8, 2 * scan->seen_room);
		scan->seen = scan->seen ? repalloc(scan->seen, sizeof(TransactionId) * scan->seen_room)
			: palloc(sizeof(TransactionId) * scan->seen_room);
	}
	scan->seen[scan->nseen++] = entry->xid;
	if (scan->nseen >= SCAN_SEEN_MANY)
		add_to_many(scan);
}

/*
 * Keep the newest of many in a hash table.  The first time, all.
 */
static void
add_to_many(AccountScan *scan)
{
	int			from = scan->nseen - 1;

	if (scan->seen_many == NULL)
	{
		HASHCTL		info = {
			.keysize = sizeof(TransactionId),
			.entrysize = sizeof(TransactionId),
			.hcxt = CurrentMemoryContext,
		};

		scan->seen_many = hash_create("idempotency transactions in progress", 256, &info,
									  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		from = 0;
	}
	for (int i = from; i < scan->nseen; i++)
		(void) hash_search(scan->seen_many, &scan->seen[i], HASH_ENTER, NULL);
}

/*
 * Was a (sub)transaction in progress when one of its entries was seen?
 */
static bool
was_seen(const AccountScan *scan, TransactionId xid)
{
	if (scan->seen_many)
		return hash_search(scan->seen_many, &xid, HASH_FIND, NULL) != NULL;
	for (int i = 0; i < scan->nseen; i++)
		if (TransactionIdEquals(scan->seen[i], xid))
			return true;
	return false;
}

/*
 * May the base of this entry be used?
 */
static bool
gives_base(const ScanEntry *entry, RowState state, ScanPurpose purpose)
{
	if (entry->in_progress || (purpose == SCAN_TO_FOLLOW && state != ROW_VISIBLE))
		return false;
	if (purpose == SCAN_TO_INSERT || !IsolationUsesXactSnapshot())
		return true;
	return state == ROW_VISIBLE && !entry_is_own(entry);
}

/*
 * Is the entry our own?
 */
static bool
entry_is_own(const ScanEntry *entry)
{
	return TransactionIdIsCurrentTransactionId(entry->xid);
}

/*
 * Read the base of the entry that was found: step 2.  Returns its "open", or NULL.
 */
static ArrayType *
read_base(AccountScan *scan, Store *store, int64 seq)
{
	Datum		open;
	Datum		gaps;

	scan->has_base = true;
	scan->reach = seq - 1 - DatumGetInt32(store_get(store, Anum_entry_lag));
	scan->base.posted = get_numeric(store, Anum_entry_base);
	scan->base.held = get_numeric(store, Anum_entry_base_held);
	scan->base.entries = scan->reach;
	if (store_get_if_any(store, Anum_entry_gaps, &gaps))
		scan->base.entries -= DatumGetInt64(gaps);
	return store_get_if_any(store, Anum_entry_open, &open) ? DatumGetArrayTypePCopy(open) : NULL;
}

/*
 * Look up the entries that base covers but does not count: step 3.
 */
static void
read_open(AccountScan *scan, Store *store, ArrayType *open, ScanPurpose purpose)
{
	Datum	   *seqs;
	int			n;

	deconstruct_array(open, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &seqs, NULL, &n);
	scan->open = palloc(sizeof(ScanEntry) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		int64		seq = DatumGetInt64(seqs[i]);
		ScanEntry  *entry = &scan->open[scan->nopen];
		RowState	state;

		CHECK_FOR_INTERRUPTS();
		if (!first_entry(scan, store, seq, seq, purpose, &state))
			continue;			/* rolled back, or to a reader not there yet */
		set_entry(scan, entry, store, state, purpose);
		read_cum(&entry->change, store);
		scan->nopen++;
	}
}

/*
 * What the (sub)transaction of the entry that was found changed, up to that entry.
 */
static void
read_cum(Sums *cum, Store *store)
{
	Datum		n;

	cum->entries = store_get_if_any(store, Anum_entry_cum_entries, &n) ? DatumGetInt32(n) : 1;
	cum->posted = get_numeric(store, cum->entries > 1 ? Anum_entry_cum : Anum_entry_amount);
	cum->held = get_numeric(store, cum->entries > 1 ? Anum_entry_cum_held : Anum_entry_held);
}

/*
 * A copy of a number in the entry that was found.  NULL: it is NULL.
 */
static Numeric
get_numeric(Store *store, AttrNumber column)
{
	Datum		value;

	return store_get_if_any(store, column, &value) ? DatumGetNumericCopy(value) : NULL;
}

/*
 * Add up the sums that limits are compared with.  in_progress: with what is in progress.
 */
static void
add_ranges(AccountScan *scan, bool in_progress)
{
	add_change(scan, &scan->base, false);
	for (int i = 0; i < scan->nwindow + scan->nopen; i++)
	{
		const ScanEntry *entry = i < scan->nwindow ? &scan->window[i]
			: &scan->open[i - scan->nwindow];

		if (!entry->in_progress || in_progress)
			add_change(scan, &entry->change, entry->in_progress || entry->outside);
	}
}

/*
 * Add a change to the sums of what is available and of what is posted.  As long as
 * nothing is held, they are the same, and are added up once.
 */
static void
add_change(AccountScan *scan, const Sums *change, bool maybe)
{
	bool		same = (change->held == NULL || money_is_zero(change->held)) &&
		scan->available.least == scan->posted.least && scan->available.most == scan->posted.most;

	add_to_range(&scan->available, sums_available(change), maybe);
	if (same)
		scan->posted = scan->available;
	else
		add_to_range(&scan->posted, change->posted, maybe);
}

/*
 * Add a change to the least, the most or both.  maybe: it may or may not count.
 */
static void
add_to_range(ScanRange *range, Numeric change, bool maybe)
{
	bool		was_certain = range->least == range->most;
	int			sign = maybe && change ? money_compare(change, money_zero(0)) : 0;

	if (!maybe || sign < 0)
		range->least = sums_add_numeric(range->least, change);
	if (!maybe && was_certain)	/* the same number, need not be added again */
		range->most = range->least;
	else if (!maybe || sign > 0)
		range->most = sums_add_numeric(range->most, change);
}
