/*
 * ENVELOPE (RFC 3501 section 7.4.2), as servers send it: fields may be missing at the
 * end, lists may be NIL, empty, flat or in too many parentheses, and an address
 * without a domain looks like the start of a group.
 */
#include "base/limits.h"
#include "imap/parse.h"

struct address_list {
	struct imap_address *items; /* arena */
	size_t n_items, size;
};

struct envelope_reader {
	struct imap_lexer *lexer; /* borrow */
	size_t n_addresses;
};

static bool add_address(struct envelope_reader *reader, struct address_list *list, struct imap_address address)
{
	if (reader->n_addresses == GP_MAX_IMAP_ADDRESSES) {
		return true; /* the list ends here for us */
	}
	struct imap_address *grown =
		imap_lexer_grow(reader->lexer, list->items, list->n_items, &list->size, sizeof *grown);
	if (!grown) {
		return false;
	}
	list->items = grown;
	list->items[list->n_items++] = address;
	reader->n_addresses++;
	return true;
}

/* Words that servers write where an address has no mailbox or no host. */
static struct span without_placeholder(struct span text)
{
	static const char *const placeholders[] = {"MISSING_DOMAIN", "MISSING_MAILBOX", ".MISSING-HOST-NAME."};

	for (size_t i = 0; i < sizeof placeholders / sizeof *placeholders; i++) {
		if (span_equal_text(text, placeholders[i])) {
			return SPAN_LIT("");
		}
	}
	return text;
}

static bool is_phrase(struct span text)
{
	return span_find_char(text, ' ') >= 0 || span_find(text, SPAN_LIT("=?")) >= 0;
}

static bool is_local_part(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
		      c == '_' || c == '-' || c == '+')) {
			return false;
		}
	}
	return text.len > 0;
}

static struct imap_address make_address(struct span name, struct span mailbox, struct span host)
{
	struct imap_address address = {name, without_placeholder(mailbox), without_placeholder(host)};

	if (!span_is_nil(host) && is_phrase(mailbox) && is_local_part(name)) {
		address.name = mailbox;
		address.mailbox = name;
	}
	if (name.len == 0 && mailbox.len == 0 && span_is_nil(address.host)) {
		address.mailbox = SPAN_NIL; /* Courier begins and ends groups with (NIL NIL "" NIL) */
	}
	return address;
}

/* (name route mailbox host), the first parenthesis is consumed; what follows the
 * four is passed over. */
static bool parse_address(struct envelope_reader *reader, struct address_list *list)
{
	struct imap_lexer *lexer = reader->lexer;
	struct span name = imap_lexer_nstring(lexer);
	(void)imap_lexer_nstring(lexer);
	struct span mailbox = imap_lexer_nstring(lexer);
	struct span host = imap_lexer_nstring(lexer);

	while (!imap_lexer_take(lexer, ')')) {
		if (imap_lexer_peek(lexer) == IMAP_TOKEN_END || !imap_lexer_skip_value(lexer)) {
			return false;
		}
	}
	return add_address(reader, list, make_address(name, mailbox, host));
}

static bool is_group_end(const struct imap_address *address)
{
	return span_is_nil(address->mailbox) && span_is_nil(address->host);
}

static bool is_group_start(const struct imap_address *address)
{
	return !span_is_nil(address->mailbox) && span_is_nil(address->host);
}

/* "ann@example.org" NIL: the domain stands in the mailbox. */
static void give_host(struct imap_address *address)
{
	size_t at = address->mailbox.len;

	while (at > 0 && address->mailbox.ptr[at - 1] != '@') {
		at--;
	}
	if (at > 0) {
		address->host = span_from(address->mailbox, at);
		address->mailbox.len = at - 1;
	} else {
		address->host = SPAN_LIT("");
	}
}

/* Only a start with an end behind it is a group: other starts are addresses without a
 * domain, other ends are nothing. */
static void pair_groups(struct address_list *list)
{
	bool has_end = false;

	for (size_t i = list->n_items; i > 0; i--) {
		struct imap_address *address = &list->items[i - 1];
		if (is_group_end(address)) {
			has_end = true;
		} else if (is_group_start(address)) {
			if (!has_end) {
				give_host(address);
			}
			has_end = false;
		}
	}
	size_t kept = 0;
	bool is_in_group = false;
	for (size_t i = 0; i < list->n_items; i++) {
		if (is_group_end(&list->items[i]) && !is_in_group) {
			continue;
		}
		is_in_group = is_group_start(&list->items[i]) || (is_in_group && !is_group_end(&list->items[i]));
		list->items[kept++] = list->items[i];
	}
	list->n_items = kept;
}

/* The inside of a list whose first parenthesis is consumed. Strings among the
 * addresses are kept aside: four of them are a flat list, one address. */
static bool parse_address_items(struct envelope_reader *reader, struct address_list *list)
{
	struct imap_lexer *lexer = reader->lexer;
	struct span strays[4] = {SPAN_NIL, SPAN_NIL, SPAN_NIL, SPAN_NIL};
	size_t n_strays = 0;
	size_t depth = 1;

	while (depth > 0) {
		switch (imap_lexer_peek(lexer)) {
		case IMAP_TOKEN_END:
			return false;
		case IMAP_TOKEN_CLOSE:
			(void)imap_lexer_take(lexer, ')');
			depth--;
			break;
		case IMAP_TOKEN_OPEN:
			(void)imap_lexer_take(lexer, '(');
			if (imap_lexer_peek(lexer) == IMAP_TOKEN_OPEN) {
				depth++;
			} else if (imap_lexer_take(lexer, ')')) {
				break; /* () */
			} else if (!parse_address(reader, list)) {
				return false;
			}
			break;
		case IMAP_TOKEN_ATOM:
		case IMAP_TOKEN_STRING:
		case IMAP_TOKEN_TOO_LONG: {
			struct span stray = imap_lexer_nstring(lexer);
			if (n_strays < 4) {
				strays[n_strays++] = stray;
			}
			break;
		}
		}
	}
	if (list->n_items == 0 && n_strays == 4 && !span_is_nil(strays[2])) {
		return add_address(reader, list, make_address(strays[0], strays[2], strays[3]));
	}
	return true;
}

static bool parse_addresses(struct envelope_reader *reader, struct imap_addresses *addresses_out)
{
	struct address_list list = {NULL, 0, 0};

	if (!imap_lexer_take(reader->lexer, '(')) {
		(void)imap_lexer_nstring(reader->lexer); /* NIL, or a string that is no list */
		return true;
	}
	if (!parse_address_items(reader, &list)) {
		return false;
	}
	pair_groups(&list);
	*addresses_out = (struct imap_addresses){list.items, list.n_items};
	return true;
}

/* The last two are often one: a message without In-Reply-To is common, one without
 * Message-ID is not. */
static void parse_ids(struct imap_lexer *lexer, struct imap_envelope *envelope)
{
	envelope->in_reply_to = imap_lexer_nstring(lexer);
	if (imap_lexer_peek(lexer) == IMAP_TOKEN_CLOSE) {
		envelope->message_id = envelope->in_reply_to;
		envelope->in_reply_to = SPAN_NIL;
	} else {
		envelope->message_id = imap_lexer_nstring(lexer);
	}
}

static const struct imap_envelope *parse_fields(struct imap_lexer *lexer)
{
	struct envelope_reader reader = {.lexer = lexer};
	struct imap_envelope *envelope = imap_lexer_alloc(lexer, 1, sizeof *envelope);
	size_t depth = 0;

	if (!envelope || !imap_lexer_take(lexer, '(')) {
		return NULL;
	}
	/* parentheses around it all, but not "()" in the place of a date */
	while (imap_lexer_peek(lexer) == IMAP_TOKEN_OPEN) {
		const char *start = lexer->at;
		(void)imap_lexer_take(lexer, '(');
		if (imap_lexer_peek(lexer) == IMAP_TOKEN_CLOSE) {
			lexer->at = start;
			break;
		}
		depth++;
	}
	envelope->date = imap_lexer_nstring(lexer);
	envelope->subject = imap_lexer_nstring(lexer);

	struct imap_addresses *const lists[] = {&envelope->from, &envelope->sender, &envelope->reply_to,
						&envelope->to,   &envelope->cc,     &envelope->bcc};
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		if (!parse_addresses(&reader, lists[i])) {
			return NULL;
		}
	}
	parse_ids(lexer, envelope);

	for (;;) {
		if (imap_lexer_take(lexer, ')')) {
			if (depth == 0) {
				return envelope;
			}
			depth--;
		} else if (imap_lexer_peek(lexer) == IMAP_TOKEN_END || !imap_lexer_skip_value(lexer)) {
			return NULL;
		}
	}
}

const struct imap_envelope *imap_parse_envelope(struct imap_lexer *lexer)
{
	bool was_inside_structure = lexer->is_inside_structure;

	lexer->is_inside_structure = true;
	const struct imap_envelope *envelope = parse_fields(lexer);
	lexer->is_inside_structure = was_inside_structure;
	return envelope;
}
