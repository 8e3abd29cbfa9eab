/*-------------------------------------------------------------------------
 *
 * idempotency.c
 *		The module: what happens when the library is loaded.
 *
 * Where things are:
 *
 *	payment.c	the functions of payments, idem_pay and its like
 *	key.c		what a key and a scope may be
 *	claim.c		finding out, safely, whether a key is new, in flight or answered
 *	storage.c	the way to the tables: the only file that reads or writes one
 *	catalog.c	which tables and indexes those are
 *	operation.c	the row of an operation, its comparison with a request, the receipt
 *	money.c		what an amount may be
 *	currency.c	which currencies there are, and how many decimals they have
 *	access.c	which roles may see a row
 *	uuid7.c		payment ids
 *	settings.c	the configuration parameters
 *	errors.h	the SQLSTATEs
 *	compat.h	what differs between PostgreSQL versions
 *
 * Nothing needs to be preloaded: the library is loaded at the first call.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "settings.h"

COMPAT_MODULE_MAGIC("idempotency", IDEM_VERSION);

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	settings_define();
}
