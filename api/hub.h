/*
 * Hubs: who is to be told when something changes. One hub for each credential that has a
 * subscriber; it holds the account's watch (imap/watch.h), which says where to look, and
 * passes that on. What changed is found by syncs (api/sync.h): of the waiter's own, for
 * `/changes?wait=`, or of the account's feed (api/feed.h), for streams of events.
 *
 * A hub belongs to exactly one credential, as a session does, and asserts it. When the
 * last subscriber has left it stays for API_HUB_GRACE_MS, so that a client that comes
 * back finds the watch up. While the IMAP server is away, subscribers stay; when it is
 * back they are woken, as anything may have happened.
 *
 * All callbacks come from the loop, never from within start(). They may stop any
 * subscriber.
 */
#ifndef GP_API_HUB_H
#define GP_API_HUB_H

#include "api/app.h"

#define API_HUB_GRACE_MS 30000
#define API_HUB_MAX_WAITERS 100 /* of one account */
#define API_TICK_MS 15000

struct api_hubs;

/* One for the program. NULL when memory ends. `app` is borrowed. */
struct api_hubs *api_hubs_new(struct api_app *app);
/* Every subscriber's ended() comes, with GP_DRAINING, from within; there are none from
 * then on. The watches are stopped. */
void api_hubs_drain(struct api_hubs *hubs);
/* For app->written. */
void api_hubs_written(struct api_hubs *hubs, const struct imap_credential *credential, struct span mailbox);
/* No subscriber may be left. Before the pool. Leaves NULL; NULL is a no-op. */
void api_hubs_free(struct api_hubs **hubs);

struct api_hubs_stats {
	size_t n_hubs, n_waiters, n_streams;
};

struct api_hubs_stats api_hubs_stats(const struct api_hubs *hubs);

/* ---- waiters: woken when one mailbox may have changed ---- */

struct api_waiter_events {
	/* It may have changed since the waiter was started or was woken last. Comes once for
	 * nothing, when the watch is up: from then on nothing is missed. */
	void (*woken)(void *ctx);
	/* The last touch: GP_DRAINING, or the credential was refused. The waiter is gone. */
	void (*ended)(void *ctx, const struct gp_error *error);
};

struct api_waiter;

/* GP_QUEUE_FULL: the account has API_HUB_MAX_WAITERS; GP_DRAINING, GP_NO_MEMORY. */
enum gp_status api_waiter_start(struct api_hubs *hubs, struct imap_credential *credential, struct span mailbox,
				const struct api_waiter_events *events, void *ctx,
				struct api_waiter **waiter_out) GP_MUST_USE;
void api_waiter_stop(struct api_waiter **waiter);

/* ---- ticks: every API_TICK_MS, for all at once, so that they cost one turn of the loop ---- */

struct api_tick {
	struct api_tick *prev, *next; /* link */
	struct api_hubs *hubs;        /* borrow; NULL: not running */
	void (*fn)(struct api_tick *tick);
	void *ctx; /* the owner, for fn */
};

/* fn() may stop its own tick. */
void api_tick_start(struct api_tick *tick, struct api_hubs *hubs, void (*fn)(struct api_tick *tick), void *ctx);
void api_tick_stop(struct api_tick *tick);

#endif
