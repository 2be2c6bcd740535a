#include "api/json_writer.h"

#include "base/utf8.h"

#define REPLACEMENT SPAN_LIT("\xEF\xBF\xBD")
#define DAY_SECONDS 86400

/* ---- bytes ---- */

void api_json_writer_init(struct api_json_writer *writer, struct gp_buffer *out, bool is_pretty, unsigned depth)
{
	*writer = (struct api_json_writer){.out = out, .is_pretty = is_pretty, .depth = depth};
}

void api_json_writer_fail(struct api_json_writer *writer, enum gp_status status)
{
	if (writer->status == GP_OK) {
		writer->status = status;
	}
}

/* Room for `len` bytes, to be committed; NULL after a failure. */
static inline char *reserve(struct api_json_writer *writer, size_t len)
{
	struct gp_buffer *out = writer->out;
	char *room;

	if (writer->status != GP_OK) {
		return NULL;
	}
	if (len < out->size - out->len) { /* with the NUL behind it, and so within the cap */
		return out->data + out->len;
	}
	writer->status = gp_buffer_reserve(out, len, &room);
	return writer->status == GP_OK ? room : NULL;
}

static inline void put(struct api_json_writer *writer, struct span bytes)
{
	char *room = reserve(writer, bytes.len);

	if (room && bytes.len > 0) {
		memcpy(room, bytes.ptr, bytes.len);
		gp_buffer_commit(writer->out, bytes.len);
	}
}

enum gp_status api_json_writer_finish(struct api_json_writer *writer)
{
	put(writer, SPAN_LIT("\n"));
	return writer->status;
}

/* ---- structure ---- */

static void put_line_start(struct api_json_writer *writer)
{
	char *room = reserve(writer, 1 + 2 * (size_t)writer->depth);

	if (room) {
		room[0] = '\n';
		memset(room + 1, ' ', 2 * (size_t)writer->depth);
		gp_buffer_commit(writer->out, 1 + 2 * (size_t)writer->depth);
	}
}

/* What stands between an element or a member and the one before it. */
static void separate(struct api_json_writer *writer)
{
	if (writer->needs_comma) {
		put(writer, SPAN_LIT(","));
	}
	if (writer->is_pretty && writer->depth > 0) {
		put_line_start(writer);
	}
	writer->needs_comma = true;
}

static void begin_value(struct api_json_writer *writer)
{
	if (writer->is_after_key) {
		writer->is_after_key = false;
	} else {
		separate(writer);
	}
}

static void put_value(struct api_json_writer *writer, struct span bytes)
{
	begin_value(writer);
	put(writer, bytes);
}

static void open_bracket(struct api_json_writer *writer, struct span bracket)
{
	put_value(writer, bracket);
	writer->depth++;
	writer->needs_comma = false;
}

static void close_bracket(struct api_json_writer *writer, struct span bracket)
{
	writer->depth--;
	if (writer->is_pretty && writer->needs_comma) {
		put_line_start(writer);
	}
	put(writer, bracket);
	writer->needs_comma = true;
}

void api_json_writer_object(struct api_json_writer *writer)
{
	open_bracket(writer, SPAN_LIT("{"));
}

void api_json_writer_object_end(struct api_json_writer *writer)
{
	close_bracket(writer, SPAN_LIT("}"));
}

void api_json_writer_array(struct api_json_writer *writer)
{
	open_bracket(writer, SPAN_LIT("["));
}

void api_json_writer_array_end(struct api_json_writer *writer)
{
	close_bracket(writer, SPAN_LIT("]"));
}

static void end_key(struct api_json_writer *writer)
{
	if (writer->is_pretty) {
		put(writer, SPAN_LIT("\": "));
	} else {
		put(writer, SPAN_LIT("\":"));
	}
	writer->is_after_key = true;
}

void api_json_writer_plain_key(struct api_json_writer *writer, struct span name)
{
	if (writer->is_pretty) {
		separate(writer);
		put(writer, SPAN_LIT("\""));
		put(writer, name);
		end_key(writer);
		return;
	}
	char *room = reserve(writer, name.len + 4);
	if (room) {
		char *at = room;
		if (writer->needs_comma) {
			*at++ = ',';
		}
		*at++ = '"';
		memcpy(at, name.ptr, name.len);
		at += name.len;
		*at++ = '"';
		*at++ = ':';
		gp_buffer_commit(writer->out, (size_t)(at - room));
	}
	writer->needs_comma = true;
	writer->is_after_key = true;
}

void api_json_writer_text_key(struct api_json_writer *writer, struct span name)
{
	separate(writer);
	put(writer, SPAN_LIT("\""));
	api_json_writer_text_piece(writer, name);
	end_key(writer);
}

void api_json_writer_run(struct api_json_writer *writer, struct span run)
{
	if (run.len == 0) {
		return;
	}
	if (writer->needs_comma) {
		put(writer, SPAN_LIT(","));
	}
	put(writer, run);
	writer->needs_comma = true;
}

/* ---- text ---- */

/* Eight bytes of which none is a control character, a quote, a backslash or not ASCII. */
static bool is_plain_word(const char *p)
{
	const uint64_t high = UINT64_C(0x8080808080808080);
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t word;

	memcpy(&word, p, sizeof word);
	uint64_t quotes = word ^ (ones * '"');
	uint64_t backslashes = word ^ (ones * '\\');
	/* In a byte below 0x80, a subtraction that borrows sets the high bit; a borrow that
	 * goes on into the next byte comes from one that has told already. */
	return ((word | (word - ones * 0x20) | (quotes - ones) | (backslashes - ones)) & high) == 0;
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* How much of `s` may be copied as it is. */
static size_t clean_prefix(struct span s)
{
	size_t at = 0;

	while (at < s.len) {
		if (s.len - at >= 8 && is_plain_word(s.ptr + at)) {
			at += 8;
			continue;
		}
		if (is_plain((unsigned char)s.ptr[at])) {
			at++;
			continue;
		}
		uint32_t c;
		size_t len = (unsigned char)s.ptr[at] < 0x80 ? 0 : utf8_decode(span_from(s, at), &c);
		if (len == 0) {
			break;
		}
		at += len;
	}
	return at;
}

static void put_escape(struct api_json_writer *writer, unsigned char c)
{
	static const char letters[] = "btn\0fr"; /* from 0x08 on */
	char escape[6] = {'\\', 'u', '0', '0', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15]};
	size_t len = sizeof escape;

	if (c == '"' || c == '\\') {
		escape[1] = (char)c;
		len = 2;
	} else if (c >= 0x08 && c <= 0x0D && c != 0x0B) {
		escape[1] = letters[c - 0x08];
		len = 2;
	}
	put(writer, span_make(escape, len));
}

void api_json_writer_text_piece(struct api_json_writer *writer, struct span piece)
{
	while (piece.len > 0 && writer->status == GP_OK) {
		size_t clean = clean_prefix(piece);
		put(writer, span_slice(piece, 0, clean));
		piece = span_from(piece, clean);
		if (piece.len == 0) {
			return;
		}
		unsigned char c = (unsigned char)piece.ptr[0];
		if (c < 0x80) {
			put_escape(writer, c);
			piece = span_from(piece, 1);
		} else {
			put(writer, REPLACEMENT);
			piece = span_from(piece, utf8_bad_run(piece));
		}
	}
}

void api_json_writer_text_begin(struct api_json_writer *writer)
{
	put_value(writer, SPAN_LIT("\""));
}

void api_json_writer_text_end(struct api_json_writer *writer)
{
	put(writer, SPAN_LIT("\""));
}

void api_json_writer_text(struct api_json_writer *writer, struct span text)
{
	if (span_is_nil(text)) {
		api_json_writer_null(writer);
		return;
	}
	size_t clean = clean_prefix(text);
	if (clean < text.len) {
		api_json_writer_text_begin(writer);
		api_json_writer_text_piece(writer, text);
		api_json_writer_text_end(writer);
		return;
	}
	begin_value(writer);
	char *room = reserve(writer, text.len + 2);
	if (room) {
		room[0] = '"';
		memcpy(room + 1, text.ptr, text.len);
		room[text.len + 1] = '"';
		gp_buffer_commit(writer->out, text.len + 2);
	}
}

void api_json_writer_string(struct api_json_writer *writer, const char *text)
{
	api_json_writer_text(writer, span_of(text));
}

/* ---- numbers, words and times ---- */

size_t api_json_writer_digits(uint64_t number, char digits_out[API_JSON_WRITER_DIGITS])
{
	char backwards[API_JSON_WRITER_DIGITS];
	size_t len = 0;

	do {
		backwards[len++] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	for (size_t i = 0; i < len; i++) {
		digits_out[i] = backwards[len - 1 - i];
	}
	return len;
}

void api_json_writer_number(struct api_json_writer *writer, uint64_t number)
{
	char digits[API_JSON_WRITER_DIGITS];

	put_value(writer, span_make(digits, api_json_writer_digits(number, digits)));
}

void api_json_writer_number_text(struct api_json_writer *writer, uint64_t number)
{
	char text[API_JSON_WRITER_DIGITS + 2];
	size_t len = api_json_writer_digits(number, text + 1);

	text[0] = text[len + 1] = '"';
	put_value(writer, span_make(text, len + 2));
}

void api_json_writer_bool(struct api_json_writer *writer, bool value)
{
	put_value(writer, value ? SPAN_LIT("true") : SPAN_LIT("false"));
}

void api_json_writer_null(struct api_json_writer *writer)
{
	put_value(writer, SPAN_LIT("null"));
}

/* The date of a day counted from 1970-01-01, in the Gregorian calendar: reckoned in eras
 * of 400 years that begin on 1 March, so that the leap day comes last. */
static void civil_date(int64_t day, unsigned *year_out, unsigned *month_out, unsigned *day_out)
{
	int64_t from_year_0 = day + 719468;
	int64_t era = (from_year_0 >= 0 ? from_year_0 : from_year_0 - 146096) / 146097;
	unsigned day_of_era = (unsigned)(from_year_0 - era * 146097);
	unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned month = (5 * day_of_year + 2) / 153; /* 0 is March */

	*day_out = day_of_year - (153 * month + 2) / 5 + 1;
	*month_out = month < 10 ? month + 3 : month - 9;
	*year_out = (unsigned)((int64_t)year_of_era + era * 400 + (*month_out <= 2));
}

static char *put_two(char *at, unsigned number, char behind)
{
	at[0] = (char)('0' + number / 10);
	at[1] = (char)('0' + number % 10);
	at[2] = behind;
	return at + 3;
}

void api_json_writer_time(struct api_json_writer *writer, int64_t seconds, int offset_minutes)
{
	/* a day less at both ends: the offset must not lead out either */
	const int64_t least = INT64_C(-62167219200) + DAY_SECONDS, most = INT64_C(253402300799) - DAY_SECONDS;
	unsigned year, month, day;

	if (seconds < least || seconds > most) {
		api_json_writer_null(writer);
		return;
	}
	if (offset_minutes <= -24 * 60 || offset_minutes >= 24 * 60) {
		offset_minutes = 0;
	}
	int64_t local = seconds + (int64_t)offset_minutes * 60;
	int64_t days = local / DAY_SECONDS - (local % DAY_SECONDS < 0);
	unsigned second = (unsigned)(local - days * DAY_SECONDS);
	civil_date(days, &year, &month, &day);

	char text[sizeof "\"2026-01-31T12:00:00+01:00\""];
	char *at = text;
	*at++ = '"';
	*at++ = (char)('0' + year / 1000);
	*at++ = (char)('0' + year / 100 % 10);
	at = put_two(at, year % 100, '-');
	at = put_two(at, month, '-');
	at = put_two(at, day, 'T');
	at = put_two(at, second / 3600, ':');
	at = put_two(at, second / 60 % 60, ':');
	at = put_two(at, second % 60, 'Z');
	if (offset_minutes != 0) {
		unsigned minutes = (unsigned)(offset_minutes < 0 ? -offset_minutes : offset_minutes);
		at[-1] = offset_minutes < 0 ? '-' : '+';
		at = put_two(at, minutes / 60, ':');
		at = put_two(at, minutes % 60, '"');
	} else {
		*at++ = '"';
	}
	put_value(writer, span_make(text, (size_t)(at - text)));
}
