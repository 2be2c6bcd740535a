#include "api/job.h"

#include <stdarg.h>
#include <stdio.h>

#include "api/auth.h"
#include "api/conditional.h"
#include "api/etag.h"
#include "api/idempotency.h"
#include "api/query.h"
#include "api/role.h"
#include "api/throttle.h"
#include "base/limits.h"
#include "base/log.h"

#define MAX_RETRIES 1
#define MAX_DETAIL 512

static void start_lease(struct api_job *job);

/* Where it starts, or was moved to. */
static struct api_job_place place_of(const struct api_job *job)
{
	if (job->is_moved) {
		return job->place;
	}
	return (struct api_job_place){
		.mailbox = job->spec.is_named_only ? SPAN_NIL : job->mailbox_name,
		.is_write = job->spec.is_write,
		.is_bulk = job->spec.is_bulk,
		.is_alone = job->spec.is_alone,
	};
}

/* ---- time ---- */

static void begin_wait(struct api_job *job)
{
	job->wait_started_us = job->app->now_us();
}

/* Adds the time since begin_wait() to what the server took. */
static void count_wait(struct api_job *job)
{
	if (job->wait_started_us != 0 && job->exchange) {
		job->exchange->imap_us += job->app->now_us() - job->wait_started_us;
	}
	job->wait_started_us = 0;
}

/* ---- the end ---- */

static void stop_work(struct api_job *job, bool is_suspect)
{
	if (job->handler->stop) {
		job->handler->stop(job);
	}
	for (size_t i = 0; i < sizeof job->beside / sizeof job->beside[0]; i++) {
		imap_call_cancel(&job->beside[i]);
	}
	imap_call_cancel(&job->call);
	imap_stream_cancel(&job->stream);
	imap_append_cancel(&job->append);
	imap_lease_end(&job->lease, is_suspect);
}

/* Something was written, or may have been. */
static void tell_written(struct api_job *job)
{
	struct api_app *app = job->app;

	if (!job->is_committed || job->is_told || !app->written) {
		return;
	}
	job->is_told = true;
	app->written(app->hubs, job->credential, job->mailbox_name);
	if (!span_is_nil(job->also_written)) {
		app->written(app->hubs, job->credential, job->also_written);
	}
}

/* Where an answer is missing, nobody knows what became of it. */
static bool may_have_written(const struct api_job *job)
{
	return job->is_writing && job->is_committed;
}

/* Gives the exchange back. */
static struct api_exchange *end(struct api_job *job)
{
	struct api_exchange *exchange = job->exchange;

	tell_written(job);
	exchange->has_changed |= job->is_committed && !exchange->is_streaming;
	count_wait(job);
	stop_work(job, false);
	gp_timer_stop(&job->deadline);
	if (job->handler->free) {
		job->handler->free(job);
	}
	imap_credential_unref(&job->credential);
	job->exchange = NULL;
	exchange->gone = NULL;
	exchange->gone_ctx = NULL;
	return exchange;
}

struct api_exchange *api_job_finish(struct api_job *job)
{
	api_auth_check_owner(job->exchange, job->credential);
	return end(job);
}

bool api_job_is_settled(struct api_job *job, const char *etag)
{
	unsigned status = api_precondition(job->exchange, etag);

	if (status != 0) {
		char kept[API_ETAG_SIZE]; /* the job's end may empty its own */
		snprintf(kept, sizeof kept, "%s", etag);
		api_reply_precondition(api_job_finish(job), status, kept);
	}
	return status != 0;
}

static void on_gone(void *ctx)
{
	struct api_job *job = ctx;

	api_throttle_leave(job->exchange);
	api_idempotency_leave(job->exchange, may_have_written(job));
	(void)end(job); /* nobody is told anything */
}

void api_job_fail(struct api_job *job, enum api_problem problem, const struct gp_error *error, const char *detail, ...)
{
	char text[MAX_DETAIL];
	char whole[2 * MAX_DETAIL];
	const char *told = NULL;

	if (detail) {
		va_list args;
		va_start(args, detail);
		vsnprintf(text, sizeof text, detail, args);
		va_end(args);
		told = text;
	}
	const char *before = job->so_far ? job->so_far : job->doing;
	if (before) {
		const char *why = error && error->text[0] != '\0' ? error->text : api_problem_title(problem);
		snprintf(whole, sizeof whole, "%s%s%s", before, job->so_far ? "; then: " : ": ", told ? told : why);
		told = whole;
	}
	struct api_exchange *exchange = api_job_finish(job);
	/* There is no memory to tell what became of it. */
	exchange->is_outcome_unknown |=
		problem == API_PROBLEM_UNAVAILABLE && !error && exchange->has_changed && !before;
	if (exchange->is_streaming) {
		gp_log(GP_LOG_WARN, "http", "req=%s body breaks off: %s", exchange->request_id,
		       error ? gp_status_name(error->status) : api_problem_slug(problem));
		exchange->ops->stream_end(exchange, false);
		return;
	}
	api_reply_problem(exchange, problem, error, told ? "%s" : NULL, told);
}

void api_job_fail_no_message(struct api_job *job, uint32_t uid)
{
	api_job_fail(job, API_PROBLEM_NOT_FOUND, NULL, "there is no message with UID %u here", uid);
}

/* A stream whose reader leaves no room for a window: nothing is asked of the server. */
static bool waits_for_reader(const struct api_job *job)
{
	return job->exchange->is_streaming && job->exchange->ops->stream_room(job->exchange) < GP_STREAM_WINDOW;
}

static void on_deadline(struct gp_timer *timer)
{
	struct api_job *job = timer->ctx;
	bool is_running = job->call || job->stream || job->append || job->beside[0] || job->beside[1] ||
			  (job->has_run && job->wait_started_us != 0);
	struct gp_error error = {0};

	if (job->report_less) {
		stop_work(job, is_running);
		job->report_less(job);
		return;
	}
	gp_error_set(&error, GP_DEADLINE, "%s", gp_status_text(GP_DEADLINE));
	job->exchange->is_outcome_unknown = may_have_written(job);
	count_wait(job);
	/* A session that was silent until now may wake up in the midst of the next answer. */
	stop_work(job, is_running && !waits_for_reader(job));
	api_job_fail(job, API_PROBLEM_UPSTREAM_TIMEOUT, &error, "%s within %llu s",
		     is_running ? "the IMAP server did not answer" : "no IMAP session became free",
		     (unsigned long long)(job->app->request_timeout_ms / 1000));
}

/* ---- errors on the way ---- */

/* Lost before anything was passed on or written: once more, from nothing. */
static bool may_retry(const struct api_job *job, const struct gp_error *error)
{
	return error->status == GP_LOST && !job->is_committed && !job->is_used_up && !job->exchange->is_streaming &&
	       job->n_retries < MAX_RETRIES;
}

bool api_job_is_answer_lost(const struct gp_error *error)
{
	return error->status == GP_LOST || error->status == GP_DEADLINE || error->status == GP_PROTOCOL ||
	       error->status == GP_TLS || error->status == GP_IO || error->status == GP_NO_MEMORY;
}

static void fail_lost(struct api_job *job)
{
	struct gp_error error = job->lost;

	job->report_less = NULL;
	job->exchange->is_outcome_unknown = true;
	api_job_fail(job, api_problem_of(&error), &error, NULL);
}

/* The answer of a write was lost: what another session sees may tell what became of it. */
static void start_probe(struct api_job *job, const struct gp_error *error)
{
	void (*probe)(struct api_job * job_) = job->probe;

	gp_log(GP_LOG_DEBUG, "http", "req=%s probe: %s", job->exchange->request_id, gp_status_name(error->status));
	job->probe = NULL;
	job->lost = *error;
	count_wait(job);
	stop_work(job, false);
	api_job_report_from(job, job->mailbox_name, probe, fail_lost);
}

static void deal_with(struct api_job *job, const struct gp_error *borrowed)
{
	/* what ends here may own the text */
	struct gp_error error = *borrowed;

	if (job->report_less) {
		gp_log(GP_LOG_INFO, "http", "req=%s no report: %s", job->exchange->request_id,
		       gp_status_name(error.status));
		job->report_less(job);
		return;
	}
	if (may_retry(job, &error)) {
		gp_log(GP_LOG_DEBUG, "http", "req=%s retry: %s", job->exchange->request_id,
		       gp_status_name(error.status));
		count_wait(job);
		stop_work(job, false);
		if (job->has_run && job->handler->reset) {
			job->handler->reset(job);
		}
		job->n_retries++;
		job->has_run = false;
		job->is_moved = false;
		job->next = NULL;
		start_lease(job);
		return;
	}
	if (job->probe && job->is_committed && error.status == GP_LOST) {
		start_probe(job, &error);
		return;
	}
	job->exchange->is_outcome_unknown =
		may_have_written(job) && (job->is_unconfirmed || api_job_is_answer_lost(&error));
	if (error.status == GP_NOT_FOUND && !job->has_run && job->mailbox_name.len > 0) {
		api_job_fail(job, API_PROBLEM_NOT_FOUND, &error, "there is no mailbox '%s'",
			     api_excerpt(job->mailbox_name).text);
		return;
	}
	api_job_fail(job, api_problem_of(&error), &error, NULL);
}

void api_job_ended(struct api_job *job)
{
	job->call = NULL;
	job->stream = NULL;
	job->append = NULL;
	count_wait(job);
}

bool api_job_check(struct api_job *job, const struct gp_error *error)
{
	static const struct gp_error no_memory = {.status = GP_NO_MEMORY, .text = "out of memory"};

	api_job_ended(job);
	if (!error && job->exchange->arena.is_short && !job->is_committed) {
		/* What came may not all have found its place. */
		error = &no_memory;
	}
	if (!error) {
		return true;
	}
	deal_with(job, error);
	return false;
}

bool api_job_started(struct api_job *job, const void *call_or_stream)
{
	if (!call_or_stream) {
		struct gp_error error = {0};
		if (job->report_less) {
			job->report_less(job);
			return false;
		}
		gp_error_set(&error, GP_NO_MEMORY, "%s", gp_status_text(GP_NO_MEMORY));
		/* A step before this one may have been made. */
		job->exchange->is_outcome_unknown |= may_have_written(job) && !job->so_far;
		api_job_fail(job, API_PROBLEM_UNAVAILABLE, &error, NULL);
		return false;
	}
	job->exchange->has_changed |= job->is_committed;
	begin_wait(job);
	return true;
}

void api_job_pause(struct api_job *job)
{
	count_wait(job);
	gp_timer_stop(&job->deadline);
}

void api_job_touch(struct api_job *job)
{
	if (job->wait_started_us != 0 || job->append) {
		count_wait(job);
		begin_wait(job);
	}
	gp_timer_start(&job->deadline, job->app->request_timeout_ms);
}

void api_job_expect_rows(struct api_job *job, const struct imap_uidset *uids)
{
	job->n_rows_due = imap_uidset_count(uids);
}

void api_job_row_came(struct api_job *job)
{
	if (job->n_rows_due > 0) {
		job->n_rows_due--;
		api_job_touch(job);
	}
}

/* ---- the way to run() ---- */

static void on_roles(void *ctx, const struct gp_error *error, const struct imap_mailbox *mailboxes, size_t n_mailboxes)
{
	struct api_job *job = ctx;

	if (!api_job_check(job, error)) {
		return;
	}
	const char *role = job->spec.mailbox.role;
	const struct imap_mailbox *mailbox = api_role_mailbox(job->app->roles, role, mailboxes, n_mailboxes);
	if (!mailbox) {
		api_job_fail(job, API_PROBLEM_NOT_FOUND, NULL, "no mailbox has the role '%s'", role);
		return;
	}
	if (!gp_arena_copy(&job->exchange->arena, mailbox->name, &job->mailbox_name)) {
		api_job_fail(job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	imap_lease_end(&job->lease, false);
	start_lease(job);
}

static bool is_role_open(const struct api_job *job)
{
	return job->spec.mailbox.role && span_is_nil(job->mailbox_name);
}

static void run(struct api_job *job)
{
	const struct imap_selected *selected = api_job_selected(job);

	if (job->report) {
		job->report(job);
		return;
	}
	if (job->next) {
		void (*next)(struct api_job * job_) = job->next;
		job->next = NULL;
		next(job);
		return;
	}
	if (job->spec.has_uidvalidity && !job->spec.is_named_only && selected->uidvalidity != job->spec.uidvalidity) {
		api_job_fail(job, API_PROBLEM_GONE, NULL,
			     "the mailbox '%s' has UIDVALIDITY %u now, not %u: its UIDs name other messages",
			     api_excerpt(job->mailbox_name).text, (unsigned)selected->uidvalidity,
			     (unsigned)job->spec.uidvalidity);
		return;
	}
	job->has_run = true;
	job->handler->run(job);
}

static void on_fresh(void *ctx, const struct gp_error *error)
{
	struct api_job *job = ctx;

	if (api_job_check(job, error)) {
		run(job);
	}
}

/*
 * What other clients were told before this request is to be in its answer. A mailbox
 * that was selected earlier is brought up to date by NOOP, and its end is waited for:
 * servers put the work of a NOOP off while more commands stand behind it (Dovecot
 * answers those first, from the old state).
 */
static void freshen(struct api_job *job)
{
	/* What is uploaded reads nothing, nor does what only names its mailbox. */
	bool reads_nothing = place_of(job).is_alone || (job->spec.is_named_only && !job->is_moved);

	if (reads_nothing || imap_lease_is_fresh(job->lease)) {
		run(job);
		return;
	}
	job->call = imap_noop_start(api_job_session(job), on_fresh, job);
	(void)api_job_started(job, job->call);
}

static void on_lease(void *ctx, struct imap_lease *lease, const struct gp_error *error)
{
	struct api_job *job = ctx;

	if (error) {
		job->lease = NULL;
		count_wait(job);
		deal_with(job, error);
		return;
	}
	uint64_t queue_us = imap_lease_queue_ms(lease) * 1000, waited_us = job->app->now_us() - job->wait_started_us;
	/* From here on the exchange is given what this session says. */
	api_auth_check_owner(job->exchange, imap_lease_credential(lease));
	api_throttle_prove(job->exchange);
	job->exchange->queue_us += queue_us;
	job->exchange->imap_us += waited_us > queue_us ? waited_us - queue_us : 0;
	job->wait_started_us = 0;
	job->leased_us = job->app->now_us();

	if (is_role_open(job)) {
		const struct imap_list_spec list = {.pattern = SPAN_LIT("*")};
		job->call = imap_list_start(imap_lease_session(lease), &list, on_roles, job);
		(void)api_job_started(job, job->call);
		return;
	}
	freshen(job);
}

static void start_lease(struct api_job *job)
{
	const struct api_job_place place = place_of(job);

	if (!gp_timer_is_running(&job->deadline)) {
		gp_timer_start(&job->deadline, job->app->request_timeout_ms); /* it was paused */
	}
	const struct imap_lease_spec spec = {
		.credential = job->credential,
		.mailbox = place.mailbox,
		.is_write = place.is_write,
		.is_bulk = place.is_bulk,
		.is_alone = place.is_alone,
		.target = place.is_alone ? job->mailbox_name : SPAN_NIL,
		.is_fresh_view = job->spec.is_fresh_view && !is_role_open(job),
		.deadline_at_ms = job->deadline.at_ms,
	};

	job->lease = imap_lease_start(job->app->pool, &spec, on_lease, job);
	/* Behind the lease's own deadline: of the two, the pool knows what was waited for. */
	if (api_job_started(job, job->lease)) {
		gp_timer_start_at(&job->deadline, spec.deadline_at_ms);
	}
}

void api_job_move_to(struct api_job *job, const struct api_job_place *place, void (*next)(struct api_job *job))
{
	stop_work(job, false);
	job->place = *place;
	job->is_moved = true;
	job->next = next;
	start_lease(job);
}

void api_job_report_from(struct api_job *job, struct span mailbox, void (*report)(struct api_job *job),
			 void (*report_less)(struct api_job *job))
{
	tell_written(job);
	stop_work(job, false);
	job->mailbox_name = mailbox;
	job->is_writing = false;
	job->place = (struct api_job_place){.mailbox = mailbox};
	job->is_moved = true;
	job->report = report;
	job->report_less = report_less;
	start_lease(job);
}

void api_job_park(struct api_job *job)
{
	count_wait(job);
	stop_work(job, false);
	gp_timer_stop(&job->deadline);
}

void api_job_resume(struct api_job *job)
{
	job->n_retries = 0;
	gp_timer_start(&job->deadline, job->app->request_timeout_ms);
	start_lease(job);
}

void *api_job_new(struct api_app *app, struct api_exchange *exchange, const struct api_target *target,
		  struct imap_credential *credential, size_t size, const struct api_job_handler *handler)
{
	struct api_job *job = size < sizeof *job ? NULL : gp_arena_alloc(&exchange->arena, size);

	if (!job) {
		api_reply_problem(exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return NULL;
	}
	job->app = app;
	job->exchange = exchange;
	job->handler = handler;
	job->target = *target;
	job->credential = credential; /* the caller's, until the job starts */
	gp_timer_init(&job->deadline, app->timers, on_deadline, job);
	return job;
}

void api_job_start(struct api_job *job, const struct api_job_spec *spec)
{
	const char *role = spec->mailbox.role;

	job->spec = *spec;
	job->is_writing = spec->is_write;
	job->credential = imap_credential_ref(job->credential);
	job->exchange->gone = on_gone;
	job->exchange->gone_ctx = job;
	/* INBOX has no case and needs no asking: one name for it, in replies and in the pool */
	if ((role && strcmp(role, "inbox") == 0) || span_equal_text_nocase(spec->mailbox.name, "INBOX")) {
		job->mailbox_name = SPAN_LIT("INBOX");
	} else if (!role && spec->mailbox.name.len > 0) {
		job->mailbox_name = spec->mailbox.name;
	}
	gp_timer_start(&job->deadline, job->app->request_timeout_ms);
	start_lease(job);
}

struct imap_session *api_job_session(const struct api_job *job)
{
	return imap_lease_session(job->lease);
}

const struct imap_selected *api_job_selected(const struct api_job *job)
{
	return imap_session_selected(imap_lease_session(job->lease));
}
