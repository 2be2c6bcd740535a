/*
 * Which session a lease is given: choices among what there is, and when one more is opened.
 * Nothing here moves a lease; pool.c does.
 */
#include "base/limits.h"
#include "imap/pool_internal.h"

/* ---- what may be used ---- */

static size_t account_cap(struct pool_account *account)
{
	if (account->cap_lowered_until_ms <= account->pool->config.timers->now_ms) {
		account->cap = account->pool->config.max_sessions_per_account;
	}
	return account->cap;
}

bool pool_session_is_usable(const struct pool_session *s)
{
	return s->is_ready && !s->is_closed && !s->is_retiring && !s->tenant && imap_session_is_in_step(s->session);
}

/* A lease may join those that it has. */
static bool is_joinable(const struct pool_session *s)
{
	return pool_session_is_usable(s) && s->n_alone == 0;
}

static size_t n_tenants(const struct pool_account *account)
{
	size_t n = 0;

	for (const struct pool_session *s = account->first_session; s; s = s->next) {
		n += s->tenant != NULL && !s->is_closed;
	}
	return n;
}

/* Sessions past their age leave the pool: the next login shows if the password still
 * holds. */
void pool_retire_aged(struct pool_account *account)
{
	uint64_t now = account->pool->config.timers->now_ms;
	struct pool_session *next;

	for (struct pool_session *s = account->first_session; s; s = next) {
		next = s->next;
		if (pool_session_is_usable(s) && now - imap_session_ready_at_ms(s->session) > GP_MAX_SESSION_AGE_MS) {
			pool_session_retire(s);
		}
	}
}

/* ---- room in the pool ---- */

static struct pool_session *any_tenant(struct imap_pool *pool)
{
	for (size_t i = 0; i < POOL_BUCKETS; i++) {
		for (struct pool_account *account = pool->buckets[i]; account; account = account->bucket_next) {
			for (struct pool_session *s = account->first_session; s; s = s->next) {
				if (s->tenant && !s->is_retiring) {
					return s;
				}
			}
		}
	}
	return NULL;
}

static void evict(struct pool_session *session)
{
	session->is_evicted = true;
	session->account->pool->n_evicted++;
	pool_session_retire(session);
}

/* Logs out the session of any account that has been idle longest, unless as many are
 * on their way out already as accounts wait for room. Where none is idle, a watch gives
 * way. */
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
	if (!oldest) {
		oldest = any_tenant(pool);
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

/* ---- choices ---- */

/* Beside which streams a lease goes. */
enum company { BESIDE_ANY, BESIDE_NO_RUNNING, BESIDE_STREAMS, BESIDE_STALLED };

static bool has_company(const struct pool_session *s, enum company company)
{
	bool wants_streams = company == BESIDE_STREAMS || company == BESIDE_STALLED;
	bool takes_running = company == BESIDE_ANY || company == BESIDE_STREAMS;

	return (s->n_streams > 0 || !wants_streams) && (s->n_running == 0 || takes_running);
}

/* The least loaded session that has the lease's mailbox open (any, if it needs none). */
static struct pool_session *least_loaded(struct pool_account *account, const struct imap_lease *lease,
					 enum company company)
{
	struct pool_session *best = NULL;

	for (struct pool_session *s = account->first_session; s; s = s->next) {
		if (!is_joinable(s) || !pool_session_serves(s, lease) || !has_company(s, company)) {
			continue;
		}
		if (!best || s->leases.n < best->leases.n) {
			best = s;
		}
	}
	return best && best->leases.n < POOL_SHARE_HARD ? best : NULL;
}

/* A session whose mailbox nobody holds: one with none selected first, then the one
 * that has been idle longest. One that is reserved is only for whom it was kept. */
static struct pool_session *unheld(struct pool_account *account, bool takes_reserved)
{
	struct pool_session *best = NULL;

	for (struct pool_session *s = account->first_session; s; s = s->next) {
		if (!is_joinable(s) || s->n_holders > 0 || s->select || (s->is_reserved && !takes_reserved)) {
			continue;
		}
		if (s->is_reserved) {
			return s;
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
	size_t n_waiting = 0;

	for (int i = 0; i < POOL_N_QUEUES; i++) {
		n_waiting += account->waiting[i].n;
	}

	if (account->n_connecting > 0 &&
	    (account->n_sessions == account->n_connecting || account->n_connecting >= n_waiting)) {
		return true;
	}
	if (pool->is_draining || account->n_sessions >= account_cap(account)) {
		return false;
	}
	if (pool->n_sessions >= pool->config.max_sessions) {
		pool_starve(account);
		evict_idle(pool);
		return false;
	}
	return pool_session_open(account);
}

struct pool_session *pool_choose_short(struct pool_account *account, const struct imap_lease *lease)
{
	struct pool_session *same = least_loaded(account, lease, BESIDE_NO_RUNNING);

	if (same && same->leases.n < POOL_SHARE_SOFT) {
		return same;
	}
	struct pool_session *other = lease->mailbox ? unheld(account, false) : NULL;
	if (other) {
		return other;
	}
	open_another(account); /* for those to come; this one need not wait for it */
	return same ? same : least_loaded(account, lease, BESIDE_ANY);
}

void pool_unreserve(struct pool_account *account)
{
	for (struct pool_session *s = account->first_session; s; s = s->next) {
		s->is_reserved = false;
	}
}

/* As far as can be told. Of two that are alike it is the one that is reserved already. */
static bool is_left_sooner(const struct pool_session *s, const struct pool_session *other)
{
	return s->n_holders < other->n_holders || (s->n_holders == other->n_holders && s->is_reserved);
}

/* The session that its holders will leave first takes no new ones; each time anew, as
 * another may be better by now. A session with a stream is none, and least of all where
 * the reader has stalled: nobody would have anything of keeping others from it. */
static void reserve(struct pool_account *account)
{
	struct pool_session *best = NULL;

	for (struct pool_session *s = account->first_session; s; s = s->next) {
		bool may_be = is_joinable(s) && !s->is_exclusive && s->n_streams == 0;
		if (may_be && (!best || is_left_sooner(s, best))) {
			best = s;
		}
	}
	pool_unreserve(account);
	if (best) {
		best->is_reserved = true;
	}
}

struct pool_session *pool_choose_fresh(struct pool_account *account, const struct imap_lease *lease)
{
	struct pool_session *session = unheld(account, true);

	if (!session && !open_another(account) &&
	    account->pool->config.timers->now_ms - lease->waiting_since_ms >= POOL_FRESH_PATIENCE_MS) {
		reserve(account);
	}
	return session;
}

/* A stream that has stalled holds its mailbox like any other. */
static bool has_session_for_bulk(struct pool_account *account)
{
	size_t n_taken = n_tenants(account);
	size_t cap = account_cap(account) > n_taken ? account_cap(account) - n_taken : 1;
	size_t n_busy = 0;

	for (const struct pool_session *s = account->first_session; s; s = s->next) {
		n_busy += s->n_streams > 0 && !s->is_closed;
	}
	return n_busy < (cap > 1 ? cap - 1 : 1);
}

static bool is_patient(const struct imap_lease *lease)
{
	return lease->account->pool->config.timers->now_ms - lease->waiting_since_ms < POOL_BULK_PATIENCE_MS;
}

struct pool_session *pool_choose_beside_stream(struct pool_account *account, const struct imap_lease *lease)
{
	/* An upload would stop those that it joins for as long as its client takes. */
	if (lease->is_alone) {
		return NULL;
	}
	return least_loaded(account, lease, lease->is_bulk && is_patient(lease) ? BESIDE_STALLED : BESIDE_STREAMS);
}

static struct pool_session *choose_without_streams(struct pool_account *account, const struct imap_lease *lease)
{
	struct pool_session *same = least_loaded(account, lease, BESIDE_NO_RUNNING);
	struct pool_session *other = unheld(account, lease->is_alone);

	if (same && same->leases.n == 0) {
		return same;
	}
	if (other && !(lease->is_alone && other->leases.n > 0)) {
		return other;
	}
	if (open_another(account) && is_patient(lease)) {
		return NULL; /* it is worth waiting for */
	}
	if (lease->is_alone) {
		if (!is_patient(lease)) {
			reserve(account);
		}
		return NULL;
	}
	/* Whoever waits for those that hold it to leave comes first. */
	return account->waiting[POOL_QUEUE_SHORT].first && is_patient(lease) ? NULL : same;
}

/* Streams whose readers are slow are put together first: else they would take one session
 * after another, and run on none. */
struct pool_session *pool_choose_bulk(struct pool_account *account, const struct imap_lease *lease)
{
	struct pool_session *session = lease->is_alone ? NULL : least_loaded(account, lease, BESIDE_STALLED);

	if (!session && has_session_for_bulk(account)) {
		session = choose_without_streams(account, lease);
	}
	return session ? session : pool_choose_beside_stream(account, lease);
}

/* ---- tenants ---- */

static struct pool_session *unused(struct pool_account *account)
{
	for (struct pool_session *s = account->first_session; s; s = s->next) {
		if (pool_session_is_usable(s) && s->leases.n == 0 && !s->is_reserved) {
			return s;
		}
	}
	return NULL;
}

static bool is_pool_full(const struct imap_pool *pool)
{
	return pool->n_sessions >= pool->config.max_sessions;
}

/* A session that nobody uses, else a new one. */
struct pool_session *pool_choose_tenant(struct pool_account *account, const struct imap_lease *lease)
{
	struct pool_session *session = unused(account);

	(void)lease;
	if (!session && !is_pool_full(account->pool)) {
		open_another(account);
	}
	return session;
}

/* Whether one more could have a session, now or when one comes free. A full pool is for
 * leases: nobody is put out for a tenant. */
bool pool_has_room_for_tenant(struct pool_account *account)
{
	return n_tenants(account) + 1 < account_cap(account) &&
	       (!is_pool_full(account->pool) || account->n_connecting > 0 || unused(account));
}

void pool_put_out_tenant(struct pool_account *account)
{
	for (struct pool_session *s = account->first_session; s; s = s->next) {
		if (s->tenant && !s->is_retiring) {
			pool_session_retire(s);
			return;
		}
	}
}

/* Leases wait, and all the sessions there may be are tenants': the cap was lowered. */
bool pool_is_blocked_by_tenants(struct pool_account *account)
{
	size_t n = n_tenants(account);
	bool is_waiting = account->waiting[POOL_QUEUE_SHORT].first || account->waiting[POOL_QUEUE_FRESH].first ||
			  account->waiting[POOL_QUEUE_BULK].first;

	return is_waiting && n > 0 && account->n_sessions == n && n >= account_cap(account);
}
