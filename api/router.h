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
char *api_part_href(struct gp_arena *arena, struct span mailbox, uint32_t uid, const char *part_id);
char *api_mailbox_href(struct gp_arena *arena, struct span mailbox);

/* ---- the handlers ---- */

/* api/service.c, api/mailboxes.c */
void api_root_get(struct api_request *request);
void api_openapi_get(struct api_request *request);
void api_healthz_get(struct api_request *request);
void api_readyz_get(struct api_request *request);
void api_mailboxes_get(struct api_request *request);
void api_mailbox_get(struct api_request *request);
/* api/mbox_upload.c: for api_message_post() */
void api_mbox_post(struct api_request *request);

/* All others, and their files: one list, so that a test can stand in for them. */
#define API_HANDLER_MAP(X)                                                                                             \
	/* api/mailbox_write.c */                                                                                      \
	X(api_mailbox_post)                                                                                            \
	X(api_mailbox_patch)                                                                                           \
	X(api_mailbox_delete)                                                                                          \
	/* api/changes.c */                                                                                            \
	X(api_changes_get)                                                                                             \
	/* api/events.c */                                                                                             \
	X(api_events_get)                                                                                              \
	/* api/message_list.c */                                                                                       \
	X(api_messages_get)                                                                                            \
	/* api/message_bulk.c */                                                                                       \
	X(api_messages_patch)                                                                                          \
	X(api_messages_delete)                                                                                         \
	/* api/message_append.c */                                                                                     \
	X(api_message_post)                                                                                            \
	/* api/message_replace.c */                                                                                    \
	X(api_message_put)                                                                                             \
	/* api/message_get.c */                                                                                        \
	X(api_message_get)                                                                                             \
	/* api/message_content.c */                                                                                    \
	X(api_message_raw_get)                                                                                         \
	X(api_message_part_get)                                                                                        \
	/* api/export_attachments.c */                                                                                 \
	X(api_message_attachments_get)                                                                                 \
	/* api/message_text.c */                                                                                       \
	X(api_message_headers_get)                                                                                     \
	X(api_message_text_get)                                                                                        \
	X(api_message_html_get)                                                                                        \
	/* api/message_patch.c */                                                                                      \
	X(api_message_patch)                                                                                           \
	/* api/message_move.c */                                                                                       \
	X(api_message_copy)                                                                                            \
	X(api_message_delete)                                                                                          \
	/* api/message_keywords.c */                                                                                   \
	X(api_message_keyword_put)                                                                                     \
	X(api_message_keyword_delete)

#define X(name) void name(struct api_request *request);
API_HANDLER_MAP(X)
#undef X

#endif
