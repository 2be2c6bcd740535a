#include "api/message_json.h"

#include <ctype.h>

#include "api/part_tree.h"
#include "api/reply.h"
#include "api/router.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "mail/header.h"

#define MAX_HEADER_TEXT GP_MIB

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

static void set_keyword(json_t *keywords, struct span flag)
{
	for (size_t i = 0; i < N_SYSTEM_FLAGS; i++) {
		if (span_equal_text_nocase(flag, system_flags[i].flag)) {
			api_json_set(keywords, system_flags[i].keyword, json_true());
			return;
		}
	}
	if (flag.len == 0 || flag.ptr[0] == '\\') {
		return; /* \Recent, \*, and flags that are nobody's */
	}
	struct gp_buffer name;
	gp_buffer_init(&name, 4 * GP_KIB);
	if (utf8_append_repaired(&name, span_slice(flag, 0, GP_KIB), NULL) == GP_OK) {
		for (char *p = name.data; *p; p++) {
			*p = (char)tolower((unsigned char)*p);
		}
		api_json_set(keywords, name.data, json_true());
	}
	gp_buffer_deinit(&name);
}

json_t *api_keywords_json(const struct span *flags, size_t n_flags)
{
	json_t *keywords = json_object();

	for (size_t i = 0; i < n_flags; i++) {
		set_keyword(keywords, flags[i]);
	}
	return keywords;
}

/* ---- header values ---- */

json_t *api_decoded_text_json(struct span raw)
{
	if (span_is_nil(raw)) {
		return json_null();
	}
	struct gp_buffer text;
	gp_buffer_init(&text, MAX_HEADER_TEXT * 3);
	enum gp_status status = mail_decode_text(span_slice(raw, 0, MAX_HEADER_TEXT), &text, NULL);
	json_t *value = status == GP_OK ? api_json_text(gp_buffer_span(&text)) : NULL;
	gp_buffer_deinit(&text);
	return value;
}

static json_t *address_json(const struct imap_address *address)
{
	json_t *object = json_object();
	struct gp_buffer email;

	gp_buffer_init(&email, 64 * GP_KIB);
	enum gp_status status = gp_buffer_append(&email, span_slice(address->mailbox, 0, 16 * GP_KIB));
	if (status == GP_OK && address->host.len > 0) {
		status = gp_buffer_append_char(&email, '@');
	}
	if (status == GP_OK) {
		status = gp_buffer_append(&email, span_slice(address->host, 0, 16 * GP_KIB));
	}
	api_json_set(object, "name", address->name.len > 0 ? api_decoded_text_json(address->name) : json_null());
	api_json_set(object, "email", status == GP_OK ? api_json_text(gp_buffer_span(&email)) : NULL);
	gp_buffer_deinit(&email);
	return object;
}

/* Groups are flattened: the marks that begin and end one are no addresses. */
static json_t *addresses_json(const struct imap_addresses *addresses)
{
	json_t *array = json_array();

	for (size_t i = 0; i < addresses->n_items; i++) {
		const struct imap_address *address = &addresses->items[i];
		if (span_is_nil(address->host)) {
			continue;
		}
		json_array_append_new(array, address_json(address));
	}
	return array;
}

static json_t *ids_json(struct span raw, struct gp_arena *arena)
{
	json_t *array = json_array();
	struct span *ids = NULL;
	size_t n_ids = 0;

	if (!span_is_nil(raw) && mail_parse_ids(raw, arena, &ids, &n_ids) == GP_OK) {
		for (size_t i = 0; i < n_ids; i++) {
			json_array_append_new(array, api_json_text(ids[i]));
		}
	}
	return array;
}

static json_t *sent_at_json(struct span date)
{
	int64_t seconds;
	int offset_minutes;

	if (span_is_nil(date) || !mail_parse_date(date, &seconds, &offset_minutes)) {
		return json_null();
	}
	return api_json_date(seconds, offset_minutes);
}

json_t *api_headers_json(struct span block, struct gp_arena *arena)
{
	json_t *array = json_array();
	struct mail_field *fields;
	size_t n_fields;

	if (mail_parse_fields(block, arena, &fields, &n_fields) != GP_OK) {
		json_decref(array);
		return NULL;
	}
	for (size_t i = 0; i < n_fields; i++) {
		json_t *field = json_object();
		api_json_set(field, "name", api_json_text(fields[i].name));
		api_json_set(field, "value", api_decoded_text_json(fields[i].raw));
		api_json_set(field, "raw", api_json_text(fields[i].raw));
		json_array_append_new(array, field);
	}
	return array;
}

/* ---- the message ---- */

/* Whether a member that the caller asked for is to be set. */
#define WANTS(name) ((view->members & API_MEMBER_BIT(name)) != 0)

static void set_envelope(const struct api_message_view *view, json_t *object, const struct imap_envelope *envelope)
{
	static const struct imap_envelope empty = {.date = {NULL, 0}};
	const struct imap_envelope *e = envelope ? envelope : &empty;
	const struct {
		uint64_t bit;
		const char *name;
		const struct imap_addresses *addresses;
	} lists[] = {
		{API_MEMBER_BIT(FROM), "from", &e->from},
		{API_MEMBER_BIT(SENDER), "sender", &e->sender},
		{API_MEMBER_BIT(REPLY_TO), "replyTo", &e->reply_to},
		{API_MEMBER_BIT(TO), "to", &e->to},
		{API_MEMBER_BIT(CC), "cc", &e->cc},
		{API_MEMBER_BIT(BCC), "bcc", &e->bcc},
	};

	if (WANTS(SENT_AT)) {
		api_json_set(object, "sentAt", sent_at_json(e->date));
	}
	if (WANTS(SUBJECT)) {
		api_json_set(object, "subject", api_decoded_text_json(e->subject));
	}
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		if (view->members & lists[i].bit) {
			api_json_set(object, lists[i].name, addresses_json(lists[i].addresses));
		}
	}
	if (WANTS(MESSAGE_ID)) {
		api_json_set(object, "messageId", ids_json(e->message_id, view->arena));
	}
	if (WANTS(IN_REPLY_TO)) {
		api_json_set(object, "inReplyTo", ids_json(e->in_reply_to, view->arena));
	}
}

static void set_facts(const struct api_message_view *view, json_t *object, const struct imap_fetch *row)
{
	if (WANTS(UID)) {
		api_json_set(object, "uid", json_integer(row->uid));
	}
	if (WANTS(UIDVALIDITY)) {
		api_json_set(object, "uidValidity", json_integer(view->uidvalidity));
	}
	if (WANTS(MAILBOX)) {
		api_json_set(object, "mailbox", api_json_text(view->mailbox));
	}
	if (WANTS(MODSEQ)) {
		api_json_set(object, "modseq",
			     row->items & IMAP_ITEM_MODSEQ ? api_json_number_string(row->modseq) : json_null());
	}
	if (WANTS(SIZE)) {
		api_json_set(object, "size",
			     row->items & IMAP_ITEM_SIZE ? json_integer((json_int_t)row->size) : json_null());
	}
	if (WANTS(RECEIVED_AT)) {
		api_json_set(object, "receivedAt",
			     row->items & IMAP_ITEM_INTERNALDATE ? api_json_utc(row->internal_date) : json_null());
	}
	if (WANTS(KEYWORDS)) {
		api_json_set(object, "keywords", api_keywords_json(row->flags, row->n_flags));
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

static void set_parts(const struct api_message_view *view, json_t *object, const char *href, struct mail_part *root,
		      const struct mail_choice *choice)
{
	if (WANTS(HAS_ATTACHMENT)) {
		api_json_set(object, "hasAttachment", root ? json_boolean(choice->has_attachment) : json_null());
	}
	if (WANTS(ATTACHMENTS)) {
		api_json_set(object, "attachments", api_part_list_json(&choice->attachments, href, view->arena));
	}
	if (WANTS(BODY_STRUCTURE)) {
		api_json_set(object, "bodyStructure", root ? api_part_tree_json(root, href, view->arena) : json_null());
	}
	if (WANTS(TEXT_BODY)) {
		api_json_set(object, "textBody", api_part_list_json(&choice->text_body, href, view->arena));
	}
	if (WANTS(HTML_BODY)) {
		api_json_set(object, "htmlBody", api_part_list_json(&choice->html_body, href, view->arena));
	}
}

json_t *api_message_json(const struct api_message_view *view, const struct imap_fetch *row,
			 struct mail_part **parts_out, struct mail_choice *choice_out)
{
	json_t *object = json_object();
	struct mail_part *root = NULL;
	struct mail_choice choice = {.has_attachment = false};
	char *href = api_message_href(view->arena, view->mailbox, row->uid, "");

	if (!object || !href) {
		json_decref(object);
		return NULL;
	}
	if (row->body && (api_part_tree_new(row->body, view->arena, &root) != GP_OK ||
			  mail_choose(root, view->arena, &choice) != GP_OK)) {
		json_decref(object);
		return NULL;
	}
	set_facts(view, object, row);
	set_envelope(view, object, row->envelope);
	if (WANTS(REFERENCES)) {
		api_json_set(object, "references", ids_json(references_of(row, view->arena), view->arena));
	}
	set_parts(view, object, href, root, &choice);
	if (WANTS(PREVIEW) && row->items & IMAP_ITEM_PREVIEW && !span_is_nil(row->preview)) {
		api_json_set(object, "preview", api_json_text(row->preview));
	}
	if (WANTS(EMAIL_ID)) {
		api_json_set(object, "emailId", api_json_text(row->email_id));
	}
	if (WANTS(THREAD_ID)) {
		api_json_set(object, "threadId", api_json_text(row->thread_id));
	}
	if (WANTS(HEADERS)) {
		struct span block = header_block_of(row);
		api_json_set(object, "headers",
			     span_is_nil(block) ? json_null() : api_headers_json(block, view->arena));
	}
	if (WANTS(HREF)) {
		api_json_set(object, "href", json_string(href));
	}
	if (parts_out) {
		*parts_out = root;
		*choice_out = choice;
	}
	return object;
}
