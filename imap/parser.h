/*
 * The IMAP response parser: bytes in, typed responses out. Sans I/O.
 *
 * Two layers. Framing splits the stream into responses: lines, with the literals
 * they announce ("{123}", "{+}" forms, "~{…}"), under the caps of base/limits.h.
 * Grammar reads one whole response. Framing never depends on grammar: what the
 * grammar cannot read costs one item of one message, never the connection.
 *
 * Bytes may arrive in any pieces, one at a time too; nothing is scanned twice;
 * memory grows with what arrives, never with what was announced. There is no
 * recursion. A literal above GP_MAX_IMAP_LITERAL is passed over without being
 * kept (its item is marked too long).
 */
#ifndef GP_IMAP_PARSER_H
#define GP_IMAP_PARSER_H

#include "base/status.h"
#include "imap/response.h"

struct imap_parser;

enum imap_parser_result {
	IMAP_PARSER_NEED_MORE, /* all of the input was taken */
	IMAP_PARSER_RESPONSE,
	IMAP_PARSER_ERROR, /* a cap, or no memory: the stream cannot be followed any more */
};

/* NULL when memory ends. */
struct imap_parser *imap_parser_new(void);
void imap_parser_free(struct imap_parser **parser);

/* Takes bytes from the front of `*input` (which is advanced) until one response is
 * complete. `*response_out` is borrowed until the next call. On IMAP_PARSER_ERROR,
 * `error` says why. */
enum imap_parser_result imap_parser_next(struct imap_parser *parser, struct span *input,
					 const struct imap_response **response_out, struct gp_error *error);
/* True between responses: no byte of an unfinished one has been taken. */
bool imap_parser_is_at_boundary(const struct imap_parser *parser);
/* Gives back memory that a large response needed. */
void imap_parser_trim(struct imap_parser *parser);
/* Gives back all of it: nothing more is expected for long. */
void imap_parser_release(struct imap_parser *parser);

/* A date-time of INTERNALDATE, "17-Jul-1996 02:44:25 -0700"; false if it is none. */
bool imap_parse_date_time(struct span text, int64_t *seconds_out);

#endif
