/* mail_decode_text(): unstructured text with RFC 2047's encoded words in it. */
#include "base/utf8.h"
#include "mail/charset.h"
#include "mail/header.h"
#include "mail/header_internal.h"
#include "mail/transfer.h"

#define MAX_CHARSET_NAME 64
/* Decoding makes at most three bytes of one; this leaves room to spare. */
#define MAX_TEXT (8 * GP_MIB)

struct word {
	struct span charset; /* borrow, from the raw text, as the next one */
	struct span text;
	size_t end; /* offset in the raw text */
	bool is_q;
};

struct decoder {
	struct gp_buffer *text; /* borrow: the caller's; what is decoded goes to its end, as UTF-8 */
	struct gp_buffer bytes; /* own: of adjacent words, not yet converted */
	struct span charset;    /* borrow: of `bytes` */
	bool has_problem;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The encoded word that begins at `at`, where "=?" is. Its text may hold blanks and
 * question marks, which it should not; but not the beginning of another word, for
 * then this one has no end. `*is_endless_out` is set when no word that begins later
 * can have an end either, which keeps the search linear. */
static bool find_word(struct span raw, size_t at, struct word *word, bool *is_endless_out)
{
	struct span rest = span_from(raw, at + 2);
	ptrdiff_t charset_len = span_find_char(span_slice(rest, 0, MAX_CHARSET_NAME + 1), '?');

	if (charset_len <= 0 || rest.len < (size_t)charset_len + 3 || rest.ptr[charset_len + 2] != '?') {
		return false;
	}
	word->charset = span_slice(rest, 0, (size_t)charset_len);
	for (size_t i = 0; i < word->charset.len; i++) {
		if (is_blank(word->charset.ptr[i])) {
			return false;
		}
	}
	char encoding = (char)(rest.ptr[charset_len + 1] | 0x20);
	if (encoding != 'q' && encoding != 'b') {
		return false;
	}
	word->is_q = encoding == 'q';
	rest = span_from(rest, (size_t)charset_len + 3);

	for (size_t i = 0;; i++) {
		ptrdiff_t mark = span_find_char(span_from(rest, i), '?');
		if (mark < 0) {
			*is_endless_out = true;
			return false;
		}
		i += (size_t)mark;
		bool is_end = i + 1 < rest.len && rest.ptr[i + 1] == '=';
		if (!is_end && i > 0 && rest.ptr[i - 1] == '=') {
			return false;
		}
		if (is_end) {
			word->text = span_slice(rest, 0, i);
			word->end = (size_t)(rest.ptr + i + 2 - raw.ptr);
			return true;
		}
	}
}

/* The text of a Q word; at most as long as it was. */
static size_t decode_q(struct decoder *d, struct span text, char *to)
{
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '\r' || c == '\n') {
			continue;
		}
		if (c == '=') {
			int high = i + 2 < text.len ? mail_hex_value(text.ptr[i + 1]) : -1;
			int low = i + 2 < text.len ? mail_hex_value(text.ptr[i + 2]) : -1;
			if (high >= 0 && low >= 0) {
				c = (char)(high << 4 | low);
				i += 2;
			} else {
				d->has_problem = true;
			}
		} else if (c == '_') {
			c = ' ';
		}
		to[len++] = c;
	}
	return len;
}

static size_t decode_b(struct decoder *d, struct span text, char *to)
{
	struct mail_transfer base64;

	mail_transfer_init(&base64, MAIL_ENCODING_BASE64);
	size_t len = mail_transfer_step(&base64, text, to);
	len += mail_transfer_finish(&base64, to + len);
	d->has_problem |= base64.has_problem;
	return len;
}

/* The bytes of the words so far become text. */
static enum gp_status flush_words(struct decoder *d)
{
	enum gp_status status = GP_OK;

	if (d->bytes.len > 0) {
		status = mail_charset_convert(d->charset, gp_buffer_span(&d->bytes), d->text, &d->has_problem);
		gp_buffer_truncate(&d->bytes, 0);
	}
	return status;
}

static enum gp_status put_word(struct decoder *d, const struct word *word)
{
	enum gp_status status = GP_OK;
	char *room;

	if (!span_equal_nocase(d->charset, word->charset)) {
		status = flush_words(d);
	}
	d->charset = word->charset;
	if (status == GP_OK) {
		status = gp_buffer_reserve(&d->bytes, MAIL_TRANSFER_BOUND(word->text.len), &room);
	}
	if (status == GP_OK) {
		gp_buffer_commit(&d->bytes, word->is_q ? decode_q(d, word->text, room) : decode_b(d, word->text, room));
	}
	return status;
}

/* Text outside of words: ASCII, or what its bytes look like. Old Japanese mailers
 * put ISO-2022-JP here as it is. */
static enum gp_status put_raw(struct decoder *d, struct span raw)
{
	bool is_jis = span_find(raw, SPAN_LIT("\x1B$B")) >= 0 || span_find(raw, SPAN_LIT("\x1B$@")) >= 0;
	struct span charset = is_jis               ? SPAN_LIT("iso-2022-jp")
			      : utf8_is_valid(raw) ? SPAN_LIT("utf-8")
						   : SPAN_LIT("windows-1252");

	d->has_problem |= !is_jis && charset.len == strlen("windows-1252");
	return mail_charset_convert(charset, raw, d->text, &d->has_problem);
}

static enum gp_status decode(struct decoder *d, struct span raw)
{
	enum gp_status status = GP_OK;
	size_t raw_from = 0; /* the end of the last word */
	size_t at = 0;
	bool is_endless = false;

	while (status == GP_OK && !is_endless) {
		ptrdiff_t mark = span_find(span_from(raw, at), SPAN_LIT("=?"));
		struct word word;
		if (mark < 0) {
			break;
		}
		at += (size_t)mark;
		if (!find_word(raw, at, &word, &is_endless)) {
			at += 2;
			continue;
		}
		struct span between = span_slice(raw, raw_from, at - raw_from);
		if (raw_from == 0 || span_trim(between).len > 0) {
			status = flush_words(d);
			if (status == GP_OK) {
				status = put_raw(d, between);
			}
		}
		if (status == GP_OK) {
			status = put_word(d, &word);
		}
		raw_from = at = word.end;
	}
	if (status == GP_OK) {
		status = flush_words(d);
	}
	return status == GP_OK ? put_raw(d, span_from(raw, raw_from)) : status;
}

/* Undoes folding, in raw text and in what words have smuggled in, from `from` on: a line
 * end goes where a blank follows, and becomes one elsewhere. In place: never longer. */
static void unfold(struct gp_buffer *text, size_t from)
{
	struct span s = span_trim(span_from(gp_buffer_span(text), from));
	size_t len = from;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		if (c == '\r' || c == '\n') {
			while (i + 1 < s.len && (s.ptr[i + 1] == '\r' || s.ptr[i + 1] == '\n')) {
				i++;
			}
			if (i + 1 < s.len && (s.ptr[i + 1] == ' ' || s.ptr[i + 1] == '\t')) {
				i++;
			}
			c = ' ';
		}
		text->data[len++] = c;
	}
	gp_buffer_truncate(text, len);
}

/* Eight bytes of which none is a control character, "?", DEL or not ASCII. */
static bool is_plain_word(const char *p)
{
	const uint64_t high = UINT64_C(0x8080808080808080);
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t word;

	memcpy(&word, p, sizeof word);
	uint64_t marks = word ^ (ones * '?');
	/* Adding 1 to a DEL, taking 32 from a control character and 1 from what was a mark
	 * sets the high bit, as it is set outside of ASCII; a carry comes from such a byte. */
	return ((word | (word + ones) | (word - ones * 0x20) | (marks - ones)) & high) == 0;
}

static bool is_plain(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.len - i >= 8 && is_plain_word(s.ptr + i)) {
			i += 7;
			continue;
		}
		unsigned char c = (unsigned char)s.ptr[i];
		if (c >= 0x7F || (c < 0x20 && c != '\t') || (c == '?' && i > 0 && s.ptr[i - 1] == '=')) {
			return false;
		}
	}
	return true;
}

struct span mail_raw_capped(struct span raw)
{
	if (raw.len > MAIL_MAX_RAW) {
		raw.len = MAIL_MAX_RAW;
		while (raw.len > MAIL_MAX_RAW - 3 && ((unsigned char)raw.ptr[raw.len] & 0xC0) == 0x80) {
			raw.len--;
		}
	}
	return raw;
}

bool mail_is_plain_text(struct span raw, struct span *text_out)
{
	raw = span_trim(mail_raw_capped(raw));
	if (!is_plain(raw)) {
		return false;
	}
	*text_out = raw;
	return true;
}

enum gp_status mail_decode_text(struct span raw, struct gp_buffer *out, bool *problem_out)
{
	struct decoder d = {.text = out, .charset = SPAN_NIL};
	struct span plain;
	size_t from = out->len;

	if (mail_is_plain_text(raw, &plain)) {
		return gp_buffer_append(out, plain);
	}
	gp_buffer_init(&d.bytes, MAX_TEXT);
	enum gp_status status = decode(&d, span_trim(mail_raw_capped(raw)));
	if (status == GP_OK) {
		unfold(out, from);
	} else {
		gp_buffer_truncate(out, from);
	}
	if (problem_out && d.has_problem) {
		*problem_out = true;
	}
	gp_buffer_deinit(&d.bytes);
	return status;
}
