/*-------------------------------------------------------------------------
 *
 * clock.h
 *		The clock of requests.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_CLOCK_H
#define IDEM_CLOCK_H

#include "datatype/timestamp.h"

#include "table/store.h"

/*
 * The time by which expiry is judged: that of the clock, or of the last purge if
 * that is later.  Leases go by the clock alone (lease_now).
 *
 * Errors: those of catalog_open().
 */
extern TimestampTz request_expiry_now(void);

/*
 * Note that requests which had expired by now have been purged.  mark: the table
 * for that, which no other purge writes to.
 */
extern void request_note_purge(Store *mark);

#endif							/* IDEM_CLOCK_H */
