/*
 * The libFuzzer target of src/request/canonical.c: no text makes it crash; its form is its own form; and a text that only
 * looks different (white space, escapes, zeros of numbers) has the same form.
 */
#include "postgres.h"

#include "request/canonical.h"

/* Bytes that grow. */
typedef struct Bytes
{
	char	   *bytes;
	size_t		len;
	size_t		room;
} Bytes;

static uint32 dice;

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
keep(void *arg, const char *bytes, size_t len)
{
	Bytes	   *b = arg;

	if (b->len + len > b->room)
		b->bytes = shim_allocated(realloc(b->bytes, b->room = 2 * (b->len + len)));
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
}

/* A number below n.  The same text is always rewritten in the same way. */
static uint32
roll(uint32 n)
{
	dice = dice * 1103515245 + 12345;
	return (dice >> 16) % n;
}

/* Write white space, or none. */
static void
space(Bytes *to)
{
	for (; roll(3) == 0;)
		keep(to, &" \t\r\n"[roll(4)], 1);
}

/* Write an ASCII character of a string as an escape. */
static void
escape(Bytes *to, char c)
{
	char		buffer[8];

	keep(to, buffer, snprintf(buffer, sizeof(buffer), roll(2) ? "\\u%04x" : "\\u%04X", c));
}

/* Write a number in another way: from its canonical form, to which zeros are added. */
static const char *
rewrite_number(const char *s, const char *end, Bytes *to)
{
	const char *begin = s;
	const char *exponent;

	while (s < end && strchr("0123456789-e", *s))
		s++;
	exponent = memchr(begin, 'e', s - begin);
	keep(to, begin, (exponent ? exponent : s) - begin);
	if (roll(2))
		keep(to, ".00", 2 + roll(2));
	if (exponent && exponent[1] == '-')
		keep(to, "E-00", 2 + roll(3)), keep(to, exponent + 2, s - exponent - 2);
	else if (exponent)
		keep(to, "E+00", 2 + roll(3)), keep(to, exponent + 1, s - exponent - 1);
	else if (roll(2))
		keep(to, "e-0", 3);
	return s;
}

/* Write a canonical form in another way. */
static void
rewrite(const Bytes *from, Bytes *to)
{
	const char *end = from->bytes + from->len;
	bool		in_string = false;

	for (const char *s = from->bytes; s < end; s++)
	{
		if (!in_string)
			space(to);
		if (*s == '"')
			in_string = !in_string;
		if (in_string && *s == '\\')
		{
			size_t		n = s[1] == 'u' ? 6 : 2;

			keep(to, s, n);
			s += n - 1;
		}
		else if (in_string && *s != '"' && (unsigned char) *s < 0x80 && roll(3) == 0)
			escape(to, *s);
		else if (!in_string && strchr("0123456789-", *s))
			s = rewrite_number(s, end, to) - 1;
		else if (!in_string && strchr("tfn", *s))
		{
			size_t		n = *s == 'f' ? 5 : 4;

			keep(to, s, n);
			s += n - 1;
		}
		else
			keep(to, s, 1);
		if (!in_string)
			space(to);
	}
}

static void
check(const Bytes *text, const Bytes *expected)
{
	Bytes		form = {0};

	if (!canonical_json(text->bytes, text->len, keep, &form) ||
		form.len != expected->len || memcmp(form.bytes, expected->bytes, form.len) != 0)
	{
		fprintf(stderr, "text: %.*s\nform: %.*s\nexpected: %.*s\n", (int) text->len, text->bytes,
				(int) form.len, form.bytes, (int) expected->len, expected->bytes);
		abort();
	}
	free(form.bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	Bytes		form = {0};
	Bytes		other = {0};

	dice = len;
	for (size_t i = 0; i < len; i++)
		dice = dice * 31 + data[i];
	if (!canonical_json((const char *) data, len, keep, &form))
	{
		assert(form.len == 0);
		return 0;
	}
	assert(form.len <= len * 5 / 3 + 1);
	check(&form, &form);
	rewrite(&form, &other);
	check(&other, &form);
	free(form.bytes);
	free(other.bytes);
	return 0;
}
