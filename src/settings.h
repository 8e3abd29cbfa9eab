/*-------------------------------------------------------------------------
 *
 * settings.h
 *		The configuration parameters, idempotency.*
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_SETTINGS_H
#define IDEM_SETTINGS_H

/* what a call does when its key is in flight in another transaction */
typedef enum InFlight
{
	IN_FLIGHT_WAIT,				/* wait for that transaction to end */
	IN_FLIGHT_FAIL				/* raise ID409 */
} InFlight;

/* what becomes of a request that the payment's state does not allow */
typedef enum Declines
{
	DECLINES_RAISE,				/* an error; the key stays free */
	DECLINES_RECORD				/* a row, the key's answer for ever */
} Declines;

extern char *setting_scope;		/* idempotency.scope; checked when it is used */
extern char *setting_currency;	/* idempotency.currency; likewise */
extern int	setting_in_flight;	/* idempotency.in_flight, an InFlight */
extern int	setting_declines;	/* idempotency.declines, a Declines */
extern int	setting_retention;	/* idempotency.retention, in seconds */
extern char *setting_databases; /* idempotency.databases: a list */
extern int	setting_naptime;	/* idempotency.naptime, in seconds */

extern void settings_define(void);

/*
 * The value of a setting, by its name, as text.
 *
 * Error: 22021 if it is not valid in the database's encoding: ALTER ROLE ... SET
 * may have been run in a database that has another one.
 */
extern text *setting_text(const char *value, const char *name);

#endif							/* IDEM_SETTINGS_H */
