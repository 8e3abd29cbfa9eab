/*-------------------------------------------------------------------------
 *
 * cache.h
 *		Small tables that a session reads once and keeps.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_CACHE_H
#define IDEM_CACHE_H

#include "access/htup.h"
#include "access/tupdesc.h"

#include "table/catalog.h"

/*
 * One such table.  Its user makes it a static variable, sets the first three members,
 * and keeps the rows in variables of its own.  The other members start at zero.
 */
typedef struct TableCache
{
	CatalogTable table;
	/* forget all rows: their memory has been freed */
	void		(*clear) (void);
	/* take this row; what it allocates is kept until clear() */
	void		(*add) (HeapTuple tuple, TupleDesc desc);

	bool		valid;			/* are the rows those of the table? */
	uint64		changes;		/* how often the table may have changed */
	Oid			relid;			/* of the table, when it was read */
	MemoryContext context;		/* NULL: never used */
	struct TableCache *next;	/* in the list of those that have been used */
} TableCache;

/* Read the table.  Call cache_use() instead. */
extern void cache_read(TableCache *cache);

/*
 * Have the user's variables hold the rows of the table, as last committed or
 * changed by this transaction.  Call it before each use of them.
 *
 * Errors: those of catalog_open().
 */
static inline void
cache_use(TableCache *cache)
{
	if (!cache->valid)
		cache_read(cache);
}

#endif							/* IDEM_CACHE_H */
