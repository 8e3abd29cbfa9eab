/*-------------------------------------------------------------------------
 *
 * uuid7.h
 *		Payment ids: UUIDs of version 7.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_UUID7_H
#define IDEM_UUID7_H

#include "utils/timestamp.h"
#include "utils/uuid.h"

/*
 * Make a UUID of version 7 (RFC 9562, 5.7) into *uuid, for the moment "at":
 * milliseconds, then 12 bits of their fraction (method 3 of 6.2), then 62 random
 * bits.  Such ids sort by time, so the index grows at its right-hand end.
 *
 * Error: XX000 if there are no random bytes from pg_strong_random().
 */
extern void uuid7_make(pg_uuid_t *uuid, TimestampTz at);

/*
 * The ids of the moments from "since" on and before "until": from *least to
 * *greatest, both included.  They are whole milliseconds, so some ids of these
 * milliseconds are of moments outside.  False: there is no such moment, or no id
 * can have it.
 *
 * since, until: may be infinite.
 */
extern bool uuid7_range(TimestampTz since, TimestampTz until,
						pg_uuid_t *least, pg_uuid_t *greatest);

#endif							/* IDEM_UUID7_H */
