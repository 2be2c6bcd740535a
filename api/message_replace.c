/*
 * PUT …/messages/{uid}: another message in the place of this one, which is how a draft is
 * saved.
 *
 *   FETCH (UID FLAGS MODSEQ)           404; If-Match, 412
 *   STATUS, APPEND                     with the old keywords, unless others are given
 *   STORE \Deleted [UNCHANGEDSINCE]    412: another client was first; the new one is there
 *   UID EXPUNGE of exactly the old one
 *   FETCH (UID FLAGS)                  servers say OK to who may not expunge
 *   201, the new one; without UIDPLUS the old one remains, marked as deleted
 *
 * In this order, so that at no moment there is neither. What fails after the APPEND says
 * where the new message is; under the same Idempotency-Key the rest is done.
 */
#include "api/conditional.h"
#include "api/etag.h"
#include "api/message_append.h"
#include "api/message_change.h"
#include "api/message_json.h"
#include "imap/writer.h"

struct replacement {
	struct api_append append; /* first */
	uint32_t uid;
	uint32_t uidvalidity; /* of the mailbox that had the old one; 0: it was not looked for */
	struct span if_match; /* borrow: the exchange's */
	/* one run */
	struct imap_uidset uids; /* own: the old one */
	bool has_row;
	bool has_too_many; /* keywords */
	uint64_t modseq;
	char etag[API_ETAG_SIZE];
};

static struct replacement *replacement_of(void *ctx)
{
	return ctx;
}

static struct api_job *job_of(struct replacement *self)
{
	return &self->append.job;
}

static void release(struct api_append *append)
{
	imap_uidset_deinit(&replacement_of(append)->uids);
}

/* ---- the old message ---- */

/* \Recent is the server's, and \Deleted was not meant for the new one. */
static bool is_inherited(struct span flag)
{
	static const char *const system_flags[] = {"\\Seen", "\\Answered", "\\Flagged", "\\Draft"};
	bool is_system = flag.len > 0 && flag.ptr[0] == '\\';
	bool is_known = false;

	for (size_t i = 0; i < sizeof system_flags / sizeof system_flags[0]; i++) {
		is_known |= span_equal_text_nocase(flag, system_flags[i]);
	}
	return is_system ? is_known : imap_is_keyword(flag);
}

static void inherit(struct replacement *self, const struct imap_fetch *row)
{
	struct api_append *append = &self->append;

	append->n_flags = 0;
	for (size_t i = 0; i < row->n_flags; i++) {
		if (!is_inherited(row->flags[i])) {
			continue;
		}
		struct span *flag = &append->flags[append->n_flags];
		if (append->n_flags == API_MAX_APPEND_KEYWORDS ||
		    !gp_arena_copy(&job_of(self)->exchange->arena, row->flags[i], flag)) {
			self->has_too_many = true;
			return;
		}
		append->n_flags++;
	}
}

static void on_old_row(void *ctx, const struct imap_fetch *row)
{
	struct replacement *self = replacement_of(ctx);
	struct api_exchange *exchange = job_of(self)->exchange;
	uint32_t uidvalidity = api_job_selected(job_of(self))->uidvalidity;

	self->has_row = true;
	if (api_etag_of_message(exchange->account, uidvalidity, row, self->etag) != GP_OK) {
		self->etag[0] = '\0';
	}
	self->modseq = row->items & IMAP_ITEM_MODSEQ ? row->modseq : 0;
	if (!span_is_nil(self->if_match)) {
		job_of(self)->exchange->current = api_message_current(job_of(self), row);
	}
	if (!self->append.has_keywords) {
		inherit(self, row);
	}
}

static void on_old(void *ctx, const struct gp_error *error)
{
	struct replacement *self = replacement_of(ctx);
	struct api_job *job = job_of(self);

	if (!api_job_check(job, error)) {
		return;
	}
	if (!self->has_row) {
		api_job_fail(job, API_PROBLEM_NOT_FOUND, NULL, "there is no message with UID %u in '%s'",
			     (unsigned)self->uid, api_excerpt(job->mailbox_name).text);
	} else if (!api_match_allows(self->if_match, self->etag)) {
		job->exchange->current_etag = gp_arena_strdup(&job->exchange->arena, span_of(self->etag));
		api_job_fail(job, API_PROBLEM_PRECONDITION_FAILED, NULL,
			     "the message has changed since: read it again");
	} else if (self->has_too_many) {
		api_job_fail(job, API_PROBLEM_UNPROCESSABLE, NULL,
			     "the message has more than %d keywords: say with 'keywords' which the new one is to have",
			     API_MAX_APPEND_KEYWORDS);
	} else if (api_job_selected(job)->is_read_only) {
		api_job_fail(job, API_PROBLEM_FORBIDDEN, NULL, "nothing can be changed in '%s'",
			     api_excerpt(job->mailbox_name).text);
	} else {
		api_append_prepared(&self->append);
	}
}

static void look(struct api_append *append)
{
	struct replacement *self = replacement_of(append);
	const struct imap_fetch_spec spec = {.uids = &self->uids,
					     .items = IMAP_ITEM_UID | IMAP_ITEM_FLAGS | IMAP_ITEM_MODSEQ};

	self->has_row = self->has_too_many = false;
	self->uidvalidity = api_job_selected(&append->job)->uidvalidity;
	append->job.call = imap_fetch_start(api_job_session(&append->job), &spec, on_old_row, on_old, self);
	api_job_started(&append->job, append->job.call);
}

/* ---- its end ---- */

/* {"remains":{"mailbox","uid","uidValidity","href"}} */
static void note_remains(struct replacement *self)
{
	struct api_job *job = job_of(self);
	const char *href = api_message_href(&job->exchange->arena, job->mailbox_name, self->uid, "");
	json_t *remains = json_object();

	api_json_set(remains, "mailbox", api_json_text(job->mailbox_name));
	api_json_set(remains, "uid", json_integer(self->uid));
	api_json_set(remains, "uidValidity", json_integer(api_job_selected(job)->uidvalidity));
	api_json_set(remains, "href", href ? json_string(href) : NULL);
	self->append.extra = json_object();
	api_json_set(self->append.extra, "remains", remains);
}

static void on_row(void *ctx, const struct imap_fetch *row)
{
	(void)row;
	replacement_of(ctx)->has_row = true;
}

static void look_again(struct replacement *self, imap_done_fn done)
{
	struct api_job *job = job_of(self);
	const struct imap_fetch_spec spec = {.uids = &self->uids, .items = IMAP_ITEM_UID | IMAP_ITEM_FLAGS};

	self->has_row = false;
	job->call = imap_fetch_start(api_job_session(job), &spec, on_row, done, self);
	api_job_started(job, job->call);
}

static void on_look_behind(void *ctx, const struct gp_error *error)
{
	struct replacement *self = replacement_of(ctx);

	if (!api_job_check(job_of(self), error)) {
		return;
	}
	if (self->has_row) {
		note_remains(self);
	}
	api_append_reply(&self->append);
}

static void on_expunged(void *ctx, const struct gp_error *error)
{
	struct replacement *self = replacement_of(ctx);

	if (api_job_check(job_of(self), error)) {
		job_of(self)->is_unconfirmed = true;
		look_again(self, on_look_behind);
	}
}

static void expunge(struct replacement *self)
{
	struct api_job *job = job_of(self);

	if (!imap_session_can(api_job_session(job), IMAP_CAP_UIDPLUS)) {
		note_remains(self);
		api_append_reply(&self->append);
		return;
	}
	job->call = imap_expunge_start(api_job_session(job), self->uid, on_expunged, self);
	api_job_started(job, job->call);
}

static void on_look_between(void *ctx, const struct gp_error *error)
{
	struct replacement *self = replacement_of(ctx);
	struct api_job *job = job_of(self);

	if (!api_job_check(job, error)) {
		return;
	}
	if (self->has_row) {
		expunge(self);
	} else {
		api_job_fail(job, API_PROBLEM_PRECONDITION_FAILED, NULL,
			     "the old message is gone: another client was first");
	}
}

/* A STORE that meets no message is OK: who demands that the old one be as it was wants to see it. */
static void on_marked(void *ctx, const struct gp_error *error, const struct imap_uidset *modified)
{
	struct replacement *self = replacement_of(ctx);
	struct api_job *job = job_of(self);

	if (!api_job_check(job, error)) {
		return;
	}
	if (!imap_uidset_is_empty(modified)) {
		api_job_fail(job, API_PROBLEM_PRECONDITION_FAILED, NULL,
			     "the old message has been changed meanwhile, and is still there");
	} else if (self->if_match.len > 0 && !self->has_row) {
		look_again(self, on_look_between);
	} else {
		expunge(self);
	}
}

/* The one that had the old message; when the rest is done of what was begun under the same
 * Idempotency-Key, the one that the APPEND's own STATUS told of, or the caller. */
static bool is_same_mailbox(const struct replacement *self, uint32_t uidvalidity)
{
	const struct api_job_spec *spec = &self->append.job.spec;
	uint32_t expected = self->uidvalidity != 0 ? self->uidvalidity : self->append.trace.uidvalidity;

	return uidvalidity == (expected == 0 && spec->has_uidvalidity ? spec->uidvalidity : expected);
}

static void mark(struct api_job *job)
{
	struct replacement *self = replacement_of(job);
	const struct imap_selected *selected = api_job_selected(job);
	uint64_t modseq = self->modseq;

	if (!is_same_mailbox(self, selected->uidvalidity)) {
		api_job_fail(job, API_PROBLEM_GONE, NULL, "the mailbox '%s' has another UIDVALIDITY since",
			     api_excerpt(job->mailbox_name).text);
		return;
	}
	if (modseq == 0) {
		(void)api_etag_modseq(self->if_match, job->exchange->account, selected->uidvalidity, self->uid,
				      &modseq);
	}
	bool is_guarded = self->if_match.len > 0 && selected->has_modseq;
	self->has_row = false;
	job->call = imap_mark_deleted_start(api_job_session(job), &self->uids, is_guarded ? modseq : 0, on_row,
					    on_marked, self);
	api_job_started(job, job->call);
}

static void remove_old(struct api_append *append)
{
	struct api_job *job = &append->job;
	const struct api_job_place place = {.mailbox = job->mailbox_name, .is_write = true};
	struct gp_arena *arena = &job->exchange->arena;

	job->report = NULL;
	job->report_less = NULL;
	job->is_writing = true;
	job->is_committed = true;
	if (append->place.uid != 0) {
		job->so_far = gp_arena_printf(arena, "the new message is in '%s' as UID %u",
					      api_excerpt(job->mailbox_name).text, (unsigned)append->place.uid);
	} else {
		job->so_far = "the new message was appended";
	}
	api_job_move_to(job, &place, mark);
}

/* ---- the request ---- */

void api_message_put(struct api_request *request)
{
	struct replacement *self = api_append_new(request, sizeof *self);

	if (!self) {
		return;
	}
	self->append.prepare = look;
	self->append.appended = remove_old;
	self->append.release = release;
	self->uid = request->uid;
	self->if_match = request->exchange->ops->header(request->exchange, "If-Match");
	if (!span_is_nil(request->exchange->ops->header(request->exchange, "Content-Range"))) {
		api_reply_problem(request->exchange, API_PROBLEM_BAD_REQUEST, NULL,
				  "a message is replaced as a whole, and Content-Range is of a piece");
		return;
	}
	if (imap_uidset_add(&self->uids, self->uid, self->uid) != GP_OK) {
		api_reply_problem(request->exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	api_append_start_from_body(&self->append);
}
