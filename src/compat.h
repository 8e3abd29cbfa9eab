/*-------------------------------------------------------------------------
 *
 * compat.h
 *		What differs between the PostgreSQL versions, 15 to 19, newest first.
 *
 * The names are those of the newest version's meaning; nothing else in the
 * sources looks at PG_VERSION_NUM.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_COMPAT_H
#define IDEM_COMPAT_H

#include "access/genam.h"
#include "catalog/catalog.h"
#include "commands/tablecmds.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "utils/rel.h"

#if PG_VERSION_NUM < 150000
#error "idempotency needs PostgreSQL 15 or later"
#endif

/* before the declaration of a function that does not return */
#if PG_VERSION_NUM < 180000
#define pg_noreturn __attribute__((noreturn))
#endif

/* VARDATA_ANY() and the like had no header of their own */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/*
 * Begin a plain index scan: no instrumentation, no ordering operators.
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
 * Make the index entries of a row that has just been inserted; a duplicate is
 * an error.  Returns the indexes whose deferred constraint is to be looked at
 * again by an AFTER trigger.
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
 * Empty a table that is open, and exclusively locked; see ExecuteTruncate().
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
 * The module's magic block; from 18 on it tells name and version to
 * pg_get_loaded_modules().
 */
#if PG_VERSION_NUM >= 180000
#define COMPAT_MODULE_MAGIC(module_name, module_version) \
	PG_MODULE_MAGIC_EXT(.name = (module_name), .version = (module_version))
#else
#define COMPAT_MODULE_MAGIC(module_name, module_version) PG_MODULE_MAGIC
#endif

#endif							/* IDEM_COMPAT_H */
