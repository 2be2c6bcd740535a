/*
 * Query parameters, typed. A handler reads each one it knows; api_query_finish()
 * then refuses what is left: a typo is never silently ignored. The first bad value
 * sticks, so a handler reads everything and checks once.
 */
#ifndef GP_API_QUERY_H
#define GP_API_QUERY_H

#include "api/target.h"

#define API_MAX_KNOWN_PARAMETERS 64

struct api_query {
	struct api_target *target; /* borrow */
	struct gp_arena *arena;    /* borrow */
	struct gp_error error;     /* GP_INVALID: names the parameter */
	/* what was asked for, to suggest for a typo; past the cap nothing is suggested */
	const char *known[API_MAX_KNOWN_PARAMETERS]; /* borrow: static names */
	size_t n_known;
};

/* A value for people, in one line of an error: at most 60 bytes of valid UTF-8 without
 * control characters, "…" behind what was cut. Use within the full expression:
 * api_excerpt(value).text */
struct api_excerpt {
	char text[72];
};
struct api_excerpt api_excerpt(struct span value);

#define API_MAX_MAILBOX_NAME ((size_t)1024)
/* Of a body, as in a path: 1 to API_MAX_MAILBOX_NAME bytes without control characters. */
bool api_is_mailbox_name(struct span name);

void api_query_init(struct api_query *query, struct api_target *target, struct gp_arena *arena);
/* NIL when absent. A parameter that may not repeat and does is an error. */
struct span api_query_text(struct api_query *query, const char *name);
/* The n-th (0, 1, …) value of a repeatable parameter; false past the last. */
bool api_query_nth(struct api_query *query, const char *name, size_t n, struct span *value_out);
/* The same with the raw value beside it; NULL past the last. */
const struct api_param *api_query_param(struct api_query *query, const char *name, size_t n);
/* "1", "true" / "0", "false"; `fallback` when absent. An empty value ("?pretty") is true. */
bool api_query_bool(struct api_query *query, const char *name, bool fallback);
/* The same for what is not undone, false when absent: an empty value, as of a shell's
 * variable that is not set, is bad. */
bool api_query_consent(struct api_query *query, const char *name);
/* -1 absent, 0 or 1 */
int api_query_tristate(struct api_query *query, const char *name);
uint64_t api_query_number(struct api_query *query, const char *name, uint64_t least, uint64_t most, uint64_t fallback);
/* Marks the query as bad; the first error wins. */
void api_query_fail(struct api_query *query, const char *format, ...) GP_PRINTF(2, 3);
/* GP_OK, or GP_INVALID with query->error saying what: also for unknown parameters
 * (with the nearest known names where one is close). `pretty` is always known. */
enum gp_status api_query_finish(struct api_query *query) GP_MUST_USE;

#endif
