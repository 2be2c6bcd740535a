#include <assert.h>
#include <stdlib.h>

#include "api/feed_internal.h"
#include "base/limits.h"
#include "base/log.h"

static bool is_inbox(struct span name)
{
	return span_equal_text_nocase(name, "INBOX");
}

/* ---- mailboxes ---- */

/* The index of the first mailbox whose name is not below `name`. */
static size_t find_place(const struct api_feed *feed, struct span name)
{
	size_t low = 0, high = feed->n_mailboxes;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (span_compare(span_of(feed->mailboxes[middle]->name), name) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

struct feed_mailbox *feed_find(const struct api_feed *feed, struct span name)
{
	name = is_inbox(name) ? SPAN_LIT("INBOX") : name;
	size_t at = find_place(feed, name);

	return at < feed->n_mailboxes && span_equal_text(name, feed->mailboxes[at]->name) ? feed->mailboxes[at] : NULL;
}

static void retry_due(struct gp_timer *timer)
{
	struct feed_mailbox *mailbox = timer->ctx;

	mailbox->is_refused = false;
	feed_soon(mailbox->feed);
}

static struct feed_mailbox *mailbox_new(struct api_feed *feed, struct span name)
{
	struct feed_mailbox *mailbox = calloc(1, sizeof *mailbox);

	if (!mailbox) {
		return NULL;
	}
	mailbox->feed = feed;
	mailbox->name = span_dup(name);
	if (!mailbox->name) {
		free(mailbox);
		return NULL;
	}
	api_event_hash(name, mailbox->hash);
	api_state_init(&mailbox->state);
	gp_timer_init(&mailbox->retry, feed->app->timers, retry_due, mailbox);
	return mailbox;
}

struct feed_mailbox *feed_find_or_add(struct api_feed *feed, struct span name)
{
	struct feed_mailbox *mailbox = feed_find(feed, name);

	if (mailbox) {
		return mailbox;
	}
	if (feed->n_mailboxes == feed->mailboxes_size) {
		size_t size = feed->mailboxes_size ? 2 * feed->mailboxes_size : 16;
		struct feed_mailbox **mailboxes = realloc(feed->mailboxes, size * sizeof *mailboxes);
		if (!mailboxes) {
			return NULL;
		}
		feed->mailboxes = mailboxes;
		feed->mailboxes_size = size;
	}
	name = is_inbox(name) ? SPAN_LIT("INBOX") : name;
	mailbox = mailbox_new(feed, name);
	if (mailbox) {
		size_t at = find_place(feed, name);
		memmove(feed->mailboxes + at + 1, feed->mailboxes + at, (feed->n_mailboxes - at) * sizeof mailbox);
		feed->mailboxes[at] = mailbox;
		feed->n_mailboxes++;
	}
	return mailbox;
}

static void mailbox_free(struct feed_mailbox *mailbox)
{
	feed_sync_stop(mailbox);
	gp_timer_stop(&mailbox->retry);
	api_state_deinit(&mailbox->state);
	free(mailbox->name);
	free(mailbox);
}

/* Those that are gone, and that nobody names. */
static void forget_mailboxes(struct api_feed *feed)
{
	size_t n = 0;

	for (size_t i = 0; i < feed->n_mailboxes; i++) {
		struct feed_mailbox *mailbox = feed->mailboxes[i];
		if (mailbox->is_listed || mailbox->n_named > 0 || mailbox->sync) {
			feed->mailboxes[n++] = mailbox;
		} else {
			mailbox_free(mailbox);
		}
	}
	feed->n_mailboxes = n;
}

bool feed_is_tracked(const struct api_feed *feed, const struct feed_mailbox *mailbox)
{
	return feed->n_all > 0 || mailbox->n_named > 0;
}

const struct api_state *feed_told_state(const struct feed_mailbox *mailbox)
{
	return mailbox->is_reset_due ? NULL : &mailbox->state;
}

void feed_set_state(struct feed_mailbox *mailbox, struct api_state *state)
{
	if (!api_state_is_equal(&mailbox->state, state)) {
		mailbox->changed_at = ++mailbox->feed->clock;
	}
	api_state_deinit(&mailbox->state);
	mailbox->state = *state;
	api_state_init(state);
}

/* ---- streams ---- */

static void stream_free(struct api_listener *stream)
{
	while (stream->catches) {
		struct feed_catch *catch = stream->catches;
		stream->catches = catch->next;
		api_state_deinit(&catch->since);
		free(catch);
	}
	for (size_t i = 0; i < stream->n_refs; i++) {
		free((void *)(uintptr_t)stream->refs[i].name.ptr);
	}
	gp_buffer_deinit(&stream->gathered);
	free(stream->refs);
	free(stream->mailboxes);
	free(stream->last_id);
	imap_credential_unref(&stream->credential);
	free(stream);
}

static void unlink_stream(struct api_listener *stream)
{
	struct api_feed *feed = stream->feed;

	if (stream->prev) {
		stream->prev->next = stream->next;
	} else {
		feed->streams = stream->next;
	}
	if (stream->next) {
		stream->next->prev = stream->prev;
	}
}

void feed_enter(struct api_feed *feed)
{
	feed->n_entered++;
}

/* Streams that were stopped while they were walked over go now. */
void feed_leave(struct api_feed *feed)
{
	struct api_listener *next;

	if (--feed->n_entered > 0) {
		return;
	}
	for (struct api_listener *stream = feed->streams; stream; stream = next) {
		next = stream->next;
		if (stream->is_stopped) {
			unlink_stream(stream);
			stream_free(stream);
		}
	}
}

void api_listener_stop(struct api_listener **stream_in)
{
	struct api_listener *stream = *stream_in;

	*stream_in = NULL;
	if (!stream) {
		return;
	}
	struct api_feed *feed = stream->feed;
	assert(!stream->is_stopped);
	stream->is_stopped = true;
	feed->n_streams--;
	feed->hub->hubs->n_streams--;
	for (size_t i = 0; i < stream->n_mailboxes; i++) {
		stream->mailboxes[i]->n_named--;
	}
	for (size_t i = 0; i < feed->n_mailboxes; i++) {
		feed_sync_forget(feed->mailboxes[i], stream);
	}
	feed->n_all -= stream->has_begun && stream->is_all;
	feed_enter(feed);
	feed_leave(feed);
	hub_unsubscribed(feed->hub);
}

void feed_end_stream(struct api_listener *stream, enum api_problem problem, const struct gp_error *error,
		     const char *detail)
{
	const struct api_listener_events *events = stream->events;
	void *ctx = stream->ctx;

	api_listener_stop(&stream);
	events->ended(ctx, problem, error, detail);
}

void feed_fail_stream(struct api_listener *stream, enum gp_status status)
{
	struct gp_error error = {.status = GP_OK};

	gp_error_set(&error, status, "%s", gp_status_text(status));
	feed_end_stream(stream, api_problem_of(&error), &error, NULL);
}

bool feed_stream_sees(const struct api_listener *stream, const struct feed_mailbox *mailbox)
{
	for (size_t i = 0; i < stream->n_mailboxes; i++) {
		if (stream->mailboxes[i] == mailbox) {
			return true;
		}
	}
	return stream->is_all;
}

struct feed_catch *feed_find_catch(const struct api_listener *stream, const struct feed_mailbox *mailbox)
{
	struct feed_catch *catch = stream->catches;

	while (catch && catch->mailbox != mailbox) {
		catch = catch->next;
	}
	return catch;
}

/* What is longer than its client has room for would end the stream, and be the same again
 * when it comes back. */
static struct span within_room(const struct gp_buffer *text)
{
	return text->len > FEED_MAX_TOLD ? API_EVENT_RESET_ALL : gp_buffer_span(text);
}

/* Where it is too long, all of it is a reset; what is told after that is true as well. */
static void gather(struct api_listener *stream, struct span text)
{
	struct gp_buffer *gathered = &stream->gathered;
	enum gp_status status = GP_OK;

	if (gathered->len + text.len >= FEED_MAX_TOLD) {
		gp_buffer_truncate(gathered, 0);
		status = gp_buffer_append(gathered, API_EVENT_RESET_ALL);
	}
	if (status == GP_OK && gathered->len > 0) {
		status = gp_buffer_append_char(gathered, '\n');
	}
	if (status == GP_OK) {
		status = gp_buffer_append(gathered, text);
	}
	if (status != GP_OK) {
		feed_fail_stream(stream, status);
	}
}

static void check_owner(const struct api_listener *stream)
{
	imap_credential_check_owner(stream->feed->hub->credential, stream->credential,
				    "a stream is on a feed of another credential");
}

void feed_tell(struct api_listener *stream, const struct gp_buffer *text)
{
	if (text->len > 0 && stream->has_begun && !stream->is_stopped) {
		check_owner(stream);
		if (stream->feed->is_gathering) {
			gather(stream, within_room(text));
		} else {
			stream->events->events(stream->ctx, within_room(text));
		}
	}
}

void feed_tell_all(struct api_feed *feed, const struct feed_mailbox *mailbox, const struct gp_buffer *text)
{
	feed_enter(feed);
	for (struct api_listener *stream = feed->streams; stream; stream = stream->next) {
		if (!stream->is_stopped && feed_stream_sees(stream, mailbox) && !feed_find_catch(stream, mailbox)) {
			feed_tell(stream, text);
		}
	}
	feed_leave(feed);
}

static void become_live(struct api_listener *stream)
{
	struct gp_buffer text;
	json_t *nothing = json_object();

	stream->is_live = true;
	gp_buffer_init(&text, GP_KIB);
	if (api_event_json(&text, "ready", nothing) == GP_OK) {
		feed_tell(stream, &text);
	}
	json_decref(nothing);
	gp_buffer_deinit(&text);
}

/* Not before it has been told what is gathered for it. */
static void live_if_up(struct api_listener *stream)
{
	if (!stream->catches && stream->has_begun && !stream->is_live && !stream->is_stopped &&
	    !stream->feed->is_gathering) {
		become_live(stream);
	}
}

void feed_caught_up(struct api_listener *stream, const struct feed_mailbox *mailbox)
{
	struct feed_catch **at = &stream->catches;

	while (*at && (*at)->mailbox != mailbox) {
		at = &(*at)->next;
	}
	if (*at) {
		struct feed_catch *catch = *at;
		*at = catch->next;
		api_state_deinit(&catch->since);
		free(catch);
	}
	live_if_up(stream);
}

void feed_gather(struct api_feed *feed)
{
	feed_enter(feed);
	feed->is_gathering = true;
}

void feed_tell_gathered(struct api_feed *feed)
{
	feed->is_gathering = false;
	for (struct api_listener *stream = feed->streams; stream; stream = stream->next) {
		feed_tell(stream, &stream->gathered);
		gp_buffer_deinit(&stream->gathered);
		live_if_up(stream);
	}
	feed_leave(feed);
}

/* ---- the id ---- */

static int compare_changed(const void *a, const void *b)
{
	const struct feed_mailbox *left = *(struct feed_mailbox *const *)a, *right = *(struct feed_mailbox *const *)b;

	return (left->changed_at < right->changed_at) - (left->changed_at > right->changed_at);
}

const struct imap_credential *api_listener_credential(const struct api_listener *stream)
{
	return stream->credential;
}

enum gp_status api_listener_write_id(const struct api_listener *stream, struct gp_buffer *out)
{
	const struct api_feed *feed = stream->feed;
	size_t n = 0;
	struct feed_mailbox **seen = calloc(feed->n_mailboxes + 1, sizeof *seen);
	struct api_event_id_writer writer;

	if (!seen) {
		return GP_NO_MEMORY;
	}
	for (size_t i = 0; i < feed->n_mailboxes; i++) {
		struct feed_mailbox *mailbox = feed->mailboxes[i];
		/* also one that was named and is gone: it may come again */
		if (feed_stream_sees(stream, mailbox) && (mailbox->is_listed || !stream->is_all)) {
			seen[n++] = mailbox;
		}
	}
	/* where not all fit: those that nothing happens to are the ones to leave out */
	qsort(seen, n, sizeof(struct feed_mailbox *), compare_changed);
	api_event_id_begin(&writer, out, n);
	for (size_t i = 0; i < n; i++) {
		const struct feed_catch *catch = feed_find_catch(stream, seen[i]);
		/* one that is not known yet has no entry, and is read anew by who comes back */
		if (!catch || catch->since.kind != API_STATE_NONE) {
			api_event_id_add(&writer, seen[i]->hash, catch ? &catch->since : feed_told_state(seen[i]));
		}
	}
	free(seen);
	return api_event_id_end(&writer);
}

/* ---- what is to be done ---- */

uint64_t feed_retry_ms(unsigned n_failures)
{
	uint64_t ms = FEED_RETRY_MS << (n_failures < 6 ? n_failures : 6);

	return ms < FEED_MAX_RETRY_MS ? ms : FEED_MAX_RETRY_MS;
}

void feed_soon(struct api_feed *feed)
{
	gp_timer_start(&feed->turn, 0);
}

static bool may_sync(const struct api_feed *feed, const struct feed_mailbox *mailbox)
{
	return mailbox->is_dirty && mailbox->is_listed && mailbox->is_selectable && !mailbox->is_refused &&
	       !mailbox->sync && !gp_timer_is_running(&mailbox->retry) && feed_is_tracked(feed, mailbox);
}

/* In turn, from behind the one that was started last: those that are dirty again before
 * their own sync has ended do not keep the others from theirs. */
static void start_syncs(struct api_feed *feed)
{
	size_t first = feed->next_sync;

	for (size_t i = 0; i < feed->n_mailboxes && feed->n_syncs < FEED_MAX_SYNCS; i++) {
		size_t at = (first + i) % feed->n_mailboxes;
		if (may_sync(feed, feed->mailboxes[at])) {
			feed->next_sync = at + 1;
			feed_sync_start(feed->mailboxes[at]);
		}
	}
}

static void on_turn(struct gp_timer *timer)
{
	struct api_feed *feed = timer->ctx;

	feed_enter(feed);
	for (struct api_listener *stream = feed->streams; stream; stream = stream->next) {
		if (!stream->is_stopped && !stream->has_begun && feed_can_join(stream)) {
			feed_join(stream);
		}
	}
	feed_leave(feed);
	forget_mailboxes(feed);
	if (feed->is_list_due && !feed->list_lease && !gp_timer_is_running(&feed->list_retry) &&
	    feed_has_streams(feed)) {
		feed_list_start(feed);
	}
	if (feed->n_lists > 0 && !feed->is_away) {
		start_syncs(feed);
	}
}

/* ---- what the hub says ---- */

static bool is_known(const struct feed_mailbox *mailbox, const struct imap_status *status)
{
	const unsigned items = IMAP_STATUS_UIDVALIDITY | IMAP_STATUS_HIGHESTMODSEQ | IMAP_STATUS_UIDNEXT;
	const struct api_state *state = &mailbox->state;

	return status && (status->items & items) == items && state->kind == API_STATE_QRESYNC && state->n_pieces == 1 &&
	       state->uidvalidity == status->uidvalidity && state->pieces[0].modseq == status->highestmodseq &&
	       state->uidnext == status->uidnext && status->highestmodseq > 0;
}

void feed_changed(struct api_feed *feed, struct span name, const struct imap_status *status)
{
	struct feed_mailbox *mailbox = feed_find(feed, name);

	if (!mailbox || !mailbox->is_listed) {
		feed->is_list_due = true;
	} else if (!is_known(mailbox, status)) {
		mailbox->is_dirty = true;
		mailbox->is_refused = false;
		gp_timer_stop(&mailbox->retry);
	}
	feed_soon(feed);
}

/* A server that tells at once may still list what was: Dovecot does. */
void feed_listed(struct api_feed *feed)
{
	feed->is_list_due = true;
	gp_timer_start(&feed->list_again, FEED_LIST_AGAIN_MS);
	feed_soon(feed);
}

void feed_up(struct api_feed *feed)
{
	feed->is_away = false;
	feed->is_list_due = true; /* it tells which mailboxes are to be looked at */
	gp_timer_stop(&feed->list_retry);
	feed_soon(feed);
}

void feed_down(struct api_feed *feed)
{
	feed->is_away = true;
}

void feed_end(struct api_feed *feed, const struct gp_error *error)
{
	feed_enter(feed);
	for (struct api_listener *stream = feed->streams; stream; stream = stream->next) {
		if (!stream->is_stopped) {
			feed_end_stream(stream, api_problem_of(error), error, NULL);
		}
	}
	feed_leave(feed);
}

bool feed_has_streams(const struct api_feed *feed)
{
	return feed->n_streams > 0;
}

bool feed_wants(const struct api_feed *feed, void (*add)(void *ctx, struct span mailbox), void *ctx)
{
	for (const struct api_listener *stream = feed->streams; stream; stream = stream->next) {
		for (size_t i = 0; !stream->is_stopped && i < stream->n_mailboxes; i++) {
			add(ctx, span_of(stream->mailboxes[i]->name));
		}
	}
	return feed->n_all > 0;
}

/* ---- life ---- */

static void list_again_due(struct gp_timer *timer)
{
	struct api_feed *feed = timer->ctx;

	feed->is_list_due = true;
	feed_soon(feed);
}

static void list_retry_due(struct gp_timer *timer)
{
	feed_soon(timer->ctx);
}

static struct api_feed *feed_new(struct api_hub *hub)
{
	struct api_feed *feed = calloc(1, sizeof *feed);

	if (feed) {
		feed->hub = hub;
		feed->app = hub->hubs->app;
		gp_arena_init(&feed->arena, GP_MAX_REQUEST_ARENA);
		gp_timer_init(&feed->turn, feed->app->timers, on_turn, feed);
		gp_timer_init(&feed->list_retry, feed->app->timers, list_retry_due, feed);
		gp_timer_init(&feed->list_again, feed->app->timers, list_again_due, feed);
	}
	return feed;
}

void feed_free(struct api_feed **feed_in)
{
	struct api_feed *feed = *feed_in;

	*feed_in = NULL;
	if (!feed) {
		return;
	}
	assert(!feed->streams);
	feed_list_stop(feed);
	for (size_t i = 0; i < feed->n_mailboxes; i++) {
		mailbox_free(feed->mailboxes[i]);
	}
	free(feed->mailboxes);
	gp_timer_stop(&feed->turn);
	gp_timer_stop(&feed->list_again);
	gp_timer_stop(&feed->list_retry);
	gp_arena_deinit(&feed->arena);
	free(feed);
}

static bool copy_spec(struct api_listener *stream, const struct api_listener_spec *spec)
{
	stream->credential = imap_credential_ref(spec->credential);
	stream->is_all = spec->n_mailboxes == 0;
	stream->refs = calloc(spec->n_mailboxes + 1, sizeof *stream->refs);
	for (size_t i = 0; stream->refs && i < spec->n_mailboxes; i++) {
		struct span name = spec->mailboxes[i].name;
		stream->refs[i].role = spec->mailboxes[i].role;
		stream->n_refs++;
		if (!span_is_nil(name)) {
			char *copy = span_dup(name);
			stream->refs[i].name = span_of(copy);
			if (!copy) {
				return false;
			}
		}
	}
	if (spec->last_event_id.len > 0) {
		stream->last_id = span_dup(spec->last_event_id);
	}
	return stream->refs && (spec->last_event_id.len == 0 || stream->last_id);
}

enum gp_status api_listener_start(struct api_hubs *hubs, const struct api_listener_spec *spec,
				  const struct api_listener_events *events, void *ctx, struct api_listener **stream_out)
{
	struct api_hub *hub = hub_get(hubs, spec->credential);
	struct api_listener *stream = NULL;
	enum gp_status status = GP_OK;

	if (!hub) {
		return hubs->is_draining ? GP_DRAINING : GP_NO_MEMORY;
	}
	if (!hub->feed) {
		hub->feed = feed_new(hub);
	}
	if (!hub->feed) {
		status = GP_NO_MEMORY;
	} else if (hub->feed->n_streams == API_FEED_MAX_LISTENERS) {
		status = GP_QUEUE_FULL;
	} else {
		stream = calloc(1, sizeof *stream);
		status = stream ? GP_OK : GP_NO_MEMORY;
	}
	if (status == GP_OK && !copy_spec(stream, spec)) {
		stream_free(stream);
		status = GP_NO_MEMORY;
	}
	if (status != GP_OK) {
		hub_unsubscribed(hub);
		return status;
	}
	struct api_feed *feed = hub->feed;
	stream->feed = feed;
	stream->events = events;
	stream->ctx = ctx;
	gp_buffer_init(&stream->gathered, 2 * FEED_MAX_TOLD);
	stream->list_number = feed->n_lists + (feed->list_lease != NULL); /* that one may be of before */
	stream->next = feed->streams;
	if (stream->next) {
		stream->next->prev = stream;
	}
	feed->streams = stream;
	feed->n_streams++;
	hubs->n_streams++;
	gp_timer_stop(&hub->grace);
	feed->is_list_due |= !feed_can_join(stream);
	feed_soon(feed);
	*stream_out = stream;
	return GP_OK;
}
