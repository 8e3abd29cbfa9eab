/*-------------------------------------------------------------------------
 *
 * refusal.h
 *		Why a request is not carried out: an error that can be raised, stored
 *		or returned.
 *
 * A check of one request (its key, its amount, the payment's state) returns a
 * refusal, or NULL if all is well.  The caller decides what to do with it.  Most
 * callers raise it.  A batch returns it for the item and goes on with the next one.
 * A decline may be stored as the answer.
 *
 * Errors that concern the whole transaction, such as a serialization failure, are
 * raised where they happen.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_REFUSAL_H
#define IDEM_REFUSAL_H

/* An error that has not been raised. */
typedef struct Refusal
{
	int			sqlstate;		/* as MAKE_SQLSTATE() makes it */
	const char *message;		/* the primary message */
	const char *detail;			/* may be NULL */
	const char *detail_log;		/* instead of that, in the server's log; may
								 * be NULL */
	const char *hint;			/* may be NULL */
} Refusal;

/*
 * Make a refusal, in the current memory context.  It keeps the strings and does not
 * copy them.  detail and hint may be NULL.
 */
extern Refusal *refusal_make(int sqlstate, const char *message,
							 const char *detail, const char *hint);

/* ID403: the key, or the payment, belongs to another role. */
extern Refusal *refusal_forbidden_key(void);
extern Refusal *refusal_forbidden_payment(void);

/*
 * ID422: the key was used with a request that differs in this field.
 *
 * stored, asked: the field's value then and now, for the message; both NULL if they
 * are not to be shown.
 */
extern Refusal *refusal_different(const char *field, const char *stored,
								  const char *asked);

/*
 * Have the server's log name the key, or the account: what it is.  Programs that bind
 * parameters have it in no statement.  Does nothing if the refusal is NULL.  Result: the
 * refusal.
 */
extern Refusal *refusal_log_name(Refusal *refusal, const char *what, const text *scope,
								 const text *name);

/* Raise a refusal as an error.  Does nothing if it is NULL. */
extern void refusal_raise(const Refusal *refusal);

#endif							/* IDEM_REFUSAL_H */
