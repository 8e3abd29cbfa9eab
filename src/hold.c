/*-------------------------------------------------------------------------
 *
 * hold.c
 *		The list of holds, by which those that expire are found.
 *
 * idem_expire(max_holds)
 *
 * Nothing depends on it that a hold which has run out is released: it cannot be
 * captured any more all the same (state.c).  But as long as no operation says
 * so, the payment's total released does not, and what counts these totals goes
 * on counting the hold.  So idem_expire() goes through the list,
 * idempotency.hold, which has a row for each authorization, in the order in
 * which they expire; stores the operation "expire", if something is left of the
 * hold; and deletes the row.
 *
 * A table of its own, and not an index on idempotency.operation: that one would
 * cost every payment something, this costs authorizations alone, and it is as
 * long as there are holds to watch.  A capture does not touch it; a row of a
 * payment that has nothing left to release is deleted when its time comes.
 *
 * The operation is the payment owner's, whoever calls idem_expire(), and so is
 * its key, which is made from the authorization's.  That key needs no claim:
 * who has the payment is the only one who may use it.  Payments that somebody
 * is at work on, another sweep for instance, are left for the next time, so a
 * sweep never waits for a transaction to end.
 *
 * A hold that cannot be released, since somebody has meddled with its rows, or a
 * trigger will not have it, is told of, and left.  All is tried in one
 * subtransaction first, as one for each would cost more than what it does.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "call.h"
#include "claim.h"
#include "hold.h"
#include "key.h"
#include "money.h"
#include "state.h"
#include "storage.h"
#include "subtransaction.h"

PG_FUNCTION_INFO_V1(idem_expire);

#define COMMAND			"idem_expire()"

typedef struct Sweep
{
	Store		holds;
	TimestampTz until;
	int			most;			/* how many to deal with */
	bool		careful;		/* each in a subtransaction? */
	bool		started;		/* has there been one? */
	bool		released;		/* is there nothing left to do about this one? */
	int			done;			/* how many have been dealt with */
} Sweep;

static void sweep(void *arg);
static void deal_with(void *arg);
static bool release(text *scope, text *key, const pg_uuid_t *payment_id);

void
hold_add(const Operation *op)
{
	Store		store;
	Datum		values[Natts_hold];
	bool		nulls[Natts_hold] = {false};

	values[Anum_hold_expires_at - 1] = operation_get(op, expires_at);
	values[Anum_hold_payment_id - 1] = operation_get(op, payment_id);
	values[Anum_hold_scope - 1] = operation_get(op, scope);
	values[Anum_hold_key - 1] = operation_get(op, key);

	store_open(&store, TABLE_HOLD);
	store_prepare_write(&store);
	store_insert(&store, values, nulls);
	store_close(&store);
}

/*
 * idem_expire: release what authorizations that have expired still hold.
 *
 * max_holds: how many to deal with at most; NULL is 1000.
 *
 * Result: how many have been dealt with, whether they held something or not.
 *
 * Errors: 22023; 25006; 40001.
 */
Datum
idem_expire(PG_FUNCTION_ARGS)
{
	int			most = PG_ARGISNULL(0) ? 1000 : PG_GETARG_INT32(0);

	if (most <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_holds must be greater than zero")));
	PG_RETURN_INT32(hold_expire(most));
}

int
hold_expire(int most)
{
	Sweep		s = {.until = GetCurrentTimestamp(),.most = most};
	ErrorData  *error;

	PreventCommandIfReadOnly(COMMAND);
	PreventCommandDuringRecovery(COMMAND);

	error = subtransaction_try(sweep, &s);
	if (error == NULL)
		return s.done;
	if (!s.started || !subtransaction_own_error(error))
		ReThrowError(error);
	FreeErrorData(error);
	s.careful = true;
	s.done = 0;
	sweep(&s);
	return s.done;
}

static void
sweep(void *arg)
{
	Sweep	   *s = arg;
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "idempotency hold",
													  ALLOCSET_DEFAULT_SIZES);
	bool		found;

	/* as of now: the statement may have called us before */
	PushActiveSnapshot(GetTransactionSnapshot());
	store_open(&s->holds, TABLE_HOLD);
	store_prepare_write(&s->holds);
	for (found = store_find_expired(&s->holds, s->until, ForwardScanDirection);
		 found && s->done < s->most;
		 found = store_find_next(&s->holds))
	{
		MemoryContext old_context;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(row_context);
		old_context = MemoryContextSwitchTo(row_context);
		s->started = true;
		s->released = false;
		if (s->careful)
		{
			pg_uuid_t	payment_id = *DatumGetUUIDP(store_get(&s->holds, Anum_hold_payment_id));
			ErrorData  *error = subtransaction_try(deal_with, s);

			if (error && !subtransaction_own_error(error))
				ReThrowError(error);
			if (error)
				ereport(WARNING,
						(errcode(error->sqlerrcode),
						 errmsg("hold of payment %s cannot be released: %s",
								DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&payment_id))),
								error->message)));
		}
		else
			deal_with(s);
		/* not in the subtransaction: its triggers fire when the table is closed */
		if (s->released && store_delete(&s->holds))
			s->done++;
		MemoryContextSwitchTo(old_context);
	}
	store_close(&s->holds);
	PopActiveSnapshot();
	MemoryContextDelete(row_context);
}

/*
 * The hold that has been found.
 */
static void
deal_with(void *arg)
{
	Sweep	   *s = arg;

	s->released = release(DatumGetTextPP(store_get(&s->holds, Anum_hold_scope)),
						  DatumGetTextPP(store_get(&s->holds, Anum_hold_key)),
						  DatumGetUUIDP(store_get(&s->holds, Anum_hold_payment_id)));
}

/*
 * Release what is held for a payment.  key: the authorization's.  True: there is
 * nothing left to do about it.  False: it has not expired, or somebody is at
 * work on the payment.
 */
static bool
release(text *scope, text *key, const pg_uuid_t *payment_id)
{
	Key			authorization = {.scope = scope,.key = key};
	Key			own_key = key_with_prefix(KEY_EXPIRE_PREFIX, &authorization);
	OperationRequest request = {.operation = OPERATION_EXPIRE};
	Store		store;
	Claim		claim;
	bool		done = false;

	store_open(&store, TABLE_OPERATION);
	claim_init(&claim, &store, &own_key);
	if (claim_idle_payment(&claim, scope, payment_id, COMMAND))
	{
		done = true;
		if (claim.payment_state != ROW_ABSENT)	/* deleted by hand */
		{
			Operation	newest;
			Operation	op;

			operation_from_slot(&newest, store.slot);
			operation_follow(&op, &newest, &own_key, &request);
			operation_of_owner(&op);
			if (state_apply(&op, &request) == NULL)
				store_insert(&store, op.values, op.nulls);
			else
				done = money_is_zero(operation_capturable(&op));
		}
		claim_release(&claim);
	}
	store_close(&store);

	return done;
}
