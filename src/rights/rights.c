/*-------------------------------------------------------------------------
 *
 * rights.c
 *		Giving roles their rights on the extension, and taking them back.
 *
 * idem_grant(role, kind)
 * idem_revoke(role)
 * idem_set_rights(installer), for the install script
 *
 * PostgreSQL notes with each right which role gave it, and pg_dump has the same
 * role give it again.  In another database that role may have nothing to give,
 * and then the restore fails.  So a right is given here in the name of the owner
 * of the function, table or schema.  pg_dump then writes a plain GRANT, which
 * everybody who may restore can carry out.
 *
 * (USAGE on the schema of the functions is given in the caller's name: the schema
 * is not ours.)
 *
 * The owner is a superuser, also where a role without superuser rights has
 * installed the extension.  So a caller must not get by that what he could not
 * have without it:
 *
 * - He must hold the grant option on each object, or own the database.  Only the
 *   current role counts.  The session's role may be a superuser who has called
 *   some function of the caller's.
 *
 * - Objects are members of the extension that belong to the owner of the called
 *   function.  Names prove nothing: who has installed the extension can add
 *   functions and tables of his own to it, and these are his.
 *
 * - Nothing but GRANT and REVOKE runs in the owner's name: see grant.c.
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
#include "table/catalog.h"
#include "compat.h"
#include "rights/grant.h"
#include "rights/initprivs.h"

PG_FUNCTION_INFO_V1(idem_grant);
PG_FUNCTION_INFO_V1(idem_revoke);
PG_FUNCTION_INFO_V1(idem_set_rights);

/* What a role is there for. */
typedef enum RightsKind
{
	RIGHTS_APPLICATION,
	RIGHTS_MAINTENANCE,
	RIGHTS_AUDITOR
} RightsKind;

static const char *const kind_names[] = {
	[RIGHTS_APPLICATION] = "application",
	[RIGHTS_MAINTENANCE] = "maintenance",
	[RIGHTS_AUDITOR] = "auditor",
};

/* A right: EXECUTE on a function, SELECT on a table or view, USAGE on a schema. */
typedef struct Right
{
	RightsKind	kind;
	Oid			classid;
	const char *name;			/* all functions that have it */
} Right;

static const Right rights[] = {
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_authorize"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_begin"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_cancel"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_capture"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_checkpoint"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_complete"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_execute"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_fail"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_history"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_lookup"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_lookup_request"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_pay"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_pay_batch"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_payment"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_refund"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_release"},
	{RIGHTS_APPLICATION, ProcedureRelationId, "idem_void"},
	{RIGHTS_MAINTENANCE, ProcedureRelationId, "idem_expire"},
	{RIGHTS_MAINTENANCE, ProcedureRelationId, "idem_purge"},
	/* idem_check() reads with the rights of its caller */
	{RIGHTS_AUDITOR, ProcedureRelationId, "idem_check"},
	{RIGHTS_AUDITOR, NamespaceRelationId, IDEM_SCHEMA},
	{RIGHTS_AUDITOR, RelationRelationId, "hold"},
	{RIGHTS_AUDITOR, RelationRelationId, "operation"},
	{RIGHTS_AUDITOR, RelationRelationId, "payment"},
};

static void set_rights_on_function(const GrantObject *object, Oid installer);
static void grant_to_database_owner(const GrantObject *object, AclMode privileges);
static Oid	check_role(FunctionCallInfo fcinfo, int n);
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
 * idem_grant: give a role the rights of a kind; if the kind is NULL, those of an
 * application.
 *
 * Errors: 22004 if the role is NULL; 42704 if there is none; 22023 for an unknown
 * kind; 42501 if the caller may not give the rights; 25006; 55000 if something is
 * missing that there should be rights on.
 */
Datum
idem_grant(PG_FUNCTION_ARGS)
{
	Oid			self = fcinfo->flinfo->fn_oid;
	Oid			role = check_role(fcinfo, 0);
	RightsKind	kind = RIGHTS_APPLICATION;
	List	   *members;
	List	   *objects;
	ListCell   *lc;

	if (!PG_ARGISNULL(1))
		kind = kind_by_name(text_to_cstring(PG_GETARG_TEXT_PP(1)));
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

		grant_execute(object->owner, GRANT_PLAIN, object, grant_use(object), role);
		take_duplicates(object, role);
	}
	forget_missing_roles(members);
	PG_RETURN_VOID();
}

/*
 * idem_revoke: take from a role all rights on the extension, whoever gave them.
 *
 * Errors: 22004 if the role is NULL; 42704 if there is none; 42501 if the caller
 * may not take a right; 2BP01 if the role has handed one on; 25006.
 */
Datum
idem_revoke(PG_FUNCTION_ARGS)
{
	Oid			role = check_role(fcinfo, 0);
	List	   *members;
	ListCell   *lc;

	PreventCommandIfReadOnly("idem_revoke()");
	PreventCommandDuringRecovery("idem_revoke()");

	members = find_members(fcinfo->flinfo->fn_oid);
	foreach(lc, members)
		take_all(lfirst(lc), role);
	forget_missing_roles(members);
	PG_RETURN_VOID();
}

/*
 * For the end of the install script: the rights on functions, and those of the
 * database's owner.
 *
 * PUBLIC gets no function.  The installer gets those outside our own schema, which
 * are for users, and may grant them to others.
 *
 * The owner of the database gets on everything what the installer has: a dump does
 * not contain what an install script grants, and where a superuser restores it,
 * that superuser is the installer.  The owner of today gets it by name and with the
 * grant options, so that a dump that has GRANTs of this owner restores.
 * pg_database_owner gets it for later owners, and without the grant options: what
 * they granted by it would be in the name of pg_database_owner, in which only
 * superusers can restore it, and not always.
 *
 * A script that updates the extension must not call this.  PostgreSQL takes all
 * that an object's ACL then has for the script's, and no dump has it any more.
 */
Datum
idem_set_rights(PG_FUNCTION_ARGS)
{
	Oid			installer = check_role(fcinfo, 0);
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
 * Take a function from PUBLIC, and give it to the installer if it is for users.
 */
static void
set_rights_on_function(const GrantObject *object, Oid installer)
{
	Oid			schema = get_object_namespace(&object->address);

	grant_execute(object->owner, GRANT_REVOKE, object, ACL_EXECUTE, ACL_ID_PUBLIC);
	if (strcmp(get_namespace_name(schema), IDEM_SCHEMA) != 0)
		grant_execute(object->owner, GRANT_WITH_OPTION, object, ACL_EXECUTE, installer);
}

/*
 * Give the database's owner of today, and those to come, rights on an object.
 */
static void
grant_to_database_owner(const GrantObject *object, AclMode privileges)
{
	if (privileges == ACL_NO_RIGHTS)
		return;
	grant_execute(object->owner, GRANT_PLAIN, object, privileges, ROLE_PG_DATABASE_OWNER);
	if (!superuser_arg(database_owner()))
		grant_execute(object->owner, GRANT_WITH_OPTION, object, privileges,
					  database_owner());
}

/*
 * The role in an argument.
 */
static Oid
check_role(FunctionCallInfo fcinfo, int n)
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
 * The kind that is called so.
 */
static RightsKind
kind_by_name(const char *name)
{
	for (int i = 0; i < lengthof(kind_names); i++)
	{
		if (strcmp(name, kind_names[i]) == 0)
			return i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized kind of rights: \"%s\"", name),
			 errhint("Available kinds: application, maintenance, auditor.")));
}

/*
 * The members of the extension that belong to the owner of the called function.
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
	if (!grant_object(&address, &self))
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
		if (form->deptype == DEPENDENCY_EXTENSION && grant_object(&address, member) &&
			member->owner == self.owner)
			members = lappend(members, member);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return members;
}

/*
 * The extension of the called function.  Two calls take turns: otherwise the
 * second would find that the ACL of an object has changed under it, and fail.
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
 * The members that the rights of a kind are on.  None may be missing: a role must
 * not get a part of its rights without anybody noticing.
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
					 errmsg("\"%s\" does not belong to the extension and its owner",
							rights[i].name),
					 errhint("Undo what was altered.")));
	}
	return objects;
}

/*
 * The index of the right on this object, or -1.
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
 * Raise 42501 if the caller may not give a role the use of an object.
 */
static void
check_may_give(const GrantObject *object)
{
	if (!may_give(object, grant_use(object)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to grant rights on %s",
						getObjectDescription(&object->address, false)),
				 errhint("Let the owner of the database or a superuser call idem_grant().")));
}

/*
 * May the caller give these rights, in the owner's name?
 */
static bool
may_give(const GrantObject *object, AclMode privileges)
{
	return grant_has_options(object, privileges) ||
		has_privs_of_role(GetUserId(), ROLE_PG_DATABASE_OWNER);
}

/*
 * Give USAGE on the schema of the functions, if the role lacks it.  The schema is
 * the user's, so that is done as by a GRANT of the caller's.
 */
static void
open_schema(Oid schema, Oid role)
{
	ObjectAddress address;
	GrantObject object;

	if (compat_aclcheck(NamespaceRelationId, schema, role, ACL_USAGE) == ACLCHECK_OK)
		return;
	ObjectAddressSet(address, NamespaceRelationId, schema);
	if (!grant_object(&address, &object))
		elog(ERROR, "cache lookup failed for schema %u", schema);
	if (!grant_has_options(&object, ACL_USAGE))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema %s", object.name),
				 errhint("Let the owner of schema %s grant USAGE on it to %s first.",
						 quote_identifier(object.name),
						 quote_identifier(GetUserNameFromId(role, false)))));
	grant_execute(GetUserId(), GRANT_PLAIN, &object, ACL_USAGE, role);
}

/*
 * What the role has from the owner now, it need not have from others too.  A
 * restore has put the role that restored in the owner's place.
 */
static void
take_duplicates(const GrantObject *object, Oid role)
{
	AclItem    *items;
	int			n = grant_read(object, role, &items);

	for (int i = 0; i < n; i++)
	{
		Oid			giver = items[i].ai_grantor;

		if (giver != object->owner && ACLITEM_GET_PRIVS(items[i]) == grant_use(object) &&
			ACLITEM_GET_GOPTIONS(items[i]) == ACL_NO_RIGHTS &&
			has_privs_of_role(GetUserId(), giver) && grant_can_name(object, giver))
			grant_execute(giver, GRANT_REVOKE, object, ACL_NO_RIGHTS, role);
	}
}

/*
 * Take from a role all rights on an object.  Who may give them may take what
 * idem_grant gave, which is in the owner's name and without grant option.
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
					 errmsg("permission denied to revoke what role \"%s\" has granted",
							GetUserNameFromId(giver, false)),
					 errdetail("It has granted rights on %s.",
							   getObjectDescription(&object->address, false)),
					 errhint("Let that role or a superuser call idem_revoke().")));
		if (grant_can_name(object, giver))
			grant_execute(giver, GRANT_REVOKE, object, ACL_NO_RIGHTS, role);
	}

	/*
	 * one that cannot name it, or has become a superuser, who acts as the
	 * owner
	 */
	if (grant_read(object, role, &items) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_GRANT_OPERATION),
				 errmsg("could not revoke what role \"%s\" has granted",
						GetUserNameFromId(items[0].ai_grantor, false)),
				 errdetail("It has granted rights on %s.",
						   getObjectDescription(&object->address, false)),
				 errhint("Revoke that role's grant option with CASCADE.")));
}

/*
 * What the install script has given the installer and let him hand on.  If that is
 * a superuser, he is the owner, who has more; but it shows in the grant options.
 */
static AclMode
rights_of_installer(const GrantObject *object, Oid installer)
{
	AclItem    *items;
	int			n = grant_read(object, installer, &items);
	AclMode		privileges = ACL_NO_RIGHTS;

	for (int i = 0; i < n; i++)
		privileges |= ACLITEM_GET_GOPTIONS(items[i]);

	/* to insert, but not to update, is for restoring: that needs an installer */
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
 * Of all members, so that a dump restores: see initprivs.c.
 */
static void
forget_missing_roles(List *members)
{
	ListCell   *lc;

	foreach(lc, members)
		initprivs_forget_missing_roles(&((GrantObject *) lfirst(lc))->address);
}
