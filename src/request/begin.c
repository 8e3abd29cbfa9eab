/*-------------------------------------------------------------------------
 *
 * begin.c
 *		Beginning a request, or getting its answer.
 *
 * idem_begin(key, request, lease, takeover, scope)
 *
 * idem_execute() begins its requests here, too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "call.h"
#include "compat.h"
#include "errors.h"
#include "request/clock.h"
#include "request/fingerprint.h"
#include "request/request.h"
#include "stat/stat.h"

STAT_FUNCTION(idem_begin, STAT_BEGIN);

/* What the outcomes count as. */
static const StatCounter counters[] = {
	[BEGIN_NEW] = STAT_NEW,
	[BEGIN_RESUMED] = STAT_NEW,
	[BEGIN_COMPLETED] = STAT_REPLAYED,
	[BEGIN_FAILED] = STAT_REPLAYED,
	[BEGIN_UNKNOWN] = STAT_IN_FLIGHT,	/* nobody has ended it */
};

static void begin_unanswered(RequestClaim *rc, const BeginOptions *options,
							 BeginResult *result);
static bool resume(RequestClaim *rc, const BeginOptions *options,
				   BeginResult *result, TimestampTz lease_now, Request *next);
static void start(RequestClaim *rc, const BeginOptions *options, Request *next);
pg_noreturn static void raise_leased(RequestClaim *rc, int attempt,
									 TimestampTz until);
static Datum begin_row(FunctionCallInfo fcinfo, const BeginResult *result);

/*
 * idem_begin: begin a request, or get its answer.
 *
 * request: what is asked for, which is compared when the key comes again; may be
 * NULL.  lease: for how long the request is the caller's, beyond its transaction;
 * NULL is none.  takeover: whether a request is resumed whose lease has lapsed; not
 * NULL.
 *
 * Result: outcome, attempt, response, checkpoint, checkpoint_data.  The outcome is
 * "new"; "resumed", as another attempt; "completed" or "failed": it has its answer;
 * or "unknown": its lease has lapsed, and takeover is false.
 *
 * Errors: those of fingerprint_of_argument(), call_duration(), key_check() and
 * request_begin(); 22004 if takeover is NULL.
 */
static Datum
idem_begin_call(PG_FUNCTION_ARGS)
{
	BeginOptions options = {
		.fingerprint = fingerprint_of_argument(fcinfo, 1, "request"),
		.field = "request",
		.lease = ARG_IS_NULL(2) ? 0 : call_duration(PG_GETARG_INTERVAL_P(2), "lease"),
		.takeover = !ARG_IS_NULL(3) && PG_GETARG_BOOL(3),
	};
	Key			key;
	RequestClaim rc;
	BeginResult result;
	Datum		row;

	refusal_raise(key_check(ARG_TEXT(0), ARG_TEXT(4), &key));
	call_not_null(ARG_IS_NULL(3), "takeover");

	request_open(&rc, &key);
	request_begin(&rc, &options, &result, "idem_begin()");
	row = begin_row(fcinfo, &result);
	request_close(&rc);
	stat_note(counters[result.outcome], 1);

	return row;
}

void
request_begin(RequestClaim *rc, const BeginOptions *options, BeginResult *result,
			  const char *command)
{
	if (begun_find(rc->key))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("request has already begun in this transaction"),
				 errhint("Call idem_complete(), idem_fail() or idem_release() before you begin the request again.")));

	if (!claim_find(&rc->claim, command) && claim_take(&rc->claim, command))
	{
		begin_unanswered(rc, options, result);
		return;
	}

	result->found = request_last(rc, &result->row);
	refusal_raise(request_check_access(&result->row));
	refusal_raise(request_check_fingerprint(&result->row, options->fingerprint,
											options->field));
	result->attempt = DatumGetInt32(request_value(&result->row, attempt));
	result->outcome = request_is(&result->row, REQUEST_FAILED)
		? BEGIN_FAILED : BEGIN_COMPLETED;
}

/*
 * Begin a request that has no answer, or is new.  The key is ours, and its lock is
 * held.
 *
 * Errors: those of resume() and request_insert().
 */
static void
begin_unanswered(RequestClaim *rc, const BeginOptions *options, BeginResult *result)
{
	TimestampTz lease_now = GetCurrentTimestamp();
	Request		next;

	rc->expiry_now = request_expiry_now();
	result->found = request_found(rc, &result->row);
	if (!result->found)
		start(rc, options, &next);
	else if (!resume(rc, options, result, lease_now, &next))
		return;

	request_set(&next, attempt, request_next_number(request_value(&next, attempt)));
	result->attempt = DatumGetInt32(request_value(&next, attempt));
	result->outcome = result->found ? BEGIN_RESUMED : BEGIN_NEW;

	if (options->lease > 0)
	{
		request_date(&next, rc, REQUEST_STARTED);
		request_set(&next, lease_until, TimestampTzGetDatum(lease_now + options->lease));
		request_insert_leased(rc, &next);
		claim_release(&rc->claim);
	}
	else
	{
		request_set_null(&next, lease_until);
		begun_add(rc->key, &next, claim_keep_lock(&rc->claim));
	}
}

/*
 * Make the row that resumes the request found, into *next.  False: its lease has
 * lapsed, and it must not be resumed.  Then the key has been released.
 *
 * Errors: ID403 if the request belongs to another role; ID409 if another worker has
 * a lease; ID422 if the fingerprint is another one; those of request_follow() and
 * claim_give_up().
 */
static bool
resume(RequestClaim *rc, const BeginOptions *options, BeginResult *result,
	   TimestampTz lease_now, Request *next)
{
	Request    *row = &result->row;
	TimestampTz lease_until = request_is_null(row, lease_until)
		? 0 : DatumGetTimestampTz(request_value(row, lease_until));
	bool		has_lease = request_is(row, REQUEST_STARTED);

	refusal_raise(request_check_access(row));
	refusal_raise(request_check_fingerprint(row, options->fingerprint, options->field));
	result->attempt = DatumGetInt32(request_value(row, attempt));
	if (has_lease && lease_until > lease_now)
		raise_leased(rc, result->attempt, lease_until);
	if (has_lease && !options->takeover)
	{
		request_copy(row, row); /* the page is released, and may change */
		claim_give_up(&rc->claim);
		request_predicate_lock(rc);
		result->outcome = BEGIN_UNKNOWN;
		return false;
	}
	request_follow(next, row);
	return true;
}

/*
 * Make the first row of a request, into *next.  Its attempt is the one before the
 * first.  An expired request counts as absent, except that its numbers go on.
 */
static void
start(RequestClaim *rc, const BeginOptions *options, Request *next)
{
	Request		last;

	request_make(next, rc);
	if (options->fingerprint)
		request_set(next, fingerprint, PointerGetDatum(options->fingerprint));

	request_set(next, attempt, Int32GetDatum(0));
	if (request_last(rc, &last))
	{
		request_set(next, expires_at, request_value(&last, expires_at));
		request_set(next, seq, request_next_number(request_value(&last, seq)));
		request_set(next, attempt, request_value(&last, attempt));
	}
}

/*
 * Raise ID409: another attempt has a lease until this time.
 */
static void
raise_leased(RequestClaim *rc, int attempt, TimestampTz until)
{
	request_predicate_lock(rc);
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_IN_FLIGHT),
			 errmsg("request is in flight"),
			 errdetail("Attempt %d has a lease until %s.", attempt,
					   timestamptz_to_str(until)),
			 errhint("Retry later with the same key.")));
}

/*
 * The row that idem_begin() returns.
 */
static Datum
begin_row(FunctionCallInfo fcinfo, const BeginResult *result)
{
	static const char *const outcomes[] = {
		[BEGIN_NEW] = "new",
		[BEGIN_RESUMED] = "resumed",
		[BEGIN_COMPLETED] = "completed",
		[BEGIN_FAILED] = "failed",
		[BEGIN_UNKNOWN] = "unknown",
	};
	enum
	{
		OUTCOME, ATTEMPT, RESPONSE, CHECKPOINT, CHECKPOINT_DATA, N_COLUMNS
	};
	const Request *row = &result->row;
	Datum		values[N_COLUMNS];
	bool		nulls[N_COLUMNS] = {false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	values[OUTCOME] = CStringGetTextDatum(outcomes[result->outcome]);
	values[ATTEMPT] = Int32GetDatum(result->attempt);
	if (result->found)
	{
		values[RESPONSE] = request_value(row, response);
		nulls[RESPONSE] = request_is_null(row, response);
		values[CHECKPOINT] = request_value(row, checkpoint);
		nulls[CHECKPOINT] = request_is_null(row, checkpoint);
		values[CHECKPOINT_DATA] = request_value(row, checkpoint_data);
		nulls[CHECKPOINT_DATA] = request_is_null(row, checkpoint_data);
	}
	else
		nulls[RESPONSE] = nulls[CHECKPOINT] = nulls[CHECKPOINT_DATA] = true;
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
