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

/* the first moment that an id can have, and the first one after all that it can have */
#define UUID7_BEGIN	(-UNIX_EPOCH_OFFSET_US)
#define UUID7_END	((INT64CONST(1) << 48) * 1000 - UNIX_EPOCH_OFFSET_US)

/* random bytes for 32 ids, used from the front; pool_used: so many bytes are used */
static unsigned char pool[32 * RANDOM_BYTES];
static int	pool_used = sizeof(pool);

PG_FUNCTION_INFO_V1(idem_uuid7);

static void set_time(pg_uuid_t *uuid, TimestampTz at);

void
uuid7_make(pg_uuid_t *uuid, TimestampTz at)
{
	uint64		us = (uint64) (at + UNIX_EPOCH_OFFSET_US);
	uint32		fraction = (uint32) ((us % 1000) * 4096 / 1000);

	set_time(uuid, at);
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

bool
uuid7_range(TimestampTz since, TimestampTz until,
			pg_uuid_t *least, pg_uuid_t *greatest)
{
	if (since >= until || since >= UUID7_END || until <= UUID7_BEGIN)
		return false;

	memset(least->data, 0, UUID_LEN);
	set_time(least, Max(since, UUID7_BEGIN));
	memset(greatest->data, 0xFF, UUID_LEN);
	set_time(greatest, Min(until, UUID7_END) - 1);
	return true;
}

/*
 * Set the milliseconds of an id, which come first.
 */
static void
set_time(pg_uuid_t *uuid, TimestampTz at)
{
	uint64		ms = (uint64) (at + UNIX_EPOCH_OFFSET_US) / 1000;

	for (int i = 0; i < 6; i++)
		uuid->data[i] = (unsigned char) (ms >> (40 - 8 * i));
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
