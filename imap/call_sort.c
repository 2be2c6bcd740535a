/* UID SORT (RFC 5256, RFC 5957). */
#include <stdlib.h>

#include "imap/call_internal.h"

#define MAX_UIDS ((size_t)1 << 20)

struct sort_call {
	struct imap_call base;
	imap_sort_fn done;
	void *ctx; /* borrow */
	/* borrow, until start() returns */
	const struct imap_sort_term *terms;
	size_t n_terms;
	const struct imap_search *search;
	bool is_utf8;   /* the charset that was named */
	uint32_t *uids; /* own */
	size_t n_uids, size;
};

static const char *key_word(const struct imap_session *session, enum imap_sort_key key)
{
	bool by_name = imap_session_can(session, IMAP_CAP_SORT_DISPLAY);

	switch (key) {
	case IMAP_SORT_ARRIVAL:
		return "ARRIVAL";
	case IMAP_SORT_DATE:
		return "DATE";
	case IMAP_SORT_FROM:
		return by_name ? "DISPLAYFROM" : "FROM";
	case IMAP_SORT_TO:
		return by_name ? "DISPLAYTO" : "TO";
	case IMAP_SORT_CC:
		return "CC";
	case IMAP_SORT_SUBJECT:
		return "SUBJECT";
	case IMAP_SORT_SIZE:
		return "SIZE";
	}
	return "ARRIVAL";
}

static enum gp_status advance(struct imap_call *call)
{
	struct sort_call *self = (struct sort_call *)call;
	struct imap_command_spec spec = {.kind = IMAP_COMMAND_SORT};
	struct imap_search search;

	call->is_complete = true;
	if (imap_search_matches_nothing(self->search)) {
		return GP_OK;
	}
	struct imap_call_step *step = imap_call_step_new(call, "UID SORT", &spec);
	if (!step || !imap_search_copy(&call->arena, self->search, &search)) {
		return GP_NO_MEMORY;
	}
	struct imap_writer *writer = imap_call_step_writer(step);
	imap_search_prepare(call->session, writer);
	imap_writer_open(writer);
	for (size_t i = 0; i < self->n_terms; i++) {
		if (self->terms[i].is_reverse) {
			imap_writer_word(writer, "REVERSE");
		}
		imap_writer_word(writer, key_word(call->session, self->terms[i].key));
	}
	imap_writer_close(writer);
	self->is_utf8 = imap_search_needs_charset(&search) || writer->is_utf8;
	imap_writer_word(writer, self->is_utf8 ? "UTF-8" : "US-ASCII");
	imap_writer_search(writer, &search);
	imap_call_step_submit(step);
	return GP_OK;
}

static enum gp_status add_numbers(struct sort_call *self, const uint32_t *numbers, size_t n)
{
	if (n > MAX_UIDS - self->n_uids) {
		return GP_LIMIT;
	}
	if (n > self->size - self->n_uids) {
		size_t size = self->n_uids + n;
		uint32_t *uids = realloc(self->uids, size * sizeof *uids);
		if (!uids) {
			return GP_NO_MEMORY;
		}
		self->uids = uids;
		self->size = size;
	}
	for (size_t i = 0; i < n; i++) {
		if (numbers[i] != 0) {
			self->uids[self->n_uids++] = numbers[i];
		}
	}
	return GP_OK;
}

static void untagged(struct imap_call_step *step, const struct imap_response *response)
{
	struct sort_call *self = (struct sort_call *)step->call;

	if (response->type != IMAP_RESPONSE_SORT) {
		return;
	}
	enum gp_status status = add_numbers(self, response->numbers, response->n_numbers);
	if (status != GP_OK) {
		imap_call_fail_with(step->call, status, gp_status_text(status));
	}
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	struct sort_call *self = (struct sort_call *)step->call;

	if (result->error) {
		struct gp_error error = imap_error_for_search(result->error, self->is_utf8);
		imap_call_fail(step->call, &error);
	}
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct sort_call *self = (struct sort_call *)call;

	self->done(self->ctx, error, error ? NULL : self->uids, error ? 0 : self->n_uids);
}

static void deinit(struct imap_call *call)
{
	free(((struct sort_call *)call)->uids);
}

static const struct imap_call_ops ops = {
	.advance = advance, .untagged = untagged, .step_done = step_done, .end = end, .deinit = deinit};

struct imap_call *imap_sort_start(struct imap_session *session, const struct imap_sort_term *terms, size_t n_terms,
				  const struct imap_search *search, imap_sort_fn done, void *ctx)
{
	struct sort_call *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	imap_call_init(&self->base, session, &ops);
	self->done = done;
	self->ctx = ctx;
	self->terms = terms;
	self->n_terms = n_terms;
	self->search = search;
	if (!imap_session_can(session, IMAP_CAP_SORT)) {
		imap_call_fail_with(&self->base, GP_UNSUPPORTED, "the IMAP server cannot sort");
	} else if (n_terms == 0) {
		imap_call_fail_with(&self->base, GP_INVALID, "nothing to sort by");
	}
	return imap_call_begin(&self->base);
}
