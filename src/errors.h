/*-------------------------------------------------------------------------
 *
 * errors.h
 *		SQLSTATEs of the key protocol.
 *
 * Class "ID".  The last three characters are the HTTP status that a service in
 * front of the database answers with.  So the service needs no table of its own.
 * 400, 409 and 422 are those of the IETF draft "The Idempotency-Key HTTP Header
 * Field".  The others are those of RFC 9110.
 *
 * An argument other than the key (amount, currency, ...) that is malformed is an
 * error of PostgreSQL's own class 22.  Where it is enough to run the transaction
 * again, the error is PostgreSQL's own: 40001, 40P01 or 55P03.
 *
 * PostgREST answers with an HTTP status of our choice if the class is "PT".  So
 * idempotency.error_class can be set to that.  Then an error is raised in class PT.
 * But what is stored, or returned as data, is in class ID all the same, and that is
 * what the code compares with.
 *
 * Only errcode() changes the class, and whoever names one of our SQLSTATEs includes
 * this header.  So no ereport() has to think of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_ERRORS_H
#define IDEM_ERRORS_H

#include "utils/elog.h"

/* The key is missing, empty, too long, has a control character or a reserved prefix: fix the request. */
#define ERRCODE_IDEM_BAD_KEY			MAKE_SQLSTATE('I','D','4','0','0')

/* Not enough is available in an account: nothing was taken. */
#define ERRCODE_IDEM_NOT_ENOUGH			MAKE_SQLSTATE('I','D','4','0','2')

/* The key, the payment or the account belongs to another role. */
#define ERRCODE_IDEM_FORBIDDEN			MAKE_SQLSTATE('I','D','4','0','3')

/* There is no such payment, request or account. */
#define ERRCODE_IDEM_NOT_FOUND			MAKE_SQLSTATE('I','D','4','0','4')

/* The key, the payment or the request is in flight: retry with the same key. */
#define ERRCODE_IDEM_IN_FLIGHT			MAKE_SQLSTATE('I','D','4','0','9')

/* The state of the payment or request forbids it: look, then decide. */
#define ERRCODE_IDEM_STATE				MAKE_SQLSTATE('I','D','4','1','2')

/* The key was used with a different request: a bug in the client. */
#define ERRCODE_IDEM_DIFFERENT_REQUEST	MAKE_SQLSTATE('I','D','4','2','2')

/* The two classes, and an SQLSTATE of class ID in class PT. */
#define ERRORS_CLASS_ID		ERRCODE_TO_CATEGORY(MAKE_SQLSTATE('I','D','0','0','0'))
#define ERRORS_CLASS_PT		ERRCODE_TO_CATEGORY(MAKE_SQLSTATE('P','T','0','0','0'))
#define ERRORS_AS_PT(sqlstate)	((sqlstate) - ERRORS_CLASS_ID + ERRORS_CLASS_PT)

/*
 * The SQLSTATE to raise for this one.  It is another only if this one is of class ID
 * and idempotency.error_class is "PT".
 */
extern int	errors_to_raise(int sqlstate);

/*
 * The SQLSTATE of an error that was caught, to be stored or compared.  If we raised
 * the error, in whatever class, it is of class ID.
 */
extern int	errors_sqlstate(const ErrorData *error);

/* PostgreSQL's errcode(), for all files that include this header. */
#define errcode(sqlstate) errcode(errors_to_raise(sqlstate))

/* The domain of the errors that we raise.  So we know them when we catch them. */
#undef TEXTDOMAIN
#define TEXTDOMAIN "idempotency"

#endif							/* IDEM_ERRORS_H */
