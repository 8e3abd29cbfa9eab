/*-------------------------------------------------------------------------
 *
 * canonical_order.c
 *		The members of a JSON object in the order of their names.
 *
 * canonical.c reads a text, and says what the order is.  When an object ends and its
 * members are not sorted, a list of them is sorted and kept.  Then the form is written
 * out part by part, in the order of these lists.  No part is moved in memory.
 * Otherwise members out of order at each level of a deep text would take time in
 * proportion to the square of its length.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "request/canonical_order.h"

/* A step of the writing: a part of the form, or the members of an object. */
typedef struct Step
{
	bool		is_object;
	Span		rest;			/* of a part: what is left of it */
	uint32		object;			/* of an object: which one, in objects */
	uint32		next;			/* of an object: its next member */
} Step;

static bool in_order(const Reader *r, uint32 first, uint32 n);
static void sort_members(const Reader *r, Span *members, Span *scratch, size_t n);
static int	compare_names(const char *a, const char *b);
static void add_part(Vector *steps, Span part);
static void add_members(Vector *steps, uint32 object);
static uint32 next_unsorted(const Reader *r, Span part);

void
order_end_object(Reader *r)
{
	uint32		which = ((uint32 *) r->open.items)[--r->open.n];
	Object	   *object = (Object *) r->objects.items + which;
	uint32		first = object->first;
	uint32		n = r->pending.n - first;

	object->inside.to = r->form.n;
	if (!in_order(r, first, n))
	{
		Span	   *members = vector_add(&r->sorted, sizeof(Span), n * (size_t) 2);
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

void
order_write(const Reader *r, CanonicalWrite write, void *arg)
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
	vector_free(&steps);
}

/*
 * The next step is to write this part of the form.
 */
static void
add_part(Vector *steps, Span part)
{
	Step	   *step = vector_add(steps, sizeof(Step), 1);

	step->is_object = false;
	step->rest = part;
}

/*
 * The next step is to write the members of this object.
 */
static void
add_members(Vector *steps, uint32 object)
{
	Step	   *step = vector_add(steps, sizeof(Step), 1);

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
