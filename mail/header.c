/* Fields and ids; the text of a field is words.c, its parameters param.c, dates date.c. */
#include "mail/header.h"

#include <gmime/gmime.h>

#include "base/utf8.h"
#include "mail/header_internal.h"

#define MAX_FIELDS 10000
#define MAX_IDS 1000

void mail_init(void)
{
	g_mime_init();
}

/* ---- fields ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The field at the start of `block`, with its continuation lines; `*len_out` is how
 * much of the block it takes. False for lines that are none, likewise taken. */
static bool take_field(struct span block, struct mail_field *field, size_t *len_out)
{
	size_t end = 0; /* of the content, without the last line end */
	size_t next = 0;

	do {
		ptrdiff_t lf = span_find_char(span_from(block, next), '\n');
		end = lf < 0 ? block.len : next + (size_t)lf;
		next = lf < 0 ? block.len : end + 1;
		if (end > 0 && block.ptr[end - 1] == '\r') {
			end--;
		}
	} while (next < block.len && (block.ptr[next] == ' ' || block.ptr[next] == '\t'));
	*len_out = next;

	size_t name_len = 0;
	while (name_len < end && block.ptr[name_len] > ' ' && block.ptr[name_len] < 0x7F &&
	       block.ptr[name_len] != ':') {
		name_len++;
	}
	size_t colon = name_len;
	while (colon < end && (block.ptr[colon] == ' ' || block.ptr[colon] == '\t')) {
		colon++;
	}
	if (name_len == 0 || colon == end || block.ptr[colon] != ':') {
		return false;
	}
	field->name = span_slice(block, 0, name_len);
	field->raw = span_slice(block, colon + 1, end - colon - 1);
	return true;
}

enum gp_status mail_parse_fields(struct span block, struct gp_arena *arena, struct mail_field **fields_out,
				 size_t *n_fields_out)
{
	struct mail_field *fields = NULL;
	size_t n_fields = 0;

	/* Once to count, once to keep. */
	for (int pass = 0; pass < 2; pass++) {
		struct span rest = block;
		size_t n = 0;
		while (rest.len > 0 && n < MAX_FIELDS && rest.ptr[0] != '\n' && !span_starts_with(rest, "\r\n")) {
			struct mail_field field;
			size_t len;
			if (take_field(rest, &field, &len)) {
				if (pass > 0) {
					fields[n] = field;
				}
				n++;
			}
			rest = span_from(rest, len);
		}
		if (pass == 0) {
			n_fields = n;
			fields = gp_arena_array(arena, n, sizeof *fields);
			if (!fields) {
				return GP_NO_MEMORY;
			}
		}
	}
	*fields_out = fields;
	*n_fields_out = n_fields;
	return GP_OK;
}

/* ---- ids ---- */

struct id_list {
	struct gp_arena *arena; /* borrow */
	struct span *items;     /* own, in the arena */
	size_t n_items;
	size_t n_most;         /* room in `items`; at most MAX_IDS */
	struct gp_buffer text; /* own: the id being cleaned */
};

static bool is_visible_ascii(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7F) {
			return false;
		}
	}
	return true;
}

/* `raw` without what does not belong into an id, in list->text: blanks and control
 * characters inside an id are traces of folding or damage. */
static enum gp_status clean_id(struct id_list *list, struct span raw)
{
	enum gp_status status = GP_OK;

	gp_buffer_truncate(&list->text, 0);
	while (status == GP_OK && raw.len > 0) {
		size_t len = 0;
		while (len < raw.len && (unsigned char)raw.ptr[len] > ' ' && raw.ptr[len] != 0x7F) {
			len++;
		}
		status = utf8_append_repaired(&list->text, span_slice(raw, 0, len), NULL);
		raw = span_from(raw, len + 1);
	}
	return status;
}

static enum gp_status add_id(struct id_list *list, struct span raw)
{
	struct span id = raw;

	if (!is_visible_ascii(raw)) {
		enum gp_status status = clean_id(list, raw);
		if (status != GP_OK) {
			return status;
		}
		id = gp_buffer_span(&list->text);
	}
	if (id.len == 0) {
		return GP_OK;
	}
	if (!list->items) {
		list->items = gp_arena_array(list->arena, list->n_most, sizeof *list->items);
	}
	if (!list->items || !gp_arena_copy(list->arena, id, &list->items[list->n_items])) {
		return GP_NO_MEMORY;
	}
	list->n_items++;
	return GP_OK;
}

/* How many ids there can be, reckoned from what stands between or behind them. */
static size_t count_any(struct span raw, const char *ends)
{
	size_t n = 0;

	for (size_t i = 0; i < raw.len && n < MAX_IDS; i++) {
		n += raw.ptr[i] != '\0' && strchr(ends, raw.ptr[i]);
	}
	return n;
}

static enum gp_status add_bracketed(struct id_list *list, struct span raw)
{
	enum gp_status status = GP_OK;
	size_t from = 0;
	bool is_open = false;

	list->n_most = count_any(raw, ">");
	for (size_t i = 0; i < raw.len && status == GP_OK && list->n_items < list->n_most; i++) {
		if (raw.ptr[i] == '<') {
			from = i + 1;
			is_open = true;
		} else if (raw.ptr[i] == '>' && is_open) {
			status = add_id(list, span_slice(raw, from, i - from));
			is_open = false;
		}
	}
	return status;
}

/* Words with an "@" in them, or the one word that there is. */
static enum gp_status add_bare(struct id_list *list, struct span raw)
{
	enum gp_status status = GP_OK;

	raw = span_trim(raw);
	list->n_most = count_any(raw, " \t\r\n,;");
	list->n_most += list->n_most < MAX_IDS;
	for (size_t i = 0; i < raw.len && status == GP_OK && list->n_items < list->n_most;) {
		size_t from = i;
		while (i < raw.len && !is_blank(raw.ptr[i]) && raw.ptr[i] != ',' && raw.ptr[i] != ';') {
			i++;
		}
		struct span word = span_slice(raw, from, i - from);
		while (word.len > 0 && (word.ptr[0] == '<' || word.ptr[0] == '"' || word.ptr[0] == '(')) {
			word = span_from(word, 1);
		}
		while (word.len > 0 && strchr(">\")", word.ptr[word.len - 1])) {
			word.len--;
		}
		if (span_find_char(word, '@') >= 0 || (from == 0 && i == raw.len)) {
			status = add_id(list, word);
		}
		i++;
	}
	return status;
}

enum gp_status mail_parse_ids(struct span raw, struct gp_arena *arena, struct span **ids_out, size_t *n_ids_out)
{
	struct id_list list = {.arena = arena};

	gp_buffer_init(&list.text, 4 * MAIL_MAX_RAW);
	raw = mail_raw_capped(raw);
	enum gp_status status = add_bracketed(&list, raw);
	if (status == GP_OK && list.n_items == 0) {
		status = add_bare(&list, raw);
	}
	if (status == GP_OK) {
		*ids_out = list.items;
		*n_ids_out = list.n_items;
	}
	gp_buffer_deinit(&list.text);
	return status;
}
