/*
 * Header fields as they are written: folding (RFC 5322 section 2.2.3), encoded words
 * (RFC 2047) and parameters (RFC 2231).
 *
 * GMime's encoder is not used: it leaves "=?" of a plain text as it stands, so that
 * readers decode what was never encoded, drops blanks at the ends, and makes encoded words
 * that are longer than RFC 2047 allows.
 */
#include <time.h>

#include "base/utf8.h"
#include "mail/compose_internal.h"

#define MAX_LINE ((size_t)76)   /* RFC 2047: of a line with an encoded word */
#define MAX_TOKEN ((size_t)900) /* what cannot be folded must be shorter than a line: 998 */
#define WORD_OVERHEAD (strlen("=?utf-8?q?") + strlen("?="))

static const char hex_digits[] = "0123456789ABCDEF";

/* ---- the writer ---- */

void mail_write_raw(struct mail_writer *writer, struct span text)
{
	if (writer->status == GP_OK) {
		writer->status = gp_buffer_append(writer->out, text);
		writer->column += text.len;
	}
}

void mail_write_crlf(struct mail_writer *writer)
{
	mail_write_text(writer, "\r\n");
	writer->column = 0;
}

void mail_write_fold(struct mail_writer *writer, size_t len)
{
	if (writer->column + 1 + len > MAX_LINE) {
		mail_write_crlf(writer);
	}
	mail_write_text(writer, " ");
}

/* ---- encoded words ---- */

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* What stands for itself in an encoded word wherever that may be (RFC 2047 section 5 (3)). */
static bool is_q_literal(char c)
{
	return is_alnum(c) || (c != '\0' && strchr("!*+-/", c));
}

static size_t q_len(struct span text)
{
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		len += is_q_literal(text.ptr[i]) || text.ptr[i] == ' ' ? 1 : 3;
	}
	return len;
}

static void write_q(struct mail_writer *writer, struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		const char escaped[] = {'=', hex_digits[c >> 4], hex_digits[c & 15]};
		if (c == ' ') {
			mail_write_text(writer, "_");
		} else if (is_q_literal(text.ptr[i])) {
			mail_write_raw(writer, span_slice(text, i, 1));
		} else {
			mail_write_raw(writer, span_make(escaped, sizeof escaped));
		}
	}
}

static void write_base64(struct mail_writer *writer, struct span text)
{
	char encoded[MAX_LINE];

	mail_write_raw(writer, span_make(encoded, mail_encode_base64(text, encoded)));
}

/* How much of `text` makes one word of at most `room` characters: whole characters of it,
 * for each word is decoded for itself; and without padding unless it is the last, for
 * some readers (GMime is one) join the base64 of adjacent words and stop at the padding. */
static size_t word_prefix(struct span text, bool is_q, size_t room)
{
	size_t end = 0, unpadded_end = 0;

	while (end < text.len) {
		uint32_t code_point;
		size_t len = utf8_decode(span_from(text, end), &code_point);
		struct span more = span_slice(text, 0, end + (len == 0 ? 1 : len));
		if (WORD_OVERHEAD + (is_q ? q_len(more) : MAIL_BASE64_LEN(more.len)) > room) {
			break;
		}
		end = more.len;
		unpadded_end = end % 3 == 0 ? end : unpadded_end;
	}
	return is_q || end == text.len || unpadded_end == 0 ? end : unpadded_end;
}

/* Room for one character in Q, or for some in base64 without padding. */
#define MIN_WORD (WORD_OVERHEAD + 16)

/* All of `text` as encoded words, on as many lines as it takes. */
static void write_words(struct mail_writer *writer, struct span text)
{
	bool is_q = q_len(text) <= MAIL_BASE64_LEN(text.len);

	while (text.len > 0 && writer->status == GP_OK) {
		if (writer->column + MIN_WORD > MAX_LINE) {
			mail_write_fold(writer, MAX_LINE);
		}
		size_t len = word_prefix(text, is_q, MAX_LINE - writer->column);
		mail_write_raw(writer, is_q ? SPAN_LIT("=?utf-8?q?") : SPAN_LIT("=?utf-8?b?"));
		(is_q ? write_q : write_base64)(writer, span_slice(text, 0, len));
		mail_write_text(writer, "?=");
		text = span_from(text, len);
		if (text.len > 0) {
			mail_write_fold(writer, MAX_LINE);
		}
	}
}

/* ---- unstructured text ---- */

/* The blanks and the word at the start of `text`. */
static size_t token_len(struct span text, size_t *n_blanks_out)
{
	size_t len = 0;

	while (len < text.len && text.ptr[len] == ' ') {
		len++;
	}
	*n_blanks_out = len;
	while (len < text.len && text.ptr[len] != ' ') {
		len++;
	}
	return len;
}

/* Text that would not come back as it is: not ASCII, what looks encoded, blanks at the
 * ends, words that are longer than a line may be. */
static bool must_be_encoded(struct span text)
{
	size_t n_blanks;

	if (text.len == 0) {
		return false;
	}
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < 0x20 || text.ptr[i] > 0x7E) {
			return true;
		}
	}
	if (span_find(text, SPAN_LIT("=?")) >= 0 || text.ptr[0] == ' ' || text.ptr[text.len - 1] == ' ') {
		return true;
	}
	for (struct span rest = text; rest.len > 0;) {
		size_t len = token_len(rest, &n_blanks);
		if (len > MAX_TOKEN) {
			return true;
		}
		rest = span_from(rest, len);
	}
	return false;
}

void mail_write_unstructured(struct mail_writer *writer, struct span name, struct span value)
{
	mail_write_raw(writer, name);
	mail_write_text(writer, ": ");
	if (must_be_encoded(value)) {
		write_words(writer, value);
		mail_write_crlf(writer);
		return;
	}
	while (value.len > 0) {
		size_t n_blanks, len = token_len(value, &n_blanks);
		if (n_blanks > 0 && writer->column + len > MAX_LINE) {
			mail_write_crlf(writer);
		}
		mail_write_raw(writer, span_slice(value, 0, len));
		value = span_from(value, len);
	}
	mail_write_crlf(writer);
}

/* ---- addresses, ids, dates ---- */

/* Longer names are not put between quotes, where they cannot be folded. */
#define MAX_QUOTED_NAME ((size_t)60)

/* Words of atext with single blanks between. */
static bool is_plain_phrase(struct span text)
{
	bool is_at_start = true;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == ' ' ? is_at_start : !is_alnum(c) && !strchr("!#$%&'*+-/=?^_`{|}~", c)) {
			return false;
		}
		is_at_start = c == ' ';
	}
	return !is_at_start;
}

static void write_quoted(struct mail_writer *writer, struct span text)
{
	mail_write_text(writer, "\"");
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '"' || text.ptr[i] == '\\') {
			mail_write_text(writer, "\\");
		}
		mail_write_raw(writer, span_slice(text, i, 1));
	}
	mail_write_text(writer, "\"");
}

static void write_phrase(struct mail_writer *writer, struct span name)
{
	if (must_be_encoded(name) || name.len > MAX_QUOTED_NAME) {
		write_words(writer, name);
	} else if (is_plain_phrase(name)) {
		mail_write_raw(writer, name);
	} else {
		write_quoted(writer, name);
	}
}

static void write_address(struct mail_writer *writer, const struct mail_address *address)
{
	if (address->name.len == 0) {
		mail_write_raw(writer, address->email);
		return;
	}
	write_phrase(writer, address->name);
	mail_write_fold(writer, address->email.len + strlen("<>,"));
	mail_write_text(writer, "<");
	mail_write_raw(writer, address->email);
	mail_write_text(writer, ">");
}

/* About as long as it will be on its line. */
static size_t address_len(const struct mail_address *address)
{
	size_t name_len = address->name.len > MAX_QUOTED_NAME ? 0 : address->name.len;

	return name_len + address->email.len + (address->name.len > 0 ? 5 : 0);
}

void mail_write_addresses(struct mail_writer *writer, const char *name, const struct mail_addresses *addresses)
{
	if (addresses->n_items == 0) {
		return;
	}
	mail_write_raw(writer, span_of(name));
	mail_write_text(writer, ":");
	for (size_t i = 0; i < addresses->n_items; i++) {
		if (i > 0) {
			mail_write_text(writer, ",");
			mail_write_fold(writer, address_len(&addresses->items[i]));
		} else {
			mail_write_text(writer, " ");
		}
		write_address(writer, &addresses->items[i]);
	}
	mail_write_crlf(writer);
}

void mail_write_ids(struct mail_writer *writer, const char *name, const struct mail_ids *ids)
{
	if (ids->n_items == 0) {
		return;
	}
	mail_write_raw(writer, span_of(name));
	mail_write_text(writer, ":");
	for (size_t i = 0; i < ids->n_items; i++) {
		if (i == 0) {
			mail_write_text(writer, " ");
		} else {
			mail_write_fold(writer, ids->items[i].len + 2);
		}
		mail_write_text(writer, "<");
		mail_write_raw(writer, ids->items[i]);
		mail_write_text(writer, ">");
	}
	mail_write_crlf(writer);
}

void mail_write_date(struct mail_writer *writer, int64_t seconds, int offset_minutes)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t shown = (time_t)(seconds + (int64_t)offset_minutes * 60);
	unsigned east = (unsigned)(offset_minutes < 0 ? -offset_minutes : offset_minutes);
	struct tm tm;

	if (writer->status != GP_OK || !gmtime_r(&shown, &tm)) {
		return;
	}
	writer->status =
		gp_buffer_printf(writer->out, "Date: %s, %02d %s %04d %02d:%02d:%02d %c%02u%02u\r\n", days[tm.tm_wday],
				 tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec,
				 offset_minutes < 0 ? '-' : '+', east / 60, east % 60);
}

/* ---- parameters ---- */

static bool is_token_char(char c)
{
	return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`{|}~", c));
}

static bool is_token(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (!is_token_char(text.ptr[i])) {
			return false;
		}
	}
	return text.len > 0;
}

/* attribute-char of RFC 2231 */
static bool is_attribute_char(char c)
{
	return is_token_char(c) && !strchr("*'%", c);
}

void mail_write_param(struct mail_writer *writer, const char *name, struct span value)
{
	bool is_extended = must_be_encoded(value);

	mail_write_text(writer, ";");
	mail_write_fold(writer, strlen(name) + (is_extended ? 3 : 1) * value.len + strlen("*=utf-8''"));
	mail_write_raw(writer, span_of(name));
	if (!is_extended) {
		mail_write_text(writer, "=");
		(is_token(value) ? mail_write_raw : write_quoted)(writer, value);
		return;
	}
	mail_write_text(writer, "*=utf-8''");
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.ptr[i];
		const char escaped[] = {'%', hex_digits[c >> 4], hex_digits[c & 15]};
		if (is_attribute_char(value.ptr[i])) {
			mail_write_raw(writer, span_slice(value, i, 1));
		} else {
			mail_write_raw(writer, span_make(escaped, sizeof escaped));
		}
	}
}

/* ---- media types ---- */

static size_t token_prefix(struct span text)
{
	size_t len = 0;

	while (len < text.len && is_token_char(text.ptr[len])) {
		len++;
	}
	return len;
}

/* The value of a parameter, a token or a quoted string of ASCII; its length, 0: neither. */
static size_t value_prefix(struct span text)
{
	if (text.len == 0 || text.ptr[0] != '"') {
		return token_prefix(text);
	}
	for (size_t i = 1; i < text.len; i++) {
		if (text.ptr[i] == '"') {
			return i + 1;
		}
		i += text.ptr[i] == '\\' ? 1 : 0;
		if (i == text.len || text.ptr[i] < 0x20 || text.ptr[i] > 0x7E) {
			return 0;
		}
	}
	return 0;
}

static const char *take_type_param(struct span *rest, struct mail_media_type *type)
{
	*rest = span_trim(span_from(*rest, 1));
	if (rest->len == 0) {
		return NULL; /* a ";" too many */
	}
	struct span name = span_slice(*rest, 0, token_prefix(*rest));
	*rest = span_from(*rest, name.len);
	if (name.len == 0 || rest->len == 0 || rest->ptr[0] != '=') {
		return "it has a parameter that is not name=value";
	}
	*rest = span_from(*rest, 1);
	struct span value = span_slice(*rest, 0, value_prefix(*rest));
	*rest = span_trim(span_from(*rest, value.len));
	if (value.len == 0 || (rest->len > 0 && rest->ptr[0] != ';')) {
		return "it has a parameter that is not name=value";
	}
	if (span_equal_text_nocase(name, "name") || span_starts_with_nocase(name, "name*")) {
		return "the file name is a member of its own";
	}
	for (size_t i = 0; i < type->n_params; i++) {
		if (span_equal_nocase(type->params[i].name, name)) {
			return "it has a parameter twice";
		}
	}
	if (type->n_params == MAIL_MAX_TYPE_PARAMS) {
		return "it has too many parameters";
	}
	type->params[type->n_params].name = name;
	type->params[type->n_params++].value = value;
	return NULL;
}

const char *mail_media_type_read(struct span text, struct mail_media_type *type_out)
{
	ptrdiff_t semicolon = span_find_char(text, ';');
	struct span rest = semicolon < 0 ? SPAN_NIL : span_from(text, (size_t)semicolon);
	const char *fault = NULL;

	*type_out = (struct mail_media_type){.n_params = 0};
	type_out->type = span_trim(semicolon < 0 ? text : span_slice(text, 0, (size_t)semicolon));
	ptrdiff_t slash = span_find_char(type_out->type, '/');
	if (text.len > MAIL_MAX_ATTACHMENT_TYPE) {
		return "it is too long";
	}
	if (slash < 0 || !is_token(span_slice(type_out->type, 0, (size_t)slash)) ||
	    !is_token(span_from(type_out->type, (size_t)slash + 1))) {
		return "it is not a media type as 'image/png'";
	}
	while (rest.len > 0 && !fault) {
		fault = take_type_param(&rest, type_out);
	}
	return fault;
}

bool mail_media_type_is(const struct mail_media_type *type, const char *prefix)
{
	return span_starts_with_nocase(type->type, prefix);
}
