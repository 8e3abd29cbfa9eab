/*-------------------------------------------------------------------------
 *
 * fingerprint.h
 *		The fingerprint of a request, by which a replay is compared.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_FINGERPRINT_H
#define IDEM_FINGERPRINT_H

/* What a fingerprint is of.  The same content of another kind has another one. */
typedef enum FingerprintKind
{
	FINGERPRINT_JSON,			/* a request, compared by its meaning */
	FINGERPRINT_BYTES,			/* a request, compared byte by byte */
	FINGERPRINT_COMMAND			/* of idem_execute(), a JSON object */
} FingerprintKind;

/*
 * The fingerprint of some content: SHA-256, in the current memory context.  JSON is
 * compared by its meaning, which canonical.c defines.
 *
 * content: in the encoding of the database.  If the kind is a JSON one, the content
 * is known to be JSON.
 */
extern bytea *fingerprint_make(FingerprintKind kind, const char *content,
							   size_t len);

/*
 * The fingerprint of argument n, a request; NULL if it is null.  json and jsonb are
 * compared by their meaning.  text and bytea are compared by their bytes.
 *
 * name: the argument's, for messages.
 *
 * Errors: 22023 if it is the text that JavaScript makes of an object; 42804 if it is
 * of another type.
 */
extern bytea *fingerprint_of_argument(FunctionCallInfo fcinfo, int n,
									  const char *name);

#endif							/* IDEM_FINGERPRINT_H */
