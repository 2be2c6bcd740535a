/*
 * A set of UIDs as ascending, disjoint, merged ranges: what a sequence set of
 * RFC 3501 section 9 names, never expanded. 4294967295 stands for "*" in what we
 * write, and counts as itself in what we read.
 */
#ifndef GP_IMAP_UIDSET_H
#define GP_IMAP_UIDSET_H

#include "base/buffer.h"
#include "base/span.h"
#include "base/status.h"

struct imap_uid_range {
	uint32_t first, last; /* both included, 1 <= first <= last */
};

struct imap_uidset {
	struct imap_uid_range *ranges; /* own; ascending, with gaps between */
	size_t n_ranges, size;
};

#define IMAP_UID_STAR UINT32_MAX

void imap_uidset_init(struct imap_uidset *set);
void imap_uidset_deinit(struct imap_uidset *set);
/* Adds a range (in either order) anywhere: O(1) amortised when they come in ascending
 * order, else up to O(n) each. GP_LIMIT past GP_MAX_IMAP_UID_RANGES. */
enum gp_status imap_uidset_add(struct imap_uidset *set, uint32_t first, uint32_t last) GP_MUST_USE;
enum gp_status imap_uidset_add_all(struct imap_uidset *set, const struct imap_uidset *other) GP_MUST_USE;
/* Adds what is in both sets; what is in `a` and not in `b`. */
enum gp_status imap_uidset_add_common(struct imap_uidset *set, const struct imap_uidset *a,
				      const struct imap_uidset *b) GP_MUST_USE;
enum gp_status imap_uidset_add_difference(struct imap_uidset *set, const struct imap_uidset *a,
					  const struct imap_uidset *b) GP_MUST_USE;
/* Adds the members of `other` from `first` to `last`, both included; nothing when first > last. */
enum gp_status imap_uidset_add_within(struct imap_uidset *set, const struct imap_uidset *other, uint32_t first,
				      uint32_t last) GP_MUST_USE;
/* "1,5:9,12:*": GP_INVALID for 0, an empty item or a number over 32 bits. Descending
 * ranges and any order are understood. Nothing is added on failure. */
enum gp_status imap_uidset_parse(struct imap_uidset *set, struct span text) GP_MUST_USE;
bool imap_uidset_contains(const struct imap_uidset *set, uint32_t uid);
/* How many UIDs are named; saturates at UINT64_MAX. */
uint64_t imap_uidset_count(const struct imap_uidset *set);
bool imap_uidset_is_empty(const struct imap_uidset *set);
/* The `limit` highest UIDs that are below `below` (UINT32_MAX + 1ull: all), ascending,
 * added to `*out`; returns their number through n_out. */
enum gp_status imap_uidset_highest(const struct imap_uidset *set, uint64_t below, size_t limit, struct imap_uidset *out,
				   size_t *n_out) GP_MUST_USE;
bool imap_uidset_is_equal(const struct imap_uidset *a, const struct imap_uidset *b);
/* How many members are below `uid`. */
uint64_t imap_uidset_count_below(const struct imap_uidset *set, uint64_t uid);
/* Writes the set in ascending order, from range index *at on, until `max_bytes`
 * would be passed; *at moves on (n_ranges when all is written). UINT32_MAX is "*". */
enum gp_status imap_uidset_write(const struct imap_uidset *set, size_t *at, size_t max_bytes,
				 struct gp_buffer *out) GP_MUST_USE;

#endif
