/*
 * What src/request/canonical.c takes from PostgreSQL, so that it can be compiled without it.
 */
#ifndef SHIM_POSTGRES_H
#define SHIM_POSTGRES_H

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint32_t uint32;
typedef int64_t int64;
#define INT64_FORMAT "%" PRId64
#define Min(x, y) ((x) < (y) ? (x) : (y))
#define Max(x, y) ((x) > (y) ? (x) : (y))
#define Assert(condition) assert(condition)

#define AllocSizeIsValid(size) ((size) <= 0x3fffffff)
#define CurrentMemoryContext NULL
#define MemoryContextAllocHuge(context, size) shim_allocated(malloc(size))
#define repalloc_huge(pointer, size) shim_allocated(realloc(pointer, size))
#define pfree(pointer) free(pointer)
#define CHECK_FOR_INTERRUPTS() ((void) 0)

static inline void *
shim_allocated(void *pointer)
{
	if (pointer == NULL)
		abort();
	return pointer;
}

#endif							/* SHIM_POSTGRES_H */
