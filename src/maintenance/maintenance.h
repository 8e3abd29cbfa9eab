/*-------------------------------------------------------------------------
 *
 * maintenance.h
 *		The background processes: a launcher, and a worker in each database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_MAINTENANCE_H
#define IDEM_MAINTENANCE_H

#include "portability/instr_time.h"

/*
 * Register the launcher.  To be called while shared_preload_libraries are loaded.
 * Does nothing during pg_upgrade.
 */
extern void maintenance_register(void);

/* How many milliseconds have passed since start, by the monotonic clock. */
static inline long
maintenance_ms_since(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return (long) INSTR_TIME_GET_MILLISEC(now);
}

#endif							/* IDEM_MAINTENANCE_H */
