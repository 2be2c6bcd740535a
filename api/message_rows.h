/*
 * The rows of a page while they arrive: each is turned into JSON at once, kept with
 * its rank, and put into order at the end. The text is that of api/json_writer.h's
 * runs: a message's members without the braces.
 */
#ifndef GP_API_MESSAGE_ROWS_H
#define GP_API_MESSAGE_ROWS_H

#include "api/message_json.h"

struct api_row {
	uint32_t uid;
	uint32_t position; /* the sequence number it came with */
	uint32_t rank;     /* ascending in the reply */
	bool has_preview;  /* the server made one, it is in the text */
	size_t text_at, text_len;
	struct mail_choice choice; /* in the view's arena */
};

struct api_rows {
	struct api_row *items; /* own */
	size_t n_items, size;
	struct gp_buffer text; /* of all rows, as they came; of those that were dropped too */
	bool is_pretty;
};

#define API_MAX_ROWS 4000
/* Where the members stand in the reply: {"messages":[{…}]} */
#define API_ROW_DEPTH 3

void api_rows_init(struct api_rows *rows, bool is_pretty);
void api_rows_deinit(struct api_rows *rows);
/* A UID that is there already, or a row too many, is dropped. GP_LIMIT: all of them
 * together are larger than a reply may be. */
enum gp_status api_rows_add(struct api_rows *rows, const struct api_message_view *view, const struct imap_fetch *fetch,
			    const struct api_message_parts *parts, uint32_t rank) GP_MUST_USE;
/* Without a certain row; the order is no longer that of their coming. */
void api_rows_remove(struct api_rows *rows, size_t index);
void api_rows_clear(struct api_rows *rows);
/* By rank, and only the first `limit`. */
void api_rows_finish(struct api_rows *rows, size_t limit);

static inline struct span api_row_text(const struct api_rows *rows, const struct api_row *row)
{
	return span_slice(gp_buffer_span(&rows->text), row->text_at, row->text_len);
}

#endif
