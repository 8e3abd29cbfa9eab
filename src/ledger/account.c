/*-------------------------------------------------------------------------
 *
 * account.c
 *		Accounts: finding one, and its lock.
 *
 * An account's limits, and whether it is closed, are read while its lock is held.
 * The lock is an advisory one, as those of keys are (claim/lock.c).  Two names may
 * have the same lock; then one waits for the other, no more.
 *
 * A change deletes the account's row and inserts another one, with the lock held to
 * the end of its transaction (account_change.c).  So whoever has the lock finds one
 * row, which is the last that was committed, or his own.  Without the lock he may find
 * none: a scan can come too early for the new row, and too late for the old one.  So
 * before we say that there is none, we look with the lock.
 *
 * Every decision depends on the account's limits, and on its being open.  So at
 * SERIALIZABLE, finding an account counts as reading its row.  So does opening it again.
 * Accounts are changed rarely, so this makes few transactions fail.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "access.h"
#include "bytes.h"
#include "errors.h"
#include "ledger/account.h"
#include "ledger/hint.h"
#include "pause.h"
#include "stat/stat.h"
#include "xactlock.h"

/* The class of these locks: see claim/lock.c. */
#define ACCOUNT_LOCK_CLASS	0x1D40

/* By the hash of an account's name and the table: where its row was found last. */
static HintTable places;

static uint64 hash_of(const Store *store, const Key *name);
static uint64 hint_of(const ItemPointerData *place);
static bool find_again(Account *account, Store *store, const Key *name, uint64 place);
static RowState probe(Store *store, const Key *name);
static void check_snapshot(RowState state);

void
account_from_slot(Account *account, TupleTableSlot *slot)
{
#define value(column)	slot->tts_values[Anum_account_##column - 1]
#define if_any(get, column) \
	(slot->tts_isnull[Anum_account_##column - 1] ? 0 : get(value(column)))

	slot_getallattrs(slot);
	account->id = DatumGetInt64(value(id));
	account->created_at = DatumGetTimestampTz(value(created_at));
	account->closed = DatumGetBool(value(closed));
	account->scope = DatumGetTextPP(value(scope));
	account->name = DatumGetTextPP(value(name));
	account->currency = DatumGetTextPP(value(currency));
	account->floor = if_any(DatumGetNumeric, floor);
	account->ceiling = if_any(DatumGetNumeric, ceiling);
	account->floor_from = if_any(DatumGetInt64, floor_from);
	account->ceiling_from = if_any(DatumGetInt64, ceiling_from);
	account->owner = DatumGetTextPP(value(owner));
	account->metadata = if_any(DatumGetJsonbP, metadata);
#undef value
#undef if_any
}

bool
account_find(Account *account, Store *store, const Key *name)
{
	uint64		hash = hash_of(store, name);
	LOCKTAG		lock;
	RowState	state;

	account_predicate_lock(store, name);
	if (!IsolationIsSerializable() &&
		find_again(account, store, name, hint_find(&places, hash)))
		return true;

	state = probe(store, name);
	store_let_go(store);
	if (state == ROW_ABSENT)
	{
		/* somebody may just be changing it */
		account_lock_tag(&lock, store, name);
		account_lock(&lock);
		state = probe(store, name);
		store_let_go(store);
		account_unlock(&lock);
	}
	if (state == ROW_ABSENT)
		return false;
	check_snapshot(state);
	account_from_slot(account, store->slot);
	hint_keep(&places, hash, hint_of(&store->slot->tts_tid));
	return true;
}

/*
 * The hash of an account's name and the table.
 */
static uint64
hash_of(const Store *store, const Key *name)
{
	return key_hash(name, RelationGetRelid(store->heap));
}

/*
 * Where a row is, as a hint.
 */
static uint64
hint_of(const ItemPointerData *place)
{
	return ((uint64) ItemPointerGetBlockNumber(place) << 16) | ItemPointerGetOffsetNumber(place);
}

/*
 * Find the account where it was found before.  False: it is not there, or may be changed.
 *
 * place: see hint_of(); 0: this is not known.
 */
static bool
find_again(Account *account, Store *store, const Key *name, uint64 place)
{
	ItemPointerData tid;
	RowState	state;

	if (place == 0)
		return false;
	ItemPointerSet(&tid, (BlockNumber) (place >> 16), (OffsetNumber) place);
	state = store_probe_place(store, &tid);
	store_let_go(store);
	if (state == ROW_ABSENT || state == ROW_IN_PROGRESS)
		return false;
	account_from_slot(account, store->slot);
	if (!bytes_equal(account->name, name->key) || !bytes_equal(account->scope, name->scope))
		return false;
	check_snapshot(state);
	return true;
}

/*
 * Find the account's row by the index.
 */
static RowState
probe(Store *store, const Key *name)
{
	RowState	state = store_probe_key(store, name);

	/* one that is being opened, or a change that is not committed */
	while (state == ROW_IN_PROGRESS && store_is_being_inserted(store))
	{
		PAUSE("account", 1);
		state = store_probe_before(store);
	}
	return state;
}

/*
 * Raise 40001 if the row that was found is newer than the transaction's snapshot.
 */
static void
check_snapshot(RowState state)
{
	if (state == ROW_CONCURRENT && IsolationUsesXactSnapshot())
		account_raise_changed();
}

void
account_predicate_lock(Store *store, const Key *name)
{
	if (!IsolationIsSerializable())
		return;
	(void) store_find_key(store, name);
	store_let_go(store);
}

Refusal *
account_check_access(const Account *account)
{
	if (access_allowed(account->owner))
		return NULL;
	return refusal_make(ERRCODE_IDEM_FORBIDDEN, "account belongs to another role",
						psprintf("You need the privileges of the role that opened account %s.",
								 account_text(account->name)),
						NULL);
}

Refusal *
account_not_found(const Key *name)
{
	return refusal_make(ERRCODE_IDEM_NOT_FOUND,
						psprintf("account %s does not exist", account_text(name->key)),
						psprintf("No account in scope \"%s\" has this name.",
								 text_to_cstring(name->scope)),
						"Use idem_account_open() to open it.");
}

char *
account_text(const text *name)
{
	return psprintf("\"%s\"", text_to_cstring(name));
}

void
account_raise_changed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent change of an account"),
			 errhint("The transaction might succeed if retried.")));
}

void
account_lock_tag(LOCKTAG *tag, const Store *store, const Key *name)
{
	uint64		hash = hash_of(store, name);

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
						 ACCOUNT_LOCK_CLASS);
}

bool
account_lock_if_free(const LOCKTAG *tag)
{
	return xactlock_try(tag, ExclusiveLock) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * The lock is held for some ten microseconds.  PostgreSQL hands a lock to the first in
 * its queue, who has to be woken up.  That takes longer than the lock is held, so the
 * queue of a busy account would never get empty.  So before we queue, we try.
 */
void
account_lock(const LOCKTAG *tag)
{
	if (account_lock_if_free(tag))
		return;
	stat_wait_begin(STAT_WAIT_ACCOUNT);
	xactlock_acquire(tag, ExclusiveLock, false);
	stat_wait_end();
}

void
account_unlock(const LOCKTAG *tag)
{
	xactlock_release(tag, ExclusiveLock);
}

void
account_to_row(const Account *account, Datum *values, bool *nulls)
{
#define set(column, value) values[Anum_account_##column - 1] = (value)
#define set_if_any(column, get_datum, value) \
	(nulls[Anum_account_##column - 1] = (value) == 0, set(column, get_datum(value)))

	memset(nulls, false, sizeof(bool) * Natts_account);
	set(id, Int64GetDatum(account->id));
	set(created_at, TimestampTzGetDatum(account->created_at));
	set(closed, BoolGetDatum(account->closed));
	set(scope, PointerGetDatum(account->scope));
	set(name, PointerGetDatum(account->name));
	set(currency, PointerGetDatum(account->currency));
	set_if_any(floor, NumericGetDatum, account->floor);
	set_if_any(ceiling, NumericGetDatum, account->ceiling);
	set_if_any(floor_from, Int64GetDatum, account->floor ? account->floor_from : 0);
	set_if_any(ceiling_from, Int64GetDatum, account->ceiling ? account->ceiling_from : 0);
	set(owner, PointerGetDatum(account->owner));
	set_if_any(metadata, JsonbPGetDatum, account->metadata);
#undef set
#undef set_if_any
}

Datum
account_result(FunctionCallInfo fcinfo, const Account *account)
{
	enum
	{
		NAME, CURRENCY, FLOOR, CEILING, CLOSED, METADATA, OWNER, CREATED_AT,
		N_COLUMNS
	};
	TupleDesc	desc;
	Datum		values[N_COLUMNS];
	bool		nulls[N_COLUMNS] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != N_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("type \"idem_account\" does not have the columns that the library expects"),
				 errhint("Run ALTER EXTENSION idempotency UPDATE.")));

	values[NAME] = PointerGetDatum(account->name);
	values[CURRENCY] = PointerGetDatum(account->currency);
	values[FLOOR] = NumericGetDatum(account->floor);
	nulls[FLOOR] = account->floor == NULL;
	values[CEILING] = NumericGetDatum(account->ceiling);
	nulls[CEILING] = account->ceiling == NULL;
	values[CLOSED] = BoolGetDatum(account->closed);
	values[METADATA] = JsonbPGetDatum(account->metadata);
	nulls[METADATA] = account->metadata == NULL;
	values[OWNER] = PointerGetDatum(account->owner);
	values[CREATED_AT] = TimestampTzGetDatum(account->created_at);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
