/*-------------------------------------------------------------------------
 *
 * legs.c
 *		The legs of a post, as its row has them.
 *
 * They are stored as JSON:
 *
 *		[{"account": "alice", "amount": "-5.00", "seq": 12},
 *		 {"account": "shop", "amount": "5.00", "seq": 7}]
 *
 * An amount is a string, since many clients read numbers of JSON as floats.
 *
 * So a replay can compare them with what is asked for, and a receipt can show them.
 * The entries themselves have no index by payment.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "bytes.h"
#include "money/money.h"
#include "payment/legs.h"

/* The names of an object's members. */
#define ACCOUNT		"account"
#define AMOUNT		"amount"
#define SEQ			"seq"

static Legs *from_jsonb(Jsonb *stored);
static JsonbValue *get_member(JsonbContainer *object, const char *name, int type);
static bool is_decimal(const char *s, int len);
static Numeric numeric_from(char *text);
static const Leg **sort_legs(const Legs *legs);
static int	compare_accounts(const void *a, const void *b);

Legs *
legs_make(int n)
{
	Legs	   *legs = palloc0(offsetof(Legs, leg) + sizeof(Leg) * n);

	legs->n = n;
	return legs;
}

Jsonb *
legs_to_jsonb(const Legs *legs)
{
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < legs->n; i++)
	{
		const Leg  *leg = &legs->leg[i];

		appendStringInfoString(&json, i == 0 ? "[{\"" ACCOUNT "\": " : ", {\"" ACCOUNT "\": ");
		escape_json(&json, text_to_cstring(leg->account));
		appendStringInfo(&json, ", \"" AMOUNT "\": \"%s\"",
						 DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(leg->amount))));
		if (leg->seq != 0)
			appendStringInfo(&json, ", \"" SEQ "\": " INT64_FORMAT, leg->seq);
		appendStringInfoChar(&json, '}');
	}
	appendStringInfoChar(&json, ']');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

bool
legs_are_stored(const Legs *legs, Jsonb *stored)
{
	Legs	   *old = from_jsonb(stored);
	const Leg **sorted;
	const Leg **old_sorted;

	if (old == NULL || old->n != legs->n)
		return false;
	sorted = sort_legs(legs);
	old_sorted = sort_legs(old);
	for (int i = 0; i < legs->n; i++)
	{
		if (!bytes_equal(sorted[i]->account, old_sorted[i]->account) ||
			money_compare(sorted[i]->amount, old_sorted[i]->amount) != 0)
			return false;
	}
	return true;
}

bool
legs_find_twice(const Legs *legs, int *first, int *second)
{
	const Leg **sorted = sort_legs(legs);

	for (int i = 1; i < legs->n; i++)
	{
		if (bytes_equal(sorted[i - 1]->account, sorted[i]->account))
		{
			*first = Min(sorted[i - 1], sorted[i]) - legs->leg;
			*second = Max(sorted[i - 1], sorted[i]) - legs->leg;
			return true;
		}
	}
	return false;
}

/*
 * The legs that are stored, without seq; NULL if they are none.
 */
static Legs *
from_jsonb(Jsonb *stored)
{
	Legs	   *legs;

	if (!JB_ROOT_IS_ARRAY(stored) || JB_ROOT_IS_SCALAR(stored))
		return NULL;
	legs = legs_make(JB_ROOT_COUNT(stored));
	for (int i = 0; i < legs->n; i++)
	{
		JsonbValue *leg = getIthJsonbValueFromContainer(&stored->root, i);
		JsonbValue *account;
		JsonbValue *amount;

		if (leg->type != jbvBinary || !JsonContainerIsObject(leg->val.binary.data))
			return NULL;
		account = get_member(leg->val.binary.data, ACCOUNT, jbvString);
		amount = get_member(leg->val.binary.data, AMOUNT, jbvString);
		if (account == NULL || amount == NULL ||
			!is_decimal(amount->val.string.val, amount->val.string.len))
			return NULL;
		legs->leg[i].account = cstring_to_text_with_len(account->val.string.val,
														account->val.string.len);
		legs->leg[i].amount =
			numeric_from(pnstrdup(amount->val.string.val, amount->val.string.len));
	}
	return legs;
}

/*
 * A member of an object; NULL if there is none of this name and type (enum jbvType).
 */
static JsonbValue *
get_member(JsonbContainer *object, const char *name, int type)
{
	JsonbValue *value = getKeyJsonValueFromContainer(object, name, strlen(name), NULL);

	return value && value->type == type ? value : NULL;
}

/*
 * Is it a decimal number: digits, perhaps with a sign and a point?
 */
static bool
is_decimal(const char *s, int len)
{
	int			digits = 0;
	int			points = 0;

	for (int i = 0; i < len; i++)
	{
		if (s[i] >= '0' && s[i] <= '9')
			digits++;
		else if (s[i] == '.')
			points++;
		else if (s[i] != '-' || i > 0)
			return false;
	}
	return digits > 0 && points <= 1;
}

/*
 * The number that a text has.
 */
static Numeric
numeric_from(char *text)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/*
 * The legs in the order of their accounts.
 */
static const Leg **
sort_legs(const Legs *legs)
{
	const Leg **sorted = palloc(sizeof(Leg *) * legs->n);

	for (int i = 0; i < legs->n; i++)
		sorted[i] = &legs->leg[i];
	qsort(sorted, legs->n, sizeof(Leg *), compare_accounts);
	return sorted;
}

/*
 * For qsort(): by account.
 */
static int
compare_accounts(const void *a, const void *b)
{
	return bytes_compare((*(const Leg *const *) a)->account,
						 (*(const Leg *const *) b)->account);
}
