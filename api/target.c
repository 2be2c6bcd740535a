#include "api/target.h"

#include <stdio.h>

#include "api/query.h"
#include "base/utf8.h"

static int hex_value(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	if (c >= 'A' && c <= 'F') {
		return c - 'A' + 10;
	}
	return -1;
}

/* Decodes one piece. `what` is it for people: "path segment", "value of 'limit':". */
static enum gp_status decode(struct span raw, bool plus_is_space, const char *what, struct gp_arena *arena,
			     struct span *text_out, struct gp_error *error)
{
	char *text = gp_arena_alloc(arena, raw.len + 1);
	size_t len = 0;

	if (!text) {
		return gp_error_set(error, GP_NO_MEMORY, "%s", gp_status_text(GP_NO_MEMORY));
	}
	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.ptr[i];
		if (c == '+' && plus_is_space) {
			c = ' ';
		} else if (c == '%') {
			int high = i + 2 < raw.len ? hex_value(raw.ptr[i + 1]) : -1;
			int low = i + 2 < raw.len ? hex_value(raw.ptr[i + 2]) : -1;
			if (high < 0 || low < 0) {
				return gp_error_set(
					error, GP_INVALID,
					"bad percent-encoding at '%s' in the %s '%s': '%%' must be followed "
					"by two hexadecimal digits",
					api_excerpt(span_slice(raw, i, 3)).text, what, api_excerpt(raw).text);
			}
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (c == '\0') {
			return gp_error_set(error, GP_INVALID, "the %s '%s' holds a NUL", what, api_excerpt(raw).text);
		}
		text[len++] = c;
	}
	if (!utf8_is_valid(span_make(text, len))) {
		return gp_error_set(error, GP_INVALID, "the %s '%s' is not UTF-8 when decoded", what,
				    api_excerpt(raw).text);
	}
	*text_out = span_make(text, len);
	return GP_OK;
}

/* Cuts `*rest` before the first `separator`; the piece is returned, and `*rest` is what
 * stands behind it, NIL when there was none. */
static struct span cut(struct span *rest, char separator)
{
	ptrdiff_t at = span_find_char(*rest, separator);
	struct span piece = *rest;

	if (at < 0) {
		*rest = SPAN_NIL;
	} else {
		piece.len = (size_t)at;
		*rest = span_from(*rest, (size_t)at + 1);
	}
	return piece;
}

static enum gp_status parse_path(struct span path, struct gp_arena *arena, struct api_target *target,
				 struct gp_error *error)
{
	struct span rest = span_from(path, 1);

	if (rest.len == 0) {
		return GP_OK;
	}
	while (!span_is_nil(rest)) {
		struct span raw = cut(&rest, '/');
		if (span_is_nil(rest) && raw.len == 0) {
			target->has_trailing_slash = true;
			break;
		}
		if (target->n_segments == API_MAX_SEGMENTS) {
			return gp_error_set(error, GP_LIMIT, "the path has more than %d segments", API_MAX_SEGMENTS);
		}
		struct api_segment *segment = &target->segments[target->n_segments++];
		segment->raw = raw;
		enum gp_status status = decode(raw, false, "path segment", arena, &segment->text, error);
		if (status != GP_OK) {
			return status;
		}
	}
	return GP_OK;
}

static size_t count_pieces(struct span query)
{
	size_t n = 1;

	for (size_t i = 0; i < query.len; i++) {
		n += query.ptr[i] == '&';
	}
	return n;
}

static enum gp_status parse_query(struct span query, struct gp_arena *arena, struct api_target *target,
				  struct gp_error *error)
{
	size_t n = count_pieces(query);

	if (n > GP_MAX_QUERY_PARAMETERS) {
		return gp_error_set(error, GP_LIMIT, "the query has more than %d parameters", GP_MAX_QUERY_PARAMETERS);
	}
	target->params = gp_arena_array(arena, n, sizeof *target->params);
	if (!target->params) {
		return gp_error_set(error, GP_NO_MEMORY, "%s", gp_status_text(GP_NO_MEMORY));
	}
	while (!span_is_nil(query)) {
		struct span value = cut(&query, '&');
		if (value.len == 0) {
			continue;
		}
		struct span name = cut(&value, '=');
		if (span_is_nil(value)) {
			value = span_from(name, name.len);
		}
		struct api_param *param = &target->params[target->n_params++];
		param->raw_value = value;
		enum gp_status status = decode(name, true, "parameter name", arena, &param->name, error);
		if (status == GP_OK) {
			char what[112];
			snprintf(what, sizeof what, "value of the parameter '%s':", api_excerpt(param->name).text);
			status = decode(value, true, what, arena, &param->value, error);
		}
		if (status != GP_OK) {
			return status;
		}
	}
	return GP_OK;
}

/* Where the target holds what RFC 9112 does not allow in it; its length when nowhere. */
static size_t find_bad_byte(struct span target)
{
	size_t i = 0;

	while (i < target.len && target.ptr[i] > 0x20 && target.ptr[i] < 0x7F && target.ptr[i] != '#') {
		i++;
	}
	return i;
}

enum gp_status api_target_parse(struct span target, struct gp_arena *arena, struct api_target *target_out,
				struct gp_error *error)
{
	struct api_target parsed = {0};

	if (target.len > GP_MAX_TARGET) {
		return gp_error_set(error, GP_LIMIT, "the request target is longer than %zu bytes", GP_MAX_TARGET);
	}
	if (target.len == 0 || target.ptr[0] != '/') {
		return gp_error_set(error, GP_INVALID, "the request target '%s' does not begin with '/'",
				    api_excerpt(target).text);
	}
	size_t bad = find_bad_byte(target);
	if (bad < target.len) {
		return gp_error_set(error, GP_INVALID,
				    "byte 0x%02X at offset %zu of the request target must be percent-encoded",
				    (unsigned)(unsigned char)target.ptr[bad], bad);
	}

	struct span query = target;
	struct span path = cut(&query, '?');
	enum gp_status status = parse_path(path, arena, &parsed, error);
	if (status == GP_OK && !span_is_nil(query)) {
		status = parse_query(query, arena, &parsed, error);
	}
	if (status == GP_OK) {
		*target_out = parsed;
	}
	return status;
}

static bool is_plain(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-_.!~$", c) != NULL);
}

char *api_percent_encode(struct gp_arena *arena, struct span utf8)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t len = 0;

	for (size_t i = 0; i < utf8.len; i++) {
		len += is_plain(utf8.ptr[i]) ? 1 : 3;
	}
	char *text = gp_arena_alloc(arena, len + 1);
	if (!text) {
		return NULL;
	}
	char *out = text;
	for (size_t i = 0; i < utf8.len; i++) {
		unsigned char byte = (unsigned char)utf8.ptr[i];
		if (is_plain(utf8.ptr[i])) {
			*out++ = utf8.ptr[i];
		} else {
			*out++ = '%';
			*out++ = digits[byte >> 4];
			*out++ = digits[byte & 15];
		}
	}
	return text;
}
