#include "api/body.h"

#include "api/json.h"
#include "api/query.h"
#include "api/reply.h"
#include "base/limits.h"
#include "base/utf8.h"

struct shape {
	size_t depth;    /* at the deepest place */
	size_t n_values; /* all but the outermost, and one more for what is empty */
};

/* Jansson recurses on what it reads, and takes a hundred bytes for a value of two: what is
 * too deep, or too much, must not reach it. Brackets and commas are counted outside strings;
 * whether they match is Jansson's to say. */
static struct shape shape_of(struct span bytes)
{
	struct shape shape = {0};
	size_t depth = 0;
	bool is_in_string = false;

	for (size_t i = 0; i < bytes.len; i++) {
		char c = bytes.ptr[i];
		if (is_in_string) {
			if (c == '\\') {
				i++;
			} else if (c == '"') {
				is_in_string = false;
			}
		} else if (c == '"') {
			is_in_string = true;
		} else if (c == '{' || c == '[') {
			depth++;
			shape.depth = depth > shape.depth ? depth : shape.depth;
			shape.n_values++;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		} else if (c == ',') {
			shape.n_values++;
		}
	}
	return shape;
}

enum gp_status api_body_parse(struct span bytes, json_t **object_out, struct gp_error *error)
{
	json_error_t where;

	if (bytes.len == 0) {
		return gp_error_set(error, GP_INVALID, "the body is empty, but must be a JSON object");
	}
	if (!utf8_is_valid(bytes)) {
		return gp_error_set(error, GP_INVALID, "the body is not UTF-8: byte %zu is not valid",
				    utf8_valid_prefix(bytes));
	}
	struct shape shape = shape_of(bytes);
	if (shape.depth > GP_MAX_JSON_DEPTH) {
		return gp_error_set(error, GP_INVALID, "the JSON body is nested deeper than %d levels",
				    GP_MAX_JSON_DEPTH);
	}
	if (shape.n_values > GP_MAX_JSON_VALUES) {
		return gp_error_set(error, GP_INVALID, "the JSON body has more than %d values", GP_MAX_JSON_VALUES);
	}
	json_t *value = NULL;
	enum gp_status status = api_json_read(bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &value, &where);
	if (status == GP_NO_MEMORY) {
		return gp_error_set(error, GP_NO_MEMORY, "%s", gp_status_text(GP_NO_MEMORY));
	}
	if (status != GP_OK) {
		return gp_error_set(error, GP_INVALID, "the body is not JSON: line %d, column %d: %s", where.line,
				    where.column, api_excerpt(span_of(where.text)).text);
	}
	if (!json_is_object(value)) {
		json_decref(value);
		return gp_error_set(error, GP_INVALID, "the JSON body must be an object");
	}
	*object_out = value;
	return GP_OK;
}

enum gp_status api_body_check_members(const json_t *object, const char *where, const char *const *names, size_t n_names,
				      struct gp_error *error)
{
	/* Jansson's iterators take what they do not change as not const. */
	json_t *mutable_object = (json_t *)(uintptr_t)object;

	for (void *at = json_object_iter(mutable_object); at; at = json_object_iter_next(mutable_object, at)) {
		struct span name = span_make(json_object_iter_key(at), json_object_iter_key_len(at));
		size_t i = 0;
		while (i < n_names && !span_equal_text(name, names[i])) {
			i++;
		}
		if (i == n_names) {
			return gp_error_set(error, GP_INVALID, "%s%sunknown member '%s'", where ? where : "",
					    where ? ": " : "", api_excerpt(name).text);
		}
	}
	return GP_OK;
}

/* The type without its parameters, and whether a charset other than UTF-8 is named. */
static struct span media_type(struct span value, bool *is_other_charset_out)
{
	ptrdiff_t semicolon = span_find_char(value, ';');
	struct span type = semicolon < 0 ? value : span_slice(value, 0, (size_t)semicolon);
	ptrdiff_t charset = span_find_nocase(value, SPAN_LIT("charset="));

	*is_other_charset_out = false;
	if (semicolon >= 0 && charset > semicolon) {
		struct span name = span_from(value, (size_t)charset + strlen("charset="));
		if (name.len > 0 && name.ptr[0] == '"') {
			name = span_from(name, 1);
		}
		*is_other_charset_out =
			!span_starts_with_nocase(name, "utf-8") && !span_starts_with_nocase(name, "utf8");
	}
	return span_trim(type);
}

static bool is_from_browser(struct api_exchange *exchange)
{
	return !span_is_nil(exchange->ops->header(exchange, "Origin")) ||
	       !span_is_nil(exchange->ops->header(exchange, "Sec-Fetch-Site"));
}

const char *api_body_json_fault(struct api_exchange *exchange)
{
	bool is_other_charset;
	struct span type = media_type(exchange->ops->header(exchange, "Content-Type"), &is_other_charset);
	bool is_form = span_equal_text_nocase(type, "application/x-www-form-urlencoded");

	if (!span_is_nil(exchange->ops->header(exchange, "Content-Encoding"))) {
		return "a Content-Encoding is not accepted in requests";
	}
	if (is_other_charset) {
		return "JSON must be in UTF-8";
	}
	if (is_form && is_from_browser(exchange)) {
		return "from a browser the type must be application/json or application/merge-patch+json";
	}
	if (!is_form && !span_equal_text_nocase(type, "application/json") &&
	    !span_equal_text_nocase(type, "application/merge-patch+json")) {
		return "the type must be application/json or application/merge-patch+json";
	}
	return NULL;
}

/* False: 415 has been replied. */
static bool check_type(struct api_exchange *exchange)
{
	struct span value = exchange->ops->header(exchange, "Content-Type");
	const char *why = api_body_json_fault(exchange);

	if (why) {
		api_header_add(exchange, exchange->method == API_PATCH ? "Accept-Patch" : "Accept",
			       "application/merge-patch+json, application/json");
		api_reply_problem(exchange, API_PROBLEM_UNSUPPORTED_MEDIA_TYPE, NULL, "Content-Type is '%s': %s",
				  api_excerpt(value).text, why);
	}
	return !why;
}

json_t *api_body_object(struct api_exchange *exchange)
{
	struct gp_error error = {0};
	json_t *object = NULL;

	if (exchange->is_body_too_large || exchange->body.len > GP_MAX_JSON_BODY) {
		api_reply_problem(exchange, API_PROBLEM_TOO_LARGE, NULL, "a JSON body may have %zu bytes at most",
				  GP_MAX_JSON_BODY);
		return NULL;
	}
	if (!check_type(exchange)) {
		return NULL;
	}
	if (api_body_parse(exchange->body, &object, &error) != GP_OK) {
		api_reply_error(exchange, &error);
		return NULL;
	}
	return object;
}
