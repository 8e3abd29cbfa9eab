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

#endif							/* IDEM_SUBTRANSACTION_H */
