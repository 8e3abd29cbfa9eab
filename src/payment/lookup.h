/*-------------------------------------------------------------------------
 *
 * lookup.h
 *		Finding the operation that has a payment's state now.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_LOOKUP_H
#define IDEM_LOOKUP_H

#include "payment/operation.h"
#include "table/store.h"

/*
 * A payment's newest operation that was not declined, into *op; its row is in
 * store->slot.  False: the scope has no such payment.
 *
 * store: open on the operations.
 */
extern bool lookup_newest(Store *store, const text *scope,
						  const pg_uuid_t *payment_id, Operation *op);

#endif							/* IDEM_LOOKUP_H */
