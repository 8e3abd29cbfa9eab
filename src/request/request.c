/*-------------------------------------------------------------------------
 *
 * request.c
 *		What the functions of requests share.
 *
 * A request is an application's own work, done once.
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

#include "access/xact.h"
#include "utils/builtins.h"

#include "compat.h"
#include "errors.h"
#include "request/clock.h"
#include "request/request.h"

static void check_attempt(RequestClaim *rc, int given, int current);
pg_noreturn static void raise_no_request(RequestClaim *rc);

bool
request_take_started(RequestClaim *rc, int attempt, Request *row, const char *command)
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

void
request_insert_leased(RequestClaim *rc, Request *row)
{
	ForceSyncCommit();
	request_insert(rc, row);
}

void
request_check_begun(RequestClaim *rc, const Begun *begun, int attempt)
{
	refusal_raise(request_check_access(&begun->row));
	if (attempt != 0)
		check_attempt(rc, attempt, DatumGetInt32(request_value(&begun->row, attempt)));
}

void
request_raise_ended(RequestClaim *rc, const Request *row, bool same_status)
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
