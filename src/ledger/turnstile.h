/*-------------------------------------------------------------------------
 *
 * turnstile.h
 *		Who has waited for long comes first.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_TURNSTILE_H
#define IDEM_TURNSTILE_H

#include "storage/lock.h"

struct AccountScan;

/* The turnstile of a wait.  All zero: it has none. */
typedef struct Turnstile
{
	bool		held;
	LOCKTAG		lock;
	TransactionId before;		/* when it was taken, older ones were there */
	int			left;			/* how many of them were left at the last look */
	int			idle;			/* slices since one of them has ended */
	int			slices;			/* of this turn */
	int			turns;			/* how often it was taken */
	int			rest;			/* slices that are left to the others */
} Turnstile;

/*
 * The account was looked at, and others in progress still decide.
 */
extern void turnstile_look(Turnstile *turnstile, const struct AccountScan *scan);

/*
 * Before a slice of waiting: take the turnstile of the account, keep it, or give it up.
 *
 * account: the account's lock.  may_take: may the caller take it?  waits: how many
 * slices have been waited for.
 */
extern void turnstile_begin_slice(Turnstile *turnstile, const LOCKTAG *account, bool may_take,
								  int waits);

/* Release it, if it is held. */
extern void turnstile_release(Turnstile *turnstile);

/*
 * May a decision be used that was made for the account, with its lock held?  False: who
 * has the turnstile comes first.
 */
extern bool turnstile_may_pass(const LOCKTAG *account, const struct AccountScan *scan);

/*
 * Wait until nobody has the turnstile of the account.
 *
 * Errors: 55P03, 40P01 and 57014 from waiting.
 */
extern void turnstile_pass(const LOCKTAG *account);

#endif							/* IDEM_TURNSTILE_H */
