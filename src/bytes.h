/*-------------------------------------------------------------------------
 *
 * bytes.h
 *		Texts and bytea, compared byte by byte.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_BYTES_H
#define IDEM_BYTES_H

#include "compat.h"

/* Neither may be compressed or stored out of line; NULL is like NULL alone. */
static inline bool
bytes_equal(const void *a, const void *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* The same, with a string. */
static inline bool
bytes_equal_cstring(const void *a, const char *s)
{
	return VARSIZE_ANY_EXHDR(a) == strlen(s) &&
		memcmp(VARDATA_ANY(a), s, strlen(s)) == 0;
}

#endif							/* IDEM_BYTES_H */
