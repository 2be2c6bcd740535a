#include "api/sync.h"

#include <stdlib.h>

#include "api/sync_page.h"
#include "base/limits.h"

/* A message of a mailbox without mod-sequences. */
struct flags_row {
	uint32_t uid;
	uint64_t flags;
};

struct api_sync {
	struct imap_session *session;   /* borrow */
	struct api_sync_moment *moment; /* borrow */
	struct api_state since;         /* own: API_STATE_NONE: only the state is wanted */
	uint64_t max_changes;
	api_sync_fn done;
	void *ctx;              /* borrow */
	struct imap_call *call; /* own while it runs */
	struct gp_timer timer;  /* ends a sync that has nothing to ask */
	size_t piece;           /* of `since`, which is being asked for */
	struct flags_row *rows; /* own */
	size_t n_rows, rows_size;
	struct api_changes changes; /* own */
	struct gp_error error;      /* the first; GP_OK: none */
};

/* ---- life ---- */

void api_changes_deinit(struct api_changes *changes)
{
	imap_uidset_deinit(&changes->created);
	imap_uidset_deinit(&changes->updated);
	imap_uidset_deinit(&changes->destroyed);
	imap_uidset_deinit(&changes->passed);
	api_state_deinit(&changes->state);
	changes->has_more = false;
}

bool api_changes_is_empty(const struct api_changes *changes)
{
	return imap_uidset_is_empty(&changes->created) && imap_uidset_is_empty(&changes->updated) &&
	       imap_uidset_is_empty(&changes->destroyed);
}

void api_sync_moment_deinit(struct api_sync_moment *moment)
{
	api_state_deinit(&moment->state);
	moment->exists = 0;
}

static void sync_free(struct api_sync *self)
{
	imap_call_cancel(&self->call);
	gp_timer_stop(&self->timer);
	api_state_deinit(&self->since);
	api_changes_deinit(&self->changes);
	free(self->rows);
	free(self);
}

void api_sync_cancel(struct api_sync **sync)
{
	struct api_sync *self = *sync;

	*sync = NULL;
	if (self) {
		sync_free(self);
	}
}

/* The last touch: the sync is gone when done() is called. */
static void finish(struct api_sync *self)
{
	struct api_changes changes = self->changes;
	struct gp_error error = self->error;
	api_sync_fn done = self->done;
	void *ctx = self->ctx;

	self->changes = (struct api_changes){.has_more = false};
	sync_free(self);
	done(ctx, error.status == GP_OK ? NULL : &error, error.status == GP_OK ? &changes : NULL);
	api_changes_deinit(&changes);
}

static void fire(struct gp_timer *timer)
{
	finish(timer->ctx);
}

/* Ends it, from within a callback or from start(). */
static void end_soon(struct api_sync *self)
{
	gp_timer_start(&self->timer, 0);
}

static void fail(struct api_sync *self, enum gp_status status, const char *text)
{
	gp_error_set(&self->error, status, "%s", text ? text : gp_status_text(status));
	end_soon(self);
}

/* False: it has failed. */
static bool check(struct api_sync *self, enum gp_status status)
{
	if (status != GP_OK) {
		fail(self, status, NULL);
	}
	return status == GP_OK;
}

/* Of each call's done: false, and the sync ends with the error. */
static bool call_done(struct api_sync *self, const struct gp_error *error)
{
	self->call = NULL;
	if (error) {
		self->error = *error;
		end_soon(self);
	}
	return !error;
}

static void started(struct api_sync *self)
{
	(void)check(self, self->call ? GP_OK : GP_NO_MEMORY);
}

/* ---- all changes are known ---- */

static enum gp_status take_out(struct imap_uidset *set, const struct imap_uidset *without)
{
	struct imap_uidset all = *set;

	imap_uidset_init(set);
	enum gp_status status = imap_uidset_add_difference(set, &all, without);
	imap_uidset_deinit(&all);
	return status;
}

/* Each message is named once, whatever the server says; and not what vanished since the
 * moment: that is for the next sync to tell. */
static enum gp_status set_apart(struct api_sync *self)
{
	struct api_changes *changes = &self->changes;
	enum gp_status status = GP_OK;

	if (self->moment->state.kind == API_STATE_QRESYNC) {
		status = take_out(&changes->destroyed, &imap_session_selected(self->session)->vanished);
	}
	if (status == GP_OK && self->moment->state.kind == API_STATE_QRESYNC) {
		status = take_out(&changes->passed, &imap_session_selected(self->session)->vanished);
	}
	if (status == GP_OK) {
		status = take_out(&changes->passed, &changes->created);
	}
	return status == GP_OK ? take_out(&changes->updated, &changes->destroyed) : status;
}

static void changes_known(struct api_sync *self)
{
	const struct api_state *now = &self->moment->state;
	enum gp_status status = set_apart(self);

	if (status == GP_OK) {
		status = api_sync_cut_page(&self->changes, now, &self->since, self->max_changes);
	}
	if (check(self, status)) {
		end_soon(self);
	}
}

/* ---- with mod-sequences ---- */

static void ask_for_piece(struct api_sync *self);

static uint64_t modseq_now(const struct api_sync *self)
{
	return self->moment->state.pieces[0].modseq;
}

static void on_changes(void *ctx, const struct gp_error *error, const struct imap_changes *found)
{
	struct api_sync *self = ctx;
	const struct api_state *since = &self->since;

	if (!call_done(self, error)) {
		return;
	}
	uint32_t from = since->pieces[self->piece].from;
	uint32_t end = self->piece + 1 < since->n_pieces ? since->pieces[self->piece + 1].from : since->uidnext;
	enum gp_status status = GP_OK;
	if (end > from) {
		status = imap_uidset_add_within(&self->changes.updated, found->changed, from, end - 1);
	}
	/* where the server cannot say, the sets of UIDs do */
	if (end > from && status == GP_OK && self->moment->state.kind == API_STATE_QRESYNC) {
		status = imap_uidset_add_within(&self->changes.destroyed, found->vanished, from, end - 1);
	}
	if (status == GP_OK && self->moment->state.uidnext > since->uidnext && found->has_vanished) {
		status = imap_uidset_add_within(&self->changes.passed, found->vanished, since->uidnext,
						self->moment->state.uidnext - 1);
	}
	if (check(self, status)) {
		self->piece++;
		ask_for_piece(self);
	}
}

/* What vanished since the moment was there at the moment: the next sync says that it is
 * gone, so this one has to say that it came. */
static void on_created(void *ctx, const struct gp_error *error, const struct imap_uidset *uids)
{
	struct api_sync *self = ctx;
	uint32_t first = self->since.uidnext, last = self->moment->state.uidnext - 1;

	if (!call_done(self, error)) {
		return;
	}
	enum gp_status status = imap_uidset_add_within(&self->changes.created, uids, first, last);
	if (status == GP_OK) {
		status = imap_uidset_add_within(&self->changes.created, &imap_session_selected(self->session)->vanished,
						first, last);
	}
	if (check(self, status)) {
		changes_known(self);
	}
}

/* A row that changed again since the moment is left out of what CHANGEDSINCE gives, and
 * comes with the next sync; but then nobody would know that it was created in this one. */
static void search_created(struct api_sync *self)
{
	struct imap_uid_range range = {self->since.uidnext, self->moment->state.uidnext - 1};
	const struct imap_uidset uids = {.ranges = &range, .n_ranges = 1};
	const struct imap_search_term term = {.kind = IMAP_SEARCH_UID, .uids = &uids};
	const struct imap_search search = {.terms = &term, .n_terms = 1};

	self->call = imap_search_start(self->session, &search, on_created, self);
	started(self);
}

static void compare_uids(struct api_sync *self)
{
	const struct imap_uidset *now = &self->moment->state.uids;
	enum gp_status status = imap_uidset_add_within(&self->changes.created, now, self->since.uidnext, UINT32_MAX);

	if (status == GP_OK) {
		status = imap_uidset_add_difference(&self->changes.destroyed, &self->since.uids, now);
	}
	if (check(self, status)) {
		changes_known(self);
	}
}

static void ask_for_piece(struct api_sync *self)
{
	const struct api_state *since = &self->since;

	while (self->piece < since->n_pieces && since->pieces[self->piece].modseq == modseq_now(self)) {
		self->piece++;
	}
	if (self->piece < since->n_pieces) {
		self->call = imap_changes_start(self->session, since->pieces[self->piece].modseq, modseq_now(self),
						on_changes, self);
		started(self);
	} else if (self->moment->state.kind == API_STATE_CONDSTORE) {
		compare_uids(self);
	} else if (self->moment->state.uidnext > since->uidnext) {
		search_created(self);
	} else {
		changes_known(self);
	}
}

/* ---- by the flags of all messages ---- */

/* Where a message is in a state: by its UID to its flags, forwards only. */
struct flags_cursor {
	const struct api_state *state; /* borrow */
	size_t range, run;
	uint64_t n_before_range, n_before_run; /* messages in those that are behind */
};

static bool find_flags(struct flags_cursor *cursor, uint32_t uid, uint64_t *flags_out)
{
	const struct api_state *state = cursor->state;

	while (cursor->range < state->uids.n_ranges && state->uids.ranges[cursor->range].last < uid) {
		struct imap_uid_range passed = state->uids.ranges[cursor->range++];
		cursor->n_before_range += (uint64_t)passed.last - passed.first + 1;
	}
	if (cursor->range == state->uids.n_ranges || state->uids.ranges[cursor->range].first > uid) {
		return false;
	}
	uint64_t index = cursor->n_before_range + uid - state->uids.ranges[cursor->range].first;
	while (cursor->run < state->n_runs && cursor->n_before_run + state->runs[cursor->run].n <= index) {
		cursor->n_before_run += state->runs[cursor->run++].n;
	}
	if (cursor->run == state->n_runs) {
		return false;
	}
	*flags_out = state->runs[cursor->run].flags;
	return true;
}

static enum gp_status compare_message(struct api_sync *self, struct flags_cursor *since, uint32_t uid, uint64_t flags)
{
	uint64_t flags_before;

	if (!find_flags(since, uid, &flags_before)) {
		return imap_uidset_add(&self->changes.created, uid, uid);
	}
	return flags_before == flags ? GP_OK : imap_uidset_add(&self->changes.updated, uid, uid);
}

static void compare_flags(struct api_sync *self)
{
	const struct api_state *now = &self->moment->state;
	struct flags_cursor before = {.state = &self->since}, here = {.state = now};
	enum gp_status status = imap_uidset_add_difference(&self->changes.destroyed, &self->since.uids, &now->uids);

	for (size_t i = 0; i < now->uids.n_ranges; i++) {
		/* API_SYNC_MAX_FLAGS in all */
		struct imap_uid_range range = now->uids.ranges[i];
		for (uint64_t uid = range.first; uid <= range.last && status == GP_OK; uid++) {
			uint64_t flags = 0;
			(void)find_flags(&here, (uint32_t)uid, &flags);
			status = compare_message(self, &before, (uint32_t)uid, flags);
		}
	}
	if (check(self, status)) {
		changes_known(self);
	}
}

/* ---- from the old state to the moment ---- */

static bool is_ahead(const struct api_state *since, const struct api_state *now)
{
	bool is_ahead = now->uidnext > 0 && since->uidnext > now->uidnext;

	for (size_t i = 0; i < since->n_pieces; i++) {
		is_ahead |= since->pieces[i].modseq > now->pieces[0].modseq;
	}
	return is_ahead;
}

static bool can_go_on(const struct api_state *since, const struct api_state *now)
{
	/* what a c knows is more than QRESYNC needs */
	return since->kind == now->kind || (since->kind == API_STATE_CONDSTORE && now->kind == API_STATE_QRESYNC);
}

static void detect(struct api_sync *self)
{
	struct api_state now;

	api_state_init(&now);
	enum gp_status status = api_state_to_detect(&self->moment->state, &now);
	bool is_same = api_state_is_equal(&now, &self->since);
	api_state_deinit(&now);
	if (!check(self, status)) {
		return;
	}
	if (is_same) {
		changes_known(self);
	} else {
		fail(self, GP_STALE, "something changed, and the mailbox is too large to say what");
	}
}

static void compare(struct api_sync *self)
{
	const struct api_state *since = &self->since, *now = &self->moment->state;

	if (since->kind == API_STATE_NONE) {
		changes_known(self);
	} else if (since->uidvalidity != now->uidvalidity) {
		fail(self, GP_UIDVALIDITY, NULL);
	} else if (since->kind == API_STATE_DETECT) {
		detect(self);
	} else if (!can_go_on(since, now) || is_ahead(since, now)) {
		fail(self, GP_STALE, "the IMAP server has no history from this state on");
	} else if (now->kind == API_STATE_FLAGS) {
		compare_flags(self);
	} else {
		ask_for_piece(self);
	}
}

/* ---- the moment ---- */

static void on_uids(void *ctx, const struct gp_error *error, const struct imap_uidset *uids)
{
	struct api_sync *self = ctx;
	struct api_state *now = &self->moment->state;

	/* what came since the moment is later */
	if (!call_done(self, error) || !check(self, imap_uidset_add_within(&now->uids, uids, 1, now->uidnext - 1))) {
		return;
	}
	now->kind = API_STATE_CONDSTORE;
	compare(self);
}

static void search_all(struct api_sync *self)
{
	const struct imap_search search = {.n_terms = 0};

	self->call = imap_search_start(self->session, &search, on_uids, self);
	started(self);
}

static void on_flags(void *ctx, const struct imap_fetch *row)
{
	struct api_sync *self = ctx;

	if ((row->items & IMAP_ITEM_FLAGS) == 0 || self->error.status != GP_OK) {
		return;
	}
	if (self->n_rows == self->rows_size) {
		size_t size = self->rows_size ? 2 * self->rows_size : 64;
		/* more than were there, twice over: rows may repeat */
		struct flags_row *rows =
			size > 8 * API_SYNC_MAX_FLAGS ? NULL : realloc(self->rows, size * sizeof *rows);
		if (!rows) {
			gp_error_set(&self->error, GP_NO_MEMORY, "%s", gp_status_text(GP_NO_MEMORY));
			return;
		}
		self->rows = rows;
		self->rows_size = size;
	}
	self->rows[self->n_rows++] = (struct flags_row){row->uid, api_state_flags(row->flags, row->n_flags)};
}

/* Merge sort, which keeps the order of equal ones: of several rows of a message the last
 * one counts. */
static void sort_rows(struct flags_row *rows, struct flags_row *space, size_t n)
{
	for (size_t width = 1; width < n; width *= 2) {
		for (size_t at = 0; at < n; at += 2 * width) {
			size_t middle = at + width < n ? at + width : n, end = at + 2 * width < n ? at + 2 * width : n;
			size_t a = at, b = middle;
			for (size_t i = at; i < end; i++) {
				bool is_a = b == end || (a < middle && rows[a].uid <= rows[b].uid);
				space[i] = rows[is_a ? a++ : b++];
			}
		}
		memcpy(rows, space, n * sizeof *rows);
	}
}

static enum gp_status take_rows(struct api_sync *self)
{
	struct api_state *now = &self->moment->state;
	enum gp_status status = GP_OK;
	struct flags_row *space = malloc((self->n_rows + 1) * sizeof *space);

	if (!space) {
		return GP_NO_MEMORY;
	}
	if (self->n_rows > 0) {
		sort_rows(self->rows, space, self->n_rows);
	}
	free(space);
	for (size_t i = 0; i < self->n_rows && status == GP_OK; i++) {
		struct flags_row row = self->rows[i];
		if (i + 1 < self->n_rows && self->rows[i + 1].uid == row.uid) {
			continue;
		}
		status = imap_uidset_add(&now->uids, row.uid, row.uid);
		if (status == GP_OK) {
			status = api_state_add_run(now, row.flags, 1);
		}
	}
	return status;
}

static void on_all_flags(void *ctx, const struct gp_error *error)
{
	struct api_sync *self = ctx;

	if (!call_done(self, error)) {
		return;
	}
	if (self->error.status != GP_OK) {
		end_soon(self); /* of a row */
	} else if (check(self, take_rows(self))) {
		self->moment->state.kind = API_STATE_FLAGS;
		compare(self);
	}
}

static void fetch_flags(struct api_sync *self)
{
	struct imap_uid_range range = {1, IMAP_UID_STAR};
	const struct imap_uidset uids = {.ranges = &range, .n_ranges = 1};
	const struct imap_fetch_spec fetch = {.uids = &uids, .items = IMAP_ITEM_FLAGS};

	if (self->moment->exists > API_SYNC_MAX_FLAGS) {
		gp_error_set(&self->error, GP_LIMIT,
			     "the IMAP server keeps no mod-sequences, and the mailbox has more than %d messages",
			     API_SYNC_MAX_FLAGS);
		end_soon(self);
	} else if (self->moment->exists == 0) {
		/* FETCH 1:* of an empty mailbox is BAD somewhere */
		self->moment->state.kind = API_STATE_FLAGS;
		compare(self);
	} else {
		self->call = imap_fetch_start(self->session, &fetch, on_flags, on_all_flags, self);
		started(self);
	}
}

/* Only what the mailbox was like when it was selected is of one moment. */
static void begin_moment(struct api_sync *self)
{
	const struct imap_selected *selected = imap_session_selected(self->session);
	struct api_state *now = &self->moment->state;
	bool has_modseq = selected->has_modseq && selected->highestmodseq > 0 && selected->uidnext > 0;

	api_sync_moment_deinit(self->moment);
	self->moment->exists = selected->exists;
	now->uidvalidity = selected->uidvalidity;
	now->uidnext = selected->uidnext;
	now->pieces[0] = (struct api_state_piece){1, has_modseq ? selected->highestmodseq : 0};
	now->n_pieces = 1;
	if (now->uidvalidity == 0) {
		fail(self, GP_UNSUPPORTED, "the IMAP server tells no UIDVALIDITY");
	} else if (!has_modseq) {
		fetch_flags(self);
	} else if (!imap_session_has_qresync(self->session)) {
		search_all(self);
	} else {
		now->kind = API_STATE_QRESYNC;
		compare(self);
	}
}

struct api_sync *api_sync_start(struct imap_session *session, struct api_sync_moment *moment,
				const struct api_state *since, uint64_t max_changes, api_sync_fn done, void *ctx)
{
	struct api_sync *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	self->session = session;
	self->moment = moment;
	self->max_changes = max_changes;
	self->done = done;
	self->ctx = ctx;
	gp_timer_init(&self->timer, imap_session_timers(session), fire, self);
	if (since && api_state_copy(&self->since, since) != GP_OK) {
		sync_free(self);
		return NULL;
	}
	if (moment->state.kind == API_STATE_NONE) {
		begin_moment(self);
	} else {
		compare(self);
	}
	return self;
}
