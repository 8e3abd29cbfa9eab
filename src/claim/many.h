/*-------------------------------------------------------------------------
 *
 * many.h
 *		Claiming many keys at a time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_MANY_H
#define IDEM_MANY_H

#include "storage/lock.h"

#include "claim/settle.h"
#include "key.h"
#include "refusal.h"
#include "table/store.h"

/* What a claim finds out about one of many keys. */
typedef enum KeyState
{
	KEY_NEW,					/* it is ours */
	KEY_ANSWERED,				/* the row is in claim_many_slot() */
	KEY_IN_FLIGHT,				/* ID409: idempotency.in_flight is "fail" */
	KEY_WAIT					/* in flight: end the claim, then try again */
} KeyState;

/* Private to many.c. */
typedef struct ClaimMany
{
	Store	   *store;
	Unsettled  *unsettled;		/* answers that the caller settles */
	int			nkeys;
	const Key **keys;
	bool		in_flight[STORE_MANY];	/* is another at work on the key? */
	int			nlocks;
	LOCKTAG		tags[STORE_MANY];
	bool		probed;			/* since they were locked */
	bool		wait;			/* for what the last probe found? */
} ClaimMany;

/*
 * Begin to claim n keys, at most STORE_MANY.  All of them are locked before any is
 * probed, so that one walk through the index finds them all.  They are in the order
 * of key_compare(), differ from each other, and stay where they are.  unsettled: takes note of the answers
 * found, for the caller to settle.
 *
 * Errors: 25006 in a read-only transaction or on a standby, 25000 in a parallel
 * operation; 55P03, 40P01 and 57014 from waiting; 55000 if this transaction is at
 * work on one of the keys already.
 */
extern void claim_many_begin(ClaimMany *many, Store *store, int n,
							 const Key **keys, Unsettled *unsettled,
							 const char *command);

/*
 * Find out about a key, by its number: one after the other, from the first.
 *
 * Error: 40001 as for claim_take().
 */
extern KeyState claim_many_probe(ClaimMany *many, int i);

/* The row found last. */
extern TupleTableSlot *claim_many_slot(const ClaimMany *many);

/* Insert the rows of keys that are new: store_insert_many(). */
extern void claim_many_insert(ClaimMany *many, int n, Datum **values,
							  bool **nulls);

/* Let all pages go, before an insert that may have to wait. */
extern void claim_many_let_go(ClaimMany *many);

/*
 * Release the keys.  If the last probe said KEY_WAIT, wait.
 *
 * Errors: 55P03, 40P01 and 57014 from waiting.
 */
extern void claim_many_end(ClaimMany *many);

#endif							/* IDEM_MANY_H */
