/*
 * What a list has of each of its messages, as JSON page and as NDJSON alike: `fields`,
 * `body`, `maxBodyValueBytes` and `preview`.
 */
#ifndef GP_API_LIST_WISHES_H
#define GP_API_LIST_WISHES_H

#include "api/body_values.h"
#include "api/message_rows.h"
#include "api/query.h"

struct api_list_wishes {
	uint64_t members; /* bits of enum api_member */
	bool text, html, preview;
	size_t max_body_bytes; /* of one value */
};

/* What is wrong becomes the query's failure. */
void api_list_wishes_read(struct api_list_wishes *wishes, struct api_query *query);
/* enum imap_item: to be fetched beside those of the members. */
unsigned api_list_wishes_items(const struct api_list_wishes *wishes);
/* Adds what is wanted of one message's bodies; no preview where the server gave one. */
enum gp_status api_list_wishes_add(const struct api_list_wishes *wishes, const struct api_row *row,
				   struct api_body_values *values) GP_MUST_USE;

static inline bool api_list_wishes_bodies(const struct api_list_wishes *wishes)
{
	return wishes->text || wishes->html;
}

#endif
