/*-------------------------------------------------------------------------
 *
 * idempotency.c
 *		The module: what happens when the library is loaded.
 *
 * The map of src: a folder for each subject, a line for each file, from the lowest
 * floor up.  A file includes headers of its own folder and of lower floors only;
 * test/bin/floors checks that.  A header stands with the .c file of its name.
 * A file in sql/install says which C function is behind a function of SQL: the one of
 * the same name, or the one that stands there.
 *
 * for all: the lowest floor, in src itself
 *	key.c		what a key and a scope may be
 *	call.c		reading the arguments of a call; leaving some out when it is planned
 *	json_arg.c	reading an argument that is text, json or jsonb
 *	access.c	which roles may see a row, and act on it
 *	refusal.c	why a request is not carried out
 *	settings.c	the configuration parameters
 *	subtransaction.c	running what may fail
 *	xactlock.c	locks that belong to the (sub)transaction
 *	errors.c	the SQLSTATEs, and the class in which they are raised
 *	bytes.h		comparing texts byte by byte
 *	pause.h		stopping at a named moment, for tests
 *	compat.h	what differs between PostgreSQL versions
 *
 * stat: counters, and who works on what
 *	stat.c		counting calls and what became of them
 *	memory.c	the memory that sessions share for that
 *	session.c	what each session, and the maintenance worker, leave there
 *	view.c		idem_stat_reset; what idempotency.stat and idempotency.activity show
 *
 * table: the tables.  No other folder reads or writes a row by itself
 *	catalog.c	finding the tables and their indexes
 *	shape.c		what they must be like: columns, keys
 *	cache.c		small tables that a session reads once and keeps
 *	store.c		opening and closing; store.h has all that reads and writes
 *	read.c		looking rows up, and finding out where they stand
 *	walk.c		finding many keys in their order
 *	write.c		inserting, deleting, emptying
 *	report.c	reporting that to modules that watch the executor
 *	store_internal.h	what the last five share
 *
 * claim: one key, one effect
 *	claim.c		finding out, safely, whether a key is new, in flight or answered;
 *				and claiming a payment
 *	many.c		the same for many keys at a time
 *	lock.c		the locks of keys and payments
 *	settle.c	making a stored row as durable as the session's own commits
 *
 * money: amounts.  On the floor of claim
 *	money.c		what an amount may be; giving it the decimals of its currency
 *	currency.c	which currencies there are, and how many decimals they have
 *
 * rights: who may do what.  On the floor of claim
 *	rights.c	idem_grant, idem_revoke, and the list of rights that they give
 *	grant.c		GRANT and REVOKE in the name of a given role
 *	initprivs.c	what the install script has granted, as pg_dump finds it
 *
 * request: an application's own keyed work
 *	begin.c		idem_begin
 *	end.c		idem_complete, idem_fail, idem_release
 *	lease.c		idem_checkpoint, idem_renew
 *	execute.c	idem_execute
 *	args.c		its arguments
 *	rows.c		its rows
 *	lookup.c	idem_lookup_request, idem_abandoned
 *	purge.c		idem_purge
 *	request.c	what these share; how requests and leases work
 *	row.c		the row of a request, and the tables that it is in
 *	clock.c		the time by which it expires
 *	begun.c		the requests that the transaction has begun and not ended
 *	fingerprint.c	what a request is compared by
 *	canonical.c	the canonical form of a JSON text
 *	canonical_order.c	its members in the order of their names
 *
 * ledger: accounts, on the floor of request
 *	account.c	finding an account, and its lock
 *	account_open.c	idem_account_open
 *	account_change.c	idem_account_change
 *	account_lookup.c	idem_lookup_account
 *	hint.c		what a session remembers about accounts
 *	limits.c	what their limits may be
 *	scan.c		looking at an account: what its newest entries add up to
 *	sums.c		what entries add up to
 *	entry.c		the row of an entry
 *	own.c		what this transaction has changed so far
 *	ledger.c	changing accounts: all changes of an operation, or none; many.c: those
 *				of many operations at a time
 *	leg.c		one such change: what the account allows
 *	wait.c		waiting until a limit can be decided; turnstile.c: who has waited for
 *				long comes first
 *	subscription.c	refusing entries where they still come by replication
 *	balance.c	idem_balance; the balances of all accounts
 *	statement.c	idem_statement
 *
 * payment: what moves money, and what shows it
 *	payment.c	idem_pay, idem_authorize: what starts a payment
 *	post.c		idem_post: what moves money between several accounts
 *	followup.c	idem_increase, idem_capture, idem_void, idem_refund: what goes on with
 *				one
 *	cancel.c	idem_cancel
 *	hold.c		idem_expire: releasing holds that have expired, and the list of them
 *	pay_batch.c	idem_pay_batch
 *	followup_batch.c	idem_capture_batch, idem_refund_batch
 *	batch.c		what they have in common; batch_args.c: their arguments
 *	lookup.c	idem_lookup, idem_payment, idem_history: what only reads
 *	list.c		idem_payments
 *	operation.c	the row of an operation: totals, status, whether its hold has expired
 *	operation_args.c	comparing it with what is asked for
 *	operation_assert.c	what must be true of it, in builds with assertions
 *	receipt.c	what all of these return
 *	legs.c		the legs of a post, as its row has them
 *	movement.c	what an operation moves between the accounts of its payment
 *	state.c		what a payment's state allows: the rules of capture, refund, expiry
 *	uuid7.c		payment ids
 *
 * maintenance: the background processes
 *	launcher.c	starts a worker in each database
 *	worker.c	what a worker does there
 *	maintenance.h	how to register the launcher, and what both share
 *
 * Nothing needs to be preloaded: the first call loads the library.  If it is
 * preloaded, a launcher of background workers runs too, and calls are counted before
 * PostgreSQL 17.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "compat.h"
#include "maintenance/maintenance.h"
#include "settings.h"
#include "stat/memory.h"

COMPAT_MODULE_MAGIC("idempotency", IDEM_VERSION);

extern PGDLLEXPORT void _PG_init(void);

/*
 * PostgreSQL calls this when it has loaded the library.
 */
void
_PG_init(void)
{
	settings_define();
	if (process_shared_preload_libraries_in_progress)
	{
		stat_memory_register();
		maintenance_register();
	}
}
