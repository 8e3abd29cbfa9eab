/*-------------------------------------------------------------------------
 *
 * end.c
 *		Ending a request: with an answer, or by giving it up.
 *
 * idem_complete(key, response, attempt, scope)
 * idem_fail(key, response, attempt, scope)
 * idem_release(key, attempt, scope)
 *
 * idem_execute() ends its requests here, too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "bytes.h"
#include "call.h"
#include "compat.h"
#include "json_arg.h"
#include "request/request.h"
#include "stat/stat.h"

STAT_FUNCTION(idem_complete, STAT_COMPLETE);
STAT_FUNCTION(idem_fail, STAT_FAIL);
STAT_FUNCTION(idem_release, STAT_RELEASE);

static void end_call(FunctionCallInfo fcinfo, RequestStatus status,
					 const char *command);
static void end_leased(RequestClaim *rc, RequestStatus status, text *response,
					   int attempt, const char *command);
static bool is_same_end(const Request *row, RequestStatus status, text *response);

/*
 * idem_complete: end a request with a response, which is its answer from now on.
 *
 * response: may be NULL.  attempt: which one the caller is; NULL if the request has
 * no lease.
 *
 * Errors: those of end_call().
 */
static Datum
idem_complete_call(PG_FUNCTION_ARGS)
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
static Datum
idem_fail_call(PG_FUNCTION_ARGS)
{
	end_call(fcinfo, REQUEST_FAILED, "idem_fail()");
	PG_RETURN_VOID();
}

/*
 * idem_release: give a request up.  A retry may start at once.
 *
 * attempt: which one the caller is; NULL if the request has no lease.
 *
 * Errors: those of key_check(), begun_find(), request_check_begun(),
 * request_take_started(), request_insert() and settle(); ID412 if the request has
 * ended.
 */
static Datum
idem_release_call(PG_FUNCTION_ARGS)
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

		request_check_begun(&rc, begun, attempt);
		/* nothing is written, so COMMIT would not settle what was read */
		if (request_look_up(&rc, &last, &slot))
			settle_note(&rows, slot);
		begun_end(begun);
	}
	else
	{
		Request		started;
		Request		row;

		if (!request_take_started(&rc, attempt, &started, "idem_release()"))
			request_raise_ended(&rc, &started, false);
		request_follow(&row, &started);
		request_date(&row, &rc, REQUEST_RELEASED);
		request_set_null(&row, lease_until);
		request_insert_leased(&rc, &row);
		claim_release(&rc.claim);
	}
	request_close(&rc);
	settle(&rows);
	PG_RETURN_VOID();
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
 * End a request for idem_complete() and idem_fail(), whose arguments are alike.
 *
 * Errors: those of key_check(), begun_find(), request_check_begun(), request_end(),
 * request_take_started(), request_check_size() and request_insert(); ID412 if the
 * request has ended otherwise.
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
	if (response)
		request_check_size(VARSIZE_ANY_EXHDR(response), "response");
	begun = begun_find(&key);

	request_open(&rc, &key);
	if (begun)
	{
		request_check_begun(&rc, begun, attempt);
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

	if (!request_take_started(rc, attempt, &started, command))
	{
		/* the caller may not have heard that it has ended */
		if (!is_same_end(&started, status, response))
			request_raise_ended(rc, &started, request_is(&started, status));
		stat_note(STAT_REPLAYED, 1);
		return;
	}
	request_follow(&row, &started);
	request_date(&row, rc, status);
	request_set_null(&row, lease_until);
	request_set_json(&row, Anum_request_response, response);
	request_insert_leased(rc, &row);
	claim_release(&rc->claim);
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
