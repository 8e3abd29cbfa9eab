/*-------------------------------------------------------------------------
 *
 * sums.h
 *		What entries add up to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_SUMS_H
#define IDEM_SUMS_H

#include "utils/numeric.h"

/* What entries add up to.  A number that is NULL is zero. */
typedef struct Sums
{
	Numeric		posted;
	Numeric		held;
	int64		entries;		/* how many they are */
} Sums;

/* Add up.  NULL stands for zero. */
extern Numeric sums_add_numeric(Numeric a, Numeric b);
extern void sums_add(Sums *sums, const Sums *change);

/* posted - held; NULL: zero. */
extern Numeric sums_available(const Sums *sums);

#endif							/* IDEM_SUMS_H */
