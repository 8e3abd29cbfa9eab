/*-------------------------------------------------------------------------
 *
 * batch.h
 *		What calls with many items have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_BATCH_H
#define IDEM_BATCH_H

#include "fmgr.h"
#include "utils/palloc.h"
#include "utils/uuid.h"

#include "claim/settle.h"
#include "key.h"
#include "ledger/ledger.h"
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
	OperationArgs args;			/* what it asks for */
	BatchOutcome outcome;
	PaymentStatus status;		/* unless it failed and that is not stored */
	bool		refusal_is_stored;	/* it failed, and that is the key's
									 * answer, */
	bool		refusal_is_replay;	/* which it has got again */
	int			sqlstate;		/* why it failed; 0 if it has not */
	const char *message;		/* if it failed */
	const char *detail;			/* if it failed; may be NULL */
	pg_uuid_t	payment_id;		/* unless it failed */
} BatchItem;

/* A call with many items. */
typedef struct Batch
{
	int			nitems;
	BatchItem  *items;			/* in the order given */
	int			nsorted;
	BatchItem **sorted;			/* those with good arguments, in the order in
								 * which they are dealt with */
	Store		store;
	Ledger		ledger;			/* open, if an item has accounts */
	Unsettled	unsettled;		/* answers from other transactions */
	MemoryContext result_context;	/* for the whole call */
	MemoryContext portion_context;	/* for a portion */
	const char *last_message;	/* many items fail with the same message: one
								 * copy is kept */
} Batch;

/* Begin a batch.  The caller reads its items and opens the store. */
extern void batch_begin(Batch *batch, FunctionCallInfo fcinfo);

/*
 * Read the arguments of idem_pay_batch() into the batch's items.  Items with a
 * valid key, amount and metadata are sorted by key; the others have failed.
 *
 * Errors: 22004 if keys or amounts is NULL; 2202E if an array does not have one
 * element for each key; 42804 if metadatas is of a wrong type; 54000 if there are
 * too many items; 22023 and 22004 for the scope; 22021 of setting_text(); 25000 in a
 * parallel operation, if there are metadatas to be parsed.
 */
extern void batch_read_pays(Batch *batch, FunctionCallInfo fcinfo);

/*
 * Read the arguments of idem_capture_batch() or idem_refund_batch() (kind) in the
 * same way.  The items are sorted by payment, then by key.
 *
 * Errors: those of batch_read_pays(); 22004 also if payment_ids or final is NULL.
 */
extern void batch_read_followups(Batch *batch, FunctionCallInfo fcinfo,
								 OperationKind kind);

/* Answer an item from the operation that its key has already. */
extern void batch_answer_item(Batch *batch, BatchItem *item, const Operation *op);

/* Mark an item as failed, with the SQLSTATE, message and DETAIL of a refusal. */
extern void batch_refuse(Batch *batch, BatchItem *item, const Refusal *refusal);

/* The same with a refusal that its operation stores, and that each repeat gets. */
extern void batch_refuse_for_ever(Batch *batch, BatchItem *item, const Refusal *refusal,
								  const Operation *op);

/*
 * Mark an item as failed, with an error that was caught.  Raises the error if it is
 * not the item's own: see subtransaction_own_error().
 */
extern void batch_refuse_error(Batch *batch, BatchItem *item, ErrorData *error);

/*
 * May rows be refused by what an administrator put on the tables: a trigger, a CHECK, a
 * NOT NULL, an index?
 */
extern bool batch_may_refuse(Batch *batch);

/* End writing, so that triggers fire now. */
extern void batch_end_write(Batch *batch);

/*
 * Close the stores, settle what was answered, and return a row for each item, in the
 * order given.
 *
 * Errors: those of store_close() and settle().
 */
extern void batch_end(Batch *batch, FunctionCallInfo fcinfo);

#endif							/* IDEM_BATCH_H */
