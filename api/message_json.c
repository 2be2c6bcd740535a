#include "api/message_json.h"

#include <stdlib.h>

#include "api/part_tree.h"
#include "api/router.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "mail/header.h"

#define MAX_HEADER_TEXT GP_MIB
#define MAX_ADDRESS_HALF (16 * GP_KIB)
#define MAX_KEYWORD GP_KIB
/* Of so many flags each is compared with each; more are sorted to find repetitions. */
#define FEW_FLAGS 32

const char *const api_message_member_names[API_N_MEMBERS] = {
#define X(name, json, items) json,
	API_MESSAGE_MEMBER_MAP(X)
#undef X
};

static const unsigned member_items[API_N_MEMBERS] = {
#define X(name, json, items) items,
	API_MESSAGE_MEMBER_MAP(X)
#undef X
};

unsigned api_message_items(uint64_t members)
{
	unsigned items = IMAP_ITEM_UID | IMAP_ITEM_FLAGS | IMAP_ITEM_MODSEQ;

	for (unsigned i = 0; i < API_N_MEMBERS; i++) {
		if (members >> i & 1) {
			items |= member_items[i];
		}
	}
	return items;
}

size_t api_message_fields(uint64_t members, const struct span **fields_out)
{
	static const struct span references = {"References", 10};

	*fields_out = &references;
	return members & API_MEMBER_BIT(REFERENCES) ? 1 : 0;
}

/* ---- keywords ---- */

static const struct {
	const char *keyword, *flag;
} system_flags[] = {
	{"$seen", "\\Seen"},   {"$flagged", "\\Flagged"}, {"$answered", "\\Answered"},
	{"$draft", "\\Draft"}, {"$deleted", "\\Deleted"},
};

#define N_SYSTEM_FLAGS (sizeof system_flags / sizeof system_flags[0])

struct span api_keyword_flag(struct gp_arena *arena, struct span keyword)
{
	for (size_t i = 0; i < N_SYSTEM_FLAGS; i++) {
		if (span_equal_text_nocase(keyword, system_flags[i].keyword)) {
			return span_of(system_flags[i].flag);
		}
	}
	if (keyword.len == 0 || keyword.len > 200 || keyword.ptr[0] == '\\' || !imap_is_keyword(keyword)) {
		return SPAN_NIL;
	}
	return span_of(gp_arena_strdup(arena, keyword));
}

bool api_row_has_flag(const struct imap_fetch *row, struct span flag)
{
	for (size_t i = 0; i < row->n_flags; i++) {
		if (span_equal_nocase(row->flags[i], flag)) {
			return true;
		}
	}
	return false;
}

static char lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool has_control(struct span flag)
{
	for (size_t i = 0; i < flag.len; i++) {
		unsigned char c = (unsigned char)flag.ptr[i];
		if (c < 0x20 || c == 0x7F) {
			return true;
		}
	}
	return false;
}

/* The member's name for a flag: NIL for those that have none. False: no memory. */
static bool keyword_of(struct span flag, struct gp_arena *arena, struct span *name_out)
{
	struct gp_buffer repaired;

	*name_out = SPAN_NIL;
	for (size_t i = 0; i < N_SYSTEM_FLAGS; i++) {
		if (span_equal_text_nocase(flag, system_flags[i].flag)) {
			*name_out = span_of(system_flags[i].keyword);
			return true;
		}
	}
	if (flag.len == 0 || flag.ptr[0] == '\\' || has_control(flag)) {
		return true; /* \Recent, \*, and flags that are nobody's, or no atom at all */
	}
	flag = span_slice(flag, 0, MAX_KEYWORD);
	gp_buffer_init(&repaired, 3 * MAX_KEYWORD);
	bool is_good = utf8_is_valid(flag);
	if (!is_good && utf8_append_repaired(&repaired, flag, NULL) == GP_OK) {
		flag = gp_buffer_span(&repaired);
		is_good = true;
	}
	char *name = is_good ? gp_arena_strdup(arena, flag) : NULL;
	gp_buffer_deinit(&repaired);
	for (size_t i = 0; name && i < flag.len; i++) {
		name[i] = lower(name[i]);
	}
	*name_out = span_make(name, name ? flag.len : 0);
	return name != NULL;
}

struct ranked_name {
	struct span name; /* borrow */
	size_t rank;
};

static int compare_names(const void *a, const void *b)
{
	const struct ranked_name *x = a, *y = b;
	int order = span_compare(x->name, y->name);

	return order != 0 ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

/* Makes NIL of each name that stands further ahead already: an object has a member but
 * once. Never quadratic, whatever the server sends. */
static bool drop_repeated(struct span *names, size_t n_names, struct gp_arena *arena)
{
	if (n_names <= FEW_FLAGS) {
		for (size_t i = 1; i < n_names; i++) {
			for (size_t k = 0; k < i; k++) {
				if (!span_is_nil(names[k]) && span_equal(names[i], names[k])) {
					names[i] = SPAN_NIL;
				}
			}
		}
		return true;
	}
	struct ranked_name *sorted = gp_arena_array(arena, n_names, sizeof *sorted);
	if (!sorted) {
		return false;
	}
	for (size_t i = 0; i < n_names; i++) {
		sorted[i] = (struct ranked_name){.name = names[i], .rank = i};
	}
	qsort(sorted, n_names, sizeof *sorted, compare_names);
	for (size_t i = 1; i < n_names; i++) {
		if (span_equal(sorted[i].name, sorted[i - 1].name)) {
			names[sorted[i].rank] = SPAN_NIL;
		}
	}
	return true;
}

void api_keywords_write(struct api_json_writer *writer, const struct span *flags, size_t n_flags,
			struct gp_arena *arena)
{
	struct span few[FEW_FLAGS];
	struct span *names = n_flags <= FEW_FLAGS ? few : gp_arena_array(arena, n_flags, sizeof *names);
	bool is_good = names != NULL;

	for (size_t i = 0; i < n_flags && is_good; i++) {
		is_good = keyword_of(flags[i], arena, &names[i]);
	}
	if (!is_good || !drop_repeated(names, n_flags, arena)) {
		api_json_writer_fail(writer, GP_NO_MEMORY);
		return;
	}
	api_json_writer_object(writer);
	for (size_t i = 0; i < n_flags; i++) {
		if (!span_is_nil(names[i])) {
			api_json_writer_text_key(writer, names[i]);
			api_json_writer_bool(writer, true);
		}
	}
	api_json_writer_object_end(writer);
}

/* ---- header values ---- */

/* Decoded; null for NIL. */
static void write_header_text(struct api_json_writer *writer, struct span raw)
{
	struct gp_buffer decoded;
	struct span text = SPAN_NIL;

	raw = span_slice(raw, 0, MAX_HEADER_TEXT);
	if (span_is_nil(raw) || mail_is_plain_text(raw, &text)) {
		api_json_writer_text(writer, text);
		return;
	}
	gp_buffer_init(&decoded, MAX_HEADER_TEXT * 3);
	api_json_writer_fail(writer, mail_decode_text(raw, &decoded, NULL));
	api_json_writer_text(writer, gp_buffer_span(&decoded));
	gp_buffer_deinit(&decoded);
}

static void write_address(struct api_json_writer *writer, const struct imap_address *address)
{
	api_json_writer_object(writer);
	api_json_writer_key(writer, "name");
	write_header_text(writer, address->name.len > 0 ? address->name : SPAN_NIL);
	api_json_writer_key(writer, "email");
	api_json_writer_text_begin(writer);
	api_json_writer_text_piece(writer, span_slice(address->mailbox, 0, MAX_ADDRESS_HALF));
	if (address->host.len > 0) {
		api_json_writer_text_piece(writer, SPAN_LIT("@"));
		api_json_writer_text_piece(writer, span_slice(address->host, 0, MAX_ADDRESS_HALF));
	}
	api_json_writer_text_end(writer);
	api_json_writer_object_end(writer);
}

/* Groups are flattened: the marks that begin and end one are no addresses. */
static void write_addresses(struct api_json_writer *writer, const struct imap_addresses *addresses)
{
	api_json_writer_array(writer);
	for (size_t i = 0; i < addresses->n_items; i++) {
		if (!span_is_nil(addresses->items[i].host)) {
			write_address(writer, &addresses->items[i]);
		}
	}
	api_json_writer_array_end(writer);
}

static void write_ids(struct api_json_writer *writer, struct span raw, struct gp_arena *arena)
{
	struct span *ids = NULL;
	size_t n_ids = 0;

	if (!span_is_nil(raw)) {
		api_json_writer_fail(writer, mail_parse_ids(raw, arena, &ids, &n_ids));
	}
	api_json_writer_array(writer);
	for (size_t i = 0; i < n_ids; i++) {
		api_json_writer_text(writer, ids[i]);
	}
	api_json_writer_array_end(writer);
}

static void write_sent_at(struct api_json_writer *writer, struct span date)
{
	int64_t seconds;
	int offset_minutes;

	if (span_is_nil(date) || !mail_parse_date(date, &seconds, &offset_minutes)) {
		api_json_writer_null(writer);
	} else {
		api_json_writer_time(writer, seconds, offset_minutes);
	}
}

void api_headers_write(struct api_json_writer *writer, struct span block, struct gp_arena *arena)
{
	struct mail_field *fields = NULL;
	size_t n_fields = 0;

	api_json_writer_fail(writer, mail_parse_fields(block, arena, &fields, &n_fields));
	api_json_writer_array(writer);
	for (size_t i = 0; i < n_fields; i++) {
		api_json_writer_object(writer);
		api_json_writer_key(writer, "name");
		api_json_writer_text(writer, fields[i].name);
		api_json_writer_key(writer, "value");
		write_header_text(writer, fields[i].raw);
		api_json_writer_key(writer, "raw");
		api_json_writer_text(writer, fields[i].raw);
		api_json_writer_object_end(writer);
	}
	api_json_writer_array_end(writer);
}

/* ---- the message ---- */

enum gp_status api_message_view_init(struct api_message_view *view, uint64_t members, struct gp_arena *arena,
				     struct span mailbox, uint32_t uidvalidity)
{
	const char *href = api_mailbox_href(arena, mailbox);
	const char *messages = href ? gp_arena_printf(arena, "%s/messages/", href) : NULL;

	*view = (struct api_message_view){.members = members,
					  .arena = arena,
					  .mailbox = mailbox,
					  .uidvalidity = uidvalidity,
					  .messages_href = span_of(messages)};
	return messages ? GP_OK : GP_NO_MEMORY;
}

enum gp_status api_message_parts(const struct imap_fetch *row, struct gp_arena *arena,
				 struct api_message_parts *parts_out)
{
	struct api_message_parts parts = {.root = NULL};
	enum gp_status status = row->body ? api_part_tree_new(row->body, arena, &parts.root) : GP_OK;

	if (status == GP_OK && parts.root) {
		status = mail_choose(parts.root, arena, &parts.choice);
	}
	if (status == GP_OK) {
		*parts_out = parts;
	}
	return status;
}

/* Whether a member that the caller asked for is to be written. */
#define WANTS(name) ((view->members & API_MEMBER_BIT(name)) != 0)

static void write_number_or_null(struct api_json_writer *writer, bool is_known, uint64_t number, bool is_text)
{
	if (!is_known) {
		api_json_writer_null(writer);
	} else if (is_text) {
		api_json_writer_number_text(writer, number);
	} else {
		api_json_writer_number(writer, number);
	}
}

void api_message_write_facts(struct api_json_writer *writer, const struct api_message_view *view,
			     const struct imap_fetch *row)
{
	if (WANTS(UID)) {
		api_json_writer_key(writer, "uid");
		api_json_writer_number(writer, row->uid);
	}
	if (WANTS(UIDVALIDITY)) {
		api_json_writer_key(writer, "uidValidity");
		api_json_writer_number(writer, view->uidvalidity);
	}
	if (WANTS(MAILBOX)) {
		api_json_writer_key(writer, "mailbox");
		api_json_writer_text(writer, view->mailbox);
	}
	if (WANTS(MODSEQ)) {
		api_json_writer_key(writer, "modseq");
		write_number_or_null(writer, row->items & IMAP_ITEM_MODSEQ, row->modseq, true);
	}
	if (WANTS(SIZE)) {
		api_json_writer_key(writer, "size");
		write_number_or_null(writer, row->items & IMAP_ITEM_SIZE, row->size, false);
	}
	if (WANTS(RECEIVED_AT)) {
		api_json_writer_key(writer, "receivedAt");
		if (row->items & IMAP_ITEM_INTERNALDATE) {
			api_json_writer_time(writer, row->internal_date, 0);
		} else {
			api_json_writer_null(writer);
		}
	}
	if (WANTS(KEYWORDS)) {
		api_json_writer_key(writer, "keywords");
		api_keywords_write(writer, row->flags, row->n_flags, view->arena);
	}
}

static void write_envelope(struct api_json_writer *writer, const struct api_message_view *view,
			   const struct imap_envelope *envelope)
{
	static const struct imap_envelope empty = {.date = {NULL, 0}};
	const struct imap_envelope *e = envelope ? envelope : &empty;
	const struct {
		uint64_t bit;
		struct span name;
		const struct imap_addresses *addresses;
	} lists[] = {
		{API_MEMBER_BIT(FROM), SPAN_LIT("from"), &e->from},
		{API_MEMBER_BIT(SENDER), SPAN_LIT("sender"), &e->sender},
		{API_MEMBER_BIT(REPLY_TO), SPAN_LIT("replyTo"), &e->reply_to},
		{API_MEMBER_BIT(TO), SPAN_LIT("to"), &e->to},
		{API_MEMBER_BIT(CC), SPAN_LIT("cc"), &e->cc},
		{API_MEMBER_BIT(BCC), SPAN_LIT("bcc"), &e->bcc},
	};

	if (WANTS(SENT_AT)) {
		api_json_writer_key(writer, "sentAt");
		write_sent_at(writer, e->date);
	}
	if (WANTS(SUBJECT)) {
		api_json_writer_key(writer, "subject");
		write_header_text(writer, e->subject);
	}
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		if (view->members & lists[i].bit) {
			api_json_writer_plain_key(writer, lists[i].name);
			write_addresses(writer, lists[i].addresses);
		}
	}
	if (WANTS(MESSAGE_ID)) {
		api_json_writer_key(writer, "messageId");
		write_ids(writer, e->message_id, view->arena);
	}
	if (WANTS(IN_REPLY_TO)) {
		api_json_writer_key(writer, "inReplyTo");
		write_ids(writer, e->in_reply_to, view->arena);
	}
}

/* The value of the References field in a BODY[HEADER.FIELDS …] or BODY[HEADER]. */
static struct span references_of(const struct imap_fetch *row, struct gp_arena *arena)
{
	for (size_t i = 0; i < row->n_sections; i++) {
		const struct imap_section *section = &row->sections[i];
		struct mail_field *fields;
		size_t n_fields;
		if (!span_starts_with_nocase(section->spec, "HEADER") || span_is_nil(section->value) ||
		    mail_parse_fields(section->value, arena, &fields, &n_fields) != GP_OK) {
			continue;
		}
		for (size_t k = 0; k < n_fields; k++) {
			if (span_equal_text_nocase(fields[k].name, "References")) {
				return fields[k].raw;
			}
		}
	}
	return SPAN_NIL;
}

static struct span header_block_of(const struct imap_fetch *row)
{
	for (size_t i = 0; i < row->n_sections; i++) {
		if (span_equal_text_nocase(row->sections[i].spec, "HEADER")) {
			return row->sections[i].value;
		}
	}
	return SPAN_NIL;
}

static void write_parts(struct api_json_writer *writer, const struct api_message_view *view, struct span href,
			const struct api_message_parts *parts)
{
	const struct mail_choice *choice = &parts->choice;

	if (WANTS(HAS_ATTACHMENT)) {
		api_json_writer_key(writer, "hasAttachment");
		if (parts->root) {
			api_json_writer_bool(writer, choice->has_attachment);
		} else {
			api_json_writer_null(writer);
		}
	}
	if (WANTS(ATTACHMENTS)) {
		api_json_writer_key(writer, "attachments");
		api_part_list_write(writer, &choice->attachments, href);
	}
	if (WANTS(BODY_STRUCTURE)) {
		api_json_writer_key(writer, "bodyStructure");
		api_part_tree_write(writer, parts->root, href);
	}
	if (WANTS(TEXT_BODY)) {
		api_json_writer_key(writer, "textBody");
		api_part_list_write(writer, &choice->text_body, href);
	}
	if (WANTS(HTML_BODY)) {
		api_json_writer_key(writer, "htmlBody");
		api_part_list_write(writer, &choice->html_body, href);
	}
}

bool api_message_has_preview(const struct imap_fetch *row)
{
	return row->items & IMAP_ITEM_PREVIEW && span_trim(row->preview).len > 0;
}

/* "/mailboxes/INBOX/messages/7", in the arena; NIL: no memory. */
static struct span message_href(const struct api_message_view *view, uint32_t uid)
{
	struct span prefix = view->messages_href;
	char *href = gp_arena_alloc(view->arena, prefix.len + API_JSON_WRITER_DIGITS);

	if (!href) {
		return SPAN_NIL;
	}
	memcpy(href, prefix.ptr, prefix.len);
	return span_make(href, prefix.len + api_json_writer_digits(uid, href + prefix.len));
}

void api_message_write_content(struct api_json_writer *writer, const struct api_message_view *view,
			       const struct imap_fetch *row, const struct api_message_parts *parts)
{
	struct span href = message_href(view, row->uid);

	if (span_is_nil(href)) {
		api_json_writer_fail(writer, GP_NO_MEMORY);
		return;
	}
	write_envelope(writer, view, row->envelope);
	if (WANTS(REFERENCES)) {
		api_json_writer_key(writer, "references");
		write_ids(writer, references_of(row, view->arena), view->arena);
	}
	write_parts(writer, view, href, parts);
	if (WANTS(PREVIEW) && api_message_has_preview(row)) {
		api_json_writer_key(writer, "preview");
		api_json_writer_text(writer, row->preview);
	}
	if (WANTS(EMAIL_ID)) {
		api_json_writer_key(writer, "emailId");
		api_json_writer_text(writer, row->email_id);
	}
	if (WANTS(THREAD_ID)) {
		api_json_writer_key(writer, "threadId");
		api_json_writer_text(writer, row->thread_id);
	}
	if (WANTS(HEADERS)) {
		struct span block = header_block_of(row);
		api_json_writer_key(writer, "headers");
		if (span_is_nil(block)) {
			api_json_writer_null(writer);
		} else {
			api_headers_write(writer, block, view->arena);
		}
	}
	if (WANTS(HREF)) {
		api_json_writer_key(writer, "href");
		api_json_writer_text(writer, href);
	}
}
