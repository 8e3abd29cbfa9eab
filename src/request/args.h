/*-------------------------------------------------------------------------
 *
 * args.h
 *		The arguments of a command of idem_execute().
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_ARGS_H
#define IDEM_ARGS_H

#include "fmgr.h"
#include "utils/jsonb.h"

/* The arguments: elements of a JSON array, or texts. */
typedef struct CommandArgs
{
	int			n;				/* how many there are */
	text	   *json;			/* all of them, as a JSON array */
	Jsonb	   *elements;		/* the same; not used if they are texts */
	char	  **texts;			/* NULL: they are elements; an entry that is
								 * NULL is null */
} CommandArgs;

/*
 * Read argument n: a JSON array as text, json or jsonb; or an array of SQL, also as the
 * text that begins with a brace.  An array of SQL is read as texts.
 *
 * Errors: 22023 if it is no array, or has more than one dimension; 22P02 if it is
 * malformed; 42804 if it is of another type; those of jsonb's input.
 */
extern void args_read(FunctionCallInfo fcinfo, int n, CommandArgs *args);

/*
 * Make the values of the parameters.  A parameter's type reads the text of its
 * argument.  For a JSON string that is its characters, without quotes; but json and
 * jsonb read it as it is written in JSON.
 *
 * n, types: of the parameters.  values, nulls: room for n of them.
 *
 * Errors: 22023 if there are not n arguments; those of the types' input functions.
 */
extern void args_convert(const CommandArgs *args, int n, const Oid *types,
						 Datum *values, char *nulls);

#endif							/* IDEM_ARGS_H */
