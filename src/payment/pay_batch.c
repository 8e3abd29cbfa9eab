/*-------------------------------------------------------------------------
 *
 * pay_batch.c
 *		Many payments in one call.
 *
 * idem_pay_batch(keys, amounts, currencies, refs, metadatas, scope, from_accounts,
 *			to_accounts, declines)
 *
 * Each item is answered as idem_pay() would answer it (batch.c).
 *
 * The items are processed in the order of their keys.  So the index is walked in
 * one direction.  And two transactions with one batch each cannot wait for each
 * other in a circle, as far as keys go.
 *
 * The keys are divided into portions of up to STORE_MANY, which limits the locks
 * held.  Before each portion, the items whose keys have an answer already get it,
 * without a lock.  For a portion, claim.c's protocol has these steps (see many.c in
 * claim, and in ledger):
 *
 * 1.	Lock all keys.
 * 2.	Probe each key.
 * 3.	Lock the accounts of the new ones, and decide these one after the other.
 * 4.	Insert the entries of those that are allowed.  Release the accounts.  If nearly all
 *		accounts are different, 3 and 4 are done for each item by itself, as by idem_pay().
 * 5.	Insert the operations.
 * 6.	Release all keys.
 *
 * If a probe finds a key in flight, the portion ends before it.  So it does before an
 * item that a limit allows or not, depending on transactions in progress.  What was
 * decided before is inserted, all locks are released, and then we wait.  The next
 * portion begins with that item.  If idempotency.in_flight is "fail", we do not wait for
 * a key: its items get ID409, and the portion goes on.
 *
 * Where an administrator put triggers, CHECKs, NOT NULLs or further indexes on a
 * table, a portion is inserted in a subtransaction.  If that fails, its items
 * are inserted one by one, each in a subtransaction of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "call.h"
#include "claim/claim.h"
#include "claim/many.h"
#include "ledger/many.h"
#include "payment/batch.h"
#include "payment/movement.h"
#include "payment/operation.h"
#include "payment/payment.h"
#include "settings.h"
#include "stat/stat.h"
#include "subtransaction.h"
#include "table/store.h"

STAT_FUNCTION(idem_pay_batch, STAT_PAY_BATCH);

#define COMMAND	"idem_pay_batch()"

/* What became of an item that is new. */
typedef enum ItemState
{
	ITEM_MADE,					/* its operation can be inserted */
	ITEM_FAILED,
	ITEM_LATER					/* not decided: the portion ends before it */
} ItemState;

/* A portion: some keys, and all items that have one of them. */
typedef struct Portion
{
	Batch	   *batch;
	Declines	declines;
	int			nkeys;
	const Key  *keys[STORE_MANY];
	int			begin[STORE_MANY + 1];	/* where the items of a key begin, in
										 * batch->sorted */
	int			nprobed;
	KeyState	states[STORE_MANY]; /* of the keys that have been probed */
	int			end;			/* the first item that is left to the next
								 * portion */
	ClaimMany	many;			/* the claim on the keys */
	Ledger	   *ledger;			/* the batch's, or one of the subtransaction */
	LedgerMany	accounts;		/* if some are named */
	int			nops;
	Operation	ops[STORE_MANY];	/* to be inserted */
	BatchItem  *item;			/* one that is paid alone */
	ItemState	item_state;		/* and what became of it */
} Portion;

static int	answer_known(Batch *batch, int from);
static int	answer_portion(Batch *batch, Declines declines, int from);
static void choose_keys(Portion *portion, int from);
static void answer_key(Portion *portion, int k);
static void pay_new_keys(Portion *portion);
static void pay_portion(Portion *portion);
static void lock_accounts(Portion *portion);
static bool make_key(Portion *portion, int k);
static bool pay_key(Portion *portion, int k);
static void insert_operations(Portion *portion);
static void pay_and_end(void *arg);
static void pay_item_and_end(void *arg);
static void begin_own_ledger(Portion *portion, Ledger *ledger);
static void end_own_ledger(Portion *portion, Ledger *ledger);
static int	end_of_key(Batch *batch, int from);
static ItemState make_item(Portion *portion, BatchItem *item, Operation *op);
static ItemState decline_item(Portion *portion, BatchItem *item, Operation *op, Refusal *refusal);
static bool has_accounts(const Portion *portion, const BatchItem *item);

/*
 * idem_pay_batch: pay many times.
 *
 * keys, amounts: not NULL, with one element for each item.  An item whose key or
 * amount is NULL fails.  currencies, refs, metadatas, from_accounts, to_accounts: NULL,
 * or with one element for each item.  A currency that is NULL means the setting
 * idempotency.currency.  scope: of all keys; NULL means the setting idempotency.scope.
 * declines: NULL means the setting idempotency.declines.
 *
 * Result: a row for each item, in the order given, with its outcome: new, replayed
 * or failed.  The row of an item that failed has the SQLSTATE, the message and the
 * DETAIL of the error.
 *
 * Errors: those of batch_read_pays(), setting_declines_of_call(), claim_find(),
 * claim_many_begin(), claim_many_probe(), claim_many_end(), ledger_many_post(),
 * ledger_wait() and settle(): 22023, 25000, 25006, 40001, 40P01, 55000, 55P03 and 57014;
 * 23505 if there is a row with one of the keys that the
 * claim has not seen; 0A000 where no set can be returned.
 */
static Datum
idem_pay_batch_call(PG_FUNCTION_ARGS)
{
	Declines	declines = setting_declines_of_call(ARG_TEXT(8));
	Batch		batch;

	batch_begin(&batch, fcinfo);
	batch_read_pays(&batch, fcinfo);

	store_open(&batch.store, TABLE_OPERATION);
	if (!ARG_IS_NULL(6))
		ledger_open(&batch.ledger);
	for (int i = 0; i < batch.nsorted;)
	{
		MemoryContext old_context = MemoryContextSwitchTo(batch.portion_context);

		i = answer_known(&batch, i);
		if (i < batch.nsorted)
			i = answer_portion(&batch, declines, i);
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
answer_portion(Batch *batch, Declines declines, int from)
{
	Portion    *portion = palloc(sizeof(Portion));

	portion->batch = batch;
	portion->declines = declines;
	choose_keys(portion, from);
	claim_many_begin(&portion->many, &batch->store, portion->nkeys, portion->keys,
					 &batch->unsettled, COMMAND);

	for (portion->nprobed = 0; portion->nprobed < portion->nkeys; portion->nprobed++)
	{
		int			k = portion->nprobed;

		CHECK_FOR_INTERRUPTS();
		portion->states[k] = claim_many_probe(&portion->many, k);
		if (portion->states[k] == KEY_WAIT)
			break;
		answer_key(portion, k);
	}
	portion->end = portion->begin[portion->nprobed];

	pay_new_keys(portion);
	if (ledger_must_wait(&batch->ledger))
	{
		claim_many_end(&portion->many, false);
		ledger_wait(&batch->ledger);
		ledger_begin(&batch->ledger);
	}
	else
		claim_many_end(&portion->many, true);
	return portion->end;
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
 * Answer the items of a key that has just been probed, unless the key is new.
 */
static void
answer_key(Portion *portion, int k)
{
	Batch	   *batch = portion->batch;
	Operation	op;

	if (portion->states[k] == KEY_NEW)
		return;
	if (portion->states[k] == KEY_ANSWERED)
		operation_from_slot(&op, claim_many_slot(&portion->many));
	for (int i = portion->begin[k]; i < portion->begin[k + 1]; i++)
	{
		if (portion->states[k] == KEY_IN_FLIGHT)
			batch_refuse(batch, batch->sorted[i], claim_in_flight());
		else
			batch_answer_item(batch, batch->sorted[i], &op);
	}
}

/*
 * Pay the items whose keys are new.
 *
 * If the tables are as the install script made them, we expect no error that concerns
 * one item only.
 */
static void
pay_new_keys(Portion *portion)
{
	Batch	   *batch = portion->batch;
	ErrorData  *error;

	portion->ledger = &batch->ledger;
	if (!batch_may_refuse(batch))
	{
		pay_portion(portion);
		return;
	}

	claim_many_let_go(&portion->many);	/* what may refuse rows may wait, too */
	batch_end_write(batch);		/* begun before a table was altered */
	error = subtransaction_try(pay_and_end, portion);
	if (error == NULL)
		return;
	store_forget_write(&batch->store);
	if (!subtransaction_own_error(error))
		ReThrowError(error);
	portion->end = portion->begin[portion->nprobed];
	for (int k = 0; k < portion->nprobed; k++)
	{
		if (portion->states[k] == KEY_NEW && !pay_key(portion, k))
			break;
	}
}

/*
 * Pay the items whose keys are new together.
 */
static void
pay_portion(Portion *portion)
{
	portion->nops = 0;
	portion->accounts.locked = false;
	if (portion->ledger->is_open)
		lock_accounts(portion);
	for (int k = 0; k < portion->nprobed; k++)
	{
		if (portion->states[k] == KEY_NEW && !make_key(portion, k))
			break;
	}
	if (portion->accounts.locked)
		ledger_many_insert(&portion->accounts);
	if (portion->nops > 0)
		insert_operations(portion);
}

/*
 * Lock the accounts of the items whose keys are new, if that pays: those of the first
 * item of each key, and as many others as there is room for.
 */
static void
lock_accounts(Portion *portion)
{
	Batch	   *batch = portion->batch;
	text	   *names[LEDGER_MANY_ACCOUNTS];
	text	   *scope = NULL;
	int			n = 0;

	for (int first = 1; first >= 0; first--)
	{
		for (int k = 0; k < portion->nprobed; k++)
		{
			int			begin = portion->begin[k];

			if (portion->states[k] != KEY_NEW)
				continue;
			for (int i = first ? begin : begin + 1; i < portion->begin[k + 1]; i++)
			{
				BatchItem  *item = batch->sorted[i];

				if (n + 2 > LEDGER_MANY_ACCOUNTS)
					break;
				scope = item->key.scope;
				if (item->args.from_account)
				{
					names[n++] = item->args.from_account;
					names[n++] = item->args.to_account;
				}
				if (first)
					break;
			}
		}
	}
	if (ledger_many_pays(names, n))
		ledger_many_begin(&portion->accounts, portion->ledger, scope, names, n);
}

/*
 * Make the operation of a new key: of the first of its items that is allowed.  Answer
 * the others from it.  False: the portion ends here.
 */
static bool
make_key(Portion *portion, int k)
{
	Batch	   *batch = portion->batch;
	Operation  *op = &portion->ops[portion->nops];
	bool		have_op = false;

	for (int i = portion->begin[k]; i < portion->begin[k + 1]; i++)
	{
		BatchItem  *item = batch->sorted[i];
		ItemState	state;

		if (have_op)
		{
			batch_answer_item(batch, item, op);
			continue;
		}
		state = make_item(portion, item, op);
		if (state == ITEM_LATER)
		{
			portion->end = i;
			return false;
		}
		have_op = state == ITEM_MADE;
	}
	portion->nops += have_op;
	return true;
}

/*
 * Pay the items of a new key, one by one.  An item that a trigger, a CHECK or an index
 * refuses is the only one that fails.  Then the next item of the key is tried.  False:
 * the portion ends here.
 */
static bool
pay_key(Portion *portion, int k)
{
	Batch	   *batch = portion->batch;
	Operation  *op = &portion->ops[0];
	bool		have_op = false;

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
		portion->item = item;
		error = subtransaction_try(pay_item_and_end, portion);
		if (error)
		{
			store_forget_write(&batch->store);
			batch_refuse_error(batch, item, error);
			continue;
		}
		if (portion->item_state == ITEM_LATER)
		{
			portion->end = i;
			return false;
		}
		have_op = portion->item_state == ITEM_MADE;
	}
	return true;
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
 * Pay a portion, and have the triggers fire.  For subtransaction_try().
 */
static void
pay_and_end(void *arg)
{
	Portion    *portion = arg;
	Ledger		ledger;

	begin_own_ledger(portion, &ledger);
	pay_portion(portion);
	end_own_ledger(portion, &ledger);
}

/*
 * Pay one item, and have the triggers fire.  For subtransaction_try().
 */
static void
pay_item_and_end(void *arg)
{
	Portion    *portion = arg;
	Ledger		ledger;

	begin_own_ledger(portion, &ledger);
	portion->accounts.locked = false;
	portion->item_state = make_item(portion, portion->item, &portion->ops[0]);
	if (portion->item_state == ITEM_MADE)
	{
		portion->nops = 1;
		insert_operations(portion);
	}
	end_own_ledger(portion, &ledger);
}

/*
 * Begin to use tables of accounts that are opened in the subtransaction.  If that fails,
 * they are closed with it.
 */
static void
begin_own_ledger(Portion *portion, Ledger *ledger)
{
	*ledger = (Ledger) {0};
	portion->ledger = ledger;
	if (portion->batch->ledger.is_open)
		ledger_open(ledger);
}

/*
 * End that, and have the triggers fire.
 */
static void
end_own_ledger(Portion *portion, Ledger *ledger)
{
	ledger_move_wait(&portion->batch->ledger, ledger);
	if (!ledger_must_wait(ledger))
		ledger_leave_turnstile(&portion->batch->ledger);
	portion->ledger = &portion->batch->ledger;
	ledger_close(ledger);
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
 * Make the operation of an item whose key is ours.  It is not inserted yet.
 */
static ItemState
make_item(Portion *portion, BatchItem *item, Operation *op)
{
	Batch	   *batch = portion->batch;
	OperationArgs args = item->args;
	Refusal    *refusal = payment_check(&args);

	if (refusal)
	{
		batch_refuse(batch, item, refusal);
		return ITEM_FAILED;
	}
	operation_start(op, &item->key, &args);
	if (args.from_account)
	{
		if (portion->accounts.locked && !has_accounts(portion, item))
			return ITEM_LATER;
		refusal = portion->accounts.locked ? movement_make_many(&portion->accounts, op)
			: movement_make(portion->ledger, op, NULL);
		if (refusal)
			return decline_item(portion, item, op, refusal);
		if (ledger_must_wait(portion->ledger))
			return ITEM_LATER;
	}
	item->outcome = OUTCOME_NEW;
	item->status = PAYMENT_SUCCEEDED;	/* all is captured at once */
	item->payment_id = *DatumGetUUIDP(operation_value(op, payment_id));
	return ITEM_MADE;
}

/*
 * An item that an account does not allow has failed.  Its operation may be stored, as a
 * declined one.
 */
static ItemState
decline_item(Portion *portion, BatchItem *item, Operation *op, Refusal *refusal)
{
	if (portion->declines == DECLINES_RAISE || !movement_may_be_declined(refusal))
	{
		batch_refuse(portion->batch, item, refusal);
		return ITEM_FAILED;
	}
	operation_decline(op, refusal);
	batch_refuse_for_ever(portion->batch, item, refusal, op);
	return ITEM_MADE;
}

/*
 * Are the accounts of an item locked?
 */
static bool
has_accounts(const Portion *portion, const BatchItem *item)
{
	return ledger_many_has(&portion->accounts, item->args.from_account) &&
		ledger_many_has(&portion->accounts, item->args.to_account);
}
