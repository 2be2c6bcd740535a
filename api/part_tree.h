/* From a BODYSTRUCTURE to the part tree of mail/parts.h, and to JSON. */
#ifndef GP_API_PART_TREE_H
#define GP_API_PART_TREE_H

#include "api/json_writer.h"
#include "imap/response.h"
#include "mail/parts.h"

/* A copy with names decoded, in the arena. */
enum gp_status api_part_tree_new(const struct imap_body *body, struct gp_arena *arena,
				 struct mail_part **root_out) GP_MUST_USE;

/* The whole tree, with `subParts`; null for NULL. `message_href` is the message's address. */
void api_part_tree_write(struct api_json_writer *writer, const struct mail_part *root, struct span message_href);
/* An array of parts without what is inside them. */
void api_part_list_write(struct api_json_writer *writer, const struct mail_part_list *list, struct span message_href);

#endif
