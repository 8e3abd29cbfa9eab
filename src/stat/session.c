/*-------------------------------------------------------------------------
 *
 * session.c
 *		What sessions and the worker are doing, for others to see.
 *
 * pg_locks shows who holds and who waits for the lock of a key, but only a hash of the
 * key.  So each session leaves in shared memory the key that it has used last, with the
 * lock.  Nobody locks that: the writer makes a number odd before it writes, and even
 * again afterwards.  A reader that sees an odd number, or two different ones, reads
 * again.
 *
 * What is left there may be old.  idempotency.activity shows a key only where pg_locks has
 * its lock, or where the session waits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "stat/memory.h"
#include "stat/session.h"

/* A worker's run. */
static bool run_has_begun = false;
static bool run_has_ended = false;

static void take_place(StatSession *mine);
static void exit_worker(int code, Datum arg);
static int	keep(StatSession *mine, int offset, const text *t);
static void begin_change(StatSession *mine);
static void end_change(StatSession *mine);
static WorkerRun *lock_run(StatDatabase **place);

void
session_set_key(const LOCKTAG *tag, const Key *key)
{
	StatSession *mine = stat_memory_session();

	if (mine == NULL)
		return;
	begin_change(mine);
	take_place(mine);
	mine->lock_high = tag->locktag_field2;
	mine->lock_low = tag->locktag_field3;
	mine->scope_len = keep(mine, 0, key->scope);
	mine->key_len = keep(mine, mine->scope_len, key->key);
	end_change(mine);
}

void
session_set_waiting(TimestampTz since, StatWait wait)
{
	StatSession *mine = stat_memory_session();

	if (mine == NULL)
		return;
	begin_change(mine);
	if (mine->pid != MyProcPid)
	{
		take_place(mine);
		mine->lock_high = mine->lock_low = 0;
		mine->scope_len = mine->key_len = 0;
	}
	mine->waiting_since = since;
	mine->wait = wait;
	end_change(mine);
}

const char *
session_wait_name(StatWait wait)
{
	static const char *const names[] = {
		[STAT_WAIT_KEY] = "key",
		[STAT_WAIT_PAYMENT] = "payment",
		[STAT_WAIT_ACCOUNT] = "account",
		[STAT_WAIT_DURABILITY] = "durability",
	};

	return names[wait];
}

/*
 * A worker has one run.  It begins with the first of its transactions that finds the
 * extension.
 */
void
worker_run_begins(void)
{
	StatDatabase *place;
	WorkerRun  *run;

	if (run_has_begun)
		return;
	run_has_begun = true;
	stat_memory_attach();
	before_shmem_exit(exit_worker, (Datum) 0);
	run = lock_run(&place);
	if (run == NULL)
		return;
	run->started_at = GetCurrentTimestamp();
	run->ended_at = 0;
	SpinLockRelease(&place->lock);
}

void
worker_run_ends(void)
{
	StatDatabase *place;
	WorkerRun  *run;

	run_has_ended = true;
	run = run_has_begun ? lock_run(&place) : NULL;
	if (run == NULL)
		return;
	run->ended_at = GetCurrentTimestamp();
	SpinLockRelease(&place->lock);
}

void
worker_run_failed(const char *message)
{
	int			len = pg_mbcliplen(message, strlen(message), STAT_MESSAGE_BYTES - 1);
	StatDatabase *place;
	WorkerRun  *run = lock_run(&place);

	if (run == NULL)
		return;
	run->failed_at = GetCurrentTimestamp();
	memcpy(run->message, message, len);
	run->message[len] = '\0';
	SpinLockRelease(&place->lock);
}

/*
 * The worker exits.  For before_shmem_exit().
 */
static void
exit_worker(int code, Datum arg)
{
	if (!run_has_ended)
		worker_run_failed("the worker was terminated");
}

/*
 * This session is the one that the place tells about.  It does not wait.
 */
static void
take_place(StatSession *mine)
{
	mine->pid = MyProcPid;
	mine->database = MyDatabaseId;
	mine->waiting_since = 0;
}

/*
 * Copy a text to this place in the bytes of a session, or as much of it as there is room
 * for.  Returns how much.
 */
static int
keep(StatSession *mine, int offset, const text *t)
{
	int			len = VARSIZE_ANY_EXHDR(t);
	int			room = STAT_KEY_BYTES - offset;

	if (len > room)
		len = pg_mbcliplen(VARDATA_ANY(t), len, room);
	memcpy(mine->bytes + offset, VARDATA_ANY(t), len);
	return len;
}

/*
 * Let readers know that what they see may be half of the old and half of the new, and
 * that it is whole again.
 */
static void
begin_change(StatSession *mine)
{
	pg_atomic_write_u32(&mine->changes, pg_atomic_read_u32(&mine->changes) | 1);
	pg_write_barrier();
}

static void
end_change(StatSession *mine)
{
	pg_write_barrier();
	pg_atomic_write_u32(&mine->changes, pg_atomic_read_u32(&mine->changes) + 1);
}

/*
 * The worker's run in this database, with its lock; NULL if there is no memory.
 */
static WorkerRun *
lock_run(StatDatabase **place)
{
	*place = stat_memory() ? stat_memory_place(NULL) : NULL;
	if (*place == NULL)
		return NULL;
	SpinLockAcquire(&(*place)->lock);
	return &(*place)->run;
}
