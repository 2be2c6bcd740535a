#include "imap/pool_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"

static const struct gp_error draining = {.status = GP_DRAINING, .text = "shutting down"};

/* ---- lists ---- */

void pool_lease_list_push(struct lease_list *list, struct imap_lease *lease)
{
	lease->prev = list->last;
	lease->next = NULL;
	if (list->last) {
		list->last->next = lease;
	} else {
		list->first = lease;
	}
	list->last = lease;
	list->n++;
}

void pool_lease_list_remove(struct lease_list *list, struct imap_lease *lease)
{
	if (lease->prev) {
		lease->prev->next = lease->next;
	} else {
		list->first = lease->next;
	}
	if (lease->next) {
		lease->next->prev = lease->prev;
	} else {
		list->last = lease->prev;
	}
	lease->prev = lease->next = NULL;
	list->n--;
}

/* ---- accounts ---- */

static struct pool_account **bucket_of(struct imap_pool *pool, const struct imap_credential *credential)
{
	const unsigned char *key = imap_credential_key(credential);

	return &pool->buckets[((size_t)key[0] << 8 | key[1]) % POOL_BUCKETS];
}

static void dispatch(struct gp_timer *timer);

bool pool_has_waiting(const struct pool_account *account)
{
	return account->waiting[0].first || account->waiting[1].first;
}

static struct lease_list *queue_of(const struct imap_lease *lease)
{
	return &lease->account->waiting[lease->is_bulk];
}

static void leave_queue(struct imap_lease *lease)
{
	pool_lease_list_remove(queue_of(lease), lease);
	lease->account->pool->n_waiting--;
}

static struct pool_account *account_find(struct imap_pool *pool, const struct imap_credential *credential)
{
	struct pool_account *account = *bucket_of(pool, credential);

	while (account && !imap_credential_is_same(account->credential, credential)) {
		account = account->bucket_next;
	}
	return account;
}

static struct pool_account *account_get(struct imap_pool *pool, struct imap_credential *credential)
{
	struct pool_account **bucket = bucket_of(pool, credential);
	struct pool_account *account = account_find(pool, credential);

	if (account) {
		return account;
	}
	account = calloc(1, sizeof *account);
	if (!account) {
		return NULL;
	}
	account->pool = pool;
	account->credential = imap_credential_ref(credential);
	account->cap = pool->config.max_sessions_per_account;
	gp_timer_init(&account->dispatch, pool->config.timers, dispatch, account);
	gp_timer_init(&account->patience, pool->config.timers, dispatch, account);
	account->bucket_next = *bucket;
	*bucket = account;
	pool->n_accounts++;
	return account;
}

/* ---- accounts that wait for room ---- */

static void starve(struct pool_account *account)
{
	struct imap_pool *pool = account->pool;

	if (account->is_starved) {
		return;
	}
	account->is_starved = true;
	account->starved_prev = pool->last_starved;
	*(pool->last_starved ? &pool->last_starved->starved_next : &pool->first_starved) = account;
	pool->last_starved = account;
	pool->n_starved++;
}

static void unstarve(struct pool_account *account)
{
	struct imap_pool *pool = account->pool;
	struct pool_account *prev = account->starved_prev, *next = account->starved_next;

	if (!account->is_starved) {
		return;
	}
	account->is_starved = false;
	*(prev ? &prev->starved_next : &pool->first_starved) = next;
	*(next ? &next->starved_prev : &pool->last_starved) = prev;
	account->starved_prev = account->starved_next = NULL;
	pool->n_starved--;
}

/* Frees the account when nothing uses it any more. */
void pool_account_release(struct pool_account *account)
{
	struct imap_pool *pool = account->pool;

	if (account->first_session || account->n_leases > 0 || account->is_dispatching) {
		return;
	}
	struct pool_account **at = bucket_of(pool, account->credential);
	while (*at != account) {
		at = &(*at)->bucket_next;
	}
	*at = account->bucket_next;
	unstarve(account);
	gp_timer_stop(&account->dispatch);
	gp_timer_stop(&account->patience);
	imap_credential_unref(&account->credential);
	free(account);
	pool->n_accounts--;
}

/* ---- the pool ---- */

static void drain_done(struct gp_timer *timer)
{
	struct imap_pool *pool = timer->ctx;

	if (pool->drained) {
		void (*drained)(void *ctx) = pool->drained;
		pool->drained = NULL;
		drained(pool->drained_ctx);
	}
}

struct imap_pool *imap_pool_new(const struct imap_pool_config *config)
{
	struct imap_pool *pool = calloc(1, sizeof *pool);

	if (pool) {
		pool->config = *config;
		gp_timer_init(&pool->drain_timer, config->timers, drain_done, pool);
	}
	return pool;
}

void imap_pool_free(struct imap_pool **pool_ref)
{
	struct imap_pool *pool = *pool_ref;

	*pool_ref = NULL;
	if (!pool) {
		return;
	}
	assert(pool->n_leases == 0);
	for (size_t i = 0; i < POOL_BUCKETS; i++) {
		while (pool->buckets[i]) {
			struct pool_account *account = pool->buckets[i];
			if (account->first_session) {
				pool_session_destroy(account->first_session); /* the last one frees the account */
			} else {
				pool_account_release(account);
			}
		}
	}
	gp_timer_stop(&pool->drain_timer);
	free(pool);
}

void imap_pool_drain(struct imap_pool *pool, void (*done)(void *ctx), void *ctx)
{
	pool->is_draining = true;
	pool->drained = done;
	pool->drained_ctx = ctx;
	for (size_t i = 0; i < POOL_BUCKETS; i++) {
		struct pool_account *next;
		for (struct pool_account *account = pool->buckets[i]; account; account = next) {
			next = account->bucket_next;
			for (struct pool_session *s = account->first_session; s; s = s->next) {
				pool_session_retire(s);
			}
			pool_fail_waiting(account, &draining);
		}
	}
	if (pool->n_sessions == 0) {
		gp_timer_start(&pool->drain_timer, 0);
	}
}

void imap_pool_stats(const struct imap_pool *pool, struct imap_pool_stats *stats_out)
{
	*stats_out = (struct imap_pool_stats){
		.n_accounts = pool->n_accounts,
		.n_sessions = pool->n_sessions,
		.n_leases = pool->n_leases,
		.n_waiting = pool->n_waiting,
		.n_logins = pool->n_logins,
		.n_login_failures = pool->n_login_failures,
	};
}

void pool_room_came_free(struct imap_pool *pool)
{
	if (pool->is_draining && pool->n_sessions == 0) {
		gp_timer_start(&pool->drain_timer, 0);
	}
	/* Who still finds none queues again behind the others, in the same order. */
	for (size_t n = pool->n_starved; n > 0; n--) {
		struct pool_account *account = pool->first_starved;
		unstarve(account);
		pool_dispatch_soon(account);
	}
}

static void evict(struct pool_session *session)
{
	session->is_evicted = true;
	session->account->pool->n_evicted++;
	pool_session_retire(session);
}

/* Logs out the session of any account that has been idle longest, unless as many are
 * on their way out already as accounts wait for room. */
static void evict_idle(struct imap_pool *pool)
{
	struct pool_session *oldest = NULL;

	if (pool->n_evicted >= pool->n_starved) {
		return;
	}
	for (size_t i = 0; i < POOL_BUCKETS; i++) {
		for (struct pool_account *account = pool->buckets[i]; account; account = account->bucket_next) {
			for (struct pool_session *s = account->first_session; s; s = s->next) {
				if (pool_session_is_idle(s) && (!oldest || s->idle_since_ms < oldest->idle_since_ms)) {
					oldest = s;
				}
			}
		}
	}
	if (oldest) {
		evict(oldest);
	}
}

bool pool_evict_for_starved(struct pool_session *session)
{
	struct imap_pool *pool = session->account->pool;

	if (!session->is_ready || pool->n_evicted >= pool->n_starved) {
		return false;
	}
	evict(session);
	return true;
}

/* ---- choosing a session ---- */

static size_t account_cap(struct pool_account *account)
{
	if (account->cap_lowered_until_ms <= account->pool->config.timers->now_ms) {
		account->cap = account->pool->config.max_sessions_per_account;
	}
	return account->cap;
}

static bool is_usable(const struct pool_session *s)
{
	return s->is_ready && !s->is_closed && !s->is_retiring;
}

static bool is_joinable(const struct pool_session *s)
{
	return is_usable(s) && s->n_alone == 0;
}

/* Sessions past their age leave the pool: the next login shows if the password still
 * holds. */
static void retire_aged(struct pool_account *account)
{
	uint64_t now = account->pool->config.timers->now_ms;
	struct pool_session *next;

	for (struct pool_session *s = account->first_session; s; s = next) {
		next = s->next;
		if (is_usable(s) && now - imap_session_ready_at_ms(s->session) > GP_MAX_SESSION_AGE_MS) {
			pool_session_retire(s);
		}
	}
}

static bool is_at_or_below(const char *selected, struct span mailbox, char delimiter)
{
	struct span name = span_of(selected);

	if (!span_equal(span_slice(name, 0, mailbox.len), mailbox)) {
		return false;
	}
	return name.len == mailbox.len || (delimiter && name.ptr[mailbox.len] == delimiter);
}

void imap_pool_forget_mailbox(struct imap_pool *pool, const struct imap_credential *credential, struct span mailbox,
			      char delimiter)
{
	struct pool_account *account = account_find(pool, credential);
	struct pool_session *next;

	for (struct pool_session *s = account ? account->first_session : NULL; s; s = next) {
		next = s->next;
		if (is_usable(s) && s->mailbox && is_at_or_below(s->mailbox, mailbox, delimiter)) {
			pool_session_retire(s);
		}
	}
}

/* The least loaded session that has the lease's mailbox open (any, if it needs none). */
static struct pool_session *least_loaded(struct pool_account *account, const struct imap_lease *lease, bool allows_bulk)
{
	struct pool_session *best = NULL;

	for (struct pool_session *s = account->first_session; s; s = s->next) {
		if (!is_joinable(s) || !pool_session_serves(s, lease) || (s->n_bulk > 0 && !allows_bulk)) {
			continue;
		}
		if (!best || s->leases.n < best->leases.n) {
			best = s;
		}
	}
	return best && best->leases.n < POOL_SHARE_HARD ? best : NULL;
}

/* A session whose mailbox nobody holds: one with none selected first, then the one
 * that has been idle longest. */
static struct pool_session *unheld(struct pool_account *account)
{
	struct pool_session *best = NULL;

	for (struct pool_session *s = account->first_session; s; s = s->next) {
		if (!is_joinable(s) || s->n_holders > 0 || s->select) {
			continue;
		}
		if (!best || (best->mailbox && !s->mailbox) ||
		    ((best->mailbox != NULL) == (s->mailbox != NULL) && s->idle_since_ms < best->idle_since_ms)) {
			best = s;
		}
	}
	return best;
}

/* Opens one more session if the caps allow, unless enough are on their way. The first
 * login of an account goes alone: a wrong password is tried once. */
static bool open_another(struct pool_account *account)
{
	struct imap_pool *pool = account->pool;

	size_t n_waiting = account->waiting[0].n + account->waiting[1].n;

	if (account->n_connecting > 0 &&
	    (account->n_sessions == account->n_connecting || account->n_connecting >= n_waiting)) {
		return true;
	}
	if (pool->is_draining || account->n_sessions >= account_cap(account)) {
		return false;
	}
	if (pool->n_sessions >= pool->config.max_sessions) {
		starve(account);
		evict_idle(pool);
		return false;
	}
	return pool_session_open(account);
}

static struct pool_session *choose_short(struct pool_account *account, const struct imap_lease *lease)
{
	struct pool_session *same = least_loaded(account, lease, false);

	if (same && same->leases.n < POOL_SHARE_SOFT) {
		return same;
	}
	struct pool_session *other = lease->mailbox ? unheld(account) : NULL;
	if (other) {
		return other;
	}
	open_another(account); /* for those to come; this one need not wait for it */
	return same ? same : least_loaded(account, lease, true);
}

static bool has_session_for_bulk(struct pool_account *account)
{
	size_t cap = account_cap(account);
	size_t n_busy = 0;

	for (const struct pool_session *s = account->first_session; s; s = s->next) {
		n_busy += s->n_bulk > 0 && !s->is_closed;
	}
	return n_busy < (cap > 1 ? cap - 1 : 1);
}

static struct pool_session *choose_bulk(struct pool_account *account, const struct imap_lease *lease)
{
	uint64_t waited_ms = account->pool->config.timers->now_ms - lease->waiting_since_ms;

	if (has_session_for_bulk(account)) {
		struct pool_session *same = least_loaded(account, lease, false);
		if (same && same->leases.n == 0) {
			return same;
		}
		struct pool_session *other = unheld(account);
		if (other && !(lease->is_alone && other->leases.n > 0)) {
			return other;
		}
		if (open_another(account) && waited_ms < POOL_BULK_PATIENCE_MS) {
			return NULL; /* it is worth waiting for */
		}
		if (same && !lease->is_alone) {
			return same;
		}
	}
	return waited_ms >= POOL_BULK_PATIENCE_MS ? least_loaded(account, lease, true) : NULL;
}

/* ---- the queue ---- */

void pool_dispatch_soon(struct pool_account *account)
{
	gp_timer_start(&account->dispatch, 0);
}

/* What it waited for: until the session that serves it was opened, or came free. */
static void count_waiting(struct imap_lease *lease, const struct pool_session *session)
{
	uint64_t until_ms = lease->account->pool->config.timers->now_ms;

	if (session->opened_at_ms >= lease->waiting_since_ms) {
		until_ms = session->opened_at_ms;
	}
	lease->queue_ms += until_ms - lease->waiting_since_ms;
}

/* In order: the first lease of a queue that finds no session stops those behind it, so
 * that nobody starves. */
static void dispatch_queue(struct pool_account *account, bool is_bulk)
{
	struct lease_list *queue = &account->waiting[is_bulk];

	while (queue->first) {
		struct imap_lease *lease = queue->first;
		struct pool_session *session = is_bulk ? choose_bulk(account, lease) : choose_short(account, lease);
		if (!session) {
			return;
		}
		leave_queue(lease);
		count_waiting(lease, session);
		pool_session_attach(session, lease);
	}
}

static void dispatch(struct gp_timer *timer)
{
	struct pool_account *account = timer->ctx;

	account->is_dispatching = true;
	retire_aged(account);
	dispatch_queue(account, false);
	dispatch_queue(account, true);
	if (pool_has_waiting(account) && account->n_sessions == 0 && !account->is_starved) {
		static const struct gp_error no_memory = {.status = GP_NO_MEMORY, .text = "out of memory"};
		/* one that lost its session under SELECT came back to the queue */
		pool_fail_waiting(account, account->pool->is_draining ? &draining : &no_memory);
	}
	if (account->waiting[1].first) {
		uint64_t until_ms = account->waiting[1].first->waiting_since_ms + POOL_BULK_PATIENCE_MS;
		/* Once it is over, a session that comes free is all that can help. */
		if (until_ms > account->pool->config.timers->now_ms) {
			gp_timer_start_at(&account->patience, until_ms);
		}
	}
	account->is_dispatching = false;
	pool_account_release(account);
}

/* Ends the lease's membership of its account and frees it. */
static void lease_free(struct imap_lease *lease)
{
	struct pool_account *account = lease->account;

	gp_timer_stop(&lease->deadline);
	imap_credential_unref(&lease->credential);
	free(lease->mailbox);
	free(lease);
	account->n_leases--;
	account->pool->n_leases--;
	pool_account_release(account);
}

static void wait_in_queue(struct imap_lease *lease)
{
	struct pool_account *account = lease->account;

	lease->state = LEASE_WAITING;
	lease->waiting_since_ms = account->pool->config.timers->now_ms;
	account->pool->n_waiting++;
	pool_dispatch_soon(account);
}

void pool_grant(struct imap_lease *lease)
{
	gp_timer_stop(&lease->deadline);
	lease->state = LEASE_GRANTED;
	lease->done(lease->ctx, lease, NULL);
}

/* The lease is out of every list; its owner learns of it last. */
void pool_fail(struct imap_lease *lease, const struct gp_error *error)
{
	imap_lease_fn done = lease->done;
	void *ctx = lease->ctx;
	struct gp_error copy = *error;

	lease_free(lease);
	done(ctx, NULL, &copy);
}

static void fail_queue(struct lease_list *queue, const struct gp_error *error)
{
	size_t n = queue->n; /* callbacks may queue new ones */

	while (n-- > 0 && queue->first) {
		struct imap_lease *lease = queue->first;
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what was freed has left the queue */
		leave_queue(lease);
		pool_fail(lease, error);
	}
}

void pool_fail_waiting(struct pool_account *account, const struct gp_error *error)
{
	struct gp_error copy = *error;
	bool was_dispatching = account->is_dispatching;

	account->is_dispatching = true; /* keeps the account */
	fail_queue(&account->waiting[0], &copy);
	fail_queue(&account->waiting[1], &copy);
	account->is_dispatching = was_dispatching;
	pool_account_release(account);
}

/* ---- leases ---- */

static void on_deadline(struct gp_timer *timer)
{
	struct imap_lease *lease = timer->ctx;
	struct pool_account *account = lease->account;
	struct gp_error error = {.status = GP_OK};

	if (lease->state == LEASE_SELECTING) {
		gp_error_set(&error, GP_DEADLINE, "the IMAP server did not answer in time");
	} else if (account->is_starved) {
		gp_error_set(&error, GP_POOL_FULL, "no IMAP session came free in time");
	} else if (account->n_sessions == account->n_connecting) {
		gp_error_set(&error, GP_CONNECT_TIMEOUT, "the IMAP server did not answer in time");
	} else {
		gp_error_set(&error, GP_DEADLINE, "no IMAP session of this account came free in time");
	}
	if (lease->state == LEASE_WAITING) {
		leave_queue(lease);
	} else {
		pool_session_detach(lease->session, lease, true);
	}
	pool_fail(lease, &error);
}

static void on_refused_at_once(struct gp_timer *timer)
{
	struct imap_lease *lease = timer->ctx;
	struct gp_error error = {.status = GP_OK};
	bool is_draining = lease->account->pool->is_draining;

	leave_queue(lease);
	gp_error_set(&error, is_draining ? GP_DRAINING : GP_QUEUE_FULL, "%s",
		     is_draining ? "shutting down" : "too many requests of this account are waiting");
	pool_fail(lease, &error);
}

static bool copy_mailbox(struct imap_lease *lease, struct span mailbox)
{
	if (span_is_nil(mailbox)) {
		return true;
	}
	lease->mailbox = span_equal_text_nocase(mailbox, "INBOX") ? strdup("INBOX") : strndup(mailbox.ptr, mailbox.len);
	return lease->mailbox != NULL;
}

struct imap_lease *imap_lease_start(struct imap_pool *pool, const struct imap_lease_spec *spec, imap_lease_fn done,
				    void *ctx)
{
	struct imap_lease *lease = calloc(1, sizeof *lease);

	if (!lease || !copy_mailbox(lease, spec->mailbox)) {
		free(lease);
		return NULL;
	}
	struct pool_account *account = account_get(pool, spec->credential);
	if (!account) {
		free(lease->mailbox);
		free(lease);
		return NULL;
	}
	lease->account = account;
	lease->credential = imap_credential_ref(spec->credential);
	lease->is_write = spec->is_write;
	lease->is_bulk = spec->is_bulk;
	lease->is_alone = spec->is_bulk && spec->is_alone;
	lease->done = done;
	lease->ctx = ctx;
	account->n_leases++;
	pool->n_leases++;

	bool is_refused = pool->is_draining || queue_of(lease)->n >= GP_MAX_WAITING_PER_ACCOUNT;
	pool_lease_list_push(queue_of(lease), lease);
	wait_in_queue(lease);
	gp_timer_init(&lease->deadline, pool->config.timers, is_refused ? on_refused_at_once : on_deadline, lease);
	gp_timer_start_at(&lease->deadline, is_refused ? 0 : spec->deadline_at_ms);
	return lease;
}

void imap_lease_end(struct imap_lease **lease_ref, bool is_suspect)
{
	struct imap_lease *lease = *lease_ref;

	*lease_ref = NULL;
	if (!lease) {
		return;
	}
	struct pool_account *account = lease->account;
	if (lease->state == LEASE_WAITING) {
		leave_queue(lease);
	} else {
		pool_session_detach(lease->session, lease, is_suspect);
	}
	if (pool_has_waiting(account)) {
		pool_dispatch_soon(account);
	}
	lease_free(lease);
}

struct imap_session *imap_lease_session(const struct imap_lease *lease)
{
	struct imap_session *session = lease->session->session;

	/* The invariant of the program: nobody speaks on another's session. It is worth
	 * dying for, in release builds too. */
	if (!imap_credential_is_same(imap_session_credential(session), lease->credential)) {
		gp_log(GP_LOG_ERROR, "pool", "a lease holds a session of another credential");
		abort();
	}
	return session;
}

void imap_lease_set_stalled(struct imap_lease *lease, bool is_stalled)
{
	if (!lease->is_bulk || lease->is_stalled == is_stalled || lease->state != LEASE_GRANTED) {
		return;
	}
	lease->is_stalled = is_stalled;
	if (is_stalled) {
		lease->session->n_bulk--;
		if (lease->account->waiting[1].first) {
			pool_dispatch_soon(lease->account);
		}
	} else {
		lease->session->n_bulk++;
	}
}

bool imap_lease_is_fresh(const struct imap_lease *lease)
{
	return lease->is_fresh;
}

uint64_t imap_lease_queue_ms(const struct imap_lease *lease)
{
	return lease->queue_ms;
}
