/*-------------------------------------------------------------------------
 *
 * key.c
 *		Keys and scopes: what they may be.
 *
 * A key is text the client chose, compared byte by byte: no case is folded,
 * no space trimmed, no Unicode normalised.  The IETF draft "The
 * Idempotency-Key HTTP Header Field" makes it a string of printable ASCII; we
 * also take the rest of the database's encoding.  Control characters are
 * refused, because a key that cannot be read off a log or a header is a key
 * that will one day be sent again a little differently.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "compat.h"
#include "errors.h"
#include "key.h"
#include "settings.h"

static void check_text(const text *t, const char *what, int sqlstate);
static int	control_character(const char *s, int len);

Key
key_check(text *key, text *scope)
{
	Key			result;

	if (key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_BAD_KEY),
				 errmsg("idempotency key must not be null")));
	if (VARSIZE_ANY_EXHDR(key) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_IDEM_BAD_KEY),
				 errmsg("idempotency key must not be empty")));
	check_text(key, "idempotency key", ERRCODE_IDEM_BAD_KEY);

	result.key = key;
	result.scope = key_check_scope(scope);
	return result;
}

text *
key_check_scope(text *scope)
{
	if (scope == NULL)
		scope = cstring_to_text(setting_scope);
	check_text(scope, "scope", ERRCODE_INVALID_PARAMETER_VALUE);
	return scope;
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
 * Complain if a text is too long or has a control character.
 */
static void
check_text(const text *t, const char *what, int sqlstate)
{
	const char *s = VARDATA_ANY(t);
	int			len = VARSIZE_ANY_EXHDR(t);
	int			at;

	if (len > KEY_MAX_BYTES)
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("%s is too long", what),
				 errdetail("It has %d bytes, %d are allowed.",
						   len, KEY_MAX_BYTES)));

	at = control_character(s, len);
	if (at >= 0)
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("%s has a control character", what),
				 errdetail("It is at byte %d.", at + 1)));
}

/*
 * Offset of the first control character (Unicode category Cc), or -1.
 *
 * No server encoding uses the bytes of ASCII inside a longer character, so
 * the C0 set and DEL are told bytewise.  The C1 set, U+0080 to U+009F, is two
 * bytes in UTF-8; in single-byte encodings its bytes may be letters, and are
 * let pass.
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
