/*
 * What changed in the selected mailbox since a mod-sequence (RFC 7162 sections 3.1.4.1
 * and 3.2.6): the UIDs of rows that came, and those that vanished.
 *
 * A row with a mod-sequence above `until` changed after the state that the caller knows;
 * it is left out, so that the next look, from `until` on, has it once. A row without one
 * is taken: some servers leave it out. What vanishes while the command runs
 * (VANISHED without EARLIER) is later than `until` and left out for the same reason.
 *
 * VANISHED (EARLIER) may name more than there ever was, up to 1:4294967295, when the
 * server has forgotten: sets are merged and never expanded.
 */
#include <stdlib.h>

#include "imap/call_internal.h"

struct changes_call {
	struct imap_call base;
	imap_changes_fn done;
	void *ctx; /* borrow */
	uint64_t since, until;
	bool has_vanished;
	struct imap_uidset changed, vanished; /* own */
};

static struct imap_uid_range from_first_to_last = {1, IMAP_UID_STAR};
static const struct imap_uidset every_uid = {.ranges = &from_first_to_last, .n_ranges = 1};

static enum gp_status advance(struct imap_call *call)
{
	struct changes_call *self = (struct changes_call *)call;
	const struct imap_command_spec spec = {.kind = IMAP_COMMAND_FETCH,
					       .uids = &every_uid,
					       .row_items = IMAP_ITEM_FLAGS | IMAP_ITEM_MODSEQ,
					       .takes_vanished = self->has_vanished};

	call->is_complete = true;
	struct imap_call_step *step = imap_call_step_new(call, "UID FETCH", &spec);
	if (!step) {
		return GP_NO_MEMORY;
	}
	struct imap_writer *writer = imap_call_step_writer(step);
	imap_writer_range(writer, 1, IMAP_UID_STAR);
	imap_writer_open(writer);
	imap_writer_word(writer, "UID");
	imap_writer_word(writer, "FLAGS");
	imap_writer_close(writer);
	imap_writer_open(writer);
	imap_writer_word(writer, "CHANGEDSINCE");
	imap_writer_number(writer, self->since);
	if (self->has_vanished) {
		imap_writer_word(writer, "VANISHED");
	}
	imap_writer_close(writer);
	imap_call_step_submit(step);
	return GP_OK;
}

static bool is_wanted(const struct changes_call *self, const struct imap_fetch *row)
{
	bool has_modseq = (row->items & IMAP_ITEM_MODSEQ) && row->modseq > 0 && row->modseq <= INT64_MAX;

	return row->uid > 0 && (!has_modseq || (row->modseq > self->since && row->modseq <= self->until));
}

static void untagged(struct imap_call_step *step, const struct imap_response *response)
{
	struct changes_call *self = (struct changes_call *)step->call;
	enum gp_status status = GP_OK;

	if (response->type == IMAP_RESPONSE_FETCH && is_wanted(self, &response->fetch)) {
		status = imap_uidset_add(&self->changed, response->fetch.uid, response->fetch.uid);
	} else if (response->type == IMAP_RESPONSE_VANISHED) {
		status = imap_uidset_add_all(&self->vanished, &response->uids);
	}
	if (status != GP_OK) {
		imap_call_fail_with(step->call, status, gp_status_text(status));
	}
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	/* Rows that a NO leaves out would be changes that nobody hears of. */
	if (result->error) {
		imap_call_fail(step->call, result->error);
	}
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct changes_call *self = (struct changes_call *)call;
	const struct imap_changes changes = {
		.changed = &self->changed, .vanished = &self->vanished, .has_vanished = self->has_vanished};

	self->done(self->ctx, error, error ? NULL : &changes);
}

static void deinit(struct imap_call *call)
{
	struct changes_call *self = (struct changes_call *)call;

	imap_uidset_deinit(&self->changed);
	imap_uidset_deinit(&self->vanished);
}

static const struct imap_call_ops ops = {
	.advance = advance, .untagged = untagged, .step_done = step_done, .end = end, .deinit = deinit};

struct imap_call *imap_changes_start(struct imap_session *session, uint64_t since, uint64_t until, imap_changes_fn done,
				     void *ctx)
{
	struct changes_call *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	imap_call_init(&self->base, session, &ops);
	imap_uidset_init(&self->changed);
	imap_uidset_init(&self->vanished);
	self->done = done;
	self->ctx = ctx;
	self->since = since;
	self->until = until;
	self->has_vanished = imap_session_has_qresync(session);
	if (!imap_session_selected(session)->has_modseq) {
		imap_call_fail_with(&self->base, GP_UNSUPPORTED, "the mailbox keeps no modification sequences");
	} else if (since == 0 || since > INT64_MAX) {
		imap_call_fail_with(&self->base, GP_INVALID, "no modification sequence of 63 bits");
	}
	return imap_call_begin(&self->base);
}
