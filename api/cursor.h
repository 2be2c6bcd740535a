/*
 * Where a page of a list ended. Opaque to callers, and good for the very query that
 * it came from: another filter or sort is 400, another UIDVALIDITY 410.
 */
#ifndef GP_API_CURSOR_H
#define GP_API_CURSOR_H

#include "api/target.h"

/* How many more of the messages shown last a cursor into a sorted result names. */
#define API_CURSOR_EARLIER 15

struct api_cursor {
	uint32_t uidvalidity;
	uint32_t uid;      /* the last message shown */
	uint32_t position; /* where it stood: in the mailbox (from 1), or in the sorted result (from 0) */
	uint32_t query;    /* api_cursor_query_hash() */
	/* Sorted results: those shown before it, the last one first. Where it is gone from
	 * the result meanwhile, the next of them that is still there tells the place. */
	uint32_t earlier[API_CURSOR_EARLIER];
	size_t n_earlier;
};

/* Over all parameters but `cursor`, `limit`, `fields`, `pretty`, `preview`, `body` and
 * `maxBodyValueBytes`. */
uint32_t api_cursor_query_hash(const struct api_target *target);
bool api_cursor_parse(struct span text, struct api_cursor *cursor_out);
/* The address of the next page: this request's path and parameters with the cursor; in
 * the arena, NULL when memory ends. */
char *api_cursor_next(struct gp_arena *arena, struct span request_target, const struct api_target *target,
		      const struct api_cursor *cursor);

#endif
