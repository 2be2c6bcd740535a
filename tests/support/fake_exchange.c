#include "support/fake_exchange.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "tests/support/fault.h"

/* assert() that no build leaves out */
#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static uint64_t now_us = 1000000;

uint64_t fake_now_us(void)
{
	return now_us;
}

void fake_set_now_us(uint64_t moment_us)
{
	now_us = moment_us;
}

/* A copy without a byte to spare. */
static struct span copy_exactly(struct span bytes)
{
	char *copy = malloc(bytes.len > 0 ? bytes.len : 1);

	REQUIRE(copy);
	if (bytes.len > 0) {
		memcpy(copy, bytes.ptr, bytes.len);
	}
	return span_make(copy, bytes.len);
}

static void free_span(struct span span)
{
	free((void *)(uintptr_t)span.ptr);
}

static struct fake_exchange *fake_of(struct api_exchange *exchange)
{
	return (struct fake_exchange *)exchange;
}

/* ---- the gateway's side ---- */

static struct span on_header(struct api_exchange *exchange, const char *name)
{
	struct fake_exchange *fake = fake_of(exchange);

	REQUIRE(!fake->is_replied && !fake->is_gone);
	for (size_t i = 0; i < fake->n_headers; i++) {
		if (span_equal_text_nocase(span_of(fake->headers[i].name), name)) {
			return fake->headers[i].value;
		}
	}
	return SPAN_NIL;
}

static void check_headers(const struct api_exchange *exchange)
{
	REQUIRE(exchange->n_headers <= API_MAX_REPLY_HEADERS);
	for (size_t i = 0; i < exchange->n_headers; i++) {
		REQUIRE(exchange->headers[i].name && exchange->headers[i].value);
		REQUIRE(!strpbrk(exchange->headers[i].value, "\r\n"));
	}
}

static void on_reply(struct api_exchange *exchange, unsigned status, struct gp_buffer *body)
{
	struct fake_exchange *fake = fake_of(exchange);

	REQUIRE(!fake->is_replied && !fake->is_stream && !fake->is_gone);
	REQUIRE(status >= 200 && status < 600);
	check_headers(exchange);
	fake->status = status;
	fake->content_length = (int64_t)body->len;
	fake->body = *body;
	gp_buffer_init(body, body->cap);
	fake->is_replied = true;
	fake->is_complete = true;
}

static void on_stream_begin(struct api_exchange *exchange, unsigned status, int64_t content_length,
			    const struct api_stream_events *events, void *ctx)
{
	struct fake_exchange *fake = fake_of(exchange);

	REQUIRE(!fake->is_replied && !fake->is_stream && !fake->is_gone);
	check_headers(exchange);
	fake->is_stream = true;
	fake->status = status;
	fake->content_length = content_length;
	fake->events = events;
	fake->events_ctx = ctx;
}

static size_t on_stream_room(struct api_exchange *exchange)
{
	struct fake_exchange *fake = fake_of(exchange);

	REQUIRE(fake->is_stream && !fake->is_replied && !fake->is_gone);
	return FAKE_STREAM_ROOM - (fake->body.len - fake->n_taken);
}

static void on_stream_write(struct api_exchange *exchange, struct span bytes)
{
	struct fake_exchange *fake = fake_of(exchange);

	unsigned depth = fault_pause();

	REQUIRE(bytes.len <= on_stream_room(exchange));
	REQUIRE(exchange->method != API_HEAD);
	REQUIRE(gp_buffer_append(&fake->body, bytes) == GP_OK);
	fault_resume(depth);
}

static void on_stream_end(struct api_exchange *exchange, bool is_complete)
{
	struct fake_exchange *fake = fake_of(exchange);

	REQUIRE(fake->is_stream && !fake->is_replied && !fake->is_gone);
	if (is_complete && fake->content_length >= 0 && exchange->method != API_HEAD) {
		REQUIRE((uint64_t)fake->content_length == fake->body.len);
	}
	fake->is_replied = true;
	fake->is_complete = is_complete;
}

static void on_upload_begin(struct api_exchange *exchange, const struct api_upload_events *events, void *ctx)
{
	struct fake_exchange *fake = fake_of(exchange);

	REQUIRE(exchange->is_upload && !fake->is_upload_begun && !fake->is_replied && !fake->is_gone);
	fake->is_upload_begun = true;
	fake->upload_events = events;
	fake->upload_ctx = ctx;
}

static void on_upload_want(struct api_exchange *exchange, size_t n)
{
	struct fake_exchange *fake = fake_of(exchange);

	REQUIRE(fake->is_upload_begun && !fake->is_replied && !fake->is_gone);
	fake->upload_credit = n;
}

static const struct api_exchange_ops ops = {
	.header = on_header,
	.reply = on_reply,
	.stream_begin = on_stream_begin,
	.stream_room = on_stream_room,
	.stream_write = on_stream_write,
	.stream_end = on_stream_end,
	.upload_begin = on_upload_begin,
	.upload_want = on_upload_want,
};

/* ---- the test's side ---- */

static enum api_method method_of(struct span name)
{
	static const char *const names[] = {
		[API_GET] = "GET",     [API_HEAD] = "HEAD",     [API_POST] = "POST",       [API_PUT] = "PUT",
		[API_PATCH] = "PATCH", [API_DELETE] = "DELETE", [API_OPTIONS] = "OPTIONS",
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (span_equal_text(name, names[i])) {
			return (enum api_method)i;
		}
	}
	return API_OTHER;
}

void fake_exchange_init_bytes(struct fake_exchange *fake, struct span method, struct span target)
{
	*fake = (struct fake_exchange){.exchange = {.ops = &ops, .started_us = now_us}};
	fake->blocks[0] = copy_exactly(method);
	fake->blocks[1] = copy_exactly(target);
	fake->exchange.method = method_of(method);
	fake->exchange.method_name = fake->blocks[0];
	fake->exchange.target = fake->blocks[1];
	snprintf(fake->exchange.request_id, sizeof fake->exchange.request_id, "test-1");
	gp_arena_init(&fake->exchange.arena, GP_MAX_REQUEST_ARENA);
	gp_buffer_init(&fake->body, 512 * GP_MIB);
}

void fake_exchange_init(struct fake_exchange *fake, const char *method, const char *target)
{
	fake_exchange_init_bytes(fake, span_of(method), span_of(target));
}

void fake_exchange_deinit(struct fake_exchange *fake)
{
	for (size_t i = 0; i < fake->n_headers; i++) {
		free_span(fake->headers[i].value);
	}
	for (size_t i = 0; i < sizeof fake->blocks / sizeof fake->blocks[0]; i++) {
		free_span(fake->blocks[i]);
	}
	gp_buffer_deinit(&fake->body);
	gp_arena_deinit(&fake->exchange.arena);
}

void fake_exchange_add_header(struct fake_exchange *fake, const char *name, const char *value)
{
	REQUIRE(fake->n_headers < FAKE_MAX_HEADERS);
	fake->headers[fake->n_headers++] = (struct fake_header){.name = name, .value = copy_exactly(span_of(value))};
}

void fake_exchange_set_body(struct fake_exchange *fake, struct span body)
{
	free_span(fake->blocks[2]);
	fake->blocks[2] = copy_exactly(body);
	fake->exchange.body = fake->blocks[2];
}

void fake_exchange_set_client(struct fake_exchange *fake, struct span address)
{
	free_span(fake->blocks[3]);
	fake->blocks[3] = copy_exactly(address);
	fake->exchange.client = fake->blocks[3];
}

void fake_exchange_set_upload(struct fake_exchange *fake, int64_t len)
{
	fake->exchange.is_upload = true;
	fake->exchange.body = SPAN_NIL;
	fake->exchange.upload_length = len;
}

size_t fake_exchange_send(struct fake_exchange *fake, struct span bytes)
{
	size_t n_sent = 0;

	REQUIRE(!fake->is_upload_ended);
	while (n_sent < bytes.len && !fake->is_replied && fake->is_upload_begun && fake->upload_credit > 0) {
		struct span piece = copy_exactly(span_slice(bytes, n_sent, fake->upload_credit));
		fake->upload_credit -= piece.len;
		n_sent += piece.len;
		fault_enter();
		fake->upload_events->data(fake->upload_ctx, piece);
		fault_leave();
		free_span(piece);
	}
	return fake->is_replied ? bytes.len : n_sent;
}

void fake_exchange_end_upload(struct fake_exchange *fake)
{
	REQUIRE(!fake->is_upload_ended);
	fake->is_upload_ended = true;
	if (!fake->is_replied) {
		REQUIRE(fake->is_upload_begun);
		fault_enter();
		fake->upload_events->end(fake->upload_ctx);
		fault_leave();
	}
}

void fake_exchange_login(struct fake_exchange *fake)
{
	fake_exchange_add_header(fake, "Authorization", "Basic ZGVtbzpkZW1v");
}

const char *fake_exchange_reply_header(const struct fake_exchange *fake, const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; i < fake->exchange.n_headers; i++) {
		if (span_equal_text_nocase(span_of(fake->exchange.headers[i].name), name)) {
			REQUIRE(!value);
			value = fake->exchange.headers[i].value;
		}
	}
	return value;
}

json_t *fake_exchange_json(const struct fake_exchange *fake)
{
	struct span body = gp_buffer_span(&fake->body);

	return json_loadb(body.ptr, body.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
}

const char *fake_exchange_member(const struct fake_exchange *fake, const char *name)
{
	static char text[1024];
	json_t *object = fake_exchange_json(fake);
	const char *value = json_string_value(json_object_get(object, name));

	snprintf(text, sizeof text, "%s", value ? value : "");
	json_decref(object);
	return text;
}

void fake_exchange_take(struct fake_exchange *fake, size_t len)
{
	size_t unread = fake->body.len - fake->n_taken;

	fake->n_taken += len < unread ? len : unread;
	if (!fake->is_replied && fake->events && fake->events->room) {
		fault_enter();
		fake->events->room(fake->events_ctx);
		fault_leave();
	}
}

void fake_exchange_leave(struct fake_exchange *fake)
{
	if (!fake->is_replied && fake->exchange.gone) {
		void (*gone)(void *ctx) = fake->exchange.gone;
		void *ctx = fake->exchange.gone_ctx;
		fake->exchange.gone = NULL;
		fault_enter();
		gone(ctx);
		fault_leave();
	}
	fake->is_gone = true;
}
