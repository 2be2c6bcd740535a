/*
 * GET …/messages: a page of a mailbox.
 *
 * Which messages: the newest by position (no filter, no sort), the highest UIDs that a
 * search found, or the next ones of a sorted result. Nothing fetches more than the
 * page, but for filters that IMAP cannot search for: there, candidates are fetched in
 * batches and tested, MAX_TESTED at most in one request, and the page may come short,
 * with a `next`.
 *
 * Steps: refresh (NOOP and STATUS) runs beside the first step, in the same round trip:
 *
 *   by position:  FETCH last-n:last                      → reply
 *   filtered:     UID SEARCH → UID FETCH of the highest  → … → reply
 *   sorted:       UID SORT (or search, fetch keys, sort) → UID FETCH → reply
 *
 * then body values and previews where they are wanted. Positions are only trusted
 * while nothing was expunged: GP_STALE starts the page over, and after a few times the
 * search takes its place.
 */
#include <stdlib.h>

#include "api/body_values.h"
#include "api/conditional.h"
#include "api/cursor.h"
#include "api/etag.h"
#include "api/filter.h"
#include "api/message_rows.h"
#include "api/message_sort.h"
#include "api/router.h"
#include "api/state.h"

#define MAX_TESTED 2000
#define TEST_BATCH 200
#define MAX_STALE 3
#define MAX_LIMIT 1000
#define MAX_LIMIT_WITH_BODIES 200

struct message_list {
	struct api_job job; /* first */

	/* what was asked: validated before the job starts */
	struct api_filter filter;
	struct api_sort sort;
	uint64_t members;
	bool wants_preview, wants_text, wants_html;
	size_t limit, max_body_bytes;
	bool has_cursor;
	struct api_cursor cursor;
	uint32_t query_hash;
	struct span if_none_match; /* borrow: the exchange's */

	/* one run */
	struct api_rows rows;
	struct api_body_values values;
	struct imap_uidset found, batch; /* own: all candidates; those of the FETCH under way */
	uint64_t below;                  /* candidates from this UID on have been looked at */
	uint32_t *order;                 /* own: a sorted result */
	size_t n_order, order_at, batch_at; /* where the next batch begins, and where the last one did */
	struct api_sort_keys *keys; /* own */
	size_t n_tested;
	bool has_total, has_more;
	uint32_t total;
	unsigned n_stale;
	bool is_refreshing; /* STATUS is under way */
	bool is_waiting;    /* the first step is done or not begun, and waits for it */
	bool is_by_position;
	bool is_out_of_memory;
	struct imap_status status;
	char etag[API_ETAG_SIZE];
	void (*resume)(struct message_list *self);
};

static struct message_list *list_of(void *ctx)
{
	return ctx;
}

/* ---- one run's memory ---- */

static void list_reset(struct api_job *job)
{
	struct message_list *self = list_of(job);

	api_rows_deinit(&self->rows);
	api_body_values_deinit(&self->values);
	imap_uidset_deinit(&self->found);
	imap_uidset_deinit(&self->batch);
	api_sort_keys_free(&self->keys);
	free(self->order);
	self->order = NULL;
	self->n_order = self->order_at = self->batch_at = self->n_tested = 0;
	self->below = (uint64_t)UINT32_MAX + 1;
	self->has_total = self->has_more = self->is_refreshing = self->is_waiting = false;
	self->is_out_of_memory = false;
	self->n_stale = 0;
	self->status = (struct imap_status){.items = 0};
	self->etag[0] = '\0';
	self->resume = NULL;
}

static void list_free(struct api_job *job)
{
	list_reset(job);
	api_filter_deinit(&list_of(job)->filter);
}

static void fail_for_memory(struct message_list *self)
{
	api_job_fail(&self->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
}

/* ---- the reply ---- */

static struct api_state state_of(const struct message_list *self)
{
	const struct imap_selected *selected = api_job_selected(&self->job);
	const struct imap_status *status = &self->status;
	const unsigned counts = IMAP_STATUS_MESSAGES | IMAP_STATUS_UNSEEN | IMAP_STATUS_UIDNEXT;
	struct api_state state = {.uidvalidity = selected->uidvalidity,
				  .uidnext = selected->uidnext,
				  .total = selected->exists,
				  .highestmodseq = selected->has_modseq ? selected->highestmodseq : 0};

	if (status->items & IMAP_STATUS_HIGHESTMODSEQ && selected->has_modseq) {
		state.highestmodseq = status->highestmodseq;
	}
	if ((status->items & counts) == counts) {
		state.uidnext = status->uidnext;
		state.total = status->messages;
		state.unread = status->unseen;
		state.has_counts = true;
	}
	return state;
}

/* A list with mod-sequences has the same tag as long as the mailbox is in the same
 * state and the request is the same; without, its bytes decide (api_reply_json_tagged). */
static void make_etag(struct message_list *self)
{
	struct api_state state = state_of(self);
	char text[API_STATE_SIZE];

	if (state.highestmodseq == 0 || !state.has_counts || !api_state_write(&state, text)) {
		return;
	}
	char *bytes = gp_arena_printf(&self->job.exchange->arena, "%s %u %u %.*s", text, state.total, state.uidnext,
				      SPAN_ARGS(self->job.exchange->target));
	if (!bytes || api_etag_of_bytes(span_of(bytes), self->etag) != GP_OK) {
		self->etag[0] = '\0';
	}
}

/* Where the next page begins: after the last row shown, or after the last one tested. */
static void set_next(struct message_list *self, json_t *reply, uint32_t uidvalidity)
{
	struct api_exchange *exchange = self->job.exchange;
	const struct api_row *last = self->rows.n_items > 0 ? &self->rows.items[self->rows.n_items - 1] : NULL;
	struct api_cursor cursor = {.uidvalidity = uidvalidity, .query = self->query_hash};

	if (self->order) {
		cursor.uid = self->order_at > 0 ? self->order[self->order_at - 1] : 0;
		cursor.position = (uint32_t)self->order_at;
	} else if (self->is_by_position) {
		cursor.uid = last ? last->uid : 0;
		cursor.position = last ? last->position : 0;
	} else {
		cursor.uid = self->below <= UINT32_MAX ? (uint32_t)self->below : 0;
	}
	if (!self->has_more || cursor.uid == 0) {
		return;
	}
	char *next = api_cursor_next(&exchange->arena, exchange->target, &self->job.target, &cursor);
	if (next) {
		api_json_set(reply, "next", json_string(next));
		api_header_addf(exchange, "Link", "<%s>; rel=\"next\"", next);
	}
}

static void reply(struct message_list *self)
{
	struct api_exchange *exchange = self->job.exchange;
	struct api_state state = state_of(self);
	char state_text[API_STATE_SIZE];
	json_t *object = json_object();

	make_etag(self);
	api_json_set(object, "messages", api_rows_take_json(&self->rows));
	api_json_set(object, "total", self->has_total ? json_integer(self->total) : json_null());
	api_json_set(object, "uidValidity", json_integer(state.uidvalidity));
	api_json_set(object, "state", api_state_write(&state, state_text) ? json_string(state_text) : json_null());
	set_next(self, object, state.uidvalidity);
	if (self->is_out_of_memory) {
		json_decref(object);
		fail_for_memory(self);
		return;
	}
	bool is_tagged = self->etag[0] != '\0';
	if (is_tagged) {
		api_header_add(exchange, "ETag", self->etag);
	}
	api_job_finish(&self->job);
	if (is_tagged) {
		api_reply_json(exchange, 200, object);
	} else {
		api_reply_json_tagged(exchange, object);
	}
}

static void with_values(struct api_job *job)
{
	reply(list_of(job));
}

static enum gp_status add_wants(struct message_list *self, struct api_row *row)
{
	enum gp_status status = GP_OK;

	if (self->wants_text) {
		status = api_body_values_add(&self->values, row->uid, row->message, &row->choice.text_body);
	}
	if (self->wants_html && status == GP_OK) {
		status = api_body_values_add(&self->values, row->uid, row->message, &row->choice.html_body);
	}
	if (self->wants_preview && status == GP_OK && !json_object_get(row->message, "preview")) {
		status = api_body_values_add_preview(&self->values, row->uid, row->message, &row->choice);
	}
	return status;
}

/* The rows are complete: bodies and previews, then the reply. */
static void finish_rows(struct message_list *self)
{
	enum gp_status status = GP_OK;

	api_body_values_init(&self->values, &self->job, self->max_body_bytes, API_BODY_VALUES_LIST_MESSAGE,
			     with_values);
	for (size_t i = 0; i < self->rows.n_items && status == GP_OK; i++) {
		status = add_wants(self, &self->rows.items[i]);
	}
	if (status != GP_OK) {
		fail_for_memory(self);
		return;
	}
	api_body_values_run(&self->values);
}

/* ---- refreshing ---- */

/* Goes on when the first step and STATUS have both ended. */
static void resume_when_refreshed(struct message_list *self, void (*resume)(struct message_list *self))
{
	if (self->is_refreshing) {
		self->is_waiting = true;
		self->resume = resume;
		return;
	}
	resume(self);
}

static void on_status(void *ctx, const struct gp_error *error, const struct imap_status *status)
{
	struct message_list *self = list_of(ctx);

	self->job.beside[1] = NULL;
	self->is_refreshing = false;
	if (!error) { /* a server that will not say is no reason to fail */
		self->status = *status;
		self->status.mailbox = self->status.mailbox_id = SPAN_NIL;
	}
	if (self->is_waiting) {
		self->is_waiting = false;
		self->resume(self);
	}
}

/* STATUS after NOOP says what the mailbox is like now; right after SELECT, with
 * mod-sequences, all but the counts is known already, and those SELECT told. */
static void refresh(struct message_list *self)
{
	const struct imap_selected *selected = api_job_selected(&self->job);
	unsigned items = IMAP_STATUS_MESSAGES | IMAP_STATUS_UNSEEN | IMAP_STATUS_UIDNEXT;

	if (imap_lease_is_fresh(self->job.lease) && selected->has_modseq && selected->uidnext > 0) {
		self->status = (struct imap_status){.items = items | IMAP_STATUS_HIGHESTMODSEQ,
						    .messages = selected->exists,
						    .uidnext = selected->uidnext,
						    .highestmodseq = selected->highestmodseq};
		return;
	}
	self->job.beside[1] =
		imap_status_start(api_job_session(&self->job), self->job.mailbox_name,
				  items | (selected->has_modseq ? IMAP_STATUS_HIGHESTMODSEQ : 0), on_status, self);
	self->is_refreshing = self->job.beside[1] != NULL;
}

/* ---- rows ---- */

static uint32_t rank_in_order(const struct message_list *self, uint32_t uid, size_t from)
{
	for (size_t i = from; i < self->n_order; i++) {
		if (self->order[i] == uid) {
			return (uint32_t)i;
		}
	}
	return UINT32_MAX;
}

static void on_row(void *ctx, const struct imap_fetch *row)
{
	struct message_list *self = list_of(ctx);
	const struct api_message_view view = {.members = self->members,
					      .arena = &self->job.exchange->arena,
					      .mailbox = self->job.mailbox_name,
					      .uidvalidity = api_job_selected(&self->job)->uidvalidity};
	struct mail_part *root;
	struct mail_choice choice;

	json_t *message = api_message_json(&view, row, &root, &choice);
	if (message && !api_filter_accepts(&self->filter, row, &choice)) {
		json_decref(message);
		return;
	}
	uint32_t rank = self->order ? rank_in_order(self, row->uid, self->batch_at) : UINT32_MAX - row->uid;
	if (api_rows_add(&self->rows, row, rank, message, &choice) != GP_OK) {
		self->is_out_of_memory = true;
	}
}

static struct imap_fetch_spec fetch_spec(const struct message_list *self)
{
	struct imap_fetch_spec spec = {.items = api_message_items(self->members) | api_filter_items(&self->filter)};

	if (self->wants_preview) {
		spec.items |= IMAP_ITEM_PREVIEW | IMAP_ITEM_BODYSTRUCTURE;
	}
	if (self->wants_text || self->wants_html) {
		spec.items |= IMAP_ITEM_BODYSTRUCTURE;
	}
	spec.n_fields = api_message_fields(self->members, &spec.fields);
	return spec;
}

/* ---- candidates: the highest of a search, or the next of a sorted result ---- */

static void next_batch(struct message_list *self);

static void after_batch(struct message_list *self)
{
	bool is_full = self->rows.n_items >= self->limit;

	if (self->has_more && !is_full && self->n_tested < MAX_TESTED) {
		next_batch(self);
		return;
	}
	if (self->rows.n_items > self->limit) {
		/* the page is full before the batch was used up: go on behind the last row */
		api_rows_finish(&self->rows, self->limit);
		uint32_t uid = self->rows.items[self->limit - 1].uid;
		self->has_more = true;
		if (self->order) {
			self->order_at = rank_in_order(self, uid, 0) + (size_t)1;
		} else {
			self->below = uid;
		}
	}
	api_rows_finish(&self->rows, self->limit);
	finish_rows(self);
}

static void on_batch(void *ctx, const struct gp_error *error)
{
	struct message_list *self = list_of(ctx);

	if (api_job_check(&self->job, error)) {
		after_batch(self);
	}
}

/* The UIDs of the next batch; false when there are none left. */
static enum gp_status take_candidates(struct message_list *self, size_t n, size_t *n_out)
{
	enum gp_status status = GP_OK;

	imap_uidset_deinit(&self->batch);
	imap_uidset_init(&self->batch);
	if (self->order) {
		size_t left = self->n_order - self->order_at;
		*n_out = left < n ? left : n;
		self->batch_at = self->order_at;
		for (size_t i = 0; i < *n_out && status == GP_OK; i++) {
			uint32_t uid = self->order[self->order_at + i];
			status = imap_uidset_add(&self->batch, uid, uid);
		}
		self->order_at += *n_out;
		self->has_more = self->order_at < self->n_order;
		return status;
	}
	status = imap_uidset_highest(&self->found, self->below, n, &self->batch, n_out);
	if (status == GP_OK && *n_out > 0) {
		self->below = self->batch.ranges[0].first;
		self->has_more = imap_uidset_count_below(&self->found, self->below) > 0;
	} else {
		self->has_more = false;
	}
	return status;
}

static void next_batch(struct message_list *self)
{
	size_t n = self->limit - self->rows.n_items;
	size_t n_taken = 0;

	if (api_filter_tests_rows(&self->filter) && n < TEST_BATCH) {
		n = TEST_BATCH;
	}
	if (take_candidates(self, n, &n_taken) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	if (n_taken == 0) {
		after_batch(self);
		return;
	}
	self->n_tested += n_taken;
	struct imap_fetch_spec spec = fetch_spec(self);
	spec.uids = &self->batch;
	self->job.call = imap_fetch_start(api_job_session(&self->job), &spec, on_row, on_batch, self);
	api_job_started(&self->job, self->job.call);
}

/* The first step found the candidates. */
static void begin_batches(struct message_list *self)
{
	uint64_t count = self->order ? self->n_order : imap_uidset_count(&self->found);

	self->has_total = !api_filter_tests_rows(&self->filter);
	self->total = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
	if (self->has_cursor && self->order) {
		uint32_t rank = rank_in_order(self, self->cursor.uid, 0);
		size_t at = rank == UINT32_MAX ? self->cursor.position : rank + (size_t)1;
		self->order_at = at < self->n_order ? at : self->n_order;
	} else if (self->has_cursor) {
		self->below = self->cursor.uid;
	}
	next_batch(self);
}

static void on_found(void *ctx, const struct gp_error *error, const struct imap_uidset *uids)
{
	struct message_list *self = list_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (imap_uidset_add_all(&self->found, uids) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	resume_when_refreshed(self, begin_batches);
}

static void start_search(struct message_list *self)
{
	struct imap_search search = api_filter_search(&self->filter);

	self->is_by_position = false;
	self->job.call = imap_search_start(api_job_session(&self->job), &search, on_found, self);
	api_job_started(&self->job, self->job.call);
}

/* ---- sorted ---- */

static void on_sorted(void *ctx, const struct gp_error *error, const uint32_t *uids, size_t n_uids)
{
	struct message_list *self = list_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	self->order = calloc(n_uids + 1, sizeof *self->order);
	if (!self->order) {
		fail_for_memory(self);
		return;
	}
	if (n_uids > 0) {
		memcpy(self->order, uids, n_uids * sizeof *uids);
	}
	self->n_order = n_uids;
	resume_when_refreshed(self, begin_batches);
}

static void on_key_row(void *ctx, const struct imap_fetch *row)
{
	struct message_list *self = list_of(ctx);

	if (api_sort_keys_add(self->keys, row) == GP_NO_MEMORY) {
		self->is_out_of_memory = true;
	}
}

static void on_keys(void *ctx, const struct gp_error *error)
{
	struct message_list *self = list_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	self->order = self->is_out_of_memory ? NULL : api_sort_keys_order(self->keys, &self->n_order);
	if (!self->order) {
		fail_for_memory(self);
		return;
	}
	resume_when_refreshed(self, begin_batches);
}

/* No SORT here: the keys of everything that was found, if that is little enough. */
static void fetch_keys(struct message_list *self)
{
	if (imap_uidset_count(&self->found) > API_MAX_SORTED) {
		api_job_fail(
			&self->job, API_PROBLEM_UNPROCESSABLE, NULL,
			"the IMAP server cannot sort, and more than %d messages match: narrow the filter, or leave "
			"out 'sort'",
			API_MAX_SORTED);
		return;
	}
	self->keys = api_sort_keys_new(&self->sort);
	if (!self->keys) {
		fail_for_memory(self);
		return;
	}
	const struct imap_fetch_spec spec = {.uids = &self->found, .items = api_sort_items(&self->sort)};
	self->job.call = imap_fetch_start(api_job_session(&self->job), &spec, on_key_row, on_keys, self);
	api_job_started(&self->job, self->job.call);
}

static void on_found_to_sort(void *ctx, const struct gp_error *error, const struct imap_uidset *uids)
{
	struct message_list *self = list_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (imap_uidset_add_all(&self->found, uids) != GP_OK) {
		fail_for_memory(self);
		return;
	}
	fetch_keys(self);
}

static void start_sort(struct message_list *self)
{
	struct imap_session *session = api_job_session(&self->job);
	struct imap_search search = api_filter_search(&self->filter);

	self->is_by_position = false;
	if (imap_session_can(session, IMAP_CAP_SORT)) {
		self->job.call =
			imap_sort_start(session, self->sort.terms, self->sort.n_terms, &search, on_sorted, self);
	} else {
		self->job.call = imap_search_start(session, &search, on_found_to_sort, self);
	}
	api_job_started(&self->job, self->job.call);
}

/* ---- by position ---- */

static void start_page(struct message_list *self);
static void start_positions(struct message_list *self, uint32_t first, uint32_t last);

static bool is_stale(struct message_list *self, const struct gp_error *error)
{
	if (!error || error->status != GP_STALE) {
		return false;
	}
	self->job.call = NULL;
	api_rows_deinit(&self->rows);
	if (++self->n_stale > MAX_STALE) {
		start_search(self);
	} else {
		start_page(self);
	}
	return true;
}

static void page_is_complete(struct message_list *self)
{
	self->has_total = true;
	self->total = api_job_selected(&self->job)->exists;
	api_rows_finish(&self->rows, self->limit);
	const struct api_row *last = self->rows.n_items > 0 ? &self->rows.items[self->rows.n_items - 1] : NULL;
	self->has_more = last && last->position > 1;
	finish_rows(self);
}

static void on_position(void *ctx, const struct gp_error *error, uint32_t position)
{
	struct message_list *self = list_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	uint32_t end = position > 0 ? position : api_job_selected(&self->job)->exists + 1;
	if (end <= 1) {
		resume_when_refreshed(self, page_is_complete);
		return;
	}
	/* rows from here on are right or GP_STALE: the cursor's own row is not among them */
	self->cursor.position = 0;
	start_positions(self, end > self->limit ? end - (uint32_t)self->limit : 1, end - 1);
}

/* The row at the cursor's position must still be the cursor's message; if it is, all
 * below it are the page. */
static bool cursor_row_is_there(struct message_list *self)
{
	for (size_t i = 0; i < self->rows.n_items; i++) {
		struct api_row *row = &self->rows.items[i];
		if (row->uid == self->cursor.uid && row->position == self->cursor.position) {
			json_decref(row->message);
			*row = self->rows.items[--self->rows.n_items];
			return true;
		}
	}
	return false;
}

static void on_page(void *ctx, const struct gp_error *error)
{
	struct message_list *self = list_of(ctx);

	if (is_stale(self, error) || !api_job_check(&self->job, error)) {
		return;
	}
	if (self->has_cursor && self->cursor.position > 0 && !cursor_row_is_there(self)) {
		api_rows_deinit(&self->rows);
		self->job.call = imap_position_start(api_job_session(&self->job), self->cursor.uid, on_position, self);
		api_job_started(&self->job, self->job.call);
		return;
	}
	resume_when_refreshed(self, page_is_complete);
}

static void start_positions(struct message_list *self, uint32_t first, uint32_t last)
{
	struct imap_fetch_spec spec = fetch_spec(self);

	spec.first_position = first;
	spec.last_position = last;
	self->job.call = imap_fetch_start(api_job_session(&self->job), &spec, on_row, on_page, self);
	api_job_started(&self->job, self->job.call);
}

static void start_page(struct message_list *self)
{
	uint32_t exists = api_job_selected(&self->job)->exists;
	uint32_t limit = (uint32_t)self->limit;

	self->is_by_position = true;
	if (exists == 0) {
		/* a position cannot be asked for: once it is known that there is nothing, reply */
		resume_when_refreshed(self, self->is_refreshing ? start_page : page_is_complete);
	} else if (!self->has_cursor) {
		start_positions(self, exists > limit ? exists - limit + 1 : 1, IMAP_UID_STAR);
	} else if (self->cursor.position > 0 && self->cursor.position <= exists) {
		uint32_t last = self->cursor.position;
		start_positions(self, last > limit ? last - limit : 1, last);
	} else {
		self->job.call = imap_position_start(api_job_session(&self->job), self->cursor.uid, on_position, self);
		api_job_started(&self->job, self->job.call);
	}
}

/* ---- the run ---- */

static void start_first_step(struct message_list *self)
{
	if (self->sort.n_terms > 0) {
		start_sort(self);
	} else if (self->filter.n_terms > 0 || api_filter_tests_rows(&self->filter)) {
		start_search(self);
	} else {
		start_page(self);
	}
}

static void check_none_match(struct message_list *self)
{
	make_etag(self);
	if (self->etag[0] != '\0' && api_none_match_hits(self->if_none_match, self->etag)) {
		struct api_exchange *exchange = self->job.exchange;
		api_header_add(exchange, "ETag", self->etag);
		api_job_finish(&self->job);
		api_reply_empty(exchange, 304);
		return;
	}
	start_first_step(self);
}

static bool server_can(struct message_list *self)
{
	struct imap_session *session = api_job_session(&self->job);
	const char *missing = NULL;

	if (self->filter.needs_modseq && !api_job_selected(&self->job)->has_modseq) {
		missing = "changedSince";
	} else if (self->filter.needs_threadid && !imap_session_can(session, IMAP_CAP_OBJECTID) &&
		   !imap_session_can(session, IMAP_CAP_GMAIL)) {
		missing = "threadId";
	}
	if (missing) {
		api_job_fail(&self->job, API_PROBLEM_UNPROCESSABLE, NULL, "the IMAP server cannot search by '%s'",
			     missing);
	}
	return !missing;
}

static void list_run(struct api_job *job)
{
	struct message_list *self = list_of(job);

	if (self->has_cursor && self->cursor.uidvalidity != api_job_selected(job)->uidvalidity) {
		api_job_fail(job, API_PROBLEM_GONE, NULL,
			     "the mailbox has a new UIDVALIDITY since this cursor was made");
		return;
	}
	if (!server_can(self)) {
		return;
	}
	self->below = (uint64_t)UINT32_MAX + 1;
	refresh(self);
	if (!span_is_nil(self->if_none_match)) {
		resume_when_refreshed(self, check_none_match);
	} else {
		start_first_step(self);
	}
}

static const struct api_job_handler list_handler = {.run = list_run, .reset = list_reset, .free = list_free};

/* ---- the request ---- */

static void read_bodies(struct api_query *query, struct message_list *self)
{
	struct span value;

	for (size_t n = 0; api_query_nth(query, "body", n, &value); n++) {
		bool text, html;
		if (api_filter_is_body_choice(value, &text, &html)) {
			self->wants_text |= text;
			self->wants_html |= html;
		}
	}
	self->max_body_bytes =
		(size_t)api_query_number(query, "maxBodyValueBytes", 1, API_BODY_VALUE_LIST, API_BODY_VALUE_LIST);
}

static void read_request(struct api_request *request, struct message_list *self)
{
	struct api_query *query = &request->query;

	read_bodies(query, self);
	api_filter_read(query, &self->filter);
	api_sort_read(query, &self->sort);
	self->members = api_fields_read(query, api_message_member_names, API_N_MEMBERS, API_MEMBERS_LIST);
	self->wants_preview = api_query_bool(query, "preview", false) || self->members & API_MEMBER_BIT(PREVIEW);
	if (self->wants_preview) {
		self->members |= API_MEMBER_BIT(PREVIEW);
	}
	if (self->members & (API_MEMBER_BIT(HEADERS) | API_MEMBER_BIT(BODY_VALUES))) {
		api_query_fail(query,
			       "'fields' of a list takes neither headers nor bodyValues: use body=text,html, or read "
			       "the single message");
	}
	bool has_bodies = self->wants_text || self->wants_html;
	self->limit = (size_t)api_query_number(query, "limit", 1, has_bodies ? MAX_LIMIT_WITH_BODIES : MAX_LIMIT, 50);
	struct span cursor = api_query_text(query, "cursor");
	self->has_cursor = !span_is_nil(cursor);
	self->query_hash = api_cursor_query_hash(&request->target);
	if (self->has_cursor && !api_cursor_parse(cursor, &self->cursor)) {
		api_query_fail(query, "'cursor' is none of ours");
	} else if (self->has_cursor && self->cursor.query != self->query_hash) {
		api_query_fail(query, "'cursor' belongs to another query: filters and sort must stay the same");
	}
	self->if_none_match = request->exchange->ops->header(request->exchange, "If-None-Match");
}

void api_messages_get(struct api_request *request)
{
	struct message_list *self = api_job_new(request->app, request->exchange, &request->target, request->credential,
						sizeof *self, &list_handler);

	if (!self) {
		return;
	}
	read_request(request, self);
	if (api_query_finish(&request->query) != GP_OK) {
		list_free(&self->job);
		api_reply_error(request->exchange, &request->query.error);
		return;
	}
	const struct api_job_spec spec = {.mailbox = request->mailbox,
					  .has_uidvalidity = request->has_uidvalidity,
					  .uidvalidity = request->uidvalidity};
	api_job_start(&self->job, &spec);
}
