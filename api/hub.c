#include <assert.h>
#include <stdlib.h>

#include "api/hub_internal.h"
#include "base/log.h"

static const struct gp_error draining = {.status = GP_DRAINING, .text = "shutting down"};

/* ---- what is watched ---- */

/* Names gathered for the watch. */
struct name_list {
	struct span *names; /* own; the names are borrowed */
	size_t n, size;
	bool is_short; /* memory ended */
};

static bool is_inbox(struct span name)
{
	return span_equal_text_nocase(name, "INBOX");
}

static bool is_same_mailbox(struct span a, struct span b)
{
	return span_equal(a, b) || (is_inbox(a) && is_inbox(b));
}

static void add_name(void *ctx, struct span mailbox)
{
	struct name_list *list = ctx;

	for (size_t i = 0; i < list->n; i++) {
		if (is_same_mailbox(list->names[i], mailbox)) {
			return;
		}
	}
	if (list->n == list->size) {
		size_t size = list->size ? 2 * list->size : 8;
		struct span *names = realloc(list->names, size * sizeof *names);
		if (!names) {
			list->is_short = true;
			return;
		}
		list->names = names;
		list->size = size;
	}
	list->names[list->n++] = mailbox;
}

static void free_watched(struct api_hub *hub)
{
	for (size_t i = 0; i < hub->n_watched; i++) {
		free(hub->watched[i]);
	}
	free(hub->watched);
	hub->watched = NULL;
	hub->n_watched = 0;
}

static bool copy_watched(struct api_hub *hub, const struct name_list *list)
{
	free_watched(hub);
	hub->watched = calloc(list->n + 1, sizeof *hub->watched);
	if (!hub->watched) {
		return false;
	}
	for (size_t i = 0; i < list->n; i++) {
		hub->watched[i] = span_dup(list->names[i]);
		if (!hub->watched[i]) {
			return false;
		}
		hub->n_watched++;
	}
	return true;
}

static bool is_watched(const struct api_hub *hub, struct span mailbox)
{
	for (size_t i = 0; i < hub->n_watched; i++) {
		if (is_same_mailbox(span_of(hub->watched[i]), mailbox)) {
			return true;
		}
	}
	return hub->is_all;
}

/* Whether the watch sees all that is wanted. More than is wanted does no harm: who leaves
 * changes nothing. */
static bool covers(const struct api_hub *hub, bool wants_all, const struct name_list *list)
{
	bool is_covered = hub->watch && (hub->is_all || !wants_all);

	for (size_t i = 0; i < list->n && is_covered; i++) {
		is_covered = is_watched(hub, list->names[i]);
	}
	return is_covered;
}

static const struct imap_watch_events watch_events;

static enum gp_status watch(struct api_hub *hub, bool wants_all, const struct name_list *list)
{
	const struct imap_watch_spec spec = {.credential = hub->credential,
					     .is_all = wants_all,
					     .mailboxes = list->names,
					     .n_mailboxes = wants_all ? 0 : list->n};
	enum gp_status status = GP_OK;

	if (!copy_watched(hub, list)) {
		free_watched(hub);
		hub->is_all = false;
		return GP_NO_MEMORY;
	}
	hub->is_all = wants_all;
	hub->is_up = false; /* it says so when it is */
	if (hub->watch) {
		status = imap_watch_set(hub->watch, wants_all, spec.mailboxes, spec.n_mailboxes);
	} else {
		hub->watch = imap_watch_start(hub->hubs->app->pool, &spec, &watch_events, hub);
		status = hub->watch ? GP_OK : GP_NO_MEMORY;
	}
	if (status != GP_OK) {
		free_watched(hub); /* whatever it sees, it is asked again for the next subscriber */
		hub->is_all = false;
	}
	return status;
}

enum gp_status hub_subscribed(struct api_hub *hub)
{
	struct name_list list = {.n = 0};
	enum gp_status status = GP_OK;
	bool wants_all = hub->feed && feed_wants(hub->feed, add_name, &list);

	gp_timer_stop(&hub->grace);
	for (struct api_waiter *waiter = hub->waiters; waiter; waiter = waiter->next) {
		add_name(&list, span_of(waiter->mailbox));
	}
	if (list.is_short) {
		status = GP_NO_MEMORY;
	} else if ((wants_all || list.n > 0) && !covers(hub, wants_all, &list)) {
		status = watch(hub, wants_all, &list);
	} else if (hub->watch) {
		imap_watch_look(hub->watch);
	}
	free(list.names);
	return status;
}

static void on_anew(struct gp_timer *timer)
{
	struct api_hub *hub = timer->ctx;

	free_watched(hub);
	hub->is_all = false;
	enum gp_status status = hub_subscribed(hub);
	if (status != GP_OK) {
		gp_log(GP_LOG_WARN, "hub", "a watch cannot begin anew: %s", gp_status_name(status));
	}
	hub_unsubscribed(hub);
}

void hub_watch_anew(struct api_hub *hub)
{
	gp_timer_start(&hub->anew, 0);
}

/* ---- waking ---- */

/* Each may stop itself and others, so the walk begins anew after every call. */
static void call_waiters(struct gp_timer *timer)
{
	struct api_hub *hub = timer->ctx;
	struct api_waiter *waiter = hub->waiters;

	hub->is_waking = true;
	while (waiter) {
		if (!waiter->is_due) {
			waiter = waiter->next;
			continue;
		}
		waiter->is_due = false;
		waiter->events->woken(waiter->ctx);
		waiter = hub->waiters;
	}
	hub->is_waking = false;
	hub_unsubscribed(hub);
}

static void wake(struct api_hub *hub, struct span mailbox)
{
	bool is_any_due = false;

	for (struct api_waiter *waiter = hub->waiters; waiter; waiter = waiter->next) {
		waiter->is_due |= span_is_nil(mailbox) || is_same_mailbox(mailbox, span_of(waiter->mailbox));
		is_any_due |= waiter->is_due;
	}
	if (is_any_due) {
		gp_timer_start(&hub->wake, 0);
	}
}

static void end_subscribers(struct api_hub *hub, const struct gp_error *error)
{
	while (hub->waiters) {
		struct api_waiter *waiter = hub->waiters;
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what was freed has left the list */
		const struct api_waiter_events *events = waiter->events;
		void *ctx = waiter->ctx;
		api_waiter_stop(&waiter);
		events->ended(ctx, error);
	}
	if (hub->feed) {
		feed_end(hub->feed, error);
	}
}

static void on_changed(void *ctx, struct span mailbox, const struct imap_status *status)
{
	struct api_hub *hub = ctx;

	wake(hub, mailbox);
	if (hub->feed) {
		feed_changed(hub->feed, mailbox, status);
	}
}

static void on_listed(void *ctx)
{
	struct api_hub *hub = ctx;

	wake(hub, SPAN_NIL); /* theirs may be gone */
	if (hub->feed) {
		feed_listed(hub->feed);
	}
}

static void on_up(void *ctx)
{
	struct api_hub *hub = ctx;

	hub->is_up = true;
	wake(hub, SPAN_NIL);
	if (hub->feed) {
		feed_up(hub->feed);
	}
}

static void on_down(void *ctx, const struct gp_error *error, bool is_final)
{
	struct api_hub *hub = ctx;
	struct gp_error copy = *error;

	hub->is_up = false;
	if (hub->feed) {
		feed_down(hub->feed);
	}
	gp_log(GP_LOG_INFO, "hub", "a watch is down%s: %s", is_final ? " for good" : "", gp_status_name(error->status));
	if (is_final) {
		imap_watch_stop(&hub->watch);
		free_watched(hub);
		hub->is_all = false;
		end_subscribers(hub, &copy);
	}
}

static const struct imap_watch_events watch_events = {
	.changed = on_changed, .listed = on_listed, .up = on_up, .down = on_down};

/* ---- hubs ---- */

static struct api_hub **bucket_of(struct api_hubs *hubs, const struct imap_credential *credential)
{
	return &hubs->buckets[imap_credential_key(credential)[0] % HUB_BUCKETS];
}

static void hub_free(struct api_hub *hub)
{
	struct api_hub **at = bucket_of(hub->hubs, hub->credential);

	assert(!hub->waiters);
	while (*at != hub) {
		at = &(*at)->bucket_next;
	}
	*at = hub->bucket_next;
	hub->hubs->n_hubs--;
	feed_free(&hub->feed);
	imap_watch_stop(&hub->watch);
	free_watched(hub);
	gp_timer_stop(&hub->anew);
	gp_timer_stop(&hub->wake);
	gp_timer_stop(&hub->grace);
	imap_credential_unref(&hub->credential);
	free(hub);
}

static void grace_over(struct gp_timer *timer)
{
	hub_free(timer->ctx);
}

static bool has_subscribers(const struct api_hub *hub)
{
	return hub->waiters || (hub->feed && feed_has_streams(hub->feed));
}

void hub_unsubscribed(struct api_hub *hub)
{
	if (!hub->is_waking && !has_subscribers(hub) && !gp_timer_is_running(&hub->grace)) {
		gp_timer_start(&hub->grace, hub->watch ? API_HUB_GRACE_MS : 0);
	}
}

static struct api_hub *find(struct api_hubs *hubs, const struct imap_credential *credential)
{
	struct api_hub *hub = *bucket_of(hubs, credential);

	while (hub && !imap_credential_is_same(hub->credential, credential)) {
		hub = hub->bucket_next;
	}
	return hub;
}

void api_hubs_written(struct api_hubs *hubs, const struct imap_credential *credential, struct span mailbox)
{
	struct api_hub *hub = find(hubs, credential);

	if (!hub || !hub->is_up || hubs->is_draining) {
		return; /* when it is up it looks anyway */
	}
	if (span_is_nil(mailbox)) {
		on_listed(hub);
	} else {
		on_changed(hub, mailbox, NULL);
	}
}

struct api_hub *hub_get(struct api_hubs *hubs, struct imap_credential *credential)
{
	struct api_hub **bucket = bucket_of(hubs, credential);
	struct api_hub *hub = find(hubs, credential);

	if (hub || hubs->is_draining) {
		return hubs->is_draining ? NULL : hub;
	}
	hub = calloc(1, sizeof *hub);
	if (!hub) {
		return NULL;
	}
	hub->hubs = hubs;
	hub->credential = imap_credential_ref(credential);
	gp_timer_init(&hub->anew, hubs->app->timers, on_anew, hub);
	gp_timer_init(&hub->wake, hubs->app->timers, call_waiters, hub);
	gp_timer_init(&hub->grace, hubs->app->timers, grace_over, hub);
	hub->bucket_next = *bucket;
	*bucket = hub;
	hubs->n_hubs++;
	return hub;
}

/* ---- waiters ---- */

enum gp_status api_waiter_start(struct api_hubs *hubs, struct imap_credential *credential, struct span mailbox,
				const struct api_waiter_events *events, void *ctx, struct api_waiter **waiter_out)
{
	struct api_hub *hub = hub_get(hubs, credential);
	struct api_waiter *waiter = NULL;

	if (!hub) {
		return hubs->is_draining ? GP_DRAINING : GP_NO_MEMORY;
	}
	enum gp_status status = hub->n_waiters < API_HUB_MAX_WAITERS ? GP_OK : GP_QUEUE_FULL;
	if (status == GP_OK) {
		waiter = calloc(1, sizeof *waiter);
		status = waiter ? GP_OK : GP_NO_MEMORY;
	}
	if (status != GP_OK) {
		hub_unsubscribed(hub);
		return status;
	}
	waiter->hub = hub;
	waiter->events = events;
	waiter->ctx = ctx;
	waiter->mailbox = span_dup(mailbox);
	waiter->next = hub->waiters;
	if (waiter->next) {
		waiter->next->prev = waiter;
	}
	hub->waiters = waiter;
	hub->n_waiters++;
	hubs->n_waiters++;
	status = waiter->mailbox ? hub_subscribed(hub) : GP_NO_MEMORY;
	if (status != GP_OK) {
		api_waiter_stop(&waiter);
		return status;
	}
	if (hub->is_up) {
		/* what happened before it was on the list was told to others */
		waiter->is_due = true;
		gp_timer_start(&hub->wake, 0);
	}
	*waiter_out = waiter;
	return GP_OK;
}

void api_waiter_stop(struct api_waiter **waiter_in)
{
	struct api_waiter *waiter = *waiter_in;

	*waiter_in = NULL;
	if (!waiter) {
		return;
	}
	struct api_hub *hub = waiter->hub;
	if (waiter->prev) {
		waiter->prev->next = waiter->next;
	} else {
		hub->waiters = waiter->next;
	}
	if (waiter->next) {
		waiter->next->prev = waiter->prev;
	}
	hub->n_waiters--;
	hub->hubs->n_waiters--;
	free(waiter->mailbox);
	free(waiter);
	hub_unsubscribed(hub);
}

/* ---- ticks ---- */

/* At the same moments for all, however long they have been running. */
static void schedule_tick(struct api_hubs *hubs)
{
	uint64_t now_ms = hubs->app->timers->now_ms;

	gp_timer_start_at(&hubs->tick, now_ms - now_ms % API_TICK_MS + API_TICK_MS);
}

static void on_tick(struct gp_timer *timer)
{
	struct api_hubs *hubs = timer->ctx;

	schedule_tick(hubs);
	for (struct api_tick *tick = hubs->ticks; tick; tick = hubs->next_tick) {
		hubs->next_tick = tick->next;
		tick->fn(tick);
	}
	hubs->next_tick = NULL;
}

void api_tick_start(struct api_tick *tick, struct api_hubs *hubs, void (*fn)(struct api_tick *tick), void *ctx)
{
	*tick = (struct api_tick){.hubs = hubs, .next = hubs->ticks, .fn = fn, .ctx = ctx};
	if (tick->next) {
		tick->next->prev = tick;
	}
	hubs->ticks = tick;
	if (!gp_timer_is_running(&hubs->tick)) {
		schedule_tick(hubs);
	}
}

void api_tick_stop(struct api_tick *tick)
{
	struct api_hubs *hubs = tick->hubs;

	if (!hubs) {
		return;
	}
	if (hubs->next_tick == tick) {
		hubs->next_tick = tick->next;
	}
	if (tick->prev) {
		tick->prev->next = tick->next;
	} else {
		hubs->ticks = tick->next;
	}
	if (tick->next) {
		tick->next->prev = tick->prev;
	}
	tick->hubs = NULL;
	if (!hubs->ticks) {
		gp_timer_stop(&hubs->tick);
	}
}

/* ---- all of them ---- */

struct api_hubs *api_hubs_new(struct api_app *app)
{
	struct api_hubs *hubs = calloc(1, sizeof *hubs);

	if (hubs) {
		hubs->app = app;
		gp_timer_init(&hubs->tick, app->timers, on_tick, hubs);
	}
	return hubs;
}

void api_hubs_drain(struct api_hubs *hubs)
{
	hubs->is_draining = true;
	for (size_t i = 0; i < HUB_BUCKETS; i++) {
		for (struct api_hub *hub = hubs->buckets[i]; hub; hub = hub->bucket_next) {
			imap_watch_stop(&hub->watch);
			end_subscribers(hub, &draining);
			gp_timer_start(&hub->grace, 0);
		}
	}
}

void api_hubs_free(struct api_hubs **hubs_in)
{
	struct api_hubs *hubs = *hubs_in;

	*hubs_in = NULL;
	if (!hubs) {
		return;
	}
	for (size_t i = 0; i < HUB_BUCKETS; i++) {
		while (hubs->buckets[i]) {
			/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what was freed has left the bucket */
			hub_free(hubs->buckets[i]);
		}
	}
	assert(!hubs->ticks);
	gp_timer_stop(&hubs->tick);
	free(hubs);
}

struct api_hubs_stats api_hubs_stats(const struct api_hubs *hubs)
{
	return (struct api_hubs_stats){
		.n_hubs = hubs->n_hubs, .n_waiters = hubs->n_waiters, .n_streams = hubs->n_streams};
}
