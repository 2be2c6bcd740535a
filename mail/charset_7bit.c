/* The charsets of seven bits and many states: ISO-2022-JP and UTF-7. */
#include "base/utf8.h"
#include "mail/charset_internal.h"

/* What the bytes of ISO-2022-JP mean until the next escape sequence. */
enum jis_set {
	JIS_ASCII,
	JIS_KANA,       /* JIS X 0201, half-width */
	JIS_KANJI,      /* JIS X 0208, with the NEC and IBM rows that senders use */
	JIS_SUPPLEMENT, /* JIS X 0212 */
};

/* ---- ISO-2022-JP ----
 * glibc's own converter knows neither the NEC row (circled digits, "(株)") nor
 * half-width katakana, which Japanese mail is full of. EUC-JP-MS has them, and the
 * two differ only in how a set is selected. */

struct jis_out {
	struct mail_charset *charset; /* borrow */
	struct gp_buffer *out;        /* borrow */
	enum gp_status status;
	size_t len;
	char ascii[256];
};

static void jis_flush(struct jis_out *to)
{
	if (to->len > 0 && to->status == GP_OK) {
		to->status = mail_charset_put_converted(to->charset, span_make(to->ascii, to->len), to->out);
	}
	to->len = 0;
}

static void jis_put_ascii(struct jis_out *to, unsigned char c)
{
	if (to->len == sizeof to->ascii) {
		jis_flush(to);
	}
	to->ascii[to->len++] = (char)c;
}

static void jis_bad(struct jis_out *to)
{
	jis_flush(to);
	if (to->status == GP_OK) {
		to->status = mail_charset_put_bad(to->charset, to->out);
	}
}

/* One character, of two bytes or three. It is converted by itself: iconv, when it finds that
 * there is none such, takes what follows for the rest of it. */
static void jis_put(struct jis_out *to, unsigned prefix, unsigned first, unsigned second)
{
	char euc[] = {(char)prefix, (char)first, (char)second};
	char converted[16];
	char *from = prefix ? euc : euc + 1;
	char *end = converted;
	size_t left = prefix ? 3 : 2;
	size_t room = sizeof converted;

	if (iconv(to->charset->iconv, &from, &left, &end, &room) == (size_t)-1 || left > 0) {
		iconv(to->charset->iconv, NULL, NULL, NULL, NULL);
		jis_bad(to);
		return;
	}
	jis_flush(to);
	if (to->status == GP_OK) {
		to->status =
			mail_charset_put_converted(to->charset, span_make(converted, sizeof converted - room), to->out);
	}
}

static void jis_byte(struct jis_out *to, unsigned char c)
{
	struct mail_charset *charset = to->charset;
	bool is_pair = charset->jis_set >= JIS_KANJI && c > 0x20 && c < 0x7F;

	if (charset->jis_lead && !is_pair) {
		charset->jis_lead = 0;
		jis_bad(to);
	}
	if (is_pair && !charset->jis_lead) {
		charset->jis_lead = c;
	} else if (is_pair) {
		jis_put(to, charset->jis_set == JIS_SUPPLEMENT ? 0x8F : 0, charset->jis_lead | 0x80u, c | 0x80u);
		charset->jis_lead = 0;
	} else if ((c >= 0xA1 && c <= 0xDF) || (charset->jis_set == JIS_KANA && c > 0x20 && c < 0x60)) {
		jis_put(to, 0, 0x8E, c | 0x80u);
	} else if (c >= 0x80) {
		jis_bad(to);
	} else {
		if (c == '\n') {
			charset->jis_set = JIS_ASCII;
		}
		jis_put_ascii(to, c);
	}
}

/* The escape sequences that select a set; 0 is "more bytes are needed", -1 "none". */
static int jis_escape(const unsigned char *p, size_t len, unsigned char *set_out)
{
	static const struct {
		char text[5];
		unsigned char set;
	} escapes[] = {
		{"\x1B(B", JIS_ASCII},       {"\x1B(J", JIS_ASCII},
		{"\x1B(H", JIS_ASCII},       {"\x1B(I", JIS_KANA},
		{"\x1B$@", JIS_KANJI},       {"\x1B$B", JIS_KANJI},
		{"\x1B$(@", JIS_KANJI},      {"\x1B$(B", JIS_KANJI},
		{"\x1B$(D", JIS_SUPPLEMENT}, {"\x1B&@", UINT8_MAX /* announces a revision: nothing changes */},
	};

	for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++) {
		size_t want = strlen(escapes[i].text);
		if (memcmp(p, escapes[i].text, len < want ? len : want) == 0) {
			if (len >= want && escapes[i].set != UINT8_MAX) {
				*set_out = escapes[i].set;
			}
			return len >= want ? 1 : 0;
		}
	}
	return -1;
}

enum gp_status mail_charset_feed_iso_2022_jp(struct mail_charset *charset, struct span bytes, struct gp_buffer *out)
{
	struct jis_out to = {.charset = charset, .out = out, .status = GP_OK};

	for (size_t i = 0; i < bytes.len && to.status == GP_OK; i++) {
		unsigned char c = (unsigned char)bytes.ptr[i];
		if (charset->jis_escape == 0 && c != 0x1B) {
			jis_byte(&to, c);
			continue;
		}
		charset->carry[charset->jis_escape++] = c;
		int found = jis_escape(charset->carry, charset->jis_escape, &charset->jis_set);
		if (found == 0) {
			continue;
		}
		size_t len = charset->jis_escape;
		charset->jis_escape = 0;
		if (found > 0) {
			if (charset->jis_lead) {
				charset->jis_lead = 0;
				jis_bad(&to);
			}
			continue;
		}
		/* No escape sequence: ESC is bad, what followed it is text, and the last
		 * byte may begin the next one. */
		jis_bad(&to);
		for (size_t j = 1; j + 1 < len; j++) {
			jis_byte(&to, charset->carry[j]);
		}
		if (c == 0x1B) {
			charset->carry[0] = c;
			charset->jis_escape = 1;
		} else {
			jis_byte(&to, c);
		}
	}
	jis_flush(&to);
	return to.status;
}

/* ---- UTF-7 (RFC 2152) ----
 * glibc's own converter loses its place on a lone surrogate, and what it then makes
 * of the rest depends on how the input was cut. */

static int utf7_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z') {
		return c - 'A';
	}
	if (c >= 'a' && c <= 'z') {
		return c - 'a' + 26;
	}
	if (c >= '0' && c <= '9') {
		return c - '0' + 52;
	}
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static enum gp_status put_code_point(struct mail_charset *charset, uint32_t c, struct gp_buffer *out)
{
	char encoded[4];

	if (c == 0) {
		return mail_charset_put_bad(charset, out);
	}
	return mail_charset_put_clean(charset, span_make(encoded, utf8_encode(c, encoded)), out);
}

static enum gp_status drop_surrogate(struct mail_charset *charset, struct gp_buffer *out)
{
	if (charset->utf7_high == 0) {
		return GP_OK;
	}
	charset->utf7_high = 0;
	return mail_charset_put_bad(charset, out);
}

static enum gp_status utf7_unit(struct mail_charset *charset, uint32_t unit, struct gp_buffer *out)
{
	if (unit >= 0xDC00 && unit <= 0xDFFF) {
		uint32_t high = charset->utf7_high;
		charset->utf7_high = 0;
		return high ? put_code_point(charset, 0x10000 + ((high & 0x3FF) << 10 | (unit & 0x3FF)), out)
			    : mail_charset_put_bad(charset, out);
	}
	enum gp_status status = drop_surrogate(charset, out);
	if (status == GP_OK && unit >= 0xD800 && unit <= 0xDBFF) {
		charset->utf7_high = (uint16_t)unit;
		return GP_OK;
	}
	return status == GP_OK ? put_code_point(charset, unit, out) : status;
}

/* The end of a base64 run. Bits that are left over must be padding. */
static enum gp_status utf7_unshift(struct mail_charset *charset, struct gp_buffer *out)
{
	bool is_bad = charset->utf7_n_bits >= 6 || charset->utf7_bits != 0;

	charset->utf7_is_shifted = false;
	charset->utf7_n_bits = 0;
	charset->utf7_bits = 0;
	enum gp_status status = drop_surrogate(charset, out);
	return status == GP_OK && is_bad ? mail_charset_put_bad(charset, out) : status;
}

static enum gp_status utf7_byte(struct mail_charset *charset, unsigned char c, struct gp_buffer *out)
{
	enum gp_status status = GP_OK;
	int value = utf7_value(c);

	if (charset->utf7_is_shifted && value >= 0) {
		charset->utf7_is_empty = false;
		charset->utf7_bits = charset->utf7_bits << 6 | (uint32_t)value;
		charset->utf7_n_bits += 6;
		if (charset->utf7_n_bits >= 16) {
			charset->utf7_n_bits -= 16;
			uint32_t unit = charset->utf7_bits >> charset->utf7_n_bits;
			charset->utf7_bits &= (1u << charset->utf7_n_bits) - 1;
			status = utf7_unit(charset, unit, out);
		}
		return status;
	}
	if (charset->utf7_is_shifted) {
		bool was_empty = charset->utf7_is_empty;
		status = utf7_unshift(charset, out);
		if (status != GP_OK || (c == '-' && !was_empty)) {
			return status;
		}
		return put_code_point(charset, c == '-' ? '+' : c < 0x80 ? c : 0, out);
	}
	if (c == '+') {
		charset->utf7_is_shifted = true;
		charset->utf7_is_empty = true;
		return GP_OK;
	}
	return put_code_point(charset, c < 0x80 ? c : 0, out);
}

enum gp_status mail_charset_feed_utf7(struct mail_charset *charset, struct span bytes, struct gp_buffer *out)
{
	enum gp_status status = GP_OK;

	for (size_t i = 0; i < bytes.len && status == GP_OK; i++) {
		status = utf7_byte(charset, (unsigned char)bytes.ptr[i], out);
	}
	return status;
}

enum gp_status mail_charset_finish_utf7(struct mail_charset *charset, struct gp_buffer *out)
{
	return charset->utf7_is_shifted ? utf7_unshift(charset, out) : GP_OK;
}
