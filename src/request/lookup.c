/*-------------------------------------------------------------------------
 *
 * lookup.c
 *		The function that only reads requests.
 *
 * idem_lookup_request(key, scope)
 *
 * It sees what a SELECT sees, does not wait for a key in flight, and writes
 * nothing.  The row that it returns is settled first (settle.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/tuplestore.h"

#include "call.h"
#include "claim/settle.h"
#include "key.h"
#include "request/row.h"
#include "table/catalog.h"

PG_FUNCTION_INFO_V1(idem_lookup_request);

/*
 * idem_lookup_request: what is known of a request, or no row.
 *
 * Errors: those of key_check(), request_open() and settle(); ID403 if the request
 * belongs to another role.
 */
Datum
idem_lookup_request(PG_FUNCTION_ARGS)
{
	/* the columns of idem_request, in their order */
	static const int columns[] = {
		Anum_request_key,
		Anum_request_status,
		Anum_request_attempt,
		Anum_request_response,
		Anum_request_checkpoint,
		Anum_request_checkpoint_data,
		Anum_request_lease_until,
		Anum_request_created_at,
		Anum_request_expires_at,
	};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Key			key;
	RequestClaim rc;
	Request		row;
	TupleTableSlot *slot;
	Unsettled	rows = {0};

	refusal_raise(key_check(ARG_TEXT(0), ARG_TEXT(1), &key));
	InitMaterializedSRF(fcinfo, 0);

	request_open(&rc, &key);
	if (request_look_up(&rc, &row, &slot))
	{
		Datum		values[lengthof(columns)];
		bool		nulls[lengthof(columns)];

		refusal_raise(request_check_access(&row));
		settle_note(&rows, slot);
		/* a purge may empty the table before the result is read */
		request_copy(&row, &row);
		for (int i = 0; i < lengthof(columns); i++)
		{
			values[i] = row.values[columns[i] - 1];
			nulls[i] = row.nulls[columns[i] - 1];
		}
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	request_close(&rc);
	settle(&rows);

	return (Datum) 0;
}
