/*
 * The steps that find a page's rows. Refreshing (NOOP and STATUS) runs beside the first
 * one, in the same round trip:
 *
 *   by position:  FETCH last-n:last                      → done
 *   filtered:     UID SEARCH → UID FETCH of the highest  → … → done
 *   sorted:       UID SORT (or search, fetch keys, sort) → UID FETCH → done
 *
 * Positions are only trusted while nothing was expunged: GP_STALE starts the page over,
 * and after a few times the search takes its place.
 */
#include "api/message_page.h"

#include <stdlib.h>

#define TEST_BATCH 200
#define MAX_STALE 3

/* ---- one run's memory ---- */

void api_page_init(struct api_page *page, struct api_job *job, void (*done)(struct api_job *job))
{
	page->job = job;
	page->done = done;
	api_page_reset(page);
}

void api_page_reset(struct api_page *page)
{
	api_rows_deinit(&page->rows);
	api_rows_init(&page->rows, page->job->exchange->is_pretty);
	imap_uidset_deinit(&page->found);
	imap_uidset_deinit(&page->batch);
	api_sort_keys_free(&page->keys);
	free(page->order);
	page->order = NULL;
	page->n_order = page->order_at = page->batch_at = page->n_tested = 0;
	page->below = (uint64_t)UINT32_MAX + 1;
	page->has_total = page->has_more = page->is_refreshing = page->is_waiting = false;
	page->failure = GP_OK;
	page->n_stale = 0;
	page->status = (struct imap_status){.items = 0};
	page->resume = NULL;
	page->refreshed = NULL;
}

void api_page_deinit(struct api_page *page)
{
	api_page_reset(page);
	api_filter_deinit(&page->filter);
}

static void fail_for_memory(struct api_page *page)
{
	api_job_fail(page->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
}

bool api_page_next(const struct api_page *page, struct api_cursor *cursor_out)
{
	const struct api_row *last = page->rows.n_items > 0 ? &page->rows.items[page->rows.n_items - 1] : NULL;
	struct api_cursor cursor = {.uidvalidity = api_job_selected(page->job)->uidvalidity};

	/* after the last row shown, or after the last one tested */
	if (page->order) {
		cursor.uid = page->order_at > 0 ? page->order[page->order_at - 1] : 0;
		cursor.position = (uint32_t)page->order_at;
		while (cursor.n_earlier < API_CURSOR_EARLIER && cursor.n_earlier + 1 < page->order_at) {
			cursor.earlier[cursor.n_earlier] = page->order[page->order_at - 2 - cursor.n_earlier];
			cursor.n_earlier++;
		}
	} else if (page->is_by_position) {
		cursor.uid = last ? last->uid : 0;
		cursor.position = last ? last->position : 0;
	} else {
		cursor.uid = page->below <= UINT32_MAX ? (uint32_t)page->below : 0;
	}
	if (!page->has_more || cursor.uid == 0) {
		return false;
	}
	*cursor_out = cursor;
	return true;
}

/* ---- refreshing ---- */

/* What the page has found so far is of a session that may be there no more. */
static void go_on(struct api_page *page, void (*resume)(struct api_page *page))
{
	const struct gp_error error = page->unrefreshed;

	if (error.status == GP_OK || api_job_check(page->job, &error)) {
		resume(page);
	}
}

/* Goes on when the first step and STATUS have both ended. */
static void resume_when_refreshed(struct api_page *page, void (*resume)(struct api_page *page))
{
	if (page->is_refreshing) {
		page->is_waiting = true;
		page->resume = resume;
		return;
	}
	go_on(page, resume);
}

static void on_status(void *ctx, const struct gp_error *error, const struct imap_status *status)
{
	struct api_page *page = ctx;

	page->job->beside[1] = NULL;
	page->is_refreshing = false;
	if (!error) {
		page->status = *status;
		page->status.mailbox = page->status.mailbox_id = SPAN_NIL;
	} else if (error->status != GP_NO && error->status != GP_BAD && error->status != GP_UNSUPPORTED) {
		page->unrefreshed = *error; /* a server that will not say is no reason to fail, this is */
	}
	if (page->is_waiting) {
		page->is_waiting = false;
		go_on(page, page->resume);
	}
}

/* STATUS after NOOP says what the mailbox is like now; right after SELECT, with
 * mod-sequences, all but the counts is known already, and those SELECT told. */
static void refresh(struct api_page *page)
{
	const struct imap_selected *selected = api_job_selected(page->job);
	unsigned items = IMAP_STATUS_MESSAGES | IMAP_STATUS_UNSEEN | IMAP_STATUS_UIDNEXT;

	gp_error_clear(&page->unrefreshed);
	if (imap_lease_is_fresh(page->job->lease) && selected->has_modseq && selected->uidnext > 0) {
		page->status = (struct imap_status){.items = items | IMAP_STATUS_HIGHESTMODSEQ,
						    .messages = selected->exists,
						    .uidnext = selected->uidnext,
						    .highestmodseq = selected->highestmodseq};
		return;
	}
	page->job->beside[1] =
		imap_status_start(api_job_session(page->job), page->job->mailbox_name,
				  items | (selected->has_modseq ? IMAP_STATUS_HIGHESTMODSEQ : 0), on_status, page);
	page->is_refreshing = page->job->beside[1] != NULL;
	if (!page->is_refreshing) {
		gp_error_set(&page->unrefreshed, GP_NO_MEMORY, "%s", gp_status_text(GP_NO_MEMORY));
	}
}

/* ---- rows ---- */

static uint32_t rank_in_order(const struct api_page *page, uint32_t uid, size_t from)
{
	for (size_t i = from; i < page->n_order; i++) {
		if (page->order[i] == uid) {
			return (uint32_t)i;
		}
	}
	return UINT32_MAX;
}

static void on_row(void *ctx, const struct imap_fetch *row)
{
	struct api_page *page = ctx;
	struct api_message_parts parts;
	enum gp_status status = api_message_parts(row, &page->job->exchange->arena, &parts);

	if (status == GP_OK && api_filter_accepts(&page->filter, row, &parts.choice)) {
		uint32_t rank = page->order ? rank_in_order(page, row->uid, page->batch_at) : UINT32_MAX - row->uid;
		status = api_rows_add(&page->rows, &page->view, row, &parts, rank);
	}
	if (status != GP_OK && page->failure == GP_OK) {
		page->failure = status;
	}
}

static struct imap_fetch_spec fetch_spec(const struct api_page *page)
{
	struct imap_fetch_spec spec = {.items = api_message_items(page->members) | page->extra_items |
						api_filter_items(&page->filter)};

	spec.n_fields = api_message_fields(page->members, &spec.fields);
	return spec;
}

/* ---- candidates: the highest of a search, or the next of a sorted result ---- */

static void next_batch(struct api_page *page);

static void finish_batches(struct api_page *page)
{
	if (page->rows.n_items > page->limit) {
		/* the page is full before the batch was used up: go on behind the last row */
		api_rows_finish(&page->rows, page->limit);
		uint32_t uid = page->rows.items[page->limit - 1].uid;
		page->has_more = true;
		if (page->order) {
			page->order_at = rank_in_order(page, uid, 0) + (size_t)1;
		} else {
			page->below = uid;
		}
	}
	api_rows_finish(&page->rows, page->limit);
	page->done(page->job);
}

static void on_batch(void *ctx, const struct gp_error *error)
{
	struct api_page *page = ctx;

	if (!api_job_check(page->job, error)) {
		return;
	}
	if (page->has_more && page->rows.n_items < page->limit && page->n_tested < API_PAGE_MAX_TESTED) {
		next_batch(page);
	} else {
		finish_batches(page);
	}
}

/* The UIDs of the next batch; none when there are none left. */
static enum gp_status take_candidates(struct api_page *page, size_t n, size_t *n_out)
{
	enum gp_status status = GP_OK;

	imap_uidset_deinit(&page->batch);
	imap_uidset_init(&page->batch);
	if (page->order) {
		size_t left = page->n_order - page->order_at;
		*n_out = left < n ? left : n;
		page->batch_at = page->order_at;
		for (size_t i = 0; i < *n_out && status == GP_OK; i++) {
			uint32_t uid = page->order[page->order_at + i];
			status = imap_uidset_add(&page->batch, uid, uid);
		}
		page->order_at += *n_out;
		page->has_more = page->order_at < page->n_order;
		return status;
	}
	status = imap_uidset_highest(&page->found, page->below, n, &page->batch, n_out);
	if (status == GP_OK && *n_out > 0) {
		page->below = page->batch.ranges[0].first;
		page->has_more = imap_uidset_count_below(&page->found, page->below) > 0;
	} else {
		page->has_more = false;
	}
	return status;
}

static void next_batch(struct api_page *page)
{
	size_t n = page->limit - page->rows.n_items;
	size_t n_taken = 0;

	if (api_filter_tests_rows(&page->filter) && n < TEST_BATCH) {
		n = TEST_BATCH;
	}
	if (take_candidates(page, n, &n_taken) != GP_OK) {
		fail_for_memory(page);
		return;
	}
	if (n_taken == 0) {
		finish_batches(page);
		return;
	}
	page->n_tested += n_taken;
	struct imap_fetch_spec spec = fetch_spec(page);
	spec.uids = &page->batch;
	page->job->call = imap_fetch_start(api_job_session(page->job), &spec, on_row, on_batch, page);
	api_job_started(page->job, page->job->call);
}

/* The first step found the candidates. */
static void begin_batches(struct api_page *page)
{
	uint64_t count = page->order ? page->n_order : imap_uidset_count(&page->found);

	page->has_total = count == 0 || !api_filter_tests_rows(&page->filter);
	page->total = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
	if (page->has_cursor && page->order) {
		uint32_t rank = rank_in_order(page, page->cursor.uid, 0);
		for (size_t i = 0; i < page->cursor.n_earlier && rank == UINT32_MAX; i++) {
			rank = rank_in_order(page, page->cursor.earlier[i], 0);
		}
		size_t at = rank == UINT32_MAX ? page->cursor.position : rank + (size_t)1;
		page->order_at = at < page->n_order ? at : page->n_order;
	} else if (page->has_cursor) {
		page->below = page->cursor.uid;
	}
	next_batch(page);
}

static void on_found(void *ctx, const struct gp_error *error, const struct imap_uidset *uids)
{
	struct api_page *page = ctx;

	if (!api_job_check(page->job, error)) {
		return;
	}
	if (api_filter_pick(&page->filter, uids, &page->found) != GP_OK) {
		fail_for_memory(page);
		return;
	}
	resume_when_refreshed(page, begin_batches);
}

static void start_search(struct api_page *page)
{
	struct imap_search search = api_filter_search(&page->filter);

	page->is_by_position = false;
	page->job->call = imap_search_start(api_job_session(page->job), &search, on_found, page);
	api_job_started(page->job, page->job->call);
}

/* ---- sorted ---- */

static void on_sorted(void *ctx, const struct gp_error *error, const uint32_t *uids, size_t n_uids)
{
	struct api_page *page = ctx;

	if (!api_job_check(page->job, error)) {
		return;
	}
	page->order = calloc(n_uids + 1, sizeof *page->order);
	if (!page->order) {
		fail_for_memory(page);
		return;
	}
	if (n_uids > 0) {
		memcpy(page->order, uids, n_uids * sizeof *uids);
	}
	page->n_order = api_filter_pick_order(&page->filter, page->order, n_uids);
	resume_when_refreshed(page, begin_batches);
}

static void on_key_row(void *ctx, const struct imap_fetch *row)
{
	struct api_page *page = ctx;

	if (api_sort_keys_add(page->keys, row) == GP_NO_MEMORY) {
		page->failure = GP_NO_MEMORY;
	}
}

static void on_keys(void *ctx, const struct gp_error *error)
{
	struct api_page *page = ctx;

	if (!api_job_check(page->job, error)) {
		return;
	}
	page->order = page->failure != GP_OK ? NULL : api_sort_keys_order(page->keys, &page->n_order);
	if (!page->order) {
		fail_for_memory(page);
		return;
	}
	resume_when_refreshed(page, begin_batches);
}

/* No SORT here: the keys of everything that was found, if that is little enough. */
static void fetch_keys(struct api_page *page)
{
	if (imap_uidset_count(&page->found) > API_MAX_SORTED) {
		api_job_fail(
			page->job, API_PROBLEM_UNPROCESSABLE, NULL,
			"the IMAP server cannot sort, and more than %d messages match: narrow the filter, or leave "
			"out 'sort'",
			API_MAX_SORTED);
		return;
	}
	page->keys = api_sort_keys_new(&page->sort);
	if (!page->keys) {
		fail_for_memory(page);
		return;
	}
	const struct imap_fetch_spec spec = {.uids = &page->found, .items = api_sort_items(&page->sort)};
	page->job->call = imap_fetch_start(api_job_session(page->job), &spec, on_key_row, on_keys, page);
	api_job_started(page->job, page->job->call);
}

static void on_found_to_sort(void *ctx, const struct gp_error *error, const struct imap_uidset *uids)
{
	struct api_page *page = ctx;

	if (!api_job_check(page->job, error)) {
		return;
	}
	if (api_filter_pick(&page->filter, uids, &page->found) != GP_OK) {
		fail_for_memory(page);
		return;
	}
	fetch_keys(page);
}

static void start_sort(struct api_page *page)
{
	struct imap_session *session = api_job_session(page->job);
	struct imap_search search = api_filter_search(&page->filter);

	page->is_by_position = false;
	if (imap_session_can(session, IMAP_CAP_SORT)) {
		page->job->call =
			imap_sort_start(session, page->sort.terms, page->sort.n_terms, &search, on_sorted, page);
	} else {
		page->job->call = imap_search_start(session, &search, on_found_to_sort, page);
	}
	api_job_started(page->job, page->job->call);
}

/* ---- by position ---- */

static void start_page(struct api_page *page);
static void start_positions(struct api_page *page, uint32_t first, uint32_t last);

static bool is_stale(struct api_page *page, const struct gp_error *error)
{
	if (!error || error->status != GP_STALE) {
		return false;
	}
	page->job->call = NULL;
	api_rows_clear(&page->rows);
	if (++page->n_stale > MAX_STALE) {
		start_search(page);
	} else {
		start_page(page);
	}
	return true;
}

static void page_is_complete(struct api_page *page)
{
	page->has_total = true;
	page->total = api_job_selected(page->job)->exists;
	api_rows_finish(&page->rows, page->limit);
	const struct api_row *last = page->rows.n_items > 0 ? &page->rows.items[page->rows.n_items - 1] : NULL;
	page->has_more = last && last->position > 1;
	page->done(page->job);
}

static void on_position(void *ctx, const struct gp_error *error, uint32_t position)
{
	struct api_page *page = ctx;

	if (!api_job_check(page->job, error)) {
		return;
	}
	uint32_t end = position > 0 ? position : api_job_selected(page->job)->exists + 1;
	if (end <= 1) {
		resume_when_refreshed(page, page_is_complete);
		return;
	}
	/* rows from here on are right or GP_STALE: the cursor's own row is not among them */
	page->cursor.position = 0;
	start_positions(page, end > page->limit ? end - (uint32_t)page->limit : 1, end - 1);
}

/* The row at the cursor's position must still be the cursor's message; if it is, all
 * below it are the page. */
static bool cursor_row_is_there(struct api_page *page)
{
	for (size_t i = 0; i < page->rows.n_items; i++) {
		const struct api_row *row = &page->rows.items[i];
		if (row->uid == page->cursor.uid && row->position == page->cursor.position) {
			api_rows_remove(&page->rows, i);
			return true;
		}
	}
	return false;
}

static void on_page(void *ctx, const struct gp_error *error)
{
	struct api_page *page = ctx;

	if (is_stale(page, error) || !api_job_check(page->job, error)) {
		return;
	}
	if (page->has_cursor && page->cursor.position > 0 && !cursor_row_is_there(page)) {
		api_rows_clear(&page->rows);
		page->job->call = imap_position_start(api_job_session(page->job), page->cursor.uid, on_position, page);
		api_job_started(page->job, page->job->call);
		return;
	}
	resume_when_refreshed(page, page_is_complete);
}

static void start_positions(struct api_page *page, uint32_t first, uint32_t last)
{
	struct imap_fetch_spec spec = fetch_spec(page);

	spec.first_position = first;
	spec.last_position = last;
	page->job->call = imap_fetch_start(api_job_session(page->job), &spec, on_row, on_page, page);
	api_job_started(page->job, page->job->call);
}

static void start_page(struct api_page *page)
{
	uint32_t exists = api_job_selected(page->job)->exists;
	uint32_t limit = (uint32_t)page->limit;

	page->is_by_position = true;
	if (exists == 0) {
		/* a position cannot be asked for: once it is known that there is nothing, reply */
		resume_when_refreshed(page, page->is_refreshing ? start_page : page_is_complete);
	} else if (!page->has_cursor) {
		start_positions(page, exists > limit ? exists - limit + 1 : 1, IMAP_UID_STAR);
	} else if (page->cursor.position > 0 && page->cursor.position <= exists) {
		uint32_t last = page->cursor.position;
		start_positions(page, last > limit ? last - limit : 1, last);
	} else {
		page->job->call = imap_position_start(api_job_session(page->job), page->cursor.uid, on_position, page);
		api_job_started(page->job, page->job->call);
	}
}

/* ---- the run ---- */

static bool server_can(struct api_page *page)
{
	const char *missing = api_filter_fit(&page->filter, api_job_session(page->job));

	if (missing) {
		api_job_fail(page->job, API_PROBLEM_UNPROCESSABLE, NULL, "the IMAP server cannot search by '%s'",
			     missing);
	}
	return !missing;
}

static void call_refreshed(struct api_page *page)
{
	page->refreshed(page->job);
}

bool api_page_begin(struct api_page *page, void (*refreshed)(struct api_job *job))
{
	uint32_t uidvalidity = api_job_selected(page->job)->uidvalidity;

	if (page->has_cursor && page->cursor.uidvalidity != uidvalidity) {
		api_job_fail(page->job, API_PROBLEM_GONE, NULL,
			     "the mailbox has a new UIDVALIDITY since this cursor was made");
		return false;
	}
	if (!server_can(page)) {
		return false;
	}
	if (api_message_view_init(&page->view, page->members, &page->job->exchange->arena, page->job->mailbox_name,
				  uidvalidity) != GP_OK) {
		fail_for_memory(page);
		return false;
	}
	refresh(page);
	if (refreshed) {
		page->refreshed = refreshed;
		resume_when_refreshed(page, call_refreshed);
	}
	return true;
}

void api_page_find(struct api_page *page)
{
	if (page->sort.n_terms > 0) {
		start_sort(page);
	} else if (page->filter.n_terms > 0 || api_filter_tests_rows(&page->filter)) {
		start_search(page);
	} else {
		start_page(page);
	}
}
