/*-------------------------------------------------------------------------
 *
 * pause.h
 *		Stopping at a named moment, for tests.
 *
 * PAUSE() does nothing, unless the library is built with -DIDEM_PAUSE, as
 * test/t/029_moments.pl builds it.  Then a session stops there if its application_name
 * is the name of the moment and the number: "scan 2", say.  It goes on when nobody has
 * pg_advisory_lock(PAUSE_LOCK, its process id) any more.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_PAUSE_H
#define IDEM_PAUSE_H

#ifdef IDEM_PAUSE

#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"

#define PAUSE_LOCK	29

#define PAUSE(moment, n)	pause_at(moment, n)

/* Stop, if this session is to stop at this moment. */
static inline void
pause_at(const char *moment, int n)
{
	Datum		lock = Int32GetDatum(PAUSE_LOCK);
	Datum		pid = Int32GetDatum(MyProcPid);

	if (strcmp(application_name, psprintf("%s %d", moment, n)) != 0)
		return;
	(void) DirectFunctionCall2(pg_advisory_lock_shared_int4, lock, pid);
	(void) DirectFunctionCall2(pg_advisory_unlock_shared_int4, lock, pid);
}

#else

#define PAUSE(moment, n)	((void) 0)

#endif							/* IDEM_PAUSE */

#endif							/* IDEM_PAUSE_H */
