#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/log.h"
#include "gateway/http_internal.h"

/* ---- what api/ calls ---- */

static struct http_exchange *of(struct api_exchange *api)
{
	return (struct http_exchange *)api;
}

void http_exchange_resume(struct http_exchange *exchange)
{
	if (exchange->is_suspended) {
		exchange->is_suspended = false;
		exchange->server->n_suspended--;
		exchange->server->is_needed = true;
		MHD_resume_connection(exchange->connection->mhd);
	}
}

void http_exchange_suspend(struct http_exchange *exchange)
{
	http_connection_watch(exchange->connection);
	exchange->is_suspended = true;
	exchange->server->n_suspended++;
	MHD_suspend_connection(exchange->connection->mhd);
}

static struct span op_header(struct api_exchange *api, const char *name)
{
	return http_fields_value(of(api), name);
}

static void ready(struct http_exchange *exchange)
{
	exchange->state = HTTP_READY;
	http_exchange_resume(exchange);
}

static bool may_answer(const struct http_exchange *exchange)
{
	return !exchange->is_api_done && (exchange->state == HTTP_HANDLING || exchange->state == HTTP_WAITING);
}

static void op_reply(struct api_exchange *api, unsigned status, struct gp_buffer *body)
{
	struct http_exchange *exchange = of(api);

	assert(may_answer(exchange));
	if (!may_answer(exchange)) {
		return;
	}
	exchange->is_api_done = true;
	http_reply_buffer(exchange, status, body);
	ready(exchange);
}

static void break_off(struct http_exchange *exchange)
{
	exchange->is_stream_broken = true;
	http_ring_deinit(&exchange->ring);
	http_exchange_resume(exchange);
}

/* HTTP/1.0 has no other way to tell a broken body from a whole one than a reset, and
 * libmicrohttpd ends every connection in an orderly way: dissolving the association
 * sends the reset before it does. */
static ssize_t end_with_error(struct http_exchange *exchange)
{
	if (exchange->is_http_1_0 && exchange->content_length < 0) {
		struct sockaddr nobody = {.sa_family = AF_UNSPEC};
		int rc = connect(exchange->connection->fd, &nobody, sizeof nobody);
		(void)rc; /* a Unix socket cannot */
	}
	return MHD_CONTENT_READER_END_WITH_ERROR;
}

static void note_room(struct http_exchange *exchange)
{
	struct http_server *server = exchange->server;

	if (exchange->room_link || exchange->is_api_done || exchange->ring.len > HTTP_RING_MAX / 2) {
		return;
	}
	exchange->room_next = server->rooms;
	exchange->room_link = &server->rooms;
	if (exchange->room_next) {
		exchange->room_next->room_link = &exchange->room_next;
	}
	server->rooms = exchange;
}

static void forget_room(struct http_exchange *exchange)
{
	if (exchange->room_link) {
		*exchange->room_link = exchange->room_next;
		if (exchange->room_next) {
			exchange->room_next->room_link = exchange->room_link;
		}
		exchange->room_link = NULL;
		exchange->room_next = NULL;
	}
}

static ssize_t read_stream(void *cls, uint64_t position, char *out, size_t size)
{
	struct http_exchange *exchange = cls;

	if (exchange->is_stream_broken) {
		return end_with_error(exchange);
	}
	size_t len = http_ring_read(&exchange->ring, out, size);
	if (len > 0) {
		exchange->n_sent += len;
		note_room(exchange);
		return (ssize_t)len;
	}
	if (exchange->is_stream_ended) {
		bool is_whole = exchange->is_stream_complete &&
				(exchange->content_length < 0 || position == (uint64_t)exchange->content_length);
		return is_whole ? MHD_CONTENT_READER_END_OF_STREAM : end_with_error(exchange);
	}
	if (exchange->server->is_giving_up || exchange->connection->is_peer_gone) {
		return end_with_error(exchange);
	}
	http_exchange_suspend(exchange);
	return 0;
}

static void op_stream_begin(struct api_exchange *api, unsigned status, int64_t content_length,
			    const struct api_stream_events *events, void *ctx)
{
	struct http_exchange *exchange = of(api);

	assert(may_answer(exchange) && !exchange->is_stream);
	if (!may_answer(exchange)) {
		return;
	}
	exchange->is_stream = true;
	exchange->content_length = content_length;
	exchange->events = events;
	exchange->events_ctx = ctx;
	/* When memory ends the client is told 503; what is written is dropped, and `gone`
	 * follows when that is sent. */
	exchange->is_stream_broken = !http_reply_stream(exchange, status, read_stream);
	ready(exchange);
}

static bool is_dropped(const struct http_exchange *exchange)
{
	return exchange->is_stream_broken || exchange->api.method == API_HEAD;
}

static size_t op_stream_room(struct api_exchange *api)
{
	struct http_exchange *exchange = of(api);

	return is_dropped(exchange) || exchange->is_api_done ? 0 : http_ring_room(&exchange->ring);
}

static void op_stream_write(struct api_exchange *api, struct span bytes)
{
	struct http_exchange *exchange = of(api);

	assert(exchange->is_stream && !exchange->is_api_done);
	if (exchange->is_api_done || is_dropped(exchange) || bytes.len == 0) {
		return;
	}
	enum gp_status status = http_ring_write(&exchange->ring, bytes);
	if (status != GP_OK) {
		gp_log(GP_LOG_ERROR, "http", "req=%s a body breaks off: %s", api->request_id, gp_status_text(status));
		break_off(exchange);
		return;
	}
	http_exchange_resume(exchange);
}

static void op_stream_end(struct api_exchange *api, bool is_complete)
{
	struct http_exchange *exchange = of(api);

	assert(exchange->is_stream && !exchange->is_api_done);
	if (exchange->is_api_done) {
		return;
	}
	exchange->is_api_done = true;
	exchange->is_stream_ended = true;
	exchange->is_stream_complete = is_complete;
	forget_room(exchange);
	http_exchange_resume(exchange);
}

static const struct api_exchange_ops exchange_ops = {
	.header = op_header,
	.reply = op_reply,
	.stream_begin = op_stream_begin,
	.stream_room = op_stream_room,
	.stream_write = op_stream_write,
	.stream_end = op_stream_end,
	.upload_begin = http_upload_op_begin,
	.upload_want = http_upload_op_want,
};

void http_exchange_tell_rooms(struct http_server *server)
{
	while (server->rooms) {
		struct http_exchange *exchange = server->rooms;
		forget_room(exchange);
		if (!exchange->is_api_done && exchange->events && exchange->events->room) {
			exchange->events->room(exchange->events_ctx);
		}
	}
}

static void tell_gone(struct http_exchange *exchange)
{
	if (exchange->is_api_done || exchange->state == HTTP_READING) {
		exchange->is_api_done = true;
		return;
	}
	exchange->is_api_done = true;
	forget_room(exchange);
	if (exchange->api.gone) {
		exchange->api.gone(exchange->api.gone_ctx);
	}
}

void http_exchange_abandon(struct http_exchange *exchange)
{
	tell_gone(exchange);
	if (exchange->is_stream) {
		break_off(exchange);
	} else {
		http_exchange_resume(exchange);
	}
}

/* ---- what libmicrohttpd calls ---- */

static enum api_method method_of(struct span name)
{
	static const struct {
		const char *name;
		enum api_method method;
	} methods[] = {
		{"GET", API_GET},     {"HEAD", API_HEAD},     {"POST", API_POST},       {"PUT", API_PUT},
		{"PATCH", API_PATCH}, {"DELETE", API_DELETE}, {"OPTIONS", API_OPTIONS},
	};

	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		if (span_equal_text(name, methods[i].name)) {
			return methods[i].method;
		}
	}
	return API_OTHER;
}

static bool is_sane_id(struct span id)
{
	if (id.len == 0 || id.len > 64) {
		return false;
	}
	for (size_t i = 0; i < id.len; i++) {
		char c = id.ptr[i];
		bool is_alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		if (!is_alnum && c != '.' && c != '_' && c != '-') {
			return false;
		}
	}
	return true;
}

static void choose_id(struct http_exchange *exchange)
{
	static const char digits[] = "0123456789abcdef";
	struct http_server *server = exchange->server;
	struct span given = op_header(&exchange->api, "X-Request-Id");
	char *out = exchange->api.request_id;

	if (is_sane_id(given)) {
		memcpy(out, given.ptr, given.len);
		return;
	}
	if (server->n_random < 8) {
		ssize_t n = getrandom(server->random, sizeof server->random, 0);
		/* Up to 256 bytes cannot fail once the kernel is up; an id is no secret anyway. */
		(void)n;
		server->n_random = sizeof server->random;
	}
	for (size_t i = 0; i < 8; i++) {
		unsigned char byte = server->random[--server->n_random];
		out[2 * i] = digits[byte >> 4];
		out[2 * i + 1] = digits[byte & 15];
	}
}

static void log_exchange(const struct http_exchange *exchange, enum MHD_RequestTerminationCode code)
{
	if (!gp_log_enabled(GP_LOG_INFO)) {
		return;
	}
	const struct api_exchange *api = &exchange->api;
	ptrdiff_t query = span_find_char(api->target, '?');
	struct span path = span_slice(api->target, 0, query >= 0 ? (size_t)query : api->target.len);
	bool is_cut = code != MHD_REQUEST_TERMINATED_COMPLETED_OK || exchange->is_stream_broken ||
		      (exchange->is_stream_ended && !exchange->is_stream_complete);
	gp_log(GP_LOG_INFO, "http",
	       "req=%s method=%.*s path=%.*s status=%u bytes=%llu ms=%.1f queue_ms=%.1f imap_ms=%.1f%s",
	       api->request_id, SPAN_ARGS(api->method_name), SPAN_ARGS(span_slice(path, 0, 512)), exchange->status,
	       (unsigned long long)exchange->n_sent, (double)(gateway_now_us() - api->started_us) / 1000,
	       (double)api->queue_us / 1000, (double)api->imap_us / 1000, is_cut ? " end=broken" : "");
}

static void drop_body(struct http_exchange *exchange)
{
	gp_buffer_deinit(&exchange->body);
	api_hold_end(exchange->server->app, &exchange->n_held);
}

static void release(struct http_exchange *exchange)
{
	struct http_server *server = exchange->server;

	forget_room(exchange);
	if (exchange->is_suspended) {
		exchange->is_suspended = false;
		server->n_suspended--;
	}
	if (exchange->response && exchange->response != server->out_of_memory) {
		MHD_destroy_response(exchange->response);
	}
	*exchange->link = exchange->next;
	if (exchange->next) {
		exchange->next->link = exchange->link;
	}
	server->n_exchanges--;
	http_ring_deinit(&exchange->ring);
	drop_body(exchange);
	gp_arena_deinit(&exchange->api.arena);
	free(exchange->target);
	free(exchange->method);
	free(exchange);
}

void http_exchange_completed(void *cls, struct MHD_Connection *mhd, void **request_context,
			     enum MHD_RequestTerminationCode code)
{
	struct http_exchange *exchange = *request_context;

	(void)cls;
	(void)mhd;
	if (!exchange) {
		return;
	}
	*request_context = NULL;
	struct http_connection *connection = exchange->connection;
	if (connection) {
		connection->exchange = NULL;
		/* The next request's line and fields: as long as an idle connection may wait, and
		 * then as long as they may take. */
		gp_timer_start(&connection->deadline,
			       exchange->server->idle_timeout_ms + exchange->server->header_deadline_ms);
	}
	tell_gone(exchange);
	log_exchange(exchange, code);
	release(exchange);
}

/* Borrowed from libmicrohttpd, for as long as there is a connection. */
static struct span client_of(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *address = info ? info->client_addr : NULL;

	if (address && address->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
		return span_make((const char *)&v4->sin_addr, sizeof v4->sin_addr);
	}
	if (address && address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
		struct span bytes = span_make((const char *)&v6->sin6_addr, sizeof v6->sin6_addr);
		return IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) ? span_from(bytes, 12) : bytes;
	}
	return SPAN_NIL;
}

static struct http_exchange *exchange_new(struct http_connection *connection, const char *method, const char *version)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange = calloc(1, sizeof *exchange);

	if (!exchange) {
		return NULL;
	}
	exchange->server = server;
	exchange->connection = connection;
	exchange->content_length = -1;
	exchange->is_http_1_0 = strcmp(version, "HTTP/1.0") == 0;
	http_ring_init(&exchange->ring);
	gp_buffer_init(&exchange->body, GP_MAX_JSON_BODY);
	exchange->target = connection->target;
	connection->target = NULL;
	exchange->method = strdup(method);
	exchange->next = server->exchanges;
	exchange->link = &server->exchanges;
	if (exchange->next) {
		exchange->next->link = &exchange->next;
	}
	server->exchanges = exchange;
	server->n_exchanges++;
	connection->exchange = exchange;

	struct api_exchange *api = &exchange->api;
	api->ops = &exchange_ops;
	api->target = span_make(exchange->target, exchange->target ? connection->target_len : 0);
	api->method_name = span_of(exchange->method);
	api->method = exchange->method ? method_of(api->method_name) : API_OTHER;
	api->body = SPAN_NIL;
	api->client = client_of(connection->mhd);
	api->is_tls = server->tls_cert != NULL;
	api->started_us = gateway_now_us();
	gp_arena_init(&api->arena, GP_MAX_REQUEST_ARENA);
	choose_id(exchange);
	return exchange;
}

static struct http_guard_verdict guard(const struct http_exchange *exchange, const char *method, const char *version,
				       const struct http_header_list *list)
{
	const struct http_guard_request request = {
		.method = exchange->api.method_name,
		.target = exchange->api.target,
		.version = span_of(version),
		.headers = list->items,
		.n_headers = list->n,
	};
	struct http_guard_verdict verdict = http_guard_check(&request);
	if (verdict.status == 0 && !http_layout_is_plain(exchange->connection, method, version, list->items, list->n)) {
		verdict.status = 400;
		verdict.detail = "A line is folded, does not end in CR LF, or holds a NUL.";
	}
	if (verdict.status == 0 && verdict.content_length > exchange->server->max_body) {
		verdict.status = 413;
		verdict.detail = "The body is larger than this gateway takes.";
	}
	return verdict;
}

enum MHD_Result http_exchange_queue(struct http_exchange *exchange)
{
	struct MHD_Response *response = exchange->response;

	exchange->state = HTTP_SENDING;
	exchange->response = NULL;
	enum MHD_Result result = MHD_queue_response(exchange->connection->mhd, exchange->status, response);
	if (response != exchange->server->out_of_memory) {
		MHD_destroy_response(response);
	}
	return result;
}

static enum MHD_Result refuse(struct http_exchange *exchange, const struct http_guard_verdict *verdict)
{
	exchange->is_api_done = true;
	http_reply_refusal(exchange, verdict);
	return http_exchange_queue(exchange);
}

static enum MHD_Result refuse_for_memory(struct http_exchange *exchange)
{
	exchange->is_api_done = true;
	exchange->response = exchange->server->out_of_memory;
	exchange->status = 503;
	return http_exchange_queue(exchange);
}

/* The first call of a request: its line and fields are there. A response queued here
 * closes the connection afterwards, which is what a refused one deserves. */
static enum MHD_Result begin(struct MHD_Connection *mhd, const char *method, const char *version,
			     void **request_context)
{
	struct http_connection *connection = http_connection_of(mhd);
	struct http_exchange *exchange = connection ? exchange_new(connection, method, version) : NULL;

	if (!exchange) {
		return MHD_NO;
	}
	*request_context = exchange;
	gp_timer_stop(&connection->deadline);
	if (!exchange->method || (!exchange->target && connection->target_in_place)) {
		return refuse_for_memory(exchange);
	}
	struct http_header_list headers;
	http_fields_collect(exchange, &headers);
	struct http_guard_verdict verdict = guard(exchange, method, version, &headers);
	if (verdict.status != 0) {
		return refuse(exchange, &verdict);
	}
	if (!http_fields_gather(exchange, &headers) || !http_fields_take_authority(exchange)) {
		return refuse_for_memory(exchange);
	}
	exchange->api.upload_length =
		verdict.has_body && !verdict.has_content_length ? -1 : (int64_t)verdict.content_length;
	if (api_takes_upload(exchange->server->app, &exchange->api)) {
		exchange->api.is_upload = true;
		return http_upload_begin(exchange);
	}
	if (verdict.has_body) {
		gp_timer_start(&connection->deadline, connection->server->body_deadline_ms);
	}
	return MHD_YES;
}

/* A body that is kept is JSON: what is longer, or more than there is room for, is taken off
 * the wire, so that the 413 or 503 that follows can be read, but not kept. Whose it is shows
 * only when it is there: what strangers send must have an end. */
static enum MHD_Result receive(struct http_exchange *exchange, struct span bytes)
{
	exchange->n_body += bytes.len;
	if (exchange->n_body > exchange->server->max_body) {
		return MHD_NO; /* chunked, or it would have been refused before */
	}
	if (exchange->api.is_body_too_large || exchange->is_body_dropped) {
		return MHD_YES;
	}
	if (!api_hold(exchange->server->app, &exchange->n_held, exchange->body.len + bytes.len)) {
		exchange->is_body_dropped = true;
		drop_body(exchange);
		return MHD_YES;
	}
	enum gp_status status = gp_buffer_append(&exchange->body, bytes);
	if (status == GP_LIMIT) {
		exchange->api.is_body_too_large = true;
		drop_body(exchange);
	}
	return status == GP_NO_MEMORY ? MHD_NO : MHD_YES;
}

/* The whole request is there. */
static enum MHD_Result dispatch(struct http_exchange *exchange)
{
	struct http_server *server = exchange->server;

	gp_timer_stop(&exchange->connection->deadline);
	if (server->is_giving_up || exchange->is_api_done) {
		return MHD_NO;
	}
	if (exchange->is_body_dropped) {
		return refuse_for_memory(exchange);
	}
	if (exchange->n_body > 0 && !exchange->api.is_body_too_large) {
		exchange->api.body = gp_buffer_span(&exchange->body);
	}
	exchange->state = HTTP_HANDLING;
	api_handle(server->app, &exchange->api);
	if (exchange->state == HTTP_READY) {
		return http_exchange_queue(exchange);
	}
	exchange->state = HTTP_WAITING;
	if (exchange->connection->is_peer_gone) {
		return MHD_NO; /* completed tells it */
	}
	http_exchange_suspend(exchange);
	return MHD_YES;
}

enum MHD_Result http_exchange_handle(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
				     const char *version, const char *upload, size_t *upload_len,
				     void **request_context)
{
	struct http_exchange *exchange = *request_context;

	(void)cls;
	(void)url;
	if (!exchange) {
		return begin(mhd, method, version, request_context);
	}
	if (exchange->api.is_upload) {
		return http_upload_handle(exchange, upload, upload_len);
	}
	if (*upload_len > 0) {
		struct span bytes = span_make(upload, *upload_len);
		*upload_len = 0;
		return receive(exchange, bytes);
	}
	switch (exchange->state) {
	case HTTP_READING:
		return dispatch(exchange);
	case HTTP_READY:
		return http_exchange_queue(exchange);
	case HTTP_HANDLING:
	case HTTP_WAITING: /* resumed without an answer: abandoned */
	case HTTP_SENDING:
		break;
	}
	return MHD_NO;
}
