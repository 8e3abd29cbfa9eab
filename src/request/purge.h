/*-------------------------------------------------------------------------
 *
 * purge.h
 *		Dropping requests that have expired.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_PURGE_H
#define IDEM_PURGE_H

/*
 * Returns how many tables have been emptied; see idem_purge().  *more: rows had
 * to be deleted, and there are more.
 */
extern int	purge_requests(bool *more);

#endif							/* IDEM_PURGE_H */
