/*
 * The part tree of a message as RFC 8621 section 4.1.4 sees it, and its choice of
 * text, HTML and attachments. The caller builds the tree (from a BODYSTRUCTURE);
 * all strings are decoded, lower case where case does not matter. Nothing is
 * recursive; at most GP_MAX_IMAP_PARTS nodes.
 */
#ifndef GP_MAIL_PARTS_H
#define GP_MAIL_PARTS_H

#include "base/arena.h"
#include "mail/content.h"

struct mail_part {
	struct mail_part *parent, *first_child, *next; /* link, same arena */
	const char *part_id;     /* section number; NULL for multiparts and what cannot be fetched alone */
	const char *type;        /* "text/plain", lower case */
	const char *charset;     /* NULL if none; lower case; "us-ascii" is implied for text and written here */
	const char *name;        /* decoded file name, NULL if none */
	const char *disposition; /* "inline", "attachment", …; NULL if none */
	const char *cid;         /* without angle brackets; NULL if none */
	const char *language;    /* NULL if none */
	const char *location;    /* NULL if none */
	enum mail_encoding encoding;
	uint64_t encoded_size; /* octets as stored */
	uint64_t size;         /* octets when decoded, reckoned for base64 and quoted-printable */
	bool size_is_estimate;
	bool is_multipart;
	bool is_message; /* message/rfc822: its children are not body parts of this message */
};

struct mail_part_list {
	struct mail_part **items; /* in the arena; parts are borrowed from the tree */
	size_t n_items;
};

struct mail_choice {
	struct mail_part_list text_body, html_body, attachments;
	bool has_attachment; /* RFC 8621: an attachment that is not an inline image shown in the HTML */
};

/* RFC 8621 section 4.1.4's parseStructure, with an explicit stack. */
enum gp_status mail_choose(struct mail_part *root, struct gp_arena *arena, struct mail_choice *choice_out) GP_MUST_USE;

/* Depth-first successor inside `root`; NULL at the end. Goes into messages only if asked. */
struct mail_part *mail_part_next(struct mail_part *part, const struct mail_part *root, bool into_messages);
struct mail_part *mail_part_find(struct mail_part *root, struct span part_id);
/* What a decoded body of `encoded_size` octets comes to; `*is_estimate_out` is
 * false for identity. */
uint64_t mail_decoded_size(enum mail_encoding encoding, uint64_t encoded_size, bool *is_estimate_out);

#endif
