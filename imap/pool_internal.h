/*
 * What pool.c (leases, queues, choice) and pool_session.c (the life of one pooled
 * session) share.
 *
 * An account exists while it has a session or a lease. A lease is WAITING in its
 * account's queue, or attached to a session: SELECTING until the mailbox is open
 * there, then GRANTED. Sessions outlive their connection until the last lease ends.
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

struct pool_account;
struct pool_session;

enum lease_state { LEASE_WAITING, LEASE_SELECTING, LEASE_GRANTED };

struct imap_lease {
	struct imap_lease *prev, *next;     /* link: in the account's queue, or in the session's list */
	struct pool_account *account;       /* borrow: alive while a lease is */
	struct pool_session *session;       /* link: NULL while waiting */
	struct imap_credential *credential; /* own (a reference) */
	char *mailbox;                      /* own: UTF-8, INBOX in capitals; NULL: none */
	bool is_write, is_bulk;
	bool is_alone;   /* bulk: nobody joins it */
	bool is_stalled; /* bulk: its reader does not keep up */
	bool is_fresh;
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
	size_t n_bulk;                    /* bulk leases that are not stalled */
	struct imap_call *select;         /* own, while it runs */
	char *mailbox;                    /* own: selected, or being selected; NULL: none */
	bool is_examine;
	bool is_ready, is_closed;
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
	struct lease_list waiting[2]; /* short ones; bulk */
	size_t n_leases;              /* waiting and attached */
	size_t cap;
	uint64_t cap_lowered_until_ms;
	struct pool_account *starved_prev, *starved_next; /* link: in the pool's list */
	bool is_starved;                                  /* waits for room in the pool */
	bool is_dispatching;
	struct gp_timer patience; /* the bulk lease that has waited longest has waited enough */
	struct gp_timer dispatch;
};

struct imap_pool {
	struct imap_pool_config config;
	struct pool_account *buckets[POOL_BUCKETS];
	size_t n_accounts, n_sessions, n_leases, n_waiting;
	struct pool_account *first_starved, *last_starved; /* link: longest waiting first */
	size_t n_starved, n_evicted;
	uint64_t n_logins, n_login_failures;
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
/* Room came free in the pool: whoever waits for it looks again. */
void pool_room_came_free(struct imap_pool *pool);
/* A session came idle: it goes if an account waits for room. False: it may stay. */
bool pool_evict_for_starved(struct pool_session *session);
/* Fails every waiting lease of the account. */
void pool_fail_waiting(struct pool_account *account, const struct gp_error *error);
void pool_grant(struct imap_lease *lease);
void pool_fail(struct imap_lease *lease, const struct gp_error *error);
void pool_account_release(struct pool_account *account);

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
