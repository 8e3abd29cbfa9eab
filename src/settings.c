/*-------------------------------------------------------------------------
 *
 * settings.c
 *		The configuration parameters, idempotency.*
 *
 * The settings of the background worker belong to the server.  All others can be
 * set per role, database, session and transaction.  None of them may keep a state
 * of the session: a connection pooler shares sessions between clients.
 *
 * idempotency.require_scope is for an administrator who does not trust clients with
 * that.  So a client must not be able to turn it off.
 *
 * A value that names something (a scope, a currency) is checked where it is used.
 * A bad one must not keep a role from connecting.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "bytes.h"
#include "compat.h"
#include "settings.h"

/* For what each means see settings.h, and its text in settings_define(). */
char	   *setting_scope = NULL;
bool		setting_require_scope = false;
char	   *setting_currency = NULL;
int			setting_in_flight = IN_FLIGHT_WAIT;
int			setting_declines = DECLINES_RAISE;
int			setting_error_class = ERROR_CLASS_ID;
int			setting_retention = 24 * 60 * 60;
int			setting_response_limit = 64 * 1024;
char	   *setting_databases = NULL;
int			setting_naptime = 60;

/* Has a value of idempotency.require_scope been accepted, besides the default? */
static bool require_scope_is_set = false;

static void define_require_scope(void);
static bool check_require_scope(bool *value, void **extra, GucSource source);
static bool check_databases(char **value, void **extra, GucSource source);

/* The values of idempotency.in_flight. */
static const struct config_enum_entry in_flight_options[] = {
	{"wait", IN_FLIGHT_WAIT, false},
	{"fail", IN_FLIGHT_FAIL, false},
	{NULL, 0, false}
};

/* The values of idempotency.declines. */
static const struct config_enum_entry declines_options[] = {
	{"raise", DECLINES_RAISE, false},
	{"record", DECLINES_RECORD, false},
	{NULL, 0, false}
};

/* The values of idempotency.error_class. */
static const struct config_enum_entry error_class_options[] = {
	{"ID", ERROR_CLASS_ID, false},
	{"PT", ERROR_CLASS_PT, false},
	{NULL, 0, false}
};

void
settings_define(void)
{
	DefineCustomStringVariable("idempotency.scope",
							   "Sets the default scope of keys.",
							   "A scope is the namespace of a tenant: the same key in two scopes is two keys.",
							   &setting_scope,
							   "",
							   PGC_USERSET, 0,
							   NULL, NULL, NULL);

	define_require_scope();

	DefineCustomStringVariable("idempotency.currency",
							   "Sets the default currency of amounts.",
							   "The value is an ISO 4217 code or a code in the table \"idempotency.currency\".",
							   &setting_currency,
							   "USD",
							   PGC_USERSET, 0,
							   NULL, NULL, NULL);

	DefineCustomEnumVariable("idempotency.in_flight",
							 "Sets what a call does while another transaction uses its key or its payment.",
							 "\"wait\" waits for that transaction to end. \"fail\" raises ID409.",
							 &setting_in_flight,
							 IN_FLIGHT_WAIT,
							 in_flight_options,
							 PGC_USERSET, 0,
							 NULL, NULL, NULL);

	DefineCustomEnumVariable("idempotency.declines",
							 "Sets whether a refusal is raised as an error or recorded as the answer.",
							 "A request is refused if the state of the payment forbids it. A command of idem_execute() is refused if it fails for good. "
							 "\"raise\" raises the error and leaves the key free. \"record\" stores it as the answer of the key.",
							 &setting_declines,
							 DECLINES_RAISE,
							 declines_options,
							 PGC_USERSET, 0,
							 NULL, NULL, NULL);

	DefineCustomEnumVariable("idempotency.error_class",
							 "Sets the class of the SQLSTATEs that are raised.",
							 "With \"PT\", PostgREST answers with the HTTP status in the last three characters. What is stored keeps the class \"ID\".",
							 &setting_error_class,
							 ERROR_CLASS_ID,
							 error_class_options,
							 PGC_USERSET, 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("idempotency.retention",
							"Sets how long the answer to a request is kept.",
							"Payments never expire.",
							&setting_retention,
							24 * 60 * 60, 1, 50 * 365 * 24 * 60 * 60,
							PGC_USERSET, GUC_UNIT_S,
							NULL, NULL, NULL);

	/*
	 * pg_dump writes a row as one line of COPY, which ends at 1 GB.  A row
	 * has a response and the data of a checkpoint.  In the line, each of
	 * their bytes may become two (a backslash) or three (another encoding).
	 */
	DefineCustomIntVariable("idempotency.response_limit",
							"Sets the maximum size of a response, of the rows of idem_execute() and of the data of a checkpoint.",
							"What is larger is an error, and is not stored.",
							&setting_response_limit,
							64 * 1024, 1, 128 * 1024,
							PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);

	DefineCustomStringVariable("idempotency.databases",
							   "Sets the databases in which expired requests are purged and expired holds are released.",
							   "The value is a comma-separated list of names. The setting takes effect only if the library is in \"shared_preload_libraries\".",
							   &setting_databases,
							   "",
							   PGC_SIGHUP, GUC_LIST_INPUT,
							   check_databases, NULL, NULL);

	DefineCustomIntVariable("idempotency.naptime",
							"Sets the time between two rounds of purging expired requests and releasing expired holds.",
							"The setting takes effect only if the library is in \"shared_preload_libraries\".",
							&setting_naptime,
							60, 1, 24 * 60 * 60,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);

	MarkGUCPrefixReserved("idempotency");
}

/*
 * Define idempotency.require_scope.
 *
 * Before the library is loaded, any client can give it a value in the options of the
 * connection.  PostgreSQL refuses that value now, with a warning.  But the
 * administrator's value is lost by then: the client's has replaced it.  So we take
 * the strict one.
 */
static void
define_require_scope(void)
{
	static const char *const name = "idempotency.require_scope";
	bool		given = GetConfigOption(name, true, false) != NULL;

	DefineCustomBoolVariable(name,
							 "Makes it an error if a call names no scope.",
							 "Only the argument of the call names a scope. The setting \"idempotency.scope\" does not count.",
							 &setting_require_scope,
							 false,
							 PGC_SUSET, 0,
							 check_require_scope, NULL, NULL);
	if (given && !require_scope_is_set)
		SetConfigOption(name, "on", PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * Check hook of idempotency.require_scope: note that a value was accepted.
 */
static bool
check_require_scope(bool *value, void **extra, GucSource source)
{
	if (source != PGC_S_DEFAULT)
		require_scope_is_set = true;
	return true;
}

Declines
setting_declines_of_call(const text *declines)
{
	if (declines == NULL)
		return setting_declines;
	for (const struct config_enum_entry *option = declines_options; option->name; option++)
	{
		if (bytes_equal_cstring(declines, option->name))
			return option->val;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("declines must be \"raise\" or \"record\"")));
}

text *
setting_text(const char *value, const char *name)
{
	int			len = strlen(value);
	bool		ascii = true;

	for (int i = 0; i < len; i++)
		ascii = ascii && !IS_HIGHBIT_SET(value[i]);
	if (!ascii && !pg_verifymbstr(value, len, true))
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("value of setting \"%s\" is not valid in the encoding of the database", name),
				 errhint("Set \"%s\" again in this database.", name)));
	return cstring_to_text_with_len(value, len);
}

/*
 * Check hook of idempotency.databases: it must be a list of names.
 */
static bool
check_databases(char **value, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*value);
	List	   *names;
	bool		ok = SplitGUCList(copy, ',', &names);

	if (!ok)
		GUC_check_errdetail("List syntax is invalid.");
	list_free(names);
	pfree(copy);
	return ok;
}
