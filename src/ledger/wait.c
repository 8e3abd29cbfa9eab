/*-------------------------------------------------------------------------
 *
 * wait.c
 *		Waiting until a limit can be decided.
 *
 * Whether a limit allows a payment can depend on several transactions in progress.  We
 * wait for the one that has changed most, but only for a slice of time, and look again:
 * another one may have ended, and have decided it.
 *
 * A slice is shorter than deadlock_timeout, after which PostgreSQL looks for a deadlock.
 * So every now and then there is one that is longer.
 *
 * lock_timeout counts for all slices together.  In a slice, it is set to the end of the
 * slice.  PostgreSQL ends a wait for a lock with an error, so it is run in a
 * subtransaction, which needs no transaction id.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "errors.h"
#include "ledger/ledger.h"
#include "subtransaction.h"

/* A slice, in milliseconds; and each how many of them one is a long one. */
#define WAIT_SLICE		10
#define WAIT_LONG_EACH	50

static int	milliseconds_since(TimestampTz begin);
static void wait_for_transaction(void *arg);
pg_noreturn static void raise_lock_timeout(void);

void
ledger_wait(Ledger *ledger)
{
	int			timeout = LockTimeout;
	int			slice = WAIT_SLICE;
	ErrorData  *error;

	Assert(ledger_must_wait(ledger));
	if (ledger->waits++ == 0)
		ledger->waiting_since = GetCurrentTimestamp();
	if (ledger->waits % WAIT_LONG_EACH == 0)
		slice = DeadlockTimeout + 10 * WAIT_SLICE;
	if (timeout > 0)
	{
		int			left = timeout - milliseconds_since(ledger->waiting_since);

		if (left <= 0)
			raise_lock_timeout();
		slice = Min(slice, left);
	}

	LockTimeout = slice;
	error = subtransaction_try(wait_for_transaction, &ledger->wait_for);
	LockTimeout = timeout;
	if (error && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	if (error)
		FreeErrorData(error);
}

/*
 * How many milliseconds have passed since this time.
 */
static int
milliseconds_since(TimestampTz begin)
{
	return TimestampDifferenceMilliseconds(begin, GetCurrentTimestamp());
}

/*
 * Wait for a (sub)transaction to end.  For subtransaction_try().
 */
static void
wait_for_transaction(void *arg)
{
	TransactionId *xid = arg;

	XactLockTableWait(*xid, NULL, NULL, XLTW_None);
}

/*
 * Raise 55P03: it has taken too long.
 */
static void
raise_lock_timeout(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("canceling statement due to lock timeout"),
			 errdetail("Other transactions in progress decide whether a limit of the account allows the request.")));
}
