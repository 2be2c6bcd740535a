#include "api/message_rows.h"

#include <stdlib.h>

enum gp_status api_rows_add(struct api_rows *rows, const struct imap_fetch *row, uint32_t rank, json_t *message,
			    const struct mail_choice *choice)
{
	if (!message) {
		return GP_NO_MEMORY;
	}
	for (size_t i = rows->n_items; i > 0; i--) {
		if (rows->items[i - 1].uid == row->uid) {
			json_decref(message);
			return GP_OK;
		}
	}
	if (rows->n_items == API_MAX_ROWS) {
		json_decref(message);
		return GP_OK;
	}
	if (rows->n_items == rows->size) {
		size_t size = rows->size ? rows->size * 2 : 64;
		struct api_row *items = realloc(rows->items, size * sizeof *items);
		if (!items) {
			json_decref(message);
			return GP_NO_MEMORY;
		}
		rows->items = items;
		rows->size = size;
	}
	rows->items[rows->n_items++] = (struct api_row){
		.uid = row->uid, .position = row->seq, .rank = rank, .message = message, .choice = *choice};
	return GP_OK;
}

static void drop_from(struct api_rows *rows, size_t first)
{
	while (rows->n_items > first) {
		json_decref(rows->items[--rows->n_items].message);
	}
}

void api_rows_deinit(struct api_rows *rows)
{
	drop_from(rows, 0);
	free(rows->items);
	*rows = (struct api_rows){.items = NULL};
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
	drop_from(rows, rows->n_items < limit ? rows->n_items : limit);
}

json_t *api_rows_take_json(struct api_rows *rows)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < rows->n_items; i++) {
		json_t *message = rows->items[i].message;
		rows->items[i].message = NULL;
		if (json_array_append_new(array, message) != 0) {
			json_decref(array);
			array = NULL;
		}
	}
	return array;
}
