/*-------------------------------------------------------------------------
 *
 * purge.h
 *		Removing requests that have expired.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_PURGE_H
#define IDEM_PURGE_H

/*
 * Purge requests, as idem_purge() does.
 *
 * *more: rows had to be deleted, and there may be more of them.
 *
 * Result: how many tables have been emptied.
 *
 * Errors: those of idem_purge().
 */
extern int	purge_requests(bool *more);

#endif							/* IDEM_PURGE_H */
