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

#include "access.h"

text *
access_current_role(void)
{
	char	   *name = GetUserNameFromId(GetUserId(), false);

	/* pg_authid is shared by databases of all encodings; a dump has just one */
	pg_verifymbstr(name, strlen(name), false);
	return cstring_to_text(name);
}

bool
access_allowed(const text *stored_role)
{
	char	   *name = text_to_cstring(stored_role);
	Oid			role = get_role_oid(name, true);

	if (!OidIsValid(role))
		return superuser();
	return role == GetUserId() || has_privs_of_role(GetUserId(), role);
}
