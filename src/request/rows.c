/*-------------------------------------------------------------------------
 *
 * rows.c
 *		The rows of a command of idem_execute(), as JSON.
 *
 * A row is a JSON object.  Members of the same name would be lost to most readers of
 * JSON, so two columns of the same name are an error.
 *
 * JavaScript reads numbers of JSON as doubles.  They do not hold all of bigint, nor the
 * zeros of 0.10.  So these columns can be had as strings: as text, in a row of another
 * type.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "compat.h"
#include "request/row.h"
#include "request/rows.h"

static void check_names(TupleDesc desc);
static Oid	type_shown(Oid type);
static Datum with_texts(HeapTuple row, TupleDesc desc, TupleDesc shown);
static Datum to_text(Datum value, Oid type, Oid shown);

text *
rows_to_json(SPITupleTable *rows, bool numbers_as_text)
{
	StringInfoData json;
	MemoryContext row_context;
	TupleDesc	shown;

	if (rows == NULL)
		return cstring_to_text("[]");
	check_names(rows->tupdesc);
	initStringInfo(&json);
	shown = CreateTupleDescCopy(rows->tupdesc);
	for (int i = 0; numbers_as_text && i < shown->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(rows->tupdesc, i);
		Oid			type = type_shown(att->atttypid);

		if (type != att->atttypid)
			TupleDescInitEntry(shown, i + 1, NameStr(att->attname), type, -1, 0);
	}
	TupleDescFinalize(shown);
	shown = BlessTupleDesc(shown);

	row_context = AllocSetContextCreate(CurrentMemoryContext, "idempotency rows",
										ALLOCSET_DEFAULT_SIZES);
	appendStringInfoChar(&json, '[');
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		MemoryContext old_context = MemoryContextSwitchTo(row_context);
		Datum		row = numbers_as_text
			? with_texts(rows->vals[i], rows->tupdesc, shown)
			: heap_copy_tuple_as_datum(rows->vals[i], shown);
		text	   *object = DatumGetTextP(OidFunctionCall1(F_ROW_TO_JSON_RECORD, row));

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(old_context);
		/* before the buffer grows, and with the brackets and the comma */
		request_check_size((size_t) json.len + VARSIZE_ANY_EXHDR(object) + (i > 0 ? 3 : 1),
						   "result of the command");
		if (i > 0)
			appendStringInfoString(&json, ", ");
		appendBinaryStringInfo(&json, VARDATA_ANY(object), VARSIZE_ANY_EXHDR(object));
		MemoryContextReset(row_context);
	}
	appendStringInfoChar(&json, ']');
	MemoryContextDelete(row_context);
	return cstring_to_text_with_len(json.data, json.len);
}

/*
 * Raise 42701 if two columns have the same name.
 */
static void
check_names(TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(desc, i)->attname);

		for (int j = 0; j < i; j++)
		{
			if (strcmp(name, NameStr(TupleDescAttr(desc, j)->attname)) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("command returns two columns named \"%s\"", name),
						 errdetail("A row is a JSON object, whose members need different names."),
						 errhint("Name the columns with AS.")));
		}
	}
}

/*
 * The type that a column is shown as, if numbers are texts.
 */
static Oid
type_shown(Oid type)
{
	Oid			base = getBaseType(type);
	Oid			element = get_element_type(base);

	if (base == INT8OID || base == NUMERICOID)
		return TEXTOID;
	if (OidIsValid(element))
	{
		base = getBaseType(element);
		if (base == INT8OID || base == NUMERICOID)
			return TEXTARRAYOID;
	}
	return type;
}

/*
 * A row with the columns of shown, which has text and text[] where desc has numbers.
 */
static Datum
with_texts(HeapTuple row, TupleDesc desc, TupleDesc shown)
{
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);

	heap_deform_tuple(row, desc, values, nulls);
	for (int i = 0; i < desc->natts; i++)
	{
		Oid			type = TupleDescAttr(desc, i)->atttypid;
		Oid			as = TupleDescAttr(shown, i)->atttypid;

		if (!nulls[i] && type != as)
			values[i] = to_text(values[i], type, as);
	}
	return HeapTupleGetDatum(heap_form_tuple(shown, values, nulls));
}

/*
 * A value as text or text[].
 */
static Datum
to_text(Datum value, Oid type, Oid shown)
{
	Oid			output;
	bool		is_varlena;
	Oid			input;
	Oid			ioparam;

	getTypeOutputInfo(type, &output, &is_varlena);
	getTypeInputInfo(shown, &input, &ioparam);
	return OidInputFunctionCall(input, OidOutputFunctionCall(output, value), ioparam, -1);
}
