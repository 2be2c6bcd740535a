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
	bool has_waiting = false;

	for (int i = 0; i < POOL_N_QUEUES; i++) {
		has_waiting |= account->waiting[i].first != NULL;
	}
	return has_waiting;
}

static struct lease_list *queue_of(const struct imap_lease *lease)
{
	enum pool_queue queue = POOL_QUEUE_SHORT;

	if (lease->tenant_events) {
		queue = POOL_QUEUE_TENANT;
	} else if (lease->is_fresh_view) {
		queue = POOL_QUEUE_FRESH;
	} else if (lease->is_bulk) {
		queue = POOL_QUEUE_BULK;
	}
	return &lease->account->waiting[queue];
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

void pool_starve(struct pool_account *account)
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
			/* without leases it has a session, and the last one frees the account */
			assert(pool->buckets[i]->first_session);
			pool_session_destroy(pool->buckets[i]->first_session);
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

/* ---- mailboxes that go ---- */

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
		if ((pool_session_is_usable(s) || s->tenant) && s->mailbox &&
		    is_at_or_below(s->mailbox, mailbox, delimiter)) {
			pool_session_retire(s);
		}
	}
}

bool imap_lease_has_open(const struct imap_lease *lease, struct span mailbox, char delimiter)
{
	const char *open = lease->session->mailbox;

	return open && is_at_or_below(open, mailbox, delimiter);
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
	lease->queue_ms = until_ms - lease->waiting_since_ms;
}

static void serve(struct pool_session *session, struct imap_lease *lease)
{
	leave_queue(lease);
	count_waiting(lease, session);
	pool_session_attach(session, lease);
}

/* In order: the first lease of a queue that finds no session stops those behind it, so
 * that nobody starves. */
static void dispatch_queue(struct pool_account *account, enum pool_queue which,
			   struct pool_session *(*choose)(struct pool_account *, const struct imap_lease *))
{
	struct lease_list *queue = &account->waiting[which];

	while (queue->first) {
		struct imap_lease *lease = queue->first;
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what was freed has left the queue */
		struct pool_session *session = choose(account, lease);
		if (!session) {
			return;
		}
		serve(session, lease);
	}
}

/* Who waits does not stop those behind it from what it cannot hope for. */
static void let_pass(struct pool_account *account, enum pool_queue which)
{
	struct imap_lease *lease = account->waiting[which].first;

	while (lease) {
		struct pool_session *session = pool_choose_beside_stream(account, lease);
		if (session) {
			serve(session, lease);
			lease = account->waiting[which].first; /* callbacks may have changed the list */
		} else {
			lease = lease->next;
		}
	}
}

static void refuse_tenants(struct pool_account *account)
{
	static const struct gp_error full = {.status = GP_POOL_FULL, .text = "no IMAP session is left for a watch"};
	struct lease_list *queue = &account->waiting[POOL_QUEUE_TENANT];

	for (size_t n = queue->n; n > 0 && queue->first && !pool_has_room_for_tenant(account); n--) {
		struct imap_lease *lease = queue->first;
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what was freed has left the queue */
		leave_queue(lease);
		pool_fail(lease, &full);
	}
}

/* Once it is over, a session that comes free is all that can help. */
static void await_patience(struct pool_account *account, enum pool_queue queue, uint64_t patience_ms)
{
	uint64_t now_ms = account->pool->config.timers->now_ms, until_ms = 0;

	for (const struct imap_lease *lease = account->waiting[queue].first; lease && until_ms <= now_ms;
	     lease = lease->next) {
		until_ms = lease->waiting_since_ms + patience_ms;
	}
	if (until_ms > now_ms && (!gp_timer_is_running(&account->patience) || until_ms < account->patience.at_ms)) {
		gp_timer_start_at(&account->patience, until_ms);
	}
}

static bool may_have_reserved(const struct pool_account *account)
{
	const struct imap_lease *bulk = account->waiting[POOL_QUEUE_BULK].first;

	return account->waiting[POOL_QUEUE_FRESH].first || (bulk && bulk->is_alone);
}

static void dispatch(struct gp_timer *timer)
{
	struct pool_account *account = timer->ctx;

	account->is_dispatching = true;
	pool_retire_aged(account);
	if (!may_have_reserved(account)) {
		pool_unreserve(account);
	}
	refuse_tenants(account); /* first: they may wait for a short lease then */
	dispatch_queue(account, POOL_QUEUE_SHORT, pool_choose_short);
	let_pass(account, POOL_QUEUE_SHORT);
	dispatch_queue(account, POOL_QUEUE_FRESH, pool_choose_fresh);
	dispatch_queue(account, POOL_QUEUE_BULK, pool_choose_bulk);
	let_pass(account, POOL_QUEUE_BULK);
	dispatch_queue(account, POOL_QUEUE_TENANT, pool_choose_tenant);
	if (account->waiting[POOL_QUEUE_TENANT].first && !pool_has_room_for_tenant(account)) {
		pool_dispatch_soon(account);
	}
	if (pool_is_blocked_by_tenants(account)) {
		pool_put_out_tenant(account);
	}
	if (pool_has_waiting(account) && account->n_sessions == 0 && !account->is_starved) {
		static const struct gp_error no_memory = {.status = GP_NO_MEMORY, .text = "out of memory"};
		pool_fail_waiting(account, &no_memory); /* nor could one be opened */
	}
	await_patience(account, POOL_QUEUE_FRESH, POOL_FRESH_PATIENCE_MS);
	await_patience(account, POOL_QUEUE_BULK, POOL_BULK_PATIENCE_MS);
	account->is_dispatching = false;
	pool_account_release(account);
}

static void free_memory(struct imap_lease *lease)
{
	free(lease->mailbox);
	free(lease->target);
	free(lease);
}

/* Ends the lease's membership of its account and frees it. */
static void lease_free(struct imap_lease *lease)
{
	struct pool_account *account = lease->account;

	gp_timer_stop(&lease->deadline);
	imap_credential_unref(&lease->credential);
	free_memory(lease);
	account->n_leases--;
	account->pool->n_leases--;
	pool_account_release(account);
}

static void wait_in_queue(struct imap_lease *lease)
{
	struct pool_account *account = lease->account;

	lease->state = LEASE_WAITING;
	lease->waiting_since_ms = account->pool->config.timers->now_ms;
	pool_lease_list_push(queue_of(lease), lease);
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
	for (int i = 0; i < POOL_N_QUEUES; i++) {
		fail_queue(&account->waiting[i], &copy);
	}
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
		if (pool_has_waiting(account)) {
			pool_dispatch_soon(account); /* a session may have been reserved for it */
		}
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

	gp_error_set(&error, is_draining ? GP_DRAINING : GP_QUEUE_FULL, "%s",
		     is_draining ? "shutting down" : "too many requests of this account are waiting");
	pool_fail(lease, &error);
}

/* False when memory ends. */
static bool copy_name(struct span name, char **copy_out)
{
	if (!span_is_nil(name)) {
		*copy_out = span_equal_text_nocase(name, "INBOX") ? strdup("INBOX") : span_dup(name);
	}
	return span_is_nil(name) || *copy_out != NULL;
}

static struct imap_lease *lease_start(struct imap_pool *pool, const struct imap_lease_spec *spec,
				      const struct pool_tenant_events *tenant_events, imap_lease_fn done, void *ctx)
{
	struct imap_lease *lease = calloc(1, sizeof *lease);

	assert(!spec->is_fresh_view || (!span_is_nil(spec->mailbox) && !spec->is_write && !spec->is_bulk));
	if (!lease) {
		return NULL;
	}
	if (!copy_name(spec->mailbox, &lease->mailbox) || !copy_name(spec->target, &lease->target)) {
		free_memory(lease);
		return NULL;
	}
	struct pool_account *account = account_get(pool, spec->credential);
	if (!account) {
		free_memory(lease);
		return NULL;
	}
	lease->account = account;
	lease->credential = imap_credential_ref(spec->credential);
	lease->is_write = spec->is_write;
	lease->is_bulk = spec->is_bulk;
	lease->is_alone = spec->is_bulk && spec->is_alone;
	lease->is_fresh_view = spec->is_fresh_view;
	lease->tenant_events = tenant_events;
	lease->done = done;
	lease->ctx = ctx;
	account->n_leases++;
	pool->n_leases++;

	bool is_refused = pool->is_draining || queue_of(lease)->n >= GP_MAX_WAITING_PER_ACCOUNT;
	lease->state = LEASE_REFUSED;
	if (!is_refused) {
		wait_in_queue(lease);
	}
	gp_timer_init(&lease->deadline, pool->config.timers, is_refused ? on_refused_at_once : on_deadline, lease);
	gp_timer_start_at(&lease->deadline, is_refused ? 0 : spec->deadline_at_ms);
	return lease;
}

struct imap_lease *imap_lease_start(struct imap_pool *pool, const struct imap_lease_spec *spec, imap_lease_fn done,
				    void *ctx)
{
	return lease_start(pool, spec, NULL, done, ctx);
}

struct imap_lease *pool_tenant_start(struct imap_pool *pool, struct imap_credential *credential,
				     uint64_t deadline_at_ms, const struct pool_tenant_events *events,
				     imap_lease_fn done, void *ctx)
{
	const struct imap_lease_spec spec = {
		.credential = credential, .mailbox = SPAN_NIL, .deadline_at_ms = deadline_at_ms};

	return lease_start(pool, &spec, events, done, ctx);
}

void pool_tenant_note_mailbox(struct imap_lease *lease, struct span mailbox)
{
	struct pool_session *session = lease->session;

	free(session->mailbox);
	/* Without it the session is not told when the mailbox is about to be deleted. */
	session->mailbox = span_is_nil(mailbox) ? NULL : span_dup(mailbox);
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
	} else if (lease->state != LEASE_REFUSED) {
		pool_session_detach(lease->session, lease, is_suspect);
	}
	if (pool_has_waiting(account)) {
		pool_dispatch_soon(account);
	}
	lease_free(lease);
}

/* The invariant of the program: nobody speaks on another's session. */
void pool_check_owner(const struct imap_lease *lease)
{
	const struct imap_session *session = lease->session->session;

	imap_credential_check_owner(imap_session_credential(session), lease->credential,
				    "a lease holds a session of another credential");
	if (lease->account != lease->session->account ||
	    imap_session_endpoint(session) != lease->account->pool->config.endpoint) {
		imap_credential_violated("a lease holds a session of another account or server");
	}
}

const struct imap_credential *imap_lease_credential(const struct imap_lease *lease)
{
	return lease->credential;
}

struct imap_session *imap_lease_session(const struct imap_lease *lease)
{
	const struct imap_selected *selected = imap_session_selected(lease->session->session);

	pool_check_owner(lease);
	/* A UID names another message in another mailbox. NULL: the server closed it, and
	 * refuses what is asked. */
	if (lease->mailbox && selected->mailbox && strcmp(lease->mailbox, selected->mailbox) != 0) {
		imap_credential_violated("a lease's session has another mailbox open");
	}
	return lease->session->session;
}

void imap_lease_set_stalled(struct imap_lease *lease, bool is_stalled)
{
	if (!lease->is_bulk || lease->is_stalled == is_stalled || lease->state != LEASE_GRANTED) {
		return;
	}
	lease->is_stalled = is_stalled;
	if (is_stalled) {
		lease->session->n_running--;
		if (lease->account->waiting[POOL_QUEUE_BULK].first) {
			pool_dispatch_soon(lease->account);
		}
	} else {
		lease->session->n_running++;
	}
}

bool imap_lease_is_fresh(const struct imap_lease *lease)
{
	const struct pool_session *session = lease->session;

	/* Under a SELECT that is on its way the server may have the mailbox open already. */
	return lease->is_fresh || (!session->select && !imap_session_selected(session->session)->mailbox);
}

uint64_t imap_lease_queue_ms(const struct imap_lease *lease)
{
	return lease->queue_ms;
}
