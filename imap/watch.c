#include <openssl/rand.h>
#include <stdlib.h>

#include "base/log.h"
#include "imap/watch_internal.h"

#define MAX_COALESCED 256 /* mailboxes with news in one turn that are looked through for the same one */

static const char *const state_names[] = {
#define X(name) #name,
	WATCH_STATE_MAP(X)
#undef X
};

uint64_t watch_now_ms(const struct imap_watch *watch)
{
	return watch->pool->config.timers->now_ms;
}

uint64_t watch_random_ms(uint64_t most_ms)
{
	uint64_t random = 0;

	if (RAND_bytes((unsigned char *)&random, sizeof random) != 1) {
		return most_ms;
	}
	return random % (most_ms + 1);
}

static void set_state(struct imap_watch *watch, enum watch_state state)
{
	gp_log(GP_LOG_DEBUG, "watch", "state %s -> %s", state_names[watch->state], state_names[state]);
	watch->state = state;
}

/* ---- names ---- */

static void free_names(struct watch_name *names, size_t n_names)
{
	for (size_t i = 0; i < n_names; i++) {
		imap_call_cancel(&names[i].ask);
		free(names[i].name);
	}
	free(names);
}

static enum gp_status copy_names(struct imap_watch *watch, const struct span *from, size_t n,
				 struct watch_name **names_out)
{
	struct watch_name *names = calloc(n ? n : 1, sizeof *names);

	for (size_t i = 0; names && i < n; i++) {
		names[i].watch = watch;
		names[i].name = span_equal_text_nocase(from[i], "INBOX") ? strdup("INBOX") : span_dup(from[i]);
		if (!names[i].name) {
			free_names(names, i);
			names = NULL;
		}
	}
	if (!names) {
		return GP_NO_MEMORY;
	}
	*names_out = names;
	return GP_OK;
}

static bool is_interested(const struct imap_watch *watch, struct span mailbox)
{
	bool is_named = watch->is_all;

	for (size_t i = 0; i < watch->n_names && !is_named; i++) {
		is_named = span_equal_text(mailbox, watch->names[i].name);
	}
	return is_named;
}

/* ---- news ---- */

static void free_news(struct watch_news *news, size_t n_news)
{
	for (size_t i = 0; i < n_news; i++) {
		free(news[i].mailbox);
	}
	free(news);
}

static void forget_news(struct imap_watch *watch)
{
	free_news(watch->news, watch->n_news);
	watch->news = NULL;
	watch->n_news = watch->news_size = 0;
	watch->is_listed = watch->is_up_due = false;
}

static struct watch_news *find_news(const struct imap_watch *watch, struct span mailbox)
{
	for (size_t i = 0; i < watch->n_news && i < MAX_COALESCED; i++) {
		if (span_equal_text(mailbox, watch->news[i].mailbox)) {
			return &watch->news[i];
		}
	}
	return NULL;
}

static struct watch_news *add_news(struct imap_watch *watch, struct span mailbox)
{
	if (watch->n_news == watch->news_size) {
		size_t size = watch->news_size ? 2 * watch->news_size : 4;
		struct watch_news *grown = realloc(watch->news, size * sizeof *grown);
		if (!grown) {
			return NULL;
		}
		watch->news = grown;
		watch->news_size = size;
	}
	struct watch_news *news = &watch->news[watch->n_news];
	*news = (struct watch_news){.mailbox = span_dup(mailbox)};
	watch->n_news += news->mailbox != NULL;
	return news->mailbox ? news : NULL;
}

/* NOTIFY tells what is new and leaves out the rest. */
static void merge(struct watch_news *news, const struct imap_status *status)
{
	struct imap_status *into = &news->status;

	news->has_status = true;
	into->items |= status->items & ~(unsigned)IMAP_STATUS_MAILBOXID;
	into->messages = status->items & IMAP_STATUS_MESSAGES ? status->messages : into->messages;
	into->unseen = status->items & IMAP_STATUS_UNSEEN ? status->unseen : into->unseen;
	into->uidnext = status->items & IMAP_STATUS_UIDNEXT ? status->uidnext : into->uidnext;
	into->uidvalidity = status->items & IMAP_STATUS_UIDVALIDITY ? status->uidvalidity : into->uidvalidity;
	into->highestmodseq = status->items & IMAP_STATUS_HIGHESTMODSEQ ? status->highestmodseq : into->highestmodseq;
	into->size = status->items & IMAP_STATUS_SIZE ? status->size : into->size;
}

void watch_note_changed(struct imap_watch *watch, struct span mailbox, const struct imap_status *status)
{
	/* Until it is up everything is to be looked at anyway. */
	if (watch->state != WATCH_UP || !is_interested(watch, mailbox)) {
		return;
	}
	struct watch_news *news = find_news(watch, mailbox);
	news = news ? news : add_news(watch, mailbox);
	if (!news) {
		watch_fail_with(watch, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
		return;
	}
	if (status) {
		merge(news, status);
	}
	gp_timer_start(&watch->turn, 0);
}

void watch_note_listed(struct imap_watch *watch)
{
	if (watch->state == WATCH_UP) {
		watch->is_listed = true;
		gp_timer_start(&watch->turn, 0);
	}
}

void watch_is_up(struct imap_watch *watch)
{
	if (watch->state == WATCH_STARTING) {
		watch->is_up_due = true;
		gp_timer_start(&watch->turn, 0);
	}
	watch_schedule(watch);
}

void watch_fail(struct imap_watch *watch, const struct gp_error *error)
{
	if (watch->failure.status == GP_OK) {
		watch->failure = *error;
	}
	gp_timer_start(&watch->turn, 0);
}

void watch_fail_with(struct imap_watch *watch, enum gp_status status, const char *text)
{
	struct gp_error error;

	gp_error_clear(&error);
	gp_error_set(&error, status, "%s", text);
	watch_fail(watch, &error);
}

/* ---- beginning and ending ---- */

static void close_all(struct imap_watch *watch)
{
	watch_round_reset(watch);
	for (size_t i = 0; i < GP_WATCH_SESSIONS; i++) {
		watch_line_close(&watch->lines[i]);
	}
	watch->retry_at_ms = 0;
	watch->is_left = false;
	watch->lively_until_ms = 0;
	watch_line_settle(watch);
}

static void open_anew(struct imap_watch *watch)
{
	close_all(watch);
	set_state(watch, WATCH_STARTING);
	watch_line_open(watch);
	watch_schedule(watch);
}

/* Full jitter: any time up to the bound, so that those who were cut off together do not
 * come back together. */
static void wait_before_retry(struct imap_watch *watch)
{
	uint64_t bound_ms = GP_WATCH_MAX_BACKOFF_MS;
	uint64_t now_ms = watch_now_ms(watch);

	if (watch->n_failures < 16 && ((uint64_t)GP_WATCH_BACKOFF_MS << watch->n_failures) < bound_ms) {
		bound_ms = (uint64_t)GP_WATCH_BACKOFF_MS << watch->n_failures;
	}
	watch->n_failures++;
	uint64_t at_ms = now_ms + watch_random_ms(bound_ms);
	if (at_ms < watch->pool->next_reconnect_ms) {
		at_ms = watch->pool->next_reconnect_ms;
	}
	watch->pool->next_reconnect_ms = at_ms + GP_WATCH_RECONNECT_MS;
	gp_timer_start_at(&watch->tick, at_ms);
}

static void free_watch(struct imap_watch *watch)
{
	close_all(watch);
	forget_news(watch);
	free_names(watch->names, watch->n_names);
	gp_timer_stop(&watch->turn);
	gp_timer_stop(&watch->tick);
	imap_credential_unref(&watch->credential);
	free(watch);
}

static void leave(struct imap_watch *watch)
{
	if (--watch->n_entered == 0 && watch->is_stopped) {
		free_watch(watch);
	}
}

/* ---- telling ---- */

static void go_down(struct imap_watch *watch)
{
	struct gp_error error = watch->failure;
	bool is_final = error.status == GP_AUTH || error.status == GP_DRAINING;
	bool is_first = watch->state == WATCH_UP || watch->n_failures == 0 || watch->up_at_ms > 0;

	gp_error_clear(&watch->failure);
	if (watch->up_at_ms > 0 && watch_now_ms(watch) - watch->up_at_ms >= GP_WATCH_STEADY_MS) {
		watch->n_failures = 0;
	}
	watch->up_at_ms = 0;
	gp_log(GP_LOG_DEBUG, "watch", "down: %s: %s", gp_status_name(error.status), error.text);
	close_all(watch);
	forget_news(watch);
	set_state(watch, is_final ? WATCH_OVER : WATCH_WAITING);
	if (is_final) {
		gp_timer_stop(&watch->tick);
	} else {
		wait_before_retry(watch);
	}
	/* Those that follow say nothing new. */
	if (is_first || is_final) {
		watch->events->down(watch->ctx, &error, is_final);
	}
}

static void go_up(struct imap_watch *watch)
{
	forget_news(watch);
	watch->lively_until_ms = 0; /* what came until now was the beginning */
	set_state(watch, WATCH_UP);
	if (watch->up_at_ms == 0) {
		watch->up_at_ms = watch_now_ms(watch);
		imap_watch_look(watch);
	}
	watch->events->up(watch->ctx);
}

static void tell_news(struct imap_watch *watch)
{
	struct watch_news *news = watch->news;
	size_t n_news = watch->n_news;
	bool is_listed = watch->is_listed;

	watch->news = NULL;
	watch->n_news = watch->news_size = 0;
	watch->is_listed = false;
	watch_schedule(watch);
	if (is_listed) {
		watch->events->listed(watch->ctx);
	}
	for (size_t i = 0; i < n_news && !watch->is_stopped; i++) {
		struct span mailbox = span_of(news[i].mailbox);
		news[i].status.mailbox = mailbox;
		watch->events->changed(watch->ctx, mailbox, news[i].has_status ? &news[i].status : NULL);
	}
	free_news(news, n_news);
}

static void on_turn(struct gp_timer *timer)
{
	struct imap_watch *watch = timer->ctx;

	watch->n_entered++;
	if (watch->state == WATCH_OVER) {
		gp_error_clear(&watch->failure);
	} else if (watch->failure.status != GP_OK) {
		go_down(watch);
	} else if (watch->is_left && watch->pool->is_draining) {
		watch_fail_with(watch, GP_DRAINING, gp_status_text(GP_DRAINING));
		go_down(watch);
	} else if (watch->is_left) {
		open_anew(watch);
	} else if (watch->is_up_due) {
		go_up(watch);
	} else if (watch->state == WATCH_UP) {
		tell_news(watch);
	}
	leave(watch);
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a_ms, uint64_t b_ms)
{
	return a_ms < b_ms ? a_ms : b_ms;
}

static bool is_round_next(const struct imap_watch *watch)
{
	return watch->round.has_baseline && !watch->round.is_running && watch_round_is_needed(watch);
}

void watch_schedule(struct imap_watch *watch)
{
	uint64_t due_ms = UINT64_MAX;

	watch_line_settle(watch);
	if (watch->state != WATCH_STARTING && watch->state != WATCH_UP) {
		return;
	}
	if (!watch->round.is_running) {
		for (size_t i = 0; i < GP_WATCH_SESSIONS; i++) {
			due_ms = earlier(due_ms, watch_line_due_ms(&watch->lines[i]));
		}
		due_ms = earlier(due_ms, watch->retry_at_ms ? watch->retry_at_ms : UINT64_MAX);
	}
	if (is_round_next(watch)) {
		due_ms = earlier(due_ms, watch->round.next_at_ms);
	}
	if (watch->is_lively) {
		due_ms = earlier(due_ms, watch->lively_until_ms); /* it is counted no longer */
	}
	if (due_ms == UINT64_MAX) {
		gp_timer_stop(&watch->tick);
	} else {
		gp_timer_start_at(&watch->tick, due_ms);
	}
}

static void on_tick(struct gp_timer *timer)
{
	struct imap_watch *watch = timer->ctx;
	uint64_t now_ms = watch_now_ms(watch);

	if (watch->state == WATCH_WAITING || (watch->retry_at_ms && watch->retry_at_ms <= now_ms)) {
		open_anew(watch);
		return;
	}
	watch_line_settle(watch);
	if (is_round_next(watch) && watch->round.next_at_ms <= now_ms) {
		watch_round_begin(watch); /* which looks at what is in IDLE, too */
	}
	for (size_t i = 0; i < GP_WATCH_SESSIONS; i++) {
		watch_line_tick(&watch->lines[i]);
	}
	if (!watch->is_left) {
		watch_schedule(watch);
	}
}

/* ---- the object ---- */

struct imap_watch *imap_watch_start(struct imap_pool *pool, const struct imap_watch_spec *spec,
				    const struct imap_watch_events *events, void *ctx)
{
	struct imap_watch *watch = calloc(1, sizeof *watch);
	size_t n_names = spec->is_all ? 0 : spec->n_mailboxes;

	if (!watch || copy_names(watch, spec->mailboxes, n_names, &watch->names) != GP_OK) {
		free(watch);
		return NULL;
	}
	watch->pool = pool;
	watch->credential = imap_credential_ref(spec->credential);
	watch->events = events;
	watch->ctx = ctx;
	watch->is_all = spec->is_all;
	watch->n_names = n_names;
	gp_timer_init(&watch->turn, pool->config.timers, on_turn, watch);
	gp_timer_init(&watch->tick, pool->config.timers, on_tick, watch);
	for (size_t i = 0; i < GP_WATCH_SESSIONS; i++) {
		watch->lines[i].watch = watch;
	}
	watch_line_open(watch);
	return watch;
}

/* Begins with the new names where it stands. */
static void begin_anew(struct imap_watch *watch)
{
	struct watch_line *line = &watch->lines[0];

	set_state(watch, WATCH_STARTING);
	if (line->lease && line->lease->state == LEASE_GRANTED) {
		watch_line_begin(line);
	} else if (!line->lease) {
		watch_round_begin(watch);
	} /* else it begins when it has the session */
	watch_schedule(watch);
}

enum gp_status imap_watch_set(struct imap_watch *watch, bool is_all, const struct span *mailboxes, size_t n_mailboxes)
{
	size_t n_names = is_all ? 0 : n_mailboxes;
	struct watch_name *names;
	enum gp_status status = copy_names(watch, mailboxes, n_names, &names);

	if (status != GP_OK) {
		return status;
	}
	watch_round_reset(watch);
	watch_line_close(&watch->lines[1]);
	/* Line 0 may have one of the names that go. */
	watch_line_forget(&watch->lines[0]);
	forget_news(watch);
	free_names(watch->names, watch->n_names);
	watch->names = names;
	watch->n_names = n_names;
	watch->is_all = is_all;
	if (watch->failure.status == GP_OK && (watch->state == WATCH_STARTING || watch->state == WATCH_UP)) {
		begin_anew(watch);
	}
	return GP_OK;
}

void imap_watch_look(struct imap_watch *watch)
{
	uint64_t until_ms = watch_now_ms(watch) + GP_WATCH_FRESH_MS;

	if (watch->lively_until_ms < until_ms) {
		watch->lively_until_ms = until_ms;
	}
	for (size_t i = 0; i < GP_WATCH_SESSIONS; i++) {
		watch->lines[i].look_ms = GP_WATCH_LOOK_MS;
	}
	watch_schedule(watch);
}

void imap_watch_stop(struct imap_watch **watch)
{
	struct imap_watch *self = *watch;

	*watch = NULL;
	if (!self) {
		return;
	}
	self->is_stopped = true;
	if (self->n_entered == 0) {
		free_watch(self);
	} else {
		close_all(self);
	}
}
