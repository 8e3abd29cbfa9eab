/*-------------------------------------------------------------------------
 *
 * movement.c
 *		What an operation moves between the accounts of its payment.
 *
 * It follows from the payment's totals before and after:
 *
 *		net  = captured - refunded				is posted in both accounts
 *		hold = authorized - captured - released	is held in from_account
 *
 * From from_account goes what net gains; its held changes as hold does.  To to_account
 * goes the same.  So no kind of operation needs a rule of its own.  And the entries of a
 * payment always add up to what its totals say.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "bytes.h"
#include "errors.h"
#include "key.h"
#include "money/money.h"
#include "payment/movement.h"

/* The legs of an operation, from_account's first. */
typedef struct Movement
{
	Posting		posting;
	Leg			legs[2];
} Movement;

static Posting posting_of(const Operation *op, Leg *legs, int nlegs);
static bool begin(Movement *movement, const Operation *op, const Operation *before);
static Numeric difference(Numeric a, Numeric b);
static void set_seqs(Operation *op, const Movement *movement);

Refusal *
movement_check(const OperationArgs *args)
{
	Key			unused;
	Refusal    *refusal;

	if (args->from_account == NULL && args->to_account == NULL)
		return NULL;
	if (args->from_account == NULL || args->to_account == NULL)
		return refusal_make(ERRCODE_INVALID_PARAMETER_VALUE,
							args->from_account ? "to_account is missing" : "from_account is missing",
							"A payment moves money between two accounts, or names none.",
							"Open an account without limits for what is outside, and name that.");
	refusal = key_check_account(args->from_account, cstring_to_text(""), &unused);
	if (refusal == NULL)
		refusal = key_check_account(args->to_account, cstring_to_text(""), &unused);
	if (refusal == NULL && bytes_equal(args->from_account, args->to_account))
		refusal = refusal_make(ERRCODE_INVALID_PARAMETER_VALUE,
							   "from_account and to_account are the same", NULL, NULL);
	return refusal;
}

Refusal *
movement_make(Ledger *ledger, Operation *op, const Operation *before)
{
	Movement	movement;
	Refusal    *refusal;

	if (!begin(&movement, op, before))
		return NULL;
	refusal = ledger_post(ledger, &movement.posting);
	if (refusal == NULL && !ledger_must_wait(ledger))
		set_seqs(op, &movement);
	return refusal;
}

Refusal *
movement_make_many(LedgerMany *many, Operation *op)
{
	Movement	movement;
	Refusal    *refusal;

	if (!begin(&movement, op, NULL))
		return NULL;
	refusal = ledger_many_post(many, &movement.posting);
	if (refusal == NULL && !ledger_must_wait(many->ledger))
		set_seqs(op, &movement);
	return refusal;
}

Refusal *
movement_make_legs(Ledger *ledger, const Operation *op, Legs *legs)
{
	Posting		posting = posting_of(op, legs->leg, legs->n);

	posting.begins = true;
	return ledger_post(ledger, &posting);
}

bool
movement_may_be_declined(const Refusal *refusal)
{
	return refusal->sqlstate == ERRCODE_IDEM_NOT_ENOUGH ||
		refusal->sqlstate == ERRCODE_IDEM_STATE;
}

/*
 * The legs of an operation, and what they belong to.
 */
static Posting
posting_of(const Operation *op, Leg *legs, int nlegs)
{
	Posting		posting = {
		.scope = DatumGetTextPP(operation_value(op, scope)),
		.payment_id = *DatumGetUUIDP(operation_value(op, payment_id)),
		.operation = DatumGetInt32(operation_value(op, seq)),
		.created_at = DatumGetTimestampTz(operation_value(op, created_at)),
		.legs = legs,
		.nlegs = nlegs,
	};

	return posting;
}

/*
 * Set the legs of an operation, and what belongs to them.  before: the payment's
 * operation before it, or NULL.  False: the payment has no accounts.
 */
static bool
begin(Movement *movement, const Operation *op, const Operation *before)
{
	Leg		   *from = &movement->legs[0];
	Leg		   *to = &movement->legs[1];
	Numeric		net;

	if (operation_is_null(op, from_account) || operation_is_null(op, to_account))
		return false;

	memset(movement, 0, sizeof(Movement));
	net = difference(operation_refundable(op), before ? operation_refundable(before) : NULL);
	from->account = DatumGetTextPP(operation_value(op, from_account));
	from->amount = money_subtract(money_zero(0), net);
	from->held = difference(operation_capturable(op), before ? operation_capturable(before) : NULL);
	to->account = DatumGetTextPP(operation_value(op, to_account));
	to->amount = net;
	from->currency = to->currency = operation_currency(op);

	movement->posting = posting_of(op, movement->legs, lengthof(movement->legs));
	movement->posting.begins = before == NULL || operation_is(op, OPERATION_INCREASE);
	return true;
}

/*
 * a - b; b may be NULL, for zero.
 */
static Numeric
difference(Numeric a, Numeric b)
{
	return b ? money_subtract(a, b) : a;
}

/*
 * Set the numbers of the entries, if there are any.
 */
static void
set_seqs(Operation *op, const Movement *movement)
{
	if (movement->legs[0].seq != 0)
		operation_set(op, from_seq, Int64GetDatum(movement->legs[0].seq));
	if (movement->legs[1].seq != 0)
		operation_set(op, to_seq, Int64GetDatum(movement->legs[1].seq));
}
