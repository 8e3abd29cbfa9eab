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
 * Does the row in a slot answer its key for good?
 *
 * waited: the last transaction that we waited for is the one that wrote the row.
 */
typedef bool (*ClaimIsAnswer) (TupleTableSlot *slot, bool waited);

/* The tables that a key may be in. */
typedef struct ClaimTables
{
	Store	   *stores;			/* open; the first one's OID is in the lock */
	int			nstores;
	Store	   *target;			/* the one that takes a new row */
	AttrNumber	seq;			/* integer column that numbers rows, or 0 */
	ClaimIsAnswer is_answer;	/* NULL: every row is */
} ClaimTables;

/* A claim on a key.  Only claim.c reads and writes its members. */
typedef struct Claim
{
	ClaimTables tables;
	const Key  *key;
	Unsettled  *unsettled;		/* the caller's to settle, or NULL */
	Refusal   **in_flight;		/* where ID409 goes; NULL: raise it */
	Unsettled	no_answer;		/* the row found, if the key is ours */
	Store	   *store;			/* the one with the row found */
	RowState	state;			/* of that row, as of the last probe */
	bool		answered;		/* did the last probe find an answer? */
	TransactionId waited_for;	/* the last transaction that was waited for,
								 * or invalid */
	bool		writes;			/* is the target locked for an INSERT? */
	LOCKTAG		tag;			/* the key's lock */
	bool		locked;			/* is it held? */
	LOCKTAG		payment_tag;	/* the payment's lock */
	bool		payment_locked; /* is it held? */
	bool		payment_found;	/* is the payment's newest row in the slot? */
} Claim;

/*
 * Prepare a claim on a key in one open table, where every row is an answer.  The key
 * and the store must stay where they are until the claim has ended.
 */
extern void claim_init(Claim *claim, Store *store, const Key *key);

/*
 * Prepare a claim on a key that may be in several tables.  *tables is copied.  Its
 * stores, and the key, must stay where they are until the claim has ended.
 */
extern void claim_init_tables(Claim *claim, const ClaimTables *tables,
							  const Key *key);

/* Note answers in *unsettled, and leave it to the caller to settle them. */
extern void claim_defer_settling(Claim *claim, Unsettled *unsettled);

/*
 * Do not raise ID409 if the key or the payment is in flight.  claim_take() and
 * claim_take_with_payment() then return false, set *refusal to it, and have found no
 * answer.  Otherwise *refusal stays as it is.
 */
extern void claim_defer_refusal(Claim *claim, Refusal **refusal);

/*
 * Has the key been answered?  True: the row is in claim_slot() and settled.  The key
 * was not locked, and nothing was written.  False: go on with claim_take().
 *
 * command: the function's name, for messages.
 *
 * Errors: 25000 if it has not, in a parallel operation; those of store_probe_key()
 * and settle().
 */
extern bool claim_find(Claim *claim, const char *command);

/*
 * Make the key ours, after claim_find().  True: it is.  Do the work, then call
 * claim_insert() and claim_release().  False: another answer came first.  Its row is
 * in claim_slot() and settled.
 *
 * command: the function's name, for messages.
 *
 * Errors: 25006 in a read-only transaction or on a standby; ID409 if the key is
 * in flight and idempotency.in_flight is "fail"; 40001 at REPEATABLE READ and
 * SERIALIZABLE if the key has a row that is not in the transaction's snapshot;
 * 55P03, 40P01 and 57014 from waiting; 55000 if this transaction is working on the
 * same key already; those of store_probe_key() and settle().
 */
extern bool claim_take(Claim *claim, const char *command);

/*
 * Make the key ours, and then a payment.  True: both are.  If claim_has_payment(),
 * the payment's newest row is in claim_slot().  False: another answer to the key
 * came first.  Its row is in claim_slot() and settled.
 *
 * scope, payment_id: the payment's; there need not be such a payment.
 *
 * Errors: those of claim_take(); ID409 also if the payment is in flight and
 * idempotency.in_flight is "fail"; 40001 also if the payment's newest row is not in
 * the snapshot; those of lock_payment().
 */
extern bool claim_take_with_payment(Claim *claim, const text *scope,
									const pg_uuid_t *payment_id,
									const char *command);

/*
 * Make a payment ours without a key, if no transaction in progress has it.  True: it
 * is ours.  If claim_has_payment(), its newest row is in claim_slot().  False: a
 * transaction in progress has it, or its lock is not free.
 *
 * This waits for no transaction to end.
 *
 * Errors: 25006 in a read-only transaction or on a standby; 40001 at REPEATABLE READ
 * and SERIALIZABLE if the payment's newest row is not in the transaction's snapshot;
 * those of lock_payment() and store_probe_payment().
 */
extern bool claim_idle_payment(Claim *claim, const text *scope,
							   const pg_uuid_t *payment_id,
							   const char *command);

/*
 * The slot of the row found.  That is the key's answer.  If the key is ours, it is
 * the key's newest row, which is no answer; see claim_has_row().  If a payment is
 * ours, it is the payment's newest row; see claim_has_payment().
 */
extern TupleTableSlot *claim_slot(const Claim *claim);

/* Was there a row of the key at the last probe? */
extern bool claim_has_row(const Claim *claim);

/* Does the payment that is ours exist? */
extern bool claim_has_payment(const Claim *claim);

/*
 * Insert a row into the target.  The key or the payment must be ours.
 *
 * values, nulls: an entry for each column.
 *
 * Errors: those of store_insert().
 */
extern void claim_insert(Claim *claim, Datum *values, bool *nulls);

/*
 * Give up a key that is ours: nothing will be inserted, and the row found will be
 * returned though it is no answer.  Release the key and settle the row.
 *
 * Errors: those of settle().
 */
extern void claim_give_up(Claim *claim);

/* The key is ours, but nothing will be inserted: release the key. */
extern void claim_withdraw(Claim *claim);

/*
 * At SERIALIZABLE, leave a predicate lock on the payment's newest row, before a
 * refusal that depends on it.  A refusal writes nothing, so it leaves no other trace
 * of what it depends on; and its caller may roll back to a savepoint and go on.  The
 * row found before is not valid any more.
 */
extern void claim_predicate_lock_payment(Claim *claim, const text *scope,
										 const pg_uuid_t *payment_id);

/*
 * The key is ours, but its work cannot be done now.  Release the locks.  After a wait,
 * the caller calls claim_try_again(), and goes on as after claim_find().
 *
 * Errors: those of claim_find().
 */
extern void claim_pause(Claim *claim);
extern void claim_try_again(Claim *claim);

/*
 * Release the locks.  From here on, the inserted row guards the key and the payment.
 */
extern void claim_release(Claim *claim);

/*
 * End the claim but keep the key's lock, for work that lasts longer than this call.
 * The key must be ours, and no payment.
 *
 * Result: the lock, for lock_release_kept().
 */
extern LOCKTAG claim_keep_lock(Claim *claim);

/* ID409: the key is in flight in another transaction. */
extern Refusal *claim_in_flight(void);

/* Raise 40001: the key has a row that is not in the snapshot. */
pg_noreturn extern void claim_raise_not_in_snapshot(void);

#endif							/* IDEM_CLAIM_H */
