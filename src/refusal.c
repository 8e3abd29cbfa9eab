/*-------------------------------------------------------------------------
 *
 * refusal.c
 *		Why a request is not carried out: an error that can be raised, stored
 *		or returned.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "errors.h"
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

Refusal *
refusal_forbidden(const char *what)
{
	return refusal_make(ERRCODE_IDEM_FORBIDDEN,
						psprintf("permission denied for %s", what),
						"It belongs to another role.",
						"Use a role that has the privileges of that role.");
}

Refusal *
refusal_different(const char *field, const char *stored, const char *asked)
{
	return refusal_make(ERRCODE_IDEM_DIFFERENT_REQUEST,
						"idempotency key was used with a different request",
						stored
						? psprintf("Field \"%s\" differs: the key was used with %s, and now with %s.",
								   field, stored, asked)
						: psprintf("Field \"%s\" differs.", field),
						"If this is the same request, send it as it was; only if it is another one, use a new key.");
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
