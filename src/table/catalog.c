/*-------------------------------------------------------------------------
 *
 * catalog.c
 *		Finding the extension's tables and indexes.
 *
 * OIDs are looked up once.  They are kept until an invalidation message names
 * them, or any schema, since a schema may have been renamed.  So we see what DROP
 * EXTENSION, CREATE EXTENSION and REINDEX CONCURRENTLY do in any session.
 *
 * A table is locked first.  Its OID is good if no invalidation came in with the
 * lock; RangeVarGetRelidExtended() in catalog/namespace.c does the same.  Indexes
 * need no more care: REINDEX CONCURRENTLY and DROP INDEX wait for all who have a
 * lock on the table before an index goes away.
 *
 * The schema must be the extension's own.  Then its tables are those of the
 * install script, and belong to a superuser.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace_d.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "table/catalog.h"
#include "table/shape.h"

const CatalogTable catalog_request_tables[N_REQUEST_TABLES] = {
	TABLE_REQUEST_0, TABLE_REQUEST_1, TABLE_REQUEST_2
};

/* The OIDs of the tables and indexes; InvalidOid: to be looked up. */
static Oid	table_oids[N_TABLES];
static Oid	index_oids[N_INDEXES];

/* Has the table been checked since its OID was looked up? */
static bool shape_checked[N_TABLES];

/* Are the callbacks below registered? */
static bool callback_registered = false;

/* The function that catalog_on_invalidation() registered, or NULL. */
static void (*invalidation_callback) (Oid relid) = NULL;

/*
 * Relcache invalidation: forget an OID that the message names, and with a table
 * its indexes.  InvalidOid names all.
 */
static void relcache_callback(Datum arg, Oid relid);

/* Invalidation of a schema: forget all OIDs. */
static void namespace_callback(Datum arg, int cacheid, uint32 hashvalue);

/*
 * Look up the OID of a table.
 *
 * Errors: 55000 if it is not there, or is not the extension's.
 */
static Oid	find_table(CatalogTable table);

PG_FUNCTION_INFO_V1(idem_check_schema);
PG_FUNCTION_INFO_V1(idem_table_changed);

Relation
catalog_open(CatalogTable table, LOCKMODE lockmode)
{
	Relation	heap;

	Assert(table < N_TABLES);
	Assert(lockmode != NoLock);

	if (!callback_registered)
	{
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_callback, (Datum) 0);
		callback_registered = true;
	}

	for (;;)
	{
		Oid			oid = table_oids[table];

		if (!OidIsValid(oid))
		{
			oid = find_table(table);
			shape_checked[table] = false;
		}
		table_oids[table] = oid;
		LockRelationOid(oid, lockmode); /* which may fail */
		if (table_oids[table] == oid)
			break;
		UnlockRelationOid(oid, lockmode);
	}

	heap = table_open(table_oids[table], NoLock);
	if (!shape_checked[table])
	{
		shape_check(heap, table);
		shape_checked[table] = true;
	}
	return heap;
}

int
catalog_natts(CatalogTable table)
{
	return table_shapes[table].natts;
}

CatalogIndex
catalog_key_index(CatalogTable table)
{
	return table_shapes[table].key_index;
}

CatalogIndex
catalog_time_index(CatalogTable table)
{
	return table_shapes[table].time_index;
}

CatalogIndex
catalog_lease_index(CatalogTable table)
{
	return table_shapes[table].lease_index;
}

LOCKMODE
catalog_readers_lock(CatalogTable table)
{
	return table_shapes[table].readers_lock;
}

int
catalog_nindexes(CatalogTable table)
{
	int			n = 0;

	for (int i = 0; i < N_INDEXES; i++)
		n += index_shapes[i].table == table;
	return n;
}

bool
catalog_has_not_null(Relation heap, CatalogTable table)
{
	const TableShape *shape = &table_shapes[table];

	for (int i = 0; i < shape->natts; i++)
	{
		if (shape->columns[i].nullable &&
			TupleDescAttr(RelationGetDescr(heap), i)->attnotnull)
			return true;
	}
	return false;
}

Oid
catalog_index(Relation heap, CatalogIndex index)
{
	const IndexShape *shape = &index_shapes[index];
	List	   *candidates;
	ListCell   *lc;
	Oid			found = InvalidOid;

	Assert(index >= 0 && index < N_INDEXES);
	Assert(!OidIsValid(table_oids[shape->table]) ||
		   table_oids[shape->table] == RelationGetRelid(heap));
	Assert(CheckRelationLockedByMe(heap, AccessShareLock, true));

	if (OidIsValid(index_oids[index]))
		return index_oids[index];

	candidates = RelationGetIndexList(heap);
	foreach(lc, candidates)
	{
		Relation	candidate = index_open(lfirst_oid(lc), AccessShareLock);

		if (shape_index_matches(candidate, shape))
			found = RelationGetRelid(candidate);
		index_close(candidate, AccessShareLock);
		if (OidIsValid(found))
			break;
	}
	list_free(candidates);

	if (!OidIsValid(found) && shape->unique)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" has no valid unique index on (%s)",
						IDEM_SCHEMA, table_shapes[shape->table].name,
						shape_index_columns(shape)),
				 errdetail("Without this index, nothing prevents duplicate rows."),
				 errhint("Create the index again, or reindex it if it is invalid.")));
	if (!OidIsValid(found))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" has no valid index on (%s)",
						IDEM_SCHEMA, table_shapes[shape->table].name,
						shape_index_columns(shape)),
				 errhint("Create the index again, or reindex it if it is invalid.")));

	index_oids[index] = found;
	return found;
}

/*
 * For the beginning of the install script: is the name of our schema free?
 *
 * Errors: 42P06 if it is not.
 */
Datum
idem_check_schema(PG_FUNCTION_ARGS)
{
	if (OidIsValid(get_namespace_oid(IDEM_SCHEMA, true)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_SCHEMA),
				 errmsg("schema \"%s\" already exists", IDEM_SCHEMA),
				 errdetail("The extension keeps its data in a schema of that name, which it creates."),
				 errhint("Rename the existing schema with ALTER SCHEMA %s RENAME TO, and change the functions and programs that spell its name. Or drop it if nobody uses it.",
						 IDEM_SCHEMA)));
	PG_RETURN_VOID();
}

/*
 * idempotency.table_changed() returns trigger: makes all sessions read a table
 * again whose rows they keep (see cache.c).  It fires after each row that is
 * inserted, updated or deleted, and after a TRUNCATE of idempotency.currency.
 *
 * Errors: 39P01 if it is not called as a trigger.
 */
Datum
idem_table_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"table_changed\" was not called by trigger manager")));

	CacheInvalidateRelcache(trigger->tg_relation);
	return PointerGetDatum(NULL);
}

void
catalog_on_invalidation(void (*callback) (Oid relid))
{
	Assert(invalidation_callback == NULL);
	invalidation_callback = callback;
}

static void
relcache_callback(Datum arg, Oid relid)
{
	for (int i = 0; i < N_INDEXES; i++)
	{
		if (relid == InvalidOid || relid == index_oids[i] ||
			relid == table_oids[index_shapes[i].table])
			index_oids[i] = InvalidOid;
	}

	if (invalidation_callback)
		invalidation_callback(relid);

	for (int i = 0; i < N_TABLES; i++)
	{
		if (relid == InvalidOid || relid == table_oids[i])
			table_oids[i] = InvalidOid;
	}
}

static void
namespace_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	relcache_callback(arg, InvalidOid);
}

static Oid
find_table(CatalogTable table)
{
	Oid			schema = get_namespace_oid(IDEM_SCHEMA, true);
	Oid			oid = InvalidOid;
	Oid			extension = get_extension_oid("idempotency", true);

	/*
	 * Where the extension was dropped, anybody with CREATE on the database
	 * can make a schema of that name, with tables and triggers.
	 */
	if (OidIsValid(schema) && OidIsValid(extension) &&
		getExtensionOfObject(NamespaceRelationId, schema) == extension)
		oid = get_relname_relid(table_shapes[table].name, schema);
	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" does not exist",
						IDEM_SCHEMA, table_shapes[table].name),
				 errhint("Run CREATE EXTENSION idempotency.")));
	return oid;
}
