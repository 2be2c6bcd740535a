#include "api/message_compose.h"

#include <stdlib.h>
#include <time.h>

#include "api/body.h"
#include "api/idempotency.h"

#define COLLECT_BYTES (64 * GP_KIB)
/* Before a body longer than this is read, the mailbox is asked for. */
#define SMALL_BODY (64 * GP_KIB)
#define LARGE GP_MIB
/* JSON is held as it came, as Jansson has it, and as what it is made into. */
#define JSON_FACTOR 3

/* ---- memory ---- */

static void set_held(struct api_compose *self, size_t n_bytes)
{
	self->app->n_held = self->app->n_held - self->n_held + n_bytes;
	self->n_held = n_bytes;
}

static void free_memory(void *ctx)
{
	struct api_compose *self = ctx;

	api_form_free(&self->form);
	gp_buffer_deinit(&self->json);
	gp_buffer_deinit(&self->value);
	mail_composed_free(&self->composed); /* before what it borrows from */
	api_draft_free(&self->draft);
	free(self);
}

static void freed(void *ctx)
{
	(void)ctx;
}

/* To give tens of MiB back takes some 10 ms: a worker does it. */
static void compose_free(struct api_compose *self)
{
	bool is_large = self->n_held > LARGE;

	set_held(self, 0);
	if (!is_large || !self->app->work(self->app, free_memory, freed, self)) {
		free_memory(self);
	}
}

/* The request is over. */
static void release(struct api_append *append)
{
	struct api_compose *self = append->compose;

	if (self->then_release) {
		self->then_release(append);
	}
	append->compose = NULL;
	self->append = NULL;
	api_compose_fetch_reset(self);
	if (!self->is_working) {
		compose_free(self);
	}
}

static void fail_for_memory(struct api_compose *self)
{
	api_job_fail(&self->append->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
}

bool api_compose_hold(struct api_compose *self, size_t n_bytes)
{
	if (n_bytes > GP_MAX_HELD) {
		api_job_fail(&self->append->job, API_PROBLEM_TOO_LARGE, NULL,
			     "a message of this size can only be sent as message/rfc822");
		return false;
	}
	if (n_bytes > self->n_held && n_bytes - self->n_held > GP_MAX_HELD - self->app->n_held) {
		api_job_fail(&self->append->job, API_PROBLEM_UNAVAILABLE, NULL,
			     "too many large messages are being composed");
		return false;
	}
	set_held(self, n_bytes);
	return true;
}

static void fail(struct api_compose *self, const struct gp_error *error)
{
	enum api_problem problem = error->status == GP_INVALID ? API_PROBLEM_BAD_REQUEST
				   : error->status == GP_LIMIT ? API_PROBLEM_TOO_LARGE
							       : API_PROBLEM_UNAVAILABLE;

	if (self->draft && self->draft->arena.is_short) {
		/* What had no memory may have been taken for what cannot be. */
		api_job_fail(&self->append->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	api_job_fail(&self->append->job, problem, NULL, "%s", error->text);
}

/* ---- on the worker ---- */

static enum gp_status read_draft(struct api_compose *self)
{
	enum gp_status status = GP_OK;

	if (self->has_json) {
		status = api_draft_read_json(self->draft, gp_buffer_span(&self->json), &self->error);
		gp_buffer_deinit(&self->json);
	}
	return status == GP_OK ? api_draft_finish(self->draft, &self->error) : status;
}

static bool has_all_sources(const struct api_draft *draft)
{
	size_t i = 0;

	while (i < draft->mail.n_attachments && !api_draft_wants_source(draft, i)) {
		i++;
	}
	return i == draft->mail.n_attachments;
}

static void work(void *ctx)
{
	struct api_compose *self = ctx;

	if (!self->is_read && read_draft(self) != GP_OK) {
		return;
	}
	self->is_read = true;
	if (has_all_sources(self->draft)) {
		(void)!mail_compose(&self->draft->mail, self->app->max_body, &self->composed, &self->error);
	}
}

/* ---- and back ---- */

/* What JSON says of flags and arrival. */
static bool take_keywords(struct api_compose *self)
{
	struct api_append *append = self->append;
	const struct api_draft *draft = self->draft;
	struct gp_error error = {.status = GP_OK};

	if (draft->has_keywords && append->has_keywords) {
		gp_error_set(&error, GP_INVALID, "keywords: are in the query, too");
	}
	if (draft->has_received_at && append->has_date) {
		gp_error_set(&error, GP_INVALID, "receivedAt: is in the query, too");
	}
	if (error.status != GP_OK) {
		fail(self, &error);
		return false;
	}
	append->has_keywords |= draft->has_keywords;
	for (size_t i = 0; i < draft->n_flags; i++) {
		append->flags[append->n_flags++] = draft->flags[i]; /* they live as long */
	}
	if (draft->has_received_at) {
		append->has_date = true;
		append->date = draft->received_at;
	}
	return true;
}

static size_t read_composed(struct api_append *append, char *to, size_t room)
{
	struct mail_composed *composed = append->compose->composed;

	if (append->n_written == 0) {
		mail_composed_rewind(composed);
	}
	return mail_composed_read(composed, to, room);
}

static void run_then(struct api_job *job)
{
	struct api_append *append = (struct api_append *)job;

	append->compose->then(append);
}

static void append_composed(struct api_compose *self)
{
	struct api_append *append = self->append;

	append->is_held = true;
	append->read = read_composed;
	append->size = mail_composed_size(self->composed);
	append->job.doing = NULL;
	if (self->then) {
		const struct api_job_place place = {.mailbox = append->job.mailbox_name, .is_write = true};
		api_job_move_to(&append->job, &place, run_then);
	} else {
		api_append_prepared(append);
	}
}

static void worked(void *ctx)
{
	struct api_compose *self = ctx;

	self->is_working = false;
	if (!self->append) {
		compose_free(self);
		return;
	}
	api_job_touch(&self->append->job);
	set_held(self, api_draft_size(self->draft) + (self->composed ? mail_composed_text_size(self->composed) : 0));
	if (self->error.status != GP_OK) {
		fail(self, &self->error);
		return;
	}
	if (!self->is_taken && !take_keywords(self)) {
		return;
	}
	self->is_taken = true;
	if (self->composed) {
		append_composed(self);
	} else {
		api_compose_fetch(self);
	}
}

void api_compose_work(struct api_compose *self)
{
	self->is_working = true;
	if (!self->app->work(self->app, work, worked, self)) {
		self->is_working = false;
		fail_for_memory(self);
	}
}

/* ---- forms ---- */

static enum gp_status on_part(void *ctx, const struct api_form_part *part, struct gp_error *error)
{
	struct api_compose *self = ctx;
	struct gp_arena *arena = &self->append->job.exchange->arena;
	bool is_message = span_equal_text(part->name, "message");

	self->is_file = part->has_filename && !is_message;
	self->has_fields |= !self->is_file && !is_message;
	if (is_message && self->has_json) {
		return gp_error_set(error, GP_INVALID, "message: is there twice");
	}
	self->has_json |= is_message;
	if (self->has_json && self->has_fields) {
		return gp_error_set(error, GP_INVALID,
				    "a form has either the field 'message' or other fields, not both");
	}
	gp_buffer_init(&self->value, self->app->max_body);
	if (!gp_arena_copy(arena, part->name, &self->name) || !gp_arena_copy(arena, part->filename, &self->filename) ||
	    !gp_arena_copy(arena, part->type, &self->type)) {
		return gp_error_set(error, GP_NO_MEMORY, "out of memory");
	}
	return GP_OK;
}

static enum gp_status on_part_data(void *ctx, struct span bytes, struct gp_error *error)
{
	struct api_compose *self = ctx;
	enum gp_status status = gp_buffer_append(&self->value, bytes);

	return status == GP_OK ? GP_OK : gp_error_set(error, status, "%s", gp_status_text(status));
}

static enum gp_status on_part_end(void *ctx, struct gp_error *error)
{
	struct api_compose *self = ctx;

	if (self->is_file) {
		/* What a browser sends for a file that was not chosen. */
		if (self->filename.len == 0 && self->value.len == 0) {
			return GP_OK;
		}
		return api_draft_add_file(self->draft, self->filename, self->type, &self->value, error);
	}
	if (span_equal_text(self->name, "message")) {
		self->json = self->value;
		gp_buffer_init(&self->value, 1);
		return GP_OK;
	}
	return api_draft_set_field(self->draft, self->name, &self->value, error);
}

static const struct api_form_events form_events = {.part = on_part, .data = on_part_data, .part_end = on_part_end};

/* ---- the body ---- */

static void on_body(void *ctx, struct span bytes)
{
	struct api_compose *self = ctx;
	struct gp_error error = {.status = GP_OK};

	self->n_body += bytes.len;
	api_idempotency_pass(self->append->job.exchange, bytes);
	size_t n_held = self->n_body * (self->form ? 1 : JSON_FACTOR);
	if (n_held > self->n_held && !api_compose_hold(self, n_held)) {
		return;
	}
	if (self->form) {
		(void)!api_form_feed(self->form, bytes, &error);
	} else {
		enum gp_status status = gp_buffer_append(&self->json, bytes);
		if (status != GP_OK) {
			gp_error_set(&error, status, "%s", gp_status_text(status));
		}
	}
	if (error.status != GP_OK) {
		fail(self, &error);
		return;
	}
	struct api_exchange *exchange = self->append->job.exchange;
	exchange->ops->upload_want(exchange, COLLECT_BYTES);
}

static void on_body_end(void *ctx)
{
	struct api_compose *self = ctx;
	struct gp_error error = {.status = GP_OK};

	self->is_collected = true;
	if (!api_idempotency_is_same(self->append->job.exchange)) {
		api_job_fail(&self->append->job, API_PROBLEM_UNPROCESSABLE, NULL,
			     "this Idempotency-Key was used for another request: each request needs its own");
		return;
	}
	if (self->form && api_form_finish(self->form, &error) != GP_OK) {
		fail(self, &error);
		return;
	}
	api_job_touch(&self->append->job);
	api_compose_work(self);
}

static const struct api_upload_events body_events = {.data = on_body, .end = on_body_end};

static void collect(struct api_compose *self)
{
	struct api_job *job = &self->append->job;
	int64_t length = job->exchange->upload_length;

	if (length > 0 && !api_compose_hold(self, (size_t)length * (self->form ? 1 : JSON_FACTOR))) {
		return;
	}
	/* The client may take its time: nobody else waits for the session meanwhile. */
	imap_lease_end(&job->lease, false);
	api_job_pause(job);
	job->exchange->ops->upload_begin(job->exchange, &body_events, self);
	job->exchange->ops->upload_want(job->exchange, COLLECT_BYTES);
}

/* ---- before it ---- */

static void on_status(void *ctx, const struct gp_error *error, const struct imap_status *status)
{
	struct api_compose *self = ctx;
	struct api_job *job = &self->append->job;

	(void)status;
	if (error && error->status == GP_NOT_FOUND) {
		struct gp_error copy = *error;
		api_job_ended(job);
		api_job_fail(job, API_PROBLEM_NOT_FOUND, &copy, "there is no mailbox '%s'",
			     api_excerpt(job->mailbox_name).text);
	} else if (api_job_check(job, error)) {
		collect(self);
	}
}

static void prepare(struct api_append *append)
{
	struct api_compose *self = append->compose;
	struct api_job *job = &append->job;
	int64_t length = job->exchange->upload_length;

	if (self->composed) {
		append_composed(self); /* once more, on another session */
	} else if (self->is_collected) {
		api_compose_fetch(self);
	} else if (length >= 0 && (size_t)length <= SMALL_BODY) {
		collect(self);
	} else {
		job->call = imap_status_start(api_job_session(job), job->mailbox_name,
					      IMAP_STATUS_UIDNEXT | IMAP_STATUS_UIDVALIDITY, on_status, self);
		api_job_started(job, job->call);
	}
}

/* False: 415 has been replied. `boundary_out` NIL: it is JSON. */
static bool check_type(struct api_exchange *exchange, struct span *boundary_out)
{
	struct span type = exchange->ops->header(exchange, "Content-Type");
	const char *fault = api_body_json_fault(exchange);

	*boundary_out = SPAN_NIL;
	if (span_starts_with_nocase(type, "multipart/form-data")) {
		fault = api_form_boundary(type, boundary_out) ? NULL : "the form has no boundary that could be one";
		if (!span_is_nil(exchange->ops->header(exchange, "Content-Encoding"))) {
			fault = "a Content-Encoding is not accepted in requests";
		}
	}
	if (fault) {
		api_header_add(exchange, "Accept",
			       exchange->method == API_POST
				       ? "application/json, multipart/form-data, message/rfc822, application/mbox"
				       : "application/json, multipart/form-data, message/rfc822");
		api_reply_problem(exchange, API_PROBLEM_UNSUPPORTED_MEDIA_TYPE, NULL, "Content-Type is '%s': %s%s",
				  api_excerpt(type).text, fault,
				  span_starts_with(span_of(fault), "the type must")
					  ? ", multipart/form-data or message/rfc822"
					  : "");
	}
	return !fault;
}

static struct api_compose *compose_new(struct api_append *append, struct span boundary)
{
	struct api_compose *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	self->app = append->job.app;
	self->append = append;
	self->has_json = span_is_nil(boundary);
	self->draft = api_draft_new();
	gp_buffer_init(&self->json, self->app->max_body);
	gp_buffer_init(&self->value, 1);
	if (!span_is_nil(boundary)) {
		self->form = api_form_new(boundary, &form_events, self);
	}
	if (!self->draft || (!span_is_nil(boundary) && !self->form) ||
	    !self->app->random(self->draft->mail.seed, sizeof self->draft->mail.seed)) {
		compose_free(self);
		return NULL;
	}
	self->draft->mail.date = time(NULL);
	return self;
}

bool api_append_compose(struct api_append *append)
{
	struct api_exchange *exchange = append->job.exchange;
	struct span boundary;

	if (!check_type(exchange, &boundary)) {
		return false;
	}
	struct api_compose *self = compose_new(append, boundary);
	if (!self) {
		api_reply_problem(exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return false;
	}
	self->then = append->prepare;
	self->then_release = append->release;
	append->compose = self;
	append->prepare = prepare;
	append->release = release;
	append->is_unselected = true;
	return true;
}
