#include "api/base64url.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

enum gp_status api_base64url_write(struct span bytes, struct gp_buffer *out)
{
	enum gp_status status = GP_OK;
	uint32_t bits = 0;
	unsigned n_bits = 0;

	for (size_t i = 0; i < bytes.len && status == GP_OK; i++) {
		bits = bits << 8 | (unsigned char)bytes.ptr[i];
		for (n_bits += 8; n_bits >= 6 && status == GP_OK; n_bits -= 6) {
			status = gp_buffer_append_char(out, digits[bits >> (n_bits - 6) & 63]);
		}
	}
	if (n_bits > 0 && status == GP_OK) {
		status = gp_buffer_append_char(out, digits[bits << (6 - n_bits) & 63]);
	}
	return status;
}

static bool read_digit(char c, uint32_t *value_out)
{
	const char *at = c == '\0' ? NULL : strchr(digits, c);

	if (at) {
		*value_out = (uint32_t)(at - digits);
	}
	return at != NULL;
}

enum gp_status api_base64url_read(struct span text, struct gp_buffer *out)
{
	enum gp_status status = GP_OK;
	uint32_t bits = 0, value = 0;
	unsigned n_bits = 0;

	for (size_t i = 0; i < text.len && status == GP_OK; i++) {
		if (!read_digit(text.ptr[i], &value)) {
			return GP_INVALID;
		}
		bits = bits << 6 | value;
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			status = gp_buffer_append_char(out, (char)(bits >> n_bits & 255));
		}
	}
	/* a single digit left is no byte, and what is left of the last one is 0 */
	if (status == GP_OK && (n_bits == 6 || (bits & ((1u << n_bits) - 1)) != 0)) {
		status = GP_INVALID;
	}
	return status;
}
