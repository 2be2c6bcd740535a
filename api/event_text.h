/*
 * Server-Sent Events (HTML, section 9.2) as text. Events are gathered in a buffer, all of
 * one batch; the last one is left open, so that the id of the whole batch can stand in it:
 *
 *   event: created              api_event_uids()
 *   data: {"mailbox":…}
 *   (empty line)
 *   event: mailbox              api_event_mailbox()
 *   data: {"name":…}
 *   id: 1~…                     api_event_end()
 *   (empty line)
 */
#ifndef GP_API_EVENT_TEXT_H
#define GP_API_EVENT_TEXT_H

#include <jansson.h>

#include "imap/uidset.h"

#define API_EVENT_MAX_UIDS 1000 /* of one event: longer sets are several events */
/* An event as those below write it: all that the stream sees is to be read anew. */
#define API_EVENT_RESET_ALL SPAN_LIT("event: reset\ndata: {\"mailbox\":null,\"all\":true}\n")

/* `kind` is "created", "updated" or "destroyed"; nothing for an empty set. */
enum gp_status api_event_uids(struct gp_buffer *out, const char *kind, struct span mailbox, uint32_t uidvalidity,
			      const struct imap_uidset *uids) GP_MUST_USE;
/* {"mailbox":…}; NIL: null. */
enum gp_status api_event_reset(struct gp_buffer *out, struct span mailbox) GP_MUST_USE;
/* {"name":…,"deleted":true} */
enum gp_status api_event_deleted(struct gp_buffer *out, struct span mailbox) GP_MUST_USE;
/* `value` is borrowed; NULL is GP_NO_MEMORY. */
enum gp_status api_event_json(struct gp_buffer *out, const char *kind, const json_t *value) GP_MUST_USE;
/* The id of the batch, which closes its last event. */
enum gp_status api_event_end(struct gp_buffer *out, struct span id) GP_MUST_USE;

#endif
