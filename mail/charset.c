#include "mail/charset.h"

#include <errno.h>

#include "base/utf8.h"
#include "mail/charset_internal.h"
#include "mail/charset_names.h"

#define REPLACEMENT SPAN_LIT("\xEF\xBF\xBD")
#define PIECE 4096

uint32_t mail_windows_1252(unsigned char c)
{
	/* As the WHATWG has them: the five that are not assigned stay C1 controls. */
	static const uint16_t own[32] = {
		0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
		0x2039, 0x0152, 0x008D, 0x017D, 0x008F, 0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
		0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178,
	};

	return c >= 0x80 && c < 0xA0 ? own[c - 0x80] : c;
}

static enum gp_status open_iconv(struct mail_charset *charset, const char *name)
{
	charset->iconv = iconv_open("UTF-8", name);
	/* iconv_t is an integer or a pointer by platform; this is POSIX's own test. */
	charset->is_open = charset->iconv != (iconv_t)-1;
	if (!charset->is_open && errno == ENOMEM) {
		return GP_NO_MEMORY;
	}
	if (!charset->is_open) {
		charset->kind = MAIL_CHARSET_GUESS;
		charset->has_problem = true;
	}
	return GP_OK;
}

enum gp_status mail_charset_init(struct mail_charset *charset, struct span name)
{
	const struct mail_charset_name *found = mail_charset_find(name);

	*charset = (struct mail_charset){.kind = MAIL_CHARSET_GUESS, .unit = 1};
	if (!found) {
		charset->has_problem = true;
		return GP_OK;
	}
	charset->kind = found->kind;
	charset->unit = found->unit;
	charset->is_multibyte = found->is_multibyte;
	charset->is_combining = found->is_combining;
	if (found->kind == MAIL_CHARSET_ICONV) {
		return open_iconv(charset, found->iconv_name);
	}
	return found->kind == MAIL_CHARSET_ISO_2022_JP ? open_iconv(charset, "EUC-JP-MS") : GP_OK;
}

void mail_charset_deinit(struct mail_charset *charset)
{
	if (charset->is_open) {
		iconv_close(charset->iconv);
		charset->is_open = false;
	}
}

/* ---- what comes out ---- */

/* Eight bytes that are all ASCII and none of them NUL. */
static bool is_plain_word(const char *p)
{
	const uint64_t high = UINT64_C(0x8080808080808080);
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t word;

	memcpy(&word, p, sizeof word);
	return ((word | (word - ones)) & high) == 0;
}

size_t mail_utf8_clean_prefix(struct span s)
{
	size_t at = 0;

	while (at < s.len) {
		if (s.len - at >= 8 && is_plain_word(s.ptr + at)) {
			at += 8;
			continue;
		}
		uint32_t c;
		size_t len = utf8_decode(span_from(s, at), &c);
		if (len == 0 || c == 0) {
			break;
		}
		at += len;
	}
	return at;
}

/* Whether `s` is the beginning of a character and more bytes could complete it. */
static bool is_incomplete(struct span s)
{
	const unsigned char *p = (const unsigned char *)s.ptr;
	size_t want = p[0] < 0xC2 ? 1 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 1;

	if (s.len >= want) {
		return false;
	}
	if (s.len > 1) {
		unsigned char least = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
		unsigned char most = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
		if (p[1] < least || p[1] > most) {
			return false;
		}
	}
	return s.len < 3 || (p[2] & 0xC0) == 0x80;
}

enum gp_status mail_charset_put_clean(struct mail_charset *charset, struct span text, struct gp_buffer *out)
{
	if (!charset->is_started && text.len > 0) {
		charset->is_started = true;
		if (span_starts_with(text, "\xEF\xBB\xBF")) {
			text = span_from(text, 3);
		}
	}
	return gp_buffer_append(out, text);
}

enum gp_status mail_charset_put_bad(struct mail_charset *charset, struct gp_buffer *out)
{
	charset->has_problem = true;
	return mail_charset_put_clean(charset, REPLACEMENT, out);
}

/* How many bytes at the start of `s` make one bad sequence. */
static size_t bad_len(struct span s)
{
	size_t len = 1;

	while (len < 3 && len < s.len && is_incomplete(span_slice(s, 0, len + 1))) {
		len++;
	}
	return len;
}

/* iconv's output: whole characters, but not always ones that UTF-8 may hold. */
enum gp_status mail_charset_put_converted(struct mail_charset *charset, struct span text, struct gp_buffer *out)
{
	enum gp_status status = GP_OK;

	while (status == GP_OK && text.len > 0) {
		size_t good = mail_utf8_clean_prefix(text);
		status = mail_charset_put_clean(charset, span_slice(text, 0, good), out);
		text = span_from(text, good);
		if (status == GP_OK && text.len > 0) {
			status = mail_charset_put_bad(charset, out);
			text = span_from(text, bad_len(text));
		}
	}
	return status;
}

/* ---- Windows-1252, UTF-8 and the guess between them ---- */

static enum gp_status feed_1252(struct mail_charset *charset, struct span bytes, struct gp_buffer *out)
{
	while (bytes.len > 0) {
		struct span piece = span_slice(bytes, 0, PIECE);
		char *room;
		enum gp_status status = gp_buffer_reserve(out, piece.len * 3, &room);
		if (status != GP_OK) {
			return status;
		}
		size_t len = 0;
		for (size_t i = 0; i < piece.len; i++) {
			unsigned char c = (unsigned char)piece.ptr[i];
			if (c != 0 && c < 0x80) {
				room[len++] = (char)c;
				continue;
			}
			if (c >= 0xC0) {
				room[len++] = (char)0xC3;
				room[len++] = (char)(c - 0x40);
				continue;
			}
			charset->has_problem |= c == 0;
			uint32_t code_point = c == 0 ? 0xFFFD : mail_windows_1252(c);
			char encoded[4];
			size_t encoded_len = utf8_encode(code_point, encoded);
			memcpy(room + len, encoded, encoded_len);
			len += encoded_len;
		}
		gp_buffer_commit(out, len);
		charset->is_started = true;
		bytes = span_from(bytes, piece.len);
	}
	return GP_OK;
}

/* UTF-8 from `bytes`, as far as whole characters go; `*rest_out` is the beginning of
 * one, or for a guess that has failed all that is left. */
static enum gp_status feed_utf8_whole(struct mail_charset *charset, struct span bytes, struct gp_buffer *out,
				      struct span *rest_out)
{
	enum gp_status status = GP_OK;

	while (status == GP_OK && bytes.len > 0) {
		size_t good = mail_utf8_clean_prefix(bytes);
		status = mail_charset_put_clean(charset, span_slice(bytes, 0, good), out);
		bytes = span_from(bytes, good);
		if (bytes.len == 0 || status != GP_OK || is_incomplete(bytes)) {
			break;
		}
		if (charset->kind == MAIL_CHARSET_GUESS && bytes.ptr[0] != '\0') {
			charset->is_1252 = true;
			charset->has_problem = true;
			break;
		}
		status = mail_charset_put_bad(charset, out);
		bytes = span_from(bytes, bad_len(bytes));
	}
	*rest_out = bytes;
	return status;
}

static enum gp_status feed_utf8(struct mail_charset *charset, struct span bytes, struct gp_buffer *out)
{
	enum gp_status status = GP_OK;
	struct span rest;

	while (status == GP_OK && charset->carry_len > 0 && bytes.len > 0) {
		charset->carry[charset->carry_len++] = (unsigned char)bytes.ptr[0];
		bytes = span_from(bytes, 1);
		status = feed_utf8_whole(charset, span_make((const char *)charset->carry, charset->carry_len), out,
					 &rest);
		if (status == GP_OK && charset->is_1252) {
			status = feed_1252(charset, rest, out);
			rest.len = 0;
		}
		memmove(charset->carry, rest.ptr, rest.len);
		charset->carry_len = rest.len;
	}
	if (status == GP_OK && !charset->is_1252 && bytes.len > 0) {
		status = feed_utf8_whole(charset, bytes, out, &bytes);
		if (status == GP_OK && !charset->is_1252) {
			memcpy(charset->carry, bytes.ptr, bytes.len);
			charset->carry_len = bytes.len;
			return GP_OK;
		}
	}
	return status == GP_OK ? feed_1252(charset, bytes, out) : status;
}

/* ---- iconv ---- */

/* What iconv still holds (a letter that waits for its mark) comes out. */
static enum gp_status flush_iconv(struct mail_charset *charset, struct gp_buffer *out)
{
	char held[64];
	char *to = held;
	size_t room = sizeof held;

	iconv(charset->iconv, NULL, NULL, &to, &room);
	return mail_charset_put_converted(charset, span_make(held, sizeof held - room), out);
}

/* How far to go past a bad byte at `p`. A lead byte takes its second byte along
 * unless that is ASCII, so that the pairs behind it stay pairs. Whether it is a lead
 * byte is asked of iconv, for the answer must not depend on what has arrived. */
static size_t bad_iconv_len(struct mail_charset *charset, const char *p, size_t len)
{
	if (charset->is_multibyte && len > 1 && (unsigned char)p[1] >= 0x80) {
		char scratch[16];
		char lead = p[0];
		char *from = &lead;
		char *to = scratch;
		size_t left = 1;
		size_t room = sizeof scratch;
		if (iconv(charset->iconv, &from, &left, &to, &room) == (size_t)-1 && errno == EINVAL) {
			return 2;
		}
		return 1;
	}
	return charset->unit < len ? charset->unit : len;
}

/* `*rest_out` is the beginning of a character. */
static enum gp_status feed_iconv_whole(struct mail_charset *charset, struct span bytes, struct gp_buffer *out,
				       struct span *rest_out)
{
	enum gp_status status = GP_OK;
	/* iconv() takes char ** and does not write through it. */
	char *from = (char *)(uintptr_t)bytes.ptr;
	size_t left = bytes.len;

	while (status == GP_OK && left > 0) {
		char converted[PIECE];
		char *to = converted;
		size_t room = sizeof converted;
		size_t left_before = left;
		bool is_done = iconv(charset->iconv, &from, &left, &to, &room) != (size_t)-1;
		int error = is_done ? 0 : errno;

		status = mail_charset_put_converted(charset, span_make(converted, sizeof converted - room), out);
		if (status != GP_OK || is_done || error == EINVAL) {
			break;
		}
		/* No progress at all on a full buffer would be a loop without end. */
		if (error != E2BIG || (left == left_before && room == sizeof converted)) {
			if (charset->is_combining) {
				status = flush_iconv(charset, out);
			}
			if (status == GP_OK) {
				status = mail_charset_put_bad(charset, out);
			}
			size_t len = bad_iconv_len(charset, from, left);
			from += len;
			left -= len;
		}
	}
	*rest_out = span_make(from, left);
	return status;
}

static enum gp_status feed_iconv(struct mail_charset *charset, struct span bytes, struct gp_buffer *out)
{
	enum gp_status status = GP_OK;
	struct span rest;

	for (;;) {
		while (status == GP_OK && charset->carry_len > 0 && bytes.len > 0) {
			charset->carry[charset->carry_len++] = (unsigned char)bytes.ptr[0];
			bytes = span_from(bytes, 1);
			status = feed_iconv_whole(charset, span_make((const char *)charset->carry, charset->carry_len),
						  out, &rest);
			if (status == GP_OK && rest.len == MAIL_CHARSET_CARRY) {
				status = mail_charset_put_bad(charset, out);
				rest = span_from(rest, 1);
			}
			memmove(charset->carry, rest.ptr, rest.len);
			charset->carry_len = rest.len;
		}
		if (status != GP_OK || bytes.len == 0) {
			return status;
		}
		status = feed_iconv_whole(charset, bytes, out, &rest);
		if (status != GP_OK) {
			return status;
		}
		/* Longer than any character: then byte by byte, as above. */
		size_t keep = rest.len < MAIL_CHARSET_CARRY ? rest.len : 1;
		memcpy(charset->carry, rest.ptr, keep);
		charset->carry_len = keep;
		bytes = span_from(rest, keep);
	}
}

/* UTF-16 and UTF-32 without a stated byte order: the mark tells, else the zeros of
 * the first character, else big-endian (RFC 2781). */
static enum gp_status choose_byte_order(struct mail_charset *charset)
{
	const unsigned char *p = charset->carry;
	bool is_wide = charset->kind == MAIL_CHARSET_UTF32;
	size_t last = is_wide ? 3 : 1;
	bool is_little = (p[0] == 0xFF && p[1] == 0xFE) || (p[0] != 0 && p[last] == 0);

	charset->kind = MAIL_CHARSET_ICONV;
	return open_iconv(charset, is_wide ? is_little ? "UTF-32LE" : "UTF-32BE" : is_little ? "UTF-16LE" : "UTF-16BE");
}

/* Once a stream: what it calls knows the byte order then, and does not come back. */
/* NOLINTNEXTLINE(misc-no-recursion) */
static enum gp_status feed_unordered(struct mail_charset *charset, struct span bytes, struct gp_buffer *out)
{
	while (charset->carry_len < charset->unit && bytes.len > 0) {
		charset->carry[charset->carry_len++] = (unsigned char)bytes.ptr[0];
		bytes = span_from(bytes, 1);
	}
	if (charset->carry_len < charset->unit) {
		return GP_OK;
	}
	unsigned char first[4];
	memcpy(first, charset->carry, charset->unit);
	enum gp_status status = choose_byte_order(charset);
	charset->carry_len = 0;
	if (status == GP_OK) {
		status = mail_charset_feed(charset, span_make((const char *)first, charset->unit), out);
	}
	return status == GP_OK ? mail_charset_feed(charset, bytes, out) : status;
}

/* ---- all of them ---- */

/* NOLINTNEXTLINE(misc-no-recursion): see feed_unordered() */
enum gp_status mail_charset_feed(struct mail_charset *charset, struct span bytes, struct gp_buffer *out)
{
	if (bytes.len == 0) {
		return GP_OK;
	}
	switch (charset->kind) {
	case MAIL_CHARSET_GUESS:
	case MAIL_CHARSET_UTF8:
		return feed_utf8(charset, bytes, out);
	case MAIL_CHARSET_WINDOWS_1252:
		return feed_1252(charset, bytes, out);
	case MAIL_CHARSET_UTF16:
	case MAIL_CHARSET_UTF32:
		return feed_unordered(charset, bytes, out);
	case MAIL_CHARSET_ISO_2022_JP:
		return mail_charset_feed_iso_2022_jp(charset, bytes, out);
	case MAIL_CHARSET_UTF7:
		return mail_charset_feed_utf7(charset, bytes, out);
	case MAIL_CHARSET_ICONV:
		return feed_iconv(charset, bytes, out);
	}
	return GP_INVALID;
}

enum gp_status mail_charset_finish(struct mail_charset *charset, struct gp_buffer *out)
{
	enum gp_status status = charset->is_open ? flush_iconv(charset, out) : GP_OK;

	if (status != GP_OK) {
		return status;
	}
	if (charset->kind == MAIL_CHARSET_GUESS && charset->carry_len > 0) {
		charset->has_problem = true;
		status = feed_1252(charset, span_make((const char *)charset->carry, charset->carry_len), out);
	} else if (charset->kind == MAIL_CHARSET_UTF7) {
		status = mail_charset_finish_utf7(charset, out);
	} else if (charset->carry_len > 0 || charset->jis_lead || charset->jis_escape) {
		status = mail_charset_put_bad(charset, out);
	}
	charset->carry_len = 0;
	charset->jis_lead = charset->jis_escape = 0;
	return status;
}

enum gp_status mail_charset_convert(struct span name, struct span bytes, struct gp_buffer *out, bool *problem_out)
{
	struct mail_charset charset;
	enum gp_status status = mail_charset_init(&charset, name);

	if (status == GP_OK) {
		status = mail_charset_feed(&charset, bytes, out);
	}
	if (status == GP_OK) {
		status = mail_charset_finish(&charset, out);
	}
	if (problem_out && charset.has_problem) {
		*problem_out = true;
	}
	mail_charset_deinit(&charset);
	return status;
}
