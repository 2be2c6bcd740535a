/*
 * GET …/attachments.zip: the attachments of a message in one archive, as a stream.
 *
 *   FETCH (BODYSTRUCTURE, INTERNALDATE)   → which parts: 404, 304
 *   windows of BODY.PEEK[part]            → decoder → archive → HTTP, one part after another
 *
 * The parts are those of the message's `attachments`. Their names are made fit for any
 * disk, and unique. A message without any is an empty archive.
 */
#include "api/conditional.h"
#include "api/disposition.h"
#include "api/etag.h"
#include "api/message_json.h"
#include "api/router.h"
#include "api/sink.h"
#include "mail/filename.h"
#include "mail/zip.h"

#define MAX_NAME ((size_t)200)
#define MAX_OUT (8 * GP_STREAM_WINDOW)
#define DIRECTORY_PIECE (64 * GP_KIB)

struct attachments {
	struct api_job job; /* first */
	uint32_t uid;

	/* one run */
	struct imap_uidset uids; /* own */
	bool has_row;
	enum gp_status failure; /* of reading the row */
	int64_t received;
	struct mail_part_list parts; /* in the exchange's arena */
	size_t at;
	bool is_in_entry;
	struct api_sink sink;
	struct mail_zip *zip;         /* own */
	struct mail_filenames *names; /* own */
	struct mail_content *decoder; /* own */
	struct gp_buffer decoded, out;
	char etag[API_ETAG_SIZE + 2];
};

static struct attachments *attachments_of(void *ctx)
{
	return ctx;
}

static void moved(struct api_job *job);

static void attachments_reset(struct api_job *job)
{
	struct attachments *self = attachments_of(job);

	imap_uidset_deinit(&self->uids);
	api_sink_deinit(&self->sink);
	api_sink_init(&self->sink, job, moved);
	mail_zip_free(&self->zip);
	mail_filenames_free(&self->names);
	mail_content_free(&self->decoder);
	gp_buffer_deinit(&self->decoded);
	gp_buffer_deinit(&self->out);
	gp_buffer_init(&self->decoded, MAX_OUT);
	gp_buffer_init(&self->out, MAX_OUT);
	self->has_row = self->is_in_entry = false;
	self->failure = GP_OK;
	self->at = 0;
	self->parts = (struct mail_part_list){.n_items = 0};
}

static void fail_with(struct attachments *self, enum gp_status status)
{
	struct gp_error error = {.status = GP_OK};

	gp_error_set(&error, status, "%s", gp_status_text(status));
	api_job_fail(&self->job, api_problem_of(&error), &error, NULL);
}

/* ---- the head ---- */

static enum gp_status begin_body(struct attachments *self)
{
	struct api_exchange *exchange = self->job.exchange;
	const char *name = gp_arena_printf(&exchange->arena, "message-%u-attachments.zip", (unsigned)self->uid);

	api_header_add(exchange, "Content-Type", "application/zip");
	api_header_add(exchange, "Content-Disposition", api_disposition(&exchange->arena, true, name));
	return api_sink_begin(&self->sink);
}

static enum gp_status flush(struct attachments *self)
{
	enum gp_status status = self->job.exchange->is_streaming ? GP_OK : begin_body(self);
	if (status != GP_OK) {
		return status;
	}
	status = api_sink_write(&self->sink, gp_buffer_span(&self->out));
	gp_buffer_truncate(&self->out, 0);
	return status;
}

/* ---- the end ---- */

static void finish(struct attachments *self)
{
	bool is_complete = false;
	enum gp_status status = GP_OK;

	/* at most a hundred bytes or two for each of the parts: no need to do it in pieces */
	while (!is_complete && status == GP_OK) {
		status = mail_zip_finish(self->zip, DIRECTORY_PIECE, &self->out, &is_complete);
		if (status == GP_OK) {
			status = flush(self);
		}
	}
	if (status != GP_OK) {
		fail_with(self, status);
	} else if (api_sink_is_empty(&self->sink)) {
		api_sink_end(&self->sink);
	}
}

/* ---- one part after another ---- */

/* Its own name, or one that says which part it is. */
static struct span raw_name(struct attachments *self, const struct mail_part *part)
{
	static const struct {
		const char *type, *extension;
	} extensions[] = {
		{"message/rfc822", ".eml"}, {"text/plain", ".txt"},      {"text/html", ".html"},
		{"text/calendar", ".ics"},  {"image/jpeg", ".jpg"},      {"image/png", ".png"},
		{"image/gif", ".gif"},      {"application/pdf", ".pdf"}, {"application/json", ".json"},
		{"text/csv", ".csv"},       {"application/zip", ".zip"},
	};
	const char *extension = "";

	if (part->name && part->name[0] != '\0') {
		return span_of(part->name);
	}
	for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
		if (strcmp(part->type, extensions[i].type) == 0) {
			extension = extensions[i].extension;
		}
	}
	return span_of(gp_arena_printf(&self->job.exchange->arena, "part-%s%s", part->part_id, extension));
}

/* Most attachments are packed already; text is not. */
static int level_of(const struct mail_part *part)
{
	return strncmp(part->type, "text/", 5) == 0 || strncmp(part->type, "message/", 8) == 0;
}

static enum gp_status begin_entry(struct attachments *self)
{
	const struct mail_part *part = self->parts.items[self->at];
	struct gp_buffer name;

	gp_buffer_init(&name, 4 * MAX_NAME);
	enum gp_status status = mail_filenames_add(self->names, raw_name(self, part), MAX_NAME, &name);
	if (status == GP_OK) {
		status = mail_zip_begin(self->zip, gp_buffer_span(&name), self->received, level_of(part), &self->out);
	}
	gp_buffer_deinit(&name);
	self->is_in_entry = true;
	return status;
}

static enum gp_status add(struct attachments *self, struct span bytes, bool is_last)
{
	enum gp_status status = self->is_in_entry ? GP_OK : begin_entry(self);

	gp_buffer_truncate(&self->decoded, 0);
	if (status == GP_OK) {
		status = mail_content_feed(self->decoder, bytes, &self->decoded);
	}
	if (status == GP_OK && is_last) {
		status = mail_content_finish(self->decoder, &self->decoded);
	}
	if (status == GP_OK) {
		status = mail_zip_data(self->zip, gp_buffer_span(&self->decoded), &self->out);
	}
	if (status == GP_OK && is_last) {
		status = mail_zip_end(self->zip, &self->out);
	}
	return status == GP_OK ? flush(self) : status;
}

static void want(struct attachments *self)
{
	imap_stream_want(self->job.stream, api_sink_room(&self->sink));
}

static void moved(struct api_job *job)
{
	struct attachments *self = attachments_of(job);

	if (job->stream) {
		want(self);
	} else if (self->at == self->parts.n_items && api_sink_is_empty(&self->sink)) {
		api_sink_end(&self->sink);
	}
}

static void on_data(void *ctx, struct span bytes)
{
	struct attachments *self = attachments_of(ctx);

	api_job_touch(&self->job);
	enum gp_status status = add(self, bytes, false);
	if (status != GP_OK) {
		fail_with(self, status);
		return;
	}
	want(self);
}

static void next_part(struct attachments *self);

static void on_end(void *ctx, const struct gp_error *error)
{
	struct attachments *self = attachments_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	enum gp_status status = add(self, SPAN_LIT(""), true);
	if (status != GP_OK) {
		fail_with(self, status);
		return;
	}
	self->is_in_entry = false;
	self->at++;
	next_part(self);
}

static void next_part(struct attachments *self)
{
	static const struct imap_stream_events events = {.data = on_data, .done = on_end};

	/* what cannot be fetched alone is no file either */
	while (self->at < self->parts.n_items && !self->parts.items[self->at]->part_id) {
		self->at++;
	}
	if (self->at == self->parts.n_items) {
		finish(self);
		return;
	}
	const struct mail_part *part = self->parts.items[self->at];
	const struct imap_stream_spec spec = {
		.uid = self->uid, .section = part->part_id, .len = UINT64_MAX, .told = part->encoded_size};
	mail_content_free(&self->decoder);
	self->decoder = mail_content_new(part->encoding, false, SPAN_NIL);
	if (!self->decoder) {
		fail_with(self, GP_NO_MEMORY);
		return;
	}
	self->job.stream = imap_stream_start(api_job_session(&self->job), &spec, &events, self);
	if (api_job_started(&self->job, self->job.stream)) {
		want(self);
	}
}

/* ---- what there is ---- */

static void on_row(void *ctx, const struct imap_fetch *row)
{
	struct attachments *self = attachments_of(ctx);
	struct api_message_parts parts;

	if (self->has_row) {
		return;
	}
	self->has_row = true;
	self->received = row->items & IMAP_ITEM_INTERNALDATE ? row->internal_date : 0;
	self->failure = api_message_parts(row, &self->job.exchange->arena, &parts);
	if (self->failure == GP_OK) {
		self->parts = parts.choice.attachments;
	}
}

static void make_etag(struct attachments *self)
{
	uint32_t uidvalidity = api_job_selected(&self->job)->uidvalidity;
	char etag[API_ETAG_SIZE];

	self->etag[0] = '\0';
	enum gp_status status =
		api_etag_of_content(self->job.exchange->account, uidvalidity, self->uid, "attachments.zip", etag);
	if (status == GP_OK && etag[0] != '\0') { /* weak: another zlib may write the same in other bytes */
		memcpy(self->etag, "W/", 2);
		memcpy(self->etag + 2, etag, sizeof etag);
	}
}

static void on_facts(void *ctx, const struct gp_error *error)
{
	struct attachments *self = attachments_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (!self->has_row) {
		api_job_fail_no_message(&self->job, self->uid);
		return;
	}
	if (self->failure != GP_OK) {
		fail_with(self, self->failure);
		return;
	}
	make_etag(self);
	api_header_set_immutable(self->job.exchange, self->etag);
	if (api_job_is_settled(&self->job, self->etag)) {
		return;
	}
	if (self->job.exchange->method == API_HEAD) {
		if (begin_body(self) != GP_OK) {
			fail_with(self, GP_NO_MEMORY);
			return;
		}
		api_sink_end(&self->sink);
		return;
	}
	self->zip = mail_zip_new();
	self->names = mail_filenames_new();
	if (!self->zip || !self->names) {
		fail_with(self, GP_NO_MEMORY);
		return;
	}
	next_part(self);
}

static void attachments_run(struct api_job *job)
{
	struct attachments *self = attachments_of(job);

	attachments_reset(job);
	if (imap_uidset_add(&self->uids, self->uid, self->uid) != GP_OK) {
		fail_with(self, GP_NO_MEMORY);
		return;
	}
	const struct imap_fetch_spec spec = {.uids = &self->uids,
					     .items = IMAP_ITEM_UID | IMAP_ITEM_INTERNALDATE | IMAP_ITEM_BODYSTRUCTURE};
	job->call = imap_fetch_start(api_job_session(job), &spec, on_row, on_facts, self);
	api_job_started(job, job->call);
}

static const struct api_job_handler attachments_handler = {
	.run = attachments_run, .reset = attachments_reset, .free = attachments_reset};

void api_message_attachments_get(struct api_request *request)
{
	struct api_exchange *exchange = request->exchange;
	struct attachments *self = api_job_new(request->app, exchange, &request->target, request->credential,
					       sizeof *self, &attachments_handler);

	if (!self) {
		return;
	}
	self->uid = request->uid;
	if (api_query_finish(&request->query) != GP_OK) {
		api_reply_error(exchange, &request->query.error);
		return;
	}
	const struct api_job_spec spec = {.mailbox = request->mailbox,
					  .is_bulk = true,
					  .has_uidvalidity = request->has_uidvalidity,
					  .uidvalidity = request->uidvalidity};
	api_job_start(&self->job, &spec);
}
