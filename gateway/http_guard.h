/*
 * Which requests are refused before anybody looks at them: what could be read in two
 * ways by two programs (request smuggling, RFC 9112 section 11.2), and what no client
 * has a reason to send; a field of one value that comes twice is both. A pure function
 * over the parsed request, as libmicrohttpd lets a good part of it through (0.9.75 nearly
 * all, 1.0.1 the repeated fields).
 *
 * What it cannot see: obsolete line folding on libmicrohttpd before 0.9.77, and
 * anything behind a NUL inside a field there.
 */
#ifndef GP_GATEWAY_HTTP_GUARD_H
#define GP_GATEWAY_HTTP_GUARD_H

#include "base/span.h"

#define HTTP_GUARD_MAX_HEADERS 100
/* So many are looked at; no more fit into the connection's memory, 64 bytes of it for each. */
#define HTTP_GUARD_ALL_HEADERS 256
#define HTTP_GUARD_MAX_METHOD 32
/* Bytes of the method, the target, of all fields, and of what libmicrohttpd keeps of each: the head of the
 * reply is to find room beside them in the connection's memory. */
#define HTTP_GUARD_MAX_HEAD ((size_t)13 * 1024)
/* From here on there is room for a short head only. */
#define HTTP_GUARD_TIGHT_HEAD ((size_t)15 * 1024)

struct http_guard_header {
	struct span name, value; /* borrow */
};

struct http_guard_request {
	struct span method, target, version; /* borrow */
	const struct http_guard_header *headers;
	size_t n_headers;
};

struct http_guard_verdict {
	unsigned status;    /* 0: nothing wrong; else 400, 414 or 431 */
	const char *detail; /* static, for people; without quotes and backslashes */
	bool is_tight;      /* the reply's head has to be short */
	/* what the request announces, when nothing is wrong */
	bool has_body;
	bool has_content_length;
	uint64_t content_length;
};

/* A target as servers have it, or, as one has it with a proxy, in absolute-form
 * ("http://host/path"), which a server has to take as well (RFC 9112 section 3.2.2). */
struct http_guard_target {
	struct span authority; /* the host, whatever Host says; NIL in origin-form */
	struct span rest;      /* what is behind it: "", or it begins with / or ?; in origin-form all */
};

struct http_guard_target http_guard_split(struct span target);
struct http_guard_verdict http_guard_check(const struct http_guard_request *request);

#endif
