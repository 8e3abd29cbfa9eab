/*-------------------------------------------------------------------------
 *
 * memory.c
 *		The memory that sessions share: counters, and what they work on.
 *
 * If the library is preloaded, it is a part of the server's shared memory.  If not, it
 * is a dynamic segment that the first session makes, from PostgreSQL 17 on.  Before,
 * there is none, and nothing is counted.
 *
 * Nobody takes a lock to count.  Each database has counters, in several copies, and a
 * session adds to one of these with an atomic operation.  Whoever reads adds up the
 * copies.
 *
 * A session finds the place of its database when it counts for the first time.  If there
 * is none, it takes one that is free, or that of a database which has been dropped.  Two
 * sessions that do so at the same moment may take two.  So whoever reads adds up the
 * places, too.  If there are more databases than places, the others are not counted.
 *
 * When a server whose library is preloaded shuts down, it writes the counters to a file.
 * It reads the file when it starts, and the first session deletes it.  So the counters
 * survive a restart, but not a crash, as PostgreSQL's own do.  The worker's run is not in
 * the file: a server that has become a standby runs no worker.
 *
 * No failure in here may fail a call, or let it wait.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/syscache.h"

#include "compat.h"
#include "stat/memory.h"
#include "subtransaction.h"

#define STAT_FILE		PGSTAT_STAT_PERMANENT_DIRECTORY "/idempotency.stat"

/* Stands first in the file.  To be changed with what is in it. */
#define STAT_FILE_FORMAT	0x1D3E0001

/* What the file has for a database, after the format and the size of this. */
typedef struct SavedDatabase
{
	Oid			database;
	TimestampTz reset_at;
	uint64		counts[N_STAT_FUNCTIONS][N_STAT_COUNTERS];
} SavedDatabase;

static StatMemory *memory = NULL;
static StatDatabase *place = NULL;	/* of this database */
static StatSession *session = NULL;
static bool attached = false;	/* have we looked for them? */

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static Size memory_size(void);
static void request_memory(void);
static void start_memory(void);
static void make_memory(void *pointer);
static void attach_segment(void *unused);
static StatDatabase *find_place(void);
static StatDatabase *take_place(bool of_dropped);
static void clear_place(StatDatabase *p);
static void leave_session(int code, Datum arg);
static void read_file(void);
static void delete_file(void);
static bool read_database(FILE * file);
static void write_file(int code, Datum arg);
static bool write_database(FILE * file, StatDatabase *p);

void
stat_memory_register(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = start_memory;
}

StatMemory *
stat_memory(void)
{
	return memory;
}

void
stat_memory_attach(void)
{
	int			number;

	/* a subtransaction is not allowed in a parallel operation */
	if (attached || !IsUnderPostmaster || IsInParallelMode())
		return;
	attached = true;

	if (memory == NULL && compat_has_named_segments())
	{
		ErrorData  *error = subtransaction_try(attach_segment, NULL);

		if (error && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		{
			attached = false;
			ReThrowError(error);
		}
		if (error)
		{
			ereport(LOG,
					(errmsg("calls of this session are not counted: %s", error->message)));
			FreeErrorData(error);
			memory = NULL;
		}
	}
	if (memory == NULL)
		return;
	delete_file();
	place = find_place();
	number = compat_my_number();
	if (number >= 0 && number < memory->nsessions)
	{
		session = &memory->sessions[number];
		session->pid = 0;
		before_shmem_exit(leave_session, (Datum) 0);
	}
}

void
stat_memory_add(StatFunction function, StatCounter counter, int64 n)
{
	if (place)
		pg_atomic_fetch_add_u64(&place->counts[MyProcPid % STAT_COPIES][function][counter], n);
}

StatDatabase *
stat_memory_place(StatDatabase *previous)
{
	StatDatabase *p = previous ? previous + 1 : memory->databases;

	for (; p < memory->databases + STAT_DATABASES; p++)
	{
		if (pg_atomic_read_u32(&p->database) == MyDatabaseId)
			return p;
	}
	return NULL;
}

StatSession *
stat_memory_session(void)
{
	return session;
}

/*
 * How much memory is needed.
 */
static Size
memory_size(void)
{
	return add_size(offsetof(StatMemory, sessions),
					mul_size(MaxBackends, sizeof(StatSession)));
}

/*
 * For shmem_request_hook.
 */
static void
request_memory(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(memory_size());
}

/*
 * For shmem_startup_hook: make the memory, and fill it from the file.
 */
static void
start_memory(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	memory = ShmemInitStruct("idempotency", memory_size(), &found);
	if (!found)
		make_memory(memory);
	LWLockRelease(AddinShmemInitLock);

	if (!found && !IsUnderPostmaster)
	{
		read_file();
		on_shmem_exit(write_file, (Datum) 0);
	}
}

/*
 * Make the memory: nothing has been counted.
 */
static void
make_memory(void *pointer)
{
	StatMemory *m = pointer;

	memset(m, 0, memory_size());
	m->nsessions = MaxBackends;
	pg_atomic_init_flag(&m->file_is_deleted);
	for (int i = 0; i < STAT_DATABASES; i++)
	{
		pg_atomic_init_u32(&m->databases[i].database, InvalidOid);
		SpinLockInit(&m->databases[i].lock);
		clear_place(&m->databases[i]);
	}
	for (int i = 0; i < m->nsessions; i++)
		pg_atomic_init_u32(&m->sessions[i].changes, 0);
}

/*
 * Find the dynamic segment, or make it.  For subtransaction_try().
 *
 * Its name says what is in it: another version of the library has a segment of its own.
 */
static void
attach_segment(void *unused)
{
	char		name[NAMEDATALEN];

	snprintf(name, sizeof(name), "idempotency %x %zu", STAT_FILE_FORMAT, memory_size());
	memory = compat_named_segment(name, memory_size(), make_memory);
}

/*
 * The place of this database; NULL if there is none left.
 */
static StatDatabase *
find_place(void)
{
	StatDatabase *p = stat_memory_place(NULL);

	if (p == NULL)
		p = take_place(false);
	/* if pg_database is locked, a call must not wait for that */
	if (p == NULL && ConditionalLockRelationOid(DatabaseRelationId, AccessShareLock))
	{
		p = take_place(true);
		UnlockRelationOid(DatabaseRelationId, AccessShareLock);
	}
	return p;
}

/*
 * Take a free place, or that of a database that has been dropped.
 */
static StatDatabase *
take_place(bool of_dropped)
{
	for (StatDatabase *p = memory->databases; p < memory->databases + STAT_DATABASES; p++)
	{
		uint32		owner = pg_atomic_read_u32(&p->database);

		if (of_dropped
			? SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(owner))
			: OidIsValid(owner))
			continue;
		if (pg_atomic_compare_exchange_u32(&p->database, &owner, MyDatabaseId))
		{
			clear_place(p);
			return p;
		}
	}
	return NULL;
}

/*
 * Begin to count anew.
 */
static void
clear_place(StatDatabase *p)
{
	pg_atomic_init_u64(&p->reset_at, GetCurrentTimestamp());
	for (int copy = 0; copy < STAT_COPIES; copy++)
	{
		for (int function = 0; function < N_STAT_FUNCTIONS; function++)
		{
			for (int counter = 0; counter < N_STAT_COUNTERS; counter++)
				pg_atomic_init_u64(&p->counts[copy][function][counter], 0);
		}
	}
	SpinLockAcquire(&p->lock);
	p->run = (WorkerRun) {0};
	SpinLockRelease(&p->lock);
}

/*
 * Read the file, if there is one.  What cannot be read of it is left out.
 */
static void
read_file(void)
{
	FILE	   *file = AllocateFile(STAT_FILE, PG_BINARY_R);
	uint32		format;
	uint32		size;

	if (file == NULL)
	{
		if (errno != ENOENT)
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not read file \"%s\": %m", STAT_FILE)));
		return;
	}
	if (fread(&format, sizeof(format), 1, file) == 1 && format == STAT_FILE_FORMAT &&
		fread(&size, sizeof(size), 1, file) == 1 && size == sizeof(SavedDatabase))
	{
		while (read_database(file))
			;
	}
	FreeFile(file);
}

/*
 * Delete the file when the first session counts: what it has is old now.  Not before, as a
 * server may fail to start, and the next one needs it.
 */
static void
delete_file(void)
{
	if (pg_atomic_test_set_flag(&memory->file_is_deleted))
		(void) unlink(STAT_FILE);
}

/*
 * This session ends: what it has left says nothing about the next one with its process
 * id.
 */
static void
leave_session(int code, Datum arg)
{
	session->pid = 0;
	session = NULL;				/* the end of its transaction comes after this */
}

/*
 * Read a database from the file, into the first place that is free.  False: there is no
 * other, or no place.
 */
static bool
read_database(FILE * file)
{
	SavedDatabase saved;

	if (fread(&saved, sizeof(saved), 1, file) != 1)
		return false;
	for (StatDatabase *p = memory->databases; p < memory->databases + STAT_DATABASES; p++)
	{
		if (OidIsValid(pg_atomic_read_u32(&p->database)))
			continue;
		pg_atomic_write_u32(&p->database, saved.database);
		pg_atomic_write_u64(&p->reset_at, saved.reset_at);
		for (int function = 0; function < N_STAT_FUNCTIONS; function++)
		{
			for (int counter = 0; counter < N_STAT_COUNTERS; counter++)
				pg_atomic_write_u64(&p->counts[0][function][counter],
									saved.counts[function][counter]);
		}
		return true;
	}
	return false;
}

/*
 * Write the file when the server shuts down.  For on_shmem_exit().
 *
 * code: not zero after a crash, when the memory may be damaged.
 */
static void
write_file(int code, Datum arg)
{
	static const uint32 head[] = {STAT_FILE_FORMAT, sizeof(SavedDatabase)};
	FILE	   *file;
	bool		written;

	if (code != 0 || memory == NULL)
		return;
	file = AllocateFile(STAT_FILE ".tmp", PG_BINARY_W);
	written = file && fwrite(head, sizeof(head), 1, file) == 1;
	for (int i = 0; written && i < STAT_DATABASES; i++)
		written = write_database(file, &memory->databases[i]);
	if (file && FreeFile(file) != 0)
		written = false;
	if (written)
		(void) durable_rename(STAT_FILE ".tmp", STAT_FILE, LOG);
	else
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", STAT_FILE ".tmp")));
}

/*
 * Write a place to the file, unless it is free.  False: that failed.
 */
static bool
write_database(FILE * file, StatDatabase *p)
{
	SavedDatabase saved;

	memset(&saved, 0, sizeof(saved));	/* the gaps, too */
	saved.database = pg_atomic_read_u32(&p->database);
	if (!OidIsValid(saved.database))
		return true;
	saved.reset_at = pg_atomic_read_u64(&p->reset_at);
	for (int copy = 0; copy < STAT_COPIES; copy++)
	{
		for (int function = 0; function < N_STAT_FUNCTIONS; function++)
		{
			for (int counter = 0; counter < N_STAT_COUNTERS; counter++)
				saved.counts[function][counter] +=
					pg_atomic_read_u64(&p->counts[copy][function][counter]);
		}
	}
	return fwrite(&saved, sizeof(saved), 1, file) == 1;
}
