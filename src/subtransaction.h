/*-------------------------------------------------------------------------
 *
 * subtransaction.h
 *		Running something whose failure is not the caller's.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_SUBTRANSACTION_H
#define IDEM_SUBTRANSACTION_H

/*
 * Run work(arg) in a subtransaction.
 *
 * Result: NULL if it succeeded.  If it failed, the error, in the current memory
 * context; all that it did has been rolled back.
 */
extern ErrorData *subtransaction_try(void (*work) (void *arg), void *arg);

/*
 * Is an error one of the work itself, by its SQLSTATE?  If not, it comes from other
 * transactions, the server or an administrator, and the same work may succeed later.
 */
extern bool subtransaction_own_error(const ErrorData *error);

#endif							/* IDEM_SUBTRANSACTION_H */
