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
typedef struct WorkOptions
{
	bytea	   *fingerprint;	/* of what is asked for, or NULL */
	int64		lease;			/* in microseconds; 0: none */
	bool		takeover;		/* resume it if a lease has lapsed? */
} WorkOptions;

/*
 * Begin a request, or find its answer.  Returns the outcome: "new", "resumed",
 * "completed", "failed", "unknown".  *row is what there was of the request, if
 * *found.
 *
 * Errors: those of claim_take(); ID403; ID409 if another worker has a lease;
 * ID422; 55000 if this transaction has begun it already.
 */
extern const char *work_begin(RequestClaim *rc, const Key *key,
							  const WorkOptions *options, int *attempt,
							  Request *row, bool *found, const char *command);

/*
 * End a request that was begun without a lease.  response, and refusal, the
 * reason of a failure, may be NULL.
 *
 * Error: 25006 if the transaction has become read-only.
 */
extern void work_end(RequestClaim *rc, Begun *begun, const char *status,
					 text *response, const Refusal *refusal,
					 const char *command);

#endif							/* IDEM_REQUEST_H */
