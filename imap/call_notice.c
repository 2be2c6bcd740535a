/*
 * Commands that make the server speak unasked: IDLE (RFC 2177), which lasts until
 * something else is to be sent (session_idle.c), and NOTIFY (RFC 5465), which is over at
 * once and leaves the session as it is.
 */
#include <stdlib.h>

#include "imap/call_internal.h"
#include "imap/session_internal.h"
#include "imap/utf7.h"

#define MAX_SUBTREES 8

enum { ROLE_NOTICE, ROLE_NAMESPACE };

struct notice_call {
	struct imap_call base;
	/* NOTIFY: where other people's mailboxes and shared ones are (RFC 2342); UTF-8, arena */
	struct span subtrees[MAX_SUBTREES];
	size_t n_subtrees;
	bool has_asked; /* NAMESPACE */
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

static enum gp_status send_namespace(struct notice_call *self)
{
	const struct imap_command_spec spec = {.kind = IMAP_COMMAND_NAMESPACE};
	struct imap_call_step *step = imap_call_step_new(&self->base, "NAMESPACE", &spec);

	self->has_asked = true;
	if (!step) {
		return GP_NO_MEMORY;
	}
	step->role = ROLE_NAMESPACE;
	imap_call_step_submit(step);
	return GP_OK;
}

static void write_events(struct imap_writer *writer)
{
	static const char *const events[] = {"MessageNew", "MessageExpunge", "FlagChange", "MailboxName",
					     "SubscriptionChange"};

	imap_writer_open(writer);
	for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
		imap_writer_word(writer, events[i]);
	}
	imap_writer_close(writer);
}

/*
 * Of the personal namespaces, and of all below the others: LIST tells of those too.
 * Dovecot 2.3 says OK to a second NOTIFY SET, and tells nothing from then on.
 */
static enum gp_status send_notify(struct imap_call *call)
{
	struct notice_call *self = (struct notice_call *)call;
	const struct imap_command_spec spec = {.kind = IMAP_COMMAND_PLAIN};

	if (!self->has_asked && imap_session_can(call->session, IMAP_CAP_NAMESPACE)) {
		return send_namespace(self);
	}
	if (call->n_steps > 0) {
		return GP_OK; /* NAMESPACE */
	}
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
	write_events(writer);
	imap_writer_close(writer);
	for (size_t i = 0; i < self->n_subtrees; i++) {
		imap_writer_open(writer);
		imap_writer_word(writer, "subtree");
		imap_writer_mailbox(writer, self->subtrees[i]);
		write_events(writer);
		imap_writer_close(writer);
	}
	call->session->has_notify = true;
	imap_call_step_submit(step);
	return GP_OK;
}

/* The mailbox that the namespace begins with, without the delimiter. One that begins with
 * nothing cannot be named, and what is no modified UTF-7 is no name. */
static enum gp_status keep_subtree(struct notice_call *self, const struct imap_namespace *space)
{
	struct span raw = space->prefix;
	struct gp_buffer name;

	if (raw.len > 0 && raw.ptr[raw.len - 1] == space->delimiter) {
		raw.len--;
	}
	if (raw.len == 0 || self->n_subtrees == MAX_SUBTREES) {
		return GP_OK;
	}
	gp_buffer_init(&name, 4 * GP_KIB);
	enum gp_status status = imap_utf7_decode(raw, &name);
	if (status == GP_OK) {
		bool is_kept =
			gp_arena_copy(&self->base.arena, gp_buffer_span(&name), &self->subtrees[self->n_subtrees]);
		self->n_subtrees += is_kept;
		status = is_kept ? GP_OK : GP_NO_MEMORY;
	}
	gp_buffer_deinit(&name);
	return status == GP_NO_MEMORY ? status : GP_OK;
}

static void untagged(struct imap_call_step *step, const struct imap_response *response)
{
	struct notice_call *self = (struct notice_call *)step->call;

	for (size_t i = 0; response->type == IMAP_RESPONSE_NAMESPACE && i < response->n_namespaces; i++) {
		const struct imap_namespace *space = &response->namespaces[i];
		if (space->kind != IMAP_NS_PERSONAL && keep_subtree(self, space) != GP_OK) {
			imap_call_fail_with(&self->base, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
			return;
		}
	}
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	/* a server that does not answer NAMESPACE may answer NOTIFY */
	bool is_refused = result->error && (result->error->status == GP_NO || result->error->status == GP_BAD);

	if (result->error && !(is_refused && step->role == ROLE_NAMESPACE)) {
		imap_call_fail(step->call, result->error);
	}
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct notice_call *self = (struct notice_call *)call;

	self->done(self->ctx, error);
}

static const struct imap_call_ops idle_ops = {.advance = send_idle, .step_done = step_done, .end = end};
static const struct imap_call_ops notify_ops = {
	.advance = send_notify, .untagged = untagged, .step_done = step_done, .end = end};

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
