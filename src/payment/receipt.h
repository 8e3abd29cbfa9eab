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
#include "nodes/execnodes.h"

#include "payment/operation.h"

/*
 * The receipt of an operation, with the payment's state when it was made.  It is a
 * value of the composite type that the function being called returns.
 *
 * replayed: was the operation stored by an earlier call?
 *
 * Error: 55000 if that type has other columns than the library knows.
 */
extern Datum receipt_make(FunctionCallInfo fcinfo, const Operation *op,
						  bool replayed);

/* The receipt of an operation that this call has stored, which counts it. */
extern Datum receipt_new(FunctionCallInfo fcinfo, const Operation *op);

/*
 * The receipt of a payment's newest operation, replayed, with the payment's state
 * when the statement began.  That is also the time of the view
 * idempotency.payment.
 *
 * Error: 55000, as above.
 */
extern Datum receipt_make_now(FunctionCallInfo fcinfo, const Operation *op);

/*
 * The receipt of the row in a slot, replayed.
 *
 * args: what the caller asks for; the call counts as replayed.  NULL: the caller only
 * looks, and any operation will do.
 *
 * Errors: ID403 if the current role may not see it; ID422 if it is not what is
 * asked for; 55000, as above.
 */
extern Datum receipt_replay(FunctionCallInfo fcinfo, TupleTableSlot *slot,
							const OperationArgs *args);

/* Put a receipt into the result of a function that returns a set of them. */
extern void receipt_put(ReturnSetInfo *rsinfo, Datum receipt);

#endif							/* IDEM_RECEIPT_H */
