#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Each block is twice as large as the one before it, so that much memory is few blocks
 * and little memory is little. The sizes leave room for malloc's own header. */
#define FIRST_BLOCK ((size_t)4096 - 64)
#define LARGEST_BLOCK ((size_t)65536 - 64)
/* The most that an empty arena holds on to. */
#define KEPT_BLOCK ((size_t)16384)

struct gp_arena_block {
	struct gp_arena_block *older; /* own */
	size_t size;                  /* bytes in data */
	size_t used;
	alignas(max_align_t) char data[];
};

void gp_arena_init(struct gp_arena *arena, size_t cap)
{
	*arena = (struct gp_arena){.cap = cap};
}

void gp_arena_deinit(struct gp_arena *arena)
{
	while (arena->blocks) {
		struct gp_arena_block *block = arena->blocks;
		arena->blocks = block->older;
		free(block);
	}
	arena->used = 0;
}

void gp_arena_reset(struct gp_arena *arena)
{
	struct gp_arena_block *kept = NULL;

	while (arena->blocks) {
		struct gp_arena_block *block = arena->blocks;
		arena->blocks = block->older;
		if (!kept && block->size <= KEPT_BLOCK) {
			kept = block;
		} else {
			free(block);
		}
	}
	if (kept) {
		kept->older = NULL;
		kept->used = 0;
		arena->blocks = kept;
	}
	arena->used = 0;
	arena->is_short = false;
}

/* A block with room for `len` bytes, in front of the others. */
static struct gp_arena_block *add_block(struct gp_arena *arena, size_t len)
{
	size_t size = FIRST_BLOCK;

	if (arena->blocks) {
		size = arena->blocks->size < LARGEST_BLOCK / 2 ? arena->blocks->size * 2 : LARGEST_BLOCK;
	}
	if (size < len) {
		size = len;
	}
	struct gp_arena_block *block = malloc(sizeof *block + size);
	if (block) {
		block->size = size;
		block->used = 0;
		block->older = arena->blocks;
		arena->blocks = block;
	}
	return block;
}

/* `len` bytes as malloc() leaves them. `unit`: a power of two, at most max_align_t's. */
static void *take(struct gp_arena *arena, size_t len, size_t unit)
{
	struct gp_arena_block *block = arena->blocks;
	size_t padding = block ? (size_t)(0 - block->used) & (unit - 1) : 0;

	if (len > arena->cap - arena->used || padding > arena->cap - arena->used - len) {
		return NULL;
	}
	if (!block || block->size - block->used < padding || block->size - block->used - padding < len) {
		block = add_block(arena, len);
		if (!block) {
			arena->is_short = true;
			return NULL;
		}
		padding = 0;
	}
	char *memory = block->data + block->used + padding;
	block->used += padding + len;
	arena->used += padding + len;
	return memory;
}

void *gp_arena_alloc(struct gp_arena *arena, size_t len)
{
	void *memory = take(arena, len, alignof(max_align_t));

	if (memory) {
		memset(memory, 0, len);
	}
	return memory;
}

void *gp_arena_array(struct gp_arena *arena, size_t n, size_t size)
{
	if (size != 0 && n > SIZE_MAX / size) {
		return NULL;
	}
	return gp_arena_alloc(arena, n * size);
}

bool gp_arena_copy(struct gp_arena *arena, struct span bytes, struct span *copy_out)
{
	if (span_is_nil(bytes)) {
		*copy_out = SPAN_NIL;
		return true;
	}
	char *copy = gp_arena_strdup(arena, bytes);
	if (!copy) {
		return false;
	}
	*copy_out = span_make(copy, bytes.len);
	return true;
}

char *gp_arena_strdup(struct gp_arena *arena, struct span text)
{
	char *copy = text.len < SIZE_MAX ? take(arena, text.len + 1, 1) : NULL;

	if (copy) {
		if (text.len > 0) {
			memcpy(copy, text.ptr, text.len);
		}
		copy[text.len] = '\0';
	}
	return copy;
}

char *gp_arena_printf(struct gp_arena *arena, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);

	char *text = len < 0 ? NULL : take(arena, (size_t)len + 1, 1);
	if (text) {
		va_start(args, format);
		vsnprintf(text, (size_t)len + 1, format, args);
		va_end(args);
	}
	return text;
}
