/*-------------------------------------------------------------------------
 *
 * idempotency.c
 *		The module: what happens when the library is loaded.
 *
 * Where things are, a folder a subject.  A folder includes only what stands above it
 * in this list; rights, only what all use, and table.
 *
 * all use
 *	key.c		what a key and a scope may be
 *	call.c		reading the arguments of a call, and having the planner leave some out
 *	access.c	which roles may see a row
 *	refusal.c	why a request is not carried out
 *	settings.c	the configuration parameters
 *	subtransaction.c	running what may fail
 *	xactlock.c	locks that belong to the (sub)transaction
 *	errors.h	the SQLSTATEs
 *	bytes.h		comparing texts
 *	compat.h	what differs between PostgreSQL versions
 *
 * table: the tables
 *	catalog.c	finding the tables and their indexes
 *	shape.c		what they are like: columns, keys
 *	cache.c		small tables that a session reads once and keeps
 *	store.c		the way to them: opening and closing.  No other folder reads or
 *				writes a row by itself
 *	read.c		looking rows up, and finding out where they stand
 *	walk.c		finding many keys in their order
 *	write.c		inserting, deleting, emptying
 *
 * claim: one key, one effect
 *	claim.c		finding out, safely, whether a key is new, in flight or answered;
 *				and claiming a payment
 *	many.c		the same for many keys at a time
 *	lock.c		the locks of keys and payments
 *	settle.c	making a stored row as durable as the session's own commits
 *
 * money: amounts
 *	money.c		what an amount may be
 *	currency.c	which currencies there are, and how many decimals they have
 *
 * request: an application's own keyed work
 *	request.c	idem_begin, idem_complete and the like
 *	execute.c	idem_execute
 *	lookup.c	idem_lookup_request
 *	purge.c		idem_purge
 *	row.c		the row of a request, and the tables that it is in
 *	clock.c		the time by which it expires
 *	begun.c		the requests that the transaction has begun and not ended
 *	fingerprint.c	what a request is compared by
 *
 * payment
 *	payment.c	idem_pay, idem_authorize: what starts a payment
 *	followup.c	idem_capture, idem_void, idem_refund: what goes on with one
 *	cancel.c	idem_cancel
 *	hold.c		idem_expire, and the list of holds that it goes by
 *	batch.c		idem_pay_batch
 *	batch_args.c	its arguments
 *	lookup.c	idem_lookup, idem_payment, idem_history: what only reads
 *	operation.c	the row of an operation, its totals, its comparison with what is asked for
 *	operation_assert.c	what must be true of it, in builds with assertions
 *	receipt.c	what all of these return
 *	state.c		what the state of a payment allows: the rules of capture, refund
 *				and expiry
 *	uuid7.c		payment ids
 *
 * maintenance: the background processes
 *	launcher.c	what starts a worker in each database
 *	worker.c	what a worker does there
 *
 * rights: who may do what
 *	rights.c	idem_grant, idem_revoke, and the list of what they give
 *	grant.c		GRANT and REVOKE in the name of a given role
 *	initprivs.c	what pg_dump takes for granted by the install script
 *
 * Nothing needs to be preloaded: the library is loaded at the first call.  If it
 * is, there is a launcher of background workers too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "compat.h"
#include "maintenance/maintenance.h"
#include "settings.h"

COMPAT_MODULE_MAGIC("idempotency", IDEM_VERSION);

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	settings_define();
	if (process_shared_preload_libraries_in_progress)
		maintenance_register();
}
