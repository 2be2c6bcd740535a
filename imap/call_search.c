/*
 * UID SEARCH.
 *
 * Where ESEARCH is offered, RETURN (ALL COUNT) is asked: COUNT tells "nothing found"
 * from a server that leaves ALL out, and catches one whose ranges span UIDs that did
 * not match. Then the search is done again in the plain form, and ESEARCH is not used
 * in this session any more. A set of UIDs that is too long for one command is split:
 * each command takes a part of it, and the results are joined.
 */
#include <stdio.h>
#include <stdlib.h>

#include "imap/call_internal.h"

#define MAX_IN_FLIGHT 4
#define NO_TERM SIZE_MAX

struct search_call {
	struct imap_call base;
	imap_search_fn done;
	void *ctx;                      /* borrow */
	struct imap_search search;      /* arena */
	struct imap_search_term *terms; /* arena: the same, with one part of the long set; NULL without one */
	struct imap_uidset result;      /* own */
	size_t split;                   /* index of the term whose set is sent in parts; NO_TERM */
	size_t at;                      /* ranges of it sent so far */
	bool is_extended;               /* ESEARCH is used */
	bool is_wrong;                  /* an ESEARCH answer contradicts itself */
	bool is_second_try;             /* plain, as the server did not take ESEARCH */
	bool has_charset;
};

/* ---- searches as values ---- */

static size_t n_operands(const struct imap_search_term *term)
{
	switch (term->kind) {
	case IMAP_SEARCH_NOT:
		return 1;
	case IMAP_SEARCH_OR:
		return 2;
	case IMAP_SEARCH_AND:
		return (size_t)term->number;
	case IMAP_SEARCH_FROM:
	case IMAP_SEARCH_TO:
	case IMAP_SEARCH_CC:
	case IMAP_SEARCH_BCC:
	case IMAP_SEARCH_SUBJECT:
	case IMAP_SEARCH_BODY:
	case IMAP_SEARCH_TEXT:
	case IMAP_SEARCH_HEADER:
	case IMAP_SEARCH_BEFORE:
	case IMAP_SEARCH_ON:
	case IMAP_SEARCH_SINCE:
	case IMAP_SEARCH_SENTBEFORE:
	case IMAP_SEARCH_SENTON:
	case IMAP_SEARCH_SENTSINCE:
	case IMAP_SEARCH_LARGER:
	case IMAP_SEARCH_SMALLER:
	case IMAP_SEARCH_MODSEQ:
	case IMAP_SEARCH_SEEN:
	case IMAP_SEARCH_FLAGGED:
	case IMAP_SEARCH_ANSWERED:
	case IMAP_SEARCH_DRAFT:
	case IMAP_SEARCH_DELETED:
	case IMAP_SEARCH_KEYWORD:
	case IMAP_SEARCH_UID:
	case IMAP_SEARCH_EMAILID:
	case IMAP_SEARCH_THREADID:
	case IMAP_SEARCH_ALL:
		return 0;
	}
	return 0;
}

static bool is_empty_set(const struct imap_search_term *term)
{
	return term->kind == IMAP_SEARCH_UID && imap_uidset_is_empty(term->uids);
}

bool imap_search_matches_nothing(const struct imap_search *search)
{
	size_t n_pending = 0; /* operands of the terms before */

	for (size_t i = 0; i < search->n_terms; i++) {
		const struct imap_search_term *term = &search->terms[i];
		if (n_pending == 0 && is_empty_set(term)) {
			return true;
		}
		n_pending = (n_pending > 0 ? n_pending - 1 : 0) + n_operands(term);
	}
	return false;
}

/* The first term that must hold and whose set of UIDs is too long for one command. */
static size_t find_long_set(const struct imap_search *search)
{
	size_t n_pending = 0;
	struct gp_buffer scratch;

	for (size_t i = 0; i < search->n_terms; i++) {
		const struct imap_search_term *term = &search->terms[i];
		if (n_pending == 0 && term->kind == IMAP_SEARCH_UID) {
			size_t at = 0;
			gp_buffer_init(&scratch, GP_MAX_IMAP_COMMAND);
			enum gp_status status = imap_uidset_write(term->uids, &at, GP_MAX_IMAP_SET_BYTES, &scratch);
			gp_buffer_deinit(&scratch);
			if (status == GP_OK && at < term->uids->n_ranges) {
				return i;
			}
		}
		n_pending = (n_pending > 0 ? n_pending - 1 : 0) + n_operands(term);
	}
	return NO_TERM;
}

static bool copy_uids(struct gp_arena *arena, const struct imap_uidset *from, const struct imap_uidset **copy_out)
{
	struct imap_uidset *set = gp_arena_new(arena, struct imap_uidset);
	struct imap_uid_range *ranges = gp_arena_array(arena, from->n_ranges, sizeof *ranges);

	if (!set || !ranges) {
		return false;
	}
	if (from->n_ranges > 0) {
		memcpy(ranges, from->ranges, from->n_ranges * sizeof *ranges);
	}
	set->ranges = ranges; /* the arena's: never freed as a set */
	set->n_ranges = from->n_ranges;
	*copy_out = set;
	return true;
}

bool imap_search_copy(struct gp_arena *arena, const struct imap_search *from, struct imap_search *copy_out)
{
	/* An empty set takes two terms: NOT ALL. */
	struct imap_search_term *terms = gp_arena_array(arena, from->n_terms * 2 + 1, sizeof *terms);
	size_t n = 0;

	if (!terms) {
		return false;
	}
	for (size_t i = 0; i < from->n_terms; i++) {
		const struct imap_search_term *term = &from->terms[i];
		if (is_empty_set(term)) {
			terms[n++] = (struct imap_search_term){.kind = IMAP_SEARCH_NOT};
			terms[n++] = (struct imap_search_term){.kind = IMAP_SEARCH_ALL};
			continue;
		}
		terms[n] = *term;
		if (!gp_arena_copy(arena, term->name, &terms[n].name) ||
		    !gp_arena_copy(arena, term->text, &terms[n].text) ||
		    (term->kind == IMAP_SEARCH_UID && !copy_uids(arena, term->uids, &terms[n].uids))) {
			return false;
		}
		n++;
	}
	if (n == 0) {
		terms[n++] = (struct imap_search_term){.kind = IMAP_SEARCH_ALL};
	}
	*copy_out = (struct imap_search){.terms = terms, .n_terms = n};
	return true;
}

void imap_search_prepare(const struct imap_session *session, struct imap_writer *writer)
{
	writer->is_gmail = imap_session_can(session, IMAP_CAP_GMAIL) && !imap_session_can(session, IMAP_CAP_OBJECTID);
}

struct gp_error imap_error_for_search(const struct gp_error *error, bool has_charset)
{
	struct gp_error refused = *error;
	bool is_refusal = error->status == GP_NO || error->status == GP_BAD;
	/* Servers older than the code say it in words. */
	bool says_charset = has_charset && error->code[0] == '\0' && imap_error_has_text(error, "charset");

	if (is_refusal && (says_charset || imap_error_has_code(error, "BADCHARSET"))) {
		refused.status = GP_UNSUPPORTED;
		snprintf(refused.code, sizeof refused.code, "BADCHARSET");
	}
	return refused;
}

/* ---- sending ---- */

static enum gp_status write_search(struct search_call *self, struct imap_writer *writer)
{
	size_t split = self->split;

	imap_search_prepare(self->base.session, writer);
	if (self->is_extended) {
		imap_writer_word(writer, "RETURN");
		imap_writer_open(writer);
		imap_writer_word(writer, "ALL");
		imap_writer_word(writer, "COUNT");
		imap_writer_close(writer);
	}
	/* Forbidden once UTF8=ACCEPT is enabled (RFC 6855). */
	self->has_charset = imap_search_needs_charset(&self->search) && !writer->is_utf8;
	if (self->has_charset) {
		imap_writer_word(writer, "CHARSET");
		imap_writer_word(writer, "UTF-8");
	}
	if (split == NO_TERM) {
		self->at = 1;
		imap_writer_search(writer, &self->search);
		return GP_OK;
	}
	const struct imap_uidset *whole = self->search.terms[split].uids;
	size_t from = self->at;
	struct gp_buffer scratch;
	gp_buffer_init(&scratch, GP_MAX_IMAP_COMMAND);
	enum gp_status status = imap_uidset_write(whole, &self->at, GP_MAX_IMAP_SET_BYTES, &scratch);
	gp_buffer_deinit(&scratch);
	if (status != GP_OK) {
		return status;
	}
	struct imap_uidset part = imap_call_uidset_part(whole, from, self->at);
	self->terms[split].uids = &part;
	imap_writer_search(writer, &(struct imap_search){.terms = self->terms, .n_terms = self->search.n_terms});
	self->terms[split].uids = whole;
	return GP_OK;
}

static bool is_all_sent(const struct search_call *self)
{
	return self->split == NO_TERM ? self->at > 0 : self->at == self->search.terms[self->split].uids->n_ranges;
}

static enum gp_status advance(struct imap_call *call)
{
	struct search_call *self = (struct search_call *)call;
	/* Plain answers carry no tag: one at a time. */
	size_t max_in_flight = self->is_extended ? MAX_IN_FLIGHT : 1;

	while (!is_all_sent(self) && call->n_steps < max_in_flight) {
		struct imap_command_spec spec = {.kind = IMAP_COMMAND_SEARCH, .is_bare = !self->is_extended};
		struct imap_call_step *step = imap_call_step_new(call, "UID SEARCH", &spec);
		if (!step) {
			return GP_NO_MEMORY;
		}
		enum gp_status status = write_search(self, imap_call_step_writer(step));
		if (status != GP_OK) {
			imap_call_drop_steps(call);
			return status;
		}
		imap_call_step_submit(step);
	}
	/* While a step is in flight, all of it may have to be done again. */
	call->is_complete = is_all_sent(self) && call->n_steps == 0;
	return GP_OK;
}

/* ---- reading ---- */

static int compare_numbers(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Ascending, so that any order from the server costs no more than a sort. */
static enum gp_status add_numbers(struct imap_uidset *set, const uint32_t *numbers, size_t n)
{
	uint32_t *sorted = NULL;
	bool is_ascending = true;
	enum gp_status status = GP_OK;

	for (size_t i = 1; i < n && is_ascending; i++) {
		is_ascending = numbers[i - 1] <= numbers[i];
	}
	if (!is_ascending) {
		sorted = malloc(n * sizeof *sorted);
		if (!sorted) {
			return GP_NO_MEMORY;
		}
		memcpy(sorted, numbers, n * sizeof *sorted);
		qsort(sorted, n, sizeof *sorted, compare_numbers);
		numbers = sorted;
	}
	for (size_t i = 0; i < n && status == GP_OK; i++) {
		if (numbers[i] != 0) {
			status = imap_uidset_add(set, numbers[i], numbers[i]);
		}
	}
	free(sorted);
	return status;
}

static enum gp_status take_extended(struct search_call *self, struct imap_call_step *step,
				    const struct imap_esearch *found)
{
	if (found->has_all) {
		step->n_rows++;
		if (found->has_count && imap_uidset_count(&found->all) != found->count) {
			self->is_wrong = true;
		}
		return imap_uidset_add_all(&self->result, &found->all);
	}
	if (found->has_count && found->count == 0) {
		step->n_rows++;
	}
	return GP_OK;
}

static void untagged(struct imap_call_step *step, const struct imap_response *response)
{
	struct search_call *self = (struct search_call *)step->call;
	enum gp_status status = GP_OK;

	if (response->type == IMAP_RESPONSE_ESEARCH) {
		status = take_extended(self, step, &response->esearch);
	} else if (response->type == IMAP_RESPONSE_SEARCH) {
		step->n_rows++;
		status = add_numbers(&self->result, response->numbers, response->n_numbers);
	}
	if (status != GP_OK) {
		imap_call_fail_with(step->call, status, gp_status_text(status));
	}
}

/* Once more, without ESEARCH. */
static void start_over(struct search_call *self)
{
	imap_call_drop_steps(&self->base);
	imap_uidset_deinit(&self->result);
	imap_uidset_init(&self->result);
	self->is_extended = false;
	self->is_wrong = false;
	self->is_second_try = true;
	self->at = 0;
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	struct search_call *self = (struct search_call *)step->call;
	struct imap_session *session = step->call->session;

	if (result->error) {
		struct gp_error error = imap_error_for_search(result->error, self->has_charset);
		if (self->is_extended && error.status == GP_BAD) {
			start_over(self);
		} else {
			imap_call_fail(step->call, &error);
		}
		return;
	}
	bool is_missing = step->n_rows == 0 && imap_session_selected(session)->exists > 0;
	if (self->is_extended && (is_missing || self->is_wrong)) {
		imap_session_disable(session, IMAP_CAP_ESEARCH);
		start_over(self);
	} else if (self->is_second_try) {
		imap_session_disable(session, IMAP_CAP_ESEARCH); /* as the plain form is understood */
	}
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct search_call *self = (struct search_call *)call;

	self->done(self->ctx, error, error ? NULL : &self->result);
}

static void deinit(struct imap_call *call)
{
	imap_uidset_deinit(&((struct search_call *)call)->result);
}

static const struct imap_call_ops ops = {
	.advance = advance, .untagged = untagged, .step_done = step_done, .end = end, .deinit = deinit};

static bool copy_search(struct search_call *self, const struct imap_search *search)
{
	struct gp_arena *arena = &self->base.arena;

	if (!imap_search_copy(arena, search, &self->search)) {
		return false;
	}
	self->split = find_long_set(&self->search);
	if (self->split == NO_TERM) {
		return true;
	}
	self->terms = gp_arena_array(arena, self->search.n_terms, sizeof *self->terms);
	if (!self->terms) {
		return false;
	}
	memcpy(self->terms, self->search.terms, self->search.n_terms * sizeof *self->terms);
	return true;
}

struct imap_call *imap_search_start(struct imap_session *session, const struct imap_search *search, imap_search_fn done,
				    void *ctx)
{
	struct search_call *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	imap_call_init(&self->base, session, &ops);
	imap_uidset_init(&self->result);
	self->done = done;
	self->ctx = ctx;
	self->is_extended = imap_session_can(session, IMAP_CAP_ESEARCH);
	self->split = NO_TERM;
	if (imap_search_matches_nothing(search)) {
		self->at = 1; /* nothing to ask */
	} else if (!copy_search(self, search)) {
		imap_call_discard(&self->base);
		return NULL;
	}
	return imap_call_begin(&self->base);
}
