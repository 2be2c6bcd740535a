/*
 * The watch: who is told that a mailbox may have changed.
 *
 * A watch belongs to one credential and says where to look, not what changed: what it
 * says is a hint that may come for nothing, but while it is up nothing happens in the
 * mailboxes it watches without one. How it knows is the server's matter: NOTIFY
 * (RFC 5465), one session for all mailboxes; else IDLE (RFC 2177), a session for each of
 * the first mailboxes and STATUS every 30 s for the others; else STATUS alone. Where
 * STATUS is all there is, a change of flags is seen only by the mod-sequence: without
 * CONDSTORE a mailbox with messages is named each time.
 *
 * Its sessions are the pool's: they count in the caps, belong to one credential, log in
 * anew after GP_MAX_SESSION_AGE_MS and log out when the pool drains (the watch is then
 * down, and stays so). At most all but one of an account's sessions are its watches';
 * with a cap of one it polls by short leases. Where the pool is full, a watch gives way
 * to leases and polls too.
 *
 * All events come from the loop. A callback may start and stop watches, this one too.
 */
#ifndef GP_IMAP_WATCH_H
#define GP_IMAP_WATCH_H

#include "imap/pool.h"

struct imap_watch;

struct imap_watch_spec {
	struct imap_credential *credential; /* a reference is taken */
	bool is_all;                        /* all mailboxes, else: */
	const struct span *mailboxes;       /* UTF-8, copied */
	size_t n_mailboxes;
};

struct imap_watch_events {
	/* This mailbox (UTF-8, borrowed) may have changed. `status` is what the server said of
	 * it, borrowed; NULL: nothing. */
	void (*changed)(void *ctx, struct span mailbox, const struct imap_status *status);
	/* Mailboxes were made, renamed, deleted, subscribed or unsubscribed. */
	void (*listed)(void *ctx);
	/* It is up, or up again: what happened before was not told. Look at everything once. */
	void (*up)(void *ctx);
	/* It is down. Tried again with back-off and jitter, unless is_final (the credential was
	 * refused, or the pool drains): then no event follows. */
	void (*down)(void *ctx, const struct gp_error *error, bool is_final);
};

/* NULL when memory ends. `events` and `ctx` are borrowed. Must be stopped before the pool
 * is freed. */
struct imap_watch *imap_watch_start(struct imap_pool *pool, const struct imap_watch_spec *spec,
				    const struct imap_watch_events *events, void *ctx);
/* Other mailboxes from now on; `up` comes again when they are watched. On a failure
 * (GP_NO_MEMORY) it watches what it did. */
enum gp_status imap_watch_set(struct imap_watch *watch, bool is_all, const struct span *mailboxes,
			      size_t n_mailboxes) GP_MUST_USE;
/* Somebody begins to follow what it watches, and expects something soon: it looks more
 * often for a while. */
void imap_watch_look(struct imap_watch *watch);
/* No event comes any more. Leaves NULL; NULL is a no-op. */
void imap_watch_stop(struct imap_watch **watch);

#endif
