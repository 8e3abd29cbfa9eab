/*-------------------------------------------------------------------------
 *
 * request.h
 *		Beginning and ending a request, and what the functions of requests share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_REQUEST_H
#define IDEM_REQUEST_H

#include "request/begun.h"
#include "request/row.h"

/*
 * Beginning: begin.c
 */

/* How to begin. */
typedef struct BeginOptions
{
	const char *field;			/* what is compared, for messages */
	bytea	   *fingerprint;	/* of what is asked for, or NULL */
	int64		lease;			/* in microseconds; 0: none */
	bool		takeover;		/* resume the request if its lease has lapsed? */
} BeginOptions;

/* The outcome of beginning a request.  The names are in begin.c. */
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
 * Ending: end.c
 */

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

/*
 * Shared: request.c
 */

/*
 * Take the claim on a request that the caller has begun with a lease.  *row is its
 * newest row.  False: it has ended, or has been released, and the key is not ours.
 *
 * attempt: which one the caller is; 0 if it names none.
 *
 * Errors: those of claim_find() and claim_take(); 22004 if attempt is 0 and the
 * request has no answer; ID403 if the request belongs to another role; ID404 if there
 * is no such request; ID412 if attempt is not the current one.
 */
extern bool request_take_started(RequestClaim *rc, int attempt, Request *row,
								 const char *command);

/*
 * Insert a row of a request with a lease.  COMMIT will wait for the disk.
 */
extern void request_insert_leased(RequestClaim *rc, Request *row);

/*
 * Check that the current role may end a request that was begun in this transaction,
 * as this attempt; 0: it names none.  The transaction may have had another role
 * when the request was begun.
 *
 * Errors: ID403 if the request belongs to another role; ID412 if attempt is not the
 * current one.
 */
extern void request_check_begun(RequestClaim *rc, const Begun *begun,
								int attempt);

/*
 * Raise ID412: the request has ended, or has been released.  same_status: it has
 * ended as the caller wants it to, but with another response.
 */
pg_noreturn extern void request_raise_ended(RequestClaim *rc, const Request *row,
											bool same_status);

#endif							/* IDEM_REQUEST_H */
