/*-------------------------------------------------------------------------
 *
 * key.h
 *		Keys, scopes and names of accounts: what they may be.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_KEY_H
#define IDEM_KEY_H

#include "refusal.h"

/* The most bytes of a key, a scope or a name, in the database's encoding. */
#define KEY_MAX_BYTES	255

/*
 * The operations that idem_cancel() and idem_expire() store have keys that begin
 * with these.  A client's key must not.
 */
#define KEY_CANCEL_PREFIX	"idem_cancel:"
#define KEY_EXPIRE_PREFIX	"idem_expire:"

/* A key, or an account's name, that has been checked, in the scope that it belongs to. */
typedef struct Key
{
	text	   *scope;			/* 0 to KEY_MAX_BYTES bytes */
	text	   *key;			/* 1 to KEY_MAX_BYTES bytes, after the
								 * prefixes above if it has any */
} Key;

/*
 * Check a key that a client sends with a request, and its scope.  *result points to
 * both.
 *
 * key: NULL is refused.  scope: NULL means the setting idempotency.scope.
 *
 * Result: NULL, or a refusal: ID400 if the key is NULL, empty, too long, has a
 * control character or begins with one of the prefixes; those of key_check_scope().
 *
 * Errors: those of setting_text().
 */
extern Refusal *key_check(text *key, text *scope, Key *result);

/*
 * Check a scope alone.  *result: the scope.
 *
 * scope: NULL means the setting idempotency.scope.
 *
 * Result: NULL, or a refusal: 22023 if the scope is too long or has a control
 * character; 22004 if it is NULL and the setting idempotency.require_scope is on.
 *
 * Errors: those of setting_text().
 */
extern Refusal *key_check_scope(text *scope, text **result);

/*
 * Check the name of an account, and its scope.  *result points to both.
 *
 * Result: NULL, or a refusal: 22004 if the name is NULL; 22023 if it is empty, too
 * long or has a control character; those of key_check_scope().
 */
extern Refusal *key_check_account(text *name, text *scope, Key *result);

/*
 * Check a key to look up.  It is key_check(), but a key may begin with one of the
 * prefixes, or with two, and is then longer by that.
 */
extern Refusal *key_check_lookup(text *key, text *scope, Key *result);

/* Does a key begin with one of the prefixes? */
extern bool key_is_reserved(const text *key);

/*
 * A key made of one of the prefixes and a client's key, in the same scope.  It is in
 * the current memory context.
 */
extern Key	key_with_prefix(const char *prefix, const Key *key);

/*
 * Compare two keys (<0, 0, >0) in the order of their index: by key, then by scope,
 * both by their bytes.
 */
extern int	key_compare(const Key *a, const Key *b);

/* A 64-bit hash of scope and key.  Equal keys have the same hash for a seed. */
extern uint64 key_hash(const Key *key, uint64 seed);

#endif							/* IDEM_KEY_H */
