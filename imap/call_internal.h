/*
 * What every typed call is made of (imap/call.c): its commands, its first error,
 * and the rule that done() comes exactly once, from the loop.
 *
 * A call sends *steps*, one command each. Its advance() sends what can be sent now
 * and says by `is_complete` when no more will follow; it is run at the start, and
 * again each time something has moved. The call ends when it is complete, or has
 * failed, and no step is left. A call that has nothing to send ends by a timer.
 *
 * Callbacks of the user run inside enter and leave: a call that is cancelled in one
 * is freed when the last of them has returned, so that code after a callback may
 * still look at `is_cancelled`.
 */
#ifndef GP_IMAP_CALL_INTERNAL_H
#define GP_IMAP_CALL_INTERNAL_H

#include "base/arena.h"
#include "base/limits.h"
#include "imap/calls.h"

/* What one call may keep: copies of its spec and of what came. */
#define IMAP_CALL_MAX_ARENA GP_MAX_IMAP_PARSE_ARENA

struct imap_call_step;

struct imap_call_ops {
	/* Sends steps; GP_NO_MEMORY and other failures end the call. */
	enum gp_status (*advance)(struct imap_call *call);
	/* May call the user. NULL: only the tagged answer matters. */
	void (*untagged)(struct imap_call_step *step, const struct imap_response *response);
	/* The step's command has ended (step->command is gone): takes the result, calls
	 * imap_call_fail() if it is a failure. May call the user. */
	void (*step_done)(struct imap_call_step *step, const struct imap_result *result);
	/* Calls the user's done(); `error` is NULL on success. */
	void (*end)(struct imap_call *call, const struct gp_error *error);
	/* Frees what the call's own type holds outside the arena; may be NULL. */
	void (*deinit)(struct imap_call *call);
};

/* The first member of every call. */
struct imap_call {
	struct imap_session *session;    /* borrow: outlives the call */
	const struct imap_call_ops *ops; /* borrow: static */
	struct imap_call_step *steps;    /* own: commands without a tagged answer yet */
	size_t n_steps;
	struct gp_arena arena;
	struct gp_error error; /* the first; GP_OK: none */
	struct gp_timer timer; /* ends a call that has nothing to send */
	unsigned n_entered;    /* callbacks under way */
	bool is_complete;      /* set by advance(): no step will follow */
	bool is_cancelled;     /* freed when n_entered is 0 */
	bool is_ended;         /* done() is being called */
};

/* One command of a call. */
struct imap_call_step {
	struct imap_call *call;             /* link */
	struct imap_call_step *prev, *next; /* link */
	struct imap_command *command;       /* own */
	struct imap_uidset uids;            /* borrow: a part of a set of the call's; never freed */
	int role;                           /* for calls that send commands of several kinds */
	size_t n_rows;                      /* rows of the step's own that came */
	uint64_t n_expunged;                /* imap_selected.n_expunged when it was submitted */
	void *item;                         /* borrow: what the step is about, in the call's type */
};

/* `call` is zeroed memory from calloc(), embedded as the first member of its type. */
void imap_call_init(struct imap_call *call, struct imap_session *session, const struct imap_call_ops *ops);
/* First advance. Gives the call back, or frees it and gives NULL when memory ended.
 * A call that was failed before (imap_call_fail_with) ends from the loop. */
struct imap_call *imap_call_begin(struct imap_call *call);
/* Frees a call that was never begun. */
void imap_call_discard(struct imap_call *call);

/* The first failure wins. Steps in flight are waited for, nothing more is sent. */
void imap_call_fail(struct imap_call *call, const struct gp_error *error);
void imap_call_fail_with(struct imap_call *call, enum gp_status status, const char *text);
/* For an allocation of `len` bytes from the arena that failed: GP_LIMIT or GP_NO_MEMORY. */
void imap_call_fail_arena(struct imap_call *call, size_t len);
/* Takes all commands back: their answers do not matter any more. Steps are freed. */
void imap_call_drop_steps(struct imap_call *call);
/* Something moved outside of a step's callback: runs advance(), and ends the call from
 * the loop when that is due. */
void imap_call_poke(struct imap_call *call);

/* A step with its command's name written. NULL when memory ends. `spec` is copied but
 * for its callbacks, which the step fills in, and `uids`: step->uids is used when
 * spec->uids is set, and may be narrowed until the submit. */
struct imap_call_step *imap_call_step_new(struct imap_call *call, const char *name,
					  const struct imap_command_spec *spec);
struct imap_writer *imap_call_step_writer(struct imap_call_step *step);
void imap_call_step_submit(struct imap_call_step *step);
/* The ranges [from, to) of `set`, borrowed. */
struct imap_uidset imap_call_uidset_part(const struct imap_uidset *set, size_t from, size_t to);
/* A part of `set` from *at on, as much as one command takes, for IMAP_COMMAND_FETCH:
 * writes it, sets step->uids, and moves *at (to the end when it cannot be written). */
void imap_call_step_uids(struct imap_call_step *step, const struct imap_uidset *set, size_t *at);

/* ---- STATUS, also inside LIST (imap/call_status.c) ---- */

/* Those of `items` that the server can be asked for. */
unsigned imap_status_possible(const struct imap_session *session, unsigned items);
/* "(MESSAGES UNSEEN)" */
void imap_status_write_items(struct imap_writer *writer, unsigned items);
/* Adds what `from` holds; the mailbox's id is copied into the arena. False when that
 * cannot be had. An id that is none (RFC 8474) is dropped. */
bool imap_status_merge(struct imap_status *into, const struct imap_status *from, struct gp_arena *arena);

/* ---- searches (imap/call_search.c) ---- */

/* A deep copy in the arena that a server can be asked: "ALL" for no term, and a term
 * that matches nothing for an empty set of UIDs. False when memory ends. */
bool imap_search_copy(struct gp_arena *arena, const struct imap_search *from, struct imap_search *copy_out);
/* An empty set of UIDs is among the terms that must all hold. */
bool imap_search_matches_nothing(const struct imap_search *search);
/* Tells the writer how this server names ids. */
void imap_search_prepare(const struct imap_session *session, struct imap_writer *writer);
/* A refusal of the charset becomes GP_UNSUPPORTED with BADCHARSET. */
struct gp_error imap_error_for_search(const struct gp_error *error, bool has_charset);

/* ---- reading errors ---- */

bool imap_error_has_code(const struct gp_error *error, const char *code);
bool imap_error_has_text(const struct gp_error *error, const char *needle);
/* A NO that says that messages are gone, and not that something failed. */
bool imap_error_is_expunged(const struct gp_error *error);
/* The text says that there is no such mailbox, and the code not that it may not be seen. */
bool imap_error_says_no_mailbox(const struct gp_error *error);
/* A NO about a mailbox that is not there: GP_NOT_FOUND takes the place of GP_NO. */
struct gp_error imap_error_for_mailbox(const struct gp_error *error);
/* The same of APPEND, where RFC 3501 has the code TRYCREATE for it. */
struct gp_error imap_error_for_append(const struct gp_error *error);

#endif
