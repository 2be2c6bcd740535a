#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "imap/pool_internal.h"

static struct gp_timers *timers_of(const struct pool_session *self)
{
	return self->account->pool->config.timers;
}

/* ---- opening and closing ---- */

static void session_tick(struct gp_timer *timer);
static void became_idle(struct pool_session *self);

static void on_ready(void *ctx)
{
	struct pool_session *self = ctx;

	self->is_ready = true;
	self->account->n_connecting--;
	self->account->pool->n_logins++;
	self->idle_since_ms = timers_of(self)->now_ms;
	gp_timer_start(&self->tick, GP_SESSION_KEEPALIVE_MS);
	if (pool_has_waiting(self->account)) {
		pool_dispatch_soon(self->account);
	} else {
		became_idle(self); /* whoever wanted it has left meanwhile */
	}
}

/* What a failed login or connection means for the rest of the account. */
static void connecting_failed(struct pool_account *account, const struct gp_error *error)
{
	struct imap_pool *pool = account->pool;
	size_t n_usable = account->n_sessions - account->n_connecting;

	pool->n_login_failures++;
	gp_log(GP_LOG_INFO, "pool", "no session: %s: %s", gp_status_name(error->status), error->text);
	if (error->status == GP_AUTH) {
		for (struct pool_session *s = account->first_session; s; s = s->next) {
			if (s->is_ready) {
				pool_session_retire(s);
			}
		}
		pool_fail_waiting(account, error);
	} else if (n_usable > 0) {
		account->cap = n_usable;
		account->cap_lowered_until_ms = pool->config.timers->now_ms + POOL_CAP_LOWERED_MS;
		gp_log(GP_LOG_WARN, "pool", "an account is held to %zu sessions for %d s", n_usable,
		       POOL_CAP_LOWERED_MS / 1000);
		pool_dispatch_soon(account);
	} else {
		pool_fail_waiting(account, error);
	}
}

/* Those who wait for the mailbox. Whether they try again is theirs to say. */
static void fail_selecting(struct pool_session *self, const struct gp_error *error)
{
	struct imap_lease *lease = self->leases.first;

	while (lease) {
		if (lease->state == LEASE_SELECTING) {
			pool_session_detach(self, lease, false);
			pool_fail(lease, error);
			lease = self->leases.first; /* callbacks may have changed the list */
		} else {
			lease = lease->next;
		}
	}
}

static void on_closed(void *ctx, const struct gp_error *error)
{
	struct pool_session *self = ctx;
	struct pool_account *account = self->account;
	bool was_ready = self->is_ready;
	struct gp_error copy = *error;

	self->is_closed = true;
	self->is_ready = false;
	if (!was_ready) {
		account->n_connecting--;
	}
	account->n_sessions--;
	account->pool->n_sessions--;
	account->pool->n_evicted -= self->is_evicted;
	fail_selecting(self, &copy);
	gp_timer_start(&self->tick, 0);
	pool_room_came_free(account->pool);
	if (!was_ready) {
		connecting_failed(account, &copy);
	} else if (pool_has_waiting(account)) {
		pool_dispatch_soon(account);
	}
	if (self->tenant) {
		self->tenant->tenant_events->closed(self->tenant->ctx, &copy);
	}
}

static void on_untagged(void *ctx, const struct imap_response *response)
{
	struct pool_session *self = ctx;

	if (self->tenant) {
		self->tenant->tenant_events->untagged(self->tenant->ctx, response);
	}
}

static void select_turn_ended(struct gp_timer *timer)
{
	(void)timer;
}

static const struct imap_session_events session_events = {
	.ready = on_ready, .closed = on_closed, .untagged = on_untagged};

bool pool_session_open(struct pool_account *account)
{
	struct imap_pool *pool = account->pool;
	struct pool_session *self = calloc(1, sizeof *self);

	if (!self) {
		return false;
	}
	const struct imap_session_config config = {
		.network = pool->config.network,
		.endpoint = pool->config.endpoint,
		.timers = pool->config.timers,
		.credential = account->credential,
		.connect_timeout_ms = pool->config.connect_timeout_ms,
		.silence_timeout_ms = pool->config.silence_timeout_ms,
	};
	self->account = account;
	self->opened_at_ms = pool->config.timers->now_ms;
	gp_timer_init(&self->tick, pool->config.timers, session_tick, self);
	gp_timer_init(&self->select_turn, pool->config.timers, select_turn_ended, self);
	self->session = imap_session_new(&config, &session_events, self);
	if (!self->session) {
		free(self);
		return false;
	}
	self->next = account->first_session;
	if (self->next) {
		self->next->prev = self;
	}
	account->first_session = self;
	account->n_sessions++;
	account->n_connecting++;
	pool->n_sessions++;
	return true;
}

void pool_session_destroy(struct pool_session *self)
{
	struct pool_account *account = self->account;

	imap_call_cancel(&self->select);
	imap_call_cancel(&self->noop);
	gp_timer_stop(&self->tick);
	gp_timer_stop(&self->select_turn);
	imap_session_free(&self->session);
	if (!self->is_closed) {
		account->n_sessions--;
		account->pool->n_sessions--;
		account->pool->n_evicted -= self->is_evicted;
		account->n_connecting -= !self->is_ready;
	}
	if (self->prev) {
		self->prev->next = self->next;
	} else {
		account->first_session = self->next;
	}
	if (self->next) {
		self->next->prev = self->prev;
	}
	free(self->mailbox);
	free(self);
	pool_account_release(account);
}

void pool_session_retire(struct pool_session *self)
{
	self->is_retiring = true;
	if (self->leases.n == 0 && !self->is_closed) {
		imap_session_logout(self->session);
	} else if (self->tenant && !self->is_closed) {
		self->tenant->tenant_events->leave(self->tenant->ctx);
	}
}

/* ---- idle ---- */

bool pool_session_is_idle(const struct pool_session *self)
{
	return self->is_ready && !self->is_retiring && self->leases.n == 0;
}

static void on_noop(void *ctx, const struct gp_error *error)
{
	struct pool_session *self = ctx;

	(void)error; /* a lost connection arrives as `closed` */
	self->noop = NULL;
}

static void session_tick(struct gp_timer *timer)
{
	struct pool_session *self = timer->ctx;
	struct imap_pool *pool = self->account->pool;

	if (self->is_closed) {
		if (self->leases.n == 0) {
			pool_session_destroy(self);
		}
		return;
	}
	if (!pool_session_is_idle(self)) {
		return;
	}
	uint64_t idle_ms = timers_of(self)->now_ms - self->idle_since_ms;
	if (idle_ms >= pool->config.idle_timeout_ms) {
		pool_session_retire(self);
		return;
	}
	if (idle_ms >= GP_SESSION_KEEPALIVE_MS && !self->noop) {
		self->noop = imap_noop_start(self->session, on_noop, self);
	}
	uint64_t left_ms = pool->config.idle_timeout_ms - idle_ms;
	gp_timer_start(&self->tick, left_ms < GP_SESSION_KEEPALIVE_MS ? left_ms : GP_SESSION_KEEPALIVE_MS);
}

static void became_idle(struct pool_session *self)
{
	uint64_t idle_timeout_ms = self->account->pool->config.idle_timeout_ms;

	self->idle_since_ms = timers_of(self)->now_ms;
	if (pool_evict_for_starved(self)) {
		return;
	}
	gp_timer_start(&self->tick,
		       idle_timeout_ms < GP_SESSION_KEEPALIVE_MS ? idle_timeout_ms : GP_SESSION_KEEPALIVE_MS);
}

/* ---- leases ---- */

/* Courier takes no APPEND to what its session has open read-only, and has no UNSELECT. */
static bool refuses_append(const struct pool_session *self, const struct imap_lease *lease)
{
	return lease->target && self->mailbox && self->is_examine && strcmp(self->mailbox, lease->target) == 0 &&
	       !imap_session_can(self->session, IMAP_CAP_UNSELECT);
}

bool pool_session_serves(const struct pool_session *self, const struct imap_lease *lease)
{
	if (!lease->mailbox) {
		return !refuses_append(self, lease);
	}
	if (lease->is_fresh_view || self->is_exclusive || self->is_reserved) {
		return false;
	}
	/* the server may have closed it, or have said of it what cannot be: it is selected anew */
	const struct imap_selected *selected = imap_session_selected(self->session);
	return self->mailbox && strcmp(self->mailbox, lease->mailbox) == 0 && !(lease->is_write && self->is_examine) &&
	       (self->select || (selected->mailbox && !selected->is_doubtful));
}

static void selecting_failed(struct pool_session *self, const struct gp_error *error)
{
	free(self->mailbox);
	self->mailbox = NULL;
	if (error->status == GP_LOST) {
		self->is_retiring = true; /* `closed` follows: nobody is to choose it before */
	}
	fail_selecting(self, error);
}

static void grant_selecting(struct pool_session *self)
{
	struct imap_lease *lease = self->leases.first;

	while (lease) {
		if (lease->state == LEASE_SELECTING) {
			pool_grant(lease);
			lease = self->leases.first; /* callbacks may have changed the list */
		} else {
			lease = lease->next;
		}
	}
}

static void on_selected(void *ctx, const struct gp_error *error)
{
	struct pool_session *self = ctx;

	self->select = NULL;
	if (error) {
		const struct gp_error copy = *error;
		selecting_failed(self, &copy);
	} else {
		grant_selecting(self);
	}
	/* Whoever wanted another mailbox waited for this to be over. */
	if (pool_has_waiting(self->account)) {
		pool_dispatch_soon(self->account);
	}
}

static void attach(struct pool_session *self, struct imap_lease *lease)
{
	lease->session = self;
	lease->is_fresh = self->select && gp_timer_is_running(&self->select_turn);
	pool_lease_list_push(&self->leases, lease);
	self->n_holders += lease->mailbox != NULL;
	self->n_streams += lease->is_bulk;
	self->n_running += lease->is_bulk;
	self->n_alone += lease->is_alone;
	self->is_reserved = self->is_reserved && !lease->is_fresh_view && !lease->is_alone;
	self->tenant = lease->tenant_events ? lease : self->tenant;
	gp_timer_stop(&self->tick);
	pool_check_owner(lease);
}

static void fail_for_memory(struct pool_session *self, struct imap_lease *lease)
{
	const struct gp_error error = {.status = GP_NO_MEMORY, .text = "out of memory"};

	pool_session_detach(self, lease, false);
	pool_fail(lease, &error);
}

void pool_session_attach(struct pool_session *self, struct imap_lease *lease)
{
	attach(self, lease);
	lease->state = LEASE_SELECTING;
	if (pool_session_serves(self, lease)) {
		if (!self->select || !lease->mailbox) {
			pool_grant(lease);
		}
		return;
	}
	/* Who joins later is not fresh: by then the server may have said what there was. */
	lease->is_fresh = true;
	gp_timer_start(&self->select_turn, 0);
	self->is_exclusive = lease->is_fresh_view;
	free(self->mailbox);
	self->mailbox = strdup(lease->mailbox ? lease->mailbox : lease->target);
	self->is_examine = lease->mailbox && !lease->is_write;
	if (self->mailbox) {
		self->select =
			imap_select_start(self->session, span_of(self->mailbox), self->is_examine, on_selected, self);
	}
	if (!self->select) {
		free(self->mailbox);
		self->mailbox = NULL;
		fail_for_memory(self, lease);
	}
}

/* What a lease started ends before it does: an answer that came later would go to whoever
 * has its memory then. The session's own SELECT and NOOP may go on. */
static void check_nobody_listens(const struct pool_session *self)
{
	size_t n_own = (size_t)(self->select != NULL) + (size_t)(self->noop != NULL);

	if (imap_session_n_listening(self->session) > n_own) {
		imap_credential_violated("a lease ended, and a call that it started still waits for its answer");
	}
}

void pool_session_detach(struct pool_session *self, struct imap_lease *lease, bool is_suspect)
{
	pool_lease_list_remove(&self->leases, lease);
	lease->session = NULL;
	self->n_holders -= lease->mailbox != NULL;
	self->n_streams -= lease->is_bulk;
	self->n_running -= lease->is_bulk && !lease->is_stalled;
	self->n_alone -= lease->is_alone;
	self->is_exclusive = self->is_exclusive && !lease->is_fresh_view;
	/* What a tenant asked the server to tell is nothing that others expect. */
	self->is_retiring = self->is_retiring || is_suspect || lease == self->tenant;
	self->tenant = lease == self->tenant ? NULL : self->tenant;
	if (self->leases.n > 0) {
		return;
	}
	check_nobody_listens(self);
	if (self->is_closed) {
		gp_timer_start(&self->tick, 0);
	} else if (is_suspect) {
		const struct gp_error error = {.status = GP_LOST, .text = "given up: the IMAP server was silent"};
		imap_session_close(self->session, &error);
	} else if (self->is_retiring) {
		imap_session_logout(self->session);
	} else {
		became_idle(self);
	}
}
