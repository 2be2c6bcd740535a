/* mail_draft_check(): nothing of a draft can be taken for another part of the message. */
#include "base/utf8.h"
#include "mail/compose_internal.h"

#define MAX_FILE_NAME MAIL_MAX_ATTACHMENT_NAME

/* ---- text ---- */

/* NULL, or what is wrong with one line of text. */
static const char *fault_of_line(struct span text, size_t max)
{
	if (text.len > max) {
		return "is too long";
	}
	if (!utf8_is_valid(text)) {
		return "is not UTF-8";
	}
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if (c == '\r' || c == '\n') {
			return "holds a line break";
		}
		if (c < 0x20 || c == 0x7F) {
			return "holds a control character";
		}
	}
	return NULL;
}

static enum gp_status check_body(const char *member, struct span text, struct gp_error *error)
{
	if (!utf8_is_valid(text)) {
		return gp_error_set(error, GP_INVALID, "%s: is not UTF-8", member);
	}
	if (text.len > 0 && memchr(text.ptr, '\0', text.len)) {
		return gp_error_set(error, GP_INVALID, "%s: holds the character NUL", member);
	}
	return GP_OK;
}

/* ---- addresses and ids ---- */

static enum gp_status check_addresses(const char *member, const struct mail_addresses *addresses,
				      struct gp_error *error)
{
	if (addresses->n_items > MAIL_MAX_RECIPIENTS) {
		return gp_error_set(error, GP_INVALID, "%s: there are more than %zu addresses", member,
				    MAIL_MAX_RECIPIENTS);
	}
	for (size_t i = 0; i < addresses->n_items; i++) {
		const struct mail_address *address = &addresses->items[i];
		const char *fault = fault_of_line(address->name, MAIL_MAX_DISPLAY_NAME);
		if (fault) {
			return gp_error_set(error, GP_INVALID, "%s[%zu].name: %s", member, i, fault);
		}
		if (!mail_address_is_ascii(address->email)) {
			return gp_error_set(error, GP_INVALID, "%s[%zu].email: is not an e-mail address", member, i);
		}
	}
	return GP_OK;
}

/* Ids of other programs are taken as they are, as long as nothing can end them. */
static bool is_id(struct span id)
{
	for (size_t i = 0; i < id.len; i++) {
		char c = id.ptr[i];
		if (c <= 0x20 || c > 0x7E || c == '<' || c == '>') {
			return false;
		}
	}
	return id.len > 0 && id.len <= MAIL_MAX_ID;
}

static enum gp_status check_ids(const char *member, const struct mail_ids *ids, struct gp_error *error)
{
	if (ids->n_items > MAIL_MAX_REFERENCES) {
		return gp_error_set(error, GP_INVALID, "%s: there are more than %zu ids", member, MAIL_MAX_REFERENCES);
	}
	for (size_t i = 0; i < ids->n_items; i++) {
		if (!is_id(ids->items[i])) {
			return gp_error_set(error, GP_INVALID, "%s[%zu]: is not a message id", member, i);
		}
	}
	return GP_OK;
}

/* ---- extra headers ---- */

/* Fields that have members of their own, or are made; "x-" at the end of a name stands for
 * all that begin so. */
static const struct {
	const char *name, *use;
} taken[] = {
	{"from", "use the member 'from'"},
	{"sender", "use the member 'sender'"},
	{"reply-to", "use the member 'replyTo'"},
	{"to", "use the member 'to'"},
	{"cc", "use the member 'cc'"},
	{"bcc", "use the member 'bcc'"},
	{"subject", "use the member 'subject'"},
	{"date", "use the member 'sentAt'"},
	{"message-id", "use the member 'messageId'"},
	{"in-reply-to", "use the member 'inReplyTo'"},
	{"references", "use the member 'references'"},
	{"mime-version", "it is made by the gateway"},
	{"content-", "fields of MIME are made by the gateway"},
	{"resent-", "a composed message has not been sent before"},
	{"received", "a composed message has not been sent before"},
	{"return-path", "a composed message has not been sent before"},
};

static const char *use_instead(struct span name)
{
	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
		size_t len = strlen(taken[i].name);
		bool is_prefix = taken[i].name[len - 1] == '-';
		if (is_prefix ? span_starts_with_nocase(name, taken[i].name)
			      : span_equal_text_nocase(name, taken[i].name)) {
			return taken[i].use;
		}
	}
	return NULL;
}

/* ftext of RFC 5322 */
static bool is_field_name(struct span name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] < 33 || name.ptr[i] > 126 || name.ptr[i] == ':') {
			return false;
		}
	}
	return name.len > 0 && name.len <= MAIL_MAX_HEADER_NAME;
}

static enum gp_status check_headers(const struct mail_draft *draft, struct gp_error *error)
{
	if (draft->n_headers > MAIL_MAX_EXTRA_HEADERS) {
		return gp_error_set(error, GP_INVALID, "headers: there are more than %zu", MAIL_MAX_EXTRA_HEADERS);
	}
	for (size_t i = 0; i < draft->n_headers; i++) {
		const struct mail_extra_header *header = &draft->headers[i];
		if (!is_field_name(header->name)) {
			return gp_error_set(error, GP_INVALID,
					    "headers: '%.*s' is not the name of a header field: 1 to %zu printable "
					    "ASCII characters without ':'",
					    (int)(header->name.len > 60 ? 60 : header->name.len), header->name.ptr,
					    MAIL_MAX_HEADER_NAME);
		}
		const char *use = use_instead(header->name);
		const char *fault = fault_of_line(header->value, MAIL_MAX_HEADER_VALUE);
		if (use || fault) {
			return gp_error_set(error, GP_INVALID, "headers.%.*s: %s", SPAN_ARGS(header->name),
					    use ? use : fault);
		}
	}
	return GP_OK;
}

/* ---- attachments ---- */

static const char *fault_of_type(struct span text)
{
	struct mail_media_type type;
	const char *fault = mail_media_type_read(text, &type);

	if (!fault && mail_media_type_is(&type, "multipart/")) {
		return "a multipart is made by the gateway: attach its parts";
	}
	return fault;
}

bool mail_type_is_allowed(struct span type)
{
	return fault_of_type(type) == NULL;
}

static enum gp_status check_attachments(const struct mail_draft *draft, struct gp_error *error)
{
	if (draft->n_attachments > MAIL_MAX_ATTACHMENTS) {
		return gp_error_set(error, GP_INVALID, "attachments: there are more than %zu", MAIL_MAX_ATTACHMENTS);
	}
	for (size_t i = 0; i < draft->n_attachments; i++) {
		const struct mail_attachment *attachment = &draft->attachments[i];
		const char *fault = fault_of_line(attachment->name, MAX_FILE_NAME);
		if (fault) {
			return gp_error_set(error, GP_INVALID, "attachments[%zu].name: %s", i, fault);
		}
		fault = span_is_nil(attachment->type) ? NULL : fault_of_type(attachment->type);
		if (fault) {
			return gp_error_set(error, GP_INVALID, "attachments[%zu].type: %s", i, fault);
		}
		if (!span_is_nil(attachment->cid) && !is_id(attachment->cid)) {
			return gp_error_set(error, GP_INVALID,
					    "attachments[%zu].cid: must be printable ASCII without blanks and '<>'", i);
		}
	}
	return GP_OK;
}

/* ---- all of it ---- */

enum gp_status mail_draft_check(const struct mail_draft *draft, struct gp_error *error)
{
	const struct {
		const char *member;
		const struct mail_addresses *addresses;
	} fields[] = {{"from", &draft->from}, {"sender", &draft->sender}, {"replyTo", &draft->reply_to},
		      {"to", &draft->to},     {"cc", &draft->cc},         {"bcc", &draft->bcc}};

	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		if (check_addresses(fields[i].member, fields[i].addresses, error) != GP_OK) {
			return GP_INVALID;
		}
	}
	if (draft->sender.n_items > 1) {
		return gp_error_set(error, GP_INVALID, "sender: there is more than one address");
	}
	const char *fault = fault_of_line(draft->subject, MAIL_MAX_SUBJECT);
	if (fault) {
		return gp_error_set(error, GP_INVALID, "subject: %s", fault);
	}
	if (!span_is_nil(draft->message_id) &&
	    (!is_id(draft->message_id) || span_find_char(draft->message_id, '@') < 0)) {
		return gp_error_set(error, GP_INVALID, "messageId: is not a message id");
	}
	if (check_body("text", draft->text, error) != GP_OK || check_body("html", draft->html, error) != GP_OK ||
	    check_ids("inReplyTo", &draft->in_reply_to, error) != GP_OK ||
	    check_ids("references", &draft->references, error) != GP_OK || check_headers(draft, error) != GP_OK) {
		return GP_INVALID;
	}
	return check_attachments(draft, error);
}
