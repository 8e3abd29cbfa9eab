/*-------------------------------------------------------------------------
 *
 * session.h
 *		What sessions and the worker are doing, for others to see.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_STAT_SESSION_H
#define IDEM_STAT_SESSION_H

#include "storage/lock.h"
#include "utils/timestamp.h"

#include "key.h"
#include "stat/stat.h"

/* This session is about to take the lock of a key. */
extern void session_set_key(const LOCKTAG *tag, const Key *key);

/* This session waits for something, since this time; 0: it does so no more. */
extern void session_set_waiting(TimestampTz since, StatWait wait);

/* What a session waits for, as idempotency.activity shows it. */
extern const char *session_wait_name(StatWait wait);

/*
 * The maintenance worker begins and ends its work in this database, or has an error.  If
 * it exits in between, that is an error, too.
 */
extern void worker_run_begins(void);
extern void worker_run_ends(void);
extern void worker_run_failed(const char *message);

#endif							/* IDEM_STAT_SESSION_H */
