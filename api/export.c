#include "api/export.h"

#include <stdlib.h>

#include "api/disposition.h"

#define MAX_SCRATCH GP_MAX_IMAP_PARSE_ARENA

static struct api_export *export_of(void *ctx)
{
	return ctx;
}

/* ---- one run's memory ---- */

static void moved(struct api_job *job);

static void export_reset(struct api_job *job)
{
	struct api_export *self = export_of(job);

	if (self->format->reset) {
		self->format->reset(self);
	}
	api_sink_deinit(&self->sink);
	api_sink_init(&self->sink, job, moved);
	gp_arena_deinit(&self->scratch);
	gp_arena_init(&self->scratch, MAX_SCRATCH);
	imap_uidset_deinit(&self->found);
	imap_uidset_deinit(&self->batch);
	free(self->order);
	self->order = NULL;
	self->n_order = self->order_at = self->range_at = self->n_uids = 0;
	self->next_uid = self->n_written = 0;
	self->failure = GP_OK;
	self->resume = NULL;
}

static void export_free(struct api_job *job)
{
	export_reset(job);
	api_filter_deinit(&export_of(job)->filter);
}

/* ---- the body ---- */

void api_export_fail(struct api_export *self, enum gp_status status)
{
	struct gp_error error = {.status = GP_OK};

	gp_error_set(&error, status, "%s", gp_status_text(status));
	api_job_fail(&self->job, api_problem_of(&error), &error, NULL);
}

static enum gp_status begin_body(struct api_export *self)
{
	struct api_exchange *exchange = self->job.exchange;
	struct gp_arena *arena = &exchange->arena;

	api_header_add(exchange, "Content-Type", self->format->content_type);
	if (self->format->extension) {
		const char *name =
			gp_arena_printf(arena, "%.*s.%s", SPAN_ARGS(self->job.mailbox_name), self->format->extension);
		api_header_add(exchange, "Content-Disposition", api_disposition(arena, true, name));
	}
	return api_sink_begin(&self->sink);
}

enum gp_status api_export_write(struct api_export *self, struct span bytes)
{
	enum gp_status status = self->job.exchange->is_streaming ? GP_OK : begin_body(self);

	return status == GP_OK ? api_sink_write(&self->sink, bytes) : status;
}

static void moved(struct api_job *job)
{
	struct api_export *self = export_of(job);
	void (*resume)(struct api_export *) = self->resume;

	if (!resume) {
		if (self->format->moved) {
			self->format->moved(self);
		}
	} else if (api_sink_is_ready(&self->sink)) {
		self->resume = NULL;
		resume(self);
	}
}

void api_export_when_ready(struct api_export *self, void (*resume)(struct api_export *self))
{
	if (api_sink_is_ready(&self->sink)) {
		resume(self);
	} else {
		self->resume = resume;
	}
}

/* What waits goes first. */
static void end_body(struct api_export *self)
{
	if (api_sink_is_empty(&self->sink)) {
		api_sink_end(&self->sink);
	} else {
		self->resume = end_body;
	}
}

static void finish(struct api_export *self)
{
	if (!self->job.exchange->is_streaming && begin_body(self) != GP_OK) {
		api_export_fail(self, GP_NO_MEMORY);
		return;
	}
	bool is_complete = !self->format->finish || self->format->finish(self);
	if (self->failure != GP_OK) {
		api_export_fail(self, self->failure);
	} else if (is_complete) {
		end_body(self);
	} else {
		api_export_when_ready(self, finish);
	}
}

/* ---- batches ---- */

static bool next_uid(struct api_export *self, uint32_t *uid_out)
{
	if (self->order) {
		if (self->order_at == self->n_order) {
			return false;
		}
		*uid_out = self->order[self->order_at++];
		return true;
	}
	while (self->range_at < self->found.n_ranges) {
		struct imap_uid_range range = self->found.ranges[self->range_at];
		if (self->next_uid < range.first) {
			self->next_uid = range.first;
		}
		if (self->next_uid <= range.last) {
			*uid_out = (uint32_t)self->next_uid++;
			return true;
		}
		self->range_at++;
	}
	return false;
}

static enum gp_status take_batch(struct api_export *self)
{
	enum gp_status status = GP_OK;
	uint64_t n = self->limit - self->n_written;

	gp_arena_reset(&self->scratch);
	imap_uidset_deinit(&self->batch);
	self->n_uids = self->last_index = 0;
	/* where rows are tested, it is not known how many of them count */
	if (n > self->batch_size || api_filter_tests_rows(&self->filter)) {
		n = self->batch_size;
	}
	while (self->n_uids < n && status == GP_OK && next_uid(self, &self->uids[self->n_uids])) {
		uint32_t uid = self->uids[self->n_uids];
		status = imap_uidset_add(&self->batch, uid, uid);
		self->n_uids++;
	}
	return status;
}

static void start_batch(struct api_export *self)
{
	enum gp_status status = take_batch(self);

	if (status != GP_OK) {
		api_export_fail(self, status);
	} else if (self->n_uids == 0) {
		finish(self);
	} else {
		self->format->batch(self);
	}
}

bool api_export_is_full(const struct api_export *self)
{
	return self->n_written >= self->limit;
}

void api_export_next(struct api_export *self)
{
	if (self->failure != GP_OK) {
		api_export_fail(self, self->failure);
	} else if (api_export_is_full(self)) {
		finish(self);
	} else {
		api_export_when_ready(self, start_batch);
	}
}

/* Rows come in order, mostly: the next one is looked at first. */
size_t api_export_index(struct api_export *self, uint32_t uid)
{
	for (size_t n = 1; n <= self->n_uids; n++) {
		size_t i = (self->last_index + n) % self->n_uids;
		if (self->uids[i] == uid) {
			self->last_index = i;
			return i;
		}
	}
	return self->n_uids;
}

bool api_export_accepts(const struct api_export *self, const struct imap_fetch *row, const struct mail_choice *choice)
{
	unsigned items = api_filter_items(&self->filter);

	return (row->items & items) == items && api_filter_accepts(&self->filter, row, choice);
}

/* ---- which messages ---- */

static void begin_batches(struct api_export *self)
{
	if (!self->format->begin(self)) {
		return;
	}
	if (self->job.exchange->method == API_HEAD) {
		if (begin_body(self) != GP_OK) {
			api_export_fail(self, GP_NO_MEMORY);
			return;
		}
		api_sink_end(&self->sink);
		return;
	}
	api_export_next(self);
}

static void on_found(void *ctx, const struct gp_error *error, const struct imap_uidset *uids)
{
	struct api_export *self = export_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	enum gp_status status = api_filter_pick(&self->filter, uids, &self->found);
	if (status != GP_OK) {
		api_export_fail(self, status);
		return;
	}
	begin_batches(self);
}

static void on_sorted(void *ctx, const struct gp_error *error, const uint32_t *uids, size_t n_uids)
{
	struct api_export *self = export_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	self->order = calloc(n_uids + 1, sizeof *self->order);
	if (!self->order) {
		api_export_fail(self, GP_NO_MEMORY);
		return;
	}
	if (n_uids > 0) {
		memcpy(self->order, uids, n_uids * sizeof *uids);
	}
	self->n_order = api_filter_pick_order(&self->filter, self->order, n_uids);
	begin_batches(self);
}

static void export_run(struct api_job *job)
{
	struct api_export *self = export_of(job);
	struct imap_session *session = api_job_session(job);
	const struct imap_search search = api_filter_search(&self->filter);
	const char *missing = api_filter_fit(&self->filter, session);

	export_reset(job);
	if (!missing && self->sort.n_terms > 0 && !imap_session_can(session, IMAP_CAP_SORT)) {
		missing = "sort";
	}
	if (missing) {
		api_job_fail(job, API_PROBLEM_UNPROCESSABLE, NULL, "the IMAP server cannot do '%s' for a whole list%s",
			     missing, strcmp(missing, "sort") == 0 ? ": ask for pages (JSON), or leave it out" : "");
		return;
	}
	if (self->sort.n_terms > 0) {
		job->call = imap_sort_start(session, self->sort.terms, self->sort.n_terms, &search, on_sorted, self);
	} else {
		job->call = imap_search_start(session, &search, on_found, self);
	}
	api_job_started(job, job->call);
}

static const struct api_job_handler export_handler = {.run = export_run, .reset = export_reset, .free = export_free};

/* ---- the request ---- */

void api_export_start(struct api_request *request, const struct api_export_format *format)
{
	struct api_query *query = &request->query;
	struct api_export *self = api_job_new(request->app, request->exchange, &request->target, request->credential,
					      format->size, &export_handler);

	if (!self) {
		return;
	}
	self->format = format;
	self->batch_size = API_EXPORT_BATCH;
	self->limit = api_query_number(query, "limit", 1, UINT32_MAX, UINT64_MAX);
	api_filter_read(query, &self->filter);
	api_sort_read(query, &self->sort);
	if (format->read) {
		format->read(self, query);
	}
	if (api_query_finish(query) != GP_OK) {
		api_filter_deinit(&self->filter);
		api_reply_error(request->exchange, &query->error);
		return;
	}
	request->exchange->is_pretty = false;
	const struct api_job_spec spec = {.mailbox = request->mailbox,
					  .is_bulk = true,
					  .has_uidvalidity = request->has_uidvalidity,
					  .uidvalidity = request->uidvalidity};
	api_job_start(&self->job, &spec);
}
