/*-------------------------------------------------------------------------
 *
 * legs.h
 *		The legs of a post, as its row has them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_LEGS_H
#define IDEM_LEGS_H

#include "utils/jsonb.h"

#include "ledger/ledger.h"

/* The legs of a post, in the order given. */
typedef struct Legs
{
	int			n;				/* at most LEDGER_MAX_LEGS */
	Leg			leg[FLEXIBLE_ARRAY_MEMBER];
} Legs;

/* Legs for n accounts, all of them zero, in the current memory context. */
extern Legs *legs_make(int n);

/*
 * As they are stored: an array with an object for each leg, which has its account, its
 * amount and, if it has an entry, the entry's seq.
 */
extern Jsonb *legs_to_jsonb(const Legs *legs);

/*
 * Are these the legs that are stored?  Their order does not matter, nor does seq.
 * False if what is stored was written by hand, and is no legs.
 */
extern bool legs_are_stored(const Legs *legs, Jsonb *stored);

/* The first two legs that are of the same account; false: there are none. */
extern bool legs_find_twice(const Legs *legs, int *first, int *second);

#endif							/* IDEM_LEGS_H */
