/*-------------------------------------------------------------------------
 *
 * row.c
 *		The row of a request, and the tables that it is in.
 *
 * The state of a request is its newest row, by seq.  That row has all that is known
 * of the request.  Rows are never updated.  A request that is done in one
 * transaction has one row, for its end.  A request with a lease gets a row for its
 * beginning, for each checkpoint and renewal, for each time that it is taken over, and
 * for its end.
 *
 * A row with a lease is deleted when the next row of its request is inserted.  So the
 * index of leases has an entry for each request that has not ended, and hardly any
 * others: those that VACUUM has not removed yet.  Without that, idem_abandoned() would
 * have to pass by all requests of a day.  And a worker that renews its lease for hours
 * would leave a copy of its checkpoint each time.  Nothing depends on the deletion: the
 * newest row counts.  (Nor is it always done: one command may insert both rows.)
 *
 * The rows of a key may be in any of the three tables.  The clock decides which one
 * takes new rows.  So one table after the other has only rows that have expired, and
 * can be truncated (purge.c).  Whether a row has expired is decided by its own
 * expires_at.  An expired row counts as absent, except that the key's next row
 * continues its numbering.
 *
 * A row does not expire before older rows of its key.  Otherwise one of those would
 * be the newest again.
 *
 * The time comes from clock.c.  It is never before that of the last purge.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"

#include "access.h"
#include "bytes.h"
#include "compat.h"
#include "request/clock.h"
#include "request/row.h"
#include "settings.h"

static int	turn(TimestampTz now);
static bool request_answers(TupleTableSlot *slot, bool waited);
static void expire_not_before(Request *row, TimestampTz at);
static void request_from_slot(Request *row, TupleTableSlot *slot);
static void drop_leases(RequestClaim *rc);
static bool request_has_expired(const Request *row, TimestampTz now);

/* The names of RequestStatus, as they are in the table. */
static const char *const request_status_names[] = {
	[REQUEST_STARTED] = "started",
	[REQUEST_RELEASED] = "released",
	[REQUEST_COMPLETED] = "completed",
	[REQUEST_FAILED] = "failed",
};

void
request_open(RequestClaim *rc, const Key *key)
{
	ClaimTables tables = {
		.nstores = N_REQUEST_TABLES,
		.seq = Anum_request_seq,
		.is_answer = request_answers,
	};

	for (int i = 0; i < N_REQUEST_TABLES; i++)
		store_open(&rc->stores[i], catalog_request_tables[i]);

	/* the tables are locked, so no purge is truncating one */
	rc->expiry_now = request_expiry_now();
	tables.stores = rc->stores;
	rc->target = tables.target = &rc->stores[turn(rc->expiry_now)];
	rc->key = key;
	claim_init_tables(&rc->claim, &tables, key);
}

/*
 * Which table takes new rows at this time.  Before the year 2000, where a clock
 * without a battery starts, times are negative.
 */
static int
turn(TimestampTz now)
{
	int64		length = (int64) setting_retention * USECS_PER_SEC;
	int64		period = now >= 0 ? now / length : -1 - (-1 - now) / length;
	int64		remainder = period % N_REQUEST_TABLES;

	return remainder >= 0 ? remainder : remainder + N_REQUEST_TABLES;
}

void
request_close(RequestClaim *rc)
{
	for (int i = 0; i < N_REQUEST_TABLES; i++)
	{
		if (&rc->stores[i] != rc->target)
			store_close(&rc->stores[i]);
	}
	store_close(rc->target);	/* last, as its triggers may wait */
}

bool
request_found(RequestClaim *rc, Request *row)
{
	return request_last(rc, row) && !request_has_expired(row, rc->expiry_now);
}

bool
request_last(RequestClaim *rc, Request *row)
{
	if (!claim_has_row(&rc->claim))
		return false;
	request_from_slot(row, claim_slot(&rc->claim));
	return true;
}

bool
request_look_up(RequestClaim *rc, Request *row, TupleTableSlot **slot)
{
	bool		found = false;

	for (int i = 0; i < N_REQUEST_TABLES; i++)
	{
		Request		candidate;

		if (!store_find_key(&rc->stores[i], rc->key))
			continue;
		request_from_slot(&candidate, rc->stores[i].slot);
		if (found && DatumGetInt32(request_value(&candidate, seq)) <
			DatumGetInt32(request_value(row, seq)))
			continue;
		*row = candidate;
		*slot = rc->stores[i].slot;
		found = true;
	}
	return found && !request_has_expired(row, rc->expiry_now);
}

void
request_predicate_lock(RequestClaim *rc)
{
	Request		row;
	TupleTableSlot *slot;

	if (IsolationIsSerializable())
		(void) request_look_up(rc, &row, &slot);
}

void
request_make(Request *row, RequestClaim *rc)
{
	const Key  *key = rc->key;

	memset(row->nulls, true, sizeof(row->nulls));
	request_set(row, begun_at, TimestampTzGetDatum(rc->expiry_now));
	request_set(row, expires_at, TimestampTzGetDatum(DT_NOBEGIN));
	request_set(row, seq, Int32GetDatum(1));
	request_set(row, attempt, Int32GetDatum(1));
	request_set(row, scope, PointerGetDatum(key->scope));
	request_set(row, key, PointerGetDatum(key->key));
	request_set(row, role, PointerGetDatum(access_current_role()));
}

void
request_follow(Request *row, const Request *newest)
{
	*row = *newest;
	request_set(row, seq, request_next_number(request_value(newest, seq)));
}

void
request_check_size(size_t bytes, const char *what)
{
	size_t		limit = (size_t) setting_response_limit * 1024;

	if (bytes > limit)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s is too large", what),
				 errdetail("The size is %zu bytes, but \"idempotency.response_limit\" is %zu bytes.", bytes, limit),
				 errhint("Store large data in a table of your own, and say here where it is.")));
}

Datum
request_next_number(Datum number)
{
	if (DatumGetInt32(number) == PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("request has run out of numbers"),
				 errdetail("The rows and attempts of a request are numbered up to %d.", PG_INT32_MAX)));
	return Int32GetDatum(DatumGetInt32(number) + 1);
}

void
request_copy(Request *to, const Request *from)
{
	*to = *from;
	for (int i = 0; i < Natts_request; i++)
	{
		if (!from->nulls[i] && i >= Anum_request_scope - 1)
			to->values[i] = PointerGetDatum(PG_DETOAST_DATUM_COPY(from->values[i]));
	}
}

void
request_date(Request *row, RequestClaim *rc, RequestStatus status)
{
	request_set(row, created_at, TimestampTzGetDatum(rc->expiry_now));
	expire_not_before(row, rc->expiry_now + (int64) setting_retention * USECS_PER_SEC);
	request_set(row, status, CStringGetTextDatum(request_status_names[status]));
}

void
request_insert(RequestClaim *rc, Request *row)
{
	/* a lease may be longer than the retention */
	if (!request_is_null(row, lease_until))
		expire_not_before(row, DatumGetTimestampTz(request_value(row, lease_until)) +
						  (int64) setting_retention * USECS_PER_SEC);
	if (DatumGetInt32(request_value(row, seq)) > 1)
	{
		request_copy(row, row); /* its values may be those of a slot */
		drop_leases(rc);
	}
	store_insert(rc->target, row->values, row->nulls);
}

bool
request_is(const Request *row, RequestStatus status)
{
	return bytes_equal_cstring(DatumGetTextPP(request_value(row, status)),
							   request_status_names[status]);
}

Refusal *
request_check_access(const Request *row)
{
	return access_allowed(DatumGetTextPP(request_value(row, role)))
		? NULL : refusal_forbidden_key();
}

Refusal *
request_check_fingerprint(const Request *row, const bytea *asked,
						  const char *field)
{
	if (bytes_equal(request_is_null(row, fingerprint)
					? NULL : DatumGetByteaPP(request_value(row, fingerprint)), asked))
		return NULL;
	return refusal_log_name(refusal_different(field, NULL, NULL), "key",
							DatumGetTextPP(request_value(row, scope)),
							DatumGetTextPP(request_value(row, key)));
}

/*
 * For the claim: is the row in a slot an answer for good?  If we waited for the
 * transaction that stored it, it is, even if it has expired: the wait may have been
 * longer than the retention.
 */
static bool
request_answers(TupleTableSlot *slot, bool waited)
{
	Request		row;

	request_from_slot(&row, slot);
	return (request_is(&row, REQUEST_COMPLETED) || request_is(&row, REQUEST_FAILED)) &&
		(waited || !request_has_expired(&row, request_expiry_now()));
}

/*
 * Set expires_at to this time, unless it is later already.
 */
static void
expire_not_before(Request *row, TimestampTz at)
{
	if (DatumGetTimestampTz(request_value(row, expires_at)) < at)
		request_set(row, expires_at, TimestampTzGetDatum(at));
}

/*
 * The row in a slot.  Its values are those of the slot.
 */
static void
request_from_slot(Request *row, TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	memcpy(row->values, slot->tts_values, sizeof(row->values));
	memcpy(row->nulls, slot->tts_isnull, sizeof(row->nulls));
}

/*
 * Delete the rows of the key that have a lease: the next row is about to be inserted.
 * The key's lock is held, so nobody inserts another.
 */
static void
drop_leases(RequestClaim *rc)
{
	for (int i = 0; i < N_REQUEST_TABLES; i++)
	{
		Store	   *store = &rc->stores[i];
		RowState	state = store_probe_key(store, rc->key);
		Request		row;

		if (state == ROW_ABSENT)
			continue;
		store_let_go(store);	/* what follows may wait */
		request_from_slot(&row, store->slot);
		if (state == ROW_IN_PROGRESS || request_is_null(&row, lease_until) ||
			store_written_by_command(store))
			continue;
		store_prepare_write(store);
		(void) store_delete(store);
	}
}

/*
 * Has a row expired at this time?
 */
static bool
request_has_expired(const Request *row, TimestampTz expiry_now)
{
	return DatumGetTimestampTz(request_value(row, expires_at)) <= expiry_now;
}
