/*-------------------------------------------------------------------------
 *
 * errors.c
 *		SQLSTATEs of the key protocol, and the class in which they are raised.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "errors.h"
#include "settings.h"

int
errors_to_raise(int sqlstate)
{
	return setting_error_class == ERROR_CLASS_PT &&
		ERRCODE_TO_CATEGORY(sqlstate) == ERRORS_CLASS_ID
		? ERRORS_AS_PT(sqlstate) : sqlstate;
}

/*
 * An error of class PT may also be the user's own.  The domain says whose it is.
 */
int
errors_sqlstate(const ErrorData *error)
{
	bool		ours = error->domain && strcmp(error->domain, TEXTDOMAIN) == 0;

	return ours && ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRORS_CLASS_PT
		? error->sqlerrcode - ERRORS_CLASS_PT + ERRORS_CLASS_ID : error->sqlerrcode;
}
