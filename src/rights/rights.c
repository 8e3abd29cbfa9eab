/*-------------------------------------------------------------------------
 *
 * rights.c
 *		Giving roles their rights on the extension, and taking them back.
 *
 * idem_grant(role, kind)
 * idem_revoke(role)
 * idem_set_rights(installer), for the install script
 *
 * PostgreSQL keeps with each right the role that gave it, and a dump has that role
 * give it again.  In another database, that role may have nothing to give, and the
 * restore fails.  So idem_grant() gives a right in the name of the owner of the
 * function, table or schema.  Then pg_dump writes a plain GRANT, which everybody
 * who may restore can execute.
 *
 * The schema of the functions is not ours.  USAGE on it is given in the caller's
 * name.
 *
 * The owner is a superuser, even if another role has installed the extension.  So
 * a caller must not gain anything by acting in the owner's name:
 *
 * - The caller must have the grant option on each object, or the privileges of the
 *   database's owner.  Only the current role counts.  The role of the session may
 *   be a superuser who has called a function of the caller's.
 *
 * - The objects are members of the extension that belong to the owner of the called
 *   function.  Names prove nothing: the role that installed the extension can add
 *   functions and tables of its own to it, but remains their owner.
 *
 * - Only GRANT and REVOKE run in the owner's name: see grant.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "call.h"
#include "compat.h"
#include "rights/grant.h"
#include "rights/initprivs.h"
#include "table/catalog.h"

PG_FUNCTION_INFO_V1(idem_grant);
PG_FUNCTION_INFO_V1(idem_revoke);
PG_FUNCTION_INFO_V1(idem_set_rights);

/* What a role is for. */
typedef enum RightsKind
{
	RIGHTS_APPLICATION,			/* payments and requests */
	RIGHTS_MAINTENANCE,			/* idem_expire(), idem_purge(),
								 * idem_stat_reset() */
	RIGHTS_AUDITOR,				/* reading payments and accounts, and
								 * idem_check() */
	RIGHTS_MONITOR				/* counters, and who works on what */
} RightsKind;

/* The words for the kinds, as idem_grant() takes them. */
static const char *const rights_kind_names[] = {
	[RIGHTS_APPLICATION] = "application",
	[RIGHTS_MAINTENANCE] = "maintenance",
	[RIGHTS_AUDITOR] = "auditor",
	[RIGHTS_MONITOR] = "monitor",
};

/* A right: EXECUTE on a function, SELECT on a table or view, USAGE on a schema. */
typedef struct Right
{
	RightsKind	kind;
	Oid			classid;
	const char *name;			/* of a function: all of that name */
} Right;

/* What idem_grant() gives for each kind. */
static const Right rights[] = {
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_abandoned"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_account_change"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_account_open"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_authorize"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_balance"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_begin"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_cancel"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_capture"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_capture_batch"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_checkpoint"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_complete"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_execute"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_fail"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_history"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_lookup"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_lookup_account"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_lookup_request"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_pay"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_pay_batch"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_payment"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_payments"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_post"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_refund"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_refund_batch"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_increase"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_release"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_renew"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_statement"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_void"},
	{RIGHTS_MAINTENANCE, ProcedureRelationId, "idem_expire"},
	{RIGHTS_MAINTENANCE, ProcedureRelationId, "idem_purge"},
	{RIGHTS_MAINTENANCE, ProcedureRelationId, "idem_stat_reset"},
	/* idem_check() needs its caller's rights on the tables */
	{RIGHTS_AUDITOR, ProcedureRelationId, "entry_balance"},
	{RIGHTS_AUDITOR, ProcedureRelationId, "idem_check"},
	{RIGHTS_AUDITOR, NamespaceRelationId, IDEM_SCHEMA},
	{RIGHTS_AUDITOR, RelationRelationId, "account"},
	{RIGHTS_AUDITOR, RelationRelationId, "account_balance"},
	{RIGHTS_AUDITOR, RelationRelationId, "account_entry"},
	{RIGHTS_AUDITOR, RelationRelationId, "entry"},
	{RIGHTS_AUDITOR, RelationRelationId, "hold"},
	{RIGHTS_AUDITOR, RelationRelationId, "movement"},
	{RIGHTS_AUDITOR, RelationRelationId, "operation"},
	{RIGHTS_AUDITOR, RelationRelationId, "payment"},
	{RIGHTS_MONITOR, ProcedureRelationId, "session_keys"},
	{RIGHTS_MONITOR, ProcedureRelationId, "stat_counters"},
	{RIGHTS_MONITOR, ProcedureRelationId, "worker_run"},
	{RIGHTS_MONITOR, NamespaceRelationId, IDEM_SCHEMA},
	{RIGHTS_MONITOR, RelationRelationId, "activity"},
	{RIGHTS_MONITOR, RelationRelationId, "stat"},
};

static void set_rights_on_function(const GrantObject *object, Oid installer);
static void grant_to_database_owner(const GrantObject *object, AclMode privileges);
static Oid	role_argument(FunctionCallInfo fcinfo, int n);
static RightsKind kind_by_name(const char *name);
static List *find_members(Oid called_function);
static Oid	lock_extension(Oid called_function);
static List *select_objects(List *members, RightsKind kind);
static int	find_right(const GrantObject *object, RightsKind kind);
static void check_may_give(const GrantObject *object);
static bool may_give(const GrantObject *object, AclMode privileges);
static void open_schema(Oid schema, Oid role);
static void take_duplicates(const GrantObject *object, Oid role);
static void take_all(const GrantObject *object, Oid role);
static AclMode rights_of_installer(const GrantObject *object, Oid installer);
static Oid	database_owner(void);
static void forget_missing_roles(List *members);

/*
 * idem_grant: give a role the rights of a kind, and USAGE on the schema of the
 * functions.
 *
 * role: not NULL.  kind: NULL means "application".
 *
 * Errors: 22004 if the role is NULL; 42704 if it does not exist; 22023 if there is
 * no such kind; 42501 if the caller may not give the rights; 25000 in a parallel
 * operation; 25006 in a read-only transaction or on a standby; 55000 if an object is missing that the kind has
 * rights on.
 */
Datum
idem_grant(PG_FUNCTION_ARGS)
{
	Oid			self = fcinfo->flinfo->fn_oid;
	Oid			role = role_argument(fcinfo, 0);
	RightsKind	kind = RIGHTS_APPLICATION;
	List	   *members;
	List	   *objects;
	ListCell   *lc;

	if (!PG_ARGISNULL(1))
		kind = kind_by_name(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PreventCommandIfParallelMode("idem_grant()");
	PreventCommandIfReadOnly("idem_grant()");
	PreventCommandDuringRecovery("idem_grant()");

	members = find_members(self);
	objects = select_objects(members, kind);
	foreach(lc, objects)
		check_may_give(lfirst(lc));

	open_schema(get_func_namespace(self), role);
	foreach(lc, objects)
	{
		GrantObject *object = lfirst(lc);

		grant_run(object->owner, GRANT_PLAIN, object, grant_usual_right(object), role);
		take_duplicates(object, role);
	}
	forget_missing_roles(members);
	PG_RETURN_VOID();
}

/*
 * idem_revoke: revoke a role's rights on the objects of the extension, whoever gave
 * them.
 *
 * Two things stay: USAGE on the schema of the functions, and what the role has only
 * on single columns.
 *
 * role: not NULL.
 *
 * Errors: 22004 if the role is NULL; 42704 if it does not exist; 42501 if the
 * caller may not revoke a right; 2BP01 if the role has granted one to others; 0LP01
 * if a right cannot be revoked in the name of the role that gave it; 25000 in a
 * parallel operation; 25006 in a read-only transaction or on a standby; 55000 of find_members().
 */
Datum
idem_revoke(PG_FUNCTION_ARGS)
{
	Oid			role = role_argument(fcinfo, 0);
	List	   *members;
	ListCell   *lc;

	PreventCommandIfParallelMode("idem_revoke()");
	PreventCommandIfReadOnly("idem_revoke()");
	PreventCommandDuringRecovery("idem_revoke()");

	members = find_members(fcinfo->flinfo->fn_oid);
	foreach(lc, members)
		take_all(lfirst(lc), role);
	forget_missing_roles(members);
	PG_RETURN_VOID();
}

/*
 * idempotency.set_rights(installer), for the end of the install script: give the
 * rights on functions, and the rights of the database's owner.
 *
 * PUBLIC gets no function.  The installer gets the functions outside our own
 * schema, which are for users, and may grant them to others.
 *
 * The owner of the database gets the installer's rights, except the INSERT that is
 * only for restoring.  The reason: a dump does not contain what an install script
 * grants.  If a superuser restores it, that superuser is the installer.
 *
 * Today's owner gets these rights by name and with the grant options, so that a
 * dump with GRANTs of this owner restores.  An owner that is a superuser needs none.
 *
 * pg_database_owner gets them for later owners, without the grant options.  With
 * them, later owners would grant in the name of pg_database_owner.  Only a
 * superuser can restore such grants, and not always.
 *
 * A script that updates the extension must not call this.  PostgreSQL would take
 * everything in the ACLs for granted by that script, and leave it out of dumps.
 *
 * Errors: 22004 if the installer is NULL; 42704 if it does not exist; 55000 of
 * find_members().
 */
Datum
idem_set_rights(PG_FUNCTION_ARGS)
{
	Oid			installer = role_argument(fcinfo, 0);
	List	   *members = find_members(fcinfo->flinfo->fn_oid);
	ListCell   *lc;

	foreach(lc, members)
	{
		GrantObject *object = lfirst(lc);

		if (object->address.classId == ProcedureRelationId)
			set_rights_on_function(object, installer);
		grant_to_database_owner(object, rights_of_installer(object, installer));
	}
	PG_RETURN_VOID();
}

/*
 * Revoke EXECUTE on a function from PUBLIC, and grant it to the installer if the
 * function is for users.
 */
static void
set_rights_on_function(const GrantObject *object, Oid installer)
{
	Oid			schema = get_object_namespace(&object->address);

	grant_run(object->owner, GRANT_REVOKE, object, ACL_EXECUTE, ACL_ID_PUBLIC);
	if (strcmp(get_namespace_name(schema), IDEM_SCHEMA) != 0)
		grant_run(object->owner, GRANT_WITH_OPTION, object, ACL_EXECUTE, installer);
}

/*
 * Give today's owner of the database, and later ones, rights on an object.
 */
static void
grant_to_database_owner(const GrantObject *object, AclMode privileges)
{
	if (privileges == ACL_NO_RIGHTS)
		return;
	grant_run(object->owner, GRANT_PLAIN, object, privileges, ROLE_PG_DATABASE_OWNER);
	if (!superuser_arg(database_owner()))
		grant_run(object->owner, GRANT_WITH_OPTION, object, privileges,
				  database_owner());
}

/*
 * The role in an argument.
 *
 * Errors: 22004 if it is NULL; 42704 if it does not exist.
 */
static Oid
role_argument(FunctionCallInfo fcinfo, int n)
{
	Oid			role;

	call_not_null(PG_ARGISNULL(n), "role");
	role = PG_GETARG_OID(n);
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role with OID %u does not exist", role)));
	return role;
}

/*
 * The kind with this name.
 *
 * Error: 22023 if there is none.
 */
static RightsKind
kind_by_name(const char *name)
{
	for (int i = 0; i < lengthof(rights_kind_names); i++)
	{
		if (strcmp(name, rights_kind_names[i]) == 0)
			return i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized kind of rights: \"%s\"", name),
			 errhint("Valid kinds are \"application\", \"maintenance\", \"auditor\" and \"monitor\".")));
}

/*
 * The members of the extension that belong to the owner of the called function, as
 * a list of GrantObject.  The extension is locked.
 *
 * Error: 55000 if the called function is no member of an extension.
 */
static List *
find_members(Oid called_function)
{
	Oid			extension = lock_extension(called_function);
	ObjectAddress address;
	GrantObject self;
	List	   *members = NIL;
	Relation	depend;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ObjectAddressSet(address, ProcedureRelationId, called_function);
	if (!grant_look_up(&address, &self))
		elog(ERROR, "cache lookup failed for function %u", called_function);

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	depend = table_open(DependRelationId, AccessShareLock);
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);
		GrantObject *member = palloc(sizeof(GrantObject));

		ObjectAddressSet(address, form->classid, form->objid);
		if (form->deptype == DEPENDENCY_EXTENSION && grant_look_up(&address, member) &&
			member->owner == self.owner)
			members = lappend(members, member);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return members;
}

/*
 * The extension of the called function, locked to the end of the transaction.  So
 * two calls take turns.  Otherwise both could change the same ACL, and one of them
 * would fail.
 */
static Oid
lock_extension(Oid called_function)
{
	Oid			extension = getExtensionOfObject(ProcedureRelationId, called_function);

	if (!OidIsValid(extension))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("function %s does not belong to an extension",
						format_procedure(called_function))));
	LockDatabaseObject(ExtensionRelationId, extension, 0, ShareUpdateExclusiveLock);
	return extension;
}

/*
 * The members that a kind has rights on.
 *
 * Error: 55000 if one is missing.  Otherwise a role could get a part of its rights,
 * and nobody would notice.
 */
static List *
select_objects(List *members, RightsKind kind)
{
	List	   *objects = NIL;
	bool		found[lengthof(rights)] = {false};
	ListCell   *lc;

	foreach(lc, members)
	{
		int			right = find_right(lfirst(lc), kind);

		if (right < 0)
			continue;
		found[right] = true;
		objects = lappend(objects, lfirst(lc));
	}
	for (int i = 0; i < lengthof(rights); i++)
	{
		if (rights[i].kind == kind && !found[i])
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("could not find \"%s\" among the objects of the extension",
							rights[i].name),
					 errdetail("Rights are granted only on objects that belong to the extension and to the owner of idem_grant()."),
					 errhint("Undo the command that changed the object.")));
	}
	return objects;
}

/*
 * The index in rights[] of a kind's right on this object, or -1.
 */
static int
find_right(const GrantObject *object, RightsKind kind)
{
	for (int i = 0; i < lengthof(rights); i++)
	{
		if (rights[i].kind == kind && rights[i].classid == object->address.classId &&
			strcmp(rights[i].name, object->name) == 0)
			return i;
	}
	return -1;
}

/*
 * Raise 42501 if the caller may not give the right to use an object.
 */
static void
check_may_give(const GrantObject *object)
{
	if (!may_give(object, grant_usual_right(object)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to grant rights on the extension"),
				 errdetail("The caller may not grant rights on %s.",
						   getObjectDescription(&object->address, false)),
				 errhint("Ask the owner of the database or a superuser to call idem_grant().")));
}

/*
 * May the caller give these rights in the owner's name?  It needs the grant options
 * or the privileges of the database's owner.
 */
static bool
may_give(const GrantObject *object, AclMode privileges)
{
	return grant_has_options(object, privileges) ||
		has_privs_of_role(GetUserId(), ROLE_PG_DATABASE_OWNER);
}

/*
 * Give USAGE on the schema of the functions, if the role lacks it.  The schema is
 * not ours, so this is done in the caller's name.
 *
 * Error: 42501 if the caller may not give it.
 */
static void
open_schema(Oid schema, Oid role)
{
	ObjectAddress address;
	GrantObject object;

	if (compat_aclcheck(NamespaceRelationId, schema, role, ACL_USAGE) == ACLCHECK_OK)
		return;
	ObjectAddressSet(address, NamespaceRelationId, schema);
	if (!grant_look_up(&address, &object))
		elog(ERROR, "cache lookup failed for schema %u", schema);
	if (!grant_has_options(&object, ACL_USAGE))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema %s", object.name),
				 errhint("The owner of the schema must first run GRANT USAGE ON SCHEMA %s TO %s.",
						 quote_identifier(object.name),
						 quote_identifier(GetUserNameFromId(role, false)))));
	grant_run(GetUserId(), GRANT_PLAIN, &object, ACL_USAGE, role);
}

/*
 * Revoke the same right where other roles gave it: the role has it from the owner
 * now.  Such a right is left by a restore, which gives it in the name of the role
 * that restores.
 */
static void
take_duplicates(const GrantObject *object, Oid role)
{
	AclItem    *items;
	int			n = grant_read(object, role, &items);

	for (int i = 0; i < n; i++)
	{
		Oid			giver = items[i].ai_grantor;

		if (giver != object->owner && ACLITEM_GET_PRIVS(items[i]) == grant_usual_right(object) &&
			ACLITEM_GET_GOPTIONS(items[i]) == ACL_NO_RIGHTS &&
			has_privs_of_role(GetUserId(), giver) && grant_can_name(object, giver))
			grant_run(giver, GRANT_REVOKE, object, ACL_NO_RIGHTS, role);
	}
}

/*
 * Revoke all rights of a role on an object.
 *
 * The caller needs the privileges of each role that gave some.  What idem_grant()
 * gave is in the owner's name and without grant option.  Whoever may give that may
 * revoke it, too.
 *
 * Errors: 42501; 2BP01; 0LP01.
 */
static void
take_all(const GrantObject *object, Oid role)
{
	AclItem    *items;
	int			n = grant_read(object, role, &items);

	if (role == object->owner)
		return;
	for (int i = 0; i < n; i++)
	{
		Oid			giver = items[i].ai_grantor;

		if (!has_privs_of_role(GetUserId(), giver) &&
			!(giver == object->owner && ACLITEM_GET_GOPTIONS(items[i]) == ACL_NO_RIGHTS &&
			  may_give(object, ACLITEM_GET_PRIVS(items[i]))))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to revoke rights granted by role \"%s\"",
							GetUserNameFromId(giver, false)),
					 errdetail("The role granted rights on %s.",
							   getObjectDescription(&object->address, false)),
					 errhint("Ask that role or a superuser to call idem_revoke().")));
		if (grant_can_name(object, giver))
			grant_run(giver, GRANT_REVOKE, object, ACL_NO_RIGHTS, role);
	}

	/*
	 * Something is left if its giver cannot name the object.  So it is if the
	 * giver has become a superuser: a superuser revokes as the owner.
	 */
	if (grant_read(object, role, &items) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_GRANT_OPERATION),
				 errmsg("could not revoke rights granted by role \"%s\"",
						GetUserNameFromId(items[0].ai_grantor, false)),
				 errdetail("The role granted rights on %s.",
						   getObjectDescription(&object->address, false)),
				 errhint("Revoke the grant option of that role with CASCADE.")));
}

/*
 * The rights on an object that the install script gave the installer with the grant
 * option, without an INSERT that is only for restoring.
 *
 * An installer that is a superuser is the owner, and has more rights.  But only
 * those of the script have the grant option in the ACL.
 */
static AclMode
rights_of_installer(const GrantObject *object, Oid installer)
{
	AclItem    *items;
	int			n = grant_read(object, installer, &items);
	AclMode		privileges = ACL_NO_RIGHTS;

	for (int i = 0; i < n; i++)
		privileges |= ACLITEM_GET_GOPTIONS(items[i]);

	/* INSERT without UPDATE is for restoring, which the installer does */
	if ((privileges & ACL_UPDATE) == 0)
		privileges &= ~ACL_INSERT;
	return privileges;
}

/*
 * The role that owns the database.
 */
static Oid
database_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for database %u", MyDatabaseId);
	owner = ((Form_pg_database) GETSTRUCT(tuple))->datdba;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * Call initprivs_forget_missing_roles() for all members, so that dumps restore.
 */
static void
forget_missing_roles(List *members)
{
	ListCell   *lc;

	foreach(lc, members)
		initprivs_forget_missing_roles(&((GrantObject *) lfirst(lc))->address);
}
