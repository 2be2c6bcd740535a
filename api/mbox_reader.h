/*
 * An mbox file, message by message, as it arrives (RFC 4155; mboxrd and mboxo): a line
 * "From sender date" at the beginning or behind an empty line begins a message, ">From "
 * in it was "From ", and the empty line before the next one is not its own. Bare LF
 * becomes CRLF. A "From " line without a date that can be read is text.
 *
 * One message is held at a time. It calls nobody, and can be fed in pieces of any size.
 */
#ifndef GP_API_MBOX_READER_H
#define GP_API_MBOX_READER_H

#include "base/buffer.h"

struct mbox_reader {
	struct gp_buffer line;    /* the one that is coming; what is longer than a From line can be goes on */
	struct gp_buffer message; /* of the message that is coming, or has come */
	bool has_begun;           /* the first From line was seen */
	bool is_in_long_line;
	bool was_empty;   /* the last line was, and is not in `message` yet */
	bool ends_in_cr;  /* of the piece of a long line that was taken */
	bool is_too_long; /* the message is over the cap, and not kept */
	bool is_ended;
	bool is_complete; /* take the message before more is fed */
	/* of the message that is coming, and of the one behind it */
	bool has_date, has_next_date;
	int64_t date, next_date; /* seconds since 1970 UTC */
};

enum mbox_result {
	MBOX_NEED_MORE,
	MBOX_MESSAGE, /* `message`, `date`, is_too_long; mbox_reader_next() goes on */
	MBOX_NOT_ONE, /* it does not begin with a From line */
	MBOX_NO_MEMORY,
};

/* `cap`: octets of one message. */
void mbox_reader_init(struct mbox_reader *reader, size_t cap);
void mbox_reader_deinit(struct mbox_reader *reader);
/* Takes from the front of `bytes`. */
enum mbox_result mbox_reader_feed(struct mbox_reader *reader, struct span *bytes);
/* Nothing follows: the last message. Again, until it says MBOX_NEED_MORE. */
enum mbox_result mbox_reader_end(struct mbox_reader *reader);
/* The message was taken: the next one. */
void mbox_reader_next(struct mbox_reader *reader);

/* "From ann@example.test Mon Jan  1 10:00:00 2024", also with a zone before or behind the
 * year. Without the line's end. */
bool mbox_parse_from(struct span line, int64_t *date_out);

#endif
