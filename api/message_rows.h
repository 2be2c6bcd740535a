/*
 * The rows of a page while they arrive: each is turned into JSON at once, kept with
 * its rank, and put into order at the end.
 */
#ifndef GP_API_MESSAGE_ROWS_H
#define GP_API_MESSAGE_ROWS_H

#include "api/filter.h"
#include "api/message_json.h"

struct api_row {
	uint32_t uid;
	uint32_t position; /* the sequence number it came with */
	uint32_t rank;     /* ascending in the reply */
	json_t *message;   /* own */
	struct mail_choice choice;
};

struct api_rows {
	struct api_row *items; /* own */
	size_t n_items, size;
};

#define API_MAX_ROWS 4000

/* Takes the reference to `message`, on failure too. A UID that is there already, or a
 * row too many, is dropped. */
enum gp_status api_rows_add(struct api_rows *rows, const struct imap_fetch *row, uint32_t rank, json_t *message,
			    const struct mail_choice *choice) GP_MUST_USE;
void api_rows_deinit(struct api_rows *rows);
/* By rank, and only the first `limit`; the others are freed. */
void api_rows_finish(struct api_rows *rows, size_t limit);
/* The references move into a new array. NULL: no memory. */
json_t *api_rows_take_json(struct api_rows *rows);

#endif
