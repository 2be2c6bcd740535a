/*
 * A message to be composed, as a request describes it: the JSON of POST …/messages, or the
 * fields and files of a form. Whatever is unknown or bad is GP_INVALID, with the path of
 * the member: "attachments[2].content: is not base64: character 7".
 *
 *   {"from":[{"name","email"}],"sender","replyTo","to","cc","bcc","subject","text","html",
 *    "inReplyTo":["id"],"references":["id"],"messageId":["id"],"sentAt":"…",
 *    "headers":{"X-Name":"value"},"keywords":{"$draft":true},"receivedAt":"…",
 *    "attachments":[{"name","type","disposition","cid","content":"<base64>"},
 *                   {"name","source":{"mailbox","uid","partId","uidValidity"}}]}
 *
 * A member that is null counts as absent, as messages that were read have them. Sources
 * are left as references: who fetches them sets the attachment's content.
 *
 * No state is shared: a draft may be read and composed on a worker thread.
 */
#ifndef GP_API_DRAFT_H
#define GP_API_DRAFT_H

#include <jansson.h>

#include "api/message_change.h"
#include "mail/compose.h"

/* A part of another message; without part_id all of it, as message/rfc822. */
struct api_draft_source {
	struct span mailbox; /* UTF-8; NIL: the attachment is no source */
	uint32_t uid;
	uint32_t uidvalidity; /* 0: not said */
	struct span part_id;  /* digits and dots; NIL: all of the message */
};

struct api_draft {
	struct mail_draft mail; /* seed and date are for the caller to set, before JSON is read */
	bool has_date;          /* `sentAt` was there */
	struct api_draft_source sources[MAIL_MAX_ATTACHMENTS];
	struct gp_buffer contents[MAIL_MAX_ATTACHMENTS]; /* own; mail.attachments[i].content borrows */
	struct mail_attachment attachments[MAIL_MAX_ATTACHMENTS];
	size_t n_files;                              /* not yet among them: kept at the end of the three arrays */
	struct span flags[API_MAX_CHANGED_KEYWORDS]; /* IMAP's, of `keywords` */
	size_t n_flags;
	bool has_keywords; /* the member was there */
	bool has_received_at;
	int64_t received_at; /* seconds since 1970 UTC */

	/* what the spans point into */
	struct gp_arena arena;       /* own */
	json_t *json;                /* own */
	struct gp_buffer text, html; /* own: of a form */
};

/* NULL when memory ends. */
struct api_draft *api_draft_new(void);
void api_draft_free(struct api_draft **draft);

/* All of a draft but the files of a form, which may have come before. Once, and not together
 * with fields. `json` need not outlive the call. GP_INVALID, GP_NO_MEMORY. */
enum gp_status api_draft_read_json(struct api_draft *draft, struct span json, struct gp_error *error) GP_MUST_USE;
/* One field of a form: from, to, cc, bcc (header text; may repeat), subject, text, html.
 * The value is taken. */
enum gp_status api_draft_set_field(struct api_draft *draft, struct span name, struct gp_buffer *value,
				   struct gp_error *error) GP_MUST_USE;
/* An attachment; `name` and `type` (NIL: not told) are copied, `content` is taken. */
enum gp_status api_draft_add_file(struct api_draft *draft, struct span name, struct span type,
				  struct gp_buffer *content, struct gp_error *error) GP_MUST_USE;
/* After all of the above: the files follow the JSON's attachments, and what fields and
 * files hold is checked too. GP_INVALID. */
enum gp_status api_draft_finish(struct api_draft *draft, struct gp_error *error) GP_MUST_USE;
/* Whether an attachment's source is yet to be fetched. */
bool api_draft_wants_source(const struct api_draft *draft, size_t i);
/* Bytes that are held in texts and contents. */
size_t api_draft_size(const struct api_draft *draft);

#endif
