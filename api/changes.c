/*
 * GET /mailboxes/{mailbox}/changes: one sync, from the state that the caller has to now.
 *
 *   EXAMINE → sync → reply
 *
 * With wait=, an answer that would be empty is held: the job parks and is woken by the
 * account's hub when the mailbox may have changed; then it looks again. The wait is not
 * under the request's deadline, each look is.
 *
 *   EXAMINE → sync, nothing → parked … woken → EXAMINE → sync → reply
 */
#include "api/hub.h"
#include "api/json_writer.h"
#include "api/router.h"
#include "api/sync.h"
#include "base/limits.h"

#define MAX_WAIT_S 300

struct changes_job {
	struct api_job job; /* first */

	/* what was asked */
	struct api_state since; /* own: kind API_STATE_NONE when it was not given */
	struct span since_text; /* borrow: the exchange's; NIL when it was not given */
	uint64_t max_changes, wait_ms;

	/* one run */
	struct api_sync_moment moment; /* own */
	struct api_sync *sync;         /* own */

	/* the wait */
	struct api_waiter *waiter; /* own */
	struct gp_timer over;
	bool is_parked, is_woken; /* woken: look again before parking */
	bool is_over;             /* the next answer is given, also when it is empty */
};

static void run(struct api_job *job);

/* ---- memory ---- */

static void reset(struct api_job *job)
{
	struct changes_job *self = (struct changes_job *)job;

	api_sync_cancel(&self->sync);
	api_sync_moment_deinit(&self->moment);
}

/* Before the lease ends: a sync must not outlive it. */
static void stop(struct api_job *job)
{
	struct changes_job *self = (struct changes_job *)job;

	reset(job);
	api_state_deinit(&self->since);
	api_waiter_stop(&self->waiter);
	gp_timer_stop(&self->over);
}

/* ---- the reply ---- */

static void write_uids(struct api_json_writer *writer, const struct imap_uidset *uids)
{
	api_json_writer_array(writer);
	for (size_t i = 0; i < uids->n_ranges; i++) {
		for (uint64_t uid = uids->ranges[i].first;
		     uid <= uids->ranges[i].last && api_json_writer_status(writer) == GP_OK; uid++) {
			api_json_writer_number(writer, uid);
		}
	}
	api_json_writer_array_end(writer);
}

static enum gp_status write_reply(struct changes_job *self, const struct api_changes *changes, struct gp_buffer *body)
{
	struct api_json_writer writer;
	struct gp_buffer state;

	gp_buffer_init(&state, API_STATE_MAX);
	api_json_writer_init(&writer, body, self->job.exchange->is_pretty, 0);
	api_json_writer_fail(&writer, api_state_write(&changes->state, API_STATE_MAX, &state));
	struct span new_state = gp_buffer_span(&state);
	api_json_writer_object(&writer);
	api_json_writer_key(&writer, "oldState");
	api_json_writer_text(&writer, span_is_nil(self->since_text) ? new_state : self->since_text);
	api_json_writer_key(&writer, "newState");
	api_json_writer_text(&writer, new_state);
	api_json_writer_key(&writer, "uidValidity");
	api_json_writer_number(&writer, changes->state.uidvalidity);
	api_json_writer_key(&writer, "hasMoreChanges");
	api_json_writer_bool(&writer, changes->has_more);
	api_json_writer_key(&writer, "created");
	write_uids(&writer, &changes->created);
	api_json_writer_key(&writer, "updated");
	write_uids(&writer, &changes->updated);
	api_json_writer_key(&writer, "destroyed");
	write_uids(&writer, &changes->destroyed);
	api_json_writer_object_end(&writer);
	gp_buffer_deinit(&state);
	return api_json_writer_finish(&writer);
}

static void reply(struct changes_job *self, const struct api_changes *changes)
{
	struct gp_buffer body;

	gp_buffer_init(&body, GP_MAX_JSON_REPLY);
	enum gp_status written = write_reply(self, changes, &body);
	struct api_exchange *exchange = api_job_finish(&self->job);
	api_reply_written_json_tagged(exchange, written, &body);
}

/* Nothing happened until the end of the wait: `since` is what it came to. */
static void reply_nothing(struct changes_job *self)
{
	struct api_changes nothing = {.state = self->since};

	api_state_init(&self->since); /* moved */
	reply(self, &nothing);
	api_state_deinit(&nothing.state);
}

/* ---- the wait ---- */

static void look_again(struct changes_job *self)
{
	self->is_woken = false;
	self->is_parked = false;
	api_job_resume(&self->job);
}

static void on_woken(void *ctx)
{
	struct changes_job *self = ctx;

	self->is_woken = true;
	if (self->is_parked) {
		look_again(self);
	}
}

static void wait_ended(void *ctx, const struct gp_error *error)
{
	struct changes_job *self = ctx;

	self->waiter = NULL;
	self->is_over = true;
	if (error->status == GP_DRAINING && self->is_parked) {
		reply_nothing(self);
	} else if (error->status != GP_DRAINING) {
		api_job_fail(&self->job, api_problem_of(error), error, NULL);
	}
}

static const struct api_waiter_events waiter_events = {.woken = on_woken, .ended = wait_ended};

static void on_over(struct gp_timer *timer)
{
	struct changes_job *self = timer->ctx;

	self->is_over = true;
	if (self->is_parked) {
		reply_nothing(self);
	}
}

/* False: the job has failed. */
static bool begin_wait(struct changes_job *self)
{
	struct gp_error error = {0};
	enum gp_status status = api_waiter_start(self->job.app->hubs, self->job.credential, self->job.mailbox_name,
						 &waiter_events, self, &self->waiter);

	if (status == GP_OK) {
		gp_timer_start(&self->over, self->wait_ms);
		return true;
	}
	gp_error_set(&error, status, "%s", gp_status_text(status));
	api_job_fail(&self->job, api_problem_of(&error), &error,
		     status == GP_QUEUE_FULL ? "more than %d requests of this account wait for changes" : NULL,
		     API_HUB_MAX_WAITERS);
	return false;
}

/* The answer would be empty. `since` moves on: what it is now is the same to the caller. */
static void wait(struct changes_job *self, struct api_changes *changes)
{
	api_state_deinit(&self->since);
	self->since = changes->state;
	api_state_init(&changes->state); /* moved */
	if (!self->waiter && !begin_wait(self)) {
		return;
	}
	reset(&self->job);
	self->job.has_run = false;
	api_job_park(&self->job);
	self->is_parked = true;
	if (self->is_woken) {
		look_again(self);
	}
}

/* ---- the run ---- */

static void fail(struct changes_job *self, const struct gp_error *error)
{
	if (error->status == GP_UIDVALIDITY) {
		api_job_fail(&self->job, API_PROBLEM_GONE, NULL,
			     "'since' is of UIDVALIDITY %u, and the mailbox '%s' has another one now: start over",
			     (unsigned)self->since.uidvalidity, api_excerpt(self->job.mailbox_name).text);
	} else {
		api_job_fail(&self->job, API_PROBLEM_GONE, NULL,
			     "what changed in the mailbox '%s' since 'since' cannot be told: %s; start over",
			     api_excerpt(self->job.mailbox_name).text, error->text);
	}
}

static void on_synced(void *ctx, const struct gp_error *error, struct api_changes *changes)
{
	struct changes_job *self = ctx;

	self->sync = NULL;
	if (error && (error->status == GP_UIDVALIDITY || error->status == GP_STALE)) {
		fail(self, error);
		return;
	}
	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (self->wait_ms > 0 && !self->is_over && api_changes_is_empty(changes)) {
		wait(self, changes);
	} else {
		reply(self, changes);
	}
}

static void run(struct api_job *job)
{
	struct changes_job *self = (struct changes_job *)job;

	self->sync = api_sync_start(api_job_session(job), &self->moment,
				    self->since.kind == API_STATE_NONE ? NULL : &self->since, self->max_changes,
				    on_synced, self);
	(void)api_job_started(job, self->sync);
}

static const struct api_job_handler handler = {.run = run, .reset = reset, .stop = reset, .free = stop};

/* ---- the request ---- */

static enum gp_status read_request(struct api_query *query, struct changes_job *self)
{
	enum gp_status status = GP_OK;

	self->since_text = api_query_text(query, "since");
	self->max_changes = api_query_number(query, "maxChanges", 1, API_SYNC_MAX_CHANGES, API_SYNC_MAX_CHANGES);
	self->wait_ms = 1000 * api_query_number(query, "wait", 0, MAX_WAIT_S, 0);
	if (!span_is_nil(self->since_text)) {
		status = api_state_parse(self->since_text, &self->since);
	}
	if (status == GP_INVALID) {
		api_query_fail(query,
			       "'since' is '%s', which is no state: take the 'state' of a list, or the 'newState' of "
			       "changes",
			       api_excerpt(self->since_text).text);
	}
	return status == GP_NO_MEMORY ? status : api_query_finish(query);
}

void api_changes_get(struct api_request *request)
{
	struct changes_job *self = api_job_new(request->app, request->exchange, &request->target, request->credential,
					       sizeof *self, &handler);

	if (!self) {
		return;
	}
	api_state_init(&self->since);
	gp_timer_init(&self->over, request->app->timers, on_over, self);
	enum gp_status status = read_request(&request->query, self);
	if (status != GP_OK) {
		api_state_deinit(&self->since);
		if (status == GP_NO_MEMORY) {
			api_reply_problem(request->exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		} else {
			api_reply_error(request->exchange, &request->query.error);
		}
		return;
	}
	const struct api_job_spec spec = {.mailbox = request->mailbox, .is_fresh_view = true};
	api_job_start(&self->job, &spec);
}
