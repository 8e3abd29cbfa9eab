/*-------------------------------------------------------------------------
 *
 * call.c
 *		Reading the arguments of a call.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "datatype/timestamp.h"
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

int64
call_duration(const Interval *interval, const char *name)
{
	/* beyond these are infinite ones, and sums beyond the end of time */
	const int64 limit = INT64CONST(100) * 365 * USECS_PER_DAY;
	double		us = (double) interval->time +
		((double) interval->day + (double) interval->month * DAYS_PER_MONTH) * USECS_PER_DAY;

	if (us <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be greater than zero", name)));
	if (us > limit)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too long", name),
				 errdetail("At most 36500 days are allowed, and a month has 30.")));
	return interval->time +
		((int64) interval->day + (int64) interval->month * DAYS_PER_MONTH) * USECS_PER_DAY;
}
