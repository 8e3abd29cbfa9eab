/*-------------------------------------------------------------------------
 *
 * canonical_order.h
 *		The members of a JSON object in the order of their names.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_CANONICAL_ORDER_H
#define IDEM_CANONICAL_ORDER_H

#include "request/canonical.h"

/* An array that grows. */
typedef struct Vector
{
	char	   *items;
	size_t		n;				/* items in use */
	size_t		room;			/* items that there is room for */
} Vector;

/* What holds values.  Levels are kept as bytes. */
typedef enum Level
{
	LEVEL_ARRAY,
	LEVEL_OBJECT
} Level;

/* A part of the form as it was read.  Below 4 GB, as the text is below 1 GB. */
typedef struct Span
{
	uint32		from;
	uint32		to;				/* the end, exclusive */
} Span;

/* An object that has not ended, or is out of order, or holds one that is. */
typedef struct Object
{
	Span		inside;			/* between its braces */
	uint32		first;			/* its first member: in Reader.pending until
								 * the object ends, then in Reader.sorted */
	uint32		nsorted;		/* how many are in Reader.sorted; 0: its
								 * members are in order */
} Object;

/* Reading a text. */
typedef struct Reader
{
	const char *at;				/* the next byte */
	const char *end;
	Vector		form;			/* char: what has been read, in its order */
	Vector		levels;			/* char: a Level for each that has not ended */
	Vector		objects;		/* Object, by their beginnings */
	Vector		open;			/* uint32: those that have not ended, in
								 * objects */
	Vector		pending;		/* uint32: where their members begin, in form */
	Vector		sorted;			/* Span: members of others, sorted */
} Reader;

/* An object ends: note the order of its members, if it is not that of the text. */
extern void order_end_object(Reader *r);

/* Write what has been read, with the members of each object in their order. */
extern void order_write(const Reader *r, CanonicalWrite write, void *arg);

/*
 * Add n items of this size to an array.
 *
 * Result: the first of them, to be filled.
 */
extern void *vector_add(Vector *v, size_t size, size_t n);

/* Free an array. */
extern void vector_free(Vector *v);

#endif							/* IDEM_CANONICAL_ORDER_H */
