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
 * Run it in a subtransaction.  Returns NULL; or, if it failed, its error, which
 * is in the current memory context, and all that it did is rolled back.
 */
extern ErrorData *subtransaction_try(void (*work) (void *arg), void *arg);

/*
 * Is it likely that an error lies in what was being done, and not in what is
 * around it: other transactions, the server, an administrator?
 */
extern bool subtransaction_own_error(const ErrorData *error);

#endif							/* IDEM_SUBTRANSACTION_H */
