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
#include "api/etag.h"
#include "api/message_json.h"
#include "api/router.h"

struct message_get {
	struct api_job job; /* first */
	uint64_t members;
	size_t max_body_bytes;
	bool marks_seen;
	uint32_t uid;
	struct span if_none_match; /* borrow: the exchange's */

	/* one run */
	struct imap_uidset uids; /* own */
	json_t *message;         /* own */
	struct mail_choice choice;
	struct api_body_values values;
	bool has_row;
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
	json_decref(self->message);
	self->message = NULL;
	self->has_row = false;
	self->etag[0] = '\0';
}

static void fail_for_memory(struct message_get *self)
{
	api_job_fail(&self->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
}

static bool take_etag(struct message_get *self, const struct imap_fetch *row)
{
	const struct api_message_version version = {.uidvalidity = api_job_selected(&self->job)->uidvalidity,
						    .uid = row->uid,
						    .modseq = row->items & IMAP_ITEM_MODSEQ ? row->modseq : 0,
						    .flags = row->flags,
						    .n_flags = row->n_flags};

	return api_etag_of_message(&version, self->etag) == GP_OK;
}

static void reply(struct message_get *self)
{
	struct api_exchange *exchange = self->job.exchange;
	json_t *message = self->message;

	self->message = NULL;
	api_header_add(exchange, "ETag", self->etag[0] != '\0' ? self->etag : NULL);
	api_job_finish(&self->job);
	api_reply_json(exchange, 200, message);
}

/* ---- marking as seen: after reading, so that what was read is what is shown ---- */

static void on_seen_row(void *ctx, const struct imap_fetch *row)
{
	struct message_get *self = get_of(ctx);

	if (self->members & API_MEMBER_BIT(KEYWORDS)) {
		api_json_set(self->message, "keywords", api_keywords_json(row->flags, row->n_flags));
	}
	if (self->members & API_MEMBER_BIT(MODSEQ) && row->items & IMAP_ITEM_MODSEQ) {
		api_json_set(self->message, "modseq", api_json_number_string(row->modseq));
	}
	take_etag(self, row);
}

static void on_seen(void *ctx, const struct gp_error *error, const struct imap_uidset *modified)
{
	struct message_get *self = get_of(ctx);

	(void)modified;
	if (api_job_check(&self->job, error)) {
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
	const struct imap_store_spec spec = {.uids = &self->uids, .mode = IMAP_STORE_ADD, .flags = &seen, .n_flags = 1};
	job->is_committed = true;
	job->call = imap_store_start(api_job_session(job), &spec, on_seen_row, on_seen, self);
	api_job_started(job, job->call);
}

/* ---- reading ---- */

static void on_row(void *ctx, const struct imap_fetch *row)
{
	struct message_get *self = get_of(ctx);
	const struct api_message_view view = {.members = self->members,
					      .arena = &self->job.exchange->arena,
					      .mailbox = self->job.mailbox_name,
					      .uidvalidity = api_job_selected(&self->job)->uidvalidity};
	struct mail_part *root;

	if (self->message) {
		return;
	}
	self->has_row = true;
	self->message = api_message_json(&view, row, &root, &self->choice);
	take_etag(self, row);
}

static enum gp_status add_wants(struct message_get *self)
{
	enum gp_status status = GP_OK;

	if (self->members & API_MEMBER_BIT(BODY_VALUES)) {
		status = api_body_values_add(&self->values, self->uid, self->message, &self->choice.text_body);
		if (status == GP_OK) {
			status = api_body_values_add(&self->values, self->uid, self->message, &self->choice.html_body);
		}
	}
	if (status == GP_OK && self->members & API_MEMBER_BIT(PREVIEW) && !json_object_get(self->message, "preview")) {
		status = api_body_values_add_preview(&self->values, self->uid, self->message, &self->choice);
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
		api_job_fail(&self->job, API_PROBLEM_NOT_FOUND, NULL, "there is no message with UID %u here",
			     self->uid);
		return;
	}
	api_body_values_init(&self->values, &self->job, self->max_body_bytes, API_BODY_VALUES_MESSAGE, with_values);
	if (!self->message || add_wants(self) != GP_OK) {
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
	if (self->members & API_MEMBER_BIT(HEADERS)) {
		spec.sections = &header;
		spec.n_sections = 1;
	} else {
		spec.n_fields = api_message_fields(self->members, &spec.fields);
	}
	self->job.call = imap_fetch_start(api_job_session(&self->job), &spec, on_row, on_message, self);
	api_job_started(&self->job, self->job.call);
}

/* ---- If-None-Match ---- */

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
	if (self->has_row && api_none_match_hits(self->if_none_match, self->etag)) {
		struct api_exchange *exchange = self->job.exchange;
		api_header_add(exchange, "ETag", self->etag);
		api_job_finish(&self->job);
		api_reply_empty(exchange, 304);
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
	if (span_is_nil(self->if_none_match) || self->marks_seen) {
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
	self->if_none_match = request->exchange->ops->header(request->exchange, "If-None-Match");
	if (api_query_finish(query) != GP_OK) {
		api_reply_error(request->exchange, &query->error);
		return;
	}
	const struct api_job_spec spec = {.mailbox = request->mailbox,
					  .is_write = self->marks_seen,
					  .has_uidvalidity = request->has_uidvalidity,
					  .uidvalidity = request->uidvalidity};
	api_job_start(&self->job, &spec);
}
