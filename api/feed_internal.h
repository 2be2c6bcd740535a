/*
 * What the feed's files share.
 *
 *	feed.c         the streams, and what the hub says
 *	feed_list.c    the list of mailboxes, and what changed in it
 *	feed_sync.c    one sync of one mailbox
 *	feed_join.c    a stream that begins: its mailboxes, and where it goes on from
 */
#ifndef GP_API_FEED_INTERNAL_H
#define GP_API_FEED_INTERNAL_H

#include "api/event_id.h"
#include "api/event_text.h"
#include "api/feed.h"
#include "api/hub_internal.h"
#include "api/role.h"
#include "api/sync.h"

#define FEED_MAX_SYNCS 2
#define FEED_RETRY_MS 1000 /* the first time; then twice as long each time */
#define FEED_MAX_RETRY_MS 30000
#define FEED_MAX_REFUSALS 8 /* in a row; then a mailbox waits for the next list, or for what the watch says */
#define FEED_LIST_AGAIN_MS 1500
#define FEED_MAX_BATCH GP_MAX_JSON_REPLY
/* What a client that reads has room for. More than that is one `reset` of all. */
#define FEED_MAX_TOLD (256 * GP_KIB) /* one batch; of the changes of one mailbox: one `reset` of it */
#define FEED_MAX_ANEW (128 * GP_KIB) /* mailboxes that are to be read anew when a stream begins */

struct api_feed;
struct feed_sync;

/* A mailbox, for as long as it is listed or a stream names it. */
struct feed_mailbox {
	struct api_feed *feed; /* borrow */
	char *name;            /* own: UTF-8, INBOX in capitals */
	char hash[API_EVENT_HASH + 1];
	bool is_listed;
	size_t index; /* in feed->list, when listed */
	bool is_selectable;
	uint32_t uidvalidity;   /* as LIST told it last; 0: not known */
	size_t n_named;         /* streams that name it */
	struct api_state state; /* own: what the streams that see it have been told; NONE: not known yet */
	uint64_t told;          /* a hash of the JSON that they have been told last; 0: they are owed it */
	uint64_t changed_at;    /* feed->clock */
	bool is_dirty;          /* it is to be synced */
	bool is_refused;        /* the server does not open it: it has no state */
	bool is_reset_due;      /* what happened to it nobody knows: it is told with its next state */
	struct feed_sync *sync; /* own, while it runs */
	struct gp_timer retry;  /* of a sync that failed, or of what is refused */
	unsigned n_failures;
};

/* A mailbox that a stream has not been brought up to yet. */
struct feed_catch {
	struct feed_catch *next;      /* own */
	struct feed_mailbox *mailbox; /* borrow */
	struct api_state since;       /* own: where the stream is; NONE: wherever the mailbox is */
	bool is_reset_due;            /* it is told to read it anew, once it is known where that is */
	uint64_t told;                /* mailbox->told, when the stream was told of the mailbox */
	uint64_t number;              /* feed->clock when it came: for a moment that is later */
};

struct api_listener {
	struct api_listener *prev, *next;   /* link: feed->streams */
	struct api_feed *feed;              /* borrow */
	struct imap_credential *credential; /* own (a reference) */
	struct api_mailbox_ref *refs;       /* own, with its names: what was asked for */
	size_t n_refs;
	bool is_all;
	char *last_id;                   /* own: until it has begun; NULL: none */
	struct feed_mailbox **mailboxes; /* own; those it names */
	size_t n_mailboxes;
	struct feed_catch *catches; /* own */
	struct gp_buffer gathered;  /* own: what it is to be told of the list that is taken */
	uint64_t list_number;       /* feed->n_lists when it came */
	bool has_begun, is_live;
	bool is_stopped;                          /* freed when feed->n_entered is 0 */
	const struct api_listener_events *events; /* borrow: static */
	void *ctx;                                /* borrow */
};

struct api_feed {
	struct api_hub *hub;             /* borrow */
	struct api_app *app;             /* borrow */
	struct feed_mailbox **mailboxes; /* own; ascending by name */
	size_t n_mailboxes, mailboxes_size;
	struct api_listener *streams; /* link */
	size_t n_streams, n_all;      /* n_all: those that see all mailboxes */
	uint64_t clock;               /* one more with each change */

	/* what LIST said last */
	struct gp_arena arena; /* own: of all below */
	struct imap_mailbox *list;
	struct api_role *roles;
	struct span *sorted; /* names */
	size_t n_list;
	bool has_qresync;
	uint64_t n_lists; /* 0: there is none yet */
	bool is_list_due;
	bool is_gathering;             /* what streams are told waits: it is one batch of each */
	bool is_away;                  /* the watch is down: nothing is asked until it is up */
	struct imap_lease *list_lease; /* own */
	struct imap_call *list_call;   /* own: NOOP or LIST */
	struct gp_timer list_retry;
	struct gp_timer list_again; /* after the watch said that the list is another one */
	unsigned n_list_failures;

	size_t n_syncs;
	size_t next_sync;     /* the place in `mailboxes` from which the next is looked for */
	unsigned n_entered;   /* callbacks under way */
	struct gp_timer turn; /* looks what is to be done */
};

/* ---- feed.c ---- */

/* Looks what is to be done on the next turn of the loop. */
void feed_soon(struct api_feed *feed);
uint64_t feed_retry_ms(unsigned n_failures);
bool feed_stream_sees(const struct api_listener *stream, const struct feed_mailbox *mailbox);
/* Somebody wants to be told of it. */
bool feed_is_tracked(const struct api_feed *feed, const struct feed_mailbox *mailbox);
struct feed_catch *feed_find_catch(const struct api_listener *stream, const struct feed_mailbox *mailbox);
/* What streams that are up with it have been told of it; NULL: it is to be read anew. */
const struct api_state *feed_told_state(const struct feed_mailbox *mailbox);
/* The state moves; what it held is freed, `state` is left empty. */
void feed_set_state(struct feed_mailbox *mailbox, struct api_state *state);
/* To one stream, or to all that see the mailbox and are up with it; nothing when `text` is
 * empty. */
void feed_tell(struct api_listener *stream, const struct gp_buffer *text);
void feed_tell_all(struct api_feed *feed, const struct feed_mailbox *mailbox, const struct gp_buffer *text);
/* What is told in between is one batch of each stream, with one id: a hundred of them would
 * be more than a client has room for. */
void feed_gather(struct api_feed *feed);
void feed_tell_gathered(struct api_feed *feed);
void feed_enter(struct api_feed *feed);
void feed_leave(struct api_feed *feed);
/* Takes the stream out and ends it. */
void feed_end_stream(struct api_listener *stream, enum api_problem problem, const struct gp_error *error,
		     const char *detail);
/* The same of a status that is ours. */
void feed_fail_stream(struct api_listener *stream, enum gp_status status);
/* It is up with this mailbox; with the last one it is live. */
void feed_caught_up(struct api_listener *stream, const struct feed_mailbox *mailbox);
struct feed_mailbox *feed_find(const struct api_feed *feed, struct span name);
/* NULL when memory ends. */
struct feed_mailbox *feed_find_or_add(struct api_feed *feed, struct span name);

/* ---- feed_list.c ---- */

void feed_list_start(struct api_feed *feed);
void feed_list_stop(struct api_feed *feed);
/* As GET /mailboxes/{mailbox} has it: new reference; NULL when memory ends. */
json_t *feed_mailbox_json(const struct feed_mailbox *mailbox);
/* The `mailbox` event of it, as it is now. */
enum gp_status feed_write_mailbox(const struct feed_mailbox *mailbox, struct gp_buffer *text) GP_MUST_USE;
/* It is another one than the streams that are up with it have been told. */
bool feed_is_untold(const struct feed_mailbox *mailbox);
/* All of them are told of it as it is now. */
void feed_note_told(struct feed_mailbox *mailbox);
/* Tells all that see it what it is, and with `is_reset` that it is to be read anew. */
void feed_tell_mailbox(struct feed_mailbox *mailbox, bool is_reset);

/* ---- feed_sync.c ---- */

void feed_sync_start(struct feed_mailbox *mailbox);
void feed_sync_stop(struct feed_mailbox *mailbox);
/* The stream has left. */
void feed_sync_forget(struct feed_mailbox *mailbox, const struct api_listener *stream);

/* ---- feed_join.c ---- */

/* The list is there: the stream begins, or ends. */
void feed_join(struct api_listener *stream);
/* Whether it can begin with the list that is there. */
bool feed_can_join(const struct api_listener *stream);

#endif
