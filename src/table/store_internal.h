/*-------------------------------------------------------------------------
 *
 * store_internal.h
 *		What read.c, walk.c and write.c share with store.c.
 *
 * No other file includes this.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_STORE_INTERNAL_H
#define IDEM_STORE_INTERNAL_H

#include "nodes/nodes.h"

#include "table/store.h"

/*
 * Begin a scan with a dirty snapshot, or go on with the one that is open if it
 * is that of a probe, and has the same index and number of keys.
 */
extern void store_begin_probe(Store *store, CatalogIndex index, int nkeys);

/* End the scan, if there is one, and release this lock on its index. */
extern void store_end_scan(Store *store, LOCKMODE unlock);

/*
 * The lock that a reader releases when it has read, or NoLock.  On an index it is
 * released no later than on its table.  Otherwise a TRUNCATE could have the table
 * and wait for the index, while this session has the index and waits for the table.
 */
extern LOCKMODE store_readers_lock(const Store *store);

/*
 * Where the row stands that a dirty scan has just put into the slot.  Of one in
 * progress, notes what store_wait() waits for.
 */
extern RowState store_row_state(Store *store);

/*
 * Two scan keys, for a key and its scope.  All indexes that keys are looked up in
 * begin with these.
 */
extern void store_key_scan_keys(ScanKey keys, const Key *key);

/*
 * Report a write to modules that watch the executor, if there are any: CMD_INSERT or
 * CMD_DELETE, each once for a store.
 *
 * Errors: what such a module raises.
 */
extern void store_report_write(Store *store, CmdType command);

/*
 * The scan key for "this column of the index equals this value"; it is
 * keys[column - 1].  All text columns of the indexes have collation "C".
 */
extern void store_scan_key(ScanKey keys, int column, RegProcedure equals,
						   Datum value);

#endif							/* IDEM_STORE_INTERNAL_H */
