#include "imap/utf7.h"

#include "base/utf8.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/* Bits on their way from UTF-16 to base64. */
struct encoder {
	struct gp_buffer *out; /* borrow */
	uint32_t bits;
	unsigned n_bits;
	bool is_shifted; /* between "&" and "-" */
};

static enum gp_status put_unit(struct encoder *encoder, uint32_t unit)
{
	enum gp_status status = GP_OK;

	encoder->bits = encoder->bits << 16 | unit;
	encoder->n_bits += 16;
	while (encoder->n_bits >= 6 && status == GP_OK) {
		encoder->n_bits -= 6;
		status = gp_buffer_append_char(encoder->out, alphabet[encoder->bits >> encoder->n_bits & 0x3F]);
	}
	encoder->bits &= (1u << encoder->n_bits) - 1;
	return status;
}

static enum gp_status shift_in(struct encoder *encoder)
{
	if (encoder->is_shifted) {
		return GP_OK;
	}
	encoder->is_shifted = true;
	encoder->bits = 0;
	encoder->n_bits = 0;
	return gp_buffer_append_char(encoder->out, '&');
}

static enum gp_status shift_out(struct encoder *encoder)
{
	enum gp_status status = GP_OK;

	if (!encoder->is_shifted) {
		return GP_OK;
	}
	if (encoder->n_bits > 0) {
		status = gp_buffer_append_char(encoder->out, alphabet[encoder->bits << (6 - encoder->n_bits) & 0x3F]);
	}
	encoder->is_shifted = false;
	return status == GP_OK ? gp_buffer_append_char(encoder->out, '-') : status;
}

static enum gp_status put_character(struct encoder *encoder, uint32_t c)
{
	enum gp_status status;

	if (c >= 0x20 && c <= 0x7E) {
		status = shift_out(encoder);
		if (status == GP_OK) {
			status = c == '&' ? gp_buffer_append(encoder->out, SPAN_LIT("&-"))
					  : gp_buffer_append_char(encoder->out, (char)c);
		}
		return status;
	}
	status = shift_in(encoder);
	if (status == GP_OK && c > 0xFFFF) {
		status = put_unit(encoder, 0xD800 + ((c - 0x10000) >> 10));
		c = 0xDC00 + ((c - 0x10000) & 0x3FF);
	}
	return status == GP_OK ? put_unit(encoder, c) : status;
}

enum gp_status imap_utf7_encode(struct span utf8, struct gp_buffer *out)
{
	struct encoder encoder = {.out = out};
	enum gp_status status = GP_OK;
	size_t start = out->len;

	if (!utf8_is_valid(utf8) || span_find_char(utf8, '\0') >= 0) {
		return GP_INVALID;
	}
	while (utf8.len > 0 && status == GP_OK) {
		uint32_t c = 0;
		size_t len = utf8_decode(utf8, &c);
		status = put_character(&encoder, c);
		utf8 = span_from(utf8, len);
	}
	if (status == GP_OK) {
		status = shift_out(&encoder);
	}
	if (status != GP_OK) {
		gp_buffer_truncate(out, start);
	}
	return status;
}

static int value_of(char c)
{
	const char *hit = c ? strchr(alphabet, c) : NULL;

	return hit ? (int)(hit - alphabet) : -1;
}

/* One UTF-16 unit of a run; `*high` holds the first half of a pair between calls. */
static enum gp_status take_unit(uint32_t unit, uint32_t *high, struct gp_buffer *out)
{
	char bytes[4];

	if (unit >= 0xD800 && unit <= 0xDBFF && *high == 0) {
		*high = unit;
		return GP_OK;
	}
	if (unit >= 0xDC00 && unit <= 0xDFFF && *high != 0) {
		unit = 0x10000 + ((*high - 0xD800) << 10) + (unit - 0xDC00);
		*high = 0;
	} else if (*high != 0 || (unit >= 0xD800 && unit <= 0xDFFF)) {
		return GP_INVALID;
	}
	return gp_buffer_append(out, span_make(bytes, utf8_encode(unit, bytes)));
}

/* The inside of "&…-". */
static enum gp_status decode_run(struct span run, struct gp_buffer *out)
{
	uint32_t bits = 0;
	unsigned n_bits = 0;
	uint32_t high = 0;
	enum gp_status status = GP_OK;

	for (size_t i = 0; i < run.len && status == GP_OK; i++) {
		int value = value_of(run.ptr[i]);
		if (value < 0) {
			return GP_INVALID;
		}
		bits = bits << 6 | (uint32_t)value;
		n_bits += 6;
		if (n_bits >= 16) {
			n_bits -= 16;
			status = take_unit(bits >> n_bits & 0xFFFF, &high, out);
			bits &= (1u << n_bits) - 1;
		}
	}
	return status == GP_OK && high != 0 ? GP_INVALID : status;
}

static enum gp_status decode(struct span raw, struct gp_buffer *out)
{
	enum gp_status status = GP_OK;

	while (raw.len > 0 && status == GP_OK) {
		if (raw.ptr[0] != '&') {
			status = gp_buffer_append_char(out, raw.ptr[0]);
			raw = span_from(raw, 1);
			continue;
		}
		ptrdiff_t end = span_find_char(raw, '-');
		if (end < 0) {
			return GP_INVALID;
		}
		status = end == 1 ? gp_buffer_append_char(out, '&')
				  : decode_run(span_slice(raw, 1, (size_t)end - 1), out);
		raw = span_from(raw, (size_t)end + 1);
	}
	return status;
}

/* Many texts decode to one name, and only one of them is what the name would be written
 * as: the others are refused by writing it again. */
enum gp_status imap_utf7_decode(struct span raw, struct gp_buffer *out)
{
	size_t start = out->len;
	struct gp_buffer again;
	enum gp_status status = decode(raw, out);

	gp_buffer_init(&again, raw.len + 1);
	if (status == GP_OK) {
		status = imap_utf7_encode(span_from(gp_buffer_span(out), start), &again);
		if (status == GP_LIMIT || (status == GP_OK && !span_equal(gp_buffer_span(&again), raw))) {
			status = GP_INVALID;
		}
	}
	gp_buffer_deinit(&again);
	if (status != GP_OK) {
		gp_buffer_truncate(out, start);
	}
	return status;
}
