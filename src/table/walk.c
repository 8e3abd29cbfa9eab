/*-------------------------------------------------------------------------
 *
 * walk.c
 *		Probing many keys in their order.
 *
 * Where keys come in the order of their index, one walk through its entries finds
 * them all.  position() goes to the entry of a key, and read_on() reads from there
 * to the next key.
 *
 * To read a page of entries costs twice as much as to look for one key.  So a walk
 * pays only if one page has the entries of several keys: if they lie close
 * together, or with nothing between them.  A round of keys that went down the index
 * twice calls store_probe_key() for each key that is left.  So do the next rounds,
 * except every eighth, which tries to walk again.
 *
 * The walk reads entries one by one: index_getnext_tid(), then
 * index_fetch_heap().  PostgreSQL 20 may not offer that to extensions any more.
 * store_probe_key() for each key would do the same, only slower.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"

#include "compat.h"
#include "table/store.h"
#include "table/store_internal.h"

/* After about this many entries, reading on costs as much as a new descent. */
#define PROBE_MAX_STEPS	32

/* Go to the first entry that is this key's or after it. */
static void position(Store *store, const Key *key);

/* Read on to this key's entry, and read its row.  False: there is none. */
static bool read_on(Store *store, const Key *key);

/* Go to the next entry. */
static void next_entry(Store *store);

/* Compare a key with the entry that the scan is at: <0, 0, >0. */
static int	compare_entry(Store *store, const Key *key);

RowState
store_probe_key_in_order(Store *store, const Key *key, bool first)
{
	MemoryContext old_context;
	RowState	state;

	Assert(store->table == TABLE_OPERATION);

	/* where walks do not pay, every eighth round tries one */
	if (first && (store->descents < 2 || ++store->rounds % 8 == 0))
		store->descents = 0;
	if (store->descents >= 2)
		return store_probe_key(store, key);

	old_context = MemoryContextSwitchTo(store->context);
	if (first || store->descents == 0)
		position(store, key);
	state = read_on(store, key) ? store_row_state(store) : ROW_ABSENT;
	MemoryContextSwitchTo(old_context);
	return state;
}

static void
position(Store *store, const Key *key)
{
	ScanKey		members = store->from;	/* read for as long as the scan goes
										 * on */
	ScanKeyData row;

	/* (key, scope) >= (...), as ExecIndexBuildScanKeys() makes it */
	store_key_scan_keys(members, key);
	for (int i = 0; i < 2; i++)
	{
		members[i].sk_flags = SK_ROW_MEMBER;
		members[i].sk_strategy = BTGreaterEqualStrategyNumber;
		fmgr_info(F_BTTEXTCMP, &members[i].sk_func);
	}
	members[1].sk_flags |= SK_ROW_END;
	memset(&row, 0, sizeof(row));
	row.sk_flags = SK_ROW_HEADER;
	row.sk_attno = members[0].sk_attno;
	row.sk_strategy = BTGreaterEqualStrategyNumber;
	row.sk_argument = PointerGetDatum(members);

	store->descents++;
	store_begin_probe(store, INDEX_OPERATION_KEY, 1);
	store->scan->xs_want_itup = true;
	index_rescan(store->scan, &row, 1, NULL, 0);
	next_entry(store);
}

static bool
read_on(Store *store, const Key *key)
{
	for (int steps = 0; store->entry;)
	{
		int			order = compare_entry(store, key);

		CHECK_FOR_INTERRUPTS();
		if (order < 0)
			return false;
		if (order == 0 && index_fetch_heap(store->scan, store->slot))
			return true;

		/*
		 * The key's own dead rows are read one by one: a descent would lead
		 * to the first of them again.
		 */
		if (order == 0 || steps++ < PROBE_MAX_STEPS)
			next_entry(store);
		else
		{
			position(store, key);
			steps = 0;
		}
	}
	return false;
}

static void
next_entry(Store *store)
{
	store->entry = index_getnext_tid(store->scan, ForwardScanDirection)
		? store->scan->xs_itup : NULL;
}

static int
compare_entry(Store *store, const Key *key)
{
	bool		isnull;
	TupleDesc	desc = store->scan->xs_itupdesc;
	Datum		values[2];
	Key			entry;
	int			order;

	for (int i = 0; i < 2; i++)
		values[i] = index_getattr(store->entry, i + 1, desc, &isnull);
	entry.key = DatumGetTextPP(values[0]);
	entry.scope = DatumGetTextPP(values[1]);
	order = key_compare(key, &entry);

	/* a long one, which was written by hand, has been decompressed */
	if (PointerGetDatum(entry.key) != values[0])
		pfree(entry.key);
	if (PointerGetDatum(entry.scope) != values[1])
		pfree(entry.scope);
	return order;
}
