/*
 * Bodies of text: any line ends become CRLF. Text in ASCII with short lines stands as it
 * is; all else is quoted-printable (RFC 2045 section 6.7).
 */
#include "mail/compose_internal.h"

size_t mail_encode_base64(struct span bytes, char *to)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *from = (const unsigned char *)bytes.ptr;
	char *at = to;
	size_t i = 0;

	for (; i + 3 <= bytes.len; i += 3) {
		uint32_t bits = (uint32_t)from[i] << 16 | (uint32_t)from[i + 1] << 8 | from[i + 2];
		*at++ = digits[bits >> 18];
		*at++ = digits[bits >> 12 & 63];
		*at++ = digits[bits >> 6 & 63];
		*at++ = digits[bits & 63];
	}
	if (i < bytes.len) {
		bool has_two = i + 1 < bytes.len;
		uint32_t bits = (uint32_t)from[i] << 16 | (has_two ? (uint32_t)from[i + 1] << 8 : 0);
		*at++ = digits[bits >> 18];
		*at++ = digits[bits >> 12 & 63];
		*at++ = has_two ? digits[bits >> 6 & 63] : '=';
		*at++ = '=';
	}
	return (size_t)(at - to);
}

/* RFC 5322's advice; the law is 998. */
#define MAX_PLAIN_LINE ((size_t)78)
#define MAX_QP_LINE ((size_t)76)

/* The line at the start of `rest`, without its end: CRLF, LF or CR. `*has_end_out` is
 * false for what stands behind the last one. */
static struct span take_line(struct span *rest, bool *has_end_out)
{
	size_t len = 0;

	while (len < rest->len && rest->ptr[len] != '\n' && rest->ptr[len] != '\r') {
		len++;
	}
	struct span line = span_slice(*rest, 0, len);
	*has_end_out = len < rest->len;
	if (*has_end_out) {
		bool is_pair = rest->ptr[len] == '\r' && len + 1 < rest->len && rest->ptr[len + 1] == '\n';
		len += is_pair ? 2 : 1;
	}
	*rest = span_from(*rest, len);
	return line;
}

static bool is_plain_line(struct span line)
{
	if (line.len > MAX_PLAIN_LINE || span_starts_with(line, "From ")) {
		return false; /* mbox files begin a message with "From " */
	}
	for (size_t i = 0; i < line.len; i++) {
		char c = line.ptr[i];
		if ((c < 0x20 && c != '\t') || c == 0x7F) {
			return false;
		}
	}
	/* Blanks at the end may be lost on the way, or make it format=flowed to some. */
	return line.len == 0 || (line.ptr[line.len - 1] != ' ' && line.ptr[line.len - 1] != '\t');
}

bool mail_text_is_7bit(struct span text)
{
	bool has_end;

	while (text.len > 0) {
		if (!is_plain_line(take_line(&text, &has_end))) {
			return false;
		}
	}
	return true;
}

void mail_write_lines(struct mail_writer *writer, struct span text)
{
	while (text.len > 0) {
		bool has_end;
		mail_write_raw(writer, take_line(&text, &has_end));
		if (has_end) {
			mail_write_crlf(writer);
		}
	}
}

static bool is_literal(struct span line, size_t i)
{
	char c = line.ptr[i];

	if (c == ' ' || c == '\t') {
		return i + 1 < line.len;
	}
	if (i == 0 && (c == '.' || (c == 'F' && span_starts_with(line, "From ")))) {
		return false;
	}
	return c > 0x20 && c < 0x7F && c != '=';
}

/* One line's worth of a longer line at a time, so that memory is asked for in large steps. */
static void write_qp_line(struct mail_writer *writer, struct span line)
{
	static const char digits[] = "0123456789ABCDEF";
	char text[MAX_QP_LINE + 2];
	size_t len = 0;

	for (size_t i = 0; i < line.len; i++) {
		bool is_as_it_is = is_literal(line, i);
		bool is_last = i + 1 == line.len;
		/* room for "=" of a soft line break, but for the last */
		if (len + (is_as_it_is ? 1 : 3) + (is_last ? 0 : 1) > MAX_QP_LINE) {
			text[len++] = '=';
			mail_write_raw(writer, span_make(text, len));
			mail_write_crlf(writer);
			len = 0;
		}
		if (is_as_it_is) {
			text[len++] = line.ptr[i];
		} else {
			unsigned char c = (unsigned char)line.ptr[i];
			text[len++] = '=';
			text[len++] = digits[c >> 4];
			text[len++] = digits[c & 15];
		}
	}
	mail_write_raw(writer, span_make(text, len));
}

void mail_write_quoted_printable(struct mail_writer *writer, struct span text)
{
	while (text.len > 0 && writer->status == GP_OK) {
		bool has_end;
		write_qp_line(writer, take_line(&text, &has_end));
		if (has_end) {
			mail_write_crlf(writer);
		}
	}
}
