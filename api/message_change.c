#include "api/message_change.h"

#include <stdarg.h>
#include <stdio.h>

#include "api/conditional.h"
#include "api/query.h"

#define MAX_NOTE 256

static struct api_change *change_of(void *ctx)
{
	return ctx;
}

static void change_reset(struct api_job *job)
{
	struct api_change *self = change_of(job);

	imap_uidset_deinit(&self->uids);
	gp_buffer_deinit(&self->message);
	self->has_row = self->is_clearing = self->lacks_keyword = self->is_permanent = self->remains =
		self->keeps_keyword = self->has_moved = false;
	self->modseq = self->unchanged_since = 0;
	self->copied = (struct imap_copied){0, 0};
	self->etag[0] = '\0';
}

/* What a caller who came too late needs to decide anew: {"uid","uidValidity","modseq","keywords"}. */
struct span api_message_current(struct api_job *job, const struct imap_fetch *row)
{
	struct gp_arena *arena = &job->exchange->arena;
	const uint64_t members =
		API_MEMBER_BIT(UID) | API_MEMBER_BIT(UIDVALIDITY) | API_MEMBER_BIT(MODSEQ) | API_MEMBER_BIT(KEYWORDS);
	struct api_message_view view;
	struct api_json_writer writer;
	struct gp_buffer text;
	struct span current = SPAN_NIL;
	enum gp_status status =
		api_message_view_init(&view, members, arena, job->mailbox_name, api_job_selected(job)->uidvalidity);

	gp_buffer_init(&text, GP_MAX_JSON_BODY);
	if (status == GP_OK) {
		api_json_writer_init(&writer, &text, false, 0);
		api_json_writer_object(&writer);
		api_message_write_facts(&writer, &view, row);
		api_json_writer_object_end(&writer);
		status = api_json_writer_finish(&writer);
	}
	if (status == GP_OK && !gp_arena_copy(arena, gp_buffer_span(&text), &current)) {
		current = SPAN_NIL;
	}
	gp_buffer_deinit(&text);
	return current;
}

void api_change_on_row(void *ctx, const struct imap_fetch *row)
{
	struct api_change *self = change_of(ctx);
	uint32_t uidvalidity = api_job_selected(&self->job)->uidvalidity;

	self->has_row = true;
	self->modseq = row->items & IMAP_ITEM_MODSEQ ? row->modseq : 0;
	if (api_etag_of_message(self->job.exchange->account, uidvalidity, row, self->etag) != GP_OK) {
		self->etag[0] = '\0';
	}
	if (row->items & IMAP_ITEM_FLAGS && !span_is_nil(self->if_match)) {
		self->job.exchange->current = api_message_current(&self->job, row);
	}
	if (row->items & IMAP_ITEM_FLAGS) {
		self->lacks_keyword = false;
		for (size_t i = 0; i < self->keywords.n_set; i++) {
			self->lacks_keyword |= !api_row_has_flag(row, self->keywords.set[i]);
		}
		self->keeps_keyword = false;
		for (size_t i = 0; i < self->keywords.n_clear; i++) {
			self->keeps_keyword |= api_row_has_flag(row, self->keywords.clear[i]);
		}
	}
}

void api_change_fail_not_found(struct api_change *self)
{
	api_job_fail_no_message(&self->job, self->uid);
}

void api_change_fail_precondition(struct api_change *self)
{
	struct api_exchange *exchange = self->job.exchange;

	exchange->current_etag = self->etag[0] != '\0' ? gp_arena_strdup(&exchange->arena, span_of(self->etag)) : NULL;
	api_job_fail(&self->job, API_PROBLEM_PRECONDITION_FAILED, NULL,
		     "the message has been changed since: read it again");
}

static void fail_unseen(struct api_job *job)
{
	struct api_change *self = change_of(job);

	self->etag[0] = '\0';
	job->exchange->current = SPAN_NIL;
	api_change_fail_precondition(self);
}

void api_change_fail_modified(struct api_change *self)
{
	/* That nothing was stored is known, whatever becomes of the look. */
	self->job.report_less = fail_unseen;
	api_change_look(self, api_change_fail_precondition, api_change_fail_not_found);
}

bool api_change_is_allowed(struct api_change *self)
{
	if (!api_job_selected(&self->job)->is_read_only) {
		return true;
	}
	api_job_fail(&self->job, API_PROBLEM_FORBIDDEN, NULL, "the mailbox is read-only for this account");
	return false;
}

void api_change_note(struct api_change *self, const char *format, ...)
{
	char text[MAX_NOTE];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	const char *before = self->job.so_far;
	const char *note = gp_arena_printf(&self->job.exchange->arena, "%s%s%s", before ? before : "",
					   before ? ", and " : "", text);
	if (note) {
		self->job.so_far = note;
	}
}

bool api_change_is_guarded(const struct api_change *self)
{
	return !span_is_nil(self->if_match) && self->modseq > 0;
}

/* ---- the message as it now is ---- */

static enum gp_status write_message(struct api_change *self, const struct imap_fetch *row)
{
	struct api_exchange *exchange = self->job.exchange;
	struct api_message_view view;
	struct api_message_parts parts;
	struct api_json_writer writer;
	enum gp_status status = api_message_view_init(&view, self->members, &exchange->arena, self->job.mailbox_name,
						      api_job_selected(&self->job)->uidvalidity);

	if (status == GP_OK) {
		status = api_message_parts(row, &exchange->arena, &parts);
	}
	if (status != GP_OK) {
		return status;
	}
	gp_buffer_init(&self->message, GP_MAX_JSON_REPLY);
	api_json_writer_init(&writer, &self->message, exchange->is_pretty, 0);
	api_json_writer_object(&writer);
	api_message_write_facts(&writer, &view, row);
	api_message_write_content(&writer, &view, row, &parts);
	api_json_writer_object_end(&writer);
	return api_json_writer_finish(&writer);
}

static void on_result_row(void *ctx, const struct imap_fetch *row)
{
	struct api_change *self = change_of(ctx);

	if (!self->has_row) {
		api_change_on_row(self, row);
		self->written = write_message(self, row);
	}
}

static void on_result(void *ctx, const struct gp_error *error)
{
	struct api_change *self = change_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (self->job.report_less && (!self->has_row || self->written != GP_OK)) {
		self->job.report_less(&self->job);
		return;
	}
	if (!self->has_row) {
		api_change_fail_not_found(self);
		return;
	}
	if (!self->has_moved && self->lacks_keyword) {
		api_job_fail(&self->job, API_PROBLEM_UNPROCESSABLE, NULL,
			     "the IMAP server did not keep every keyword: this mailbox allows no new ones");
		return;
	}
	struct api_exchange *exchange = self->job.exchange;
	enum gp_status written = self->written;
	struct gp_buffer message = self->message; /* taken: the job's end must not free it */
	gp_buffer_init(&self->message, GP_MAX_JSON_REPLY);
	if (written == GP_OK) {
		api_header_add(exchange, "ETag", self->etag[0] != '\0' ? self->etag : NULL);
	}
	if (self->has_moved) {
		api_header_add(exchange, "Location",
			       api_message_href(&exchange->arena, self->job.mailbox_name, self->copied.uid, ""));
	}
	api_job_finish(&self->job);
	api_reply_written_json(exchange, 200, written, &message);
}

void api_change_show(struct api_change *self)
{
	struct imap_fetch_spec spec = {.uids = &self->uids, .items = api_message_items(self->members)};

	self->has_row = false;
	gp_buffer_deinit(&self->message); /* of a look that was lost */
	spec.n_fields = api_message_fields(self->members, &spec.fields);
	self->job.call = imap_fetch_start(api_job_session(&self->job), &spec, on_result_row, on_result, self);
	api_job_started(&self->job, self->job.call);
}

/* ---- what the server has now ---- */

static void on_look(void *ctx, const struct gp_error *error)
{
	struct api_change *self = change_of(ctx);

	if (!api_job_check(&self->job, error)) {
		return;
	}
	if (self->has_row && self->etag[0] == '\0') {
		self->job.exchange->is_outcome_unknown |= self->job.is_unconfirmed;
		api_job_fail(&self->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	self->job.is_unconfirmed = false;
	(self->has_row ? self->next : self->gone)(self);
}

void api_change_look(struct api_change *self, api_change_fn next, api_change_fn gone)
{
	const struct imap_fetch_spec spec = {.uids = &self->uids,
					     .items = IMAP_ITEM_UID | IMAP_ITEM_FLAGS | IMAP_ITEM_MODSEQ};

	self->has_row = false;
	self->next = next;
	self->gone = gone;
	self->job.call = imap_fetch_start(api_job_session(&self->job), &spec, api_change_on_row, on_look, self);
	api_job_started(&self->job, self->job.call);
}

void api_change_stay_unknown(struct api_change *self)
{
	self->job.report_less(&self->job);
}

void api_change_probe(struct api_change *self, api_change_fn there, api_change_fn gone)
{
	if (api_job_selected(&self->job)->uidvalidity != self->source_uidvalidity) {
		api_change_stay_unknown(self);
		return;
	}
	api_change_look(self, there, gone);
}

static void act(struct api_change *self)
{
	if (!api_match_allows(self->if_match, self->etag)) {
		api_change_fail_precondition(self);
		return;
	}
	self->act(self);
}

static void change_run(struct api_job *job)
{
	struct api_change *self = change_of(job);

	if (imap_uidset_add(&self->uids, self->uid, self->uid) != GP_OK) {
		api_job_fail(job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	self->source = job->mailbox_name;
	self->source_uidvalidity = api_job_selected(job)->uidvalidity;
	if (self->prepare) {
		self->prepare(self);
	} else {
		api_change_look(self, act, api_change_fail_not_found);
	}
}

void api_change_prepared(struct api_change *self)
{
	api_change_look(self, act, api_change_fail_not_found);
}

static const struct api_job_handler change_handler = {.run = change_run, .reset = change_reset, .free = change_reset};

/* ---- requests ---- */

struct api_change *api_change_new(struct api_request *request, api_change_fn action)
{
	struct api_change *self = api_job_new(request->app, request->exchange, &request->target, request->credential,
					      sizeof *self, &change_handler);

	if (self) {
		self->uid = request->uid;
		self->act = action;
		self->if_match = request->exchange->ops->header(request->exchange, "If-Match");
	}
	return self;
}

void api_change_read_fields(struct api_change *self, struct api_query *query)
{
	self->members = api_fields_read(query, api_message_member_names, API_N_MEMBERS, API_MEMBERS_LIST);
	if (self->members & (API_MEMBER_BIT(HEADERS) | API_MEMBER_BIT(BODY_VALUES) | API_MEMBER_BIT(PREVIEW))) {
		api_query_fail(query, "'fields' takes neither headers, bodyValues nor preview here");
	}
}

void api_change_start(struct api_request *request, struct api_change *self)
{
	if (api_query_finish(&request->query) != GP_OK) {
		api_reply_error(request->exchange, &request->query.error);
		return;
	}
	const struct api_job_spec spec = {.mailbox = request->mailbox,
					  .is_write = true,
					  .has_uidvalidity = request->has_uidvalidity,
					  .uidvalidity = request->uidvalidity};
	api_job_start(&self->job, &spec);
}

bool api_change_read_target(struct api_exchange *exchange, const json_t *mailbox, struct span *target_out)
{
	struct span name = span_make(json_string_value(mailbox), json_string_length(mailbox));

	if (!json_is_string(mailbox) || !api_is_mailbox_name(name)) {
		api_reply_problem(exchange, API_PROBLEM_BAD_REQUEST, NULL,
				  "'mailbox' must be a mailbox's full name: 1 to %zu bytes, no control characters",
				  API_MAX_MAILBOX_NAME);
		return false;
	}
	if (span_equal_text_nocase(name, "INBOX")) {
		*target_out = SPAN_LIT("INBOX");
	} else if (!gp_arena_copy(&exchange->arena, name, target_out)) {
		api_reply_problem(exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return false;
	}
	return true;
}
