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

/* Forget that roles which there are no more were once granted rights on it. */
extern void initprivs_forget_missing_roles(const ObjectAddress *object);

#endif							/* IDEM_INITPRIVS_H */
