/*-------------------------------------------------------------------------
 *
 * canonical.h
 *		The canonical form of a JSON text, by which JSON is compared.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_CANONICAL_H
#define IDEM_CANONICAL_H

/* Takes the next bytes of the canonical form. */
typedef void (*CanonicalWrite) (void *arg, const char *bytes, size_t len);

/*
 * Write the canonical form of a JSON text.  canonical.c says what it is.  False: the
 * text is no JSON, and nothing has been written.
 *
 * json: in UTF-8, len bytes, below 1 GB.  Bytes above 127 are taken as they are.
 * write: is called with arg and a part of the form, once or more.
 *
 * Memory and time: in proportion to len, times its logarithm if members have to be
 * sorted.  Nesting has no limit.
 *
 * Errors: those of write.
 */
extern bool canonical_json(const char *json, size_t len, CanonicalWrite write,
						   void *arg);

#endif							/* IDEM_CANONICAL_H */
