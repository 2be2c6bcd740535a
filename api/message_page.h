/*
 * The rows of one page of a mailbox: which messages, and their fetching. Used by
 * message_list.c, which reads the request and makes the reply.
 *
 * Which messages: the newest by position (no filter, no sort), the highest UIDs that a
 * search found, or the next ones of a sorted result. Nothing fetches more than the
 * page, but for filters that IMAP cannot search for: there, candidates are fetched in
 * batches and tested, API_PAGE_MAX_TESTED at most in one request, and the page may come
 * short, with a next one.
 *
 * Life: the owner fills what is asked once; each run of its job calls
 * api_page_begin(), then, when it wants to go on, api_page_find(). `done` comes when the
 * rows are complete and in order; on failure the job has ended instead.
 * api_page_reset() ends a run. Everything is in the memory of the job.
 */
#ifndef GP_API_MESSAGE_PAGE_H
#define GP_API_MESSAGE_PAGE_H

#include "api/cursor.h"
#include "api/filter.h"
#include "api/job.h"
#include "api/message_rows.h"
#include "api/message_sort.h"

#define API_PAGE_MAX_TESTED 2000

struct api_page {
	struct api_job *job; /* borrow */

	/* what is asked */
	struct api_filter filter; /* own */
	struct api_sort sort;
	uint64_t members;
	unsigned extra_items; /* enum imap_item: to be fetched beside those of the members */
	size_t limit;
	bool has_cursor;
	struct api_cursor cursor;
	void (*done)(struct api_job *job);

	/* one run: what was found */
	struct api_rows rows;
	struct imap_status status; /* what STATUS told, or SELECT */
	bool has_total, has_more;
	uint32_t total;
	enum gp_status failure; /* of making a row: the reply fails with it */

	/* one run: on the way */
	struct api_message_view view;
	struct imap_uidset found, batch;    /* own: all candidates; those of the FETCH under way */
	uint64_t below;                     /* candidates from this UID on have been looked at */
	uint32_t *order;                    /* own: a sorted result */
	size_t n_order, order_at, batch_at; /* where the next batch begins, and where the last one did */
	struct api_sort_keys *keys;         /* own */
	size_t n_tested;
	unsigned n_stale;
	bool is_refreshing; /* STATUS is under way */
	bool is_waiting;    /* the first step is done or not begun, and waits for it */
	bool is_by_position;
	void (*resume)(struct api_page *page);
	struct gp_error unrefreshed; /* why STATUS told nothing, where it was not the server's will */
	void (*refreshed)(struct api_job *job);
};

/* Once, in zeroed memory, before what is asked is filled in. */
void api_page_init(struct api_page *page, struct api_job *job, void (*done)(struct api_job *job));
/* Frees what was asked too. */
void api_page_deinit(struct api_page *page);
void api_page_reset(struct api_page *page);

/* Checks the cursor and what the server can, and asks for the mailbox's state, in the
 * same round trip as what follows. False: the job has failed. With `refreshed`, that is
 * called when the state is known, maybe at once; without, call api_page_find() now. */
bool api_page_begin(struct api_page *page, void (*refreshed)(struct api_job *job));
void api_page_find(struct api_page *page);

/* When done: where the next page begins. False when there is none. */
bool api_page_next(const struct api_page *page, struct api_cursor *cursor_out);

#endif
