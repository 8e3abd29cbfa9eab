/*-------------------------------------------------------------------------
 *
 * list.c
 *		The payments of a scope, page by page.
 *
 * idem_payments(since, until, after, max, scope)
 *
 * A payment's id begins with the time when it was started.  So the primary key
 * (scope, payment_id, seq) has the payments of a scope in the order of time.  For
 * each payment, we go down that index twice:
 *
 * 1.	To the first id after the one before.  The row there is the payment's first
 *		operation.  It has the time when the payment was started.
 * 2.	To the end of that payment, and back over operations that were declined.
 *
 * So other operations are not read, however many a payment has.  Nor is any row of a
 * payment after the page.
 *
 * Ids are compared by their milliseconds, then created_at is compared to the
 * microsecond.
 *
 * Payments that the caller may not see are passed over, and do not count.  Only the
 * range of time bounds how many those are.  All memory is freed with each payment.
 *
 * The functions of lookup.c read in the same way: what a SELECT sees, settled before
 * it is returned.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "call.h"
#include "claim/settle.h"
#include "key.h"
#include "payment/lookup.h"
#include "payment/operation.h"
#include "payment/receipt.h"
#include "payment/uuid7.h"
#include "table/store.h"

PG_FUNCTION_INFO_V1(idem_payments);

/* the most payments of a page */
#define PAGE_MAX	1000

/* A page of payments. */
typedef struct PaymentPage
{
	text	   *scope;
	TimestampTz since;			/* the payments from here on */
	TimestampTz until;			/* and before here */
	int			max;			/* so many at most */
	pg_uuid_t	id;				/* where to go on: not before this id */
	bool		after;			/* or, if true, after it */
	pg_uuid_t	last;			/* and not beyond this one */
	Store		store;
	Unsettled	unsettled;
} PaymentPage;

static bool read_arguments(PaymentPage *page, FunctionCallInfo fcinfo);
static bool put_payment(PaymentPage *page, FunctionCallInfo fcinfo);

/*
 * idem_payments: the newest operation of each payment, with the payment's state now,
 * in the order in which the payments were started.
 *
 * since, until: NULL means no bound.  after: the id to go on after, which need not
 * be a payment's; NULL means from the start.  max: not NULL.  scope: NULL means the
 * setting idempotency.scope.
 *
 * Errors: 22004 if max is NULL; 22023 if it is not from 1 to PAGE_MAX; 22023 and
 * 22021 of key_check_scope(); 57014 of settle(); 0A000 where no set can be returned;
 * 55000 of receipt_make_now().
 */
Datum
idem_payments(PG_FUNCTION_ARGS)
{
	PaymentPage page;
	MemoryContext row_context;
	MemoryContext old_context;
	int			n = 0;

	if (!read_arguments(&page, fcinfo))
		page.max = 0;
	InitMaterializedSRF(fcinfo, 0);

	row_context = AllocSetContextCreate(CurrentMemoryContext,
										"idempotency payments",
										ALLOCSET_DEFAULT_SIZES);
	store_open(&page.store, TABLE_OPERATION);
	while (n < page.max &&
		   store_find_payments(&page.store, page.scope, &page.id, page.after, &page.last))
	{
		CHECK_FOR_INTERRUPTS();
		old_context = MemoryContextSwitchTo(row_context);
		if (put_payment(&page, fcinfo))
			n++;
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(row_context);
	}
	store_close(&page.store);
	settle(&page.unsettled);
	MemoryContextDelete(row_context);

	return (Datum) 0;
}

/*
 * Read the arguments.  False: there can be no such payment.
 */
static bool
read_arguments(PaymentPage *page, FunctionCallInfo fcinfo)
{
	pg_uuid_t  *after = ARG_UUID(2);
	bool		any;

	call_not_null(ARG_IS_NULL(3), "max");
	page->max = PG_GETARG_INT32(3);
	if (page->max < 1 || page->max > PAGE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max must be between 1 and %d", PAGE_MAX)));
	refusal_raise(key_check_scope(ARG_TEXT(4), &page->scope));

	page->since = ARG_IS_NULL(0) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(0);
	page->until = ARG_IS_NULL(1) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(1);
	page->unsettled = (Unsettled) {0};
	any = uuid7_range(page->since, page->until, &page->id, &page->last);
	page->after = any && after && memcmp(after, &page->id, UUID_LEN) >= 0;
	if (page->after)
		page->id = *after;
	return any;
}

/*
 * Put the payment whose first operation has just been found into the result, if the
 * page is to have it.  Go on after it.
 */
static bool
put_payment(PaymentPage *page, FunctionCallInfo fcinfo)
{
	Operation	op;
	TimestampTz started;

	operation_from_slot(&op, page->store.slot);
	page->id = *DatumGetUUIDP(operation_value(&op, payment_id));
	page->after = true;
	started = DatumGetTimestampTz(operation_value(&op, created_at));
	if (started < page->since || started >= page->until ||
		operation_is(&op, OPERATION_CANCEL))
		return false;

	if (!lookup_newest(&page->store, page->scope, &page->id, &op) ||
		operation_check_payment_access(&op) != NULL)
		return false;
	settle_note(&page->unsettled, page->store.slot);
	receipt_put((ReturnSetInfo *) fcinfo->resultinfo, receipt_make_now(fcinfo, &op));
	return true;
}
