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
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "call.h"
#include "json_arg.h"
#include "key.h"
#include "money/currency.h"
#include "money/money.h"
#include "payment/batch.h"
#include "subtransaction.h"

/* the most items of a batch */
#define BATCH_MAX_ITEMS	100000

/* An array with an element for each item. */
typedef struct BatchArray
{
	Oid			type;			/* of the elements; no domain */
	Datum	   *values;			/* NULL: all elements are null */
	bool	   *nulls;
} BatchArray;

/* Metadata that is being parsed. */
typedef struct BatchMetadata
{
	Batch	   *batch;
	const BatchArray *array;
	int			next;			/* the item that is next */
} BatchMetadata;

static int	count_items(ArrayType *keys);
static void read_array(BatchArray *result, ArrayType *array, const char *name,
					   int nitems);
static bool is_null(const BatchArray *array, int i);
static void *element(const BatchArray *array, int i);
static bool is_json(Oid type);
static void read_metadatas(Batch *batch, const BatchArray *array);
static void parse_metadatas(void *arg);
static void check_item(Batch *batch, BatchItem *item, text *key, text *scope);
static int	compare_items(const void *a, const void *b);

void
batch_read_items(Batch *batch, FunctionCallInfo fcinfo)
{
	BatchArray	keys;
	BatchArray	amounts;
	BatchArray	currencies;
	BatchArray	refs;
	BatchArray	metadatas;
	text	   *scope;
	text	   *default_currency = NULL;

	call_not_null(ARG_IS_NULL(0), "keys");
	call_not_null(ARG_IS_NULL(1), "amounts");
	refusal_raise(key_check_scope(ARG_TEXT(5), &scope));

	batch->nitems = count_items(PG_GETARG_ARRAYTYPE_P(0));
	read_array(&keys, ARG_ARRAY(0), "keys", batch->nitems);
	read_array(&amounts, ARG_ARRAY(1), "amounts", batch->nitems);
	read_array(&currencies, ARG_ARRAY(2), "currencies", batch->nitems);
	read_array(&refs, ARG_ARRAY(3), "refs", batch->nitems);
	read_array(&metadatas, ARG_ARRAY(4), "metadatas", batch->nitems);
	if (metadatas.values && !is_json(metadatas.type))
		json_arg_refuse_type(fcinfo, 4, "metadatas", "text[], json[] or jsonb[]");

	batch->items = palloc0(sizeof(BatchItem) * Max(batch->nitems, 1));
	batch->sorted = palloc(sizeof(BatchItem *) * Max(batch->nitems, 1));
	batch->nsorted = 0;
	read_metadatas(batch, &metadatas);
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
		check_item(batch, item, element(&keys, i), scope);
	}

	qsort(batch->sorted, batch->nsorted, sizeof(BatchItem *), compare_items);
}

/*
 * The number of items, which is that of their keys.
 *
 * Error: 54000 if there are too many.
 */
static int
count_items(ArrayType *keys)
{
	int			n = ArrayGetNItems(ARR_NDIM(keys), ARR_DIMS(keys));

	if (n > BATCH_MAX_ITEMS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many items"),
				 errdetail("%d items were given, but at most %d are allowed.",
						   n, BATCH_MAX_ITEMS)));
	return n;
}

/*
 * Read an array, which must have nitems elements.  NULL stands for one whose
 * elements are all null.
 *
 * Errors: 2202E if it has another number of elements, or several dimensions.
 */
static void
read_array(BatchArray *result, ArrayType *array, const char *name, int nitems)
{
	int16		length;
	bool		by_value;
	char		alignment;
	int			n;

	*result = (BatchArray) {0};
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

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &alignment);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, alignment,
					  &result->values, &result->nulls, &n);
	result->type = getBaseType(ARR_ELEMTYPE(array));
}

/*
 * Is the element with this index null?
 */
static bool
is_null(const BatchArray *array, int i)
{
	return array->values == NULL || array->nulls[i];
}

/*
 * The element with this index, or NULL if it is null.  Its type is passed by
 * reference.
 */
static void *
element(const BatchArray *array, int i)
{
	return is_null(array, i) ? NULL : DatumGetPointer(array->values[i]);
}

/*
 * May JSON be of this type?
 */
static bool
is_json(Oid type)
{
	JsonArgType how = json_type(type);

	return how != JSON_ARG_BYTES && how != JSON_ARG_OTHER;
}

/*
 * Read the metadata of the items.  An item whose metadata is no JSON has failed.
 *
 * All are parsed in one subtransaction, and after one that is no JSON, the rest in
 * another.  The parser could report errors without one, but not all of them, and not
 * in PostgreSQL 15.
 */
static void
read_metadatas(Batch *batch, const BatchArray *array)
{
	BatchMetadata work = {.batch = batch, .array = array};

	if (array->type == JSONBOID)
		parse_metadatas(&work);
	while (array->values && work.next < batch->nitems)
	{
		ErrorData  *error = subtransaction_try(parse_metadatas, &work);

		if (error)
			batch_refuse_error(batch, &batch->items[work.next++], error);
	}
}

/*
 * Parse metadata, from the next item on.  For subtransaction_try().
 */
static void
parse_metadatas(void *arg)
{
	BatchMetadata *work = arg;
	Batch	   *batch = work->batch;

	for (; work->next < batch->nitems; work->next++)
	{
		MemoryContext old_context;
		Jsonb	   *parsed;
		Jsonb	   *kept;

		CHECK_FOR_INTERRUPTS();
		if (is_null(work->array, work->next))
			continue;
		old_context = MemoryContextSwitchTo(batch->portion_context);
		parsed = json_value_jsonb(work->array->values[work->next], work->array->type);
		MemoryContextSwitchTo(old_context);
		kept = memcpy(palloc(VARSIZE(parsed)), parsed, VARSIZE(parsed));
		MemoryContextReset(batch->portion_context);
		batch->items[work->next].metadata = kept;
	}
}

/*
 * Check the key and the amount of an item.  If one of them is not valid, the item
 * has failed, unless it has already.
 */
static void
check_item(Batch *batch, BatchItem *item, text *key, text *scope)
{
	if (item->sqlstate == 0)
	{
		Refusal    *refusal = key_check(key, scope, &item->key);

		if (refusal == NULL)
			refusal = money_check_or_zero(item->amount);
		if (refusal == NULL)
			batch->sorted[batch->nsorted++] = item;
		else
			batch_refuse(batch, item, refusal);
	}
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
