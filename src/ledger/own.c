/*-------------------------------------------------------------------------
 *
 * own.c
 *		What this transaction has changed in each account so far.
 *
 * An entry has the sum over all entries that its (sub)transaction made in the account:
 * see "cum" in scan.c.  That sum must be kept here.  A walk over the newest entries
 * could miss one of our own that is behind those of a transaction that does not end.
 *
 * The sums are kept by (sub)transaction id.  So those of a subtransaction that is rolled
 * back are not found any more: its id is never used again.  All are forgotten when the
 * transaction ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "ledger/own.h"
#include "money/money.h"

/* What one (sub)transaction has changed in an account. */
typedef struct OwnSums
{
	TransactionId xid;
	Sums		sums;
	struct OwnSums *next;
} OwnSums;

/* What this transaction has changed in an account. */
typedef struct OwnAccount
{
	int64		account;		/* the hash key */
	OwnSums    *newest;			/* the one that changed it last; then the
								 * others */
} OwnAccount;

/* The accounts, in TopTransactionContext; NULL: there are none. */
static HTAB *changes = NULL;

static void begin(void);
static void end(XactEvent event, void *arg);
static void add_numeric(Numeric *sum, Numeric change);

const Sums *
own_find(int64 account, TransactionId xid)
{
	OwnAccount *own = changes ? hash_search(changes, &account, HASH_FIND, NULL) : NULL;

	for (OwnSums *sums = own ? own->newest : NULL; sums; sums = sums->next)
		if (TransactionIdEquals(sums->xid, xid))
			return &sums->sums;
	return NULL;
}

bool
own_has(int64 account)
{
	return changes && hash_search(changes, &account, HASH_FIND, NULL) != NULL;
}

void
own_add(int64 account, TransactionId xid, const Sums *change)
{
	OwnAccount *own;
	OwnSums    *sums;
	bool		found;

	if (changes == NULL)
		begin();
	own = hash_search(changes, &account, HASH_ENTER, &found);
	if (!found)
		own->newest = NULL;
	for (sums = own->newest; sums; sums = sums->next)
		if (TransactionIdEquals(sums->xid, xid))
			break;
	if (sums == NULL)
	{
		sums = MemoryContextAllocZero(TopTransactionContext, sizeof(OwnSums));
		sums->xid = xid;
		sums->next = own->newest;
		own->newest = sums;
	}
	add_numeric(&sums->sums.posted, change->posted);
	add_numeric(&sums->sums.held, change->held);
	sums->sums.entries += change->entries;
}

/*
 * Begin to keep sums in this transaction.
 */
static void
begin(void)
{
	static bool callback_registered = false;
	HASHCTL		info = {
		.keysize = sizeof(int64),
		.entrysize = sizeof(OwnAccount),
		.hcxt = TopTransactionContext,
	};

	if (!callback_registered)
		RegisterXactCallback(end, NULL);
	callback_registered = true;
	changes = hash_create("idempotency own entries", 16, &info,
						  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/*
 * The transaction has ended.
 */
static void
end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE ||
		event == XACT_EVENT_ABORT)
		changes = NULL;
}

/*
 * Add a number to a sum that is kept.
 */
static void
add_numeric(Numeric *sum, Numeric change)
{
	Numeric		old = *sum;
	MemoryContext old_context;

	if (change == NULL)
		return;
	old_context = MemoryContextSwitchTo(TopTransactionContext);
	*sum = old ? money_add(old, change) : DatumGetNumericCopy(NumericGetDatum(change));
	MemoryContextSwitchTo(old_context);
	if (old)
		pfree(old);
}
