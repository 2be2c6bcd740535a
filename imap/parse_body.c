/*
 * BODYSTRUCTURE and BODY (RFC 3501 section 7.4.2) without recursion: the tree under
 * construction is the stack. A part is opened under its parent; when it ends, reading
 * goes on in the parent, by the link.
 *
 * Servers leave fields out and put others in their place, so optional fields are told
 * by their shape where that is possible. Parts that say nothing keep their place: the
 * numbers of those behind them depend on it.
 */
#include "base/limits.h"
#include "imap/parse.h"

struct part {
	struct imap_body body; /* first: a struct imap_body * of ours is a struct part * */
	struct part *last_child;
	unsigned n_children;
	unsigned number; /* among the parent's children, from 1 */
	unsigned depth;
};

struct body_reader {
	struct imap_lexer *lexer; /* borrow */
	size_t n_parts;
};

static bool is_nil_or_list_end(struct imap_lexer *lexer)
{
	return imap_lexer_peek(lexer) == IMAP_TOKEN_CLOSE || imap_lexer_is_nil(lexer);
}

static struct part *parent_of(const struct part *part)
{
	return (struct part *)(void *)part->body.parent;
}

static struct part *open_part(struct body_reader *reader, struct part *parent)
{
	struct imap_lexer *lexer = reader->lexer;

	if (!imap_lexer_take(lexer, '(')) {
		return NULL;
	}
	unsigned depth = parent ? parent->depth + 1 : 1;
	if (depth > GP_MAX_IMAP_NESTING || reader->n_parts == GP_MAX_IMAP_PARTS) {
		return NULL;
	}
	struct part *part = imap_lexer_alloc(lexer, 1, sizeof *part);
	if (!part) {
		return NULL;
	}
	reader->n_parts++;
	part->depth = depth;
	part->number = 1;
	if (parent) {
		part->body.parent = &parent->body;
		part->number = ++parent->n_children;
		if (parent->last_child) {
			parent->last_child->body.next = &part->body;
		} else {
			parent->body.first_child = &part->body;
		}
		parent->last_child = part;
	}
	return part;
}

/* ---- section numbers ---- */

/* The section that the numbers of `parent`'s children begin with, "" for none: its own,
 * or that of the message which it is the whole body of. */
static const char *prefix_below(const struct part *parent)
{
	if (!parent) {
		return "";
	}
	if (parent->body.section[0] == '\0' && parent_of(parent)) {
		return parent_of(parent)->body.section;
	}
	return parent->body.section;
}

/* Once it is known whether the part is a multipart. */
static bool number_part(struct body_reader *reader, struct part *part)
{
	struct part *parent = parent_of(part);

	if (part->body.is_multipart && (!parent || parent->body.is_message)) {
		part->body.section = "";
		return true;
	}
	const char *prefix = prefix_below(parent);
	size_t prefix_len = strlen(prefix);
	char digits[16];
	size_t at = sizeof digits;
	unsigned number = part->number;

	digits[--at] = '\0';
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	if (prefix_len > 0) {
		digits[--at] = '.';
	}
	char *section = imap_lexer_alloc(reader->lexer, prefix_len + sizeof digits - at, 1);
	if (!section) {
		return false;
	}
	memcpy(section, prefix, prefix_len);
	memcpy(section + prefix_len, digits + at, sizeof digits - at);
	part->body.section = section;
	return true;
}

/* ---- fields ---- */

/* Pairs up to the end of the list, whose first parenthesis is consumed. */
static bool read_pairs(struct imap_lexer *lexer, struct imap_params *params_out)
{
	struct imap_param *items = NULL;
	size_t n_items = 0;
	size_t size = 0;

	while (!imap_lexer_take(lexer, ')')) {
		if (imap_lexer_peek(lexer) == IMAP_TOKEN_END) {
			return false;
		}
		struct span name = imap_lexer_nstring(lexer);
		struct span value = imap_lexer_nstring(lexer);
		if (name.len == 0) {
			continue;
		}
		struct imap_param *grown = imap_lexer_grow(lexer, items, n_items, &size, sizeof *items);
		if (!grown) {
			return false;
		}
		items = grown;
		items[n_items++] = (struct imap_param){name, value};
	}
	*params_out = (struct imap_params){items, n_items};
	return true;
}

static bool read_params(struct imap_lexer *lexer, struct imap_params *params_out)
{
	if (imap_lexer_take(lexer, '(')) {
		return read_pairs(lexer, params_out);
	}
	(void)imap_lexer_nstring(lexer);
	return true;
}

static bool is_disposition(struct span text)
{
	return span_equal_text_nocase(text, "attachment") || span_equal_text_nocase(text, "inline");
}

/* Whether the list that is next is ("attachment" (…)), or begins with a disposition that
 * is known; ("anything" NIL) is one unless it may be a list of languages. */
static bool is_disposition_next(struct imap_lexer *lexer, bool may_be_language)
{
	const char *start = lexer->at;
	struct imap_token token = {.kind = IMAP_TOKEN_END};
	bool is_one = false;

	if (imap_lexer_take(lexer, '(')) {
		if (!imap_lexer_is_nil(lexer)) {
			imap_lexer_next(lexer, &token);
		}
		is_one = (token.kind == IMAP_TOKEN_STRING || token.kind == IMAP_TOKEN_ATOM) &&
			 (imap_lexer_peek(lexer) == IMAP_TOKEN_OPEN || is_disposition(token.text) ||
			  (!may_be_language && imap_lexer_is_nil(lexer)));
	}
	lexer->at = start;
	return is_one;
}

static bool skip_to_list_end(struct imap_lexer *lexer)
{
	while (!imap_lexer_take(lexer, ')')) {
		if (imap_lexer_peek(lexer) == IMAP_TOKEN_END || !imap_lexer_skip_value(lexer)) {
			return false;
		}
	}
	return true;
}

static bool read_disposition_list(struct imap_lexer *lexer, struct imap_body *body)
{
	(void)imap_lexer_take(lexer, '(');
	body->disposition = imap_lexer_nstring(lexer);
	if (imap_lexer_peek(lexer) == IMAP_TOKEN_STRING) {
		return read_pairs(lexer, &body->disposition_params); /* flat */
	}
	return read_params(lexer, &body->disposition_params) && skip_to_list_end(lexer);
}

/* ("attachment" ("filename" "x")), NIL, or only a word. What has another shape is left
 * for the fields behind it. */
static bool read_disposition(struct imap_lexer *lexer, struct imap_body *body)
{
	const char *start = lexer->at;

	if (is_disposition_next(lexer, false)) {
		return read_disposition_list(lexer, body);
	}
	if (imap_lexer_take(lexer, '(')) {
		bool is_empty = is_nil_or_list_end(lexer);
		lexer->at = start;
		return is_empty ? imap_lexer_skip_value(lexer) : true;
	}
	struct span text = imap_lexer_nstring(lexer);
	if (is_disposition(text)) {
		body->disposition = text;
	} else if (!span_is_nil(text)) {
		lexer->at = start;
	}
	return true;
}

static bool looks_like_location(struct span text)
{
	return span_find_char(text, '/') >= 0 || span_find_char(text, ':') >= 0;
}

/* A tag, a list of tags, NIL; a disposition that comes one field late. */
static bool read_language(struct imap_lexer *lexer, struct imap_body *body)
{
	if (span_is_nil(body->disposition) && is_disposition_next(lexer, true) && !read_disposition_list(lexer, body)) {
		return false;
	}
	const char *start = lexer->at;
	if (imap_lexer_take(lexer, '(')) {
		while (span_is_nil(body->language) && imap_lexer_peek(lexer) != IMAP_TOKEN_CLOSE &&
		       imap_lexer_peek(lexer) != IMAP_TOKEN_END) {
			body->language = imap_lexer_nstring(lexer);
		}
		return skip_to_list_end(lexer);
	}
	struct span text = imap_lexer_nstring(lexer);
	if (looks_like_location(text)) {
		lexer->at = start;
	} else {
		body->language = text;
	}
	return true;
}

/* disposition, language, location and what may come after them, up to the end of the part */
static bool read_extensions(struct imap_lexer *lexer, struct imap_body *body)
{
	if (!read_disposition(lexer, body) || !read_language(lexer, body)) {
		return false;
	}
	body->location = imap_lexer_nstring(lexer);
	return skip_to_list_end(lexer);
}

/* ---- kinds of parts ---- */

static bool is_multipart_subtype(struct span text)
{
	static const char *const subtypes[] = {"mixed",      "alternative", "related",    "report",
					       "signed",     "encrypted",   "digest",     "parallel",
					       "byteranges", "form-data",   "appledouble"};

	for (size_t i = 0; i < sizeof subtypes / sizeof *subtypes; i++) {
		if (span_equal_text_nocase(text, subtypes[i])) {
			return true;
		}
	}
	return false;
}

/* NIL and then "mixed": a multipart without children. */
static bool is_multipart_subtype_next(struct imap_lexer *lexer)
{
	const char *start = lexer->at;
	struct imap_token token;

	imap_lexer_next(lexer, &token);
	lexer->at = start;
	return token.kind == IMAP_TOKEN_STRING && is_multipart_subtype(token.text);
}

/* After "text/plain" as one string: whether a subtype, or NIL in its place, comes
 * nevertheless. It does when the octets are the sixth value and not the fifth. */
static bool has_subtype_field(struct imap_lexer *lexer)
{
	const char *start = lexer->at;
	bool has = true;

	for (int i = 0; i < 5 && has; i++) {
		struct imap_token token = {.kind = IMAP_TOKEN_END};
		uint64_t number;
		if (imap_lexer_peek(lexer) == IMAP_TOKEN_ATOM) {
			imap_lexer_next(lexer, &token);
			has = !span_to_u64(token.text, &number);
		} else if (!imap_lexer_skip_value(lexer)) {
			break;
		}
	}
	lexer->at = start;
	return has;
}

static void read_type(struct imap_lexer *lexer, struct part *part)
{
	struct imap_body *body = &part->body;
	bool is_absent = imap_lexer_peek(lexer) == IMAP_TOKEN_CLOSE;

	body->type = imap_lexer_nstring(lexer);
	if (span_is_nil(body->type) && !is_absent && is_multipart_subtype_next(lexer)) {
		body->is_multipart = true;
		return;
	}
	if (is_multipart_subtype(body->type) &&
	    (imap_lexer_peek(lexer) == IMAP_TOKEN_OPEN || is_nil_or_list_end(lexer))) {
		body->is_multipart = true;
		body->subtype = body->type;
		return;
	}
	ptrdiff_t slash = span_find_char(body->type, '/');
	if (slash > 0) {
		if (has_subtype_field(lexer)) {
			(void)imap_lexer_nstring(lexer);
		}
		body->subtype = span_from(body->type, (size_t)slash + 1);
		body->type.len = (size_t)slash;
	} else {
		body->subtype = imap_lexer_nstring(lexer);
	}
	if (span_is_nil(body->type)) {
		body->type = SPAN_LIT("application");
		body->subtype = SPAN_LIT("octet-stream");
	}
}

static struct span read_encoding(struct imap_lexer *lexer)
{
	const char *start = lexer->at;
	struct span encoding = imap_lexer_nstring(lexer);
	uint64_t octets;

	if (span_to_u64(encoding, &octets)) {
		lexer->at = start; /* there is none: these are the octets */
		return SPAN_NIL;
	}
	return span_trim(encoding);
}

static bool is_number_next(struct imap_lexer *lexer)
{
	return imap_lexer_peek(lexer) == IMAP_TOKEN_ATOM &&
	       ((*lexer->at >= '0' && *lexer->at <= '9') || *lexer->at == '-');
}

/* Whether the list that is next is a body: another list, or two strings, first. */
static bool is_body_next(struct imap_lexer *lexer)
{
	const char *start = lexer->at;
	struct imap_token token;
	bool is_one = false;

	if (imap_lexer_take(lexer, '(')) {
		imap_lexer_next(lexer, &token);
		is_one = token.kind == IMAP_TOKEN_OPEN ||
			 (token.kind == IMAP_TOKEN_STRING && imap_lexer_peek(lexer) == IMAP_TOKEN_STRING);
	}
	lexer->at = start;
	return is_one;
}

/* Behind the octets of a message/rfc822: an envelope and a body, or nothing of both when
 * the server treats it as a basic part. `body->is_message`: its body is next. */
static bool read_message_head(struct imap_lexer *lexer, struct imap_body *body)
{
	if (!span_equal_text_nocase(body->type, "message") ||
	    !(span_equal_text_nocase(body->subtype, "rfc822") || span_equal_text_nocase(body->subtype, "global"))) {
		return true;
	}
	if (imap_lexer_peek(lexer) == IMAP_TOKEN_OPEN) {
		body->envelope = imap_parse_envelope(lexer);
		if (!body->envelope) {
			return false;
		}
		body->is_message = imap_lexer_peek(lexer) == IMAP_TOKEN_OPEN;
		if (!body->is_message) {
			(void)imap_lexer_nstring(lexer);
		}
		return true;
	}
	const char *start = lexer->at;
	if (imap_lexer_is_nil(lexer)) {
		(void)imap_lexer_nstring(lexer);
		body->is_message = is_body_next(lexer);
		if (!body->is_message) {
			lexer->at = start;
		}
	}
	return true;
}

/* A part that is not a multipart, up to where its embedded body would begin. */
static bool read_head(struct imap_lexer *lexer, struct part *part)
{
	struct imap_body *body = &part->body;

	if (!read_params(lexer, &body->params)) {
		return false;
	}
	body->id = imap_lexer_nstring(lexer);
	body->description = imap_lexer_nstring(lexer);
	body->encoding = read_encoding(lexer);
	body->has_octets = imap_lexer_number(lexer, &body->octets);
	return read_message_head(lexer, body);
}

static bool close_single(struct imap_lexer *lexer, struct imap_body *body)
{
	if (is_number_next(lexer)) {
		(void)imap_lexer_number(lexer, &body->lines);
	}
	if (imap_lexer_peek(lexer) != IMAP_TOKEN_OPEN) {
		body->md5 = imap_lexer_nstring(lexer);
	}
	return read_extensions(lexer, body);
}

static bool close_multipart(struct imap_lexer *lexer, struct imap_body *body)
{
	body->type = SPAN_LIT("multipart");
	if (span_is_nil(body->subtype)) {
		bool is_nil = imap_lexer_is_nil(lexer);
		body->subtype = imap_lexer_nstring(lexer);
		if (is_nil && is_multipart_subtype_next(lexer)) {
			body->subtype = imap_lexer_nstring(lexer); /* the NIL was a child */
		}
	}
	if (body->subtype.len == 0) {
		body->subtype = SPAN_LIT("mixed");
	}
	return read_params(lexer, &body->params) && read_extensions(lexer, body);
}

static bool close_part(struct imap_lexer *lexer, struct imap_body *body)
{
	return body->is_multipart ? close_multipart(lexer, body) : close_single(lexer, body);
}

/* Reads a part as far as its first child, if it has one: `*has_child_out`. */
static bool start_part(struct body_reader *reader, struct part *part, bool *has_child_out)
{
	struct imap_lexer *lexer = reader->lexer;

	*has_child_out = imap_lexer_peek(lexer) == IMAP_TOKEN_OPEN;
	if (*has_child_out) {
		part->body.is_multipart = true;
		return number_part(reader, part);
	}
	read_type(lexer, part);
	if (!number_part(reader, part)) {
		return false;
	}
	if (!part->body.is_multipart) {
		if (!read_head(lexer, part)) {
			return false;
		}
		*has_child_out = part->body.is_message;
	}
	return true;
}

static struct imap_body *parse_tree(struct imap_lexer *lexer)
{
	struct body_reader reader = {.lexer = lexer};
	struct part *parent = NULL;

	for (;;) {
		struct part *part = open_part(&reader, parent);
		bool has_child;
		if (!part || !start_part(&reader, part, &has_child)) {
			return NULL;
		}
		if (has_child) {
			parent = part;
			continue;
		}
		for (;;) {
			if (!close_part(lexer, &part->body)) {
				return NULL;
			}
			parent = parent_of(part);
			if (!parent) {
				return &part->body;
			}
			if (parent->body.is_multipart && imap_lexer_peek(lexer) == IMAP_TOKEN_OPEN) {
				break; /* a sibling */
			}
			part = parent;
		}
	}
}

struct imap_body *imap_parse_body(struct imap_lexer *lexer)
{
	bool was_inside_structure = lexer->is_inside_structure;

	lexer->is_inside_structure = true;
	struct imap_body *body = parse_tree(lexer);
	lexer->is_inside_structure = was_inside_structure;
	return body;
}
