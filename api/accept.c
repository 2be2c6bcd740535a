#include "api/accept.h"

#define Q_ONE 1000
#define MAX_TYPES 16

/* Takes what is before the next `separator` outside of quotes off the text. */
static struct span take(struct span *text, char separator)
{
	bool is_quoted = false;
	size_t len = 0;

	while (len < text->len && (is_quoted || text->ptr[len] != separator)) {
		if (is_quoted && text->ptr[len] == '\\' && len + 1 < text->len) {
			len++;
		} else if (text->ptr[len] == '"') {
			is_quoted = !is_quoted;
		}
		len++;
	}
	struct span taken = span_slice(*text, 0, len);
	*text = span_from(*text, len + 1);
	return span_trim(taken);
}

/* "0.75" in thousandths; false when it is no weight. */
static bool read_weight(struct span text, int *weight_out)
{
	int weight = 0;

	if (text.len == 0 || text.len > 5 || (text.ptr[0] != '0' && text.ptr[0] != '1') ||
	    (text.len > 1 && text.ptr[1] != '.')) {
		return false;
	}
	for (size_t i = 0; i < 5; i++) {
		char c = i < text.len ? text.ptr[i] : '0';
		if (i == 1) {
			continue;
		}
		if (c < '0' || c > '9') {
			return false;
		}
		weight = weight * 10 + (c - '0');
	}
	*weight_out = weight;
	return weight <= Q_ONE;
}

static int weight_of(struct span params)
{
	int weight = Q_ONE;

	while (params.len > 0) {
		struct span param = take(&params, ';');
		if (param.len > 2 && (param.ptr[0] == 'q' || param.ptr[0] == 'Q') && param.ptr[1] == '=') {
			(void)read_weight(span_from(param, 2), &weight);
		}
	}
	return weight;
}

/* How exactly a range names the type: 3 all of it, 2 "application" + "/" + "*", 1 any; 0 not. */
static int match(struct span range, const char *type)
{
	struct span text = span_of(type);
	ptrdiff_t slash = span_find_char(range, '/');

	if (span_equal_text(range, "*/*")) {
		return 1;
	}
	if (slash > 0 && span_equal_text(span_from(range, (size_t)slash), "/*")) {
		return span_equal_nocase(span_slice(range, 0, (size_t)slash + 1),
					 span_slice(text, 0, (size_t)slash + 1))
			       ? 2
			       : 0;
	}
	return span_equal_nocase(range, text) ? 3 : 0;
}

ptrdiff_t api_accept_choose(struct span accept, const char *const *types, size_t n_types)
{
	int weights[MAX_TYPES] = {0};
	int exactness[MAX_TYPES] = {0};
	bool has_range = false;
	ptrdiff_t best = -1;

	while (accept.len > 0) {
		struct span params = take(&accept, ',');
		struct span range = take(&params, ';');
		if (span_find_char(range, '/') <= 0) {
			continue;
		}
		has_range = true;
		int weight = weight_of(params);
		for (size_t i = 0; i < n_types && i < MAX_TYPES; i++) {
			int how = match(range, types[i]);
			/* the most exact range counts; of two, the one that likes it more */
			if (how > exactness[i] || (how > 0 && how == exactness[i] && weight > weights[i])) {
				exactness[i] = how;
				weights[i] = weight;
			}
		}
	}
	if (!has_range) {
		return 0;
	}
	for (size_t i = 0; i < n_types && i < MAX_TYPES; i++) {
		if (weights[i] > 0 && (best < 0 || weights[i] > weights[best])) {
			best = (ptrdiff_t)i;
		}
	}
	return best;
}
