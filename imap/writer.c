#include "imap/writer.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "imap/utf7.h"

#define MAX_QUOTED 1000           /* bytes; what is longer goes as a literal: some servers' lines are short */
#define MAX_LITERAL_MINUS 4096    /* RFC 7888 section 5 */
#define FIRST_BYTES ((size_t)512) /* most commands fit */

void imap_writer_init(struct imap_writer *writer, enum imap_literal_mode literals, bool is_utf8)
{
	*writer = (struct imap_writer){.literals = literals, .is_utf8 = is_utf8};
	gp_buffer_init(&writer->bytes, GP_MAX_IMAP_COMMAND);
}

void imap_writer_deinit(struct imap_writer *writer)
{
	gp_buffer_wipe(&writer->bytes);
	free(writer->sync_points);
	imap_writer_init(writer, writer->literals, writer->is_utf8);
}

static void fail(struct imap_writer *writer, enum gp_status status)
{
	if (writer->status == GP_OK) {
		writer->status = status;
	}
}

/* Grows by hand: realloc() would leave a copy of a secret behind. */
static enum gp_status make_room(struct imap_writer *writer, size_t len)
{
	struct gp_buffer *bytes = &writer->bytes;
	struct gp_buffer bigger;
	char *room;

	if (bytes->len + len < bytes->size) {
		return GP_OK;
	}
	if (len > bytes->cap - bytes->len) {
		return GP_LIMIT;
	}
	size_t size = bytes->len + len > bytes->cap / 2 ? bytes->cap : (bytes->len + len) * 2;
	gp_buffer_init(&bigger, bytes->cap);
	enum gp_status status = gp_buffer_reserve(&bigger, size > FIRST_BYTES ? size : FIRST_BYTES, &room);
	if (status == GP_OK) {
		status = gp_buffer_append(&bigger, gp_buffer_span(bytes));
	}
	if (status != GP_OK) {
		gp_buffer_deinit(&bigger);
		return status;
	}
	gp_buffer_wipe(bytes);
	*bytes = bigger;
	return GP_OK;
}

static void put(struct imap_writer *writer, struct span text)
{
	if (writer->status != GP_OK) {
		return;
	}
	enum gp_status status = make_room(writer, text.len);
	if (status == GP_OK) {
		status = gp_buffer_append(&writer->bytes, text);
	}
	if (status != GP_OK) {
		fail(writer, status);
	}
}

static void put_text(struct imap_writer *writer, const char *text)
{
	put(writer, span_of(text));
}

static void put_number(struct imap_writer *writer, uint64_t number)
{
	char digits[20];
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	put(writer, span_make(digits + at, sizeof digits - at));
}

static void begin_argument(struct imap_writer *writer)
{
	if (writer->needs_space) {
		put_text(writer, " ");
	}
	writer->needs_space = true;
}

/* ---- words ---- */

static bool is_word(const char *word)
{
	for (size_t i = 0; word[i] != '\0'; i++) {
		char c = word[i];
		if (c < 0x20 || c > 0x7E || c == '"' || c == '{' || c == '}' || (c == '\\' && i > 0)) {
			return false;
		}
	}
	return word[0] != '\0';
}

static bool is_alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

void imap_writer_command(struct imap_writer *writer, const char *tag, const char *name)
{
	size_t len = 0;

	while (is_alphanumeric(tag[len])) {
		len++;
	}
	if (len == 0 || tag[len] != '\0') {
		fail(writer, GP_INVALID);
	}
	imap_writer_word(writer, tag);
	imap_writer_word(writer, name);
}

void imap_writer_word(struct imap_writer *writer, const char *word)
{
	if (!is_word(word)) {
		fail(writer, GP_INVALID);
	}
	begin_argument(writer);
	put_text(writer, word);
}

void imap_writer_number(struct imap_writer *writer, uint64_t number)
{
	begin_argument(writer);
	put_number(writer, number);
}

void imap_writer_open(struct imap_writer *writer)
{
	begin_argument(writer);
	put_text(writer, "(");
	writer->needs_space = false;
	writer->n_open++;
}

void imap_writer_close(struct imap_writer *writer)
{
	if (writer->n_open == 0) {
		fail(writer, GP_INVALID);
		return;
	}
	writer->n_open--;
	put_text(writer, ")");
	writer->needs_space = true;
}

/* ---- strings ---- */

/* ATOM-CHAR of RFC 3501, of which those that some server stumbles over are kept for
 * quoted strings. */
static bool is_atom_char(char c)
{
	return c > 0x20 && c < 0x7F && !strchr("(){}%*\"\\[]~", c);
}

static bool is_atom(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (!is_atom_char(text.ptr[i])) {
			return false;
		}
	}
	return text.len > 0 && !span_equal_text_nocase(text, "NIL");
}

static bool is_quotable(const struct imap_writer *writer, struct span text)
{
	bool is_ascii = true;

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		is_ascii &= c < 0x80;
		if (c < 0x20 || c == 0x7F) {
			return false;
		}
	}
	return text.len <= MAX_QUOTED && (is_ascii || (writer->is_utf8 && utf8_is_valid(text)));
}

static void put_quoted(struct imap_writer *writer, struct span text)
{
	put_text(writer, "\"");
	while (text.len > 0) {
		size_t plain = 0;
		while (plain < text.len && text.ptr[plain] != '"' && text.ptr[plain] != '\\') {
			plain++;
		}
		put(writer, span_slice(text, 0, plain));
		text = span_from(text, plain);
		if (text.len > 0) {
			put_text(writer, "\\");
			put(writer, span_slice(text, 0, 1));
			text = span_from(text, 1);
		}
	}
	put_text(writer, "\"");
}

static void add_sync_point(struct imap_writer *writer)
{
	size_t *points = realloc(writer->sync_points, (writer->n_sync_points + 1) * sizeof *points);

	if (!points) {
		fail(writer, GP_NO_MEMORY);
		return;
	}
	writer->sync_points = points;
	points[writer->n_sync_points++] = writer->bytes.len;
}

static void put_literal(struct imap_writer *writer, struct span text)
{
	bool waits = writer->literals == IMAP_LITERAL_SYNC ||
		     (writer->literals == IMAP_LITERAL_MINUS && text.len > MAX_LITERAL_MINUS);

	put_text(writer, "{");
	put_number(writer, text.len);
	put_text(writer, waits ? "}\r\n" : "+}\r\n");
	if (waits && writer->status == GP_OK) {
		add_sync_point(writer);
	}
	put(writer, text);
}

void imap_writer_string(struct imap_writer *writer, struct span text)
{
	if (span_find_char(text, '\0') >= 0) {
		fail(writer, GP_INVALID);
	}
	begin_argument(writer);
	if (is_quotable(writer, text)) {
		put_quoted(writer, text);
	} else {
		put_literal(writer, text);
	}
}

void imap_writer_astring(struct imap_writer *writer, struct span text)
{
	if (is_atom(text) && text.len <= MAX_QUOTED) {
		begin_argument(writer);
		put(writer, text);
	} else {
		imap_writer_string(writer, text);
	}
}

void imap_writer_nstring(struct imap_writer *writer, struct span text)
{
	if (span_is_nil(text)) {
		begin_argument(writer);
		put_text(writer, "NIL");
	} else {
		imap_writer_string(writer, text);
	}
}

void imap_writer_literal(struct imap_writer *writer, struct span octets)
{
	if (span_find_char(octets, '\0') >= 0) {
		fail(writer, GP_INVALID);
	}
	begin_argument(writer);
	put_literal(writer, octets);
}

void imap_writer_literal_head(struct imap_writer *writer, uint64_t size)
{
	if (writer->n_open > 0) {
		fail(writer, GP_INVALID);
	}
	begin_argument(writer);
	put_text(writer, "{");
	put_number(writer, size);
	put_text(writer, "}\r\n");
	if (writer->status == GP_OK) {
		add_sync_point(writer);
	}
}

/* ---- mailboxes ---- */

static bool has_forbidden_char(struct span name)
{
	return span_find_char(name, '\0') >= 0 || span_find_char(name, '\r') >= 0 || span_find_char(name, '\n') >= 0;
}

void imap_writer_mailbox(struct imap_writer *writer, struct span utf8_name)
{
	struct gp_buffer encoded;
	enum gp_status status = GP_OK;

	if (has_forbidden_char(utf8_name) || !utf8_is_valid(utf8_name)) {
		fail(writer, GP_INVALID);
		return;
	}
	if (span_equal_text_nocase(utf8_name, "INBOX")) {
		imap_writer_astring(writer, SPAN_LIT("INBOX"));
		return;
	}
	if (writer->is_utf8) {
		imap_writer_astring(writer, utf8_name);
		return;
	}
	gp_buffer_init(&encoded, GP_MAX_IMAP_COMMAND);
	status = imap_utf7_encode(utf8_name, &encoded);
	if (status == GP_OK) {
		imap_writer_astring(writer, gp_buffer_span(&encoded));
	} else {
		fail(writer, status);
	}
	gp_buffer_deinit(&encoded);
}

void imap_writer_list_pattern(struct imap_writer *writer, struct span utf8_pattern)
{
	/* wildcards make it a quoted string, in which they keep their meaning */
	imap_writer_mailbox(writer, utf8_pattern);
}

/* ---- flags ---- */

bool imap_is_keyword(struct span keyword)
{
	if (span_starts_with(keyword, "\\")) {
		keyword = span_from(keyword, 1);
	}
	for (size_t i = 0; i < keyword.len; i++) {
		char c = keyword.ptr[i];
		if (c <= 0x20 || c >= 0x7F || strchr("(){%*\"\\]", c)) {
			return false;
		}
	}
	return keyword.len > 0;
}

static bool is_system_flag(struct span flag)
{
	static const char *const flags[] = {"\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"};

	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
		if (span_equal_text_nocase(flag, flags[i])) {
			return true;
		}
	}
	return false;
}

void imap_writer_flag(struct imap_writer *writer, struct span flag)
{
	if (!imap_is_keyword(flag) || (flag.ptr[0] == '\\' && !is_system_flag(flag))) {
		fail(writer, GP_INVALID);
		return;
	}
	begin_argument(writer);
	put(writer, flag);
}

void imap_writer_flags(struct imap_writer *writer, const struct span *flags, size_t n_flags)
{
	imap_writer_open(writer);
	for (size_t i = 0; i < n_flags; i++) {
		imap_writer_flag(writer, flags[i]);
	}
	imap_writer_close(writer);
}

/* ---- sets, sections ---- */

void imap_writer_uidset(struct imap_writer *writer, const struct imap_uidset *set, size_t *at)
{
	struct gp_buffer text;

	if (*at >= set->n_ranges) {
		fail(writer, GP_INVALID);
		return;
	}
	gp_buffer_init(&text, GP_MAX_IMAP_SET_BYTES);
	enum gp_status status = imap_uidset_write(set, at, GP_MAX_IMAP_SET_BYTES, &text);
	if (status == GP_OK) {
		begin_argument(writer);
		put(writer, gp_buffer_span(&text));
	} else {
		fail(writer, status);
	}
	gp_buffer_deinit(&text);
}

static void put_position(struct imap_writer *writer, uint32_t position)
{
	if (position == IMAP_UID_STAR) {
		put_text(writer, "*");
	} else {
		put_number(writer, position);
	}
}

void imap_writer_range(struct imap_writer *writer, uint32_t first, uint32_t last)
{
	if (first == 0 || first > last) {
		fail(writer, GP_INVALID);
		return;
	}
	begin_argument(writer);
	put_position(writer, first);
	if (first != last) {
		put_text(writer, ":");
		put_position(writer, last);
	}
}

/* "1.2", consumed; at least one number, none of them 0. */
static bool take_part_number(struct span *section)
{
	for (;;) {
		size_t len = 0;
		while (len < section->len && section->ptr[len] >= '0' && section->ptr[len] <= '9') {
			len++;
		}
		if (len == 0 || section->ptr[0] == '0') {
			return false;
		}
		*section = span_from(*section, len);
		if (section->len < 2 || section->ptr[0] != '.' || section->ptr[1] < '0' || section->ptr[1] > '9') {
			return true;
		}
		*section = span_from(*section, 1);
	}
}

static bool is_section(struct span section)
{
	bool has_part = section.len > 0 && section.ptr[0] >= '0' && section.ptr[0] <= '9';

	if (has_part) {
		if (!take_part_number(&section)) {
			return false;
		}
		if (section.len == 0) {
			return true;
		}
		if (section.ptr[0] != '.') {
			return false;
		}
		section = span_from(section, 1);
		return span_equal_text(section, "HEADER") || span_equal_text(section, "TEXT") ||
		       span_equal_text(section, "MIME");
	}
	return section.len == 0 || span_equal_text(section, "HEADER") || span_equal_text(section, "TEXT");
}

void imap_writer_body_peek(struct imap_writer *writer, const char *section, uint64_t origin, uint64_t len)
{
	if (!is_section(span_of(section))) {
		fail(writer, GP_INVALID);
		return;
	}
	begin_argument(writer);
	put_text(writer, "BODY.PEEK[");
	put_text(writer, section);
	put_text(writer, "]");
	if (len > 0) {
		put_text(writer, "<");
		put_number(writer, origin);
		put_text(writer, ".");
		put_number(writer, len);
		put_text(writer, ">");
	}
}

static bool is_field_name(struct span name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] <= 0x20 || name.ptr[i] >= 0x7F || name.ptr[i] == ':') {
			return false;
		}
	}
	return name.len > 0;
}

void imap_writer_body_peek_fields(struct imap_writer *writer, const struct span *names, size_t n_names)
{
	if (n_names == 0) {
		fail(writer, GP_INVALID);
		return;
	}
	begin_argument(writer);
	put_text(writer, "BODY.PEEK[HEADER.FIELDS (");
	writer->needs_space = false;
	for (size_t i = 0; i < n_names; i++) {
		if (!is_field_name(names[i])) {
			fail(writer, GP_INVALID);
			return;
		}
		imap_writer_astring(writer, names[i]);
	}
	put_text(writer, ")]");
	writer->needs_space = true;
}

/* ---- secrets, the end ---- */

void imap_writer_base64(struct imap_writer *writer, struct span secret)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char four[4];

	begin_argument(writer);
	if (secret.len == 0) {
		put_text(writer, "=");
	}
	for (size_t i = 0; i < secret.len; i += 3) {
		size_t n = secret.len - i < 3 ? secret.len - i : 3;
		uint32_t bits = 0;
		for (size_t k = 0; k < 3; k++) {
			bits = bits << 8 | (k < n ? (unsigned char)secret.ptr[i + k] : 0);
		}
		for (size_t k = 0; k < 4; k++) {
			four[k] = k <= n ? alphabet[bits >> (18 - 6 * k) & 0x3F] : '=';
		}
		put(writer, span_make(four, sizeof four));
	}
	explicit_bzero(four, sizeof four);
}

void imap_writer_secret(struct imap_writer *writer)
{
	writer->has_secret = true;
}

enum gp_status imap_writer_finish(struct imap_writer *writer)
{
	if (writer->n_open > 0) {
		fail(writer, GP_INVALID);
	}
	put_text(writer, "\r\n");
	return writer->status;
}
