/*
 * Attachments that are parts of other messages: for each, in the mailbox it is in,
 *
 *   UID FETCH (BODYSTRUCTURE)          what it is: type, name, encoding; 404
 *   windows of BODY.PEEK[section]      → decoder → the attachment's content
 *
 * in the order of the attachments; a mailbox is left when the next one is in another.
 */
#include "api/message_compose.h"
#include "api/part_tree.h"

static void fetch_next(struct api_compose *self);

static struct api_job *job_of(struct api_compose *self)
{
	return &self->append->job;
}

static struct api_draft_source *source_of(struct api_compose *self)
{
	return &self->draft->sources[self->source_at];
}

void api_compose_fetch_reset(struct api_compose *self)
{
	mail_content_free(&self->decoder);
	imap_uidset_deinit(&self->uids);
	self->part = NULL;
}

static void fail_for_memory(struct api_compose *self)
{
	api_job_fail(job_of(self), API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
}

/* ---- the content ---- */

/* What it is, where the caller did not say. */
static bool describe(struct api_compose *self)
{
	struct mail_attachment *attachment = &self->draft->attachments[self->source_at];
	struct gp_arena *arena = &self->draft->arena;
	const struct mail_part *part = self->part;
	const char *type = "message/rfc822";

	if (part) {
		type = part->charset && strcmp(part->charset, "us-ascii") != 0
			       ? gp_arena_printf(arena, "%s; charset=\"%s\"", part->type, part->charset)
			       : part->type;
	}
	if (!type) {
		return false;
	}
	if (span_is_nil(attachment->type)) {
		/* Names that are none are of no use to the reader either. */
		const char *good = mail_type_is_allowed(span_of(type))                 ? type
				   : part && mail_type_is_allowed(span_of(part->type)) ? part->type
										       : "application/octet-stream";
		if (!gp_arena_copy(arena, span_of(good), &attachment->type)) {
			return false;
		}
	}
	return !span_is_nil(attachment->name) || !part || !part->name ||
	       gp_arena_copy(arena, span_of(part->name), &attachment->name);
}

static void on_data(void *ctx, struct span bytes)
{
	struct api_compose *self = ctx;
	struct gp_buffer *content = &self->draft->contents[self->source_at];

	api_job_touch(job_of(self));
	if (!api_compose_hold(self, self->n_held + bytes.len)) {
		return;
	}
	enum gp_status status = mail_content_feed(self->decoder, bytes, content);
	if (status == GP_LIMIT) {
		api_job_fail(job_of(self), API_PROBLEM_TOO_LARGE, NULL, "the message would have more than %zu bytes",
			     self->app->max_body);
	} else if (status != GP_OK) {
		fail_for_memory(self);
	} else {
		imap_stream_want(job_of(self)->stream, 2 * GP_STREAM_WINDOW);
	}
}

static void on_end(void *ctx, const struct gp_error *error)
{
	struct api_compose *self = ctx;
	struct gp_buffer *content = &self->draft->contents[self->source_at];

	if (!api_job_check(job_of(self), error)) {
		return;
	}
	if (mail_content_finish(self->decoder, content) != GP_OK || !describe(self)) {
		fail_for_memory(self);
		return;
	}
	self->draft->attachments[self->source_at].content = gp_buffer_span(content);
	fetch_next(self);
}

static const struct imap_stream_events events = {.data = on_data, .done = on_end};

static void start_stream(struct api_compose *self)
{
	struct api_job *job = job_of(self);
	struct api_draft_source *source = source_of(self);
	enum mail_encoding encoding = self->part ? self->part->encoding : MAIL_ENCODING_IDENTITY;
	const struct imap_stream_spec spec = {
		.uid = source->uid,
		.section = gp_arena_strdup(&job->exchange->arena, self->part ? source->part_id : SPAN_LIT("")),
		.len = UINT64_MAX,
		.told = self->part ? self->part->encoded_size : 0};

	mail_content_free(&self->decoder);
	self->decoder = mail_content_new(encoding, false, SPAN_NIL);
	gp_buffer_deinit(&self->draft->contents[self->source_at]);
	gp_buffer_init(&self->draft->contents[self->source_at], self->app->max_body);
	if (!self->decoder || !spec.section) {
		fail_for_memory(self);
		return;
	}
	job->stream = imap_stream_start(api_job_session(job), &spec, &events, self);
	if (api_job_started(job, job->stream)) {
		imap_stream_want(job->stream, 2 * GP_STREAM_WINDOW);
	}
}

/* ---- what it is ---- */

static void on_row(void *ctx, const struct imap_fetch *row)
{
	struct api_compose *self = ctx;
	struct mail_part *root = NULL;

	if (self->has_row) {
		return;
	}
	self->has_row = true;
	if (row->body && api_part_tree_new(row->body, &job_of(self)->exchange->arena, &root) == GP_OK) {
		self->part = mail_part_find(root, source_of(self)->part_id);
	}
}

static void on_facts(void *ctx, const struct gp_error *error)
{
	struct api_compose *self = ctx;
	const struct api_draft_source *source = source_of(self);

	if (!api_job_check(job_of(self), error)) {
		return;
	}
	if (!self->has_row) {
		api_job_fail(job_of(self), API_PROBLEM_NOT_FOUND, NULL, "there is no message with UID %u in '%s'",
			     (unsigned)source->uid, api_excerpt(source->mailbox).text);
	} else if (!span_is_nil(source->part_id) && !self->part) {
		api_job_fail(job_of(self), API_PROBLEM_NOT_FOUND, NULL, "message %u in '%s' has no part '%.*s'",
			     (unsigned)source->uid, api_excerpt(source->mailbox).text, SPAN_ARGS(source->part_id));
	} else {
		start_stream(self);
	}
}

static void fetch_facts(struct api_job *job)
{
	struct api_compose *self = ((struct api_append *)job)->compose;
	const struct api_draft_source *source = source_of(self);
	uint32_t uidvalidity = api_job_selected(job)->uidvalidity;

	if (source->uidvalidity != 0 && source->uidvalidity != uidvalidity) {
		api_job_fail(job, API_PROBLEM_GONE, NULL,
			     "the mailbox '%s' has UIDVALIDITY %u now, not %u: its UIDs name other messages",
			     api_excerpt(source->mailbox).text, (unsigned)uidvalidity, (unsigned)source->uidvalidity);
		return;
	}
	self->has_row = false;
	self->part = NULL;
	imap_uidset_deinit(&self->uids);
	if (imap_uidset_add(&self->uids, source->uid, source->uid) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	const struct imap_fetch_spec spec = {
		.uids = &self->uids,
		.items = IMAP_ITEM_UID | (span_is_nil(source->part_id) ? IMAP_ITEM_SIZE : IMAP_ITEM_BODYSTRUCTURE)};
	job->call = imap_fetch_start(api_job_session(job), &spec, on_row, on_facts, self);
	api_job_started(job, job->call);
}

/* ---- one after another ---- */

/* INBOX has no case: one name for it in the pool. */
static struct span mailbox_of(const struct api_draft_source *source)
{
	return span_equal_text_nocase(source->mailbox, "INBOX") ? SPAN_LIT("INBOX") : source->mailbox;
}

static void fetch_next(struct api_compose *self)
{
	struct api_job *job = job_of(self);
	const struct api_draft *draft = self->draft;

	self->source_at = 0;
	while (self->source_at < draft->mail.n_attachments && !api_draft_wants_source(draft, self->source_at)) {
		self->source_at++;
	}
	if (self->source_at == draft->mail.n_attachments) {
		api_compose_fetch_reset(self);
		api_compose_work(self);
		return;
	}
	job->doing = gp_arena_printf(&job->exchange->arena, "attachments[%zu].source", self->source_at);
	const struct api_job_place place = {.mailbox = mailbox_of(source_of(self)), .is_bulk = true};
	bool is_there = job->is_moved && job->lease && span_equal(job->place.mailbox, place.mailbox);
	if (is_there) {
		fetch_facts(job);
	} else {
		api_job_move_to(job, &place, fetch_facts);
	}
}

void api_compose_fetch(struct api_compose *self)
{
	fetch_next(self);
}
