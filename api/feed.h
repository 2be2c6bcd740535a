/*
 * The feed of an account: its mailboxes, their states, and the streams that are told what
 * happens to them. One for each hub that had a stream.
 *
 * The hub's watch says where to look; the feed syncs that mailbox, one sync of a mailbox
 * at a time and FEED_MAX_SYNCS in all, and gives what it found to every stream that sees
 * the mailbox. So what streams are told is the server's own difference between two states,
 * and a stream that begins with the id of an earlier one is brought up by a sync from the
 * states in it, which ends in the very state that the others are told of next.
 *
 *   start → (LIST) → began → events … → ended
 *
 * Callbacks come from the loop, never from within start(), and may stop any stream.
 */
#ifndef GP_API_FEED_H
#define GP_API_FEED_H

#include "api/hub.h"
#include "api/job.h"

#define API_FEED_MAX_LISTENERS 100      /* of one account */
#define API_FEED_MAX_WITHOUT_QRESYNC 64 /* mailboxes of one stream, where each has to be looked through */

struct api_listener;

struct api_listener_spec {
	struct imap_credential *credential;      /* a reference is taken */
	const struct api_mailbox_ref *mailboxes; /* copied; none: all */
	size_t n_mailboxes;
	struct span last_event_id; /* copied; NIL or empty: from now on */
};

struct api_listener_events {
	/* The account is let in and the mailboxes are there. */
	void (*began)(void *ctx);
	/* One batch, its last event still open (api/event_text.h). Borrowed. */
	void (*events)(void *ctx, struct span text);
	/* The last touch; the stream is gone. `problem` fits `error` and `detail`. `error` is
	 * NULL where the server has nothing to do with it, and GP_DRAINING at the end. */
	void (*ended)(void *ctx, enum api_problem problem, const struct gp_error *error, const char *detail);
};

/* GP_QUEUE_FULL: the account has API_FEED_MAX_LISTENERS; GP_DRAINING, GP_NO_MEMORY. */
enum gp_status api_listener_start(struct api_hubs *hubs, const struct api_listener_spec *spec,
				  const struct api_listener_events *events, void *ctx,
				  struct api_listener **stream_out) GP_MUST_USE;
/* No callback comes any more. Leaves NULL; NULL is a no-op. */
void api_listener_stop(struct api_listener **stream);
/* Whose mail it tells of; borrowed. */
const struct imap_credential *api_listener_credential(const struct api_listener *stream);
/* What the stream has been told so far, and is to go on from: after began, and with each
 * batch. */
enum gp_status api_listener_write_id(const struct api_listener *stream, struct gp_buffer *out) GP_MUST_USE;

#endif
