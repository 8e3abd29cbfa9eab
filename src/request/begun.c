/*-------------------------------------------------------------------------
 *
 * begun.c
 *		The requests that the current transaction has begun without a lease.
 *
 * Such a request leaves nothing in a table until it ends.  The key's lock guards
 * its key, and what is known of it is here, for as long as the transaction lasts.
 * When a savepoint is rolled back, requests that were begun since are forgotten, and
 * those that were ended since are open again.
 *
 * The lock belongs to the (sub)transaction that began the request, not to the
 * statement.  When the request ends in that same (sub)transaction, its row guards
 * the key, and the lock is released.  So the number of locks does not grow with the
 * number of requests in a transaction.  If the request ends in a subtransaction of
 * that one, the lock is kept until the subtransaction has become part of it.  Until
 * then the subtransaction may be rolled back, and the row with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "claim/lock.h"
#include "compat.h"
#include "request/begun.h"

/* The requests, of type Begun.  The newest comes first. */
static dlist_head list = DLIST_STATIC_INIT(list);

static void drop(Begun *begun, bool in_parent);
static void forget(Begun *begun);
static void register_callbacks(void);
static void begun_at_end_of_transaction(XactEvent event, void *arg);
static void begun_at_end_of_subtransaction(SubXactEvent event, SubTransactionId mine,
										   SubTransactionId parent, void *arg);
static text *copy_text(const text *t);

void
begun_add(const Key *key, const Request *row, LOCKTAG lock)
{
	MemoryContext context = AllocSetContextCreate(TopTransactionContext, "idempotency begun",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	Begun	   *begun = palloc(sizeof(Begun));

	register_callbacks();
	begun->context = context;
	begun->key.key = copy_text(key->key);
	begun->key.scope = copy_text(key->scope);
	request_copy(&begun->row, row);
	begun->executing = false;
	begun->lock = lock;
	begun->begun_in = GetCurrentSubTransactionId();
	begun->ended_in = InvalidSubTransactionId;
	dlist_push_head(&list, &begun->node);
	MemoryContextSwitchTo(old_context);
}

Begun *
begun_find(const Key *key)
{
	dlist_iter	iter;

	dlist_foreach(iter, &list)
	{
		Begun	   *begun = dlist_container(Begun, node, iter.cur);

		if (begun->ended_in != InvalidSubTransactionId ||
			key_compare(&begun->key, key) != 0)
			continue;
		if (begun->executing)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("idempotency key is used inside its own work"),
					 errdetail("idem_execute() is running the command of this key.")));
		return begun;
	}
	return NULL;
}

void
begun_end(Begun *begun)
{
	begun->ended_in = GetCurrentSubTransactionId();
	if (begun->ended_in == begun->begun_in)
		drop(begun, false);
}

/*
 * Release the lock of a request that has ended where it was begun, and forget it.
 *
 * in_parent: it was begun in the parent of the subtransaction that is being
 * committed.
 */
static void
drop(Begun *begun, bool in_parent)
{
	lock_release_kept(&begun->lock, in_parent);
	forget(begun);
}

/*
 * Take a request off the list and free it.
 */
static void
forget(Begun *begun)
{
	dlist_delete(&begun->node);
	MemoryContextDelete(begun->context);
}

/*
 * Register the callbacks below, once in a session.
 */
static void
register_callbacks(void)
{
	static bool registered = false;

	if (registered)
		return;
	RegisterXactCallback(begun_at_end_of_transaction, NULL);
	RegisterSubXactCallback(begun_at_end_of_subtransaction, NULL);
	registered = true;
}

/*
 * Before a commit: refuse it if a request has not ended.  After the end of the
 * transaction: forget all requests.
 */
static void
begun_at_end_of_transaction(XactEvent event, void *arg)
{
	dlist_iter	iter;

	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE)
	{
		/* their memory is freed with the transaction */
		if (event != XACT_EVENT_PARALLEL_PRE_COMMIT)
			dlist_init(&list);
		return;
	}

	dlist_foreach(iter, &list)
	{
		Begun	   *begun = dlist_container(Begun, node, iter.cur);

		if (begun->ended_in == InvalidSubTransactionId)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
					 errmsg("request \"%s\" has not ended",
							text_to_cstring(begun->key.key)),
					 errdetail("A request without a lease must end in the transaction that begins it."),
					 errhint("Call idem_complete(), idem_fail() or idem_release() before the transaction ends, or begin the request with a lease.")));
	}
}

/*
 * What a subtransaction did becomes its parent's, or is undone.
 */
static void
begun_at_end_of_subtransaction(SubXactEvent event, SubTransactionId mine,
							   SubTransactionId parent, void *arg)
{
	dlist_mutable_iter iter;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;

	dlist_foreach_modify(iter, &list)
	{
		Begun	   *begun = dlist_container(Begun, node, iter.cur);

		if (event == SUBXACT_EVENT_COMMIT_SUB)
		{
			if (begun->begun_in == mine)
				begun->begun_in = parent;
			if (begun->ended_in == mine)
			{
				begun->ended_in = parent;
				if (begun->begun_in == parent)
					drop(begun, true);
			}
		}
		else if (begun->begun_in == mine)
			forget(begun);
		else if (begun->ended_in == mine)
			begun->ended_in = InvalidSubTransactionId;
	}
}

/*
 * A copy of a text, with a header of full length.
 */
static text *
copy_text(const text *t)
{
	return cstring_to_text_with_len(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}
