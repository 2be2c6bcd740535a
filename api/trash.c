#include "api/trash.h"

#include "api/app.h"
#include "api/role.h"

bool api_trash_is_wanted(struct api_request *request)
{
	const char *role = request->mailbox.role;
	bool is_permanent = api_query_consent(&request->query, "permanent");

	return !is_permanent && !(role && strcmp(role, "trash") == 0);
}

static void on_mailboxes(void *ctx, const struct gp_error *error, const struct imap_mailbox *mailboxes,
			 size_t n_mailboxes)
{
	struct api_trash *self = ctx;
	struct api_job *job = self->job;

	if (!api_job_check(job, error)) {
		return;
	}
	const struct imap_mailbox *trash =
		api_role_mailbox(job->app->roles, api_role_find(SPAN_LIT("trash")), mailboxes, n_mailboxes);
	if (!trash) {
		api_job_fail(job, API_PROBLEM_CONFLICT, NULL,
			     "no mailbox has the role 'trash': with permanent=1 what is deleted is gone for good");
		return;
	}
	if (!gp_arena_copy(&job->exchange->arena, trash->name, self->name_out)) {
		api_job_fail(job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	self->found(job);
}

void api_trash_find(struct api_trash *self, struct api_job *job, struct span *name_out,
		    void (*found)(struct api_job *job))
{
	const struct imap_list_spec list = {.pattern = SPAN_LIT("*")};

	*self = (struct api_trash){.job = job, .found = found, .name_out = name_out};
	job->call = imap_list_start(api_job_session(job), &list, on_mailboxes, self);
	api_job_started(job, job->call);
}
