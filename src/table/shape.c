/*-------------------------------------------------------------------------
 *
 * shape.c
 *		What the extension's tables and indexes are like.
 *
 * The rest of the code reads and writes columns by number.  It trusts their types,
 * and that there are values where there must be some.  So a table that is not as
 * the install script made it is refused.
 *
 * An index is known by its columns, and not by its name.  An administrator, or the
 * restore of a dump, may have given it another name.  It must be unique where
 * that guards something.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_namespace_d.h"
#include "catalog/pg_opfamily_d.h"
#include "catalog/pg_type_d.h"
#include "lib/stringinfo.h"
#include "nodes/primnodes.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "table/shape.h"

/* A column that is NOT NULL, and one that may be null. */
#define NOT_NULL(table, column, type) \
	[Anum_##table##_##column - 1] = {type, false, #column}
#define NULLABLE(table, column, type) \
	[Anum_##table##_##column - 1] = {type, true, #column}

/* The columns of each table. */
static const ColumnShape operation_columns[Natts_operation] = {
	NOT_NULL(operation, payment_id, UUIDOID),
	NOT_NULL(operation, created_at, TIMESTAMPTZOID),
	NOT_NULL(operation, seq, INT4OID),
	NOT_NULL(operation, whole, BOOLOID),
	NULLABLE(operation, final, BOOLOID),
	NULLABLE(operation, expired, BOOLOID),
	NULLABLE(operation, prolonged, BOOLOID),
	NOT_NULL(operation, scope, TEXTOID),
	NOT_NULL(operation, key, TEXTOID),
	NOT_NULL(operation, kind, TEXTOID),
	NOT_NULL(operation, amount, NUMERICOID),
	NULLABLE(operation, currency, TEXTOID),
	NOT_NULL(operation, authorized, NUMERICOID),
	NOT_NULL(operation, captured, NUMERICOID),
	NOT_NULL(operation, released, NUMERICOID),
	NOT_NULL(operation, refunded, NUMERICOID),
	NULLABLE(operation, from_account, TEXTOID),
	NULLABLE(operation, to_account, TEXTOID),
	NULLABLE(operation, from_seq, INT8OID),
	NULLABLE(operation, to_seq, INT8OID),
	NULLABLE(operation, legs, JSONBOID),
	NULLABLE(operation, reference, TEXTOID),
	NULLABLE(operation, metadata, JSONBOID),
	NULLABLE(operation, expires_at, TIMESTAMPTZOID),
	NOT_NULL(operation, role, TEXTOID),
	NULLABLE(operation, owner, TEXTOID),
	NULLABLE(operation, sqlstate, TEXTOID),
	NULLABLE(operation, message, TEXTOID),
};

static const ColumnShape currency_columns[Natts_currency] = {
	NOT_NULL(currency, code, TEXTOID),
	NOT_NULL(currency, exponent, INT2OID),
};

static const ColumnShape hold_columns[Natts_hold] = {
	NOT_NULL(hold, due_at, TIMESTAMPTZOID),
	NOT_NULL(hold, expires_at, TIMESTAMPTZOID),
	NOT_NULL(hold, payment_id, UUIDOID),
	NOT_NULL(hold, scope, TEXTOID),
	NOT_NULL(hold, key, TEXTOID),
};

static const ColumnShape account_columns[Natts_account] = {
	NOT_NULL(account, id, INT8OID),
	NOT_NULL(account, created_at, TIMESTAMPTZOID),
	NULLABLE(account, floor_from, INT8OID),
	NULLABLE(account, ceiling_from, INT8OID),
	NOT_NULL(account, closed, BOOLOID),
	NOT_NULL(account, scope, TEXTOID),
	NOT_NULL(account, name, TEXTOID),
	NOT_NULL(account, currency, TEXTOID),
	NULLABLE(account, floor, NUMERICOID),
	NULLABLE(account, ceiling, NUMERICOID),
	NOT_NULL(account, owner, TEXTOID),
	NULLABLE(account, metadata, JSONBOID),
};

static const ColumnShape entry_columns[Natts_entry] = {
	NOT_NULL(entry, account, INT8OID),
	NOT_NULL(entry, seq, INT8OID),
	NOT_NULL(entry, created_at, TIMESTAMPTZOID),
	NOT_NULL(entry, payment_id, UUIDOID),
	NOT_NULL(entry, operation, INT4OID),
	NOT_NULL(entry, lag, INT4OID),
	NULLABLE(entry, gaps, INT8OID),
	NULLABLE(entry, cum_entries, INT4OID),
	NOT_NULL(entry, amount, NUMERICOID),
	NOT_NULL(entry, base, NUMERICOID),
	NULLABLE(entry, held, NUMERICOID),
	NULLABLE(entry, base_held, NUMERICOID),
	NULLABLE(entry, open, INT8ARRAYOID),
	NULLABLE(entry, cum, NUMERICOID),
	NULLABLE(entry, cum_held, NUMERICOID),
};

static const ColumnShape request_purge_columns[Natts_request_purge] = {
	NOT_NULL(request_purge, purged_until, TIMESTAMPTZOID),
};

static const ColumnShape request_columns[Natts_request] = {
	NOT_NULL(request, created_at, TIMESTAMPTZOID),
	NOT_NULL(request, expires_at, TIMESTAMPTZOID),
	NULLABLE(request, lease_until, TIMESTAMPTZOID),
	NOT_NULL(request, begun_at, TIMESTAMPTZOID),
	NOT_NULL(request, seq, INT4OID),
	NOT_NULL(request, attempt, INT4OID),
	NOT_NULL(request, scope, TEXTOID),
	NOT_NULL(request, key, TEXTOID),
	NOT_NULL(request, status, TEXTOID),
	NOT_NULL(request, role, TEXTOID),
	NULLABLE(request, fingerprint, BYTEAOID),
	NULLABLE(request, response, JSONOID),
	NULLABLE(request, checkpoint, TEXTOID),
	NULLABLE(request, checkpoint_data, JSONOID),
	NULLABLE(request, sqlstate, TEXTOID),
	NULLABLE(request, message, TEXTOID),
};

/* A purge waits for the readers of requests, so they do not keep their lock. */
#define REQUEST_SHAPE(n) \
	[TABLE_REQUEST_##n] = {"request_" #n, Natts_request, request_columns, \
	INDEX_REQUEST_##n##_KEY, INDEX_REQUEST_##n##_EXPIRY, \
	INDEX_REQUEST_##n##_LEASE, AccessShareLock}

const TableShape table_shapes[N_TABLES] = {
	[TABLE_OPERATION] = {"operation", Natts_operation, operation_columns,
	INDEX_OPERATION_KEY, INDEX_NONE, INDEX_NONE, NoLock},
	[TABLE_CURRENCY] = {"currency", Natts_currency, currency_columns,
	INDEX_NONE, INDEX_NONE, INDEX_NONE, NoLock},
	[TABLE_HOLD] = {"hold", Natts_hold, hold_columns,
	INDEX_NONE, INDEX_HOLD_DUE, INDEX_NONE, NoLock},
	[TABLE_ACCOUNT] = {"account", Natts_account, account_columns,
	INDEX_ACCOUNT_NAME, INDEX_NONE, INDEX_NONE, NoLock},
	[TABLE_ENTRY] = {"entry", Natts_entry, entry_columns,
	INDEX_NONE, INDEX_NONE, INDEX_NONE, NoLock},
	[TABLE_REQUEST_PURGE] = {"request_purge", Natts_request_purge,
	request_purge_columns, INDEX_NONE, INDEX_REQUEST_PURGE, INDEX_NONE, NoLock},
	REQUEST_SHAPE(0),
	REQUEST_SHAPE(1),
	REQUEST_SHAPE(2),
};

/* The indexes of request_n. */
#define REQUEST_KEY_SHAPE(n) \
	[INDEX_REQUEST_##n##_KEY] = {TABLE_REQUEST_##n, true, 3, \
	{Anum_request_key, Anum_request_scope, Anum_request_seq}}
#define REQUEST_EXPIRY_SHAPE(n) \
	[INDEX_REQUEST_##n##_EXPIRY] = {TABLE_REQUEST_##n, false, 1, \
	{Anum_request_expires_at}}
#define REQUEST_LEASE_SHAPE(n) \
	[INDEX_REQUEST_##n##_LEASE] = {TABLE_REQUEST_##n, false, 2, \
	{Anum_request_scope, Anum_request_lease_until}, Anum_request_lease_until}

const IndexShape index_shapes[N_INDEXES] = {
	[INDEX_OPERATION_KEY] = {TABLE_OPERATION, true, 2,
	{Anum_operation_key, Anum_operation_scope}},
	[INDEX_OPERATION_PAYMENT] = {TABLE_OPERATION, true, 3,
	{Anum_operation_scope, Anum_operation_payment_id, Anum_operation_seq}},
	[INDEX_HOLD_DUE] = {TABLE_HOLD, true, 3,
	{Anum_hold_due_at, Anum_hold_payment_id, Anum_hold_scope}},
	[INDEX_ACCOUNT_NAME] = {TABLE_ACCOUNT, true, 2,
	{Anum_account_name, Anum_account_scope}},
	[INDEX_ACCOUNT_ID] = {TABLE_ACCOUNT, true, 1, {Anum_account_id}},
	[INDEX_ENTRY] = {TABLE_ENTRY, true, 2,
	{Anum_entry_account, Anum_entry_seq}},
	[INDEX_REQUEST_PURGE] = {TABLE_REQUEST_PURGE, true, 1,
	{Anum_request_purge_purged_until}},
	REQUEST_KEY_SHAPE(0),
	REQUEST_KEY_SHAPE(1),
	REQUEST_KEY_SHAPE(2),
	REQUEST_EXPIRY_SHAPE(0),
	REQUEST_EXPIRY_SHAPE(1),
	REQUEST_EXPIRY_SHAPE(2),
	REQUEST_LEASE_SHAPE(0),
	REQUEST_LEASE_SHAPE(1),
	REQUEST_LEASE_SHAPE(2),
};

/*
 * Refuse a table that looks right but is of another kind.  A crash empties an
 * unlogged table.  Rules would not be followed.  Only of a heap do we know how to
 * find out which transaction wrote a row.
 *
 * name: the table's, for messages.
 */
static void check_kind(Relation heap, const char *name);

/*
 * Is it in Citus's list of tables?  A distributed table looks like an ordinary one
 * from here, but nobody would find what is written to it.
 */
static bool is_distributed(Oid relid);

static bool has_predicate(Relation index, AttrNumber not_null);

void
shape_check(Relation heap, CatalogTable table)
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
		ok = !att->attisdropped && att->atttypid == shape->columns[i].type &&
			att->atttypmod == -1 &&
			(att->attnotnull || shape->columns[i].nullable);
	}

	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" does not have the columns that the library expects",
						IDEM_SCHEMA, shape->name),
				 errhint("If the library is newer than the extension, run ALTER EXTENSION idempotency UPDATE. Otherwise undo the command that altered the table.")));

	check_kind(heap, shape->name);
}

bool
shape_index_matches(Relation index, const IndexShape *shape)
{
	Form_pg_index form = index->rd_index;

	if ((shape->unique && !form->indisunique) || !form->indimmediate || !form->indisvalid ||
		!form->indislive || form->indnkeyatts != shape->nkeys ||
		!has_predicate(index, shape->not_null))
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

/*
 * Has an index the rows in which this column is not null?  InvalidAttrNumber: all
 * rows.
 */
static bool
has_predicate(Relation index, AttrNumber not_null)
{
	List	   *predicate = RelationGetIndexPredicate(index);
	const NullTest *test;
	const Var  *column;

	if (predicate == NIL || not_null == InvalidAttrNumber)
		return predicate == NIL && not_null == InvalidAttrNumber;
	test = (const NullTest *) linitial(predicate);
	column = (const Var *) test->arg;
	return list_length(predicate) == 1 && IsA(test, NullTest) &&
		test->nulltesttype == IS_NOT_NULL && IsA(column, Var) &&
		column->varattno == not_null;
}

char *
shape_index_columns(const IndexShape *shape)
{
	const ColumnShape *columns = table_shapes[shape->table].columns;
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < shape->nkeys; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "",
						 columns[shape->keys[i] - 1].name);
	return names.data;
}

static void
check_kind(Relation heap, const char *name)
{
	if (heap->rd_rel->relam != HEAP_TABLE_AM_OID)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" does not use access method \"heap\"", IDEM_SCHEMA, name),
				 errhint("Use ALTER TABLE ... SET ACCESS METHOD heap.")));
	if (heap->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is not logged", IDEM_SCHEMA, name),
				 errhint("Use ALTER TABLE ... SET LOGGED.")));
	if (heap->rd_rules != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" has rules", IDEM_SCHEMA, name),
				 errhint("Drop the rules.")));
	if (is_distributed(RelationGetRelid(heap)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is distributed over other servers", IDEM_SCHEMA, name),
				 errhint("Use undistribute_table() to make the table local again.")));
}

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
