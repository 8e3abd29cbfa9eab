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

#include "claim/claim.h"
#include "key.h"
#include "refusal.h"
#include "table/catalog.h"
#include "table/store.h"

/* The column status.  The names are in row.c. */
typedef enum RequestStatus
{
	REQUEST_STARTED,			/* a worker has a lease */
	REQUEST_RELEASED,			/* it gave up */
	REQUEST_COMPLETED,
	REQUEST_FAILED
} RequestStatus;

/* A row of idempotency.request_n; column c is at [c - 1]. */
typedef struct Request
{
	Datum		values[Natts_request];
	bool		nulls[Natts_request];
} Request;

/* Reading and writing a column by its name. */
#define request_value(r, column)	((Datum) (r)->values[Anum_request_##column - 1])
#define request_is_null(r, column)	((bool) (r)->nulls[Anum_request_##column - 1])
#define request_set(r, column, value)	request_put(r, Anum_request_##column, value)
#define request_set_null(r, column)	request_put_null(r, Anum_request_##column)

static inline void
request_put(Request *row, AttrNumber column, Datum value)
{
	row->values[column - 1] = value;
	row->nulls[column - 1] = false;
}

static inline void
request_put_null(Request *row, AttrNumber column)
{
	row->values[column - 1] = (Datum) 0;
	row->nulls[column - 1] = true;
}

/* A json, or NULL. */
static inline void
request_set_json(Request *row, AttrNumber column, text *json)
{
	if (json)
		request_put(row, column, PointerGetDatum(json));
	else
		request_put_null(row, column);
}

/* The tables, open, and a claim on a key in them. */
typedef struct RequestClaim
{
	Store		stores[N_REQUEST_TABLES];
	Store	   *target;			/* the table that takes new rows */
	const Key  *key;
	Claim		claim;
	TimestampTz expiry_now;		/* request_expiry_now() */
} RequestClaim;

extern void request_open(RequestClaim *rc, const Key *key);
extern void request_close(RequestClaim *rc);

/*
 * The row that the claim has found, if it has not expired; it lives as long as
 * the tables are open.  False: there is none.
 */
extern bool request_found(RequestClaim *rc, Request *row);

/* The row that the claim has found, expired or not.  False: there is none. */
extern bool request_last(RequestClaim *rc, Request *row);

/*
 * The row with the newest state of a key, as a SELECT sees it, and the slot that it
 * is in.  False: there is none.
 */
extern bool request_look_up(RequestClaim *rc, Request *row,
							TupleTableSlot **slot);

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

/* Set created_at, status and expires_at; expires_at never moves back. */
extern void request_date(Request *row, RequestClaim *rc, RequestStatus status);

/*
 * Insert a row into the table that takes new ones now.  The key's lock is held: by
 * the claim, or since the transaction began the request (begun.c).
 */
extern void request_insert(RequestClaim *rc, Request *row);

/* Has the row this status?  One that was written by hand may have none of them. */
extern bool request_is(const Request *row, RequestStatus status);

/* Is it completed or failed? */
extern bool request_is_answer(const Request *row);

/* ID403, and ID422 if the fingerprint is another one. */
extern Refusal *request_check_access(const Request *row);
extern Refusal *request_check_fingerprint(const Request *row, const bytea *asked);

#endif							/* IDEM_ROW_H */
