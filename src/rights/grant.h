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

typedef enum GrantCommand
{
	GRANT_PLAIN,
	GRANT_WITH_OPTION,
	GRANT_REVOKE
} GrantCommand;

/* Returns false if it is something else, or is there no more. */
extern bool grant_object(const ObjectAddress *address, GrantObject *object);

/* The right to use it: EXECUTE, SELECT or USAGE. */
extern AclMode grant_use(const GrantObject *object);

/* Does the current role hold the grant option for all these rights? */
extern bool grant_has_options(const GrantObject *object, AclMode privileges);

/* Can a role name the object, that is, does it have USAGE on its schema? */
extern bool grant_can_name(const GrantObject *object, Oid role);

/*
 * What a role has been given on an object: an item for each role that gave some
 * of it.  Returns their number.
 */
extern int	grant_read(const GrantObject *object, Oid role, AclItem **items);

/*
 * Give a role, or PUBLIC (ACL_ID_PUBLIC), rights, or take them, in the name of the giver; all that there are
 * if they are ACL_NO_RIGHTS.  The caller has checked that this is allowed, and
 * that the giver can name the object.
 *
 * Error: 2BP01 if the role has handed on what is to be taken.
 */
extern void grant_execute(Oid giver, GrantCommand command, const GrantObject *object,
						  AclMode privileges, Oid role);

#endif							/* IDEM_GRANT_H */
