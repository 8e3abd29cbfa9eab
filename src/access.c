/*-------------------------------------------------------------------------
 *
 * access.c
 *		Which roles may see a row.
 *
 * Application roles have no rights on the tables; they have EXECUTE on the
 * functions, and the functions let them see the rows of the roles whose
 * privileges they have.  The role of a row is the one that was current when
 * it was stored (inside a SECURITY DEFINER function, that function's owner).
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

/* the current role's name, till a role changes */
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
 * The current role's name, which is kept as long as no role changes.
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
	/* pg_authid is shared by databases of all encodings; a dump has just one */
	pg_verifymbstr(name, strlen(name), false);
	namestrcpy(&current_name, name);
	current_role = GetUserId();
	return NameStr(current_name);
}

/*
 * A role has changed: look the name up anew.
 */
static void
forget_role(Datum arg, int cacheid, uint32 hashvalue)
{
	current_role = InvalidOid;
}
