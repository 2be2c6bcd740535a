#include "mail/content.h"

#include <stdlib.h>

#include "mail/charset.h"
#include "mail/transfer.h"

#define PIECE 8192

struct mail_content {
	bool is_text;
	struct mail_transfer transfer;
	struct mail_charset charset; /* in use if is_text */
	char decoded[MAIL_TRANSFER_BOUND(PIECE)];
};

enum mail_encoding mail_encoding_parse(struct span name, bool *is_known_out)
{
	static const struct {
		const char *name;
		enum mail_encoding encoding;
	} encodings[] = {
		{"", MAIL_ENCODING_IDENTITY},
		{"7bit", MAIL_ENCODING_IDENTITY},
		{"8bit", MAIL_ENCODING_IDENTITY},
		{"binary", MAIL_ENCODING_IDENTITY},
		{"7-bit", MAIL_ENCODING_IDENTITY},
		{"8-bit", MAIL_ENCODING_IDENTITY},
		{"base64", MAIL_ENCODING_BASE64},
		{"base-64", MAIL_ENCODING_BASE64},
		{"quoted-printable", MAIL_ENCODING_QUOTED_PRINTABLE},
		{"quoted_printable", MAIL_ENCODING_QUOTED_PRINTABLE},
		{"uuencode", MAIL_ENCODING_UUENCODE},
		{"x-uuencode", MAIL_ENCODING_UUENCODE},
		{"x-uue", MAIL_ENCODING_UUENCODE},
		{"uue", MAIL_ENCODING_UUENCODE},
	};
	ptrdiff_t comment = span_find_char(name, ';');

	if (comment >= 0) {
		name.len = (size_t)comment;
	}
	name = span_trim(name);
	while (name.len > 0 && (name.ptr[0] == '"' || name.ptr[0] == '\'')) {
		name = span_trim(span_from(name, 1));
	}
	while (name.len > 0 && (name.ptr[name.len - 1] == '"' || name.ptr[name.len - 1] == '\'')) {
		name.len--;
		name = span_trim(name);
	}
	for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++) {
		if (span_equal_text_nocase(name, encodings[i].name)) {
			if (is_known_out) {
				*is_known_out = true;
			}
			return encodings[i].encoding;
		}
	}
	if (is_known_out) {
		*is_known_out = false;
	}
	return MAIL_ENCODING_IDENTITY;
}

struct mail_content *mail_content_new(enum mail_encoding encoding, bool is_text, struct span charset)
{
	struct mail_content *content = malloc(sizeof *content);

	if (!content) {
		return NULL;
	}
	content->is_text = is_text;
	mail_transfer_init(&content->transfer, encoding);
	if (is_text && mail_charset_init(&content->charset, charset) != GP_OK) {
		free(content);
		return NULL;
	}
	return content;
}

void mail_content_free(struct mail_content **content)
{
	if (*content) {
		if ((*content)->is_text) {
			mail_charset_deinit(&(*content)->charset);
		}
		free(*content);
		*content = NULL;
	}
}

enum gp_status mail_content_feed(struct mail_content *content, struct span bytes, struct gp_buffer *out)
{
	enum gp_status status = GP_OK;
	char *room;

	if (content->transfer.encoding == MAIL_ENCODING_IDENTITY) {
		return content->is_text ? mail_charset_feed(&content->charset, bytes, out)
					: gp_buffer_append(out, bytes);
	}
	while (status == GP_OK && bytes.len > 0) {
		struct span piece = span_slice(bytes, 0, PIECE);
		bytes = span_from(bytes, piece.len);
		if (content->is_text) {
			size_t len = mail_transfer_step(&content->transfer, piece, content->decoded);
			status = mail_charset_feed(&content->charset, span_make(content->decoded, len), out);
			continue;
		}
		/* Straight into the buffer where its cap leaves the room to do so. */
		if (gp_buffer_reserve(out, MAIL_TRANSFER_BOUND(piece.len), &room) == GP_OK) {
			gp_buffer_commit(out, mail_transfer_step(&content->transfer, piece, room));
			continue;
		}
		size_t len = mail_transfer_step(&content->transfer, piece, content->decoded);
		status = gp_buffer_append(out, span_make(content->decoded, len));
	}
	return status;
}

enum gp_status mail_content_finish(struct mail_content *content, struct gp_buffer *out)
{
	size_t len = mail_transfer_finish(&content->transfer, content->decoded);
	struct span rest = span_make(content->decoded, len);

	if (!content->is_text) {
		return gp_buffer_append(out, rest);
	}
	enum gp_status status = mail_charset_feed(&content->charset, rest, out);
	return status == GP_OK ? mail_charset_finish(&content->charset, out) : status;
}

bool mail_content_has_problem(const struct mail_content *content)
{
	return content->transfer.has_problem || (content->is_text && content->charset.has_problem);
}
