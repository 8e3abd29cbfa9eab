/*-------------------------------------------------------------------------
 *
 * args.c
 *		The arguments of a command of idem_execute().
 *
 * They are a JSON array.  But a driver may send an array as an array of SQL, or as the
 * text of one: node-postgres sends [8, 'Bob'] as {"8","Bob"}.  Its elements are texts,
 * each for the input function of its parameter.
 *
 * No JSON array begins with a brace, so the text of an array can be told from JSON.  A
 * JSON object is neither.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

#include "call.h"
#include "compat.h"
#include "json_arg.h"
#include "request/args.h"
#include "request/canonical.h"

static void read_json(FunctionCallInfo fcinfo, int n, CommandArgs *args);
static bool is_array_text(const char *s);
static void ignore(void *arg, const char *bytes, size_t len);
static void read_array(ArrayType *array, CommandArgs *args);
static char *element_text(const CommandArgs *args, int i, bool is_json);

void
args_read(FunctionCallInfo fcinfo, int n, CommandArgs *args)
{
	const char *s;
	Oid			type;

	memset(args, 0, sizeof(CommandArgs));
	switch (json_arg_type(fcinfo, n))
	{
		case JSON_ARG_NULL:
			args->json = cstring_to_text("[]");
			return;
		case JSON_ARG_TEXT:
			s = text_to_cstring(json_arg_string(fcinfo, n));
			if (is_array_text(s))
			{
				read_array(DatumGetArrayTypeP(OidInputFunctionCall(F_ARRAY_IN, unconstify(char *, s),
																   TEXTOID, -1)),
						   args);
				return;
			}
			read_json(fcinfo, n, args);
			return;
		case JSON_ARG_JSON:
		case JSON_ARG_JSONB:
			read_json(fcinfo, n, args);
			return;
		case JSON_ARG_BYTES:
			break;
		case JSON_ARG_OTHER:
			type = get_fn_expr_argtype(fcinfo->flinfo, n);
			if (!OidIsValid(get_base_element_type(type)))
				break;
			read_array(PG_GETARG_ARRAYTYPE_P(n), args);
			return;
	}
	json_arg_refuse_type(fcinfo, n, "args", "text, json, jsonb or an array");
}

void
args_convert(const CommandArgs *args, int n, const Oid *types, Datum *values,
			 char *nulls)
{
	if (args->n != n)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("args does not match the parameters of the command"),
				 errdetail("The number of parameters is %d, but the number of args is %d.", n, args->n)));

	for (int i = 0; i < n; i++)
	{
		Oid			base_type = getBaseType(types[i]);
		bool		is_json = base_type == JSONOID || base_type == JSONBOID;
		char	   *s = args->texts ? args->texts[i] : element_text(args, i, is_json);
		Oid			input;
		Oid			ioparam;

		nulls[i] = s == NULL ? 'n' : ' ';
		getTypeInputInfo(types[i], &input, &ioparam);
		/* a domain may forbid null */
		values[i] = OidInputFunctionCall(input, s, ioparam, -1);
	}
}

/*
 * Read a JSON array.
 */
static void
read_json(FunctionCallInfo fcinfo, int n, CommandArgs *args)
{
	args->json = json_arg_text(fcinfo, n, "args");
	args->elements = json_arg_jsonb(fcinfo, n, "args");
	if (!JB_ROOT_IS_ARRAY(args->elements) || JB_ROOT_IS_SCALAR(args->elements))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("args must be a JSON array")));
	args->n = JB_ROOT_COUNT(args->elements);
}

/*
 * Is this the text of an array of SQL?  {} is one, but no other JSON object is.
 */
static bool
is_array_text(const char *s)
{
	const char *first = s + strspn(s, " \t\r\n");

	if (*first != '{')
		return false;
	return first[1 + strspn(first + 1, " \t\r\n")] == '}' ||
		!canonical_json(first, strlen(first), ignore, NULL);
}

/*
 * For canonical_json().
 */
static void
ignore(void *arg, const char *bytes, size_t len)
{
}

/*
 * Read an array of SQL.
 */
static void
read_array(ArrayType *array, CommandArgs *args)
{
	Oid			type = ARR_ELEMTYPE(array);
	int16		len;
	bool		byval;
	char		align;
	Oid			output;
	bool		is_varlena;
	Datum	   *values;
	bool	   *nulls;
	StringInfoData json;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("args must be an array of one dimension"),
				 errhint("Pass JSON, in which an element may be an array.")));
	get_typlenbyvalalign(type, &len, &byval, &align);
	getTypeOutputInfo(type, &output, &is_varlena);
	deconstruct_array(array, type, len, byval, align, &values, &nulls, &args->n);

	initStringInfo(&json);
	appendStringInfoChar(&json, '[');
	if (args->n > 0)
		args->texts = palloc(sizeof(char *) * args->n);
	for (int i = 0; i < args->n; i++)
	{
		if (i > 0)
			appendStringInfoChar(&json, ',');
		args->texts[i] = nulls[i] ? NULL : OidOutputFunctionCall(output, values[i]);
		if (nulls[i])
			appendStringInfoString(&json, "null");
		else
			escape_json(&json, args->texts[i]);
	}
	appendStringInfoChar(&json, ']');
	args->json = cstring_to_text_with_len(json.data, json.len);
}

/*
 * The text of an element, for the input function of its parameter; NULL if it is null.
 */
static char *
element_text(const CommandArgs *args, int i, bool is_json)
{
	JsonbValue *element = getIthJsonbValueFromContainer(&args->elements->root, i);
	Jsonb	   *json;

	if (element->type == jbvNull)
		return NULL;
	if (element->type == jbvString && !is_json)
		return pnstrdup(element->val.string.val, element->val.string.len);
	json = JsonbValueToJsonb(element);
	return JsonbToCString(NULL, &json->root, VARSIZE(json));
}
