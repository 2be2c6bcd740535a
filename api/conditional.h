/* Conditional and range requests (RFC 9110 sections 13 and 14). */
#ifndef GP_API_CONDITIONAL_H
#define GP_API_CONDITIONAL_H

#include "api/exchange.h"

/* Whether an If-None-Match value names `etag` ("\"abc\"" or "W/\"abc\""), by weak
 * comparison; "*" matches. NIL never does. */
bool api_none_match_hits(struct span if_none_match, const char *etag);
/* Whether an If-Match value allows a write on what has `etag`: by comparing the opaque
 * tags (weak ones count: a MODSEQ is what IMAP compares); "*" does. NIL (absent): true. */
bool api_match_allows(struct span if_match, const char *etag);

/* Whether the request has either: then a tag is worth a round trip of its own. */
bool api_has_precondition(struct api_exchange *exchange);
/* What becomes of a GET or HEAD now that what it would show has `etag` ("": none is
 * known): 412 by If-Match, 304 by If-None-Match, in this order (RFC 9110 section 13.2.2);
 * 0: it is shown. */
unsigned api_precondition(struct api_exchange *exchange, const char *etag);

struct api_range {
	uint64_t first, last; /* both included */
};

enum api_range_result {
	API_RANGE_NONE,  /* absent, malformed, several ranges or another unit: send all */
	API_RANGE_OK,    /* range_out; needs size to be known */
	API_RANGE_UNMET, /* 416 */
};

/* `size` is the whole representation's. */
enum api_range_result api_range_parse(struct span range, uint64_t size, struct api_range *range_out);
/* If-Range: true when the range holds (absent, or the same strong tag). */
bool api_if_range_holds(struct span if_range, const char *etag);

#endif
