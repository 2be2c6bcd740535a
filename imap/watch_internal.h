/*
 * What the watch's files share.
 *
 *	watch.c        the object, what it tells, when it tries again
 *	watch_line.c   sessions that are told of changes: NOTIFY, IDLE
 *	watch_round.c  STATUS of what no server tells of
 *
 * The life of a watch:
 *
 *	STARTING → UP ⇄ STARTING (logs in anew, or watches other mailboxes)
 *	   ↓ ↑      ↓
 *	 WAITING ←──┘        a failure, and the time before it tries again
 *	   ↓
 *	  OVER               nothing more is told
 *
 * Calls, leases and the pool's events end in the timer `turn` where they would take
 * memory from under whoever called.
 */
#ifndef GP_IMAP_WATCH_INTERNAL_H
#define GP_IMAP_WATCH_INTERNAL_H

#include "base/limits.h"
#include "imap/pool_internal.h"
#include "imap/watch.h"

#define WATCH_STATE_MAP(X) X(STARTING) X(UP) X(WAITING) X(OVER)

enum watch_state {
#define X(name) WATCH_##name,
	WATCH_STATE_MAP(X)
#undef X
};

enum watch_manner {
	WATCH_BY_NOTIFY,
	WATCH_BY_IDLE,
	WATCH_BY_POLLING, /* by short leases */
};

/* A session that the watch has for itself. */
struct watch_line {
	struct imap_watch *watch;  /* link */
	struct imap_lease *lease;  /* own: a tenant's; NULL: no session, nor on the way to one */
	struct imap_call *call;    /* own: NOTIFY, EXAMINE or NOOP, while it runs */
	struct imap_call *idle;    /* own: while it runs */
	const char *mailbox;       /* borrow, from `names` or a literal: what it has open; NULL: none */
	bool is_told;              /* what happens to `mailbox` is told */
	bool is_doubted;           /* the server warns: perhaps it is not */
	uint64_t examined_at_ms;   /* `mailbox` was opened */
	uint64_t sent_at_ms;       /* the last IDLE, NOTIFY or NOOP */
	uint64_t look_ms;          /* after it IDLE is begun anew; doubles */
	uint64_t idle_again_at_ms; /* 0: not put off */
	uint64_t ends_at_ms;       /* then it logs in anew */
};

/* What STATUS said of a mailbox the last time: enough to see that it is another now. */
struct watch_entry {
	uint64_t name, counts; /* hashes */
	unsigned attributes;
};

struct watch_name {
	struct imap_watch *watch; /* link */
	char *name;               /* own: UTF-8, INBOX in capitals */
	struct imap_call *ask;    /* own: STATUS, while it runs */
	bool is_notified;         /* NOTIFY has told of it */
};

/* STATUS of all that is not told. */
struct watch_round {
	struct imap_lease *lease; /* own: WATCH_BY_POLLING */
	struct imap_call *call;   /* own: NOOP or LIST, while it runs */
	size_t n_asked;           /* names whose STATUS runs */
	bool is_running;
	bool has_baseline; /* `entries` are of an earlier round */
	uint64_t began_at_ms, next_at_ms, blind_at_ms;
	bool is_blind_due;
	struct watch_entry *entries; /* own; ascending by name when whole */
	struct watch_entry *earlier; /* own: those of the round before, while one runs */
	size_t n_entries, n_earlier, size;
};

struct watch_news {
	char *mailbox; /* own */
	bool has_status;
	struct imap_status status; /* mailbox: NIL */
};

struct imap_watch {
	struct imap_pool *pool;                 /* borrow */
	struct imap_credential *credential;     /* own (a reference) */
	const struct imap_watch_events *events; /* borrow */
	void *ctx;                              /* borrow, for events */

	bool is_all;
	struct watch_name *names; /* own; none when is_all */
	size_t n_names;

	enum watch_state state;
	enum watch_manner manner;
	bool cannot_notify, cannot_idle; /* it said so when it was tried */
	struct watch_line lines[GP_WATCH_SESSIONS];
	struct watch_round round;
	uint64_t retry_at_ms; /* BY_POLLING: asks for a session again; 0: never */
	unsigned n_failures;
	unsigned n_refusals; /* the mailbox of line 0 was not there, so often */
	uint64_t up_at_ms;
	uint64_t lively_until_ms; /* it probes until then */
	bool is_lively;           /* counted in the pool */

	/* what is told with the next turn */
	struct watch_news *news; /* own */
	size_t n_news, news_size;
	bool is_listed, is_up_due, is_left;
	struct gp_error failure; /* GP_OK: none */

	unsigned n_entered; /* callbacks under way */
	bool is_stopped;    /* freed when n_entered is 0 */
	struct gp_timer turn, tick;
};

/* ---- watch.c ---- */

uint64_t watch_now_ms(const struct imap_watch *watch);
/* Between 0 and `most_ms`, any. */
uint64_t watch_random_ms(uint64_t most_ms);
/* To be told with the next turn of the loop. */
void watch_note_changed(struct imap_watch *watch, struct span mailbox, const struct imap_status *status);
void watch_note_listed(struct imap_watch *watch);
/* All that is watched is told from now on. */
void watch_is_up(struct imap_watch *watch);
/* With the next turn it is down. */
void watch_fail(struct imap_watch *watch, const struct gp_error *error);
void watch_fail_with(struct imap_watch *watch, enum gp_status status, const char *text);
/* Something is due at another time. */
void watch_schedule(struct imap_watch *watch);

/* ---- watch_line.c ---- */

/* Asks for a session; the manner follows from what it can do. */
void watch_line_open(struct imap_watch *watch);
void watch_line_close(struct watch_line *line);
/* Keeps the session, and asks nothing of it. */
void watch_line_forget(struct watch_line *line);
/* On a session: makes it tell, from the beginning. */
void watch_line_begin(struct watch_line *line);
/* Goes on in IDLE, when nothing else is under way on it. */
void watch_line_resume(struct watch_line *line);
/* Looks whether it probes, and how many do. */
void watch_line_settle(struct imap_watch *watch);
/* When tick() is to be called; UINT64_MAX: not for itself. */
uint64_t watch_line_due_ms(const struct watch_line *line);
void watch_line_tick(struct watch_line *line);

/* ---- watch_round.c ---- */

/* Whether there is anything to ask for. */
bool watch_round_is_needed(const struct imap_watch *watch);
void watch_round_begin(struct imap_watch *watch);
/* Forgets everything. */
void watch_round_reset(struct imap_watch *watch);

#endif
