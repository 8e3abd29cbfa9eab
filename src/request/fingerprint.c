/*-------------------------------------------------------------------------
 *
 * fingerprint.c
 *		The fingerprint of a request, by which a replay is compared.
 *
 * A fingerprint is the SHA-256 of a word and the content.  The word says what the
 * content is, and which version of this rule was followed.  It ends with a newline.
 *
 * "json 1"		The content is the canonical form of a JSON text, see canonical.c.
 * "bytes 1"	The content is the bytes as they came, in the encoding of the database.
 * "command 1"	As "json 1".  The content is an object with the command and arguments
 *				of idem_execute(), see execute.c.
 *
 * A stored fingerprint must be found again by every later version of this extension
 * and of PostgreSQL.  So a rule never changes.  A new rule gets a new word.
 *
 * The canonical form is in UTF-8, whatever the encoding of the database.  So JSON has
 * the same fingerprint in every database, and an escape is the character that it
 * stands for.  A character that has no Unicode keeps its bytes.  A database with
 * encoding SQL_ASCII does not know its characters, and all bytes are taken as they
 * are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "bytes.h"
#include "compat.h"
#include "json_arg.h"
#include "request/canonical.h"
#include "request/fingerprint.h"

/* The word of each kind. */
static const char *const kind_words[] = {
	[FINGERPRINT_JSON] = "json 1\n",
	[FINGERPRINT_BYTES] = "bytes 1\n",
	[FINGERPRINT_COMMAND] = "command 1\n",
};

static void to_utf8(const char **content, size_t *len);
static void add(void *hash, const char *bytes, size_t len);

bytea *
fingerprint_make(FingerprintKind kind, const char *content, size_t len)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);
	bytea	   *result = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);

	if (hash == NULL || pg_cryptohash_init(hash) < 0)
		elog(ERROR, "could not initialize SHA-256");
	add(hash, kind_words[kind], strlen(kind_words[kind]));
	if (kind == FINGERPRINT_BYTES)
		add(hash, content, len);
	else
	{
		to_utf8(&content, &len);
		if (!canonical_json(content, len, add, hash))
			elog(ERROR, "JSON has no canonical form");
	}
	if (pg_cryptohash_final(hash, (uint8 *) VARDATA(result),
							PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute SHA-256");
	pg_cryptohash_free(hash);

	SET_VARSIZE(result, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	return result;
}

bytea *
fingerprint_of_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	FingerprintKind kind = FINGERPRINT_BYTES;
	struct varlena *content = NULL;

	switch (json_arg_type(fcinfo, n))
	{
		case JSON_ARG_NULL:
			return NULL;
		case JSON_ARG_JSON:
		case JSON_ARG_JSONB:
			kind = FINGERPRINT_JSON;
			content = json_arg_text(fcinfo, n, name);
			break;
		case JSON_ARG_TEXT:
			content = json_arg_string(fcinfo, n);
			if (bytes_equal_cstring(content, "[object Object]"))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("%s is the text \"[object Object]\"", name),
						 errdetail("JavaScript makes this text of every object, so all requests would be the same."),
						 errhint("Pass JSON.stringify() of the object.")));
			break;
		case JSON_ARG_BYTES:
			content = PG_GETARG_BYTEA_PP(n);
			break;
		case JSON_ARG_OTHER:
			json_arg_refuse_type(fcinfo, n, name, "text, json, jsonb or bytea");
	}
	return fingerprint_make(kind, VARDATA_ANY(content), VARSIZE_ANY_EXHDR(content));
}

/*
 * Convert a text from the encoding of the database to UTF-8.
 */
static void
to_utf8(const char **content, size_t *len)
{
	int			encoding = GetDatabaseEncoding();
	const char *from = *content;
	const char *end = from + *len;
	StringInfoData to;
	unsigned char buffer[8192];
	Oid			conversion;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return;
	conversion = FindDefaultConversionProc(encoding, PG_UTF8);
	if (!OidIsValid(conversion))
		return;

	initStringInfo(&to);
	while (from < end)
	{
		/* it stops at what cannot be converted, and before the buffer is full */
		int			n = pg_do_encoding_conversion_buf(conversion, encoding, PG_UTF8,
													  unconstify(unsigned char *, (const unsigned char *) from),
													  end - from, buffer, sizeof(buffer),
													  true);

		CHECK_FOR_INTERRUPTS();
		appendStringInfoString(&to, (char *) buffer);
		if (n == 0)
		{
			n = Min(pg_mblen(from), end - from);
			appendBinaryStringInfo(&to, from, n);
		}
		from += n;
	}
	*content = to.data;
	*len = to.len;
}

/*
 * Hash some bytes.
 */
static void
add(void *hash, const char *bytes, size_t len)
{
	while (len > 0)
	{
		size_t		n = Min(len, 1024 * 1024);

		CHECK_FOR_INTERRUPTS();
		if (pg_cryptohash_update(hash, (const uint8 *) bytes, n) < 0)
			elog(ERROR, "could not compute SHA-256");
		bytes += n;
		len -= n;
	}
}
