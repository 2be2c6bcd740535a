/*
 * A message on its way into a mailbox: what POST of message/rfc822, of a composed message
 * and PUT have in common. It is a job on a session of its own, with no mailbox selected:
 *
 *   STATUS (UIDNEXT UIDVALIDITY)   in one write with
 *   APPEND … {size}                404, 413, 507 … before any of the message is asked for
 *   the message                    as it arrives, or out of a buffer
 *   [SELECT, UID FETCH n:*]        where the server does not say where it is, or its answer was lost
 *
 * What came of it:
 *
 *   OK                                            201, uid null when it cannot be found
 *   lost before all had left                      502: nothing was appended
 *   lost afterwards: it is there                  201
 *                    it is not, for a while       502: nothing was appended
 *                    it cannot be told            502 with "outcome":"unknown"
 *
 * With an Idempotency-Key whose first request was lost, the look comes first.
 *
 * A handler makes one with api_append_new(), gives it a message (or the request's own
 * body), and starts it. With `prepare` it does something else first, in as many steps and
 * on as many sessions as it likes (api_job_move_to()), and ends that in
 * api_append_prepared(). With `appended` it goes on afterwards, and replies with
 * api_append_reply().
 *
 *   api/message_append.c   the steps
 *   api/append_body.c      POST …/messages, and the message as the request's own body
 *   api/message_compose.c  POST …/messages of JSON and of forms
 *   api/append_probe.c     looking for a message whose place was not told
 *   api/append_trace.c     how it is known again
 *   api/mbox_upload.c      POST …/messages of application/mbox
 *   api/message_replace.c  PUT …/messages/{uid}
 */
#ifndef GP_API_MESSAGE_APPEND_H
#define GP_API_MESSAGE_APPEND_H

#include <jansson.h>

#include "api/append_trace.h"
#include "api/router.h"

#define API_MAX_APPEND_KEYWORDS 64

struct api_append;
typedef void (*api_append_fn)(struct api_append *self);

struct api_append {
	struct api_job job;          /* first */
	struct api_request *request; /* borrow: in the exchange's arena */
	api_append_fn prepare;       /* NULL: nothing comes before */
	api_append_fn appended;      /* NULL: api_append_reply() */
	bool is_prepared_alone;      /* `prepare` needs the session that appends, and no mailbox */
	api_append_fn release;       /* frees what a handler added; may be NULL */
	bool is_unselected;          /* `prepare` does not need the mailbox selected, but a session */
	/* flags as IMAP has them: in the arena */
	struct span flags[API_MAX_APPEND_KEYWORDS];
	size_t n_flags;
	bool has_keywords; /* they were given: an empty list too */
	bool has_date;
	int64_t date;  /* INTERNALDATE */
	uint64_t size; /* of the message */
	bool is_held;  /* it is in `message`, not in the request's body to come */
	struct gp_buffer message;
	size_t n_gathered; /* of `message`, among those of app->n_held */
	/* Another way to hold it, NULL: `message`. Gives the next octets, `room` at most and
	 * one at least; from the first one when n_written is 0. */
	size_t (*read)(struct api_append *self, char *to, size_t room);
	struct api_compose *compose; /* own: of who composes it; may be NULL */
	bool is_begun;               /* upload_begin() was called */
	bool is_again;               /* sent before under this Idempotency-Key, and its answer was lost */

	/* one run */
	struct api_append_trace trace;
	uint64_t n_written;
	struct imap_copied place; /* where it is now; zeros: not known */
	struct imap_copied told;  /* what APPENDUID said of another UIDVALIDITY than STATUS; zeros: nothing */
	bool is_confirmed;        /* the server said OK */
	struct gp_error lost;     /* how the answer was lost */
	/* looking for it */
	struct imap_uidset candidates; /* own */
	struct imap_copied found;
	size_t n_same, n_likely, n_new;
	bool is_in_doubt; /* it may be another mailbox: not to find it there says nothing */
	unsigned n_looks;
	struct gp_timer look_again;
	struct gp_timer more; /* of what is held, on the next turn */
	json_t *extra;        /* own: members of the reply to come; may be NULL */
};

/* `size` bytes in the exchange's arena, zeroed, of a struct that begins with a struct
 * api_append. Reads `keywords` and `receivedAt`. NULL: replied. */
void *api_append_new(struct api_request *request, size_t size);
/* A keyword more: "$seen". False: it is none, or there are too many. */
bool api_append_add_keyword(struct api_append *self, struct span keyword);
/* The message itself: the buffer's memory is taken. */
void api_append_set_message(struct api_append *self, struct gp_buffer *message);
/* Refuses a bad query, else starts: with the mailbox selected for writing when there is
 * something to prepare, else on a session of its own. */
void api_append_start(struct api_append *self);
/* From `prepare`: goes on with the message. */
void api_append_prepared(struct api_append *self);
/* All has been checked but the Idempotency-Key: starts, unless that says otherwise. */
void api_append_start_checked(struct api_append *self);
/* Frees one that was not started. */
void api_append_discard(struct api_append *self);
/* {"mailbox","uid","uidValidity"} and `extra`, with Location. */
void api_append_reply(struct api_append *self);

/* ---- api/append_body.c ---- */

/* api_append_start() with the request's body: the message itself (message/rfc822; one
 * without a length is held first), or what describes it, JSON or a form. 415 for what is
 * neither. */
void api_append_start_from_body(struct api_append *self);
/* For append_body.c, the two halves of api_append_start_checked(): the Idempotency-Key
 * (false: replied, or it will be by itself, and `self` is gone), and the job. */
bool api_append_enter(struct api_append *self);
void api_append_start_entered(struct api_append *self);

/* ---- api/message_compose.c ---- */

/* The message is to be composed from the request's body, before `prepare`. False: 415 or
 * 503 has been replied. */
bool api_append_compose(struct api_append *self);

/* ---- api/append_probe.c ---- */

/* The answer was lost, or did not say where: looks in the mailbox, and replies or goes on. */
void api_append_probe(struct api_append *self);
void api_append_probe_reset(struct api_append *self);
/* For message_append.c: it is there; it is not, and is to be sent. */
void api_append_arrived(struct api_append *self);
void api_append_send_again(struct api_append *self);

#endif
