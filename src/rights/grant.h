/*-------------------------------------------------------------------------
 *
 * grant.h
 *		GRANT and REVOKE of rights on one object, in the name of a given role.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_GRANT_H
#define IDEM_GRANT_H

#include "catalog/objectaddress.h"
#include "utils/acl.h"

/* A function, a table or view, or a schema. */
typedef struct GrantObject
{
	ObjectAddress address;
	Oid			owner;
	char	   *name;			/* not qualified */
} GrantObject;

/* What grant_run() does. */
typedef enum GrantCommand
{
	GRANT_PLAIN,
	GRANT_WITH_OPTION,			/* with the grant option */
	GRANT_REVOKE
} GrantCommand;

/*
 * Look an object up, into *object.  False: it is of another kind, or it does not
 * exist any more.
 */
extern bool grant_look_up(const ObjectAddress *address, GrantObject *object);

/* The right to use an object: EXECUTE, SELECT or USAGE. */
extern AclMode grant_usual_right(const GrantObject *object);

/* Does the current role have the grant option for all these rights? */
extern bool grant_has_options(const GrantObject *object, AclMode privileges);

/*
 * Can a role name the object, that is, does it have USAGE on the schema that the
 * object is in?  A schema itself can always be named.
 */
extern bool grant_can_name(const GrantObject *object, Oid role);

/*
 * The rights on an object that a role was given, into *items: one item for each
 * role that gave some.  Rights on single columns are not among them.  Returns the
 * number of items; if it is 0, *items may not be set.
 */
extern int	grant_read(const GrantObject *object, Oid role, AclItem **items);

/*
 * Give a role rights on an object, or revoke them, in the name of the giver.  The
 * caller has checked that this is allowed, and that the giver can name the object.
 *
 * privileges: ACL_NO_RIGHTS means all that the object can have.  role: may be
 * ACL_ID_PUBLIC, for PUBLIC.
 *
 * Error: 2BP01 if the role has granted to others what is to be revoked.
 */
extern void grant_run(Oid giver, GrantCommand command, const GrantObject *object,
					  AclMode privileges, Oid role);

#endif							/* IDEM_GRANT_H */
