/*-------------------------------------------------------------------------
 *
 * hint.c
 *		What a session remembers about accounts from one transaction to the next.
 *
 * A hint may be out of date, and nothing tells us when it is.  So it says where to look
 * first, and saves work, no more.  Whoever uses one checks what he finds there.
 *
 * A key has room in a set of two.  A new one takes the place of the one that was not
 * used last.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ledger/hint.h"

/*
 * The hints of a key's set, with that of the key in front, if there is one.
 */
static Hint *
set_of(HintTable *table, uint64 key)
{
	Hint	   *set = table->sets[key % HINT_SETS];

	if (set[0].key != key && set[1].key == key)
	{
		Hint		other = set[0];

		set[0] = set[1];
		set[1] = other;
	}
	return set;
}

uint64
hint_find(HintTable *table, uint64 key)
{
	const Hint *set = set_of(table, key);

	return set->key == key ? set->value : 0;
}

void
hint_keep(HintTable *table, uint64 key, uint64 value)
{
	Hint	   *set = set_of(table, key);

	if (set[0].key != key)
		set[1] = set[0];
	set[0] = (Hint) {.key = key, .value = value};
}
