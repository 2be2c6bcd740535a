/*
 * The position of the first message with a UID of at least some number.
 *
 * The range ends in a number, not in "*": "500:*" names the last message even when
 * its UID is below 500. When messages went while the command ran, the answer may be
 * about the mailbox before or after, so it is asked again.
 */
#include <stdlib.h>

#include "imap/call_internal.h"

#define MAX_TRIES 4
#define MAX_UID (IMAP_UID_STAR - 1)

struct position_call {
	struct imap_call base;
	imap_position_fn done;
	void *ctx; /* borrow */
	uint32_t uid;
	uint32_t position; /* 0: none so far */
	unsigned n_tries;  /* that messages went during */
	bool is_extended;  /* ESEARCH is used */
	bool is_sent;
};

static enum gp_status advance(struct imap_call *call)
{
	struct position_call *self = (struct position_call *)call;
	struct imap_uid_range range = {self->uid > 0 ? self->uid : 1, MAX_UID};
	struct imap_uidset uids = {.ranges = &range, .n_ranges = 1};
	struct imap_search_term term = {.kind = IMAP_SEARCH_UID, .uids = &uids};
	struct imap_search search = {.terms = &term, .n_terms = 1};
	struct imap_command_spec spec = {.kind = IMAP_COMMAND_SEARCH, .is_bare = !self->is_extended};

	if (self->is_sent) {
		return GP_OK;
	}
	self->position = 0;
	if (imap_session_selected(call->session)->exists == 0 || self->uid > MAX_UID) {
		call->is_complete = true;
		return GP_OK;
	}
	struct imap_call_step *step = imap_call_step_new(call, "SEARCH", &spec);
	if (!step) {
		return GP_NO_MEMORY;
	}
	struct imap_writer *writer = imap_call_step_writer(step);
	if (self->is_extended) {
		imap_writer_word(writer, "RETURN");
		imap_writer_open(writer);
		imap_writer_word(writer, "MIN");
		imap_writer_word(writer, "COUNT");
		imap_writer_close(writer);
	}
	imap_writer_search(writer, &search);
	imap_call_step_submit(step);
	self->is_sent = true;
	return GP_OK;
}

static void untagged(struct imap_call_step *step, const struct imap_response *response)
{
	struct position_call *self = (struct position_call *)step->call;

	if (response->type == IMAP_RESPONSE_SEARCH) {
		step->n_rows++;
		for (size_t i = 0; i < response->n_numbers; i++) {
			uint32_t number = response->numbers[i];
			if (number != 0 && (self->position == 0 || number < self->position)) {
				self->position = number;
			}
		}
	} else if (response->type == IMAP_RESPONSE_ESEARCH && !response->esearch.is_uid) {
		const struct imap_esearch *found = &response->esearch;
		bool has_min = found->has_min && found->min > 0;
		if (has_min || (found->has_count && found->count == 0)) {
			step->n_rows++;
			self->position = has_min ? found->min : 0;
		}
	}
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	struct position_call *self = (struct position_call *)step->call;
	struct imap_call *call = step->call;
	const struct imap_selected *selected = imap_session_selected(call->session);
	bool is_bad = result->error && result->error->status == GP_BAD;

	if (self->is_extended && (is_bad || (!result->error && step->n_rows == 0))) {
		if (!result->error) {
			imap_session_disable(call->session, IMAP_CAP_ESEARCH);
		}
		self->is_extended = false;
		self->is_sent = false;
	} else if (result->error) {
		imap_call_fail(call, result->error);
	} else if (selected->n_expunged != step->n_expunged) {
		self->is_sent = false;
		if (++self->n_tries == MAX_TRIES) {
			imap_call_fail_with(call, GP_STALE, gp_status_text(GP_STALE));
		}
	} else if (self->position > selected->exists) {
		imap_call_fail_with(call, GP_PROTOCOL, "SEARCH named a message that does not exist");
	} else {
		call->is_complete = true;
	}
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct position_call *self = (struct position_call *)call;

	self->done(self->ctx, error, error ? 0 : self->position);
}

static const struct imap_call_ops ops = {.advance = advance, .untagged = untagged, .step_done = step_done, .end = end};

struct imap_call *imap_position_start(struct imap_session *session, uint32_t uid, imap_position_fn done, void *ctx)
{
	struct position_call *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	imap_call_init(&self->base, session, &ops);
	self->done = done;
	self->ctx = ctx;
	self->uid = uid;
	self->is_extended = imap_session_can(session, IMAP_CAP_ESEARCH);
	return imap_call_begin(&self->base);
}
