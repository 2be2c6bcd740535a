/*
 * Errors as RFC 9457 problems: the one place that maps what went wrong to a status.
 *
 *   {"type":"/problems/over-quota","title":"…","status":507,"detail":"…","instance":"/messages/7",
 *    "requestId":"…","retryable":false,"imap":{"status":"NO","code":"OVERQUOTA","text":"…"}}
 *
 * A precondition that failed is told with what the resource is now, so that the caller can
 * decide without another request: its ETag, and "current", where the handler knows them.
 */
#ifndef GP_API_PROBLEM_H
#define GP_API_PROBLEM_H

#include <jansson.h>

#include "api/exchange.h"

/* enum suffix, slug, HTTP status, retryable, title */
#define API_PROBLEM_MAP(X)                                                                                             \
	X(BAD_REQUEST, "bad-request", 400, false, "The request is malformed")                                          \
	X(UNAUTHORIZED, "unauthorized", 401, false, "Authentication is needed")                                        \
	X(FORBIDDEN, "forbidden", 403, false, "Not allowed")                                                           \
	X(NOT_FOUND, "not-found", 404, false, "There is no such resource")                                             \
	X(METHOD_NOT_ALLOWED, "method-not-allowed", 405, false, "This resource has no such method")                    \
	X(NOT_ACCEPTABLE, "not-acceptable", 406, false, "No such representation")                                      \
	X(CONFLICT, "conflict", 409, false, "The state of the mailbox does not allow this")                            \
	X(GONE, "gone", 410, false, "The mailbox has moved on")                                                        \
	X(PRECONDITION_FAILED, "precondition-failed", 412, false, "Somebody else was first")                           \
	X(TOO_LARGE, "too-large", 413, false, "The body is too large")                                                 \
	X(URI_TOO_LONG, "uri-too-long", 414, false, "The target is too long")                                          \
	X(UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", 415, false, "No such media type here")                     \
	X(RANGE_NOT_SATISFIABLE, "range-not-satisfiable", 416, false, "The range cannot be met")                       \
	X(UNPROCESSABLE, "unprocessable", 422, false, "Understood, but it cannot be done")                             \
	X(TOO_MANY_REQUESTS, "too-many-requests", 429, true, "Slow down")                                              \
	X(HEADERS_TOO_LARGE, "headers-too-large", 431, false, "The header fields are too large")                       \
	X(INTERNAL, "internal", 500, false, "A defect of the gateway")                                                 \
	X(UPSTREAM_FAILED, "upstream-failed", 502, true, "The IMAP server failed")                                     \
	X(UNAVAILABLE, "unavailable", 503, true, "Not now")                                                            \
	X(UPSTREAM_TIMEOUT, "upstream-timeout", 504, true, "The IMAP server did not answer in time")                   \
	X(OVER_QUOTA, "over-quota", 507, false, "The account is over its quota")

enum api_problem {
#define X(name, slug, status, retryable, title) API_PROBLEM_##name,
	API_PROBLEM_MAP(X)
#undef X
};

unsigned api_problem_status(enum api_problem problem);
const char *api_problem_slug(enum api_problem problem);
const char *api_problem_title(enum api_problem problem);

/* Which problem an error is, by status and IMAP response code (the table of
 * docs: "Errors"). AUTH is the only way to 401. */
enum api_problem api_problem_of(const struct gp_error *error);

/* Replies with the problem: content type, Retry-After, WWW-Authenticate, CORS,
 * Server-Timing and X-Request-Id included. `error` (may be NULL) gives the `imap`
 * member and, when `detail` is NULL, the detail. */
void api_reply_problem(struct api_exchange *exchange, enum api_problem problem, const struct gp_error *error,
		       const char *detail, ...) GP_PRINTF(4, 5);
/* api_reply_problem(exchange, api_problem_of(error), error, NULL) */
void api_reply_error(struct api_exchange *exchange, const struct gp_error *error);
/* As a JSON value (new reference), for bulk results; NULL when memory ends. */
json_t *api_problem_json(enum api_problem problem, const struct gp_error *error, const char *detail);

#endif
