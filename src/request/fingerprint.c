/*-------------------------------------------------------------------------
 *
 * fingerprint.c
 *		The fingerprint of a request, by which a replay is compared.
 *
 * The value is turned into jsonb.  That sorts the members of objects, and of several
 * with the same name it keeps the last.  Then we walk through it.
 *
 * The kind is hashed first, then each token of the walk: a byte that says what it
 * is, and for a name or a scalar its type and its value.  Texts have their length
 * before them.  A number is its text, without zeros at the end of the decimals.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "compat.h"
#include "request/fingerprint.h"

static void add(pg_cryptohash_ctx *hash, const void *bytes, size_t len);
static void add_scalar(pg_cryptohash_ctx *hash, const JsonbValue *value);
static void add_text(pg_cryptohash_ctx *hash, const char *bytes, int len);

bytea *
fingerprint_make(const char *kind, text *json)
{
	Jsonb	   *jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
														   CStringGetDatum(text_to_cstring(json))));
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);
	JsonbIterator *it = JsonbIteratorInit(&jsonb->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	bytea	   *result = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);

	if (hash == NULL || pg_cryptohash_init(hash) < 0)
		elog(ERROR, "could not initialize SHA-256");
	add_text(hash, kind, strlen(kind));
	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		uint8		byte = token;

		/* jsonb keeps a scalar as an array of one */
		if (token == WJB_BEGIN_ARRAY && value.val.array.rawScalar)
			continue;
		add(hash, &byte, 1);
		if (token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM)
			add_scalar(hash, &value);
	}
	if (pg_cryptohash_final(hash, (uint8 *) VARDATA(result),
							PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute SHA-256");
	pg_cryptohash_free(hash);

	SET_VARSIZE(result, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	return result;
}

/*
 * Hash a name or a scalar: its type and its value.
 */
static void
add_scalar(pg_cryptohash_ctx *hash, const JsonbValue *value)
{
	uint8		type = value->type;

	add(hash, &type, 1);
	switch (value->type)
	{
		case jbvString:
			add_text(hash, value->val.string.val, value->val.string.len);
			break;
		case jbvNumeric:
			{
				char	   *number = numeric_normalize(value->val.numeric);

				add_text(hash, number, strlen(number));
				break;
			}
		case jbvBool:
			type = value->val.boolean;
			add(hash, &type, 1);
			break;
		default:				/* null has no more than its type */
			break;
	}
}

/*
 * Hash a text, with its length before it.
 */
static void
add_text(pg_cryptohash_ctx *hash, const char *bytes, int len)
{
	uint32		prefix = pg_hton32(len);

	add(hash, &prefix, sizeof(prefix));
	add(hash, bytes, len);
}

/*
 * Hash some bytes.
 */
static void
add(pg_cryptohash_ctx *hash, const void *bytes, size_t len)
{
	if (pg_cryptohash_update(hash, bytes, len) < 0)
		elog(ERROR, "could not compute SHA-256");
}
