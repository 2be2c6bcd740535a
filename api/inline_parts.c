#include "api/inline_parts.h"

#include <stdlib.h>

#include "api/router.h"

static int compare(const void *a, const void *b)
{
	const struct api_inline_part *left = a, *right = b;
	int order = span_compare(left->cid, right->cid);

	return order != 0 ? order : (left->number > right->number) - (left->number < right->number);
}

static int compare_to_cid(const void *key, const void *item)
{
	const struct span *cid = key;
	const struct api_inline_part *part = item;

	return span_compare(*cid, part->cid);
}

static bool is_named(const struct mail_part *part)
{
	return part->cid && part->part_id;
}

/* Of those with one Content-ID the first stays. */
static void drop_repeated(struct api_inline_parts *parts)
{
	size_t n = 0;

	for (size_t i = 0; i < parts->n_items; i++) {
		if (n == 0 || !span_equal(parts->items[i].cid, parts->items[n - 1].cid)) {
			parts->items[n++] = parts->items[i];
		}
	}
	parts->n_items = n;
}

enum gp_status api_inline_parts_init(struct api_inline_parts *parts, struct gp_arena *arena, struct mail_part *root,
				     struct span mailbox, uint32_t uid)
{
	size_t n = 0;

	for (struct mail_part *part = root; part; part = mail_part_next(part, root, false)) {
		n += is_named(part);
	}
	*parts = (struct api_inline_parts){.arena = arena, .mailbox = mailbox, .uid = uid};
	if (n == 0) {
		return GP_OK;
	}
	parts->items = gp_arena_array(arena, n, sizeof *parts->items);
	if (!parts->items) {
		return GP_NO_MEMORY;
	}
	for (struct mail_part *part = root; part; part = mail_part_next(part, root, false)) {
		if (is_named(part)) {
			parts->items[parts->n_items] = (struct api_inline_part){
				.cid = span_of(part->cid), .number = parts->n_items, .part_id = part->part_id};
			parts->n_items++;
		}
	}
	qsort(parts->items, n, sizeof *parts->items, compare);
	drop_repeated(parts);
	return GP_OK;
}

const char *api_inline_parts_href(struct api_inline_parts *parts, struct span cid)
{
	struct api_inline_part *part =
		parts->n_items == 0 ? NULL
				    : bsearch(&cid, parts->items, parts->n_items, sizeof *parts->items, compare_to_cid);

	if (part && !part->href) {
		part->href = api_part_href(parts->arena, parts->mailbox, parts->uid, part->part_id);
	}
	return part ? part->href : NULL;
}
