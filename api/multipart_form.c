#include "api/multipart_form.h"

#include <stdlib.h>

#include "api/query.h"
#include "base/limits.h"
#include "base/utf8.h"

/* The input is worked through in slices: what is held is one of them and a rest. */
#define SLICE (16 * GP_KIB)

enum form_state {
	FORM_PREAMBLE,  /* up to the first boundary; nothing is told of it */
	FORM_DELIMITER, /* behind a boundary: another part, or the end */
	FORM_HEADER,    /* of a part */
	FORM_DATA,
	FORM_EPILOGUE, /* behind the last boundary: passed over */
};

struct api_form {
	const struct api_form_events *events; /* borrow */
	void *ctx;                            /* borrow */
	enum form_state state;
	unsigned n_parts;
	struct gp_buffer held; /* own: what has come and is not dealt with */
	struct gp_arena arena; /* own: of one part's header */
	size_t delimiter_len;
	char delimiter[4 + API_MAX_BOUNDARY]; /* CR LF "--" boundary */
};

static enum gp_status bad(struct gp_error *error, const char *text)
{
	return gp_error_set(error, GP_INVALID, "the form is malformed: %s", text);
}

/* ---- parameters of header fields ---- */

struct form_param {
	struct span name, value; /* value: between the quotes, or a token */
	bool is_quoted;
};

static bool is_token_char(char c)
{
	return c > 0x20 && c < 0x7F && !strchr("()<>@,;:\\\"/[]?={}", c);
}

/* Takes "; name=value" off `rest`. False at its end, with `*is_bad_out` when that is no end. */
static bool take_param(struct span *rest, struct form_param *param, bool *is_bad_out)
{
	struct span text = span_trim(*rest);

	while (text.len > 0 && text.ptr[0] == ';') {
		text = span_trim(span_from(text, 1));
		*rest = text;
	}
	*is_bad_out = text.len > 0;
	size_t len = 0;
	while (len < text.len && is_token_char(text.ptr[len])) {
		len++;
	}
	param->name = span_slice(text, 0, len);
	text = span_trim(span_from(text, len));
	if (len == 0 || text.len == 0 || text.ptr[0] != '=') {
		return false;
	}
	text = span_trim(span_from(text, 1));
	param->is_quoted = text.len > 0 && text.ptr[0] == '"';
	size_t end = param->is_quoted ? 1 : 0;
	while (end < text.len && (param->is_quoted ? text.ptr[end] != '"' : text.ptr[end] != ';')) {
		end += param->is_quoted && text.ptr[end] == '\\' && end + 1 < text.len && text.ptr[end + 1] == '"' ? 2
														   : 1;
	}
	if (param->is_quoted && end >= text.len) {
		return false;
	}
	param->value = param->is_quoted ? span_slice(text, 1, end - 1) : span_trim(span_slice(text, 0, end));
	text = span_trim(span_from(text, end + (param->is_quoted ? 1 : 0)));
	if (text.len > 0 && text.ptr[0] != ';') {
		return false;
	}
	*rest = text;
	*is_bad_out = false;
	return true;
}

/* The value before the first ";". */
static struct span take_value(struct span *rest)
{
	ptrdiff_t semicolon = span_find_char(*rest, ';');
	struct span value = span_trim(semicolon < 0 ? *rest : span_slice(*rest, 0, (size_t)semicolon));

	*rest = semicolon < 0 ? SPAN_NIL : span_from(*rest, (size_t)semicolon);
	return value;
}

static bool is_boundary_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c != '\0' && strchr("'()+_,-./:=? ", c));
}

bool api_form_boundary(struct span content_type, struct span *boundary_out)
{
	struct form_param param;
	struct span found = SPAN_NIL;
	bool is_bad;

	if (!span_equal_text_nocase(take_value(&content_type), "multipart/form-data")) {
		return false;
	}
	while (take_param(&content_type, &param, &is_bad)) {
		if (span_equal_text_nocase(param.name, "boundary")) {
			if (!span_is_nil(found)) {
				return false;
			}
			found = param.value;
		}
	}
	if (is_bad || found.len == 0 || found.len > API_MAX_BOUNDARY || found.ptr[found.len - 1] == ' ') {
		return false;
	}
	for (size_t i = 0; i < found.len; i++) {
		if (!is_boundary_char(found.ptr[i])) {
			return false;
		}
	}
	*boundary_out = found;
	return true;
}

/* ---- one part's header ---- */

static int hex_value(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* The byte that "%XX" at `at` stands for, or -1. */
static int percent_value(struct span text, size_t at)
{
	if (text.ptr[at] != '%' || text.len - at < 3) {
		return -1;
	}
	int high = hex_value(text.ptr[at + 1]), low = hex_value(text.ptr[at + 2]);
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* What browsers and curl put between quotes: %22, %0D and %0A, and nothing else of the
 * kind, stand for what they encode; a backslash only before a quote or another one. */
static struct span unquote(struct gp_arena *arena, struct span quoted)
{
	char *text = gp_arena_alloc(arena, quoted.len + 1);
	size_t len = 0;

	if (!text) {
		return SPAN_NIL;
	}
	for (size_t i = 0; i < quoted.len; i++) {
		int byte = percent_value(quoted, i);
		char next = i + 1 < quoted.len ? quoted.ptr[i + 1] : '\0';
		if (byte == '"' || byte == '\r' || byte == '\n') {
			text[len++] = (char)byte;
			i += 2;
		} else if (quoted.ptr[i] == '\\' && (next == '"' || next == '\\')) {
			text[len++] = next;
			i++;
		} else {
			text[len++] = quoted.ptr[i];
		}
	}
	return span_make(text, len);
}

/* "UTF-8'en'%e2%82%ac": NIL when it is something else. */
static struct span decode_extended(struct gp_arena *arena, struct span value)
{
	ptrdiff_t first = span_find_char(value, '\'');
	ptrdiff_t second = first < 0 ? -1 : span_find_char(span_from(value, (size_t)first + 1), '\'');

	if (second < 0 || !span_equal_text_nocase(span_slice(value, 0, (size_t)first), "utf-8")) {
		return SPAN_NIL;
	}
	struct span encoded = span_from(value, (size_t)first + (size_t)second + 2);
	char *text = gp_arena_alloc(arena, encoded.len + 1);
	size_t len = 0;
	for (size_t i = 0; text && i < encoded.len; i++) {
		int byte = percent_value(encoded, i);
		if (byte < 0 && encoded.ptr[i] == '%') {
			return SPAN_NIL;
		}
		text[len++] = byte < 0 ? encoded.ptr[i] : (char)byte;
		i += byte < 0 ? 0 : 2;
	}
	return text ? span_make(text, len) : SPAN_NIL;
}

static bool is_name(struct span text)
{
	return text.len <= API_MAX_FORM_NAME && utf8_is_valid(text);
}

static enum gp_status read_disposition(struct api_form *form, struct span value, struct api_form_part *part,
				       struct gp_error *error)
{
	struct form_param param;
	bool is_bad, has_extended = false;

	if (!span_is_nil(part->name)) {
		return bad(error, "a part has two fields Content-Disposition");
	}
	if (!span_equal_text_nocase(take_value(&value), "form-data")) {
		return bad(error, "a part's Content-Disposition is not form-data");
	}
	while (take_param(&value, &param, &is_bad)) {
		bool is_extended = span_equal_text_nocase(param.name, "filename*");
		bool is_filename = is_extended || span_equal_text_nocase(param.name, "filename");
		struct span text =
			is_extended ? decode_extended(&form->arena, param.value) : unquote(&form->arena, param.value);
		if (!span_equal_text_nocase(param.name, "name") && !is_filename) {
			continue;
		}
		if (span_is_nil(text) && form->arena.is_short) {
			return gp_error_set(error, GP_NO_MEMORY, "%s", gp_status_text(GP_NO_MEMORY));
		}
		if (span_is_nil(text) || !is_name(text)) {
			return bad(error, "a name is too long or not UTF-8");
		}
		if (is_filename && (is_extended || !has_extended)) {
			part->filename = text;
			part->has_filename = true;
			has_extended |= is_extended;
		} else if (!is_filename) {
			part->name = text;
		}
	}
	if (is_bad) {
		return bad(error, "a part's Content-Disposition cannot be read");
	}
	return span_is_nil(part->name) ? bad(error, "a part has no name") : GP_OK;
}

static enum gp_status read_field(struct api_form *form, struct span line, struct api_form_part *part,
				 struct gp_error *error)
{
	ptrdiff_t colon = span_find_char(line, ':');
	struct span name = colon < 0 ? line : span_slice(line, 0, (size_t)colon);
	struct span value = colon < 0 ? SPAN_NIL : span_trim(span_from(line, (size_t)colon + 1));

	for (size_t i = 0; i < name.len; i++) {
		if (!is_token_char(name.ptr[i])) {
			colon = -1; /* a folded line, too: nobody makes them */
		}
	}
	if (colon <= 0 || (line.len > 0 && memchr(line.ptr, '\0', line.len))) {
		return bad(error, "a line of a part's header is no field");
	}
	if (span_equal_text_nocase(name, "Content-Disposition")) {
		return read_disposition(form, value, part, error);
	}
	if (span_equal_text_nocase(name, "Content-Type")) {
		part->type = value;
	} else if (span_equal_text_nocase(name, "Content-Transfer-Encoding") &&
		   !span_equal_text_nocase(value, "binary") && !span_equal_text_nocase(value, "8bit") &&
		   !span_equal_text_nocase(value, "7bit")) {
		return bad(error, "a part has a Content-Transfer-Encoding, which forms do not have (RFC 7578)");
	}
	return GP_OK;
}

/* `header` is whole, each line with its CRLF. */
static enum gp_status begin_part(struct api_form *form, struct span header, struct gp_error *error)
{
	struct api_form_part part = {.name = SPAN_NIL};

	gp_arena_reset(&form->arena);
	while (header.len > 0) {
		ptrdiff_t end = span_find(header, SPAN_LIT("\r\n"));
		enum gp_status status = read_field(form, span_slice(header, 0, (size_t)end), &part, error);
		if (status != GP_OK) {
			return status;
		}
		header = span_from(header, (size_t)end + 2);
	}
	if (span_is_nil(part.name)) {
		return bad(error, "a part has no Content-Disposition");
	}
	if (++form->n_parts > API_MAX_FORM_PARTS) {
		return gp_error_set(error, GP_INVALID, "the form has more than %d parts", API_MAX_FORM_PARTS);
	}
	return form->events->part(form->ctx, &part, error);
}

/* ---- the stream ---- */

/* Data up to the next boundary. `*is_stuck_out`: more must come first. */
static enum gp_status step_data(struct api_form *form, bool *is_stuck_out, struct gp_error *error)
{
	struct span held = gp_buffer_span(&form->held);
	ptrdiff_t at = span_find(held, span_make(form->delimiter, form->delimiter_len));
	bool is_part = form->state == FORM_DATA;
	size_t len = 0;

	if (at >= 0) {
		len = (size_t)at;
	} else if (held.len >= form->delimiter_len) {
		len = held.len - (form->delimiter_len - 1); /* the rest may begin a boundary */
	}
	enum gp_status status =
		is_part && len > 0 ? form->events->data(form->ctx, span_slice(held, 0, len), error) : GP_OK;
	if (status == GP_OK && at >= 0) {
		len += form->delimiter_len;
		form->state = FORM_DELIMITER;
		status = is_part ? form->events->part_end(form->ctx, error) : GP_OK;
	}
	gp_buffer_consume(&form->held, len);
	*is_stuck_out = at < 0;
	return status;
}

/* Behind a boundary: "--" ends the form; blanks and a line end begin a part. */
static enum gp_status step_delimiter(struct api_form *form, bool *is_stuck_out, struct gp_error *error)
{
	struct span held = gp_buffer_span(&form->held);
	size_t n_blanks = 0;

	if (span_starts_with(held, "--")) {
		form->state = FORM_EPILOGUE;
		return GP_OK;
	}
	while (n_blanks < held.len && (held.ptr[n_blanks] == ' ' || held.ptr[n_blanks] == '\t')) {
		n_blanks++;
	}
	struct span rest = span_from(held, n_blanks);
	if (span_starts_with(rest, "\r\n")) {
		gp_buffer_consume(&form->held, n_blanks + 2);
		form->state = FORM_HEADER;
		return GP_OK;
	}
	bool may_come =
		rest.len == 0 || (rest.len == 1 && (rest.ptr[0] == '\r' || (n_blanks == 0 && rest.ptr[0] == '-')));
	if (!may_come || n_blanks > API_MAX_FORM_HEADER) {
		return bad(error, "there is something behind a boundary");
	}
	*is_stuck_out = true;
	return GP_OK;
}

static enum gp_status step_header(struct api_form *form, bool *is_stuck_out, struct gp_error *error)
{
	struct span held = gp_buffer_span(&form->held);
	/* A part without any field begins with the empty line. */
	ptrdiff_t end = span_starts_with(held, "\r\n") ? 0 : span_find(held, SPAN_LIT("\r\n\r\n"));
	size_t len = end <= 0 ? 0 : (size_t)end + 2;

	if (end < 0 ? held.len > API_MAX_FORM_HEADER : len > API_MAX_FORM_HEADER) {
		return bad(error, "the header of a part is too long");
	}
	*is_stuck_out = end < 0;
	if (end < 0) {
		return GP_OK;
	}
	enum gp_status status = begin_part(form, span_slice(held, 0, len), error);
	gp_buffer_consume(&form->held, len + 2);
	form->state = FORM_DATA;
	return status;
}

static enum gp_status step(struct api_form *form, bool *is_stuck_out, struct gp_error *error)
{
	switch (form->state) {
	case FORM_PREAMBLE:
	case FORM_DATA:
		return step_data(form, is_stuck_out, error);
	case FORM_DELIMITER:
		return step_delimiter(form, is_stuck_out, error);
	case FORM_HEADER:
		return step_header(form, is_stuck_out, error);
	case FORM_EPILOGUE:
		gp_buffer_truncate(&form->held, 0);
		*is_stuck_out = true;
		return GP_OK;
	}
	return GP_OK;
}

enum gp_status api_form_feed(struct api_form *form, struct span bytes, struct gp_error *error)
{
	while (bytes.len > 0) {
		struct span slice = span_slice(bytes, 0, SLICE);
		enum gp_status status = gp_buffer_append(&form->held, slice);
		bool is_stuck = false;
		if (status != GP_OK) {
			return gp_error_set(error, status, "%s", gp_status_text(status));
		}
		while (!is_stuck) {
			status = step(form, &is_stuck, error);
			if (status != GP_OK) {
				return status;
			}
		}
		bytes = span_from(bytes, slice.len);
	}
	return GP_OK;
}

enum gp_status api_form_finish(struct api_form *form, struct gp_error *error)
{
	return form->state == FORM_EPILOGUE ? GP_OK : bad(error, "the last boundary is missing");
}

struct api_form *api_form_new(struct span boundary, const struct api_form_events *events, void *ctx)
{
	struct api_form *form = calloc(1, sizeof *form);

	if (!form) {
		return NULL;
	}
	form->events = events;
	form->ctx = ctx;
	memcpy(form->delimiter, "\r\n--", 4);
	memcpy(form->delimiter + 4, boundary.ptr, boundary.len);
	form->delimiter_len = 4 + boundary.len;
	gp_arena_init(&form->arena, 4 * API_MAX_FORM_HEADER);
	gp_buffer_init(&form->held, SLICE + 2 * API_MAX_FORM_HEADER);
	/* The first boundary stands at the very beginning: as if behind a line end. */
	if (gp_buffer_append(&form->held, SPAN_LIT("\r\n")) != GP_OK) {
		api_form_free(&form);
	}
	return form;
}

void api_form_free(struct api_form **form)
{
	if (*form) {
		gp_buffer_deinit(&(*form)->held);
		gp_arena_deinit(&(*form)->arena);
		free(*form);
		*form = NULL;
	}
}
