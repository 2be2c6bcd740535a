/*
 * A change of every message that a request picks: PATCH and DELETE of …/messages.
 *
 *   [LIST]               DELETE: which mailbox is the trash
 *   UID SEARCH           which messages there are; with filters that IMAP cannot search
 *   [UID FETCH]          for, each row is tested. Then it is known what is meant: with
 *                        dryRun that is the reply, past API_BULK_MAX a refusal
 *   in runs of API_BULK_RUN messages, the newest first, one run after the other:
 *     [look]             unchangedSince, where nothing is stored
 *     STORE              keywords set, keywords cleared; then a look at what was kept
 *     MOVE               or COPY, STORE \Deleted, UID EXPUNGE; then a look at what is gone
 *
 * Each message ends as changed, or with a problem. A run that the server refused says so
 * of its messages, and the next one follows, unless the refusal has a code, which speaks
 * of the mailbox or the account, or some in a row were refused. When the answer is lost, the run under way is unknown
 * as far as it is, and the rest was not tried. Nothing is sent twice. A request of which
 * nothing was decided fails as a whole.
 *
 *   api/message_bulk.c         the request, the choice, the reply
 *   api/message_bulk_run.c     the runs
 *   api/message_bulk_result.c  what became of which message
 */
#ifndef GP_API_MESSAGE_BULK_H
#define GP_API_MESSAGE_BULK_H

#include "api/filter.h"
#include "api/message_change.h"

#define API_BULK_MAX 100000     /* messages of one request */
#define API_BULK_RUN 500        /* messages of one run: each set of theirs fits one command */
#define API_BULK_MAX_NAMED 1000 /* UIDs that `uid=` names one by one: each that is not there is a problem */

/* ---- api/message_bulk_result.c ---- */

struct api_bulk_group;

struct api_bulk_result {
	struct imap_uidset changed;    /* own */
	struct imap_uidset remains;    /* own: copied, and marked as deleted in the source */
	struct api_bulk_group *groups; /* own: messages with the same problem */
	size_t n_groups, groups_size;
	uint32_t uidvalidity;         /* of the target */
	struct imap_copy_pair *pairs; /* own: where moved messages are, as far as it is known */
	size_t n_pairs, pairs_size;
	enum gp_status failure; /* memory ended: it cannot be told */
};

void api_bulk_result_init(struct api_bulk_result *result);
void api_bulk_result_deinit(struct api_bulk_result *result);
void api_bulk_result_add_changed(struct api_bulk_result *result, const struct imap_uidset *uids);
void api_bulk_result_add_remains(struct api_bulk_result *result, const struct imap_uidset *uids);
/* `detail` is borrowed as long as the result lives; NULL: the error's. */
void api_bulk_result_add_problem(struct api_bulk_result *result, const struct imap_uidset *uids,
				 enum api_problem problem, const struct gp_error *error, const char *detail,
				 bool is_outcome_unknown);
void api_bulk_result_add_copies(struct api_bulk_result *result, const struct imap_copies *copies);
/* Nothing has been told of any message. */
bool api_bulk_result_is_empty(const struct api_bulk_result *result);
/* {"matched","updated","notUpdated"} or, for a deletion, {"matched","destroyed",
 * "notDestroyed"}; "remains" and "moved" where there is something to say. */
json_t *api_bulk_result_json(const struct api_bulk_result *result, uint64_t n_matched, bool is_for_deletion,
			     struct span target);

/* ---- the job ---- */

struct api_bulk;
typedef void (*api_bulk_fn)(struct api_bulk *self);

/* Where a run stands: what is known of it when no more answers come. */
enum api_bulk_stage {
	API_BULK_BEFORE, /* nothing has been sent of this run */
	API_BULK_STORING,
	API_BULK_STORED, /* and it is looked at what was kept */
	API_BULK_MOVING,
	API_BULK_MOVED, /* and it is looked at what is gone */
	API_BULK_COPYING,
	API_BULK_COPIED,   /* and it is looked at what was there */
	API_BULK_REMOVING, /* marked as deleted, then expunged */
};

struct api_bulk {
	struct api_job job; /* first */

	/* what is asked */
	struct api_filter filter; /* own */
	struct api_keyword_changes keywords;
	struct span target; /* UTF-8; NIL: none */
	bool wants_trash;   /* the target is the mailbox with that role */
	struct api_trash trash;
	bool is_for_deletion, is_dry_run, is_all;
	bool has_unchanged_since;
	uint64_t unchanged_since;

	/* one run of the job */
	struct gp_arena scratch;   /* own: of rows, while they are tested */
	struct imap_uidset picked; /* own: what is there of what is meant */
	uint64_t n_missing;        /* named one by one, and not there */
	struct api_bulk_result result;
	struct gp_error error; /* of what was refused, until it has been looked at */
	bool has_error;
	unsigned n_refused; /* runs in a row */
	struct span source; /* borrow: the mailbox's name */
	bool is_permanent;  /* removed, not moved */

	/* one run of messages */
	struct imap_uidset run;                     /* own: what is still to be done */
	struct imap_uidset confirmed;               /* own: the server said that it copied them */
	struct imap_uidset there, lacking, changed; /* own: what a look saw */
	uint64_t below;                             /* messages with a UID from here on have been dealt with */
	uint64_t modseq;                            /* for UNCHANGEDSINCE: raised by our own changes */
	enum api_bulk_stage stage;
	api_bulk_fn next; /* after the step under way */
};

/* Changes what was picked, in runs, and replies. */
void api_bulk_change(struct api_bulk *self);
void api_bulk_reply(struct api_bulk *self);
void api_bulk_run_reset(struct api_bulk *self);

#endif
