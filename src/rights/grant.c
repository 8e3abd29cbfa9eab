/*-------------------------------------------------------------------------
 *
 * grant.c
 *		GRANT and REVOKE of rights on one object, in the name of a given role.
 *
 * That role may be a superuser.  Only ExecuteGrantStmt() runs as that role.  It
 * calls no functions of users.  It fires no event triggers, since only commands
 * do.  It looks up qualified names only, and types by their OIDs.  A user may
 * rename schemas meanwhile.  Then the right is given on an object in a schema that
 * the user owns.
 *
 * If something fails as that role, the abort of the transaction or the
 * subtransaction makes the caller the current role again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "rights/grant.h"

/* The privileges that the install script grants, with the parser's words for them. */
static const struct
{
	AclMode		privilege;
	char	   *keyword;
}			keywords[] = {
	{ACL_EXECUTE, "execute"},
	{ACL_USAGE, "usage"},
	{ACL_SELECT, "select"},
	{ACL_INSERT, "insert"},
	{ACL_UPDATE, "update"},
	{ACL_DELETE, "delete"},
};

static GrantStmt *make_statement(GrantCommand command, const GrantObject *object,
								 AclMode privileges, Oid role);
static Node *make_function_name(Oid function, char *schema, char *name);

bool
grant_look_up(const ObjectAddress *address, GrantObject *object)
{
	Oid			classid = address->classId;
	int			cache;
	HeapTuple	tuple;
	Datum		owner;
	Datum		name;
	bool		isnull;

	if (classid != ProcedureRelationId && classid != RelationRelationId &&
		classid != NamespaceRelationId)
		return false;
	cache = get_object_catcache_oid(classid);
	tuple = SearchSysCache1(cache, ObjectIdGetDatum(address->objectId));
	if (!HeapTupleIsValid(tuple))
		return false;

	owner = SysCacheGetAttr(cache, tuple, get_object_attnum_owner(classid), &isnull);
	name = SysCacheGetAttr(cache, tuple, get_object_attnum_name(classid), &isnull);
	object->address = *address;
	object->owner = DatumGetObjectId(owner);
	object->name = pstrdup(NameStr(*DatumGetName(name)));
	ReleaseSysCache(tuple);
	return true;
}

AclMode
grant_usual_right(const GrantObject *object)
{
	switch (object->address.classId)
	{
		case ProcedureRelationId:
			return ACL_EXECUTE;
		case RelationRelationId:
			return ACL_SELECT;
		default:
			return ACL_USAGE;
	}
}

bool
grant_has_options(const GrantObject *object, AclMode privileges)
{
	/* one by one: a check of several succeeds if one of them is held */
	for (AclMode bit = 1; bit <= privileges; bit <<= 1)
	{
		if ((privileges & bit) != 0 &&
			compat_aclcheck(object->address.classId, object->address.objectId, GetUserId(),
							ACL_GRANT_OPTION_FOR(bit)) != ACLCHECK_OK)
			return false;
	}
	return true;
}

bool
grant_can_name(const GrantObject *object, Oid role)
{
	Oid			schema = get_object_namespace(&object->address);

	return !OidIsValid(schema) ||
		compat_aclcheck(NamespaceRelationId, schema, role, ACL_USAGE) == ACLCHECK_OK;
}

int
grant_read(const GrantObject *object, Oid role, AclItem **items)
{
	Oid			classid = object->address.classId;
	int			cache = get_object_catcache_oid(classid);
	HeapTuple	tuple = SearchSysCache1(cache, ObjectIdGetDatum(object->address.objectId));
	Acl		   *acl = NULL;
	Datum		datum;
	bool		isnull;
	int			n = 0;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for object %u of catalog %u",
			 object->address.objectId, classid);
	datum = SysCacheGetAttr(cache, tuple, get_object_attnum_acl(classid), &isnull);
	if (!isnull)
		acl = DatumGetAclPCopy(datum);
	ReleaseSysCache(tuple);
	if (acl == NULL)
		return 0;

	*items = palloc(ACL_NUM(acl) * sizeof(AclItem));
	for (int i = 0; i < ACL_NUM(acl); i++)
	{
		AclItem    *item = &ACL_DAT(acl)[i];

		if (item->ai_grantee == role)
			(*items)[n++] = *item;
	}
	return n;
}

void
grant_run(Oid giver, GrantCommand command, const GrantObject *object,
		  AclMode privileges, Oid role)
{
	GrantStmt  *statement = make_statement(command, object, privileges, role);
	Oid			caller;
	int			context;

	GetUserIdAndSecContext(&caller, &context);
	SetUserIdAndSecContext(giver, context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	ExecuteGrantStmt(statement);
	SetUserIdAndSecContext(caller, context);
}

/*
 * The GRANT or REVOKE, as the parser would have made it.
 */
static GrantStmt *
make_statement(GrantCommand command, const GrantObject *object, AclMode privileges, Oid role)
{
	GrantStmt  *statement = makeNode(GrantStmt);
	RoleSpec   *grantee = makeNode(RoleSpec);
	Oid			schema = get_object_namespace(&object->address);
	char	   *schema_name = OidIsValid(schema) ? get_namespace_name(schema) : NULL;
	Node	   *name;

	if (object->address.classId == ProcedureRelationId)
	{
		statement->objtype = OBJECT_FUNCTION;
		name = make_function_name(object->address.objectId, schema_name, object->name);
	}
	else if (object->address.classId == RelationRelationId)
	{
		statement->objtype = OBJECT_TABLE;
		name = (Node *) makeRangeVar(schema_name, object->name, -1);
	}
	else
	{
		statement->objtype = OBJECT_SCHEMA;
		name = (Node *) makeString(object->name);
	}

	for (int i = 0; i < lengthof(keywords); i++)
	{
		if ((privileges & keywords[i].privilege) != 0)
		{
			AccessPriv *privilege = makeNode(AccessPriv);

			privilege->priv_name = keywords[i].keyword;
			statement->privileges = lappend(statement->privileges, privilege);
		}
	}

	grantee->roletype = role == ACL_ID_PUBLIC ? ROLESPEC_PUBLIC : ROLESPEC_CSTRING;
	grantee->rolename = role == ACL_ID_PUBLIC ? NULL : GetUserNameFromId(role, false);
	grantee->location = -1;
	statement->is_grant = command != GRANT_REVOKE;
	statement->targtype = ACL_TARGET_OBJECT;
	statement->objects = list_make1(name);
	statement->grantees = list_make1(grantee);
	statement->grant_option = command == GRANT_WITH_OPTION;
	statement->behavior = DROP_RESTRICT;
	return statement;
}

/*
 * A function, with the types of its arguments, as the parser would have made it.
 */
static Node *
make_function_name(Oid function, char *schema, char *name)
{
	ObjectWithArgs *result = makeNode(ObjectWithArgs);
	Oid		   *types;
	int			n;

	(void) get_func_signature(function, &types, &n);
	result->objname = list_make1(makeString(schema));
	result->objname = lappend(result->objname, makeString(name));
	for (int i = 0; i < n; i++)
		result->objargs = lappend(result->objargs, makeTypeNameFromOid(types[i], -1));
	return (Node *) result;
}
