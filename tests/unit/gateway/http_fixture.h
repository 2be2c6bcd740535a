/*
 * The HTTP server on a real loop and real loopback sockets, in front of a stand-in
 * for api_handle() that the test scripts by path. Clients are non-blocking sockets in
 * the same loop; nothing sleeps: the loop runs until a condition holds, and a watchdog
 * fails the test when that takes absurdly long.
 */
#ifndef GP_TESTS_HTTP_FIXTURE_H
#define GP_TESTS_HTTP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/limits.h"
#include "base/log.h"
#include "gateway/http_server.h"

#define WATCHDOG_MS 30000
#define MAX_HELD 64

struct client {
	uv_poll_t poll;
	int fd;
	bool is_open, is_eof, is_reset;
	bool is_lazy; /* reads only when told */
	struct gp_buffer in;
};

struct stream_script {
	struct api_exchange *exchange; /* link: NULL when over */
	uint64_t total, written;       /* total 0: until told to end */
	bool is_breaking;              /* ends incomplete at total */
	bool is_known;
	size_t n_rooms, n_gone, max_burst;
};

/* What /upload does with its body: the test sets it up, and drives it. */
struct upload_script {
	struct api_exchange *exchange; /* link: NULL when over */
	struct gp_buffer body;         /* own */
	size_t want;                   /* asked for at the beginning, and again after each piece; 0: by hand */
	uint64_t reply_at;             /* answers when that many bytes have come; UINT64_MAX: at the end */
	bool is_held;                  /* begins by hand */
	size_t n_data, n_ends, n_gone, max_piece;
	int64_t length;
};

struct fixture {
	struct gateway_loop loop;
	struct api_app app;
	struct http_server *server;
	struct gateway_address address;
	uv_timer_t watchdog;
	/* what the stand-in saw */
	size_t n_handled, n_gone, n_suspended_at_handle;
	char last_target[GP_MAX_TARGET + 1], last_method[64], last_id[65];
	size_t last_arena;                   /* bytes that the request had taken when it was handled */
	struct api_exchange *held[MAX_HELD]; /* link: NULL once gone or released */
	size_t n_held;
	struct gp_timer later;
	struct stream_script stream;
	struct upload_script upload;
	bool is_drained;
};

static struct fixture *current; /* borrow: api_handle() has no other way to it */

/* ---- the stand-in ---- */

static inline void add_header(struct api_exchange *exchange, const char *name, const char *value)
{
	exchange->headers[exchange->n_headers++] = (struct api_header){name, value};
}

static inline void answer(struct api_exchange *exchange, unsigned status, struct span text)
{
	struct gp_buffer body;

	gp_buffer_init(&body, 2 * GP_MAX_JSON_BODY);
	assert_int_equal(gp_buffer_append(&body, text), GP_OK);
	add_header(exchange, "Content-Type", "text/plain");
	add_header(exchange, "X-Request-Id", exchange->request_id);
	exchange->ops->reply(exchange, status, &body);
	assert_int_equal(body.len, 0);
	gp_buffer_deinit(&body);
}

static inline void held_gone(void *ctx)
{
	struct api_exchange **slot = ctx;

	assert_non_null(*slot);
	*slot = NULL;
	current->n_gone++;
}

static inline void hold(struct api_exchange *exchange)
{
	assert_true(current->n_held < MAX_HELD);
	struct api_exchange **slot = &current->held[current->n_held++];
	*slot = exchange;
	exchange->gone = held_gone;
	exchange->gone_ctx = slot;
}

static inline void release_held(void)
{
	for (size_t i = 0; i < current->n_held; i++) {
		if (current->held[i]) {
			struct api_exchange *exchange = current->held[i];
			current->held[i] = NULL;
			answer(exchange, 200, exchange->target);
		}
	}
	current->n_held = 0;
}

static inline void later_fired(struct gp_timer *timer)
{
	(void)timer;
	release_held();
}

/* The byte at each position of every streamed body. */
static inline char stream_byte(uint64_t position)
{
	return (char)('a' + (position * 7 + position / 251) % 26);
}

static inline void stream_more(struct stream_script *script)
{
	static char bytes[64 * 1024];

	while (script->exchange) {
		struct api_exchange *exchange = script->exchange;
		size_t room = exchange->ops->stream_room(exchange);
		if (script->total > 0 && script->written == script->total) {
			script->exchange = NULL;
			exchange->ops->stream_end(exchange, !script->is_breaking);
			return;
		}
		if (room == 0) {
			return;
		}
		size_t len = room < sizeof bytes ? room : sizeof bytes;
		if (script->total > 0 && len > script->total - script->written) {
			len = (size_t)(script->total - script->written);
		}
		for (size_t i = 0; i < len; i++) {
			bytes[i] = stream_byte(script->written + i);
		}
		exchange->ops->stream_write(exchange, span_make(bytes, len));
		script->written += len;
	}
}

static inline void stream_has_room(void *ctx)
{
	struct stream_script *script = ctx;

	assert_non_null(script->exchange);
	script->n_rooms++;
	stream_more(script);
}

static inline void stream_gone(void *ctx)
{
	struct stream_script *script = ctx;

	assert_non_null(script->exchange);
	script->exchange = NULL;
	script->n_gone++;
}

static const struct api_stream_events stream_events = {.room = stream_has_room};

/* The test sets `stream` up to its will, /stream begins it. */
static inline void stream_start(struct api_exchange *exchange)
{
	struct stream_script *script = &current->stream;

	script->exchange = exchange;
	exchange->gone = stream_gone;
	exchange->gone_ctx = script;
	add_header(exchange, "Content-Type", "application/octet-stream");
	int64_t len = script->is_known ? (int64_t)script->total + (script->is_breaking ? 1000 : 0) : -1;
	exchange->ops->stream_begin(exchange, 200, len, &stream_events, script);
	if (exchange->method == API_HEAD) {
		script->exchange = NULL;
		exchange->ops->stream_end(exchange, true);
		return;
	}
	stream_more(script);
}

static inline void upload_answer(struct upload_script *script, unsigned status)
{
	struct api_exchange *exchange = script->exchange;

	script->exchange = NULL;
	answer(exchange, status, SPAN_LIT("uploaded"));
}

static inline void upload_data(void *ctx, struct span bytes)
{
	struct upload_script *script = ctx;

	assert_non_null(script->exchange);
	assert_int_equal(gp_buffer_append(&script->body, bytes), GP_OK);
	script->n_data++;
	script->max_piece = bytes.len > script->max_piece ? bytes.len : script->max_piece;
	if (script->body.len >= script->reply_at) {
		upload_answer(script, 507);
	} else if (script->want > 0) {
		script->exchange->ops->upload_want(script->exchange, script->want);
	}
}

static inline void upload_end(void *ctx)
{
	struct upload_script *script = ctx;

	assert_non_null(script->exchange);
	script->n_ends++;
	upload_answer(script, 201);
}

static inline void upload_gone(void *ctx)
{
	struct upload_script *script = ctx;

	assert_non_null(script->exchange);
	script->exchange = NULL;
	script->n_gone++;
}

static const struct api_upload_events upload_events = {.data = upload_data, .end = upload_end};

static inline void upload_begin(struct upload_script *script)
{
	script->exchange->ops->upload_begin(script->exchange, &upload_events, script);
	if (script->want > 0) {
		script->exchange->ops->upload_want(script->exchange, script->want);
	}
}

static inline void upload_start(struct api_exchange *exchange)
{
	struct upload_script *script = &current->upload;

	assert_true(exchange->is_upload);
	gp_buffer_init(&script->body, 16 * GP_MIB);
	script->exchange = exchange;
	script->length = exchange->upload_length;
	exchange->gone = upload_gone;
	exchange->gone_ctx = script;
	if (script->reply_at == 0) {
		upload_answer(script, 404);
	} else if (!script->is_held) {
		upload_begin(script);
	}
}

bool api_takes_upload(struct api_app *app, struct api_exchange *exchange)
{
	(void)app;
	return span_starts_with(exchange->target, "/upload");
}

void api_handle(struct api_app *app, struct api_exchange *exchange)
{
	struct span path = exchange->target;

	assert_ptr_equal(app, &current->app);
	current->n_handled++;
	current->n_suspended_at_handle = http_server_stats(current->server).n_suspended;
	current->last_arena = exchange->arena.used;
	snprintf(current->last_target, sizeof current->last_target, "%.*s", (int)path.len, path.ptr);
	snprintf(current->last_method, sizeof current->last_method, "%.*s", SPAN_ARGS(exchange->method_name));
	snprintf(current->last_id, sizeof current->last_id, "%s", exchange->request_id);
	if (app->is_draining) {
		answer(exchange, 503, SPAN_LIT("draining"));
	} else if (span_starts_with(path, "/hold")) {
		hold(exchange);
	} else if (span_starts_with(path, "/later")) {
		hold(exchange);
		gp_timer_start(&current->later, 0);
	} else if (span_starts_with(path, "/stream")) {
		stream_start(exchange);
	} else if (span_starts_with(path, "/unchanged")) {
		add_header(exchange, "ETag", "\"1\"");
		exchange->ops->reply(exchange, 304, NULL);
	} else if (exchange->is_upload) {
		upload_start(exchange);
	} else if (span_starts_with(path, "/agent")) {
		struct span agent = exchange->ops->header(exchange, "user-AGENT");
		answer(exchange, 200, span_is_nil(agent) ? SPAN_LIT("(none)") : agent);
	} else if (span_starts_with(path, "/host")) {
		answer(exchange, 200, exchange->ops->header(exchange, "Host"));
	} else if (exchange->is_body_too_large) {
		answer(exchange, 413, SPAN_LIT("too large"));
	} else if (!span_is_nil(exchange->body)) {
		answer(exchange, 200, exchange->body);
	} else {
		answer(exchange, 200, path);
	}
}

/* ---- the loop ---- */

static inline void watchdog_fired(uv_timer_t *timer)
{
	(void)timer;
	fputs("the loop waits for something that never comes\n", stderr);
	abort();
}

/* Runs the loop until the condition holds. */
#define RUN_UNTIL(f, condition)                                                                                        \
	do {                                                                                                           \
		while (!(condition)) {                                                                                 \
			uv_run(&(f)->loop.uv, UV_RUN_ONCE);                                                            \
		}                                                                                                      \
	} while (0)

/* A few turns, for what is to have no effect. */
static inline void run_some(struct fixture *f)
{
	for (unsigned i = 0; i < 10; i++) {
		uv_run(&f->loop.uv, UV_RUN_NOWAIT);
	}
}

static inline struct http_server_config default_config(struct fixture *f)
{
	return (struct http_server_config){
		.loop = &f->loop,
		.app = &f->app,
		.max_body = 4 * GP_MIB,
		.max_connections = 100,
	};
}

static inline void fixture_open(struct fixture *f, const struct http_server_config *given, const char *listen_on)
{
	struct gp_error error = {.status = GP_OK};

	signal(SIGPIPE, SIG_IGN);
	gp_log_setup(GP_LOG_ERROR, GP_LOG_TEXT);
	*f = (struct fixture){.n_held = 0};
	current = f;
	assert_int_equal(gateway_loop_init(&f->loop), 0);
	assert_int_equal(uv_timer_init(&f->loop.uv, &f->watchdog), 0);
	assert_int_equal(uv_timer_start(&f->watchdog, watchdog_fired, WATCHDOG_MS, 0), 0);
	gp_timer_init(&f->later, &f->loop.timers, later_fired, f);
	struct http_server_config config = given ? *given : default_config(f);
	assert_int_equal(gateway_address_parse(span_of(listen_on ? listen_on : "127.0.0.1:0"), &f->address, &error),
			 GP_OK);
	config.loop = &f->loop;
	config.app = &f->app;
	config.address = &f->address;
	if (http_server_new(&config, &f->server, &error) != GP_OK) {
		print_error("%s\n", error.text);
		fail();
	}
	f->address = *http_server_address(f->server);
}

static inline void fixture_close(struct fixture *f)
{
	http_server_free(&f->server);
	gp_timer_stop(&f->later);
	uv_close((uv_handle_t *)&f->watchdog, NULL);
	gateway_loop_deinit(&f->loop); /* asserts that it is empty */
	for (size_t i = 0; i < f->n_held; i++) {
		assert_null(f->held[i]);
	}
	assert_null(f->stream.exchange);
	assert_null(f->upload.exchange);
	gp_buffer_deinit(&f->upload.body);
	current = NULL;
}

/* ---- clients ---- */

static inline void client_read(struct client *client)
{
	char bytes[16 * 1024];

	while (client->is_open && !client->is_eof && !client->is_reset) {
		ssize_t n = recv(client->fd, bytes, sizeof bytes, 0);
		if (n > 0) {
			assert_int_equal(gp_buffer_append(&client->in, span_make(bytes, (size_t)n)), GP_OK);
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			return;
		}
		client->is_eof = n == 0;
		client->is_reset = n < 0;
		uv_poll_stop(&client->poll);
	}
}

static inline void client_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	client_read(poll->data);
}

static inline void client_open(struct fixture *f, struct client *client)
{
	struct gp_error error = {.status = GP_OK};

	*client = (struct client){.is_open = true};
	gp_buffer_init(&client->in, 64 * GP_MIB);
	assert_int_equal(gateway_address_connect(&f->address, 5000, &client->fd, &error), GP_OK);
	assert_int_equal(uv_poll_init(&f->loop.uv, &client->poll, client->fd), 0);
	client->poll.data = client;
	assert_int_equal(uv_poll_start(&client->poll, UV_READABLE, client_readable), 0);
}

static inline void client_stop_reading(struct client *client)
{
	client->is_lazy = true;
	uv_poll_stop(&client->poll);
}

static inline void client_close(struct fixture *f, struct client *client)
{
	if (!client->is_open) {
		return;
	}
	client->is_open = false;
	uv_close((uv_handle_t *)&client->poll, NULL);
	close(client->fd);
	gp_buffer_deinit(&client->in);
	run_some(f);
}

/* As a client that was killed: the other end sees a reset. */
static inline void client_reset(struct fixture *f, struct client *client)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	client_close(f, client);
}

static inline void client_send(struct fixture *f, struct client *client, struct span bytes)
{
	while (bytes.len > 0) {
		ssize_t n = send(client->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			bytes = span_from(bytes, (size_t)n);
		} else if (n < 0 && errno != EAGAIN) {
			return; /* the server closed; the answer tells */
		} else {
			uv_run(&f->loop.uv, UV_RUN_NOWAIT);
		}
	}
}

static inline void client_say(struct fixture *f, struct client *client, const char *text)
{
	client_send(f, client, span_of(text));
}

static inline bool client_is_over(const struct client *client)
{
	return client->is_eof || client->is_reset;
}

static inline size_t count(const struct client *client, const char *needle)
{
	struct span rest = gp_buffer_span(&client->in);
	size_t n = 0;

	for (;;) {
		ptrdiff_t at = span_find(rest, span_of(needle));
		if (at < 0) {
			return n;
		}
		n++;
		rest = span_from(rest, (size_t)at + 1);
	}
}

static inline bool client_has(const struct client *client, const char *needle)
{
	return count(client, needle) > 0;
}

/* What stands behind the first head. */
static inline struct span client_body(const struct client *client)
{
	struct span all = gp_buffer_span(&client->in);
	ptrdiff_t at = span_find(all, SPAN_LIT("\r\n\r\n"));

	return at < 0 ? SPAN_NIL : span_from(all, (size_t)at + 4);
}

#endif
