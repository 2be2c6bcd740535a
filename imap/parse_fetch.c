/*
 * One FETCH row. Items come in any order and each stands for itself: one that cannot
 * be read is passed over, and the row keeps the others. Parentheses around the items
 * mean nothing here, so that items behind the last one, or in one pair too many, are
 * found as well.
 */
#include "base/limits.h"
#include "imap/parse.h"
#include "imap/parser.h"

/* How often a value or section without end is recovered from in one row. Each time may
 * read the rest of the row: without a bound that is the square of its length. */
#define MAX_RECOVERIES 8

struct fetch_reader {
	struct imap_parse *parse; /* borrow */
	struct imap_lexer *lexer; /* borrow */
	struct imap_fetch *row;   /* borrow */
	struct imap_section *sections;
	size_t size_sections;
	size_t n_recoveries;
	bool has_uid_conflict;
};

/* ---- items ---- */

static bool read_uid(struct fetch_reader *reader)
{
	uint32_t uid;

	if (!span_to_u32(imap_lexer_nstring(reader->lexer), &uid) || uid == 0) {
		return false;
	}
	reader->has_uid_conflict |= reader->row->uid != 0 && reader->row->uid != uid;
	reader->row->uid = uid;
	return true;
}

/* A list, NIL, or flags without their parentheses. */
static bool read_flags(struct fetch_reader *reader)
{
	struct imap_fetch *row = reader->row;
	struct imap_lexer *lexer = reader->lexer;
	struct span *flags = NULL;
	size_t n_flags = 0;
	size_t size = 0;

	if (imap_lexer_peek(lexer) == IMAP_TOKEN_OPEN) {
		return imap_parse_words(lexer, &row->flags, &row->n_flags);
	}
	if (imap_lexer_is_nil(lexer)) {
		(void)imap_lexer_nstring(lexer);
		return true;
	}
	while (imap_lexer_peek(lexer) == IMAP_TOKEN_ATOM && *lexer->at == '\\') {
		struct span *grown = imap_lexer_grow(lexer, flags, n_flags, &size, sizeof *flags);
		if (!grown) {
			return false;
		}
		flags = grown;
		flags[n_flags++] = imap_lexer_nstring(lexer);
	}
	row->flags = flags;
	row->n_flags = n_flags;
	return n_flags > 0;
}

static bool read_internal_date(struct fetch_reader *reader)
{
	return imap_parse_date_time(imap_lexer_nstring(reader->lexer), &reader->row->internal_date);
}

static bool read_size(struct fetch_reader *reader)
{
	return imap_lexer_number(reader->lexer, &reader->row->size);
}

static bool read_modseq(struct fetch_reader *reader)
{
	bool has_paren = imap_lexer_take(reader->lexer, '(');
	bool is_read = imap_lexer_number(reader->lexer, &reader->row->modseq);

	return is_read && (!has_paren || imap_lexer_take(reader->lexer, ')'));
}

static bool read_envelope(struct fetch_reader *reader)
{
	const struct imap_envelope *envelope = imap_parse_envelope(reader->lexer);

	if (envelope) {
		reader->row->envelope = envelope;
	}
	return envelope != NULL;
}

static bool read_body_structure(struct fetch_reader *reader)
{
	const struct imap_body *body = imap_parse_body(reader->lexer);

	if (body) {
		reader->row->body = body;
	}
	return body != NULL;
}

/* (M123), M123 or NIL */
static bool read_id(struct fetch_reader *reader, struct span *id_out)
{
	bool has_paren = imap_lexer_take(reader->lexer, '(');
	struct span id = imap_lexer_nstring(reader->lexer);

	if (has_paren && !imap_lexer_take(reader->lexer, ')')) {
		return false;
	}
	*id_out = id;
	return true;
}

static bool read_email_id(struct fetch_reader *reader)
{
	return read_id(reader, &reader->row->email_id);
}

static bool read_thread_id(struct fetch_reader *reader)
{
	return read_id(reader, &reader->row->thread_id);
}

/* Gmail's ids stand in for those of RFC 8474 where a server has both. */
static bool read_gmail_id(struct fetch_reader *reader, unsigned item, struct span *id_out)
{
	struct span id;
	uint64_t number;

	if (!read_id(reader, &id) || !span_to_u64(id, &number)) {
		return false;
	}
	if (!(reader->row->items & item)) {
		*id_out = id;
	}
	return true;
}

static bool read_gmail_message_id(struct fetch_reader *reader)
{
	return read_gmail_id(reader, IMAP_ITEM_EMAILID, &reader->row->email_id);
}

static bool read_gmail_thread_id(struct fetch_reader *reader)
{
	return read_gmail_id(reader, IMAP_ITEM_THREADID, &reader->row->thread_id);
}

/* A string, or (FUZZY "text") as drafts of RFC 8970 had it. */
static bool read_preview(struct fetch_reader *reader)
{
	struct imap_lexer *lexer = reader->lexer;

	if (!imap_lexer_take(lexer, '(')) {
		reader->row->preview = imap_lexer_nstring(lexer);
		return true;
	}
	struct span preview = SPAN_NIL;
	while (!imap_lexer_take(lexer, ')')) {
		if (imap_lexer_peek(lexer) == IMAP_TOKEN_END) {
			return false;
		}
		preview = imap_lexer_nstring(lexer);
	}
	reader->row->preview = preview;
	return true;
}

struct item {
	const char *name;
	unsigned item; /* enum imap_item; 0: passed over */
	bool (*read)(struct fetch_reader *reader);
	const char *section; /* what the item is as a section, else NULL */
};

static const struct item items[] = {
	{"UID", IMAP_ITEM_UID, read_uid, NULL},
	{"FLAGS", IMAP_ITEM_FLAGS, read_flags, NULL},
	{"ENVELOPE", IMAP_ITEM_ENVELOPE, read_envelope, NULL},
	{"BODYSTRUCTURE", IMAP_ITEM_BODYSTRUCTURE, read_body_structure, NULL},
	{"RFC822.SIZE", IMAP_ITEM_SIZE, read_size, NULL},
	{"INTERNALDATE", IMAP_ITEM_INTERNALDATE, read_internal_date, NULL},
	{"MODSEQ", IMAP_ITEM_MODSEQ, read_modseq, NULL},
	{"BODY", IMAP_ITEM_BODYSTRUCTURE, read_body_structure, NULL},
	{"EMAILID", IMAP_ITEM_EMAILID, read_email_id, NULL},
	{"THREADID", IMAP_ITEM_THREADID, read_thread_id, NULL},
	{"X-GM-MSGID", IMAP_ITEM_EMAILID, read_gmail_message_id, NULL},
	{"X-GM-THRID", IMAP_ITEM_THREADID, read_gmail_thread_id, NULL},
	{"PREVIEW", IMAP_ITEM_PREVIEW, read_preview, NULL},
	{"RFC822", IMAP_ITEM_SECTION, NULL, ""},
	{"RFC822.HEADER", IMAP_ITEM_SECTION, NULL, "HEADER"},
	{"RFC822.TEXT", IMAP_ITEM_SECTION, NULL, "TEXT"},
	{"X-GM-LABELS", 0, NULL, NULL},
	{"SAVEDATE", 0, NULL, NULL},
};

static const struct item *find_item(struct span name)
{
	for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
		if (span_equal_text_nocase(name, items[i].name)) {
			return &items[i];
		}
	}
	return NULL;
}

/* ---- sections ---- */

/* Whether an atom where a value is due is the name of the next item: the value is
 * missing. */
static bool is_item_next(struct imap_lexer *lexer)
{
	const char *start = lexer->at;
	struct imap_token token;

	if (imap_lexer_peek(lexer) != IMAP_TOKEN_ATOM) {
		return false;
	}
	imap_lexer_next(lexer, &token);
	lexer->at = start;
	ptrdiff_t bracket = span_find_char(token.text, '[');
	if (bracket > 0) {
		return span_starts_with_nocase(token.text, "BODY[") || span_starts_with_nocase(token.text, "BINARY");
	}
	return find_item(token.text) != NULL;
}

static bool read_section_value(struct fetch_reader *reader, struct imap_section section)
{
	struct imap_lexer *lexer = reader->lexer;
	struct imap_token token;

	switch (imap_lexer_peek(lexer)) {
	case IMAP_TOKEN_END:
	case IMAP_TOKEN_OPEN:
	case IMAP_TOKEN_CLOSE:
		return false;
	case IMAP_TOKEN_ATOM:
		if (!imap_lexer_is_nil(lexer)) {
			return false;
		}
		(void)imap_lexer_nstring(lexer);
		break;
	case IMAP_TOKEN_STRING:
	case IMAP_TOKEN_TOO_LONG:
		imap_lexer_next(lexer, &token);
		section.is_too_long = token.kind == IMAP_TOKEN_TOO_LONG;
		section.value = imap_lexer_text(lexer, &token);
		break;
	}
	struct imap_section *grown = imap_lexer_grow(lexer, reader->sections, reader->row->n_sections,
						     &reader->size_sections, sizeof *grown);
	if (!grown) {
		return false;
	}
	reader->sections = grown;
	reader->row->sections = grown;
	grown[reader->row->n_sections++] = section;
	reader->row->items |= IMAP_ITEM_SECTION;
	return true;
}

/* "[1.2.MIME]", "[HEADER.FIELDS (FROM "X-]")]": up to the bracket that ends it. Field
 * names may be quoted or literals, and have brackets and parentheses in them. */
static bool read_section_spec(struct fetch_reader *reader, struct span *spec_out)
{
	struct imap_lexer *lexer = reader->lexer;
	const char *start = ++lexer->at;
	size_t brackets = 0;
	size_t parens = 0;

	while (lexer->at < lexer->end) {
		char c = *lexer->at;
		struct imap_token token;
		if (c == '"' || imap_lexer_peek(lexer) == IMAP_TOKEN_STRING) {
			imap_lexer_next(lexer, &token);
			continue;
		}
		if (lexer->at == lexer->end) {
			break;
		}
		c = *lexer->at;
		if (c == '(') {
			parens++;
		} else if (c == ')') {
			parens -= parens > 0;
		} else if (parens == 0 && c == '[') {
			brackets++;
		} else if (parens == 0 && c == ']') {
			if (brackets == 0) {
				*spec_out = span_make(start, (size_t)(lexer->at - start));
				lexer->at++;
				return true;
			}
			brackets--;
		}
		lexer->at++;
	}
	/* unbalanced inside: the first bracket, then */
	struct span rest = span_make(start, (size_t)(lexer->end - start));
	ptrdiff_t end = span_find_char(rest, ']');
	reader->n_recoveries++;
	lexer->at = start;
	if (end < 0) {
		return false;
	}
	*spec_out = span_slice(rest, 0, (size_t)end);
	lexer->at = start + end + 1;
	return true;
}

/* "<0>", or "<0.1024>" from servers that repeat what was asked. */
static void read_origin(struct imap_lexer *lexer, struct imap_section *section)
{
	if (lexer->at >= lexer->end || *lexer->at != '<') {
		return;
	}
	const char *start = lexer->at + 1;
	const char *at = start;
	while (at < lexer->end && ((*at >= '0' && *at <= '9') || *at == '.')) {
		at++;
	}
	if (at < lexer->end && *at == '>') {
		struct span digits = span_make(start, (size_t)(at - start));
		ptrdiff_t dot = span_find_char(digits, '.');
		if (dot >= 0) {
			digits.len = (size_t)dot;
		}
		section->has_origin = span_to_u64(digits, &section->origin);
		lexer->at = at + 1;
	}
}

static bool read_section(struct fetch_reader *reader, struct span name)
{
	struct imap_section section = {.value = SPAN_NIL};

	if (!read_section_spec(reader, &section.spec)) {
		return false;
	}
	read_origin(reader->lexer, &section);
	bool is_kept = span_equal_text_nocase(name, "BODY") || span_equal_text_nocase(name, "BODY.PEEK") ||
		       span_equal_text_nocase(name, "BINARY") || span_equal_text_nocase(name, "BINARY.PEEK");
	return is_kept && read_section_value(reader, section);
}

/* ---- the row ---- */

/* Up to a bracket, a parenthesis, a space or a string. */
static struct span read_name(struct imap_lexer *lexer)
{
	const char *start = lexer->at;
	struct imap_token token;

	imap_lexer_next(lexer, &token);
	ptrdiff_t bracket = span_find_char(token.text, '[');
	if (bracket > 0) {
		token.text.len = (size_t)bracket;
		lexer->at = start + bracket;
	}
	return token.text;
}

/* Behind an item whose value has no end, reading goes on where something that looks
 * like the next item stands outside of strings. */
static void find_next_item(struct imap_lexer *lexer)
{
	while (imap_lexer_peek(lexer) != IMAP_TOKEN_END && !is_item_next(lexer)) {
		struct imap_token token;
		imap_lexer_next(lexer, &token);
	}
}

static bool read_item(struct fetch_reader *reader, struct span name)
{
	struct imap_lexer *lexer = reader->lexer;

	if (lexer->at < lexer->end && *lexer->at == '[') {
		return read_section(reader, name);
	}
	const struct item *item = find_item(name);
	if (!item || is_item_next(lexer)) {
		return false;
	}
	if (item->section) {
		return read_section_value(reader, (struct imap_section){.spec = span_of(item->section)});
	}
	if (!item->read || imap_lexer_peek(lexer) == IMAP_TOKEN_CLOSE || !item->read(reader)) {
		return false;
	}
	reader->row->items |= item->item;
	return true;
}

static void pass_item(struct fetch_reader *reader)
{
	struct imap_lexer *lexer = reader->lexer;
	const char *start = lexer->at;

	if (is_item_next(lexer) || imap_lexer_skip_value(lexer)) {
		return;
	}
	reader->n_recoveries++;
	lexer->at = start;
	(void)imap_lexer_take(lexer, '(');
	find_next_item(lexer);
}

void imap_parse_fetch(struct imap_parse *parse, uint32_t number, bool is_uid)
{
	struct fetch_reader reader = {.parse = parse, .lexer = &parse->lexer, .row = &parse->response.fetch};
	struct imap_lexer *lexer = reader.lexer;

	if (is_uid && number > 0) {
		reader.row->uid = number;
		reader.row->items = IMAP_ITEM_UID;
	} else {
		reader.row->seq = number;
	}
	while (imap_lexer_peek(lexer) != IMAP_TOKEN_END && reader.n_recoveries <= MAX_RECOVERIES) {
		if (imap_lexer_peek(lexer) != IMAP_TOKEN_ATOM) {
			struct imap_token token;
			imap_lexer_next(lexer, &token);
			continue;
		}
		struct span name = read_name(lexer);
		const char *value = lexer->at;
		if (!read_item(&reader, name)) {
			lexer->at = value;
			if (value < lexer->end && *value == '[') {
				struct imap_section section;
				(void)read_section_spec(&reader, &section.spec);
				read_origin(lexer, &section);
			}
			pass_item(&reader);
		}
	}
	/* a row that names two messages names none */
	if (reader.has_uid_conflict) {
		reader.row->uid = 0;
		reader.row->items &= ~(unsigned)IMAP_ITEM_UID;
	}
}
