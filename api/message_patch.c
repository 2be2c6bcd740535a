/*
 * PATCH …/messages/{uid}: {"keywords":{…},"mailbox":"…"}. Keywords first, then the move,
 * so that the message arrives with them.
 */
#include "api/body.h"
#include "api/message_change.h"

static void move_or_show(struct api_change *self)
{
	if (span_is_nil(self->target)) {
		api_change_show(self);
		return;
	}
	if (self->lacks_keyword) {
		api_job_fail(&self->job, API_PROBLEM_UNPROCESSABLE, NULL,
			     "the IMAP server did not keep every keyword, and the message was not moved");
		return;
	}
	if (self->keywords.n_set + self->keywords.n_clear > 0) {
		api_change_note(self, "the keywords were changed");
	}
	api_change_move(self);
}

static void patch(struct api_change *self)
{
	api_change_store(self, move_or_show);
}

static bool read_body(struct api_change *self, json_t *body)
{
	static const char *const members[] = {"keywords", "mailbox"};
	struct gp_error error = {.status = GP_OK};
	json_t *keywords = json_object_get(body, "keywords");
	json_t *mailbox = json_object_get(body, "mailbox");

	if (api_body_check_members(body, NULL, members, sizeof members / sizeof *members, &error) != GP_OK) {
		api_reply_error(self->job.exchange, &error);
		return false;
	}
	return (!keywords || api_change_read_keywords(self->job.exchange, keywords, &self->keywords)) &&
	       (!mailbox || api_change_read_target(self->job.exchange, mailbox, &self->target));
}

void api_message_patch(struct api_request *request)
{
	struct api_change *self = api_change_new(request, patch);

	if (!self) {
		return;
	}
	api_change_read_fields(self, &request->query);
	json_t *body = api_body_object(request->exchange);
	if (!body) {
		return;
	}
	bool is_good = read_body(self, body);
	json_decref(body);
	if (is_good) {
		api_change_start(request, self);
	}
}
