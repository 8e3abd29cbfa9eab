/*-------------------------------------------------------------------------
 *
 * movement.h
 *		What an operation moves between the accounts of its payment.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_MOVEMENT_H
#define IDEM_MOVEMENT_H

#include "ledger/ledger.h"
#include "ledger/many.h"
#include "payment/legs.h"
#include "payment/operation.h"
#include "refusal.h"

/*
 * Check the accounts that a new payment names: both or none, and different ones.
 *
 * Refusals: 22023 if only one is named, or both are the same; those of
 * key_check_account().
 */
extern Refusal *movement_check(const OperationArgs *args);

/*
 * Insert the entries of an operation.  Sets its from_seq and to_seq.  Does nothing if
 * the payment has no accounts.  NULL: done, or ledger_must_wait().
 *
 * op: ready to be inserted.  before: the payment's operation before it, or NULL if it
 * is the first.
 *
 * Refusals and errors: those of ledger_post().
 */
extern Refusal *movement_make(Ledger *ledger, Operation *op, const Operation *before);

/*
 * The same for the first operation of a payment, whose accounts are among those that are
 * locked.  The entries are not inserted yet.
 *
 * Refusals and errors: those of ledger_many_post().
 */
extern Refusal *movement_make_many(LedgerMany *many, Operation *op);

/*
 * Insert the entries of a post.  Sets seq in its legs.  NULL: done, or
 * ledger_must_wait().
 *
 * op: ready to be inserted, but for its legs.
 *
 * Refusals and errors: those of ledger_post().
 */
extern Refusal *movement_make_legs(Ledger *ledger, const Operation *op, Legs *legs);

/*
 * May a refusal of these be stored, as a declined operation?  One that says
 * that the request is wrong is raised.
 */
extern bool movement_may_be_declined(const Refusal *refusal);

#endif							/* IDEM_MOVEMENT_H */
