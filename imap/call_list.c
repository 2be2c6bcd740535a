/*
 * All mailboxes with their attributes, subscriptions, counts and rights.
 *
 * With LIST-EXTENDED this is one command, else LIST and LSUB in the pipeline and then
 * a STATUS for each mailbox. What comes is joined by the raw name, in any order and as
 * often as it comes; INBOX in any case is one mailbox. Answers that cannot be right
 * are asked again in the plain form:
 *
 *   BAD to RETURN: LIST-EXTENDED is not used in this session any more;
 *   RETURN yields nothing for INBOX or "*";
 *   RETURN hides what was not asked for: a server that marks special uses without
 *   offering SPECIAL-USE shows them in the plain form only.
 */
#include <search.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "imap/call_internal.h"
#include "imap/utf7.h"

#define MAX_IN_FLIGHT 32 /* STATUS commands */
#define MAX_BAD 3        /* STATUS commands that were not understood; then no more are sent */

#define SPECIAL_USES                                                                                                   \
	(IMAP_MAILBOX_ALL | IMAP_MAILBOX_ARCHIVE | IMAP_MAILBOX_DRAFTS | IMAP_MAILBOX_FLAGGED | IMAP_MAILBOX_JUNK |    \
	 IMAP_MAILBOX_SENT | IMAP_MAILBOX_TRASH | IMAP_MAILBOX_IMPORTANT)

enum { ROLE_LIST, ROLE_LIST_IDS, ROLE_LSUB, ROLE_RIGHTS, ROLE_STATUS };

/* What advance() does next. */
enum phase { PHASE_ASK, PHASE_ASKED, PHASE_STATUS };

struct list_entry {
	struct span raw;         /* arena: the key; "INBOX" in any case is that */
	struct list_entry *next; /* link: in the order of LIST */
	struct imap_mailbox mailbox;
	bool is_listed;
	bool is_subscribed;
	bool is_writable_name; /* its name can be sent: it decodes and encodes to the same */
};

struct list_call {
	struct imap_call base;
	imap_mailboxes_fn done;
	void *ctx;           /* borrow */
	struct span pattern; /* arena */
	unsigned counts;     /* enum imap_status_item without MAILBOXID; 0: none */
	bool with_id;        /* MAILBOXID too */
	bool with_my_rights;
	bool is_utf8;     /* names come in UTF-8 */
	bool is_extended; /* LIST … RETURN is used */
	bool is_refused;  /* BAD was the answer to that */
	bool is_again;    /* the plain form was asked for what RETURN hides */
	enum phase phase;
	void *tree;                /* own: of struct list_entry, by raw name (tsearch) */
	struct list_entry *first;  /* arena: listed ones */
	struct list_entry *last;   /* arena */
	struct list_entry *to_ask; /* arena: the next one for STATUS */
	size_t n_entries, n_listed, n_bad;
	struct imap_mailbox *mailboxes; /* arena: the result */
};

static struct list_call *of(struct imap_call *call)
{
	return (struct list_call *)call;
}

/* ---- entries ---- */

static int compare_entries(const void *a, const void *b)
{
	return span_compare(((const struct list_entry *)a)->raw, ((const struct list_entry *)b)->raw);
}

static void keep_entry(void *entry)
{
	(void)entry; /* the arena's */
}

static void forget_entries(struct list_call *self)
{
	tdestroy(self->tree, keep_entry);
	self->tree = NULL;
	self->first = self->last = self->to_ask = NULL;
	self->n_entries = self->n_listed = 0;
}

/* The entry of this raw name, made if need be; NULL: the call has failed. */
static struct list_entry *find_entry(struct list_call *self, struct span raw)
{
	struct list_entry key = {.raw = span_equal_text_nocase(raw, "INBOX") ? SPAN_LIT("INBOX") : raw};
	void *node = tfind(&key, &self->tree, compare_entries);

	if (node) {
		return *(struct list_entry **)node;
	}
	if (self->n_entries == GP_MAX_IMAP_LIST_ENTRIES) {
		imap_call_fail_with(&self->base, GP_LIMIT, "more mailboxes than can be shown");
		return NULL;
	}
	struct list_entry *entry = gp_arena_new(&self->base.arena, struct list_entry);
	if (!entry || !gp_arena_copy(&self->base.arena, key.raw, &entry->raw)) {
		imap_call_fail_arena(&self->base, sizeof *entry + raw.len);
		return NULL;
	}
	if (!tsearch(entry, &self->tree, compare_entries)) {
		imap_call_fail_with(&self->base, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
		return NULL;
	}
	self->n_entries++;
	return entry;
}

/* ---- names and attributes ---- */

static bool set_name(struct list_call *self, struct list_entry *entry)
{
	struct gp_buffer name;
	enum gp_status status = GP_INVALID;
	bool is_repaired = false;

	/* Repairing makes three bytes of one at most. */
	gp_buffer_init(&name, entry->raw.len * 3 + 1);
	if (!self->is_utf8) {
		status = imap_utf7_decode(entry->raw, &name);
	}
	if (status != GP_OK && status != GP_NO_MEMORY) {
		gp_buffer_truncate(&name, 0);
		status = utf8_append_repaired(&name, entry->raw, &is_repaired);
		entry->is_writable_name = self->is_utf8 && !is_repaired;
	} else {
		entry->is_writable_name = true;
	}
	if (status != GP_OK) {
		imap_call_fail_with(&self->base, status, gp_status_text(status));
	} else if (!gp_arena_copy(&self->base.arena, gp_buffer_span(&name), &entry->mailbox.name)) {
		imap_call_fail_arena(&self->base, name.len);
		status = GP_LIMIT;
	}
	gp_buffer_deinit(&name);
	return status == GP_OK;
}

static const struct {
	const char *word;
	unsigned attributes;
} attribute_words[] = {
	{"Noselect", IMAP_MAILBOX_NOSELECT},
	{"NonExistent", IMAP_MAILBOX_NOSELECT},
	{"HasChildren", IMAP_MAILBOX_HASCHILDREN},
	{"HasNoChildren", IMAP_MAILBOX_HASNOCHILDREN},
	{"NoInferiors", IMAP_MAILBOX_NOINFERIORS | IMAP_MAILBOX_HASNOCHILDREN},
	{"Subscribed", IMAP_MAILBOX_SUBSCRIBED},
	{"All", IMAP_MAILBOX_ALL},
	{"Archive", IMAP_MAILBOX_ARCHIVE},
	{"Drafts", IMAP_MAILBOX_DRAFTS},
	{"Flagged", IMAP_MAILBOX_FLAGGED},
	{"Junk", IMAP_MAILBOX_JUNK},
	{"Sent", IMAP_MAILBOX_SENT},
	{"Trash", IMAP_MAILBOX_TRASH},
	{"Important", IMAP_MAILBOX_IMPORTANT},
	/* XLIST's, which some servers send in LIST */
	{"AllMail", IMAP_MAILBOX_ALL},
	{"Spam", IMAP_MAILBOX_JUNK},
	{"Starred", IMAP_MAILBOX_FLAGGED},
};

/* One attribute as sent, or several that were glued together: "\HasNoChildren\Sent". */
static unsigned read_attribute(struct span text)
{
	unsigned attributes = 0;

	while (text.len > 0) {
		struct span rest = span_from(text, 1);
		ptrdiff_t end = span_find_char(rest, '\\');
		struct span word = span_slice(text, 0, end < 0 ? text.len : (size_t)end + 1);

		text = span_from(text, word.len);
		if (word.ptr[0] != '\\') {
			continue;
		}
		word = span_trim(span_from(word, 1));
		for (size_t i = 0; i < sizeof attribute_words / sizeof *attribute_words; i++) {
			if (span_equal_text_nocase(word, attribute_words[i].word)) {
				attributes |= attribute_words[i].attributes;
			}
		}
	}
	return attributes;
}

static unsigned read_attributes(const struct imap_list *list)
{
	unsigned attributes = 0;

	for (size_t i = 0; i < list->n_attributes; i++) {
		attributes |= read_attribute(list->attributes[i]);
	}
	return attributes;
}

/* ---- reading ---- */

static void take_list(struct list_call *self, const struct imap_list *list)
{
	struct list_entry *entry = find_entry(self, list->mailbox);

	if (!entry) {
		return;
	}
	if (!entry->is_listed) {
		if (!set_name(self, entry)) {
			return;
		}
		entry->is_listed = true;
		self->n_listed++;
		if (self->last) {
			self->last->next = entry;
		} else {
			self->first = entry;
		}
		self->last = entry;
	}
	entry->mailbox.attributes |= read_attributes(list);
	if (entry->mailbox.delimiter == 0) {
		entry->mailbox.delimiter = list->delimiter;
	}
}

static void take_lsub(struct list_call *self, const struct imap_list *list)
{
	/* \Noselect here: not subscribed itself, but something below it is. */
	if (read_attributes(list) & IMAP_MAILBOX_NOSELECT) {
		return;
	}
	struct list_entry *entry = find_entry(self, list->mailbox);
	if (entry) {
		entry->is_subscribed = true;
	}
}

static void take_status(struct list_call *self, struct list_entry *entry, const struct imap_status *status)
{
	if (entry && !imap_status_merge(&entry->mailbox.status, status, &self->base.arena)) {
		imap_call_fail_arena(&self->base, status->mailbox_id.len);
	}
}

static void take_rights(struct list_call *self, const struct imap_response *response)
{
	struct list_entry *entry = find_entry(self, response->list.mailbox);

	if (entry && !span_equal(entry->mailbox.my_rights, response->text) &&
	    !gp_arena_copy(&self->base.arena, response->text, &entry->mailbox.my_rights)) {
		imap_call_fail_arena(&self->base, response->text.len);
	}
}

static void untagged(struct imap_call_step *step, const struct imap_response *response)
{
	struct list_call *self = of(step->call);
	struct span name = response->type == IMAP_RESPONSE_STATUS ? response->status.mailbox : response->list.mailbox;

	/* A name with a NUL is none (RFC 3501 section 9), and would be two: with it, and as text. */
	if (self->base.error.status != GP_OK || name.len == 0 || span_find_char(name, '\0') >= 0) {
		return;
	}
	if (response->type == IMAP_RESPONSE_LIST) {
		take_list(self, &response->list);
	} else if (response->type == IMAP_RESPONSE_LSUB) {
		take_lsub(self, &response->list);
	} else if (response->type == IMAP_RESPONSE_STATUS) {
		struct list_entry *entry = step->role == ROLE_STATUS ? step->item : find_entry(self, name);
		take_status(self, entry, &response->status);
	} else if (response->type == IMAP_RESPONSE_MYRIGHTS) {
		take_rights(self, response);
	}
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	struct list_call *self = of(step->call);
	const struct gp_error *error = result->error;

	if (!error) {
		return;
	}
	bool is_answer = error->status == GP_NO || error->status == GP_BAD;
	/* A name that cannot be written costs its counts, not the list. */
	bool is_ours = error->status == GP_INVALID || error->status == GP_LIMIT;

	if (step->role == ROLE_LIST && error->status == GP_BAD && self->is_extended) {
		self->is_refused = true;
	} else if (step->role == ROLE_LIST || !(is_answer || is_ours)) {
		imap_call_fail(step->call, error);
	} else if (step->role == ROLE_STATUS && error->status == GP_BAD) {
		self->n_bad++;
	}
}

/* ---- asking ---- */

static void write_return(const struct list_call *self, struct imap_writer *writer, unsigned status_items,
			 bool only_status)
{
	const struct imap_session *session = self->base.session;

	imap_writer_word(writer, "RETURN");
	imap_writer_open(writer);
	if (!only_status) {
		imap_writer_word(writer, "SUBSCRIBED");
		imap_writer_word(writer, "CHILDREN");
		if (imap_session_can(session, IMAP_CAP_SPECIAL_USE)) {
			imap_writer_word(writer, "SPECIAL-USE");
		}
		if (self->with_my_rights && imap_session_can(session, IMAP_CAP_LIST_MYRIGHTS)) {
			imap_writer_word(writer, "MYRIGHTS");
		}
	}
	if (status_items != 0) {
		imap_writer_word(writer, "STATUS");
		imap_status_write_items(writer, status_items);
	}
	imap_writer_close(writer);
}

/* LIST "" pattern, or LSUB; the RETURN options are for who calls. NULL: no memory. */
static struct imap_call_step *new_list(struct list_call *self, const char *name, enum imap_command_kind kind, int role)
{
	struct imap_command_spec spec = {.kind = kind};
	struct imap_call_step *step = imap_call_step_new(&self->base, name, &spec);

	if (step) {
		struct imap_writer *writer = imap_call_step_writer(step);
		step->role = role;
		self->is_utf8 = writer->is_utf8;
		imap_writer_string(writer, SPAN_LIT(""));
		imap_writer_list_pattern(writer, self->pattern);
	}
	return step;
}

static enum gp_status ask_extended(struct list_call *self)
{
	bool with_status = imap_session_can(self->base.session, IMAP_CAP_LIST_STATUS);
	struct imap_call_step *step = new_list(self, "LIST", IMAP_COMMAND_LIST, ROLE_LIST);

	if (!step) {
		return GP_NO_MEMORY;
	}
	write_return(self, imap_call_step_writer(step), with_status ? self->counts : 0, false);
	imap_call_step_submit(step);
	/* By itself: see call_status.c. */
	if (with_status && self->with_id) {
		step = new_list(self, "LIST", IMAP_COMMAND_LIST, ROLE_LIST_IDS);
		if (!step) {
			return GP_NO_MEMORY;
		}
		write_return(self, imap_call_step_writer(step), IMAP_STATUS_MAILBOXID, true);
		imap_call_step_submit(step);
	}
	return GP_OK;
}

static enum gp_status ask_plain(struct list_call *self)
{
	struct imap_call_step *list = new_list(self, "LIST", IMAP_COMMAND_LIST, ROLE_LIST);

	if (!list) {
		return GP_NO_MEMORY;
	}
	imap_call_step_submit(list);
	if (self->is_again) {
		return GP_OK; /* subscriptions are known */
	}
	struct imap_call_step *lsub = new_list(self, "LSUB", IMAP_COMMAND_LSUB, ROLE_LSUB);
	if (!lsub) {
		return GP_NO_MEMORY;
	}
	imap_call_step_submit(lsub);
	return GP_OK;
}

/* For one mailbox only: for all of them it would be a command each. */
static enum gp_status ask_rights(struct list_call *self)
{
	bool is_listed = self->is_extended && imap_session_can(self->base.session, IMAP_CAP_LIST_MYRIGHTS);
	bool is_one = !span_equal_text(self->pattern, "*") && !span_equal_text(self->pattern, "%");
	struct imap_command_spec spec = {.kind = IMAP_COMMAND_MYRIGHTS, .mailbox = self->pattern};

	if (!self->with_my_rights || is_listed || !is_one || !imap_session_can(self->base.session, IMAP_CAP_ACL)) {
		return GP_OK;
	}
	struct imap_call_step *step = imap_call_step_new(&self->base, "MYRIGHTS", &spec);
	if (!step) {
		return GP_NO_MEMORY;
	}
	step->role = ROLE_RIGHTS;
	imap_writer_mailbox(imap_call_step_writer(step), self->pattern);
	imap_call_step_submit(step);
	return GP_OK;
}

static enum gp_status ask_status(struct list_call *self, struct list_entry *entry, unsigned items)
{
	struct imap_command_spec spec = {.kind = IMAP_COMMAND_STATUS, .mailbox = entry->mailbox.name};
	struct imap_call_step *step = imap_call_step_new(&self->base, "STATUS", &spec);

	if (!step) {
		return GP_NO_MEMORY;
	}
	step->role = ROLE_STATUS;
	step->item = entry;
	imap_writer_mailbox(imap_call_step_writer(step), entry->mailbox.name);
	imap_status_write_items(imap_call_step_writer(step), items);
	imap_call_step_submit(step);
	return GP_OK;
}

static enum gp_status ask_statuses(struct list_call *self)
{
	enum gp_status status = GP_OK;

	while (self->to_ask && self->n_bad < MAX_BAD && self->base.n_steps < MAX_IN_FLIGHT && status == GP_OK) {
		struct list_entry *entry = self->to_ask;
		self->to_ask = entry->next;
		if (!entry->is_writable_name || (entry->mailbox.attributes & IMAP_MAILBOX_NOSELECT)) {
			continue;
		}
		if (self->counts != 0) {
			status = ask_status(self, entry, self->counts);
		}
		if (status == GP_OK && self->with_id) {
			status = ask_status(self, entry, IMAP_STATUS_MAILBOXID);
		}
	}
	return status;
}

/* ---- the course of it ---- */

static bool has_special_use(const struct list_call *self)
{
	for (const struct list_entry *entry = self->first; entry; entry = entry->next) {
		if (entry->mailbox.attributes & SPECIAL_USES) {
			return true;
		}
	}
	return false;
}

/* True when the answer to LIST … RETURN is to be asked for in the plain form. */
static bool must_ask_plain(struct list_call *self)
{
	bool must_exist = span_equal_text(self->pattern, "*") || span_equal_text_nocase(self->pattern, "INBOX");

	if (!self->is_extended) {
		return false;
	}
	if (self->is_refused) {
		imap_session_disable(self->base.session, IMAP_CAP_LIST_EXTENDED);
		forget_entries(self);
		return true;
	}
	if (self->n_listed == 0) {
		return must_exist;
	}
	self->is_again = !imap_session_can(self->base.session, IMAP_CAP_SPECIAL_USE) && !has_special_use(self);
	return self->is_again;
}

static bool is_at_top(const struct list_call *self, const struct imap_mailbox *mailbox)
{
	const char *prefix = imap_session_personal_prefix(self->base.session);

	if (!prefix || !span_starts_with(mailbox->name, prefix)) {
		return false;
	}
	struct span rest = span_from(mailbox->name, strlen(prefix));
	return rest.len > 0 && (mailbox->delimiter == 0 || span_find_char(rest, mailbox->delimiter) < 0);
}

static enum gp_status build(struct list_call *self)
{
	size_t n = 0;

	self->mailboxes = gp_arena_array(&self->base.arena, self->n_listed, sizeof *self->mailboxes);
	if (!self->mailboxes) {
		imap_call_fail_arena(&self->base, self->n_listed * sizeof *self->mailboxes);
		return GP_LIMIT; /* the first error wins */
	}
	for (struct list_entry *entry = self->first; entry; entry = entry->next) {
		struct imap_mailbox *mailbox = &self->mailboxes[n++];
		*mailbox = entry->mailbox;
		if (entry->is_subscribed) {
			mailbox->attributes |= IMAP_MAILBOX_SUBSCRIBED;
		}
		if (is_at_top(self, mailbox)) {
			mailbox->attributes |= IMAP_MAILBOX_AT_TOP;
		}
		if (mailbox->attributes & IMAP_MAILBOX_HASCHILDREN) {
			mailbox->attributes &= ~(unsigned)IMAP_MAILBOX_HASNOCHILDREN;
		}
		mailbox->has_status = mailbox->status.items != 0;
		mailbox->status.mailbox = entry->raw;
	}
	self->base.is_complete = true;
	return GP_OK;
}

static enum gp_status ask(struct list_call *self)
{
	enum gp_status status = self->is_extended ? ask_extended(self) : ask_plain(self);

	if (status == GP_OK && !self->is_again) {
		status = ask_rights(self);
	}
	self->phase = PHASE_ASKED;
	return status;
}

static enum gp_status advance(struct imap_call *call)
{
	struct list_call *self = of(call);
	enum gp_status status = GP_OK;

	if (self->phase == PHASE_ASK) {
		return ask(self);
	}
	if (self->phase == PHASE_ASKED) {
		if (call->n_steps > 0) {
			return GP_OK;
		}
		bool was_extended = self->is_extended;
		if (must_ask_plain(self)) {
			self->is_extended = false;
			return ask(self);
		}
		bool is_counted = (was_extended || self->is_again) && !self->is_refused &&
				  imap_session_can(call->session, IMAP_CAP_LIST_STATUS);
		bool needs_status = self->counts != 0 || self->with_id;
		self->to_ask = needs_status && !is_counted ? self->first : NULL;
		self->phase = PHASE_STATUS;
	}
	status = ask_statuses(self);
	if (status == GP_OK && call->n_steps == 0) {
		status = build(self);
	}
	return status;
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct list_call *self = of(call);

	self->done(self->ctx, error, error ? NULL : self->mailboxes, error ? 0 : self->n_listed);
}

static void deinit(struct imap_call *call)
{
	forget_entries(of(call));
}

static const struct imap_call_ops ops = {
	.advance = advance, .untagged = untagged, .step_done = step_done, .end = end, .deinit = deinit};

struct imap_call *imap_list_start(struct imap_session *session, const struct imap_list_spec *spec,
				  imap_mailboxes_fn done, void *ctx)
{
	struct list_call *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	imap_call_init(&self->base, session, &ops);
	self->done = done;
	self->ctx = ctx;
	self->with_my_rights = spec->with_my_rights;
	self->is_extended = imap_session_can(session, IMAP_CAP_LIST_EXTENDED);
	if (spec->with_status) {
		unsigned items = imap_status_possible(session, spec->status_items);
		self->counts = items & ~(unsigned)IMAP_STATUS_MAILBOXID;
		self->with_id = items & IMAP_STATUS_MAILBOXID;
	}
	if (!gp_arena_copy(&self->base.arena, spec->pattern, &self->pattern)) {
		imap_call_discard(&self->base);
		return NULL;
	}
	return imap_call_begin(&self->base);
}
