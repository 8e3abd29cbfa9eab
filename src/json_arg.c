/*-------------------------------------------------------------------------
 *
 * json_arg.c
 *		Reading a JSON argument, given as text, json or jsonb.
 *
 * Drivers send JSON with a type of their choice, or with none.  PostgreSQL casts
 * neither json to jsonb nor the other way round in a call.  So these arguments are
 * declared "anycompatible", and take any type.  A literal, a parameter or a null
 * without a type resolves to text, as the documentation of polymorphic types says.
 *
 * Overloads would not do.  An argument that follows one with a default needs a
 * default of its own, and then a call that leaves it out fits all overloads.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "call.h"
#include "json_arg.h"

static Oid	type_of(FunctionCallInfo fcinfo, int n);
static Datum parse(PGFunction input, Datum value, Oid type, const char *name);
static char *as_string(Datum value, Oid type);

JsonArgType
json_type(Oid type)
{
	char		category;
	bool		preferred;

	switch (type)
	{
		case InvalidOid:
			return JSON_ARG_OTHER;
		case TEXTOID:
			return JSON_ARG_TEXT;
		case JSONOID:
			return JSON_ARG_JSON;
		case JSONBOID:
			return JSON_ARG_JSONB;
		case BYTEAOID:
			return JSON_ARG_BYTES;
		default:
			get_type_category_preferred(type, &category, &preferred);
			return category == TYPCATEGORY_STRING ? JSON_ARG_TEXT : JSON_ARG_OTHER;
	}
}

JsonArgType
json_arg_type(FunctionCallInfo fcinfo, int n)
{
	return ARG_IS_NULL(n) ? JSON_ARG_NULL : json_type(type_of(fcinfo, n));
}

text *
json_arg_text(FunctionCallInfo fcinfo, int n, const char *name)
{
	switch (json_arg_type(fcinfo, n))
	{
		case JSON_ARG_NULL:
			return NULL;
		case JSON_ARG_JSON:
			return PG_GETARG_TEXT_PP(n);
		case JSON_ARG_TEXT:
			return DatumGetTextPP(parse(json_in, PG_GETARG_DATUM(n), type_of(fcinfo, n), name));
		case JSON_ARG_JSONB:
			return cstring_to_text(as_string(PG_GETARG_DATUM(n), JSONBOID));
		case JSON_ARG_BYTES:
		case JSON_ARG_OTHER:
			break;
	}
	json_arg_refuse_type(fcinfo, n, name, "text, json or jsonb");
	return NULL;
}

text *
json_arg_string(FunctionCallInfo fcinfo, int n)
{
	if (type_of(fcinfo, n) == TEXTOID)
		return PG_GETARG_TEXT_PP(n);
	return cstring_to_text(as_string(PG_GETARG_DATUM(n), type_of(fcinfo, n)));
}

Jsonb *
json_arg_jsonb(FunctionCallInfo fcinfo, int n, const char *name)
{
	switch (json_arg_type(fcinfo, n))
	{
		case JSON_ARG_NULL:
			return NULL;
		case JSON_ARG_JSONB:
		case JSON_ARG_JSON:
		case JSON_ARG_TEXT:
			return json_value_jsonb(PG_GETARG_DATUM(n), type_of(fcinfo, n), name);
		case JSON_ARG_BYTES:
		case JSON_ARG_OTHER:
			break;
	}
	json_arg_refuse_type(fcinfo, n, name, "text, json or jsonb");
	return NULL;
}

Jsonb *
json_value_jsonb(Datum value, Oid type, const char *name)
{
	return DatumGetJsonbP(type == JSONBOID ? value : parse(jsonb_in, value, type, name));
}

void
json_arg_refuse_type(FunctionCallInfo fcinfo, int n, const char *name,
					 const char *types)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("%s must be of type %s", name, types),
			 errdetail("It is of type %s.", format_type_be(type_of(fcinfo, n)))));
}

/*
 * The type of argument n, as the call has it; that of its values, if it is a domain.
 * Invalid if a C function calls ours without an expression.
 */
static Oid
type_of(FunctionCallInfo fcinfo, int n)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, n);

	return OidIsValid(type) ? getBaseType(type) : InvalidOid;
}

/*
 * Have the input function of json or jsonb read a value of this type.
 *
 * Its errors quote what they cannot read.  That may be personal, and messages are
 * logged.  So we raise an error of our own, which does not.
 */
static Datum
parse(PGFunction input, Datum value, Oid type, const char *name)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *s = as_string(value, type);
	Datum		result = (Datum) 0;

	PG_TRY();
	{
		result = DirectFunctionCall1(input, CStringGetDatum(s));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) !=
			ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION))
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(error->sqlerrcode),
				 errmsg("could not read %s as JSON", name),
				 errdetail("PostgreSQL says: %s.", error->message)));
	}
	PG_END_TRY();
	return result;
}

/*
 * A value, as its type writes it.
 */
static char *
as_string(Datum value, Oid type)
{
	Oid			output;
	bool		is_varlena;

	getTypeOutputInfo(type, &output, &is_varlena);
	return OidOutputFunctionCall(output, value);
}
