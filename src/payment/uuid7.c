/*-------------------------------------------------------------------------
 *
 * uuid7.c
 *		Payment ids: UUIDs of version 7.
 *
 * PostgreSQL has uuidv7() from 18 on; this serves all versions alike, and
 * takes the time from the caller so that a payment's id and its created_at
 * are the same moment.  It also asks for random bytes for many ids at a time:
 * one by one they cost a sixteenth of a whole payment.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "port.h"

#include "payment/uuid7.h"

#define UNIX_EPOCH_OFFSET_US \
	(((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)) * USECS_PER_DAY)

#define RANDOM_BYTES	8		/* of an id */

/* random bytes in store, used from the front */
static unsigned char pool[32 * RANDOM_BYTES];
static int	pool_used = sizeof(pool);

PG_FUNCTION_INFO_V1(idem_uuid7);

void
uuid7_make(pg_uuid_t *uuid, TimestampTz at)
{
	uint64		us = (uint64) (at + UNIX_EPOCH_OFFSET_US);
	uint64		ms = us / 1000;
	uint32		fraction = (uint32) ((us % 1000) * 4096 / 1000);

	for (int i = 0; i < 6; i++)
		uuid->data[i] = (unsigned char) (ms >> (40 - 8 * i));

	uuid->data[6] = (unsigned char) (0x70 | (fraction >> 8));
	uuid->data[7] = (unsigned char) fraction;

	if (pool_used == sizeof(pool))
	{
		if (!pg_strong_random(pool, sizeof(pool)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values for a payment id")));
		pool_used = 0;
	}
	memcpy(&uuid->data[8], &pool[pool_used], RANDOM_BYTES);
	pool_used += RANDOM_BYTES;
	uuid->data[8] = (uuid->data[8] & 0x3F) | 0x80;
}

/*
 * No SQL function of the extension; bench/ declares it, for a bare INSERT that
 * makes ids at the price at which we do.
 */
Datum
idem_uuid7(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	uuid7_make(uuid, GetCurrentTimestamp());
	PG_RETURN_UUID_P(uuid);
}
