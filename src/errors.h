/*-------------------------------------------------------------------------
 *
 * errors.h
 *		SQLSTATEs of the key protocol.
 *
 * Class "ID".  The last three characters are the HTTP status that a service
 * in front of the database answers with, so that it needs no table of its
 * own; the statuses are those of the IETF draft "The Idempotency-Key HTTP
 * Header Field" (400, 409, 422) and of RFC 9110 for the rest.
 *
 * Malformed arguments other than the key (amount, currency, ...) are
 * PostgreSQL's own class 22, and whatever only wants the transaction to be
 * run again is PostgreSQL's own 40001, 40P01 and 55P03.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_ERRORS_H
#define IDEM_ERRORS_H

#include "utils/elog.h"

/* the key is missing, empty, too long or not printable: fix the request */
#define ERRCODE_IDEM_BAD_KEY			MAKE_SQLSTATE('I','D','4','0','0')

/* the key, or the payment, belongs to another role */
#define ERRCODE_IDEM_FORBIDDEN			MAKE_SQLSTATE('I','D','4','0','3')

/* there is no such payment, or request */
#define ERRCODE_IDEM_NOT_FOUND			MAKE_SQLSTATE('I','D','4','0','4')

/* the key is in flight: retry later with the same key */
#define ERRCODE_IDEM_IN_FLIGHT			MAKE_SQLSTATE('I','D','4','0','9')

/* the key's answer has expired: do not retry blindly */
#define ERRCODE_IDEM_EXPIRED			MAKE_SQLSTATE('I','D','4','1','0')

/* the state of the payment or request forbids it: look, then decide */
#define ERRCODE_IDEM_STATE				MAKE_SQLSTATE('I','D','4','1','2')

/* the key was used with a different request: a bug in the client */
#define ERRCODE_IDEM_DIFFERENT_REQUEST	MAKE_SQLSTATE('I','D','4','2','2')

#endif							/* IDEM_ERRORS_H */
