/*-------------------------------------------------------------------------
 *
 * uuid7.c
 *		Payment ids: UUIDs of version 7.
 *
 * PostgreSQL has uuidv7() since version 18, and this is for all versions.  The time
 * comes from the caller, so that a payment's id and its created_at are of the same
 * moment.  Random bytes are fetched for many ids at a time: for one id at a time,
 * they cost a sixteenth of a whole payment.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "port.h"

#include "payment/uuid7.h"

/* from PostgreSQL's epoch back to that of Unix, in microseconds */
#define UNIX_EPOCH_OFFSET_US \
	(((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)) * USECS_PER_DAY)

#define RANDOM_BYTES	8		/* of an id */

/* random bytes for 32 ids, used from the front; pool_used: so many bytes are used */
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
 * A UUID of version 7 for now.  The install script does not declare it; bench/
 * does, so that its bare INSERT has ids that cost the same as ours.
 */
Datum
idem_uuid7(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	uuid7_make(uuid, GetCurrentTimestamp());
	PG_RETURN_UUID_P(uuid);
}
