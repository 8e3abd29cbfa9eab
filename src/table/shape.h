/*-------------------------------------------------------------------------
 *
 * shape.h
 *		What the extension's tables and indexes are like.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_SHAPE_H
#define IDEM_SHAPE_H

#include "table/catalog.h"

/* A column, as the install script makes it. */
typedef struct ColumnShape
{
	Oid			type;
	bool		nullable;		/* may it be null? */
	const char *name;
} ColumnShape;

/* A table, and what the rest of the code asks about it. */
typedef struct TableShape
{
	const char *name;
	int			natts;
	const ColumnShape *columns; /* in their order */
	CatalogIndex key_index;		/* see catalog_key_index() */
	CatalogIndex time_index;	/* see catalog_time_index() */
	CatalogIndex lease_index;	/* see catalog_lease_index() */
	LOCKMODE	readers_lock;	/* see catalog_readers_lock() */
} TableShape;

/* An index, as the install script makes it. */
typedef struct IndexShape
{
	CatalogTable table;
	bool		unique;			/* must it be unique? */
	int			nkeys;			/* how many columns it has */
	AttrNumber	keys[3];		/* their numbers in the table */
	AttrNumber	not_null;		/* it has the rows in which this column is not
								 * null; InvalidAttrNumber: all */
} IndexShape;

/* What the tables and indexes are like after CREATE EXTENSION. */
extern const TableShape table_shapes[N_TABLES];
extern const IndexShape index_shapes[N_INDEXES];

/*
 * Check that an open table is as the install script made it.
 *
 * Errors: 55000 if it is not.
 */
extern void shape_check(Relation heap, CatalogTable table);

/* Has an open index this shape, and can it be used? */
extern bool shape_index_matches(Relation index, const IndexShape *shape);

/* The names of an index's columns, for messages: "key, scope". */
extern char *shape_index_columns(const IndexShape *shape);

#endif							/* IDEM_SHAPE_H */
