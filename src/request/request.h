/*-------------------------------------------------------------------------
 *
 * request.h
 *		Beginning and ending a request.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_REQUEST_H
#define IDEM_REQUEST_H

#include "request/begun.h"
#include "request/row.h"

/* How to begin. */
typedef struct BeginOptions
{
	bytea	   *fingerprint;	/* of what is asked for, or NULL */
	int64		lease;			/* in microseconds; 0: none */
	bool		takeover;		/* resume it if a lease has lapsed? */
} BeginOptions;

/* What came of it.  The names are in request.c. */
typedef enum RequestOutcome
{
	REQUEST_NEW,				/* begun */
	REQUEST_RESUMED,			/* begun, by another attempt */
	REQUEST_HAS_COMPLETED,		/* it has its answer */
	REQUEST_HAS_FAILED,			/* it has its answer */
	REQUEST_UNKNOWN				/* its lease has lapsed, and it is not resumed */
} RequestOutcome;

typedef struct BeginResult
{
	RequestOutcome outcome;
	int			attempt;
	bool		found;			/* was there a row of the request? */
	Request		row;			/* that row */
} BeginResult;

/*
 * Begin a request, or find its answer.
 *
 * Errors: those of claim_take(); ID403; ID409 if another worker has a lease;
 * ID422; 55000 if this transaction has begun it already.
 */
extern void request_begin(RequestClaim *rc, const BeginOptions *options,
						  BeginResult *result, const char *command);

/*
 * End a request that was begun without a lease.  response, and refusal, the
 * reason of a failure, may be NULL.
 *
 * Error: 25006 if the transaction has become read-only.
 */
extern void request_end(RequestClaim *rc, Begun *begun, RequestStatus status,
						text *response, const Refusal *refusal,
						const char *command);

#endif							/* IDEM_REQUEST_H */
