/*
 * Copying, moving and removing one message.
 *
 *   POST …/copy    COPY                                              201
 *   PATCH          MOVE                                              the message at its new address
 *                  without MOVE:    COPY, STORE \Deleted, UID EXPUNGE
 *                  without UIDPLUS: COPY, STORE \Deleted: it remains, and the reply says so
 *   DELETE         [LIST] and the same, to the trash                 204
 *                  in the trash, or permanent=1: STORE \Deleted, UID EXPUNGE; 422 without UIDPLUS
 *
 * An EXPUNGE without UIDs is never sent: it would remove what other clients have marked.
 *
 * OK is not enough. A server answers it for a message that is gone, and for one that the
 * account may not remove. So COPY and MOVE are believed when COPYUID says so, or else
 * when a look afterwards does: a message that is still there after a COPY was there
 * during it. UID EXPUNGE is believed when the message is gone.
 */
#include "api/body.h"
#include "api/idempotency.h"
#include "api/message_change.h"

static bool can(const struct api_change *self, enum imap_capability capability)
{
	return imap_session_can(api_job_session(&self->job), capability);
}

/* ---- replies ---- */

static void add_location(struct api_change *self)
{
	struct api_exchange *exchange = self->job.exchange;

	if (self->copied.uid != 0) {
		api_header_add(exchange, "Location",
			       api_message_href(&exchange->arena, self->target, self->copied.uid, ""));
	}
}

/* {"mailbox","uid","uidValidity"}, and what stayed behind. */
static void reply_place(struct api_change *self, unsigned status)
{
	bool is_known = self->copied.uid != 0;
	json_t *place = json_object();

	api_json_set(place, "mailbox", api_json_text(self->target));
	api_json_set(place, "uid", is_known ? json_integer(self->copied.uid) : json_null());
	api_json_set(place, "uidValidity", is_known ? json_integer(self->copied.uidvalidity) : json_null());
	if (self->remains) {
		const char *href = api_message_href(&self->job.exchange->arena, self->source, self->uid, "");
		json_t *remains = json_object();
		api_json_set(remains, "mailbox", api_json_text(self->source));
		api_json_set(remains, "uid", json_integer(self->uid));
		api_json_set(remains, "uidValidity", json_integer(self->source_uidvalidity));
		api_json_set(remains, "href", href ? json_string(href) : NULL);
		api_json_set(place, "remains", remains);
	}
	add_location(self);
	api_reply_json(api_job_finish(&self->job), status, place);
}

static void reply_gone(struct api_change *self)
{
	add_location(self);
	api_reply_empty(api_job_finish(&self->job), 204);
}

static void show_place(struct api_job *job)
{
	reply_place((struct api_change *)job, 200);
}

/* In the target, where the message is now. */
static void show_moved(struct api_job *job)
{
	struct api_change *self = (struct api_change *)job;

	self->has_moved = true;
	imap_uidset_deinit(&self->uids);
	if (api_job_selected(job)->uidvalidity != self->copied.uidvalidity) {
		/* COPYUID was of another mailbox: what has that UID in this one may be any message */
		self->copied = (struct imap_copied){.uid = 0};
	}
	if (self->copied.uid == 0 || imap_uidset_add(&self->uids, self->copied.uid, self->copied.uid) != GP_OK) {
		show_place(job);
		return;
	}
	api_change_show(self);
}

static void reply_moved(struct api_change *self)
{
	if (self->is_for_deletion && !self->remains) {
		reply_gone(self);
	} else if (self->is_for_deletion || self->remains || self->copied.uid == 0) {
		reply_place(self, 200);
	} else {
		api_job_report_from(&self->job, self->target, show_moved, show_place);
	}
}

/* ---- what a COPY or MOVE came to ---- */

static bool has_succeeded(struct api_change *self, const struct gp_error *borrowed, const struct imap_copied *copied)
{
	self->copied = *copied;
	if (!borrowed) {
		return api_job_check(&self->job, NULL);
	}
	struct gp_error error = *borrowed;
	if (copied->uid != 0) {
		api_change_note(self, "the message was copied to '%s' as UID %u", api_excerpt(self->target).text,
				(unsigned)copied->uid);
	}
	if (error.status != GP_NOT_FOUND) {
		return api_job_check(&self->job, &error);
	}
	api_job_ended(&self->job);
	api_job_fail(&self->job, API_PROBLEM_NOT_FOUND, &error, "there is no mailbox '%s' to put it into",
		     api_excerpt(self->target).text);
	return false;
}

static void fail_vanished(struct api_change *self)
{
	self->job.exchange->is_outcome_unknown = true;
	api_job_fail(&self->job, API_PROBLEM_NOT_FOUND, NULL,
		     "the message is gone, and the IMAP server does not say that it put it into '%s': perhaps another "
		     "client was first",
		     api_excerpt(self->target).text);
}

static void fail_still_there(struct api_change *self)
{
	api_job_fail(&self->job, API_PROBLEM_UNPROCESSABLE, NULL,
		     "the IMAP server said OK, but the message is still there: this account may not be allowed to "
		     "remove it");
}

/* OK was said; whether it was done, the look tells, or nobody knows. */
static void look_behind(struct api_change *self, api_change_fn there, api_change_fn gone)
{
	self->job.is_unconfirmed = true;
	api_change_look(self, there, gone);
}

/* ---- removing: exactly this one ---- */

static void removed(struct api_change *self)
{
	(self->is_permanent ? reply_gone : reply_moved)(self);
}

/* The answer of a step was lost. Where it is known where the message would be, it is enough
 * that it has gone: that is what was asked for. */
static void probe(struct api_job *job)
{
	api_change_probe((struct api_change *)job, api_change_stay_unknown, removed);
}

static void on_expunged(void *ctx, const struct gp_error *error)
{
	struct api_change *self = ctx;

	if (api_job_check(&self->job, error)) {
		look_behind(self, fail_still_there, removed);
	}
}

static void on_marked(void *ctx, const struct gp_error *error, const struct imap_uidset *modified)
{
	struct api_change *self = ctx;

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (!imap_uidset_is_empty(modified)) {
		api_change_fail_modified(self);
		return;
	}
	if (!can(self, IMAP_CAP_UIDPLUS)) {
		self->remains = true;
		reply_moved(self);
		return;
	}
	api_change_note(self, "the message was marked as deleted");
	self->job.call = imap_expunge_start(api_job_session(&self->job), self->uid, on_expunged, self);
	api_job_started(&self->job, self->job.call);
}

static void mark(struct api_change *self)
{
	self->job.is_committed = true;
	self->job.probe = self->is_permanent || self->copied.uid != 0 ? probe : NULL;
	self->job.call = imap_mark_deleted_start(api_job_session(&self->job), &self->uids, self->unchanged_since, NULL,
						 on_marked, self);
	api_job_started(&self->job, self->job.call);
}

static void purge(struct api_change *self)
{
	if (!api_change_is_allowed(self)) {
		return;
	}
	if (!can(self, IMAP_CAP_UIDPLUS)) {
		api_job_fail(&self->job, API_PROBLEM_UNPROCESSABLE, NULL,
			     "the IMAP server cannot remove one message alone (it has no UIDPLUS), and the others that "
			     "are marked as deleted are not to go with it: set the keyword $deleted instead");
		return;
	}
	self->is_permanent = true;
	self->unchanged_since = api_change_is_guarded(self) ? self->modseq : 0;
	mark(self);
}

/* ---- moving ---- */

static void mark_copied(struct api_change *self)
{
	if (self->copied.uid != 0) {
		api_change_note(self, "the message was copied to '%s' as UID %u", api_excerpt(self->target).text,
				(unsigned)self->copied.uid);
	} else {
		api_change_note(self, "the message was copied to '%s'", api_excerpt(self->target).text);
	}
	mark(self);
}

static void on_copied_to_move(void *ctx, const struct gp_error *error, const struct imap_copied *copied)
{
	struct api_change *self = ctx;

	if (!has_succeeded(self, error, copied)) {
		return;
	}
	if (copied->uid != 0) {
		mark_copied(self);
	} else {
		look_behind(self, mark_copied, fail_vanished);
	}
}

static void on_moved(void *ctx, const struct gp_error *error, const struct imap_copied *copied)
{
	struct api_change *self = ctx;

	self->job.probe = copied->uid != 0 ? probe : NULL;
	if (!has_succeeded(self, error, copied)) {
		return;
	}
	if (copied->uid != 0) {
		reply_moved(self);
	} else {
		/* A server with UIDPLUS that moves says where to. */
		look_behind(self, fail_still_there, can(self, IMAP_CAP_UIDPLUS) ? fail_vanished : reply_moved);
	}
}

void api_change_move(struct api_change *self)
{
	bool is_move = can(self, IMAP_CAP_MOVE);

	if (span_equal(self->target, self->source)) {
		api_change_show(self);
		return;
	}
	if (!api_change_is_allowed(self)) {
		return;
	}
	self->unchanged_since = api_change_is_guarded(self) ? self->modseq : 0;
	self->job.is_committed = true;
	self->job.also_written = self->target;
	self->job.call = imap_copy_start(api_job_session(&self->job), self->uid, self->target, is_move,
					 is_move ? on_moved : on_copied_to_move, self);
	api_job_started(&self->job, self->job.call);
}

/* ---- POST …/copy ---- */

static void reply_copied(struct api_change *self)
{
	reply_place(self, 201);
}

static void on_copied(void *ctx, const struct gp_error *error, const struct imap_copied *copied)
{
	struct api_change *self = ctx;

	if (!has_succeeded(self, error, copied)) {
		return;
	}
	if (copied->uid != 0) {
		reply_copied(self);
	} else {
		look_behind(self, reply_copied, fail_vanished);
	}
}

static void copy(struct api_change *self)
{
	self->job.is_committed = true;
	self->job.also_written = self->target;
	self->job.call = imap_copy_start(api_job_session(&self->job), self->uid, self->target, false, on_copied, self);
	api_job_started(&self->job, self->job.call);
}

void api_message_copy(struct api_request *request)
{
	static const char *const members[] = {"mailbox"};
	struct api_change *self = api_change_new(request, copy);
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
		is_good = api_change_read_target(request->exchange, json_object_get(body, "mailbox"), &self->target);
	}
	json_decref(body);
	if (is_good && api_idempotency_enter(request)) {
		api_change_start(request, self);
	}
}

/* ---- DELETE ---- */

static void dispose(struct api_change *self)
{
	if (span_is_nil(self->target) || span_equal(self->target, self->source)) {
		purge(self);
	} else {
		api_change_move(self);
	}
}

static void on_trash(struct api_job *job)
{
	api_change_prepared((struct api_change *)job);
}

static void find_trash(struct api_change *self)
{
	api_trash_find(&self->trash, &self->job, &self->target, on_trash);
}

void api_message_delete(struct api_request *request)
{
	struct api_change *self = api_change_new(request, dispose);

	if (!self) {
		return;
	}
	self->is_for_deletion = true;
	if (api_trash_is_wanted(request)) {
		self->prepare = find_trash;
	}
	api_change_start(request, self);
}
