/*-------------------------------------------------------------------------
 *
 * row.h
 *		The row of a request, and the tables that it is in.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_ROW_H
#define IDEM_ROW_H

#include "utils/timestamp.h"

#include "table/catalog.h"
#include "claim/claim.h"
#include "key.h"
#include "refusal.h"
#include "table/store.h"

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

extern void request_open(RequestClaim *rc, const Key *key);
extern void request_close(RequestClaim *rc);

/*
 * The row that the claim has found, if it has not expired; it lives as long as
 * the tables are open.  False: there is none.
 */
extern bool request_found(RequestClaim *rc, Request *row);

/* Likewise, expired or not. */
extern bool request_last(RequestClaim *rc, Request *row);

/*
 * The row with the newest state of a key, as a SELECT sees it; it is in the slot
 * of the claim's store.  False: there is none.
 */
extern bool request_look_up(RequestClaim *rc, Request *row);

/*
 * At SERIALIZABLE, have other transactions know that the state of the request
 * has been read, and acted upon.  Rows that were found are not valid any more.
 */
extern void request_note_read(RequestClaim *rc);

/* The first row of a request, not dated. */
extern void request_make(Request *row, const Key *key);

/*
 * The row that follows another one, which it takes everything over from.
 *
 * Error: 54000, as in the next.
 */
extern void request_follow(Request *row, const Request *newest);

/*
 * The number after this one, of a row or an attempt.
 *
 * Error: 54000 if there is none: somebody wrote the last one by hand.
 */
extern Datum request_next_number(Datum number);

/* A copy whose values are in the current memory context. */
extern void request_copy(Request *to, const Request *from);

/* Date the row, and say what it says; it does not expire earlier than it would. */
extern void request_date(Request *row, RequestClaim *rc, const char *status);

/* Insert a row into the table that takes new ones now. */
extern void request_insert(RequestClaim *rc, Request *row);

extern bool request_is(const Request *row, const char *status);
extern bool request_is_answer(const Request *row);

/* ID403, and ID422 if the fingerprint is another one. */
extern Refusal *request_check_access(const Request *row);
extern Refusal *request_check_fingerprint(const Request *row, const bytea *asked);

#endif							/* IDEM_ROW_H */
