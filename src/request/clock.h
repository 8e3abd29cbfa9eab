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
 * The time by which expiry is judged: now by the clock or, if that is later, the
 * time of the last purge.  Leases go by the clock alone.
 *
 * Errors: those of catalog_open().
 */
extern TimestampTz request_expiry_now(void);

/*
 * Note that requests which had expired by now have been purged.
 *
 * mark: idempotency.request_purge, open.  The caller has it locked in mode
 * ShareUpdateExclusiveLock, so no other purge writes to it.
 *
 * Errors: those of store_prepare_write() and store_insert().
 */
extern void request_note_purge(Store *mark);

#endif							/* IDEM_CLOCK_H */
