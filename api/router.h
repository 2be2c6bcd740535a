/*
 * Which handler a request goes to, decided on the raw target. Every resource is one
 * line of a table in router.c: pattern, methods, handler. Message resources stand
 * under two addresses, /mailboxes/{mailbox}/messages/{uid}… and /messages/{uid}…
 * with ?mailbox= (default INBOX), and are given to the same handlers.
 */
#ifndef GP_API_ROUTER_H
#define GP_API_ROUTER_H

#include "api/app.h"
#include "api/job.h"
#include "api/query.h"

/* A matched request. In the exchange's arena. */
struct api_request {
	struct api_app *app;
	struct api_exchange *exchange;
	struct api_target target;
	struct api_query query; /* `mailbox`, `pretty` and `uidValidity` are read already where they apply */
	struct imap_credential *credential; /* borrow: NULL for resources that need none */
	/* what the path names */
	bool is_mailbox_in_path;
	struct api_mailbox_ref mailbox; /* from the path or ?mailbox=; INBOX by default for messages */
	uint32_t uid;                   /* {uid} */
	struct span part_id;            /* {partId}: digits and dots, checked */
	struct span keyword;            /* {keyword}, decoded, not yet checked */
	bool has_uidvalidity;           /* ?uidValidity= */
	uint32_t uidvalidity;
};

typedef void (*api_handler_fn)(struct api_request *request);

/* Every `mailbox` parameter, names and roles; `n_out` 0 when there is none. False: a
 * problem has been replied. */
bool api_request_mailboxes(struct api_request *request, struct api_mailbox_ref *mailboxes, size_t most, size_t *n_out);

/* "/mailboxes/Work%2F2024/messages/7" + suffix ("" or "/parts/2"), in the arena. */
char *api_message_href(struct gp_arena *arena, struct span mailbox, uint32_t uid, const char *suffix);
char *api_mailbox_href(struct gp_arena *arena, struct span mailbox);

/* ---- the handlers, one file for each group ---- */

/* api/service.c */
void api_root_get(struct api_request *request);
void api_openapi_get(struct api_request *request);
void api_healthz_get(struct api_request *request);
void api_readyz_get(struct api_request *request);
/* api/mailboxes.c */
void api_mailboxes_get(struct api_request *request);
void api_mailbox_get(struct api_request *request);
/* api/mailbox_write.c */
void api_mailbox_post(struct api_request *request);
void api_mailbox_patch(struct api_request *request);
void api_mailbox_delete(struct api_request *request);
/* api/changes.c */
void api_changes_get(struct api_request *request);
/* api/events.c */
void api_events_get(struct api_request *request);
/* api/message_list.c */
void api_messages_get(struct api_request *request);
/* api/message_bulk.c */
void api_messages_patch(struct api_request *request);
void api_messages_delete(struct api_request *request);
/* api/message_append.c */
void api_message_post(struct api_request *request);
/* api/message_get.c */
void api_message_get(struct api_request *request);
/* api/message_content.c: HEAD too */
void api_message_raw_get(struct api_request *request);
void api_message_part_get(struct api_request *request);
/* api/export_attachments.c: HEAD too */
void api_message_attachments_get(struct api_request *request);
/* api/message_text.c */
void api_message_headers_get(struct api_request *request);
void api_message_text_get(struct api_request *request);
void api_message_html_get(struct api_request *request);
/* api/message_patch.c */
void api_message_patch(struct api_request *request);
/* api/message_move.c */
void api_message_copy(struct api_request *request);
void api_message_delete(struct api_request *request);
/* api/message_keywords.c */
void api_message_keyword_put(struct api_request *request);
void api_message_keyword_delete(struct api_request *request);

#endif
