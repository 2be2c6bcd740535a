/*
 * GET …/headers, …/text and …/html: what a person reads, as UTF-8.
 *
 *   headers:     FETCH BODY[HEADER]  → JSON
 *   text, html:  FETCH BODYSTRUCTURE → the parts that RFC 8621 section 4.1.4 chooses, one
 *                after the other, each as a stream → charset → [cid: rewritten] → HTTP
 *
 * A message without HTML still has …/html (its text, escaped), and one without text
 * …/text (what its HTML says, without markup).
 */
#include <stdio.h>

#include "api/conditional.h"
#include "api/etag.h"
#include "api/inline_parts.h"
#include "api/message_json.h"
#include "api/part_tree.h"
#include "api/router.h"
#include "mail/text.h"

/* HTML that is made into text is read whole, up to here. */
#define MAX_HTML_TO_TEXT (2 * GP_MIB)
/* A window of a body part. Small, because one byte may become many: a single-byte
 * charset in UTF-8, "<" as "&lt;", a cid: as an address. */
#define WINDOW (32 * GP_KIB)
#define EXPANSION 64
#define MAX_POLICY_PATH 1024 /* bytes; the head has to fit beside the request's (http_guard.h) */

/* ---- headers ---- */

struct message_headers {
	struct api_job job; /* first */
	uint32_t uid;
	struct imap_uidset uids; /* own */
	struct gp_buffer reply;  /* own */
	enum gp_status written;  /* what writing it ended with */
	bool has_row;
};

static struct message_headers *headers_of(void *ctx)
{
	return ctx;
}

static void headers_reset(struct api_job *job)
{
	struct message_headers *self = headers_of(job);

	imap_uidset_deinit(&self->uids);
	gp_buffer_deinit(&self->reply);
	self->has_row = false;
}

static enum gp_status write_headers(struct message_headers *self, struct span block)
{
	struct api_exchange *exchange = self->job.exchange;
	struct api_json_writer writer;

	gp_buffer_init(&self->reply, GP_MAX_JSON_REPLY);
	api_json_writer_init(&writer, &self->reply, exchange->is_pretty, 0);
	api_json_writer_object(&writer);
	api_json_writer_key(&writer, "uid");
	api_json_writer_number(&writer, self->uid);
	api_json_writer_key(&writer, "uidValidity");
	api_json_writer_number(&writer, api_job_selected(&self->job)->uidvalidity);
	api_json_writer_key(&writer, "headers");
	api_headers_write(&writer, block, &exchange->arena);
	api_json_writer_object_end(&writer);
	return api_json_writer_finish(&writer);
}

static void on_headers_row(void *ctx, const struct imap_fetch *row)
{
	struct message_headers *self = headers_of(ctx);

	if (!self->has_row && row->n_sections > 0) {
		self->has_row = true;
		self->written = write_headers(self, row->sections[0].value);
	}
}

static void on_headers(void *ctx, const struct gp_error *error)
{
	struct message_headers *self = headers_of(ctx);
	char etag[API_ETAG_SIZE];

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (!self->has_row) {
		api_job_fail_no_message(&self->job, self->uid);
		return;
	}
	uint32_t uidvalidity = api_job_selected(&self->job)->uidvalidity;
	enum gp_status written = self->written;
	if (written == GP_OK) {
		written = api_etag_of_content(self->job.exchange->account, uidvalidity, self->uid, "headers", etag);
	}
	if (written == GP_OK && api_job_is_settled(&self->job, etag)) {
		return;
	}
	struct gp_buffer body = self->reply; /* taken: the job's end must not free it */
	gp_buffer_init(&self->reply, GP_MAX_JSON_REPLY);

	struct api_exchange *exchange = api_job_finish(&self->job);
	if (written == GP_OK) {
		api_header_add(exchange, "ETag", etag[0] != '\0' ? etag : NULL);
	}
	api_reply_written_json(exchange, 200, written, &body);
}

static void headers_run(struct api_job *job)
{
	static const struct imap_section_spec header = {.section = "HEADER"};
	struct message_headers *self = headers_of(job);

	if (imap_uidset_add(&self->uids, self->uid, self->uid) != GP_OK) {
		api_job_fail(job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	const struct imap_fetch_spec spec = {
		.uids = &self->uids, .items = IMAP_ITEM_UID, .sections = &header, .n_sections = 1};
	job->call = imap_fetch_start(api_job_session(job), &spec, on_headers_row, on_headers, self);
	api_job_started(job, job->call);
}

static const struct api_job_handler headers_handler = {
	.run = headers_run, .reset = headers_reset, .free = headers_reset};

/* ---- text and html ---- */

struct message_text {
	struct api_job job; /* first */
	uint32_t uid;
	bool is_html;

	/* one run */
	struct imap_uidset uids; /* own */
	bool has_row, has_parts;
	bool has_data;                      /* the first bytes of the first part have come */
	struct mail_part *root;             /* borrow: in the exchange's arena */
	struct api_inline_parts inlined;    /* likewise: of HTML */
	struct mail_part_list parts;        /* borrow: likewise */
	size_t at;                          /* the part under way */
	size_t n_opened;                    /* parts that were asked for, that one included */
	struct mail_content *decoder;       /* own */
	struct mail_cid_rewriter *rewriter; /* own */
	struct gp_buffer decoded;           /* of one window; all of the part if it is HTML that becomes text */
	struct gp_buffer out;               /* waits for room */
	char etag[API_ETAG_SIZE];
};

static struct message_text *text_of(void *ctx)
{
	return ctx;
}

static void drop_filters(struct message_text *self)
{
	mail_content_free(&self->decoder);
	mail_cid_rewriter_free(&self->rewriter);
	gp_buffer_deinit(&self->decoded);
}

static void text_reset(struct api_job *job)
{
	struct message_text *self = text_of(job);

	imap_uidset_deinit(&self->uids);
	drop_filters(self);
	gp_buffer_deinit(&self->out);
	self->has_row = self->has_parts = self->has_data = false;
	self->root = NULL;
	self->parts = (struct mail_part_list){.n_items = 0};
	self->at = self->n_opened = 0;
}

static const struct mail_part *current_part(const struct message_text *self)
{
	return self->parts.items[self->at];
}

static bool is_html_part(const struct mail_part *part)
{
	return strcmp(part->type, "text/html") == 0;
}

/* What is done with the decoded text of a part. */
enum filter { FILTER_NONE, FILTER_CID, FILTER_ESCAPE, FILTER_TO_TEXT };

static enum filter filter_of(const struct message_text *self)
{
	bool is_html = is_html_part(current_part(self));

	if (self->is_html) {
		return is_html ? FILTER_CID : FILTER_ESCAPE;
	}
	return is_html ? FILTER_TO_TEXT : FILTER_NONE;
}

/* ---- sending ---- */

static void fail_for_memory(struct message_text *self)
{
	api_job_fail(&self->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
}

static const struct api_stream_events stream_events;

/* Nothing runs, and nothing is loaded but images of this message: of two policies both have to
 * hold, and the second leaves the host open, which is not known here, but not the path. Where the
 * path is too long for a head, no image is loaded. NULL when memory ends. */
static const char *html_policy(struct message_text *self)
{
	struct gp_arena *arena = &self->job.exchange->arena;
	const char *parts = api_part_href(arena, self->job.mailbox_name, self->uid, "");

	if (!parts) {
		return NULL;
	}
	bool is_long = strlen(parts) > MAX_POLICY_PATH;
	return gp_arena_printf(arena,
			       "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; "
			       "base-uri 'none'; form-action 'none'; sandbox allow-popups "
			       "allow-popups-to-escape-sandbox, img-src%s%s data:",
			       is_long ? "" : " http://*:*", is_long ? "" : parts);
}

/* False: there is no memory for the head, and the job is gone. */
static bool begin(struct message_text *self)
{
	struct api_exchange *exchange = self->job.exchange;
	const char *policy = self->is_html ? html_policy(self) : "default-src 'none'; sandbox";

	if (!policy) {
		fail_for_memory(self);
		return false;
	}
	api_header_add(exchange, "Content-Type",
		       self->is_html ? "text/html; charset=utf-8" : "text/plain; charset=utf-8");
	api_header_add(exchange, "Content-Security-Policy", policy);
	api_header_add(exchange, "Referrer-Policy", "no-referrer");
	api_header_add(exchange, "ETag", self->etag[0] != '\0' ? self->etag : NULL);
	if (!api_stream_may_begin(exchange)) {
		fail_for_memory(self);
		return false;
	}
	api_job_touch(&self->job);
	api_stream_begin(exchange, 200, -1, &stream_events, self);
	return true;
}

/* Sends what there is room for; asks for more of the part, or ends the body, when all
 * is sent. */
static void flush(struct message_text *self)
{
	struct api_exchange *exchange = self->job.exchange;

	if (!exchange->is_streaming && self->job.stream && !self->has_data) {
		imap_stream_want(self->job.stream, WINDOW); /* the status line waits: the message may be gone */
		return;
	}
	if (!exchange->is_streaming && !begin(self)) {
		return;
	}
	size_t room = exchange->ops->stream_room(exchange);
	struct span bytes = span_slice(gp_buffer_span(&self->out), 0, room);

	if (bytes.len > 0) {
		exchange->ops->stream_write(exchange, bytes);
		gp_buffer_consume(&self->out, bytes.len);
	}
	if (self->out.len > 0) {
		return;
	}
	if (self->job.stream) {
		imap_stream_want(self->job.stream, WINDOW);
	} else if (self->at == self->parts.n_items) {
		api_job_finish(&self->job);
		exchange->ops->stream_end(exchange, true);
	}
}

static void on_room(void *ctx)
{
	struct message_text *self = text_of(ctx);

	api_job_touch(&self->job);
	flush(self);
}

static const struct api_stream_events stream_events = {.room = on_room};

static enum gp_status append_escaped(struct gp_buffer *out, struct span text)
{
	enum gp_status status = GP_OK;

	for (size_t i = 0; i < text.len && status == GP_OK; i++) {
		char c = text.ptr[i];
		struct span piece = c == '<'   ? SPAN_LIT("&lt;")
				    : c == '>' ? SPAN_LIT("&gt;")
				    : c == '&' ? SPAN_LIT("&amp;")
					       : span_make(text.ptr + i, 1);
		status = gp_buffer_append(out, piece);
	}
	return status;
}

/* Passes what the decoder made through the part's filter. */
static enum gp_status pass_on(struct message_text *self, bool is_last)
{
	struct span text = gp_buffer_span(&self->decoded);
	enum gp_status status = GP_OK;

	switch (filter_of(self)) {
	case FILTER_NONE:
		status = gp_buffer_append(&self->out, text);
		break;
	case FILTER_ESCAPE:
		status = append_escaped(&self->out, text);
		if (status == GP_OK && is_last) {
			status = gp_buffer_append(&self->out, SPAN_LIT("</pre>\n"));
		}
		break;
	case FILTER_CID:
		status = mail_cid_rewriter_feed(self->rewriter, text, &self->out);
		if (status == GP_OK && is_last) {
			status = mail_cid_rewriter_finish(self->rewriter, &self->out);
		}
		break;
	case FILTER_TO_TEXT:
		if (!is_last) {
			return GP_OK; /* gathered until the end */
		}
		status = mail_html_to_text(text, &self->out);
		break;
	}
	gp_buffer_truncate(&self->decoded, 0);
	return status;
}

static void start_part(struct message_text *self);

static void on_data(void *ctx, struct span bytes)
{
	struct message_text *self = text_of(ctx);

	api_job_touch(&self->job);
	self->has_data = true;
	if (mail_content_feed(self->decoder, bytes, &self->decoded) != GP_OK || pass_on(self, false) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	flush(self);
}

static void on_part_end(void *ctx, const struct gp_error *error)
{
	struct message_text *self = text_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	self->has_data = true;
	if (mail_content_finish(self->decoder, &self->decoded) != GP_OK || pass_on(self, true) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	self->at++;
	start_part(self);
}

static const struct imap_stream_events part_events = {.data = on_data, .done = on_part_end};

static struct span resolve_cid(void *ctx, struct span cid)
{
	struct message_text *self = text_of(ctx);
	const char *href = api_inline_parts_href(&self->inlined, cid);

	return href ? span_of(href) : SPAN_NIL;
}

static bool make_filters(struct message_text *self, const struct mail_part *part)
{
	enum filter filter = filter_of(self);

	drop_filters(self);
	gp_buffer_init(&self->decoded, filter == FILTER_TO_TEXT ? MAX_HTML_TO_TEXT * 4 : WINDOW * 4 + GP_KIB);
	self->decoder = mail_content_new(part->encoding, true, span_of(part->charset));
	if (filter == FILTER_CID) {
		self->rewriter = mail_cid_rewriter_new(resolve_cid, self);
	}
	return self->decoder && (filter != FILTER_CID || self->rewriter);
}

/* Inline images and the like stand among the parts of a body: shown in HTML, passed
 * over in text. */
static enum gp_status append_other_part(struct message_text *self, const struct mail_part *part)
{
	struct gp_arena *arena = &self->job.exchange->arena;

	if (!self->is_html || !part->part_id || strncmp(part->type, "image/", 6) != 0) {
		return GP_OK;
	}
	char *href = api_part_href(arena, self->job.mailbox_name, self->uid, part->part_id);
	return href ? gp_buffer_printf(&self->out, "<p><img src=\"%s\" alt=\"\"></p>\n", href) : GP_NO_MEMORY;
}

static enum gp_status open_part(struct message_text *self)
{
	const struct mail_part *part = current_part(self);
	struct imap_stream_spec spec = {.uid = self->uid,
					.section = part->part_id,
					.len = UINT64_MAX,
					.window = WINDOW,
					.told = part->encoded_size};
	enum gp_status status = GP_OK;

	self->n_opened++;
	if (!make_filters(self, part)) {
		return GP_NO_MEMORY;
	}
	if (filter_of(self) == FILTER_TO_TEXT) {
		spec.len = MAX_HTML_TO_TEXT;
	} else if (filter_of(self) == FILTER_ESCAPE) {
		status = gp_buffer_append(&self->out, SPAN_LIT("<pre style=\"white-space:pre-wrap\">"));
	}
	if (status == GP_OK) {
		self->job.stream = imap_stream_start(api_job_session(&self->job), &spec, &part_events, self);
		status = self->job.stream ? GP_OK : GP_NO_MEMORY;
	}
	return status;
}

/* Each part is a round trip, and as long as they come there is progress: no deadline ends it. */
static enum gp_status leave_out_rest(struct message_text *self)
{
	self->at = self->parts.n_items;
	return gp_buffer_printf(&self->out,
				"%s[This message has more than %d parts of text. The rest is left out.]%s\r\n",
				self->is_html ? "<p>" : "\r\n", GP_MAX_TEXT_PARTS, self->is_html ? "</p>" : "");
}

/* From self->at on: the next part that is text, or the end. */
static void start_part(struct message_text *self)
{
	enum gp_status status = GP_OK;

	while (status == GP_OK && self->at < self->parts.n_items &&
	       (!current_part(self)->part_id || strncmp(current_part(self)->type, "text/", 5) != 0)) {
		status = append_other_part(self, current_part(self));
		self->at++;
	}
	if (status == GP_OK && self->at < self->parts.n_items) {
		status = self->n_opened < GP_MAX_TEXT_PARTS ? open_part(self) : leave_out_rest(self);
	}
	if (status != GP_OK) {
		fail_for_memory(self);
		return;
	}
	flush(self);
}

/* ---- which parts ---- */

static void on_row(void *ctx, const struct imap_fetch *row)
{
	struct message_text *self = text_of(ctx);
	struct gp_arena *arena = &self->job.exchange->arena;
	struct mail_choice choice;

	if (self->has_row) {
		return;
	}
	self->has_row = true;
	if (row->body && api_part_tree_new(row->body, arena, &self->root) == GP_OK &&
	    mail_choose(self->root, arena, &choice) == GP_OK) {
		self->has_parts = true;
		self->parts = self->is_html ? choice.html_body : choice.text_body;
	}
	if (self->has_parts && self->is_html &&
	    api_inline_parts_init(&self->inlined, arena, self->root, self->job.mailbox_name, self->uid) != GP_OK) {
		self->has_parts = false;
	}
}

static void on_facts(void *ctx, const struct gp_error *error)
{
	struct message_text *self = text_of(ctx);
	struct api_exchange *exchange = self->job.exchange;

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (!self->has_row) {
		api_job_fail_no_message(&self->job, self->uid);
		return;
	}
	if (!self->has_parts && exchange->arena.is_short) {
		fail_for_memory(self);
		return;
	}
	if (!self->has_parts) {
		api_job_fail(&self->job, API_PROBLEM_UPSTREAM_FAILED, NULL,
			     "the IMAP server does not tell the structure of message %u", self->uid);
		return;
	}
	if (api_etag_of_content(self->job.exchange->account, api_job_selected(&self->job)->uidvalidity, self->uid,
				self->is_html ? "html" : "text", self->etag) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	if (api_job_is_settled(&self->job, self->etag)) {
		return;
	}
	gp_buffer_init(&self->out, MAX_HTML_TO_TEXT * 4 + WINDOW * EXPANSION);
	if (exchange->method == API_HEAD) {
		self->at = self->parts.n_items;
	}
	start_part(self);
}

static void text_run(struct api_job *job)
{
	struct message_text *self = text_of(job);

	if (imap_uidset_add(&self->uids, self->uid, self->uid) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	const struct imap_fetch_spec spec = {.uids = &self->uids, .items = IMAP_ITEM_UID | IMAP_ITEM_BODYSTRUCTURE};
	job->call = imap_fetch_start(api_job_session(job), &spec, on_row, on_facts, self);
	api_job_started(job, job->call);
}

static const struct api_job_handler text_handler = {.run = text_run, .reset = text_reset, .free = text_reset};

/* ---- requests ---- */

static void start(struct api_request *request, struct api_job *job)
{
	if (api_query_finish(&request->query) != GP_OK) {
		api_reply_error(request->exchange, &request->query.error);
		return;
	}
	const struct api_job_spec spec = {.mailbox = request->mailbox,
					  .has_uidvalidity = request->has_uidvalidity,
					  .uidvalidity = request->uidvalidity};
	api_job_start(job, &spec);
}

void api_message_headers_get(struct api_request *request)
{
	struct message_headers *self = api_job_new(request->app, request->exchange, &request->target,
						   request->credential, sizeof *self, &headers_handler);

	if (self) {
		self->uid = request->uid;
		start(request, &self->job);
	}
}

static void text_get(struct api_request *request, bool is_html)
{
	struct message_text *self = api_job_new(request->app, request->exchange, &request->target, request->credential,
						sizeof *self, &text_handler);

	if (self) {
		self->uid = request->uid;
		self->is_html = is_html;
		start(request, &self->job);
	}
}

void api_message_text_get(struct api_request *request)
{
	text_get(request, false);
}

void api_message_html_get(struct api_request *request)
{
	text_get(request, true);
}
