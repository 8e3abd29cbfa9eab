/*-------------------------------------------------------------------------
 *
 * account_lookup.c
 *		Reading an account, without its balance.
 *
 * idem_lookup_account(name, scope)
 *
 * It sees what a SELECT sees, waits for nobody, writes nothing, and works on a standby.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "utils/tuplestore.h"

#include "call.h"
#include "claim/settle.h"
#include "compat.h"
#include "ledger/account.h"

PG_FUNCTION_INFO_V1(idem_lookup_account);

/*
 * idem_lookup_account: an account, or no row.
 *
 * name: not NULL.  scope: NULL means the setting idempotency.scope.
 *
 * Errors: those of key_check_account(); ID403 if another role has opened it; 57014 of
 * settle(); 0A000 where no set can be returned.
 */
Datum
idem_lookup_account(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Key			name;
	Store		store;
	Unsettled	rows = {0};

	refusal_raise(key_check_account(ARG_TEXT(0), ARG_TEXT(1), &name));
	InitMaterializedSRF(fcinfo, 0);

	store_open(&store, TABLE_ACCOUNT);
	if (store_find_key(&store, &name))
	{
		Account		account;
		HeapTupleHeader row;
		HeapTupleData tuple;

		settle_note(&rows, store.slot);
		account_from_slot(&account, store.slot);
		refusal_raise(account_check_access(&account));
		row = DatumGetHeapTupleHeader(account_result(fcinfo, &account));
		tuple.t_len = HeapTupleHeaderGetDatumLength(row);
		tuple.t_data = row;
		tuplestore_puttuple(rsinfo->setResult, &tuple);
	}
	store_close(&store);
	settle(&rows);

	return (Datum) 0;
}
