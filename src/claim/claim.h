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

#include "claim/settle.h"
#include "compat.h"
#include "key.h"
#include "refusal.h"
#include "table/store.h"

/*
 * Does the row in a slot answer its key for good?  waited: we waited for the
 * transaction that wrote it.
 */
typedef bool (*ClaimIsAnswer) (TupleTableSlot *slot, bool waited);

/* The tables that a key may be in. */
typedef struct ClaimTables
{
	Store	   *stores;
	int			nstores;
	Store	   *target;			/* the one that takes a new row */
	AttrNumber	seq;			/* column that numbers rows, or 0 */
	ClaimIsAnswer is_answer;	/* NULL: every row is */
} ClaimTables;

/* Private to claim.c, which alone reads and writes its members. */
typedef struct Claim
{
	ClaimTables tables;
	const Key  *key;
	Unsettled  *unsettled;		/* the caller's to settle, or NULL */
	Store	   *store;			/* the one with the row found */
	RowState	state;			/* of that row, as of the last probe */
	bool		answered;		/* did that find an answer? */
	TransactionId waited_for;	/* the last transaction that was waited for */
	LOCKTAG		tag;			/* the key's lock */
	bool		locked;			/* is it held? */
	LOCKTAG		payment_tag;	/* the payment's lock */
	bool		payment_locked; /* is it held? */
	bool		payment_found;	/* is its newest row in the slot? */
} Claim;

/*
 * A claim on a key in one table, of which every row is an answer; and in several.
 * The key and the stores must stay where they are until the claim is released.
 */
extern void claim_init(Claim *claim, Store *store, const Key *key);
extern void claim_init_tables(Claim *claim, const ClaimTables *tables,
							  const Key *key);

/* Note answers in *unsettled, for the caller to settle, instead of settling them. */
extern void claim_defer_settling(Claim *claim, Unsettled *unsettled);

/*
 * Look whether the key has been answered.  True: it has; the row is in
 * claim_slot() and settled, and nothing was locked or written.  False: go on with
 * claim_take().
 *
 * command: the function's name, for messages.
 *
 * Errors: 25000 if it has not, in a parallel operation; 57014 of settle().
 */
extern bool claim_find(Claim *claim, const char *command);

/*
 * Make the key ours.  True: it is; do the work, and call claim_insert() and
 * claim_release().  False: somebody else's answer came first, and its row
 * is in claim_slot(), settled.
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
 * Make a key ours, and then a payment.  True: both are; the payment's newest row is
 * in claim_slot() if claim_has_payment().  False: as for claim_take().
 *
 * Errors: as those of claim_take(); ID409 also if the payment is in flight.
 */
extern bool claim_take_with_payment(Claim *claim, const text *scope,
									const pg_uuid_t *payment_id,
									const char *command);

/*
 * Make a payment ours without a key, if nobody is at work on it.  True: it is, and
 * the rest as above.  False: somebody is.  No transaction is waited for, and the
 * payment's lock only as long as others have it, which is never while they wait.
 *
 * Errors: 25006; 40001; 55P03, 40P01 and 57014 from waiting for the lock.
 */
extern bool claim_idle_payment(Claim *claim, const text *scope,
							   const pg_uuid_t *payment_id,
							   const char *command);

/*
 * The row found: the key's answer; with the key ours, its newest row, if there is
 * one that is no answer (claim_has_row()); with a payment ours, the payment's
 * newest row, if there is one (claim_has_payment()).
 */
extern TupleTableSlot *claim_slot(const Claim *claim);
extern bool claim_has_row(const Claim *claim);
extern bool claim_has_payment(const Claim *claim);

/* Insert a row into the target, with the key or the payment ours: store_insert(). */
extern void claim_insert(Claim *claim, Datum *values, bool *nulls);

/*
 * The key is ours, but nothing will be inserted: the row found is returned, though
 * it is no answer.  Release the key and settle the row.
 *
 * Error: 57014 of settle().
 */
extern void claim_give_up(Claim *claim);

/*
 * At SERIALIZABLE, have other transactions know that the payment's newest row
 * has been read.  For refusals: what they are decided by leaves no other trace,
 * and the caller may survive them behind a savepoint.  The row found before is
 * not valid any more.
 */
extern void claim_note_payment(Claim *claim, const text *scope,
							   const pg_uuid_t *payment_id);

/*
 * Release the locks: from here on the inserted row guards the key, and the
 * payment.
 */
extern void claim_release(Claim *claim);

/*
 * End the claim but keep the key's lock, for work that lasts longer than this call.
 * Returns the lock, to be given to lock_release_kept().
 */
extern LOCKTAG claim_keep_lock(Claim *claim);

/* ID409: the key is in flight. */
extern Refusal *claim_in_flight(void);

/* Raise 40001: of what is named there is a row that is not in the snapshot. */
pg_noreturn extern void claim_not_in_snapshot(const char *what);

#endif							/* IDEM_CLAIM_H */
