/*-------------------------------------------------------------------------
 *
 * settle.c
 *		Making stored rows as durable as the session's own commits.
 *
 * A replay is an acknowledgement: its caller relies on the payment as the payer
 * would.  But a call that only reads has no transaction id, so its COMMIT waits for
 * nothing.  And a row can be seen before it is safe:
 *
 * -	Its writer had synchronous_commit = off.  The commit record may not be
 *		on disk yet.
 * -	Its writer's wait for a standby ended early: it was canceled, or the server
 *		crashed and has recovered.  It may be that no standby has the row yet.
 *
 * So before a row of another transaction is returned, it is settled: made as
 * durable as synchronous_commit asks of this session's own commits.
 *
 * 1.	If its writer committed asynchronously, flush WAL up to that commit
 *		(TransactionIdGetCommitLSN).  All other commits were flushed before
 *		anybody could see them.  The commit of a row that VACUUM froze may not be
 *		known any more.  It came before the freezing, and so lies before the
 *		page's LSN.
 * 2.	Now the commit lies before the end of the flushed WAL.  If this session's
 *		commits wait for standbys, wait until they have that much, as a commit
 *		does (SyncRepWaitForLSN).
 *
 * SyncRepWaitForLSN() ends early, with a warning, if it is canceled.  For a commit
 * that is right, since it cannot be undone.  For us it is an error: the caller has
 * no receipt, and may ask again.
 *
 * What costs nothing.  A backend remembers a transaction id before which all is
 * settled: the mark.  A row from before it costs one comparison.  The mark moves in
 * two steps.  First we note the oldest transaction that was running in our snapshot,
 * and how far WAL has been inserted by now.  All transactions before that one have
 * ended, and their commits lie before that point.  Once WAL has been settled up to
 * there, for this row or a later one, that transaction becomes the mark.  Nothing is
 * flushed or waited for just to move the mark.
 *
 * There is a mark for each level of synchronous_commit, as what is on disk here need
 * not be on a standby.  Levels that wait for standbys count as "local" while
 * synchronous_standby_names is empty, as they do for a commit.  We do not know which
 * standbys have a part of WAL.  We know that those have it that were asked for at
 * the time.  So if others are asked for later, older rows stay settled.  The same
 * holds for a commit.
 *
 * The mark is a 64-bit id.  With 32 bits, new rows would seem old in a session that
 * rests while two thousand million transactions go by.  The 32-bit id of a row is
 * completed by the next id to be assigned.  That fails for rows that VACUUM froze
 * long ago.  They may be taken for younger ones, and then they are settled once
 * more.  Freezing does not settle a row: VACUUM may come before the standby does.
 *
 * On a standby there is nothing to wait for: a row is as durable as the standby
 * itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "storage/bufmgr.h"
#include "storage/lwlock.h"
#include "utils/snapmgr.h"

#include "claim/settle.h"
#include "compat.h"
#include "stat/stat.h"

/* What is settled at one level of synchronous_commit. */
typedef struct Mark
{
	uint64		before;			/* all transactions before this one, in 64
								 * bits; 0: none */
	uint64		next_before;	/* will be the mark */
	XLogRecPtr	next_lsn;		/* once WAL is settled up to here; 0: none is
								 * noted */
} Mark;

/* The marks, by level. */
static Mark marks[SYNCHRONOUS_COMMIT_REMOTE_APPLY + 1];

static int	level_asked(void);
static uint64 full_xid(TransactionId xid);
static void prepare_mark(Mark *mark);
static XLogRecPtr commit_lsn(TupleTableSlot *slot);
static bool wait_for_standbys(XLogRecPtr lsn, int level);
static bool standbys_have(XLogRecPtr lsn, int level);

void
settle_note(Unsettled *rows, TupleTableSlot *slot)
{
	HeapTupleHeader header;
	TransactionId writer;
	int			level = level_asked();

	if (level == SYNCHRONOUS_COMMIT_OFF)
		return;

	Assert(TTS_IS_BUFFERTUPLE(slot));
	header = ((HeapTupleTableSlot *) slot)->tuple->t_data;
	writer = HeapTupleHeaderGetRawXmin(header);
	if (!TransactionIdIsNormal(writer) || full_xid(writer) < marks[level].before)
		return;
	if (RecoveryInProgress())
		return;

	if (!HeapTupleHeaderXminFrozen(header) &&
		TransactionIdIsCurrentTransactionId(writer))
		return;

	rows->flush_to = Max(rows->flush_to, commit_lsn(slot));
	rows->any = true;
}

void
settle(const Unsettled *rows)
{
	int			level = level_asked();
	Mark	   *mark = &marks[level];
	XLogRecPtr	settled_to;
	bool		waits;
	bool		replicated;

	if (!rows->any || level == SYNCHRONOUS_COMMIT_OFF)
		return;

	prepare_mark(mark);
	waits = level > SYNCHRONOUS_COMMIT_LOCAL_FLUSH || XLogNeedsFlush(rows->flush_to);
	if (waits)
		stat_wait_begin(STAT_WAIT_DURABILITY);
	XLogFlush(rows->flush_to);
	settled_to = GetFlushRecPtr(NULL);
	replicated = level <= SYNCHRONOUS_COMMIT_LOCAL_FLUSH || wait_for_standbys(settled_to, level);
	if (waits)
		stat_wait_end();
	if (!replicated)
		return;

	if (mark->next_lsn != InvalidXLogRecPtr && mark->next_lsn <= settled_to)
	{
		mark->before = Max(mark->before, mark->next_before);
		mark->next_lsn = InvalidXLogRecPtr;
	}
}

/*
 * What this session's commits would wait for now: a level of synchronous_commit.
 */
static int
level_asked(void)
{
	if (synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH &&
		(!SyncRepRequested() || !compat_sync_standbys_defined()))
		return SYNCHRONOUS_COMMIT_LOCAL_FLUSH;
	return synchronous_commit;
}

/*
 * A transaction id in 64 bits: the last one with these 32 bits that is not after the
 * next id to be assigned.
 */
static uint64
full_xid(TransactionId xid)
{
	uint64		next = compat_next_full_xid();

	return next - (uint32) ((uint32) next - xid);
}

/*
 * Note what can become the mark, unless something is noted already.
 */
static void
prepare_mark(Mark *mark)
{
	if (mark->next_lsn != InvalidXLogRecPtr)
		return;
	mark->next_before = full_xid(GetActiveSnapshot()->xmin);
	mark->next_lsn = GetXLogInsertRecPtr();
}

/*
 * How far WAL must be flushed for the commit that stored this row to be on disk.
 * 0: it is.
 */
static XLogRecPtr
commit_lsn(TupleTableSlot *slot)
{
	HeapTupleHeader header = ((HeapTupleTableSlot *) slot)->tuple->t_data;
	Buffer		buffer = ((BufferHeapTupleTableSlot *) slot)->buffer;

	if (!HeapTupleHeaderXminFrozen(header))
		return TransactionIdGetCommitLSN(HeapTupleHeaderGetRawXmin(header));

	/* callers note a row before its page is released; if not, all WAL will do */
	Assert(BufferIsValid(buffer));
	return BufferIsValid(buffer) ? BufferGetLSNAtomic(buffer) : GetXLogInsertRecPtr();
}

/*
 * Wait until the standbys have WAL up to there.  False: no synchronous standbys are
 * asked for any more.  Then the answer is returned, but the mark stays, as there may
 * be some again.
 *
 * Errors: 57014 if the wait was canceled.
 */
static bool
wait_for_standbys(XLogRecPtr lsn, int level)
{
	CHECK_FOR_INTERRUPTS();
	HOLD_INTERRUPTS();
	SyncRepWaitForLSN(lsn, true);
	RESUME_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();

	if (standbys_have(lsn, level))
		return true;
	if (compat_sync_standbys_defined())
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement before its answer is replicated"),
				 errdetail("The answer is stored on this server, but a synchronous standby might not have it yet."),
				 errhint("Retry with the same key.")));
	return false;
}

/*
 * Do the standbys have WAL up to there, as this level asks for?
 */
static bool
standbys_have(XLogRecPtr lsn, int level)
{
	int			mode = level == SYNCHRONOUS_COMMIT_REMOTE_WRITE ? SYNC_REP_WAIT_WRITE
		: level == SYNCHRONOUS_COMMIT_REMOTE_FLUSH ? SYNC_REP_WAIT_FLUSH
		: SYNC_REP_WAIT_APPLY;
	bool		reached;

	LWLockAcquire(SyncRepLock, LW_SHARED);
	reached = WalSndCtl->lsn[mode] >= lsn;
	LWLockRelease(SyncRepLock);
	return reached;
}
