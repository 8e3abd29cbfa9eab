/*-------------------------------------------------------------------------
 *
 * report.c
 *		Reporting what is written to modules that watch the executor.
 *
 * We write tables past the executor.  Modules that audit or restrict writes, such as
 * pgaudit, have hooks in the executor, and would not notice.  So if there is a module
 * that checks permissions, we start a statement of the executor that writes to the
 * same table and has nothing to write, and end it at once.  The module sees what it
 * would see if the function ran an INSERT by SPI.
 *
 * It is not enough to call ExecutorCheckPerms_hook.  pgaudit has a stack with the
 * statements that are running.  ExecutorStart_hook adds a statement to it, and
 * ExecutorCheckPerms_hook then takes the newest one for that whose permissions are
 * checked.  That would be the SELECT of our caller: its record would be changed, and
 * pgaudit would refuse the next statement if that SELECT is a cursor.  And where no
 * statement runs, as in the worker, pgaudit would have none.
 *
 * The caller needs no right on the table, so the rights of its owner are checked.
 * But the current role is the caller's, and modules look at that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/execdesc.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/plannodes.h"
#include "tcop/dest.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "table/store_internal.h"

/* Start and end the statement. */
static void run_empty_statement(Relation heap, CmdType command);

/* Its plan. */
static PlannedStmt *empty_plan(Relation heap, CmdType command);

void
store_report_write(Store *store, CmdType command)
{
	MemoryContext context;
	MemoryContext old_context;

	if (ExecutorCheckPerms_hook == NULL ||
		(store->reported & (1 << command)) != 0)
		return;
	store->reported |= 1 << command;

	context = AllocSetContextCreate(store->context, "idempotency report",
									ALLOCSET_SMALL_SIZES);
	old_context = MemoryContextSwitchTo(context);
	run_empty_statement(store->heap, command);
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
}

/*
 * With EXEC_FLAG_EXPLAIN_ONLY a statement may end without having been run.
 */
static void
run_empty_statement(Relation heap, CmdType command)
{
	const char *text = psprintf("%s %s.%s",
								command == CMD_INSERT ? "INSERT INTO" : "DELETE FROM",
								IDEM_SCHEMA, RelationGetRelationName(heap));
	QueryDesc  *query;

	query = CreateQueryDesc(empty_plan(heap, command), text, GetActiveSnapshot(),
							InvalidSnapshot, None_Receiver, NULL, NULL, 0);
	ExecutorStart(query, EXEC_FLAG_EXPLAIN_ONLY);
	ExecutorEnd(query);
	FreeQueryDesc(query);
}

static PlannedStmt *
empty_plan(Relation heap, CmdType command)
{
	PlannedStmt *plan = makeNode(PlannedStmt);
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(heap);
	rte->relkind = heap->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
	rte->eref = makeAlias(RelationGetRelationName(heap), NIL);

	plan->commandType = command;
	plan->canSetTag = true;
	plan->stmt_location = -1;
	plan->planTree = (Plan *) makeNode(Result);
	plan->rtable = list_make1(rte);
	compat_require_permission(plan, rte,
							  command == CMD_INSERT ? ACL_INSERT : ACL_DELETE,
							  heap->rd_rel->relowner);
	return plan;
}
