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
 * SHA-256 of a JSON value, as one of this kind: those of different kinds are
 * different.  Values that are equal as jsonb have the same: the
 * order of members, white space and the way numbers are written do not matter.
 */
extern bytea *fingerprint_make(const char *kind, text *json);

#endif							/* IDEM_FINGERPRINT_H */
