/*-------------------------------------------------------------------------
 *
 * call.c
 *		Reading the arguments of a call.
 *
 * Our functions have many arguments, and most calls name few of them.  The
 * executor evaluates an expression for each argument at every call.  For the six
 * that idem_pay() usually leaves null, that costs as much as forming the receipt.
 * So the functions have a planner support function.  It cuts off the arguments at
 * the end that are constant and null.  ARG_IS_NULL() takes a missing argument for
 * null.
 *
 * The planner may simplify a call twice.  The second time, it fills in the defaults
 * of the arguments that are missing.  So only an argument whose default is null may
 * be cut off.  Otherwise a null would become a default that asks for more: for all
 * that is left, say.  Texts, JSON and arrays have no default but null.  Numbers,
 * booleans and intervals may have another, and are never cut off.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type_d.h"
#include "datatype/timestamp.h"
#include "nodes/makefuncs.h"
#include "nodes/supportnodes.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "call.h"
#include "errors.h"

PG_FUNCTION_INFO_V1(idem_shorten_call);

static int	without_default(Oid function);
static bool may_be_cut_off(const Node *arg);

/*
 * idempotency.shorten_call(internal) returns internal: the planner support function.
 * It answers SupportRequestSimplify (nodes/supportnodes.h), and no other request.
 *
 * Result: the shorter call; NULL if nothing can be cut off.
 */
Datum
idem_shorten_call(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	FuncExpr   *call;
	FuncExpr   *shorter;
	int			least;
	int			n;

	if (!IsA(request, SupportRequestSimplify))
		PG_RETURN_POINTER(NULL);

	call = ((SupportRequestSimplify *) request)->fcall;
	least = without_default(call->funcid);
	for (n = list_length(call->args); n > least; n--)
	{
		if (!may_be_cut_off(list_nth(call->args, n - 1)))
			break;
	}
	if (n == list_length(call->args))
		PG_RETURN_POINTER(NULL);

	shorter = makeFuncExpr(call->funcid, call->funcresulttype,
						   list_truncate(list_copy(call->args), n),
						   call->funccollid, call->inputcollid, call->funcformat);
	shorter->funcretset = call->funcretset;
	shorter->location = call->location;
	PG_RETURN_POINTER(shorter);
}

/*
 * The number of a function's arguments that have no default.  They come first.
 */
static int
without_default(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	int			n;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	n = form->pronargs - form->pronargdefaults;
	ReleaseSysCache(tuple);
	return n;
}

/*
 * Is it a null, of a type whose arguments have no default but null?
 */
static bool
may_be_cut_off(const Node *arg)
{
	const Const *constant = (const Const *) arg;

	return IsA(arg, Const) && constant->constisnull &&
		constant->consttype != NUMERICOID && constant->consttype != INT4OID &&
		constant->consttype != BOOLOID && constant->consttype != INTERVALOID;
}

void
call_not_null(bool is_null, const char *name)
{
	if (is_null)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}

int64
call_duration(const Interval *interval, const char *name)
{
	/*
	 * beyond it are infinite intervals, and times that a timestamp cannot
	 * hold
	 */
	const int64 limit = INT64CONST(100) * 365 * USECS_PER_DAY;
	double		us;

	call_not_null(interval == NULL, name);
	us = (double) interval->time +
		((double) interval->day + (double) interval->month * DAYS_PER_MONTH) * USECS_PER_DAY;
	if (us <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be greater than zero", name)));
	if (us > limit)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too long", name),
				 errdetail("At most 36500 days are allowed. A month counts as 30 days.")));
	return interval->time +
		((int64) interval->day + (int64) interval->month * DAYS_PER_MONTH) * USECS_PER_DAY;
}
