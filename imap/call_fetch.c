/*
 * FETCH by UID or by position.
 *
 * FETCH responses are facts about a message, not answers to a command: a row may be
 * unsolicited, or belong to another command that runs on the same message. So a row
 * is handed on only when it holds something this call asked for, and of its sections
 * only those that were asked for. (Commands whose rows could be taken for each other's
 * are not in flight together: imap/session_command.c.)
 *
 * A row with flags alone may be such news, or all that the server has to say: it left
 * out, or garbled, the one item that was asked. A message of which nothing better has
 * come by the end is asked for its flags once more, and told with those.
 *
 * Of a message that another client expunged meanwhile, Dovecot sends a row as of an empty
 * message of 1970, with OK [EXPUNGEISSUED], and may do so until it tells of the EXPUNGE. Such
 * a row is in doubt: it is not told, and its message is asked for again at the end. What comes
 * no better, and again with EXPUNGEISSUED, is gone; without, it is told as it is.
 */
#include <stdlib.h>

#include "imap/call_internal.h"

#define MAX_IN_FLIGHT 4

#define FACTS (IMAP_ITEM_UID | IMAP_ITEM_FLAGS | IMAP_ITEM_MODSEQ)

struct fetch_call {
	struct imap_call base;
	imap_row_fn row;
	imap_done_fn done;
	void *ctx; /* borrow */
	bool is_by_position;
	uint32_t first_position, last_position;
	struct imap_uidset uids;   /* own */
	size_t at;                 /* ranges of `uids` sent so far */
	unsigned items;            /* what is asked, FACTS and SECTION included */
	const struct span *fields; /* arena */
	size_t n_fields;
	const struct imap_section_spec *sections; /* arena */
	size_t n_sections;
	bool is_sent, is_second_look; /* the FETCH by position; the flags of what is `held` */
	unsigned n_doubt_looks;       /* what is in `doubtful`, once more */
	bool is_trusting;             /* in the last one: told whatever it looks like */
	bool has_expunge;             /* EXPUNGEISSUED came since it began */
	struct imap_uidset doubtful;  /* own: rows came of these that look like no message's */
	struct imap_uidset held;      /* own: only flags came of these */
	struct imap_uidset told;      /* own: rows were handed on of these */
	struct imap_section *found;   /* arena: the row's sections that were asked; for the fields one more */
};

/* ---- writing ---- */

static const struct {
	unsigned item;
	const char *word;
} item_words[] = {
	{IMAP_ITEM_FLAGS, "FLAGS"},       {IMAP_ITEM_INTERNALDATE, "INTERNALDATE"},   {IMAP_ITEM_SIZE, "RFC822.SIZE"},
	{IMAP_ITEM_ENVELOPE, "ENVELOPE"}, {IMAP_ITEM_BODYSTRUCTURE, "BODYSTRUCTURE"}, {IMAP_ITEM_MODSEQ, "MODSEQ"},
	{IMAP_ITEM_PREVIEW, "PREVIEW"},
};

static void write_items(const struct fetch_call *self, struct imap_writer *writer)
{
	bool has_object_id = imap_session_can(self->base.session, IMAP_CAP_OBJECTID);

	imap_writer_open(writer);
	/* Implied by UID FETCH, but not every server knows. */
	imap_writer_word(writer, "UID");
	for (size_t i = 0; i < sizeof item_words / sizeof *item_words; i++) {
		if (self->items & item_words[i].item) {
			imap_writer_word(writer, item_words[i].word);
		}
	}
	if (self->items & IMAP_ITEM_EMAILID) {
		imap_writer_word(writer, has_object_id ? "EMAILID" : "X-GM-MSGID");
	}
	if (self->items & IMAP_ITEM_THREADID) {
		imap_writer_word(writer, has_object_id ? "THREADID" : "X-GM-THRID");
	}
	if (self->n_fields > 0) {
		imap_writer_body_peek_fields(writer, self->fields, self->n_fields);
	}
	for (size_t i = 0; i < self->n_sections; i++) {
		const struct imap_section_spec *section = &self->sections[i];
		imap_writer_body_peek(writer, section->section, section->origin, section->len);
	}
	imap_writer_close(writer);
}

static enum gp_status send_by_position(struct fetch_call *self)
{
	struct imap_command_spec spec = {.kind = IMAP_COMMAND_FETCH,
					 .row_items = self->items & ~(unsigned)IMAP_ITEM_UID,
					 .is_by_position = true,
					 .first_position = self->first_position,
					 .last_position = self->last_position};
	struct imap_call_step *step = imap_call_step_new(&self->base, "FETCH", &spec);

	if (!step) {
		return GP_NO_MEMORY;
	}
	imap_writer_range(imap_call_step_writer(step), self->first_position, self->last_position);
	write_items(self, imap_call_step_writer(step));
	imap_call_step_submit(step);
	return GP_OK;
}

static enum gp_status send_by_uid(struct fetch_call *self)
{
	struct imap_uidset rest = imap_call_uidset_part(&self->uids, self->at, self->uids.n_ranges);
	struct imap_command_spec spec = {
		.kind = IMAP_COMMAND_FETCH, .uids = &rest, .row_items = self->items & ~(unsigned)IMAP_ITEM_UID};
	struct imap_call_step *step = imap_call_step_new(&self->base, "UID FETCH", &spec);

	if (!step) {
		return GP_NO_MEMORY;
	}
	imap_call_step_uids(step, &self->uids, &self->at);
	write_items(self, imap_call_step_writer(step));
	imap_call_step_submit(step);
	return GP_OK;
}

static enum gp_status start_by_position(struct fetch_call *self)
{
	uint32_t exists = imap_session_selected(self->base.session)->exists;

	self->is_sent = true;
	/* What is not there is not asked for: "5:*" of three messages names the third. */
	if (self->first_position > exists) {
		return GP_OK;
	}
	if (self->last_position != IMAP_UID_STAR && self->last_position > exists) {
		self->last_position = exists;
	}
	return send_by_position(self);
}

static bool is_all_sent(const struct fetch_call *self)
{
	return self->is_by_position ? self->is_sent : self->at == self->uids.n_ranges;
}

/* Those of `set` that were not told become the set to fetch. */
static enum gp_status fetch_untold(struct fetch_call *self, const struct imap_uidset *set)
{
	enum gp_status status = GP_OK;

	self->is_by_position = false;
	self->at = 0;
	imap_uidset_deinit(&self->uids);
	imap_uidset_init(&self->uids);
	for (size_t i = 0; i < set->n_ranges && status == GP_OK; i++) {
		for (uint64_t uid = set->ranges[i].first; uid <= set->ranges[i].last && status == GP_OK; uid++) {
			if (!imap_uidset_contains(&self->told, (uint32_t)uid)) {
				status = imap_uidset_add(&self->uids, (uint32_t)uid, (uint32_t)uid);
			}
		}
	}
	return status;
}

static enum gp_status look_again(struct fetch_call *self)
{
	bool is_gone = self->has_expunge && self->n_doubt_looks > 0;

	if (self->doubtful.n_ranges > 0 && !self->is_trusting && !is_gone) {
		self->n_doubt_looks++;
		self->is_trusting = !self->has_expunge;
		self->has_expunge = false;
		enum gp_status status = fetch_untold(self, &self->doubtful);
		imap_uidset_deinit(&self->doubtful);
		imap_uidset_init(&self->doubtful);
		return status;
	}
	/* of those that are held, flags only */
	self->is_second_look = true;
	self->items &= (unsigned)FACTS;
	self->n_fields = self->n_sections = 0;
	return fetch_untold(self, &self->held);
}

static enum gp_status advance(struct imap_call *call)
{
	struct fetch_call *self = (struct fetch_call *)call;
	enum gp_status status = GP_OK;

	if (self->is_by_position && !self->is_sent) {
		status = start_by_position(self);
	}
	while (status == GP_OK && is_all_sent(self) && call->n_steps == 0 && !self->is_second_look) {
		status = look_again(self);
	}
	while (status == GP_OK && !is_all_sent(self) && call->n_steps < MAX_IN_FLIGHT) {
		status = send_by_uid(self);
	}
	call->is_complete = is_all_sent(self) && call->n_steps == 0;
	return status;
}

/* ---- reading ---- */

static bool is_in_list(struct span list, struct span name)
{
	while (list.len > 0) {
		ptrdiff_t space = span_find_char(list, ' ');
		size_t len = space < 0 ? list.len : (size_t)space;
		struct span word = span_slice(list, 0, len);
		if (word.len >= 2 && word.ptr[0] == '"' && word.ptr[word.len - 1] == '"') {
			word = span_slice(word, 1, word.len - 2);
		}
		if (span_equal_nocase(word, name)) {
			return true;
		}
		list = span_from(list, space < 0 ? len : len + 1);
	}
	return false;
}

/* "HEADER.FIELDS (SUBJECT FROM)": all that were asked, in any order and case. */
static bool is_fields(const struct fetch_call *self, struct span spec)
{
	if (self->n_fields == 0 || !span_starts_with_nocase(spec, "HEADER.FIELDS") ||
	    span_starts_with_nocase(spec, "HEADER.FIELDS.NOT")) {
		return false;
	}
	ptrdiff_t open = span_find_char(spec, '(');
	ptrdiff_t close = span_find_char(spec, ')');
	if (open < 0 || close < open) {
		return true; /* a server that does not repeat the names */
	}
	struct span list = span_slice(spec, (size_t)open + 1, (size_t)(close - open) - 1);
	for (size_t i = 0; i < self->n_fields; i++) {
		if (!is_in_list(list, self->fields[i])) {
			return false;
		}
	}
	return true;
}

/* Whether `section` answers `asked`; another command's window of the same section does
 * not. */
static bool is_section(const struct imap_section_spec *asked, const struct imap_section *section)
{
	if (!span_equal_text_nocase(section->spec, asked->section)) {
		return false;
	}
	if (asked->len == 0) {
		return !section->has_origin;
	}
	return (section->has_origin ? section->origin : 0) == asked->origin;
}

/* Leaves in `found` the row's sections that were asked for, each once; their number. */
static size_t pick_sections(struct fetch_call *self, const struct imap_fetch *row)
{
	size_t n = 0;

	for (size_t i = 0; i < row->n_sections && self->n_fields > 0; i++) {
		if (is_fields(self, row->sections[i].spec)) {
			self->found[n++] = row->sections[i];
			break;
		}
	}
	for (size_t i = 0; i < self->n_sections; i++) {
		const struct imap_section_spec *asked = &self->sections[i];
		size_t at = 0;
		while (at < row->n_sections && !is_section(asked, &row->sections[at])) {
			at++;
		}
		if (at == row->n_sections) {
			continue;
		}
		self->found[n] = row->sections[at];
		/* A server without partial FETCH sends all: what was asked is its beginning. */
		if (asked->len > 0 && self->found[n].value.len > asked->len) {
			self->found[n].value.len = (size_t)asked->len;
		}
		n++;
	}
	return n;
}

static bool is_asked_for(const struct fetch_call *self, const struct imap_call_step *step, const struct imap_fetch *row)
{
	if (row->uid == 0) {
		return false;
	}
	if (self->is_by_position) {
		return row->seq >= self->first_position && row->seq <= self->last_position;
	}
	return imap_uidset_contains(&step->uids, row->uid);
}

static bool is_empty_envelope(const struct imap_envelope *envelope)
{
	size_t n_addresses = envelope->from.n_items + envelope->sender.n_items + envelope->reply_to.n_items +
			     envelope->to.n_items + envelope->cc.n_items + envelope->bcc.n_items;

	return n_addresses == 0 && envelope->date.len + envelope->subject.len == 0 &&
	       envelope->in_reply_to.len + envelope->message_id.len == 0;
}

/* No octets, no header, none that could be read: whatever the row says of it says so. */
static bool looks_like_none(const struct imap_fetch *row)
{
	bool is_told = false, is_none = true;

	if (row->items & IMAP_ITEM_SIZE) {
		is_told = true;
		is_none = row->size == 0;
	}
	if ((row->items & IMAP_ITEM_ENVELOPE) && row->envelope) {
		is_told = true;
		is_none = is_none && is_empty_envelope(row->envelope);
	}
	for (size_t i = 0; i < row->n_sections; i++) {
		const struct imap_section *section = &row->sections[i];
		struct span spec = section->spec;
		bool is_whole = spec.len == 0 || span_equal_text_nocase(spec, "HEADER");
		is_told |= is_whole;
		is_none = is_none && (!is_whole || (span_is_nil(section->value) && !section->is_too_long));
	}
	return is_told && is_none;
}

static void untagged(struct imap_call_step *step, const struct imap_response *response)
{
	struct fetch_call *self = (struct fetch_call *)step->call;
	const struct imap_fetch *row = &response->fetch;

	if (response->type != IMAP_RESPONSE_FETCH || !is_asked_for(self, step, row)) {
		return;
	}
	struct imap_fetch asked = *row;
	asked.sections = self->found;
	asked.n_sections = pick_sections(self, row);
	asked.items &= ~(unsigned)IMAP_ITEM_SECTION;
	if (asked.n_sections > 0) {
		asked.items |= IMAP_ITEM_SECTION;
	}
	/* New flags of the same message are noise to who asked for its envelope. */
	unsigned wanted = self->items & ~(unsigned)FACTS;
	if (wanted == 0) {
		wanted = self->items == IMAP_ITEM_UID ? IMAP_ITEM_UID : self->items & ~(unsigned)IMAP_ITEM_UID;
		asked.items |= IMAP_ITEM_UID;
	}
	bool is_news = (asked.items & wanted) == 0;
	if (is_news && (row->items & ~(unsigned)FACTS) != 0) {
		return; /* something else that somebody else asked */
	}
	struct imap_uidset *set = is_news ? &self->held : &self->told;
	if (!is_news && !self->is_trusting && looks_like_none(&asked)) {
		set = &self->doubtful;
	}
	if (imap_uidset_add(set, row->uid, row->uid) != GP_OK) {
		imap_call_fail_with(step->call, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
		return;
	}
	if (set != &self->told) {
		return;
	}
	step->n_rows++;
	self->row(self->ctx, &asked);
}

/* A NO that leaves rows out because their messages are gone. A code that says
 * something else is a failure, whatever came before it. */
static bool is_partial_success(const struct imap_call_step *step, const struct gp_error *error)
{
	if (imap_error_is_expunged(error)) {
		return true;
	}
	return error->status == GP_NO && step->n_rows > 0 && error->code[0] == '\0';
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	struct fetch_call *self = (struct fetch_call *)step->call;
	/* Positions that hold messages, and not a row: they have moved, and the server has not said so. */
	bool is_empty = !result->error && step->n_rows == 0 && imap_uidset_is_empty(&self->doubtful) &&
			imap_uidset_is_empty(&self->held);
	bool is_moved = self->is_by_position &&
			(is_empty || imap_session_selected(step->call->session)->n_expunged != step->n_expunged);
	/* Servers say BAD to positions that are gone by the time the command arrives. */
	bool is_refused = result->error && (result->error->status == GP_NO || result->error->status == GP_BAD);

	self->has_expunge |= result->response && span_equal_text_nocase(result->response->code.name, "EXPUNGEISSUED");

	if (is_moved && (!result->error || is_refused)) {
		imap_call_fail_with(step->call, GP_STALE, gp_status_text(GP_STALE));
	} else if (result->error && !is_partial_success(step, result->error)) {
		imap_call_fail(step->call, result->error);
	}
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct fetch_call *self = (struct fetch_call *)call;

	self->done(self->ctx, error);
}

static void deinit(struct imap_call *call)
{
	struct fetch_call *self = (struct fetch_call *)call;

	imap_uidset_deinit(&self->uids);
	imap_uidset_deinit(&self->doubtful);
	imap_uidset_deinit(&self->held);
	imap_uidset_deinit(&self->told);
}

static const struct imap_call_ops ops = {
	.advance = advance, .untagged = untagged, .step_done = step_done, .end = end, .deinit = deinit};

/* ---- start ---- */

static unsigned possible_items(const struct imap_session *session, const struct imap_fetch_spec *spec)
{
	unsigned items = spec->items | IMAP_ITEM_UID;

	if (!imap_session_selected(session)->has_modseq) {
		items &= ~(unsigned)IMAP_ITEM_MODSEQ;
	}
	if (!imap_session_can(session, IMAP_CAP_PREVIEW)) {
		items &= ~(unsigned)IMAP_ITEM_PREVIEW;
	}
	if (!imap_session_can(session, IMAP_CAP_OBJECTID) && !imap_session_can(session, IMAP_CAP_GMAIL)) {
		items &= ~(unsigned)(IMAP_ITEM_EMAILID | IMAP_ITEM_THREADID);
	}
	items &= ~(unsigned)IMAP_ITEM_SECTION;
	if (spec->n_fields > 0 || spec->n_sections > 0) {
		items |= IMAP_ITEM_SECTION;
	}
	return items;
}

static bool copy_sections(struct fetch_call *self, const struct imap_fetch_spec *spec)
{
	struct gp_arena *arena = &self->base.arena;
	struct span *fields = gp_arena_array(arena, spec->n_fields, sizeof *fields);
	struct imap_section_spec *sections = gp_arena_array(arena, spec->n_sections, sizeof *sections);

	self->found = gp_arena_array(arena, spec->n_sections + 1, sizeof *self->found);
	if (!fields || !sections || !self->found) {
		return false;
	}
	for (size_t i = 0; i < spec->n_fields; i++) {
		if (!gp_arena_copy(arena, spec->fields[i], &fields[i])) {
			return false;
		}
	}
	for (size_t i = 0; i < spec->n_sections; i++) {
		sections[i] = spec->sections[i];
		sections[i].section = gp_arena_strdup(arena, span_of(spec->sections[i].section));
		if (!sections[i].section) {
			return false;
		}
	}
	self->fields = fields;
	self->n_fields = spec->n_fields;
	self->sections = sections;
	self->n_sections = spec->n_sections;
	return true;
}

struct imap_call *imap_fetch_start(struct imap_session *session, const struct imap_fetch_spec *spec, imap_row_fn row,
				   imap_done_fn done, void *ctx)
{
	struct fetch_call *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	imap_call_init(&self->base, session, &ops);
	imap_uidset_init(&self->uids);
	imap_uidset_init(&self->doubtful);
	imap_uidset_init(&self->held);
	imap_uidset_init(&self->told);
	self->row = row;
	self->done = done;
	self->ctx = ctx;
	self->is_by_position = !spec->uids;
	self->first_position = spec->first_position;
	self->last_position = spec->last_position;
	self->items = possible_items(session, spec);
	if (!copy_sections(self, spec) || (spec->uids && imap_uidset_add_all(&self->uids, spec->uids) != GP_OK)) {
		imap_call_discard(&self->base);
		return NULL;
	}
	if (self->is_by_position && (spec->first_position == 0 || spec->first_position > spec->last_position)) {
		imap_call_fail_with(&self->base, GP_INVALID, "positions are no range");
	}
	return imap_call_begin(&self->base);
}
