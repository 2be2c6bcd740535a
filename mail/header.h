/*
 * Header fields decoded for people: RFC 5322, RFC 2047, RFC 2231, on GMime.
 * Input is bytes as they stand in a message or an IMAP answer: any charset, any
 * damage. Output is always valid UTF-8 without CR, LF or NUL.
 */
#ifndef GP_MAIL_HEADER_H
#define GP_MAIL_HEADER_H

#include "base/arena.h"
#include "base/buffer.h"

/* Starts GMime; once, before anything else in this room. */
void mail_init(void);

/* Unstructured text (Subject, a phrase, Content-Description): encoded words are
 * decoded (adjacent ones joined before the charset conversion), folding is undone,
 * raw 8-bit bytes are UTF-8 if valid, else Windows-1252. Appends to `out`.
 * `*problem_out` (may be NULL) is set to true if something could not be decoded. */
enum gp_status mail_decode_text(struct span raw, struct gp_buffer *out, bool *problem_out) GP_MUST_USE;

/* Whether `raw` needs no decoding: printable ASCII without the beginning of an encoded
 * word. `*text_out` is then what mail_decode_text() would give, a part of `raw`. */
bool mail_is_plain_text(struct span raw, struct span *text_out);

struct mail_param {
	struct span name, value; /* borrow */
};

/* The value of a MIME parameter by RFC 2231 (name*, name*0*, name*0), then plain,
 * then with RFC 2047 words or raw 8-bit in it. `*found_out` says whether there was one. */
enum gp_status mail_decode_param(const struct mail_param *params, size_t n_params, const char *name,
				 struct gp_buffer *out, bool *found_out) GP_MUST_USE;

/* A file name from Content-Disposition and Content-Type parameters: filename*,
 * filename, name*, name. Path separators and control characters are replaced. */
enum gp_status mail_decode_filename(const struct mail_param *disposition_params, size_t n_disposition_params,
				    const struct mail_param *type_params, size_t n_type_params, struct gp_buffer *out,
				    bool *found_out) GP_MUST_USE;

/* The ids of a Message-ID, In-Reply-To or References field, without angle brackets,
 * at most 1000, into the arena. Text that is no msg-id is passed over; a bare id
 * without brackets counts when there is nothing else. */
enum gp_status mail_parse_ids(struct span raw, struct gp_arena *arena, struct span **ids_out,
			      size_t *n_ids_out) GP_MUST_USE;

/* A Date field. Seconds since 1970 UTC and its own offset in minutes; false if it
 * cannot be read. Years 1 to 9999. */
bool mail_parse_date(struct span raw, int64_t *seconds_out, int *offset_minutes_out);

/* One field of a header block. */
struct mail_field {
	struct span name;
	struct span raw; /* after the colon, folding kept, without the final CRLF */
};

/* Splits a header block (up to and without the empty line; CRLF or LF) into fields,
 * in order; lines that are no fields are passed over. Spans point into `block`. At
 * most 10,000. */
enum gp_status mail_parse_fields(struct span block, struct gp_arena *arena, struct mail_field **fields_out,
				 size_t *n_fields_out) GP_MUST_USE;

/* The base subject of RFC 5256 section 2.1 ("Re:", "Fwd:", "[list]" taken off), from
 * decoded UTF-8, folded to lower case for comparing. */
enum gp_status mail_base_subject(struct span utf8, struct gp_buffer *out) GP_MUST_USE;

#endif
