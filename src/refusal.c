/*-------------------------------------------------------------------------
 *
 * refusal.c
 *		Why a request is not carried out: an error that can be raised, stored
 *		or returned.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

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
	refusal->detail_log = NULL;
	refusal->hint = hint;
	return refusal;
}

Refusal *
refusal_forbidden_key(void)
{
	return refusal_make(ERRCODE_IDEM_FORBIDDEN,
						"permission denied for idempotency key",
						"The key belongs to another role.",
						"Use a role that has the privileges of the owner of the key.");
}

Refusal *
refusal_forbidden_payment(void)
{
	return refusal_make(ERRCODE_IDEM_FORBIDDEN,
						"permission denied for payment",
						"The payment belongs to another role.",
						"Use a role that has the privileges of the owner of the payment.");
}

Refusal *
refusal_different(const char *field, const char *stored, const char *asked)
{
	return refusal_make(ERRCODE_IDEM_DIFFERENT_REQUEST,
						"idempotency key was used with a different request",
						stored
						? psprintf("Field \"%s\" differs: it was %s, and now it is %s.",
								   field, stored, asked)
						: psprintf("Field \"%s\" differs.", field),
						"If this is a retry, resend the original request unchanged. Use a new key only for a new request.");
}

Refusal *
refusal_log_name(Refusal *refusal, const char *what, const text *scope, const text *name)
{
	if (refusal)
		refusal->detail_log = psprintf("%s The %s is \"%s\", in the scope \"%s\".",
									   refusal->detail, what, text_to_cstring(name),
									   text_to_cstring(scope));
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
			 refusal->detail_log ? errdetail_log("%s", refusal->detail_log) : 0,
			 refusal->hint ? errhint("%s", refusal->hint) : 0));
}
