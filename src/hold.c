/*-------------------------------------------------------------------------
 *
 * hold.c
 *		The list of holds, by which those that expire are found.
 *
 * idempotency.expire_hold(scope, key, payment_id)
 *
 * Nothing depends on it that a hold which has run out is released: it cannot be
 * captured any more all the same (state.c).  But as long as no operation says
 * so, the payment's total released does not, and what counts these totals goes
 * on counting the hold.  So idem_expire(), in the install script, goes through
 * the list, idempotency.hold, which has a row for each authorization, in the
 * order in which they expire; expire_hold() stores what becomes of one; and its
 * row is deleted.
 *
 * A table of its own, and not an index on idempotency.operation: that one would
 * cost every payment something, this costs authorizations alone, and it is as
 * long as there are holds to watch.  A capture does not touch it; a row of a
 * payment that has nothing left to release is deleted when its time comes.
 *
 * The operation "expire" is the payment owner's, whoever calls idem_expire(),
 * and so is its key, which is made from the authorization's.  That key needs no
 * claim: who has the payment is the only one who may use it.  Payments that
 * somebody is at work on are left for the next time, so the sweep never waits
 * for a transaction to end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "call.h"
#include "claim.h"
#include "hold.h"
#include "key.h"
#include "state.h"
#include "storage.h"

PG_FUNCTION_INFO_V1(idem_expire_hold);

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
 * idempotency.expire_hold: release what an authorization that has expired still
 * holds.  key: the authorization's.  All as they are in idempotency.hold, and
 * not NULL.
 *
 * Result: true if there is nothing left to do about it; false if it has not
 * expired, or somebody is at work on the payment.
 *
 * Errors: those of claim_idle_payment().
 */
Datum
idem_expire_hold(PG_FUNCTION_ARGS)
{
	Key			key = {.scope = PG_GETARG_TEXT_PP(0),.key = PG_GETARG_TEXT_PP(1)};
	pg_uuid_t  *payment_id = PG_GETARG_UUID_P(2);
	Key			own_key = key_with_prefix(KEY_EXPIRE_PREFIX, &key);
	OperationRequest request = {.operation = OPERATION_EXPIRE};
	Store		store;
	Claim		claim;
	bool		done = false;

	store_open(&store, TABLE_OPERATION);
	claim_init(&claim, &store, &own_key);
	if (claim_idle_payment(&claim, key.scope, payment_id, "idem_expire()"))
	{
		done = true;
		if (claim.payment_state != ROW_ABSENT)	/* deleted by hand */
		{
			Operation	newest;
			Operation	op;

			operation_from_slot(&newest, store.slot);
			operation_follow(&op, &newest, &own_key, &request);
			operation_of_owner(&op);
			done = operation_has_expired(&op, DatumGetTimestampTz(operation_get(&op, created_at)));
			if (state_apply(&op, &request) == NULL)
				store_insert(&store, op.values, op.nulls);
		}
		claim_release(&claim);
	}
	store_close(&store);

	PG_RETURN_BOOL(done);
}
