#include "api/body_values.h"

#include <stdlib.h>

#include "base/utf8.h"
#include "mail/text.h"

#define PREVIEW_BYTES (4 * GP_KIB) /* encoded, of the part that a preview is made from */

struct api_body_message {
	uint32_t uid;
	bool has_values, has_preview;
	struct gp_buffer values;  /* members of `bodyValues`, as they came */
	struct gp_buffer preview; /* the member `preview` */
};

struct api_body_want {
	uint32_t uid;
	size_t message;               /* index into `messages` */
	const struct mail_part *part; /* borrow: in the job's arena */
	bool is_preview;
	bool is_done;
	uint64_t encoded_bytes; /* how much of the part is asked for */
};

void api_body_values_init(struct api_body_values *values, struct api_job *job, size_t max_bytes, uint64_t budget,
			  unsigned depth, void (*done)(struct api_job *job))
{
	*values = (struct api_body_values){
		.job = job, .max_bytes = max_bytes, .budget = budget, .depth = depth, .done = done};
}

void api_body_values_deinit(struct api_body_values *values)
{
	for (size_t i = 0; i < values->n_messages; i++) {
		gp_buffer_deinit(&values->messages[i].values);
		gp_buffer_deinit(&values->messages[i].preview);
	}
	free(values->messages);
	values->messages = NULL;
	values->n_messages = values->messages_size = values->write_at = 0;
	free(values->wants);
	values->wants = NULL;
	values->n_wants = values->size = 0;
	values->is_out_of_memory = false;
}

/* ---- what was made ---- */

/* A writer of members behind those that the buffer holds. */
static struct api_json_writer writer_behind(const struct api_body_values *values, struct gp_buffer *members,
					    unsigned depth)
{
	struct api_json_writer writer;

	api_json_writer_init(&writer, members, values->job->exchange->is_pretty, depth);
	writer.needs_comma = members->len > 0;
	return writer;
}

/* `preview`; NIL is null. */
static enum gp_status put_preview(struct api_body_values *values, size_t message, struct span text)
{
	struct gp_buffer *member = &values->messages[message].preview;

	gp_buffer_truncate(member, 0);
	struct api_json_writer writer = writer_behind(values, member, values->depth);
	api_json_writer_key(&writer, "preview");
	api_json_writer_text(&writer, text);
	values->messages[message].has_preview = true;
	return api_json_writer_status(&writer);
}

static enum gp_status put_value(struct api_body_values *values, const struct api_body_want *want, struct span text,
				bool is_cut, bool has_problem)
{
	struct gp_buffer *members = &values->messages[want->message].values;
	struct api_json_writer writer = writer_behind(values, members, values->depth + 1);
	size_t good = members->len;

	if (text.len > values->max_bytes) {
		text = span_slice(text, 0, values->max_bytes);
		text.len = utf8_valid_prefix(text);
		is_cut = true;
	}
	api_json_writer_text_key(&writer, span_of(want->part->part_id));
	api_json_writer_object(&writer);
	api_json_writer_key(&writer, "value");
	api_json_writer_text(&writer, text);
	api_json_writer_key(&writer, "isTruncated");
	api_json_writer_bool(&writer, is_cut);
	api_json_writer_key(&writer, "isEncodingProblem");
	api_json_writer_bool(&writer, has_problem);
	api_json_writer_object_end(&writer);
	if (api_json_writer_status(&writer) != GP_OK) {
		gp_buffer_truncate(members, good);
	}
	return api_json_writer_status(&writer);
}

/* What is not to be had is an empty value that says so. */
static enum gp_status put_missing(struct api_body_values *values, const struct api_body_want *want)
{
	if (want->is_preview) {
		return put_preview(values, want->message, SPAN_NIL);
	}
	return put_value(values, want, SPAN_LIT(""), true, false);
}

void api_body_values_write(struct api_body_values *values, uint32_t uid, struct api_json_writer *writer)
{
	/* in the order in which they were added, each is the first that is looked at */
	for (size_t i = 0; i < values->n_messages; i++) {
		size_t at = (values->write_at + i) % values->n_messages;
		const struct api_body_message *message = &values->messages[at];
		if (message->uid != uid) {
			continue;
		}
		if (message->has_values) {
			api_json_writer_key(writer, "bodyValues");
			api_json_writer_object(writer);
			api_json_writer_run(writer, gp_buffer_span(&message->values));
			api_json_writer_object_end(writer);
		}
		if (message->has_preview) {
			api_json_writer_run(writer, gp_buffer_span(&message->preview));
		}
		values->write_at = at + 1;
		return;
	}
}

/* ---- decoding ---- */

static enum gp_status decode(const struct mail_part *part, struct span bytes, struct gp_buffer *out, bool *problem_out)
{
	struct mail_content *content = mail_content_new(part->encoding, true, span_of(part->charset));

	if (!content) {
		return GP_NO_MEMORY;
	}
	enum gp_status status = mail_content_feed(content, bytes, out);
	if (status == GP_OK) {
		status = mail_content_finish(content, out);
	}
	*problem_out = mail_content_has_problem(content);
	mail_content_free(&content);
	return status;
}

static enum gp_status take_preview(struct api_body_values *values, const struct api_body_want *want, struct span text)
{
	struct gp_buffer preview;

	gp_buffer_init(&preview, MAIL_PREVIEW_CHARS * 8);
	bool is_html = strcmp(want->part->type, "text/html") == 0;
	enum gp_status status = mail_preview(text, is_html, &preview);
	if (status == GP_OK) {
		status = put_preview(values, want->message, gp_buffer_span(&preview));
	}
	gp_buffer_deinit(&preview);
	return status;
}

static enum gp_status take(struct api_body_values *values, struct api_body_want *want, struct span bytes)
{
	struct gp_buffer text;
	bool has_problem = false;
	bool is_cut = bytes.len >= want->encoded_bytes && bytes.len < want->part->encoded_size;

	want->is_done = true;
	gp_buffer_init(&text, GP_MAX_IMAP_LITERAL * 4 + GP_KIB);
	enum gp_status status = decode(want->part, bytes, &text, &has_problem);
	if (status == GP_OK && want->is_preview) {
		status = take_preview(values, want, gp_buffer_span(&text));
	} else if (status == GP_OK) {
		/* a character that the cut has split is not the message's fault */
		struct span whole = gp_buffer_span(&text);
		status = put_value(values, want, whole, is_cut, has_problem && !is_cut);
	}
	gp_buffer_deinit(&text);
	return status;
}

/* ---- gathering ---- */

/* How much of an encoded part holds `bytes` of decoded text, generously. */
static uint64_t encoded_bytes(const struct mail_part *part, uint64_t bytes)
{
	uint64_t factor = part->encoding == MAIL_ENCODING_QUOTED_PRINTABLE ? 3
			  : part->encoding == MAIL_ENCODING_IDENTITY       ? 1
									   : 2;
	uint64_t wanted = bytes * factor + 512;

	return wanted < GP_MAX_IMAP_LITERAL ? wanted : GP_MAX_IMAP_LITERAL;
}

/* The message's entry, for what is added now: the last one, or a new one. */
static enum gp_status message_of(struct api_body_values *values, uint32_t uid, size_t *message_out)
{
	if (values->n_messages > 0 && values->messages[values->n_messages - 1].uid == uid) {
		*message_out = values->n_messages - 1;
		return GP_OK;
	}
	if (values->n_messages == values->messages_size) {
		size_t size = values->messages_size ? values->messages_size * 2 : 16;
		struct api_body_message *messages = realloc(values->messages, size * sizeof *messages);
		if (!messages) {
			return GP_NO_MEMORY;
		}
		values->messages = messages;
		values->messages_size = size;
	}
	struct api_body_message *message = &values->messages[values->n_messages];
	*message = (struct api_body_message){.uid = uid};
	gp_buffer_init(&message->values, GP_MAX_JSON_REPLY);
	gp_buffer_init(&message->preview, GP_MAX_JSON_REPLY);
	values->left = values->budget;
	values->n_left = API_BODY_VALUES_PARTS;
	*message_out = values->n_messages++;
	return GP_OK;
}

static enum gp_status add(struct api_body_values *values, struct api_body_want want)
{
	enum gp_status status = GP_OK;
	uint64_t whole = want.part->encoded_size < want.encoded_bytes ? want.part->encoded_size : want.encoded_bytes;

	if (whole > values->left || values->n_left == 0) {
		want.is_done = true;
		status = put_missing(values, &want);
	} else {
		values->left -= whole;
		values->n_left--;
	}
	if (status == GP_OK && values->n_wants == values->size) {
		size_t size = values->size ? values->size * 2 : 16;
		struct api_body_want *wants = realloc(values->wants, size * sizeof *wants);
		if (!wants) {
			return GP_NO_MEMORY;
		}
		values->wants = wants;
		values->size = size;
	}
	if (status == GP_OK) {
		values->wants[values->n_wants++] = want;
	}
	return status;
}

static bool is_text(const struct mail_part *part)
{
	return part->part_id && strncmp(part->type, "text/", 5) == 0;
}

static bool is_wanted(const struct api_body_values *values, uint32_t uid, const struct mail_part *part)
{
	for (size_t i = values->n_wants; i > 0 && values->wants[i - 1].uid == uid; i--) {
		if (values->wants[i - 1].part == part && !values->wants[i - 1].is_preview) {
			return true;
		}
	}
	return false;
}

enum gp_status api_body_values_add(struct api_body_values *values, uint32_t uid, const struct mail_part_list *parts)
{
	size_t message = 0;
	enum gp_status status = message_of(values, uid, &message);

	if (status == GP_OK) {
		values->messages[message].has_values = true;
	}
	for (size_t i = 0; i < parts->n_items && status == GP_OK; i++) {
		const struct mail_part *part = parts->items[i];
		if (is_text(part) && !is_wanted(values, uid, part)) {
			const struct api_body_want want = {.uid = uid,
							   .message = message,
							   .part = part,
							   .encoded_bytes = encoded_bytes(part, values->max_bytes)};
			status = add(values, want);
		}
	}
	return status;
}

enum gp_status api_body_values_add_preview(struct api_body_values *values, uint32_t uid,
					   const struct mail_choice *choice)
{
	const struct mail_part_list *lists[] = {&choice->text_body, &choice->html_body};
	size_t message = 0;
	enum gp_status status = message_of(values, uid, &message);

	if (status != GP_OK) {
		return status;
	}
	for (size_t k = 0; k < 2; k++) {
		for (size_t i = 0; i < lists[k]->n_items; i++) {
			const struct mail_part *part = lists[k]->items[i];
			if (is_text(part)) {
				const struct api_body_want want = {.uid = uid,
								   .message = message,
								   .part = part,
								   .is_preview = true,
								   .encoded_bytes = PREVIEW_BYTES};
				return add(values, want);
			}
		}
	}
	return put_preview(values, message, SPAN_LIT(""));
}

/* ---- fetching ---- */

static void fetch_next(struct api_body_values *values);

static struct api_body_values *values_of(void *ctx)
{
	return ctx;
}

static void on_row(void *ctx, const struct imap_fetch *row)
{
	struct api_body_values *values = values_of(ctx);

	for (size_t i = values->group_first; i < values->n_wants; i++) {
		struct api_body_want *want = &values->wants[i];
		if (want->uid != row->uid || want->is_done) {
			continue;
		}
		for (size_t k = 0; k < row->n_sections; k++) {
			const struct imap_section *section = &row->sections[k];
			if (span_equal_text_nocase(section->spec, want->part->part_id)) {
				enum gp_status status = take(values, want, section->value);
				if (status == GP_NO_MEMORY) {
					values->is_out_of_memory = true;
				}
				want->is_done = status == GP_OK;
				break;
			}
		}
	}
}

/* The message is gone, or the server left something out. */
static enum gp_status settle_missing(struct api_body_values *values, const struct api_body_want *like)
{
	enum gp_status status = GP_OK;

	for (size_t i = values->group_first; i < values->n_wants && status == GP_OK; i++) {
		struct api_body_want *want = &values->wants[i];
		if (want->is_done || want->uid != like->uid) {
			continue;
		}
		want->is_done = true;
		status = put_missing(values, want);
	}
	return status;
}

static void on_fetched(void *ctx, const struct gp_error *error)
{
	struct api_body_values *values = values_of(ctx);

	if (!api_job_check(values->job, error)) {
		return;
	}
	if (values->is_out_of_memory) {
		api_job_fail(values->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	fetch_next(values);
}

/* One past the last want of the message that wants[first] belongs to. */
static size_t group_end(const struct api_body_values *values, size_t first)
{
	size_t end = first;

	while (end < values->n_wants && values->wants[end].uid == values->wants[first].uid) {
		end++;
	}
	return end;
}

static bool is_same_group(const struct api_body_values *values, size_t a, size_t a_end, size_t b, size_t b_end)
{
	if (a_end - a != b_end - b) {
		return false;
	}
	for (size_t i = 0; i < a_end - a; i++) {
		const struct api_body_want *x = &values->wants[a + i];
		const struct api_body_want *y = &values->wants[b + i];
		if (strcmp(x->part->part_id, y->part->part_id) != 0 || x->encoded_bytes != y->encoded_bytes ||
		    x->is_done != y->is_done) {
			return false;
		}
	}
	return true;
}

/* The UIDs of all messages that want the very sections of the first group. */
static enum gp_status gather(const struct api_body_values *values, struct imap_uidset *uids)
{
	enum gp_status status = GP_OK;

	for (size_t i = values->group_first; i < values->n_wants && status == GP_OK;) {
		size_t end = group_end(values, i);
		if (is_same_group(values, values->group_first, values->group_end, i, end)) {
			status = imap_uidset_add(uids, values->wants[i].uid, values->wants[i].uid);
		}
		i = end;
	}
	return status;
}

static void fetch_next(struct api_body_values *values)
{
	if (values->group_end > 0 && settle_missing(values, &values->wants[values->group_first]) != GP_OK) {
		api_job_fail(values->job, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	while (values->group_first < values->n_wants && values->wants[values->group_first].is_done) {
		values->group_first++;
	}
	if (values->group_first == values->n_wants) {
		values->done(values->job);
		return;
	}
	values->group_end = group_end(values, values->group_first);

	size_t n = values->group_end - values->group_first;
	struct imap_section_spec *sections = calloc(n, sizeof *sections);
	struct imap_uidset uids;
	imap_uidset_init(&uids);
	if (sections && gather(values, &uids) == GP_OK) {
		size_t n_sections = 0;
		for (size_t i = 0; i < n; i++) {
			const struct api_body_want *want = &values->wants[values->group_first + i];
			/* preview and value of one part */
			bool is_repeated = n_sections > 0 && sections[n_sections - 1].section == want->part->part_id;
			if (want->is_done) {
				continue;
			}
			if (!is_repeated) {
				sections[n_sections++] = (struct imap_section_spec){.section = want->part->part_id,
										    .len = want->encoded_bytes};
			} else if (want->encoded_bytes > sections[n_sections - 1].len) {
				sections[n_sections - 1].len = want->encoded_bytes;
			}
		}
		const struct imap_fetch_spec spec = {
			.uids = &uids, .items = IMAP_ITEM_UID, .sections = sections, .n_sections = n_sections};
		values->job->call = imap_fetch_start(api_job_session(values->job), &spec, on_row, on_fetched, values);
	}
	imap_uidset_deinit(&uids);
	free(sections);
	api_job_started(values->job, values->job->call);
}

void api_body_values_run(struct api_body_values *values)
{
	values->group_first = 0;
	values->group_end = 0;
	fetch_next(values);
}
