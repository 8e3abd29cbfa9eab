/*-------------------------------------------------------------------------
 *
 * wait.c
 *		Waiting until a limit can be decided.
 *
 * Whether a limit allows a payment can depend on several transactions in progress.  We
 * wait for the one that has changed most, but only for a slice of time, and look again:
 * another one may have ended, and have decided it.
 *
 * The first slices are short, as most transactions are.  Most slices are shorter than
 * deadlock_timeout, after which PostgreSQL looks for a deadlock.  So every now and then
 * there is one that is longer.
 *
 * lock_timeout counts for all slices together.  In a slice, it is set to the end of the
 * slice.  PostgreSQL ends a wait for a lock with an error, so it is run in a
 * subtransaction, which needs no transaction id.
 *
 * If a cancel arrives, or statement_timeout is over, at the moment when a slice ends,
 * PostgreSQL reports the end of the slice, and forgets the other.  On a busy machine that
 * moment is long.  So we watch for both.  The end of a slice and a cancel are the same
 * signal, but the end of a slice is sent by this process to itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "errors.h"
#include "ledger/ledger.h"
#include "ledger/scan.h"
#include "stat/stat.h"
#include "subtransaction.h"

/* The first and the longest slice, in milliseconds; and each how many one is longer. */
#define WAIT_FIRST		10
#define WAIT_LONGEST	100
#define WAIT_LONG_EACH	12

/* Has somebody canceled the statement in this slice?  And the usual handler. */
static volatile sig_atomic_t canceled;
static struct sigaction usual;

static void wait_once(Ledger *ledger);
static void wait_a_slice(Ledger *ledger);
static void watch_for_cancel(int signal, siginfo_t * info, void *context);
static int	milliseconds_since(TimestampTz begin);
static void wait_for_transaction(void *arg);
pg_noreturn static void raise_lock_timeout(void);

void
ledger_wait(Ledger *ledger)
{
	Assert(ledger_must_wait(ledger));
	CHECK_FOR_INTERRUPTS();		/* a lock that is free takes no wait */
	stat_wait_begin(STAT_WAIT_ACCOUNT);
	wait_once(ledger);
	stat_wait_end();
}

/*
 * Wait for the turnstile, or for a slice.
 */
static void
wait_once(Ledger *ledger)
{
	if (ledger->wait_turnstile)
	{
		turnstile_release(&ledger->turnstile);
		turnstile_pass(&ledger->account);
		ledger->wait_turnstile = false; /* as wait_for, in wait_a_slice() */
		return;
	}
	turnstile_begin_slice(&ledger->turnstile, &ledger->account, ledger->may_take_turnstile,
						  ledger->waits);
	wait_a_slice(ledger);
}

bool
ledger_may_pass(Ledger *ledger, const LOCKTAG *account, const AccountScan *scan)
{
	if (turnstile_may_pass(account, scan))
		return true;
	ledger->wait_turnstile = true;
	ledger->account = *account;
	return false;
}

void
ledger_move_wait(Ledger *ledger, const Ledger *other)
{
	ledger->wait_for = other->wait_for;
	ledger->wait_turnstile = other->wait_turnstile;
	ledger->may_take_turnstile = other->may_take_turnstile;
	ledger->account = other->account;
}

void
ledger_leave_turnstile(Ledger *ledger)
{
	turnstile_release(&ledger->turnstile);
	ledger->turnstile = (Turnstile) {0};
	ledger->waits = 0;
}

/*
 * Wait for the transaction, or for the end of a slice.
 */
static void
wait_a_slice(Ledger *ledger)
{
	int			timeout = LockTimeout;
	int			slice = Min(WAIT_FIRST << Min(ledger->waits, 8), WAIT_LONGEST);
	bool		statement_timeout = get_timeout_active(STATEMENT_TIMEOUT);
	struct sigaction watch = {.sa_sigaction = watch_for_cancel, .sa_flags = SA_SIGINFO | SA_RESTART};
	ErrorData  *error = NULL;

	if (ledger->waits++ == 0)
		ledger->waiting_since = GetCurrentTimestamp();
	if (ledger->waits % WAIT_LONG_EACH == 0)
		slice = DeadlockTimeout + WAIT_LONGEST;
	if (timeout > 0)
	{
		int			left = timeout - milliseconds_since(ledger->waiting_since);

		if (left <= 0)
			raise_lock_timeout();
		slice = Min(slice, left);
	}

	canceled = false;
	sigaction(SIGINT, &watch, &usual);
	LockTimeout = slice;
	PG_TRY();
	{
		error = subtransaction_try(wait_for_transaction, &ledger->wait_for);
	}
	PG_FINALLY();
	{
		LockTimeout = timeout;
		sigaction(SIGINT, &usual, NULL);
	}
	PG_END_TRY();
	if (error && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	if (error && canceled)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement due to user request")));
	if (error && statement_timeout && !get_timeout_active(STATEMENT_TIMEOUT))
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement due to statement timeout")));
	if (error)
		FreeErrorData(error);

	/* what comes next may be refused before an account is looked at */
	ledger->wait_for = InvalidTransactionId;
}

/*
 * Handler of SIGINT: note whether somebody else has sent it, and do what is usual.
 */
static void
watch_for_cancel(int signal, siginfo_t * info, void *context)
{
	if (info->si_pid != MyProcPid)
		canceled = true;
	if (usual.sa_flags & SA_SIGINFO)
		usual.sa_sigaction(signal, info, context);
	else if (usual.sa_handler != SIG_IGN && usual.sa_handler != SIG_DFL)
		usual.sa_handler(signal);
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
	/* the slice may have ended at the same moment */
	CHECK_FOR_INTERRUPTS();
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
