/*-------------------------------------------------------------------------
 *
 * access.h
 *		Which roles may see a row, and act on it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_ACCESS_H
#define IDEM_ACCESS_H

/*
 * The name of the current role, as it is stored with a row.  A copy in the current
 * memory context.
 *
 * Errors: 22021 if the name is not valid in the database's encoding.
 */
extern text *access_current_role(void);

/*
 * May the current role see a row that the role of this name stored?  It may if
 * it has that role's privileges (pg_has_role(..., 'USAGE')).  If no role has
 * that name any more, only a superuser may.
 *
 * Errors: 22021 if the current role's name is not valid in the database's encoding.
 */
extern bool access_allowed(const text *stored_role);

#endif							/* IDEM_ACCESS_H */
