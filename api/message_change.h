/*
 * A change of one message: what PATCH, DELETE, the addresses of keywords and /copy have
 * in common. A change is a job that looks at the message first,
 *
 *   FETCH (UID FLAGS MODSEQ)   404; If-Match on what the server has now, 412
 *
 * then acts, in steps that say when they are over by calling the next one, and then
 * replies. IMAP has no transaction over steps: what was done before one fails is in
 * job->so_far, and the problem tells it. Nothing is sent twice: when the answer of a step
 * is lost, another session is asked once whether the message is as it was to be.
 *
 *   api/message_change.c     the look, and the message as it now is
 *   api/message_keywords.c   STORE of flags and keywords; PUT and DELETE of one
 *   api/message_move.c       copy, move, removal; POST …/copy, DELETE
 *   api/message_patch.c      PATCH: keywords, then the move
 */
#ifndef GP_API_MESSAGE_CHANGE_H
#define GP_API_MESSAGE_CHANGE_H

#include <jansson.h>

#include "api/etag.h"
#include "api/message_json.h"
#include "api/router.h"
#include "api/trash.h"

#define API_MAX_CHANGED_KEYWORDS 64

/* {"$seen":true,"$flagged":null}: flags, in the arena. */
struct api_keyword_changes {
	struct span set[API_MAX_CHANGED_KEYWORDS], clear[API_MAX_CHANGED_KEYWORDS];
	size_t n_set, n_clear;
};

struct api_change;
typedef void (*api_change_fn)(struct api_change *self);

struct api_change {
	struct api_job job; /* first */
	uint32_t uid;
	uint64_t members;      /* of the message in the reply */
	struct span if_match;  /* borrow: the exchange's */
	api_change_fn prepare; /* before the look; may be NULL. Ends in api_change_prepared() */
	api_change_fn act;     /* after the look at the message */
	struct api_keyword_changes keywords;
	struct span target; /* the mailbox to copy or move to: UTF-8, in the arena; NIL: none */
	struct api_trash trash;
	bool is_for_deletion; /* of a DELETE: 204 when it has gone as it should */

	/* one run */
	api_change_fn next, gone; /* after the step under way; gone: the look found no message */
	struct imap_uidset uids;  /* own: the one */
	struct gp_buffer message; /* own: the reply */
	enum gp_status written;   /* what writing it ended with */
	bool has_row;
	bool is_clearing;          /* the second STORE */
	bool lacks_keyword;        /* as the last row had it: one of those to set is missing */
	bool keeps_keyword;        /* one of those to clear is there */
	bool has_moved;            /* the mailbox that is selected is the target */
	uint64_t modseq;           /* as the last row had it; 0: none */
	uint64_t unchanged_since;  /* of the STORE of \Deleted; 0: unconditional */
	bool is_permanent;         /* it is removed, not moved */
	bool remains;              /* moved, but still in the source, marked as deleted */
	struct imap_copied copied; /* zeros: not known */
	uint32_t source_uidvalidity;
	struct span source; /* borrow: the mailbox's name, as the job had it */
	char etag[API_ETAG_SIZE];
};

/* ---- api/message_change.c ---- */

/* A change of the message that the path names, which knows If-Match. NULL: replied. */
struct api_change *api_change_new(struct api_request *request, api_change_fn act);
/* Reads `fields`. */
void api_change_read_fields(struct api_change *self, struct api_query *query);
/* Refuses a bad query, else starts the job. */
void api_change_start(struct api_request *request, struct api_change *self);
/* {"mailbox":"Archive"}: a mailbox's full name in JSON. False: a problem has been replied. */
bool api_change_read_target(struct api_exchange *exchange, const json_t *mailbox, struct span *target_out);
/* Looks at the message again; next() when it is there. `gone` is called when it is not. */
void api_change_look(struct api_change *self, api_change_fn next, api_change_fn gone);
void api_change_prepared(struct api_change *self);
/* For job->probe: looks at the message in its mailbox, if that is still the same one; what
 * does not tell the outcome is for job->report_less(). */
void api_change_probe(struct api_change *self, api_change_fn there, api_change_fn gone);
void api_change_stay_unknown(struct api_change *self);
/* Replies with the message as it now is, in the mailbox that is selected. */
void api_change_show(struct api_change *self);
/* For exchange->current: uid, uidValidity, modseq and keywords of a row of the selected
 * mailbox, as JSON in the arena; NIL when memory ends. */
struct span api_message_current(struct api_job *job, const struct imap_fetch *row);
/* For rows of STORE and FETCH: notes what the message's version is. */
void api_change_on_row(void *ctx, const struct imap_fetch *row);
void api_change_fail_not_found(struct api_change *self);
/* 412, with what the message is now. */
void api_change_fail_precondition(struct api_change *self);
/* The same after a STORE that came too late: looks at the message first; 404 when it has gone. */
void api_change_fail_modified(struct api_change *self);
/* False, and replied 403, when nothing can be changed in the mailbox. */
bool api_change_is_allowed(struct api_change *self);
/* What was done so far, for the problem of a step that fails later. */
void api_change_note(struct api_change *self, const char *format, ...) GP_PRINTF(2, 3);
/* Whether the STORE to come is to be conditional: If-Match, and the server knows MODSEQ. */
bool api_change_is_guarded(const struct api_change *self);

/* ---- api/message_keywords.c ---- */

/* {"$seen":true,"$flagged":null}. False: a problem has been replied. */
bool api_change_read_keywords(struct api_exchange *exchange, json_t *keywords, struct api_keyword_changes *changes_out);
/* Sets and clears; next() at the end. */
void api_change_store(struct api_change *self, api_change_fn next);

/* ---- api/message_move.c ---- */

/* Moves to self->target, and replies. */
void api_change_move(struct api_change *self);

#endif
