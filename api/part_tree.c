#include "api/part_tree.h"

#include "base/limits.h"
#include "base/utf8.h"
#include "mail/header.h"

/* Strings of one part: longer ones are cut. */
#define MAX_TEXT (16 * GP_KIB)
/* Of each half of a media type. */
#define MAX_TYPE (4 * GP_KIB)

/* ---- building ---- */

static char lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static void fold(char *text)
{
	for (char *p = text; p && *p; p++) {
		*p = lower(*p);
	}
}

static char *repaired_copy(struct gp_arena *arena, struct span raw)
{
	struct gp_buffer text;

	gp_buffer_init(&text, MAX_TEXT * 3);
	enum gp_status status = utf8_append_repaired(&text, raw, NULL);
	char *copy = status == GP_OK ? gp_arena_strdup(arena, gp_buffer_span(&text)) : NULL;
	gp_buffer_deinit(&text);
	return copy;
}

/* A copy that is valid UTF-8, lower case on request; NULL for NIL. */
static enum gp_status text_copy(struct gp_arena *arena, struct span raw, bool is_folded, const char **text_out)
{
	if (span_is_nil(raw)) {
		*text_out = NULL;
		return GP_OK;
	}
	raw = span_slice(raw, 0, MAX_TEXT);
	char *copy = utf8_is_valid(raw) ? gp_arena_strdup(arena, raw) : repaired_copy(arena, raw);
	if (!copy) {
		return GP_NO_MEMORY;
	}
	if (is_folded) {
		fold(copy);
	}
	*text_out = copy;
	return GP_OK;
}

static enum gp_status media_type(struct gp_arena *arena, const struct imap_body *body, const char **type_out)
{
	struct span type = body->type;
	struct span subtype = body->subtype;

	if (body->is_multipart) {
		type = SPAN_LIT("multipart");
		subtype = subtype.len > 0 ? subtype : SPAN_LIT("mixed");
	} else if (type.len == 0) {
		type = SPAN_LIT("text");
		subtype = SPAN_LIT("plain");
	}
	type = span_slice(type, 0, MAX_TYPE);
	subtype = span_slice(subtype, 0, MAX_TYPE);
	char *joined = gp_arena_alloc(arena, type.len + subtype.len + 2);
	if (!joined) {
		return GP_NO_MEMORY;
	}
	memcpy(joined, type.ptr, type.len);
	if (subtype.len > 0) {
		joined[type.len] = '/';
		memcpy(joined + type.len + 1, subtype.ptr, subtype.len);
	}
	if (!utf8_is_valid(span_of(joined))) {
		joined = repaired_copy(arena, span_of(joined));
	}
	fold(joined);
	*type_out = joined;
	return joined ? GP_OK : GP_NO_MEMORY;
}

static struct mail_param *params_of(struct gp_arena *arena, struct imap_params params)
{
	struct mail_param *items = gp_arena_array(arena, params.n_items + 1, sizeof *items);

	for (size_t i = 0; items && i < params.n_items; i++) {
		items[i].name = params.items[i].name;
		items[i].value = params.items[i].value;
	}
	return items;
}

/* Whether there is a parameter that may be `name`, or a section of it (RFC 2231). */
static bool has_param(struct imap_params params, const char *name)
{
	for (size_t i = 0; i < params.n_items; i++) {
		if (span_starts_with_nocase(span_trim(params.items[i].name), name)) {
			return true;
		}
	}
	return false;
}

static enum gp_status filename(struct gp_arena *arena, const struct imap_body *body, const char **name_out)
{
	*name_out = NULL;
	if (!has_param(body->disposition_params, "filename") && !has_param(body->params, "name")) {
		return GP_OK;
	}
	struct mail_param *disposition = params_of(arena, body->disposition_params);
	struct mail_param *type = params_of(arena, body->params);
	struct gp_buffer name;
	bool found = false;

	if (!disposition || !type) {
		return GP_NO_MEMORY;
	}
	gp_buffer_init(&name, MAX_TEXT * 3);
	enum gp_status status = mail_decode_filename(disposition, body->disposition_params.n_items, type,
						     body->params.n_items, &name, &found);
	if (status == GP_LIMIT) {
		status = GP_OK; /* a name beyond the cap is no name */
		found = false;
	}
	if (status == GP_OK && found) {
		status = text_copy(arena, gp_buffer_span(&name), false, name_out);
	}
	gp_buffer_deinit(&name);
	return status;
}

static struct span param(struct imap_params params, const char *name)
{
	for (size_t i = 0; i < params.n_items; i++) {
		if (span_equal_text_nocase(params.items[i].name, name)) {
			return params.items[i].value;
		}
	}
	return SPAN_NIL;
}

static struct span without_brackets(struct span id)
{
	id = span_trim(id);
	if (id.len >= 2 && id.ptr[0] == '<' && id.ptr[id.len - 1] == '>') {
		return span_make(id.ptr + 1, id.len - 2);
	}
	return id;
}

static enum gp_status fill_part(struct mail_part *part, const struct imap_body *body, struct gp_arena *arena)
{
	struct span charset = param(body->params, "charset");
	enum gp_status status = media_type(arena, body, &part->type);

	part->is_multipart = body->is_multipart;
	part->is_message = body->is_message;
	if (status == GP_OK && body->section[0] != '\0') {
		part->part_id = gp_arena_strdup(arena, span_of(body->section));
		status = part->part_id ? GP_OK : GP_NO_MEMORY;
	}
	if (status == GP_OK && span_is_nil(charset) && strncmp(part->type, "text/", 5) == 0) {
		charset = SPAN_LIT("us-ascii");
	}
	if (status == GP_OK) {
		status = text_copy(arena, charset, true, &part->charset);
	}
	if (status == GP_OK) {
		status = filename(arena, body, &part->name);
	}
	if (status == GP_OK) {
		status = text_copy(arena, body->disposition, true, &part->disposition);
	}
	if (status == GP_OK) {
		status = text_copy(arena, without_brackets(body->id), false, &part->cid);
	}
	if (status == GP_OK) {
		status = text_copy(arena, body->language, false, &part->language);
	}
	if (status == GP_OK) {
		status = text_copy(arena, body->location, false, &part->location);
	}
	if (part->cid && part->cid[0] == '\0') {
		part->cid = NULL;
	}
	part->encoding = mail_encoding_parse(body->encoding, NULL);
	part->encoded_size = body->octets;
	part->size = mail_decoded_size(part->encoding, body->octets, &part->size_is_estimate);
	return status;
}

/* Depth-first, along the links of both trees at once. */
enum gp_status api_part_tree_new(const struct imap_body *body, struct gp_arena *arena, struct mail_part **root_out)
{
	const struct imap_body *at = body;
	struct mail_part *parent = NULL;
	struct mail_part *previous = NULL; /* sibling before the next part */
	struct mail_part *root = NULL;

	while (at) {
		struct mail_part *part = gp_arena_new(arena, struct mail_part);
		enum gp_status status = part ? fill_part(part, at, arena) : GP_NO_MEMORY;
		if (status != GP_OK) {
			arena->is_short |= status == GP_NO_MEMORY; /* a part that is not found is not missing */
			return status;
		}
		part->parent = parent;
		if (previous) {
			previous->next = part;
		} else if (parent) {
			parent->first_child = part;
		}
		root = root ? root : part;
		previous = part;
		if (at->first_child) {
			at = at->first_child;
			parent = part;
			previous = NULL;
			continue;
		}
		while (at && at != body && !at->next) {
			at = at->parent;
			previous = parent;
			parent = parent ? parent->parent : NULL;
		}
		at = !at || at == body ? NULL : at->next;
	}
	*root_out = root;
	return GP_OK;
}

/* ---- JSON ---- */

/* The members of one part but for `subParts`. */
static void write_part(struct api_json_writer *writer, const struct mail_part *part, struct span message_href)
{
	api_json_writer_key(writer, "partId");
	api_json_writer_string(writer, part->is_multipart ? NULL : part->part_id);
	api_json_writer_key(writer, "type");
	api_json_writer_string(writer, part->type);
	api_json_writer_key(writer, "charset");
	api_json_writer_string(writer, part->charset);
	api_json_writer_key(writer, "name");
	api_json_writer_string(writer, part->name);
	api_json_writer_key(writer, "disposition");
	api_json_writer_string(writer, part->disposition);
	api_json_writer_key(writer, "cid");
	api_json_writer_string(writer, part->cid);
	api_json_writer_key(writer, "language");
	api_json_writer_string(writer, part->language);
	api_json_writer_key(writer, "location");
	api_json_writer_string(writer, part->location);
	if (part->is_multipart) {
		return;
	}
	api_json_writer_key(writer, "size");
	api_json_writer_number(writer, part->size);
	if (part->size_is_estimate) {
		api_json_writer_key(writer, "sizeIsEstimate");
		api_json_writer_bool(writer, true);
	}
	if (part->part_id) {
		api_json_writer_key(writer, "href");
		api_json_writer_text_begin(writer);
		api_json_writer_text_piece(writer, message_href);
		api_json_writer_text_piece(writer, SPAN_LIT("/parts/"));
		api_json_writer_text_piece(writer, span_of(part->part_id));
		api_json_writer_text_end(writer);
	}
}

void api_part_tree_write(struct api_json_writer *writer, const struct mail_part *root, struct span message_href)
{
	const struct mail_part *at = root;
	size_t depth = 0; /* of `at` below the root */

	if (!root) {
		api_json_writer_null(writer);
		return;
	}
	while (at) {
		api_json_writer_object(writer);
		write_part(writer, at, message_href);
		if (at->first_child && depth < GP_MAX_IMAP_NESTING) {
			api_json_writer_key(writer, "subParts");
			api_json_writer_array(writer);
			at = at->first_child;
			depth++;
			continue;
		}
		api_json_writer_object_end(writer);
		while (depth > 0 && !at->next) {
			at = at->parent;
			depth--;
			api_json_writer_array_end(writer);
			api_json_writer_object_end(writer);
		}
		at = depth > 0 ? at->next : NULL;
	}
}

void api_part_list_write(struct api_json_writer *writer, const struct mail_part_list *list, struct span message_href)
{
	api_json_writer_array(writer);
	for (size_t i = 0; i < list->n_items; i++) {
		api_json_writer_object(writer);
		write_part(writer, list->items[i], message_href);
		api_json_writer_object_end(writer);
	}
	api_json_writer_array_end(writer);
}
