/*
 * `sort=-receivedAt,from`: by the server's SORT, or, where it has none, here, over at
 * most API_MAX_SORTED messages.
 */
#ifndef GP_API_MESSAGE_SORT_H
#define GP_API_MESSAGE_SORT_H

#include "api/query.h"
#include "imap/calls.h"

#define API_MAX_SORT_TERMS 8
#define API_MAX_SORTED 2000

struct api_sort {
	struct imap_sort_term terms[API_MAX_SORT_TERMS];
	size_t n_terms; /* 0: newest arrival first */
};

void api_sort_read(struct api_query *query, struct api_sort *sort_out);
/* The FETCH items that the keys are made of. */
unsigned api_sort_items(const struct api_sort *sort);

struct api_sort_keys;
/* Sorting here. NULL when memory ends. `sort` is borrowed. */
struct api_sort_keys *api_sort_keys_new(const struct api_sort *sort);
void api_sort_keys_free(struct api_sort_keys **keys);
enum gp_status api_sort_keys_add(struct api_sort_keys *keys, const struct imap_fetch *row) GP_MUST_USE;
/* The UIDs in order, equal ones by UID; own, free() it. NULL when memory ends. */
uint32_t *api_sort_keys_order(struct api_sort_keys *keys, size_t *n_out);

#endif
