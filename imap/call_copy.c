/*
 * COPY and MOVE of one message, and UID EXPUNGE of one (RFC 3501 section 6.4.7,
 * RFC 6851, RFC 4315).
 *
 * Where the copy is tells COPYUID: in the tagged OK of a COPY; of a MOVE in an untagged
 * OK before the EXPUNGE, or in the tagged one from some servers. It is believed when it
 * speaks of this one message: a server that answers for another one has told nothing.
 */
#include <stdlib.h>

#include "imap/call_internal.h"

enum copy_command { COMMAND_COPY, COMMAND_MOVE, COMMAND_EXPUNGE };

struct copy_call {
	struct imap_call base;
	imap_copy_fn copied;  /* COPY, MOVE */
	imap_done_fn removed; /* EXPUNGE */
	void *ctx;            /* borrow */
	enum copy_command command;
	uint32_t uid;
	struct span mailbox; /* borrow, until start() returns */
	struct imap_copied result;
};

static enum gp_status advance(struct imap_call *call)
{
	static const char *const names[] = {
		[COMMAND_COPY] = "UID COPY", [COMMAND_MOVE] = "UID MOVE", [COMMAND_EXPUNGE] = "UID EXPUNGE"};
	struct copy_call *self = (struct copy_call *)call;
	const struct imap_command_spec spec = {.kind = IMAP_COMMAND_COPY};

	call->is_complete = true;
	struct imap_call_step *step = imap_call_step_new(call, names[self->command], &spec);
	if (!step) {
		return GP_NO_MEMORY;
	}
	struct imap_writer *writer = imap_call_step_writer(step);
	imap_writer_range(writer, self->uid, self->uid);
	if (self->command != COMMAND_EXPUNGE) {
		imap_writer_mailbox(writer, self->mailbox);
	}
	imap_call_step_submit(step);
	return GP_OK;
}

/* The one UID of a set of one; 0 for any other. */
static uint32_t only_uid(const struct imap_uidset *set)
{
	return set && set->n_ranges == 1 && set->ranges[0].first == set->ranges[0].last ? set->ranges[0].first : 0;
}

static void take_code(struct copy_call *self, const struct imap_code *code)
{
	uint32_t uid = only_uid(code->uids);

	if (!span_equal_text_nocase(code->name, "COPYUID") || only_uid(code->source_uids) != self->uid) {
		return;
	}
	if (uid != 0 && uid != IMAP_UID_STAR && code->number > 0 && code->number <= UINT32_MAX) {
		self->result = (struct imap_copied){.uidvalidity = (uint32_t)code->number, .uid = uid};
	}
}

static void untagged(struct imap_call_step *step, const struct imap_response *response)
{
	if (response->type == IMAP_RESPONSE_CONDITION) {
		take_code((struct copy_call *)step->call, &response->code);
	}
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	struct copy_call *self = (struct copy_call *)step->call;

	if (!result->error) {
		take_code(self, &result->response->code);
		return;
	}
	struct gp_error error = *result->error;
	/* RFC 3501 wants TRYCREATE for a target that is not there; some have only words for it. */
	bool is_missing = imap_error_has_code(&error, "TRYCREATE") || imap_error_has_code(&error, "NONEXISTENT") ||
			  imap_error_says_no_mailbox(&error);
	if (self->command != COMMAND_EXPUNGE && error.status == GP_NO && is_missing) {
		error.status = GP_NOT_FOUND;
	}
	imap_call_fail(step->call, &error);
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct copy_call *self = (struct copy_call *)call;

	if (self->command == COMMAND_EXPUNGE) {
		self->removed(self->ctx, error);
	} else {
		self->copied(self->ctx, error, &self->result);
	}
}

static const struct imap_call_ops ops = {.advance = advance, .untagged = untagged, .step_done = step_done, .end = end};

static struct copy_call *copy_call_new(struct imap_session *session, enum copy_command command, uint32_t uid, void *ctx)
{
	struct copy_call *self = calloc(1, sizeof *self);

	if (self) {
		imap_call_init(&self->base, session, &ops);
		self->command = command;
		self->uid = uid;
		self->ctx = ctx;
		/* On the wire this number would be "*": another message. */
		if (uid == IMAP_UID_STAR) {
			imap_call_fail_with(&self->base, GP_INVALID, "no message has the UID 4294967295");
		}
	}
	return self;
}

struct imap_call *imap_copy_start(struct imap_session *session, uint32_t uid, struct span mailbox, bool is_move,
				  imap_copy_fn done, void *ctx)
{
	struct copy_call *self = copy_call_new(session, is_move ? COMMAND_MOVE : COMMAND_COPY, uid, ctx);

	if (!self) {
		return NULL;
	}
	self->copied = done;
	self->mailbox = mailbox;
	if (is_move && !imap_session_can(session, IMAP_CAP_MOVE)) {
		imap_call_fail_with(&self->base, GP_UNSUPPORTED, "the IMAP server has no MOVE");
	}
	return imap_call_begin(&self->base);
}

struct imap_call *imap_expunge_start(struct imap_session *session, uint32_t uid, imap_done_fn done, void *ctx)
{
	struct copy_call *self = copy_call_new(session, COMMAND_EXPUNGE, uid, ctx);

	if (!self) {
		return NULL;
	}
	self->removed = done;
	if (!imap_session_can(session, IMAP_CAP_UIDPLUS)) {
		imap_call_fail_with(&self->base, GP_UNSUPPORTED, "the IMAP server has no UIDPLUS");
	}
	return imap_call_begin(&self->base);
}
