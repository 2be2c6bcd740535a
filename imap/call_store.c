/* UID STORE of flags, with UNCHANGEDSINCE (RFC 7162). */
#include <stdlib.h>

#include "imap/call_internal.h"

#define MAX_IN_FLIGHT 4

struct store_call {
	struct imap_call base;
	imap_row_fn row; /* NULL: nobody wants them */
	imap_store_fn done;
	void *ctx;                   /* borrow */
	struct imap_uidset uids;     /* own */
	struct imap_uidset modified; /* own */
	size_t at;                   /* ranges of `uids` sent so far */
	enum imap_store_mode mode;
	const struct span *flags; /* arena */
	size_t n_flags;
	bool is_silent;
	bool has_unchanged_since;
	uint64_t unchanged_since;
};

static enum gp_status send_store(struct store_call *self)
{
	static const char *const words[2][2] = {{"+FLAGS", "+FLAGS.SILENT"}, {"-FLAGS", "-FLAGS.SILENT"}};
	struct imap_uidset rest = imap_call_uidset_part(&self->uids, self->at, self->uids.n_ranges);
	struct imap_command_spec spec = {
		.kind = IMAP_COMMAND_FETCH, .uids = &rest, .row_items = IMAP_ITEM_FLAGS | IMAP_ITEM_MODSEQ};
	struct imap_call_step *step = imap_call_step_new(&self->base, "UID STORE", &spec);

	if (!step) {
		return GP_NO_MEMORY;
	}
	struct imap_writer *writer = imap_call_step_writer(step);
	imap_call_step_uids(step, &self->uids, &self->at);
	if (self->has_unchanged_since) {
		imap_writer_open(writer);
		imap_writer_word(writer, "UNCHANGEDSINCE");
		imap_writer_number(writer, self->unchanged_since);
		imap_writer_close(writer);
	}
	imap_writer_word(writer, words[self->mode == IMAP_STORE_REMOVE][self->is_silent]);
	imap_writer_flags(writer, self->flags, self->n_flags);
	imap_call_step_submit(step);
	return GP_OK;
}

static enum gp_status advance(struct imap_call *call)
{
	struct store_call *self = (struct store_call *)call;

	while (self->at < self->uids.n_ranges && call->n_steps < MAX_IN_FLIGHT) {
		enum gp_status status = send_store(self);
		if (status != GP_OK) {
			return status;
		}
	}
	call->is_complete = self->at == self->uids.n_ranges;
	return GP_OK;
}

static void untagged(struct imap_call_step *step, const struct imap_response *response)
{
	struct store_call *self = (struct store_call *)step->call;
	const struct imap_fetch *row = &response->fetch;

	if (!self->row || response->type != IMAP_RESPONSE_FETCH ||
	    !(row->items & (IMAP_ITEM_FLAGS | IMAP_ITEM_MODSEQ))) {
		return;
	}
	if (row->uid != 0 && imap_uidset_contains(&step->uids, row->uid)) {
		self->row(self->ctx, row);
	}
}

/* Mailutils answers BAD to a keyword that the mailbox does not keep. */
static bool is_about_keywords(const struct store_call *self, const struct gp_error *error)
{
	const struct imap_selected *selected = imap_session_selected(self->base.session);
	bool has_keyword = false;

	for (size_t i = 0; i < self->n_flags; i++) {
		has_keyword |= !span_starts_with_nocase(self->flags[i], "\\");
	}
	return error->status == GP_BAD && has_keyword && !selected->can_create_keywords;
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	struct store_call *self = (struct store_call *)step->call;
	const struct imap_code *code = result->response ? &result->response->code : NULL;
	bool has_modified = code && span_equal_text_nocase(code->name, "MODIFIED");

	if (has_modified && code->uids) {
		/* a server may name more than was asked */
		enum gp_status status = imap_uidset_add_common(&self->modified, &step->uids, code->uids);
		if (status != GP_OK) {
			imap_call_fail_with(step->call, status, gp_status_text(status));
		}
	}
	/* RFC 7162 also has "NO [MODIFIED 2] Some of the messages no longer exist". */
	bool is_no = result->error && result->error->status == GP_NO;
	if (result->error && is_about_keywords(self, result->error)) {
		imap_call_fail_with(step->call, GP_UNSUPPORTED,
				    "the mailbox keeps flags, but no keywords of one's own");
	} else if (result->error && !(is_no && has_modified) && !imap_error_is_expunged(result->error)) {
		imap_call_fail(step->call, result->error);
	}
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct store_call *self = (struct store_call *)call;

	self->done(self->ctx, error, &self->modified);
}

static void deinit(struct imap_call *call)
{
	struct store_call *self = (struct store_call *)call;

	imap_uidset_deinit(&self->uids);
	imap_uidset_deinit(&self->modified);
}

static const struct imap_call_ops ops = {
	.advance = advance, .untagged = untagged, .step_done = step_done, .end = end, .deinit = deinit};

static bool copy_spec(struct store_call *self, const struct imap_store_spec *spec)
{
	struct gp_arena *arena = &self->base.arena;
	struct span *flags = gp_arena_array(arena, spec->n_flags, sizeof *flags);

	if (!flags) {
		return false;
	}
	for (size_t i = 0; i < spec->n_flags; i++) {
		if (!gp_arena_copy(arena, spec->flags[i], &flags[i])) {
			return false;
		}
	}
	self->flags = flags;
	self->n_flags = spec->n_flags;
	self->mode = spec->mode;
	self->is_silent = spec->is_silent;
	self->has_unchanged_since = spec->has_unchanged_since;
	self->unchanged_since = spec->unchanged_since;
	/* Without flags there is nothing to change: no set, no command. */
	return spec->n_flags == 0 || imap_uidset_add_all(&self->uids, spec->uids) == GP_OK;
}

struct imap_call *imap_store_start(struct imap_session *session, const struct imap_store_spec *spec, imap_row_fn row,
				   imap_store_fn done, void *ctx)
{
	struct store_call *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	imap_call_init(&self->base, session, &ops);
	imap_uidset_init(&self->uids);
	imap_uidset_init(&self->modified);
	self->row = row;
	self->done = done;
	self->ctx = ctx;
	if (!copy_spec(self, spec)) {
		imap_call_discard(&self->base);
		return NULL;
	}
	/* Storing without the condition would be worse than not storing. */
	if (spec->has_unchanged_since && !imap_session_selected(session)->has_modseq) {
		imap_call_fail_with(&self->base, GP_UNSUPPORTED, "the mailbox keeps no modification sequences");
	}
	return imap_call_begin(&self->base);
}

struct imap_call *imap_mark_deleted_start(struct imap_session *session, const struct imap_uidset *uids,
					  uint64_t unchanged_since, imap_row_fn row, imap_store_fn done, void *ctx)
{
	static const struct span deleted = {"\\Deleted", 8};
	const struct imap_store_spec spec = {.uids = uids,
					     .mode = IMAP_STORE_ADD,
					     .flags = &deleted,
					     .n_flags = 1,
					     .is_silent = true,
					     .has_unchanged_since = unchanged_since != 0,
					     .unchanged_since = unchanged_since};

	return imap_store_start(session, &spec, row, done, ctx);
}
