/*-------------------------------------------------------------------------
 *
 * request.h
 *		The row of a request, and the tables that it is in.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_REQUEST_H
#define IDEM_REQUEST_H

#include "utils/timestamp.h"

#include "catalog.h"
#include "claim.h"
#include "key.h"
#include "refusal.h"
#include "storage.h"

/* What a row says. */
#define REQUEST_STARTED		"started"	/* a worker has a lease */
#define REQUEST_RELEASED	"released"	/* it gave up */
#define REQUEST_COMPLETED	"completed"
#define REQUEST_FAILED		"failed"

/* A row of idempotency.request_n; column c is at [c - 1]. */
typedef struct Request
{
	Datum		values[Natts_request];
	bool		nulls[Natts_request];
} Request;

#define request_get(r, column)		((r)->values[Anum_request_##column - 1])
#define request_is_null(r, column)	((r)->nulls[Anum_request_##column - 1])
#define request_set(r, column, value) \
	(request_get(r, column) = (value), request_is_null(r, column) = false)

/* The tables, open, and a claim on a key in them. */
typedef struct RequestClaim
{
	Store		stores[N_REQUEST_TABLES];
	Claim		claim;
	TimestampTz now;
} RequestClaim;

/* The time by which leases and expiry are judged: the clock's, see request.c. */
extern TimestampTz request_now(void);

extern void request_open(RequestClaim *rc, const Key *key);
extern void request_close(RequestClaim *rc);

/*
 * The row that the claim has found, if it has not expired; it lives as long as
 * the tables are open.  False: there is none.
 */
extern bool request_found(RequestClaim *rc, Request *row);

/*
 * The row that the claim has found, expired or not, has these numbers; 0 if
 * there is none.
 */
extern int	request_last_seq(RequestClaim *rc);
extern int	request_last_attempt(RequestClaim *rc);

/* The row with the newest state of a key, as a SELECT sees it; false: none. */
extern bool request_look_up(RequestClaim *rc, Request *row);

/*
 * A row of a request's beginning or end: what it says; attempt and seq; the
 * rest NULL.
 */
extern void request_make(Request *row, RequestClaim *rc, const Key *key,
						 const char *status, int attempt, int seq);

/* The row that follows another one, which it takes everything over from. */
extern void request_follow(Request *row, RequestClaim *rc, const Request *newest,
						   const char *status);

/* Let the row expire at this time, if it would expire earlier. */
extern void request_expire_not_before(Request *row, TimestampTz at);

/* Insert a row into the table that takes new ones now. */
extern void request_insert(RequestClaim *rc, Request *row);

extern bool request_is(const Request *row, const char *status);
extern bool request_is_answer(const Request *row);

/* ID403, and ID422 if the fingerprint is another one. */
extern Refusal *request_check_access(const Request *row);
extern Refusal *request_check_fingerprint(const Request *row, const bytea *asked);

#endif							/* IDEM_REQUEST_H */
