#include "api/conditional.h"

/* An entity tag of a list: its opaque part with the quotes, and whether it is weak. */
struct tag {
	struct span opaque;
	bool is_weak;
};

/* Takes the next tag off a comma-separated list; false at its end or where it is
 * malformed, so that what is broken names nothing. */
static bool next_tag(struct span *list, struct tag *tag_out)
{
	while (list->len > 0 && (list->ptr[0] == ',' || list->ptr[0] == ' ' || list->ptr[0] == '\t')) {
		*list = span_from(*list, 1);
	}
	tag_out->is_weak = span_starts_with(*list, "W/");
	struct span rest = span_from(*list, tag_out->is_weak ? 2 : 0);
	if (rest.len == 0 || rest.ptr[0] != '"') {
		return false;
	}
	ptrdiff_t end = span_find_char(span_from(rest, 1), '"');
	if (end < 0) {
		return false;
	}
	tag_out->opaque = span_slice(rest, 0, (size_t)end + 2);
	*list = span_trim(span_from(rest, (size_t)end + 2));
	return list->len == 0 || list->ptr[0] == ',';
}

static struct span opaque_of(const char *etag)
{
	struct span tag = span_of(etag);

	return span_starts_with(tag, "W/") ? span_from(tag, 2) : tag;
}

static bool list_names(struct span list, const char *etag)
{
	struct span wanted = opaque_of(etag);
	struct tag tag;

	list = span_trim(list);
	if (span_equal_text(list, "*")) {
		return true;
	}
	while (next_tag(&list, &tag)) {
		if (span_equal(tag.opaque, wanted)) {
			return true;
		}
	}
	return false;
}

bool api_none_match_hits(struct span if_none_match, const char *etag)
{
	return !span_is_nil(if_none_match) && etag && list_names(if_none_match, etag);
}

bool api_match_allows(struct span if_match, const char *etag)
{
	if (span_is_nil(if_match)) {
		return true;
	}
	return etag && list_names(if_match, etag);
}

bool api_has_precondition(struct api_exchange *exchange)
{
	return !span_is_nil(exchange->ops->header(exchange, "If-Match")) ||
	       !span_is_nil(exchange->ops->header(exchange, "If-None-Match"));
}

unsigned api_precondition(struct api_exchange *exchange, const char *etag)
{
	if (!api_match_allows(exchange->ops->header(exchange, "If-Match"), etag)) {
		return 412;
	}
	return api_none_match_hits(exchange->ops->header(exchange, "If-None-Match"), etag) ? 304 : 0;
}

bool api_if_range_holds(struct span if_range, const char *etag)
{
	struct tag tag;

	if (span_is_nil(if_range)) {
		return true;
	}
	/* A date never holds: no Last-Modified is ever sent. */
	if_range = span_trim(if_range);
	return next_tag(&if_range, &tag) && if_range.len == 0 && !tag.is_weak && etag &&
	       span_equal_text(tag.opaque, etag);
}

/* Digits to a number; what is too large for 64 bits is past any end. */
static bool read_offset(struct span digits, uint64_t *value_out)
{
	if (digits.len == 0) {
		return false;
	}
	for (size_t i = 0; i < digits.len; i++) {
		if (digits.ptr[i] < '0' || digits.ptr[i] > '9') {
			return false;
		}
	}
	if (!span_to_u64(digits, value_out)) {
		*value_out = UINT64_MAX;
	}
	return true;
}

static enum api_range_result parse_suffix(struct span digits, uint64_t size, struct api_range *range_out)
{
	uint64_t len;

	if (!read_offset(digits, &len)) {
		return API_RANGE_NONE;
	}
	if (len == 0 || size == 0) {
		return API_RANGE_UNMET;
	}
	*range_out = (struct api_range){.first = len < size ? size - len : 0, .last = size - 1};
	return API_RANGE_OK;
}

enum api_range_result api_range_parse(struct span range, uint64_t size, struct api_range *range_out)
{
	uint64_t first, last = UINT64_MAX;

	range = span_trim(range);
	if (span_is_nil(range) || !span_starts_with_nocase(range, "bytes=")) {
		return API_RANGE_NONE;
	}
	range = span_trim(span_from(range, strlen("bytes=")));
	ptrdiff_t dash = span_find_char(range, '-');
	if (dash < 0) {
		return API_RANGE_NONE;
	}
	struct span from = span_slice(range, 0, (size_t)dash), to = span_from(range, (size_t)dash + 1);
	if (from.len == 0) {
		return parse_suffix(to, size, range_out);
	}
	if (!read_offset(from, &first) || (to.len > 0 && !read_offset(to, &last)) || last < first) {
		return API_RANGE_NONE;
	}
	if (first >= size) {
		return API_RANGE_UNMET;
	}
	*range_out = (struct api_range){.first = first, .last = last < size ? last : size - 1};
	return API_RANGE_OK;
}
