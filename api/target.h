/*
 * The raw request target, taken apart (RFC 9112 section 3.2.1, origin form). Segments
 * and parameters are found in the still encoded text and decoded one by one, so that
 * "%2F" never splits and a plain "@" is told from "%40". Decoded text is valid UTF-8
 * without NUL, else API_TARGET_* says what is wrong with which piece.
 */
#ifndef GP_API_TARGET_H
#define GP_API_TARGET_H

#include "api/exchange.h"
#include "base/limits.h"

#define API_MAX_SEGMENTS 12

struct api_segment {
	struct span raw;  /* as sent */
	struct span text; /* decoded; in the arena, NUL behind it */
};

struct api_param {
	struct span name, value; /* decoded ("+" in the query is a space); in the arena, NUL behind them */
	struct span raw_value;   /* as sent: tells a plain "@" from "%40" */
	bool is_used;            /* api_query_* marks what a handler reads */
};

struct api_target {
	struct api_segment segments[API_MAX_SEGMENTS];
	size_t n_segments;
	bool has_trailing_slash;  /* "/mailboxes/" is not "/mailboxes" */
	struct api_param *params; /* own, in the arena */
	size_t n_params;
};

/* GP_OK; GP_INVALID (bad percent-encoding, not UTF-8, NUL; `error` names the piece);
 * GP_LIMIT: too long or too many; GP_NO_MEMORY. */
enum gp_status api_target_parse(struct span target, struct gp_arena *arena, struct api_target *target_out,
				struct gp_error *error) GP_MUST_USE;
/* Percent-encodes for one path segment, query value or RFC 8187 value: all but letters,
 * digits and "-_.!~$" (encodeURIComponent leaves "*'()" too, but an apostrophe can end
 * an attribute of HTML); into the arena, NULL when memory ends. */
char *api_percent_encode(struct gp_arena *arena, struct span utf8);

#endif
