#include "api/part_tree.h"

#include <ctype.h>

#include "api/reply.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "mail/header.h"

/* Strings of one part: longer ones are cut. */
#define MAX_TEXT (16 * GP_KIB)

/* ---- building ---- */

/* A copy that is valid UTF-8, lower case on request; NULL for NIL. */
static enum gp_status text_copy(struct gp_arena *arena, struct span raw, bool fold, const char **text_out)
{
	if (span_is_nil(raw)) {
		*text_out = NULL;
		return GP_OK;
	}
	struct gp_buffer text;
	gp_buffer_init(&text, MAX_TEXT * 3);
	enum gp_status status = utf8_append_repaired(&text, span_slice(raw, 0, MAX_TEXT), NULL);
	char *copy = status == GP_OK ? gp_arena_strdup(arena, gp_buffer_span(&text)) : NULL;
	gp_buffer_deinit(&text);
	if (!copy) {
		return GP_NO_MEMORY;
	}
	for (char *p = copy; fold && *p; p++) {
		*p = (char)tolower((unsigned char)*p);
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
	const char *joined = subtype.len > 0 ? gp_arena_printf(arena, "%.*s/%.*s", SPAN_ARGS(type), SPAN_ARGS(subtype))
					     : gp_arena_printf(arena, "%.*s", SPAN_ARGS(type));
	return joined ? text_copy(arena, span_of(joined), true, type_out) : GP_NO_MEMORY;
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

static enum gp_status filename(struct gp_arena *arena, const struct imap_body *body, const char **name_out)
{
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
	*name_out = NULL;
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
		at = at == body ? NULL : at->next;
	}
	*root_out = root;
	return GP_OK;
}

/* ---- JSON ---- */

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

json_t *api_part_json(const struct mail_part *part, const char *message_href, struct gp_arena *arena)
{
	json_t *object = json_object();

	api_json_set(object, "partId", text_or_null(part->is_multipart ? NULL : part->part_id));
	api_json_set(object, "type", json_string(part->type));
	api_json_set(object, "charset", text_or_null(part->charset));
	api_json_set(object, "name", text_or_null(part->name));
	api_json_set(object, "disposition", text_or_null(part->disposition));
	api_json_set(object, "cid", text_or_null(part->cid));
	api_json_set(object, "language", text_or_null(part->language));
	api_json_set(object, "location", text_or_null(part->location));
	if (!part->is_multipart) {
		api_json_set(object, "size", json_integer((json_int_t)part->size));
		if (part->size_is_estimate) {
			api_json_set(object, "sizeIsEstimate", json_true());
		}
		if (part->part_id) {
			char *query = strchr(message_href, '?');
			char *href = query ? gp_arena_printf(arena, "%.*s/parts/%s%s", (int)(query - message_href),
							     message_href, part->part_id, query)
					   : gp_arena_printf(arena, "%s/parts/%s", message_href, part->part_id);
			api_json_set(object, "href", href ? json_string(href) : NULL);
		}
	}
	return object;
}

json_t *api_part_tree_json(const struct mail_part *root, const char *message_href, struct gp_arena *arena)
{
	const struct mail_part *at = root;
	json_t *result = api_part_json(root, message_href, arena);
	json_t *levels[GP_MAX_IMAP_NESTING + 2]; /* the object of `at` and of each of its parents; borrowed */
	size_t depth = 0;

	levels[0] = result;
	while (at) {
		if (at->first_child && depth < GP_MAX_IMAP_NESTING) {
			json_t *children = json_array();
			api_json_set(levels[depth], "subParts", children);
			at = at->first_child;
			depth++;
		} else {
			while (depth > 0 && !at->next) {
				at = at->parent;
				depth--;
			}
			at = depth > 0 ? at->next : NULL;
		}
		if (at) {
			json_t *object = api_part_json(at, message_href, arena);
			levels[depth] = object;
			json_t *siblings = json_object_get(levels[depth - 1], "subParts");
			if (json_array_append_new(siblings, object) != 0) {
				json_decref(result);
				return NULL;
			}
		}
	}
	return result;
}

json_t *api_part_list_json(const struct mail_part_list *list, const char *message_href, struct gp_arena *arena)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < list->n_items; i++) {
		if (json_array_append_new(array, api_part_json(list->items[i], message_href, arena)) != 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}
