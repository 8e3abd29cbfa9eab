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
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"

/* The planner leaves out arguments at the end that are null: see call.c. */
#define ARG_IS_NULL(n)			(PG_NARGS() <= (n) || PG_ARGISNULL(n))

#define ARG_OR_NULL(get, n)		(ARG_IS_NULL(n) ? NULL : get(n))
#define ARG_TEXT(n)				ARG_OR_NULL(PG_GETARG_TEXT_PP, n)
#define ARG_NUMERIC(n)			ARG_OR_NULL(PG_GETARG_NUMERIC, n)
#define ARG_JSONB(n)			ARG_OR_NULL(PG_GETARG_JSONB_P, n)
#define ARG_UUID(n)				ARG_OR_NULL(PG_GETARG_UUID_P, n)
#define ARG_ARRAY(n)			ARG_OR_NULL(PG_GETARG_ARRAYTYPE_P, n)

/* Raise 22004 if an argument of this name is NULL. */
extern void call_not_null(bool is_null, const char *name);

/*
 * An interval in microseconds.  A day has 24 hours and a month 30 days, so that
 * it is the same in every time zone and at every time of the year.
 *
 * Error: 22023 if it is not above zero, or above 100 years.
 */
extern int64 call_duration(const Interval *interval, const char *name);

#endif							/* IDEM_CALL_H */
