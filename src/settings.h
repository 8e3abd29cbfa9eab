/*-------------------------------------------------------------------------
 *
 * settings.h
 *		The configuration parameters, idempotency.*
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_SETTINGS_H
#define IDEM_SETTINGS_H

/* What a call does while another transaction uses its key or its payment. */
typedef enum InFlight
{
	IN_FLIGHT_WAIT,				/* wait for that transaction to end */
	IN_FLIGHT_FAIL				/* raise ID409 */
} InFlight;

/*
 * What becomes of a request that the payment's state does not allow, and of a
 * command of idem_execute() that fails for good.
 */
typedef enum Declines
{
	DECLINES_RAISE,				/* raise an error; the key stays free */
	DECLINES_RECORD				/* store it as the key's answer */
} Declines;

/* The class of the SQLSTATEs that are raised, in place of "ID". */
typedef enum ErrorClass
{
	ERROR_CLASS_ID,
	ERROR_CLASS_PT				/* of which PostgREST makes an HTTP status */
} ErrorClass;

/* The values.  Once they are defined, no string is NULL. */
extern char *setting_scope;		/* idempotency.scope; checked when used */
extern bool setting_require_scope;	/* idempotency.require_scope */
extern char *setting_currency;	/* idempotency.currency; checked when used */
extern int	setting_in_flight;	/* idempotency.in_flight, an InFlight */
extern int	setting_declines;	/* idempotency.declines, a Declines */
extern int	setting_error_class;	/* idempotency.error_class, an ErrorClass */
extern int	setting_retention;	/* idempotency.retention, in seconds */
extern int	setting_response_limit; /* idempotency.response_limit, in kB */
extern char *setting_databases; /* idempotency.databases: a list of names */
extern int	setting_naptime;	/* idempotency.naptime, in seconds */

/* Define the parameters.  Called once, when the library is loaded. */
extern void settings_define(void);

/*
 * What an argument "declines" asks for: "raise" or "record".  NULL means the setting
 * idempotency.declines.
 *
 * Errors: 22023 if it is another word.
 */
extern Declines setting_declines_of_call(const text *declines);

/*
 * A setting's value as text, in the current memory context.  name: the setting's,
 * for the message.
 *
 * Errors: 22021 if the value is not valid in the database's encoding.  ALTER ROLE
 * ... SET may have been run in a database that has another encoding.
 */
extern text *setting_text(const char *value, const char *name);

#endif							/* IDEM_SETTINGS_H */
