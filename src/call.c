/*-------------------------------------------------------------------------
 *
 * call.c
 *		Reading the arguments of a call.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "call.h"
#include "errors.h"

void
call_check_payment_id(const pg_uuid_t *payment_id)
{
	if (payment_id == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("payment_id must not be null")));
}

void
call_no_payment(const pg_uuid_t *payment_id, const text *scope)
{
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_NOT_FOUND),
			 errmsg("payment %s does not exist",
					DatumGetCString(DirectFunctionCall1(uuid_out,
														UUIDPGetDatum(payment_id)))),
			 errdetail("It was looked for in scope \"%s\".", text_to_cstring(scope))));
}
