/*
 * GET /mailboxes and GET /mailboxes/{mailbox}.
 *
 * The list is one LIST with STATUS. One mailbox is the LIST of its name; only where
 * that leaves something open that depends on the others (which of several has a
 * role, whether there are children) all names are listed too, without counts.
 */
#include "api/mailboxes.h"

#include <stdlib.h>

#include "api/fields.h"
#include "api/json.h"
#include "api/role.h"
#include "api/router.h"
#include "api/state.h"

/* enum suffix, name */
#define FIELD_MAP(X)                                                                                                   \
	X(NAME, "name")                                                                                                \
	X(LEAF_NAME, "leafName")                                                                                       \
	X(PARENT, "parent")                                                                                            \
	X(DELIMITER, "delimiter")                                                                                      \
	X(ROLE, "role")                                                                                                \
	X(ROLE_SOURCE, "roleSource")                                                                                   \
	X(IS_SUBSCRIBED, "isSubscribed")                                                                               \
	X(IS_SELECTABLE, "isSelectable")                                                                               \
	X(HAS_CHILDREN, "hasChildren")                                                                                 \
	X(TOTAL_EMAILS, "totalEmails")                                                                                 \
	X(UNREAD_EMAILS, "unreadEmails")                                                                               \
	X(SIZE, "size")                                                                                                \
	X(UIDVALIDITY, "uidValidity")                                                                                  \
	X(UIDNEXT, "uidNext")                                                                                          \
	X(HIGHESTMODSEQ, "highestModseq")                                                                              \
	X(STATE, "state")                                                                                              \
	X(MY_RIGHTS, "myRights")                                                                                       \
	X(HREF, "href")

enum field {
#define X(name, text) FIELD_##name,
	FIELD_MAP(X)
#undef X
		N_FIELDS,
};

static const char *const field_names[] = {
#define X(name, text) text,
	FIELD_MAP(X)
#undef X
};

#define STATE_ITEMS (IMAP_STATUS_UIDVALIDITY | IMAP_STATUS_HIGHESTMODSEQ | IMAP_STATUS_UIDNEXT)

/* What each member needs of STATUS. */
static const unsigned field_items[N_FIELDS] = {
	[FIELD_TOTAL_EMAILS] = IMAP_STATUS_MESSAGES,
	[FIELD_UNREAD_EMAILS] = IMAP_STATUS_UNSEEN,
	[FIELD_SIZE] = IMAP_STATUS_SIZE,
	[FIELD_UIDVALIDITY] = IMAP_STATUS_UIDVALIDITY,
	[FIELD_UIDNEXT] = IMAP_STATUS_UIDNEXT,
	[FIELD_HIGHESTMODSEQ] = IMAP_STATUS_HIGHESTMODSEQ,
	[FIELD_STATE] = STATE_ITEMS,
};

struct mailboxes_job {
	struct api_mailbox_job one; /* first */
	int subscribed;             /* -1: whether or not */
	const char *role;           /* static; NULL: any */
	struct span parent;         /* NIL: any; empty: at the top */
};

/* ---- one mailbox as JSON ---- */

static bool is_inbox(struct span name)
{
	return span_equal_text_nocase(name, "INBOX");
}

static struct span parent_of(const struct imap_mailbox *mailbox)
{
	struct span name = mailbox->name;

	for (size_t i = name.len; mailbox->delimiter && i > 0; i--) {
		if (name.ptr[i - 1] == mailbox->delimiter) {
			return span_slice(name, 0, i - 1);
		}
	}
	return SPAN_NIL;
}

static struct span leaf_of(const struct imap_mailbox *mailbox)
{
	struct span parent = parent_of(mailbox);

	return span_is_nil(parent) ? mailbox->name : span_from(mailbox->name, parent.len + 1);
}

/* -1: the server does not say */
static int has_children(const struct imap_mailbox *mailbox)
{
	if ((mailbox->attributes & IMAP_MAILBOX_HASCHILDREN) != 0) {
		return 1;
	}
	bool has_none = (mailbox->attributes & (IMAP_MAILBOX_HASNOCHILDREN | IMAP_MAILBOX_NOINFERIORS)) != 0;
	return has_none || !mailbox->delimiter ? 0 : -1;
}

static json_t *tristate(int value)
{
	return value < 0 ? json_null() : json_boolean(value == 1);
}

static json_t *role_text(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *status_number(const struct imap_mailbox *mailbox, unsigned item, uint64_t number)
{
	if (!mailbox->has_status || (mailbox->status.items & item) == 0 || number > INT64_MAX) {
		return json_null();
	}
	return json_integer((json_int_t)number);
}

static json_t *modseq_text(const struct imap_mailbox *mailbox)
{
	const struct imap_status *status = &mailbox->status;
	bool is_known = mailbox->has_status && (status->items & IMAP_STATUS_HIGHESTMODSEQ) != 0;

	return is_known && status->highestmodseq != 0 ? api_json_number_string(status->highestmodseq) : json_null();
}

static json_t *state_text(const struct imap_mailbox *mailbox, bool has_qresync)
{
	const struct imap_status *status = &mailbox->status;
	const unsigned items = IMAP_STATUS_UIDVALIDITY | IMAP_STATUS_HIGHESTMODSEQ | IMAP_STATUS_UIDNEXT;
	bool is_known = mailbox->has_status && (status->items & items) == items;
	char text[API_STATE_LISTED_SIZE];

	return is_known && api_state_write_listed(has_qresync, status->uidvalidity, status->highestmodseq,
						  status->uidnext, text)
		       ? json_string(text)
		       : json_null();
}

static json_t *href_text(struct gp_arena *arena, const struct imap_mailbox *mailbox)
{
	char *href = api_mailbox_href(arena, mailbox->name);

	return href ? json_string(href) : NULL;
}

/* A mailbox, and what is told of it that is not in its own LIST row. */
struct told {
	const struct imap_mailbox *mailbox;
	const struct api_role *role;
	int children; /* as has_children() */
	bool has_qresync;
};

static json_t *member(enum field field, const struct told *told, struct gp_arena *arena)
{
	const struct imap_mailbox *mailbox = told->mailbox;
	const struct imap_status *status = &mailbox->status;

	switch (field) {
	case FIELD_NAME:
		return api_json_text(mailbox->name);
	case FIELD_LEAF_NAME:
		return api_json_text(leaf_of(mailbox));
	case FIELD_PARENT:
		return api_json_text(parent_of(mailbox));
	case FIELD_DELIMITER:
		return mailbox->delimiter ? api_json_text(span_make(&mailbox->delimiter, 1)) : json_null();
	case FIELD_ROLE:
		return role_text(told->role->role);
	case FIELD_ROLE_SOURCE:
		return role_text(told->role->source);
	case FIELD_IS_SUBSCRIBED:
		return json_boolean((mailbox->attributes & IMAP_MAILBOX_SUBSCRIBED) != 0);
	case FIELD_IS_SELECTABLE:
		return json_boolean((mailbox->attributes & IMAP_MAILBOX_NOSELECT) == 0);
	case FIELD_HAS_CHILDREN:
		return tristate(told->children);
	case FIELD_TOTAL_EMAILS:
		return status_number(mailbox, IMAP_STATUS_MESSAGES, status->messages);
	case FIELD_UNREAD_EMAILS:
		return status_number(mailbox, IMAP_STATUS_UNSEEN, status->unseen);
	case FIELD_SIZE:
		return status_number(mailbox, IMAP_STATUS_SIZE, status->size);
	case FIELD_UIDVALIDITY:
		return status_number(mailbox, IMAP_STATUS_UIDVALIDITY, status->uidvalidity);
	case FIELD_UIDNEXT:
		return status_number(mailbox, IMAP_STATUS_UIDNEXT, status->uidnext);
	case FIELD_HIGHESTMODSEQ:
		return modseq_text(mailbox);
	case FIELD_STATE:
		return state_text(mailbox, told->has_qresync);
	case FIELD_MY_RIGHTS:
		return api_json_text(mailbox->my_rights);
	case FIELD_HREF:
		return href_text(arena, mailbox);
	case N_FIELDS:
		break;
	}
	return NULL;
}

static void set_members(json_t *object, uint64_t fields, const struct told *told, struct gp_arena *arena)
{
	for (unsigned field = 0; field < N_FIELDS; field++) {
		if (api_fields_has(fields, field)) {
			api_json_set(object, field_names[field], member((enum field)field, told, arena));
		}
	}
}

/* ---- children, where the server does not tell ---- */

/* Whether a name in the sorted list begins with that of the mailbox and its delimiter. */
static bool has_child_among(const struct imap_mailbox *mailbox, const struct span *sorted, size_t n_sorted)
{
	size_t low = 0, high = n_sorted;
	struct span name = mailbox->name;

	/* the first that is not below "name/" */
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct span other = sorted[middle];
		int order = span_compare(span_slice(other, 0, name.len), name);
		bool is_below = order < 0 ||
				(order == 0 && (other.len <= name.len || (unsigned char)other.ptr[name.len] <
										 (unsigned char)mailbox->delimiter));
		if (is_below) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	if (low == n_sorted || sorted[low].len <= name.len) {
		return false;
	}
	struct span head = span_slice(sorted[low], 0, name.len);
	return span_equal(head, name) && sorted[low].ptr[name.len] == mailbox->delimiter;
}

/* As has_children(), by the other names where the server does not say. */
static int find_children(const struct imap_mailbox *mailbox, const struct span *sorted, size_t n_sorted)
{
	int children = has_children(mailbox);

	return children < 0 ? has_child_among(mailbox, sorted, n_sorted) : children;
}

/* All names, sorted; free() it. NULL when memory ends. */
static struct span *sort_names(const struct imap_mailbox *mailboxes, size_t n_mailboxes)
{
	struct span *names = calloc(n_mailboxes + 1, sizeof *names);

	for (size_t i = 0; names && i < n_mailboxes; i++) {
		names[i] = mailboxes[i].name;
	}
	if (names) {
		qsort(names, n_mailboxes, sizeof *names, span_compare_items);
	}
	return names;
}

/* ---- the list ---- */

static bool is_wanted(const struct mailboxes_job *self, const struct imap_mailbox *mailbox, const struct api_role *role)
{
	bool is_subscribed = (mailbox->attributes & IMAP_MAILBOX_SUBSCRIBED) != 0;

	if (self->subscribed >= 0 && is_subscribed != (self->subscribed == 1)) {
		return false;
	}
	if (self->role && (!role->role || strcmp(self->role, role->role) != 0)) {
		return false;
	}
	if (span_is_nil(self->parent)) {
		return true;
	}
	struct span parent = parent_of(mailbox);
	return span_equal(parent, self->parent) || (is_inbox(parent) && is_inbox(self->parent));
}

static bool job_has_qresync(const struct api_job *job)
{
	return imap_session_has_qresync(api_job_session(job));
}

static json_t *list_json(const struct mailboxes_job *self, const struct imap_mailbox *mailboxes, size_t n_mailboxes,
			 struct gp_arena *arena)
{
	struct api_role *roles = calloc(n_mailboxes + 1, sizeof *roles);
	struct span *sorted = sort_names(mailboxes, n_mailboxes);
	json_t *list = roles && sorted ? json_array() : NULL;

	if (list) {
		api_roles_assign(self->one.job.app->roles, mailboxes, n_mailboxes, roles);
	}
	for (size_t i = 0; list && i < n_mailboxes; i++) {
		const struct imap_mailbox *mailbox = &mailboxes[i];
		if (!is_wanted(self, mailbox, &roles[i])) {
			continue;
		}
		const struct told told = {.mailbox = mailbox,
					  .role = &roles[i],
					  .children = find_children(mailbox, sorted, n_mailboxes),
					  .has_qresync = job_has_qresync(&self->one.job)};
		json_t *object = json_object();
		set_members(object, self->one.fields, &told, arena);
		api_json_append(list, object);
	}
	free(roles);
	free(sorted);
	return list;
}

static void on_list(void *ctx, const struct gp_error *error, const struct imap_mailbox *mailboxes, size_t n_mailboxes)
{
	struct mailboxes_job *self = ctx;

	if (!api_job_check(&self->one.job, error)) {
		return;
	}
	json_t *list = list_json(self, mailboxes, n_mailboxes, &self->one.job.exchange->arena);
	struct api_exchange *exchange = api_job_finish(&self->one.job);
	json_t *reply = json_object();
	api_json_set(reply, "mailboxes", list);
	api_reply_json_tagged(exchange, reply);
}

static bool wants_rights(const struct api_mailbox_job *self)
{
	return api_fields_has(self->fields, FIELD_MY_RIGHTS) &&
	       imap_session_can(api_job_session(&self->job), IMAP_CAP_ACL);
}

static void start_list(struct api_mailbox_job *self, struct span pattern, bool has_details, imap_mailboxes_fn done)
{
	const struct imap_list_spec list = {
		.pattern = pattern,
		.with_status = has_details && self->status_items != 0,
		.status_items = has_details ? self->status_items : 0,
		.with_my_rights = has_details && wants_rights(self),
	};

	self->job.call = imap_list_start(api_job_session(&self->job), &list, done, self);
	(void)api_job_started(&self->job, self->job.call);
}

static void run_list(struct api_job *job)
{
	start_list((struct api_mailbox_job *)job, SPAN_LIT("*"), true, on_list);
}

static const struct api_job_handler list_handler = {.run = run_list};

/* ---- one ---- */

static unsigned items_of(uint64_t fields)
{
	unsigned items = 0;

	for (unsigned field = 0; field < N_FIELDS; field++) {
		if (api_fields_has(fields, field)) {
			items |= field_items[field];
		}
	}
	return items;
}

static const struct imap_mailbox *find_mailbox(struct span name, const struct imap_mailbox *mailboxes,
					       size_t n_mailboxes)
{
	for (size_t i = 0; i < n_mailboxes; i++) {
		if (span_equal(mailboxes[i].name, name) || (is_inbox(name) && is_inbox(mailboxes[i].name))) {
			return &mailboxes[i];
		}
	}
	return NULL;
}

/* The second step: what only the whole list tells. */
static void on_others(void *ctx, const struct gp_error *error, const struct imap_mailbox *mailboxes, size_t n_mailboxes)
{
	struct api_mailbox_job *self = ctx;

	if (!api_job_check(&self->job, error)) {
		return;
	}
	const struct imap_mailbox *mailbox = find_mailbox(self->job.mailbox_name, mailboxes, n_mailboxes);
	struct api_role *roles = calloc(n_mailboxes + 1, sizeof *roles);
	struct span *sorted = sort_names(mailboxes, n_mailboxes);
	if (!roles || !sorted) {
		free(roles);
		free(sorted);
		api_job_fail(&self->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	if (mailbox) {
		api_roles_assign(self->job.app->roles, mailboxes, n_mailboxes, roles);
		const struct told told = {.mailbox = mailbox,
					  .role = &roles[mailbox - mailboxes],
					  .children = find_children(mailbox, sorted, n_mailboxes),
					  .has_qresync = job_has_qresync(&self->job)};
		set_members(self->found, self->open, &told, &self->job.exchange->arena);
	}
	free(roles);
	free(sorted);
	self->on_mailbox(self);
}

/* Which of the wanted members depend on the other mailboxes. */
static uint64_t open_fields(const struct api_mailbox_job *self, const struct imap_mailbox *mailbox)
{
	const uint64_t role_fields = (uint64_t)1 << FIELD_ROLE | (uint64_t)1 << FIELD_ROLE_SOURCE;
	uint64_t open = 0;

	if (!is_inbox(mailbox->name) && api_role_is_candidate(self->job.app->roles, mailbox)) {
		open |= role_fields;
	}
	if (has_children(mailbox) < 0) {
		open |= (uint64_t)1 << FIELD_HAS_CHILDREN;
	}
	return open & self->fields;
}

static void on_one(void *ctx, const struct gp_error *error, const struct imap_mailbox *mailboxes, size_t n_mailboxes)
{
	struct api_mailbox_job *self = ctx;
	struct api_role role;

	if (!api_job_check(&self->job, error)) {
		return;
	}
	const struct imap_mailbox *mailbox = find_mailbox(self->job.mailbox_name, mailboxes, n_mailboxes);
	if (!mailbox) {
		self->on_mailbox(self);
		return;
	}
	self->delimiter = mailbox->delimiter;
	self->is_subscribed = (mailbox->attributes & IMAP_MAILBOX_SUBSCRIBED) != 0;
	/* alone it has the role that it is a candidate for, and so is right for INBOX and
	 * for what is none; the others are open */
	api_roles_assign(self->job.app->roles, mailbox, 1, &role);
	const struct told told = {.mailbox = mailbox,
				  .role = &role,
				  .children = has_children(mailbox),
				  .has_qresync = job_has_qresync(&self->job)};
	self->found = json_object();
	if (!self->found) { /* it is there, after all */
		api_job_fail(&self->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	set_members(self->found, self->fields, &told, &self->job.exchange->arena);
	self->open = open_fields(self, mailbox);
	if (self->open == 0) {
		self->on_mailbox(self);
		return;
	}
	start_list(self, SPAN_LIT("*"), false, on_others);
}

/* @sent: the list tells which it is; its details come with the next step. */
static void on_role(void *ctx, const struct gp_error *error, const struct imap_mailbox *mailboxes, size_t n_mailboxes)
{
	struct api_mailbox_job *self = ctx;

	if (!api_job_check(&self->job, error)) {
		return;
	}
	const struct imap_mailbox *mailbox =
		api_role_mailbox(self->job.app->roles, self->ref.role, mailboxes, n_mailboxes);
	if (!mailbox) {
		api_job_fail(&self->job, API_PROBLEM_NOT_FOUND, NULL, "no mailbox has the role '%s'", self->ref.role);
		return;
	}
	if (!gp_arena_copy(&self->job.exchange->arena, mailbox->name, &self->job.mailbox_name)) {
		api_job_fail(&self->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	start_list(self, self->job.mailbox_name, true, on_one);
}

/* The mailbox is not selected: a name that is only a node of the hierarchy can be
 * asked for too, so the job itself is given none. */
void api_mailbox_read(struct api_mailbox_job *self, const struct api_mailbox_ref *ref, uint64_t fields,
		      void (*on_mailbox)(struct api_mailbox_job *self))
{
	api_mailbox_forget(self);
	self->ref = *ref;
	self->fields = fields;
	self->status_items = items_of(fields);
	self->on_mailbox = on_mailbox;
	if (ref->role && strcmp(ref->role, "inbox") != 0) {
		start_list(self, SPAN_LIT("*"), false, on_role);
		return;
	}
	self->job.mailbox_name = ref->role ? SPAN_LIT("INBOX") : ref->name;
	start_list(self, self->job.mailbox_name, true, on_one);
}

void api_mailbox_forget(struct api_mailbox_job *self)
{
	json_decref(self->found);
	self->found = NULL;
	self->job.mailbox_name = SPAN_NIL;
}

json_t *api_mailbox_take(struct api_mailbox_job *self)
{
	json_t *found = self->found;

	self->found = NULL;
	return found;
}

json_t *api_mailbox_unlisted(struct api_mailbox_job *self)
{
	const struct imap_mailbox mailbox = {.name = self->job.mailbox_name, .delimiter = self->delimiter};
	const struct api_role role = {NULL, NULL};
	const struct told told = {.mailbox = &mailbox, .role = &role, .children = -1};
	json_t *object = json_object();

	set_members(object, self->fields, &told, &self->job.exchange->arena);
	return object;
}

json_t *api_mailbox_json(const struct imap_mailbox *mailbox, const struct api_role *role, const struct span *sorted,
			 size_t n_sorted, bool has_qresync, struct gp_arena *arena)
{
	const struct told told = {.mailbox = mailbox,
				  .role = role,
				  .children = find_children(mailbox, sorted, n_sorted),
				  .has_qresync = has_qresync};
	uint64_t n_failures = api_json_failures();
	json_t *object = json_object();

	set_members(object, UINT64_MAX, &told, arena);
	if (n_failures != api_json_failures()) {
		json_decref(object);
		return NULL;
	}
	return object;
}

unsigned api_mailbox_status_items(void)
{
	return items_of(UINT64_MAX);
}

uint64_t api_mailbox_fields_read(struct api_query *query)
{
	return api_fields_read(query, field_names, N_FIELDS, UINT64_MAX);
}

static void on_mailbox(struct api_mailbox_job *self)
{
	if (!self->found) {
		api_job_fail(&self->job, API_PROBLEM_NOT_FOUND, NULL, "there is no mailbox '%s'",
			     api_excerpt(self->job.mailbox_name).text);
		return;
	}
	json_t *found = api_mailbox_take(self);
	struct api_exchange *exchange = api_job_finish(&self->job);
	api_reply_json_tagged(exchange, found);
}

static void run_one(struct api_job *job)
{
	struct api_mailbox_job *self = (struct api_mailbox_job *)job;
	const struct api_mailbox_ref ref = self->ref;

	api_mailbox_read(self, &ref, self->fields, on_mailbox);
}

static void reset_one(struct api_job *job)
{
	api_mailbox_forget((struct api_mailbox_job *)job);
}

static const struct api_job_handler one_handler = {.run = run_one, .reset = reset_one, .free = reset_one};

/* ---- requests ---- */

static void start(struct api_job *job, struct api_request *request)
{
	if (api_query_finish(&request->query) != GP_OK) {
		api_reply_error(request->exchange, &request->query.error);
		return;
	}
	api_job_start(job, &(struct api_job_spec){.is_write = false});
}

void api_mailboxes_get(struct api_request *request)
{
	struct api_query *query = &request->query;
	struct mailboxes_job *self = api_job_new(request->app, request->exchange, &request->target, request->credential,
						 sizeof *self, &list_handler);

	if (!self) {
		return;
	}
	self->one.fields = api_mailbox_fields_read(query);
	self->one.status_items = api_query_bool(query, "counts", true) ? items_of(self->one.fields) : 0;
	self->subscribed = api_query_tristate(query, "subscribed");
	self->parent = api_query_text(query, "parent");
	struct span role = api_query_text(query, "role");
	if (!span_is_nil(role)) {
		self->role = api_role_find(role);
		if (!self->role) {
			api_query_fail(query,
				       "parameter 'role' is '%s', but must be inbox, sent, drafts, trash, junk, "
				       "archive, flagged or all",
				       api_excerpt(role).text);
		}
	}
	start(&self->one.job, request);
}

void api_mailbox_get(struct api_request *request)
{
	struct api_mailbox_job *self = api_job_new(request->app, request->exchange, &request->target,
						   request->credential, sizeof *self, &one_handler);

	if (!self) {
		return;
	}
	self->fields = api_mailbox_fields_read(&request->query);
	self->ref = request->mailbox;
	start(&self->job, request);
}
