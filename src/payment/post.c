/*-------------------------------------------------------------------------
 *
 * post.c
 *		Moving money between several accounts.
 *
 * idem_post(key, entries, reference, metadata, scope, declines)
 *
 * A post has two or more entries.  Each gives an account an amount, or takes it, in the
 * account's currency.  In each currency, they add up to zero.  All are made, or none.
 *
 * The steps are those of payment.c.  What the entries add up to is found out once the
 * key is ours: it takes the currencies of the accounts, and whoever has the key may have
 * opened them.  Then the legs go to ledger.c as those of a payment do.
 *
 * The row of a post has its legs (legs.c).  If they are in one currency, it has that,
 * and what the accounts get as its amount.  Otherwise it has no currency, and zero.
 *
 * Nothing goes on with a post.  Another post undoes it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/typcache.h"

#include "bytes.h"
#include "call.h"
#include "claim/claim.h"
#include "errors.h"
#include "json_arg.h"
#include "key.h"
#include "ledger/account.h"
#include "money/currency.h"
#include "money/money.h"
#include "payment/legs.h"
#include "payment/movement.h"
#include "payment/operation.h"
#include "payment/receipt.h"
#include "settings.h"
#include "stat/stat.h"
#include "table/store.h"

STAT_FUNCTION(idem_post, STAT_POST);

#define COMMAND "idem_post()"

/* The columns of the type idem_entry, in the install script's order. */
enum
{
	ENTRY_ACCOUNT,
	ENTRY_AMOUNT,
	N_ENTRY
};

/* What the legs in one currency add up to. */
typedef struct PostTotal
{
	text	   *currency;
	int			exponent;
	Numeric		sum;
	Numeric		given;			/* without what is taken */
} PostTotal;

static Legs *read_entries(ArrayType *entries);
static int	count_entries(ArrayType *entries);
static TupleDesc entry_descriptor(Oid type);
static Refusal *read_entry(Leg *leg, Datum entry, bool is_null, TupleDesc desc);
static Refusal *check_amount(Numeric amount);
static Refusal *at_entry(Refusal *refusal, int i);
static bool start(Operation *op, Claim *claim, Ledger *ledger, const Key *key,
				  OperationArgs *args, Declines declines);
static Refusal *add_up(OperationArgs *args);
static PostTotal *find_total(List **totals, text *currency, Refusal **refusal);
static Refusal *check_totals(List *totals);

/*
 * idem_post: move money between several accounts, all or nothing.
 *
 * key: not NULL.  entries: at least two, each with another account, not NULL, and an
 * amount in the major unit of the account's currency, not NULL and not zero; below zero,
 * it is taken from the account.  reference, metadata: may be NULL.  scope: NULL means
 * the setting idempotency.scope.  declines: NULL means the setting idempotency.declines.
 *
 * Result: the receipt.
 *
 * Errors: those of json_arg_jsonb(), key_check(), read_entries(),
 * setting_declines_of_call(), claim_find(), claim_take(), ledger_find_currencies(),
 * add_up(), movement_make_legs() and store_insert(); ID403 and ID422 of a replay; 55000
 * of receipt_make().
 */
static Datum
idem_post_call(PG_FUNCTION_ARGS)
{
	OperationArgs args = {
		.kind = OPERATION_POST,
		.reference = ARG_TEXT(2),
		.metadata = json_arg_jsonb(fcinfo, 3, "metadata"),
	};
	Declines	declines;
	Key			key;
	Store		store;
	Ledger		ledger = {0};
	Claim		claim;
	Operation	op;
	Datum		receipt;

	refusal_raise(key_check(ARG_TEXT(0), ARG_TEXT(4), &key));
	args.legs = read_entries(ARG_ARRAY(1));
	declines = setting_declines_of_call(ARG_TEXT(5));

	store_open(&store, TABLE_OPERATION);
	claim_init(&claim, &store, &key);
	if (!claim_find(&claim, COMMAND) && start(&op, &claim, &ledger, &key, &args, declines))
	{
		claim_insert(&claim, op.values, op.nulls);
		claim_release(&claim);
		receipt = receipt_new(fcinfo, &op);
	}
	else
		receipt = receipt_replay(fcinfo, claim_slot(&claim), &args);
	ledger_close(&ledger);
	store_close(&store);

	return receipt;
}

/*
 * Read the entries, and check what does not depend on their accounts.
 *
 * Errors: 22004, 22003 and 22023 of an entry; 22023 if an account has two; those of
 * count_entries() and entry_descriptor().
 */
static Legs *
read_entries(ArrayType *entries)
{
	int			n = count_entries(entries);
	TupleDesc	desc = entry_descriptor(ARR_ELEMTYPE(entries));
	Legs	   *legs = legs_make(n);
	Datum	   *values;
	bool	   *nulls;
	int			first;
	int			second;

	deconstruct_array(entries, ARR_ELEMTYPE(entries), -1, false, TYPALIGN_DOUBLE,
					  &values, &nulls, &n);
	for (int i = 0; i < n; i++)
		refusal_raise(at_entry(read_entry(&legs->leg[i], values[i], nulls[i], desc), i));
	ReleaseTupleDesc(desc);

	if (legs_find_twice(legs, &first, &second))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an account has two entries"),
				 errdetail("Account %s is in entries %d and %d.",
						   account_text(legs->leg[first].account), first + 1, second + 1)));
	return legs;
}

/*
 * How many entries there are.
 *
 * Errors: 22004 if they are NULL; 2202E if the array has several dimensions; 22023 if
 * there are fewer than two; 54000 if there are too many.
 */
static int
count_entries(ArrayType *entries)
{
	int			n;

	call_not_null(entries == NULL, "entries");
	if (ARR_NDIM(entries) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("array \"%s\" must have one dimension", "entries")));
	n = ArrayGetNItems(ARR_NDIM(entries), ARR_DIMS(entries));
	if (n < 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a post must have at least two entries"),
				 errdetail("The number of entries is %d.", n)));
	if (n > LEDGER_MAX_LEGS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many entries"),
				 errdetail("%d entries were given, but at most %d are allowed.",
						   n, LEDGER_MAX_LEGS)));
	return n;
}

/*
 * The columns of an entry.  The caller releases them.
 *
 * Error: 55000 if it has other columns than the library knows; 42809 if it has none.
 */
static TupleDesc
entry_descriptor(Oid type)
{
	TupleDesc	desc = lookup_rowtype_tupdesc_domain(type, -1, false);

	if (desc->natts != N_ENTRY ||
		TupleDescAttr(desc, ENTRY_ACCOUNT)->atttypid != TEXTOID ||
		TupleDescAttr(desc, ENTRY_AMOUNT)->atttypid != NUMERICOID)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("type %s does not have the columns that the library expects",
						format_type_be(type)),
				 errhint("Run ALTER EXTENSION idempotency UPDATE.")));
	return desc;
}

/*
 * Read and check one entry.
 */
static Refusal *
read_entry(Leg *leg, Datum entry, bool is_null, TupleDesc desc)
{
	Datum		values[N_ENTRY];
	bool		nulls[N_ENTRY];
	HeapTupleData tuple = {0};
	Key			unused;
	Refusal    *refusal;

	if (is_null)
		return refusal_make(ERRCODE_NULL_VALUE_NOT_ALLOWED, "entry must not be null", NULL, NULL);
	tuple.t_data = DatumGetHeapTupleHeader(entry);
	tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
	heap_deform_tuple(&tuple, desc, values, nulls);

	leg->account = nulls[ENTRY_ACCOUNT] ? NULL : DatumGetTextPP(values[ENTRY_ACCOUNT]);
	leg->amount = nulls[ENTRY_AMOUNT] ? NULL : DatumGetNumeric(values[ENTRY_AMOUNT]);
	refusal = key_check_account(leg->account, cstring_to_text(""), &unused);
	return refusal ? refusal : check_amount(leg->amount);
}

/*
 * Check the amount of an entry, as far as that does not depend on the currency.
 */
static Refusal *
check_amount(Numeric amount)
{
	if (amount && money_is_zero(amount))
		return refusal_make(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
							"amount must not be zero", NULL, NULL);
	if (amount)
		amount = DatumGetNumeric(DirectFunctionCall1(numeric_abs, NumericGetDatum(amount)));
	return money_check(amount);
}

/*
 * Say in a refusal which entry it is about: that with index i.
 */
static Refusal *
at_entry(Refusal *refusal, int i)
{
	if (refusal)
		refusal->detail = refusal->detail
			? psprintf("%s See entry %d.", refusal->detail, i + 1)
			: psprintf("See entry %d.", i + 1);
	return refusal;
}

/*
 * Claim the key, and make the operation with its entries.  It is not inserted yet.
 * False: another answer to the key came first.
 */
static bool
start(Operation *op, Claim *claim, Ledger *ledger, const Key *key, OperationArgs *args,
	  Declines declines)
{
	Legs	   *legs = args->legs;

	while (claim_take(claim, COMMAND))
	{
		Refusal    *refusal;

		refusal_raise(ledger_find_currencies(ledger, key->scope, legs->leg, legs->n));
		refusal_raise(add_up(args));
		operation_start(op, key, args);
		refusal = movement_make_legs(ledger, op, legs);
		if (refusal)
		{
			if (declines == DECLINES_RAISE || !movement_may_be_declined(refusal))
				refusal_raise(refusal);
			operation_decline(op, refusal);
			return true;
		}
		if (!ledger_must_wait(ledger))
		{
			operation_set(op, legs, JsonbPGetDatum(legs_to_jsonb(legs)));
			return true;
		}
		claim_pause(claim);
		ledger_wait(ledger);
		claim_try_again(claim);
	}
	return false;
}

/*
 * Give the legs the decimals of their currencies, and add them up.  Sets the currency
 * and the amount of the post.
 *
 * Refusals: 22023 if the legs in a currency do not add up to zero; 22003 if an amount has
 * more decimals than its currency, or the sum is too large; those of
 * currency_exponent().
 */
static Refusal *
add_up(OperationArgs *args)
{
	List	   *totals = NIL;
	Refusal    *refusal = NULL;

	for (int i = 0; i < args->legs->n; i++)
	{
		Leg		   *leg = &args->legs->leg[i];
		PostTotal  *total = find_total(&totals, leg->currency, &refusal);

		if (refusal)
			return refusal;
		refusal = money_set_decimals(&leg->amount, leg->currency, total->exponent);
		if (refusal)
			return at_entry(refusal, i);
		total->sum = money_add(total->sum, leg->amount);
		if (money_compare(leg->amount, money_zero(0)) > 0)
			total->given = money_add(total->given, leg->amount);
	}
	refusal = check_totals(totals);
	if (refusal)
		return refusal;

	if (list_length(totals) == 1)
	{
		PostTotal  *total = linitial(totals);

		args->currency = total->currency;
		args->amount = total->given;
		return money_check(args->amount);
	}
	args->currency = NULL;
	args->amount = money_zero(0);
	return NULL;
}

/*
 * The total of a currency, which is added to the list if it is new.  *refusal: set if
 * there is no such currency.
 */
static PostTotal *
find_total(List **totals, text *currency, Refusal **refusal)
{
	ListCell   *lc;
	PostTotal  *total;

	foreach(lc, *totals)
	{
		total = lfirst(lc);
		if (bytes_equal(total->currency, currency))
			return total;
	}

	total = palloc(sizeof(PostTotal));
	total->currency = currency;
	*refusal = currency_exponent(currency, false, &total->exponent);
	if (*refusal == NULL)
		total->sum = total->given = money_zero(total->exponent);
	*totals = lappend(*totals, total);
	return total;
}

/*
 * Check that the legs in each currency add up to zero.
 */
static Refusal *
check_totals(List *totals)
{
	StringInfoData off;
	ListCell   *lc;

	initStringInfo(&off);
	foreach(lc, totals)
	{
		const PostTotal *total = lfirst(lc);

		if (!money_is_zero(total->sum))
			appendStringInfo(&off, "%s%s", off.len > 0 ? " and " : "",
							 money_text(total->sum, total->currency));
	}
	if (off.len == 0)
		return NULL;
	return refusal_make(ERRCODE_INVALID_PARAMETER_VALUE,
						"entries do not add up to zero",
						psprintf("They add up to %s.", off.data),
						list_length(totals) > 1
						? "An entry is in the currency of its account. In each currency, the entries must add up to zero."
						: NULL);
}
