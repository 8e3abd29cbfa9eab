/*-------------------------------------------------------------------------
 *
 * key.c
 *		Keys and scopes: what they may be.
 *
 * A key is text that the client chose.  It is compared byte by byte: no case is
 * folded, no space trimmed, no Unicode normalized.
 *
 * The IETF draft "The Idempotency-Key HTTP Header Field" makes it a string of
 * printable ASCII.  We also take the rest of the database's encoding.  Control
 * characters are refused.  A key that cannot be read in a log or a header will one
 * day be sent again a little differently.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "bytes.h"
#include "compat.h"
#include "errors.h"
#include "key.h"
#include "settings.h"

/* A prefix that no client's key has, and the function whose keys have it. */
typedef struct ReservedPrefix
{
	const char *prefix;
	const char *function;
} ReservedPrefix;

static const ReservedPrefix *reserved_prefix(const text *key);
static Refusal *check_text(const text *t, const char *too_long,
						   const char *unprintable, int max_bytes, int sqlstate);
static int	control_character(const char *s, int len);

static const ReservedPrefix reserved_prefixes[] = {
	{KEY_CANCEL_PREFIX, "idem_cancel()"},
	{KEY_EXPIRE_PREFIX, "idem_expire()"},
};

/* the messages of check_text() for keys */
static const char *const key_too_long = "idempotency key is too long";
static const char *const key_unprintable = "idempotency key contains a control character";

Refusal *
key_check(text *key, text *scope, Key *result)
{
	const ReservedPrefix *reserved;
	Refusal    *refusal;

	if (key == NULL)
		return refusal_make(ERRCODE_IDEM_BAD_KEY,
							"idempotency key must not be null", NULL, NULL);
	if (VARSIZE_ANY_EXHDR(key) == 0)
		return refusal_make(ERRCODE_IDEM_BAD_KEY,
							"idempotency key must not be empty", NULL, NULL);
	refusal = check_text(key, key_too_long, key_unprintable, KEY_MAX_BYTES,
						 ERRCODE_IDEM_BAD_KEY);
	if (refusal)
		return refusal;
	reserved = reserved_prefix(key);
	if (reserved)
		return refusal_make(ERRCODE_IDEM_BAD_KEY,
							"idempotency key begins with a reserved prefix",
							psprintf("The prefix \"%s\" is reserved for keys that %s makes.",
									 reserved->prefix, reserved->function),
							NULL);

	result->key = key;
	return key_check_scope(scope, &result->scope);
}

Refusal *
key_check_account(text *name, text *scope, Key *result)
{
	Refusal    *refusal;

	if (name == NULL)
		return refusal_make(ERRCODE_NULL_VALUE_NOT_ALLOWED,
							"account name must not be null", NULL, NULL);
	if (VARSIZE_ANY_EXHDR(name) == 0)
		return refusal_make(ERRCODE_INVALID_PARAMETER_VALUE,
							"account name must not be empty", NULL, NULL);
	refusal = check_text(name, "account name is too long",
						 "account name contains a control character", KEY_MAX_BYTES,
						 ERRCODE_INVALID_PARAMETER_VALUE);
	if (refusal)
		return refusal;
	result->key = name;
	return key_check_scope(scope, &result->scope);
}

Refusal *
key_check_lookup(text *key, text *scope, Key *result)
{
	Refusal    *refusal;

	if (key == NULL || !key_is_reserved(key))
		return key_check(key, scope, result);

	/* what a cancellation has done may be cancelled, too */
	refusal = check_text(key, key_too_long, key_unprintable,
						 KEY_MAX_BYTES + 2 * strlen(KEY_CANCEL_PREFIX), ERRCODE_IDEM_BAD_KEY);
	if (refusal)
		return refusal;
	result->key = key;
	return key_check_scope(scope, &result->scope);
}

Refusal *
key_check_scope(text *scope, text **result)
{
	/* a setting may be another client's, left behind in a pooled session */
	if (scope == NULL && setting_require_scope)
		return refusal_make(ERRCODE_NULL_VALUE_NOT_ALLOWED,
							"scope must not be null or left out",
							"The setting \"idempotency.require_scope\" is on.",
							"Pass the argument \"scope\". The setting \"idempotency.scope\" does not count.");

	*result = scope ? scope : setting_text(setting_scope, "idempotency.scope");
	return check_text(*result, "scope is too long",
					  "scope contains a control character", KEY_MAX_BYTES,
					  ERRCODE_INVALID_PARAMETER_VALUE);
}

bool
key_is_reserved(const text *key)
{
	return reserved_prefix(key) != NULL;
}

Key
key_with_prefix(const char *prefix, const Key *key)
{
	Key			result;

	result.key = cstring_to_text(psprintf("%s%s", prefix, text_to_cstring(key->key)));
	result.scope = key->scope;
	return result;
}

int
key_compare(const Key *a, const Key *b)
{
	int			order = bytes_compare(a->key, b->key);

	return order != 0 ? order : bytes_compare(a->scope, b->scope);
}

uint64
key_hash(const Key *key, uint64 seed)
{
	seed = DatumGetUInt64(hash_any_extended((unsigned char *) VARDATA_ANY(key->scope),
											VARSIZE_ANY_EXHDR(key->scope), seed));
	return DatumGetUInt64(hash_any_extended((unsigned char *) VARDATA_ANY(key->key),
											VARSIZE_ANY_EXHDR(key->key), seed));
}

/*
 * The reserved prefix that a key begins with, or NULL.
 */
static const ReservedPrefix *
reserved_prefix(const text *key)
{
	for (int i = 0; i < lengthof(reserved_prefixes); i++)
	{
		int			length = strlen(reserved_prefixes[i].prefix);

		if (VARSIZE_ANY_EXHDR(key) >= length &&
			memcmp(VARDATA_ANY(key), reserved_prefixes[i].prefix, length) == 0)
			return &reserved_prefixes[i];
	}
	return NULL;
}

/*
 * Refuse a text that is too long or has a control character.  too_long,
 * unprintable: the messages for these.  sqlstate: the refusal's.
 */
static Refusal *
check_text(const text *t, const char *too_long, const char *unprintable,
		   int max_bytes, int sqlstate)
{
	const char *s = VARDATA_ANY(t);
	int			len = VARSIZE_ANY_EXHDR(t);
	int			at;

	if (len > max_bytes)
		return refusal_make(sqlstate, too_long,
							psprintf("%d bytes were given, but at most %d are allowed.",
									 len, max_bytes),
							NULL);

	at = control_character(s, len);
	if (at >= 0)
		return refusal_make(sqlstate, unprintable,
							psprintf("The control character is at byte %d.", at + 1),
							NULL);
	return NULL;
}

/*
 * The offset of the first control character (Unicode category Cc), or -1.
 *
 * No server encoding uses the bytes of ASCII inside a longer character.  So a byte
 * of the C0 set, or DEL, always is that character.  The C1 set, U+0080 to U+009F,
 * has two bytes in UTF-8.  In other encodings its bytes may be part of letters, and
 * are not refused.
 */
static int
control_character(const char *s, int len)
{
	bool		utf8 = GetDatabaseEncoding() == PG_UTF8;

	for (int i = 0; i < len; i++)
	{
		unsigned char c = s[i];

		if (c < 0x20 || c == 0x7F)
			return i;
		if (utf8 && c == 0xC2 && i + 1 < len && (unsigned char) s[i + 1] < 0xA0)
			return i;
	}
	return -1;
}
