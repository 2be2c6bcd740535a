/*
 * One mailbox as JSON: what GET /mailboxes/{mailbox} replies with, and what a write to
 * a mailbox (api/mailbox_write.c) looks at before and replies with after.
 *
 * The reading is a step of a job without a selected mailbox. It may run several times
 * in one job, one after the other; what it found belongs to the job until it is taken.
 */
#ifndef GP_API_MAILBOXES_H
#define GP_API_MAILBOXES_H

#include "api/job.h"
#include "api/query.h"
#include "api/role.h"

/* Embedded as the first member of a handler's own struct. */
struct api_mailbox_job {
	struct api_job job; /* first */
	/* what is read */
	struct api_mailbox_ref ref;
	uint64_t fields;
	unsigned status_items;
	void (*on_mailbox)(struct api_mailbox_job *self);
	/* what came */
	json_t *found;      /* own: NULL: there is no such mailbox */
	uint64_t open;      /* the members that the whole list fills in */
	char delimiter;     /* of the mailbox read last; 0: none */
	bool is_subscribed; /* likewise */
};

/* `fields=`: all members unless it is given. */
uint64_t api_mailbox_fields_read(struct api_query *query);
/* Reads one; then on_mailbox() comes, with job.mailbox_name resolved and `found` set or
 * NULL. A role that no mailbox has, and what fails, is replied to here. */
void api_mailbox_read(struct api_mailbox_job *self, const struct api_mailbox_ref *ref, uint64_t fields,
		      void (*on_mailbox)(struct api_mailbox_job *self));
/* Ownership moves to the caller. */
json_t *api_mailbox_take(struct api_mailbox_job *self);
/* One that is there, though the server does not list it: new reference. */
json_t *api_mailbox_unlisted(struct api_mailbox_job *self);
/* One of a whole list that is at hand, with all members: new reference, NULL when memory
 * ends. `sorted` are the list's names, ascending by their bytes. */
json_t *api_mailbox_json(const struct imap_mailbox *mailbox, const struct api_role *role, const struct span *sorted,
			 size_t n_sorted, bool has_qresync, struct gp_arena *arena);
/* What its members need of STATUS. */
unsigned api_mailbox_status_items(void);
/* Frees what was found: for reset and free of the handler. */
void api_mailbox_forget(struct api_mailbox_job *self);

#endif
