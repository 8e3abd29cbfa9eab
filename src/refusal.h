/*-------------------------------------------------------------------------
 *
 * refusal.h
 *		Why a request is not carried out: an error that can be raised, stored
 *		or returned.
 *
 * What is checked of one request (its key, its amount, the payment's state) is
 * told by a value, and the caller decides what becomes of it: most raise it; a
 * batch returns it for the item and goes on with the next; a decline may be
 * stored as the answer.  Errors that concern the whole transaction, such as a
 * serialization failure, are raised where they happen.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_REFUSAL_H
#define IDEM_REFUSAL_H

typedef struct Refusal
{
	int			sqlstate;
	const char *message;		/* the primary message */
	const char *detail;			/* this and the hint may be NULL */
	const char *hint;
} Refusal;

/* The strings are kept, not copied. */
extern Refusal *refusal_make(int sqlstate, const char *message,
							 const char *detail, const char *hint);

/* ID403: what it is about ("payment") belongs to another role. */
extern Refusal *refusal_forbidden(const char *what);

/*
 * ID422: the key was used with a request that differs in this field.  stored and
 * asked are what it was and is, both NULL if they are not to be shown.
 */
extern Refusal *refusal_different(const char *field, const char *stored,
								  const char *asked);

/* Raise it as an error; NULL is no refusal, and none is raised. */
extern void refusal_raise(const Refusal *refusal);

#endif							/* IDEM_REFUSAL_H */
