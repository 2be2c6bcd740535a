/*
 * The runs of a bulk change. `run` holds the messages that are still to be done; each
 * step takes out of it those that are settled, and when it is empty the next run begins.
 *
 * What is believed is what message_move.c believes of one message: COPYUID, or a look
 * afterwards. A look also tells which messages were gone all the while, for which
 * servers answer OK.
 */
#include "api/message_bulk.h"

#define MAX_REFUSED 5 /* runs in a row: then no further one is tried */

static struct api_bulk *bulk_of(void *ctx)
{
	return ctx;
}

static bool can(const struct api_bulk *self, enum imap_capability capability)
{
	return imap_session_can(api_job_session(&self->job), capability);
}

static bool has_keywords(const struct api_bulk *self)
{
	return self->keywords.n_set + self->keywords.n_clear > 0;
}

static bool has_target(const struct api_bulk *self)
{
	return !span_is_nil(self->target) && !span_equal(self->target, self->source);
}

static void reset_look(struct api_bulk *self)
{
	imap_uidset_deinit(&self->there);
	imap_uidset_deinit(&self->lacking);
	imap_uidset_deinit(&self->changed);
}

void api_bulk_run_reset(struct api_bulk *self)
{
	imap_uidset_deinit(&self->run);
	imap_uidset_deinit(&self->confirmed);
	reset_look(self);
	self->stage = API_BULK_BEFORE;
}

static void note_failure(struct api_bulk *self, enum gp_status status)
{
	if (self->result.failure == GP_OK) {
		self->result.failure = status;
	}
}

/* ---- settling ---- */

/* Leaves in the run what is in it and not in `uids`. */
static void take_out(struct api_bulk *self, const struct imap_uidset *uids)
{
	struct imap_uidset rest;

	imap_uidset_init(&rest);
	note_failure(self, imap_uidset_add_difference(&rest, &self->run, uids));
	imap_uidset_deinit(&self->run);
	self->run = rest;
}

static struct imap_uidset common(struct api_bulk *self, const struct imap_uidset *a, const struct imap_uidset *b)
{
	struct imap_uidset set;

	imap_uidset_init(&set);
	note_failure(self, imap_uidset_add_common(&set, a, b));
	return set;
}

static struct imap_uidset difference(struct api_bulk *self, const struct imap_uidset *a, const struct imap_uidset *b)
{
	struct imap_uidset set;

	imap_uidset_init(&set);
	note_failure(self, imap_uidset_add_difference(&set, a, b));
	return set;
}

/* Those of the run that are in `uids` have this problem, and are through. `uids` is freed. */
static void settle(struct api_bulk *self, struct imap_uidset uids, enum api_problem problem,
		   const struct gp_error *error, const char *detail, bool is_outcome_unknown)
{
	struct imap_uidset ours = common(self, &uids, &self->run);

	api_bulk_result_add_problem(&self->result, &ours, problem, error, detail, is_outcome_unknown);
	take_out(self, &ours);
	imap_uidset_deinit(&ours);
	imap_uidset_deinit(&uids);
}

static void settle_changed(struct api_bulk *self, struct imap_uidset uids)
{
	struct imap_uidset ours = common(self, &uids, &self->run);

	api_bulk_result_add_changed(&self->result, &ours);
	take_out(self, &ours);
	imap_uidset_deinit(&ours);
	imap_uidset_deinit(&uids);
}

static struct imap_uidset whole_run(struct api_bulk *self)
{
	return common(self, &self->run, &self->run);
}

static struct imap_uidset absent(struct api_bulk *self)
{
	return difference(self, &self->run, &self->there);
}

/* In the arena: `then` may be the error's own text. */
static const char *join(struct api_bulk *self, const char *so_far, const char *then)
{
	const char *text = gp_arena_printf(&self->job.exchange->arena, "%s; then: %s", so_far, then);

	return text ? text : so_far;
}

/* ---- the end of a run ---- */

static void begin_run(struct api_bulk *self);

/* The rest, in which nothing was sent: not because of themselves. */
static void settle_rest(struct api_bulk *self, const struct gp_error *error)
{
	struct imap_uidset rest;
	size_t n_rest;

	/* In few words: they may be many. */
	const char *detail = gp_arena_printf(&self->job.exchange->arena, "this message was not tried: before it, %s",
					     gp_status_text(error->status));
	imap_uidset_init(&rest);
	note_failure(self, imap_uidset_highest(&self->picked, self->below, API_BULK_MAX, &rest, &n_rest));
	api_bulk_result_add_problem(&self->result, &rest, api_problem_of(error), NULL,
				    detail ? detail : "this message was not tried", false);
	imap_uidset_deinit(&rest);
	self->below = 0;
}

/* What the run under way came to when no answer follows any more. */
static void settle_cut(struct api_bulk *self, const struct gp_error *error)
{
	static const char stored[] = "the keywords were changed, and the message was not moved";
	static const char copied[] = "the message was copied";
	enum api_problem problem = api_problem_of(error);
	const char *text = error->text;

	switch (self->stage) {
	case API_BULK_BEFORE:
		settle(self, whole_run(self), problem, error, join(self, "this message was not tried", text), false);
		break;
	case API_BULK_STORED:
		if (!has_target(self)) {
			settle_changed(self, whole_run(self)); /* the server said OK */
		} else {
			settle(self, whole_run(self), problem, error, join(self, stored, text), false);
		}
		break;
	case API_BULK_MOVED:
		settle_changed(self, common(self, &self->confirmed, &self->run));
		settle(self, whole_run(self), problem, error, NULL, true);
		break;
	case API_BULK_COPIED:
		settle(self, common(self, &self->confirmed, &self->run), problem, error,
		       join(self, "the message was copied, and is still here", text), false);
		settle(self, whole_run(self), problem, error, NULL, true);
		break;
	case API_BULK_REMOVING:
		settle(self, whole_run(self), problem, error, self->is_permanent ? NULL : join(self, copied, text),
		       true);
		break;
	case API_BULK_MOVING:
		settle(self, common(self, &self->confirmed, &self->run), problem, error, join(self, copied, text),
		       true);
		settle(self, whole_run(self), problem, error, NULL, true);
		break;
	case API_BULK_STORING:
	case API_BULK_COPYING:
		settle(self, whole_run(self), problem, error, NULL, true);
		break;
	}
}

static void cut(struct api_bulk *self, const struct gp_error *error)
{
	settle_cut(self, error);
	settle_rest(self, error);
	api_bulk_reply(self);
}

/* In place of a problem for all, once something has been decided: the deadline. */
static void report_less(struct api_job *job)
{
	struct gp_error error = {.status = GP_OK};

	gp_error_set(&error, GP_DEADLINE, "%s", gp_status_text(GP_DEADLINE));
	cut(bulk_of(job), &error);
}

static bool is_refusal(const struct gp_error *error)
{
	return error->status == GP_NO || error->status == GP_BAD || error->status == GP_NOT_FOUND ||
	       error->status == GP_UNSUPPORTED;
}

/*
 * First thing in each done of a step. True: go on; self->error holds a refusal, if any.
 * False: the job has ended.
 */
static bool goes_on(struct api_bulk *self, const struct gp_error *borrowed)
{
	self->has_error = borrowed != NULL;
	if (!borrowed) {
		api_job_ended(&self->job);
		api_job_touch(&self->job);
		return true;
	}
	self->error = *borrowed;
	bool is_nothing_decided = self->job.report_less == NULL;
	if (is_nothing_decided && borrowed->status == GP_NOT_FOUND) {
		api_job_ended(&self->job);
		api_job_fail(&self->job, API_PROBLEM_NOT_FOUND, &self->error,
			     "there is no mailbox '%s' to put them into", api_excerpt(self->target).text);
		return false;
	}
	if (is_nothing_decided && !is_refusal(borrowed)) {
		return api_job_check(&self->job, borrowed);
	}
	api_job_ended(&self->job);
	if (!is_refusal(borrowed)) {
		cut(self, &self->error);
		return false;
	}
	return true;
}

static void end_run(struct api_bulk *self)
{
	bool is_final = self->has_error && (self->error.code[0] != '\0' || self->error.status != GP_NO);

	self->n_refused = self->has_error ? self->n_refused + 1 : 0;
	is_final |= self->n_refused == MAX_REFUSED;
	self->job.report_less = report_less;
	if (is_final) {
		settle_rest(self, &self->error);
	}
	begin_run(self);
}

/* The refusal is what became of the whole run. */
static void refuse_run(struct api_bulk *self, const char *so_far)
{
	settle(self, whole_run(self), api_problem_of(&self->error), &self->error,
	       so_far ? join(self, so_far, self->error.text) : NULL, false);
	end_run(self);
}

/* ---- looking ---- */

static void on_look_row(void *ctx, const struct imap_fetch *row)
{
	struct api_bulk *self = bulk_of(ctx);
	bool is_lacking = false;

	if (!imap_uidset_contains(&self->run, row->uid)) {
		return;
	}
	note_failure(self, imap_uidset_add(&self->there, row->uid, row->uid));
	for (size_t i = 0; i < self->keywords.n_set && row->items & IMAP_ITEM_FLAGS; i++) {
		is_lacking |= !api_row_has_flag(row, self->keywords.set[i]);
	}
	if (is_lacking) {
		note_failure(self, imap_uidset_add(&self->lacking, row->uid, row->uid));
	}
	if (row->items & IMAP_ITEM_MODSEQ && row->modseq > self->unchanged_since) {
		note_failure(self, imap_uidset_add(&self->changed, row->uid, row->uid));
	}
}

static void on_look(void *ctx, const struct gp_error *error)
{
	struct api_bulk *self = bulk_of(ctx);
	struct gp_error refusal = self->error;
	bool had_error = self->has_error;

	if (!goes_on(self, error)) {
		return;
	}
	if (self->has_error && self->job.report_less) {
		cut(self, &self->error); /* it will not say what is there */
		return;
	}
	if (self->has_error) {
		api_job_fail(&self->job, api_problem_of(&self->error), &self->error, NULL);
		return;
	}
	self->error = refusal;
	self->has_error = had_error;
	self->next(self);
}

/* What of the run is there now, then next(). What was refused before stays noted. */
static void look(struct api_bulk *self, enum api_bulk_stage stage, api_bulk_fn next)
{
	const struct imap_fetch_spec spec = {.uids = &self->run,
					     .items = IMAP_ITEM_UID | IMAP_ITEM_FLAGS | IMAP_ITEM_MODSEQ};

	reset_look(self);
	self->stage = stage;
	if (stage != API_BULK_BEFORE) {
		self->job.report_less = report_less; /* something was answered */
	}
	self->next = next;
	self->job.call = imap_fetch_start(api_job_session(&self->job), &spec, on_look_row, on_look, self);
	api_job_started(&self->job, self->job.call);
}

static void settle_absent(struct api_bulk *self)
{
	settle(self, absent(self), API_PROBLEM_NOT_FOUND, NULL, "there is no message with this UID here", false);
}

static void settle_modified(struct api_bulk *self, struct imap_uidset uids, const char *so_far)
{
	static const char changed[] = "the message has been changed since: read it again";

	settle(self, uids, API_PROBLEM_PRECONDITION_FAILED, NULL, so_far ? join(self, so_far, changed) : changed,
	       false);
}

/* ---- removing: exactly these ---- */

static void after_removal(struct api_bulk *self)
{
	settle_changed(self, absent(self));
	if (self->has_error) {
		refuse_run(self, self->is_permanent ? "the message was marked as deleted"
						    : "the message was copied, and marked as deleted");
		return;
	}
	settle(self, whole_run(self), API_PROBLEM_UNPROCESSABLE, NULL,
	       "the IMAP server said OK, but the message is still there: this account may not be allowed to remove it",
	       false);
	end_run(self);
}

static void on_expunged(void *ctx, const struct gp_error *error)
{
	struct api_bulk *self = bulk_of(ctx);

	if (goes_on(self, error)) {
		look(self, API_BULK_REMOVING, after_removal);
	}
}

/* After a STORE: who had changed is settled. False: it has failed, or nothing of the run is left. */
static bool goes_on_stored(struct api_bulk *self, const struct gp_error *error, const struct imap_uidset *modified,
			   const char *so_far)
{
	struct imap_uidset refused = common(self, modified, &self->run);

	if (!goes_on(self, error)) {
		imap_uidset_deinit(&refused);
		return false;
	}
	settle_modified(self, refused, so_far);
	if (self->has_error) {
		refuse_run(self, so_far);
		return false;
	}
	if (imap_uidset_is_empty(&self->run)) {
		end_run(self);
		return false;
	}
	return true;
}

static void on_marked(void *ctx, const struct gp_error *error, const struct imap_uidset *modified)
{
	struct api_bulk *self = bulk_of(ctx);
	const char *so_far = self->is_permanent ? NULL : "the message was copied, and is still here";

	if (!goes_on_stored(self, error, modified, so_far)) {
		return;
	}
	if (!can(self, IMAP_CAP_UIDPLUS)) {
		api_bulk_result_add_remains(&self->result, &self->run);
		settle_changed(self, whole_run(self));
		end_run(self);
	} else {
		self->job.call = imap_expunge_set_start(api_job_session(&self->job), &self->run, on_expunged, self);
		api_job_started(&self->job, self->job.call);
	}
}

static void mark(struct api_bulk *self)
{
	self->stage = API_BULK_REMOVING;
	if (!self->is_permanent) {
		self->job.report_less = report_less; /* they are copied */
	}
	self->job.is_committed = true;
	self->job.call = imap_mark_deleted_start(api_job_session(&self->job), &self->run,
						 self->has_unchanged_since ? self->modseq : 0, NULL, on_marked, self);
	api_job_started(&self->job, self->job.call);
}

/* ---- moving ---- */

static void take_copies(struct api_bulk *self, const struct imap_copies *copies)
{
	imap_uidset_deinit(&self->confirmed);
	for (size_t i = 0; i < copies->n_pairs; i++) {
		uint32_t uid = copies->pairs[i].source;
		note_failure(self, imap_uidset_add(&self->confirmed, uid, uid));
	}
	api_bulk_result_add_copies(&self->result, copies);
}

static void settle_vanished(struct api_bulk *self, struct imap_uidset uids)
{
	settle(self, uids, API_PROBLEM_NOT_FOUND, NULL,
	       "the message is gone, and the IMAP server does not say that it put it into the other mailbox: perhaps "
	       "another client was first",
	       true);
}

static void after_move(struct api_bulk *self)
{
	struct imap_uidset gone = absent(self);

	/* A server with UIDPLUS that moves says where to. */
	settle_changed(self, can(self, IMAP_CAP_UIDPLUS) ? common(self, &gone, &self->confirmed)
							 : common(self, &gone, &gone));
	imap_uidset_deinit(&gone);
	settle_vanished(self, absent(self));
	if (self->has_error) {
		refuse_run(self, NULL);
		return;
	}
	settle(self, whole_run(self), API_PROBLEM_UNPROCESSABLE, NULL,
	       "the IMAP server said OK, but the message is still there: this account may not be allowed to remove it",
	       false);
	end_run(self);
}

static void on_moved(void *ctx, const struct gp_error *error, const struct imap_copies *copies)
{
	struct api_bulk *self = bulk_of(ctx);

	take_copies(self, copies);
	if (!goes_on(self, error)) {
		return;
	}
	if (!self->has_error) {
		settle_changed(self, common(self, &self->confirmed, &self->run));
	}
	if (imap_uidset_is_empty(&self->run)) {
		end_run(self);
	} else {
		look(self, API_BULK_MOVED, after_move);
	}
}

static void after_copy(struct api_bulk *self)
{
	/* What is there after the COPY was there during it. */
	struct imap_uidset gone = absent(self);
	struct imap_uidset lost = difference(self, &gone, &self->confirmed);

	imap_uidset_deinit(&gone);
	settle_vanished(self, lost);
	if (imap_uidset_is_empty(&self->run)) {
		end_run(self);
	} else {
		mark(self);
	}
}

static void on_copied(void *ctx, const struct gp_error *error, const struct imap_copies *copies)
{
	struct api_bulk *self = bulk_of(ctx);

	take_copies(self, copies);
	if (!goes_on(self, error)) {
		return;
	}
	if (self->has_error) {
		refuse_run(self, NULL);
		return;
	}
	struct imap_uidset rest = difference(self, &self->run, &self->confirmed);
	bool is_all_confirmed = imap_uidset_is_empty(&rest);
	imap_uidset_deinit(&rest);
	if (is_all_confirmed) {
		mark(self);
	} else {
		look(self, API_BULK_COPIED, after_copy);
	}
}

static void move(struct api_bulk *self)
{
	bool is_move = can(self, IMAP_CAP_MOVE);

	self->stage = is_move ? API_BULK_MOVING : API_BULK_COPYING;
	self->job.is_committed = true;
	self->job.also_written = self->target;
	self->job.call = imap_copy_set_start(api_job_session(&self->job), &self->run, self->target, is_move,
					     is_move ? on_moved : on_copied, self);
	api_job_started(&self->job, self->job.call);
}

/* ---- keywords ---- */

static void after_keywords(struct api_bulk *self)
{
	settle_absent(self);
	settle(self, common(self, &self->lacking, &self->run), API_PROBLEM_UNPROCESSABLE, NULL,
	       has_target(self) ? "the IMAP server did not keep every keyword, and the message was not moved"
				: "the IMAP server did not keep every keyword: this mailbox allows no new ones",
	       false);
	if (has_target(self) && !imap_uidset_is_empty(&self->run)) {
		move(self);
		return;
	}
	settle_changed(self, whole_run(self));
	end_run(self);
}

/* What our own change made of the messages is no change by others. */
static void on_stored_row(void *ctx, const struct imap_fetch *row)
{
	struct api_bulk *self = bulk_of(ctx);

	if (row->items & IMAP_ITEM_MODSEQ && row->modseq > self->modseq) {
		self->modseq = row->modseq;
	}
}

static void store(struct api_bulk *self, bool is_clearing);

static void after_store(struct api_bulk *self, const struct gp_error *error, const struct imap_uidset *modified,
			bool is_clearing)
{
	const char *so_far = is_clearing && self->keywords.n_set > 0 ? "keywords were set" : NULL;

	if (!goes_on_stored(self, error, modified, so_far)) {
		return;
	}
	if (!is_clearing && self->keywords.n_clear > 0) {
		store(self, true);
	} else {
		look(self, API_BULK_STORED, after_keywords);
	}
}

static void on_set(void *ctx, const struct gp_error *error, const struct imap_uidset *modified)
{
	after_store(bulk_of(ctx), error, modified, false);
}

static void on_cleared(void *ctx, const struct gp_error *error, const struct imap_uidset *modified)
{
	after_store(bulk_of(ctx), error, modified, true);
}

static void store(struct api_bulk *self, bool is_clearing)
{
	const struct imap_store_spec spec = {
		.uids = &self->run,
		.mode = is_clearing ? IMAP_STORE_REMOVE : IMAP_STORE_ADD,
		.flags = is_clearing ? self->keywords.clear : self->keywords.set,
		.n_flags = is_clearing ? self->keywords.n_clear : self->keywords.n_set,
		.is_silent = true,
		.has_unchanged_since = self->has_unchanged_since,
		.unchanged_since = self->modseq,
	};

	self->stage = API_BULK_STORING;
	self->job.is_committed = true;
	self->job.call = imap_store_start(api_job_session(&self->job), &spec, on_stored_row,
					  is_clearing ? on_cleared : on_set, self);
	api_job_started(&self->job, self->job.call);
}

/* ---- one run after the other ---- */

static void after_first_look(struct api_bulk *self)
{
	settle_absent(self);
	settle_modified(self, common(self, &self->changed, &self->run), NULL);
	if (imap_uidset_is_empty(&self->run)) {
		end_run(self);
	} else {
		move(self);
	}
}

static void begin_run(struct api_bulk *self)
{
	size_t n;

	api_bulk_run_reset(self);
	self->has_error = false;
	self->modseq = self->unchanged_since;
	note_failure(self, imap_uidset_highest(&self->picked, self->below, API_BULK_RUN, &self->run, &n));
	if (self->result.failure != GP_OK || imap_uidset_is_empty(&self->run)) {
		api_bulk_reply(self);
		return;
	}
	self->below = self->run.ranges[0].first;
	if (has_keywords(self)) {
		store(self, self->keywords.n_set == 0);
	} else if (self->is_permanent) {
		mark(self);
	} else if (self->has_unchanged_since) {
		/* MOVE and COPY have no condition of their own */
		look(self, API_BULK_BEFORE, after_first_look);
	} else {
		move(self);
	}
}

void api_bulk_change(struct api_bulk *self)
{
	if (!has_keywords(self) && !self->is_permanent && !has_target(self)) {
		api_bulk_result_add_changed(&self->result, &self->picked); /* as they are to be */
		api_bulk_reply(self);
		return;
	}
	begin_run(self);
}
