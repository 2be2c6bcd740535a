/*
 * Memory that lives and dies together: a parser's response, a command, a
 * request. Allocations are aligned for any type (copies of text are not) and are
 * never freed one by one. An arena has a cap; past it, and when memory ends,
 * gp_arena_alloc() answers NULL, and the caller fails with GP_NO_MEMORY or
 * GP_LIMIT. Blocks grow from 4 KiB to 64 KiB.
 */
#ifndef GP_BASE_ARENA_H
#define GP_BASE_ARENA_H

#include "base/span.h"
#include "base/status.h"

struct gp_arena_block;

struct gp_arena {
	struct gp_arena_block *blocks; /* own, newest first */
	size_t used;                   /* bytes handed out */
	size_t cap;                    /* bytes, > 0 */
	bool is_short;                 /* memory had ended for something since the arena was made or reset */
};

void gp_arena_init(struct gp_arena *arena, size_t cap);
void gp_arena_deinit(struct gp_arena *arena);
/* Everything handed out becomes invalid; one block of memory is kept for reuse. */
void gp_arena_reset(struct gp_arena *arena);

/* `len` zeroed bytes, aligned for any type. */
void *gp_arena_alloc(struct gp_arena *arena, size_t len);
/* `n` zeroed items of `size` bytes; NULL on overflow too. */
void *gp_arena_array(struct gp_arena *arena, size_t n, size_t size);
/* A NUL-terminated copy. */
char *gp_arena_strdup(struct gp_arena *arena, struct span text);
/* A copy (with a NUL behind it); false when memory ends. NIL stays NIL. */
bool gp_arena_copy(struct gp_arena *arena, struct span bytes, struct span *copy_out);
char *gp_arena_printf(struct gp_arena *arena, const char *format, ...) GP_PRINTF(2, 3);

#define gp_arena_new(arena, type) ((type *)gp_arena_alloc((arena), sizeof(type)))

#endif
