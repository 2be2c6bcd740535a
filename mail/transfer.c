#include "mail/transfer.h"

enum uu_state {
	UU_BEFORE, /* no "begin" yet */
	UU_INSIDE,
	UU_AFTER,
};

/* ---- base64 ---- */

#define B64_PAD 0x40
#define B64_BLANK 0x80
#define B64_JUNK 0xC0
#define B64_NO_DATA 0xC0 /* any of these bits: not a sextet */

#define J4 B64_JUNK, B64_JUNK, B64_JUNK, B64_JUNK
#define J16 J4, J4, J4, J4
static const unsigned char sextets[256] = {
	/* 00 */ J4,
	J4,
	B64_JUNK,
	B64_BLANK,
	B64_BLANK,
	B64_BLANK,
	B64_BLANK,
	B64_BLANK,
	B64_JUNK,
	B64_JUNK,
	/* 10 */ J16,
	/* 20 */ B64_BLANK,
	B64_JUNK,
	B64_JUNK,
	B64_JUNK,
	J4,
	B64_JUNK,
	B64_JUNK,
	B64_JUNK,
	62,
	B64_JUNK,
	B64_JUNK,
	B64_JUNK,
	63,
	/* 30 */ 52,
	53,
	54,
	55,
	56,
	57,
	58,
	59,
	60,
	61,
	B64_JUNK,
	B64_JUNK,
	B64_JUNK,
	B64_PAD,
	B64_JUNK,
	B64_JUNK,
	/* 40 */ B64_JUNK,
	0,
	1,
	2,
	3,
	4,
	5,
	6,
	7,
	8,
	9,
	10,
	11,
	12,
	13,
	14,
	/* 50 */ 15,
	16,
	17,
	18,
	19,
	20,
	21,
	22,
	23,
	24,
	25,
	B64_JUNK,
	J4,
	/* 60 */ B64_JUNK,
	26,
	27,
	28,
	29,
	30,
	31,
	32,
	33,
	34,
	35,
	36,
	37,
	38,
	39,
	40,
	/* 70 */ 41,
	42,
	43,
	44,
	45,
	46,
	47,
	48,
	49,
	50,
	51,
	B64_JUNK,
	J4,
	/* 80 */ J16,
	J16,
	J16,
	J16,
	J16,
	J16,
	J16,
	J16,
};

/* The end of a run: padding, or the end of the input. */
static size_t base64_close(struct mail_transfer *t, char *out)
{
	size_t len = 0;

	if (t->n_sextets == 1) {
		t->has_problem = true;
	} else if (t->n_sextets == 2) {
		out[len++] = (char)(t->quantum >> 4);
	} else if (t->n_sextets == 3) {
		out[len++] = (char)(t->quantum >> 10);
		out[len++] = (char)(t->quantum >> 2);
	}
	t->n_sextets = 0;
	t->quantum = 0;
	return len;
}

static size_t base64_step(struct mail_transfer *t, struct span bytes, char *out)
{
	const unsigned char *p = (const unsigned char *)bytes.ptr;
	const unsigned char *end = p + bytes.len;
	char *to = out;

	while (p < end) {
		while (t->n_sextets == 0 && end - p >= 4) {
			uint32_t a = sextets[p[0]], b = sextets[p[1]], c = sextets[p[2]], d = sextets[p[3]];
			if ((a | b | c | d) & B64_NO_DATA) {
				break;
			}
			uint32_t group = a << 18 | b << 12 | c << 6 | d;
			to[0] = (char)(group >> 16);
			to[1] = (char)(group >> 8);
			to[2] = (char)group;
			to += 3;
			p += 4;
		}
		/* Up to where groups of four begin again. */
		do {
			unsigned char value = p < end ? sextets[*p++] : B64_BLANK;
			if (value == B64_PAD) {
				to += base64_close(t, to);
			} else if (value == B64_JUNK) {
				t->has_problem = true;
			} else if (value != B64_BLANK) {
				t->quantum = t->quantum << 6 | value;
				if (++t->n_sextets == 4) {
					to[0] = (char)(t->quantum >> 16);
					to[1] = (char)(t->quantum >> 8);
					to[2] = (char)t->quantum;
					to += 3;
					t->n_sextets = 0;
					t->quantum = 0;
				}
			}
		} while (p < end && (t->n_sextets != 0 || (sextets[*p] & B64_NO_DATA)));
	}
	return (size_t)(to - out);
}

/* ---- quoted-printable ---- */

int mail_hex_value(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum qp_verdict { QP_MORE, QP_DROP, QP_BYTE, QP_LITERAL };

/* What the held bytes, "=" first, are. Blanks between "=" and the line's end are
 * padding from transport (RFC 2045 section 6.7, rule 3). */
static enum qp_verdict qp_judge(const struct mail_transfer *t)
{
	char last = (char)t->hold[t->hold_len - 1];

	if (last == '\n') {
		return QP_DROP;
	}
	if (t->hold_len == MAIL_TRANSFER_HOLD) {
		return QP_LITERAL;
	}
	if (t->hold_len == 2 && mail_hex_value(last) >= 0) {
		return QP_MORE;
	}
	if (t->hold_len == 3 && mail_hex_value((char)t->hold[1]) >= 0) {
		return mail_hex_value(last) >= 0 ? QP_BYTE : QP_LITERAL;
	}
	if (t->hold_len > 2 && t->hold[t->hold_len - 2] == '\r') {
		return QP_LITERAL;
	}
	return last == ' ' || last == '\t' || last == '\r' ? QP_MORE : QP_LITERAL;
}

static size_t qp_step(struct mail_transfer *t, struct span bytes, char *out)
{
	char *to = out;

	while (bytes.len > 0) {
		if (t->hold_len == 0) {
			ptrdiff_t at = span_find_char(bytes, '=');
			size_t plain = at < 0 ? bytes.len : (size_t)at;
			memcpy(to, bytes.ptr, plain);
			to += plain;
			bytes = span_from(bytes, plain);
			if (bytes.len > 0) {
				t->hold[t->hold_len++] = '=';
				bytes = span_from(bytes, 1);
			}
			continue;
		}
		t->hold[t->hold_len++] = (unsigned char)bytes.ptr[0];
		enum qp_verdict verdict = qp_judge(t);
		if (verdict == QP_LITERAL) {
			/* The last byte is looked at anew: it may be another "=". */
			t->hold_len--;
			memcpy(to, t->hold, t->hold_len);
			to += t->hold_len;
			t->has_problem = true;
			t->hold_len = 0;
			continue;
		}
		bytes = span_from(bytes, 1);
		if (verdict == QP_BYTE) {
			*to++ = (char)((unsigned)mail_hex_value((char)t->hold[1]) << 4 |
				       (unsigned)mail_hex_value((char)t->hold[2]));
		}
		if (verdict != QP_MORE) {
			t->hold_len = 0;
		}
	}
	return (size_t)(to - out);
}

static size_t qp_finish(struct mail_transfer *t, char *out)
{
	size_t len = t->hold_len;

	t->hold_len = 0;
	/* "=" and blanks at the very end: a soft line break that lost its line end. */
	if (len < 2 || mail_hex_value((char)t->hold[1]) < 0) {
		return 0;
	}
	t->has_problem = true;
	memcpy(out, t->hold, len);
	return len;
}

/* ---- uuencode ---- */

static bool uu_is_begin(struct span line)
{
	if (!span_starts_with(line, "begin ") || line.len < 9) {
		return false;
	}
	for (size_t i = 6; i < 9; i++) {
		if (line.ptr[i] < '0' || line.ptr[i] > '7') {
			return false;
		}
	}
	return true;
}

/* The characters that `n` bytes need. */
static size_t uu_len(size_t n)
{
	return (n + 2) / 3 * 4;
}

static size_t uu_line(struct mail_transfer *t, struct span line, char *out)
{
	size_t n = line.len > 0 ? ((unsigned char)line.ptr[0] - 32u) & 63 : 0;

	if (line.len > 0 && (line.ptr[0] < 32 || line.ptr[0] > 96)) {
		t->has_problem = true;
		return 0;
	}
	/* Blanks at the end are zeros that transport may have taken off; more than a
	 * group missing is damage. Never more bytes than characters: two bytes of input
	 * must not become 45. */
	if (line.len > 0 && line.len - 1 + 4 < uu_len(n)) {
		t->has_problem = true;
		n = n < line.len ? n : line.len;
	}
	for (size_t i = 0, at = 1; i < n; i += 3, at += 4) {
		uint32_t group = 0;
		for (size_t j = at; j < at + 4; j++) {
			unsigned char c = j < line.len ? (unsigned char)line.ptr[j] : ' ';
			t->has_problem |= c < 32 || c > 96;
			group = group << 6 | ((c - 32u) & 63);
		}
		for (size_t j = i; j < i + 3 && j < n; j++) {
			out[j] = (char)(group >> (16 - 8 * (j - i)));
		}
	}
	return n;
}

/* A whole line of the input, without its LF. */
static size_t uu_take(struct mail_transfer *t, char *out)
{
	struct span line = span_make((const char *)t->hold, t->hold_len);

	if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
		line.len--;
	}
	t->hold_len = 0;
	if (t->uu != UU_INSIDE) {
		/* Data whose "begin" was lost still looks like nothing else. */
		bool is_data = line.len == 61 && line.ptr[0] == 'M' && t->uu == UU_BEFORE;
		if (!uu_is_begin(line) && !is_data) {
			return 0;
		}
		t->uu = UU_INSIDE;
		t->has_problem |= is_data;
		return is_data ? uu_line(t, line, out) : 0;
	}
	if (span_equal_text(span_trim(line), "end")) {
		t->uu = UU_AFTER;
		return 0;
	}
	return uu_line(t, line, out);
}

static size_t uu_step(struct mail_transfer *t, struct span bytes, char *out)
{
	size_t len = 0;

	for (size_t i = 0; i < bytes.len; i++) {
		if (bytes.ptr[i] == '\n') {
			len += uu_take(t, out + len);
		} else if (t->hold_len < MAIL_TRANSFER_HOLD) {
			t->hold[t->hold_len++] = (unsigned char)bytes.ptr[i];
		}
	}
	return len;
}

static size_t uu_finish(struct mail_transfer *t, char *out)
{
	size_t len = t->hold_len > 0 ? uu_take(t, out) : 0;

	t->has_problem |= t->uu != UU_AFTER;
	return len;
}

/* ---- all of them ---- */

void mail_transfer_init(struct mail_transfer *transfer, enum mail_encoding encoding)
{
	*transfer = (struct mail_transfer){.encoding = encoding, .uu = UU_BEFORE};
}

size_t mail_transfer_step(struct mail_transfer *transfer, struct span bytes, char *out)
{
	if (bytes.len == 0) {
		return 0;
	}
	switch (transfer->encoding) {
	case MAIL_ENCODING_BASE64:
		return base64_step(transfer, bytes, out);
	case MAIL_ENCODING_QUOTED_PRINTABLE:
		return qp_step(transfer, bytes, out);
	case MAIL_ENCODING_UUENCODE:
		return uu_step(transfer, bytes, out);
	case MAIL_ENCODING_IDENTITY:
		break;
	}
	memcpy(out, bytes.ptr, bytes.len);
	return bytes.len;
}

size_t mail_transfer_finish(struct mail_transfer *transfer, char *out)
{
	switch (transfer->encoding) {
	case MAIL_ENCODING_BASE64:
		return base64_close(transfer, out);
	case MAIL_ENCODING_QUOTED_PRINTABLE:
		return qp_finish(transfer, out);
	case MAIL_ENCODING_UUENCODE:
		return uu_finish(transfer, out);
	case MAIL_ENCODING_IDENTITY:
		break;
	}
	return 0;
}
