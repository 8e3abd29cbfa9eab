/*-------------------------------------------------------------------------
 *
 * receipt.h
 *		What a payment function returns: a value of the type idem_receipt.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_RECEIPT_H
#define IDEM_RECEIPT_H

#include "fmgr.h"

#include "payment/operation.h"

/*
 * The receipt of an operation, as it was then: a value of the composite type
 * that the function being called returns.
 *
 * Error of all: 55000 if that type has other columns.
 */
extern Datum receipt_make(FunctionCallInfo fcinfo, const Operation *op,
						  bool replayed);

/*
 * The receipt of a payment's newest operation, with the payment's state now: when
 * the statement began, as in the view idempotency.payment.
 */
extern Datum receipt_make_now(FunctionCallInfo fcinfo, const Operation *op);

/*
 * The receipt of the row in a slot, replayed, after a look whether it is what
 * is asked for (args may be NULL) and the caller's to see.
 *
 * Errors: ID403, ID422.
 */
extern Datum receipt_replay(FunctionCallInfo fcinfo, TupleTableSlot *slot,
							const OperationArgs *args);

#endif							/* IDEM_RECEIPT_H */
