/*-------------------------------------------------------------------------
 *
 * many.h
 *		Changing the accounts of many operations at a time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_LEDGER_MANY_H
#define IDEM_LEDGER_MANY_H

#include "ledger/ledger.h"

/* The most accounts at a time: the lock table of a server has room for some thousands. */
#define LEDGER_MANY_ACCOUNTS	256

/* The accounts of many operations.  Only many.c reads and writes its members. */
typedef struct LedgerMany
{
	Ledger	   *ledger;
	text	   *scope;
	int			naccounts;
	struct ManyAccount *accounts;	/* in the order of their names */
	bool		locked;
	int			nrows;			/* entries to be inserted */
	int			room;
	struct ManyEntry **rows;
} LedgerMany;

/*
 * Does it pay to lock these accounts together, and to look at each once?  It does if they
 * are used several times.  If nearly all are different, it does not, and two batches
 * would wait for each other.  Then each operation locks its own, by ledger_post().
 *
 * names: as for ledger_many_begin().
 */
extern bool ledger_many_pays(text **names, int n);

/*
 * Begin: lock these accounts, and look at them.  Memory is in the current memory
 * context, which must live until ledger_many_end().
 *
 * names: at most LEDGER_MANY_ACCOUNTS, some of them perhaps several times.  They are
 * sorted.  Accounts that do not exist do no harm.
 *
 * Errors: those of account_find(); 55P03, 40P01 and 57014 from waiting.
 */
extern void ledger_many_begin(LedgerMany *many, Ledger *ledger, text *scope,
							  text **names, int n);

/* Is the account among those that are locked? */
extern bool ledger_many_has(const LedgerMany *many, const text *name);

/*
 * Decide one operation, as ledger_post() does.  Its entries are not inserted yet, but
 * those decided later take them into account.  NULL: it is allowed, or
 * ledger_must_wait().  Then no other is decided.
 *
 * Refusals and errors: those of ledger_post().
 */
extern Refusal *ledger_many_post(LedgerMany *many, Posting *posting);

/*
 * Insert the entries of all that were allowed, and release the accounts.
 *
 * Errors: those of store_insert_many().
 */
extern void ledger_many_insert(LedgerMany *many);

/* Release the accounts, if they are locked. */
extern void ledger_many_end(LedgerMany *many);

#endif							/* IDEM_LEDGER_MANY_H */
