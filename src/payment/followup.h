/*-------------------------------------------------------------------------
 *
 * followup.h
 *		Making an operation that continues a payment.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_FOLLOWUP_H
#define IDEM_FOLLOWUP_H

#include "claim/claim.h"
#include "key.h"
#include "ledger/ledger.h"
#include "payment/operation.h"
#include "refusal.h"
#include "settings.h"

/*
 * Check what is asked for, as far as that does not depend on the payment.  An amount
 * of Infinity becomes NULL, all that is left, where there is something left.
 *
 * Refusals: those of money_check(); 22004 if the payment's id is NULL; 22023 if an
 * increase asks for nothing.
 */
extern Refusal *followup_check(OperationArgs *args);

/*
 * Make the operation to be stored, with its entries.  It is not inserted yet.  NULL: it
 * is made, or ledger_must_wait().
 *
 * claim: the key and the payment are ours.  args: has passed followup_check(); its
 * amount gets the payment's decimals.  declines: what becomes of an operation that
 * the payment's state forbids.
 *
 * Refusals: ID404 if there is no such payment; ID403 if it is another role's; 22023
 * if the currency is not the payment's; 22003 if the amount has more decimals, or
 * makes the total too large; ID412 if it is a post; ID412 of state_apply(), ID402 and ID412 of
 * movement_make(), unless they are recorded; the others of movement_make().
 *
 * Errors: those of operation_follow() and movement_make().
 */
extern Refusal *followup_make(Operation *op, Claim *claim, Ledger *ledger,
							  const Key *key, OperationArgs *args,
							  Declines declines);

#endif							/* IDEM_FOLLOWUP_H */
