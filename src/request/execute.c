/*-------------------------------------------------------------------------
 *
 * execute.c
 *		Running one SQL command once.
 *
 * idem_execute(key, command, args, numbers, scope, declines)
 *
 * A request whose work is a command.  It is begun, run and completed in one call.
 * Its response is the rows of the command, as a JSON array.  The command runs with
 * the rights of the caller.
 *
 * If the command fails, so does the call, and the key stays free.  But if
 * declines is "record" and the error is final, what the command did is
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
#include "utils/json.h"

#include "bytes.h"
#include "call.h"
#include "compat.h"
#include "errors.h"
#include "request/args.h"
#include "request/fingerprint.h"
#include "request/request.h"
#include "request/rows.h"
#include "settings.h"
#include "stat/stat.h"
#include "subtransaction.h"

STAT_FUNCTION(idem_execute, STAT_EXECUTE);

/* A command, and how to run it. */
typedef struct Run
{
	const char *command;
	CommandArgs args;
	bool		numbers_as_text;	/* are numbers in its rows to be JSON
									 * strings? */
	text	   *rows;			/* its rows, once it has been run */
} Run;

static bool read_numbers(text *numbers);
static bytea *fingerprint_of(text *command, const CommandArgs *args,
							 bool numbers_as_text);
static text *run(const Run *r);
static text *run_or_refuse(Run *r, Refusal **refusal);
static void run_it(void *arg);
static void check_status(int status);
static bool is_final(int sqlstate);
static int	infer_types(const char *command, Oid **types);
static void move_position(void *command);
static Datum result(FunctionCallInfo fcinfo, bool replayed, const Datum rows,
					bool has_rows, const char *sqlstate, const char *message);

/*
 * idem_execute: run a command, once for a key.
 *
 * command: one SQL command, with parameters $1, $2, ...  The types of the parameters
 * are inferred from the command.  args: a value for each of them, see args.h.
 * numbers: "number" or "text", how the rows have bigint and numeric.  declines: what
 * becomes of a final error; NULL means the setting idempotency.declines.
 *
 * Result: replayed; rows, a JSON array of objects, empty if the command returns
 * none.  If the command failed and its failure is stored, rows is null, and sqlstate
 * and message say why.
 *
 * Errors: those of key_check(), args_read(), setting_declines_of_call(),
 * request_begin(), run() and request_end();
 * 22004 if command or numbers is NULL; 22023 if numbers is another word.
 */
static Datum
idem_execute_call(PG_FUNCTION_ARGS)
{
	text	   *command = ARG_TEXT(1);
	BeginOptions options = {.field = "command, args or numbers", .takeover = true};
	Declines	declines;
	Run			r;
	Key			key;
	RequestClaim rc;
	BeginResult begin;
	Refusal    *refusal = NULL;
	Begun	   *begun;
	text	   *rows;
	Datum		answer;

	refusal_raise(key_check(ARG_TEXT(0), ARG_TEXT(4), &key));
	call_not_null(command == NULL, "command");
	r.command = text_to_cstring(command);
	args_read(fcinfo, 2, &r.args);
	r.numbers_as_text = read_numbers(ARG_TEXT(3));
	declines = setting_declines_of_call(ARG_TEXT(5));
	options.fingerprint = fingerprint_of(command, &r.args, r.numbers_as_text);

	request_open(&rc, &key);
	request_begin(&rc, &options, &begin, "idem_execute()");
	if (begin.outcome == BEGIN_COMPLETED || begin.outcome == BEGIN_FAILED)
	{
		Request    *row = &begin.row;

		stat_note(STAT_REPLAYED, 1);
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

	if (declines == DECLINES_RECORD)
		rows = run_or_refuse(&r, &refusal);
	else
		rows = run(&r);

	begun->executing = false;
	request_open(&rc, &key);
	request_end(&rc, begun, refusal ? REQUEST_FAILED : REQUEST_COMPLETED, rows,
				refusal, "idem_execute()");
	request_close(&rc);
	stat_note(refusal ? STAT_DECLINED : STAT_NEW, 1);

	return result(fcinfo, false, PointerGetDatum(rows), rows != NULL,
				  refusal ? unpack_sql_state(refusal->sqlstate) : NULL,
				  refusal ? refusal->message : NULL);
}

/*
 * Is the argument numbers "text"?
 *
 * Errors: 22004 if it is NULL; 22023 if it is not "number", either.
 */
static bool
read_numbers(text *numbers)
{
	call_not_null(numbers == NULL, "numbers");
	if (bytes_equal_cstring(numbers, "text"))
		return true;
	if (!bytes_equal_cstring(numbers, "number"))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("numbers must be \"number\" or \"text\"")));
	return false;
}

/*
 * The fingerprint of a command: of a JSON object with the command, its args and, if it
 * is "text", numbers.  The answer depends on all of them.  Arguments that were given as
 * texts are named "texts", as json and jsonb parameters read them in another way.
 */
static bytea *
fingerprint_of(text *command, const CommandArgs *args, bool numbers_as_text)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"command\": ");
	escape_json(&json, text_to_cstring(command));
	appendStringInfo(&json, ", \"%s\": ", args->texts ? "texts" : "args");
	appendBinaryStringInfo(&json, VARDATA_ANY(args->json), VARSIZE_ANY_EXHDR(args->json));
	if (numbers_as_text)
		appendStringInfoString(&json, ", \"numbers\": \"text\"");
	appendStringInfoChar(&json, '}');
	return fingerprint_make(FINGERPRINT_COMMAND, json.data, json.len);
}

/*
 * Run the command.
 *
 * Result: its rows, as a JSON array in the current memory context.
 *
 * Errors: those of infer_types(), args_convert() and rows_to_json(); 0A000 if SPI cannot execute it,
 * since it begins or ends a transaction, say; what the command raises.
 */
static text *
run(const Run *r)
{
	MemoryContext context = CurrentMemoryContext;
	Oid		   *types = NULL;
	int			n = infer_types(r->command, &types);
	Datum	   *values = palloc(sizeof(Datum) * Max(n, 1));
	char	   *nulls = palloc(Max(n, 1));
	SPIPlanPtr	plan;
	int			status;
	text	   *rows;

	args_convert(&r->args, n, types, values, nulls);

	SPI_connect();
	plan = SPI_prepare(r->command, n, types);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	status = SPI_execute_plan(plan, values, nulls, false, 0);
	check_status(status);
	rows = rows_to_json(SPI_tuptable, r->numbers_as_text);
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
run_or_refuse(Run *r, Refusal **refusal)
{
	ErrorData  *error = subtransaction_try(run_it, r);

	if (error == NULL)
		return r->rows;
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

	r->rows = run(r);
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
