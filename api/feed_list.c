/* The list of an account's mailboxes: one LIST with STATUS, and what is different from the
 * one before. Where there are mod-sequences its counts tell which mailboxes changed. */
#include <stdlib.h>

#include "api/feed_internal.h"
#include "api/json.h"
#include "api/mailboxes.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"

/* ---- as JSON ---- */

json_t *feed_mailbox_json(const struct feed_mailbox *mailbox)
{
	const struct api_feed *feed = mailbox->feed;
	struct gp_arena arena;

	gp_arena_init(&arena, GP_MIB);
	json_t *object = api_mailbox_json(&feed->list[mailbox->index], &feed->roles[mailbox->index], feed->sorted,
					  feed->n_list, feed->has_qresync, &arena);
	gp_arena_deinit(&arena);
	return object;
}

/* 0 when memory ends. */
static uint64_t hash_mailbox(const struct feed_mailbox *mailbox)
{
	json_t *object = feed_mailbox_json(mailbox);
	struct gp_buffer text;
	uint64_t hash = 0;

	gp_buffer_init(&text, GP_MIB);
	if (object && api_json_write(object, false, &text) == GP_OK) {
		hash = gp_hash_span(GP_HASH_START, gp_buffer_span(&text)) | 1;
	}
	json_decref(object);
	gp_buffer_deinit(&text);
	return hash;
}

enum gp_status feed_write_mailbox(const struct feed_mailbox *mailbox, struct gp_buffer *text)
{
	json_t *object = feed_mailbox_json(mailbox);
	enum gp_status status = api_event_json(text, "mailbox", object);

	json_decref(object);
	return status;
}

bool feed_is_untold(const struct feed_mailbox *mailbox)
{
	return hash_mailbox(mailbox) != mailbox->told;
}

void feed_note_told(struct feed_mailbox *mailbox)
{
	mailbox->told = hash_mailbox(mailbox);
}

/* ---- what is different ---- */

void feed_tell_mailbox(struct feed_mailbox *mailbox, bool is_reset)
{
	struct gp_buffer text;

	gp_buffer_init(&text, FEED_MAX_BATCH);
	enum gp_status status = feed_write_mailbox(mailbox, &text);
	if (status == GP_OK && is_reset) {
		status = api_event_reset(&text, span_of(mailbox->name));
	}
	if (status == GP_OK) {
		feed_note_told(mailbox);
		feed_tell_all(mailbox->feed, mailbox, &text);
	} else {
		gp_log(GP_LOG_WARN, "hub", "a mailbox event is lost: %s", gp_status_name(status));
	}
	gp_buffer_deinit(&text);
}

static void tell_deleted(struct feed_mailbox *mailbox)
{
	struct gp_buffer text;

	gp_buffer_init(&text, FEED_MAX_BATCH);
	if (api_event_deleted(&text, span_of(mailbox->name)) == GP_OK) {
		feed_tell_all(mailbox->feed, mailbox, &text);
	}
	gp_buffer_deinit(&text);
}

/* Streams that waited for it need not any more. */
static void drop_catches(struct feed_mailbox *mailbox)
{
	struct api_feed *feed = mailbox->feed;

	feed_enter(feed);
	for (struct api_listener *stream = feed->streams; stream; stream = stream->next) {
		if (!stream->is_stopped && feed_find_catch(stream, mailbox)) {
			feed_caught_up(stream, mailbox);
		}
	}
	feed_leave(feed);
}

static void mailbox_gone(struct feed_mailbox *mailbox)
{
	struct api_state none;

	mailbox->is_listed = false;
	mailbox->is_dirty = mailbox->is_refused = false;
	mailbox->is_reset_due = false;
	mailbox->n_failures = 0;
	if (mailbox->n_named > 0) {
		hub_watch_anew(mailbox->feed->hub); /* to see it when it is made again */
	}
	feed_sync_stop(mailbox);
	gp_timer_stop(&mailbox->retry);
	api_state_init(&none);
	feed_set_state(mailbox, &none);
	drop_catches(mailbox);
	tell_deleted(mailbox);
}

/* The state that STATUS tells: with QRESYNC, else of kind NONE. */
static struct api_state listed_state(const struct api_feed *feed, const struct imap_mailbox *listed)
{
	const unsigned items = IMAP_STATUS_UIDVALIDITY | IMAP_STATUS_HIGHESTMODSEQ | IMAP_STATUS_UIDNEXT;
	const struct imap_status *status = &listed->status;
	struct api_state state;

	api_state_init(&state);
	if (feed->has_qresync && listed->has_status && (status->items & items) == items && status->uidvalidity > 0 &&
	    status->uidnext > 0 && status->highestmodseq > 0 && status->highestmodseq <= INT64_MAX) {
		state.kind = API_STATE_QRESYNC;
		state.uidvalidity = status->uidvalidity;
		state.uidnext = status->uidnext;
		state.pieces[0] = (struct api_state_piece){1, status->highestmodseq};
		state.n_pieces = 1;
	}
	return state;
}

/* STATUS says that nothing happened since the state. Without mod-sequences it cannot. */
static bool is_unchanged(const struct api_state *state, const struct imap_mailbox *listed)
{
	const unsigned items =
		IMAP_STATUS_UIDVALIDITY | IMAP_STATUS_HIGHESTMODSEQ | IMAP_STATUS_UIDNEXT | IMAP_STATUS_MESSAGES;
	const struct imap_status *status = &listed->status;

	if (state->kind != API_STATE_CONDSTORE && state->kind != API_STATE_QRESYNC) {
		return false;
	}
	return listed->has_status && (status->items & items) == items && state->n_pieces == 1 &&
	       state->uidvalidity == status->uidvalidity && state->pieces[0].modseq == status->highestmodseq &&
	       state->uidnext == status->uidnext &&
	       (state->kind == API_STATE_QRESYNC || imap_uidset_count(&state->uids) == status->messages);
}

/* At once where its state is known. Else with the sync that finds it: who reads the mailbox
 * on being told would miss what comes between. */
static void tell_new(struct feed_mailbox *mailbox)
{
	bool is_again = mailbox->n_named > 0;

	if (mailbox->state.kind == API_STATE_NONE && mailbox->is_selectable) {
		mailbox->is_reset_due = is_again;
		mailbox->told = 0;
	} else {
		feed_tell_mailbox(mailbox, is_again);
	}
}

static void look_at(struct feed_mailbox *mailbox, const struct imap_mailbox *listed, bool was_listed)
{
	struct api_feed *feed = mailbox->feed;
	struct api_state now = listed_state(feed, listed);

	/* tried anew, unless that is soon anyway */
	mailbox->is_refused = mailbox->is_refused && gp_timer_is_running(&mailbox->retry);
	if (listed->has_status && (listed->status.items & IMAP_STATUS_UIDVALIDITY) != 0) {
		if (mailbox->uidvalidity != 0 && mailbox->uidvalidity != listed->status.uidvalidity) {
			/* another mailbox of this name: a session of the watch may have the old one open */
			hub_watch_anew(feed->hub);
		}
		mailbox->uidvalidity = listed->status.uidvalidity;
	}
	if (!was_listed || !feed_is_tracked(feed, mailbox)) {
		/* where streams begin; a list's STATUS may be older than what the watch has said */
		mailbox->is_dirty = now.kind == API_STATE_NONE || (was_listed && mailbox->is_dirty);
		mailbox->is_reset_due = false;
		mailbox->is_refused = false;
		gp_timer_stop(&mailbox->retry);
		feed_set_state(mailbox, &now);
		feed_note_told(mailbox);
		if (!was_listed && feed_is_tracked(feed, mailbox) && feed->n_lists > 0) {
			tell_new(mailbox);
		}
	} else if (mailbox->is_selectable && (mailbox->is_reset_due || !is_unchanged(&mailbox->state, listed))) {
		mailbox->is_dirty = true; /* the sync tells of the mailbox too */
		if (!mailbox->is_refused) {
			gp_timer_stop(&mailbox->retry);
		}
	} else if (feed_is_untold(mailbox)) {
		feed_tell_mailbox(mailbox, false);
	}
	api_state_deinit(&now);
}

/* ---- taking it ---- */

static bool copy_mailbox(struct gp_arena *arena, const struct imap_mailbox *from, struct imap_mailbox *to)
{
	*to = *from;
	to->status.mailbox = SPAN_NIL;
	return gp_arena_copy(arena, from->name, &to->name) && gp_arena_copy(arena, from->my_rights, &to->my_rights) &&
	       gp_arena_copy(arena, from->status.mailbox_id, &to->status.mailbox_id);
}

/* A list that is made beside the feed's, which is looked at until this one is whole. */
struct listing {
	struct gp_arena arena;     /* own, until it is the feed's: of all below */
	struct imap_mailbox *list; /* own */
	struct api_role *roles;    /* own */
	struct span *sorted;       /* own */
	size_t n_list;
};

static bool copy_list(struct listing *made, const struct imap_mailbox *mailboxes)
{
	made->list = gp_arena_array(&made->arena, made->n_list + 1, sizeof *made->list);
	made->roles = gp_arena_array(&made->arena, made->n_list + 1, sizeof *made->roles);
	made->sorted = gp_arena_array(&made->arena, made->n_list + 1, sizeof *made->sorted);
	if (!made->list || !made->roles || !made->sorted) {
		return false;
	}
	for (size_t i = 0; i < made->n_list; i++) {
		if (!copy_mailbox(&made->arena, &mailboxes[i], &made->list[i])) {
			return false;
		}
		made->sorted[i] = made->list[i].name;
	}
	return true;
}

static bool has_places(struct api_feed *feed, const struct listing *made)
{
	size_t i = 0;

	while (i < made->n_list && feed_find_or_add(feed, made->list[i].name)) {
		i++;
	}
	return i == made->n_list;
}

/* Every mailbox of the list has its place, and those that have none are gone. */
static void place_mailboxes(struct api_feed *feed)
{
	for (size_t i = 0; i < feed->n_mailboxes; i++) {
		feed->mailboxes[i]->index = SIZE_MAX;
	}
	for (size_t i = 0; i < feed->n_list; i++) {
		struct feed_mailbox *mailbox = feed_find(feed, feed->list[i].name);
		mailbox->index = i;
		mailbox->is_selectable = (feed->list[i].attributes & IMAP_MAILBOX_NOSELECT) == 0;
	}
}

/* False when memory ends: the list is the one from before. */
static bool replace_list(struct api_feed *feed, const struct imap_mailbox *mailboxes, size_t n_mailboxes)
{
	struct listing made = {.n_list = n_mailboxes};

	gp_arena_init(&made.arena, GP_MAX_REQUEST_ARENA);
	if (!copy_list(&made, mailboxes) || !has_places(feed, &made)) {
		gp_arena_deinit(&made.arena);
		return false;
	}
	gp_arena_deinit(&feed->arena);
	feed->arena = made.arena;
	feed->list = made.list;
	feed->roles = made.roles;
	feed->sorted = made.sorted;
	feed->n_list = n_mailboxes;
	qsort(feed->sorted, n_mailboxes, sizeof *feed->sorted, span_compare_items);
	api_roles_assign(feed->app->roles, feed->list, n_mailboxes, feed->roles);
	place_mailboxes(feed);
	return true;
}

static enum gp_status take_list(struct api_feed *feed, const struct imap_mailbox *mailboxes, size_t n_mailboxes)
{
	if (!replace_list(feed, mailboxes, n_mailboxes)) {
		return GP_NO_MEMORY;
	}
	feed_gather(feed);
	for (size_t i = 0; i < feed->n_mailboxes; i++) {
		struct feed_mailbox *mailbox = feed->mailboxes[i];
		bool was_listed = mailbox->is_listed;
		if (mailbox->index == SIZE_MAX && was_listed) {
			mailbox_gone(mailbox);
		} else if (mailbox->index != SIZE_MAX) {
			mailbox->is_listed = true;
			look_at(mailbox, &feed->list[mailbox->index], was_listed);
		}
	}
	feed->n_lists++;
	feed_tell_gathered(feed);
	return GP_OK;
}

/* ---- asking ---- */

void feed_list_stop(struct api_feed *feed)
{
	imap_call_cancel(&feed->list_call);
	imap_lease_end(&feed->list_lease, false);
}

/* Those that wait for the first list have waited in vain; the others do not notice, and it
 * is tried again. */
static void list_failed(struct api_feed *feed, const struct gp_error *error)
{
	struct gp_error copy = *error;

	feed_list_stop(feed);
	gp_log(GP_LOG_INFO, "hub", "no list of mailboxes: %s", gp_status_name(copy.status));
	feed->is_list_due = true;
	bool is_lost_once = copy.status == GP_LOST && feed->n_list_failures == 0;
	gp_timer_start(&feed->list_retry, is_lost_once ? 0 : feed_retry_ms(feed->n_list_failures));
	feed->n_list_failures++;
	if (is_lost_once) {
		return;
	}
	feed_enter(feed);
	for (struct api_listener *stream = feed->streams; stream; stream = stream->next) {
		if (!stream->has_begun && !stream->is_stopped) {
			feed_end_stream(stream, api_problem_of(&copy), &copy, NULL);
		}
	}
	feed_leave(feed);
}

static void on_list(void *ctx, const struct gp_error *error, const struct imap_mailbox *mailboxes, size_t n_mailboxes)
{
	struct api_feed *feed = ctx;
	struct gp_error failure = {0};

	feed->list_call = NULL;
	if (error) {
		list_failed(feed, error);
		return;
	}
	feed->has_qresync = imap_session_has_qresync(imap_lease_session(feed->list_lease));
	enum gp_status status = take_list(feed, mailboxes, n_mailboxes);
	if (status != GP_OK) {
		gp_error_set(&failure, status, "%s", gp_status_text(status));
		list_failed(feed, &failure);
		return;
	}
	feed->n_list_failures = 0;
	feed_list_stop(feed);
	feed_soon(feed);
}

static void list_failed_for_memory(struct api_feed *feed)
{
	const struct gp_error error = {.status = GP_NO_MEMORY, .text = "out of memory"};

	list_failed(feed, &error);
}

static void ask(struct api_feed *feed)
{
	struct imap_session *session = imap_lease_session(feed->list_lease);
	const struct imap_list_spec spec = {.pattern = SPAN_LIT("*"),
					    .with_status = true,
					    .status_items = api_mailbox_status_items(),
					    .with_my_rights = imap_session_can(session, IMAP_CAP_ACL)};

	feed->list_call = imap_list_start(session, &spec, on_list, feed);
	if (!feed->list_call) {
		list_failed_for_memory(feed);
	}
}

static void on_fresh(void *ctx, const struct gp_error *error)
{
	struct api_feed *feed = ctx;

	feed->list_call = NULL;
	if (error) {
		list_failed(feed, error);
	} else {
		ask(feed);
	}
}

/* What is missed is found by what STATUS says of each: an old view would hide it for ever. */
static void on_lease(void *ctx, struct imap_lease *lease, const struct gp_error *error)
{
	struct api_feed *feed = ctx;

	if (error) {
		feed->list_lease = NULL;
		list_failed(feed, error);
	} else if (imap_lease_is_fresh(lease)) {
		ask(feed);
	} else {
		feed->list_call = imap_noop_start(imap_lease_session(lease), on_fresh, feed);
		if (!feed->list_call) {
			list_failed_for_memory(feed);
		}
	}
}

void feed_list_start(struct api_feed *feed)
{
	const struct imap_lease_spec spec = {.credential = feed->hub->credential,
					     .deadline_at_ms =
						     feed->app->timers->now_ms + feed->app->request_timeout_ms};

	feed->is_list_due = false;
	feed->list_lease = imap_lease_start(feed->app->pool, &spec, on_lease, feed);
	if (!feed->list_lease) {
		feed->is_list_due = true;
		gp_timer_start(&feed->list_retry, FEED_RETRY_MS);
	}
}
