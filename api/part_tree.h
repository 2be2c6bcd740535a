/* From a BODYSTRUCTURE to the part tree of mail/parts.h, and to JSON. */
#ifndef GP_API_PART_TREE_H
#define GP_API_PART_TREE_H

#include <jansson.h>

#include "imap/response.h"
#include "mail/parts.h"

/* A copy with names decoded, in the arena. */
enum gp_status api_part_tree_new(const struct imap_body *body, struct gp_arena *arena,
				 struct mail_part **root_out) GP_MUST_USE;

/* One part without its children; `message_href` is the message's address. */
json_t *api_part_json(const struct mail_part *part, const char *message_href, struct gp_arena *arena);
/* The whole tree with `subParts`. */
json_t *api_part_tree_json(const struct mail_part *root, const char *message_href, struct gp_arena *arena);
json_t *api_part_list_json(const struct mail_part_list *list, const char *message_href, struct gp_arena *arena);

#endif
