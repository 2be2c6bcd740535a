#include "api/mbox_reader.h"

#include <stdio.h>

#include "api/moment.h"
#include "base/limits.h"

#define MAX_FROM_LINE ((size_t)1000)
#define MAX_WORDS 12

static const struct span separator = {"From ", 5};

/* ---- the From line ---- */

static size_t split_words(struct span line, struct span words[MAX_WORDS])
{
	size_t n = 0;

	for (line = span_trim(line); line.len > 0 && n < MAX_WORDS; line = span_trim(line)) {
		ptrdiff_t end = span_find_char(line, ' ');
		words[n] = end < 0 ? line : span_slice(line, 0, (size_t)end);
		line = span_from(line, words[n++].len);
	}
	return n;
}

static int month_of(struct span word)
{
	static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

	for (int i = 0; i < 12; i++) {
		if (span_equal_text_nocase(word, months[i])) {
			return i + 1;
		}
	}
	return 0;
}

/* "hh:mm" or "hh:mm:ss" */
static bool parse_time(struct span word, uint32_t out[3])
{
	size_t n = 0;

	out[2] = 0;
	while (n < 3) {
		ptrdiff_t colon = span_find_char(word, ':');
		if (!span_to_u32(colon < 0 ? word : span_slice(word, 0, (size_t)colon), &out[n])) {
			return false;
		}
		n++;
		if (colon < 0) {
			break;
		}
		word = span_from(word, (size_t)colon + 1);
	}
	return n >= 2 && out[0] < 24 && out[1] < 60 && out[2] <= 60;
}

/* "+0100": seconds east of UTC. Names of zones are taken for UTC. */
static int64_t parse_zone(struct span word)
{
	uint32_t number;

	if (word.len != 5 || (word.ptr[0] != '+' && word.ptr[0] != '-') || !span_to_u32(span_from(word, 1), &number)) {
		return 0;
	}
	int64_t seconds = ((int64_t)number / 100 * 60 + (int64_t)number % 100) * 60;
	return word.ptr[0] == '-' ? -seconds : seconds;
}

static bool make_date(uint32_t year, int month, uint32_t day, const uint32_t time[3], int64_t *date_out)
{
	char text[48];
	struct api_moment moment;

	snprintf(text, sizeof text, "%04u-%02d-%02u", (unsigned)year, month, (unsigned)day);
	if (year < 1970 || year > 9999 || !api_moment_parse(span_of(text), &moment)) {
		return false;
	}
	*date_out = moment.seconds + (int64_t)time[0] * 3600 + (int64_t)time[1] * 60 + (int64_t)time[2];
	return true;
}

bool mbox_parse_from(struct span line, int64_t *date_out)
{
	struct span words[MAX_WORDS];
	uint32_t day, year, time[3];

	if (!span_equal(span_slice(line, 0, separator.len), separator)) {
		return false;
	}
	size_t n = split_words(span_from(line, separator.len), words);
	for (size_t i = 0; i + 3 < n; i++) {
		int month = month_of(words[i]);
		if (month == 0 || !span_to_u32(words[i + 1], &day) || !parse_time(words[i + 2], time)) {
			continue;
		}
		bool is_year_next = span_to_u32(words[i + 3], &year);
		size_t zone = is_year_next ? i + 4 : i + 3;
		if (!is_year_next && !(i + 4 < n && span_to_u32(words[i + 4], &year))) {
			continue;
		}
		if (make_date(year, month, day, time, date_out)) {
			*date_out -= zone < n ? parse_zone(words[zone]) : 0;
			return true;
		}
	}
	return false;
}

/* ---- lines ---- */

void mbox_reader_init(struct mbox_reader *reader, size_t cap)
{
	*reader = (struct mbox_reader){.has_begun = false};
	gp_buffer_init(&reader->line, MAX_FROM_LINE + 1);
	gp_buffer_init(&reader->message, cap);
}

void mbox_reader_deinit(struct mbox_reader *reader)
{
	gp_buffer_deinit(&reader->line);
	gp_buffer_deinit(&reader->message);
}

void mbox_reader_next(struct mbox_reader *reader)
{
	gp_buffer_reset(&reader->message, 64 * GP_KIB);
	reader->is_complete = false;
	reader->is_too_long = false;
	reader->has_date = reader->has_next_date;
	reader->date = reader->next_date;
}

static enum mbox_result put(struct mbox_reader *reader, struct span octets)
{
	if (reader->is_too_long) {
		return MBOX_NEED_MORE;
	}
	enum gp_status status = gp_buffer_append(&reader->message, octets);
	if (status == GP_LIMIT) {
		reader->is_too_long = true;
		gp_buffer_deinit(&reader->message);
	}
	return status == GP_NO_MEMORY ? MBOX_NO_MEMORY : MBOX_NEED_MORE;
}

static enum mbox_result put_held_empty_line(struct mbox_reader *reader)
{
	if (!reader->was_empty) {
		return MBOX_NEED_MORE;
	}
	reader->was_empty = false;
	return put(reader, SPAN_LIT("\r\n"));
}

/* ">>From " was ">From ". */
static struct span unquoted(struct span line)
{
	size_t n = 0;

	while (n < line.len && line.ptr[n] == '>') {
		n++;
	}
	bool is_quoted = n > 0 && span_equal(span_slice(line, n, separator.len), separator);
	return is_quoted ? span_from(line, 1) : line;
}

static enum mbox_result complete(struct mbox_reader *reader, bool has_date, int64_t date)
{
	reader->has_next_date = has_date;
	reader->next_date = date;
	reader->was_empty = false;
	reader->is_complete = true;
	return MBOX_MESSAGE;
}

/* A whole line, without its end. */
static enum mbox_result take_line(struct mbox_reader *reader, struct span line)
{
	int64_t date = 0;
	bool has_date = mbox_parse_from(line, &date);

	if (!reader->has_begun) {
		if (!span_equal(span_slice(line, 0, separator.len), separator)) {
			return MBOX_NOT_ONE;
		}
		reader->has_begun = true;
		reader->has_date = has_date;
		reader->date = date;
		return MBOX_NEED_MORE;
	}
	bool may_begin = reader->was_empty || (reader->message.len == 0 && !reader->is_too_long);
	if (has_date && may_begin) {
		return complete(reader, has_date, date);
	}
	enum mbox_result result = put_held_empty_line(reader);
	if (result == MBOX_NEED_MORE && line.len == 0) {
		reader->was_empty = true;
		return result;
	}
	if (result == MBOX_NEED_MORE) {
		result = put(reader, unquoted(line));
	}
	return result == MBOX_NEED_MORE ? put(reader, SPAN_LIT("\r\n")) : result;
}

static struct span without_cr(struct span line)
{
	if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
		line.len--;
	}
	return line;
}

/* A part of a line that is too long to be a From line: its CR waits for what follows it. */
static enum mbox_result take_part(struct mbox_reader *reader, struct span part, bool is_end)
{
	enum mbox_result result = MBOX_NEED_MORE;

	if (reader->ends_in_cr && part.len > 0) {
		result = put(reader, SPAN_LIT("\r"));
		reader->ends_in_cr = false;
	}
	struct span text = without_cr(part);
	reader->ends_in_cr |= text.len < part.len;
	if (result == MBOX_NEED_MORE) {
		result = put(reader, text);
	}
	if (!is_end) {
		return result;
	}
	reader->ends_in_cr = false;
	reader->is_in_long_line = false;
	return result == MBOX_NEED_MORE ? put(reader, SPAN_LIT("\r\n")) : result;
}

static enum mbox_result begin_long_line(struct mbox_reader *reader)
{
	enum mbox_result result = MBOX_NEED_MORE;

	if (!reader->has_begun) {
		return MBOX_NOT_ONE;
	}
	result = put_held_empty_line(reader);
	reader->is_in_long_line = true;
	if (result == MBOX_NEED_MORE) {
		result = take_part(reader, unquoted(gp_buffer_span(&reader->line)), false);
	}
	gp_buffer_truncate(&reader->line, 0);
	return result;
}

enum mbox_result mbox_reader_feed(struct mbox_reader *reader, struct span *bytes)
{
	enum mbox_result result = MBOX_NEED_MORE;

	while (bytes->len > 0 && result == MBOX_NEED_MORE) {
		ptrdiff_t end = span_find_char(*bytes, '\n');
		size_t len = end < 0 ? bytes->len : (size_t)end;
		if (reader->is_in_long_line) {
			result = take_part(reader, span_slice(*bytes, 0, len), end >= 0);
			*bytes = span_from(*bytes, end < 0 ? len : len + 1);
			continue;
		}
		size_t room = MAX_FROM_LINE - reader->line.len;
		if (len > room) {
			if (gp_buffer_append(&reader->line, span_slice(*bytes, 0, room)) != GP_OK) {
				return MBOX_NO_MEMORY;
			}
			*bytes = span_from(*bytes, room);
			result = begin_long_line(reader);
			continue;
		}
		if (gp_buffer_append(&reader->line, span_slice(*bytes, 0, len)) != GP_OK) {
			return MBOX_NO_MEMORY;
		}
		*bytes = span_from(*bytes, end < 0 ? len : len + 1);
		if (end >= 0) {
			result = take_line(reader, without_cr(gp_buffer_span(&reader->line)));
			gp_buffer_truncate(&reader->line, 0);
		}
	}
	return result;
}

enum mbox_result mbox_reader_end(struct mbox_reader *reader)
{
	enum mbox_result result = MBOX_NEED_MORE;

	if (reader->is_in_long_line) {
		result = take_part(reader, SPAN_NIL, true);
	} else if (reader->line.len > 0) {
		result = take_line(reader, without_cr(gp_buffer_span(&reader->line)));
		gp_buffer_truncate(&reader->line, 0);
	}
	if (result != MBOX_NEED_MORE) {
		return result;
	}
	if (!reader->has_begun || reader->is_ended) {
		return MBOX_NEED_MORE;
	}
	reader->is_ended = true;
	return complete(reader, false, 0);
}
