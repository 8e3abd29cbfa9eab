/*-------------------------------------------------------------------------
 *
 * claim.h
 *		The claim: finding out, safely, whether a key is new, in flight or
 *		already answered.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_CLAIM_H
#define IDEM_CLAIM_H

#include "storage/lock.h"

#include "key.h"
#include "refusal.h"
#include "claim/settle.h"
#include "table/store.h"

typedef struct Claim
{
	Store	   *stores;			/* the tables that a key may be in */
	int			nstores;
	Store	   *store;			/* the one with the row found */
	Store	   *target;			/* the one that takes a new row */
	/* NULL: all rows are */
	bool		(*is_answer) (Store *store, TransactionId waited_for);
	TransactionId waited_for;	/* the last transaction that was waited for */
	const Key  *key;
	RowState	state;			/* as of the last probe */
	bool		answered;		/* did that find an answer? */
	Unsettled  *unsettled;		/* answers that the caller settles; NULL: we do */
	LOCKTAG		tag;			/* the key's lock */
	bool		locked;			/* is it held? */
	LOCKTAG		payment_tag;	/* likewise the payment's */
	bool		payment_locked;
	RowState	payment_state;	/* of its newest row; that is in the slot */
} Claim;

/* A claim on a key of payments. */
extern void claim_init(Claim *claim, Store *store, const Key *key);

/*
 * Look whether the key has been answered.  True: it has, the row is in the
 * store's slot and settled, and nothing was locked or written.  False: go on with
 * claim_take().
 *
 * command: the function's name, for messages.
 *
 * Errors: 25000 if it has not, in a parallel operation; 57014 of settle().
 */
extern bool claim_find(Claim *claim, const char *command);

/*
 * Make the key ours.  True: it is; do the work, insert the row into the target,
 * and call claim_release().  (If state is not ROW_ABSENT then, there is a row in
 * the store's slot that is no answer.)  False: somebody else's answer came
 * first, and its row is in the store's slot, settled.
 *
 * command: the function's name, for messages.
 *
 * Errors: 25006 in a read-only transaction or on a standby; ID409 if the key is
 * in flight and idempotency.in_flight is "fail"; 40001 at REPEATABLE READ and
 * SERIALIZABLE if the key was answered since the transaction's snapshot; 55P03,
 * 40P01 and 57014 from waiting; 55000 if this transaction is at work on the
 * same key already.
 */
extern bool claim_take(Claim *claim, const char *command);

/*
 * Probe again, where the store has been used for something else.
 */
extern void claim_again(Claim *claim);

/*
 * Settle the row found, where it is no answer and is returned all the same.
 *
 * Error: 57014 of settle().
 */
extern void claim_settle(Claim *claim);

/*
 * With the key ours, make a payment ours as well.  True: it is; its newest row
 * is in the store's slot, unless payment_state is ROW_ABSENT.  False: somebody
 * was at work on it, and we waited for that without a lock; start again with
 * claim_take().
 *
 * Errors: as those of claim_take().
 */
extern bool claim_payment(Claim *claim, const text *scope,
						  const pg_uuid_t *payment_id);

/*
 * Make a payment ours without a key, if nobody is at work on it; the rest as
 * above.  False: somebody is, and nothing was waited for.
 *
 * Errors: 25006; 40001.
 */
extern bool claim_idle_payment(Claim *claim, const text *scope,
							   const pg_uuid_t *payment_id,
							   const char *command);

/*
 * At SERIALIZABLE, have other transactions know that the payment's newest row
 * has been read.  For refusals: what they are decided by leaves no other trace,
 * and the caller may survive them behind a savepoint.  The row found before is
 * not valid any more.
 */
extern void claim_note_payment(Claim *claim, const text *scope,
							   const pg_uuid_t *payment_id);

/*
 * Let the locks go: from here on the inserted row guards the key, and the
 * payment.
 */
extern void claim_release(Claim *claim);

/* Let one lock go, that is not released with its claim. */
extern void claim_unlock(const LOCKTAG *tag);

/*
 * Many keys at a time, up to STORE_MANY.  All of them are locked before any is
 * probed, so that one walk through the index tells of them all.
 */
typedef struct ClaimMany
{
	Store	   *store;
	int			nlocks;
	LOCKTAG		tags[STORE_MANY];
	bool		probed;			/* since they were locked */
	Unsettled  *unsettled;		/* answers that the caller is to settle */
} ClaimMany;

/*
 * Begin to claim; then set unsettled.
 *
 * Errors: 25006 in a read-only transaction or on a standby, 25000 in a parallel
 * operation.
 */
extern void claim_many_begin(ClaimMany *many, Store *store, const char *command);

/*
 * Lock n keys.  in_flight[i]: key i is in flight, and is not locked, as
 * idempotency.in_flight is "fail".
 *
 * Errors: 55P03, 40P01 and 57014 from waiting; 55000 if this transaction is at
 * work on one of the keys already.
 */
extern void claim_many_lock(ClaimMany *many, int n, const Key **keys,
							bool *in_flight);

/*
 * Find out about a key; in the order of their bytes.  ROW_ABSENT: it is ours,
 * if it is locked.  ROW_VISIBLE: it has been answered, and the row is in the store's slot.
 * ROW_IN_PROGRESS: release all, and store_wait().
 *
 * Error: 40001 as for claim_take().
 */
extern RowState claim_many_probe(ClaimMany *many, const Key *key);

extern void claim_many_release(ClaimMany *many);

/* ID409 */
extern Refusal *claim_in_flight(void);

#endif							/* IDEM_CLAIM_H */
