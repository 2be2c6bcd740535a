/*
 * A request body that is streamed: it goes to a handler in pieces, when that asks.
 *
 *   first call         api_handle()                  HELD
 *   first call again   100 Continue is not sent yet  → queue the reply of one who was told to wait
 *   with bytes         WANTED: to the handler        DROPPED: nowhere
 *   at the end         DONE
 *
 * libmicrohttpd (0.9.75 and 1.0.1) repeats its first call when the connection was
 * suspended in it, and decides only after one that neither suspended nor queued: then it
 * sends "100 Continue", if the client waits for it, and reads the body. So a refusal that
 * takes a round trip to the IMAP server still comes before the body.
 *
 * Back-pressure is leaving bytes where they are: without credit the connection is
 * suspended with its upload buffer full.
 *
 * The deadline is one of progress, and counts only while it is the client that is waited
 * for: a byte each 60 s (body_deadline_ms), and beyond the first such time
 * HTTP_UPLOAD_LEAST_RATE bytes a second over all.
 */
#include <assert.h>

#include "gateway/http_internal.h"

/* ---- the client's time ---- */

static void start_waiting(struct http_exchange *exchange)
{
	struct http_upload *upload = &exchange->upload;
	struct http_server *server = exchange->server;
	uint64_t allowed_ms = server->body_deadline_ms + exchange->n_body * 1000 / HTTP_UPLOAD_LEAST_RATE;
	uint64_t left_ms = allowed_ms > upload->waited_ms ? allowed_ms - upload->waited_ms : 0;

	if (upload->is_waiting) {
		return;
	}
	upload->is_waiting = true;
	upload->waiting_since_ms = server->loop->timers.now_ms;
	gp_timer_start(&exchange->connection->deadline,
		       left_ms < server->body_deadline_ms ? left_ms : server->body_deadline_ms);
}

static void stop_waiting(struct http_exchange *exchange)
{
	struct http_upload *upload = &exchange->upload;

	if (upload->is_waiting) {
		upload->is_waiting = false;
		upload->waited_ms += exchange->server->loop->timers.now_ms - upload->waiting_since_ms;
		gp_timer_stop(&exchange->connection->deadline);
	}
}

/* ---- what api/ calls ---- */

static struct http_exchange *of(struct api_exchange *api)
{
	return (struct http_exchange *)api;
}

void http_upload_op_begin(struct api_exchange *api, const struct api_upload_events *events, void *ctx)
{
	struct http_exchange *exchange = of(api);

	assert(exchange->upload.stage == HTTP_UPLOAD_HELD && !exchange->is_api_done);
	if (exchange->upload.stage != HTTP_UPLOAD_HELD || exchange->is_api_done) {
		return;
	}
	exchange->upload.stage = HTTP_UPLOAD_WANTED;
	exchange->upload.events = events;
	exchange->upload.ctx = ctx;
	http_exchange_resume(exchange);
}

void http_upload_op_want(struct api_exchange *api, size_t n)
{
	struct http_exchange *exchange = of(api);

	assert(exchange->upload.stage >= HTTP_UPLOAD_WANTED && !exchange->is_api_done);
	exchange->upload.credit = n;
	if (n > 0 && exchange->upload.stage == HTTP_UPLOAD_WANTED) {
		http_exchange_resume(exchange);
	}
}

/* ---- what libmicrohttpd calls ---- */

/* Nothing goes on until the handler says so. */
static enum MHD_Result wait(struct http_exchange *exchange)
{
	if (exchange->connection->is_peer_gone || exchange->server->is_giving_up) {
		return MHD_NO; /* completed tells it */
	}
	stop_waiting(exchange);
	http_exchange_suspend(exchange);
	return MHD_YES;
}

/* It was told gone, or abandoned: there is nobody to answer. */
static bool is_over(const struct http_exchange *exchange)
{
	return exchange->is_api_done && exchange->state != HTTP_READY;
}

bool http_upload_is_coming(const struct http_exchange *exchange)
{
	enum http_upload_stage stage = exchange->upload.stage;

	return stage == HTTP_UPLOAD_WANTED || stage == HTTP_UPLOAD_DROPPED;
}

static void open_body(struct http_exchange *exchange)
{
	exchange->upload.is_open = true;
	if (exchange->state == HTTP_READY) {
		exchange->upload.stage = HTTP_UPLOAD_DROPPED;
	}
	start_waiting(exchange);
}

static enum MHD_Result before_body(struct http_exchange *exchange)
{
	if (is_over(exchange)) {
		return MHD_NO;
	}
	if (exchange->state == HTTP_READY && exchange->upload.expects_continue) {
		return http_exchange_queue(exchange);
	}
	if (exchange->state != HTTP_READY && exchange->upload.stage == HTTP_UPLOAD_HELD) {
		return wait(exchange);
	}
	if (exchange->connection->is_peer_gone) {
		return MHD_NO;
	}
	open_body(exchange);
	return MHD_YES;
}

/* Hands over what there is credit for; the handler may reply in it. */
static size_t deliver(struct http_exchange *exchange, struct span bytes)
{
	struct http_upload *upload = &exchange->upload;
	size_t n_taken = 0;

	while (n_taken < bytes.len && upload->credit > 0 && exchange->state == HTTP_WAITING) {
		struct span piece = span_slice(bytes, n_taken, upload->credit);
		upload->credit -= piece.len;
		n_taken += piece.len;
		exchange->n_body += piece.len;
		upload->events->data(upload->ctx, piece);
	}
	return n_taken;
}

static enum MHD_Result take_body(struct http_exchange *exchange, struct span bytes, size_t *left)
{
	size_t n_taken = 0;

	if (is_over(exchange) || exchange->n_body + bytes.len > exchange->server->max_body) {
		return MHD_NO; /* too long: chunked, or it would have been refused before */
	}
	stop_waiting(exchange);
	if (exchange->upload.stage == HTTP_UPLOAD_WANTED) {
		n_taken = deliver(exchange, bytes);
	}
	if (is_over(exchange)) {
		return MHD_NO;
	}
	if (exchange->state == HTTP_READY) {
		exchange->upload.stage = HTTP_UPLOAD_DROPPED;
		exchange->n_body += bytes.len - n_taken;
		n_taken = bytes.len;
	}
	*left = bytes.len - n_taken;
	if (*left > 0) {
		return wait(exchange);
	}
	start_waiting(exchange);
	return MHD_YES;
}

static enum MHD_Result end_body(struct http_exchange *exchange)
{
	stop_waiting(exchange);
	if (is_over(exchange)) {
		return MHD_NO;
	}
	bool is_wanted = exchange->upload.stage == HTTP_UPLOAD_WANTED && exchange->state == HTTP_WAITING;
	exchange->upload.stage = HTTP_UPLOAD_DONE;
	if (is_wanted) {
		exchange->upload.events->end(exchange->upload.ctx);
	}
	if (exchange->state == HTTP_READY) {
		return http_exchange_queue(exchange);
	}
	return is_over(exchange) ? MHD_NO : wait(exchange);
}

enum MHD_Result http_upload_handle(struct http_exchange *exchange, const char *upload, size_t *upload_len)
{
	if (exchange->state != HTTP_WAITING && exchange->state != HTTP_READY) {
		return MHD_NO;
	}
	if (!exchange->upload.is_open) {
		return before_body(exchange);
	}
	if (*upload_len > 0) {
		return take_body(exchange, span_make(upload, *upload_len), upload_len);
	}
	return end_body(exchange);
}

enum MHD_Result http_upload_begin(struct http_exchange *exchange)
{
	struct span expect = exchange->api.ops->header(&exchange->api, "Expect");

	exchange->upload.stage = HTTP_UPLOAD_HELD;
	exchange->upload.expects_continue = !exchange->is_http_1_0 && span_equal_text_nocase(expect, "100-continue");
	http_connection_watch(exchange->connection);
	exchange->state = HTTP_HANDLING;
	api_handle(exchange->server->app, &exchange->api);
	if (exchange->state != HTTP_READY) {
		exchange->state = HTTP_WAITING;
	}
	return before_body(exchange);
}
