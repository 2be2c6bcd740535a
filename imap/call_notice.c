/*
 * Commands that make the server speak unasked: IDLE (RFC 2177), which lasts until
 * something else is to be sent (session_idle.c), and NOTIFY (RFC 5465), which is over at
 * once and leaves the session as it is.
 */
#include <stdlib.h>

#include "imap/call_internal.h"
#include "imap/session_internal.h"

struct notice_call {
	struct imap_call base;
	imap_done_fn done;
	void *ctx; /* borrow */
};

static enum gp_status send_idle(struct imap_call *call)
{
	const struct imap_command_spec spec = {.kind = IMAP_COMMAND_IDLE};
	struct imap_call_step *step = imap_call_step_new(call, "IDLE", &spec);

	call->is_complete = true;
	if (!step) {
		return GP_NO_MEMORY;
	}
	imap_writer_word(&step->command->dialogue, "DONE");
	step->command->has_dialogue = true;
	enum gp_status status = imap_writer_finish(&step->command->dialogue);
	imap_call_step_submit(step);
	return status;
}

static enum gp_status send_notify_none(struct imap_call *call)
{
	const struct imap_command_spec spec = {.kind = IMAP_COMMAND_PLAIN};
	struct imap_call_step *step = imap_call_step_new(call, "NOTIFY", &spec);

	if (!step) {
		return GP_NO_MEMORY;
	}
	imap_writer_word(imap_call_step_writer(step), "NONE");
	imap_call_step_submit(step);
	return GP_OK;
}

/* Dovecot 2.3 says OK to a second NOTIFY SET, and tells nothing from then on. */
static enum gp_status send_notify(struct imap_call *call)
{
	const struct imap_command_spec spec = {.kind = IMAP_COMMAND_PLAIN};
	static const char *const events[] = {"MessageNew", "MessageExpunge", "FlagChange", "MailboxName",
					     "SubscriptionChange"};

	call->is_complete = true;
	enum gp_status status = call->session->has_notify ? send_notify_none(call) : GP_OK;
	struct imap_call_step *step = status == GP_OK ? imap_call_step_new(call, "NOTIFY", &spec) : NULL;
	if (!step) {
		return GP_NO_MEMORY;
	}
	struct imap_writer *writer = imap_call_step_writer(step);
	imap_writer_word(writer, "SET");
	imap_writer_word(writer, "STATUS");
	imap_writer_open(writer);
	imap_writer_word(writer, "personal");
	imap_writer_open(writer);
	for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
		imap_writer_word(writer, events[i]);
	}
	imap_writer_close(writer);
	imap_writer_close(writer);
	call->session->has_notify = true;
	imap_call_step_submit(step);
	return GP_OK;
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	if (result->error) {
		imap_call_fail(step->call, result->error);
	}
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct notice_call *self = (struct notice_call *)call;

	self->done(self->ctx, error);
}

static const struct imap_call_ops idle_ops = {.advance = send_idle, .step_done = step_done, .end = end};
static const struct imap_call_ops notify_ops = {.advance = send_notify, .step_done = step_done, .end = end};

static struct imap_call *notice_start(struct imap_session *session, const struct imap_call_ops *ops, bool is_offered,
				      imap_done_fn done, void *ctx)
{
	struct notice_call *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	imap_call_init(&self->base, session, ops);
	self->done = done;
	self->ctx = ctx;
	if (!is_offered) {
		imap_call_fail_with(&self->base, GP_UNSUPPORTED, "the IMAP server does not offer this");
	}
	return imap_call_begin(&self->base);
}

struct imap_call *imap_idle_start(struct imap_session *session, imap_done_fn done, void *ctx)
{
	return notice_start(session, &idle_ops, imap_session_can(session, IMAP_CAP_IDLE), done, ctx);
}

struct imap_call *imap_notify_start(struct imap_session *session, imap_done_fn done, void *ctx)
{
	return notice_start(session, &notify_ops, imap_session_can(session, IMAP_CAP_NOTIFY), done, ctx);
}
