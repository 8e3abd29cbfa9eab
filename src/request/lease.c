/*-------------------------------------------------------------------------
 *
 * lease.c
 *		What the worker of a request with a lease reports while it works.
 *
 * idem_checkpoint(key, name, data, attempt, scope)
 * idem_renew(key, lease, attempt, scope)
 *
 * Both are fenced: only the current attempt may call them.  A lapsed lease makes no
 * difference.  As long as nobody has taken the request over, the attempt is the
 * current one, and nobody else works on the request.
 *
 * A new lease counts from now.  It may end before the old one would have: the worker
 * knows when it reports next.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "call.h"
#include "json_arg.h"
#include "request/request.h"
#include "stat/stat.h"

STAT_FUNCTION(idem_checkpoint, STAT_CHECKPOINT);
STAT_FUNCTION(idem_renew, STAT_RENEW);

static void check_has_lease(const Key *key, const char *detail);
static void follow_started(RequestClaim *rc, int attempt, Request *row,
						   const char *command);

/*
 * idem_checkpoint: note how far the work has come, for whoever takes it over.
 *
 * name: not NULL.  data: may be NULL.  attempt: which one the caller is.
 *
 * Errors: those of key_check(), request_check_size(), check_has_lease(),
 * follow_started() and request_insert(); 22004 if name is NULL.
 */
static Datum
idem_checkpoint_call(PG_FUNCTION_ARGS)
{
	text	   *name = ARG_TEXT(1);
	text	   *data = json_arg_text(fcinfo, 2, "data");
	Key			key;
	RequestClaim rc;
	Request		row;

	refusal_raise(key_check(ARG_TEXT(0), ARG_TEXT(4), &key));
	call_not_null(name == NULL, "name");
	request_check_size(VARSIZE_ANY_EXHDR(name) + (data ? VARSIZE_ANY_EXHDR(data) : 0),
					   "checkpoint");
	check_has_lease(&key, "A checkpoint is for work that outlasts a transaction. Such work needs a lease.");

	request_open(&rc, &key);
	follow_started(&rc, ARG_IS_NULL(3) ? 0 : PG_GETARG_INT32(3), &row, "idem_checkpoint()");
	request_set(&row, checkpoint, PointerGetDatum(name));
	request_set_json(&row, Anum_request_checkpoint_data, data);
	request_insert_leased(&rc, &row);
	claim_release(&rc.claim);
	request_close(&rc);

	PG_RETURN_VOID();
}

/*
 * idem_renew: give the current attempt a new lease.
 *
 * lease: counts from now; not NULL.  attempt: which one the caller is; not NULL.
 *
 * Result: when the lease ends.
 *
 * Errors: those of key_check(), call_duration(), check_has_lease(), follow_started()
 * and request_insert(); 22004 if lease or attempt is NULL.
 */
static Datum
idem_renew_call(PG_FUNCTION_ARGS)
{
	int64		lease;
	TimestampTz until;
	Key			key;
	RequestClaim rc;
	Request		row;

	refusal_raise(key_check(ARG_TEXT(0), ARG_TEXT(3), &key));
	call_not_null(ARG_IS_NULL(1), "lease");
	call_not_null(ARG_IS_NULL(2), "attempt");
	lease = call_duration(PG_GETARG_INTERVAL_P(1), "lease");
	check_has_lease(&key, "The request was begun without one. It ends with its transaction.");

	request_open(&rc, &key);
	follow_started(&rc, PG_GETARG_INT32(2), &row, "idem_renew()");
	until = GetCurrentTimestamp() + lease;
	request_set(&row, lease_until, TimestampTzGetDatum(until));
	request_insert_leased(&rc, &row);
	claim_release(&rc.claim);
	request_close(&rc);

	PG_RETURN_TIMESTAMPTZ(until);
}

/*
 * Check that this transaction has not begun the request without a lease.
 *
 * Errors: those of begun_find(); 55000 if it has.
 */
static void
check_has_lease(const Key *key, const char *detail)
{
	if (begun_find(key))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("request has no lease"),
				 errdetail("%s", detail)));
}

/*
 * Take the claim on a request that the caller has begun with a lease, and make the row
 * that follows the newest one.
 *
 * attempt: which one the caller is; 0 if it names none.
 *
 * Errors: those of request_take_started() and request_follow(); ID412 if the request
 * has ended.
 */
static void
follow_started(RequestClaim *rc, int attempt, Request *row, const char *command)
{
	Request		started;

	if (!request_take_started(rc, attempt, &started, command))
		request_raise_ended(rc, &started, false);
	request_follow(row, &started);
	request_date(row, rc, REQUEST_STARTED);
}
