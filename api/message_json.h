/*
 * A message as JSON (RFC 8621 section 4.1's names), from what FETCH says.
 *
 * The members are a set, so that what is not asked for is neither fetched nor built.
 * They are written as a run (api/json_writer.h), in an object that the caller opens and
 * closes: `bodyValues` and `preview` may come behind them (api/body_values.h).
 */
#ifndef GP_API_MESSAGE_JSON_H
#define GP_API_MESSAGE_JSON_H

#include "api/fields.h"
#include "api/json_writer.h"
#include "base/arena.h"
#include "imap/calls.h"
#include "mail/parts.h"

/* enum suffix, JSON name, FETCH items it is made of */
#define API_MESSAGE_MEMBER_MAP(X)                                                                                      \
	X(UID, "uid", 0)                                                                                               \
	X(UIDVALIDITY, "uidValidity", 0)                                                                               \
	X(MAILBOX, "mailbox", 0)                                                                                       \
	X(MODSEQ, "modseq", IMAP_ITEM_MODSEQ)                                                                          \
	X(SIZE, "size", IMAP_ITEM_SIZE)                                                                                \
	X(RECEIVED_AT, "receivedAt", IMAP_ITEM_INTERNALDATE)                                                           \
	X(SENT_AT, "sentAt", IMAP_ITEM_ENVELOPE)                                                                       \
	X(KEYWORDS, "keywords", IMAP_ITEM_FLAGS)                                                                       \
	X(SUBJECT, "subject", IMAP_ITEM_ENVELOPE)                                                                      \
	X(FROM, "from", IMAP_ITEM_ENVELOPE)                                                                            \
	X(SENDER, "sender", IMAP_ITEM_ENVELOPE)                                                                        \
	X(REPLY_TO, "replyTo", IMAP_ITEM_ENVELOPE)                                                                     \
	X(TO, "to", IMAP_ITEM_ENVELOPE)                                                                                \
	X(CC, "cc", IMAP_ITEM_ENVELOPE)                                                                                \
	X(BCC, "bcc", IMAP_ITEM_ENVELOPE)                                                                              \
	X(MESSAGE_ID, "messageId", IMAP_ITEM_ENVELOPE)                                                                 \
	X(IN_REPLY_TO, "inReplyTo", IMAP_ITEM_ENVELOPE)                                                                \
	X(REFERENCES, "references", 0)                                                                                 \
	X(HAS_ATTACHMENT, "hasAttachment", IMAP_ITEM_BODYSTRUCTURE)                                                    \
	X(PREVIEW, "preview", 0)                                                                                       \
	X(ATTACHMENTS, "attachments", IMAP_ITEM_BODYSTRUCTURE)                                                         \
	X(EMAIL_ID, "emailId", IMAP_ITEM_EMAILID)                                                                      \
	X(THREAD_ID, "threadId", IMAP_ITEM_THREADID)                                                                   \
	X(HREF, "href", 0)                                                                                             \
	X(BODY_STRUCTURE, "bodyStructure", IMAP_ITEM_BODYSTRUCTURE)                                                    \
	X(TEXT_BODY, "textBody", IMAP_ITEM_BODYSTRUCTURE)                                                              \
	X(HTML_BODY, "htmlBody", IMAP_ITEM_BODYSTRUCTURE)                                                              \
	X(BODY_VALUES, "bodyValues", IMAP_ITEM_BODYSTRUCTURE)                                                          \
	X(HEADERS, "headers", 0)

enum api_message_member {
#define X(name, json, items) API_MEMBER_##name,
	API_MESSAGE_MEMBER_MAP(X)
#undef X
		API_N_MEMBERS,
};

#define API_MEMBER_BIT(name) ((uint64_t)1 << API_MEMBER_##name)

/* What a list shows unless `fields` says otherwise, and a single message. */
#define API_MEMBERS_LIST                                                                                               \
	(((uint64_t)1 << API_N_MEMBERS) - 1 -                                                                          \
	 (API_MEMBER_BIT(PREVIEW) | API_MEMBER_BIT(BODY_STRUCTURE) | API_MEMBER_BIT(TEXT_BODY) |                       \
	  API_MEMBER_BIT(HTML_BODY) | API_MEMBER_BIT(BODY_VALUES) | API_MEMBER_BIT(HEADERS)))
#define API_MEMBERS_ALL (((uint64_t)1 << API_N_MEMBERS) - 1)

/* The members' names by bit, for api_fields_read(). */
extern const char *const api_message_member_names[API_N_MEMBERS];

/* Messages of which mailbox, seen how. */
struct api_message_view {
	uint64_t members;
	struct gp_arena *arena; /* borrow: scratch that lives as long as the reply */
	struct span mailbox;    /* borrow: lives as long */
	uint32_t uidvalidity;
	struct span messages_href; /* in the arena: "/mailboxes/INBOX/messages/" */
};

enum gp_status api_message_view_init(struct api_message_view *view, uint64_t members, struct gp_arena *arena,
				     struct span mailbox, uint32_t uidvalidity) GP_MUST_USE;

/* The FETCH items for the members (UID, FLAGS and MODSEQ are always among them), and
 * the header fields ("references"), 0 or 1 of them. */
unsigned api_message_items(uint64_t members);
size_t api_message_fields(uint64_t members, const struct span **fields_out);

/* A row's part tree and what is chosen of it, in the arena; NULL and empty when the row
 * has no BODYSTRUCTURE. */
struct api_message_parts {
	struct mail_part *root; /* borrow: in the arena */
	struct mail_choice choice;
};

enum gp_status api_message_parts(const struct imap_fetch *row, struct gp_arena *arena,
				 struct api_message_parts *parts_out) GP_MUST_USE;

/* The members from `uid` to `keywords`: all that can change is among them. Of the row,
 * only `items`, `uid`, `modseq`, `size`, `internal_date` and the flags are read. */
void api_message_write_facts(struct api_json_writer *writer, const struct api_message_view *view,
			     const struct imap_fetch *row);
/* The others, without `bodyValues`, and without `preview` unless the row has it. */
void api_message_write_content(struct api_json_writer *writer, const struct api_message_view *view,
			       const struct imap_fetch *row, const struct api_message_parts *parts);
/* Whether api_message_write_content() writes `preview`. */
bool api_message_has_preview(const struct imap_fetch *row);

/* Flags as `{"$seen":true}`, lower case; \Recent is left out. */
void api_keywords_write(struct api_json_writer *writer, const struct span *flags, size_t n_flags,
			struct gp_arena *arena);
/* The flag that a keyword stands for: "$seen" is "\Seen", others are themselves; in
 * the arena. NIL when it is none that may be sent. */
struct span api_keyword_flag(struct gp_arena *arena, struct span keyword);
bool api_row_has_flag(const struct imap_fetch *row, struct span flag);
/* All fields of a header block, `[{"name","value","raw"}]`, in order. */
void api_headers_write(struct api_json_writer *writer, struct span block, struct gp_arena *arena);

#endif
