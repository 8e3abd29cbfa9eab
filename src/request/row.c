/*-------------------------------------------------------------------------
 *
 * row.c
 *		The row of a request, and the tables that it is in.
 *
 * A request is told by its rows, which are never updated: the newest one, by
 * seq, is its state, and has all that is known of it.  One that is done in one
 * transaction has just the row of its end; one with a lease has a row for its
 * beginning, each checkpoint, each taking over, and its end.
 *
 * The rows of a key may be in any of the three tables: the clock says which one
 * takes new rows, so that one after the other has nothing but rows that have
 * expired, and can be emptied at once (see idem_purge()).  Whether a row has
 * expired is decided by its own expires_at.  One that has is as if it were not
 * there, but that the key's next row is numbered after it.
 *
 * A row does not expire before those of its key that came before it: one of
 * them would be the newest again.
 *
 * The time comes from clock.c: it never lies before that of the last purge.
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
static bool answers(Store *store, TransactionId waited_for);
static void expire_not_before(Request *row, TimestampTz at);
static void from_slot(Request *row, Store *store);
static void set_text(Request *row, int column, const text *value);
static bool has_expired(const Request *row, TimestampTz now);

void
request_open(RequestClaim *rc, const Key *key)
{
	for (int i = 0; i < N_REQUEST_TABLES; i++)
		store_open(&rc->stores[i], TABLE_REQUEST + i);

	/* with the tables locked, no purge is under way */
	rc->now = request_now();

	claim_init(&rc->claim, rc->stores, key);
	rc->claim.nstores = N_REQUEST_TABLES;
	rc->claim.target = &rc->stores[turn(rc->now)];
	rc->claim.is_answer = answers;
}

/*
 * Which table takes new rows at a time.  Before the year 2000, where a clock
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
		if (&rc->stores[i] != rc->claim.target)
			store_close(&rc->stores[i]);
	}
	store_close(rc->claim.target);	/* its triggers may wait */
}

bool
request_found(RequestClaim *rc, Request *row)
{
	if (rc->claim.state == ROW_ABSENT)
		return false;
	from_slot(row, rc->claim.store);
	return !has_expired(row, rc->now);
}

bool
request_last(RequestClaim *rc, Request *row)
{
	if (rc->claim.state == ROW_ABSENT)
		return false;
	from_slot(row, rc->claim.store);
	return true;
}

bool
request_look_up(RequestClaim *rc, Request *row)
{
	bool		found = false;

	for (int i = 0; i < N_REQUEST_TABLES; i++)
	{
		Request		candidate;

		if (!store_find_key(&rc->stores[i], rc->claim.key))
			continue;
		from_slot(&candidate, &rc->stores[i]);
		if (found && DatumGetInt32(request_get(&candidate, seq)) <
			DatumGetInt32(request_get(row, seq)))
			continue;
		*row = candidate;
		rc->claim.store = &rc->stores[i];
		found = true;
	}
	return found && !has_expired(row, rc->now);
}

void
request_note_read(RequestClaim *rc)
{
	Request		row;

	if (IsolationIsSerializable())
		(void) request_look_up(rc, &row);
}

void
request_make(Request *row, const Key *key)
{
	memset(row->nulls, true, sizeof(row->nulls));
	request_set(row, expires_at, TimestampTzGetDatum(DT_NOBEGIN));
	request_set(row, seq, Int32GetDatum(1));
	request_set(row, attempt, Int32GetDatum(1));
	set_text(row, Anum_request_scope, key->scope);
	set_text(row, Anum_request_key, key->key);
	set_text(row, Anum_request_role, access_current_role());
}

void
request_follow(Request *row, const Request *newest)
{
	*row = *newest;
	request_set(row, seq, request_next_number(request_get(newest, seq)));
}

Datum
request_next_number(Datum number)
{
	if (DatumGetInt32(number) == PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("request has too many rows or attempts"),
				 errdetail("They are numbered up to %d.", PG_INT32_MAX)));
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
request_date(Request *row, RequestClaim *rc, const char *status)
{
	request_set(row, created_at, TimestampTzGetDatum(rc->now));
	expire_not_before(row, rc->now + (int64) setting_retention * USECS_PER_SEC);
	request_set(row, status, CStringGetTextDatum(status));
}

void
request_insert(RequestClaim *rc, Request *row)
{
	/* a lease that is longer than the retention outlives it */
	if (!request_is_null(row, lease_until))
		expire_not_before(row, DatumGetTimestampTz(request_get(row, lease_until)) +
						  (int64) setting_retention * USECS_PER_SEC);
	store_insert(rc->claim.target, row->values, row->nulls);
}

bool
request_is(const Request *row, const char *status)
{
	return bytes_equal_cstring(DatumGetTextPP(request_get(row, status)), status);
}

bool
request_is_answer(const Request *row)
{
	return request_is(row, REQUEST_COMPLETED) || request_is(row, REQUEST_FAILED);
}

Refusal *
request_check_access(const Request *row)
{
	return access_allowed(DatumGetTextPP(request_get(row, role)))
		? NULL : refusal_forbidden("idempotency key");
}

Refusal *
request_check_fingerprint(const Request *row, const bytea *asked)
{
	return bytes_equal(request_is_null(row, fingerprint)
					   ? NULL : DatumGetByteaPP(request_get(row, fingerprint)), asked)
		? NULL : refusal_different("request", NULL, NULL);
}

/*
 * For the claim: is the row in the store's slot an answer for good?  Whoever has
 * waited for the transaction that stored it gets it even if it has expired by
 * then, when that lasted longer than the retention.
 */
static bool
answers(Store *store, TransactionId waited_for)
{
	Request		row;

	from_slot(&row, store);
	if (!request_is_answer(&row))
		return false;
	if (TransactionIdIsValid(waited_for) &&
		TransactionIdEquals(waited_for, store_get_writer(store)))
		return true;
	return !has_expired(&row, request_now());
}

static void
expire_not_before(Request *row, TimestampTz at)
{
	if (DatumGetTimestampTz(request_get(row, expires_at)) < at)
		request_set(row, expires_at, TimestampTzGetDatum(at));
}

static void
from_slot(Request *row, Store *store)
{
	slot_getallattrs(store->slot);
	memcpy(row->values, store->slot->tts_values, sizeof(row->values));
	memcpy(row->nulls, store->slot->tts_isnull, sizeof(row->nulls));
}

static void
set_text(Request *row, int column, const text *value)
{
	row->values[column - 1] = PointerGetDatum(value);
	row->nulls[column - 1] = value == NULL;
}

static bool
has_expired(const Request *row, TimestampTz now)
{
	return DatumGetTimestampTz(request_get(row, expires_at)) <= now;
}
