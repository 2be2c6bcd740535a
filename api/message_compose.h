/*
 * POST …/messages of JSON and of forms: what is described is composed and appended.
 *
 *   a session; STATUS of the mailbox      401, 404 before a large body is read; then it is let go
 *   the body                              as it arrives, within GP_MAX_HELD bytes of all requests
 *   on a worker thread                    JSON → draft: 400; draft → message, if it has no sources
 *   for each source, in its mailbox       BODYSTRUCTURE, the part, decoded: 404
 *   on a worker thread                    draft → message
 *   APPEND                                as of any message (api/message_append.h)
 *
 *   api/message_compose.c   the body, the worker, the message
 *   api/compose_source.c    parts of other messages
 *
 * One of these outlives its request while a worker has it: it is freed by who goes last.
 */
#ifndef GP_API_MESSAGE_COMPOSE_H
#define GP_API_MESSAGE_COMPOSE_H

#include "api/draft.h"
#include "api/message_append.h"
#include "api/multipart_form.h"

struct api_compose {
	struct api_app *app;              /* borrow */
	struct api_append *append;        /* link: NULL when the request is over */
	bool is_working;                  /* a worker has what follows, but for `append` and `n_held` */
	size_t n_held;                    /* of app->n_held */
	api_append_fn then, then_release; /* what the append was to do before it goes, and to free */

	/* the body */
	size_t n_body;
	struct api_form *form; /* own; NULL: it is JSON */
	struct gp_buffer json; /* own */
	bool has_json, has_fields, is_collected;
	/* the part of the form that comes */
	struct gp_buffer value;           /* own */
	struct span name, filename, type; /* in the exchange's arena */
	bool is_file;

	/* the work */
	struct api_draft *draft;        /* own */
	struct mail_composed *composed; /* own */
	bool is_read;                   /* the draft is whole, but for sources */
	bool is_taken;                  /* of it, keywords and arrival */
	struct gp_error error;

	/* api/compose_source.c */
	size_t source_at;             /* the attachment */
	struct mail_part *part;       /* borrow: in the exchange's arena */
	struct mail_content *decoder; /* own */
	struct imap_uidset uids;      /* own */
	bool has_row;
};

/* What is held in memory from now on for this request. False: too much; it has been
 * replied, and the request is over. */
bool api_compose_hold(struct api_compose *self, size_t n_bytes);
/* Reads or composes on a worker, and goes on from there. */
void api_compose_work(struct api_compose *self);

/* ---- api/compose_source.c ---- */

/* Fetches the sources that are not there yet, then api_compose_work(). */
void api_compose_fetch(struct api_compose *self);
void api_compose_fetch_reset(struct api_compose *self);

#endif
