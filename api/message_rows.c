#include "api/message_rows.h"

#include <stdlib.h>

#include "base/limits.h"

void api_rows_init(struct api_rows *rows, bool is_pretty)
{
	*rows = (struct api_rows){.is_pretty = is_pretty};
	gp_buffer_init(&rows->text, GP_MAX_JSON_REPLY);
}

void api_rows_clear(struct api_rows *rows)
{
	rows->n_items = 0;
	gp_buffer_truncate(&rows->text, 0);
}

void api_rows_deinit(struct api_rows *rows)
{
	free(rows->items);
	rows->items = NULL;
	rows->n_items = rows->size = 0;
	gp_buffer_deinit(&rows->text);
}

static bool has_uid(const struct api_rows *rows, uint32_t uid)
{
	for (size_t i = rows->n_items; i > 0; i--) {
		if (rows->items[i - 1].uid == uid) {
			return true;
		}
	}
	return false;
}

static enum gp_status grow(struct api_rows *rows)
{
	if (rows->n_items == rows->size) {
		size_t size = rows->size ? rows->size * 2 : 32;
		struct api_row *items = realloc(rows->items, size * sizeof *items);
		if (!items) {
			return GP_NO_MEMORY;
		}
		rows->items = items;
		rows->size = size;
	}
	return GP_OK;
}

enum gp_status api_rows_add(struct api_rows *rows, const struct api_message_view *view, const struct imap_fetch *fetch,
			    const struct api_message_parts *parts, uint32_t rank)
{
	struct api_json_writer writer;
	size_t text_at = rows->text.len;

	if (has_uid(rows, fetch->uid) || rows->n_items == API_MAX_ROWS) {
		return GP_OK;
	}
	enum gp_status status = grow(rows);
	if (status != GP_OK) {
		return status;
	}
	api_json_writer_init(&writer, &rows->text, rows->is_pretty, API_ROW_DEPTH);
	api_message_write_facts(&writer, view, fetch);
	api_message_write_content(&writer, view, fetch, parts);
	if (api_json_writer_status(&writer) != GP_OK) {
		gp_buffer_truncate(&rows->text, text_at);
		return api_json_writer_status(&writer);
	}
	rows->items[rows->n_items++] = (struct api_row){.uid = fetch->uid,
							.position = fetch->seq,
							.rank = rank,
							.has_preview = api_message_has_preview(fetch),
							.text_at = text_at,
							.text_len = rows->text.len - text_at,
							.choice = parts->choice};
	return GP_OK;
}

void api_rows_remove(struct api_rows *rows, size_t index)
{
	rows->items[index] = rows->items[--rows->n_items];
}

static int compare(const void *a, const void *b)
{
	const struct api_row *x = a;
	const struct api_row *y = b;

	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

void api_rows_finish(struct api_rows *rows, size_t limit)
{
	if (rows->n_items > 1) {
		qsort(rows->items, rows->n_items, sizeof rows->items[0], compare);
	}
	if (rows->n_items > limit) {
		rows->n_items = limit;
	}
}
