/*
 * The `id:` of an event stream: where each mailbox of the stream was when the event was
 * sent, so that a client that comes back (Last-Event-ID) goes on exactly there, at any
 * gateway. Opaque to callers.
 *
 *   1~<hash><state>~<hash><state>…[~+<digest>]
 *
 * hash: 6 characters for the mailbox's name; state: api_state_write(), or "-" for a mailbox
 * without one. At most API_EVENT_ID_MAX characters: what does not fit is told by a digest
 * of all that is left out; it says whether they changed, not which.
 */
#ifndef GP_API_EVENT_ID_H
#define GP_API_EVENT_ID_H

#include "api/state.h"

#define API_EVENT_ID_MAX ((size_t)6144)
#define API_EVENT_HASH 6             /* characters */
#define API_EVENT_MAX_MAILBOXES 1024 /* that an id is read for */

/* For a mailbox's name; INBOX in any case is one. */
void api_event_hash(struct span mailbox, char hash_out[API_EVENT_HASH + 1]);

/* ---- writing: begin, add each mailbox, those that matter first, end ---- */

struct api_event_id_writer {
	struct gp_buffer *out; /* borrow */
	size_t start, n_left;  /* left: mailboxes still to be added */
	bool is_full;
	uint64_t digest; /* of those left out; 0: none */
	enum gp_status status;
};

void api_event_id_begin(struct api_event_id_writer *writer, struct gp_buffer *out, size_t n_mailboxes);
/* `state` NULL or of kind NONE: it has none. */
void api_event_id_add(struct api_event_id_writer *writer, const char *hash, const struct api_state *state);
enum gp_status api_event_id_end(struct api_event_id_writer *writer) GP_MUST_USE;

/* ---- reading ---- */

struct api_event_id_entry {
	char hash[API_EVENT_HASH + 1];
	struct span state; /* borrow: of the text that was read; "-" for none */
	bool is_seen;      /* for the reader's use */
};

struct api_event_id {
	struct api_event_id_entry *entries; /* own */
	size_t n_entries;
	uint64_t digest; /* of the mailboxes without an entry; 0: there are none */
};

/* GP_INVALID: none of ours, or of another version. The states are not looked at. */
enum gp_status api_event_id_parse(struct span text, struct api_event_id *id_out) GP_MUST_USE;
void api_event_id_deinit(struct api_event_id *id);
/* NULL when it has none, or two. */
struct api_event_id_entry *api_event_id_find(struct api_event_id *id, const char *hash);
/* Adds one more to the digest of what is left out, in any order. */
uint64_t api_event_id_digest(uint64_t digest, const char *hash, const struct api_state *state);

#endif
