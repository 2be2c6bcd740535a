#include "api/idempotency.h"
#include "api/message_append.h"
#include "api/throttle.h"

/* What is asked of a body of unknown length at a time. */
#define GATHER_BYTES (64 * GP_KIB)

/* ---- a body that does not say how long it is ---- */

/* No job runs yet: what it will own is kept here. */
static void stop_gathering(struct api_append *self)
{
	self->job.exchange->gone = NULL;
	imap_credential_unref(&self->request->credential);
}

static void on_gathering_gone(void *ctx)
{
	struct api_append *self = ctx;

	api_throttle_leave(self->job.exchange);
	api_idempotency_leave(self->job.exchange, false);
	stop_gathering(self);
	api_append_discard(self);
}

static void fail_gathering(struct api_append *self, enum api_problem problem, const char *detail)
{
	struct api_exchange *exchange = self->job.exchange;

	stop_gathering(self);
	api_append_discard(self);
	api_reply_problem(exchange, problem, NULL, "%s", detail);
}

static void on_gathered(void *ctx, struct span octets)
{
	struct api_append *self = ctx;
	bool has_room = api_hold(self->job.app, &self->n_gathered, self->message.len + octets.len);
	enum gp_status status = has_room ? gp_buffer_append(&self->message, octets) : GP_NO_MEMORY;

	if (!has_room) {
		fail_gathering(self, API_PROBLEM_UNAVAILABLE,
			       "too many messages without a Content-Length are held: send it, and none has to be");
	} else if (status == GP_LIMIT) {
		fail_gathering(self, API_PROBLEM_TOO_LARGE,
			       "without a Content-Length a message may have 1 MiB at most: send its Content-Length");
	} else if (status != GP_OK) {
		fail_gathering(self, API_PROBLEM_UNAVAILABLE, "out of memory");
	} else {
		self->job.exchange->ops->upload_want(self->job.exchange, GATHER_BYTES);
	}
}

static void on_all_gathered(void *ctx)
{
	struct api_append *self = ctx;

	if (self->message.len == 0) {
		fail_gathering(self, API_PROBLEM_BAD_REQUEST, "the body is empty, but must be a message");
		return;
	}
	api_idempotency_pass(self->job.exchange, gp_buffer_span(&self->message));
	if (!api_idempotency_is_same(self->job.exchange)) {
		fail_gathering(self, API_PROBLEM_UNPROCESSABLE,
			       "this Idempotency-Key was used for another request: each request needs its own");
		return;
	}
	self->is_held = true;
	self->size = self->message.len;
	struct imap_credential *credential = self->request->credential;
	api_append_start_entered(self); /* with a reference of its own */
	imap_credential_unref(&credential);
}

static const struct api_upload_events gather_events = {.data = on_gathered, .end = on_all_gathered};

static void gather(struct api_append *self)
{
	struct api_exchange *exchange = self->job.exchange;

	self->request->credential = imap_credential_ref(self->job.credential);
	exchange->gone = on_gathering_gone;
	exchange->gone_ctx = self;
	exchange->ops->upload_begin(exchange, &gather_events, self);
	exchange->ops->upload_want(exchange, GATHER_BYTES);
}

/* ---- the request's own body ---- */

/* The media type without parameters. */
static struct span media_type(struct api_exchange *exchange)
{
	struct span value = exchange->ops->header(exchange, "Content-Type");
	ptrdiff_t semicolon = span_find_char(value, ';');

	return span_trim(semicolon < 0 ? value : span_slice(value, 0, (size_t)semicolon));
}

/* False: a problem has been replied. */
static bool check_body(struct api_exchange *exchange)
{
	if (!span_is_nil(exchange->ops->header(exchange, "Content-Encoding"))) {
		api_reply_problem(exchange, API_PROBLEM_UNSUPPORTED_MEDIA_TYPE, NULL,
				  "a Content-Encoding is not accepted in requests");
		return false;
	}
	if (exchange->upload_length == 0) {
		api_reply_problem(exchange, API_PROBLEM_BAD_REQUEST, NULL, "the body is empty, but must be a message");
		return false;
	}
	return true;
}

void api_append_start_from_body(struct api_append *self)
{
	struct api_exchange *exchange = self->job.exchange;

	if (!span_equal_text_nocase(media_type(exchange), "message/rfc822")) {
		if (api_append_compose(self)) {
			api_append_start(self);
		} else {
			api_append_discard(self);
		}
	} else if (!check_body(exchange)) {
		api_append_discard(self);
	} else if (api_query_finish(&self->request->query) != GP_OK) {
		api_append_discard(self);
		api_reply_error(exchange, &self->request->query.error);
	} else if (!api_append_enter(self)) {
		return;
	} else if (exchange->upload_length < 0) {
		gather(self);
	} else {
		self->size = (uint64_t)exchange->upload_length;
		api_append_start_entered(self);
	}
}

static bool is_mbox(struct api_exchange *exchange)
{
	return exchange->is_upload && span_equal_text_nocase(media_type(exchange), "application/mbox");
}

void api_message_post(struct api_request *request)
{
	if (is_mbox(request->exchange)) {
		api_mbox_post(request);
		return;
	}
	struct api_append *self = api_append_new(request, sizeof *self);

	if (self) {
		api_append_start_from_body(self);
	}
}
