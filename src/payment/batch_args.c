/*-------------------------------------------------------------------------
 *
 * batch_args.c
 *		Reading the arguments of a batch: from arrays to items.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "utils/array.h"

#include "call.h"
#include "key.h"
#include "money/currency.h"
#include "money/money.h"
#include "payment/batch.h"

/* the most items of a batch */
#define BATCH_MAX_ITEMS	100000

/* The elements of an array, whose type has a variable length. */
typedef struct BatchArray
{
	Datum	   *values;			/* NULL: all elements are null */
	bool	   *nulls;
} BatchArray;

static void read_array(BatchArray *result, ArrayType *array, Oid type,
					   const char *name, int nitems);
static void *element(const BatchArray *array, int i);
static void check_item(Batch *batch, BatchItem *item, text *key, text *scope);
static int	compare_items(const void *a, const void *b);

void
batch_read_items(Batch *batch, FunctionCallInfo fcinfo)
{
	ArrayType  *key_array;
	BatchArray	keys;
	BatchArray	amounts;
	BatchArray	currencies;
	BatchArray	refs;
	text	   *scope;
	text	   *default_currency = NULL;

	call_not_null(ARG_IS_NULL(0), "keys");
	call_not_null(ARG_IS_NULL(1), "amounts");
	refusal_raise(key_check_scope(ARG_TEXT(4), &scope));

	key_array = PG_GETARG_ARRAYTYPE_P(0);
	batch->nitems = ArrayGetNItems(ARR_NDIM(key_array), ARR_DIMS(key_array));
	if (batch->nitems > BATCH_MAX_ITEMS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many items"),
				 errdetail("%d items were given, but at most %d are allowed.",
						   batch->nitems, BATCH_MAX_ITEMS)));
	read_array(&keys, key_array, TEXTOID, "keys", batch->nitems);
	read_array(&amounts, ARG_ARRAY(1), NUMERICOID, "amounts", batch->nitems);
	read_array(&currencies, ARG_ARRAY(2), TEXTOID, "currencies", batch->nitems);
	read_array(&refs, ARG_ARRAY(3), TEXTOID, "refs", batch->nitems);

	batch->items = palloc(sizeof(BatchItem) * Max(batch->nitems, 1));
	batch->sorted = palloc(sizeof(BatchItem *) * Max(batch->nitems, 1));
	batch->nsorted = 0;
	for (int i = 0; i < batch->nitems; i++)
	{
		BatchItem  *item = &batch->items[i];

		CHECK_FOR_INTERRUPTS();
		item->amount = element(&amounts, i);
		item->currency = element(&currencies, i);
		item->default_currency = item->currency == NULL;
		if (item->default_currency)
		{
			/* read at the first use: it matters only then whether it is valid */
			if (default_currency == NULL)
				default_currency = currency_of_call(NULL);
			item->currency = default_currency;
		}
		item->reference = element(&refs, i);
		item->outcome = OUTCOME_FAILED;
		item->sqlstate = 0;
		check_item(batch, item, element(&keys, i), scope);
	}

	qsort(batch->sorted, batch->nsorted, sizeof(BatchItem *), compare_items);
}

/*
 * Read an array, which must have nitems elements.  NULL stands for one whose
 * elements are all null.
 */
static void
read_array(BatchArray *result, ArrayType *array, Oid type, const char *name,
		   int nitems)
{
	int			n;

	result->values = NULL;
	if (array == NULL)
		return;
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("array \"%s\" must have one dimension", name)));
	n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (n != nitems)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("array \"%s\" must have one element for each key", name),
				 errdetail("The number of elements is %d, but the number of keys is %d.", n, nitems)));
	deconstruct_array(array, type, -1, false, TYPALIGN_INT,
					  &result->values, &result->nulls, &n);
}

/*
 * The element with this index, or NULL if it is null.
 */
static void *
element(const BatchArray *array, int i)
{
	return array->values == NULL || array->nulls[i] ? NULL
		: DatumGetPointer(array->values[i]);
}

/*
 * Check the key and the amount of an item.  If one of them is not valid, the item
 * has failed.
 */
static void
check_item(Batch *batch, BatchItem *item, text *key, text *scope)
{
	Refusal    *refusal = key_check(key, scope, &item->key);

	if (refusal == NULL)
		refusal = money_check_or_zero(item->amount);
	if (refusal == NULL)
		batch->sorted[batch->nsorted++] = item;
	else
		batch_refuse(batch, item, refusal);
	item->key.key = key;
}

/*
 * For qsort(): by key.  Items with the same key stay in the order given.
 */
static int
compare_items(const void *a, const void *b)
{
	const BatchItem *x = *(BatchItem *const *) a;
	const BatchItem *y = *(BatchItem *const *) b;
	int			order = key_compare(&x->key, &y->key);

	return order != 0 ? order : (x > y) - (x < y);
}
