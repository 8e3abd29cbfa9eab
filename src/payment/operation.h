/*-------------------------------------------------------------------------
 *
 * operation.h
 *		The row of an operation, its totals, its comparison with what is asked for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_OPERATION_H
#define IDEM_OPERATION_H

#include "executor/tuptable.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "utils/uuid.h"

#include "table/catalog.h"
#include "key.h"
#include "refusal.h"

/* A row of idempotency.operation; column n is at [n - 1]. */
typedef struct Operation
{
	Datum		values[Natts_operation];
	bool		nulls[Natts_operation];
} Operation;

/* The value of a column that is not NULL; and whether a column is NULL. */
#define operation_value(op, column)	operation_column(op, Anum_operation_##column)
#define operation_numeric(op, column)	DatumGetNumeric(operation_value(op, column))
#define operation_is_null(op, column)	operation_column_is_null(op, Anum_operation_##column)

/* The only ways to write one. */
#define operation_set(op, column, value) \
	operation_set_column(op, Anum_operation_##column, value)
#define operation_set_null(op, column)	operation_set_column_null(op, Anum_operation_##column)

/* The same, with the column in a variable. */
static inline Datum
operation_column(const Operation *op, int column)
{
	return op->values[column - 1];
}

/* Is it NULL? */
static inline bool
operation_column_is_null(const Operation *op, int column)
{
	return op->nulls[column - 1];
}

/* Write a value. */
static inline void
operation_set_column(Operation *op, int column, Datum value)
{
	op->values[column - 1] = value;
	op->nulls[column - 1] = false;
}

/* Write a NULL. */
static inline void
operation_set_column_null(Operation *op, int column)
{
	op->values[column - 1] = (Datum) 0;
	op->nulls[column - 1] = true;
}

typedef enum OperationKind
{
	OPERATION_UNKNOWN,			/* a row written by hand has another word */
	OPERATION_PAY,
	OPERATION_AUTHORIZE,
	OPERATION_CAPTURE,
	OPERATION_VOID,
	OPERATION_REFUND,
	OPERATION_CANCEL,			/* a key was cancelled unused */
	OPERATION_EXPIRE			/* an expired hold was released */
} OperationKind;

typedef enum PaymentStatus
{
	PAYMENT_AUTHORIZED,
	PAYMENT_PARTIALLY_CAPTURED,
	PAYMENT_SUCCEEDED,
	PAYMENT_PARTIALLY_REFUNDED,
	PAYMENT_REFUNDED,
	PAYMENT_VOIDED,
	PAYMENT_EXPIRED,
	PAYMENT_CANCELLED,			/* its key was cancelled unused */
	PAYMENT_DECLINED			/* not of a payment: of an operation */
} PaymentStatus;

/* A payment at a time.  The amounts are in the form in which they are stored. */
typedef struct PaymentState
{
	PaymentStatus status;
	Datum		capturable;		/* none once the hold has expired */
	Datum		refundable;
} PaymentState;

/* What a caller asks for. */
typedef struct OperationArgs
{
	OperationKind kind;
	const pg_uuid_t *payment_id;	/* NULL if it starts a payment */
	Numeric		amount;			/* in the currency's major unit; NULL: all
								 * that is left */
	text	   *currency;		/* NULL: the payment's */
	bool		final;			/* of a capture: release what it leaves */
	int64		expires_in;		/* of an authorization, in microseconds */
	text	   *from_account;	/* these may be NULL */
	text	   *to_account;
	text	   *reference;
	Jsonb	   *metadata;
} OperationArgs;

/* Take the row out of a slot.  Its values live as long as the slot's. */
extern void operation_from_slot(Operation *op, TupleTableSlot *slot);

/* Take a copy of it, which lives as long as the current memory context. */
extern void operation_copy(Operation *op, TupleTableSlot *slot);

/*
 * The first operation of a new payment, with its totals.  args: a pay or an
 * authorize, checked, with an amount.
 */
extern void operation_start(Operation *op, const Key *key,
							const OperationArgs *args);

/*
 * The next operation of the payment whose newest operation is given, with the
 * same totals; the amount is what args name, or zero.
 */
extern void operation_follow(Operation *op, const Operation *newest,
							 const Key *key, const OperationArgs *args);

/* Give it to the role that started the payment, whoever makes it. */
extern void operation_of_owner(Operation *op);

/* The row that answers a key which was cancelled before it was used. */
extern void operation_cancelled(Operation *op, const Key *key);

/* Make it one that was declined. */
extern void operation_decline(Operation *op, const Refusal *refusal);

/*
 * Assert what must be true of an operation that is ready to be inserted.  newest:
 * the payment's operation before it, NULL if it is the first.  If it is not true of
 * that one, somebody wrote it by hand, and nothing is asserted.
 */
#ifdef USE_ASSERT_CHECKING
extern void operation_assert_valid(const Operation *op, const Operation *newest);
#else
#define operation_assert_valid(op, newest)	((void) 0)
#endif

/* The code of its currency; empty if there is none. */
extern text *operation_currency(const Operation *op);

/* Its kind; OPERATION_UNKNOWN if somebody wrote another word by hand. */
extern OperationKind operation_kind(const Operation *op);
extern bool operation_is(const Operation *op, OperationKind kind);

/* The word for a kind. */
extern const char *operation_kind_name(OperationKind kind);

/* Was it declined? */
extern bool operation_is_declined(const Operation *op);

/* Why it was declined; NULL if it was not. */
extern Refusal *operation_refusal(const Operation *op);

/* Has the payment's hold run out at that time? */
extern bool operation_has_expired(const Operation *op, TimestampTz at);

/* Has what was left of the hold been released since it ran out? */
extern bool operation_is_expired(const Operation *op);

/* authorized - captured - released, and captured - refunded */
extern Numeric operation_capturable(const Operation *op);
extern Numeric operation_refundable(const Operation *op);

/*
 * Refuse, naming the first field that differs, unless the operation is what
 * is asked for.  (A cancelled key answers to all.)
 *
 * Refusal: ID422.
 */
extern Refusal *operation_check_args(const Operation *op,
									 const OperationArgs *args);

/*
 * May the current role see the operation, and have it replayed?  It needs the
 * privileges of the role that made it.
 *
 * Refusal: ID403.
 */
extern Refusal *operation_check_access(const Operation *op);

/*
 * May the current role see the payment, and go on with it?  It needs the
 * privileges of the role that started it, whoever made its newest operation.
 *
 * Refusal: ID403.
 */
extern Refusal *operation_check_payment_access(const Operation *op);

/* The payment's state at a time, see operation.c. */
extern PaymentState operation_payment_state(const Operation *op, TimestampTz at);

/* The state that is on the operation's receipt: as of then, or declined. */
extern PaymentState operation_state(const Operation *op);

/* The word for a status. */
extern const char *payment_status_name(PaymentStatus status);

#endif							/* IDEM_OPERATION_H */
