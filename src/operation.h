/*-------------------------------------------------------------------------
 *
 * operation.h
 *		The row of an operation, its comparison with a request, the receipt.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_OPERATION_H
#define IDEM_OPERATION_H

#include "executor/tuptable.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "catalog.h"

/* A row of idempotency.operation; column n is at [n - 1]. */
typedef struct Operation
{
	Datum		values[Natts_operation];
	bool		nulls[Natts_operation];
} Operation;

#define operation_get(op, column)	((op)->values[Anum_operation_##column - 1])
#define operation_is_null(op, column)	((op)->nulls[Anum_operation_##column - 1])

/* What a client asks for. */
typedef struct OperationRequest
{
	const char *operation;		/* its kind: "pay" */
	Numeric		amount;			/* in the currency's major unit */
	text	   *currency;		/* never NULL */
	text	   *from_account;	/* these may be NULL */
	text	   *to_account;
	text	   *reference;
	Jsonb	   *metadata;
} OperationRequest;

/* Take the row out of a slot.  Its values live as long as the slot's. */
extern void operation_from_slot(Operation *op, TupleTableSlot *slot);

/*
 * Raise ID422, naming the first field that differs, unless the operation is
 * what the request asks for.
 */
extern void operation_check_request(const Operation *op,
									const OperationRequest *request);

/*
 * Raise ID403 if the current role may not see the operation.
 */
extern void operation_check_access(const Operation *op);

/*
 * The receipt of an operation: a value of the composite type that the function
 * being called returns.
 */
extern Datum operation_receipt(FunctionCallInfo fcinfo, const Operation *op,
							   TimestampTz at, bool replayed);

#endif							/* IDEM_OPERATION_H */
