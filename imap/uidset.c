#include "imap/uidset.h"

#include <stdlib.h>

#include "base/limits.h"

void imap_uidset_init(struct imap_uidset *set)
{
	*set = (struct imap_uidset){.ranges = NULL};
}

void imap_uidset_deinit(struct imap_uidset *set)
{
	free(set->ranges);
	imap_uidset_init(set);
}

/* Room for `n` ranges in all. */
static enum gp_status reserve(struct imap_uidset *set, size_t n)
{
	if (n > GP_MAX_IMAP_UID_RANGES) {
		return GP_LIMIT;
	}
	if (n <= set->size) {
		return GP_OK;
	}
	size_t size = set->size ? set->size * 2 : 8;
	while (size < n) {
		size *= 2;
	}
	struct imap_uid_range *ranges = realloc(set->ranges, size * sizeof *ranges);
	if (!ranges) {
		return GP_NO_MEMORY;
	}
	set->ranges = ranges;
	set->size = size;
	return GP_OK;
}

/* Whether `b`, which begins no earlier than `a`, leaves no gap behind it. */
static bool touches(struct imap_uid_range a, struct imap_uid_range b)
{
	return b.first <= a.last || b.first - a.last == 1;
}

/* The index of the first range that ends at `uid` or later. */
static size_t find(const struct imap_uidset *set, uint64_t uid)
{
	size_t low = 0;
	size_t high = set->n_ranges;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (set->ranges[middle].last < uid) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

enum gp_status imap_uidset_add(struct imap_uidset *set, uint32_t first, uint32_t last)
{
	struct imap_uid_range range =
		first <= last ? (struct imap_uid_range){first, last} : (struct imap_uid_range){last, first};

	if (range.first == 0) {
		return GP_INVALID;
	}
	/* [from, to) are the ranges that become one with the new one */
	size_t from = find(set, range.first - 1);
	size_t to = from;
	while (to < set->n_ranges && touches(range, set->ranges[to])) {
		if (set->ranges[to].first < range.first) {
			range.first = set->ranges[to].first;
		}
		if (set->ranges[to].last > range.last) {
			range.last = set->ranges[to].last;
		}
		to++;
	}
	enum gp_status status = reserve(set, set->n_ranges - (to - from) + 1);
	if (status != GP_OK) {
		return status;
	}
	if (set->n_ranges > to) {
		memmove(set->ranges + from + 1, set->ranges + to, (set->n_ranges - to) * sizeof *set->ranges);
	}
	set->ranges[from] = range;
	set->n_ranges = set->n_ranges - (to - from) + 1;
	return GP_OK;
}

/* Appends to a set under construction whose last range begins no later. */
static void append(struct imap_uid_range *ranges, size_t *n_ranges, struct imap_uid_range range)
{
	if (*n_ranges > 0 && touches(ranges[*n_ranges - 1], range)) {
		if (range.last > ranges[*n_ranges - 1].last) {
			ranges[*n_ranges - 1].last = range.last;
		}
	} else {
		ranges[(*n_ranges)++] = range;
	}
}

enum gp_status imap_uidset_add_all(struct imap_uidset *set, const struct imap_uidset *other)
{
	if (other->n_ranges == 0 || other == set) {
		return GP_OK;
	}
	size_t size = set->n_ranges + other->n_ranges;
	struct imap_uid_range *ranges = malloc(size * sizeof *ranges);
	if (!ranges) {
		return GP_NO_MEMORY;
	}
	size_t n_ranges = 0;
	size_t a = 0;
	size_t b = 0;
	while (a < set->n_ranges || b < other->n_ranges) {
		bool is_a =
			b == other->n_ranges || (a < set->n_ranges && set->ranges[a].first <= other->ranges[b].first);
		append(ranges, &n_ranges, is_a ? set->ranges[a++] : other->ranges[b++]);
	}
	if (n_ranges > GP_MAX_IMAP_UID_RANGES) {
		free(ranges);
		return GP_LIMIT;
	}
	free(set->ranges);
	*set = (struct imap_uidset){ranges, n_ranges, size};
	return GP_OK;
}

enum gp_status imap_uidset_add_common(struct imap_uidset *set, const struct imap_uidset *a, const struct imap_uidset *b)
{
	enum gp_status status = GP_OK;

	for (size_t i = 0, j = 0; i < a->n_ranges && j < b->n_ranges && status == GP_OK;) {
		struct imap_uid_range x = a->ranges[i];
		struct imap_uid_range y = b->ranges[j];
		uint32_t first = x.first > y.first ? x.first : y.first;
		uint32_t last = x.last < y.last ? x.last : y.last;

		if (first <= last) {
			status = imap_uidset_add(set, first, last);
		}
		if (x.last < y.last) {
			i++;
		} else {
			j++;
		}
	}
	return status;
}

enum gp_status imap_uidset_add_difference(struct imap_uidset *set, const struct imap_uidset *a,
					  const struct imap_uidset *b)
{
	enum gp_status status = GP_OK;
	size_t j = 0;

	for (size_t i = 0; i < a->n_ranges && status == GP_OK; i++) {
		uint64_t from = a->ranges[i].first;
		uint64_t last = a->ranges[i].last;
		while (j < b->n_ranges && b->ranges[j].last < from) {
			j++;
		}
		/* what `b` takes out of this range; its last one may reach into the next */
		for (size_t k = j; k < b->n_ranges && b->ranges[k].first <= last && status == GP_OK; k++) {
			if (b->ranges[k].first > from) {
				status = imap_uidset_add(set, (uint32_t)from, b->ranges[k].first - 1);
			}
			from = (uint64_t)b->ranges[k].last + 1;
			j = k;
		}
		if (from <= last && status == GP_OK) {
			status = imap_uidset_add(set, (uint32_t)from, (uint32_t)last);
		}
	}
	return status;
}

enum gp_status imap_uidset_add_within(struct imap_uidset *set, const struct imap_uidset *other, uint32_t first,
				      uint32_t last)
{
	enum gp_status status = GP_OK;

	for (size_t i = find(other, first); i < other->n_ranges && status == GP_OK; i++) {
		struct imap_uid_range range = other->ranges[i];
		if (range.first > last || first > last) {
			break;
		}
		status = imap_uidset_add(set, range.first < first ? first : range.first,
					 range.last > last ? last : range.last);
	}
	return status;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct imap_uid_range *left = a;
	const struct imap_uid_range *right = b;

	return (left->first > right->first) - (left->first < right->first);
}

/* Makes a set of ranges in any order. */
static void normalise(struct imap_uidset *set)
{
	bool is_sorted = true;
	size_t n_ranges = 0;

	for (size_t i = 1; i < set->n_ranges && is_sorted; i++) {
		is_sorted = set->ranges[i - 1].first <= set->ranges[i].first;
	}
	if (!is_sorted) {
		qsort(set->ranges, set->n_ranges, sizeof *set->ranges, compare_ranges);
	}
	for (size_t i = 0; i < set->n_ranges; i++) {
		append(set->ranges, &n_ranges, set->ranges[i]);
	}
	set->n_ranges = n_ranges;
}

/* Takes the new ranges, in any order, into the set; frees them. */
static enum gp_status merge(struct imap_uidset *set, struct imap_uidset *ranges)
{
	enum gp_status status = GP_OK;

	normalise(ranges);
	if (set->n_ranges == 0) {
		imap_uidset_deinit(set);
		*set = *ranges;
		imap_uidset_init(ranges);
	} else {
		status = imap_uidset_add_all(set, ranges);
	}
	imap_uidset_deinit(ranges);
	return status;
}

static bool parse_number(struct span text, uint32_t *number_out)
{
	if (span_equal_text(text, "*")) {
		*number_out = IMAP_UID_STAR;
		return true;
	}
	return span_to_u32(text, number_out) && *number_out > 0;
}

static bool parse_range(struct span text, struct imap_uid_range *range_out)
{
	ptrdiff_t colon = span_find_char(text, ':');
	uint32_t a;
	uint32_t b;

	if (colon < 0) {
		if (!parse_number(text, &a)) {
			return false;
		}
		b = a;
	} else if (!parse_number(span_slice(text, 0, (size_t)colon), &a) ||
		   !parse_number(span_from(text, (size_t)colon + 1), &b)) {
		return false;
	}
	*range_out = a <= b ? (struct imap_uid_range){a, b} : (struct imap_uid_range){b, a};
	return true;
}

enum gp_status imap_uidset_parse(struct imap_uidset *set, struct span text)
{
	struct imap_uidset added;
	enum gp_status status = GP_OK;
	bool is_last = false;

	imap_uidset_init(&added);
	while (!is_last && status == GP_OK) {
		struct imap_uid_range range;
		ptrdiff_t comma = span_find_char(text, ',');
		is_last = comma < 0;
		if (!parse_range(is_last ? text : span_slice(text, 0, (size_t)comma), &range)) {
			status = GP_INVALID;
			break;
		}
		text = is_last ? SPAN_NIL : span_from(text, (size_t)comma + 1);
		status = reserve(&added, added.n_ranges + 1);
		if (status == GP_OK) {
			added.ranges[added.n_ranges++] = range;
		}
	}
	if (status != GP_OK) {
		imap_uidset_deinit(&added);
		return status;
	}
	return merge(set, &added);
}

bool imap_uidset_contains(const struct imap_uidset *set, uint32_t uid)
{
	size_t at = find(set, uid);

	return at < set->n_ranges && set->ranges[at].first <= uid;
}

bool imap_uidset_is_empty(const struct imap_uidset *set)
{
	return set->n_ranges == 0;
}

bool imap_uidset_is_equal(const struct imap_uidset *a, const struct imap_uidset *b)
{
	/* ranges are merged: equal sets have equal ranges */
	return a->n_ranges == b->n_ranges &&
	       (a->n_ranges == 0 || memcmp(a->ranges, b->ranges, a->n_ranges * sizeof *a->ranges) == 0);
}

static uint64_t range_count(struct imap_uid_range range)
{
	return (uint64_t)range.last - range.first + 1;
}

uint64_t imap_uidset_count(const struct imap_uidset *set)
{
	uint64_t count = 0;

	for (size_t i = 0; i < set->n_ranges; i++) {
		count += range_count(set->ranges[i]); /* disjoint: below 2^32 in all */
	}
	return count;
}

uint64_t imap_uidset_count_below(const struct imap_uidset *set, uint64_t uid)
{
	uint64_t count = 0;

	for (size_t i = 0; i < set->n_ranges && set->ranges[i].first < uid; i++) {
		struct imap_uid_range range = set->ranges[i];
		count += range.last < uid ? range_count(range) : uid - range.first;
	}
	return count;
}

enum gp_status imap_uidset_highest(const struct imap_uidset *set, uint64_t below, size_t limit, struct imap_uidset *out,
				   size_t *n_out)
{
	size_t end = find(set, below);
	size_t found = 0;
	enum gp_status status = GP_OK;

	if (end < set->n_ranges && set->ranges[end].first < below) {
		end++;
	}
	/* back to the range where the lowest one wanted is, then forward from there */
	size_t start = end;
	uint64_t surplus = 0;
	while (start > 0 && found < limit) {
		struct imap_uid_range range = set->ranges[--start];
		uint64_t count = range.last < below ? range_count(range) : below - range.first;
		surplus = count > limit - found ? count - (limit - found) : 0;
		found += (size_t)(count - surplus);
	}
	for (size_t i = start; i < end && found > 0 && status == GP_OK; i++) {
		struct imap_uid_range range = set->ranges[i];
		if (i == start) {
			range.first += (uint32_t)surplus;
		}
		if (range.last >= below) {
			range.last = (uint32_t)(below - 1);
		}
		status = imap_uidset_add(out, range.first, range.last);
	}
	if (status == GP_OK) {
		*n_out = found;
	}
	return status;
}

static size_t write_number(char *text, uint32_t number)
{
	char digits[10];
	size_t n = 0;

	if (number == IMAP_UID_STAR) {
		text[0] = '*';
		return 1;
	}
	do {
		digits[n++] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	for (size_t i = 0; i < n; i++) {
		text[i] = digits[n - 1 - i];
	}
	return n;
}

enum gp_status imap_uidset_write(const struct imap_uidset *set, size_t *at, size_t max_bytes, struct gp_buffer *out)
{
	size_t written = 0;

	while (*at < set->n_ranges) {
		struct imap_uid_range range = set->ranges[*at];
		char text[24];
		size_t len = 0;
		if (written > 0) {
			text[len++] = ',';
		}
		len += write_number(text + len, range.first);
		if (range.last != range.first) {
			text[len++] = ':';
			len += write_number(text + len, range.last);
		}
		if (len > max_bytes - written) {
			return written > 0 ? GP_OK : GP_LIMIT;
		}
		enum gp_status status = gp_buffer_append(out, span_make(text, len));
		if (status != GP_OK) {
			return status;
		}
		written += len;
		(*at)++;
	}
	return GP_OK;
}
