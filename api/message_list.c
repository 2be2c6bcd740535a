/*
 * GET …/messages: a page of a mailbox. Here are the request and the reply; which
 * messages the page has, and how they are found, is message_page.c.
 *
 *   [refresh → 304]       only for If-None-Match, with mod-sequences
 *   find the rows         message_page.c: each becomes JSON as it comes
 *   FETCH (text parts)    body values and previews, where they are wanted
 *   reply                 the rows in order, and what pages them
 */
#include "api/accept.h"
#include "api/conditional.h"
#include "api/etag.h"
#include "api/export.h"
#include "api/list_wishes.h"
#include "api/message_page.h"
#include "api/router.h"
#include "api/state.h"

#define MAX_LIMIT 1000
#define MAX_LIMIT_WITH_BODIES 200
/* What a reply has beside its rows, generously: a guess that saves copying. */
#define REPLY_FRAME (4 * GP_KIB)
#define MAX_LINK 1024 /* a longer address is in the reply only, not in its head */

struct message_list {
	struct api_job job; /* first */

	/* what was asked: validated before the job starts */
	struct api_page page; /* what is found in a run, too */
	struct api_list_wishes wishes;
	uint32_t query_hash;

	/* one run */
	struct api_body_values values;
	char etag[API_ETAG_SIZE];
};

static struct message_list *list_of(void *ctx)
{
	return ctx;
}

/* ---- one run's memory ---- */

static void list_reset(struct api_job *job)
{
	struct message_list *self = list_of(job);

	api_page_reset(&self->page);
	api_body_values_deinit(&self->values);
	self->etag[0] = '\0';
}

static void list_free(struct api_job *job)
{
	list_reset(job);
	api_page_deinit(&list_of(job)->page);
}

/* ---- the reply ---- */

/* What is known of the mailbox, for the reply and its tag. */
struct list_moment {
	uint32_t uidvalidity, uidnext, total, unread;
	bool has_counts;
	uint64_t highestmodseq; /* 0: none */
};

static struct list_moment moment_of(const struct message_list *self)
{
	const struct imap_selected *selected = api_job_selected(&self->job);
	const struct imap_status *status = &self->page.status;
	const unsigned counts = IMAP_STATUS_MESSAGES | IMAP_STATUS_UNSEEN | IMAP_STATUS_UIDNEXT;
	struct list_moment moment = {.uidvalidity = selected->uidvalidity};

	if (status->items & IMAP_STATUS_HIGHESTMODSEQ && selected->has_modseq) {
		moment.highestmodseq = status->highestmodseq;
	}
	if ((status->items & counts) == counts) {
		moment.uidnext = status->uidnext;
		moment.total = status->messages;
		moment.unread = status->unseen;
		moment.has_counts = true;
	}
	return moment;
}

/* From before the rows: what they do not show yet, `/changes` will tell. What came with
 * them or after them may be ahead of something that was not told yet. */
static bool write_state(const struct message_list *self, char state_out[API_STATE_LISTED_SIZE])
{
	struct list_moment moment = moment_of(self);
	bool has_qresync = imap_session_has_qresync(api_job_session(&self->job));

	return api_state_write_listed(has_qresync, moment.uidvalidity, moment.highestmodseq, moment.uidnext, state_out);
}

/* A list with mod-sequences has the same tag as long as the mailbox is in the same
 * state and the request is the same; without, its bytes decide (api_reply_json_tagged). */
static enum gp_status make_etag(struct message_list *self)
{
	struct list_moment moment = moment_of(self);

	if (moment.highestmodseq == 0 || !moment.has_counts || moment.uidvalidity == 0) {
		return GP_OK;
	}
	char *bytes = gp_arena_printf(&self->job.exchange->arena, "%u.%llu %u %u %.*s", moment.uidvalidity,
				      (unsigned long long)moment.highestmodseq, moment.total, moment.uidnext,
				      SPAN_ARGS(self->job.exchange->target));
	return bytes ? api_etag_of_bytes(self->job.exchange->account, span_of(bytes), self->etag) : GP_NO_MEMORY;
}

static void write_rows(struct message_list *self, struct api_json_writer *writer)
{
	const struct api_rows *rows = &self->page.rows;

	api_json_writer_array(writer);
	for (size_t i = 0; i < rows->n_items; i++) {
		api_json_writer_object(writer);
		api_json_writer_run(writer, api_row_text(rows, &rows->items[i]));
		api_body_values_write(&self->values, rows->items[i].uid, writer);
		api_json_writer_object_end(writer);
	}
	api_json_writer_array_end(writer);
}

static void write_next(struct message_list *self, struct api_json_writer *writer)
{
	struct api_exchange *exchange = self->job.exchange;
	struct api_cursor cursor;

	if (!api_page_next(&self->page, &cursor)) {
		return;
	}
	cursor.query = self->query_hash;
	char *next = api_cursor_next(&exchange->arena, exchange->target, &self->job.target, &cursor);
	if (!next) {
		api_json_writer_fail(writer, GP_NO_MEMORY); /* without it, this would be the last page */
		return;
	}
	api_json_writer_key(writer, "next");
	api_json_writer_string(writer, next);
	if (strlen(next) <= MAX_LINK) {
		api_header_addf(exchange, "Link", "<%s>; rel=\"next\"", next);
	}
}

static enum gp_status write_reply(struct message_list *self, struct gp_buffer *body)
{
	char state[API_STATE_LISTED_SIZE];
	struct api_json_writer writer;
	char *room;

	/* about what comes, in one piece; if it cannot be had, the writer will tell */
	enum gp_status reserved = gp_buffer_reserve(body, self->page.rows.text.len + REPLY_FRAME, &room);
	api_json_writer_init(&writer, body, self->job.exchange->is_pretty, 0);
	api_json_writer_fail(&writer, self->page.failure != GP_OK ? self->page.failure : reserved);
	api_json_writer_object(&writer);
	api_json_writer_key(&writer, "messages");
	write_rows(self, &writer);
	api_json_writer_key(&writer, "total");
	if (self->page.has_total) {
		api_json_writer_number(&writer, self->page.total);
	} else {
		api_json_writer_null(&writer);
	}
	api_json_writer_key(&writer, "uidValidity");
	api_json_writer_number(&writer, api_job_selected(&self->job)->uidvalidity);
	api_json_writer_key(&writer, "state");
	api_json_writer_string(&writer, write_state(self, state) ? state : NULL);
	write_next(self, &writer);
	api_json_writer_object_end(&writer);
	return api_json_writer_finish(&writer);
}

static void reply(struct api_job *job)
{
	struct message_list *self = list_of(job);
	struct api_exchange *exchange = job->exchange;
	struct gp_buffer body;

	gp_buffer_init(&body, GP_MAX_JSON_REPLY);
	enum gp_status written = write_reply(self, &body);
	if (written == GP_OK) {
		written = make_etag(self);
	}
	bool is_tagged = self->etag[0] != '\0';
	if (is_tagged && written == GP_OK) {
		api_header_add(exchange, "ETag", self->etag);
	}
	api_job_finish(job);
	if (is_tagged) {
		api_reply_written_json(exchange, 200, written, &body);
	} else {
		api_reply_written_json_tagged(exchange, written, &body);
	}
}

/* ---- body values and previews ---- */

/* The rows are complete. */
static void with_rows(struct api_job *job)
{
	struct message_list *self = list_of(job);
	const struct api_rows *rows = &self->page.rows;
	enum gp_status status = GP_OK;

	api_body_values_init(&self->values, job, self->wishes.max_body_bytes, API_BODY_VALUES_LIST_MESSAGE,
			     API_ROW_DEPTH, reply);
	for (size_t i = 0; i < rows->n_items && status == GP_OK; i++) {
		status = api_list_wishes_add(&self->wishes, &rows->items[i], &self->values);
	}
	if (status != GP_OK) {
		api_job_fail(job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	api_body_values_run(&self->values);
}

/* ---- the run ---- */

static void check_tag(struct api_job *job)
{
	struct message_list *self = list_of(job);

	if (make_etag(self) == GP_OK && self->etag[0] != '\0' && api_job_is_settled(job, self->etag)) {
		return;
	}
	api_page_find(&self->page);
}

static void list_run(struct api_job *job)
{
	struct message_list *self = list_of(job);
	bool has_tag = api_has_precondition(job->exchange);

	if (api_page_begin(&self->page, has_tag ? check_tag : NULL) && !has_tag) {
		api_page_find(&self->page);
	}
}

static const struct api_job_handler list_handler = {.run = list_run, .reset = list_reset, .free = list_free};

/* ---- the request ---- */

static void read_request(struct api_request *request, struct message_list *self)
{
	struct api_query *query = &request->query;

	api_page_init(&self->page, &self->job, with_rows);
	api_list_wishes_read(&self->wishes, query);
	api_filter_read(query, &self->page.filter);
	api_sort_read(query, &self->page.sort);
	self->page.members = self->wishes.members;
	self->page.extra_items = api_list_wishes_items(&self->wishes);
	self->page.limit = (size_t)api_query_number(
		query, "limit", 1, api_list_wishes_bodies(&self->wishes) ? MAX_LIMIT_WITH_BODIES : MAX_LIMIT, 50);
	struct span cursor = api_query_text(query, "cursor");
	self->page.has_cursor = !span_is_nil(cursor);
	self->query_hash = api_cursor_query_hash(&request->target);
	if (self->page.has_cursor && !api_cursor_parse(cursor, &self->page.cursor)) {
		api_query_fail(query, "'cursor' is none of ours");
	} else if (self->page.has_cursor && self->page.cursor.query != self->query_hash) {
		api_query_fail(query, "'cursor' belongs to another query: filters and sort must stay the same");
	}
}

static void get_page(struct api_request *request)
{
	struct message_list *self = api_job_new(request->app, request->exchange, &request->target, request->credential,
						sizeof *self, &list_handler);

	if (!self) {
		return;
	}
	read_request(request, self);
	if (api_query_finish(&request->query) != GP_OK) {
		list_free(&self->job);
		api_reply_error(request->exchange, &request->query.error);
		return;
	}
	const struct api_job_spec spec = {.mailbox = request->mailbox,
					  .has_uidvalidity = request->has_uidvalidity,
					  .uidvalidity = request->uidvalidity};
	api_job_start(&self->job, &spec);
}

/* ---- representations ---- */

/* A page as JSON first, so that whoever does not say has that. */
static const struct {
	const char *name, *type;
	const struct api_export_format *format; /* NULL: a page */
} representations[] = {
	{"json", "application/json", NULL},
	{"ndjson", "application/x-ndjson", &api_export_ndjson},
	{"mbox", "application/mbox", &api_export_mbox},
	{"zip", "application/zip", &api_export_zip},
};

#define N_REPRESENTATIONS (sizeof representations / sizeof representations[0])

/* By `format=`, else by Accept; -1: a problem has been replied. */
static ptrdiff_t choose_representation(struct api_request *request)
{
	struct api_exchange *exchange = request->exchange;
	struct span name = api_query_text(&request->query, "format");
	const char *types[N_REPRESENTATIONS];

	for (size_t i = 0; i < N_REPRESENTATIONS; i++) {
		if (span_equal_text(name, representations[i].name)) {
			return (ptrdiff_t)i;
		}
		types[i] = representations[i].type;
	}
	if (!span_is_nil(name)) {
		api_query_fail(&request->query, "'format' must be json, ndjson, mbox or zip");
		api_reply_error(exchange, &request->query.error);
		return -1;
	}
	ptrdiff_t chosen = api_accept_choose(exchange->ops->header(exchange, "Accept"), types, N_REPRESENTATIONS);
	if (chosen < 0) {
		api_reply_problem(exchange, API_PROBLEM_NOT_ACCEPTABLE, NULL,
				  "a list comes as %s, %s, %s or %s; 'format' chooses too", types[0], types[1],
				  types[2], types[3]);
	}
	return chosen;
}

void api_messages_get(struct api_request *request)
{
	api_header_add(request->exchange, "Vary", "Accept, " API_VARY);
	ptrdiff_t chosen = choose_representation(request);

	if (chosen >= 0 && representations[chosen].format) {
		/* a stream has no tag: If-Match names another version than it can be */
		if (!api_match_allows(request->exchange->ops->header(request->exchange, "If-Match"), "")) {
			api_reply_precondition(request->exchange, 412, "");
			return;
		}
		api_export_start(request, representations[chosen].format);
	} else if (chosen >= 0) {
		get_page(request);
	}
}
