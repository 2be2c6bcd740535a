/*
 * The pool: which session serves whom.
 *
 * A session belongs to exactly one credential. A *lease* is the right of one
 * operation to run calls on a session, with a mailbox selected (or none needed).
 * Several leases share a session when they want the same mailbox in a mode that it
 * is open in: their commands are pipelined. A session is re-SELECTed only when no
 * lease holds its mailbox.
 *
 * Choice, in this order: a session with the mailbox selected and few leases; an idle
 * one; a new one under the account's and the total cap; the least loaded one with
 * the mailbox selected; else the lease waits in the account's queue, in order, under
 * its deadline. Those behind it may join a stream, whose session it cannot hope for.
 *
 * A fresh view is a lease with a mailbox to itself: it is selected anew, on a session
 * where nobody holds one, and nobody joins. After half a second of waiting a session
 * without a stream is kept for it.
 *
 * Watches (imap/watch.h) have sessions of their own, at most all but one of an account's,
 * and give them up where the pool is full and a lease waits.
 *
 * Bulk leases (streams) have a queue of their own and one session each, at most all but
 * one of the account's: servers read a message from its start for every jump between
 * two of them, and short requests must find a session. A stream whose reader does not
 * keep up says so, and the next one of its mailbox goes onto its session; and who has
 * waited for POOL_BULK_PATIENCE_MS shares with another stream in any case. Only uploads
 * let nobody onto their session while they last, and join nobody: one is kept for them
 * when they have waited as long.
 *
 * Nothing is tried twice here: a lease whose session was lost under SELECT fails with
 * GP_LOST, and its owner knows whether to start again. Failures are the account's own: a server's connection limit
 * lowers the account's cap; GP_AUTH ends all leases that wait for that login. Idle sessions are kept alive by NOOP and
 * logged out after the idle timeout; sessions older than GP_MAX_SESSION_AGE_MS take no new lease, so that a changed
 * password takes hold.
 */
#ifndef GP_IMAP_POOL_H
#define GP_IMAP_POOL_H

#include "imap/calls.h"

struct imap_pool;
struct imap_lease;

struct imap_pool_config {
	struct imap_network *network;         /* borrow */
	const struct imap_endpoint *endpoint; /* borrow */
	struct gp_timers *timers;             /* borrow */
	size_t max_sessions_per_account, max_sessions;
	uint64_t connect_timeout_ms, idle_timeout_ms, silence_timeout_ms;
};

struct imap_pool *imap_pool_new(const struct imap_pool_config *config);
/* No lease may be left. Closes all sessions at once. */
void imap_pool_free(struct imap_pool **pool);
/* No new lease is granted (GP_DRAINING); sessions log out as their leases end.
 * `done` comes once, from the loop, when no session is left. */
void imap_pool_drain(struct imap_pool *pool, void (*done)(void *ctx), void *ctx);

struct imap_lease_spec {
	struct imap_credential *credential; /* a reference is taken */
	struct span mailbox;                /* UTF-8, copied; NIL: none is needed */
	bool is_write;                      /* SELECT rather than EXAMINE */
	bool is_bulk;
	bool is_alone; /* with is_bulk: no other lease joins its session (an upload lets nothing pass) */
	/* With is_alone and no mailbox: what messages are appended to, by its name; copied. A
	 * session that has it open read-only opens it for writing first where the server does
	 * not offer UNSELECT: Courier refuses APPEND there. */
	struct span target;
	/* The mailbox is selected anew for this very lease, on a session where no other lease
	 * holds a mailbox, and no other lease joins while it is held: what the session says of
	 * the mailbox is one moment's state. Needs a mailbox; to read. */
	bool is_fresh_view;
	uint64_t deadline_at_ms; /* GP_DEADLINE when it is not granted by then */
};

/* Exactly once, from the loop: granted (error NULL), or failed, and then the lease is
 * gone already. */
typedef void (*imap_lease_fn)(void *ctx, struct imap_lease *lease, const struct gp_error *error);

/* NULL when memory ends. */
struct imap_lease *imap_lease_start(struct imap_pool *pool, const struct imap_lease_spec *spec, imap_lease_fn done,
				    void *ctx);
/* Ends a granted lease, or cancels one that waits (then no callback comes). All its
 * calls must have ended or been cancelled. `is_suspect`: the server was silent, or the
 * stream's position is in doubt: the session takes no new lease and is closed when
 * nothing moves on it. Leaves NULL; NULL is a no-op. */
void imap_lease_end(struct imap_lease **lease, bool is_suspect);
/* The session of a granted lease, also after its connection was lost (calls then end
 * with GP_LOST). The program ends unless it is the lease's own credential's, and has the
 * lease's mailbox open. */
struct imap_session *imap_lease_session(const struct imap_lease *lease);
/* Whose it is; borrowed. */
const struct imap_credential *imap_lease_credential(const struct imap_lease *lease);
/* A bulk lease whose holder cannot go on now (true), or can again. */
void imap_lease_set_stalled(struct imap_lease *lease, bool is_stalled);
/* Of a granted lease: true when the session has no mailbox selected, or selected it for this
 * very lease or in its turn of the loop, so that its state is the server's of this moment.
 * Else a NOOP brings it up to date: servers answer STATUS of the selected mailbox from the
 * session's own view of it (RFC 9051 section 6.3.11 advises against asking). */
bool imap_lease_is_fresh(const struct imap_lease *lease);
/* How long it waited for a session to be free, not counting connecting and selecting. */
uint64_t imap_lease_queue_ms(const struct imap_lease *lease);

/* The mailbox was deleted, renamed or made, or is about to be: sessions of this
 * credential that have it selected, or one below it (`delimiter` 0: only it), take no new
 * lease, and log out at once or with their last one. */
void imap_pool_forget_mailbox(struct imap_pool *pool, const struct imap_credential *credential, struct span mailbox,
			      char delimiter);
/* The session of a granted lease has it open, or one below it, or is about to: whoever of
 * its leases wanted that. */
bool imap_lease_has_open(const struct imap_lease *lease, struct span mailbox, char delimiter);

struct imap_pool_stats {
	size_t n_accounts, n_sessions, n_leases, n_waiting;
	uint64_t n_logins, n_login_failures;
};

void imap_pool_stats(const struct imap_pool *pool, struct imap_pool_stats *stats_out);

#endif
