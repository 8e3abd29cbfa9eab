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
	REQUEST_STARTED,			/* a worker has, or had, a lease */
	REQUEST_RELEASED,			/* the worker gave it up */
	REQUEST_COMPLETED,			/* it has an answer */
	REQUEST_FAILED				/* its answer is a failure */
} RequestStatus;

/* A row of idempotency.request_n; column c is at [c - 1]. */
typedef struct Request
{
	Datum		values[Natts_request];
	bool		nulls[Natts_request];
} Request;

/* Reading and writing a column by its name.  r: a pointer to a Request. */
#define request_value(r, column)	((Datum) (r)->values[Anum_request_##column - 1])
#define request_is_null(r, column)	((bool) (r)->nulls[Anum_request_##column - 1])
#define request_set(r, column, value)	request_put(r, Anum_request_##column, value)
#define request_set_null(r, column)	request_put_null(r, Anum_request_##column)

/* Set a column. */
static inline void
request_put(Request *row, AttrNumber column, Datum value)
{
	row->values[column - 1] = value;
	row->nulls[column - 1] = false;
}

/* Set a column to null. */
static inline void
request_put_null(Request *row, AttrNumber column)
{
	row->values[column - 1] = (Datum) 0;
	row->nulls[column - 1] = true;
}

/* Set a column to a json value, or to null if json is NULL. */
static inline void
request_set_json(Request *row, AttrNumber column, text *json)
{
	if (json)
		request_put(row, column, PointerGetDatum(json));
	else
		request_put_null(row, column);
}

/*
 * Check the size of what is to be stored.  what: what it is, for the message.
 *
 * Errors: 54000 if it is beyond idempotency.response_limit.
 */
extern void request_check_size(size_t bytes, const char *what);

/* The open tables, and a claim on a key in them. */
typedef struct RequestClaim
{
	Store		stores[N_REQUEST_TABLES];
	Store	   *target;			/* the table that takes new rows */
	const Key  *key;
	Claim		claim;
	TimestampTz expiry_now;		/* request_expiry_now(), when last asked */
} RequestClaim;

/*
 * Open the tables and prepare a claim on a key, which must stay where it is until
 * request_close().
 *
 * Errors: those of store_open() and request_expiry_now().
 */
extern void request_open(RequestClaim *rc, const Key *key);

/* Close the tables.  AFTER triggers that are due fire now, and may fail. */
extern void request_close(RequestClaim *rc);

/*
 * The row that the claim has found, if it has not expired.  False: there is none.
 * Its values lie in the slot, or on the page that it has pinned.  They are valid
 * until the page is released, the next probe or look-up, or request_close().
 */
extern bool request_found(RequestClaim *rc, Request *row);

/* The same, whether the row has expired or not. */
extern bool request_last(RequestClaim *rc, Request *row);

/*
 * The newest row of a key, as a SELECT sees it, if it has not expired; and the slot
 * that it is in.  False: there is none.
 *
 * Errors: those of store_find_key().
 */
extern bool request_look_up(RequestClaim *rc, Request *row,
							TupleTableSlot **slot);

/*
 * At SERIALIZABLE, leave predicate locks on the state of the request, before it is
 * acted upon without a write.  Rows that were found are not valid any more.
 */
extern void request_predicate_lock(RequestClaim *rc);

/*
 * Make the first row of a request, which is begun now.  It has number 1, attempt 1 and
 * the current role.  It has no status and is not dated.  The key is not copied.
 *
 * Errors: those of access_current_role().
 */
extern void request_make(Request *row, RequestClaim *rc);

/*
 * Make the row that follows another one.  It has the next number, and takes over
 * everything else.
 *
 * Errors: those of request_next_number().
 */
extern void request_follow(Request *row, const Request *newest);

/*
 * The number after this one, of a row or an attempt.  Both are int4.
 *
 * Errors: 54000 if there is none: somebody wrote the last one by hand.
 */
extern Datum request_next_number(Datum number);

/*
 * Copy a row.  Its values are then in the current memory context.  to and from may
 * be the same row.
 */
extern void request_copy(Request *to, const Request *from);

/* Set created_at, status and expires_at; expires_at never moves back. */
extern void request_date(Request *row, RequestClaim *rc, RequestStatus status);

/*
 * Insert a row into the table that takes new ones.  The key's lock must be held: by
 * the claim, or since the transaction began the request (begun.c).  A row with a
 * lease expires no earlier than idempotency.retention after the lease.  Rows of the
 * key that have a lease are deleted.  The row found before is not valid any more.
 *
 * Errors: those of store_insert(), store_prepare_write() and store_delete().
 */
extern void request_insert(RequestClaim *rc, Request *row);

/* Has the row this status?  A row that was written by hand may have another. */
extern bool request_is(const Request *row, RequestStatus status);

/* May the current role act on the row?  Result: NULL, or a refusal, ID403. */
extern Refusal *request_check_access(const Request *row);

/*
 * Has the row this fingerprint, which may be NULL?  field: what that is of, for the
 * message.  Result: NULL, or a refusal, ID422.
 */
extern Refusal *request_check_fingerprint(const Request *row, const bytea *asked,
										  const char *field);

#endif							/* IDEM_ROW_H */
