/*-------------------------------------------------------------------------
 *
 * many.c
 *		Claiming many keys at a time.
 *
 * The protocol is that of claim.c, from its step 3 on, for a portion of keys at
 * once: lock all of them, probe them one after the other, and insert the rows of
 * those that are new.
 *
 * If idempotency.in_flight is "wait", a key that is in flight ends the claim of the
 * whole portion.  The caller has dealt with the keys before it.  All locks are
 * released, and then we wait.  If it is "fail", the caller refuses that key and goes
 * on.
 *
 * The keys are locked in the order of their locks.  They are probed and inserted in
 * the order of the keys.  So two such callers cannot wait in a circle, neither for
 * locks nor for each other's transactions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/rel.h"

#include "claim/claim.h"
#include "claim/lock.h"
#include "claim/many.h"
#include "settings.h"
#include "stat/session.h"
#include "stat/stat.h"

/* The lock of one of many keys. */
typedef struct LockedKey
{
	LOCKTAG		tag;
	int			number;			/* the key's, in ClaimMany.keys */
} LockedKey;

static void take_locks(ClaimMany *many);
static int	compare_locks(const void *a, const void *b);

void
claim_many_begin(ClaimMany *many, Store *store, int n, const Key **keys,
				 Unsettled *unsettled, const char *command)
{
	PreventCommandIfParallelMode(command);
	PreventCommandIfReadOnly(command);
	PreventCommandDuringRecovery(command);

	Assert(n <= STORE_MANY);
	many->store = store;
	many->unsettled = unsettled;
	many->nkeys = n;
	many->keys = keys;
	many->nlocks = 0;
	many->probed = false;
	many->wait = false;

	store_prepare_write(store);
	store_let_go(store);
	take_locks(many);
}

KeyState
claim_many_probe(ClaimMany *many, int i)
{
	RowState	state = store_probe_key_in_order(many->store, many->keys[i], !many->probed);

	Assert(!many->wait);
	many->probed = true;
	if (state == ROW_CONCURRENT && IsolationUsesXactSnapshot())
		claim_raise_not_in_snapshot();
	if (state == ROW_ABSENT && !many->in_flight[i])
		return KEY_NEW;
	if (state == ROW_ABSENT || state == ROW_IN_PROGRESS)
	{
		if (setting_in_flight == IN_FLIGHT_FAIL)
			return KEY_IN_FLIGHT;
		many->wait = true;
		many->wait_key = i;
		return KEY_WAIT;
	}
	settle_note(many->unsettled, many->store->slot);
	return KEY_ANSWERED;
}

TupleTableSlot *
claim_many_slot(const ClaimMany *many)
{
	return many->store->slot;
}

void
claim_many_insert(ClaimMany *many, int n, Datum **values, bool **nulls)
{
	Assert(many->nlocks > 0);
	store_insert_many(many->store, n, values, nulls);
}

void
claim_many_let_go(ClaimMany *many)
{
	store_let_go(many->store);
}

void
claim_many_end(ClaimMany *many, bool wait)
{
	while (many->nlocks > 0)
		lock_release_key(&many->tags[--many->nlocks]);
	if (wait && many->wait)
	{
		LOCKTAG		tag;

		lock_tag_of_key(&tag, RelationGetRelid(many->store->heap), many->keys[many->wait_key]);
		session_set_key(&tag, many->keys[many->wait_key]);
		stat_wait_begin(STAT_WAIT_KEY);
		store_wait(many->store);
		stat_wait_end();
	}
}

/*
 * Lock the keys.  If idempotency.in_flight is "fail", lock those that nobody else
 * has locked.
 */
static void
take_locks(ClaimMany *many)
{
	LockedKey	locks[STORE_MANY];
	Oid			table = RelationGetRelid(many->store->heap);

	for (int i = 0; i < many->nkeys; i++)
	{
		lock_tag_of_key(&locks[i].tag, table, many->keys[i]);
		locks[i].number = i;
	}
	qsort(locks, many->nkeys, sizeof(LockedKey), compare_locks);

	for (int i = 0; i < many->nkeys; i++)
	{
		int			number = locks[i].number;

		many->in_flight[number] = !lock_key(&locks[i].tag, many->keys[number],
											setting_in_flight == IN_FLIGHT_WAIT);
		if (!many->in_flight[number])
			many->tags[many->nlocks++] = locks[i].tag;
	}
}

/*
 * For qsort(): the order of LockedKeys.
 */
static int
compare_locks(const void *a, const void *b)
{
	return lock_tag_compare(&((const LockedKey *) a)->tag, &((const LockedKey *) b)->tag);
}
