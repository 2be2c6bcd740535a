#include "api/query.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"

#define EXCERPT_BYTES ((size_t)60)
#define MAX_NAME_TO_COMPARE ((size_t)32)

struct api_excerpt api_excerpt(struct span value)
{
	static const char ellipsis[] = "…";
	struct api_excerpt excerpt;
	size_t len = 0;

	while (value.len > 0) {
		uint32_t code_point;
		size_t n = utf8_decode(value, &code_point);
		bool is_printable = n > 0 && code_point >= 0x20 && !(code_point >= 0x7F && code_point < 0xA0);
		if (len + (is_printable ? n : 1) > EXCERPT_BYTES) {
			memcpy(excerpt.text + len, ellipsis, sizeof ellipsis - 1);
			len += sizeof ellipsis - 1;
			break;
		}
		if (is_printable) {
			memcpy(excerpt.text + len, value.ptr, n);
			len += n;
		} else {
			excerpt.text[len++] = '?';
		}
		value = span_from(value, n > 0 ? n : 1);
	}
	excerpt.text[len] = '\0';
	return excerpt;
}

bool api_is_mailbox_name(struct span name)
{
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];
		if (c < 0x20 || c == 0x7F) {
			return false;
		}
	}
	return name.len > 0 && name.len <= API_MAX_MAILBOX_NAME;
}

void api_query_init(struct api_query *query, struct api_target *target, struct gp_arena *arena)
{
	*query = (struct api_query){.target = target, .arena = arena};
}

void api_query_fail(struct api_query *query, const char *format, ...)
{
	char text[sizeof query->error.text];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	gp_error_set(&query->error, GP_INVALID, "%s", text);
}

static void note_known(struct api_query *query, const char *name)
{
	for (size_t i = 0; i < query->n_known; i++) {
		if (strcmp(query->known[i], name) == 0) {
			return;
		}
	}
	if (query->n_known < API_MAX_KNOWN_PARAMETERS) {
		query->known[query->n_known++] = name;
	}
}

const struct api_param *api_query_param(struct api_query *query, const char *name, size_t n)
{
	struct api_target *target = query->target;

	note_known(query, name);
	for (size_t i = 0; i < target->n_params; i++) {
		struct api_param *param = &target->params[i];
		if (!span_equal_text(param->name, name)) {
			continue;
		}
		if (n == 0) {
			param->is_used = true;
			return param;
		}
		n--;
	}
	return NULL;
}

bool api_query_nth(struct api_query *query, const char *name, size_t n, struct span *value_out)
{
	const struct api_param *param = api_query_param(query, name, n);

	if (param) {
		*value_out = param->value;
	}
	return param != NULL;
}

struct span api_query_text(struct api_query *query, const char *name)
{
	struct span value = SPAN_NIL, second;

	if (api_query_nth(query, name, 0, &value) && api_query_nth(query, name, 1, &second)) {
		api_query_fail(query, "parameter '%s' may not be repeated: it is '%s' and '%s'", name,
			       api_excerpt(value).text, api_excerpt(second).text);
	}
	return value;
}

int api_query_tristate(struct api_query *query, const char *name)
{
	struct span value = api_query_text(query, name);

	if (span_is_nil(value)) {
		return -1;
	}
	if (value.len == 0 || span_equal_text(value, "1") || span_equal_text(value, "true")) {
		return 1;
	}
	if (span_equal_text(value, "0") || span_equal_text(value, "false")) {
		return 0;
	}
	api_query_fail(query, "parameter '%s' is '%s', but must be 1 or 0", name, api_excerpt(value).text);
	return -1;
}

bool api_query_bool(struct api_query *query, const char *name, bool fallback)
{
	int value = api_query_tristate(query, name);

	return value < 0 ? fallback : value == 1;
}

bool api_query_consent(struct api_query *query, const char *name)
{
	struct span value = api_query_text(query, name);

	if (!span_is_nil(value) && value.len == 0) {
		api_query_fail(query, "parameter '%s' is empty, but must be 1 or 0", name);
	}
	return api_query_bool(query, name, false);
}

uint64_t api_query_number(struct api_query *query, const char *name, uint64_t least, uint64_t most, uint64_t fallback)
{
	struct span value = api_query_text(query, name);
	uint64_t number;

	if (span_is_nil(value)) {
		return fallback;
	}
	if (!span_to_u64(value, &number) || number < least || number > most) {
		api_query_fail(query, "parameter '%s' is '%s', but must be a whole number from %llu to %llu", name,
			       api_excerpt(value).text, (unsigned long long)least, (unsigned long long)most);
		return fallback;
	}
	return number;
}

static size_t least_of(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

/* Levenshtein's distance, ASCII case folded, by one row; names are short. */
static size_t distance(struct span a, struct span b)
{
	size_t row[MAX_NAME_TO_COMPARE + 1];

	for (size_t j = 0; j <= b.len; j++) {
		row[j] = j;
	}
	for (size_t i = 0; i < a.len; i++) {
		size_t diagonal = row[0];
		row[0] = i + 1;
		for (size_t j = 0; j < b.len; j++) {
			size_t above = row[j + 1];
			bool is_same = span_equal_nocase(span_slice(a, i, 1), span_slice(b, j, 1));
			row[j + 1] = least_of(above + 1, row[j] + 1, diagonal + (is_same ? 0 : 1));
			diagonal = above;
		}
	}
	return row[b.len];
}

/* The known name that the caller may have meant; NULL when none is close. */
static const char *find_similar(const struct api_query *query, struct span name)
{
	const char *best = NULL;
	size_t best_distance = 3;

	if (name.len == 0 || name.len > MAX_NAME_TO_COMPARE) {
		return NULL;
	}
	for (size_t i = 0; i < query->n_known; i++) {
		struct span known = span_of(query->known[i]);
		if (known.len > MAX_NAME_TO_COMPARE) {
			continue;
		}
		size_t d = distance(name, known);
		if (d < best_distance && d < known.len) {
			best = query->known[i];
			best_distance = d;
		}
	}
	return best;
}

enum gp_status api_query_finish(struct api_query *query)
{
	const struct api_target *target = query->target;

	(void)api_query_bool(query, "pretty", false);
	for (size_t i = 0; i < target->n_params && query->error.status == GP_OK; i++) {
		struct span name = target->params[i].name;
		if (target->params[i].is_used) {
			continue;
		}
		const char *similar = find_similar(query, name);
		if (similar) {
			api_query_fail(query, "unknown parameter '%s': did you mean '%s'?", api_excerpt(name).text,
				       similar);
		} else {
			api_query_fail(query, "unknown parameter '%s'", api_excerpt(name).text);
		}
	}
	return query->error.status;
}
