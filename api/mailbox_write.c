/*
 * POST /mailboxes, PATCH and DELETE of /mailboxes/{mailbox}.
 *
 *   create   LIST (the delimiter)              400
 *            CREATE [USE]                      409 …
 *            [SUBSCRIBE]  LIST                 → 201, the mailbox
 *   change   LIST (what is there)              404, 412, 400
 *            [RENAME]                          409 …
 *            [SUBSCRIBE] [UNSUBSCRIBE] LIST    → 200, the mailbox as it now is
 *   remove   [LIST (for a role, or If-Match)]  404, 412
 *            DELETE                            409 …  → 204
 *
 * IMAP has no condition on these commands: If-Match is compared with what LIST says right
 * before. Sessions that have the mailbox selected are given up before the write, so that
 * a server that minds does not mind the gateway itself, and after it.
 *
 * A rename in IMAP leaves the subscription at the old name: it is moved along. Those of
 * children are not.
 */
#include "api/body.h"
#include "api/conditional.h"
#include "api/etag.h"
#include "api/idempotency.h"
#include "api/json.h"
#include "api/mailboxes.h"
#include "api/role.h"
#include "api/router.h"
#include "base/limits.h"
#include "base/utf8.h"

#define MAX_NAME ((size_t)1024)

enum write_kind { WRITE_CREATE, WRITE_CHANGE, WRITE_REMOVE };

struct mailbox_write {
	struct api_mailbox_job one; /* first */
	enum write_kind kind;
	struct api_mailbox_ref ref; /* change, remove: which */
	struct span new_name;       /* arena; NIL: it stays */
	const char *role;           /* static; NULL: none is asked for */
	int subscribed;             /* -1: not asked for */
	uint64_t fields;
	struct span if_match; /* borrow: the exchange's */

	/* one run */
	struct span name, old_name; /* arena: as it is now; before a rename */
	char delimiter;
	bool is_renamed, was_subscribed;
	bool is_written;         /* CREATE or RENAME was confirmed: a retry goes on behind it */
	struct gp_error refusal; /* of SUBSCRIBE or UNSUBSCRIBE */
};

static struct mailbox_write *write_of(void *ctx)
{
	return ctx;
}

static struct api_job *job_of(struct mailbox_write *self)
{
	return &self->one.job;
}

static bool is_inbox(struct span name)
{
	return span_equal_text_nocase(name, "INBOX");
}

static void write_reset(struct api_job *job)
{
	struct mailbox_write *self = write_of(job);

	api_mailbox_forget(&self->one);
	gp_error_clear(&self->refusal);
	if (!self->is_written) {
		self->is_renamed = self->was_subscribed = false;
	}
}

/* ---- the mailbox as JSON ---- */

static enum gp_status write_json(struct api_exchange *exchange, const json_t *mailbox, bool is_pretty,
				 struct gp_buffer *body_out, char etag_out[API_ETAG_SIZE])
{
	bool has_hole = exchange->n_json_failures != api_json_failures();

	gp_buffer_init(body_out, GP_MAX_JSON_REPLY);
	enum gp_status status = has_hole ? GP_NO_MEMORY : api_json_write(mailbox, is_pretty, body_out);
	return status == GP_OK ? api_etag_of_bytes(exchange->account, gp_buffer_span(body_out), etag_out) : status;
}

/* For the problem: the mailbox as it is, and its tag as GET gives it. */
static void keep_current(struct mailbox_write *self, struct span body, const char *etag)
{
	struct api_exchange *exchange = job_of(self)->exchange;

	if (gp_arena_copy(&exchange->arena, body, &exchange->current)) {
		exchange->current_etag = gp_arena_strdup(&exchange->arena, span_of(etag));
	}
}

/* True: If-Match has the tag of the mailbox as GET shows it, indented or not. False: a
 * problem has been replied. */
static bool is_matched(struct mailbox_write *self)
{
	enum gp_status status = GP_OK;
	bool is_allowed = span_is_nil(self->if_match);

	for (int pretty = 0; pretty < 2 && !is_allowed && status == GP_OK; pretty++) {
		struct gp_buffer body;
		char etag[API_ETAG_SIZE];
		status = write_json(job_of(self)->exchange, self->one.found, pretty == 1, &body, etag);
		is_allowed = status == GP_OK && api_match_allows(self->if_match, etag);
		if (status == GP_OK && !is_allowed && (pretty == 1) == job_of(self)->exchange->is_pretty) {
			keep_current(self, gp_buffer_span(&body), etag);
		}
		gp_buffer_deinit(&body);
	}
	if (status != GP_OK) {
		api_job_fail(job_of(self), API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
	} else if (!is_allowed) {
		api_job_fail(job_of(self), API_PROBLEM_PRECONDITION_FAILED, NULL,
			     "the mailbox has changed since: read it again");
	}
	return is_allowed;
}

/* A refusal for which HTTP has no other word is a conflict with what is there. A name
 * that the server cannot take is not. */
static enum api_problem problem_of(const struct mailbox_write *self, const struct gp_error *error)
{
	enum api_problem problem = api_problem_of(error);
	struct span code = span_of(error->code);
	bool is_name = span_equal_text(code, "CANNOT") || span_equal_text(code, "USEATTR");

	if (problem != API_PROBLEM_UNPROCESSABLE || (is_name && self->kind != WRITE_REMOVE)) {
		return problem;
	}
	return API_PROBLEM_CONFLICT;
}

static void on_result(struct api_mailbox_job *one)
{
	struct mailbox_write *self = write_of(one);
	struct api_exchange *exchange = one->job.exchange;
	struct gp_buffer body;
	char etag[API_ETAG_SIZE];

	if (self->refusal.status != GP_OK && self->kind == WRITE_CHANGE && self->subscribed >= 0 &&
	    one->is_subscribed != (self->subscribed == 1)) {
		struct gp_error refusal = self->refusal;
		api_job_fail(&one->job, problem_of(self, &refusal), &refusal,
			     "the IMAP server did not change the subscription");
		return;
	}
	json_t *mailbox = one->found ? api_mailbox_take(one) : api_mailbox_unlisted(one);
	const char *href = api_mailbox_href(&exchange->arena, self->name);
	enum gp_status written = write_json(exchange, mailbox, exchange->is_pretty, &body, etag);
	json_decref(mailbox);
	written = href ? written : GP_NO_MEMORY;
	if (written == GP_OK) {
		api_header_add(exchange, "ETag", etag);
		api_header_add(exchange, self->kind == WRITE_CREATE ? "Location" : "Content-Location", href);
	}
	unsigned status = self->kind == WRITE_CREATE ? 201 : 200;
	api_job_finish(&one->job);
	api_reply_written_json(exchange, status, written, &body);
}

static void read_result(struct mailbox_write *self)
{
	api_mailbox_read(&self->one, &(struct api_mailbox_ref){.name = self->name}, self->fields, on_result);
}

/* ---- writing ---- */

static void forget_sessions(struct mailbox_write *self, struct span name, char delimiter)
{
	struct api_job *job = job_of(self);

	imap_pool_forget_mailbox(job->app->pool, job->credential, name, delimiter);
}

/* Courier neither renames nor deletes what the session that asks has open, and knows no
 * UNSELECT: the command goes by a session that has INBOX open then. */
static void write_from_outside(struct mailbox_write *self, char delimiter, void (*send)(struct api_job *job))
{
	static const struct api_job_place inbox = {.mailbox = SPAN_LIT("INBOX")};
	struct api_job *job = job_of(self);

	if (imap_session_can(api_job_session(job), IMAP_CAP_UNSELECT) ||
	    !imap_lease_has_open(job->lease, self->name, delimiter)) {
		send(job);
	} else {
		api_job_move_to(job, &inbox, send);
	}
}

static bool check_write(struct mailbox_write *self, const struct gp_error *error)
{
	if (!error || error->status != GP_NO) {
		return api_job_check(job_of(self), error);
	}
	struct gp_error refusal = *error;
	api_job_ended(job_of(self));
	api_job_fail(job_of(self), problem_of(self, &refusal), &refusal, NULL);
	return false;
}

/* The mailbox is there by now, whatever becomes of its subscription: a refusal is told
 * when it made a difference. */
static bool check_subscription(struct mailbox_write *self, const struct gp_error *error)
{
	if (error && (error->status == GP_NO || error->status == GP_BAD || error->status == GP_NOT_FOUND)) {
		self->refusal = *error;
		error = NULL;
	}
	return api_job_check(job_of(self), error);
}

static void on_old_unsubscribed(void *ctx, const struct gp_error *error)
{
	struct mailbox_write *self = write_of(ctx);

	if (check_subscription(self, error)) {
		read_result(self);
	}
}

static void subscribe(struct mailbox_write *self, struct span name, bool is_subscribed, imap_done_fn done)
{
	struct api_job *job = job_of(self);

	/* behind a confirmed write it is only made so, and may be made so twice */
	job->is_committed = !self->is_written;
	job->call = imap_subscribe_start(api_job_session(job), name, is_subscribed, done, self);
	(void)api_job_started(job, job->call);
}

static void leave_old_name(struct mailbox_write *self)
{
	if (self->is_renamed && self->was_subscribed) {
		subscribe(self, self->old_name, false, on_old_unsubscribed);
	} else {
		read_result(self);
	}
}

static void on_subscribed(void *ctx, const struct gp_error *error)
{
	struct mailbox_write *self = write_of(ctx);

	if (check_subscription(self, error)) {
		leave_old_name(self);
	}
}

/* The mailbox has its name: what is left is the subscription. */
static void settle(struct mailbox_write *self)
{
	int subscribed = self->subscribed;

	if (subscribed < 0 && self->is_renamed && self->was_subscribed) {
		subscribed = 1;
	}
	bool is_so = self->kind == WRITE_CHANGE && !self->is_renamed && subscribed == (int)self->was_subscribed;
	if (subscribed < 0 || is_so) {
		leave_old_name(self);
		return;
	}
	subscribe(self, self->name, subscribed == 1, on_subscribed);
}

/* Delimiters at the ends or side by side name levels without a name. */
static bool check_delimiters(struct mailbox_write *self, char delimiter)
{
	struct span name = self->new_name;
	bool is_at_start = true;

	for (size_t i = 0; delimiter && i < name.len; i++) {
		bool is_delimiter = name.ptr[i] == delimiter;
		if (is_delimiter && (is_at_start || i + 1 == name.len)) {
			api_job_fail(job_of(self), API_PROBLEM_BAD_REQUEST, NULL,
				     "'name' is '%s': a level between '%c' and '%c' is empty", api_excerpt(name).text,
				     delimiter, delimiter);
			return false;
		}
		is_at_start = is_delimiter;
	}
	return true;
}

/* A server may end a session whose mailbox has gone from under another request on it: what
 * is left to do is done on a fresh one then. */
static void confirm(struct mailbox_write *self, const char *so_far)
{
	struct api_job *job = job_of(self);

	self->is_written = true;
	job->so_far = so_far;
	job->is_committed = false;
	settle(self);
}

/* ---- create ---- */

static void on_created(void *ctx, const struct gp_error *error)
{
	struct mailbox_write *self = write_of(ctx);

	if (check_write(self, error)) {
		forget_sessions(self, self->name, '\0');
		confirm(self, "the mailbox was created");
	}
}

static void on_delimiter(struct api_mailbox_job *one)
{
	struct mailbox_write *self = write_of(one);

	if (!check_delimiters(self, one->found ? one->delimiter : '\0')) {
		return;
	}
	self->name = self->new_name;
	one->job.is_committed = true;
	one->job.call = imap_create_start(api_job_session(&one->job), self->name,
					  self->role ? api_role_attribute(self->role) : 0, on_created, self);
	(void)api_job_started(&one->job, one->job.call);
}

static void run_create(struct mailbox_write *self)
{
	if (self->role && !imap_session_can(api_job_session(job_of(self)), IMAP_CAP_CREATE_SPECIAL_USE)) {
		api_job_fail(job_of(self), API_PROBLEM_UNPROCESSABLE, NULL,
			     "the IMAP server lets no client give a mailbox a role: create it without");
		return;
	}
	api_mailbox_read(&self->one, &(struct api_mailbox_ref){.name = SPAN_LIT("INBOX")}, 0, on_delimiter);
}

/* ---- change ---- */

static void on_renamed(void *ctx, const struct gp_error *error)
{
	struct mailbox_write *self = write_of(ctx);

	if (!check_write(self, error)) {
		return;
	}
	forget_sessions(self, self->name, self->delimiter);
	forget_sessions(self, self->new_name, self->delimiter);
	self->is_renamed = true;
	self->old_name = self->name;
	self->name = self->new_name;
	confirm(self, "the mailbox was renamed");
}

static void send_rename(struct api_job *job)
{
	struct mailbox_write *self = write_of(job);

	job->is_committed = true;
	job->call = imap_rename_start(api_job_session(job), self->name, self->new_name, on_renamed, self);
	(void)api_job_started(job, job->call);
}

static void start_rename(struct mailbox_write *self)
{
	forget_sessions(self, self->name, self->delimiter);
	write_from_outside(self, self->delimiter, send_rename);
}

static bool has_changes(const struct mailbox_write *self)
{
	return !span_is_nil(self->new_name) || self->subscribed >= 0;
}

static void start_change(struct mailbox_write *self)
{
	bool has_new_name = !span_is_nil(self->new_name) && !span_equal(self->new_name, self->name);

	if (has_new_name && is_inbox(self->name)) {
		has_new_name = !is_inbox(self->new_name);
	}
	if (!has_changes(self)) {
		on_result(&self->one); /* it was read in full */
	} else if (!has_new_name) {
		settle(self);
	} else if (is_inbox(self->name)) {
		api_job_fail(job_of(self), API_PROBLEM_CONFLICT, NULL, "INBOX cannot be renamed");
	} else if (check_delimiters(self, self->delimiter)) {
		start_rename(self);
	}
}

/* ---- remove ---- */

static void on_removed(void *ctx, const struct gp_error *error)
{
	struct mailbox_write *self = write_of(ctx);

	if (check_write(self, error)) {
		forget_sessions(self, self->name, '\0');
		api_reply_empty(api_job_finish(job_of(self)), 204);
	}
}

static void send_delete(struct api_job *job)
{
	struct mailbox_write *self = write_of(job);

	job->is_committed = true;
	job->call = imap_delete_start(api_job_session(job), self->name, on_removed, self);
	(void)api_job_started(job, job->call);
}

/* Its children stay, and so do the sessions that have them open. */
static void start_remove(struct mailbox_write *self)
{
	if (is_inbox(self->name)) {
		api_job_fail(job_of(self), API_PROBLEM_CONFLICT, NULL, "INBOX cannot be deleted");
		return;
	}
	forget_sessions(self, self->name, '\0');
	write_from_outside(self, '\0', send_delete);
}

/* ---- what is there ---- */

static void on_state(struct api_mailbox_job *one)
{
	struct mailbox_write *self = write_of(one);

	self->name = is_inbox(one->job.mailbox_name) ? SPAN_LIT("INBOX") : one->job.mailbox_name;
	self->delimiter = one->delimiter;
	self->was_subscribed = one->is_subscribed;
	if (!one->found) {
		api_job_fail(&one->job, API_PROBLEM_NOT_FOUND, NULL, "there is no mailbox '%s'",
			     api_excerpt(self->name).text);
		return;
	}
	if (!is_matched(self)) {
		return;
	}
	if (self->kind == WRITE_REMOVE) {
		start_remove(self);
	} else {
		start_change(self);
	}
}

static void write_run(struct api_job *job)
{
	struct mailbox_write *self = write_of(job);
	bool is_conditional = !span_is_nil(self->if_match);

	if (self->is_written) {
		settle(self);
	} else if (self->kind == WRITE_CREATE) {
		run_create(self);
	} else if (self->kind == WRITE_REMOVE && !self->ref.role && !is_conditional) {
		self->name = self->ref.name;
		start_remove(self);
	} else {
		bool is_in_full = is_conditional || (self->kind == WRITE_CHANGE && !has_changes(self));
		api_mailbox_read(&self->one, &self->ref, is_in_full ? self->fields : 0, on_state);
	}
}

static const struct api_job_handler write_handler = {.run = write_run, .reset = write_reset, .free = write_reset};

/* ---- requests ---- */

static struct mailbox_write *write_new(struct api_request *request, enum write_kind kind)
{
	struct mailbox_write *self = api_job_new(request->app, request->exchange, &request->target, request->credential,
						 sizeof *self, &write_handler);

	if (self) {
		self->kind = kind;
		self->ref = request->mailbox;
		self->subscribed = -1;
		self->fields = kind == WRITE_REMOVE ? UINT64_MAX : api_mailbox_fields_read(&request->query);
		if (kind != WRITE_CREATE) {
			self->if_match = request->exchange->ops->header(request->exchange, "If-Match");
		}
	}
	return self;
}

static void write_start(struct api_request *request, struct mailbox_write *self)
{
	if (api_query_finish(&request->query) != GP_OK) {
		api_reply_error(request->exchange, &request->query.error);
		return;
	}
	api_job_start(job_of(self), &(struct api_job_spec){.is_write = true});
}

static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029;
}

static enum gp_status read_name(struct mailbox_write *self, const json_t *value, struct gp_error *error)
{
	struct span name =
		json_is_string(value) ? span_make(json_string_value(value), json_string_length(value)) : SPAN_NIL;
	uint32_t c;

	if (name.len == 0 || name.len > MAX_NAME) {
		return gp_error_set(error, GP_INVALID, "'name' must be a string of 1 to %zu bytes", MAX_NAME);
	}
	for (struct span rest = name; rest.len > 0;) {
		size_t len = utf8_decode(rest, &c);
		if (len == 0 || is_control(c)) {
			return gp_error_set(error, GP_INVALID, "'name' holds the control character U+%04X",
					    len == 0 ? 0xFFFDU : (unsigned)c);
		}
		rest = span_from(rest, len);
	}
	if (!gp_arena_copy(&job_of(self)->exchange->arena, name, &self->new_name)) {
		return gp_error_set(error, GP_NO_MEMORY, "out of memory");
	}
	return GP_OK;
}

static enum gp_status read_role(struct mailbox_write *self, const json_t *value, struct gp_error *error)
{
	if (json_is_null(value)) {
		return GP_OK;
	}
	self->role = json_is_string(value) ? api_role_find(span_of(json_string_value(value))) : NULL;
	if (!self->role) {
		return gp_error_set(
			error, GP_INVALID,
			"'role' must be null or one of sent, drafts, trash, junk, archive, flagged and all");
	}
	if (api_role_attribute(self->role) == 0) {
		return gp_error_set(error, GP_UNSUPPORTED, "the role '%s' cannot be given", self->role);
	}
	return GP_OK;
}

/* {"name":"Work/2024","role":null,"isSubscribed":true} */
static enum gp_status read_body(struct mailbox_write *self, const json_t *body, struct gp_error *error)
{
	static const char *const members[] = {"name", "isSubscribed", "role"};
	bool is_create = self->kind == WRITE_CREATE;
	const json_t *name = json_object_get(body, "name");
	const json_t *role = json_object_get(body, "role");
	const json_t *subscribed = json_object_get(body, "isSubscribed");
	enum gp_status status = api_body_check_members(body, NULL, members, is_create ? 3 : 2, error);

	if (status == GP_OK && (name || is_create)) {
		status = read_name(self, name, error);
	}
	if (status == GP_OK && role) {
		status = read_role(self, role, error);
	}
	if (status == GP_OK && subscribed) {
		if (!json_is_boolean(subscribed)) {
			return gp_error_set(error, GP_INVALID, "'isSubscribed' must be true or false");
		}
		self->subscribed = json_is_true(subscribed);
	}
	return status;
}

/* INBOX is what it is: nothing needs to be asked for that. False: 409 has been replied. */
static bool check_inbox(struct api_request *request, const struct mailbox_write *self)
{
	const struct api_mailbox_ref *ref = &self->ref;
	bool is_of_inbox = (ref->role && strcmp(ref->role, "inbox") == 0) || is_inbox(ref->name);
	const char *what = NULL;

	if (self->kind == WRITE_REMOVE) {
		what = is_of_inbox ? "INBOX cannot be deleted" : NULL;
	} else if (!span_is_nil(self->new_name) && is_of_inbox != is_inbox(self->new_name)) {
		what = is_of_inbox ? "INBOX cannot be renamed" : "there is an INBOX already";
	}
	if (what) {
		api_reply_problem(request->exchange, API_PROBLEM_CONFLICT, NULL, "%s", what);
	}
	return !what;
}

static void write_with_body(struct api_request *request, enum write_kind kind)
{
	struct mailbox_write *self = write_new(request, kind);
	struct gp_error error = {.status = GP_OK};
	json_t *body = self ? api_body_object(request->exchange) : NULL;

	if (!body) {
		return;
	}
	enum gp_status status = read_body(self, body, &error);
	json_decref(body);
	if (status != GP_OK) {
		api_reply_error(request->exchange, &error);
	} else if (check_inbox(request, self) && (kind != WRITE_CREATE || api_idempotency_enter(request))) {
		write_start(request, self);
	}
}

void api_mailbox_post(struct api_request *request)
{
	write_with_body(request, WRITE_CREATE);
}

void api_mailbox_patch(struct api_request *request)
{
	write_with_body(request, WRITE_CHANGE);
}

void api_mailbox_delete(struct api_request *request)
{
	struct mailbox_write *self = write_new(request, WRITE_REMOVE);

	if (self && check_inbox(request, self)) {
		write_start(request, self);
	}
}
