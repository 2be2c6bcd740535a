/*
 * What pool.c (accounts, leases, queues), pool_choose.c (who is given which session) and
 * pool_session.c (the life of one pooled session) share.
 *
 * An account exists while it has a session or a lease. A lease is WAITING in its
 * account's queue, or attached to a session: SELECTING until the mailbox is open
 * there, then GRANTED. One that is REFUSED is in no list: a queue would hand it out
 * before its owner is told. Sessions outlive their connection until the last lease ends.
 */
#ifndef GP_IMAP_POOL_INTERNAL_H
#define GP_IMAP_POOL_INTERNAL_H

#include "imap/pool.h"

#define POOL_BUCKETS 1024
/* Leases that share one session before another session is looked for, and at most. */
#define POOL_SHARE_SOFT 2
#define POOL_SHARE_HARD 64
/* How long a stream waits for a session of its own. */
#define POOL_BULK_PATIENCE_MS 5000
/* How long a lowered cap of an account stays. */
#define POOL_CAP_LOWERED_MS 60000

/* How long a fresh view waits for a session to come free of holders by itself. */
#define POOL_FRESH_PATIENCE_MS 500

struct pool_account;
struct pool_session;

/* Each in order; they do not wait for each other, but that a stream leaves what a short
 * lease waits for until it has waited enough. */
enum pool_queue {
	POOL_QUEUE_SHORT,
	POOL_QUEUE_FRESH, /* fresh views: they need a session whose mailbox nobody holds */
	POOL_QUEUE_BULK,
	POOL_QUEUE_TENANT,
	POOL_N_QUEUES,
};

/*
 * A tenant is a lease of a watch (imap/watch.c): it has its session alone, for long, and
 * the session logs out after it. An account's tenants are at most all but one of its
 * sessions, so that a lease that waits always finds one.
 */
struct pool_tenant_events {
	/* What the session's commands have not asked for. */
	void (*untagged)(void *ctx, const struct imap_response *response);
	/* The session is wanted back: end the lease, from here or soon. */
	void (*leave)(void *ctx);
	/* The connection is lost: end the lease, from here or soon. */
	void (*closed)(void *ctx, const struct gp_error *error);
};

enum lease_state { LEASE_REFUSED, LEASE_WAITING, LEASE_SELECTING, LEASE_GRANTED };

struct imap_lease {
	struct imap_lease *prev, *next;     /* link: in the account's queue, or in the session's list */
	struct pool_account *account;       /* borrow: alive while a lease is */
	struct pool_session *session;       /* link: NULL while waiting */
	struct imap_credential *credential; /* own (a reference) */
	char *mailbox;                      /* own: UTF-8, INBOX in capitals; NULL: none */
	char *target;                       /* own: the same of what is appended to; NULL: nothing is */
	bool is_write, is_bulk, is_fresh_view;
	bool is_alone;   /* bulk: nobody joins it */
	bool is_stalled; /* bulk: its reader does not keep up */
	bool is_fresh;
	const struct pool_tenant_events *tenant_events; /* borrow; NULL: no tenant */
	enum lease_state state;
	struct gp_timer deadline;
	uint64_t waiting_since_ms, queue_ms;
	imap_lease_fn done;
	void *ctx; /* borrow */
};

struct lease_list {
	struct imap_lease *first, *last;
	size_t n;
};

struct pool_session {
	struct pool_session *prev, *next; /* link: in the account's list */
	struct pool_account *account;     /* borrow: alive while a session is */
	struct imap_session *session;     /* own */
	struct lease_list leases;         /* link */
	size_t n_holders;                 /* leases that need the mailbox */
	size_t n_alone;                   /* leases that nobody joins: 0 or 1 */
	size_t n_streams;                 /* bulk leases: they hold it for long */
	size_t n_running;                 /* those of them that are not stalled */
	struct imap_lease *tenant;        /* link: among the leases; no other lease comes */
	struct imap_call *select;         /* own, while it runs */
	struct gp_timer select_turn;      /* runs in the turn that began it: not a byte of it has left */
	char *mailbox;                    /* own: selected, or being selected; NULL: none */
	bool is_examine;
	bool is_ready, is_closed;
	bool is_exclusive;      /* a fresh view holds the mailbox: nobody joins it */
	bool is_reserved;       /* for a fresh view or an upload, as soon as those that hold the mailbox have ended */
	bool is_retiring;       /* takes no new lease */
	bool is_evicted;        /* retiring, to make room for a starved account */
	struct gp_timer tick;   /* idle: keep-alive, idle timeout; closed: frees it */
	struct imap_call *noop; /* own, while it runs */
	uint64_t opened_at_ms, idle_since_ms;
};

struct pool_account {
	struct pool_account *bucket_next;   /* link */
	struct imap_pool *pool;             /* borrow */
	struct imap_credential *credential; /* own (a reference) */
	struct pool_session *first_session; /* own */
	size_t n_sessions, n_connecting;
	struct lease_list waiting[POOL_N_QUEUES];
	size_t n_leases; /* waiting and attached */
	size_t cap;
	uint64_t cap_lowered_until_ms;
	struct pool_account *starved_prev, *starved_next; /* link: in the pool's list */
	bool is_starved;                                  /* waits for room in the pool */
	bool is_dispatching;
	struct gp_timer patience; /* a bulk lease or a fresh view has waited enough */
	struct gp_timer dispatch;
};

struct imap_pool {
	struct imap_pool_config config;
	struct pool_account *buckets[POOL_BUCKETS];
	size_t n_accounts, n_sessions, n_leases, n_waiting;
	struct pool_account *first_starved, *last_starved; /* link: longest waiting first */
	size_t n_starved, n_evicted;
	uint64_t n_logins, n_login_failures;
	uint64_t next_reconnect_ms; /* watches that come back take turns */
	size_t n_lively;            /* watches that probe */
	/* The server closes what was quiet for longer: learned, until then. 0: nothing was. */
	uint64_t watch_renew_ms, watch_renew_until_ms;
	bool is_draining;
	void (*drained)(void *ctx);
	void *drained_ctx; /* borrow */
	struct gp_timer drain_timer;
};

/* pool.c */
void pool_lease_list_push(struct lease_list *list, struct imap_lease *lease);
void pool_lease_list_remove(struct lease_list *list, struct imap_lease *lease);
bool pool_has_waiting(const struct pool_account *account);
/* Looks at the account's queues on the next turn of the loop. */
void pool_dispatch_soon(struct pool_account *account);
/* The account waits for room in the pool. */
void pool_starve(struct pool_account *account);
/* Room came free in the pool: whoever waits for it looks again. */
void pool_room_came_free(struct imap_pool *pool);
/* Fails every waiting lease of the account. */
void pool_fail_waiting(struct pool_account *account, const struct gp_error *error);
void pool_grant(struct imap_lease *lease);
/* Ends the program when the lease is attached to a session of another account. */
void pool_check_owner(const struct imap_lease *lease);
void pool_fail(struct imap_lease *lease, const struct gp_error *error);
void pool_account_release(struct pool_account *account);
/* A lease for a tenant: `done` comes as for any other. GP_POOL_FULL at once where there is
 * no room for one more, in the account or in the pool; GP_DEADLINE when it would have
 * waited longer. NULL when memory ends. `events` are borrowed, and have the lease's ctx. */
struct imap_lease *pool_tenant_start(struct imap_pool *pool, struct imap_credential *credential,
				     uint64_t deadline_at_ms, const struct pool_tenant_events *events,
				     imap_lease_fn done, void *ctx);
/* The tenant's session has this mailbox selected from now on; NIL: none. */
void pool_tenant_note_mailbox(struct imap_lease *lease, struct span mailbox);

/* pool_choose.c */
bool pool_session_is_usable(const struct pool_session *session);
/* Sessions past their age take no new lease. */
void pool_retire_aged(struct pool_account *account);
/* A session came idle: it goes if an account waits for room. False: it may stay. */
bool pool_evict_for_starved(struct pool_session *session);
/* NULL: the lease waits, for a session that is on its way, or that comes free. */
struct pool_session *pool_choose_short(struct pool_account *account, const struct imap_lease *lease);
struct pool_session *pool_choose_fresh(struct pool_account *account, const struct imap_lease *lease);
struct pool_session *pool_choose_bulk(struct pool_account *account, const struct imap_lease *lease);
struct pool_session *pool_choose_tenant(struct pool_account *account, const struct imap_lease *lease);
/* For a lease whose turn it is not: a session that streams hold comes free for nobody soon,
 * and who joins them takes it from nobody. */
struct pool_session *pool_choose_beside_stream(struct pool_account *account, const struct imap_lease *lease);
/* None waits any more that a session was kept for. */
void pool_unreserve(struct pool_account *account);
bool pool_has_room_for_tenant(struct pool_account *account);
/* Leases wait, and all the sessions there may be are tenants'. */
bool pool_is_blocked_by_tenants(struct pool_account *account);
void pool_put_out_tenant(struct pool_account *account);

/* pool_session.c */
bool pool_session_open(struct pool_account *account);
/* Attaches a waiting lease (already out of the queue) and grants it when the mailbox
 * is open; selects first if need be. */
void pool_session_attach(struct pool_session *self, struct imap_lease *lease);
void pool_session_detach(struct pool_session *self, struct imap_lease *lease, bool is_suspect);
/* Takes no new lease; logs out when the last one has ended. */
void pool_session_retire(struct pool_session *self);
bool pool_session_is_idle(const struct pool_session *self);
bool pool_session_serves(const struct pool_session *self, const struct imap_lease *lease);
void pool_session_destroy(struct pool_session *self);

#endif
