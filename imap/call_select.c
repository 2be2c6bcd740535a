/* NOOP, SELECT, EXAMINE and UNSELECT. */
#include <stdlib.h>

#include "imap/call_internal.h"

struct select_call {
	struct imap_call base;
	imap_done_fn done;
	void *ctx; /* borrow */
	bool is_select;
	bool is_unselect;
	bool is_examine;
	struct span mailbox; /* borrow, until start() returns */
};

static enum gp_status advance(struct imap_call *call)
{
	struct select_call *self = (struct select_call *)call;
	struct imap_command_spec spec = {.kind = IMAP_COMMAND_PLAIN};
	const char *name = "NOOP";

	call->is_complete = true;
	if (self->is_select) {
		spec.kind = IMAP_COMMAND_SELECT;
		spec.mailbox = self->mailbox;
		spec.is_examine = self->is_examine;
		name = self->is_examine ? "EXAMINE" : "SELECT";
	}
	if (self->is_unselect) {
		spec.kind = IMAP_COMMAND_SELECT; /* of no mailbox */
		name = "UNSELECT";
	}
	struct imap_call_step *step = imap_call_step_new(call, name, &spec);
	if (!step) {
		return GP_NO_MEMORY;
	}
	if (self->is_select) {
		struct imap_writer *writer = imap_call_step_writer(step);
		imap_writer_mailbox(writer, self->mailbox);
		if (imap_session_can(call->session, IMAP_CAP_CONDSTORE) ||
		    imap_session_can(call->session, IMAP_CAP_QRESYNC)) {
			imap_writer_open(writer);
			imap_writer_word(writer, "CONDSTORE");
			imap_writer_close(writer);
		}
	}
	imap_call_step_submit(step);
	return GP_OK;
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	struct select_call *self = (struct select_call *)step->call;

	if (result->error) {
		struct gp_error error = *result->error;
		if (self->is_select) {
			error = imap_error_for_mailbox(&error);
		}
		imap_call_fail(step->call, &error);
	}
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct select_call *self = (struct select_call *)call;

	self->done(self->ctx, error);
}

static const struct imap_call_ops ops = {.advance = advance, .step_done = step_done, .end = end};

static struct select_call *select_call_new(struct imap_session *session, imap_done_fn done, void *ctx)
{
	struct select_call *self = calloc(1, sizeof *self);

	if (self) {
		imap_call_init(&self->base, session, &ops);
		self->done = done;
		self->ctx = ctx;
	}
	return self;
}

struct imap_call *imap_noop_start(struct imap_session *session, imap_done_fn done, void *ctx)
{
	struct select_call *self = select_call_new(session, done, ctx);

	return self ? imap_call_begin(&self->base) : NULL;
}

struct imap_call *imap_unselect_start(struct imap_session *session, imap_done_fn done, void *ctx)
{
	struct select_call *self = select_call_new(session, done, ctx);

	if (!self) {
		return NULL;
	}
	self->is_unselect = true;
	if (!imap_session_can(session, IMAP_CAP_UNSELECT)) {
		imap_call_fail_with(&self->base, GP_UNSUPPORTED, "the IMAP server does not offer UNSELECT");
	}
	return imap_call_begin(&self->base);
}

struct imap_call *imap_select_start(struct imap_session *session, struct span mailbox, bool is_examine,
				    imap_done_fn done, void *ctx)
{
	struct select_call *self = select_call_new(session, done, ctx);

	if (!self) {
		return NULL;
	}
	self->is_select = true;
	self->is_examine = is_examine;
	self->mailbox = mailbox;
	return imap_call_begin(&self->base);
}
