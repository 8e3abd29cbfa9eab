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
 * Check what the account of a leg allows, whatever it has.  Sets the leg's id,
 * and its floor and ceiling: the account's limits that the leg could pass, in the
 * current memory context.
 *
 * begins: see Posting.
 *
 * Refusals: 22023 if the account has another currency; ID403 if the leg takes from an
 * account of another role; ID412 if the account is closed.
 */
extern Refusal *leg_check(Leg *leg, const Account *account, bool begins);

/*
 * Decide whether the limits allow the leg.  *depends: set to true if that depends on
 * transactions in progress, or on what is outside the snapshot.
 *
 * scan: the account, to decide.
 *
 * Refusals: ID402 if it would pass the floor; ID412 if it would pass the ceiling.
 */
extern Refusal *leg_decide(const Leg *leg, const AccountScan *scan, bool *depends);

/* What the leg changes in its account. */
extern Sums leg_change(const Leg *leg);

/* Can a limit forbid the leg? */
extern bool leg_decides(const Leg *leg);

/* Does the leg change nothing? */
extern bool leg_is_empty(const Leg *leg);

#endif							/* IDEM_LEG_H */
