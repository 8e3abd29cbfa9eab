/*-------------------------------------------------------------------------
 *
 * fingerprint.h
 *		The fingerprint of a request, by which a replay is compared.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_FINGERPRINT_H
#define IDEM_FINGERPRINT_H

/*
 * The fingerprint of a JSON value: SHA-256, in the current memory context.  Values
 * that are equal as jsonb have the same.  So the order of members, white space and
 * the way numbers are written do not matter.
 *
 * kind: what the value is, "request" say.  The same value of another kind has another
 * fingerprint.  json: not NULL.
 *
 * Errors: those of a cast to jsonb, such as 22P02 and 22P05.
 */
extern bytea *fingerprint_make(const char *kind, text *json);

#endif							/* IDEM_FINGERPRINT_H */
