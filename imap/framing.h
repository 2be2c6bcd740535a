/*
 * The lower layer of the parser: splits the stream into responses, nothing else.
 *
 * A response is a line, and when the line announces a literal ("{12}", "{12+}",
 * "~{12}" at its end), the literal's bytes and one more line, and so on. The bytes
 * are kept as they came, without the last line end, so the lexer finds a literal by
 * the same rule: "{n}" and a line end. A line feed is therefore either that line end
 * or inside a literal, and nowhere else. A literal above GP_MAX_IMAP_LITERAL is
 * passed over: only its announcement is kept.
 *
 * The one thing that is looked at beside line ends: free text (of OK, NO, BAD, BYE,
 * PREAUTH, tagged lines, "+", lines that are not IMAP) announces nothing, since it may
 * repeat words of others: a mailbox name "x{500}" in an error must not swallow what
 * follows. Only a response code that is still open can hold a literal there.
 *
 * Owned by struct imap_parser. What it hands out is borrowed until the next call.
 */
#ifndef GP_IMAP_FRAMING_H
#define GP_IMAP_FRAMING_H

#include "base/buffer.h"
#include "imap/parser.h"

enum imap_framing_state {
	IMAP_FRAMING_START,    /* between responses */
	IMAP_FRAMING_LINE,     /* inside a line */
	IMAP_FRAMING_LITERAL,  /* inside a literal that is kept */
	IMAP_FRAMING_OVERSIZE, /* inside one that is passed over */
	IMAP_FRAMING_COMPLETE, /* handed out; the next call starts anew */
	IMAP_FRAMING_FAILED,
};

enum imap_framing_rule { IMAP_LITERALS_ANYWHERE, IMAP_LITERALS_IN_CODE };

struct imap_framing {
	struct gp_buffer bytes; /* the response so far */
	enum imap_framing_state state;
	enum imap_framing_rule rule; /* known once the first line is whole */
	size_t line_start;           /* where in bytes the current line begins */
	uint64_t literal_left;
};

void imap_framing_init(struct imap_framing *framing);
void imap_framing_deinit(struct imap_framing *framing);

/* As imap_parser_next(). `*response_out` is borrowed until the next call. */
enum imap_parser_result imap_framing_next(struct imap_framing *framing, struct span *input, struct span *response_out,
					  struct gp_error *error) GP_MUST_USE;
bool imap_framing_is_at_boundary(const struct imap_framing *framing);
/* Gives memory back; only between responses. */
void imap_framing_trim(struct imap_framing *framing);

#endif
