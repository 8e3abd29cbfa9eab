/*-------------------------------------------------------------------------
 *
 * initprivs.h
 *		What the install script has granted, as pg_dump finds it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_INITPRIVS_H
#define IDEM_INITPRIVS_H

#include "catalog/objectaddress.h"

/*
 * Remove from pg_init_privs the grants on an object to or by roles that do not
 * exist any more.
 */
extern void initprivs_forget_missing_roles(const ObjectAddress *object);

#endif							/* IDEM_INITPRIVS_H */
