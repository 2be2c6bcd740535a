/*
 * APPEND of one message whose octets come while they are sent (RFC 3501 section 6.3.11).
 *
 * The literal is a synchronising one (imap/session_literal.c): a server that does not
 * want the message says so before any of it is asked for. Where it is then tells
 * APPENDUID (RFC 4315).
 */
#include <assert.h>
#include <stdlib.h>

#include "imap/call_internal.h"

struct imap_append {
	struct imap_call base;
	const struct imap_append_events *events; /* borrow */
	void *ctx;                               /* borrow */
	struct imap_append_spec spec;            /* what it points to: borrow, until start() returns */
	struct imap_command *command;            /* link: the step's, until its end */
	struct imap_copied appended;
	bool is_sent;
};

static struct imap_append *of(struct imap_call *call)
{
	return (struct imap_append *)call;
}

static void on_room(void *ctx)
{
	struct imap_append *self = ctx;

	self->events->room(self->ctx, imap_append_room(self));
}

static enum gp_status advance(struct imap_call *call)
{
	struct imap_append *self = of(call);
	const struct imap_append_spec *spec = &self->spec;
	const struct imap_command_spec command = {
		.kind = IMAP_COMMAND_APPEND, .streamed = spec->size, .room = on_room, .room_ctx = self};

	call->is_complete = true;
	struct imap_call_step *step = imap_call_step_new(call, "APPEND", &command);
	if (!step) {
		return GP_NO_MEMORY;
	}
	struct imap_writer *writer = imap_call_step_writer(step);
	imap_writer_mailbox(writer, spec->mailbox);
	if (spec->n_flags > 0) {
		imap_writer_flags(writer, spec->flags, spec->n_flags);
	}
	if (spec->has_date) {
		imap_writer_date_time(writer, spec->date);
	}
	imap_writer_literal_head(writer, spec->size);
	self->command = step->command;
	imap_call_step_submit(step);
	return GP_OK;
}

/* The one UID of a set of one; 0 for any other. */
static uint32_t only_uid(const struct imap_uidset *set)
{
	return set && set->n_ranges == 1 && set->ranges[0].first == set->ranges[0].last ? set->ranges[0].first : 0;
}

struct gp_error imap_error_for_append(const struct gp_error *error)
{
	struct gp_error found = *error;
	/* RFC 3501 wants TRYCREATE for a mailbox that is not there; some have only words for it. */
	bool is_missing = imap_error_has_code(error, "TRYCREATE") || imap_error_has_code(error, "NONEXISTENT") ||
			  imap_error_says_no_mailbox(error);

	if (error->status == GP_NO && is_missing) {
		found.status = GP_NOT_FOUND;
	}
	return found;
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	struct imap_append *self = of(step->call);

	self->command = NULL;
	self->is_sent = result->is_sent;
	if (result->error) {
		struct gp_error error = imap_error_for_append(result->error);
		imap_call_fail(step->call, &error);
		return;
	}
	const struct imap_code *code = &result->response->code;
	uint32_t uid = only_uid(code->uids);
	if (span_equal_text_nocase(code->name, "APPENDUID") && uid != 0 && uid != IMAP_UID_STAR && code->number > 0 &&
	    code->number <= UINT32_MAX) {
		self->appended = (struct imap_copied){.uidvalidity = (uint32_t)code->number, .uid = uid};
	}
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct imap_append *self = of(call);
	const struct imap_append_result result = {.appended = self->appended, .is_sent = self->is_sent};

	self->events->done(self->ctx, error, &result);
}

static const struct imap_call_ops ops = {.advance = advance, .step_done = step_done, .end = end};

struct imap_append *imap_append_start(struct imap_session *session, const struct imap_append_spec *spec,
				      const struct imap_append_events *events, void *ctx)
{
	struct imap_append *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	imap_call_init(&self->base, session, &ops);
	self->events = events;
	self->ctx = ctx;
	self->spec = *spec;
	/* RFC 3501 takes it for an attempt to append nothing, and servers for an error. */
	if (spec->size == 0) {
		imap_call_fail_with(&self->base, GP_INVALID, "an empty message cannot be appended");
	} else if (imap_session_append_limit(session) > 0 && spec->size > imap_session_append_limit(session)) {
		imap_call_fail_with(&self->base, GP_INVALID, "the message is larger than the IMAP server takes");
	}
	return (struct imap_append *)imap_call_begin(&self->base);
}

size_t imap_append_room(const struct imap_append *append)
{
	return append->command ? imap_command_literal_room(append->command) : 0;
}

void imap_append_write(struct imap_append *append, struct span octets)
{
	if (append->command && octets.len > 0) {
		imap_command_write_literal(append->command, octets);
	}
}

void imap_append_cancel(struct imap_append **append)
{
	struct imap_call *call = *append ? &(*append)->base : NULL;

	*append = NULL;
	imap_call_cancel(&call);
}

/* ---- several at once ---- */

struct multiappend {
	struct imap_call base;
	imap_multiappend_fn done;
	void *ctx; /* borrow */
	/* borrow, until start() returns */
	struct span mailbox;
	const struct span *flags;
	size_t n_flags;
	const struct imap_append_item *items;
	size_t n_items;
	struct imap_append_result result;
	struct imap_uidset uids; /* own */
};

static enum gp_status multi_advance(struct imap_call *call)
{
	struct multiappend *self = (struct multiappend *)call;
	const struct imap_command_spec spec = {.kind = IMAP_COMMAND_APPEND};
	struct imap_call_step *step = imap_call_step_new(call, "APPEND", &spec);

	call->is_complete = true;
	if (!step) {
		return GP_NO_MEMORY;
	}
	struct imap_writer *writer = imap_call_step_writer(step);
	imap_writer_mailbox(writer, self->mailbox);
	for (size_t i = 0; i < self->n_items; i++) {
		if (self->n_flags > 0) {
			imap_writer_flags(writer, self->flags, self->n_flags);
		}
		if (self->items[i].has_date) {
			imap_writer_date_time(writer, self->items[i].date);
		}
		imap_writer_literal(writer, self->items[i].octets);
	}
	imap_call_step_submit(step);
	return GP_OK;
}

static void multi_step_done(struct imap_call_step *step, const struct imap_result *result)
{
	struct multiappend *self = (struct multiappend *)step->call;

	self->result.is_sent = result->is_sent;
	if (result->error) {
		struct gp_error error = imap_error_for_append(result->error);
		imap_call_fail(step->call, &error);
		return;
	}
	const struct imap_code *code = &result->response->code;
	bool is_told = span_equal_text_nocase(code->name, "APPENDUID") && code->uids &&
		       imap_uidset_count(code->uids) == self->n_items && code->number > 0 && code->number <= UINT32_MAX;
	if (is_told && imap_uidset_add_all(&self->uids, code->uids) == GP_OK) {
		self->result.appended.uidvalidity = (uint32_t)code->number;
	}
}

static void multi_end(struct imap_call *call, const struct gp_error *error)
{
	struct multiappend *self = (struct multiappend *)call;
	bool is_told = self->result.appended.uidvalidity != 0;

	self->done(self->ctx, error, &self->result, is_told ? &self->uids : NULL);
}

static void multi_deinit(struct imap_call *call)
{
	imap_uidset_deinit(&((struct multiappend *)call)->uids);
}

static const struct imap_call_ops multi_ops = {
	.advance = multi_advance, .step_done = multi_step_done, .end = multi_end, .deinit = multi_deinit};

struct imap_call *imap_multiappend_start(struct imap_session *session, struct span mailbox, const struct span *flags,
					 size_t n_flags, const struct imap_append_item *items, size_t n_items,
					 imap_multiappend_fn done, void *ctx)
{
	struct multiappend *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	imap_call_init(&self->base, session, &multi_ops);
	imap_uidset_init(&self->uids);
	self->mailbox = mailbox;
	self->flags = flags;
	self->n_flags = n_flags;
	self->items = items;
	self->n_items = n_items;
	self->done = done;
	self->ctx = ctx;
	if (n_items == 0) {
		imap_call_fail_with(&self->base, GP_INVALID, "no message to append");
	} else if (!imap_session_can(session, IMAP_CAP_MULTIAPPEND)) {
		imap_call_fail_with(&self->base, GP_UNSUPPORTED, "the IMAP server has no MULTIAPPEND");
	}
	return imap_call_begin(&self->base);
}
