/*-------------------------------------------------------------------------
 *
 * initprivs.c
 *		What the install script has granted, as pg_dump finds it.
 *
 * PostgreSQL keeps in pg_init_privs what an install script has granted.  A dump
 * has the differences from that: a GRANT for what was granted later, and a REVOKE
 * for what was revoked.
 *
 * Our script grants rights to the role that installs the extension.  Before
 * version 17, pg_init_privs keeps that role even after it is dropped.  Then pg_dump
 * writes a REVOKE from its former OID.  That fails in a restore, and all grants on
 * the same object fail with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_init_privs.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "rights/initprivs.h"

static bool remove_missing_roles(Acl *acl);
static bool role_is_missing(Oid role);

void
initprivs_forget_missing_roles(const ObjectAddress *object)
{
	Relation	rel = table_open(InitPrivsRelationId, RowExclusiveLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], Anum_pg_init_privs_objoid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(object->objectId));
	ScanKeyInit(&keys[1], Anum_pg_init_privs_classoid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(object->classId));
	scan = systable_beginscan(rel, InitPrivsObjIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[Natts_pg_init_privs] = {0};
		bool		nulls[Natts_pg_init_privs] = {false};
		bool		replace[Natts_pg_init_privs] = {false};
		bool		isnull;
		Acl		   *acl;

		acl = DatumGetAclPCopy(heap_getattr(tuple, Anum_pg_init_privs_initprivs,
											RelationGetDescr(rel), &isnull));
		if (!remove_missing_roles(acl))
			continue;
		values[Anum_pg_init_privs_initprivs - 1] = PointerGetDatum(acl);
		replace[Anum_pg_init_privs_initprivs - 1] = true;
		CatalogTupleUpdate(rel, &tuple->t_self,
						   heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls,
											 replace));
	}
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
}

/*
 * Remove the items from or to roles that do not exist.  Returns whether there were
 * some.
 */
static bool
remove_missing_roles(Acl *acl)
{
	AclItem    *items = ACL_DAT(acl);
	int			old_n = ACL_NUM(acl);
	int			n = 0;

	for (int i = 0; i < old_n; i++)
	{
		if (!role_is_missing(items[i].ai_grantee) && !role_is_missing(items[i].ai_grantor))
			items[n++] = items[i];
	}
	ARR_DIMS(acl)[0] = n;
	SET_VARSIZE(acl, ACL_N_SIZE(n));
	return n < old_n;
}

/*
 * Is this OID neither PUBLIC nor that of a role?
 */
static bool
role_is_missing(Oid role)
{
	return role != ACL_ID_PUBLIC &&
		!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role));
}
