/*-------------------------------------------------------------------------
 *
 * subscription.c
 *		Refusing entries where they still come by logical replication.
 *
 * Entries arrive at a subscriber in the order of their commits, and not in that of their
 * numbers.  So an entry that is inserted there could have in its base what is not there
 * yet, for ever.  Before a subscriber takes payments, it must have all that the publisher
 * has, and its subscription must be dropped or disabled.
 *
 * A session looks once, and again after a subscription was created or changed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_subscription.h"
#include "catalog/pg_subscription_rel.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "errors.h"
#include "ledger/subscription.h"
#include "table/catalog.h"

/* The table that was checked last, and has no subscription; or InvalidOid. */
static Oid	checked = InvalidOid;

static void forget(Datum arg, int cacheid, uint32 hashvalue);
static void check_one(Oid subscription, Relation heap);

void
subscription_check(Relation heap)
{
	static bool callback_registered = false;
	Relation	list;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	if (checked == RelationGetRelid(heap))
		return;
	if (!callback_registered)
	{
		CacheRegisterSyscacheCallback(SUBSCRIPTIONOID, forget, (Datum) 0);
		CacheRegisterSyscacheCallback(SUBSCRIPTIONRELMAP, forget, (Datum) 0);
		callback_registered = true;
	}

	list = table_open(SubscriptionRelRelationId, AccessShareLock);
	checked = RelationGetRelid(heap);
	ScanKeyInit(&key, Anum_pg_subscription_rel_srrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationGetRelid(heap)));
	scan = systable_beginscan(list, InvalidOid, false, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		check_one(((Form_pg_subscription_rel) GETSTRUCT(tuple))->srsubid, heap);
	systable_endscan(scan);
	table_close(list, AccessShareLock);
}

/*
 * A subscription has changed: look again.
 */
static void
forget(Datum arg, int cacheid, uint32 hashvalue)
{
	checked = InvalidOid;
}

/*
 * Raise an error if this subscription of the table is enabled.
 */
static void
check_one(Oid subscription, Relation heap)
{
	HeapTuple	tuple = SearchSysCache1(SUBSCRIPTIONOID, ObjectIdGetDatum(subscription));
	Form_pg_subscription form;

	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_subscription) GETSTRUCT(tuple);
	if (form->subenabled)
	{
		checked = InvalidOid;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is written to by a subscription",
						IDEM_SCHEMA, RelationGetRelationName(heap)),
				 errdetail("Subscription \"%s\" may still bring entries of the publisher.",
						   NameStr(form->subname)),
				 errhint("Disable or drop the subscription when it has brought all of them.")));
	}
	ReleaseSysCache(tuple);
}
