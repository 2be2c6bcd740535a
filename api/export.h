/*
 * A list as a stream, without pages: NDJSON, mbox, ZIP. Filters and `sort` are those of
 * lists, `limit` is optional; without `sort`, messages come by rising UID.
 *
 *   UID SEARCH, or UID SORT     which messages; only their UIDs are kept
 *   UID FETCH (…) of a batch    the format's business: it tests rows where IMAP could not
 *   …                           search for a filter, and writes into the sink
 *
 * The next batch is asked for when the sink is ready, so a slow reader stops the reading
 * upstream, and memory does not depend on the number of messages. Messages that are
 * expunged meanwhile are left out. A failure after the head breaks the body off.
 *
 *   api/export.c          request, choice, batches
 *   api/export_ndjson.c   a message's JSON a line
 *   api/export_message.c  the messages themselves, one after another
 *   api/export_archive.c  what they are put into: mbox, ZIP
 */
#ifndef GP_API_EXPORT_H
#define GP_API_EXPORT_H

#include "api/filter.h"
#include "api/message_rows.h"
#include "api/message_sort.h"
#include "api/router.h"
#include "api/sink.h"

#define API_EXPORT_BATCH 512 /* messages of one FETCH, at most */

struct api_export;

struct api_export_format {
	const char *content_type;
	const char *extension; /* NULL: it is no file */
	size_t size;           /* of the struct that begins with struct api_export */
	/* Reads what is the format's own; may be NULL. Bad values mark the query. */
	void (*read)(struct api_export *self, struct api_query *query);
	/* Before the first batch. False: the job has ended. */
	bool (*begin)(struct api_export *self);
	/* Fetches and writes self->uids; ends in api_export_next(). */
	void (*batch)(struct api_export *self);
	/* What comes behind the last message, a piece of it; true when that was all. NULL: nothing. */
	bool (*finish)(struct api_export *self);
	/* The sink has more room, while a batch is under way; may be NULL. */
	void (*moved)(struct api_export *self);
	void (*reset)(struct api_export *self); /* frees what a run holds */
};

struct api_export {
	struct api_job job; /* first */
	const struct api_export_format *format;

	/* what is asked */
	struct api_filter filter; /* own */
	struct api_sort sort;
	uint64_t limit;
	size_t batch_size; /* messages of one FETCH: less where much comes of each */

	/* one run */
	struct api_sink sink;
	struct gp_arena scratch;  /* own: of a batch */
	struct imap_uidset found; /* own: ascending … */
	size_t range_at;          /* … and how far it has been gone through */
	uint64_t next_uid;
	uint32_t *order; /* own: sorted; NULL: by UID */
	size_t n_order, order_at;
	uint32_t uids[API_EXPORT_BATCH]; /* the batch, in order */
	size_t n_uids;
	size_t last_index;                       /* where api_export_index() looks first */
	struct imap_uidset batch;                /* own: the same */
	uint64_t n_written;                      /* messages */
	enum gp_status failure;                  /* in a callback of a call: it ends the job afterwards */
	void (*resume)(struct api_export *self); /* when the sink is ready */
};

void api_export_start(struct api_request *request, const struct api_export_format *format);

/* The batch is through: the next one, or the end. */
void api_export_next(struct api_export *self);
/* Calls resume(), now or when the sink is ready. */
void api_export_when_ready(struct api_export *self, void (*resume)(struct api_export *self));
/* Writes into the sink, the head before the first bytes. */
enum gp_status api_export_write(struct api_export *self, struct span bytes) GP_MUST_USE;
/* Ends the job with a problem, or breaks the body off. */
void api_export_fail(struct api_export *self, enum gp_status status);
/* The place of a UID in the batch; n_uids when it is not in it. */
size_t api_export_index(struct api_export *self, uint32_t uid);
/* Whether a row of the batch is to be written: the filters that IMAP could not search for. */
bool api_export_accepts(const struct api_export *self, const struct imap_fetch *row, const struct mail_choice *choice);
bool api_export_is_full(const struct api_export *self);

extern const struct api_export_format api_export_ndjson, api_export_mbox, api_export_zip;

#endif
