/*-------------------------------------------------------------------------
 *
 * refusal.c
 *		Why a request is not carried out: an error that can be raised, stored
 *		or returned.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "refusal.h"

Refusal *
refusal_make(int sqlstate, const char *message, const char *detail,
			 const char *hint)
{
	Refusal    *refusal = palloc(sizeof(Refusal));

	refusal->sqlstate = sqlstate;
	refusal->message = message;
	refusal->detail = detail;
	refusal->hint = hint;
	return refusal;
}

void
refusal_raise(const Refusal *refusal)
{
	if (refusal == NULL)
		return;
	ereport(ERROR,
			(errcode(refusal->sqlstate),
			 errmsg_internal("%s", refusal->message),
			 refusal->detail ? errdetail_internal("%s", refusal->detail) : 0,
			 refusal->hint ? errhint("%s", refusal->hint) : 0));
}
