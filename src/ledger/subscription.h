/*-------------------------------------------------------------------------
 *
 * subscription.h
 *		Refusing entries where they still come by logical replication.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_SUBSCRIPTION_H
#define IDEM_SUBSCRIPTION_H

#include "utils/relcache.h"

/*
 * Check that no enabled subscription writes to a table, which is open.
 *
 * Error: 55000 if one does.
 */
extern void subscription_check(Relation heap);

#endif							/* IDEM_SUBSCRIPTION_H */
