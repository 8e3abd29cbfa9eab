/*-------------------------------------------------------------------------
 *
 * lease.c
 *		What the worker of a request with a lease reports while it works.
 *
 * idem_checkpoint(key, name, data, attempt, scope)
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "call.h"
#include "json_arg.h"
#include "request/request.h"

PG_FUNCTION_INFO_V1(idem_checkpoint);

/*
 * idem_checkpoint: note how far the work has come, for whoever takes it over.
 *
 * name: not NULL.  data: may be NULL.  attempt: which one the caller is.
 *
 * Errors: those of key_check(), begun_find(), request_take_started() and
 * request_insert(); 22004 if name is NULL; 55000 if the request has no lease; ID412 if
 * it has ended.
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
	if (!request_take_started(&rc, ARG_IS_NULL(3) ? 0 : PG_GETARG_INT32(3), &started,
							  "idem_checkpoint()"))
		request_raise_ended(&rc, &started, false);
	request_follow(&row, &started);
	request_date(&row, &rc, REQUEST_STARTED);
	request_set(&row, checkpoint, PointerGetDatum(name));
	request_set_json(&row, Anum_request_checkpoint_data, data);
	request_insert_leased(&rc, &row);
	claim_release(&rc.claim);
	request_close(&rc);

	PG_RETURN_VOID();
}
