/*
 * STATUS of one mailbox.
 *
 * MAILBOXID is never asked together with other items: Cyrus 3.6 then sends the raw
 * bytes of its id. So this is one command, or two in the pipeline; the second one is
 * worth an item, not the call.
 */
#include <stdlib.h>

#include "imap/call_internal.h"

enum { ROLE_COUNTS, ROLE_MAILBOXID };

struct status_call {
	struct imap_call base;
	imap_status_fn done;
	void *ctx;           /* borrow */
	struct span mailbox; /* borrow, until start() returns */
	unsigned items;      /* enum imap_status_item: what is asked */
	struct imap_status status;
};

/* ---- what LIST needs too ---- */

static const struct {
	unsigned item;
	const char *word;
} item_words[] = {
	{IMAP_STATUS_MESSAGES, "MESSAGES"},
	{IMAP_STATUS_UNSEEN, "UNSEEN"},
	{IMAP_STATUS_UIDNEXT, "UIDNEXT"},
	{IMAP_STATUS_UIDVALIDITY, "UIDVALIDITY"},
	{IMAP_STATUS_HIGHESTMODSEQ, "HIGHESTMODSEQ"},
	{IMAP_STATUS_SIZE, "SIZE"},
	{IMAP_STATUS_MAILBOXID, "MAILBOXID"},
};

unsigned imap_status_possible(const struct imap_session *session, unsigned items)
{
	unsigned possible = IMAP_STATUS_MESSAGES | IMAP_STATUS_UNSEEN | IMAP_STATUS_UIDNEXT | IMAP_STATUS_UIDVALIDITY;

	if (imap_session_can(session, IMAP_CAP_CONDSTORE) || imap_session_can(session, IMAP_CAP_QRESYNC)) {
		possible |= IMAP_STATUS_HIGHESTMODSEQ;
	}
	if (imap_session_can(session, IMAP_CAP_STATUS_SIZE)) {
		possible |= IMAP_STATUS_SIZE;
	}
	if (imap_session_can(session, IMAP_CAP_OBJECTID)) {
		possible |= IMAP_STATUS_MAILBOXID;
	}
	return items & possible;
}

void imap_status_write_items(struct imap_writer *writer, unsigned items)
{
	imap_writer_open(writer);
	for (size_t i = 0; i < sizeof item_words / sizeof *item_words; i++) {
		if (items & item_words[i].item) {
			imap_writer_word(writer, item_words[i].word);
		}
	}
	imap_writer_close(writer);
}

/* objectid of RFC 8474: 1 to 255 of these. */
static bool is_object_id(struct span id)
{
	for (size_t i = 0; i < id.len; i++) {
		char c = id.ptr[i];
		bool is_alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!is_alnum && c != '_' && c != '-') {
			return false;
		}
	}
	return id.len >= 1 && id.len <= 255;
}

bool imap_status_merge(struct imap_status *into, const struct imap_status *from, struct gp_arena *arena)
{
	unsigned items = from->items & ~(unsigned)IMAP_STATUS_MAILBOXID;

	if (items & IMAP_STATUS_MESSAGES) {
		into->messages = from->messages;
	}
	if (items & IMAP_STATUS_UNSEEN) {
		into->unseen = from->unseen;
	}
	if (items & IMAP_STATUS_UIDNEXT) {
		into->uidnext = from->uidnext;
	}
	if (items & IMAP_STATUS_UIDVALIDITY) {
		into->uidvalidity = from->uidvalidity;
	}
	if (items & IMAP_STATUS_HIGHESTMODSEQ) {
		into->highestmodseq = from->highestmodseq;
	}
	if (items & IMAP_STATUS_SIZE) {
		into->size = from->size;
	}
	into->items |= items;
	if ((from->items & IMAP_STATUS_MAILBOXID) && is_object_id(from->mailbox_id)) {
		/* The same again costs nothing: a server cannot fill the arena by repeating. */
		if (!span_equal(into->mailbox_id, from->mailbox_id) &&
		    !gp_arena_copy(arena, from->mailbox_id, &into->mailbox_id)) {
			return false;
		}
		into->items |= IMAP_STATUS_MAILBOXID;
	}
	return true;
}

/* ---- the call ---- */

static enum gp_status send_status(struct status_call *self, unsigned items, int role)
{
	struct imap_command_spec spec = {.kind = IMAP_COMMAND_STATUS, .mailbox = self->mailbox};
	struct imap_call_step *step = imap_call_step_new(&self->base, "STATUS", &spec);

	if (!step) {
		return GP_NO_MEMORY;
	}
	step->role = role;
	struct imap_writer *writer = imap_call_step_writer(step);
	imap_writer_mailbox(writer, self->mailbox);
	imap_status_write_items(writer, items);
	imap_call_step_submit(step);
	return GP_OK;
}

static enum gp_status advance(struct imap_call *call)
{
	struct status_call *self = (struct status_call *)call;
	unsigned counts = self->items & ~(unsigned)IMAP_STATUS_MAILBOXID;
	bool has_id = self->items & IMAP_STATUS_MAILBOXID;

	call->is_complete = true;
	/* "()" is no list of items; and one command says whether the mailbox is there. */
	if (counts == 0 && !has_id) {
		counts = IMAP_STATUS_MESSAGES;
	}
	if (counts != 0) {
		enum gp_status status = send_status(self, counts, ROLE_COUNTS);
		if (status != GP_OK) {
			return status;
		}
	}
	return has_id ? send_status(self, IMAP_STATUS_MAILBOXID, counts ? ROLE_MAILBOXID : ROLE_COUNTS) : GP_OK;
}

static void untagged(struct imap_call_step *step, const struct imap_response *response)
{
	struct status_call *self = (struct status_call *)step->call;

	if (response->type != IMAP_RESPONSE_STATUS) {
		return;
	}
	bool is_copied = !span_is_nil(self->status.mailbox) ||
			 gp_arena_copy(&step->call->arena, response->status.mailbox, &self->status.mailbox);
	if (!is_copied || !imap_status_merge(&self->status, &response->status, &step->call->arena)) {
		imap_call_fail_arena(step->call, response->status.mailbox.len);
	}
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	if (!result->error || (step->role == ROLE_MAILBOXID && result->response)) {
		return;
	}
	struct gp_error error = imap_error_for_mailbox(result->error);
	imap_call_fail(step->call, &error);
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct status_call *self = (struct status_call *)call;

	self->done(self->ctx, error, error ? NULL : &self->status);
}

static const struct imap_call_ops ops = {.advance = advance, .untagged = untagged, .step_done = step_done, .end = end};

struct imap_call *imap_status_start(struct imap_session *session, struct span mailbox, unsigned items,
				    imap_status_fn done, void *ctx)
{
	struct status_call *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	imap_call_init(&self->base, session, &ops);
	self->done = done;
	self->ctx = ctx;
	self->mailbox = mailbox;
	self->items = imap_status_possible(session, items);
	return imap_call_begin(&self->base);
}
