/*-------------------------------------------------------------------------
 *
 * catalog.c
 *		The extension's tables and indexes: names, columns, OIDs.
 *
 * OIDs are looked up once and kept until an invalidation message names one of
 * them, or any schema (a renamed one is another's), so DROP EXTENSION, CREATE
 * EXTENSION, REINDEX CONCURRENTLY and the like in this or another session are
 * all followed.  A table is locked first, and its OID trusted only if no
 * invalidation came in with the lock, as in RangeVarGetRelidExtended()
 * (catalog/namespace.c).  Its indexes need no more care than that: REINDEX
 * CONCURRENTLY and DROP INDEX wait for all holders of a lock on the table
 * before an index goes away.
 *
 * The schema must be the extension's own: its tables are then those of the
 * install script, and belong to a superuser.
 *
 * Indexes are told by what they are, not by what they are called: one on just
 * these columns, and unique where that guards something, whatever an
 * administrator or a restore named it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_namespace_d.h"
#include "catalog/pg_opfamily_d.h"
#include "catalog/pg_type_d.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "table/catalog.h"

typedef struct TableShape
{
	const char *name;
	int			natts;
	const Oid  *types;			/* of the columns, in order */
	const char *nullable;		/* likewise, a '?' for each that may be NULL */
} TableShape;

typedef struct IndexShape
{
	CatalogTable table;
	bool		unique;			/* must it be? */
	const char *columns;		/* for messages */
	int			nkeys;
	AttrNumber	keys[3];
} IndexShape;

static const Oid operation_types[Natts_operation] = {
	UUIDOID, TIMESTAMPTZOID, INT4OID, BOOLOID, BOOLOID, BOOLOID, TEXTOID, TEXTOID,
	TEXTOID, NUMERICOID, TEXTOID, NUMERICOID, NUMERICOID, NUMERICOID, NUMERICOID,
	TEXTOID, TEXTOID, TEXTOID, JSONBOID, TIMESTAMPTZOID, TEXTOID, TEXTOID,
	TEXTOID, TEXTOID
};

static const Oid currency_types[Natts_currency] = {TEXTOID, INT2OID};

static const Oid hold_types[Natts_hold] = {
	TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID, TEXTOID, TEXTOID
};

static const Oid request_purge_types[Natts_request_purge] = {TIMESTAMPTZOID};

static const Oid request_types[Natts_request] = {
	TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, INT4OID, TEXTOID,
	TEXTOID, TEXTOID, TEXTOID, BYTEAOID, JSONOID, TEXTOID, JSONOID, TEXTOID,
	TEXTOID
};

#define REQUEST_SHAPE(name)	{name, Natts_request, request_types, "..?......??????"}
#define REQUEST_INDEX_SHAPE(n) \
	{TABLE_REQUEST + n, true, "key, scope, seq", 3, \
	{Anum_request_key, Anum_request_scope, Anum_request_seq}}
#define REQUEST_EXPIRY_SHAPE(n) \
	{TABLE_REQUEST + n, false, "expires_at", 1, {Anum_request_expires_at}}

static const TableShape table_shapes[N_TABLES] = {
	[TABLE_OPERATION] = {"operation", Natts_operation, operation_types,
	"....??....?....?????.???"},
	[TABLE_CURRENCY] = {"currency", Natts_currency, currency_types, ".."},
	[TABLE_HOLD] = {"hold", Natts_hold, hold_types, "....."},
	[TABLE_REQUEST_PURGE] = {"request_purge", Natts_request_purge,
	request_purge_types, "."},
	[TABLE_REQUEST] = REQUEST_SHAPE("request_0"),
	[TABLE_REQUEST + 1] = REQUEST_SHAPE("request_1"),
	[TABLE_REQUEST + 2] = REQUEST_SHAPE("request_2"),
};

static const IndexShape index_shapes[N_INDEXES] = {
	[INDEX_OPERATION_KEY] = {TABLE_OPERATION, true, "key, scope", 2,
	{Anum_operation_key, Anum_operation_scope}},
	[INDEX_OPERATION_PAYMENT] = {TABLE_OPERATION, true, "scope, payment_id, seq", 3,
	{Anum_operation_scope, Anum_operation_payment_id, Anum_operation_seq}},
	[INDEX_HOLD_DUE] = {TABLE_HOLD, true, "due_at, payment_id, scope", 3,
	{Anum_hold_due_at, Anum_hold_payment_id, Anum_hold_scope}},
	[INDEX_REQUEST_PURGE] = {TABLE_REQUEST_PURGE, true, "purged_until", 1,
	{Anum_request_purge_purged_until}},
	[INDEX_REQUEST_KEY] = REQUEST_INDEX_SHAPE(0),
	[INDEX_REQUEST_KEY + 1] = REQUEST_INDEX_SHAPE(1),
	[INDEX_REQUEST_KEY + 2] = REQUEST_INDEX_SHAPE(2),
	[INDEX_REQUEST_EXPIRY] = REQUEST_EXPIRY_SHAPE(0),
	[INDEX_REQUEST_EXPIRY + 1] = REQUEST_EXPIRY_SHAPE(1),
	[INDEX_REQUEST_EXPIRY + 2] = REQUEST_EXPIRY_SHAPE(2),
};

/* InvalidOid: to be looked up */
static Oid	table_oids[N_TABLES];
static Oid	index_oids[N_INDEXES];

/* Has the shape of the table been checked since? */
static bool shape_checked[N_TABLES];

static bool callback_registered = false;
static void (*invalidation_callbacks[4]) (Oid relid);
static int	n_invalidation_callbacks = 0;

static void relcache_callback(Datum arg, Oid relid);
static void namespace_callback(Datum arg, int cacheid, uint32 hashvalue);
static Oid	find_table(CatalogTable table);
static void check_shape(Relation heap, CatalogTable table);
static void check_kind(Relation heap, const char *name);
static bool is_distributed(Oid relid);
static bool index_matches(Relation index, const IndexShape *shape);

PG_FUNCTION_INFO_V1(idem_table_changed);

Relation
catalog_open(CatalogTable table, LOCKMODE lockmode)
{
	Relation	heap;

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
		LockRelationOid(oid, lockmode);	/* which may fail */
		if (table_oids[table] == oid)
			break;
		UnlockRelationOid(oid, lockmode);
	}

	heap = table_open(table_oids[table], NoLock);
	if (!shape_checked[table])
	{
		check_shape(heap, table);
		shape_checked[table] = true;
	}
	return heap;
}

int
catalog_natts(CatalogTable table)
{
	return table_shapes[table].natts;
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
		if (shape->nullable[i] == '?' &&
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

	if (OidIsValid(index_oids[index]))
		return index_oids[index];

	candidates = RelationGetIndexList(heap);
	foreach(lc, candidates)
	{
		Relation	candidate = index_open(lfirst_oid(lc), AccessShareLock);

		if (index_matches(candidate, shape))
			found = RelationGetRelid(candidate);
		index_close(candidate, AccessShareLock);
		if (OidIsValid(found))
			break;
	}
	list_free(candidates);

	if (!OidIsValid(found))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" has no valid %sindex on (%s)",
						IDEM_SCHEMA, table_shapes[shape->table].name,
						shape->unique ? "unique " : "", shape->columns),
				 shape->unique
				 ? errhint("Without it nothing keeps a key unique. Restore it, or reindex it if it is invalid.")
				 : errhint("Restore it, or reindex it if it is invalid.")));

	index_oids[index] = found;
	return found;
}

/*
 * idempotency.table_changed() returns trigger: on a table that sessions keep the
 * rows of (see cache.c).  It fires for each row that is written, and for a
 * TRUNCATE.
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
	Assert(n_invalidation_callbacks < lengthof(invalidation_callbacks));
	invalidation_callbacks[n_invalidation_callbacks++] = callback;
}

/*
 * Relcache invalidation: forget an OID that the message names, and with a
 * table its indexes.  relid is InvalidOid for "everything".
 */
static void
relcache_callback(Datum arg, Oid relid)
{
	for (int i = 0; i < N_INDEXES; i++)
	{
		if (relid == InvalidOid || relid == index_oids[i] ||
			relid == table_oids[index_shapes[i].table])
			index_oids[i] = InvalidOid;
	}

	for (int i = 0; i < n_invalidation_callbacks; i++)
		invalidation_callbacks[i] (relid);

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
	 * Where the extension was dropped, anyone who may can make a schema of that
	 * name, with tables and triggers.
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

/*
 * The rest of the code reads and writes columns by number and trusts their
 * types, and that there are values where there must be some, so a table that
 * is not as the install script made it is refused.
 */
static void
check_shape(Relation heap, CatalogTable table)
{
	const TableShape *shape = &table_shapes[table];
	TupleDesc	desc = RelationGetDescr(heap);
	bool		ok;

	ok = heap->rd_rel->relkind == RELKIND_RELATION &&
		!heap->rd_rel->relispartition &&
		desc->natts >= shape->natts;
	for (int i = 0; ok && i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (i >= shape->natts)
		{
			/* a column that somebody added, and dropped again, does no harm */
			ok = att->attisdropped;
			continue;
		}
		ok = !att->attisdropped && att->atttypid == shape->types[i] &&
			att->atttypmod == -1 &&
			(att->attnotnull || shape->nullable[i] == '?');
	}

	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" does not have the columns that the library expects",
						IDEM_SCHEMA, shape->name),
				 errhint("Undo what was altered; or, if the library is newer than the extension, run ALTER EXTENSION idempotency UPDATE.")));

	check_kind(heap, shape->name);
}

/*
 * A crash empties an unlogged table, rules would not be followed, and what we
 * know of a row's transaction we know of heaps.
 */
static void
check_kind(Relation heap, const char *name)
{
	const char *problem;
	const char *hint;

	if (heap->rd_rel->relam != HEAP_TABLE_AM_OID)
	{
		problem = "has another access method";
		hint = "Use ALTER TABLE ... SET ACCESS METHOD heap.";
	}
	else if (heap->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
	{
		problem = "is not logged";
		hint = "Use ALTER TABLE ... SET LOGGED.";
	}
	else if (heap->rd_rules != NULL)
	{
		problem = "has rules";
		hint = "Drop them.";
	}
	else if (is_distributed(RelationGetRelid(heap)))
	{
		problem = "is distributed over other servers";
		hint = "Undo it with undistribute_table().";
	}
	else
		return;

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s.%s\" %s", IDEM_SCHEMA, name, problem),
			 errhint("%s", hint)));
}

/*
 * Is it a distributed table of Citus?  It looks like an ordinary one, but what
 * we would write to it nobody would find.  Citus keeps a list of them.
 */
static bool
is_distributed(Oid relid)
{
	Oid			list_oid = get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE);
	AttrNumber	column;
	Relation	list;
	Snapshot	snapshot;
	SysScanDesc scan;
	ScanKeyData key;
	bool		found;

	if (!OidIsValid(list_oid) || get_rel_relkind(list_oid) != RELKIND_RELATION)
		return false;
	column = get_attnum(list_oid, "logicalrelid");
	if (column == InvalidAttrNumber)
		return false;

	list = table_open(list_oid, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(list, InvalidOid, false, snapshot, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(list, AccessShareLock);
	return found;
}

static bool
index_matches(Relation index, const IndexShape *shape)
{
	Form_pg_index form = index->rd_index;

	if ((shape->unique && !form->indisunique) || !form->indimmediate || !form->indisvalid ||
		!form->indislive || form->indnkeyatts != shape->nkeys ||
		RelationGetIndexPredicate(index) != NIL)
		return false;

	for (int i = 0; i < shape->nkeys; i++)
	{
		if (form->indkey.values[i] != shape->keys[i])
			return false;

		/* our scan keys are for collation "C" and ascending order */
		if (OidIsValid(index->rd_indcollation[i]) &&
			index->rd_indcollation[i] != C_COLLATION_OID)
			return false;
		if (index->rd_indoption[i] != 0)
			return false;
		if (index->rd_opcintype[i] == TEXTOID &&
			index->rd_opfamily[i] != TEXT_BTREE_FAM_OID)
			return false;
	}
	return index->rd_rel->relam == BTREE_AM_OID;
}
