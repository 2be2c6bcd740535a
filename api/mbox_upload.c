/*
 * POST …/messages of application/mbox: each message with a result of its own.
 *
 *   STATUS                        404, before the body is asked for
 *   the file, as it arrives       api/mbox_reader.c
 *   APPEND of each message        or, where MULTIAPPEND is offered, of a batch of small ones;
 *                                 a batch is taken whole or not at all: one that is refused is
 *                                 appended message by message, to find out which
 *   {"appended":[{"index","uid"}],"failed":[{"index","problem"}]}
 *
 * One message is held at a time, and one batch. A connection that is lost costs the
 * messages that were on their way ("outcome":"unknown" where they may have arrived), and
 * the others go on over another one. What was appended stays, whatever comes after.
 */
#include <stdio.h>

#include "api/idempotency.h"
#include "api/mbox_reader.h"
#include "api/message_append.h"
#include "api/moment.h"

#define WANT_BYTES (64 * GP_KIB)
#define MAX_BATCH 50                   /* messages */
#define MAX_BATCH_BYTES (128 * GP_KIB) /* of them: the command has to fit into GP_MAX_IMAP_COMMAND */
#define MAX_SMALL (32 * GP_KIB)        /* a longer one goes alone */
#define MAX_LOSSES 3

struct batch_entry {
	size_t index, offset, len;
	bool has_date;
	int64_t date;
};

struct mbox_upload {
	struct api_append append; /* first */
	struct mbox_reader reader;
	struct gp_buffer pending; /* own: came, and not read yet */
	bool is_whole;
	bool is_waiting; /* for the client */
	size_t n_messages, n_appended;
	unsigned n_losses;
	json_t *appended, *failed; /* own */
	/* small messages, to go together; `n_tried` of them singly already */
	struct gp_buffer bytes; /* own */
	struct batch_entry batch[MAX_BATCH];
	size_t n_batch, n_tried;
	bool is_singly; /* it was refused as a whole */
	/* the one that goes alone */
	struct span octets; /* borrow: the batch's or the reader's */
	size_t index;
	uint64_t n_written;
	char so_far[80];
};

static struct mbox_upload *upload_of(void *ctx)
{
	return ctx;
}

static struct api_job *job_of(struct mbox_upload *self)
{
	return &self->append.job;
}

static void step(struct mbox_upload *self);

static void release(struct api_append *append)
{
	struct mbox_upload *self = upload_of(append);

	mbox_reader_deinit(&self->reader);
	gp_buffer_deinit(&self->pending);
	gp_buffer_deinit(&self->bytes);
	json_decref(self->appended);
	json_decref(self->failed);
	self->appended = self->failed = NULL;
}

/* ---- results ---- */

static void note_appended(struct mbox_upload *self, size_t index, uint32_t uid)
{
	json_t *entry = json_object();

	api_json_set(entry, "index", json_integer((json_int_t)index));
	api_json_set(entry, "uid", uid != 0 ? json_integer(uid) : json_null());
	api_json_append(self->appended, entry);
	self->n_appended++;
	snprintf(self->so_far, sizeof self->so_far, "%zu messages were appended", self->n_appended);
	job_of(self)->so_far = self->so_far;
}

static void note_failed(struct mbox_upload *self, size_t index, enum api_problem problem, const struct gp_error *error,
			const char *detail, bool is_unknown)
{
	json_t *entry = json_object();
	json_t *told = api_problem_json(problem, error, detail);

	if (is_unknown) {
		api_json_set(told, "outcome", json_string("unknown"));
	}
	api_json_set(entry, "index", json_integer((json_int_t)index));
	api_json_set(entry, "problem", told);
	api_json_append(self->failed, entry);
}

/* As a whole; what was appended stays. */
static void fail(struct mbox_upload *self, enum api_problem problem, const struct gp_error *error, const char *detail)
{
	job_of(self)->exchange->is_outcome_unknown = self->n_appended > 0;
	api_job_fail(job_of(self), problem, error, "%s", detail);
}

static void reply(struct mbox_upload *self)
{
	json_t *result = json_object();

	api_json_set(result, "appended", self->appended);
	api_json_set(result, "failed", self->failed);
	self->appended = self->failed = NULL;
	job_of(self)->is_committed = false;
	api_reply_json(api_job_finish(job_of(self)), 200, result);
}

/* ---- what an APPEND came to ---- */

static void on_new_session(struct api_job *job)
{
	step(upload_of(job));
}

/* On with the others: on this session, or on another one if it was lost. */
static void go_on(struct mbox_upload *self, const struct gp_error *error)
{
	const struct api_job_place place = {.is_bulk = true, .is_alone = true};
	struct api_job *job = job_of(self);

	api_job_touch(job);
	if (!error || !api_job_is_answer_lost(error)) {
		step(self);
	} else if (++self->n_losses > MAX_LOSSES) {
		struct gp_error copy = *error;
		fail(self, api_problem_of(&copy), &copy, "the connection to the IMAP server is lost again and again");
	} else {
		api_job_move_to(job, &place, on_new_session);
	}
}

/* ---- one alone ---- */

static void write_octets(struct mbox_upload *self)
{
	struct api_job *job = job_of(self);
	size_t room = imap_append_room(job->append);

	while (room > 0 && self->n_written < self->octets.len) {
		struct span piece = span_slice(self->octets, (size_t)self->n_written, room);
		self->n_written += piece.len;
		imap_append_write(job->append, piece);
		room = imap_append_room(job->append);
	}
	api_job_touch(job);
}

static void on_room(void *ctx, size_t n)
{
	(void)n;
	write_octets(upload_of(ctx));
}

static void drop_batch(struct mbox_upload *self)
{
	self->n_batch = self->n_tried = 0;
	self->is_singly = false;
	gp_buffer_truncate(&self->bytes, 0);
}

/* The one that was tried is out of the way. */
static void leave_behind(struct mbox_upload *self)
{
	if (!self->is_singly) {
		mbox_reader_next(&self->reader);
	} else if (++self->n_tried == self->n_batch) {
		drop_batch(self);
	}
}

static void on_appended(void *ctx, const struct gp_error *borrowed, const struct imap_append_result *result)
{
	struct mbox_upload *self = upload_of(ctx);
	struct gp_error error = {0};

	if (borrowed) {
		error = *borrowed;
	}
	api_job_ended(job_of(self));
	if (!borrowed) {
		note_appended(self, self->index, result->appended.uid);
	} else {
		bool is_unknown = result->is_sent && api_job_is_answer_lost(&error);
		note_failed(self, self->index, api_problem_of(&error), &error, NULL, is_unknown);
	}
	leave_behind(self);
	go_on(self, borrowed ? &error : NULL);
}

static const struct imap_append_events append_events = {.room = on_room, .done = on_appended};

static void append_alone(struct mbox_upload *self, size_t index, struct span octets, bool has_date, int64_t date)
{
	struct api_job *job = job_of(self);
	const struct api_append *append = &self->append;
	const struct imap_append_spec spec = {.mailbox = job->mailbox_name,
					      .flags = append->flags,
					      .n_flags = append->n_flags,
					      .has_date = append->has_date || has_date,
					      .date = append->has_date ? append->date : date,
					      .size = octets.len};

	self->index = index;
	self->octets = octets;
	self->n_written = 0;
	job->append = imap_append_start(api_job_session(job), &spec, &append_events, self);
	api_job_started(job, job->append);
}

/* ---- a batch ---- */

static void on_batch(void *ctx, const struct gp_error *borrowed, const struct imap_append_result *result,
		     const struct imap_uidset *uids)
{
	struct mbox_upload *self = upload_of(ctx);
	struct gp_error error = {0};
	size_t range = 0;
	uint32_t uid = uids ? uids->ranges[0].first : 0;

	if (borrowed) {
		error = *borrowed;
	}
	api_job_ended(job_of(self));
	if (borrowed && !api_job_is_answer_lost(&error)) {
		self->is_singly = true; /* none was taken */
		step(self);
		return;
	}
	for (size_t i = 0; i < self->n_batch; i++) {
		if (borrowed) {
			note_failed(self, self->batch[i].index, api_problem_of(&error), &error, NULL, result->is_sent);
			continue;
		}
		note_appended(self, self->batch[i].index, uid);
		if (uids && uid == uids->ranges[range].last && range + 1 < uids->n_ranges) {
			uid = uids->ranges[++range].first;
		} else if (uids) {
			uid++;
		}
	}
	drop_batch(self);
	go_on(self, borrowed ? &error : NULL);
}

static void flush(struct mbox_upload *self)
{
	struct imap_append_item items[MAX_BATCH];
	struct api_job *job = job_of(self);
	const struct api_append *append = &self->append;

	for (size_t i = 0; i < self->n_batch; i++) {
		const struct batch_entry *entry = &self->batch[i];
		items[i] = (struct imap_append_item){
			.octets = span_slice(gp_buffer_span(&self->bytes), entry->offset, entry->len),
			.has_date = append->has_date || entry->has_date,
			.date = append->has_date ? append->date : entry->date,
		};
	}
	job->call = imap_multiappend_start(api_job_session(job), job->mailbox_name, append->flags, append->n_flags,
					   items, self->n_batch, on_batch, self);
	api_job_started(job, job->call);
}

/* ---- messages ---- */

/* What the From line says, where a message can have arrived then. */
static bool has_date(const struct mbox_upload *self)
{
	return self->reader.has_date && api_moment_can_arrive(self->reader.date);
}

static bool is_small(struct mbox_upload *self)
{
	struct span octets = gp_buffer_span(&self->reader.message);

	return octets.len <= MAX_SMALL && imap_session_can(api_job_session(job_of(self)), IMAP_CAP_MULTIAPPEND);
}

/* True: it is in the batch. */
static bool add_to_batch(struct mbox_upload *self)
{
	struct span octets = gp_buffer_span(&self->reader.message);
	struct batch_entry *entry = &self->batch[self->n_batch];

	*entry = (struct batch_entry){.index = self->n_messages,
				      .offset = self->bytes.len,
				      .len = octets.len,
				      .has_date = has_date(self),
				      .date = self->reader.date};
	if (gp_buffer_append(&self->bytes, octets) != GP_OK) {
		return false;
	}
	self->n_batch++;
	return true;
}

static bool is_batch_full(const struct mbox_upload *self)
{
	return self->n_batch == MAX_BATCH || self->bytes.len + MAX_SMALL > MAX_BATCH_BYTES;
}

/* Why it is not even tried; NULL: it is. */
static const char *flaw_of(const struct mbox_upload *self, enum api_problem *problem_out)
{
	uint64_t limit = imap_session_append_limit(api_job_session(&self->append.job));

	*problem_out = API_PROBLEM_TOO_LARGE;
	if (self->n_messages >= GP_MAX_MBOX_MESSAGES) {
		return "an mbox file may have 50000 messages at most";
	}
	if (self->reader.is_too_long) {
		return "a message of an mbox file may have 32 MiB at most";
	}
	if (limit > 0 && self->reader.message.len > limit) {
		return "the message is larger than the IMAP server takes";
	}
	*problem_out = API_PROBLEM_BAD_REQUEST;
	if (self->reader.message.len == 0) {
		return "the message is empty";
	}
	if (span_find_char(gp_buffer_span(&self->reader.message), '\0') >= 0) {
		return "the message has a NUL: IMAP cannot carry that, encode it as base64";
	}
	return NULL;
}

/* The reader has a message. False: an APPEND is under way, which goes on with it. */
static bool take_message(struct mbox_upload *self)
{
	enum api_problem problem;
	const char *flaw = flaw_of(self, &problem);

	if (!flaw && is_small(self)) {
		if (!add_to_batch(self)) {
			fail(self, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
			return false;
		}
		self->n_messages++;
		mbox_reader_next(&self->reader);
		if (is_batch_full(self)) {
			flush(self);
			return false;
		}
		return true;
	}
	if (self->n_batch > 0) {
		flush(self); /* those before it go first */
		return false;
	}
	size_t index = self->n_messages++;
	if (!flaw) {
		append_alone(self, index, gp_buffer_span(&self->reader.message), has_date(self), self->reader.date);
		return false;
	}
	note_failed(self, index, problem, NULL, flaw, false);
	mbox_reader_next(&self->reader);
	return true;
}

/* ---- the file ---- */

static void ask_client(struct mbox_upload *self)
{
	self->is_waiting = true;
	api_job_pause(job_of(self));
	job_of(self)->exchange->ops->upload_want(job_of(self)->exchange, WANT_BYTES);
}

static void finish(struct mbox_upload *self)
{
	if (self->n_batch > 0) {
		flush(self);
	} else if (self->n_messages == 0) {
		api_job_fail(job_of(self), API_PROBLEM_BAD_REQUEST, NULL,
			     "the body is empty, but must be an mbox file");
	} else {
		(void)api_idempotency_is_same(job_of(self)->exchange); /* it is the first: notes what it was */
		reply(self);
	}
}

static enum mbox_result read_on(struct mbox_upload *self)
{
	struct span rest = gp_buffer_span(&self->pending);
	size_t len = rest.len;
	enum mbox_result result = MBOX_MESSAGE;

	if (self->reader.is_complete) {
		return result; /* it waited for those before it */
	}
	result = mbox_reader_feed(&self->reader, &rest);
	gp_buffer_consume(&self->pending, len - rest.len);
	if (result == MBOX_NEED_MORE && self->is_whole) {
		result = mbox_reader_end(&self->reader);
	}
	return result;
}

/* As far as it goes without waiting. */
static void step(struct mbox_upload *self)
{
	if (self->is_singly) {
		const struct batch_entry *entry = &self->batch[self->n_tried];
		append_alone(self, entry->index, span_slice(gp_buffer_span(&self->bytes), entry->offset, entry->len),
			     entry->has_date, entry->date);
		return;
	}
	for (;;) {
		switch (read_on(self)) {
		case MBOX_NEED_MORE:
			(self->is_whole ? finish : ask_client)(self);
			return;
		case MBOX_MESSAGE:
			if (!take_message(self)) {
				return;
			}
			break;
		case MBOX_NOT_ONE:
			api_job_fail(job_of(self), API_PROBLEM_BAD_REQUEST, NULL,
				     "the body is no mbox file: it does not begin with a line 'From …'");
			return;
		case MBOX_NO_MEMORY:
			fail(self, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
			return;
		}
	}
}

static void on_data(void *ctx, struct span octets)
{
	struct mbox_upload *self = upload_of(ctx);

	self->is_waiting = false;
	job_of(self)->is_used_up = true;
	api_job_touch(job_of(self));
	api_idempotency_pass(job_of(self)->exchange, octets);
	job_of(self)->exchange->ops->upload_want(job_of(self)->exchange, 0);
	if (gp_buffer_append(&self->pending, octets) != GP_OK) {
		fail(self, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	step(self);
}

static void on_end(void *ctx)
{
	struct mbox_upload *self = upload_of(ctx);

	self->is_whole = true;
	api_job_touch(job_of(self));
	if (self->is_waiting) {
		self->is_waiting = false;
		step(self);
	}
}

static const struct api_upload_events upload_events = {.data = on_data, .end = on_end};

static void on_status(void *ctx, const struct gp_error *error, const struct imap_status *status)
{
	struct mbox_upload *self = upload_of(ctx);
	struct api_job *job = job_of(self);
	struct gp_error copy = {0};

	if (error && error->status == GP_NOT_FOUND) {
		copy = *error;
		api_job_ended(job);
		api_job_fail(job, API_PROBLEM_NOT_FOUND, &copy, "there is no mailbox '%s'",
			     api_excerpt(job->mailbox_name).text);
		return;
	}
	if (!api_job_check(job, error)) {
		return;
	}
	if (job->spec.has_uidvalidity && status->uidvalidity != job->spec.uidvalidity) {
		api_job_fail(job, API_PROBLEM_GONE, NULL, "the mailbox '%s' has UIDVALIDITY %u now, not %u",
			     api_excerpt(job->mailbox_name).text, (unsigned)status->uidvalidity,
			     (unsigned)job->spec.uidvalidity);
		return;
	}
	job->is_committed = true;
	job->exchange->ops->upload_begin(job->exchange, &upload_events, self);
	ask_client(self);
}

static void run(struct api_append *append)
{
	struct api_job *job = &append->job;

	job->call =
		imap_status_start(api_job_session(job), job->mailbox_name, IMAP_STATUS_UIDVALIDITY, on_status, append);
	api_job_started(job, job->call);
}

/* ---- the request ---- */

/* False: replied. */
static bool check(struct api_request *request)
{
	struct api_exchange *exchange = request->exchange;

	if (!span_is_nil(exchange->ops->header(exchange, "Content-Encoding"))) {
		api_reply_problem(exchange, API_PROBLEM_UNSUPPORTED_MEDIA_TYPE, NULL,
				  "a Content-Encoding is not accepted in requests");
	} else if (exchange->upload_length == 0) {
		api_reply_problem(exchange, API_PROBLEM_BAD_REQUEST, NULL,
				  "the body is empty, but must be an mbox file");
	} else if (api_query_finish(&request->query) != GP_OK) {
		api_reply_error(exchange, &request->query.error);
	} else {
		return true;
	}
	return false;
}

void api_mbox_post(struct api_request *request)
{
	struct mbox_upload *self = api_append_new(request, sizeof *self);

	if (!self) {
		return;
	}
	self->append.prepare = run;
	self->append.is_prepared_alone = true;
	self->append.release = release;
	mbox_reader_init(&self->reader, GP_MAX_MBOX_MESSAGE);
	gp_buffer_init(&self->pending, 2 * WANT_BYTES);
	gp_buffer_init(&self->bytes, MAX_BATCH_BYTES + MAX_SMALL);
	self->appended = json_array();
	self->failed = json_array();
	if (!check(request)) {
		api_append_discard(&self->append);
	} else {
		api_append_start_checked(&self->append);
	}
}
