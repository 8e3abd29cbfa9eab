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
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/palloc.h"
#include "utils/uuid.h"

#include "claim/settle.h"
#include "key.h"
#include "payment/operation.h"
#include "refusal.h"
#include "table/store.h"

/* What became of an item. */
typedef enum BatchOutcome
{
	OUTCOME_FAILED,
	OUTCOME_NEW,
	OUTCOME_REPLAYED
} BatchOutcome;

/* What one item asks for, and what became of it. */
typedef struct BatchItem
{
	Key			key;			/* key.key may be NULL: then it failed */
	Numeric		amount;			/* in the currency's major unit; may be NULL:
								 * then it failed */
	text	   *currency;		/* not NULL */
	bool		default_currency;	/* is it that of the setting? */
	text	   *reference;		/* may be NULL */
	Jsonb	   *metadata;		/* may be NULL */
	BatchOutcome outcome;
	PaymentStatus status;		/* unless it failed */
	int			sqlstate;		/* why it failed; 0 if it has not */
	const char *message;		/* if it failed */
	const char *detail;			/* if it failed; may be NULL */
	pg_uuid_t	payment_id;		/* unless it failed */
} BatchItem;

/* A call of idem_pay_batch(). */
typedef struct Batch
{
	int			nitems;
	BatchItem  *items;			/* in the order given */
	int			nsorted;
	BatchItem **sorted;			/* those with good arguments, by key */
	Store		store;
	Unsettled	unsettled;		/* answers from other transactions */
	MemoryContext result_context;	/* for the whole call */
	MemoryContext portion_context;	/* for a portion */
	const char *last_message;	/* many items fail with the same message: one
								 * copy is kept */
} Batch;

/*
 * Read the arguments of idem_pay_batch() into the batch's items.  Items with a
 * valid key, amount and metadata are sorted; the others have failed.
 *
 * Errors: 22004 if keys or amounts is NULL; 2202E if an array does not have one
 * element for each key; 42804 if metadatas is of a wrong type; 54000 if there are
 * too many items; 22023 for the scope; 22021 of setting_text(); 25000 in a parallel
 * operation, if there are metadatas to be parsed.
 */
extern void batch_read_items(Batch *batch, FunctionCallInfo fcinfo);

/* Mark an item as failed, with the SQLSTATE, message and DETAIL of a refusal. */
extern void batch_refuse(Batch *batch, BatchItem *item, const Refusal *refusal);

/*
 * Mark an item as failed, with an error that was caught.  Raises the error if it is
 * not the item's own: see subtransaction_own_error().
 */
extern void batch_refuse_error(Batch *batch, BatchItem *item, ErrorData *error);

#endif							/* IDEM_BATCH_H */
