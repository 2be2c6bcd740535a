/*
 * Looking for a message that was appended, where the server did not say where it is.
 *
 *   SELECT (EXAMINE) the mailbox
 *   UID FETCH uidnext:* (UID RFC822.SIZE)      what has come since
 *   UID FETCH … (UID RFC822.SIZE BODY.PEEK[]<0.4096>)
 *
 * A server whose connection broke may still be at work on what it has read: a message that
 * is not there is looked for again, API_APPEND_LOOKS times in a few seconds, before it is
 * said that it is not.
 */
#include "api/message_append.h"

#define MAX_CANDIDATES 64

static const uint64_t pauses_ms[] = {250, 750, 2000};

#define N_LOOKS (1 + sizeof pauses_ms / sizeof pauses_ms[0])

static void look(struct api_append *self);

void api_append_probe_reset(struct api_append *self)
{
	gp_timer_stop(&self->look_again);
	imap_uidset_deinit(&self->candidates);
}

/* ---- what came of it ---- */

static void fail_unknown(struct api_append *self)
{
	struct gp_error lost = self->lost;

	self->job.exchange->is_outcome_unknown = true;
	api_job_fail(&self->job, api_problem_of(&lost), &lost,
		     "the connection to the IMAP server was lost before it confirmed the message: whether '%s' has it "
		     "cannot be told",
		     api_excerpt(self->job.mailbox_name).text);
}

/* Of no use any more; what is known is replied. */
static void cannot_tell(struct api_job *job)
{
	struct api_append *self = (struct api_append *)job;

	job->report_less = NULL;
	if (self->is_confirmed) {
		/* nobody could look: what the server said stands */
		self->place = self->n_looks == 0 ? self->told : self->place;
		api_append_arrived(self);
	} else {
		fail_unknown(self);
	}
}

static void is_absent(struct api_append *self)
{
	struct gp_error lost = self->lost;

	self->job.report_less = NULL;
	if (self->is_again) {
		api_append_send_again(self);
		return;
	}
	api_job_fail(&self->job, api_problem_of(&lost), &lost,
		     "the connection to the IMAP server was lost before it took the message: '%s' does not have it",
		     api_excerpt(self->job.mailbox_name).text);
}

static void conclude(struct api_append *self)
{
	size_t n_found = self->n_same > 0 ? self->n_same : self->n_likely;

	if (n_found == 1) {
		self->place = self->found;
		self->job.report_less = NULL;
		api_append_arrived(self);
	} else if (n_found == 0 && !self->is_confirmed && self->n_looks < N_LOOKS) {
		gp_timer_start(&self->look_again, pauses_ms[self->n_looks - 1]);
	} else if (n_found > 1 || self->is_confirmed || self->is_in_doubt) {
		cannot_tell(&self->job);
	} else {
		is_absent(self);
	}
}

/* ---- the look ---- */

static void on_head_row(void *ctx, const struct imap_fetch *row)
{
	struct api_append *self = ctx;

	for (size_t i = 0; i < row->n_sections; i++) {
		struct span head = span_slice(row->sections[i].value, 0, API_TRACE_HEAD);
		enum api_trace_match match = api_trace_compare(&self->trace, row->size, head);
		bool is_better = match == API_TRACE_SAME || (match == API_TRACE_LIKELY && self->n_same == 0);
		if (is_better) {
			self->found = (struct imap_copied){.uidvalidity = self->trace.uidvalidity, .uid = row->uid};
		}
		self->n_same += match == API_TRACE_SAME;
		self->n_likely += match == API_TRACE_LIKELY;
	}
}

static void on_heads(void *ctx, const struct gp_error *error)
{
	struct api_append *self = ctx;

	if (api_job_check(&self->job, error)) {
		conclude(self);
	}
}

static void on_new_row(void *ctx, const struct imap_fetch *row)
{
	struct api_append *self = ctx;

	if (self->n_new++ < MAX_CANDIDATES && imap_uidset_add(&self->candidates, row->uid, row->uid) != GP_OK) {
		self->n_new = MAX_CANDIDATES + 1; /* too many for the memory there is */
	}
}

static void on_new_rows(void *ctx, const struct gp_error *error)
{
	static const struct imap_section_spec head = {.section = "", .len = API_TRACE_HEAD};
	struct api_append *self = ctx;

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (self->n_new > MAX_CANDIDATES) {
		cannot_tell(&self->job);
		return;
	}
	if (self->n_new == 0) {
		conclude(self);
		return;
	}
	const struct imap_fetch_spec spec = {
		.uids = &self->candidates,
		.items = IMAP_ITEM_UID | IMAP_ITEM_SIZE | IMAP_ITEM_SECTION,
		.sections = &head,
		.n_sections = 1,
	};
	self->job.call = imap_fetch_start(api_job_session(&self->job), &spec, on_head_row, on_heads, self);
	api_job_started(&self->job, self->job.call);
}

static void look(struct api_append *self)
{
	struct imap_uid_range since = {.first = self->trace.uidnext, .last = IMAP_UID_STAR};
	const struct imap_uidset uids = {.ranges = &since, .n_ranges = 1};
	const struct imap_fetch_spec spec = {.uids = &uids, .items = IMAP_ITEM_UID | IMAP_ITEM_SIZE};

	imap_uidset_deinit(&self->candidates);
	self->n_looks++;
	self->n_new = self->n_same = self->n_likely = 0;
	self->job.call = imap_fetch_start(api_job_session(&self->job), &spec, on_new_row, on_new_rows, self);
	api_job_started(&self->job, self->job.call);
}

static void on_fresh(void *ctx, const struct gp_error *error)
{
	struct api_append *self = ctx;

	if (api_job_check(&self->job, error)) {
		look(self);
	}
}

static void on_look_again(struct gp_timer *timer)
{
	struct api_append *self = timer->ctx;

	self->job.call = imap_noop_start(api_job_session(&self->job), on_fresh, self);
	api_job_started(&self->job, self->job.call);
}

static void on_selected(struct api_job *job)
{
	struct api_append *self = (struct api_append *)job;

	const struct imap_selected *now = api_job_selected(job);
	bool is_another = now->uidvalidity != self->trace.uidvalidity;

	/* Courier gives a mailbox that was never open for writing another UIDVALIDITY each time, also in APPENDUID,
	 * which is right. What had never held a message, or holds none now, is looked through: the one that is there is
	 * the one that was sent. */
	if (is_another && self->told.uid != 0) {
		cannot_tell(job);
		return;
	}
	if (self->trace.uidnext == 0 || (is_another && now->exists > 0 && self->trace.uidnext > 1)) {
		cannot_tell(job);
		return;
	}
	self->is_in_doubt = is_another && now->exists > 0;
	if (is_another) {
		self->trace.uidvalidity = now->uidvalidity;
		self->trace.uidnext = 1;
	}
	look(self);
}

void api_append_probe(struct api_append *self)
{
	self->n_looks = 0;
	gp_timer_init(&self->look_again, self->job.app->timers, on_look_again, self);
	api_job_report_from(&self->job, self->job.mailbox_name, on_selected, cannot_tell);
}
