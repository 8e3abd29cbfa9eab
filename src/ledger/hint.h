/*-------------------------------------------------------------------------
 *
 * hint.h
 *		What a session remembers about accounts from one transaction to the next.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_HINT_H
#define IDEM_HINT_H

/* How many sets of two. */
#define HINT_SETS	2048

typedef struct Hint
{
	uint64		key;
	uint64		value;			/* 0: there is none */
} Hint;

/* A table of hints.  All zero: it has none. */
typedef struct HintTable
{
	Hint		sets[HINT_SETS][2]; /* the one used last comes first */
} HintTable;

/* What is remembered for this key; 0: nothing. */
extern uint64 hint_find(HintTable *table, uint64 key);

/* Remember a value, not 0, for this key. */
extern void hint_keep(HintTable *table, uint64 key, uint64 value);

#endif							/* IDEM_HINT_H */
