/*-------------------------------------------------------------------------
 *
 * catalog.h
 *		The extension's tables and indexes: numbers of columns, OIDs.
 *
 * The columns are those of the install script, in the same order.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_CATALOG_H
#define IDEM_CATALOG_H

#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* The schema of the tables. */
#define IDEM_SCHEMA		"idempotency"

/* idempotency.operation */
#define Anum_operation_payment_id	1
#define Anum_operation_created_at	2
#define Anum_operation_seq			3
#define Anum_operation_whole		4
#define Anum_operation_final		5
#define Anum_operation_expired		6
#define Anum_operation_prolonged	7
#define Anum_operation_scope		8
#define Anum_operation_key			9
#define Anum_operation_kind			10
#define Anum_operation_amount		11
#define Anum_operation_currency		12
#define Anum_operation_authorized	13
#define Anum_operation_captured		14
#define Anum_operation_released		15
#define Anum_operation_refunded		16
#define Anum_operation_from_account	17
#define Anum_operation_to_account	18
#define Anum_operation_from_seq		19
#define Anum_operation_to_seq		20
#define Anum_operation_legs			21
#define Anum_operation_reference	22
#define Anum_operation_metadata		23
#define Anum_operation_expires_at	24
#define Anum_operation_role			25
#define Anum_operation_owner		26
#define Anum_operation_sqlstate		27
#define Anum_operation_message		28
#define Natts_operation				28

/* idempotency.currency */
#define Anum_currency_code			1
#define Anum_currency_exponent		2
#define Natts_currency				2

/* idempotency.account */
#define Anum_account_id				1
#define Anum_account_created_at		2
#define Anum_account_floor_from		3
#define Anum_account_ceiling_from	4
#define Anum_account_closed			5
#define Anum_account_scope			6
#define Anum_account_name			7
#define Anum_account_currency		8
#define Anum_account_floor			9
#define Anum_account_ceiling		10
#define Anum_account_owner			11
#define Anum_account_metadata		12
#define Natts_account				12

/* idempotency.entry */
#define Anum_entry_account			1
#define Anum_entry_seq				2
#define Anum_entry_created_at		3
#define Anum_entry_payment_id		4
#define Anum_entry_operation		5
#define Anum_entry_lag				6
#define Anum_entry_gaps				7
#define Anum_entry_cum_entries		8
#define Anum_entry_amount			9
#define Anum_entry_base				10
#define Anum_entry_held				11
#define Anum_entry_base_held		12
#define Anum_entry_open				13
#define Anum_entry_cum				14
#define Anum_entry_cum_held			15
#define Natts_entry					15

/* idempotency.hold */
#define Anum_hold_due_at			1
#define Anum_hold_expires_at		2
#define Anum_hold_payment_id		3
#define Anum_hold_scope				4
#define Anum_hold_key				5
#define Natts_hold					5

/* idempotency.request_0, request_1, request_2 */
#define Anum_request_created_at			1
#define Anum_request_expires_at			2
#define Anum_request_lease_until		3
#define Anum_request_begun_at			4
#define Anum_request_seq				5
#define Anum_request_attempt			6
#define Anum_request_scope				7
#define Anum_request_key				8
#define Anum_request_status				9
#define Anum_request_role				10
#define Anum_request_fingerprint		11
#define Anum_request_response			12
#define Anum_request_checkpoint			13
#define Anum_request_checkpoint_data	14
#define Anum_request_sqlstate			15
#define Anum_request_message			16
#define Natts_request					16

/* idempotency.request_purge */
#define Anum_request_purge_purged_until	1
#define Natts_request_purge				1

/* The tables. */
typedef enum CatalogTable
{
	TABLE_OPERATION,
	TABLE_CURRENCY,
	TABLE_HOLD,
	TABLE_ACCOUNT,
	TABLE_ENTRY,
	TABLE_REQUEST_PURGE,
	TABLE_REQUEST_0,
	TABLE_REQUEST_1,
	TABLE_REQUEST_2,
	N_TABLES
} CatalogTable;

/* The indexes that rows are looked up in. */
typedef enum CatalogIndex
{
	INDEX_NONE = -1,
	INDEX_OPERATION_KEY,		/* UNIQUE (key, scope) */
	INDEX_OPERATION_PAYMENT,	/* PRIMARY KEY (scope, payment_id, seq) */
	INDEX_HOLD_DUE,				/* PRIMARY KEY (due_at, payment_id, scope) */
	INDEX_ACCOUNT_NAME,			/* UNIQUE (name, scope) */
	INDEX_ACCOUNT_ID,			/* PRIMARY KEY (id) */
	INDEX_ENTRY,				/* PRIMARY KEY (account, seq) */
	INDEX_REQUEST_PURGE,		/* PRIMARY KEY (purged_until) */
	INDEX_REQUEST_0_KEY,		/* UNIQUE (key, scope, seq) */
	INDEX_REQUEST_1_KEY,
	INDEX_REQUEST_2_KEY,
	INDEX_REQUEST_0_EXPIRY,		/* (expires_at) */
	INDEX_REQUEST_1_EXPIRY,
	INDEX_REQUEST_2_EXPIRY,
	INDEX_REQUEST_0_LEASE,		/* (scope, lease_until), where that is not
								 * null */
	INDEX_REQUEST_1_LEASE,
	INDEX_REQUEST_2_LEASE,
	N_INDEXES
} CatalogIndex;

/* The tables that the rows of requests are in. */
#define N_REQUEST_TABLES				3
extern const CatalogTable catalog_request_tables[N_REQUEST_TABLES];

/*
 * Open a table, with this lock, which is not NoLock.  The caller closes it with
 * table_close().
 *
 * Errors: 55000 if it is not there, is not the extension's, or is not as the
 * install script made it.  The last also happens if the library is newer than the
 * extension, until ALTER EXTENSION idempotency UPDATE.  55P03, 40P01 and 57014 from
 * waiting.
 */
extern Relation catalog_open(CatalogTable table, LOCKMODE lockmode);

/* How many columns a table has.  Dropped ones that come after them do not count. */
extern int	catalog_natts(CatalogTable table);

/* The index of a table that a key is looked up in, or INDEX_NONE. */
extern CatalogIndex catalog_key_index(CatalogTable table);

/*
 * The index of a table whose first column is a time, or INDEX_NONE: when a request
 * expires, a hold is due, or a purge was.
 */
extern CatalogIndex catalog_time_index(CatalogTable table);

/* The index of a table by which leases are found, or INDEX_NONE. */
extern CatalogIndex catalog_lease_index(CatalogTable table);

/*
 * The lock on a table that a reader releases when it has read.  NoLock: the reader
 * keeps its lock to the end of the transaction.
 */
extern LOCKMODE catalog_readers_lock(CatalogTable table);

/* How many indexes the install script gives a table. */
extern int	catalog_nindexes(CatalogTable table);

/*
 * Has somebody made a column NOT NULL that may be null by the install script?
 *
 * heap: the table, open.
 */
extern bool catalog_has_not_null(Relation heap, CatalogTable table);

/*
 * The OID of an index of a table that the caller has open and locked.  It is
 * valid as long as that lock is held.
 *
 * Errors: 55000 if there is no valid index on these columns, or none that is
 * unique where it must be.
 */
extern Oid	catalog_index(Relation heap, CatalogIndex index);

/*
 * From now on, call this function whenever a table may have changed: with its OID,
 * or with InvalidOid if all may have.  Only one function can be registered.
 */
extern void catalog_on_invalidation(void (*callback) (Oid relid));

#endif							/* IDEM_CATALOG_H */
