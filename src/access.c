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

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "access.h"

text *
access_current_role(void)
{
	return cstring_to_text(GetUserNameFromId(GetUserId(), false));
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
