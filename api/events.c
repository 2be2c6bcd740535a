/*
 * GET /events: Server-Sent Events (HTML, section 9.2). Here are the request and the bytes;
 * what is told, and when, is the feed's (api/feed.h).
 *
 *   validate → api_listener_start … began → 200, retry: → batches, each with its id → the end
 *
 * A client that does not read has MAX_BACKLOG bytes put by for it; then its stream ends,
 * and it comes back with the id of what it has read. A comment line every API_TICK_MS
 * keeps proxies from closing the connection.
 */
#include <stdio.h>
#include <stdlib.h>

#include "api/auth.h"
#include "api/event_id.h"
#include "api/event_text.h"
#include "api/feed.h"
#include "api/json.h"
#include "api/router.h"
#include "api/throttle.h"
#include "base/limits.h"
#include "base/log.h"

#define MAX_MAILBOXES 64
#define RETRY_MS 2000

struct events {
	struct api_exchange *exchange; /* link: NULL once ended or gone */
	struct api_listener *listener; /* own */
	struct gp_timer deadline;      /* until it has begun */
	struct api_tick tick;
	uint64_t timeout_ms;
};

/* ---- ends ---- */

static struct api_exchange *leave(struct events *self)
{
	struct api_exchange *exchange = self->exchange;

	api_listener_stop(&self->listener);
	api_tick_stop(&self->tick);
	gp_timer_stop(&self->deadline);
	self->exchange = NULL;
	exchange->gone = NULL;
	exchange->gone_ctx = NULL;
	return exchange;
}

static void on_gone(void *ctx)
{
	api_throttle_leave(leave(ctx));
}

static void on_deadline(struct gp_timer *timer)
{
	struct events *self = timer->ctx;
	unsigned long long timeout_s = self->timeout_ms / 1000;

	api_reply_problem(leave(self), API_PROBLEM_UPSTREAM_TIMEOUT, NULL,
			  "the IMAP server did not answer within %llu s", timeout_s);
}

/* ---- what is written ---- */

/* The stream ends whole: what it was told is good, and its client comes back for more. */
static void end_stream(struct events *self)
{
	struct api_exchange *exchange = leave(self);

	exchange->ops->stream_end(exchange, true);
}

/* All of it, or the stream ends. */
static void put(struct events *self, struct span text)
{
	struct api_exchange *exchange = self->exchange;

	if (text.len > exchange->ops->stream_room(exchange)) {
		gp_log(GP_LOG_INFO, "http", "req=%s an event stream ends: its client does not read",
		       exchange->request_id);
		end_stream(self);
		return;
	}
	exchange->ops->stream_write(exchange, text);
}

static void on_tick(struct api_tick *tick)
{
	struct events *self = tick->ctx;

	put(self, SPAN_LIT(":\n\n"));
}

/* There is nothing that waits for room. */
static const struct api_stream_events http_events = {.room = NULL};

static void on_began(void *ctx)
{
	struct events *self = ctx;
	struct api_exchange *exchange = self->exchange;
	char text[64];

	gp_timer_stop(&self->deadline);
	api_throttle_prove(exchange);
	api_header_add(exchange, "Content-Type", "text/event-stream");
	api_header_add(exchange, "Cache-Control", "no-store");
	api_header_add(exchange, "X-Accel-Buffering", "no"); /* nginx would hold events back */
	api_stream_begin(exchange, 200, -1, &http_events, self);
	if (exchange->method == API_HEAD) {
		end_stream(self);
		return;
	}
	api_tick_start(&self->tick, exchange->app->hubs, on_tick, self);
	snprintf(text, sizeof text, "retry: %d\n\n", RETRY_MS);
	put(self, span_of(text));
}

static void on_events(void *ctx, struct span text)
{
	struct events *self = ctx;
	struct gp_buffer batch, id;

	api_auth_check_owner(self->exchange, api_listener_credential(self->listener));
	gp_buffer_init(&batch, text.len + API_EVENT_ID_MAX + API_STATE_MAX);
	gp_buffer_init(&id, API_EVENT_ID_MAX + API_STATE_MAX);
	enum gp_status status = api_listener_write_id(self->listener, &id);
	if (status == GP_OK) {
		status = gp_buffer_append(&batch, text);
	}
	if (status == GP_OK) {
		status = api_event_end(&batch, gp_buffer_span(&id));
	}
	if (status == GP_OK) {
		put(self, gp_buffer_span(&batch));
	} else {
		gp_log(GP_LOG_WARN, "http", "req=%s an event stream ends: %s", self->exchange->request_id,
		       gp_status_name(status));
		end_stream(self);
	}
	gp_buffer_deinit(&batch);
	gp_buffer_deinit(&id);
}

/* What would be the reply of a request: the client is not to come back with it. */
static void write_problem(struct events *self, enum api_problem problem, const struct gp_error *error,
			  const char *detail)
{
	struct gp_buffer text;
	json_t *value = api_problem_json(problem, error, detail);

	gp_buffer_init(&text, 64 * GP_KIB);
	if (api_event_json(&text, "problem", value) == GP_OK && gp_buffer_append_char(&text, '\n') == GP_OK &&
	    text.len <= self->exchange->ops->stream_room(self->exchange)) {
		self->exchange->ops->stream_write(self->exchange, gp_buffer_span(&text));
	}
	json_decref(value);
	gp_buffer_deinit(&text);
}

static void on_ended(void *ctx, enum api_problem problem, const struct gp_error *error, const char *detail)
{
	struct events *self = ctx;

	self->listener = NULL;
	if (!self->exchange->is_streaming) {
		api_reply_problem(leave(self), problem, error, detail ? "%s" : NULL, detail);
		return;
	}
	if (!error || error->status != GP_DRAINING) {
		write_problem(self, problem, error, detail);
	}
	end_stream(self);
}

static const struct api_listener_events listener_events = {.began = on_began, .events = on_events, .ended = on_ended};

/* ---- the request ---- */

/* "text/event-stream", one of its wildcards among what is accepted; nothing said is all. */
static bool accepts_events(struct span accept)
{
	return span_is_nil(accept) || span_find_nocase(accept, SPAN_LIT("text/event-stream")) >= 0 ||
	       span_find(accept, SPAN_LIT("text/*")) >= 0 || span_find(accept, SPAN_LIT("*/*")) >= 0;
}

static void start(struct api_request *request, const struct api_listener_spec *spec)
{
	struct api_exchange *exchange = request->exchange;
	struct events *self = gp_arena_new(&exchange->arena, struct events);
	struct gp_error error = {0};
	enum gp_status status = GP_NO_MEMORY;

	if (self) {
		self->exchange = exchange;
		self->timeout_ms = request->app->request_timeout_ms;
		gp_timer_init(&self->deadline, request->app->timers, on_deadline, self);
		status = api_listener_start(request->app->hubs, spec, &listener_events, self, &self->listener);
	}
	if (status != GP_OK) {
		gp_error_set(&error, status, "%s", gp_status_text(status));
		api_reply_problem(exchange, api_problem_of(&error), &error,
				  status == GP_QUEUE_FULL ? "this account has %d event streams already" : NULL,
				  API_FEED_MAX_LISTENERS);
		return;
	}
	exchange->gone = on_gone;
	exchange->gone_ctx = self;
	gp_timer_start(&self->deadline, self->timeout_ms);
}

void api_events_get(struct api_request *request)
{
	struct api_query *query = &request->query;
	struct api_exchange *exchange = request->exchange;
	struct api_mailbox_ref mailboxes[MAX_MAILBOXES];
	struct api_listener_spec spec = {.credential = request->credential, .mailboxes = mailboxes};

	if (!api_request_mailboxes(request, mailboxes, MAX_MAILBOXES, &spec.n_mailboxes)) {
		return;
	}
	/* a polyfill says in the query what EventSource says in the field; when both come, the
	 * field is of the later connection */
	spec.last_event_id = api_query_text(query, "lastEventId");
	struct span field = exchange->ops->header(exchange, "Last-Event-ID");
	if (field.len > 0) {
		spec.last_event_id = field;
	}
	if (api_query_finish(query) != GP_OK) {
		api_reply_error(exchange, &query->error);
		return;
	}
	if (!accepts_events(exchange->ops->header(exchange, "Accept"))) {
		api_reply_problem(exchange, API_PROBLEM_NOT_ACCEPTABLE, NULL, "events come as text/event-stream only");
		return;
	}
	start(request, &spec);
}
