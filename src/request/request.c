/*-------------------------------------------------------------------------
 *
 * request.c
 *		The functions of requests: an application's own work, done once.
 *
 * idem_begin(key, request, lease, takeover, scope)
 * idem_checkpoint(key, name, data, attempt, scope)
 * idem_complete(key, response, attempt, scope)
 * idem_fail(key, response, attempt, scope)
 * idem_release(key, attempt, scope)
 *
 * Without a lease, a request is begun and ended in one transaction.  The beginning
 * takes the claim and writes nothing.  The end writes the only row.  begun.c keeps
 * what is known in between.
 *
 * With a lease, the beginning is a row that is committed.  Whoever ends the request
 * names its attempt.  The number goes up each time that the request is resumed.  So a
 * worker that has lost its lease to another cannot end what the other one is doing.
 *
 * What a lease guards is outside the database.  So a crash must not undo the row
 * after the lease has been reported: COMMIT waits for the disk, whatever
 * synchronous_commit says.  Leases go by the clock (lease_now).  Expiry goes by
 * request_expiry_now(), which may stand still.
 *
 * At SERIALIZABLE, a call that acts on the state of a request and writes nothing
 * leaves predicate locks, as others may change that state.  Such calls report that
 * an outcome is unknown, release a request without a lease, or raise ID404, ID409 or
 * ID412 by the state: the caller may roll back to a savepoint and go on.  A request
 * that is completed after it was found free needs none, as it conflicts by the claim.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "bytes.h"
#include "call.h"
#include "compat.h"
#include "errors.h"
#include "json_arg.h"
#include "request/begun.h"
#include "request/clock.h"
#include "request/fingerprint.h"
#include "request/request.h"
#include "request/row.h"

PG_FUNCTION_INFO_V1(idem_begin);
PG_FUNCTION_INFO_V1(idem_checkpoint);
PG_FUNCTION_INFO_V1(idem_complete);
PG_FUNCTION_INFO_V1(idem_fail);
PG_FUNCTION_INFO_V1(idem_release);

static void begin_unanswered(RequestClaim *rc, const BeginOptions *options,
							 BeginResult *result);
static bool resume(RequestClaim *rc, const BeginOptions *options,
				   BeginResult *result, TimestampTz lease_now, Request *next);
static void start(RequestClaim *rc, const BeginOptions *options, Request *next);
pg_noreturn static void raise_leased(RequestClaim *rc, int attempt,
									 TimestampTz until);
static void insert_leased(RequestClaim *rc, Request *row);
static Datum begin_row(FunctionCallInfo fcinfo, const BeginResult *result);
static void end_call(FunctionCallInfo fcinfo, RequestStatus status,
					 const char *command);
static void end_leased(RequestClaim *rc, RequestStatus status, text *response,
					   int attempt, const char *command);
static bool take_started(RequestClaim *rc, int attempt, Request *row,
						 const char *command);
static bool is_same_end(const Request *row, RequestStatus status, text *response);
pg_noreturn static void raise_ended(RequestClaim *rc, const Request *row,
									bool same_status);
static void check_begun(RequestClaim *rc, const Begun *begun, int attempt);
static void check_attempt(RequestClaim *rc, int given, int current);
pg_noreturn static void raise_no_request(RequestClaim *rc);

/*
 * idem_begin: begin a request, or get its answer.
 *
 * request: what is asked for, which is compared when the key comes again; may be
 * NULL.  lease: for how long the request is the caller's, beyond its transaction;
 * NULL is none.  takeover: whether a request is resumed whose lease has lapsed; NULL
 * is true.
 *
 * Result: outcome, attempt, response, checkpoint, checkpoint_data.  The outcome is
 * "new"; "resumed", as another attempt; "completed" or "failed": it has its answer;
 * or "unknown": its lease has lapsed, and takeover is false.
 *
 * Errors: those of fingerprint_of_argument(), call_duration(), key_check() and
 * request_begin().
 */
Datum
idem_begin(PG_FUNCTION_ARGS)
{
	BeginOptions options = {
		.fingerprint = fingerprint_of_argument(fcinfo, 1, "request"),
		.field = "request",
		.lease = ARG_IS_NULL(2) ? 0 : call_duration(PG_GETARG_INTERVAL_P(2), "lease"),
		.takeover = ARG_IS_NULL(3) ? true : PG_GETARG_BOOL(3),
	};
	Key			key;
	RequestClaim rc;
	BeginResult result;
	Datum		row;

	refusal_raise(key_check(ARG_TEXT(0), ARG_TEXT(4), &key));

	request_open(&rc, &key);
	request_begin(&rc, &options, &result, "idem_begin()");
	row = begin_row(fcinfo, &result);
	request_close(&rc);

	return row;
}

/*
 * idem_checkpoint: note how far the work has come, for whoever takes it over.
 *
 * name: not NULL.  data: may be NULL.  attempt: which one the caller is.
 *
 * Errors: those of key_check(), begun_find(), take_started() and request_insert();
 * 22004 if name is NULL; 55000 if the request has no lease; ID412 if it has ended.
 */
Datum
idem_checkpoint(PG_FUNCTION_ARGS)
{
	text	   *name = ARG_TEXT(1);
	text	   *data = json_arg_text(fcinfo, 2, "data");
	Key			key;
	RequestClaim rc;
	Request		started;
	Request		row;

	refusal_raise(key_check(ARG_TEXT(0), ARG_TEXT(4), &key));
	call_not_null(name == NULL, "name");
	if (begun_find(&key))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("request has no lease"),
				 errdetail("A checkpoint is for work that outlasts a transaction. Such work needs a lease.")));

	request_open(&rc, &key);
	if (!take_started(&rc, ARG_IS_NULL(3) ? 0 : PG_GETARG_INT32(3), &started,
					  "idem_checkpoint()"))
		raise_ended(&rc, &started, false);
	request_follow(&row, &started);
	request_date(&row, &rc, REQUEST_STARTED);
	request_set(&row, checkpoint, PointerGetDatum(name));
	request_set_json(&row, Anum_request_checkpoint_data, data);
	insert_leased(&rc, &row);
	claim_release(&rc.claim);
	request_close(&rc);

	PG_RETURN_VOID();
}

/*
 * idem_complete: end a request with a response, which is its answer from now on.
 *
 * response: may be NULL.  attempt: which one the caller is; NULL if the request has
 * no lease.
 *
 * Errors: those of end_call().
 */
Datum
idem_complete(PG_FUNCTION_ARGS)
{
	end_call(fcinfo, REQUEST_COMPLETED, "idem_complete()");
	PG_RETURN_VOID();
}

/*
 * idem_fail: end a request with a failure that is final.  It is its answer from now
 * on.
 *
 * Arguments and errors: those of idem_complete.
 */
Datum
idem_fail(PG_FUNCTION_ARGS)
{
	end_call(fcinfo, REQUEST_FAILED, "idem_fail()");
	PG_RETURN_VOID();
}

/*
 * idem_release: give a request up.  A retry may start at once.
 *
 * attempt: which one the caller is; NULL if the request has no lease.
 *
 * Errors: those of key_check(), begun_find(), check_begun(), take_started(),
 * request_insert() and settle(); ID412 if the request has ended.
 */
Datum
idem_release(PG_FUNCTION_ARGS)
{
	int			attempt = ARG_IS_NULL(1) ? 0 : PG_GETARG_INT32(1);
	Key			key;
	Begun	   *begun;
	RequestClaim rc;
	Unsettled	rows = {0};

	refusal_raise(key_check(ARG_TEXT(0), ARG_TEXT(2), &key));
	begun = begun_find(&key);
	request_open(&rc, &key);
	if (begun)
	{
		Request		last;
		TupleTableSlot *slot;

		check_begun(&rc, begun, attempt);
		/* nothing is written, so COMMIT would not settle what was read */
		if (request_look_up(&rc, &last, &slot))
			settle_note(&rows, slot);
		begun_end(begun);
	}
	else
	{
		Request		started;
		Request		row;

		if (!take_started(&rc, attempt, &started, "idem_release()"))
			raise_ended(&rc, &started, false);
		request_follow(&row, &started);
		request_date(&row, &rc, REQUEST_RELEASED);
		request_set_null(&row, lease_until);
		insert_leased(&rc, &row);
		claim_release(&rc.claim);
	}
	request_close(&rc);
	settle(&rows);
	PG_RETURN_VOID();
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

void
request_end(RequestClaim *rc, Begun *begun, RequestStatus status, text *response,
			const Refusal *refusal, const char *command)
{
	Request		row = begun->row;

	PreventCommandIfReadOnly(command);	/* since the request was begun */

	request_date(&row, rc, status);
	request_set_json(&row, Anum_request_response, response);
	if (refusal)
	{
		request_set(&row, sqlstate,
					CStringGetTextDatum(unpack_sql_state(refusal->sqlstate)));
		request_set(&row, message, CStringGetTextDatum(refusal->message));
	}
	store_prepare_write(rc->target);
	request_insert(rc, &row);
	begun_end(begun);
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
		insert_leased(rc, &next);
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

	request_make(next, rc->key);
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
 * Insert a row of a request with a lease.  COMMIT will wait for the disk.
 */
static void
insert_leased(RequestClaim *rc, Request *row)
{
	ForceSyncCommit();
	request_insert(rc, row);
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

/*
 * End a request for idem_complete() and idem_fail(), whose arguments are alike.
 *
 * Errors: those of key_check(), begun_find(), check_begun(), request_end(),
 * take_started() and request_insert(); ID412 if the request has ended otherwise.
 */
static void
end_call(FunctionCallInfo fcinfo, RequestStatus status, const char *command)
{
	text	   *response = json_arg_text(fcinfo, 1, "response");
	int			attempt = ARG_IS_NULL(2) ? 0 : PG_GETARG_INT32(2);
	Key			key;
	RequestClaim rc;
	Begun	   *begun;

	refusal_raise(key_check(ARG_TEXT(0), ARG_TEXT(3), &key));
	begun = begun_find(&key);

	request_open(&rc, &key);
	if (begun)
	{
		check_begun(&rc, begun, attempt);
		request_end(&rc, begun, status, response, NULL, command);
	}
	else
		end_leased(&rc, status, response, attempt, command);
	request_close(&rc);
}

/*
 * End a request with a lease.  A caller that ends it again, in the same way, gets no
 * error.
 */
static void
end_leased(RequestClaim *rc, RequestStatus status, text *response, int attempt,
		   const char *command)
{
	Request		started;
	Request		row;

	if (!take_started(rc, attempt, &started, command))
	{
		/* the caller may not have heard that it has ended */
		if (!is_same_end(&started, status, response))
			raise_ended(rc, &started, request_is(&started, status));
		return;
	}
	request_follow(&row, &started);
	request_date(&row, rc, status);
	request_set_null(&row, lease_until);
	request_set_json(&row, Anum_request_response, response);
	insert_leased(rc, &row);
	claim_release(&rc->claim);
}

/*
 * Take the claim on a request that the caller has begun with a lease.  *row is its
 * newest row.  False: it has ended, or has been released, and the key is not ours.
 *
 * attempt: which one the caller is; 0 if it names none.
 *
 * Errors: those of claim_find() and claim_take(); 22004 if attempt is 0 and the
 * request has no answer; ID403 if the request belongs to another role; ID404 if there
 * is no such request; ID412 if attempt is not the current one.
 */
static bool
take_started(RequestClaim *rc, int attempt, Request *row, const char *command)
{
	bool		ended = claim_find(&rc->claim, command) ||
		!claim_take(&rc->claim, command);

	rc->expiry_now = request_expiry_now();
	if (!(ended ? request_last(rc, row) : request_found(rc, row)))
		raise_no_request(rc);
	refusal_raise(request_check_access(row));
	if (attempt == 0 && !ended)
	{
		request_predicate_lock(rc);
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("attempt must not be null"),
				 errdetail("The request was begun with a lease."),
				 errhint("Pass the attempt that idem_begin() returned.")));
	}
	if (attempt != 0)
		check_attempt(rc, attempt, DatumGetInt32(request_value(row, attempt)));
	if (ended)
		return false;
	if (request_is(row, REQUEST_STARTED))
		return true;
	claim_withdraw(&rc->claim); /* the request was released */
	return false;
}

/*
 * Has a request ended with this status and this response, which may be NULL?
 */
static bool
is_same_end(const Request *row, RequestStatus status, text *response)
{
	return request_is(row, status) &&
		bytes_equal(request_is_null(row, response)
					? NULL : DatumGetTextPP(request_value(row, response)), response);
}

/*
 * Raise ID412: the request has ended, or has been released.  same_status: it has
 * ended as the caller wants it to, but with another response.
 */
static void
raise_ended(RequestClaim *rc, const Request *row, bool same_status)
{
	char	   *status = text_to_cstring(DatumGetTextPP(request_value(row, status)));

	request_predicate_lock(rc);
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_STATE),
			 errmsg("request has already ended"),
			 same_status ? errdetail("The status of the request is \"%s\", but its response is different.", status)
			 : errdetail("The status of the request is \"%s\".", status)));
}

/*
 * Check that the current role may end a request that was begun in this transaction,
 * as this attempt; 0: it names none.  The transaction may have had another role
 * when the request was begun.
 *
 * Errors: ID403 if the request belongs to another role; ID412 if attempt is not the
 * current one.
 */
static void
check_begun(RequestClaim *rc, const Begun *begun, int attempt)
{
	refusal_raise(request_check_access(&begun->row));
	if (attempt != 0)
		check_attempt(rc, attempt, DatumGetInt32(request_value(&begun->row, attempt)));
}

/*
 * Raise ID412 if the attempt given is not the current one.
 */
static void
check_attempt(RequestClaim *rc, int given, int current)
{
	if (given == current)
		return;
	request_predicate_lock(rc);
	if (given > current)
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_STATE),
				 errmsg("attempt does not exist"),
				 errdetail("Attempt %d was given, but the current attempt is %d.", given, current)));
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_STATE),
			 errmsg("attempt is stale"),
			 errdetail("Attempt %d was given, but the current attempt is %d.", given, current),
			 errhint("Stop the work: another worker has taken over the request.")));
}

/*
 * Raise ID404: there is no request with this key.
 */
static void
raise_no_request(RequestClaim *rc)
{
	request_predicate_lock(rc);
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_NOT_FOUND),
			 errmsg("no request was begun with this key"),
			 errdetail("No request in scope \"%s\" has this key, or it has expired.",
					   text_to_cstring(rc->key->scope)),
			 errhint("Call idem_begin() first, with the same scope.")));
}
