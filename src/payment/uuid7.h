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
 * Make a UUID of version 7 (RFC 9562, 5.7) for the moment "at": milliseconds,
 * then 12 bits of their fraction (method 3 of 6.2), then 62 random bits.  They
 * sort by time, so the index grows at its right-hand end.
 *
 * Error: XX000 if the operating system has no randomness to give.
 */
extern void uuid7_make(pg_uuid_t *uuid, TimestampTz at);

#endif							/* IDEM_UUID7_H */
