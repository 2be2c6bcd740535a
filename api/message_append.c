#include "api/message_append.h"

#include "api/idempotency.h"
#include "api/message_json.h"
#include "api/moment.h"
#include "api/throttle.h"

/* What is made at a time of a message that is held as something else. */
#define MADE_BYTES (16 * GP_KIB)
/* And is written before others have their turn: a fast server takes whatever comes. A loop
 * runs some such turns before it looks at its descriptors again. */
#define TURN_BYTES (64 * GP_KIB)

static struct api_append *append_of(void *ctx)
{
	return ctx;
}

/* ---- replies ---- */

void api_append_reply(struct api_append *self)
{
	struct api_exchange *exchange = self->job.exchange;
	struct span mailbox = self->job.mailbox_name;
	bool is_known = self->place.uid != 0;
	json_t *place = json_object();

	api_json_set(place, "mailbox", api_json_text(mailbox));
	api_json_set(place, "uid", is_known ? json_integer(self->place.uid) : json_null());
	api_json_set(place, "uidValidity", is_known ? json_integer(self->place.uidvalidity) : json_null());
	if (self->extra && json_object_update(place, self->extra) != 0) {
		api_json_set(place, "mailbox", NULL); /* counted as no memory */
	}
	if (is_known) {
		api_header_add(exchange, "Location", api_message_href(&exchange->arena, mailbox, self->place.uid, ""));
	}
	api_job_finish(&self->job);
	api_reply_json(exchange, 201, place);
}

static void swallow(struct api_append *self);

void api_append_arrived(struct api_append *self)
{
	if (self->is_again && !self->is_confirmed && !self->is_held) {
		swallow(self); /* it is there since the first time, if this is the same */
		return;
	}
	if (self->is_again && !self->is_confirmed) {
		api_header_add(self->job.exchange, "Idempotent-Replayed", "true");
	}
	(self->appended ? self->appended : api_append_reply)(self);
}

static void prepare(struct api_job *job)
{
	struct api_append *self = append_of(job);

	self->prepare(self);
}

void api_append_send_again(struct api_append *self)
{
	const struct api_job_place place = {.mailbox = self->job.mailbox_name, .is_write = true};

	self->is_again = false;
	self->job.report = NULL;
	self->job.is_writing = true;
	if (self->prepare) {
		api_job_move_to(&self->job, &place, prepare);
	} else {
		api_append_prepared(self);
	}
}

static void fail_no_mailbox(struct api_append *self, const struct gp_error *error)
{
	api_job_fail(&self->job, API_PROBLEM_NOT_FOUND, error, "there is no mailbox '%s'",
		     api_excerpt(self->job.mailbox_name).text);
}

/* ---- the message passes ---- */

/* PERMANENTFLAGS would tell which are kept, but the mailbox is not selected. */
static bool has_own_keyword(const struct api_append *self)
{
	for (size_t i = 0; i < self->n_flags; i++) {
		if (!span_starts_with(self->flags[i], "\\")) {
			return true;
		}
	}
	return false;
}

/* False: it is not what the Idempotency-Key stands for. The last octets are not sent, so
 * that nothing is appended. */
static bool is_what_it_was(struct api_append *self)
{
	if (self->is_held || api_idempotency_is_same(self->job.exchange)) {
		return true;
	}
	imap_append_cancel(&self->job.append);
	api_job_fail(&self->job, API_PROBLEM_UNPROCESSABLE, NULL,
		     "this Idempotency-Key was used for another request: each request needs its own");
	return false;
}

/* A literal holds no NUL (RFC 3501: CHAR8), and what servers make of one is not what was sent. False:
 * the literal is broken off, so that nothing is appended. */
static bool has_no_nul(struct api_append *self, struct span octets)
{
	ptrdiff_t at = span_find_char(octets, '\0');

	if (at < 0) {
		return true;
	}
	imap_append_cancel(&self->job.append);
	api_job_fail(&self->job, API_PROBLEM_BAD_REQUEST, NULL,
		     "the message has a NUL at offset %llu: IMAP cannot carry that, encode it as base64",
		     (unsigned long long)(self->n_written + (uint64_t)at));
	return false;
}

/* False: the job has ended. */
static bool write_octets(struct api_append *self, struct span octets)
{
	struct api_exchange *exchange = self->job.exchange;

	if (!has_no_nul(self, octets)) {
		return false;
	}
	api_trace_note(&self->trace, octets);
	if (!self->is_held) {
		api_idempotency_pass(exchange, octets);
	}
	self->n_written += octets.len;
	if (self->n_written == self->size) {
		if (!is_what_it_was(self)) {
			return false;
		}
		/* It may be done: from here on a lost answer is not a failure. */
		self->job.is_committed = true;
		api_idempotency_note(exchange, span_make((const char *)&self->trace, sizeof self->trace));
	}
	imap_append_write(self->job.append, octets);
	return true;
}

static void write_held(struct api_append *self)
{
	char made[MADE_BYTES];
	size_t room = imap_append_room(self->job.append);
	uint64_t end = self->n_written + TURN_BYTES;

	while (room > 0 && self->n_written < self->size && self->n_written < end) {
		struct span piece;
		if (self->read) {
			piece = span_make(made, self->read(self, made, room < sizeof made ? room : sizeof made));
		} else {
			piece = span_slice(gp_buffer_span(&self->message), (size_t)self->n_written, room);
		}
		if (!write_octets(self, piece)) {
			return;
		}
		room = imap_append_room(self->job.append);
	}
	if (room > 0 && self->n_written < self->size) {
		gp_timer_start(&self->more, 0);
	}
	api_job_touch(&self->job);
}

static void on_more(struct gp_timer *timer)
{
	write_held(append_of(timer->ctx));
}

/* Whom the job waits for: the client while there is room, the server while there is none. */
static void ask_client(struct api_append *self)
{
	size_t room = imap_append_room(self->job.append);

	self->job.exchange->ops->upload_want(self->job.exchange, room);
	if (room > 0) {
		api_job_pause(&self->job);
	} else {
		api_job_touch(&self->job);
	}
}

static void on_data(void *ctx, struct span octets)
{
	struct api_append *self = append_of(ctx);

	self->job.is_used_up = true;
	if (write_octets(self, octets)) {
		ask_client(self);
	}
}

static void on_end(void *ctx)
{
	(void)ctx; /* as many octets as were announced have come: libmicrohttpd sees to it */
}

static const struct api_upload_events upload_events = {.data = on_data, .end = on_end};

static void on_room(void *ctx, size_t n)
{
	struct api_append *self = append_of(ctx);

	(void)n;
	if (self->is_held) {
		write_held(self);
		return;
	}
	if (!self->is_begun) {
		self->is_begun = true;
		self->job.exchange->ops->upload_begin(self->job.exchange, &upload_events, self);
	}
	ask_client(self);
}

/* ---- APPEND ---- */

static void on_appended(void *ctx, const struct gp_error *borrowed, const struct imap_append_result *result)
{
	struct api_append *self = append_of(ctx);
	struct gp_error error = {0};

	gp_timer_stop(&self->more);
	self->place = result->appended;
	self->told = (struct imap_copied){.uid = 0};
	if (self->trace.uidvalidity != 0 && self->place.uidvalidity != self->trace.uidvalidity) {
		/* of another mailbox than STATUS: what has that UID in this one may be any message */
		self->told = self->place;
		self->place = (struct imap_copied){.uid = 0};
	}
	if (self->is_begun) {
		/* Until another APPEND has its "+" there is nowhere to put it. */
		self->job.exchange->ops->upload_want(self->job.exchange, 0);
	}
	if (!borrowed) {
		api_job_ended(&self->job);
		self->is_confirmed = true;
		if (self->place.uid != 0) {
			api_append_arrived(self);
		} else {
			api_append_probe(self);
		}
		return;
	}
	error = *borrowed;
	bool is_done_perhaps = self->job.is_committed && result->is_sent && api_job_is_answer_lost(&error);
	/* A refusal, or octets that never left: nothing was appended. */
	self->job.is_committed = is_done_perhaps;
	if (!is_done_perhaps && !api_job_is_answer_lost(&error)) {
		api_idempotency_note(self->job.exchange, SPAN_NIL);
	}
	if (is_done_perhaps) {
		api_job_ended(&self->job);
		self->lost = error;
		api_append_probe(self);
	} else if (error.status == GP_NOT_FOUND) {
		api_job_ended(&self->job);
		fail_no_mailbox(self, &error);
	} else if (error.status == GP_BAD && has_own_keyword(self)) {
		api_job_ended(&self->job);
		api_job_fail(
			&self->job, API_PROBLEM_UNPROCESSABLE, &error,
			"the IMAP server does not take a message with these keywords: it may keep none of one's own");
	} else {
		(void)api_job_check(&self->job, &error);
	}
}

static const struct imap_append_events append_events = {.room = on_room, .done = on_appended};

static void start_append(struct api_append *self)
{
	const struct imap_append_spec spec = {.mailbox = self->job.mailbox_name,
					      .flags = self->flags,
					      .n_flags = self->n_flags,
					      .has_date = self->has_date,
					      .date = self->date,
					      .size = self->size};

	self->job.append = imap_append_start(api_job_session(&self->job), &spec, &append_events, self);
	api_job_started(&self->job, self->job.append);
}

static void note_status(struct api_append *self, const struct imap_status *status)
{
	bool is_told = status && (status->items & IMAP_STATUS_UIDNEXT) && (status->items & IMAP_STATUS_UIDVALIDITY);

	self->trace.uidnext = is_told ? status->uidnext : 0;
	self->trace.uidvalidity = is_told ? status->uidvalidity : 0;
}

/* The message goes its way whatever STATUS says: what it says helps to find it. */
static void on_status_beside(void *ctx, const struct gp_error *error, const struct imap_status *status)
{
	struct api_append *self = append_of(ctx);

	self->job.beside[0] = NULL;
	note_status(self, error ? NULL : status);
}

static void on_status_before(void *ctx, const struct gp_error *error, const struct imap_status *status)
{
	struct api_append *self = append_of(ctx);

	if (error && error->status == GP_NOT_FOUND) {
		struct gp_error copy = *error;
		api_job_ended(&self->job);
		fail_no_mailbox(self, &copy);
		return;
	}
	if (!api_job_check(&self->job, error)) {
		return;
	}
	note_status(self, status);
	if (self->trace.uidvalidity != self->job.spec.uidvalidity) {
		api_job_fail(&self->job, API_PROBLEM_GONE, NULL, "the mailbox '%s' has UIDVALIDITY %u now, not %u",
			     api_excerpt(self->job.mailbox_name).text, (unsigned)self->trace.uidvalidity,
			     (unsigned)self->job.spec.uidvalidity);
		return;
	}
	start_append(self);
}

static bool is_too_large(struct api_append *self)
{
	uint64_t limit = imap_session_append_limit(api_job_session(&self->job));

	if (limit == 0 || self->size <= limit) {
		return false;
	}
	api_job_fail(&self->job, API_PROBLEM_TOO_LARGE, NULL,
		     "the message has %llu bytes, and the IMAP server takes %llu at most",
		     (unsigned long long)self->size, (unsigned long long)limit);
	return true;
}

static void append(struct api_job *job)
{
	struct api_append *self = append_of(job);
	struct imap_session *session = api_job_session(job);
	unsigned items = IMAP_STATUS_UIDNEXT | IMAP_STATUS_UIDVALIDITY;

	if (is_too_large(self)) {
		return;
	}
	api_trace_begin(&self->trace);
	self->n_written = 0;
	if (job->spec.has_uidvalidity && job->spec.is_named_only) {
		job->call = imap_status_start(session, job->mailbox_name, items, on_status_before, self);
		api_job_started(job, job->call);
		return;
	}
	job->beside[0] = imap_status_start(session, job->mailbox_name, items, on_status_beside, self);
	if (api_job_started(job, job->beside[0])) {
		start_append(self);
	}
}

void api_append_prepared(struct api_append *self)
{
	const struct api_job_place place = {.is_bulk = true, .is_alone = true};

	api_job_move_to(&self->job, &place, append);
}

/* ---- the job ---- */

static void append_run(struct api_job *job)
{
	struct api_append *self = append_of(job);

	if (self->is_again) {
		api_append_probe(self);
	} else if (self->prepare) {
		prepare(job);
	} else {
		append(job);
	}
}

static void append_reset(struct api_job *job)
{
	struct api_append *self = append_of(job);

	gp_timer_stop(&self->more);
	api_append_probe_reset(self);
	json_decref(self->extra);
	self->extra = NULL;
	self->is_confirmed = false;
	self->place = (struct imap_copied){0};
}

static void append_free(struct api_job *job)
{
	struct api_append *self = append_of(job);

	append_reset(job);
	gp_buffer_deinit(&self->message);
	api_hold_end(job->app, &self->n_gathered);
	if (self->release) {
		self->release(self);
	}
}

static const struct api_job_handler append_handler = {.run = append_run, .reset = append_reset, .free = append_free};

/* ---- requests ---- */

bool api_append_add_keyword(struct api_append *self, struct span keyword)
{
	struct span flag = api_keyword_flag(&self->job.exchange->arena, keyword);

	if (span_is_nil(flag) || self->n_flags == API_MAX_APPEND_KEYWORDS) {
		return false;
	}
	self->has_keywords = true;
	self->flags[self->n_flags++] = flag;
	return true;
}

/* "keywords=$seen,$draft", which may repeat. */
static void read_keywords(struct api_append *self, struct api_query *query)
{
	struct span list;

	for (size_t n = 0; api_query_nth(query, "keywords", n, &list); n++) {
		self->has_keywords = true;
		while (list.len > 0) {
			ptrdiff_t comma = span_find_char(list, ',');
			struct span keyword = comma < 0 ? list : span_slice(list, 0, (size_t)comma);
			list = comma < 0 ? SPAN_NIL : span_from(list, (size_t)comma + 1);
			if (!api_append_add_keyword(self, keyword)) {
				api_query_fail(query, "'keywords': '%s' is no keyword, or there are more than %d",
					       api_excerpt(keyword).text, API_MAX_APPEND_KEYWORDS);
				return;
			}
		}
	}
}

static void read_date(struct api_append *self, struct api_query *query)
{
	struct span text = api_query_text(query, "receivedAt");
	struct api_moment moment;

	if (span_is_nil(text)) {
		return;
	}
	if (!api_moment_parse(text, &moment) || moment.is_date) {
		api_query_fail(query, "'receivedAt' must be a time such as 2026-01-31T12:00:00Z, not '%s'",
			       api_excerpt(text).text);
		return;
	}
	if (!api_moment_can_arrive(moment.seconds)) {
		api_query_fail(query, "'receivedAt' must lie between 1970 and 2106, as '%s' does not",
			       api_excerpt(text).text);
		return;
	}
	self->has_date = true;
	self->date = moment.seconds;
}

void *api_append_new(struct api_request *request, size_t size)
{
	struct api_append *self = api_job_new(request->app, request->exchange, &request->target, request->credential,
					      size, &append_handler);

	if (self) {
		self->request = request;
		gp_buffer_init(&self->message, GP_MAX_HELD_MESSAGE);
		gp_timer_init(&self->look_again, request->app->timers, NULL, self);
		gp_timer_init(&self->more, request->app->timers, on_more, self);
		read_keywords(self, &request->query);
		read_date(self, &request->query);
	}
	return self;
}

void api_append_set_message(struct api_append *self, struct gp_buffer *message)
{
	gp_buffer_deinit(&self->message);
	self->message = *message;
	gp_buffer_init(message, message->cap);
	self->is_held = true;
	self->size = self->message.len;
}

/* ---- a request that was sent before ---- */

#define SWALLOW_BYTES (64 * GP_KIB)

static void on_swallowed(void *ctx, struct span octets)
{
	struct api_append *self = append_of(ctx);

	api_idempotency_pass(self->job.exchange, octets);
	self->job.exchange->ops->upload_want(self->job.exchange, SWALLOW_BYTES);
}

static void on_all_swallowed(void *ctx)
{
	struct api_append *self = append_of(ctx);
	struct api_exchange *exchange = self->job.exchange;
	bool is_same = api_idempotency_is_same(exchange);

	if (self->is_again && is_same) {
		api_header_add(exchange, "Idempotent-Replayed", "true");
		(self->appended ? self->appended : api_append_reply)(self);
	} else if (self->is_again) {
		api_job_fail(&self->job, API_PROBLEM_UNPROCESSABLE, NULL,
			     "this Idempotency-Key was used for another request: each request needs its own");
	} else {
		exchange->gone = NULL;
		append_free(&self->job);
		(is_same ? api_idempotency_replay : api_idempotency_refuse)(exchange);
	}
}

static const struct api_upload_events swallow_events = {.data = on_swallowed, .end = on_all_swallowed};

static void swallow(struct api_append *self)
{
	struct api_exchange *exchange = self->job.exchange;

	if (self->is_again) {
		api_job_pause(&self->job);
	}
	exchange->ops->upload_begin(exchange, &swallow_events, self);
	exchange->ops->upload_want(exchange, SWALLOW_BYTES);
}

/* No job runs. */
static void on_swallowing_gone(void *ctx)
{
	struct api_append *self = append_of(ctx);

	api_throttle_leave(self->job.exchange);
	api_idempotency_leave(self->job.exchange, false);
	append_free(&self->job);
}

/* Takes up what was noted when the answer was lost. */
static void remember(struct api_append *self)
{
	struct span note = api_idempotency_noted(self->job.exchange);

	if (api_idempotency_state(self->job.exchange) == API_IDEMPOTENCY_LOST && note.len == sizeof self->trace) {
		memcpy(&self->trace, note.ptr, sizeof self->trace);
		self->is_again = true;
		gp_error_set(&self->lost, GP_LOST, "the connection to the IMAP server was lost the first time");
	}
}

bool api_append_enter(struct api_append *self)
{
	struct api_exchange *exchange = self->job.exchange;

	if (!api_idempotency_enter(self->request)) {
		append_free(&self->job);
		return false;
	}
	if (exchange->is_upload && api_idempotency_state(exchange) == API_IDEMPOTENCY_DONE) {
		exchange->gone = on_swallowing_gone;
		exchange->gone_ctx = self;
		swallow(self);
		return false;
	}
	remember(self);
	return true;
}

void api_append_start_entered(struct api_append *self)
{
	struct api_request *request = self->request;
	bool is_prepared = self->prepare != NULL && !self->is_prepared_alone;
	const struct api_job_spec spec = {
		.mailbox = request->mailbox,
		.is_write = true,
		.is_bulk = !is_prepared,
		.is_alone = !is_prepared,
		.is_named_only = !is_prepared || self->is_unselected,
		.has_uidvalidity = request->has_uidvalidity,
		.uidvalidity = request->uidvalidity,
	};

	api_job_start(&self->job, &spec);
}

void api_append_start_checked(struct api_append *self)
{
	if (api_append_enter(self)) {
		api_append_start_entered(self);
	}
}

void api_append_discard(struct api_append *self)
{
	append_free(&self->job);
}

void api_append_start(struct api_append *self)
{
	struct api_request *request = self->request;

	if (api_query_finish(&request->query) != GP_OK) {
		append_free(&self->job);
		api_reply_error(request->exchange, &request->query.error);
	} else {
		api_append_start_checked(self);
	}
}
