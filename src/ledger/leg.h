/*-------------------------------------------------------------------------
 *
 * leg.h
 *		One leg of an operation: what its account allows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_LEG_H
#define IDEM_LEG_H

#include "ledger/account.h"
#include "ledger/ledger.h"
#include "ledger/scan.h"

/*
 * Check a leg against its account.  Sets the leg's id; whether the account is closed to
 * it; and its floor and ceiling: the account's limits that the leg could pass, in the
 * current memory context.
 *
 * begins: see Posting.
 *
 * Refusals: 22023 if the account has another currency; ID403 if the leg takes from an
 * account of another role.
 */
extern Refusal *leg_check(Leg *leg, const Account *account, bool begins);

/* Refusal: ID412, the account is closed. */
extern Refusal *leg_check_open(const Leg *leg);

/*
 * Decide whether the limits of the account allow the leg.  *depends: set to true if that
 * depends on transactions in progress.  A refusal leaves a predicate lock.
 *
 * scan: the account, to decide.  entries: the open table, idempotency.entry.
 *
 * Refusals: ID402 if the leg would pass the floor; ID412 if it would pass the ceiling.
 */
extern Refusal *leg_decide(const Leg *leg, const AccountScan *scan, Store *entries, bool *depends);

/*
 * It depends on transactions in progress.  Raise 40001 if it will depend on what is
 * outside the snapshot, whatever becomes of them.
 */
extern void leg_check_wait(const Leg *leg, const AccountScan *scan);

/* What the leg changes in its account. */
extern Sums leg_change(const Leg *leg);

/* Can the account forbid the leg: by a limit, or as it is closed? */
extern bool leg_decides(const Leg *leg);

/* Does the leg change nothing? */
extern bool leg_is_empty(const Leg *leg);

#endif							/* IDEM_LEG_H */
