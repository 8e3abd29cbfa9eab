/*-------------------------------------------------------------------------
 *
 * key.h
 *		Keys and scopes: what they may be.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_KEY_H
#define IDEM_KEY_H

#include "refusal.h"

/* most bytes of a key, and of a scope, in the database's encoding */
#define KEY_MAX_BYTES	255

/* The keys of what idem_cancel() and idem_expire() do begin so, and no client's do. */
#define KEY_CANCEL_PREFIX	"idem_cancel:"
#define KEY_EXPIRE_PREFIX	"idem_expire:"

/* A key that has been checked, in the scope that it belongs to. */
typedef struct Key
{
	text	   *scope;			/* '' to KEY_MAX_BYTES bytes */
	text	   *key;			/* 1 to KEY_MAX_BYTES bytes */
} Key;

/*
 * Check a key that a client sends with a request, and the scope that goes with
 * it, into *result.
 *
 * key: NULL is refused.  scope: NULL means the setting idempotency.scope.
 *
 * Refusals: ID400 for a key, 22023 for a scope, that is missing, empty, too
 * long or not printable (a scope may be empty); ID400 for a key that begins
 * with one of these prefixes.
 */
extern Refusal *key_check(text *key, text *scope, Key *result);

/*
 * The scope alone, checked likewise.
 *
 * Error: 22021 of setting_text().
 */
extern Refusal *key_check_scope(text *scope, text **result);

/* The key to look up: any that key_check() lets pass, or one of ours. */
extern Refusal *key_check_lookup(text *key, text *scope, Key *result);

/* The key of what is done about a key, by one of these prefixes. */
extern Key	key_with_prefix(const char *prefix, const Key *key);

/* The order of keys in their index: by key, then by scope, both by their bytes. */
extern int	key_compare(const Key *a, const Key *b);

/* 64-bit hash of scope and key together; equal keys hash equal. */
extern uint64 key_hash(const Key *key, uint64 seed);

#endif							/* IDEM_KEY_H */
