/*
 * GET …/raw and …/parts/{partId}: stored bytes and decoded content, as streams.
 *
 *   FETCH (RFC822.SIZE, or BODYSTRUCTURE)  → what it is: 404, 304, 416
 *   windows of BODY.PEEK[section]          → decoder → HTTP
 *
 * How many bytes the IMAP server is asked for follows from the room that the HTTP side
 * has: a slow reader stops the reading upstream, and nothing is kept but a window.
 *
 * A decoded length is not known beforehand: such a body is chunked, and a Range on it
 * first counts, by decoding everything once without sending. The status line waits for
 * the first window, so that a size the server got wrong does not become a
 * Content-Length.
 */
#include <inttypes.h>

#include "api/conditional.h"
#include "api/disposition.h"
#include "api/etag.h"
#include "api/part_tree.h"
#include "api/router.h"

/* A reader that took nothing for so long lets another stream onto its session. */
#define STALL_MS 200

struct message_content {
	struct api_job job; /* first */
	struct gp_timer stall;
	uint32_t uid;
	struct span part_id; /* NIL: the whole message */
	bool is_encoded, is_download;
	struct span range, if_range; /* borrow: the exchange's */

	/* one run */
	struct imap_uidset uids; /* own */
	bool has_row, has_size;
	uint64_t size;                /* of the section as stored */
	struct mail_part *part;       /* borrow: in the exchange's arena */
	struct mail_content *decoder; /* own; NULL: bytes as they are */
	struct gp_buffer decoded;
	bool is_counting;        /* the first pass of a Range on decoded content */
	uint64_t n_decoded;      /* in this pass */
	struct api_range wanted; /* of the representation */
	bool has_range;
	uint64_t n_sent, n_expected; /* n_expected UINT64_MAX: not known */
	char etag[API_ETAG_SIZE];
};

static struct message_content *content_of(void *ctx)
{
	return ctx;
}

static bool is_decoded(const struct message_content *self)
{
	return self->part && !self->is_encoded && self->part->encoding != MAIL_ENCODING_IDENTITY;
}

static void content_reset(struct api_job *job)
{
	struct message_content *self = content_of(job);

	gp_timer_stop(&self->stall);
	imap_uidset_deinit(&self->uids);
	mail_content_free(&self->decoder);
	gp_buffer_deinit(&self->decoded);
	self->has_row = self->has_size = self->is_counting = self->has_range = false;
	self->part = NULL;
	self->n_decoded = self->n_sent = 0;
	self->etag[0] = '\0';
}

static void fail_for_memory(struct message_content *self)
{
	api_job_fail(&self->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
}

/* ---- the head of the reply ---- */

static void add_content_headers(struct message_content *self)
{
	struct api_exchange *exchange = self->job.exchange;
	struct gp_arena *arena = &exchange->arena;
	const char *type = self->part ? self->part->type : "message/rfc822";
	const char *name = self->part ? self->part->name : NULL;
	bool is_attachment = self->is_download || (self->part && !api_disposition_is_inline_safe(type));

	if (!name && is_attachment) {
		name = self->part ? gp_arena_printf(arena, "part-%s", self->part->part_id)
				  : gp_arena_printf(arena, "message-%u.eml", self->uid);
	}
	if (self->is_encoded) {
		type = "application/octet-stream";
	}
	api_header_add(exchange, "Content-Type",
		       api_content_type(arena, type, self->part && !self->is_encoded ? self->part->charset : NULL));
	api_header_add(exchange, "Content-Disposition", api_disposition(arena, is_attachment, name));
	api_header_add(exchange, "Content-Security-Policy", "default-src 'none'; sandbox");
	api_header_add(exchange, "Accept-Ranges", "bytes");
}

static const struct api_stream_events stream_events;

/* `total` is the whole representation's length, UINT64_MAX when it is not known. False:
 * there is no memory for the head, and the job is gone. */
static bool begin(struct message_content *self, uint64_t total)
{
	struct api_exchange *exchange = self->job.exchange;

	add_content_headers(self);
	if (self->has_range) {
		api_header_addf(exchange, "Content-Range", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, self->wanted.first,
				self->wanted.last, total);
		self->n_expected = self->wanted.last - self->wanted.first + 1;
	} else {
		self->n_expected = total;
	}
	if (!api_stream_may_begin(exchange)) {
		fail_for_memory(self);
		return false;
	}
	api_job_touch(&self->job);
	api_stream_begin(exchange, self->has_range ? 206 : 200,
			 self->n_expected == UINT64_MAX ? -1 : (int64_t)self->n_expected, &stream_events, self);
	return true;
}

static void end(struct message_content *self)
{
	bool is_complete = self->n_expected == UINT64_MAX || self->n_sent == self->n_expected;
	struct api_exchange *exchange = api_job_finish(&self->job);

	exchange->ops->stream_end(exchange, is_complete);
}

/* HEAD: the same head, no body. */
static bool ends_with_head(struct message_content *self)
{
	if (self->job.exchange->method != API_HEAD) {
		return false;
	}
	struct api_exchange *exchange = api_job_finish(&self->job);
	exchange->ops->stream_end(exchange, true);
	return true;
}

/* ---- the body ---- */

/* A transfer decoder never makes more bytes than it was given, all in all. */
static size_t credit(struct message_content *self)
{
	struct api_exchange *exchange = self->job.exchange;

	if (!exchange->is_streaming) {
		return 2 * GP_STREAM_WINDOW;
	}
	return exchange->ops->stream_room(exchange);
}

static void on_stall(struct gp_timer *timer)
{
	struct message_content *self = timer->ctx;

	imap_lease_set_stalled(self->job.lease, true);
}

/* Asks for what there is room for. */
static void want(struct message_content *self)
{
	size_t room = credit(self);

	if (room >= GP_STREAM_WINDOW) {
		gp_timer_stop(&self->stall);
		imap_lease_set_stalled(self->job.lease, false);
	} else if (!gp_timer_is_running(&self->stall)) {
		gp_timer_start(&self->stall, STALL_MS);
	}
	imap_stream_want(self->job.stream, room);
}

static void on_room(void *ctx)
{
	struct message_content *self = content_of(ctx);

	api_job_touch(&self->job);
	if (self->job.stream) {
		want(self);
	}
}

static const struct api_stream_events stream_events = {.room = on_room};

/* Sends what of these bytes, which stand at `offset` of the representation, is wanted. */
static void send(struct message_content *self, uint64_t offset, struct span bytes)
{
	struct api_exchange *exchange = self->job.exchange;

	if (self->has_range) {
		uint64_t end_offset = self->wanted.last + 1;
		if (offset + bytes.len > end_offset) {
			bytes.len = offset >= end_offset ? 0 : (size_t)(end_offset - offset);
		}
		if (offset < self->wanted.first) {
			uint64_t skip = self->wanted.first - offset;
			bytes = span_from(bytes, skip > bytes.len ? bytes.len : (size_t)skip);
		}
	}
	if (bytes.len > 0) {
		self->n_sent += bytes.len;
		exchange->ops->stream_write(exchange, bytes);
	}
}

static enum gp_status decode(struct message_content *self, struct span bytes, bool is_last)
{
	gp_buffer_truncate(&self->decoded, 0);
	enum gp_status status = mail_content_feed(self->decoder, bytes, &self->decoded);
	if (status == GP_OK && is_last) {
		status = mail_content_finish(self->decoder, &self->decoded);
	}
	if (status == GP_OK && !self->is_counting) {
		send(self, self->n_decoded, gp_buffer_span(&self->decoded));
	}
	self->n_decoded += self->decoded.len;
	return status;
}

/* The size that the server told, unless the first window shows that it is wrong. */
static uint64_t believable_size(const struct message_content *self, struct span first_window)
{
	bool is_full = first_window.len == GP_STREAM_WINDOW;
	bool is_wrong = is_full ? self->size <= first_window.len : self->size != first_window.len;

	return is_decoded(self) || !self->has_size || is_wrong ? UINT64_MAX : self->size;
}

static void on_data(void *ctx, struct span bytes)
{
	struct message_content *self = content_of(ctx);

	api_job_touch(&self->job);
	if (!self->is_counting && !self->job.exchange->is_streaming && !begin(self, believable_size(self, bytes))) {
		return;
	}
	if (!self->decoder && self->n_expected != UINT64_MAX && bytes.len > self->n_expected - self->n_sent) {
		/* there is more than was announced: whoever has got all of that has not got all */
		struct api_exchange *exchange = api_job_finish(&self->job);
		exchange->ops->stream_end(exchange, false);
		return;
	}
	if (!self->decoder) {
		send(self, self->has_range ? self->wanted.first + self->n_sent : self->n_sent, bytes);
	} else if (decode(self, bytes, false) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	want(self);
}

static void start_pass(struct message_content *self);

/* Everything has been decoded once: now the range can be read. */
static void after_counting(struct message_content *self)
{
	uint64_t total = self->n_decoded;

	self->is_counting = false;
	self->n_decoded = 0;
	switch (api_range_parse(self->range, total, &self->wanted)) {
	case API_RANGE_UNMET:
		api_header_addf(self->job.exchange, "Content-Range", "bytes */%" PRIu64, total);
		api_job_fail(&self->job, API_PROBLEM_RANGE_NOT_SATISFIABLE, NULL, "the content has %" PRIu64 " bytes",
			     total);
		return;
	case API_RANGE_OK:
		self->has_range = true;
		break;
	case API_RANGE_NONE:
		break;
	}
	if (begin(self, total) && !ends_with_head(self)) {
		start_pass(self);
	}
}

static void on_end(void *ctx, const struct gp_error *error)
{
	struct message_content *self = content_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (self->decoder && decode(self, SPAN_LIT(""), true) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	if (self->is_counting) {
		after_counting(self);
		return;
	}
	if (!self->job.exchange->is_streaming) {
		if (!begin(self, 0)) { /* not a byte came */
			return;
		}
		if (self->decoded.len > 0) {
			send(self, 0, gp_buffer_span(&self->decoded));
		}
	}
	end(self);
}

static const struct imap_stream_events section_events = {.data = on_data, .done = on_end};

/* One reading of the section: all of it if it is decoded, else what the range wants. */
static void start_pass(struct message_content *self)
{
	char *section = gp_arena_strdup(&self->job.exchange->arena, self->part ? self->part_id : SPAN_LIT(""));
	struct imap_stream_spec spec = {.uid = self->uid, .section = section, .len = UINT64_MAX};

	mail_content_free(&self->decoder);
	if (is_decoded(self)) {
		self->decoder = mail_content_new(self->part->encoding, false, SPAN_NIL);
	} else if (self->has_range) {
		spec.origin = self->wanted.first;
		spec.len = self->wanted.last - self->wanted.first + 1;
	} else if (self->has_size && self->size > GP_STREAM_WINDOW) {
		spec.len = self->size + 1; /* no window beyond the end, and to see that it is the end */
	}
	spec.told = self->has_size ? self->size : 0;
	if (!section || (is_decoded(self) && !self->decoder)) {
		fail_for_memory(self);
		return;
	}
	self->job.stream = imap_stream_start(api_job_session(&self->job), &spec, &section_events, self);
	if (api_job_started(&self->job, self->job.stream)) {
		want(self);
	}
}

/* ---- what it is ---- */

static void on_row(void *ctx, const struct imap_fetch *row)
{
	struct message_content *self = content_of(ctx);
	struct mail_part *root = NULL;

	if (self->has_row) {
		return;
	}
	self->has_row = true;
	if (span_is_nil(self->part_id)) {
		self->size = row->size;
		self->has_size = (row->items & IMAP_ITEM_SIZE) != 0;
		return;
	}
	if (row->body && api_part_tree_new(row->body, &self->job.exchange->arena, &root) == GP_OK) {
		self->part = mail_part_find(root, self->part_id);
	}
	if (self->part) {
		self->size = self->part->encoded_size;
		self->has_size = true;
	}
}

static void make_etag(struct message_content *self)
{
	char *part = self->part ? gp_arena_printf(&self->job.exchange->arena, "%.*s%s", SPAN_ARGS(self->part_id),
						  self->is_encoded ? ".encoded" : "")
				: NULL;

	if (api_etag_of_content(self->job.exchange->account, api_job_selected(&self->job)->uidvalidity, self->uid, part,
				self->etag) != GP_OK) {
		self->etag[0] = '\0';
	}
}

/* The range on content whose length is known; false when it cannot be met. */
static bool read_range(struct message_content *self)
{
	if (span_is_nil(self->range) || !api_if_range_holds(self->if_range, self->etag)) {
		return true;
	}
	if (is_decoded(self)) {
		self->is_counting = true;
		return true;
	}
	if (!self->has_size) {
		return true; /* the server does not tell how long it is: all of it */
	}
	switch (api_range_parse(self->range, self->size, &self->wanted)) {
	case API_RANGE_UNMET:
		api_header_addf(self->job.exchange, "Content-Range", "bytes */%" PRIu64, self->size);
		api_job_fail(&self->job, API_PROBLEM_RANGE_NOT_SATISFIABLE, NULL, "the content has %" PRIu64 " bytes",
			     self->size);
		return false;
	case API_RANGE_OK:
		self->has_range = true;
		break;
	case API_RANGE_NONE:
		break;
	}
	return true;
}

static void on_facts(void *ctx, const struct gp_error *error)
{
	struct message_content *self = content_of(ctx);
	struct api_exchange *exchange = self->job.exchange;

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (!self->has_row) {
		api_job_fail_no_message(&self->job, self->uid);
		return;
	}
	if (!span_is_nil(self->part_id) && !self->part) {
		api_job_fail(&self->job, API_PROBLEM_NOT_FOUND, NULL, "message %u has no part '%.*s'", self->uid,
			     SPAN_ARGS(self->part_id));
		return;
	}
	make_etag(self);
	api_header_set_immutable(exchange, self->etag);
	if (api_job_is_settled(&self->job, self->etag)) {
		return;
	}
	if (!read_range(self)) {
		return;
	}
	if (!self->is_counting && (self->has_range || exchange->method == API_HEAD)) {
		if (!begin(self, is_decoded(self) || !self->has_size ? UINT64_MAX : self->size) ||
		    ends_with_head(self)) {
			return;
		}
	}
	start_pass(self);
}

static void content_run(struct api_job *job)
{
	struct message_content *self = content_of(job);

	gp_timer_init(&self->stall, job->app->timers, on_stall, self);
	gp_buffer_init(&self->decoded, 4 * GP_STREAM_WINDOW);
	if (imap_uidset_add(&self->uids, self->uid, self->uid) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	const struct imap_fetch_spec spec = {
		.uids = &self->uids,
		.items = IMAP_ITEM_UID | (span_is_nil(self->part_id) ? IMAP_ITEM_SIZE : IMAP_ITEM_BODYSTRUCTURE)};
	job->call = imap_fetch_start(api_job_session(job), &spec, on_row, on_facts, self);
	api_job_started(job, job->call);
}

static const struct api_job_handler content_handler = {
	.run = content_run, .reset = content_reset, .free = content_reset};

static void content_get(struct api_request *request, struct span part_id)
{
	struct api_query *query = &request->query;
	struct api_exchange *exchange = request->exchange;
	struct message_content *self = api_job_new(request->app, exchange, &request->target, request->credential,
						   sizeof *self, &content_handler);

	if (!self) {
		return;
	}
	self->uid = request->uid;
	self->part_id = part_id;
	self->is_download = api_query_bool(query, "download", false);
	self->is_encoded = !span_is_nil(part_id) && api_query_bool(query, "encoded", false);
	/* of any other method it means nothing (RFC 9110 section 14.2) */
	self->range = exchange->method == API_GET ? exchange->ops->header(exchange, "Range") : SPAN_NIL;
	self->if_range = exchange->ops->header(exchange, "If-Range");
	if (api_query_finish(query) != GP_OK) {
		api_reply_error(exchange, &query->error);
		return;
	}
	const struct api_job_spec spec = {.mailbox = request->mailbox,
					  .is_bulk = true,
					  .has_uidvalidity = request->has_uidvalidity,
					  .uidvalidity = request->uidvalidity};
	api_job_start(&self->job, &spec);
}

void api_message_raw_get(struct api_request *request)
{
	content_get(request, SPAN_NIL);
}

void api_message_part_get(struct api_request *request)
{
	content_get(request, request->part_id);
}
