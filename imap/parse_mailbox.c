#include "base/limits.h"
#include "imap/parse.h"

/* ---- names ---- */

/* Whether `inside`, what follows a parenthesis, begins the list that comes behind a name
 * in LIST-EXTENDED or STATUS. */
static bool begins_items(struct span inside)
{
	static const char *const words[] = {"\"",      "CHILDINFO",   "OLDNAME",       "MESSAGES", "UNSEEN",
					    "UIDNEXT", "UIDVALIDITY", "HIGHESTMODSEQ", "SIZE",     "MAILBOXID",
					    "RECENT",  "DELETED",     "APPENDLIMIT",   ")"};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (span_starts_with_nocase(inside, words[i])) {
			return true;
		}
	}
	return false;
}

/* Where the name at the start of `rest`, bare but maybe with spaces, ends: before a list
 * that looks like one, or before any when one must come (`has_items`). */
static size_t bare_name_len(struct span rest, bool has_items)
{
	size_t len = rest.len;
	size_t any = 0;

	for (size_t i = 2; i <= rest.len && len == rest.len; i++) {
		if (rest.ptr[i - 1] == '(' && rest.ptr[i - 2] == ' ') {
			any = any ? any : i - 2;
			len = begins_items(span_from(rest, i)) ? i - 2 : len;
		}
	}
	if (has_items && len == rest.len && any > 0) {
		len = any;
	}
	while (len > 0 && rest.ptr[len - 1] == ' ') {
		len--;
	}
	return len;
}

/* A mailbox name: quoted, a literal, or all that stands there. Empty only when it was
 * sent as an empty string; else NIL when there is none. */
static struct span read_name(struct imap_lexer *lexer, bool has_items)
{
	enum imap_token_kind kind = imap_lexer_peek(lexer);
	struct imap_token token;

	if (kind == IMAP_TOKEN_END) {
		return SPAN_NIL;
	}
	if (kind == IMAP_TOKEN_STRING) {
		/* a quote that was not escaped does not end the name */
		lexer->is_inside_structure = true;
		imap_lexer_next(lexer, &token);
		lexer->is_inside_structure = false;
		return imap_lexer_text(lexer, &token);
	}
	struct span rest = span_make(lexer->at, (size_t)(lexer->end - lexer->at));
	struct span name = span_slice(rest, 0, bare_name_len(rest, has_items));
	lexer->at += name.len;
	return name.len > 0 ? name : SPAN_NIL;
}

/* "/", NIL, and "\" as some write what should be "\\". */
static char read_delimiter(struct imap_lexer *lexer)
{
	imap_lexer_skip_spaces(lexer);
	struct span rest = span_make(lexer->at, (size_t)(lexer->end - lexer->at));
	if (span_starts_with(rest, "\"\\\" ")) {
		lexer->at += 3;
		return '\\';
	}
	struct span text = imap_lexer_nstring(lexer);
	return text.len > 0 ? text.ptr[0] : '\0';
}

/* ---- LIST, LSUB ---- */

/* One word of the list, or several that were glued: \HasNoChildren\Sent */
static bool add_attributes(struct imap_lexer *lexer, struct imap_list *list, struct span **attributes, size_t *size,
			   struct span word)
{
	while (word.len > 0) {
		ptrdiff_t next = span_find_char(span_from(word, 1), '\\');
		size_t len = next < 0 ? word.len : (size_t)next + 1;
		struct span *grown = imap_lexer_grow(lexer, *attributes, list->n_attributes, size, sizeof **attributes);
		if (!grown) {
			return false;
		}
		*attributes = grown;
		grown[list->n_attributes++] = span_slice(word, 0, len);
		word = span_from(word, len);
	}
	return true;
}

static bool parse_attributes(struct imap_lexer *lexer, struct imap_list *list)
{
	struct span *attributes = NULL;
	size_t size = 0;

	if (!imap_lexer_take(lexer, '(')) {
		return true; /* left out */
	}
	while (!imap_lexer_take(lexer, ')')) {
		if (imap_lexer_peek(lexer) == IMAP_TOKEN_END ||
		    !add_attributes(lexer, list, &attributes, &size, imap_lexer_nstring(lexer))) {
			return false;
		}
	}
	list->attributes = attributes;
	return true;
}

bool imap_parse_list(struct imap_parse *parse)
{
	struct imap_list *list = &parse->response.list;

	if (!parse_attributes(&parse->lexer, list)) {
		return false;
	}
	list->delimiter = read_delimiter(&parse->lexer);
	list->mailbox = read_name(&parse->lexer, false);
	return !span_is_nil(list->mailbox);
}

/* ---- STATUS ---- */

static bool read_number32(struct imap_lexer *lexer, uint32_t *number_out)
{
	return span_to_u32(imap_lexer_nstring(lexer), number_out);
}

static bool read_mailbox_id(struct imap_lexer *lexer, struct span *id_out)
{
	bool has_paren = imap_lexer_take(lexer, '(');
	struct span id = imap_lexer_nstring(lexer);

	if (has_paren && !imap_lexer_take(lexer, ')')) {
		return false;
	}
	/* Cyrus 3.6 sends raw bytes when it is asked for other items too */
	for (size_t i = 0; i < id.len; i++) {
		if (id.ptr[i] <= ' ' || id.ptr[i] == 0x7F) {
			return false;
		}
	}
	*id_out = id;
	return id.len > 0;
}

static bool read_status_value(struct imap_lexer *lexer, struct imap_status *status, struct span name)
{
	struct {
		const char *name;
		unsigned item;
		uint32_t *number;
		uint64_t *wide;
	} const items[] = {
		{"MESSAGES", IMAP_STATUS_MESSAGES, &status->messages, NULL},
		{"UNSEEN", IMAP_STATUS_UNSEEN, &status->unseen, NULL},
		{"UIDNEXT", IMAP_STATUS_UIDNEXT, &status->uidnext, NULL},
		{"UIDVALIDITY", IMAP_STATUS_UIDVALIDITY, &status->uidvalidity, NULL},
		{"HIGHESTMODSEQ", IMAP_STATUS_HIGHESTMODSEQ, NULL, &status->highestmodseq},
		{"SIZE", IMAP_STATUS_SIZE, NULL, &status->size},
	};

	if (span_equal_text_nocase(name, "MAILBOXID")) {
		if (!read_mailbox_id(lexer, &status->mailbox_id)) {
			return false;
		}
		status->items |= IMAP_STATUS_MAILBOXID;
		return true;
	}
	for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
		if (span_equal_text_nocase(name, items[i].name)) {
			if (!(items[i].number ? read_number32(lexer, items[i].number)
					      : imap_lexer_number(lexer, items[i].wide))) {
				return false;
			}
			status->items |= items[i].item;
			return true;
		}
	}
	return false;
}

bool imap_parse_status(struct imap_parse *parse)
{
	struct imap_lexer *lexer = &parse->lexer;
	struct imap_status *status = &parse->response.status;

	status->mailbox = read_name(lexer, true);
	if (span_is_nil(status->mailbox) || !imap_lexer_take(lexer, '(')) {
		return false;
	}
	while (!imap_lexer_take(lexer, ')') && imap_lexer_peek(lexer) != IMAP_TOKEN_END) {
		struct imap_token name;
		imap_lexer_next(lexer, &name);
		if (name.kind != IMAP_TOKEN_ATOM) {
			continue;
		}
		const char *value = lexer->at;
		if (!read_status_value(lexer, status, name.text)) {
			lexer->at = value;
			(void)imap_lexer_skip_value(lexer);
		}
	}
	return true;
}

/* ---- NAMESPACE, MYRIGHTS ---- */

struct namespaces {
	struct imap_namespace *items; /* arena */
	size_t n_items, size;
};

/* (("" "/") ("#news." ".")), NIL or () */
static bool parse_namespace_group(struct imap_lexer *lexer, struct namespaces *found, int kind)
{
	if (!imap_lexer_take(lexer, '(')) {
		(void)imap_lexer_nstring(lexer);
		return true;
	}
	while (!imap_lexer_take(lexer, ')')) {
		if (!imap_lexer_take(lexer, '(')) {
			if (imap_lexer_peek(lexer) == IMAP_TOKEN_END) {
				return false;
			}
			(void)imap_lexer_skip_value(lexer);
			continue;
		}
		struct span prefix = imap_lexer_nstring(lexer);
		char delimiter = read_delimiter(lexer);
		while (!imap_lexer_take(lexer, ')')) {
			if (imap_lexer_peek(lexer) == IMAP_TOKEN_END || !imap_lexer_skip_value(lexer)) {
				return false;
			}
		}
		struct imap_namespace *grown =
			imap_lexer_grow(lexer, found->items, found->n_items, &found->size, sizeof *grown);
		if (!grown) {
			return false;
		}
		found->items = grown;
		grown[found->n_items++] = (struct imap_namespace){
			.kind = kind == 0   ? IMAP_NS_PERSONAL
				: kind == 1 ? IMAP_NS_OTHER
					    : IMAP_NS_SHARED,
			.prefix = span_is_nil(prefix) ? SPAN_LIT("") : prefix,
			.delimiter = delimiter,
		};
	}
	return true;
}

void imap_parse_namespace(struct imap_parse *parse)
{
	struct namespaces found = {NULL, 0, 0};

	for (int kind = 0; kind < 3; kind++) {
		if (!parse_namespace_group(&parse->lexer, &found, kind)) {
			break;
		}
	}
	parse->response.namespaces = found.items;
	parse->response.n_namespaces = found.n_items;
}

bool imap_parse_my_rights(struct imap_parse *parse)
{
	struct imap_lexer *lexer = &parse->lexer;
	struct imap_response *response = &parse->response;

	if (imap_lexer_peek(lexer) == IMAP_TOKEN_STRING) {
		response->list.mailbox = imap_lexer_nstring(lexer);
		response->text = imap_lexer_nstring(lexer);
		return true;
	}
	/* a bare name may have spaces in it: the rights are the last word */
	struct span rest = span_trim(imap_lexer_rest(lexer));
	size_t at = rest.len;
	while (at > 0 && rest.ptr[at - 1] != ' ') {
		at--;
	}
	if (at == 0) {
		return false;
	}
	response->list.mailbox = span_trim(span_slice(rest, 0, at));
	response->text = span_from(rest, at);
	if (response->text.len >= 2 && response->text.ptr[0] == '"') {
		response->text = span_slice(response->text, 1, response->text.len - 2);
	}
	return true;
}
