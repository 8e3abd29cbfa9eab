/*-------------------------------------------------------------------------
 *
 * idempotency.c
 *		The module: what happens when the library is loaded.
 *
 * Where things are:
 *
 * functions
 *	payment.c	idem_pay, idem_authorize: what starts a payment
 *	followup.c	idem_capture, idem_void, idem_refund: what goes on with one
 *	cancel.c	idem_cancel
 *	hold.c		idem_expire, and the list of holds that it goes by
 *	batch.c		idem_pay_batch
 *	lookup.c	idem_lookup, idem_payment, idem_history: what only reads
 *	work.c		idem_begin, idem_complete and the like: requests
 *	execute.c	idem_execute
 *	purge.c		idem_purge
 *	rights.c	idem_grant, idem_revoke, and the list of what they give
 *	call.c		reading their arguments, and having the planner leave some out
 *
 * what they are made of
 *	key.c		what a key and a scope may be
 *	claim.c		finding out, safely, whether a key is new, in flight or answered;
 *				and claiming a payment
 *	settle.c	making a stored row as durable as the session's own commits
 *	storage.c	the way to the tables: the only file that reads or writes one
 *	catalog.c	which tables and indexes those are
 *	operation.c	the row of an operation, its comparison with a request, the receipt
 *	request.c	the row of a request, and the tables that it is in
 *	begun.c		the requests that the transaction has begun and not ended
 *	fingerprint.c	what a request is compared by
 *	state.c		what the state of a payment allows: the rules of capture, refund
 *				and expiry
 *	money.c		what an amount may be
 *	currency.c	which currencies there are, and how many decimals they have
 *	access.c	which roles may see a row
 *	grant.c		GRANT and REVOKE in the name of a given role
 *	initprivs.c	what pg_dump takes for granted by the install script
 *	uuid7.c		payment ids
 *	refusal.c	why a request is not carried out
 *	subtransaction.c	running what may fail
 *	maintenance.c	the background worker
 *	settings.c	the configuration parameters
 *	errors.h	the SQLSTATEs
 *	bytes.h		comparing texts
 *	compat.h	what differs between PostgreSQL versions
 *
 * Nothing needs to be preloaded: the library is loaded at the first call.  If it
 * is, there is a background worker.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "compat.h"
#include "maintenance.h"
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
