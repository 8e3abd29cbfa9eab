/*-------------------------------------------------------------------------
 *
 * lookup.c
 *		The functions that only read requests.
 *
 * idem_lookup_request(key, scope)
 * idem_abandoned(max, scope)
 *
 * They see what a SELECT sees, do not wait for a key in flight, and write nothing.  So
 * they work on a standby, too.  The rows that they return are settled first (settle.c).
 * At SERIALIZABLE they leave predicate locks, as "there is none" is an answer that
 * others may make untrue.
 *
 * A request is abandoned if its lease has lapsed, and it has not ended.  The index of
 * leases finds it: row.c says why there is hardly anything else in that index.  Each of
 * the three tables has its own, and we go through all three at a time.  A request that
 * was released is not abandoned: its worker has said that whoever asks for it again may
 * begin it at once.  A worker that wants to have it taken over lets the lease lapse.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "call.h"
#include "claim/settle.h"
#include "key.h"
#include "request/row.h"
#include "table/catalog.h"

PG_FUNCTION_INFO_V1(idem_lookup_request);
PG_FUNCTION_INFO_V1(idem_abandoned);

/* A search for abandoned requests. */
typedef struct Search
{
	Store		stores[N_REQUEST_TABLES];
	bool		found[N_REQUEST_TABLES];	/* is there a row in its slot? */
	text	   *scope;
	TimestampTz lease_now;
} Search;

static Store *first_lapsed(Search *search);
static bool is_abandoned(Search *search, Store *candidate, Request *row,
						 Unsettled *rows);
static void put_row(ReturnSetInfo *rsinfo, const Request *row, const int *columns,
					int n);

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
		Anum_request_begun_at,
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
		refusal_raise(request_check_access(&row));
		settle_note(&rows, slot);
		/* a purge may empty the table before the result is read */
		request_copy(&row, &row);
		put_row(rsinfo, &row, columns, lengthof(columns));
	}
	request_close(&rc);
	settle(&rows);

	return (Datum) 0;
}

/*
 * idem_abandoned: the requests of a scope whose leases have lapsed, and which the
 * current role may take over, in the order in which they lapsed.
 *
 * max: how many at most, above zero; not NULL.  scope: NULL means the setting
 * idempotency.scope.
 *
 * Errors: 22004 if max is NULL; 22023 if it is not above zero; those of
 * key_check_scope(), store_open(), store_find_lapsed(), request_open() and settle().
 */
Datum
idem_abandoned(PG_FUNCTION_ARGS)
{
	/* the columns of the result, in their order */
	static const int columns[] = {
		Anum_request_key,
		Anum_request_attempt,
		Anum_request_checkpoint,
		Anum_request_checkpoint_data,
		Anum_request_lease_until,
		Anum_request_begun_at,
	};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "idempotency abandoned",
													  ALLOCSET_DEFAULT_SIZES);
	Search		search = {.lease_now = GetCurrentTimestamp()};
	Unsettled	rows = {0};
	Store	   *candidate;
	int			n = 0;

	call_not_null(ARG_IS_NULL(0), "max");
	if (PG_GETARG_INT32(0) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max must be greater than zero")));
	refusal_raise(key_check_scope(ARG_TEXT(1), &search.scope));
	InitMaterializedSRF(fcinfo, 0);

	for (int i = 0; i < N_REQUEST_TABLES; i++)
	{
		store_open(&search.stores[i], catalog_request_tables[i]);
		search.found[i] = store_find_lapsed(&search.stores[i], search.scope,
											search.lease_now);
	}
	while (n < PG_GETARG_INT32(0) && (candidate = first_lapsed(&search)))
	{
		MemoryContext old_context = MemoryContextSwitchTo(row_context);
		Request		row;

		CHECK_FOR_INTERRUPTS();
		if (is_abandoned(&search, candidate, &row, &rows))
		{
			put_row(rsinfo, &row, columns, lengthof(columns));
			n++;
		}
		search.found[candidate - search.stores] = store_find_next(candidate);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(row_context);
	}
	for (int i = 0; i < N_REQUEST_TABLES; i++)
		store_close(&search.stores[i]);
	settle(&rows);

	return (Datum) 0;
}

/*
 * The table with the row whose lease lapsed first; NULL if there are no more.
 */
static Store *
first_lapsed(Search *search)
{
	Store	   *first = NULL;

	for (int i = 0; i < N_REQUEST_TABLES; i++)
	{
		Store	   *store = &search->stores[i];

		if (search->found[i] &&
			(first == NULL ||
			 DatumGetTimestampTz(store_get(store, Anum_request_lease_until)) <
			 DatumGetTimestampTz(store_get(first, Anum_request_lease_until))))
			first = store;
	}
	return first;
}

/*
 * Is the row found in a table the newest of its request, and may the current role take
 * that over?  *row: a copy of it.  *rows: it is noted there.
 */
static bool
is_abandoned(Search *search, Store *candidate, Request *row, Unsettled *rows)
{
	Key			key = {
		.scope = search->scope,
		.key = DatumGetTextPP(store_get(candidate, Anum_request_key)),
	};
	int			seq = DatumGetInt32(store_get(candidate, Anum_request_seq));
	RequestClaim rc;
	TupleTableSlot *slot;
	bool		abandoned;

	request_open(&rc, &key);
	abandoned = request_look_up(&rc, row, &slot) &&
		DatumGetInt32(request_value(row, seq)) == seq &&
		request_is(row, REQUEST_STARTED) && request_check_access(row) == NULL;
	if (abandoned)
	{
		settle_note(rows, slot);
		request_copy(row, row);
	}
	request_close(&rc);
	return abandoned;
}

/*
 * Add n columns of a row to the result.
 */
static void
put_row(ReturnSetInfo *rsinfo, const Request *row, const int *columns, int n)
{
	Datum		values[Natts_request];
	bool		nulls[Natts_request];

	for (int i = 0; i < n; i++)
	{
		values[i] = row->values[columns[i] - 1];
		nulls[i] = row->nulls[columns[i] - 1];
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}
