/*
 * One sync of one mailbox: a fresh view of it, and from there the difference from the
 * state that the streams know, then from that of each stream that is still to be brought
 * up. All of them end in the view's state, as they share the moment.
 *
 *   EXAMINE → STATUS, beside it: sync from mailbox->state → told to all
 *             → sync from each catch → told to that stream → the lease ends
 */
#include <stdlib.h>

#include "api/feed_internal.h"
#include "api/mailboxes.h"
#include "base/limits.h"
#include "base/log.h"

struct feed_sync {
	struct feed_mailbox *mailbox;  /* borrow: it owns this */
	struct imap_lease *lease;      /* own */
	struct imap_call *status;      /* own, while it runs */
	struct api_sync *sync;         /* own, while it runs */
	struct api_sync_moment moment; /* own */
	bool is_for_stream;            /* what is synced is a stream's catch, else the mailbox's own state */
	struct api_listener *stream;   /* link: that stream; NULL: it has left */
	bool is_told;                  /* the mailbox's own is done */
	uint64_t number;               /* feed->clock when its moment was */
	bool is_counted;               /* STATUS has been asked */
	/* what was found, until STATUS has answered: the mailbox's own event has its counts */
	bool is_held;
	struct gp_error held_error; /* GP_OK: none */
	struct api_changes held;    /* own */
};

static void next(struct feed_sync *self);

/* ---- the end ---- */

void feed_sync_stop(struct feed_mailbox *mailbox)
{
	struct feed_sync *self = mailbox->sync;

	mailbox->sync = NULL;
	if (!self) {
		return;
	}
	mailbox->feed->n_syncs--;
	imap_call_cancel(&self->status);
	api_sync_cancel(&self->sync);
	api_changes_deinit(&self->held);
	api_sync_moment_deinit(&self->moment);
	imap_lease_end(&self->lease, false);
	free(self);
}

void feed_sync_forget(struct feed_mailbox *mailbox, const struct api_listener *stream)
{
	if (mailbox->sync && mailbox->sync->stream == stream) {
		mailbox->sync->stream = NULL;
	}
}

static void finish(struct feed_sync *self)
{
	struct feed_mailbox *mailbox = self->mailbox;

	mailbox->n_failures = 0;
	feed_sync_stop(mailbox);
	feed_soon(mailbox->feed); /* it may have been woken meanwhile, or others wait for their turn */
}

static enum gp_status write_anew(struct feed_mailbox *mailbox, struct gp_buffer *text)
{
	enum gp_status status = feed_write_mailbox(mailbox, text);

	return status == GP_OK ? api_event_reset(text, span_of(mailbox->name)) : status;
}

/* The stream is up with the others; what it is owed it is told before. */
static void catch_up(struct api_listener *stream, struct feed_mailbox *mailbox)
{
	struct api_feed *feed = mailbox->feed;
	const struct feed_catch *catch = feed_find_catch(stream, mailbox);
	enum gp_status status = GP_OK;
	struct gp_buffer text;

	feed_enter(feed);
	gp_buffer_init(&text, FEED_MAX_BATCH);
	if (catch && catch->is_reset_due) {
		status = write_anew(mailbox, &text);
	} else if (catch && catch->told != mailbox->told) {
		status = feed_write_mailbox(mailbox, &text); /* the others were told meanwhile */
	}
	if (status == GP_OK) {
		feed_tell(stream, &text);
		feed_caught_up(stream, mailbox);
	} else {
		feed_fail_stream(stream, status);
	}
	gp_buffer_deinit(&text);
	feed_leave(feed);
}

/* It is tried again: a lock that was held for too long is a NO as well as what is for ever. */
static void refused(struct feed_sync *self, const struct gp_error *error)
{
	struct feed_mailbox *mailbox = self->mailbox;
	struct api_feed *feed = mailbox->feed;

	mailbox->is_refused = mailbox->is_dirty = true;
	if (mailbox->n_failures < FEED_MAX_REFUSALS) {
		gp_timer_start(&mailbox->retry, feed_retry_ms(mailbox->n_failures++));
		feed->is_list_due |= error->status == GP_NOT_FOUND;
	}
	feed_sync_stop(mailbox);
	feed_enter(feed);
	if (feed_is_untold(mailbox)) {
		feed_tell_mailbox(mailbox, false);
	}
	mailbox->is_reset_due = true;
	for (struct api_listener *stream = feed->streams; stream; stream = stream->next) {
		if (!stream->is_stopped && feed_find_catch(stream, mailbox)) {
			catch_up(stream, mailbox);
		}
	}
	feed_leave(feed);
	feed_soon(feed); /* others wait for their turn */
}

static void failed(struct feed_sync *self, const struct gp_error *error)
{
	struct feed_mailbox *mailbox = self->mailbox;
	struct api_feed *feed = mailbox->feed;

	gp_log(GP_LOG_INFO, "hub", "no sync: %s", gp_status_name(error->status));
	if (error->status == GP_NOT_FOUND || error->status == GP_NO || error->status == GP_BAD ||
	    error->status == GP_UNSUPPORTED) {
		refused(self, error);
		return;
	}
	mailbox->is_dirty = true;
	feed_sync_stop(mailbox);
	gp_timer_start(&mailbox->retry, feed_retry_ms(mailbox->n_failures++));
	feed_soon(feed);
}

static void failed_for_memory(struct feed_sync *self)
{
	const struct gp_error error = {.status = GP_NO_MEMORY, .text = "out of memory"};

	failed(self, &error);
}

/* ---- telling ---- */

/* Also what came and went since the last sync: a client that has read the mailbox in
 * between, when its stream began or after a reset, has seen it, and is told by nobody else. */
static enum gp_status write_destroyed(struct gp_buffer *text, struct span name, const struct api_changes *changes)
{
	struct imap_uidset gone;

	imap_uidset_init(&gone);
	enum gp_status status = imap_uidset_add_all(&gone, &changes->destroyed);
	if (status == GP_OK) {
		status = imap_uidset_add_all(&gone, &changes->passed);
	}
	if (status == GP_OK) {
		status = api_event_uids(text, "destroyed", name, changes->state.uidvalidity, &gone);
	}
	imap_uidset_deinit(&gone);
	return status;
}

static enum gp_status write_changes(const struct feed_mailbox *mailbox, const struct api_changes *changes,
				    struct gp_buffer *text)
{
	struct span name = span_of(mailbox->name);
	uint32_t uidvalidity = changes->state.uidvalidity;
	enum gp_status status = api_event_uids(text, "created", name, uidvalidity, &changes->created);

	if (status == GP_OK) {
		status = api_event_uids(text, "updated", name, uidvalidity, &changes->updated);
	}
	return status == GP_OK ? write_destroyed(text, name, changes) : status;
}

static bool is_reset_due(const struct feed_sync *self)
{
	return !self->is_for_stream && self->mailbox->is_reset_due;
}

/* Also where nothing happened to its messages: it was subscribed to, or has children now. */
static bool is_mailbox_due(const struct feed_sync *self)
{
	return !self->is_for_stream && feed_is_untold(self->mailbox);
}

/* A batch: what changed, and the mailbox as it is now. */
static enum gp_status write_batch(const struct feed_sync *self, const struct api_changes *changes,
				  struct gp_buffer *text)
{
	enum gp_status status = write_changes(self->mailbox, changes, text);

	if (status == GP_OK && (text->len > 0 || is_mailbox_due(self))) {
		status = feed_write_mailbox(self->mailbox, text);
	}
	return status;
}

/* The state moves on first: it is the id of what is told. */
static void tell(struct feed_sync *self, struct api_state *state, const struct gp_buffer *text)
{
	struct feed_mailbox *mailbox = self->mailbox;

	if (!self->is_for_stream) {
		mailbox->is_reset_due = false;
		feed_note_told(mailbox);
		feed_set_state(mailbox, state);
		feed_tell_all(mailbox->feed, mailbox, text);
		return;
	}
	struct feed_catch *catch = self->stream ? feed_find_catch(self->stream, mailbox) : NULL;
	if (catch) {
		api_state_deinit(&catch->since);
		catch->since = *state;
		catch->told = text->len > 0 ? mailbox->told : catch->told;
		api_state_init(state);
		feed_tell(self->stream, text);
	}
}

/* This state is where it ends; for a stream, it is up with the others. */
static void done_with_one(struct feed_sync *self)
{
	struct api_listener *stream = self->stream;

	self->is_told |= !self->is_for_stream;
	self->is_for_stream = false;
	self->stream = NULL;
	if (stream) {
		catch_up(stream, self->mailbox);
	}
}

static bool is_reset(const struct gp_error *error)
{
	return error && (error->status == GP_UIDVALIDITY || error->status == GP_STALE);
}

/* What only detects: for mailboxes too large to be looked through. */
static bool detect(struct feed_sync *self)
{
	const struct imap_selected *selected = imap_session_selected(imap_lease_session(self->lease));
	struct api_state *state = &self->moment.state;

	api_state_deinit(state);
	state->kind = API_STATE_DETECT;
	state->uidvalidity = selected->uidvalidity;
	state->uidnext = selected->uidnext;
	state->n_pieces = 1;
	state->pieces[0] = (struct api_state_piece){1, 0};
	state->n_messages = self->moment.exists;
	const struct api_state *known = &self->mailbox->state;
	return known->kind == API_STATE_NONE || api_state_is_equal(known, state);
}

/* Nobody can say what happened between the two states: it is to be read anew. */
static void tell_reset(struct feed_sync *self, bool is_silent)
{
	struct gp_buffer text;
	struct api_state state;

	gp_buffer_init(&text, FEED_MAX_BATCH);
	api_state_init(&state);
	enum gp_status status = api_state_copy(&state, &self->moment.state);
	if (status == GP_OK && !is_silent) {
		status = api_event_reset(&text, span_of(self->mailbox->name));
	}
	if (status == GP_OK && (!is_silent || is_mailbox_due(self))) {
		status = feed_write_mailbox(self->mailbox, &text);
	}
	if (status == GP_OK) {
		tell(self, &state, &text);
		done_with_one(self);
	}
	api_state_deinit(&state);
	gp_buffer_deinit(&text);
	if (status == GP_OK) {
		next(self);
	} else {
		failed_for_memory(self);
	}
}

/* What does not fit is a `reset`: a sync names no more than API_SYNC_MAX_CHANGES messages,
 * but any number of those that came and went. */
static void tell_changes(struct feed_sync *self, struct api_changes *changes)
{
	struct gp_buffer text;

	gp_buffer_init(&text, FEED_MAX_TOLD);
	enum gp_status status = write_batch(self, changes, &text);
	bool has_more = changes->has_more;
	if (status == GP_OK) {
		tell(self, &changes->state, &text);
		if (!has_more) {
			done_with_one(self);
		}
	}
	gp_buffer_deinit(&text);
	if (status == GP_OK) {
		next(self);
	} else if (status == GP_LIMIT) {
		tell_reset(self, false);
	} else {
		failed_for_memory(self);
	}
}

/* ---- syncs ---- */

static void go_on(struct feed_sync *self, const struct gp_error *error, struct api_changes *changes)
{
	struct api_feed *feed = self->mailbox->feed;

	feed_enter(feed);
	/* Due: it could not be opened before, and is perhaps another one of the same name. Streams
	 * that waited then for what changed have not been told, and have nothing to go on from. */
	bool is_due = is_reset_due(self);
	if (is_reset(error) || (!error && is_due)) {
		tell_reset(self, false);
	} else if (error && error->status == GP_LIMIT) {
		tell_reset(self, detect(self) && !is_due);
	} else if (error) {
		failed(self, error);
	} else {
		tell_changes(self, changes);
	}
	feed_leave(feed);
}

static void on_synced(void *ctx, const struct gp_error *error, struct api_changes *changes)
{
	struct feed_sync *self = ctx;

	self->sync = NULL;
	if (!self->status) {
		go_on(self, error, changes);
		return;
	}
	self->is_held = true;
	self->held_error = error ? *error : (struct gp_error){.status = GP_OK};
	if (changes) {
		self->held = *changes;
		*changes = (struct api_changes){.has_more = false}; /* moved */
	}
}

static void release(struct feed_sync *self)
{
	struct gp_error error = self->held_error;
	struct api_changes changes = self->held;

	self->is_held = false;
	self->held = (struct api_changes){.has_more = false};
	go_on(self, error.status == GP_OK ? NULL : &error, &changes);
	api_changes_deinit(&changes);
}

static void note_status(struct feed_mailbox *mailbox, const struct imap_status *status)
{
	struct imap_mailbox *listed = &mailbox->feed->list[mailbox->index];
	struct span id = listed->status.mailbox_id;
	unsigned known = listed->status.items & IMAP_STATUS_MAILBOXID;

	listed->status = *status;
	listed->status.items = (status->items & ~(unsigned)IMAP_STATUS_MAILBOXID) | known;
	listed->status.mailbox = SPAN_NIL;
	listed->status.mailbox_id = id;
	listed->has_status = true;
}

static void on_status(void *ctx, const struct gp_error *error, const struct imap_status *status)
{
	struct feed_sync *self = ctx;

	self->status = NULL;
	if (!error) {
		note_status(self->mailbox, status);
	}
	if (self->is_held) {
		release(self);
	}
}

/* STATUS goes behind the first one: it is asked of a session that has the mailbox open, and must
 * not be older than what is found. */
static void start_sync(struct feed_sync *self, const struct api_state *since)
{
	struct imap_session *session = imap_lease_session(self->lease);

	self->sync = api_sync_start(session, &self->moment, since->kind == API_STATE_NONE ? NULL : since,
				    API_SYNC_MAX_CHANGES, on_synced, self);
	if (!self->sync) {
		failed_for_memory(self);
	} else if (!self->is_counted) {
		self->is_counted = true;
		self->status = imap_status_start(session, span_of(self->mailbox->name), api_mailbox_status_items(),
						 on_status, self);
	}
}

/* The next stream that is to be brought up, and its catch. */
static struct feed_catch *next_catch(struct feed_sync *self)
{
	for (struct api_listener *stream = self->mailbox->feed->streams; stream; stream = stream->next) {
		struct feed_catch *catch = stream->is_stopped ? NULL : feed_find_catch(stream, self->mailbox);
		/* one that came after the moment is for the next sync: the stream is to hear of
		 * all that was before it began */
		if (catch && catch->number <= self->number) {
			self->is_for_stream = true;
			self->stream = stream;
			return catch;
		}
	}
	return NULL;
}

/* One at a time; where a page was cut, the same goes on from its new state. */
static void next(struct feed_sync *self)
{
	if (!self->is_told) {
		start_sync(self, &self->mailbox->state);
		return;
	}
	struct feed_catch *catch = next_catch(self);
	while (catch &&
	       (catch->since.kind == API_STATE_NONE || api_state_is_equal(&catch->since, &self->mailbox->state))) {
		done_with_one(self);
		catch = next_catch(self);
	}
	if (catch) {
		start_sync(self, &catch->since);
	} else {
		finish(self);
	}
}

/* ---- the lease ---- */

static void on_lease(void *ctx, struct imap_lease *lease, const struct gp_error *error)
{
	struct feed_sync *self = ctx;

	(void)lease; /* self->lease */
	if (error) {
		self->lease = NULL;
		failed(self, error);
		return;
	}
	self->number = self->mailbox->feed->clock;
	next(self);
}

void feed_sync_start(struct feed_mailbox *mailbox)
{
	struct api_feed *feed = mailbox->feed;
	struct feed_sync *self = calloc(1, sizeof *self);
	const struct imap_lease_spec spec = {.credential = feed->hub->credential,
					     .mailbox = span_of(mailbox->name),
					     .is_fresh_view = true,
					     .deadline_at_ms =
						     feed->app->timers->now_ms + feed->app->request_timeout_ms};

	if (!self) {
		gp_timer_start(&mailbox->retry, FEED_RETRY_MS);
		return;
	}
	self->mailbox = mailbox;
	mailbox->sync = self;
	mailbox->is_dirty = false; /* what comes from now on may be after the moment */
	feed->n_syncs++;
	self->lease = imap_lease_start(feed->app->pool, &spec, on_lease, self);
	if (!self->lease) {
		failed_for_memory(self);
	}
}
