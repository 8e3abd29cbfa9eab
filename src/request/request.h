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
	const char *field;			/* what is compared, for messages */
	bytea	   *fingerprint;	/* of what is asked for, or NULL */
	int64		lease;			/* in microseconds; 0: none */
	bool		takeover;		/* resume the request if its lease has lapsed? */
} BeginOptions;

/* The outcome of beginning a request.  The names are in request.c. */
typedef enum BeginOutcome
{
	BEGIN_NEW,					/* it has begun */
	BEGIN_RESUMED,				/* it has begun again, as another attempt */
	BEGIN_COMPLETED,			/* it has its answer */
	BEGIN_FAILED,				/* its answer is a failure */
	BEGIN_UNKNOWN				/* its lease has lapsed, and it is not resumed */
} BeginOutcome;

/* The outcome, and what is known of the request. */
typedef struct BeginResult
{
	BeginOutcome outcome;
	int			attempt;		/* the current one */
	bool		found;			/* was there a row that had not expired, or an
								 * answer? */
	Request		row;			/* that row */
} BeginResult;

/*
 * Begin a request, or find its answer.  One that is begun without a lease has to be
 * ended with request_end() or begun_end().
 *
 * rc: from request_open().  *result: its row may be valid only until
 * request_close().  command: the function's name, for messages.
 *
 * Errors: those of begun_find(), claim_find() and claim_take(); ID403 if the request
 * belongs to another role; ID409 if another worker has a lease; ID422 if the
 * fingerprint is another one; 55000 if this transaction has begun the request
 * already; those of request_insert().
 */
extern void request_begin(RequestClaim *rc, const BeginOptions *options,
						  BeginResult *result, const char *command);

/*
 * End a request that was begun without a lease.  *begun is not valid any more.
 *
 * rc: from request_open().  status: REQUEST_COMPLETED or REQUEST_FAILED.  response:
 * may be NULL.  refusal: why the request failed, or NULL.  command: the function's
 * name, for messages.
 *
 * Errors: 25006 if the transaction has become read-only; those of
 * store_prepare_write() and request_insert().
 */
extern void request_end(RequestClaim *rc, Begun *begun, RequestStatus status,
						text *response, const Refusal *refusal,
						const char *command);

#endif							/* IDEM_REQUEST_H */
