#include "base/utf8.h"

size_t utf8_decode(struct span s, uint32_t *code_point_out)
{
	if (s.len == 0) {
		return 0;
	}
	const unsigned char *p = (const unsigned char *)s.ptr;
	unsigned char lead = p[0];
	if (lead < 0x80) {
		*code_point_out = lead;
		return 1;
	}

	size_t len;
	uint32_t value;
	uint32_t least;
	if (lead >= 0xC2 && lead <= 0xDF) {
		len = 2;
		value = lead & 0x1Fu;
		least = 0x80;
	} else if (lead >= 0xE0 && lead <= 0xEF) {
		len = 3;
		value = lead & 0x0Fu;
		least = 0x800;
	} else if (lead >= 0xF0 && lead <= 0xF4) {
		len = 4;
		value = lead & 0x07u;
		least = 0x10000;
	} else {
		return 0;
	}
	if (s.len < len) {
		return 0;
	}
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xC0) != 0x80) {
			return 0;
		}
		value = value << 6 | (p[i] & 0x3Fu);
	}
	if (value < least || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
		return 0;
	}
	*code_point_out = value;
	return len;
}

size_t utf8_encode(uint32_t c, char out[4])
{
	if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
		c = 0xFFFD;
	}
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xC0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xE0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3F));
		out[2] = (char)(0x80 | (c & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3F));
	out[2] = (char)(0x80 | (c >> 6 & 0x3F));
	out[3] = (char)(0x80 | (c & 0x3F));
	return 4;
}

size_t utf8_valid_prefix(struct span s)
{
	size_t at = 0;

	while (at < s.len) {
		uint32_t c;
		if ((unsigned char)s.ptr[at] < 0x80) {
			at++;
			continue;
		}
		size_t len = utf8_decode(span_from(s, at), &c);
		if (len == 0) {
			break;
		}
		at += len;
	}
	return at;
}

bool utf8_is_valid(struct span s)
{
	return utf8_valid_prefix(s) == s.len;
}

size_t utf8_bad_run(struct span s)
{
	const unsigned char *p = (const unsigned char *)s.ptr;
	unsigned char lead = p[0];
	size_t want = lead >= 0xC2 && lead <= 0xDF   ? 2
		      : (lead & 0xF0) == 0xE0        ? 3
		      : lead >= 0xF0 && lead <= 0xF4 ? 4
						     : 1;
	size_t at = 1;

	while (at < want && at < s.len && (p[at] & 0xC0) == 0x80) {
		if (at == 1 && ((lead == 0xE0 && p[1] < 0xA0) || (lead == 0xED && p[1] > 0x9F) ||
				(lead == 0xF0 && p[1] < 0x90) || (lead == 0xF4 && p[1] > 0x8F))) {
			break;
		}
		at++;
	}
	return at;
}

enum gp_status utf8_append_repaired(struct gp_buffer *out, struct span s, bool *repaired)
{
	enum gp_status status = GP_OK;

	while (status == GP_OK && s.len > 0) {
		size_t good = utf8_valid_prefix(s);
		status = gp_buffer_append(out, span_slice(s, 0, good));
		s = span_from(s, good);
		if (status == GP_OK && s.len > 0) {
			status = gp_buffer_append(out, SPAN_LIT("\xEF\xBF\xBD"));
			s = span_from(s, utf8_bad_run(s));
			if (repaired) {
				*repaired = true;
			}
		}
	}
	return status;
}
