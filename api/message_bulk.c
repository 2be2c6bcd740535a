#include "api/message_bulk.h"

#include "api/body.h"

/* What testing a row takes: the parts of one message. */
#define MAX_SCRATCH GP_MAX_IMAP_PARSE_ARENA

static struct api_bulk *bulk_of(void *ctx)
{
	return ctx;
}

static void bulk_reset(struct api_job *job)
{
	struct api_bulk *self = bulk_of(job);

	gp_arena_deinit(&self->scratch);
	gp_arena_init(&self->scratch, MAX_SCRATCH);
	imap_uidset_deinit(&self->picked);
	api_bulk_result_deinit(&self->result);
	api_bulk_run_reset(self);
	self->below = (uint64_t)UINT32_MAX + 1;
	self->has_error = self->is_permanent = false;
	self->n_missing = 0;
	self->n_refused = 0;
}

static void bulk_free(struct api_job *job)
{
	bulk_reset(job);
	api_filter_deinit(&bulk_of(job)->filter);
}

static void fail_for_memory(struct api_bulk *self)
{
	api_job_fail(&self->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
}

/* ---- the reply ---- */

void api_bulk_reply(struct api_bulk *self)
{
	struct api_job *job = &self->job;

	if (self->result.failure != GP_OK) {
		/* which of them, cannot be told */
		job->exchange->is_outcome_unknown = job->is_committed;
		fail_for_memory(self);
		return;
	}
	uint64_t n_matched = imap_uidset_count(&self->picked) + self->n_missing;
	json_t *reply = api_bulk_result_json(&self->result, n_matched, self->is_for_deletion, self->target);
	api_reply_json(api_job_finish(job), 200, reply);
}

/* ---- which messages ---- */

/* What is only named, not searched for: each one that is not there is told. */
static bool names_each(const struct api_filter *filter)
{
	return filter->n_terms == 1 && !api_filter_tests_rows(filter) && !imap_uidset_is_empty(&filter->uids) &&
	       !imap_uidset_contains(&filter->uids, IMAP_UID_STAR) &&
	       imap_uidset_count(&filter->uids) <= API_BULK_MAX_NAMED;
}

static enum gp_status tell_missing(struct api_bulk *self)
{
	struct imap_uidset missing;

	imap_uidset_init(&missing);
	enum gp_status status = imap_uidset_add_difference(&missing, &self->filter.uids, &self->picked);
	if (status == GP_OK) {
		api_bulk_result_add_problem(&self->result, &missing, API_PROBLEM_NOT_FOUND, NULL,
					    "there is no message with this UID here", false);
		/* `matched` counts each message that is told of, changed or not */
		self->n_missing = imap_uidset_count(&missing);
		status = self->result.failure;
	}
	imap_uidset_deinit(&missing);
	return status;
}

static void begin_changes(struct api_bulk *self)
{
	bool has_target = !span_is_nil(self->target) && !span_equal(self->target, self->source);

	self->is_permanent = self->is_for_deletion && !has_target;
	if (api_job_selected(&self->job)->is_read_only) {
		api_job_fail(&self->job, API_PROBLEM_FORBIDDEN, NULL, "the mailbox is read-only for this account");
	} else if (self->is_permanent && !imap_session_can(api_job_session(&self->job), IMAP_CAP_UIDPLUS)) {
		api_job_fail(&self->job, API_PROBLEM_UNPROCESSABLE, NULL,
			     "the IMAP server cannot remove single messages (it has no UIDPLUS), and others that are "
			     "marked as deleted are not to go with them: set the keyword $deleted instead");
	} else {
		api_bulk_change(self);
	}
}

/* It is known which ones are meant. */
static void with_picked(struct api_bulk *self)
{
	uint64_t n = imap_uidset_count(&self->picked);

	if (names_each(&self->filter) && tell_missing(self) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	if (self->is_dry_run) {
		api_bulk_reply(self);
		return;
	}
	if (n > API_BULK_MAX) {
		api_job_fail(&self->job, API_PROBLEM_UNPROCESSABLE, NULL,
			     "%llu messages match, and one request changes %d at most: narrow the filter, or go on "
			     "in pieces with uid=",
			     (unsigned long long)n, API_BULK_MAX);
		return;
	}
	begin_changes(self);
}

/* ---- filters that IMAP cannot search for ---- */

static void on_tested_row(void *ctx, const struct imap_fetch *row)
{
	struct api_bulk *self = bulk_of(ctx);
	unsigned items = api_filter_items(&self->filter);
	struct api_message_parts parts;

	gp_arena_reset(&self->scratch);
	/* Of what a server did not tell it is not known that it is meant. */
	if ((row->items & items) != items || self->result.failure != GP_OK) {
		return;
	}
	enum gp_status status = api_message_parts(row, &self->scratch, &parts);
	if (status == GP_OK && api_filter_accepts(&self->filter, row, &parts.choice)) {
		status = imap_uidset_add(&self->picked, row->uid, row->uid);
	}
	if (status != GP_OK) {
		self->result.failure = status;
	}
	api_job_row_came(&self->job);
}

static void on_tested(void *ctx, const struct gp_error *error)
{
	struct api_bulk *self = bulk_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (self->result.failure != GP_OK) {
		fail_for_memory(self);
		return;
	}
	with_picked(self);
}

static void test_rows(struct api_bulk *self)
{
	struct imap_uidset candidates = self->picked; /* taken */
	const struct imap_fetch_spec spec = {.uids = &candidates,
					     .items = IMAP_ITEM_UID | api_filter_items(&self->filter)};

	imap_uidset_init(&self->picked);
	api_job_expect_rows(&self->job, &candidates);
	self->job.call = imap_fetch_start(api_job_session(&self->job), &spec, on_tested_row, on_tested, self);
	imap_uidset_deinit(&candidates);
	api_job_started(&self->job, self->job.call);
}

static void on_found(void *ctx, const struct gp_error *error, const struct imap_uidset *uids)
{
	struct api_bulk *self = bulk_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (api_filter_pick(&self->filter, uids, &self->picked) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	if (!api_filter_tests_rows(&self->filter) || imap_uidset_is_empty(&self->picked)) {
		with_picked(self);
		return;
	}
	if (imap_uidset_count(&self->picked) > API_BULK_MAX) {
		api_job_fail(&self->job, API_PROBLEM_UNPROCESSABLE, NULL,
			     "more than %d messages would have to be looked at one by one for a filter that IMAP "
			     "cannot search for: add another filter",
			     API_BULK_MAX);
		return;
	}
	test_rows(self);
}

static void search(struct api_bulk *self)
{
	const struct imap_search search = api_filter_search(&self->filter);

	self->job.call = imap_search_start(api_job_session(&self->job), &search, on_found, self);
	api_job_started(&self->job, self->job.call);
}

/* ---- the run ---- */

static void on_trash(struct api_job *job)
{
	search(bulk_of(job));
}

static void bulk_run(struct api_job *job)
{
	struct api_bulk *self = bulk_of(job);
	const char *missing = api_filter_fit(&self->filter, api_job_session(job));

	bulk_reset(job);
	self->source = job->mailbox_name;
	self->modseq = self->unchanged_since;
	if (!missing && self->has_unchanged_since && !api_job_selected(job)->has_modseq) {
		missing = "unchangedSince";
	}
	if (missing) {
		api_job_fail(job, API_PROBLEM_UNPROCESSABLE, NULL, "the IMAP server cannot do '%s' in this mailbox",
			     missing);
		return;
	}
	if (self->wants_trash && !self->is_dry_run) {
		api_trash_find(&self->trash, job, &self->target, on_trash);
		return;
	}
	search(self);
}

static const struct api_job_handler bulk_handler = {.run = bulk_run, .reset = bulk_reset, .free = bulk_free};

/* ---- the request ---- */

/* In a list, body=text asks for body values. Here nobody may think that it is a filter. */
static void refuse_body_choice(struct api_query *query)
{
	struct span value;
	bool text, html;

	for (size_t n = 0; api_query_nth(query, "body", n, &value); n++) {
		if (api_filter_is_body_choice(value, &text, &html)) {
			api_query_fail(query,
				       "'body=%.*s' asks a list for body values, and is no filter: search with 'text'",
				       SPAN_ARGS(value));
		}
	}
}

/* An ETag of a list says nothing about single messages. */
static void read_if_match(struct api_query *query, struct api_exchange *exchange)
{
	struct span if_match = exchange->ops->header(exchange, "If-Match");

	if (!span_is_nil(if_match) && !span_equal_text(span_trim(if_match), "*")) {
		api_query_fail(query, "If-Match can only be * for several messages: use unchangedSince=MODSEQ");
	}
}

static void read_request(struct api_request *request, struct api_bulk *self)
{
	struct api_query *query = &request->query;
	uint64_t since = api_query_number(query, "unchangedSince", 1, INT64_MAX, 0);

	self->is_all = api_query_consent(query, "all");
	api_filter_read(query, &self->filter);
	refuse_body_choice(query);
	read_if_match(query, request->exchange);
	self->is_dry_run = api_query_bool(query, "dryRun", false);
	self->has_unchanged_since = since > 0;
	self->unchanged_since = since;
}

/* Last, so that a filter with a typo in its name is told first. */
static enum gp_status finish_query(struct api_query *query, const struct api_bulk *self)
{
	if (api_query_finish(query) == GP_OK && self->filter.n_terms == 0 && !api_filter_tests_rows(&self->filter) &&
	    !self->is_all) {
		api_query_fail(query, "neither 'uid' nor a filter says which messages: all=1 means all of them");
	}
	return query->error.status;
}

static void start(struct api_request *request, struct api_bulk *self)
{
	if (finish_query(&request->query, self) != GP_OK) {
		api_filter_deinit(&self->filter);
		api_reply_error(request->exchange, &request->query.error);
		return;
	}
	const struct api_job_spec spec = {.mailbox = request->mailbox,
					  .is_write = !self->is_dry_run,
					  .has_uidvalidity = request->has_uidvalidity,
					  .uidvalidity = request->uidvalidity};
	api_job_start(&self->job, &spec);
}

static struct api_bulk *bulk_new(struct api_request *request)
{
	return api_job_new(request->app, request->exchange, &request->target, request->credential,
			   sizeof(struct api_bulk), &bulk_handler);
}

static bool read_body(struct api_bulk *self, json_t *body)
{
	static const char *const members[] = {"keywords", "mailbox"};
	struct api_exchange *exchange = self->job.exchange;
	struct gp_error error = {.status = GP_OK};
	json_t *keywords = json_object_get(body, "keywords");
	json_t *mailbox = json_object_get(body, "mailbox");

	if (api_body_check_members(body, NULL, members, sizeof members / sizeof *members, &error) != GP_OK) {
		api_reply_error(exchange, &error);
		return false;
	}
	return (!keywords || api_change_read_keywords(exchange, keywords, &self->keywords)) &&
	       (!mailbox || api_change_read_target(exchange, mailbox, &self->target));
}

void api_messages_patch(struct api_request *request)
{
	struct api_bulk *self = bulk_new(request);

	if (!self) {
		return;
	}
	json_t *body = api_body_object(request->exchange);
	if (!body) {
		return;
	}
	bool is_good = read_body(self, body);
	json_decref(body);
	if (is_good) {
		read_request(request, self);
		start(request, self);
	}
}

void api_messages_delete(struct api_request *request)
{
	struct api_bulk *self = bulk_new(request);

	if (!self) {
		return;
	}
	self->is_for_deletion = true;
	self->wants_trash = api_trash_is_wanted(request);
	read_request(request, self);
	start(request, self);
}
