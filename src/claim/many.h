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
	KEY_ANSWERED,				/* its row is in claim_many_slot() */
	KEY_IN_FLIGHT,				/* refuse it: idempotency.in_flight is "fail" */
	KEY_WAIT					/* in flight: end the claim, then try again */
} KeyState;

/* A claim on many keys.  Only many.c reads and writes its members. */
typedef struct ClaimMany
{
	Store	   *store;
	Unsettled  *unsettled;		/* answers that the caller settles */
	int			nkeys;
	const Key **keys;
	bool		in_flight[STORE_MANY];	/* has somebody else locked the key? */
	int			nlocks;			/* how many are locked, and their locks */
	LOCKTAG		tags[STORE_MANY];
	bool		probed;			/* has a key been probed since then? */
	bool		wait;			/* must we wait for what the last probe found? */
	int			wait_key;		/* number of that key */
} ClaimMany;

/*
 * Begin to claim many keys.  All of them are locked before any is probed, so that
 * one walk through the index finds them all.
 *
 * store: the open table, idempotency.operation.  n: at most STORE_MANY.  keys: in
 * the order of key_compare(), each different; array and keys must stay where they
 * are until claim_many_end().  unsettled: the answers found are noted there, and the
 * caller settles them.  command: the function's name, for messages.
 *
 * Errors: 25006 in a read-only transaction or on a standby; 25000 in a parallel
 * operation; 55P03, 40P01 and 57014 from waiting; 55000 if this transaction is
 * working on one of the keys already.
 */
extern void claim_many_begin(ClaimMany *many, Store *store, int n,
							 const Key **keys, Unsettled *unsettled,
							 const char *command);

/*
 * Find out about key number i.  The keys are probed one after the other, from 0.
 * After KEY_WAIT no other is probed.
 *
 * Errors: 40001 at REPEATABLE READ and SERIALIZABLE if the key has a row that is not
 * in the transaction's snapshot; those of store_probe_key_in_order().
 */
extern KeyState claim_many_probe(ClaimMany *many, int i);

/* The slot of the row found last.  The next probe replaces the row. */
extern TupleTableSlot *claim_many_slot(const ClaimMany *many);

/*
 * Insert n rows, of keys that are new.  values, nulls: of each row, an entry for each
 * column.
 *
 * Errors: those of store_insert_many().
 */
extern void claim_many_insert(ClaimMany *many, int n, Datum **values,
							  bool **nulls);

/* Release all pages, before an insert that may have to wait. */
extern void claim_many_let_go(ClaimMany *many);

/*
 * Release the keys.
 *
 * wait: if the last probe returned KEY_WAIT, wait for the transaction that has the key.
 *
 * Errors: 55P03, 40P01 and 57014 from waiting.
 */
extern void claim_many_end(ClaimMany *many, bool wait);

#endif							/* IDEM_MANY_H */
