/*
 * Replies: headers and JSON bodies. Every reply goes through here, so that every one
 * has X-Request-Id, Server-Timing, CORS, X-Content-Type-Options and a cache policy.
 */
#ifndef GP_API_REPLY_H
#define GP_API_REPLY_H

#include <jansson.h>

#include "api/problem.h"

/* What every reply depends on; a handler may set a longer one. */
#define API_VARY "Authorization, Cookie, Origin"

/* Adds a header; a value with CR, LF or NUL is dropped and logged; NULL values are
 * ignored. `value` is copied into the exchange's arena. */
void api_header_add(struct api_exchange *exchange, const char *name, const char *value);
void api_header_addf(struct api_exchange *exchange, const char *name, const char *format, ...) GP_PRINTF(3, 4);
/* ETag and Cache-Control of stored bytes, which never change. An empty tag
 * (api_etag_of_content()): neither, as nothing says that they will be this message's. In
 * the place of what was said before: a job may begin anew. */
void api_header_set_immutable(struct api_exchange *exchange, const char *etag);
bool api_header_is_set(const struct api_exchange *exchange, const char *name);
void api_header_remove(struct api_exchange *exchange, const char *name);

/* Serialises (compact, or indented with ?pretty=1), ends with a newline, replies. The
 * value is stolen. Strings in it must be valid UTF-8. Memory or cap: 503. Default
 * Cache-Control is "private, no-cache". */
void api_reply_json(struct api_exchange *exchange, unsigned status, json_t *value);
/* The same as 200 with a weak ETag of the body, or 304 when If-None-Match has it. */
void api_reply_json_tagged(struct api_exchange *exchange, json_t *value);
/* The same two for JSON that was written already; `written` is what
 * api_json_writer_finish() said. The buffer's memory is taken. */
void api_reply_written_json(struct api_exchange *exchange, unsigned status, enum gp_status written,
			    struct gp_buffer *body);
void api_reply_written_json_tagged(struct api_exchange *exchange, enum gp_status written, struct gp_buffer *body);
/* The text as it is; `content_type` static. */
void api_reply_text(struct api_exchange *exchange, unsigned status, const char *content_type, struct span text);
/* The same for what has been written already: the buffer's memory is taken. NULL as
 * `content_type`: none is sent. */
void api_reply_buffer(struct api_exchange *exchange, unsigned status, const char *content_type, struct gp_buffer *body);
/* A reply without a body: 204, 304. */
void api_reply_empty(struct api_exchange *exchange, unsigned status);
/* What api_precondition() said: 304, or the problem of 412, with the tag ("": without). */
void api_reply_precondition(struct api_exchange *exchange, unsigned status, const char *etag);
/* False: something that the head or the body is made of found no memory; a problem is due. */
bool api_stream_may_begin(const struct api_exchange *exchange);
/* Adds the common headers, then begins the stream (exchange->ops->stream_begin). */
void api_stream_begin(struct api_exchange *exchange, unsigned status, int64_t content_length,
		      const struct api_stream_events *events, void *ctx);

/* A JSON string from any bytes: valid UTF-8 with U+FFFD for what is not; json_null()
 * for NIL. New reference, NULL when memory ends. */
json_t *api_json_text(struct span text);
/* json_object_set_new() for members: `object` may be NULL, `value` is stolen. A NULL
 * value (no memory) or a failure is counted, and api_reply_json() answers 503 when the
 * count has moved since the exchange began: the object cannot be trusted. */
void api_json_set(json_t *object, const char *name, json_t *value);
/* json_array_append_new(), likewise. */
void api_json_append(json_t *array, json_t *value);
/* Decimal string. */
json_t *api_json_number_string(uint64_t number);

#endif
