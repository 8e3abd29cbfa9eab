/*-------------------------------------------------------------------------
 *
 * compat.h
 *		What differs between the PostgreSQL versions, 15 to 19, newest first.
 *
 * A name means what it means in the newest version.  No other file looks at
 * PG_VERSION_NUM.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_COMPAT_H
#define IDEM_COMPAT_H

#include "access/genam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "commands/tablecmds.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "nodes/plannodes.h"
#include "parser/parse_relation.h"
#include "port/atomics.h"
#include "replication/syncrep.h"
#include "replication/walsender_private.h"
#if PG_VERSION_NUM >= 170000
#include "storage/dsm_registry.h"
#endif
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/rel.h"

#if PG_VERSION_NUM < 150000
#error "idempotency needs PostgreSQL 15 or later"
#endif

/* Stands before the declaration of a function that does not return. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn __attribute__((noreturn))
#endif

/* Before 16, VARDATA_ANY() and the like had no header of their own. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/*
 * Begin a plain index scan: no instrumentation, no ordering operators.  The caller
 * ends it with index_endscan().
 */
static inline IndexScanDesc
compat_index_beginscan(Relation heap, Relation index, Snapshot snapshot,
					   int nkeys)
{
#if PG_VERSION_NUM >= 190000
	return index_beginscan(heap, index, snapshot, NULL, nkeys, 0, 0);
#elif PG_VERSION_NUM >= 180000
	return index_beginscan(heap, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(heap, index, snapshot, nkeys, 0);
#endif
}

/*
 * Release the page of the table that an index scan has pinned.  The scan can go on.
 * In PostgreSQL 19 a reset keeps the page.  Call it in the memory context of the
 * scan.
 */
static inline void
compat_index_let_go(IndexScanDesc scan)
{
#if PG_VERSION_NUM >= 190000
	table_index_fetch_end(scan->xs_heapfetch);
	scan->xs_heapfetch = table_index_fetch_begin(scan->heapRelation, 0);
#else
	table_index_fetch_reset(scan->xs_heapfetch);
#endif
}

/*
 * Delete a row.  Result: TM_Ok if it has been deleted.  If another transaction is
 * changing it, this does not wait.
 */
static inline TM_Result
compat_tuple_delete(Relation rel, ItemPointer tid, CommandId cid,
					Snapshot snapshot)
{
	TM_FailureData failure;

#if PG_VERSION_NUM >= 190000
	return table_tuple_delete(rel, tid, cid, 0, snapshot, InvalidSnapshot,
							  false, &failure);
#else
	return table_tuple_delete(rel, tid, cid, snapshot, InvalidSnapshot,
							  false, &failure, false);
#endif
}

/*
 * Make the index entries of a row that has just been inserted.
 *
 * Result: the indexes whose deferred constraint an AFTER trigger has to check again.
 *
 * Errors: 23505 and 23P01 if another row is in conflict.
 */
static inline List *
compat_insert_index_tuples(ResultRelInfo *rel, TupleTableSlot *slot,
						   EState *estate)
{
#if PG_VERSION_NUM >= 190000
	return ExecInsertIndexTuples(rel, estate, 0, slot, NIL, NULL);
#elif PG_VERSION_NUM >= 160000
	return ExecInsertIndexTuples(rel, slot, estate, false, false, NULL, NIL,
								 false);
#else
	return ExecInsertIndexTuples(rel, slot, estate, false, false, NULL, NIL);
#endif
}

/*
 * Empty a table that is open and exclusively locked.  See ExecuteTruncate().
 */
static inline void
compat_truncate(Relation rel)
{
	List	   *rels = list_make1(rel);
	List	   *oids = list_make1_oid(RelationGetRelid(rel));
	List	   *logged = RelationIsLogicallyLogged(rel) ? oids : NIL;

#if PG_VERSION_NUM >= 160000
	ExecuteTruncateGuts(rels, oids, logged, DROP_RESTRICT, false, false);
#else
	ExecuteTruncateGuts(rels, oids, logged, DROP_RESTRICT, false);
#endif
}

/*
 * The next transaction id to be assigned, in 64 bits.  It is read without a lock, so
 * it may be out of date.  It is beyond every id that this process has met.
 */
static inline uint64
compat_next_full_xid(void)
{
#ifndef PG_HAVE_8BYTE_SINGLE_COPY_ATOMICITY
	return U64FromFullTransactionId(ReadNextFullTransactionId());
#elif PG_VERSION_NUM >= 170000
	return U64FromFullTransactionId(TransamVariables->nextXid);
#else
	return U64FromFullTransactionId(ShmemVariableCache->nextXid);
#endif
}

/*
 * Do commits wait for synchronous standbys, if their session asks for it?  The
 * flags came with 15.13, 16.9 and 17.5.  Before the checkpointer has set them, a
 * commit goes by the setting that its own process has read.
 */
static inline bool
compat_sync_standbys_defined(void)
{
#ifdef SYNC_STANDBY_DEFINED
	int			status = ((volatile WalSndCtlData *) WalSndCtl)->sync_standbys_status;

	if ((status & SYNC_STANDBY_INIT) == 0)
		return SyncRepStandbyNames != NULL && SyncRepStandbyNames[0] != '\0';
	return (status & SYNC_STANDBY_DEFINED) != 0;
#else
	return ((volatile WalSndCtlData *) WalSndCtl)->sync_standbys_defined;
#endif
}

/*
 * Has a role a right on a table or view, a function or a schema?  ACLCHECK_OK: yes.
 *
 * classid: pg_class, pg_proc or pg_namespace.
 */
static inline AclResult
compat_aclcheck(Oid classid, Oid objectid, Oid role, AclMode mode)
{
	if (classid == RelationRelationId)
		return pg_class_aclcheck(objectid, role, mode);
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(classid, objectid, role, mode);
#else
	if (classid == NamespaceRelationId)
		return pg_namespace_aclcheck(objectid, role, mode);
	return pg_proc_aclcheck(objectid, role, mode);
#endif
}

/*
 * Let a plan require this permission on a table of its range table, of this role.
 */
static inline void
compat_require_permission(PlannedStmt *plan, RangeTblEntry *rte,
						  AclMode permission, Oid role)
{
#if PG_VERSION_NUM >= 160000
	RTEPermissionInfo *info = addRTEPermissionInfo(&plan->permInfos, rte);

	info->requiredPerms = permission;
	info->checkAsUser = role;
#else
	rte->requiredPerms = permission;
	rte->checkAsUser = role;
#endif
}

/*
 * Can a library that is not preloaded have memory that sessions share?
 */
static inline bool
compat_has_named_segments(void)
{
	return PG_VERSION_NUM >= 170000;
}

#if PG_VERSION_NUM >= 190000
/*
 * For GetNamedDSMSegment(), which hands on an argument to make().
 */
static inline void
compat_make_segment(void *segment, void *arg)
{
	void		(*make) (void *segment) = (void (*) (void *)) arg;

	make(segment);
}
#endif

/*
 * Find the segment of shared memory of this name and size, or make one and have make()
 * fill it.  NULL: there are no such segments.
 */
static inline void *
compat_named_segment(const char *name, Size size, void (*make) (void *segment))
{
#if PG_VERSION_NUM >= 170000
	bool		found;
#endif

#if PG_VERSION_NUM >= 190000
	return GetNamedDSMSegment(name, size, compat_make_segment, &found, (void *) make);
#elif PG_VERSION_NUM >= 170000
	return GetNamedDSMSegment(name, size, make, &found);
#else
	return NULL;
#endif
}

/*
 * The number of this process among those of clients and workers, from 0.
 */
static inline int
compat_my_number(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProcNumber;
#else
	return MyBackendId - 1;
#endif
}

/* Before 19, a tuple descriptor is ready without a last call. */
#if PG_VERSION_NUM < 190000
#define TupleDescFinalize(desc) ((void) 0)
#endif

/*
 * The module's magic block.  From 18 on, pg_get_loaded_modules() shows the name and
 * the version in it.
 */
#if PG_VERSION_NUM >= 180000
#define COMPAT_MODULE_MAGIC(module_name, module_version) \
	PG_MODULE_MAGIC_EXT(.name = (module_name), .version = (module_version))
#else
#define COMPAT_MODULE_MAGIC(module_name, module_version) PG_MODULE_MAGIC
#endif

#endif							/* IDEM_COMPAT_H */
