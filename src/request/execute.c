/*-------------------------------------------------------------------------
 *
 * execute.c
 *		Running one SQL command once.
 *
 * idem_execute(key, command, args, scope)
 *
 * A request whose work is a command.  It is begun, run and completed in one call.
 * Its response is the rows of the command, as a JSON array.  The command runs with
 * the rights of the caller.
 *
 * If the command fails, so does the call, and the key stays free.  But if
 * idempotency.declines is "record" and the error is final, what the command did is
 * rolled back, and the error is stored as the key's answer.  Final errors are data
 * that does not fit, a constraint that is violated, and what the command itself
 * raises.  Any other error may be gone at the next try, so they are always raised.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/analyze.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "call.h"
#include "compat.h"
#include "errors.h"
#include "json_arg.h"
#include "request/fingerprint.h"
#include "request/request.h"
#include "settings.h"
#include "subtransaction.h"

PG_FUNCTION_INFO_V1(idem_execute);

/* A command that is run in a subtransaction. */
typedef struct Run
{
	const char *command;
	Jsonb	   *args;			/* or NULL */
	text	   *rows;			/* its rows, once it has been run */
} Run;

static bytea *fingerprint_of(text *command, Jsonb *args);
static text *run(const char *command, Jsonb *args);
static text *run_or_refuse(const char *command, Jsonb *args, Refusal **refusal);
static void run_it(void *arg);
static void check_status(int status);
static bool is_final(int sqlstate);
static int	infer_types(const char *command, Oid **types);
static void move_position(void *command);
static void convert_args(Jsonb *args, int n, const Oid *types, Datum *values,
						 char *nulls);
static text *rows_to_json(SPITupleTable *rows);
static Datum result(FunctionCallInfo fcinfo, bool replayed, const Datum rows,
					bool has_rows, const char *sqlstate, const char *message);

/*
 * idem_execute: run a command, once for a key.
 *
 * command: one SQL command, with parameters $1, $2, ...  args: a JSON array with a
 * value for each parameter; NULL is none.  The types of the parameters are inferred
 * from the command.
 *
 * Result: replayed; rows, a JSON array of objects, empty if the command returns
 * none.  If the command failed and its failure is stored, rows is null, and sqlstate
 * and message say why.
 *
 * Errors: those of key_check(), request_begin(), run() and request_end(); 22004 if
 * command is NULL.
 */
Datum
idem_execute(PG_FUNCTION_ARGS)
{
	text	   *command = ARG_TEXT(1);
	Jsonb	   *args = json_arg_jsonb(fcinfo, 2, "args");
	BeginOptions options = {.field = "command or args", .takeover = true};
	Key			key;
	RequestClaim rc;
	BeginResult begin;
	Refusal    *refusal = NULL;
	Begun	   *begun;
	text	   *rows;
	Datum		answer;

	refusal_raise(key_check(ARG_TEXT(0), ARG_TEXT(3), &key));
	call_not_null(command == NULL, "command");
	options.fingerprint = fingerprint_of(command, args);

	request_open(&rc, &key);
	request_begin(&rc, &options, &begin, "idem_execute()");
	if (begin.outcome == BEGIN_COMPLETED || begin.outcome == BEGIN_FAILED)
	{
		Request    *row = &begin.row;

		answer = result(fcinfo, true, request_value(row, response),
						!request_is_null(row, response),
						request_is_null(row, sqlstate) ? NULL
						: TextDatumGetCString(request_value(row, sqlstate)),
						request_is_null(row, message) ? NULL
						: TextDatumGetCString(request_value(row, message)));
		request_close(&rc);
		return answer;
	}
	request_close(&rc);			/* nothing is open while the command runs */

	begun = begun_find(&key);
	begun->executing = true;

	if (setting_declines == DECLINES_RECORD)
		rows = run_or_refuse(text_to_cstring(command), args, &refusal);
	else
		rows = run(text_to_cstring(command), args);

	begun->executing = false;
	request_open(&rc, &key);
	request_end(&rc, begun, refusal ? REQUEST_FAILED : REQUEST_COMPLETED, rows,
				refusal, "idem_execute()");
	request_close(&rc);

	return result(fcinfo, false, PointerGetDatum(rows), rows != NULL,
				  refusal ? unpack_sql_state(refusal->sqlstate) : NULL,
				  refusal ? refusal->message : NULL);
}

/*
 * The fingerprint of a command with its arguments.
 */
static bytea *
fingerprint_of(text *command, Jsonb *args)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"command\": ");
	escape_json(&json, text_to_cstring(command));
	appendStringInfo(&json, ", \"args\": %s}",
					 args ? JsonbToCString(NULL, &args->root, VARSIZE(args)) : "[]");
	return fingerprint_make(FINGERPRINT_COMMAND, json.data, json.len);
}

/*
 * Run the command.
 *
 * Result: its rows, as a JSON array in the current memory context.
 *
 * Errors: those of infer_types() and convert_args(); 0A000 if SPI cannot execute it,
 * since it begins or ends a transaction, say; what the command raises.
 */
static text *
run(const char *command, Jsonb *args)
{
	MemoryContext context = CurrentMemoryContext;
	Oid		   *types = NULL;
	int			n = infer_types(command, &types);
	Datum	   *values = palloc(sizeof(Datum) * Max(n, 1));
	char	   *nulls = palloc(Max(n, 1));
	SPIPlanPtr	plan;
	int			status;
	text	   *rows;

	convert_args(args, n, types, values, nulls);

	SPI_connect();
	plan = SPI_prepare(command, n, types);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	status = SPI_execute_plan(plan, values, nulls, false, 0);
	check_status(status);
	rows = rows_to_json(SPI_tuptable);
	rows = DatumGetTextP(SPI_datumTransfer(PointerGetDatum(rows), false, -1));
	SPI_finish();

	MemoryContextSwitchTo(context);
	return rows;
}

/*
 * Run the command in a subtransaction.
 *
 * Result: its rows.  If it fails with a final error, the result is NULL, *refusal is
 * that error, and what it did is rolled back.
 *
 * Errors: those of run() that are not final.
 */
static text *
run_or_refuse(const char *command, Jsonb *args, Refusal **refusal)
{
	Run			r = {.command = command, .args = args};
	ErrorData  *error = subtransaction_try(run_it, &r);

	if (error == NULL)
		return r.rows;
	if (!is_final(errors_sqlstate(error)))
		ReThrowError(error);
	*refusal = refusal_make(errors_sqlstate(error),
							error->message ? error->message : "missing error text",
							NULL, NULL);
	return NULL;
}

/*
 * For subtransaction_try(): run the command of a Run.
 */
static void
run_it(void *arg)
{
	Run		   *r = arg;

	r->rows = run(r->command, r->args);
}

/*
 * Raise an error if SPI did not run the command.
 */
static void
check_status(int status)
{
	if (status == SPI_ERROR_TRANSACTION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot begin or end a transaction in idem_execute()")));
	if (status == SPI_ERROR_COPY)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot copy from or to the client in idem_execute()")));
	if (status < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(status));
}

/*
 * Would the same command meet the same error again?  Only the errors listed here
 * count.  Where it is doubtful, we raise the error: a command can be tried again,
 * but a wrong answer stays.
 */
static bool
is_final(int sqlstate)
{
	char		class = unpack_sql_state(sqlstate)[0];

	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
			/* the data does not fit */
		case ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION):
			/* but these may be a setting, a role or a sequence to be mended */
			return sqlstate != ERRCODE_INVALID_PARAMETER_VALUE &&
				sqlstate != ERRCODE_CHARACTER_NOT_IN_REPERTOIRE &&
				sqlstate != ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED;
		case ERRCODE_TO_CATEGORY(ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION):
			return true;

			/* the command itself raises it */
		case ERRCODE_TO_CATEGORY(ERRCODE_PLPGSQL_ERROR):
			return true;
		case ERRORS_CLASS_ID:
			return sqlstate != ERRCODE_IDEM_IN_FLIGHT;
		case ERRORS_CLASS_PT:
			/* our ID409, which the command has caught and raised itself */
			return sqlstate != ERRORS_AS_PT(ERRCODE_IDEM_IN_FLIGHT);
		case ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR):
			return false;
		default:
			/* the SQL standard defines no class that begins so */
			return class >= 'I' && class <= 'Z';
	}
}

/*
 * The number of parameters of a command.  *types: their types, if there are any.
 *
 * Errors: 42601 if it is not one command; 42P18 if the type of a parameter cannot be
 * inferred; those of the analysis of the command.
 */
static int
infer_types(const char *command, Oid **types)
{
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = move_position,
		.arg = unconstify(char *, command),
	};
	List	   *statements;
	int			n = 0;

	error_context_stack = &callback;
	statements = pg_parse_query(command);
	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("command must be a single SQL command"),
				 errdetail("The number of commands is %d.", list_length(statements))));
	(void) parse_analyze_varparams(linitial_node(RawStmt, statements), command,
								   types, &n, NULL);
	error_context_stack = callback.previous;
	for (int i = 0; i < n; i++)
	{
		if (!OidIsValid((*types)[i]) || (*types)[i] == UNKNOWNOID)
			ereport(ERROR,
					(errcode(ERRCODE_INDETERMINATE_DATATYPE),
					 errmsg("could not determine data type of parameter $%d", i + 1)));
	}
	return n;
}

/*
 * Error context callback.  A position in the command is not one in the statement that
 * called us, so it becomes an internal one.  _SPI_error_callback() does the same.
 */
static void
move_position(void *command)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery((const char *) command);
	}
}

/*
 * Make the values of the parameters.  A parameter's type reads the text of the
 * element.  For a string that is its characters, without quotes; but json and jsonb
 * read it as it is written in JSON.
 *
 * n, types: of the parameters.  values, nulls: room for n of them.
 *
 * Errors: 22023 if args is not an array of n elements; those of the types' input
 * functions.
 */
static void
convert_args(Jsonb *args, int n, const Oid *types, Datum *values, char *nulls)
{
	bool		is_array = args && JB_ROOT_IS_ARRAY(args) && !JB_ROOT_IS_SCALAR(args);
	int			given = is_array ? JB_ROOT_COUNT(args) : 0;

	if (args && !is_array)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("args must be a JSON array")));
	if (given != n)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("args does not match the parameters of the command"),
				 errdetail("The number of parameters is %d, but the number of args is %d.", n, given)));

	for (int i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(&args->root, i);
		Oid			base_type = getBaseType(types[i]);
		bool		is_json = base_type == JSONOID || base_type == JSONBOID;
		Oid			input;
		Oid			ioparam;
		char	   *s;

		nulls[i] = element->type == jbvNull ? 'n' : ' ';
		if (element->type == jbvNull)
			s = NULL;			/* which a domain may forbid */
		else if (element->type == jbvString && !is_json)
			s = pnstrdup(element->val.string.val, element->val.string.len);
		else
		{
			Jsonb	   *json = JsonbValueToJsonb(element);

			s = JsonbToCString(NULL, &json->root, VARSIZE(json));
		}
		getTypeInputInfo(types[i], &input, &ioparam);
		values[i] = OidInputFunctionCall(input, s, ioparam, -1);
	}
}

/*
 * The rows as a JSON array of objects.  rows: NULL if the command returns none.
 */
static text *
rows_to_json(SPITupleTable *rows)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '[');
	if (rows)
	{
		TupleDesc	desc = BlessTupleDesc(rows->tupdesc);

		for (uint64 i = 0; i < rows->numvals; i++)
		{
			Datum		row = heap_copy_tuple_as_datum(rows->vals[i], desc);
			text	   *object = DatumGetTextP(OidFunctionCall1(F_ROW_TO_JSON_RECORD, row));

			CHECK_FOR_INTERRUPTS();
			if (i > 0)
				appendStringInfoString(&json, ", ");
			appendBinaryStringInfo(&json, VARDATA_ANY(object), VARSIZE_ANY_EXHDR(object));
			pfree(object);
			pfree(DatumGetPointer(row));
		}
	}
	appendStringInfoChar(&json, ']');
	return cstring_to_text_with_len(json.data, json.len);
}

/*
 * The row that idem_execute() returns.  sqlstate and message may be NULL.
 */
static Datum
result(FunctionCallInfo fcinfo, bool replayed, const Datum rows, bool has_rows,
	   const char *sqlstate, const char *message)
{
	Datum		values[4];
	bool		nulls[4] = {false, !has_rows, sqlstate == NULL, message == NULL};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = BoolGetDatum(replayed);
	values[1] = rows;
	values[2] = sqlstate ? CStringGetTextDatum(sqlstate) : (Datum) 0;
	values[3] = message ? CStringGetTextDatum(message) : (Datum) 0;
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
