/*
 * The parts of a message by their Content-ID, which its HTML names as cid: (RFC 2392).
 * Sorted once: both the parts and the places that name them may be ten thousand, by will
 * of whoever wrote the mail.
 */
#ifndef GP_API_INLINE_PARTS_H
#define GP_API_INLINE_PARTS_H

#include "base/arena.h"
#include "base/status.h"
#include "mail/parts.h"

struct api_inline_part {
	struct span cid;     /* borrow */
	size_t number;       /* its place among those with a Content-ID */
	const char *part_id; /* borrow */
	const char *href;    /* in the arena; NULL: not asked for yet */
};

struct api_inline_parts {
	struct gp_arena *arena; /* borrow: all of it is there */
	struct span mailbox;    /* borrow */
	uint32_t uid;
	struct api_inline_part *items;
	size_t n_items;
};

/* `root` and `mailbox` outlive it. */
enum gp_status api_inline_parts_init(struct api_inline_parts *parts, struct gp_arena *arena, struct mail_part *root,
				     struct span mailbox, uint32_t uid) GP_MUST_USE;
/* The address of the first part with this Content-ID (without angle brackets, case counts);
 * NULL: there is none, or memory ended. */
const char *api_inline_parts_href(struct api_inline_parts *parts, struct span cid);

#endif
