/*
 * Flags and keywords of one message (RFC 3501 section 6.4.6, RFC 7162 section 3.1.3):
 *
 *   STORE +FLAGS [UNCHANGEDSINCE]       412 when another client came between
 *   STORE -FLAGS [UNCHANGEDSINCE]
 *
 * and PUT and DELETE …/keywords/{keyword}.
 */
#include "api/message_change.h"

/* ---- storing ---- */

static void store_next(struct api_change *self);

static void on_stored(void *ctx, const struct gp_error *error, const struct imap_uidset *modified)
{
	struct api_change *self = ctx;
	bool is_modified = !error && !imap_uidset_is_empty(modified);

	if ((error || is_modified) && self->is_clearing && self->keywords.n_set > 0) {
		api_change_note(self, "the keywords to set were set");
	}
	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (is_modified) {
		api_change_fail_modified(self);
		return;
	}
	if (self->is_clearing || self->keywords.n_clear == 0) {
		self->next(self);
		return;
	}
	self->is_clearing = true;
	store_next(self);
}

/* It does not matter any more who made them so. */
static void show_if_stored(struct api_change *self)
{
	if (self->lacks_keyword || self->keeps_keyword) {
		api_change_stay_unknown(self);
	} else {
		api_change_show(self);
	}
}

static void probe(struct api_job *job)
{
	api_change_probe((struct api_change *)job, show_if_stored, api_change_stay_unknown);
}

static void store_next(struct api_change *self)
{
	const struct imap_store_spec spec = {
		.uids = &self->uids,
		.mode = self->is_clearing ? IMAP_STORE_REMOVE : IMAP_STORE_ADD,
		.flags = self->is_clearing ? self->keywords.clear : self->keywords.set,
		.n_flags = self->is_clearing ? self->keywords.n_clear : self->keywords.n_set,
		.has_unchanged_since = api_change_is_guarded(self),
		.unchanged_since = self->modseq,
	};

	self->job.is_committed = true;
	/* With a move behind it, the keywords are not all. */
	self->job.probe = span_is_nil(self->target) ? probe : NULL;
	self->job.call = imap_store_start(api_job_session(&self->job), &spec, api_change_on_row, on_stored, self);
	api_job_started(&self->job, self->job.call);
}

void api_change_store(struct api_change *self, api_change_fn next)
{
	if (self->keywords.n_set == 0 && self->keywords.n_clear == 0) {
		next(self);
	} else if (api_change_is_allowed(self)) {
		self->next = next;
		self->is_clearing = self->keywords.n_set == 0;
		self->lacks_keyword = false; /* what it was before does not count */
		store_next(self);
	}
}

/* ---- what to store ---- */

static bool is_among(const struct span *flags, size_t n, struct span flag)
{
	bool is_found = false;

	for (size_t i = 0; i < n; i++) {
		is_found |= span_equal_nocase(flags[i], flag);
	}
	return is_found;
}

/* Adds `keyword` to the ones to set or to clear. NULL, or why it cannot be: behind its name. */
static const char *add_keyword(struct gp_arena *arena, struct api_keyword_changes *changes, struct span keyword,
			       bool is_set)
{
	struct span flag = api_keyword_flag(arena, keyword);
	size_t *n = is_set ? &changes->n_set : &changes->n_clear;

	if (span_is_nil(flag)) {
		return "is no keyword";
	}
	if (*n == API_MAX_CHANGED_KEYWORDS) {
		return "is one too many: 64 can be set, and 64 cleared";
	}
	/* Which of the two is meant cannot be told, as members have no order. */
	if (is_among(changes->set, changes->n_set, flag) || is_among(changes->clear, changes->n_clear, flag)) {
		return "comes twice: keywords have no case";
	}
	(is_set ? changes->set : changes->clear)[(*n)++] = flag;
	return NULL;
}

bool api_change_read_keywords(struct api_exchange *exchange, json_t *keywords, struct api_keyword_changes *changes_out)
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
			continue;
		}
		const char *flaw = add_keyword(&exchange->arena, changes_out, span_of(name), json_is_true(value));
		if (flaw) {
			gp_error_set(&error, GP_INVALID, "'keywords.%.80s' %s", name, flaw);
		}
	}
	if (error.status != GP_OK) {
		api_reply_error(exchange, &error);
	}
	return error.status == GP_OK;
}

/* ---- one keyword by its address ---- */

static void store_and_show(struct api_change *self)
{
	api_change_store(self, api_change_show);
}

static void one_keyword(struct api_request *request, bool is_set)
{
	struct api_change *self = api_change_new(request, store_and_show);

	if (!self) {
		return;
	}
	api_change_read_fields(self, &request->query);
	const char *flaw = add_keyword(&request->exchange->arena, &self->keywords, request->keyword, is_set);
	if (flaw) {
		api_query_fail(&request->query, "'%.*s' %s", SPAN_ARGS(span_slice(request->keyword, 0, 80)), flaw);
	}
	api_change_start(request, self);
}

void api_message_keyword_put(struct api_request *request)
{
	one_keyword(request, true);
}

void api_message_keyword_delete(struct api_request *request)
{
	one_keyword(request, false);
}
