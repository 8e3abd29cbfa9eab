/*-------------------------------------------------------------------------
 *
 * access.c
 *		Which roles may see a row, and act on it.
 *
 * Application roles need no rights on the tables.  They have EXECUTE on the
 * functions.  The functions show a role the rows of all roles whose privileges
 * it has.
 *
 * The role of a row is the one that was current when the row was stored.  Inside a
 * SECURITY DEFINER function, that is the function's owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "access.h"
#include "bytes.h"
#include "compat.h"

/* the current role and its name; InvalidOid: the name has to be looked up */
static Oid	current_role = InvalidOid;
static NameData current_name;

static const char *current_role_name(void);
static void forget_role(Datum arg, int cacheid, uint32 hashvalue);

text *
access_current_role(void)
{
	return cstring_to_text(current_role_name());
}

bool
access_allowed(const text *stored_role)
{
	const char *current = current_role_name();
	Oid			role;

	if (bytes_equal_cstring(stored_role, current))
		return true;

	role = get_role_oid(text_to_cstring(stored_role), true);
	if (!OidIsValid(role))
		return superuser();
	return has_privs_of_role(GetUserId(), role);
}

/*
 * The name of the current role.  It is valid until the next call.
 */
static const char *
current_role_name(void)
{
	static bool callback_registered = false;
	char	   *name;

	if (current_role == GetUserId())
		return NameStr(current_name);

	if (!callback_registered)
	{
		CacheRegisterSyscacheCallback(AUTHOID, forget_role, (Datum) 0);
		callback_registered = true;
	}

	name = GetUserNameFromId(GetUserId(), false);
	/* databases of all encodings share pg_authid, but a dump has one encoding */
	pg_verifymbstr(name, strlen(name), false);
	namestrcpy(&current_name, name);
	current_role = GetUserId();
	return NameStr(current_name);
}

/*
 * A role has changed: it may have been renamed.
 */
static void
forget_role(Datum arg, int cacheid, uint32 hashvalue)
{
	current_role = InvalidOid;
}
