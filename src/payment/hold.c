/*-------------------------------------------------------------------------
 *
 * hold.c
 *		The list of holds, by which those that expire are found.
 *
 * idem_expire(max_holds)
 *
 * A hold that has run out cannot be captured any more, released or not (state.c).
 * But the payment's totals count it as held until an operation releases it.  The
 * list, idempotency.hold, has a row for each authorization.  idem_expire() goes
 * through the list in the order in which holds are due.  If something is left of a
 * hold, it stores the operation "expire".  Then it deletes the row.
 *
 * The list is a table of its own, and not an index on idempotency.operation.  An
 * index would cost every payment something; the list costs authorizations alone,
 * and is no longer than there are holds to watch.  A capture does not touch it.  If
 * nothing is left to release, the row is deleted when its time comes.
 *
 * A hold is due when it expires.  If it cannot be released then, it is put off:
 * its row is deleted, and inserted again with a later due_at.  So each sweep
 * gets further, however many holds are in its way.  A hold is put off
 *
 * - while somebody is at work on the payment, since a sweep waits for no
 *   transaction to end;
 * - if its release fails: a trigger refuses it, or somebody has changed the rows by
 *   hand;
 * - if the payment expires later than the list says: its newest operation counts.
 *
 * In the last case it is due at that later time.  In the others it is due again
 * after as long as it has been expired, at least a minute and at most a day.  So
 * one that fails for long is tried ever more rarely, and nothing has to be
 * remembered for that.
 *
 * Of two sweeps at the same time, the one that has deleted the row has the hold.
 * The other sees that, and goes on to the next row.  It does not wait, and does not
 * insert the row once more.  The row is deleted first, outside the subtransaction
 * in which the release may fail.
 *
 * The operation belongs to the payment's owner, whoever calls idem_expire().  Its
 * key is made from the authorization's.  That key needs no claim: only who has the
 * payment's lock uses it.
 *
 * All is tried in one subtransaction first, as a subtransaction costs more than the
 * release of a hold.  If that fails, each hold is tried in a subtransaction of its
 * own.
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
#include "claim/claim.h"
#include "payment/hold.h"
#include "key.h"
#include "money/money.h"
#include "payment/state.h"
#include "table/store.h"
#include "subtransaction.h"

PG_FUNCTION_INFO_V1(idem_expire);

#define COMMAND			"idem_expire()"

/* For how long a hold is put off. */
#define PUT_OFF_MIN		USECS_PER_MINUTE
#define PUT_OFF_MAX		USECS_PER_DAY

typedef enum HoldState
{
	HOLD_STUCK,					/* it cannot be released now */
	HOLD_EXPIRES_LATER,			/* than the list said */
	HOLD_DONE					/* it has been released, or nothing is left */
} HoldState;

/* A row of the list, and what has become of it. */
typedef struct Hold
{
	TimestampTz due_at;
	TimestampTz expires_at;
	pg_uuid_t	payment_id;
	text	   *scope;
	text	   *key;			/* the authorization's */
	HoldState	state;
} Hold;

typedef struct Sweep
{
	TimestampTz until;
	int			most;			/* how many to look at */
	bool		careful;		/* each in a subtransaction? */
	bool		started;		/* has there been one? */
	int			done;			/* how many have been looked at */
	int			failed;			/* how many of them could not be released */
	/* of the first of these: */
	pg_uuid_t	payment_id;
	int			sqlstate;
	char	   *message;
	MemoryContext context;		/* of the message */
} Sweep;

static void sweep(void *arg);
static void take_hold(Hold *hold, Store *holds);
static void deal_with(Sweep *s, Hold *hold);
static ErrorData *attempt(const Sweep *s, void (*work) (void *arg), Hold *hold);
static void note_failure(Sweep *s, const Hold *hold, const ErrorData *error);
static void tell_failures(const Sweep *s);
static void release_hold(void *arg);
static void put_off(void *arg);
static void insert_hold(const Hold *hold);

void
hold_add(const Operation *op)
{
	Hold		hold = {
		.due_at = DatumGetTimestampTz(operation_value(op, expires_at)),
		.expires_at = DatumGetTimestampTz(operation_value(op, expires_at)),
		.payment_id = *DatumGetUUIDP(operation_value(op, payment_id)),
		.scope = DatumGetTextPP(operation_value(op, scope)),
		.key = DatumGetTextPP(operation_value(op, key)),
	};

	insert_hold(&hold);
}

/*
 * idem_expire: release what authorizations that have expired still hold.
 *
 * max_holds: how many to look at, at most; NULL is 1000.
 *
 * Result: how many it has looked at: released, found with nothing left, or put
 * off.  A warning tells how many could not be released, and of the first why.
 *
 * Errors: 22023; 25006; 40001.
 */
Datum
idem_expire(PG_FUNCTION_ARGS)
{
	int			most = ARG_IS_NULL(0) ? 1000 : PG_GETARG_INT32(0);

	if (most <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_holds must be greater than zero")));
	PG_RETURN_INT32(hold_expire(most));
}

int
hold_expire(int most)
{
	Sweep		s = {
		.until = GetCurrentTimestamp(),
		.most = most,
		.context = CurrentMemoryContext,
	};
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
	if (s.failed > 0)
		tell_failures(&s);
	return s.done;
}

/*
 * Look at the holds that are due.  arg: the Sweep.
 */
static void
sweep(void *arg)
{
	Sweep	   *s = arg;
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "idempotency hold",
													  ALLOCSET_DEFAULT_SIZES);
	Store		holds;
	bool		found;

	/* as of now: the statement may have called us before */
	PushActiveSnapshot(GetTransactionSnapshot());
	store_open(&holds, TABLE_HOLD);
	store_prepare_write(&holds);
	for (found = store_find_expired(&holds, s->until, ForwardScanDirection);
		 found && s->done < s->most;
		 found = store_find_next(&holds))
	{
		MemoryContext old_context;
		Hold		hold;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(row_context);
		old_context = MemoryContextSwitchTo(row_context);
		s->started = true;
		take_hold(&hold, &holds);
		if (store_delete(&holds))	/* or another sweep has it */
		{
			store_pause(&holds);	/* what comes now may wait */
			deal_with(s, &hold);
			s->done++;
		}
		MemoryContextSwitchTo(old_context);
	}
	store_close(&holds);
	PopActiveSnapshot();
	MemoryContextDelete(row_context);
}

/*
 * Copy the row that has been found: it is about to be deleted.
 */
static void
take_hold(Hold *hold, Store *holds)
{
	hold->due_at = DatumGetTimestampTz(store_get(holds, Anum_hold_due_at));
	hold->expires_at = DatumGetTimestampTz(store_get(holds, Anum_hold_expires_at));
	hold->payment_id = *DatumGetUUIDP(store_get(holds, Anum_hold_payment_id));
	hold->scope = DatumGetTextPCopy(store_get(holds, Anum_hold_scope));
	hold->key = DatumGetTextPCopy(store_get(holds, Anum_hold_key));
	hold->state = HOLD_STUCK;
}

/*
 * Release a hold whose row has been deleted, or put it off.
 */
static void
deal_with(Sweep *s, Hold *hold)
{
	ErrorData  *error = attempt(s, release_hold, hold);

	if (error)
		note_failure(s, hold, error);
	if (hold->state == HOLD_DONE)
		return;

	error = attempt(s, put_off, hold);
	/* by hand it may have been listed twice */
	if (error && error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
		ReThrowError(error);
}

/*
 * Do the work.  A careful sweep does it in a subtransaction, and gets the error back.
 * An error that is not the hold's own is always raised.
 */
static ErrorData *
attempt(const Sweep *s, void (*work) (void *arg), Hold *hold)
{
	ErrorData  *error;

	if (!s->careful)
	{
		work(hold);
		return NULL;
	}
	error = subtransaction_try(work, hold);
	if (error && !subtransaction_own_error(error))
		ReThrowError(error);
	return error;
}

/*
 * Count a hold that could not be released, and keep the first error.
 */
static void
note_failure(Sweep *s, const Hold *hold, const ErrorData *error)
{
	if (s->failed++ > 0)
		return;
	s->payment_id = hold->payment_id;
	s->sqlstate = error->sqlerrcode;
	s->message = MemoryContextStrdup(s->context,
									 error->message ? error->message : "");
}

/*
 * One warning for all, so that their number does not fill the log.
 */
static void
tell_failures(const Sweep *s)
{
	const char *payment_id = DatumGetCString(DirectFunctionCall1(uuid_out,
																 UUIDPGetDatum(&s->payment_id)));

	ereport(WARNING,
			(errcode(s->sqlstate),
			 errmsg("could not release %d of %d holds that are due", s->failed, s->done),
			 errdetail("The first is of payment %s, and failed with SQLSTATE %s: %s",
					   payment_id, unpack_sql_state(s->sqlstate), s->message),
			 errhint("Each is tried again at the time in its column idempotency.hold.due_at.")));
}

/*
 * Release a hold, if it has run out and nobody is at work on the payment.
 */
static void
release_hold(void *arg)
{
	Hold	   *hold = arg;
	Key			authorization = {.scope = hold->scope, .key = hold->key};
	Key			own_key = key_with_prefix(KEY_EXPIRE_PREFIX, &authorization);
	OperationArgs args = {.kind = OPERATION_EXPIRE};
	HoldState	state = HOLD_STUCK;
	TimestampTz expires_at = hold->expires_at;
	Store		store;
	Claim		claim;

	store_open(&store, TABLE_OPERATION);
	claim_init(&claim, &store, &own_key);
	if (claim_idle_payment(&claim, hold->scope, &hold->payment_id, COMMAND))
	{
		state = HOLD_DONE;
		if (claim_has_payment(&claim))	/* or it was deleted by hand */
		{
			Operation	newest;
			Operation	op;

			operation_from_slot(&newest, claim_slot(&claim));
			operation_follow(&op, &newest, &own_key, &args);
			operation_of_owner(&op);
			if (state_apply(&op, &args) == NULL)
			{
				operation_assert_valid(&op, &newest);
				claim_insert(&claim, op.values, op.nulls);
			}
			else if (!money_is_zero(operation_capturable(&op)) &&
					 !operation_is_null(&op, expires_at))
			{
				state = HOLD_EXPIRES_LATER;
				expires_at = DatumGetTimestampTz(operation_value(&op, expires_at));
			}
		}
		claim_release(&claim);
	}
	store_close(&store);		/* which may yet fail, in a trigger */

	hold->state = state;
	hold->expires_at = expires_at;
}

/*
 * Put a hold on the list again.
 */
static void
put_off(void *arg)
{
	Hold	   *hold = arg;

	hold->due_at = hold->expires_at;
	if (hold->state == HOLD_STUCK)
	{
		TimestampTz now = GetCurrentTimestamp();
		TimestampTz since = Min(hold->expires_at, now - PUT_OFF_MIN);

		hold->due_at = now + (now - Max(since, now - PUT_OFF_MAX));
	}
	insert_hold(hold);
}

/*
 * Put a hold on the list.
 */
static void
insert_hold(const Hold *hold)
{
	Store		store;
	Datum		values[Natts_hold];
	bool		nulls[Natts_hold] = {false};

	values[Anum_hold_due_at - 1] = TimestampTzGetDatum(hold->due_at);
	values[Anum_hold_expires_at - 1] = TimestampTzGetDatum(hold->expires_at);
	values[Anum_hold_payment_id - 1] = UUIDPGetDatum(&hold->payment_id);
	values[Anum_hold_scope - 1] = PointerGetDatum(hold->scope);
	values[Anum_hold_key - 1] = PointerGetDatum(hold->key);

	store_open(&store, TABLE_HOLD);
	store_prepare_write(&store);
	store_insert(&store, values, nulls);
	store_close(&store);
}
