#include "api/reply.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "api/conditional.h"
#include "api/cors.h"
#include "api/etag.h"
#include "api/idempotency.h"
#include "api/json.h"
#include "api/throttle.h"
#include "base/limits.h"
#include "base/log.h"

/* NULL: not even the spare room is enough. */
static char *value_room(struct api_exchange *exchange, const char *name, size_t size)
{
	char *room = gp_arena_alloc(&exchange->arena, size);

	if (!room && size <= sizeof exchange->spare - exchange->n_spare) {
		room = exchange->spare + exchange->n_spare;
		exchange->n_spare += size;
	}
	if (!room) {
		gp_log(GP_LOG_WARN, "http", "req=%s dropped header %s: out of memory", exchange->request_id, name);
	}
	return room;
}

/* `value` lives as long as the exchange. */
static void add(struct api_exchange *exchange, const char *name, const char *value)
{
	if (strpbrk(value, "\r\n")) {
		gp_log(GP_LOG_ERROR, "http", "req=%s dropped header %s: line break in its value", exchange->request_id,
		       name);
	} else if (exchange->n_headers == API_MAX_REPLY_HEADERS) {
		gp_log(GP_LOG_ERROR, "http", "req=%s dropped header %s: too many", exchange->request_id, name);
	} else {
		exchange->headers[exchange->n_headers++] = (struct api_header){.name = name, .value = value};
	}
}

void api_header_add(struct api_exchange *exchange, const char *name, const char *value)
{
	char *copy = value ? value_room(exchange, name, strlen(value) + 1) : NULL;

	if (copy) {
		memcpy(copy, value, strlen(value) + 1);
		add(exchange, name, copy);
	}
}

void api_header_addf(struct api_exchange *exchange, const char *name, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	char *value = len < 0 ? NULL : value_room(exchange, name, (size_t)len + 1);
	if (!value) {
		return;
	}
	va_start(args, format);
	vsnprintf(value, (size_t)len + 1, format, args);
	va_end(args);
	if (strlen(value) != (size_t)len) {
		gp_log(GP_LOG_ERROR, "http", "req=%s dropped header %s: NUL in its value", exchange->request_id, name);
		return;
	}
	add(exchange, name, value);
}

void api_header_set_immutable(struct api_exchange *exchange, const char *etag)
{
	api_header_remove(exchange, "ETag");
	api_header_remove(exchange, "Cache-Control");
	if (etag[0] != '\0') {
		api_header_add(exchange, "ETag", etag);
		api_header_add(exchange, "Cache-Control", "private, max-age=31536000, immutable");
	}
}

bool api_header_is_set(const struct api_exchange *exchange, const char *name)
{
	for (size_t i = 0; i < exchange->n_headers; i++) {
		if (span_equal_text_nocase(span_of(exchange->headers[i].name), name)) {
			return true;
		}
	}
	return false;
}

void api_header_remove(struct api_exchange *exchange, const char *name)
{
	size_t n_kept = 0;

	for (size_t i = 0; i < exchange->n_headers; i++) {
		if (!span_equal_text_nocase(span_of(exchange->headers[i].name), name)) {
			exchange->headers[n_kept++] = exchange->headers[i];
		}
	}
	exchange->n_headers = n_kept;
}

static void add_server_timing(struct api_exchange *exchange)
{
	uint64_t now_us = exchange->app && exchange->app->now_us ? exchange->app->now_us() : exchange->started_us;
	uint64_t total_us = now_us > exchange->started_us ? now_us - exchange->started_us : 0;

	api_header_addf(exchange, "Server-Timing",
			"queue;dur=%" PRIu64 ".%03u, imap;dur=%" PRIu64 ".%03u, total;dur=%" PRIu64 ".%03u",
			exchange->queue_us / 1000, (unsigned)(exchange->queue_us % 1000), exchange->imap_us / 1000,
			(unsigned)(exchange->imap_us % 1000), total_us / 1000, (unsigned)(total_us % 1000));
}

static void add_common_headers(struct api_exchange *exchange)
{
	if (exchange->request_id[0] != '\0') {
		api_header_add(exchange, "X-Request-Id", exchange->request_id);
	}
	add_server_timing(exchange);
	api_header_add(exchange, "X-Content-Type-Options", "nosniff");
	if (!api_header_is_set(exchange, "Cache-Control")) {
		api_header_add(exchange, "Cache-Control", "private, no-cache");
	}
	/* A browser's cache is asked by URL alone unless told: the mail of two accounts
	 * that are read one after the other must not mix. */
	if (!api_header_is_set(exchange, "Vary")) {
		api_header_add(exchange, "Vary", API_VARY);
	}
	if (exchange->app) {
		api_cors_add_headers(exchange->app, exchange);
	}
}

/* Something that the reply is made of, or was decided by, found no place. */
static bool is_spoilt(const struct api_exchange *exchange)
{
	return exchange->arena.is_short && !exchange->has_changed;
}

bool api_stream_may_begin(const struct api_exchange *exchange)
{
	return !is_spoilt(exchange);
}

void api_reply_buffer(struct api_exchange *exchange, unsigned status, const char *content_type, struct gp_buffer *body)
{
	if (status < 400 && is_spoilt(exchange)) {
		gp_buffer_deinit(body);
		api_reply_problem(exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	if (content_type) {
		api_header_remove(exchange, "Content-Type");
		api_header_add(exchange, "Content-Type", content_type);
	}
	api_throttle_settle(exchange, status);
	api_idempotency_settle(exchange, status, body ? gp_buffer_span(body) : SPAN_NIL);
	add_common_headers(exchange);
	exchange->ops->reply(exchange, status, body);
}

void api_reply_text(struct api_exchange *exchange, unsigned status, const char *content_type, struct span text)
{
	struct gp_buffer body;

	gp_buffer_init(&body, text.len + 1);
	if (gp_buffer_append(&body, text) != GP_OK) {
		gp_buffer_deinit(&body);
		api_reply_problem(exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	api_reply_buffer(exchange, status, content_type, &body);
}

void api_reply_empty(struct api_exchange *exchange, unsigned status)
{
	struct gp_buffer body;

	gp_buffer_init(&body, 1);
	api_reply_buffer(exchange, status, NULL, &body);
}

/* False: 503 has been replied. */
static bool is_written(struct api_exchange *exchange, enum gp_status written, struct gp_buffer *body)
{
	if (written == GP_OK) {
		return true;
	}
	gp_buffer_deinit(body);
	exchange->is_outcome_unknown |= exchange->has_changed;
	if (written == GP_LIMIT) {
		api_reply_problem(
			exchange, API_PROBLEM_UNAVAILABLE, NULL,
			"the reply would be larger than %zu bytes: ask for less, with 'fields' or a smaller page",
			GP_MAX_JSON_REPLY);
	} else {
		api_reply_problem(exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
	}
	return false;
}

void api_reply_precondition(struct api_exchange *exchange, unsigned status, const char *etag)
{
	etag = etag[0] != '\0' ? gp_arena_strdup(&exchange->arena, span_of(etag)) : NULL;
	if (status == 304) {
		api_header_remove(exchange, "ETag");
		api_header_add(exchange, "ETag", etag);
		api_reply_empty(exchange, status);
		return;
	}
	exchange->current_etag = etag;
	api_reply_problem(exchange, API_PROBLEM_PRECONDITION_FAILED, NULL,
			  "what is here now has none of the tags of If-Match: read it without");
}

void api_reply_written_json(struct api_exchange *exchange, unsigned status, enum gp_status written,
			    struct gp_buffer *body)
{
	if (is_written(exchange, written, body)) {
		api_reply_buffer(exchange, status, "application/json", body);
	}
}

void api_reply_written_json_tagged(struct api_exchange *exchange, enum gp_status written, struct gp_buffer *body)
{
	char etag[API_ETAG_SIZE];

	if (!is_written(exchange, written, body)) {
		return;
	}
	if (api_etag_of_bytes(exchange->account, gp_buffer_span(body), etag) != GP_OK) {
		gp_buffer_deinit(body);
		api_reply_problem(exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	unsigned settled = api_precondition(exchange, etag);
	if (settled != 0) {
		gp_buffer_deinit(body);
		api_reply_precondition(exchange, settled, etag);
		return;
	}
	api_header_add(exchange, "ETag", etag);
	api_reply_buffer(exchange, 200, "application/json", body);
}

/* Serialises and gives the value up. */
static enum gp_status write_value(struct api_exchange *exchange, json_t *value, struct gp_buffer *body)
{
	bool has_hole = exchange->n_json_failures != api_json_failures();

	gp_buffer_init(body, GP_MAX_JSON_REPLY);
	enum gp_status status = has_hole ? GP_NO_MEMORY : api_json_write(value, exchange->is_pretty, body);
	json_decref(value);
	return status;
}

void api_reply_json(struct api_exchange *exchange, unsigned status, json_t *value)
{
	struct gp_buffer body;
	enum gp_status written = write_value(exchange, value, &body);

	api_reply_written_json(exchange, status, written, &body);
}

void api_reply_json_tagged(struct api_exchange *exchange, json_t *value)
{
	struct gp_buffer body;
	enum gp_status written = write_value(exchange, value, &body);

	api_reply_written_json_tagged(exchange, written, &body);
}

void api_stream_begin(struct api_exchange *exchange, unsigned status, int64_t content_length,
		      const struct api_stream_events *events, void *ctx)
{
	add_common_headers(exchange);
	exchange->is_streaming = true;
	exchange->ops->stream_begin(exchange, status, content_length, events, ctx);
}
