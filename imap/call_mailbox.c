/*
 * CREATE (with USE, RFC 6154), RENAME, DELETE, SUBSCRIBE and UNSUBSCRIBE: one command
 * each. What goes wrong is told as the server told it, but for a mailbox that is not
 * there, which servers say in many ways.
 */
#include <stdlib.h>

#include "imap/call_internal.h"

struct mailbox_call {
	struct imap_call base;
	imap_done_fn done;
	void *ctx;                  /* borrow */
	const char *command;        /* static */
	struct span name, new_name; /* borrow, until start() returns; new_name NIL: none */
	const char *special_use;    /* static; NULL: none */
};

static enum gp_status advance(struct imap_call *call)
{
	struct mailbox_call *self = (struct mailbox_call *)call;
	const struct imap_command_spec spec = {.kind = IMAP_COMMAND_PLAIN};

	call->is_complete = true;
	struct imap_call_step *step = imap_call_step_new(call, self->command, &spec);
	if (!step) {
		return GP_NO_MEMORY;
	}
	struct imap_writer *writer = imap_call_step_writer(step);
	imap_writer_mailbox(writer, self->name);
	if (!span_is_nil(self->new_name)) {
		imap_writer_mailbox(writer, self->new_name);
	}
	if (self->special_use) {
		imap_writer_open(writer);
		imap_writer_word(writer, "USE");
		imap_writer_open(writer);
		imap_writer_word(writer, self->special_use);
		imap_writer_close(writer);
		imap_writer_close(writer);
	}
	imap_call_step_submit(step);
	return GP_OK;
}

/* A refusal without a code is a refusal here, and no sign of a mailbox that is not
 * there: only the code or the words say that. */
static struct gp_error read_refusal(const struct gp_error *error)
{
	struct gp_error found = *error;

	if (error->status == GP_NO &&
	    (imap_error_has_code(error, "NONEXISTENT") || imap_error_says_no_mailbox(error))) {
		found.status = GP_NOT_FOUND;
	}
	return found;
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	if (result->error) {
		const struct gp_error error = read_refusal(result->error);
		imap_call_fail(step->call, &error);
	}
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct mailbox_call *self = (struct mailbox_call *)call;

	self->done(self->ctx, error);
}

static const struct imap_call_ops ops = {.advance = advance, .step_done = step_done, .end = end};

static struct mailbox_call *mailbox_call_new(struct imap_session *session, const char *command, struct span name,
					     imap_done_fn done, void *ctx)
{
	struct mailbox_call *self = calloc(1, sizeof *self);

	if (self) {
		imap_call_init(&self->base, session, &ops);
		self->command = command;
		self->name = name;
		self->done = done;
		self->ctx = ctx;
	}
	return self;
}

/* The name of a use on the wire; NULL: it is none, or more than one. */
static const char *special_use_word(unsigned attribute)
{
	static const struct {
		unsigned attribute;
		const char *word;
	} words[] = {
		{IMAP_MAILBOX_ALL, "\\All"},       {IMAP_MAILBOX_ARCHIVE, "\\Archive"},
		{IMAP_MAILBOX_DRAFTS, "\\Drafts"}, {IMAP_MAILBOX_FLAGGED, "\\Flagged"},
		{IMAP_MAILBOX_JUNK, "\\Junk"},     {IMAP_MAILBOX_SENT, "\\Sent"},
		{IMAP_MAILBOX_TRASH, "\\Trash"},   {IMAP_MAILBOX_IMPORTANT, "\\Important"},
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (words[i].attribute == attribute) {
			return words[i].word;
		}
	}
	return NULL;
}

struct imap_call *imap_create_start(struct imap_session *session, struct span mailbox, unsigned special_use,
				    imap_done_fn done, void *ctx)
{
	struct mailbox_call *self = mailbox_call_new(session, "CREATE", mailbox, done, ctx);

	if (!self) {
		return NULL;
	}
	self->special_use = special_use_word(special_use);
	/* Without its use it would be another mailbox than was asked for. */
	if (special_use != 0 && (!self->special_use || !imap_session_can(session, IMAP_CAP_CREATE_SPECIAL_USE))) {
		imap_call_fail_with(&self->base, GP_UNSUPPORTED, "a mailbox cannot be given a special use here");
	}
	return imap_call_begin(&self->base);
}

struct imap_call *imap_rename_start(struct imap_session *session, struct span mailbox, struct span new_name,
				    imap_done_fn done, void *ctx)
{
	struct mailbox_call *self = mailbox_call_new(session, "RENAME", mailbox, done, ctx);

	if (!self) {
		return NULL;
	}
	self->new_name = new_name;
	return imap_call_begin(&self->base);
}

struct imap_call *imap_delete_start(struct imap_session *session, struct span mailbox, imap_done_fn done, void *ctx)
{
	struct mailbox_call *self = mailbox_call_new(session, "DELETE", mailbox, done, ctx);

	return self ? imap_call_begin(&self->base) : NULL;
}

struct imap_call *imap_subscribe_start(struct imap_session *session, struct span mailbox, bool is_subscribed,
				       imap_done_fn done, void *ctx)
{
	const char *command = is_subscribed ? "SUBSCRIBE" : "UNSUBSCRIBE";
	struct mailbox_call *self = mailbox_call_new(session, command, mailbox, done, ctx);

	return self ? imap_call_begin(&self->base) : NULL;
}
