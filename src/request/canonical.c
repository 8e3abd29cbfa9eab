/*-------------------------------------------------------------------------
 *
 * canonical.c
 *		The canonical form of a JSON text, by which JSON is compared.
 *
 * Two JSON texts (RFC 8259) mean the same if and only if they have the same
 * canonical form, byte for byte.  Stored fingerprints are hashes of this form
 * (fingerprint.c).  So it must never change.  It depends on no function or number of
 * PostgreSQL's own.
 *
 * The form is itself a JSON text, in UTF-8.  It is its own canonical form.
 *
 * -	There is no white space outside of strings.
 *
 * -	true, false and null are written so.
 *
 * -	A string is written as JSON.stringify() of ECMAScript writes it.  Escapes
 *		are resolved first.  A surrogate pair is one character.  Then these have an
 *		escape: \" \\ \b \t \n \f \r, and \u00xx for other characters below U+0020.
 *		A surrogate without its partner is \udxxx.  The hexadecimal digits are lower
 *		case.  All else is written as it is, in UTF-8.  Characters are not
 *		normalized: U+00E9 and "e" with U+0301 differ.
 *
 * -	A number that is zero is written 0, whatever its sign.  Any other number is
 *		a minus sign if it is negative, then digits, then "e" and an exponent.  The
 *		digits begin and end with another digit than 0.  The exponent is an integer,
 *		with a minus sign if it is negative, and without leading zeros.  If it is
 *		zero, it is left out with its "e".  So 1.50 is 15e-1, 1200 is 12e2, and 7.0
 *		is 7.  Digits and exponent may have any length.
 *
 * -	An array is its elements in their order, with commas, in brackets.
 *
 * -	An object is its members, with commas, in braces.  A member is its name,
 *		written as a string, a colon, and its value.  The members are sorted by
 *		their written names, without the quotes: byte by byte, as unsigned numbers,
 *		and a name that begins another one comes before it.
 *
 * -	Members of the same name all count.  They keep their order among
 *		themselves.  Parsers differ in which one they take.  So {"a": 1, "a": 2}
 *		differs from {"a": 2} and from {"a": 2, "a": 1}.
 *
 * RFC 8785 (JSON Canonicalization Scheme) is the model.  It differs in this:
 *
 * -	It writes a number as the nearest IEEE 754 double.  We keep all digits: an
 *		amount with 17 of them is not the one that comes after it.
 * -	It sorts names by UTF-16 code units, we by bytes.
 * -	It refuses members of the same name, and surrogates without a partner.
 *		We take every JSON text, because a client that has sent one sends it again.
 *
 * How it is done.  The text is read once, without recursion.  That writes the form
 * into memory, but for the order of members: their places are noted.
 * canonical_order.c writes it out in their order.
 *
 * Memory: the form is at most 5/3 as long as the text, and a number, as in [1.5], is
 * the worst case.  A level of nesting takes a byte.  An object takes some more bytes,
 * and so does each of its members.
 *
 * The file is also compiled without the server, to be fuzzed (test/fuzz).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "request/canonical.h"
#include "request/canonical_order.h"

static bool read_text(Reader *r);
static bool read_value(Reader *r, bool *complete);
static bool read_after_value(Reader *r);
static bool read_word(Reader *r, const char *word);
static bool read_number(Reader *r);
static size_t read_digits(Reader *r);
static void put_exponent(Reader *r, bool negative, const char *digits, size_t n,
						 int64 shift);
static void put_long_exponent(Reader *r, bool negative, const char *digits,
							  size_t n, int64 shift);
static bool read_member_name(Reader *r);
static bool read_string(Reader *r);
static bool read_escape(Reader *r);
static bool read_hex(Reader *r, uint32 *code);
static void put_character(Reader *r, uint32 code);
static void skip_space(Reader *r);
static void begin_level(Reader *r, Level level);
static void end_level(Reader *r);
static void put(Reader *r, const char *bytes, size_t n);

bool
canonical_json(const char *json, size_t len, CanonicalWrite write, void *arg)
{
	Reader		r = {.at = json, .end = json + len};
	bool		ok;

	Assert(AllocSizeIsValid(len));
	ok = read_text(&r);
	if (ok)
		order_write(&r, write, arg);
	vector_free(&r.form);
	vector_free(&r.levels);
	vector_free(&r.objects);
	vector_free(&r.open);
	vector_free(&r.pending);
	vector_free(&r.sorted);
	return ok;
}

/*
 * Read a whole text.  This and the functions below return false if it is no JSON.
 */
static bool
read_text(Reader *r)
{
	bool		complete;

	do
	{
		CHECK_FOR_INTERRUPTS();
		if (!read_value(r, &complete))
			return false;
		if (complete && !read_after_value(r))
			return false;
	} while (r->levels.n > 0);
	skip_space(r);
	return r->at == r->end;
}

/*
 * Read a scalar or an empty array or object; *complete is then true.  Or read the
 * beginning of an array or object, up to where its first value begins.
 */
static bool
read_value(Reader *r, bool *complete)
{
	char		c;

	skip_space(r);
	*complete = true;
	if (r->at == r->end)
		return false;
	c = *r->at;
	switch (c)
	{
		case '[':
		case '{':
			r->at++;
			put(r, &c, 1);
			begin_level(r, c == '[' ? LEVEL_ARRAY : LEVEL_OBJECT);
			skip_space(r);
			if (r->at < r->end && *r->at == (c == '[' ? ']' : '}'))
			{
				end_level(r);
				return true;
			}
			*complete = false;
			return c == '[' || read_member_name(r);
		case '"':
			return read_string(r);
		case 't':
			return read_word(r, "true");
		case 'f':
			return read_word(r, "false");
		case 'n':
			return read_word(r, "null");
		default:
			return read_number(r);
	}
}

/*
 * After a value, read the ends of what it is the last value of.  Then read up to
 * where the next value begins, if there is one.
 */
static bool
read_after_value(Reader *r)
{
	while (r->levels.n > 0)
	{
		Level		level = r->levels.items[r->levels.n - 1];

		CHECK_FOR_INTERRUPTS();
		skip_space(r);
		if (r->at == r->end)
			return false;
		if (*r->at == ',')
		{
			put(r, r->at++, 1);
			return level == LEVEL_ARRAY || read_member_name(r);
		}
		if (*r->at != (level == LEVEL_ARRAY ? ']' : '}'))
			return false;
		end_level(r);
	}
	return true;
}

/*
 * Read this word.
 */
static bool
read_word(Reader *r, const char *word)
{
	size_t		n = strlen(word);

	if (r->end - r->at < n || memcmp(r->at, word, n) != 0)
		return false;
	put(r, word, n);
	r->at += n;
	return true;
}

/*
 * Read a number.
 */
static bool
read_number(Reader *r)
{
	size_t		begin = r->form.n;
	size_t		digits;			/* where they begin, in form */
	size_t		n;
	int64		shift = 0;		/* how far the last digit is from the units */
	const char *exponent;
	size_t		exponent_len = 0;
	bool		exponent_negative = false;

	if (*r->at == '-')
		put(r, r->at++, 1);
	digits = r->form.n;

	n = read_digits(r);
	if (n == 0 || (n > 1 && *(r->at - n) == '0'))
		return false;
	if (r->at < r->end && *r->at == '.')
	{
		r->at++;
		n = read_digits(r);
		if (n == 0)
			return false;
		shift = -(int64) n;
	}
	for (; r->form.n > digits && r->form.items[r->form.n - 1] == '0'; r->form.n--)
		shift++;

	exponent = r->at;
	if (r->at < r->end && (*r->at == 'e' || *r->at == 'E'))
	{
		r->at++;
		if (r->at < r->end && (*r->at == '+' || *r->at == '-'))
			exponent_negative = *r->at++ == '-';
		for (exponent = r->at; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
			;
		exponent_len = r->at - exponent;
		if (exponent_len == 0)
			return false;
	}

	if (r->form.n == digits)
	{
		r->form.n = begin;		/* without its sign */
		put(r, "0", 1);
	}
	else
		put_exponent(r, exponent_negative, exponent, exponent_len, shift);
	return true;
}

/*
 * Read digits, and write them without those zeros that the number would begin with.
 *
 * Result: how many have been read.
 */
static size_t
read_digits(Reader *r)
{
	const char *begin = r->at;
	const char *wanted;
	bool		first = r->form.n == 0 ||
		r->form.items[r->form.n - 1] < '0' || r->form.items[r->form.n - 1] > '9';

	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		r->at++;
	for (wanted = begin; first && wanted < r->at && *wanted == '0'; wanted++)
		;
	put(r, wanted, r->at - wanted);
	return r->at - begin;
}

/*
 * Write the exponent of a number that is not zero: what the text has, plus shift.
 */
static void
put_exponent(Reader *r, bool negative, const char *digits, size_t n, int64 shift)
{
	int64		exponent = 0;
	char		buffer[32];

	for (; n > 0 && *digits == '0'; n--)
		digits++;
	if (n > 17)
	{
		put_long_exponent(r, negative, digits, n, shift);
		return;
	}
	for (size_t i = 0; i < n; i++)
		exponent = exponent * 10 + (digits[i] - '0');
	exponent = (negative ? -exponent : exponent) + shift;
	if (exponent != 0)
		put(r, buffer, snprintf(buffer, sizeof(buffer), "e" INT64_FORMAT, exponent));
}

/*
 * Write an exponent that may be beyond 64 bits.  It is far beyond shift, so its sign
 * stays.
 */
static void
put_long_exponent(Reader *r, bool negative, const char *digits, size_t n, int64 shift)
{
	int64		carry = negative ? -shift : shift;
	size_t		begin;
	char	   *sum;
	size_t		zeros;

	put(r, "e-", negative ? 2 : 1);
	begin = r->form.n;
	put(r, "0", 1);				/* which the sum may need */
	put(r, digits, n);
	sum = r->form.items + begin;
	for (size_t i = n + 1; carry != 0; i--)
	{
		int			digit;

		carry += sum[i - 1] - '0';
		digit = carry % 10;
		carry /= 10;
		if (digit < 0)
		{
			digit += 10;
			carry--;
		}
		sum[i - 1] = '0' + digit;
	}
	for (zeros = 0; sum[zeros] == '0'; zeros++)
		;
	memmove(sum, sum + zeros, n + 1 - zeros);
	r->form.n -= zeros;
}

/*
 * Read the name of a member, and its colon.
 */
static bool
read_member_name(Reader *r)
{
	*(uint32 *) vector_add(&r->pending, sizeof(uint32), 1) = r->form.n;
	skip_space(r);
	if (r->at == r->end || *r->at != '"' || !read_string(r))
		return false;
	skip_space(r);
	if (r->at == r->end || *r->at != ':')
		return false;
	put(r, r->at++, 1);
	return true;
}

/*
 * Read a string.
 */
static bool
read_string(Reader *r)
{
	const char *plain;

	put(r, r->at++, 1);
	for (;;)
	{
		for (plain = r->at; r->at < r->end; r->at++)
			if ((unsigned char) *r->at < 0x20 || *r->at == '"' || *r->at == '\\')
				break;
		put(r, plain, r->at - plain);
		if (r->at == r->end)
			return false;
		if (*r->at == '"')
		{
			put(r, r->at++, 1);
			return true;
		}
		if (*r->at != '\\' || !read_escape(r))
			return false;
	}
}

/*
 * Read an escape, and what is the other half of a surrogate pair.
 */
static bool
read_escape(Reader *r)
{
	static const char letters[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	uint32		code;
	uint32		low;
	const char *letter;

	r->at++;
	if (r->at == r->end)
		return false;
	if (*r->at != 'u')
	{
		letter = memchr(letters, *r->at++, strlen(letters));
		if (letter)
			put_character(r, meanings[letter - letters]);
		return letter != NULL;
	}

	r->at++;
	if (!read_hex(r, &code))
		return false;
	if (code >= 0xD800 && code <= 0xDBFF && r->end - r->at >= 2 &&
		r->at[0] == '\\' && r->at[1] == 'u')
	{
		const char *second = r->at;

		r->at += 2;
		if (!read_hex(r, &low))
			return false;
		if (low >= 0xDC00 && low <= 0xDFFF)
			code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
		else
			r->at = second;		/* it stands for itself */
	}
	put_character(r, code);
	return true;
}

/*
 * Read four hexadecimal digits.
 */
static bool
read_hex(Reader *r, uint32 *code)
{
	*code = 0;
	if (r->end - r->at < 4)
		return false;
	for (int i = 0; i < 4; i++)
	{
		char		c = *r->at++;

		if (c >= '0' && c <= '9')
			*code = *code * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			*code = *code * 16 + (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			*code = *code * 16 + (c - 'A' + 10);
		else
			return false;
	}
	return true;
}

/*
 * Write a character that had an escape.
 */
static void
put_character(Reader *r, uint32 code)
{
	static const char letters[] = "btn fr"; /* of U+0008 and on */
	char		buffer[8];
	int			n;

	if (code == '"' || code == '\\')
		n = snprintf(buffer, sizeof(buffer), "\\%c", (int) code);
	else if (code >= '\b' && code <= '\r' && code != '\v')
		n = snprintf(buffer, sizeof(buffer), "\\%c", letters[code - '\b']);
	else if (code < 0x20 || (code >= 0xD800 && code <= 0xDFFF))
		n = snprintf(buffer, sizeof(buffer), "\\u%04x", code);
	else
	{
		n = 0;
		if (code < 0x80)
			buffer[n++] = code;
		else
		{
			if (code < 0x800)
				buffer[n++] = 0xC0 | (code >> 6);
			else
			{
				if (code < 0x10000)
					buffer[n++] = 0xE0 | (code >> 12);
				else
				{
					buffer[n++] = 0xF0 | (code >> 18);
					buffer[n++] = 0x80 | ((code >> 12) & 0x3F);
				}
				buffer[n++] = 0x80 | ((code >> 6) & 0x3F);
			}
			buffer[n++] = 0x80 | (code & 0x3F);
		}
	}
	put(r, buffer, n);
}

/*
 * Go to the next byte that is no white space.
 */
static void
skip_space(Reader *r)
{
	while (r->at < r->end &&
		   (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

/*
 * An array or an object begins; its bracket has been written.
 */
static void
begin_level(Reader *r, Level level)
{
	*(char *) vector_add(&r->levels, sizeof(char), 1) = level;
	if (level == LEVEL_OBJECT)
	{
		Object	   *object;

		*(uint32 *) vector_add(&r->open, sizeof(uint32), 1) = r->objects.n;
		object = vector_add(&r->objects, sizeof(Object), 1);
		object->inside.from = r->form.n;
		object->first = r->pending.n;
		object->nsorted = 0;
	}
}

/*
 * An array or an object ends; its bracket is the next byte.
 */
static void
end_level(Reader *r)
{
	if (r->levels.items[--r->levels.n] == LEVEL_OBJECT)
		order_end_object(r);
	put(r, r->at++, 1);
}

void *
vector_add(Vector *v, size_t size, size_t n)
{
	if (v->n + n > v->room)
	{
		v->room = Max(v->room * 2, Max(v->n + n, 256));
		v->items = v->items
			? repalloc_huge(v->items, v->room * size)
			: MemoryContextAllocHuge(CurrentMemoryContext, v->room * size);
	}
	v->n += n;
	return v->items + (v->n - n) * size;
}

void
vector_free(Vector *v)
{
	if (v->items)
		pfree(v->items);
}

/*
 * Write some bytes of the form.
 */
static void
put(Reader *r, const char *bytes, size_t n)
{
	if (n > 0)
		memcpy(vector_add(&r->form, 1, n), bytes, n);
}
