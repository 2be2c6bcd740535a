/* What hub.c (the watch, waiters, life) and feed.c (mailboxes and streams) share. */
#ifndef GP_API_HUB_INTERNAL_H
#define GP_API_HUB_INTERNAL_H

#include "api/hub.h"
#include "imap/watch.h"

#define HUB_BUCKETS 256

struct api_feed;

struct api_waiter {
	struct api_waiter *prev, *next;         /* link: the hub's list */
	struct api_hub *hub;                    /* borrow */
	char *mailbox;                          /* own: UTF-8 */
	bool is_due;                            /* woken() is to be called */
	const struct api_waiter_events *events; /* borrow: static */
	void *ctx;                              /* borrow */
};

struct api_hub {
	struct api_hub *bucket_next;        /* link */
	struct api_hubs *hubs;              /* borrow */
	struct imap_credential *credential; /* own (a reference) */
	struct imap_watch *watch;           /* own; NULL: not started, or ended for good */
	struct api_waiter *waiters;         /* link */
	size_t n_waiters;
	struct api_feed *feed; /* own; NULL: no stream came yet */
	bool is_up;            /* the watch sees everything that is on its list */
	bool is_waking;        /* the waiters are being called */
	bool is_all;           /* what the watch was told last */
	char **watched;        /* own: n_watched names, unless is_all */
	size_t n_watched;
	struct gp_timer anew; /* the watch begins anew */
	struct gp_timer wake; /* calls the waiters that are due */
	struct gp_timer grace;
};

struct api_hubs {
	struct api_app *app; /* borrow */
	struct api_hub *buckets[HUB_BUCKETS];
	size_t n_hubs, n_waiters, n_streams;
	struct api_tick *ticks;     /* link */
	struct api_tick *next_tick; /* borrow: while they are called */
	struct gp_timer tick;
	bool is_draining;
};

/* ---- hub.c ---- */

/* The credential's hub; made when there is none. NULL when memory ends, or draining. */
struct api_hub *hub_get(struct api_hubs *hubs, struct imap_credential *credential);
/* A subscriber came: the watch sees its mailboxes from now on, or is_up is false. */
enum gp_status hub_subscribed(struct api_hub *hub) GP_MUST_USE;
/* The watch begins anew with all it sees, from the loop. */
void hub_watch_anew(struct api_hub *hub);
/* A subscriber left: when it was the last one, the grace begins. */
void hub_unsubscribed(struct api_hub *hub);

/* ---- feed.c ---- */

void feed_free(struct api_feed **feed);
bool feed_has_streams(const struct api_feed *feed);
/* What streams want watched: all mailboxes (true), or those that add() is called for. */
bool feed_wants(const struct api_feed *feed, void (*add)(void *ctx, struct span mailbox), void *ctx);
/* The watch's events. */
void feed_changed(struct api_feed *feed, struct span name, const struct imap_status *status);
void feed_listed(struct api_feed *feed);
void feed_up(struct api_feed *feed);
void feed_down(struct api_feed *feed);
/* Ends every stream. */
void feed_end(struct api_feed *feed, const struct gp_error *error);

#endif
