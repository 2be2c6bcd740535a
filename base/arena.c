#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCK_BYTES ((size_t)4096)

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
		if (!kept && block->size <= BLOCK_BYTES) {
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
}

void *gp_arena_alloc(struct gp_arena *arena, size_t len)
{
	const size_t unit = alignof(max_align_t);

	if (len > arena->cap - arena->used || len > SIZE_MAX - unit) {
		return NULL;
	}
	len = (len + unit - 1) / unit * unit;

	struct gp_arena_block *block = arena->blocks;
	if (!block || block->size - block->used < len) {
		size_t size = len > BLOCK_BYTES ? len : BLOCK_BYTES;
		block = malloc(sizeof *block + size);
		if (!block) {
			return NULL;
		}
		block->size = size;
		block->used = 0;
		block->older = arena->blocks;
		arena->blocks = block;
	}
	void *memory = block->data + block->used;
	block->used += len;
	arena->used = len > arena->cap - arena->used ? arena->cap : arena->used + len;
	memset(memory, 0, len);
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
	char *copy = text.len < SIZE_MAX ? gp_arena_alloc(arena, text.len + 1) : NULL;

	if (copy && text.len > 0) {
		memcpy(copy, text.ptr, text.len);
	}
	return copy;
}

char *gp_arena_printf(struct gp_arena *arena, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);

	char *text = len < 0 ? NULL : gp_arena_alloc(arena, (size_t)len + 1);
	if (text) {
		va_start(args, format);
		vsnprintf(text, (size_t)len + 1, format, args);
		va_end(args);
	}
	return text;
}
