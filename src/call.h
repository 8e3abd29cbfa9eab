/*-------------------------------------------------------------------------
 *
 * call.h
 *		Reading the arguments of a call.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_CALL_H
#define IDEM_CALL_H

#include "fmgr.h"
#include "utils/array.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"

/*
 * Is argument n null?  It also is if the call has no argument n: the planner leaves
 * out null arguments at the end (call.c).
 */
#define ARG_IS_NULL(n)			(PG_NARGS() <= (n) || PG_ARGISNULL(n))

/* Argument n, from 0, as a value of this type; NULL if it is null. */
#define ARG_OR_NULL(get, n)		(ARG_IS_NULL(n) ? NULL : get(n))
#define ARG_TEXT(n)				ARG_OR_NULL(PG_GETARG_TEXT_PP, n)
#define ARG_NUMERIC(n)			ARG_OR_NULL(PG_GETARG_NUMERIC, n)
#define ARG_UUID(n)				ARG_OR_NULL(PG_GETARG_UUID_P, n)
#define ARG_INTERVAL(n)			ARG_OR_NULL(PG_GETARG_INTERVAL_P, n)
#define ARG_ARRAY(n)			ARG_OR_NULL(PG_GETARG_ARRAYTYPE_P, n)

/*
 * Check that an argument is not null.  name: the argument's, for the message.
 *
 * Errors: 22004 if it is null.
 */
extern void call_not_null(bool is_null, const char *name);

/*
 * An interval in microseconds.  A day has 24 hours and a month 30 days.  So the
 * result is the same in every time zone and at every time of the year.
 *
 * name: the argument's, for messages.
 *
 * Errors: 22004 if it is NULL; 22023 if it is not above zero, or is above 36500 days (100 years).
 */
extern int64 call_duration(const Interval *interval, const char *name);

#endif							/* IDEM_CALL_H */
