/*-------------------------------------------------------------------------
 *
 * account.h
 *		Accounts: finding one, and its lock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_ACCOUNT_H
#define IDEM_ACCOUNT_H

#include "storage/lock.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "key.h"
#include "refusal.h"
#include "table/store.h"

/* An account: a row of idempotency.account. */
typedef struct Account
{
	int64		id;
	TimestampTz created_at;
	bool		closed;
	text	   *scope;
	text	   *name;
	text	   *currency;
	Numeric		floor;			/* of what is available; NULL: no limit */
	Numeric		ceiling;		/* of what is posted; NULL: no limit */
	int64		floor_from;		/* the first entry that it applies to; 0: no
								 * limit */
	int64		ceiling_from;
	text	   *owner;			/* the role that opened it */
	Jsonb	   *metadata;		/* may be NULL */
} Account;

/* Read the row in a slot.  The values live as long as the slot's. */
extern void account_from_slot(Account *account, TupleTableSlot *slot);

/*
 * Find an account as it is now, whatever the snapshot: as last committed or changed
 * by this transaction.  False: there is none.
 *
 * store: the open table, idempotency.account.  It has the row, and so the values of
 * *account, until its next probe.  Only its pages are released.
 *
 * Errors: 40001 at REPEATABLE READ and SERIALIZABLE if the account was opened or
 * changed after the transaction's snapshot; those of store_probe_key().
 */
extern bool account_find(Account *account, Store *store, const Key *name);

/*
 * At SERIALIZABLE, leave a predicate lock on the account's row: a change may make untrue
 * what is decided by it.  What the store had found is not valid any more.
 */
extern void account_predicate_lock(Store *store, const Key *name);

/*
 * May the current role take money from the account, change it and see what is in it?
 * It needs the privileges of the role that opened the account.
 *
 * Refusal: ID403.
 */
extern Refusal *account_check_access(const Account *account);

/* The refusal: ID404, the scope has no such account. */
extern Refusal *account_not_found(const Key *name);

/* An account's name in quotation marks, for messages. */
extern char *account_text(const text *name);

/* Raise 40001: the account has changed since the snapshot. */
pg_noreturn extern void account_raise_changed(void);

/* The lock of an account.  store: the open table, idempotency.account. */
extern void account_lock_tag(LOCKTAG *tag, const Store *store, const Key *name);

/*
 * Take an account's lock, and release it.  Whoever adds an entry to the account holds
 * the lock while he does; whoever changes the account holds it to the end of the
 * (sub)transaction.  It may be taken several times.
 *
 * Errors: 55P03, 40P01 and 57014 from waiting.
 */
extern void account_lock(const LOCKTAG *tag);

/* The same, but wait only for as long as an insert takes.  False: it is not taken. */
extern bool account_lock_if_free(const LOCKTAG *tag);
extern void account_unlock(const LOCKTAG *tag);

/* The row of an account: values and nulls, with an entry for each column. */
extern void account_to_row(const Account *account, Datum *values, bool *nulls);

/* A value of the type idem_account that the function being called returns. */
extern Datum account_result(FunctionCallInfo fcinfo, const Account *account);

#endif							/* IDEM_ACCOUNT_H */
