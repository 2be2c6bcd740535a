#include "api/base64.h"

/* The value of a digit, or more than 63. */
static inline uint32_t value_of(unsigned char c)
{
#define NONE 64
#define N8 NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE
#define N16 N8, N8
	static const unsigned char values[256] = {
		N16, N16, N8, NONE, NONE, NONE, 62,   NONE, NONE, NONE, 63, /* "+" and "/" */
		52,  53,  54, 55,   56,   57,   58,   59,   60,   61,   NONE, NONE, NONE, NONE, NONE, NONE, NONE, 0,
		1,   2,   3,  4,    5,    6,    7,    8,    9,    10,   11,   12,   13,   14,   15,   16,   17,   18,
		19,  20,  21, 22,   23,   24,   25,   NONE, NONE, NONE, NONE, NONE, NONE, 26,   27,   28,   29,   30,
		31,  32,  33, 34,   35,   36,   37,   38,   39,   40,   41,   42,   43,   44,   45,   46,   47,   48,
		49,  50,  51, NONE, NONE, NONE, NONE, NONE, N16,  N16,  N16,  N16,  N16,  N16,  N16,  N16,
	};
#undef N16
#undef N8
#undef NONE
	return values[c];
}

/* Where the first character is that is none; SIZE_MAX: all are. */
static size_t find_bad(struct span digits)
{
	for (size_t i = 0; i < digits.len; i++) {
		if (value_of((unsigned char)digits.ptr[i]) > 63) {
			return i;
		}
	}
	return SIZE_MAX;
}

static enum gp_status say_what_is_wrong(struct span digits, struct gp_error *error)
{
	size_t at = find_bad(digits);

	if (at == SIZE_MAX) {
		return gp_error_set(error, GP_INVALID, "is not base64: its length is not a multiple of 4");
	}
	char c = digits.ptr[at];
	const char *hint = c == '\n' || c == '\r' ? " is a line break (base64 -w0 makes none)"
			   : c == '-' || c == '_' ? " is of base64url"
			   : c == '='             ? " is '=', which is only at the end"
						  : "";
	return gp_error_set(error, GP_INVALID, "is not base64: character %zu%s", at, hint);
}

/* Whole groups of digits: false when there is another character. */
static bool decode_groups(struct span digits, unsigned char *to)
{
	const unsigned char *from = (const unsigned char *)digits.ptr;
	uint32_t seen = 0;

	for (size_t i = 0; i < digits.len; i += 4) {
		uint32_t a = value_of(from[i]), b = value_of(from[i + 1]), c = value_of(from[i + 2]),
			 d = value_of(from[i + 3]);
		uint32_t bits = a << 18 | b << 12 | c << 6 | d;
		seen |= a | b | c | d;
		*to++ = (unsigned char)(bits >> 16);
		*to++ = (unsigned char)(bits >> 8);
		*to++ = (unsigned char)bits;
	}
	return seen < 64;
}

enum gp_status api_base64_decode(struct span text, struct gp_buffer *out, struct gp_error *error)
{
	struct gp_buffer bytes;
	char *room;
	char tail[4];
	unsigned char tail_bytes[3];
	size_t n_padding = 0;

	while (n_padding < 2 && n_padding < text.len && text.ptr[text.len - 1 - n_padding] == '=') {
		n_padding++;
	}
	struct span digits = span_slice(text, 0, text.len - n_padding);
	if (text.len % 4 != 0) {
		return say_what_is_wrong(digits, error);
	}
	struct span groups = span_slice(digits, 0, digits.len / 4 * 4);
	struct span rest = span_from(digits, groups.len);
	size_t n_bytes = groups.len / 4 * 3, n_rest = rest.len == 0 ? 0 : rest.len - 1;

	gp_buffer_init(&bytes, n_bytes + n_rest + 1);
	if (gp_buffer_reserve(&bytes, n_bytes + n_rest, &room) != GP_OK) {
		return gp_error_set(error, GP_NO_MEMORY, "%s", gp_status_text(GP_NO_MEMORY));
	}
	memset(tail, 'A', sizeof tail);
	if (rest.len > 0) {
		memcpy(tail, rest.ptr, rest.len);
	}
	if (!decode_groups(groups, (unsigned char *)room) || !decode_groups(span_make(tail, sizeof tail), tail_bytes)) {
		gp_buffer_deinit(&bytes);
		return say_what_is_wrong(digits, error);
	}
	if (n_rest > 0 && tail_bytes[n_rest] != 0) {
		gp_buffer_deinit(&bytes);
		return gp_error_set(error, GP_INVALID, "is not base64: its last character has bits too many");
	}
	memcpy(room + n_bytes, tail_bytes, n_rest);
	gp_buffer_commit(&bytes, n_bytes + n_rest);
	*out = bytes;
	return GP_OK;
}
