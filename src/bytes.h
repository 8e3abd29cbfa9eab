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

/*
 * Are the two the same?  Neither may be compressed or stored out of line.  NULL
 * equals NULL and nothing else.
 */
static inline bool
bytes_equal(const void *a, const void *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* Is it the same as a string?  Neither may be NULL. */
static inline bool
bytes_equal_cstring(const void *a, const char *s)
{
	return VARSIZE_ANY_EXHDR(a) == strlen(s) &&
		memcmp(VARDATA_ANY(a), s, strlen(s)) == 0;
}

/* The order of two texts by their bytes, as in collation "C": <0, 0, >0. */
static inline int
bytes_compare(const text *a, const text *b)
{
	int			a_len = VARSIZE_ANY_EXHDR(a);
	int			b_len = VARSIZE_ANY_EXHDR(b);
	int			order = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(a_len, b_len));

	return order != 0 ? order : a_len - b_len;
}

#endif							/* IDEM_BYTES_H */
