/*
 * GET …/messages/{uid}: one message in full, and what other handlers share of reading
 * one message.
 *
 *   [NOOP] FETCH (state)                     only for If-None-Match: 304
 *   [NOOP] FETCH (everything, BODY[HEADER])  → part tree
 *   FETCH (text parts)                       → bodyValues, preview
 *   STORE +FLAGS (\Seen)                     only for markSeen=1
 */
#include "api/body_values.h"
#include "api/conditional.h"
#include "api/cors.h"
#include "api/etag.h"
#include "api/message_json.h"
#include "api/router.h"

/* Of the message's members in the reply. */
#define MEMBERS_DEPTH 1

struct message_get {
	struct api_job job; /* first */
	uint64_t members;
	size_t max_body_bytes;
	bool marks_seen;
	bool is_conditional; /* looked at before it is read */
	uint32_t uid;

	/* one run */
	struct imap_uidset uids; /* own */
	bool has_row;
	bool is_out_of_memory;
	struct imap_fetch facts;  /* what api_message_write_facts() reads; flags in the arena */
	struct gp_buffer content; /* own: the members behind the facts */
	struct api_message_view view;
	struct mail_choice choice;
	bool has_preview;
	struct api_body_values values;
	char etag[API_ETAG_SIZE];
};

static struct message_get *get_of(void *ctx)
{
	return ctx;
}

static void get_reset(struct api_job *job)
{
	struct message_get *self = get_of(job);

	api_body_values_deinit(&self->values);
	imap_uidset_deinit(&self->uids);
	gp_buffer_deinit(&self->content);
	self->has_row = self->is_out_of_memory = self->has_preview = false;
	self->etag[0] = '\0';
}

static void fail_for_memory(struct message_get *self)
{
	api_job_fail(&self->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
}

static void take_etag(struct message_get *self, const struct imap_fetch *row)
{
	uint32_t uidvalidity = api_job_selected(&self->job)->uidvalidity;

	if (api_etag_of_message(self->job.exchange->account, uidvalidity, row, self->etag) != GP_OK) {
		self->is_out_of_memory = true;
	}
}

static void reply(struct message_get *self)
{
	struct api_exchange *exchange = self->job.exchange;
	struct api_json_writer writer;
	struct gp_buffer body;

	gp_buffer_init(&body, GP_MAX_JSON_REPLY);
	api_json_writer_init(&writer, &body, exchange->is_pretty, 0);
	api_json_writer_object(&writer);
	api_message_write_facts(&writer, &self->view, &self->facts);
	api_json_writer_run(&writer, gp_buffer_span(&self->content));
	api_body_values_write(&self->values, self->uid, &writer);
	api_json_writer_object_end(&writer);
	enum gp_status written = api_json_writer_finish(&writer);
	if (written == GP_OK) {
		api_header_add(exchange, "ETag", self->etag[0] != '\0' ? self->etag : NULL);
	}
	api_job_finish(&self->job);
	api_reply_written_json(exchange, 200, written, &body);
}

static bool copy_flags(struct message_get *self, const struct imap_fetch *row)
{
	struct gp_arena *arena = &self->job.exchange->arena;
	struct span *flags = gp_arena_array(arena, row->n_flags + 1, sizeof *flags);

	for (size_t i = 0; flags && i < row->n_flags; i++) {
		if (!gp_arena_copy(arena, row->flags[i], &flags[i])) {
			return false;
		}
	}
	self->facts.flags = flags;
	self->facts.n_flags = flags ? row->n_flags : 0;
	return flags != NULL;
}

/* ---- marking as seen: after reading, so that what was read is what is shown ---- */

static void on_seen_row(void *ctx, const struct imap_fetch *row)
{
	struct message_get *self = get_of(ctx);

	if (row->items & IMAP_ITEM_FLAGS && !copy_flags(self, row)) {
		self->is_out_of_memory = true;
	}
	if (row->items & IMAP_ITEM_MODSEQ) {
		self->facts.items |= IMAP_ITEM_MODSEQ;
		self->facts.modseq = row->modseq;
	}
	take_etag(self, row);
}

static void on_seen(void *ctx, const struct gp_error *error, const struct imap_uidset *modified)
{
	struct message_get *self = get_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (self->is_out_of_memory) {
		fail_for_memory(self);
	} else if (!imap_uidset_is_empty(modified)) {
		api_job_fail(&self->job, API_PROBLEM_PRECONDITION_FAILED, NULL,
			     "the message has changed since: read it again");
	} else {
		reply(self);
	}
}

static void with_values(struct api_job *job)
{
	static const struct span seen = {"\\Seen", 5};
	struct message_get *self = get_of(job);

	if (!self->marks_seen) {
		reply(self);
		return;
	}
	bool is_guarded = !span_is_nil(job->exchange->ops->header(job->exchange, "If-Match"));
	const struct imap_store_spec spec = {.uids = &self->uids,
					     .mode = IMAP_STORE_ADD,
					     .flags = &seen,
					     .n_flags = 1,
					     .has_unchanged_since = is_guarded && self->facts.modseq > 0,
					     .unchanged_since = self->facts.modseq};
	job->is_committed = true;
	job->call = imap_store_start(api_job_session(job), &spec, on_seen_row, on_seen, self);
	api_job_started(job, job->call);
}

/* ---- reading ---- */

static enum gp_status take_row(struct message_get *self, const struct imap_fetch *row)
{
	struct gp_arena *arena = &self->job.exchange->arena;
	struct api_message_parts parts;
	struct api_json_writer writer;

	self->facts = (struct imap_fetch){.items = row->items,
					  .uid = row->uid,
					  .modseq = row->modseq,
					  .size = row->size,
					  .internal_date = row->internal_date};
	self->has_preview = api_message_has_preview(row);
	enum gp_status status = copy_flags(self, row) ? GP_OK : GP_NO_MEMORY;
	if (status == GP_OK) {
		status = api_message_view_init(&self->view, self->members, arena, self->job.mailbox_name,
					       api_job_selected(&self->job)->uidvalidity);
	}
	if (status == GP_OK) {
		status = api_message_parts(row, arena, &parts);
	}
	if (status == GP_OK) {
		self->choice = parts.choice;
		gp_buffer_init(&self->content, GP_MAX_JSON_REPLY);
		api_json_writer_init(&writer, &self->content, self->job.exchange->is_pretty, MEMBERS_DEPTH);
		api_message_write_content(&writer, &self->view, row, &parts);
		status = api_json_writer_status(&writer);
	}
	return status;
}

static void on_row(void *ctx, const struct imap_fetch *row)
{
	struct message_get *self = get_of(ctx);

	if (self->has_row) {
		return;
	}
	self->has_row = true;
	if (take_row(self, row) != GP_OK) {
		self->is_out_of_memory = true;
	}
	take_etag(self, row);
}

static enum gp_status add_wants(struct message_get *self)
{
	enum gp_status status = GP_OK;

	if (self->members & API_MEMBER_BIT(BODY_VALUES)) {
		status = api_body_values_add(&self->values, self->uid, &self->choice.text_body);
		if (status == GP_OK) {
			status = api_body_values_add(&self->values, self->uid, &self->choice.html_body);
		}
	}
	if (status == GP_OK && self->members & API_MEMBER_BIT(PREVIEW) && !self->has_preview) {
		status = api_body_values_add_preview(&self->values, self->uid, &self->choice);
	}
	return status;
}

static void on_message(void *ctx, const struct gp_error *error)
{
	struct message_get *self = get_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (!self->has_row) {
		api_job_fail_no_message(&self->job, self->uid);
		return;
	}
	/* once more: it may have changed since it was looked at */
	if (self->is_conditional && !self->is_out_of_memory && api_job_is_settled(&self->job, self->etag)) {
		return;
	}
	api_body_values_init(&self->values, &self->job, self->max_body_bytes, API_BODY_VALUES_MESSAGE, MEMBERS_DEPTH,
			     with_values);
	if (self->is_out_of_memory || add_wants(self) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	api_body_values_run(&self->values);
}

static void fetch_message(struct message_get *self)
{
	static const struct imap_section_spec header = {.section = "HEADER"};
	struct imap_fetch_spec spec = {.uids = &self->uids, .items = api_message_items(self->members)};

	if (self->members & (API_MEMBER_BIT(PREVIEW) | API_MEMBER_BIT(BODY_VALUES))) {
		spec.items |= IMAP_ITEM_BODYSTRUCTURE;
	}
	if (self->members & API_MEMBER_BIT(PREVIEW)) {
		spec.items |= IMAP_ITEM_PREVIEW; /* the server's own, as in a list */
	}
	if (self->members & API_MEMBER_BIT(HEADERS)) {
		spec.sections = &header;
		spec.n_sections = 1;
	} else {
		spec.n_fields = api_message_fields(self->members, &spec.fields);
	}
	self->job.call = imap_fetch_start(api_job_session(&self->job), &spec, on_row, on_message, self);
	api_job_started(&self->job, self->job.call);
}

/* ---- If-Match and If-None-Match ---- */

static void on_state_row(void *ctx, const struct imap_fetch *row)
{
	struct message_get *self = get_of(ctx);

	self->has_row = true;
	take_etag(self, row);
}

static void on_state(void *ctx, const struct gp_error *error)
{
	struct message_get *self = get_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (self->is_out_of_memory) {
		fail_for_memory(self);
		return;
	}
	if (self->has_row && api_job_is_settled(&self->job, self->etag)) {
		return;
	}
	self->has_row = false;
	fetch_message(self);
}

static void get_run(struct api_job *job)
{
	struct message_get *self = get_of(job);

	if (imap_uidset_add(&self->uids, self->uid, self->uid) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	if (!self->is_conditional) {
		fetch_message(self);
		return;
	}
	const struct imap_fetch_spec spec = {.uids = &self->uids,
					     .items = IMAP_ITEM_UID | IMAP_ITEM_FLAGS | IMAP_ITEM_MODSEQ};
	job->call = imap_fetch_start(api_job_session(job), &spec, on_state_row, on_state, self);
	api_job_started(job, job->call);
}

static const struct api_job_handler get_handler = {.run = get_run, .reset = get_reset, .free = get_reset};

void api_message_get(struct api_request *request)
{
	struct api_query *query = &request->query;
	struct message_get *self = api_job_new(request->app, request->exchange, &request->target, request->credential,
					       sizeof *self, &get_handler);

	if (!self) {
		return;
	}
	self->uid = request->uid;
	self->members = api_fields_read(query, api_message_member_names, API_N_MEMBERS, API_MEMBERS_ALL);
	self->max_body_bytes =
		(size_t)api_query_number(query, "maxBodyValueBytes", 0, API_BODY_VALUE_MOST, API_BODY_VALUE_DEFAULT);
	self->marks_seen = api_query_bool(query, "markSeen", false);
	if (api_query_finish(query) != GP_OK) {
		api_reply_error(request->exchange, &query->error);
		return;
	}
	/* What the caller knows already is to be marked all the same. */
	self->is_conditional = self->marks_seen
				       ? !span_is_nil(request->exchange->ops->header(request->exchange, "If-Match"))
				       : api_has_precondition(request->exchange);
	if (self->marks_seen && !api_cors_guard_effect(request->app, request->exchange)) {
		return;
	}
	const struct api_job_spec spec = {.mailbox = request->mailbox,
					  .is_write = self->marks_seen,
					  .has_uidvalidity = request->has_uidvalidity,
					  .uidvalidity = request->uidvalidity};
	api_job_start(&self->job, &spec);
}
