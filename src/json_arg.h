/*-------------------------------------------------------------------------
 *
 * json_arg.h
 *		Reading a JSON argument, given as text, json or jsonb.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_JSON_ARG_H
#define IDEM_JSON_ARG_H

#include "fmgr.h"
#include "utils/jsonb.h"

/* How a JSON argument was given. */
typedef enum JsonArgType
{
	JSON_ARG_NULL,				/* not at all */
	JSON_ARG_TEXT,				/* as text, or another string type */
	JSON_ARG_JSON,
	JSON_ARG_JSONB,
	JSON_ARG_BYTES,				/* as bytea */
	JSON_ARG_OTHER				/* as another type */
} JsonArgType;

/* How is JSON of this type given?  The type is no domain.  The result is not NULL. */
extern JsonArgType json_type(Oid type);

/* How was argument n given?  OTHER is for the caller to refuse, or to read. */
extern JsonArgType json_arg_type(FunctionCallInfo fcinfo, int n);

/*
 * Argument n as JSON; NULL if it is null.  What was given as text is checked.  What
 * was given as jsonb is written out.
 *
 * name: the argument's, for messages.
 *
 * Errors: 22P02 if it is no JSON; 42804 if it is of another type.
 */
extern text *json_arg_text(FunctionCallInfo fcinfo, int n, const char *name);

/* Argument n, which was given as text and is not null. */
extern text *json_arg_string(FunctionCallInfo fcinfo, int n);

/*
 * Argument n as jsonb; NULL if it is null.
 *
 * Errors: those of json_arg_text(); those of jsonb's input, such as 22P05 for U+0000.
 */
extern Jsonb *json_arg_jsonb(FunctionCallInfo fcinfo, int n, const char *name);

/*
 * A value as jsonb.
 *
 * type: its type, for which json_type() is TEXT, JSON or JSONB.  name: for messages.
 *
 * Errors: 22P02 if it is no JSON; those of jsonb's input.
 */
extern Jsonb *json_value_jsonb(Datum value, Oid type, const char *name);

/* Raise 42804: argument n is of a type that is not in this list. */
extern void json_arg_refuse_type(FunctionCallInfo fcinfo, int n,
								 const char *name, const char *types);

#endif							/* IDEM_JSON_ARG_H */
