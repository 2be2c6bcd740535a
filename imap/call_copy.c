/*
 * COPY and MOVE of messages, and UID EXPUNGE (RFC 3501 section 6.4.7, RFC 6851,
 * RFC 4315): of one message, or of a set, which is split over commands, one at a time.
 *
 * Where the copies are tells COPYUID: in the tagged OK of a COPY; of a MOVE in untagged
 * OKs before the EXPUNGEs, or in the tagged one from some servers. Its two sets are read
 * in the order in which they stand there: servers send them unordered. It is believed
 * when it speaks of nothing but messages that were asked: a server that answers for
 * others has told nothing.
 */
#include <stdlib.h>

#include "imap/call_internal.h"

enum copy_command { COMMAND_COPY, COMMAND_MOVE, COMMAND_EXPUNGE };

struct copy_call {
	struct imap_call base;
	imap_copy_fn copied;       /* COPY, MOVE of one */
	imap_copies_fn copied_set; /* COPY, MOVE of a set */
	imap_done_fn removed;      /* EXPUNGE */
	void *ctx;                 /* borrow */
	enum copy_command command;
	struct imap_uidset uids; /* own */
	size_t at;               /* ranges of `uids` sent so far */
	struct span mailbox;     /* arena */
	uint32_t uidvalidity;
	struct imap_copy_pair *pairs; /* own */
	size_t n_pairs, pairs_size;
};

static enum gp_status advance(struct imap_call *call)
{
	static const char *const names[] = {
		[COMMAND_COPY] = "UID COPY", [COMMAND_MOVE] = "UID MOVE", [COMMAND_EXPUNGE] = "UID EXPUNGE"};
	struct copy_call *self = (struct copy_call *)call;
	const struct imap_command_spec spec = {.kind = IMAP_COMMAND_COPY};

	if (self->at == self->uids.n_ranges || call->n_steps > 0) {
		call->is_complete = self->at == self->uids.n_ranges;
		return GP_OK;
	}
	struct imap_call_step *step = imap_call_step_new(call, names[self->command], &spec);
	if (!step) {
		return GP_NO_MEMORY;
	}
	imap_call_step_uids(step, &self->uids, &self->at);
	if (self->command != COMMAND_EXPUNGE) {
		imap_writer_mailbox(imap_call_step_writer(step), self->mailbox);
	}
	imap_call_step_submit(step);
	call->is_complete = self->at == self->uids.n_ranges;
	return GP_OK;
}

/* ---- COPYUID ---- */

/* The UIDs of a set, in the order in which it names them. */
struct set_walk {
	struct span rest;
	uint64_t next, last; /* what is left of a range: next > last when nothing is */
};

static bool walk(struct set_walk *at, uint32_t *uid_out)
{
	if (at->next > at->last) {
		ptrdiff_t comma = span_find_char(at->rest, ',');
		struct span item = comma < 0 ? at->rest : span_slice(at->rest, 0, (size_t)comma);
		ptrdiff_t colon = span_find_char(item, ':');
		uint32_t first, last;
		if (!span_to_u32(colon < 0 ? item : span_slice(item, 0, (size_t)colon), &first) ||
		    !span_to_u32(colon < 0 ? item : span_from(item, (size_t)colon + 1), &last)) {
			return false;
		}
		at->rest = comma < 0 ? SPAN_NIL : span_from(at->rest, (size_t)comma + 1);
		at->next = first < last ? first : last; /* 4:2 is 2:4 */
		at->last = first < last ? last : first;
	}
	*uid_out = (uint32_t)at->next++;
	return true;
}

/* Whether a COPYUID can be what these commands came to. Its sets are not expanded before. */
static bool is_credible(const struct copy_call *self, const struct imap_code *code)
{
	if (!code->source_uids || !code->uids || code->number == 0 || code->number > UINT32_MAX ||
	    imap_uidset_contains(code->uids, IMAP_UID_STAR)) {
		return false;
	}
	uint64_t n_sources = imap_uidset_count(code->source_uids);
	return n_sources == imap_uidset_count(code->uids) && n_sources <= imap_uidset_count(&self->uids);
}

/* Room for `n` more pairs; without, the server has told nothing. */
static bool has_room(struct copy_call *self, size_t n)
{
	if (self->pairs_size - self->n_pairs < n) {
		struct imap_copy_pair *pairs = realloc(self->pairs, (self->n_pairs + n) * sizeof *pairs);
		if (!pairs) {
			return false;
		}
		self->pairs = pairs;
		self->pairs_size = self->n_pairs + n;
	}
	return true;
}

static void take_code(struct copy_call *self, const struct imap_code *code)
{
	if (!span_equal_text_nocase(code->name, "COPYUID") || !is_credible(self, code)) {
		return;
	}
	ptrdiff_t before = span_find_char(code->value, ' ');
	struct span sets = span_trim(span_from(code->value, before < 0 ? code->value.len : (size_t)before));
	ptrdiff_t between = span_find_char(sets, ' ');
	size_t n = (size_t)imap_uidset_count(code->source_uids);
	if (between < 0 || self->n_pairs + n > imap_uidset_count(&self->uids) || !has_room(self, n)) {
		return;
	}
	struct set_walk sources = {.rest = span_slice(sets, 0, (size_t)between), .next = 1};
	struct set_walk copies = {.rest = span_trim(span_from(sets, (size_t)between)), .next = 1};
	size_t n_pairs = self->n_pairs;
	for (size_t i = 0; i < n; i++) {
		struct imap_copy_pair pair;
		if (!walk(&sources, &pair.source) || !walk(&copies, &pair.copy) ||
		    !imap_uidset_contains(&self->uids, pair.source)) {
			return;
		}
		self->pairs[n_pairs++] = pair;
	}
	self->n_pairs = n_pairs;
	self->uidvalidity = (uint32_t)code->number;
}

static int compare(const void *a, const void *b)
{
	const struct imap_copy_pair *x = a;
	const struct imap_copy_pair *y = b;

	return x->source < y->source ? -1 : x->source > y->source;
}

/* By source, each once: some servers tell the same twice. */
static void sort_pairs(struct copy_call *self)
{
	size_t n_kept = 0;

	if (self->n_pairs > 1) {
		qsort(self->pairs, self->n_pairs, sizeof *self->pairs, compare);
	}
	for (size_t i = 0; i < self->n_pairs; i++) {
		if (n_kept == 0 || self->pairs[i].source != self->pairs[n_kept - 1].source) {
			self->pairs[n_kept++] = self->pairs[i];
		}
	}
	self->n_pairs = n_kept;
}

/* ---- answers ---- */

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

	sort_pairs(self);
	if (self->command == COMMAND_EXPUNGE) {
		self->removed(self->ctx, error);
	} else if (self->copied_set) {
		const struct imap_copies copies = {
			.uidvalidity = self->uidvalidity, .pairs = self->pairs, .n_pairs = self->n_pairs};
		self->copied_set(self->ctx, error, &copies);
	} else {
		const struct imap_copied copied = {.uidvalidity = self->uidvalidity,
						   .uid = self->n_pairs > 0 ? self->pairs[0].copy : 0};
		self->copied(self->ctx, error, &copied);
	}
}

static void deinit(struct imap_call *call)
{
	struct copy_call *self = (struct copy_call *)call;

	imap_uidset_deinit(&self->uids);
	free(self->pairs);
}

static const struct imap_call_ops ops = {
	.advance = advance, .untagged = untagged, .step_done = step_done, .end = end, .deinit = deinit};

/* ---- start ---- */

/* NULL when memory ends. What must not be sent fails the call instead. */
static struct copy_call *copy_call_new(struct imap_session *session, enum copy_command command,
				       const struct imap_uidset *uids, struct span mailbox, void *ctx)
{
	struct copy_call *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	imap_call_init(&self->base, session, &ops);
	imap_uidset_init(&self->uids);
	self->command = command;
	self->ctx = ctx;
	if (imap_uidset_add_all(&self->uids, uids) != GP_OK ||
	    !gp_arena_copy(&self->base.arena, mailbox, &self->mailbox)) {
		imap_call_discard(&self->base);
		return NULL;
	}
	if (imap_uidset_is_empty(uids)) {
		imap_call_fail_with(&self->base, GP_INVALID, "no message is named");
	} else if (imap_uidset_contains(uids, IMAP_UID_STAR)) {
		/* On the wire this number would be "*": another message. */
		imap_call_fail_with(&self->base, GP_INVALID, "no message has the UID 4294967295");
	} else if (command == COMMAND_MOVE && !imap_session_can(session, IMAP_CAP_MOVE)) {
		imap_call_fail_with(&self->base, GP_UNSUPPORTED, "the IMAP server has no MOVE");
	} else if (command == COMMAND_EXPUNGE && !imap_session_can(session, IMAP_CAP_UIDPLUS)) {
		imap_call_fail_with(&self->base, GP_UNSUPPORTED, "the IMAP server has no UIDPLUS");
	}
	return self;
}

/* A set of one, of no own memory; 0 is no UID. */
static struct imap_uidset only(struct imap_uid_range *range, uint32_t uid)
{
	*range = (struct imap_uid_range){uid, uid};
	return (struct imap_uidset){.ranges = range, .n_ranges = uid != 0};
}

struct imap_call *imap_copy_set_start(struct imap_session *session, const struct imap_uidset *uids, struct span mailbox,
				      bool is_move, imap_copies_fn done, void *ctx)
{
	struct copy_call *self = copy_call_new(session, is_move ? COMMAND_MOVE : COMMAND_COPY, uids, mailbox, ctx);

	if (!self) {
		return NULL;
	}
	self->copied_set = done;
	return imap_call_begin(&self->base);
}

struct imap_call *imap_copy_start(struct imap_session *session, uint32_t uid, struct span mailbox, bool is_move,
				  imap_copy_fn done, void *ctx)
{
	struct imap_uid_range range;
	const struct imap_uidset uids = only(&range, uid);
	struct copy_call *self = copy_call_new(session, is_move ? COMMAND_MOVE : COMMAND_COPY, &uids, mailbox, ctx);

	if (!self) {
		return NULL;
	}
	self->copied = done;
	return imap_call_begin(&self->base);
}

struct imap_call *imap_expunge_set_start(struct imap_session *session, const struct imap_uidset *uids,
					 imap_done_fn done, void *ctx)
{
	struct copy_call *self = copy_call_new(session, COMMAND_EXPUNGE, uids, SPAN_NIL, ctx);

	if (!self) {
		return NULL;
	}
	self->removed = done;
	return imap_call_begin(&self->base);
}

struct imap_call *imap_expunge_start(struct imap_session *session, uint32_t uid, imap_done_fn done, void *ctx)
{
	struct imap_uid_range range;
	const struct imap_uidset uids = only(&range, uid);

	return imap_expunge_set_start(session, &uids, done, ctx);
}
