/*
 * PATCH …/messages/{uid}, and PUT and DELETE …/keywords/{keyword}: flags and keywords
 * of one message (RFC 3501 section 6.4.6, RFC 7162 section 3.1.3).
 *
 *   FETCH (state)                       404; If-Match on what the server has now
 *   STORE +FLAGS [UNCHANGEDSINCE]       412 when another client came between
 *   STORE -FLAGS [UNCHANGEDSINCE]
 *   FETCH (the message as it now is)    → reply
 */
#include "api/body.h"
#include "api/conditional.h"
#include "api/etag.h"
#include "api/message_json.h"
#include "api/router.h"

#define MAX_KEYWORDS 64

struct message_keywords {
	struct api_job job; /* first */
	uint32_t uid;
	uint64_t members;
	struct span if_match; /* borrow: the exchange's */
	struct span set[MAX_KEYWORDS], clear[MAX_KEYWORDS];
	size_t n_set, n_clear;

	/* one run */
	struct imap_uidset uids;  /* own */
	struct gp_buffer message; /* own: the reply */
	enum gp_status written;   /* what writing it ended with */
	bool has_row;
	bool is_clearing; /* the second STORE */
	bool lacks_keyword;
	uint64_t modseq; /* as the last answer had it; 0: none */
	char etag[API_ETAG_SIZE];
};

static struct message_keywords *keywords_of(void *ctx)
{
	return ctx;
}

static void keywords_reset(struct api_job *job)
{
	struct message_keywords *self = keywords_of(job);

	imap_uidset_deinit(&self->uids);
	gp_buffer_deinit(&self->message);
	self->has_row = self->is_clearing = self->lacks_keyword = false;
	self->modseq = 0;
	self->etag[0] = '\0';
}

static void take_version(struct message_keywords *self, const struct imap_fetch *row)
{
	const struct api_message_version version = {.uidvalidity = api_job_selected(&self->job)->uidvalidity,
						    .uid = row->uid,
						    .modseq = row->items & IMAP_ITEM_MODSEQ ? row->modseq : 0,
						    .flags = row->flags,
						    .n_flags = row->n_flags};

	self->has_row = true;
	self->modseq = version.modseq;
	if (api_etag_of_message(&version, self->etag) != GP_OK) {
		self->etag[0] = '\0';
	}
}

static void fail_not_found(struct message_keywords *self)
{
	api_job_fail(&self->job, API_PROBLEM_NOT_FOUND, NULL, "there is no message with UID %u here", self->uid);
}

static void fail_precondition(struct message_keywords *self)
{
	api_job_fail(&self->job, API_PROBLEM_PRECONDITION_FAILED, NULL,
		     "the message has been changed since: read it again");
}

/* ---- the message as it now is ---- */

static enum gp_status write_message(struct message_keywords *self, const struct imap_fetch *row)
{
	struct api_exchange *exchange = self->job.exchange;
	struct api_message_view view;
	struct api_message_parts parts;
	struct api_json_writer writer;
	enum gp_status status = api_message_view_init(&view, self->members, &exchange->arena, self->job.mailbox_name,
						      api_job_selected(&self->job)->uidvalidity);

	if (status == GP_OK) {
		status = api_message_parts(row, &exchange->arena, &parts);
	}
	if (status != GP_OK) {
		return status;
	}
	gp_buffer_init(&self->message, GP_MAX_JSON_REPLY);
	api_json_writer_init(&writer, &self->message, exchange->is_pretty, 0);
	api_json_writer_object(&writer);
	api_message_write_facts(&writer, &view, row);
	api_message_write_content(&writer, &view, row, &parts);
	api_json_writer_object_end(&writer);
	return api_json_writer_finish(&writer);
}

static void on_result_row(void *ctx, const struct imap_fetch *row)
{
	struct message_keywords *self = keywords_of(ctx);

	if (self->has_row) {
		return;
	}
	take_version(self, row);
	self->written = write_message(self, row);
	for (size_t i = 0; i < self->n_set; i++) {
		self->lacks_keyword |= !api_row_has_flag(row, self->set[i]);
	}
}

static void on_result(void *ctx, const struct gp_error *error)
{
	struct message_keywords *self = keywords_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (!self->has_row) {
		fail_not_found(self);
		return;
	}
	if (self->lacks_keyword) {
		api_job_fail(&self->job, API_PROBLEM_UNPROCESSABLE, NULL,
			     "the IMAP server did not keep every keyword: this mailbox allows no new ones");
		return;
	}
	struct api_exchange *exchange = self->job.exchange;
	enum gp_status written = self->written;
	struct gp_buffer message = self->message; /* taken: the job's end must not free it */
	gp_buffer_init(&self->message, GP_MAX_JSON_REPLY);
	if (written == GP_OK) {
		api_header_add(exchange, "ETag", self->etag[0] != '\0' ? self->etag : NULL);
	}
	api_job_finish(&self->job);
	api_reply_written_json(exchange, 200, written, &message);
}

static void fetch_result(struct message_keywords *self)
{
	struct imap_fetch_spec spec = {.uids = &self->uids, .items = api_message_items(self->members)};

	self->has_row = false;
	spec.n_fields = api_message_fields(self->members, &spec.fields);
	self->job.call = imap_fetch_start(api_job_session(&self->job), &spec, on_result_row, on_result, self);
	api_job_started(&self->job, self->job.call);
}

/* ---- storing ---- */

static void store_next(struct message_keywords *self);

static void on_store_row(void *ctx, const struct imap_fetch *row)
{
	take_version(keywords_of(ctx), row);
}

static void on_stored(void *ctx, const struct gp_error *error, const struct imap_uidset *modified)
{
	struct message_keywords *self = keywords_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (!imap_uidset_is_empty(modified)) {
		fail_precondition(self);
		return;
	}
	if (self->is_clearing || self->n_clear == 0) {
		fetch_result(self);
		return;
	}
	self->is_clearing = true;
	store_next(self);
}

static void store_next(struct message_keywords *self)
{
	bool is_guarded = !span_is_nil(self->if_match) && self->modseq > 0;
	const struct imap_store_spec spec = {
		.uids = &self->uids,
		.mode = self->is_clearing ? IMAP_STORE_REMOVE : IMAP_STORE_ADD,
		.flags = self->is_clearing ? self->clear : self->set,
		.n_flags = self->is_clearing ? self->n_clear : self->n_set,
		.has_unchanged_since = is_guarded,
		.unchanged_since = self->modseq,
	};

	self->job.is_committed = true;
	self->job.call = imap_store_start(api_job_session(&self->job), &spec, on_store_row, on_stored, self);
	api_job_started(&self->job, self->job.call);
}

/* ---- what the server has now ---- */

static void on_state(void *ctx, const struct gp_error *error)
{
	struct message_keywords *self = keywords_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (!self->has_row) {
		fail_not_found(self);
		return;
	}
	if (!api_match_allows(self->if_match, self->etag)) {
		fail_precondition(self);
		return;
	}
	if (self->n_set == 0 && self->n_clear == 0) {
		fetch_result(self);
		return;
	}
	if (api_job_selected(&self->job)->is_read_only) {
		api_job_fail(&self->job, API_PROBLEM_FORBIDDEN, NULL, "the mailbox is read-only for this account");
		return;
	}
	self->is_clearing = self->n_set == 0;
	store_next(self);
}

static void keywords_run(struct api_job *job)
{
	struct message_keywords *self = keywords_of(job);

	if (imap_uidset_add(&self->uids, self->uid, self->uid) != GP_OK) {
		api_job_fail(job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	const struct imap_fetch_spec spec = {.uids = &self->uids,
					     .items = IMAP_ITEM_UID | IMAP_ITEM_FLAGS | IMAP_ITEM_MODSEQ};
	job->call = imap_fetch_start(api_job_session(job), &spec, on_store_row, on_state, self);
	api_job_started(job, job->call);
}

static const struct api_job_handler keywords_handler = {
	.run = keywords_run, .reset = keywords_reset, .free = keywords_reset};

/* ---- requests ---- */

static struct message_keywords *keywords_new(struct api_request *request)
{
	struct message_keywords *self = api_job_new(request->app, request->exchange, &request->target,
						    request->credential, sizeof *self, &keywords_handler);

	if (self) {
		self->uid = request->uid;
		self->if_match = request->exchange->ops->header(request->exchange, "If-Match");
		self->members =
			api_fields_read(&request->query, api_message_member_names, API_N_MEMBERS, API_MEMBERS_LIST);
		if (self->members & (API_MEMBER_BIT(HEADERS) | API_MEMBER_BIT(BODY_VALUES) | API_MEMBER_BIT(PREVIEW))) {
			api_query_fail(&request->query, "'fields' takes neither headers, bodyValues nor preview here");
		}
	}
	return self;
}

static void keywords_start(struct api_request *request, struct message_keywords *self)
{
	if (api_query_finish(&request->query) != GP_OK) {
		api_reply_error(request->exchange, &request->query.error);
		return;
	}
	const struct api_job_spec spec = {.mailbox = request->mailbox,
					  .is_write = true,
					  .has_uidvalidity = request->has_uidvalidity,
					  .uidvalidity = request->uidvalidity};
	api_job_start(&self->job, &spec);
}

/* Adds `keyword` to the ones to set or to clear; false when it is none. */
static bool add_keyword(struct message_keywords *self, struct gp_arena *arena, struct span keyword, bool is_set)
{
	struct span flag = api_keyword_flag(arena, keyword);
	size_t *n = is_set ? &self->n_set : &self->n_clear;

	if (span_is_nil(flag) || *n == MAX_KEYWORDS) {
		return false;
	}
	(is_set ? self->set : self->clear)[(*n)++] = flag;
	return true;
}

/* {"keywords":{"$seen":true,"$flagged":null}}: true sets, null and false clear. */
static bool read_keywords(struct message_keywords *self, struct api_request *request, json_t *keywords)
{
	struct gp_error error = {.status = GP_OK};
	const char *name;
	json_t *value;

	if (!json_is_object(keywords)) {
		gp_error_set(&error, GP_INVALID, "'keywords' must be an object such as {\"$seen\":true}");
	}
	json_object_foreach(keywords, name, value)
	{
		if (!json_is_boolean(value) && !json_is_null(value)) {
			gp_error_set(&error, GP_INVALID, "'keywords.%.80s' must be true, false or null", name);
		} else if (!add_keyword(self, &request->exchange->arena, span_of(name), json_is_true(value))) {
			gp_error_set(&error, GP_INVALID, "'%.80s' is no keyword, or there are more than %d", name,
				     MAX_KEYWORDS);
		}
	}
	if (error.status != GP_OK) {
		api_reply_error(request->exchange, &error);
	}
	return error.status == GP_OK;
}

void api_message_patch(struct api_request *request)
{
	static const char *const members[] = {"keywords"};
	struct message_keywords *self = keywords_new(request);
	struct gp_error error = {.status = GP_OK};

	if (!self) {
		return;
	}
	json_t *body = api_body_object(request->exchange);
	if (!body) {
		return;
	}
	bool is_good = false;
	if (api_body_check_members(body, NULL, members, 1, &error) != GP_OK) {
		api_reply_error(request->exchange, &error);
	} else {
		json_t *keywords = json_object_get(body, "keywords");
		is_good = !keywords || read_keywords(self, request, keywords);
	}
	json_decref(body);
	if (is_good) {
		keywords_start(request, self);
	}
}

static void one_keyword(struct api_request *request, bool is_set)
{
	struct message_keywords *self = keywords_new(request);

	if (!self) {
		return;
	}
	if (!add_keyword(self, &request->exchange->arena, request->keyword, is_set)) {
		api_query_fail(&request->query, "'%.*s' is no keyword", SPAN_ARGS(span_slice(request->keyword, 0, 80)));
	}
	keywords_start(request, self);
}

void api_message_keyword_put(struct api_request *request)
{
	one_keyword(request, true);
}

void api_message_keyword_delete(struct api_request *request)
{
	one_keyword(request, false);
}
