/*-------------------------------------------------------------------------
 *
 * ledger.h
 *		Changing accounts: all changes of an operation, or none.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_LEDGER_H
#define IDEM_LEDGER_H

#include "storage/lock.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "ledger/turnstile.h"
#include "refusal.h"
#include "table/store.h"

/* The most legs of an operation. */
#define LEDGER_MAX_LEGS	256

/* What an operation changes in one account. */
typedef struct Leg
{
	text	   *account;		/* its name */
	Numeric		amount;			/* by how much posted changes; NULL: not */
	Numeric		held;			/* by how much held changes; NULL: not */
	text	   *currency;		/* of both */
	int64		seq;			/* set to that of the entry; 0: there is none */

	/* only ledger.c uses these: */
	int64		id;				/* the account's */
	bool		shown;			/* may its balance be shown to the caller? */
	bool		closed;			/* is the account closed, and may the leg not
								 * use it then? */
	Numeric		floor;			/* that the change could hurt, or NULL */
	Numeric		ceiling;		/* that the change could hurt, or NULL */
	LOCKTAG		lock;
	struct AccountScan *scan;	/* once it is locked to be decided, or NULL */
} Leg;

/* The legs of an operation. */
typedef struct Posting
{
	text	   *scope;			/* of the accounts */
	bool		begins;			/* is it something new?  Then closed accounts
								 * take no part in it */
	pg_uuid_t	payment_id;
	int			operation;		/* its number in the payment */
	TimestampTz created_at;
	int			nlegs;			/* at most LEDGER_MAX_LEGS */
	Leg		   *legs;			/* each of another account */
} Posting;

/* The tables of accounts.  A call sets all to zero, and closes it in the end. */
typedef struct Ledger
{
	bool		is_open;
	bool		writes;			/* is the table of entries locked for an
								 * INSERT? */
	Store		accounts;
	Store		entries;
	MemoryContext context;		/* of an attempt */
	bool		dont_wait;		/* the caller's, who has one leg: give up if
								 * the account is being changed */
	bool		gave_up;		/* then this is set, and nothing was inserted */

	/* only wait.c and the deciding use these: */
	TransactionId wait_for;		/* or InvalidTransactionId */
	bool		wait_turnstile; /* must we wait for the turnstile of an
								 * account? */
	LOCKTAG		account;		/* which account that is, or whose limit is
								 * open */
	bool		may_take_turnstile; /* has the caller the privileges of that
									 * one's owner? */
	int			waits;			/* how often we have waited */
	TimestampTz waiting_since;
	Turnstile	turnstile;
} Ledger;

/*
 * Give the legs whose currency is NULL that of their account.  It never changes, so this
 * needs no locks.
 *
 * Refusals: ID404 if there is no such account.
 */
extern Refusal *ledger_find_currencies(Ledger *ledger, text *scope, Leg *legs, int nlegs);

/*
 * Insert an entry for each leg that changes something.  NULL: they are inserted, or
 * ledger_must_wait().
 *
 * The caller has the locks of the key and the payment, and no other lock of ours.
 *
 * Refusals: ID404 if there is no such account; 22023 if it has another currency; ID403
 * if the leg takes from an account of another role.  If there is none of these: ID412 if
 * the account is closed.  If there is none of these: ID412 if the change would pass its
 * ceiling; ID402 if it would pass its floor.  If several legs are refused for the same
 * reason, it is the first one's.
 *
 * Errors: 40001 at REPEATABLE READ and SERIALIZABLE, if an account was changed after the
 * snapshot, or if what is outside the snapshot decides; 40001 at all levels if an
 * account gets a limit, or is closed, after an entry of another leg was inserted;
 * 55P03, 40P01 and 57014 from waiting; those of catalog_open() and store_insert().
 */
extern Refusal *ledger_post(Ledger *ledger, Posting *posting);

/*
 * Does it depend on a transaction in progress whether a limit allows the posting?
 * Then nothing was inserted.  The caller releases its locks, calls ledger_wait(), and
 * starts again.
 */
extern bool ledger_must_wait(const Ledger *ledger);

/*
 * A scan has left a decision open.  So ledger_must_wait(), for the transaction in it that
 * has changed most.
 *
 * account: the account's lock.  is_owner: has the caller the privileges of its owner?
 *
 * Errors: 40001 if there is none, as then what is outside the snapshot decides.
 */
extern void ledger_wait_for_largest(Ledger *ledger, const LOCKTAG *account, bool is_owner,
									const struct AccountScan *scan);

/*
 * A decision has been made for an account, with its lock held.  May it be used?  False:
 * another transaction has waited for long to decide there, and comes first.  So
 * ledger_must_wait().
 */
extern bool ledger_may_pass(Ledger *ledger, const LOCKTAG *account,
							const struct AccountScan *scan);

/* Have this one wait for what another must wait for, which is closed next. */
extern void ledger_move_wait(Ledger *ledger, const Ledger *other);

/* What was waited for is decided.  Let others pass. */
extern void ledger_leave_turnstile(Ledger *ledger);

/*
 * Wait for that transaction, or for a short time.
 *
 * Errors: 55P03, 40P01 and 57014 from waiting.
 */
extern void ledger_wait(Ledger *ledger);

/*
 * Open the tables, if they are not open.  Their memory is in the current memory context,
 * which must live until ledger_close().  ledger_post() opens them, too.
 */
extern void ledger_open(Ledger *ledger);

/*
 * Open the tables, lock that of entries for an INSERT, and forget the attempt before.
 *
 * Errors: those of subscription_check(); 55P03, 40P01 and 57014 from waiting.
 */
extern void ledger_begin(Ledger *ledger);

/* Close the tables.  AFTER triggers that are due fire now, and may fail. */
extern void ledger_close(Ledger *ledger);

#endif							/* IDEM_LEDGER_H */
