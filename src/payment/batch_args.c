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
#include "payment/followup.h"
#include "payment/movement.h"
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

static void make_items(Batch *batch, ArrayType *keys);
static void read_array(BatchArray *result, ArrayType *array, const char *name,
					   int nitems);
static bool is_null(const BatchArray *array, int i);
static void *element(const BatchArray *array, int i);
static bool is_json(Oid type);
static void read_metadatas(Batch *batch, FunctionCallInfo fcinfo, int n);
static void parse_metadatas(void *arg);
static void check_item(Batch *batch, BatchItem *item, text *key, text *scope);
static int	compare_keys(const void *a, const void *b);
static int	compare_payments(const void *a, const void *b);

void
batch_read_pays(Batch *batch, FunctionCallInfo fcinfo)
{
	BatchArray	keys;
	BatchArray	amounts;
	BatchArray	currencies;
	BatchArray	from_accounts;
	BatchArray	to_accounts;
	BatchArray	refs;
	text	   *scope;
	text	   *default_currency = NULL;

	call_not_null(ARG_IS_NULL(0), "keys");
	call_not_null(ARG_IS_NULL(1), "amounts");
	refusal_raise(key_check_scope(ARG_TEXT(5), &scope));
	make_items(batch, PG_GETARG_ARRAYTYPE_P(0));
	read_array(&keys, ARG_ARRAY(0), "keys", batch->nitems);
	read_array(&amounts, ARG_ARRAY(1), "amounts", batch->nitems);
	read_array(&currencies, ARG_ARRAY(2), "currencies", batch->nitems);
	read_array(&refs, ARG_ARRAY(3), "refs", batch->nitems);
	read_metadatas(batch, fcinfo, 4);
	read_array(&from_accounts, ARG_ARRAY(6), "from_accounts", batch->nitems);
	read_array(&to_accounts, ARG_ARRAY(7), "to_accounts", batch->nitems);

	for (int i = 0; i < batch->nitems; i++)
	{
		OperationArgs *args = &batch->items[i].args;

		CHECK_FOR_INTERRUPTS();
		args->kind = OPERATION_PAY;
		args->amount = element(&amounts, i);
		args->currency = element(&currencies, i);
		args->default_currency = args->currency == NULL;
		if (args->default_currency)
		{
			/* read at the first use: it matters only then whether it is valid */
			if (default_currency == NULL)
				default_currency = currency_of_call(NULL);
			args->currency = default_currency;
		}
		args->from_account = element(&from_accounts, i);
		args->to_account = element(&to_accounts, i);
		args->reference = element(&refs, i);
		check_item(batch, &batch->items[i], element(&keys, i), scope);
	}

	qsort(batch->sorted, batch->nsorted, sizeof(BatchItem *), compare_keys);
}

void
batch_read_followups(Batch *batch, FunctionCallInfo fcinfo, OperationKind kind)
{
	int			refs_arg = kind == OPERATION_CAPTURE ? 4 : 3;
	BatchArray	keys;
	BatchArray	payment_ids;
	BatchArray	amounts;
	BatchArray	refs;
	BatchArray	currencies;
	text	   *scope;

	call_not_null(ARG_IS_NULL(0), "keys");
	call_not_null(ARG_IS_NULL(1), "payment_ids");
	call_not_null(ARG_IS_NULL(2), "amounts");
	call_not_null(kind == OPERATION_CAPTURE && ARG_IS_NULL(3), "final");
	refusal_raise(key_check_scope(ARG_TEXT(refs_arg + 2), &scope));
	make_items(batch, PG_GETARG_ARRAYTYPE_P(0));
	read_array(&keys, ARG_ARRAY(0), "keys", batch->nitems);
	read_array(&payment_ids, ARG_ARRAY(1), "payment_ids", batch->nitems);
	read_array(&amounts, ARG_ARRAY(2), "amounts", batch->nitems);
	read_array(&refs, ARG_ARRAY(refs_arg), "refs", batch->nitems);
	read_metadatas(batch, fcinfo, refs_arg + 1);
	read_array(&currencies, ARG_ARRAY(refs_arg + 3), "currencies", batch->nitems);

	for (int i = 0; i < batch->nitems; i++)
	{
		OperationArgs *args = &batch->items[i].args;

		CHECK_FOR_INTERRUPTS();
		args->kind = kind;
		args->payment_id = element(&payment_ids, i);
		args->amount = element(&amounts, i);
		args->final = kind == OPERATION_CAPTURE && PG_GETARG_BOOL(3);
		args->reference = element(&refs, i);
		args->currency = element(&currencies, i);
		check_item(batch, &batch->items[i], element(&keys, i), scope);
	}

	qsort(batch->sorted, batch->nsorted, sizeof(BatchItem *), compare_payments);
}

/*
 * Make an empty item for each key.
 *
 * Error: 54000 if there are too many.
 */
static void
make_items(Batch *batch, ArrayType *keys)
{
	int			n = ArrayGetNItems(ARR_NDIM(keys), ARR_DIMS(keys));

	if (n > BATCH_MAX_ITEMS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many items"),
				 errdetail("%d items were given, but at most %d are allowed.",
						   n, BATCH_MAX_ITEMS)));
	batch->nitems = n;
	batch->items = palloc0(sizeof(BatchItem) * Max(n, 1));
	batch->sorted = palloc(sizeof(BatchItem *) * Max(n, 1));
	batch->nsorted = 0;
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
 * Read the metadata of the items, argument n.  An item whose metadata is no JSON has
 * failed.
 *
 * All are parsed in one subtransaction, and after one that is no JSON, the rest in
 * another.  The parser could report errors without one, but not all of them, and not
 * in PostgreSQL 15.
 */
static void
read_metadatas(Batch *batch, FunctionCallInfo fcinfo, int n)
{
	BatchArray	array;
	BatchMetadata work = {.batch = batch, .array = &array};

	read_array(&array, ARG_ARRAY(n), "metadatas", batch->nitems);
	if (array.values && !is_json(array.type))
		json_arg_refuse_type(fcinfo, n, "metadatas", "text[], json[] or jsonb[]");

	if (array.type == JSONBOID)
		parse_metadatas(&work);
	while (array.values && work.next < batch->nitems)
	{
		ErrorData  *error = subtransaction_try(parse_metadatas, &work);

		if (error)
		{
			batch_refuse_error(batch, &batch->items[work.next++], error);
			MemoryContextReset(batch->portion_context);
		}
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
		parsed = json_value_jsonb(work->array->values[work->next], work->array->type, "metadata");
		MemoryContextSwitchTo(old_context);
		kept = memcpy(palloc(VARSIZE(parsed)), parsed, VARSIZE(parsed));
		MemoryContextReset(batch->portion_context);
		batch->items[work->next].args.metadata = kept;
	}
}

/*
 * Check the key and the other arguments of an item.  If one of them is not valid, the
 * item has failed, unless it has already.
 */
static void
check_item(Batch *batch, BatchItem *item, text *key, text *scope)
{
	if (item->sqlstate == 0)
	{
		Refusal    *refusal = key_check(key, scope, &item->key);

		if (refusal == NULL)
			refusal = item->args.kind == OPERATION_PAY
				? money_check_or_zero(item->args.amount) : followup_check(&item->args);
		if (refusal == NULL && item->args.kind == OPERATION_PAY)
			refusal = movement_check(&item->args);
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
compare_keys(const void *a, const void *b)
{
	const BatchItem *x = *(BatchItem *const *) a;
	const BatchItem *y = *(BatchItem *const *) b;
	int			order = key_compare(&x->key, &y->key);

	return order != 0 ? order : (x > y) - (x < y);
}

/*
 * For qsort(): by payment, then by key.
 */
static int
compare_payments(const void *a, const void *b)
{
	const BatchItem *x = *(BatchItem *const *) a;
	const BatchItem *y = *(BatchItem *const *) b;
	int			order = memcmp(x->args.payment_id, y->args.payment_id, UUID_LEN);

	return order != 0 ? order : compare_keys(a, b);
}
