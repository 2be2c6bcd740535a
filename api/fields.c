#include "api/fields.h"

/* The index of the name, n_names when it is none. */
static size_t find_name(struct span name, const char *const *names, size_t n_names)
{
	size_t i = 0;

	while (i < n_names && !span_equal_text(name, names[i])) {
		i++;
	}
	return i;
}

uint64_t api_fields_read(struct api_query *query, const char *const *names, size_t n_names, uint64_t fallback)
{
	struct span rest = api_query_text(query, "fields");
	uint64_t mask = 0;

	if (span_is_nil(rest)) {
		return fallback;
	}
	for (bool is_last = false; !is_last;) {
		ptrdiff_t comma = span_find_char(rest, ',');
		is_last = comma < 0;
		struct span name = span_trim(is_last ? rest : span_slice(rest, 0, (size_t)comma));
		size_t field = find_name(name, names, n_names);
		if (field == n_names || field >= API_MAX_FIELDS) {
			api_query_fail(query, "parameter 'fields' has the unknown member '%s'", api_excerpt(name).text);
			return fallback;
		}
		mask |= (uint64_t)1 << field;
		rest = span_from(rest, (size_t)comma + 1);
	}
	return mask;
}
