#include "api/draft.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/base64.h"
#include "api/body.h"
#include "api/moment.h"
#include "api/query.h"
#include "imap/uidset.h"

#define MAX_ARENA (16 * GP_MIB)
#define MAX_PART_ID ((size_t)512)

struct api_draft *api_draft_new(void)
{
	struct api_draft *draft = calloc(1, sizeof *draft);

	if (draft) {
		gp_arena_init(&draft->arena, MAX_ARENA);
		gp_buffer_init(&draft->text, 1);
		gp_buffer_init(&draft->html, 1);
		for (size_t i = 0; i < MAIL_MAX_ATTACHMENTS; i++) {
			gp_buffer_init(&draft->contents[i], 1);
		}
		draft->mail.attachments = draft->attachments;
	}
	return draft;
}

void api_draft_free(struct api_draft **draft)
{
	if (!*draft) {
		return;
	}
	for (size_t i = 0; i < MAIL_MAX_ATTACHMENTS; i++) {
		gp_buffer_deinit(&(*draft)->contents[i]);
	}
	gp_buffer_deinit(&(*draft)->text);
	gp_buffer_deinit(&(*draft)->html);
	gp_arena_deinit(&(*draft)->arena);
	json_decref((*draft)->json);
	free(*draft);
	*draft = NULL;
}

size_t api_draft_size(const struct api_draft *draft)
{
	size_t size = draft->mail.text.len + draft->mail.html.len;

	for (size_t i = 0; i < draft->mail.n_attachments; i++) {
		size += draft->contents[i].len;
	}
	return size;
}

static enum gp_status no_memory(struct gp_error *error)
{
	return gp_error_set(error, GP_NO_MEMORY, "%s", gp_status_text(GP_NO_MEMORY));
}

/* ---- members ---- */

/* Where a value stands: "to[2].email". */
struct path {
	char text[160];
};

static struct path path_of(const char *format, ...) GP_PRINTF(1, 2);
static struct path path_of(const char *format, ...)
{
	struct path path;
	va_list args;

	va_start(args, format);
	vsnprintf(path.text, sizeof path.text, format, args);
	va_end(args);
	return path;
}

/* NULL for a member that is absent or null. */
static json_t *member(const json_t *object, const char *name)
{
	json_t *value = json_object_get(object, name);

	return json_is_null(value) ? NULL : value;
}

static struct span text_of(const json_t *value)
{
	return span_make(json_string_value(value), json_string_length(value));
}

static enum gp_status check_names(const json_t *object, struct path path, const char *const *names, size_t n_names,
				  struct gp_error *error)
{
	if (!json_is_object(object)) {
		return gp_error_set(error, GP_INVALID, "%s: must be an object", path.text);
	}
	return api_body_check_members(object, path.text, names, n_names, error);
}

/* A string, or NIL. The span lives as long as the JSON. */
static enum gp_status read_text(const json_t *object, const char *name, struct path path, struct span *text_out,
				struct gp_error *error)
{
	json_t *value = member(object, name);

	*text_out = SPAN_NIL;
	if (value && !json_is_string(value)) {
		return gp_error_set(error, GP_INVALID, "%s: must be a string", path.text);
	}
	if (value) {
		*text_out = text_of(value);
	}
	return GP_OK;
}

static enum gp_status read_moment(const json_t *root, const char *name, struct api_moment *moment_out, bool *has_out,
				  struct gp_error *error)
{
	struct span text;
	enum gp_status status = read_text(root, name, path_of("%s", name), &text, error);

	if (status != GP_OK) {
		return status;
	}
	*has_out = !span_is_nil(text);
	if (*has_out && (!api_moment_parse(text, moment_out) || moment_out->is_date)) {
		return gp_error_set(error, GP_INVALID, "%s: must be a time as 2026-01-31T12:00:00Z", name);
	}
	return GP_OK;
}

/* ---- addresses ---- */

static enum gp_status read_address(struct api_draft *draft, const json_t *value, struct path path,
				   struct mail_address *address, struct gp_error *error)
{
	static const char *const names[] = {"name", "email"};
	struct gp_error why = {.status = GP_OK};
	struct span email;
	enum gp_status status = check_names(value, path, names, 2, error);

	if (status == GP_OK) {
		status = read_text(value, "name", path_of("%s.name", path.text), &address->name, error);
	}
	if (status == GP_OK) {
		status = read_text(value, "email", path_of("%s.email", path.text), &email, error);
	}
	if (status != GP_OK) {
		return status;
	}
	if (span_is_nil(email)) {
		return gp_error_set(error, GP_INVALID, "%s.email: is missing", path.text);
	}
	status = mail_address_check(email, &draft->arena, &address->email, &why);
	return status == GP_OK ? GP_OK
			       : gp_error_set(error, status, "%s.email: '%s': %s", path.text, api_excerpt(email).text,
					      why.text);
}

static enum gp_status read_addresses(struct api_draft *draft, const char *name, struct mail_addresses *addresses,
				     struct gp_error *error)
{
	json_t *list = member(draft->json, name);
	size_t n = json_array_size(list);

	if (!list) {
		return GP_OK;
	}
	if (!json_is_array(list)) {
		return gp_error_set(error, GP_INVALID,
				    "%s: must be a list as [{\"name\":\"Ann\",\"email\":\"ann@x.org\"}]", name);
	}
	if (n > MAIL_MAX_RECIPIENTS) {
		return gp_error_set(error, GP_INVALID, "%s: there are more than %zu addresses", name,
				    MAIL_MAX_RECIPIENTS);
	}
	addresses->items = gp_arena_array(&draft->arena, n + 1, sizeof *addresses->items);
	if (!addresses->items) {
		return no_memory(error);
	}
	for (size_t i = 0; i < n; i++) {
		enum gp_status status = read_address(draft, json_array_get(list, i), path_of("%s[%zu]", name, i),
						     &addresses->items[i], error);
		if (status != GP_OK) {
			return status;
		}
	}
	addresses->n_items = n;
	return GP_OK;
}

/* ---- ids, headers, keywords ---- */

/* As in a message that was read: without angle brackets; with them is fine too. */
static struct span without_brackets(struct span id)
{
	bool has = id.len >= 2 && id.ptr[0] == '<' && id.ptr[id.len - 1] == '>';

	return has ? span_slice(id, 1, id.len - 2) : id;
}

static enum gp_status read_ids(struct api_draft *draft, const char *name, size_t max, struct mail_ids *ids,
			       struct gp_error *error)
{
	json_t *list = member(draft->json, name);
	size_t n = json_array_size(list);

	if (!list) {
		return GP_OK;
	}
	if (!json_is_array(list) || n > max) {
		return gp_error_set(error, GP_INVALID, "%s: must be a list of at most %zu message ids", name, max);
	}
	ids->items = gp_arena_array(&draft->arena, n + 1, sizeof *ids->items);
	if (!ids->items) {
		return no_memory(error);
	}
	for (size_t i = 0; i < n; i++) {
		const json_t *value = json_array_get(list, i);
		if (!json_is_string(value)) {
			return gp_error_set(error, GP_INVALID, "%s[%zu]: must be a string", name, i);
		}
		ids->items[i] = without_brackets(text_of(value));
	}
	ids->n_items = n;
	return GP_OK;
}

static enum gp_status read_headers(struct api_draft *draft, struct gp_error *error)
{
	json_t *headers = member(draft->json, "headers");
	size_t n = json_object_size(headers);

	if (!headers) {
		return GP_OK;
	}
	if (!json_is_object(headers) || n > MAIL_MAX_EXTRA_HEADERS) {
		return gp_error_set(error, GP_INVALID,
				    "headers: must be an object of at most %zu members as {\"X-Name\":\"value\"}",
				    MAIL_MAX_EXTRA_HEADERS);
	}
	draft->mail.headers = gp_arena_array(&draft->arena, n + 1, sizeof *draft->mail.headers);
	if (!draft->mail.headers) {
		return no_memory(error);
	}
	for (void *at = json_object_iter(headers); at; at = json_object_iter_next(headers, at)) {
		struct span name = span_make(json_object_iter_key(at), json_object_iter_key_len(at));
		const json_t *value = json_object_iter_value(at);
		if (!json_is_string(value)) {
			return gp_error_set(error, GP_INVALID, "headers.%s: must be a string", api_excerpt(name).text);
		}
		draft->mail.headers[draft->mail.n_headers++] =
			(struct mail_extra_header){.name = name, .value = text_of(value)};
	}
	return GP_OK;
}

static enum gp_status read_keywords(struct api_draft *draft, struct gp_error *error)
{
	json_t *keywords = member(draft->json, "keywords");

	if (!keywords) {
		return GP_OK;
	}
	if (!json_is_object(keywords) || json_object_size(keywords) > API_MAX_CHANGED_KEYWORDS) {
		return gp_error_set(error, GP_INVALID,
				    "keywords: must be an object of at most %d members as {\"$draft\":true}",
				    API_MAX_CHANGED_KEYWORDS);
	}
	draft->has_keywords = true;
	for (void *at = json_object_iter(keywords); at; at = json_object_iter_next(keywords, at)) {
		struct span name = span_make(json_object_iter_key(at), json_object_iter_key_len(at));
		struct span flag = api_keyword_flag(&draft->arena, name);
		if (!json_is_true(json_object_iter_value(at))) {
			return gp_error_set(error, GP_INVALID, "keywords.%s: must be true", api_excerpt(name).text);
		}
		if (span_is_nil(flag)) {
			return gp_error_set(error, GP_INVALID, "keywords: '%s' is no keyword", api_excerpt(name).text);
		}
		draft->flags[draft->n_flags++] = flag;
	}
	return GP_OK;
}

/* ---- attachments ---- */

/* A whole number from 1 on; 0: absent. */
static enum gp_status read_number(const json_t *object, const char *name, struct path path, uint32_t max,
				  uint32_t *number_out, struct gp_error *error)
{
	json_t *value = member(object, name);
	json_int_t number = json_integer_value(value);

	if (value && (!json_is_integer(value) || number < 1 || number > (json_int_t)max)) {
		return gp_error_set(error, GP_INVALID, "%s.%s: must be a whole number from 1 to %u", path.text, name,
				    (unsigned)max);
	}
	*number_out = value ? (uint32_t)number : 0;
	return GP_OK;
}

static bool is_part_id(struct span text)
{
	bool is_at_start = true;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '.' ? is_at_start : c < (is_at_start ? '1' : '0') || c > '9') {
			return false;
		}
		is_at_start = c == '.';
	}
	return !is_at_start && text.len <= MAX_PART_ID;
}

static enum gp_status read_source(const json_t *value, struct path path, struct api_draft_source *source,
				  struct gp_error *error)
{
	static const char *const names[] = {"mailbox", "uid", "partId", "uidValidity"};
	enum gp_status status = check_names(value, path, names, 4, error);

	if (status == GP_OK) {
		status = read_text(value, "mailbox", path_of("%s.mailbox", path.text), &source->mailbox, error);
	}
	if (status == GP_OK) {
		status = read_text(value, "partId", path_of("%s.partId", path.text), &source->part_id, error);
	}
	if (status == GP_OK) {
		status = read_number(value, "uid", path, IMAP_UID_STAR - 1, &source->uid, error);
	}
	if (status == GP_OK) {
		status = read_number(value, "uidValidity", path, UINT32_MAX, &source->uidvalidity, error);
	}
	if (status != GP_OK) {
		return status;
	}
	if (!api_is_mailbox_name(source->mailbox)) {
		return gp_error_set(error, GP_INVALID,
				    "%s.mailbox: must be a mailbox's full name: 1 to %zu bytes, no control characters",
				    path.text, API_MAX_MAILBOX_NAME);
	}
	if (source->uid == 0) {
		return gp_error_set(error, GP_INVALID, "%s.uid: is missing", path.text);
	}
	if (!span_is_nil(source->part_id) && !is_part_id(source->part_id)) {
		return gp_error_set(error, GP_INVALID, "%s.partId: must be numbers with dots between, as '1.2'",
				    path.text);
	}
	return GP_OK;
}

static enum gp_status read_disposition(const json_t *value, struct path path, struct mail_attachment *attachment,
				       struct gp_error *error)
{
	struct span text;
	enum gp_status status = read_text(value, "disposition", path_of("%s.disposition", path.text), &text, error);

	if (status != GP_OK) {
		return status;
	}
	if (span_is_nil(text)) {
		attachment->disposition = span_is_nil(attachment->cid) ? MAIL_ATTACHMENT : MAIL_INLINE;
	} else if (span_equal_text_nocase(text, "inline")) {
		attachment->disposition = MAIL_INLINE;
	} else if (span_equal_text_nocase(text, "attachment")) {
		attachment->disposition = MAIL_ATTACHMENT;
	} else {
		return gp_error_set(error, GP_INVALID, "%s.disposition: must be \"attachment\" or \"inline\"",
				    path.text);
	}
	return GP_OK;
}

/* Decodes it, and gives the text of it up. */
static enum gp_status read_content(struct api_draft *draft, json_t *value, struct path path, size_t i,
				   struct gp_error *error)
{
	struct gp_error why = {.status = GP_OK};
	json_t *content = member(value, "content");

	if (!json_is_string(content)) {
		return gp_error_set(error, GP_INVALID, "%s.content: must be a string of base64", path.text);
	}
	enum gp_status status = api_base64_decode(text_of(content), &draft->contents[i], &why);
	if (status != GP_OK) {
		return gp_error_set(error, status, "%s.content: %s", path.text, why.text);
	}
	draft->attachments[i].content = gp_buffer_span(&draft->contents[i]);
	(void)json_object_del(value, "content");
	return GP_OK;
}

static enum gp_status read_attachment(struct api_draft *draft, json_t *value, size_t i, struct gp_error *error)
{
	static const char *const names[] = {"name", "type", "disposition", "cid", "content", "source"};
	struct mail_attachment *attachment = &draft->attachments[i];
	struct path path = path_of("attachments[%zu]", i);
	enum gp_status status = check_names(value, path, names, sizeof names / sizeof names[0], error);

	if (status == GP_OK) {
		status = read_text(value, "name", path_of("%s.name", path.text), &attachment->name, error);
	}
	if (status == GP_OK) {
		status = read_text(value, "type", path_of("%s.type", path.text), &attachment->type, error);
	}
	if (status == GP_OK) {
		status = read_text(value, "cid", path_of("%s.cid", path.text), &attachment->cid, error);
	}
	if (status == GP_OK) {
		attachment->cid = without_brackets(attachment->cid);
		status = read_disposition(value, path, attachment, error);
	}
	if (status != GP_OK) {
		return status;
	}
	json_t *source = member(value, "source");
	if (!source == !member(value, "content")) {
		return gp_error_set(error, GP_INVALID, "%s: must have either 'content' or 'source'", path.text);
	}
	return source ? read_source(source, path_of("%s.source", path.text), &draft->sources[i], error)
		      : read_content(draft, value, path, i, error);
}

static enum gp_status read_attachments(struct api_draft *draft, struct gp_error *error)
{
	json_t *list = member(draft->json, "attachments");
	size_t n = json_array_size(list);

	if (!list) {
		return GP_OK;
	}
	if (!json_is_array(list) || n > MAIL_MAX_ATTACHMENTS - draft->n_files) {
		return gp_error_set(error, GP_INVALID, "attachments: must be a list of at most %zu",
				    MAIL_MAX_ATTACHMENTS - draft->n_files);
	}
	for (size_t i = 0; i < n; i++) {
		draft->mail.n_attachments = i + 1;
		enum gp_status status = read_attachment(draft, json_array_get(list, i), i, error);
		if (status != GP_OK) {
			return status;
		}
	}
	return GP_OK;
}

/* ---- all of it ---- */

static enum gp_status read_moments(struct api_draft *draft, struct gp_error *error)
{
	struct api_moment moment = {.seconds = 0};
	enum gp_status status = read_moment(draft->json, "sentAt", &moment, &draft->has_date, error);

	if (status == GP_OK && draft->has_date) {
		draft->mail.date = moment.seconds;
		draft->mail.date_offset = moment.offset;
	}
	if (status == GP_OK) {
		status = read_moment(draft->json, "receivedAt", &moment, &draft->has_received_at, error);
		draft->received_at = moment.seconds;
	}
	if (status == GP_OK && draft->has_received_at && !api_moment_can_arrive(draft->received_at)) {
		status = gp_error_set(error, GP_INVALID, "receivedAt: must lie between 1970 and 2106");
	}
	return status;
}

static enum gp_status read_lists(struct api_draft *draft, struct gp_error *error)
{
	struct mail_draft *mail = &draft->mail;
	const struct {
		const char *name;
		struct mail_addresses *addresses;
	} fields[] = {{"from", &mail->from}, {"sender", &mail->sender}, {"replyTo", &mail->reply_to},
		      {"to", &mail->to},     {"cc", &mail->cc},         {"bcc", &mail->bcc}};
	struct mail_ids message_id = {.n_items = 0};
	enum gp_status status = GP_OK;

	for (size_t i = 0; i < sizeof fields / sizeof fields[0] && status == GP_OK; i++) {
		status = read_addresses(draft, fields[i].name, fields[i].addresses, error);
	}
	if (status == GP_OK) {
		status = read_ids(draft, "messageId", 1, &message_id, error);
		mail->message_id = message_id.n_items > 0 ? message_id.items[0] : SPAN_NIL;
	}
	if (status == GP_OK) {
		status = read_ids(draft, "inReplyTo", MAIL_MAX_REFERENCES, &mail->in_reply_to, error);
	}
	return status == GP_OK ? read_ids(draft, "references", MAIL_MAX_REFERENCES, &mail->references, error) : status;
}

static enum gp_status read_texts(struct api_draft *draft, struct gp_error *error)
{
	struct mail_draft *mail = &draft->mail;
	enum gp_status status = read_text(draft->json, "subject", path_of("subject"), &mail->subject, error);

	if (status == GP_OK) {
		status = read_text(draft->json, "text", path_of("text"), &mail->text, error);
	}
	return status == GP_OK ? read_text(draft->json, "html", path_of("html"), &mail->html, error) : status;
}

enum gp_status api_draft_read_json(struct api_draft *draft, struct span json, struct gp_error *error)
{
	static const char *const names[] = {"from",    "sender",  "replyTo",     "to",        "cc",         "bcc",
					    "subject", "text",    "html",        "inReplyTo", "references", "messageId",
					    "sentAt",  "headers", "attachments", "keywords",  "receivedAt"};
	static enum gp_status (*const readers[])(struct api_draft *, struct gp_error *) = {
		read_lists, read_texts, read_moments, read_headers, read_keywords, read_attachments};
	enum gp_status status = api_body_parse(json, &draft->json, error);

	if (status == GP_OK) {
		status = api_body_check_members(draft->json, NULL, names, sizeof names / sizeof names[0], error);
	}
	for (size_t i = 0; i < sizeof readers / sizeof readers[0] && status == GP_OK; i++) {
		status = readers[i](draft, error);
	}
	return status;
}

/* ---- forms ---- */

static enum gp_status add_addresses(struct api_draft *draft, struct span name, struct mail_addresses *addresses,
				    struct span value, struct gp_error *error)
{
	struct gp_error why = {.status = GP_OK};
	struct mail_address *more = NULL;
	size_t n_more = 0;
	enum gp_status status = mail_address_parse(value, MAIL_MAX_RECIPIENTS - addresses->n_items, &draft->arena,
						   &more, &n_more, &why);

	if (status != GP_OK) {
		return gp_error_set(error, status, "%.*s: %s", SPAN_ARGS(name), why.text);
	}
	struct mail_address *all =
		gp_arena_array(&draft->arena, addresses->n_items + n_more + 1, sizeof *addresses->items);
	if (!all) {
		return no_memory(error);
	}
	for (size_t i = 0; i < addresses->n_items + n_more; i++) {
		all[i] = i < addresses->n_items ? addresses->items[i] : more[i - addresses->n_items];
	}
	addresses->items = all;
	addresses->n_items += n_more;
	return GP_OK;
}

static enum gp_status set_once(struct span name, struct span *text, struct gp_buffer *kept, struct gp_buffer *value,
			       struct gp_error *error)
{
	if (!span_is_nil(*text)) {
		return gp_error_set(error, GP_INVALID, "%.*s: is there twice", SPAN_ARGS(name));
	}
	*kept = *value;
	gp_buffer_init(value, 1);
	*text = gp_buffer_span(kept);
	return GP_OK;
}

static enum gp_status set_subject(struct api_draft *draft, struct span value, struct gp_error *error)
{
	if (!span_is_nil(draft->mail.subject)) {
		return gp_error_set(error, GP_INVALID, "subject: is there twice");
	}
	return gp_arena_copy(&draft->arena, value, &draft->mail.subject) ? GP_OK : no_memory(error);
}

static enum gp_status set_field(struct api_draft *draft, struct span name, struct gp_buffer *value,
				struct gp_error *error)
{
	struct mail_draft *mail = &draft->mail;
	const struct {
		const char *name;
		struct mail_addresses *addresses;
	} lists[] = {{"from", &mail->from}, {"to", &mail->to}, {"cc", &mail->cc}, {"bcc", &mail->bcc}};

	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		if (span_equal_text(name, lists[i].name)) {
			return add_addresses(draft, name, lists[i].addresses, gp_buffer_span(value), error);
		}
	}
	if (span_equal_text(name, "subject")) {
		return set_subject(draft, gp_buffer_span(value), error);
	}
	if (span_equal_text(name, "text")) {
		return set_once(name, &mail->text, &draft->text, value, error);
	}
	if (span_equal_text(name, "html")) {
		return set_once(name, &mail->html, &draft->html, value, error);
	}
	return gp_error_set(error, GP_INVALID,
			    "unknown field '%s': there are message, from, to, cc, bcc, subject, text and html",
			    api_excerpt(name).text);
}

enum gp_status api_draft_set_field(struct api_draft *draft, struct span name, struct gp_buffer *value,
				   struct gp_error *error)
{
	enum gp_status status = set_field(draft, name, value, error);

	gp_buffer_deinit(value);
	return status;
}

enum gp_status api_draft_add_file(struct api_draft *draft, struct span name, struct span type,
				  struct gp_buffer *content, struct gp_error *error)
{
	if (draft->mail.n_attachments + draft->n_files == MAIL_MAX_ATTACHMENTS) {
		gp_buffer_deinit(content);
		return gp_error_set(error, GP_INVALID, "attachments: there are more than %zu", MAIL_MAX_ATTACHMENTS);
	}
	size_t i = MAIL_MAX_ATTACHMENTS - ++draft->n_files;
	struct mail_attachment *attachment = &draft->attachments[i];
	draft->contents[i] = *content;
	gp_buffer_init(content, 1);
	attachment->content = gp_buffer_span(&draft->contents[i]);
	if (!gp_arena_copy(&draft->arena, name, &attachment->name) ||
	    !gp_arena_copy(&draft->arena, type, &attachment->type)) {
		return no_memory(error);
	}
	return GP_OK;
}

static void swap(struct api_draft *draft, size_t a, size_t b)
{
	struct mail_attachment attachment = draft->attachments[a];
	struct api_draft_source source = draft->sources[a];
	struct gp_buffer content = draft->contents[a];

	draft->attachments[a] = draft->attachments[b];
	draft->sources[a] = draft->sources[b];
	draft->contents[a] = draft->contents[b];
	draft->attachments[b] = attachment;
	draft->sources[b] = source;
	draft->contents[b] = content;
}

enum gp_status api_draft_finish(struct api_draft *draft, struct gp_error *error)
{
	size_t n_files = draft->n_files, first = MAIL_MAX_ATTACHMENTS - n_files;

	/* The last one is the first of them there. */
	for (size_t i = 0; i < n_files / 2; i++) {
		swap(draft, first + i, MAIL_MAX_ATTACHMENTS - 1 - i);
	}
	for (size_t i = 0; i < n_files; i++) {
		swap(draft, draft->mail.n_attachments++, first + i);
	}
	draft->n_files = 0;
	return mail_draft_check(&draft->mail, error);
}

bool api_draft_wants_source(const struct api_draft *draft, size_t i)
{
	return !span_is_nil(draft->sources[i].mailbox) && span_is_nil(draft->attachments[i].content);
}
