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

/* An account and a (sub)transaction. */
typedef struct OwnKey
{
	int64		account;
	TransactionId xid;
	uint32		unused;			/* zero, as all bytes are compared */
} OwnKey;

/* What the one has changed in the other. */
typedef struct OwnChange
{
	OwnKey		key;
	Sums		sums;
} OwnChange;

/* The sums, in TopTransactionContext; NULL: there are none. */
static HTAB *changes = NULL;

static void begin(void);
static void end(XactEvent event, void *arg);
static void add_numeric(Numeric *sum, Numeric change);

const Sums *
own_find(int64 account, TransactionId xid)
{
	OwnKey		key = {.account = account, .xid = xid};
	OwnChange  *found = changes ? hash_search(changes, &key, HASH_FIND, NULL) : NULL;

	return found ? &found->sums : NULL;
}

void
own_add(int64 account, TransactionId xid, const Sums *change)
{
	OwnKey		key = {.account = account, .xid = xid};
	OwnChange  *own;
	bool		found;

	if (changes == NULL)
		begin();
	own = hash_search(changes, &key, HASH_ENTER, &found);
	if (!found)
		memset(&own->sums, 0, sizeof(own->sums));
	add_numeric(&own->sums.posted, change->posted);
	add_numeric(&own->sums.held, change->held);
	own->sums.entries += change->entries;
}

/*
 * Begin to keep sums in this transaction.
 */
static void
begin(void)
{
	static bool callback_registered = false;
	HASHCTL		info = {
		.keysize = sizeof(OwnKey),
		.entrysize = sizeof(OwnChange),
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
