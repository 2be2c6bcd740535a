/*
 * What the files of composing share: a writer of header fields that folds, and of bodies.
 * Failures stick, so that a caller writes everything and looks at `status` once. Values
 * have been checked (mail_draft_check) before they come here.
 */
#ifndef GP_MAIL_COMPOSE_INTERNAL_H
#define GP_MAIL_COMPOSE_INTERNAL_H

#include "base/buffer.h"
#include "mail/compose.h"

struct mail_writer {
	struct gp_buffer *out; /* borrow */
	size_t column;         /* of the line that is being written */
	enum gp_status status;
};

void mail_write_raw(struct mail_writer *writer, struct span text);
#define mail_write_text(writer, text) mail_write_raw((writer), SPAN_LIT(text))
void mail_write_crlf(struct mail_writer *writer);
/* A blank, or a line end and a blank when `len` more characters do not fit. */
void mail_write_fold(struct mail_writer *writer, size_t len);

/* Whole fields, with their ends. */
void mail_write_unstructured(struct mail_writer *writer, struct span name, struct span value);
void mail_write_addresses(struct mail_writer *writer, const char *name, const struct mail_addresses *addresses);
void mail_write_ids(struct mail_writer *writer, const char *name, const struct mail_ids *ids);
void mail_write_date(struct mail_writer *writer, int64_t seconds, int offset_minutes);

/* "; name=value" of a MIME field: as it is, quoted, or, when it is not ASCII, by RFC 2231. */
void mail_write_param(struct mail_writer *writer, const char *name, struct span value);

/* A media type with parameters, taken apart. */
#define MAIL_MAX_TYPE_PARAMS 8
struct mail_media_type {
	struct span type; /* "text/calendar" */
	struct {
		struct span name, value; /* value: as it is to be written, quotes included */
	} params[MAIL_MAX_TYPE_PARAMS];
	size_t n_params;
};
/* NULL, or what is wrong with it. */
const char *mail_media_type_read(struct span text, struct mail_media_type *type_out);
bool mail_media_type_is(const struct mail_media_type *type, const char *prefix);

/* ---- compose_text.c ---- */

#define MAIL_BASE64_LEN(n_bytes) (((n_bytes) + 2) / 3 * 4)
/* Without line ends; returns MAIL_BASE64_LEN(bytes.len). */
size_t mail_encode_base64(struct span bytes, char *to);
/* Whether the text can stand as it is, but for its line ends. */
bool mail_text_is_7bit(struct span text);
/* As it is, each line with CRLF; quoted-printable likewise. */
void mail_write_lines(struct mail_writer *writer, struct span text);
void mail_write_quoted_printable(struct mail_writer *writer, struct span text);

#endif
