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
 * into memory, but for the order of members: their places are noted.  When an object
 * ends and its members are not sorted, a list of them is sorted and kept.  Then the
 * form is written out part by part, in the order of these lists.  No part is moved in
 * memory.  Otherwise members out of order at each level of a deep text would take
 * time in proportion to the square of its length.
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

/* An array that grows. */
typedef struct Vector
{
	char	   *items;
	size_t		n;				/* items in use */
	size_t		room;			/* items that there is room for */
} Vector;

/* What holds values.  Levels are kept as bytes. */
typedef enum Level
{
	LEVEL_ARRAY,
	LEVEL_OBJECT
} Level;

/* A part of the form as it was read.  Below 4 GB, as the text is below 1 GB. */
typedef struct Span
{
	uint32		from;
	uint32		to;				/* the end, exclusive */
} Span;

/* An object that has not ended, or is out of order, or holds one that is. */
typedef struct Object
{
	Span		inside;			/* between its braces */
	uint32		first;			/* its first member: in Reader.pending until
								 * the object ends, then in Reader.sorted */
	uint32		nsorted;		/* how many are in Reader.sorted; 0: its
								 * members are in order */
} Object;

/* Reading a text. */
typedef struct Reader
{
	const char *at;				/* the next byte */
	const char *end;
	Vector		form;			/* char: what has been read, in its order */
	Vector		levels;			/* char: a Level for each that has not ended */
	Vector		objects;		/* Object, by their beginnings */
	Vector		open;			/* uint32: those that have not ended, in
								 * objects */
	Vector		pending;		/* uint32: where their members begin, in form */
	Vector		sorted;			/* Span: members of others, sorted */
} Reader;

/* A step of the writing: a part of the form, or the members of an object. */
typedef struct Step
{
	bool		is_object;
	Span		rest;			/* of a part: what is left of it */
	uint32		object;			/* of an object: which one, in objects */
	uint32		next;			/* of an object: its next member */
} Step;

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
static void end_object(Reader *r);
static bool in_order(const Reader *r, uint32 first, uint32 n);
static void sort_members(const Reader *r, Span *members, Span *scratch, size_t n);
static int	compare_names(const char *a, const char *b);
static void write_form(const Reader *r, CanonicalWrite write, void *arg);
static void add_part(Vector *steps, Span part);
static void add_members(Vector *steps, uint32 object);
static uint32 next_unsorted(const Reader *r, Span part);
static void *add(Vector *v, size_t size, size_t n);
static void release(Vector *v);
static void put(Reader *r, const char *bytes, size_t n);

bool
canonical_json(const char *json, size_t len, CanonicalWrite write, void *arg)
{
	Reader		r = {.at = json, .end = json + len};
	bool		ok;

	Assert(AllocSizeIsValid(len));
	ok = read_text(&r);
	if (ok)
		write_form(&r, write, arg);
	release(&r.form);
	release(&r.levels);
	release(&r.objects);
	release(&r.open);
	release(&r.pending);
	release(&r.sorted);
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
	*(uint32 *) add(&r->pending, sizeof(uint32), 1) = r->form.n;
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
	*(char *) add(&r->levels, sizeof(char), 1) = level;
	if (level == LEVEL_OBJECT)
	{
		Object	   *object;

		*(uint32 *) add(&r->open, sizeof(uint32), 1) = r->objects.n;
		object = add(&r->objects, sizeof(Object), 1);
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
		end_object(r);
	put(r, r->at++, 1);
}

/*
 * An object ends: sort its members, if they are out of order.
 */
static void
end_object(Reader *r)
{
	uint32		which = ((uint32 *) r->open.items)[--r->open.n];
	Object	   *object = (Object *) r->objects.items + which;
	uint32		first = object->first;
	uint32		n = r->pending.n - first;

	object->inside.to = r->form.n;
	if (!in_order(r, first, n))
	{
		Span	   *members = add(&r->sorted, sizeof(Span), n * (size_t) 2);
		const uint32 *from = (uint32 *) r->pending.items + first;

		for (uint32 i = 0; i < n; i++)
		{
			members[i].from = from[i];
			members[i].to = i + 1 < n ? from[i + 1] - 1 : object->inside.to;
		}
		sort_members(r, members, members + n, n);
		r->sorted.n -= n;
		object->first = r->sorted.n - n;
		object->nsorted = n;
	}
	else if (which == r->objects.n - 1)
		r->objects.n--;			/* nothing in it is out of order */
	r->pending.n = first;
}

/*
 * Are n members of an object that has not ended in their order?
 */
static bool
in_order(const Reader *r, uint32 first, uint32 n)
{
	const uint32 *from = (const uint32 *) r->pending.items;

	for (uint32 i = first + 1; i < first + n; i++)
		if (compare_names(r->form.items + from[i - 1], r->form.items + from[i]) > 0)
			return false;
	return true;
}

/*
 * Sort members by their names.  Those of the same name keep their order.  A merge
 * sort has no bad case.
 *
 * scratch: room for n members.
 */
static void
sort_members(const Reader *r, Span *members, Span *scratch, size_t n)
{
	for (size_t width = 1; width < n; width *= 2)
	{
		CHECK_FOR_INTERRUPTS();
		for (size_t begin = 0; begin < n; begin += 2 * width)
		{
			size_t		middle = Min(begin + width, n);
			size_t		end = Min(begin + 2 * width, n);
			size_t		left = begin;
			size_t		right = middle;

			for (size_t i = begin; i < end; i++)
			{
				if (right == end ||
					(left < middle &&
					 compare_names(r->form.items + members[left].from,
								   r->form.items + members[right].from) <= 0))
					scratch[i] = members[left++];
				else
					scratch[i] = members[right++];
			}
		}
		memcpy(members, scratch, n * sizeof(Span));
	}
}

/*
 * Compare the names of two members, which begin with a quote.
 */
static int
compare_names(const char *a, const char *b)
{
	do
	{
		/* a quote after a backslash does not end the name */
		if (*a == '\\' && *b == '\\' && a[1] == b[1])
		{
			a++;
			b++;
		}
		a++;
		b++;
	} while (*a == *b && *a != '"');
	if (*a == *b)
		return 0;
	/* it ends here, or it has an escaped quote, which is below the others */
	if (*a == '"')
		return -1;
	if (*b == '"')
		return 1;
	return (unsigned char) *a - (unsigned char) *b;
}

/*
 * Write what has been read, with the members of each object in their order.
 */
static void
write_form(const Reader *r, CanonicalWrite write, void *arg)
{
	Vector		steps = {0};
	Span		whole = {0, r->form.n};

	add_part(&steps, whole);
	while (steps.n > 0)
	{
		Step	   *step = (Step *) steps.items + steps.n - 1;

		CHECK_FOR_INTERRUPTS();
		if (step->is_object)
		{
			const Object *object = (Object *) r->objects.items + step->object;

			if (step->next == object->nsorted)
				steps.n--;
			else
			{
				Span		member = ((Span *) r->sorted.items)[object->first + step->next];

				if (step->next++ > 0)
					write(arg, ",", 1);
				add_part(&steps, member);
			}
		}
		else
		{
			uint32		which = next_unsorted(r, step->rest);
			const char *part = r->form.items + step->rest.from;

			if (which == r->objects.n)
			{
				write(arg, part, step->rest.to - step->rest.from);
				steps.n--;
			}
			else
			{
				Span		inside = ((Object *) r->objects.items)[which].inside;

				write(arg, part, inside.from - step->rest.from);
				step->rest.from = inside.to;
				add_members(&steps, which);
			}
		}
	}
	release(&steps);
}

/*
 * The next step is to write this part of the form.
 */
static void
add_part(Vector *steps, Span part)
{
	Step	   *step = add(steps, sizeof(Step), 1);

	step->is_object = false;
	step->rest = part;
}

/*
 * The next step is to write the members of this object.
 */
static void
add_members(Vector *steps, uint32 object)
{
	Step	   *step = add(steps, sizeof(Step), 1);

	step->is_object = true;
	step->object = object;
	step->next = 0;
}

/*
 * The first object in a part of the form whose members are out of order; the number
 * of objects if there is none.  An object whose first member the part begins with is
 * not in it.
 */
static uint32
next_unsorted(const Reader *r, Span part)
{
	const Object *objects = (Object *) r->objects.items;
	uint32		low = 0;
	uint32		high = r->objects.n;

	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;

		if (objects[middle].inside.from <= part.from)
			low = middle + 1;
		else
			high = middle;
	}
	while (low < r->objects.n && objects[low].inside.from < part.to)
	{
		if (objects[low].nsorted > 0)
			return low;
		low++;
	}
	return r->objects.n;
}

/*
 * Add n items of this size to an array.
 *
 * Result: the first of them, to be filled.
 */
static void *
add(Vector *v, size_t size, size_t n)
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

/*
 * Free an array.
 */
static void
release(Vector *v)
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
		memcpy(add(&r->form, 1, n), bytes, n);
}
