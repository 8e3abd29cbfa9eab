/*-------------------------------------------------------------------------
 *
 * pay_batch.c
 *		Many payments in one call.
 *
 * idem_pay_batch(keys, amounts, currencies, refs, metadatas, scope)
 *
 * Each item is answered as idem_pay() would answer it (batch.c).
 *
 * The items are processed in the order of their keys.  So the index is walked in
 * one direction.  And two transactions with one batch each cannot wait for each
 * other in a circle.
 *
 * The keys are divided into portions of up to STORE_MANY, which limits the locks
 * held.  Before each portion, the items whose keys have an answer already get it,
 * without a lock.  For a portion, claim.c's protocol has these steps (see many.c):
 *
 * 1.	Lock all keys.
 * 2.	Probe each key.
 * 3.	Insert all new rows.
 * 4.	Release all keys.
 *
 * If a probe finds a key in flight, the portion ends before it.  The rows of the
 * keys before it are inserted, all locks are released, and then we wait.  The next
 * portion begins with that key.  If idempotency.in_flight is "fail", we do not wait:
 * its items get ID409, and the portion goes on.
 *
 * Where an administrator put triggers, CHECKs, NOT NULLs or further indexes on
 * the table, a portion is inserted in a subtransaction.  If that fails, its items
 * are inserted one by one, each in a subtransaction of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "claim/claim.h"
#include "claim/many.h"
#include "errors.h"
#include "payment/batch.h"
#include "payment/operation.h"
#include "payment/payment.h"
#include "subtransaction.h"
#include "table/store.h"

PG_FUNCTION_INFO_V1(idem_pay_batch);

#define COMMAND	"idem_pay_batch()"

/* A portion: some keys, and all items that have one of them. */
typedef struct Portion
{
	Batch	   *batch;
	int			nkeys;
	const Key  *keys[STORE_MANY];
	int			begin[STORE_MANY + 1];	/* where the items of a key begin, in
										 * batch->sorted */
	KeyState	states[STORE_MANY]; /* of the keys that have been probed */
	ClaimMany	many;			/* the claim on them */
	int			nops;
	Operation	ops[STORE_MANY];	/* to be inserted */
} Portion;

static int	answer_known(Batch *batch, int from);
static int	answer_portion(Batch *batch, int from);
static void choose_keys(Portion *portion, int from);
static void answer_key(Portion *portion, int k);
static void insert_portion(Portion *portion, int nkeys);
static void insert_key(Portion *portion, int k);
static void insert_operations(Portion *portion);
static void insert_and_end(void *arg);
static int	end_of_key(Batch *batch, int from);
static bool start_item(Batch *batch, BatchItem *item, Operation *op);

/*
 * idem_pay_batch: pay many times.
 *
 * keys, amounts: not NULL, with one element for each item.  An item whose key or
 * amount is NULL fails.  currencies, refs, metadatas: NULL, or with one element for
 * each item.  A currency that is NULL means the setting idempotency.currency.  scope:
 * of all keys; NULL means the setting idempotency.scope.
 *
 * Result: a row for each item, in the order given, with its outcome: new, replayed
 * or failed.  The row of an item that failed has the SQLSTATE, the message and the
 * DETAIL of the error.
 *
 * Errors: those of batch_read_pays(), claim_find(), claim_many_begin(),
 * claim_many_probe(), claim_many_end() and settle(): 25000, 25006, 40001, 40P01,
 * 55000, 55P03 and 57014; 23505 if there is a row with one of the keys that the
 * claim has not seen; 0A000 where no set can be returned.
 */
Datum
idem_pay_batch(PG_FUNCTION_ARGS)
{
	Batch		batch;

	batch_begin(&batch, fcinfo);
	batch_read_pays(&batch, fcinfo);

	store_open(&batch.store, TABLE_OPERATION);
	for (int i = 0; i < batch.nsorted;)
	{
		MemoryContext old_context = MemoryContextSwitchTo(batch.portion_context);

		i = answer_known(&batch, i);
		if (i < batch.nsorted)
			i = answer_portion(&batch, i);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(batch.portion_context);
	}
	batch_end(&batch, fcinfo);
	return (Datum) 0;
}

/*
 * Answer the items from this one on, without a lock, as long as their keys have an
 * answer already.  Returns the first item whose key has none.
 */
static int
answer_known(Batch *batch, int from)
{
	while (from < batch->nsorted)
	{
		BatchItem **group = &batch->sorted[from];
		int			end = end_of_key(batch, from);
		Claim		claim;
		Operation	op;

		CHECK_FOR_INTERRUPTS();
		claim_init(&claim, &batch->store, &group[0]->key);
		claim_defer_settling(&claim, &batch->unsettled);
		if (!claim_find(&claim, COMMAND))
			break;
		operation_from_slot(&op, claim_slot(&claim));
		for (; from < end; from++)
			batch_answer_item(batch, batch->sorted[from], &op);
		MemoryContextReset(batch->portion_context);
	}
	return from;
}

/*
 * Answer a portion of the items, from this one on, and pay those that are new.
 * Returns the first item that is left.
 */
static int
answer_portion(Batch *batch, int from)
{
	Portion    *portion = palloc(sizeof(Portion));
	int			k;

	portion->batch = batch;
	portion->nops = 0;
	choose_keys(portion, from);
	claim_many_begin(&portion->many, &batch->store, portion->nkeys, portion->keys,
					 &batch->unsettled, COMMAND);

	for (k = 0; k < portion->nkeys; k++)
	{
		CHECK_FOR_INTERRUPTS();
		portion->states[k] = claim_many_probe(&portion->many, k);
		if (portion->states[k] == KEY_WAIT)
			break;
		answer_key(portion, k);
	}

	if (portion->nops > 0)
		insert_portion(portion, k);
	claim_many_end(&portion->many);
	return portion->begin[k];
}

/*
 * Choose the keys of a portion: those of the items from this one on.
 */
static void
choose_keys(Portion *portion, int from)
{
	Batch	   *batch = portion->batch;
	int			n;

	portion->begin[0] = from;
	for (n = 0; n < STORE_MANY && portion->begin[n] < batch->nsorted; n++)
	{
		portion->keys[n] = &batch->sorted[portion->begin[n]]->key;
		portion->begin[n + 1] = end_of_key(batch, portion->begin[n]);
	}
	portion->nkeys = n;
}

/*
 * Answer the items of a key that has just been probed.  If the key is new, the first
 * of its items that is valid becomes one of the operations to be inserted.
 */
static void
answer_key(Portion *portion, int k)
{
	Batch	   *batch = portion->batch;
	Operation  *op = &portion->ops[portion->nops];
	bool		have_op = false;

	if (portion->states[k] == KEY_ANSWERED)
	{
		operation_from_slot(op, claim_many_slot(&portion->many));
		have_op = true;
	}
	for (int i = portion->begin[k]; i < portion->begin[k + 1]; i++)
	{
		BatchItem  *item = batch->sorted[i];

		if (portion->states[k] == KEY_IN_FLIGHT)
			batch_refuse(batch, item, claim_in_flight());
		else if (have_op)
			batch_answer_item(batch, item, op);
		else
			have_op = start_item(batch, item, op);
	}
	if (portion->states[k] == KEY_NEW && have_op)
		portion->nops++;
}

/*
 * Insert the operations of a portion.  nkeys: how many of its keys were answered.
 *
 * If the table is as the install script made it, we expect no error that concerns
 * one item only.
 */
static void
insert_portion(Portion *portion, int nkeys)
{
	Store	   *store = &portion->batch->store;
	ErrorData  *error;

	if (!store_may_refuse(store))
	{
		insert_operations(portion);
		return;
	}

	claim_many_let_go(&portion->many);	/* what may refuse rows may wait, too */
	store_end_write(store);		/* begun before the table was altered */
	error = subtransaction_try(insert_and_end, portion);
	if (error == NULL)
		return;
	store_forget_write(store);
	if (!subtransaction_own_error(error))
		ReThrowError(error);
	for (int k = 0; k < nkeys; k++)
		if (portion->states[k] == KEY_NEW)
			insert_key(portion, k);
}

/*
 * Answer the items of a new key again, one by one.  An item that a trigger, a
 * CHECK or an index refuses is the only one that fails.  Then the next item of the
 * key is tried.
 */
static void
insert_key(Portion *portion, int k)
{
	Batch	   *batch = portion->batch;
	Operation  *op = &portion->ops[0];
	bool		have_op = false;

	portion->nops = 1;
	for (int i = portion->begin[k]; i < portion->begin[k + 1]; i++)
	{
		BatchItem  *item = batch->sorted[i];
		ErrorData  *error;

		CHECK_FOR_INTERRUPTS();
		if (have_op)
		{
			batch_answer_item(batch, item, op);
			continue;
		}
		if (!start_item(batch, item, op))
			continue;
		error = subtransaction_try(insert_and_end, portion);
		if (error == NULL)
		{
			have_op = true;
			continue;
		}
		store_forget_write(&batch->store);
		batch_refuse_error(batch, item, error);
	}
}

/*
 * Insert the operations of a portion together.
 */
static void
insert_operations(Portion *portion)
{
	Datum	   *values[STORE_MANY];
	bool	   *nulls[STORE_MANY];

	for (int i = 0; i < portion->nops; i++)
	{
		values[i] = portion->ops[i].values;
		nulls[i] = portion->ops[i].nulls;
	}
	claim_many_insert(&portion->many, portion->nops, values, nulls);
}

/*
 * Insert the operations, and have the triggers fire.  For subtransaction_try().
 */
static void
insert_and_end(void *arg)
{
	Portion    *portion = arg;

	insert_operations(portion);
	store_end_write(&portion->batch->store);
}

/*
 * The first item after this one that has another key.
 */
static int
end_of_key(Batch *batch, int from)
{
	int			end = from + 1;

	while (end < batch->nsorted &&
		   key_compare(&batch->sorted[from]->key, &batch->sorted[end]->key) == 0)
		end++;
	return end;
}

/*
 * Make the operation of an item whose key is ours.  It is not inserted yet.  False:
 * the item failed.
 */
static bool
start_item(Batch *batch, BatchItem *item, Operation *op)
{
	OperationArgs args = item->args;
	Refusal    *refusal = payment_check(&args);

	if (refusal)
	{
		batch_refuse(batch, item, refusal);
		return false;
	}
	operation_start(op, &item->key, &args);
	item->outcome = OUTCOME_NEW;
	item->status = PAYMENT_SUCCEEDED;	/* all is captured at once */
	item->payment_id = *DatumGetUUIDP(operation_value(op, payment_id));
	return true;
}
