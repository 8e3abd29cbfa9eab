/*-------------------------------------------------------------------------
 *
 * operation_args.c
 *		Comparing an operation with what is asked for.
 *
 * A key stands for one request.  A replay has the same arguments as the call that made
 * the operation, or is refused.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "bytes.h"
#include "money/currency.h"
#include "money/money.h"
#include "payment/operation.h"

static bool same_text(const Operation *op, int column, const text *asked);
static Refusal *check_amount(const Operation *op, Numeric asked);
static Refusal *check_legs(const Operation *op, const Legs *asked);
static Refusal *check_expires_in(const Operation *op, int64 asked);
static bool same_metadata(const Operation *op, Jsonb *asked);
static char *duration_text(int64 us);
static Refusal *check_args(const Operation *op, const OperationArgs *args);

Refusal *
operation_check_args(const Operation *op, const OperationArgs *args)
{
	if (operation_is(op, OPERATION_CANCEL))
		return NULL;
	return refusal_log_name(check_args(op, args), "key",
							DatumGetTextPP(operation_value(op, scope)),
							DatumGetTextPP(operation_value(op, key)));
}

/*
 * Is the operation what a request asks for?
 *
 * Refusal: ID422 with the first field that differs.
 */
static Refusal *
check_args(const Operation *op, const OperationArgs *args)
{
	Refusal    *refusal;

	if (!operation_is(op, args->kind))
		return refusal_different("kind",
								 text_to_cstring(DatumGetTextPP(operation_value(op, kind))),
								 operation_kind_name(args->kind));

	if (args->payment_id &&
		memcmp(args->payment_id, DatumGetUUIDP(operation_value(op, payment_id)),
			   UUID_LEN) != 0)
		return refusal_different("payment_id",
								 DatumGetCString(DirectFunctionCall1(uuid_out, operation_value(op, payment_id))),
								 DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(args->payment_id))));

	refusal = args->legs ? check_legs(op, args->legs) : check_amount(op, args->amount);
	if (refusal)
		return refusal;

	if (args->currency &&
		!same_text(op, Anum_operation_currency, args->currency))
		return refusal_different("currency",
								 text_to_cstring(operation_currency(op)),
								 text_to_cstring(currency_clip(args->currency)));

	if (!operation_is_null(op, final) &&
		DatumGetBool(operation_value(op, final)) != args->final)
		return refusal_different("final", args->final ? "false" : "true",
								 args->final ? "true" : "false");

	refusal = check_expires_in(op, args->expires_in);
	if (refusal)
		return refusal;

	/* free text may be personal, and messages are logged: name it, no more */
	if (args->payment_id == NULL)
	{
		if (!same_text(op, Anum_operation_from_account, args->from_account))
			return refusal_different("from_account", NULL, NULL);
		if (!same_text(op, Anum_operation_to_account, args->to_account))
			return refusal_different("to_account", NULL, NULL);
	}
	if (!same_text(op, Anum_operation_reference, args->reference))
		return refusal_different("reference", NULL, NULL);
	if (!same_metadata(op, args->metadata))
		return refusal_different("metadata", NULL, NULL);
	return NULL;
}

/*
 * Does a column have this text?  NULL stands for a column that is null.
 */
static bool
same_text(const Operation *op, int column, const text *asked)
{
	return bytes_equal(operation_column_is_null(op, column) ? NULL
					   : DatumGetTextPP(operation_column(op, column)),
					   asked);
}

/*
 * Did an operation ask for this amount?  NULL: for all that was left.
 *
 * Refusal: ID422.
 */
static Refusal *
check_amount(const Operation *op, Numeric asked)
{
	bool		whole = DatumGetBool(operation_value(op, whole));

	if (whole ? asked == NULL
		: asked && money_stored_equal(operation_value(op, amount), NumericGetDatum(asked)))
		return NULL;
	return refusal_different("amount",
							 whole ? "Infinity" : money_digits(operation_numeric(op, amount)),
							 asked ? money_digits(asked) : "Infinity");
}

/*
 * Did a post ask for these entries?  Messages are logged, so they show none.
 *
 * Refusal: ID422.
 */
static Refusal *
check_legs(const Operation *op, const Legs *asked)
{
	if (!operation_is_null(op, legs) &&
		legs_are_stored(asked, DatumGetJsonbP(operation_value(op, legs))))
		return NULL;
	return refusal_different("entries", NULL, NULL);
}

/*
 * Did an authorization or an increase ask for this time until the hold expires?  0:
 * it asks for none.  A declined increase has left the expiry as it was, so only
 * whether it asked for a time is known.
 *
 * Refusal: ID422.
 */
static Refusal *
check_expires_in(const Operation *op, int64 asked)
{
	bool		given = operation_is(op, OPERATION_INCREASE)
		? !operation_is_null(op, prolonged) && DatumGetBool(operation_value(op, prolonged))
		: operation_is(op, OPERATION_AUTHORIZE);
	int64		stored = 0;

	if (operation_is_declined(op) && operation_is(op, OPERATION_INCREASE))
		return given == (asked != 0) ? NULL : refusal_different("expires_in", NULL, NULL);
	if (given && !operation_is_null(op, expires_at))
		stored = DatumGetTimestampTz(operation_value(op, expires_at)) -
			DatumGetTimestampTz(operation_value(op, created_at));
	return stored == asked ? NULL
		: refusal_different("expires_in", stored ? duration_text(stored) : "null",
							asked ? duration_text(asked) : "null");
}

/*
 * Is this the operation's metadata, by the "=" of jsonb?  The order of members and
 * the way numbers are written do not matter.  NULL stands for no metadata.
 */
static bool
same_metadata(const Operation *op, Jsonb *asked)
{
	if (operation_is_null(op, metadata) || asked == NULL)
		return operation_is_null(op, metadata) && asked == NULL;
	return compareJsonbContainers(&DatumGetJsonbP(operation_value(op, metadata))->root,
								  &asked->root) == 0;
}

/*
 * A duration in microseconds, for messages.
 */
static char *
duration_text(int64 us)
{
	Interval	interval = {.time = us};

	return DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(&interval)));
}
