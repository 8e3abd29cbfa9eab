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
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_ERRORS_H
#define IDEM_ERRORS_H

#include "utils/elog.h"

/* The key is missing, empty, too long, has a control character or a reserved prefix: fix the request. */
#define ERRCODE_IDEM_BAD_KEY			MAKE_SQLSTATE('I','D','4','0','0')

/* The key, or the payment, belongs to another role. */
#define ERRCODE_IDEM_FORBIDDEN			MAKE_SQLSTATE('I','D','4','0','3')

/* There is no such payment, or request. */
#define ERRCODE_IDEM_NOT_FOUND			MAKE_SQLSTATE('I','D','4','0','4')

/* The key, the payment or the request is in flight: retry with the same key. */
#define ERRCODE_IDEM_IN_FLIGHT			MAKE_SQLSTATE('I','D','4','0','9')

/* The state of the payment or request forbids it: look, then decide. */
#define ERRCODE_IDEM_STATE				MAKE_SQLSTATE('I','D','4','1','2')

/* The key was used with a different request: a bug in the client. */
#define ERRCODE_IDEM_DIFFERENT_REQUEST	MAKE_SQLSTATE('I','D','4','2','2')

#endif							/* IDEM_ERRORS_H */
