/*-------------------------------------------------------------------------
 *
 * memory.h
 *		The memory that sessions share: counters, and what they work on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_STAT_MEMORY_H
#define IDEM_STAT_MEMORY_H

#include "port/atomics.h"
#include "storage/s_lock.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "key.h"
#include "stat/stat.h"

/* How many databases have counters. */
#define STAT_DATABASES	64

/* In how many copies there are counters, so that sessions do not write to the same. */
#define STAT_COPIES		8

/* How much of a scope and a key together is kept: a key of idem_cancel() has prefixes. */
#define STAT_KEY_BYTES		(2 * KEY_MAX_BYTES + 50)

/* How much of an error of the worker is kept. */
#define STAT_MESSAGE_BYTES	256

/* The last run of the maintenance worker in a database. */
typedef struct WorkerRun
{
	TimestampTz started_at;		/* 0: it has never run */
	TimestampTz ended_at;		/* 0: it runs, or was killed */
	TimestampTz failed_at;		/* of the last error; 0: there was none */
	char		message[STAT_MESSAGE_BYTES];	/* of that error */
} WorkerRun;

/* What there is for a database. */
typedef struct StatDatabase
{
	pg_atomic_uint32 database;	/* its OID; 0: the place is free */
	pg_atomic_uint64 reset_at;	/* since when is it counted? */
	pg_atomic_uint64 counts[STAT_COPIES][N_STAT_FUNCTIONS][N_STAT_COUNTERS];
	slock_t		lock;			/* of the run */
	WorkerRun	run;
} StatDatabase;

/* The key that a session has used last. */
typedef struct StatSession
{
	pg_atomic_uint32 changes;	/* odd while the session writes here */
	int			pid;			/* 0: nobody has been here */
	Oid			database;
	uint32		lock_high;		/* the lock of the key: see claim/lock.c */
	uint32		lock_low;
	TimestampTz waiting_since;	/* of its call; 0: it does not wait */
	StatWait	wait;			/* for what, if it waits */
	int16		scope_len;
	int16		key_len;
	char		bytes[STAT_KEY_BYTES];	/* the scope and the key */
} StatSession;

/* All of it. */
typedef struct StatMemory
{
	pg_atomic_flag file_is_deleted; /* see memory.c */
	StatDatabase databases[STAT_DATABASES];
	int			nsessions;
	StatSession sessions[FLEXIBLE_ARRAY_MEMBER];
} StatMemory;

/* To be called while shared_preload_libraries are loaded. */
extern void stat_memory_register(void);

/*
 * Find the memory and the place of this database there, once in a session.  Without
 * them, nothing is counted.
 */
extern void stat_memory_attach(void);

/*
 * The memory; NULL if there is none.
 */
extern StatMemory *stat_memory(void);

/* Add to a counter of this database.  Does nothing without the memory. */
extern void stat_memory_add(StatFunction function, StatCounter counter, int64 n);

/* The places of this database: the first, and the next; NULL after the last. */
extern StatDatabase *stat_memory_place(StatDatabase *previous);

/* The place of this session; NULL if there is none. */
extern StatSession *stat_memory_session(void);

#endif							/* IDEM_STAT_MEMORY_H */
