/*
 * Composing: a typed draft becomes the bytes of a message (RFC 5322, RFC 2045 to 2047,
 * RFC 2183, RFC 2231, RFC 2387), with CRLF.
 *
 *   multipart/mixed                 when there are attachments
 *     multipart/alternative         when there are text and HTML
 *       text/plain
 *       multipart/related           when images are shown in the HTML, by their cid
 *         text/html
 *         image/png …
 *     application/pdf …
 *
 * Every string of a draft is checked before anything is written: no string can begin a
 * header field, end one, or end a part. Text in any script is encoded; what comes out is
 * ASCII, but for messages that are attached as they are (message/rfc822 is never encoded).
 *
 * Attachments are not copied: a composed message is a list of pieces, and their base64 is
 * made while it is read. Its size is known beforehand, as APPEND needs it.
 *
 * Pure functions over memory, without clock and randomness of their own, that share no
 * state: they may run on a worker thread.
 */
#ifndef GP_MAIL_COMPOSE_H
#define GP_MAIL_COMPOSE_H

#include "mail/address.h"

#define MAIL_MAX_RECIPIENTS ((size_t)1000)     /* addresses of one field */
#define MAIL_MAX_SUBJECT ((size_t)8192)        /* bytes */
#define MAIL_MAX_REFERENCES ((size_t)1000)     /* ids of one field */
#define MAIL_MAX_ID ((size_t)900)              /* bytes */
#define MAIL_MAX_EXTRA_HEADERS ((size_t)100)   /* of one message */
#define MAIL_MAX_HEADER_NAME ((size_t)76)      /* bytes */
#define MAIL_MAX_HEADER_VALUE ((size_t)8192)   /* bytes */
#define MAIL_MAX_ATTACHMENTS ((size_t)200)     /* of one message */
#define MAIL_MAX_ATTACHMENT_NAME ((size_t)255) /* bytes: the longest that file systems take */
#define MAIL_MAX_ATTACHMENT_TYPE ((size_t)512) /* bytes, with parameters */
#define MAIL_COMPOSE_SEED ((size_t)24)

struct mail_addresses {
	struct mail_address *items;
	size_t n_items;
};

struct mail_ids {
	struct span *items; /* without angle brackets */
	size_t n_items;
};

struct mail_extra_header {
	struct span name, value; /* value: UTF-8, not encoded */
};

enum mail_disposition { MAIL_ATTACHMENT, MAIL_INLINE };

struct mail_attachment {
	struct span name; /* UTF-8; NIL: none */
	struct span type; /* "image/png", "text/calendar; method=REQUEST"; NIL: application/octet-stream */
	enum mail_disposition disposition;
	struct span cid;     /* without angle brackets; NIL: none */
	struct span content; /* the bytes; they must live as long as the composed message */
};

/* All borrowed. Text is UTF-8. NIL: the field is left out. */
struct mail_draft {
	struct mail_addresses from, sender, reply_to, to, cc, bcc; /* sender: one at most */
	struct span subject;
	struct span text, html; /* any line ends */
	struct mail_ids in_reply_to, references;
	struct mail_extra_header *headers;
	size_t n_headers;
	struct mail_attachment *attachments;
	size_t n_attachments;
	struct span message_id;                /* without angle brackets; NIL: it is made */
	int64_t date;                          /* seconds since 1970 UTC */
	int date_offset;                       /* minutes east of it, to be shown */
	unsigned char seed[MAIL_COMPOSE_SEED]; /* random: Message-ID and boundaries are made of it */
};

/* Whether it can be composed, as far as strings go; the contents of attachments are not
 * looked at. GP_INVALID: `error` names the member as JSON has it, "to[2].name: …". */
enum gp_status mail_draft_check(const struct mail_draft *draft, struct gp_error *error) GP_MUST_USE;

/* Whether an attachment may have this type. */
bool mail_type_is_allowed(struct span type);

struct mail_composed;

/* GP_INVALID as above, and for an attached message that holds NUL; GP_LIMIT: it would have
 * more than `max_size` bytes; GP_NO_MEMORY. The draft need not outlive the call, but the
 * attachments' contents must. */
enum gp_status mail_compose(const struct mail_draft *draft, size_t max_size, struct mail_composed **composed_out,
			    struct gp_error *error) GP_MUST_USE;
void mail_composed_free(struct mail_composed **composed);
uint64_t mail_composed_size(const struct mail_composed *composed);
/* Of it, what is held in memory beside the attachments' contents. */
size_t mail_composed_text_size(const struct mail_composed *composed);
/* As in the Message-ID field, without angle brackets; lives as long as the message. */
struct span mail_composed_id(const struct mail_composed *composed);
/* The next bytes, `room` of them unless it ends before; returns how many: 0 at the end. */
size_t mail_composed_read(struct mail_composed *composed, char *to, size_t room);
/* From the first byte again. */
void mail_composed_rewind(struct mail_composed *composed);

#endif
