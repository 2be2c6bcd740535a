/*
 * A sync: from an old state of the selected mailbox to its state of this moment, and what
 * happened in between. `/changes` is one sync, and an event is what a sync found.
 *
 * The moment is that of the lease: one with is_fresh_view, of which nothing was asked
 * yet. What happens later, while the sync runs, is not in what it says and comes with the
 * next one; nothing comes twice. How, by what the server can:
 *
 *   QRESYNC    UID FETCH 1:* (CHANGEDSINCE n VANISHED), and UID SEARCH of the new UIDs
 *   CONDSTORE  UID FETCH 1:* (CHANGEDSINCE n), and UID SEARCH of all UIDs
 *   neither    UID FETCH 1:* (UID FLAGS): API_SYNC_MAX_FLAGS messages at most
 *
 * Several syncs from different states to the same moment, one after the other, share a
 * `struct api_sync_moment`: what was fetched for the first serves the others, and all of them
 * end in the same state. So does the rest of a sync that was cut at its limit.
 *
 * created: UIDs that the old state does not know. updated: those that it knows and whose
 * flags changed. destroyed: those that it knows and that are gone. passed, with QRESYNC:
 * those that came and went in between; they are for who has read the mailbox meanwhile, as
 * clients of an event stream do when it begins. They are not counted, and may be millions.
 * Sets are ranges and never expanded here; together they name at most `max_changes`
 * messages, unless more of them were known as of several moments before and are too many
 * to be told apart (see API_STATE_MAX_PIECES).
 *
 * The caller holds the lease and ends it after done(), or cancels the sync first.
 */
#ifndef GP_API_SYNC_H
#define GP_API_SYNC_H

#include "api/state.h"
#include "imap/calls.h"

#define API_SYNC_MAX_CHANGES 10000
#define API_SYNC_MAX_FLAGS 20000

/* Zeroed memory is one that is not loaded. */
struct api_sync_moment {
	struct api_state state; /* own: kind API_STATE_NONE until it is loaded */
	uint32_t exists;        /* as SELECT told it */
};

void api_sync_moment_deinit(struct api_sync_moment *moment);

struct api_changes {
	struct imap_uidset created, updated, destroyed, passed; /* own */
	bool has_more;                                          /* cut at max_changes: go on from `state` */
	struct api_state state;                                 /* own: after these changes */
};

struct api_sync;

/*
 * `changes` is borrowed, NULL on error; what the callback wants to keep it may move out.
 * Beside the failures of the connection:
 *   GP_UIDVALIDITY  the old state is of another UIDVALIDITY
 *   GP_STALE        from the old state nothing can be told: it only detects and something
 *                   changed, or it is of another kind than this server's, or ahead of it
 *   GP_LIMIT        more than API_SYNC_MAX_FLAGS messages, and no CONDSTORE
 * With the first two the moment is loaded all the same: read anew and go on from it.
 */
typedef void (*api_sync_fn)(void *ctx, const struct gp_error *error, struct api_changes *changes);

/* `since` is copied; NULL: only the state is wanted. `moment` is borrowed until done().
 * NULL when memory ends. */
struct api_sync *api_sync_start(struct imap_session *session, struct api_sync_moment *moment,
				const struct api_state *since, uint64_t max_changes, api_sync_fn done, void *ctx);
/* No callback comes any more. Leaves NULL; NULL is a no-op. */
void api_sync_cancel(struct api_sync **sync);

void api_changes_deinit(struct api_changes *changes);
/* Nothing in it. */
bool api_changes_is_empty(const struct api_changes *changes);

#endif
