/*-------------------------------------------------------------------------
 *
 * operation.h
 *		The row of an operation, its totals, and its comparison with a request
 *		(operation_args.c).
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

#include "key.h"
#include "payment/legs.h"
#include "refusal.h"
#include "table/catalog.h"

/* A row of idempotency.operation; column n is at [n - 1]. */
typedef struct Operation
{
	Datum		values[Natts_operation];
	bool		nulls[Natts_operation];
} Operation;

/* The value of a column, by its name.  The column must not be null. */
#define operation_value(op, column)	operation_column(op, Anum_operation_##column)

/* The value of a column of type numeric. */
#define operation_numeric(op, column)	DatumGetNumeric(operation_value(op, column))

/* Is a column null? */
#define operation_is_null(op, column)	operation_column_is_null(op, Anum_operation_##column)

/* Set a column, by its name.  Nothing else writes a column. */
#define operation_set(op, column, value) \
	operation_set_column(op, Anum_operation_##column, value)
#define operation_set_null(op, column)	operation_set_column_null(op, Anum_operation_##column)

/* The value of a column, by its number.  The column must not be null. */
static inline Datum
operation_column(const Operation *op, int column)
{
	return op->values[column - 1];
}

/* Is a column null, by its number? */
static inline bool
operation_column_is_null(const Operation *op, int column)
{
	return op->nulls[column - 1];
}

/* Set a column, by its number.  The value is kept, not copied. */
static inline void
operation_set_column(Operation *op, int column, Datum value)
{
	op->values[column - 1] = value;
	op->nulls[column - 1] = false;
}

/* Set a column to null, by its number. */
static inline void
operation_set_column_null(Operation *op, int column)
{
	op->values[column - 1] = (Datum) 0;
	op->nulls[column - 1] = true;
}

/* What an operation does.  The column "kind" has the word for it. */
typedef enum OperationKind
{
	OPERATION_UNKNOWN,			/* any other word, written by hand */
	OPERATION_PAY,
	OPERATION_AUTHORIZE,
	OPERATION_CAPTURE,
	OPERATION_VOID,
	OPERATION_REFUND,
	OPERATION_INCREASE,			/* of a hold: its amount, its time or both */
	OPERATION_REVERSAL,			/* a refund reached nobody, and is undone */
	OPERATION_CANCEL,			/* a key was cancelled unused */
	OPERATION_EXPIRE,			/* an expired hold was released */
	OPERATION_POST				/* money moved between several accounts */
} OperationKind;

/* The status on a receipt: operation.c says what each means. */
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
	PAYMENT_DECLINED			/* of an operation, never of a payment */
} PaymentStatus;

/*
 * A payment at a given time.  The amounts are numeric, in the currency's major
 * unit, in the form in which they are stored: see money.h.
 */
typedef struct PaymentState
{
	PaymentStatus status;
	Datum		capturable;		/* zero once the hold has expired */
	Datum		refundable;
} PaymentState;

/* What a caller asks for. */
typedef struct OperationArgs
{
	OperationKind kind;
	const pg_uuid_t *payment_id;	/* NULL if it starts a payment */
	Numeric		amount;			/* in the currency's major unit; NULL: all
								 * that is left */
	text	   *currency;		/* NULL: the payment's, whichever that is; or
								 * a post is in several */
	bool		default_currency;	/* is it that of the setting? */
	bool		final;			/* of a capture: release what it leaves */
	int64		expires_in;		/* of an authorization or an increase, in
								 * microseconds; otherwise 0.  An increase
								 * with 0 leaves the expiry as it is */
	Legs	   *legs;			/* of a post; otherwise NULL */
	text	   *from_account;	/* this and the next three may be NULL */
	text	   *to_account;
	text	   *reference;
	Jsonb	   *metadata;
} OperationArgs;

/*
 * Read the row in a slot.  The values are not copied: they live as long as the
 * slot's.
 */
extern void operation_from_slot(Operation *op, TupleTableSlot *slot);

/* Copy the row in a slot into the current memory context. */
extern void operation_copy(Operation *op, TupleTableSlot *slot);

/*
 * Make the first operation of a new payment, with its id and its totals, as of
 * now.  It is not inserted yet.
 *
 * args: a pay or an authorize that payment_check() has passed, or a post whose entries
 * have been added up.  Its amount is not NULL.  The texts of key and args are kept, not
 * copied.
 *
 * Errors: 22021 of access_current_role(); XX000 of uuid7_make().
 */
extern void operation_start(Operation *op, const Key *key,
							const OperationArgs *args);

/*
 * Make the next operation of a payment, as of now.  It is not inserted yet.  It
 * has the totals of the payment's newest operation; state_apply() changes them.
 * Its amount is that of args, or zero if that is NULL.
 *
 * The values of newest, key and args are kept, not copied.
 *
 * Errors: 54000 if the payment cannot have more operations; 22021 of
 * access_current_role().
 */
extern void operation_follow(Operation *op, const Operation *newest,
							 const Key *key, const OperationArgs *args);

/* Set its totals, and when the hold expires, to those of the operation before. */
extern void operation_keep_totals(Operation *op, const Operation *newest);

/* Make it an operation of the role that started the payment. */
extern void operation_give_to_owner(Operation *op);

/*
 * Make the row that answers a key which was cancelled before it was used.
 *
 * Errors: as those of operation_start().
 */
extern void operation_make_cancelled(Operation *op, const Key *key);

/*
 * Make it a declined operation, which changes no totals.  Stores the refusal's SQLSTATE
 * and message.
 */
extern void operation_decline(Operation *op, const Refusal *refusal);

/*
 * Assert what must be true of an operation that is ready to be inserted.
 *
 * newest: the payment's operation before it, or NULL if it is the first.  If that
 * one is not valid, somebody wrote it by hand.  Then nothing is asserted.
 */
#ifdef USE_ASSERT_CHECKING
extern void operation_assert_valid(const Operation *op, const Operation *newest);
#else
#define operation_assert_valid(op, newest)	((void) 0)
#endif

/* The code of its currency.  Empty if it has none, or several. */
extern text *operation_currency(const Operation *op);

/* Its kind; OPERATION_UNKNOWN if the word for it was written by hand. */
extern OperationKind operation_kind(const Operation *op);

/* Is it of this kind? */
extern bool operation_is(const Operation *op, OperationKind kind);

/* The word for a kind, as it is stored. */
extern const char *operation_kind_name(OperationKind kind);

/*
 * Is there a payment that can be gone on with?  Not if its key was cancelled unused, or
 * if the operation that was to start it was declined.  op: the newest operation.
 */
extern bool operation_has_payment(const Operation *op);

/* Was it declined? */
extern bool operation_is_declined(const Operation *op);

/* Why it was declined, without DETAIL and HINT; NULL if it was not. */
extern Refusal *operation_refusal(const Operation *op);

/*
 * Has the payment's hold expired at this time, whether it was released or not?
 * False if the payment has no hold.
 */
extern bool operation_has_expired(const Operation *op, TimestampTz at);

/* Has idem_expire() released the payment's expired hold? */
extern bool operation_expiry_is_stored(const Operation *op);

/*
 * authorized - captured - released, in the currency's major unit.  Of an expired
 * hold that is not released yet, this is what it still holds.
 */
extern Numeric operation_capturable(const Operation *op);

/* captured - refunded, in the currency's major unit. */
extern Numeric operation_refundable(const Operation *op);

/* Nothing, with the payment's decimals. */
extern Datum operation_zero(const Operation *op);

/*
 * Is the operation what a request asks for?  The row of a cancelled key answers
 * every request.
 *
 * Refusal: ID422 with the first field that differs.
 */
extern Refusal *operation_check_args(const Operation *op,
									 const OperationArgs *args);

/*
 * May the current role see the operation, and have it replayed?  It needs the
 * privileges of the role that made the operation.
 *
 * Refusal: ID403.  Error: 22021 of access_allowed().
 */
extern Refusal *operation_check_access(const Operation *op);

/*
 * May the current role see the payment, and go on with it?  It needs the
 * privileges of the role that started the payment.  Which role made the newest
 * operation does not matter.
 *
 * Refusal: ID403.  Error: 22021 of access_allowed().
 */
extern Refusal *operation_check_payment_access(const Operation *op);

/*
 * The state at a given time of the payment whose newest operation this is.  It is
 * never PAYMENT_DECLINED.
 */
extern PaymentState operation_payment_state(const Operation *op, TimestampTz at);

/*
 * The state on the operation's receipt: the payment's when the operation was made.
 * The status is PAYMENT_DECLINED if the operation was declined.
 */
extern PaymentState operation_receipt_state(const Operation *op);

/* The word for a status, as it is on a receipt. */
extern const char *payment_status_name(PaymentStatus status);

#endif							/* IDEM_OPERATION_H */
