/*-------------------------------------------------------------------------
 *
 * batch.h
 *		Many payments in one call.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_BATCH_H
#define IDEM_BATCH_H

#include "fmgr.h"
#include "utils/numeric.h"
#include "utils/palloc.h"
#include "utils/uuid.h"

#include "claim/settle.h"
#include "key.h"
#include "payment/operation.h"
#include "refusal.h"
#include "table/store.h"

typedef enum BatchOutcome
{
	OUTCOME_FAILED,
	OUTCOME_NEW,
	OUTCOME_REPLAYED
} BatchOutcome;

/* What one item asks for, and what became of it. */
typedef struct BatchItem
{
	Key			key;
	Numeric		amount;
	text	   *currency;
	text	   *reference;
	BatchOutcome outcome;
	PaymentStatus status;		/* unless it failed */
	int			sqlstate;		/* why it failed; 0 if it did not */
	const char *message;
	const char *detail;			/* may be NULL */
	pg_uuid_t	payment_id;		/* unless it failed */
} BatchItem;

/* All items. */
typedef struct Batch
{
	int			nitems;
	BatchItem  *items;			/* in the order given */
	int			nsorted;
	BatchItem **sorted;			/* those with a good key and amount, by key */
	Store		store;
	Unsettled	unsettled;		/* answers from other transactions */
	MemoryContext result_context;	/* for the whole call */
	MemoryContext portion_context;	/* for a portion */
	const char *last_message;	/* shared, as most fail for the same reason */
} Batch;

/*
 * Read the arguments of idem_pay_batch() into the batch's items, and sort those
 * that have a good key and a good amount.  The others have failed.
 *
 * Errors: 22004 if keys or amounts is NULL; 2202E if the arrays do not match;
 * 54000 for too many items; 22023 for the scope.
 */
extern void batch_read_items(Batch *batch, FunctionCallInfo fcinfo);

/* Let an item fail. */
extern void batch_refuse(Batch *batch, BatchItem *item, const Refusal *refusal);

#endif							/* IDEM_BATCH_H */
