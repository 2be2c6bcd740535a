/* mail_decode_param() and mail_decode_filename(): RFC 2231 and what is used in its place. */
#include "base/utf8.h"
#include "mail/charset.h"
#include "mail/header.h"
#include "mail/header_internal.h"
#include "mail/transfer.h"

#define MAX_SECTIONS 1000
#define MAX_VALUE (8 * GP_MIB)
/* The longest name that file systems take. */
#define MAX_FILENAME 255
#define MAX_EXTENSION 16

/* What the name of a parameter says it is. */
enum section_form {
	SECTION_NONE,
	SECTION_PLAIN,    /* name */
	SECTION_EXTENDED, /* name* */
	SECTION_NUMBERED, /* name*0, name*0* */
};

static enum section_form section_of(struct span param, const char *name, size_t *number_out, bool *is_extended_out)
{
	size_t len = strlen(name);
	uint32_t number;

	param = span_trim(param);
	if (!span_starts_with_nocase(param, name) || (param.len > len && param.ptr[len] != '*')) {
		return SECTION_NONE;
	}
	struct span rest = span_from(param, len);
	if (rest.len <= 1) {
		return rest.len == 0 ? SECTION_PLAIN : SECTION_EXTENDED;
	}
	rest = span_from(rest, 1);
	*is_extended_out = rest.ptr[rest.len - 1] == '*';
	if (*is_extended_out) {
		rest.len--;
	}
	if (!span_to_u32(rest, &number) || number >= MAX_SECTIONS) {
		return SECTION_NONE;
	}
	*number_out = number;
	return SECTION_NUMBERED;
}

/* charset'language'value; a value without the quotes is all value. */
static void split_extended(struct span *value, struct span *charset_out)
{
	ptrdiff_t first = span_find_char(*value, '\'');
	ptrdiff_t second = first < 0 ? -1 : span_find_char(span_from(*value, (size_t)first + 1), '\'');

	*charset_out = SPAN_NIL;
	if (second >= 0) {
		*charset_out = span_slice(*value, 0, (size_t)first);
		*value = span_from(*value, (size_t)first + (size_t)second + 2);
	}
}

static enum gp_status append_percent_decoded(struct gp_buffer *out, struct span value)
{
	char *room;
	size_t len = 0;
	enum gp_status status = gp_buffer_reserve(out, value.len, &room);

	if (status != GP_OK) {
		return status;
	}
	for (size_t i = 0; i < value.len; i++) {
		int high = -1;
		int low = -1;
		if (value.ptr[i] == '%' && i + 2 < value.len) {
			high = mail_hex_value(value.ptr[i + 1]);
			low = mail_hex_value(value.ptr[i + 2]);
		}
		if (high >= 0 && low >= 0) {
			room[len++] = (char)(high << 4 | low);
			i += 2;
		} else {
			room[len++] = value.ptr[i];
		}
	}
	gp_buffer_commit(out, len);
	return GP_OK;
}

/* Decoded text in one line: line ends become blanks. */
static enum gp_status put_line(struct span charset, struct span bytes, struct gp_buffer *out)
{
	size_t from = out->len;
	enum gp_status status = mail_charset_convert(charset, bytes, out, NULL);

	for (size_t i = from; i < out->len; i++) {
		if (out->data[i] == '\r' || out->data[i] == '\n') {
			out->data[i] = ' ';
		}
	}
	return status;
}

/* name*0 and what follows it without a gap, joined before the conversion. Where the
 * first is lost, the value begins with the second, as far as it goes. */
static enum gp_status put_numbered(const struct mail_param *params, size_t n_params, const char *name,
				   struct gp_buffer *out)
{
	const struct mail_param *sections[MAX_SECTIONS] = {NULL};
	bool is_extended[MAX_SECTIONS] = {false};
	struct gp_buffer bytes;
	enum gp_status status = GP_OK;
	struct span charset = SPAN_NIL;
	bool any_extended = false;
	size_t budget = MAIL_MAX_RAW;

	for (size_t i = 0; i < n_params; i++) {
		size_t number = 0;
		bool is_this_extended = false;
		if (!span_is_nil(params[i].value) &&
		    section_of(params[i].name, name, &number, &is_this_extended) == SECTION_NUMBERED &&
		    !sections[number]) {
			sections[number] = &params[i];
			is_extended[number] = is_this_extended;
		}
	}
	gp_buffer_init(&bytes, MAX_VALUE);
	size_t first = sections[0] ? 0 : 1;
	for (size_t i = first; status == GP_OK && i < MAX_SECTIONS && sections[i]; i++) {
		struct span value = span_slice(sections[i]->value, 0, budget);
		budget -= value.len;
		if (!is_extended[i]) {
			status = gp_buffer_append(&bytes, value);
			continue;
		}
		if (i == first) {
			split_extended(&value, &charset);
		}
		any_extended = true;
		status = append_percent_decoded(&bytes, value);
	}
	if (status == GP_OK) {
		/* Sections that were only cut, not encoded, may hold encoded words. */
		status = any_extended ? put_line(charset, gp_buffer_span(&bytes), out)
				      : mail_decode_text(gp_buffer_span(&bytes), out, NULL);
	}
	gp_buffer_deinit(&bytes);
	return status;
}

static enum gp_status put_extended(struct span value, struct gp_buffer *out)
{
	struct gp_buffer bytes;
	struct span charset;

	gp_buffer_init(&bytes, MAX_VALUE);
	split_extended(&value, &charset);
	enum gp_status status = append_percent_decoded(&bytes, value);
	if (status == GP_OK) {
		status = put_line(charset, gp_buffer_span(&bytes), out);
	}
	gp_buffer_deinit(&bytes);
	return status;
}

enum gp_status mail_decode_param(const struct mail_param *params, size_t n_params, const char *name,
				 struct gp_buffer *out, bool *found_out)
{
	bool has_first = false, has_second = false; /* sections 0 and 1 */
	const struct mail_param *plain = NULL;
	const struct mail_param *extended = NULL;

	/* Of duplicates the first counts. */
	for (size_t i = 0; i < n_params; i++) {
		size_t number = 0;
		bool is_this_extended = false;
		if (span_is_nil(params[i].value)) {
			continue;
		}
		switch (section_of(params[i].name, name, &number, &is_this_extended)) {
		case SECTION_NONE:
			break;
		case SECTION_PLAIN:
			plain = plain ? plain : &params[i];
			break;
		case SECTION_EXTENDED:
			extended = extended ? extended : &params[i];
			break;
		case SECTION_NUMBERED:
			has_first = has_first || number == 0;
			has_second = has_second || number == 1;
			break;
		}
	}
	bool has_sections = has_first || (has_second && !plain);
	*found_out = extended || plain || has_sections;
	if (extended) {
		return put_extended(mail_raw_capped(extended->value), out);
	}
	if (has_sections) {
		return put_numbered(params, n_params, name, out);
	}
	return plain ? mail_decode_text(plain->value, out, NULL) : GP_OK;
}

/* ---- file names ---- */

/* Control characters, path separators, and the marks that make "exe.txt" of
 * "txt.exe": embeddings, overrides and isolates. */
static bool is_unfit(uint32_t c)
{
	return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == '/' || c == '\\' || c == 0x2028 || c == 0x2029 ||
	       (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

/* `text` (valid UTF-8) without what does not fit a file name, in place. */
static void make_fit(struct gp_buffer *text)
{
	size_t len = 0;

	for (size_t at = 0; at < text->len;) {
		uint32_t c = 0;
		size_t step = utf8_decode(span_from(gp_buffer_span(text), at), &c);
		if (step == 0 || is_unfit(c)) {
			text->data[len++] = '_';
			step = step ? step : 1;
		} else {
			memmove(text->data + len, text->data + at, step);
			len += step;
		}
		at += step;
	}
	gp_buffer_truncate(text, len);
	if (span_equal_text(gp_buffer_span(text), ".") || span_equal_text(gp_buffer_span(text), "..")) {
		memset(text->data, '_', text->len);
	}
}

static size_t cut_at_character(struct span s, size_t len)
{
	while (len > 0 && len < s.len && ((unsigned char)s.ptr[len] & 0xC0) == 0x80) {
		len--;
	}
	return len;
}

/* Too long a name loses its middle; the extension says what it is. */
static enum gp_status append_filename(struct span name, struct gp_buffer *out)
{
	if (name.len <= MAX_FILENAME) {
		return gp_buffer_append(out, name);
	}
	size_t extension = name.len;
	while (extension > name.len - MAX_EXTENSION && name.ptr[extension - 1] != '.') {
		extension--;
	}
	extension = name.ptr[extension - 1] == '.' ? extension - 1 : name.len;
	size_t stem = cut_at_character(name, MAX_FILENAME - (name.len - extension));
	enum gp_status status = gp_buffer_append(out, span_slice(name, 0, stem));
	return status == GP_OK ? gp_buffer_append(out, span_from(name, extension)) : status;
}

enum gp_status mail_decode_filename(const struct mail_param *disposition_params, size_t n_disposition_params,
				    const struct mail_param *type_params, size_t n_type_params, struct gp_buffer *out,
				    bool *found_out)
{
	struct gp_buffer text;
	bool is_found = false;

	gp_buffer_init(&text, MAX_VALUE);
	enum gp_status status =
		mail_decode_param(disposition_params, n_disposition_params, "filename", &text, &is_found);
	if (status == GP_OK && text.len == 0) {
		status = mail_decode_param(type_params, n_type_params, "name", &text, &is_found);
	}
	if (status == GP_OK && text.len > 0) {
		make_fit(&text);
		status = append_filename(span_trim(gp_buffer_span(&text)), out);
	}
	if (status == GP_OK) {
		*found_out = span_trim(gp_buffer_span(&text)).len > 0;
	}
	gp_buffer_deinit(&text);
	return status;
}
