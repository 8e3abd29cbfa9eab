/*
 * Prints canonical forms, for test/fuzz/differential: reads texts from standard input, each after its length in a line of its
 * own, and prints the form of each in the same way. The length is -1 if the text is no JSON.
 */
#include "postgres.h"

#include "request/canonical.h"

static char *form;
static size_t form_len, room;

static void
keep(void *arg, const char *bytes, size_t len)
{
	if (form_len + len > room)
		form = shim_allocated(realloc(form, room = 2 * (form_len + len)));
	memcpy(form + form_len, bytes, len);
	form_len += len;
}

int
main(void)
{
	size_t		len;

	while (scanf("%zu", &len) == 1)
	{
		char	   *text = shim_allocated(malloc(len + 1));

		getchar();
		if (fread(text, 1, len, stdin) != len)
			return 1;
		form_len = 0;
		if (canonical_json(text, len, keep, NULL))
		{
			printf("%zu\n", form_len);
			fwrite(form, 1, form_len, stdout);
		}
		else
			printf("-1\n");
		fflush(stdout);
		free(text);
	}
	free(form);
	return 0;
}
