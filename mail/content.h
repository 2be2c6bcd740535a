/*
 * Content decoding as a stream: transfer encoding (RFC 2045), then, for text,
 * charset to UTF-8. Bytes go in in any pieces; what comes out is appended to a
 * buffer that the caller drains, at most about 4 output bytes for one of input.
 * Nothing is ever refused: bad base64 and bad charsets give what can be read, and
 * U+FFFD.
 */
#ifndef GP_MAIL_CONTENT_H
#define GP_MAIL_CONTENT_H

#include "base/buffer.h"

enum mail_encoding {
	MAIL_ENCODING_IDENTITY, /* 7bit, 8bit, binary, absent, unknown */
	MAIL_ENCODING_BASE64,
	MAIL_ENCODING_QUOTED_PRINTABLE,
	MAIL_ENCODING_UUENCODE,
};

/* Tolerates quotes, padding and case; `*is_known_out` (may be NULL) is false for
 * a name that is no registered encoding. */
enum mail_encoding mail_encoding_parse(struct span name, bool *is_known_out);

struct mail_content;

/* `charset` NIL: the bytes as they are; else text of that charset becomes UTF-8
 * (a NIL or unknown one: UTF-8 if it is valid, else Windows-1252 for "us-ascii",
 * absent or unknown). Line ends are kept. NULL when memory ends. */
struct mail_content *mail_content_new(enum mail_encoding encoding, bool is_text, struct span charset);
void mail_content_free(struct mail_content **content);
enum gp_status mail_content_feed(struct mail_content *content, struct span bytes, struct gp_buffer *out) GP_MUST_USE;
/* The end of the input: what is left over comes out. */
enum gp_status mail_content_finish(struct mail_content *content, struct gp_buffer *out) GP_MUST_USE;
/* Something was not decodable: unknown charset or encoding, bad bytes. */
bool mail_content_has_problem(const struct mail_content *content);

#endif
