/*-------------------------------------------------------------------------
 *
 * maintenance.h
 *		The background worker that purges requests and releases holds.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_MAINTENANCE_H
#define IDEM_MAINTENANCE_H

/* Have it started with the server; while shared_preload_libraries are loaded. */
extern void maintenance_register(void);

#endif							/* IDEM_MAINTENANCE_H */
