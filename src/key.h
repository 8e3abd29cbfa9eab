/*-------------------------------------------------------------------------
 *
 * key.h
 *		Keys and scopes: what they may be.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_KEY_H
#define IDEM_KEY_H

/* most bytes of a key, and of a scope, in the database's encoding */
#define KEY_MAX_BYTES	255

/* A key that has been checked, in the scope that it belongs to. */
typedef struct Key
{
	text	   *scope;			/* '' to KEY_MAX_BYTES bytes */
	text	   *key;			/* 1 to KEY_MAX_BYTES bytes */
} Key;

/*
 * Check a key, and the scope that goes with it.
 *
 * key: NULL is an error.  scope: NULL means the setting idempotency.scope.
 *
 * Errors: ID400 for a key, 22023 for a scope, that is missing, empty, too long
 * or not printable (a scope may be empty).
 */
extern Key	key_check(text *key, text *scope);

/* The scope alone, checked likewise. */
extern text *key_check_scope(text *scope);

/* 64-bit hash of scope and key together; equal keys hash equal. */
extern uint64 key_hash(const Key *key, uint64 seed);

#endif							/* IDEM_KEY_H */
