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

static Numeric difference(Numeric a, Numeric b);
static void set_seq(Operation *op, int column, int64 seq);

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
	Numeric		net;
	Numeric		hold;
	Leg			legs[2] = {0};
	Posting		posting = {.legs = legs, .nlegs = 2};
	Refusal    *refusal;

	if (operation_is_null(op, from_account) || operation_is_null(op, to_account))
		return NULL;

	net = difference(operation_refundable(op), before ? operation_refundable(before) : NULL);
	hold = difference(operation_capturable(op), before ? operation_capturable(before) : NULL);
	legs[0].account = DatumGetTextPP(operation_value(op, from_account));
	legs[0].amount = money_subtract(money_zero(0), net);
	legs[0].held = hold;
	legs[1].account = DatumGetTextPP(operation_value(op, to_account));
	legs[1].amount = net;
	legs[0].currency = legs[1].currency = operation_currency(op);

	posting.scope = DatumGetTextPP(operation_value(op, scope));
	posting.begins = before == NULL || operation_is(op, OPERATION_INCREASE);
	posting.payment_id = *DatumGetUUIDP(operation_value(op, payment_id));
	posting.operation = DatumGetInt32(operation_value(op, seq));
	posting.created_at = DatumGetTimestampTz(operation_value(op, created_at));

	refusal = ledger_post(ledger, &posting);
	if (refusal == NULL && !ledger_must_wait(ledger))
	{
		set_seq(op, Anum_operation_from_seq, legs[0].seq);
		set_seq(op, Anum_operation_to_seq, legs[1].seq);
	}
	return refusal;
}

bool
movement_may_be_declined(const Refusal *refusal)
{
	return refusal->sqlstate == ERRCODE_IDEM_NOT_ENOUGH ||
		refusal->sqlstate == ERRCODE_IDEM_STATE;
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
 * Set the number of an entry; 0: there is none.
 */
static void
set_seq(Operation *op, int column, int64 seq)
{
	if (seq != 0)
		operation_set_column(op, column, Int64GetDatum(seq));
}
