#include "mail/compose.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "mail/compose_internal.h"

#define BASE64_LINE_BYTES ((size_t)57) /* make 76 characters */
#define BASE64_LINE (MAIL_BASE64_LEN(BASE64_LINE_BYTES))
#define BOUNDARY_SIZE 32
/* Where no address of the sender tells one. */
#define NO_DOMAIN "localhost.invalid"

/* Multiparts, each with a boundary of its own. */
enum level { MIXED, ALTERNATIVE, RELATED, N_LEVELS };

enum piece_kind { PIECE_TEXT, PIECE_RAW, PIECE_BASE64 };

struct piece {
	enum piece_kind kind;
	size_t offset, len;  /* PIECE_TEXT: in `text` */
	struct span content; /* the others, never empty; borrow: the attachment's */
};

struct mail_composed {
	struct gp_buffer text; /* own: everything that is not an attachment's content */
	struct piece *pieces;  /* own */
	size_t n_pieces;
	uint64_t size;
	struct span id; /* a part of `text` */
	/* reading */
	size_t at_piece, at_byte;   /* at_byte: of the piece's text or content */
	char line[BASE64_LINE + 2]; /* base64 that has been made and not been read */
	size_t line_len, line_at;
};

struct composer {
	const struct mail_draft *draft; /* borrow */
	struct mail_composed *made;     /* own until it is done */
	struct mail_writer writer;
	size_t n_flushed; /* bytes of the text that are in pieces */
	size_t max_size;
	size_t id_offset, id_len; /* of the Message-ID in the text */
	char boundaries[N_LEVELS][BOUNDARY_SIZE];
	bool is_8bit; /* a message with bytes above 127 is attached */
};

/* ---- pieces ---- */

static uint64_t piece_size(const struct piece *piece)
{
	uint64_t n_lines = (piece->content.len + BASE64_LINE_BYTES - 1) / BASE64_LINE_BYTES;

	switch (piece->kind) {
	case PIECE_TEXT:
		return piece->len;
	case PIECE_RAW:
		return piece->content.len;
	case PIECE_BASE64:
		return MAIL_BASE64_LEN((uint64_t)piece->content.len) + 2 * (n_lines - 1);
	}
	return 0;
}

static void add_piece(struct composer *self, struct piece piece)
{
	struct mail_composed *made = self->made;

	made->pieces[made->n_pieces++] = piece;
	made->size += piece_size(&piece);
	if (made->size > self->max_size && self->writer.status == GP_OK) {
		self->writer.status = GP_LIMIT;
	}
}

/* What has been written since becomes a piece. */
static void flush(struct composer *self)
{
	size_t len = self->made->text.len - self->n_flushed;

	if (len > 0) {
		add_piece(self, (struct piece){.kind = PIECE_TEXT, .offset = self->n_flushed, .len = len});
		self->n_flushed += len;
	}
}

static void add_content(struct composer *self, enum piece_kind kind, struct span content)
{
	flush(self);
	if (content.len > 0) {
		add_piece(self, (struct piece){.kind = kind, .content = content});
	}
}

/* ---- the head ---- */

static void write_hex(char *to, const unsigned char *bytes, size_t n_bytes)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n_bytes; i++) {
		*to++ = digits[bytes[i] >> 4];
		*to++ = digits[bytes[i] & 15];
	}
	*to = '\0';
}

static void make_boundaries(struct composer *self)
{
	char hex[MAIL_COMPOSE_SEED + 1];

	write_hex(hex, self->draft->seed + MAIL_COMPOSE_SEED / 2, MAIL_COMPOSE_SEED / 2);
	for (unsigned level = 0; level < N_LEVELS; level++) {
		snprintf(self->boundaries[level], BOUNDARY_SIZE, "=_%s_%u", hex, level);
	}
}

static struct span id_domain(const struct mail_draft *draft)
{
	struct span email = draft->from.n_items > 0 ? draft->from.items[0].email : SPAN_NIL;

	for (size_t i = email.len; i > 0; i--) {
		if (email.ptr[i - 1] == '@') {
			return span_from(email, i);
		}
	}
	return SPAN_LIT(NO_DOMAIN);
}

static void write_message_id(struct composer *self)
{
	struct mail_writer *writer = &self->writer;
	struct span given = self->draft->message_id;
	char hex[MAIL_COMPOSE_SEED + 1];

	mail_write_text(writer, "Message-ID: <");
	size_t start = self->made->text.len;
	if (span_is_nil(given)) {
		write_hex(hex, self->draft->seed, MAIL_COMPOSE_SEED / 2);
		mail_write_raw(writer, span_of(hex));
		mail_write_text(writer, "@");
		mail_write_raw(writer, id_domain(self->draft));
	} else {
		mail_write_raw(writer, given);
	}
	self->id_offset = start;
	self->id_len = self->made->text.len - start;
	mail_write_text(writer, ">");
	mail_write_crlf(writer);
}

static void write_head(struct composer *self)
{
	struct mail_writer *writer = &self->writer;
	const struct mail_draft *draft = self->draft;

	mail_write_date(writer, draft->date, draft->date_offset);
	mail_write_addresses(writer, "From", &draft->from);
	mail_write_addresses(writer, "Sender", &draft->sender);
	mail_write_addresses(writer, "Reply-To", &draft->reply_to);
	mail_write_addresses(writer, "To", &draft->to);
	mail_write_addresses(writer, "Cc", &draft->cc);
	mail_write_addresses(writer, "Bcc", &draft->bcc);
	if (!span_is_nil(draft->subject)) {
		mail_write_unstructured(writer, SPAN_LIT("Subject"), draft->subject);
	}
	write_message_id(self);
	mail_write_ids(writer, "In-Reply-To", &draft->in_reply_to);
	mail_write_ids(writer, "References", &draft->references);
	for (size_t i = 0; i < draft->n_headers; i++) {
		mail_write_unstructured(writer, draft->headers[i].name, draft->headers[i].value);
	}
	mail_write_text(writer, "MIME-Version: 1.0\r\n");
}

/* ---- parts ---- */

static void write_delimiter(struct composer *self, enum level level, bool is_last)
{
	mail_write_crlf(&self->writer);
	mail_write_text(&self->writer, "--");
	mail_write_raw(&self->writer, span_of(self->boundaries[level]));
	if (is_last) {
		mail_write_text(&self->writer, "--");
	} else {
		mail_write_crlf(&self->writer);
	}
}

static void write_multipart_head(struct composer *self, enum level level, struct span type)
{
	struct mail_writer *writer = &self->writer;

	mail_write_text(writer, "Content-Type: multipart/");
	mail_write_raw(writer, type);
	mail_write_text(writer, ";");
	mail_write_fold(writer, strlen("boundary=\"\"") + BOUNDARY_SIZE);
	mail_write_text(writer, "boundary=\"");
	mail_write_raw(writer, span_of(self->boundaries[level]));
	mail_write_text(writer, "\"");
	mail_write_crlf(writer);
	if (level == MIXED && self->is_8bit) {
		mail_write_text(writer, "Content-Transfer-Encoding: 8bit\r\n");
	}
}

static void write_text_part(struct composer *self, struct span subtype, struct span text)
{
	struct mail_writer *writer = &self->writer;
	bool is_7bit = mail_text_is_7bit(text);

	mail_write_text(writer, "Content-Type: text/");
	mail_write_raw(writer, subtype);
	mail_write_text(writer, "; charset=utf-8\r\nContent-Transfer-Encoding: ");
	mail_write_raw(writer, is_7bit ? SPAN_LIT("7bit") : SPAN_LIT("quoted-printable"));
	mail_write_text(writer, "\r\n\r\n");
	writer->column = 0;
	(is_7bit ? mail_write_lines : mail_write_quoted_printable)(writer, text);
}

static bool is_8bit(struct span bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		if ((unsigned char)bytes.ptr[i] >= 0x80) {
			return true;
		}
	}
	return false;
}

/* RFC 2046 section 5.2.1: a message is never encoded. Others of its kind (delivery status,
 * …) are ASCII, and are not either; message/global is (RFC 6532). */
static bool is_message(const struct mail_attachment *attachment)
{
	struct mail_media_type type;

	return !span_is_nil(attachment->type) && !mail_media_type_read(attachment->type, &type) &&
	       mail_media_type_is(&type, "message/") && !mail_media_type_is(&type, "message/global");
}

/* Whether every line ends in CRLF, as those of a message must. */
static bool has_good_lines(struct span bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		if (bytes.ptr[i] == '\r' ? i + 1 == bytes.len || bytes.ptr[i + 1] != '\n'
					 : bytes.ptr[i] == '\n' && (i == 0 || bytes.ptr[i - 1] != '\r')) {
			return false;
		}
	}
	return true;
}

static void write_media_type(struct composer *self, const struct mail_attachment *attachment)
{
	struct mail_writer *writer = &self->writer;
	struct mail_media_type type;
	bool has_charset = false;

	if (span_is_nil(attachment->type) || mail_media_type_read(attachment->type, &type)) {
		type = (struct mail_media_type){.type = SPAN_LIT("application/octet-stream")};
	}
	mail_write_text(writer, "Content-Type: ");
	mail_write_raw(writer, type.type);
	for (size_t i = 0; i < type.n_params; i++) {
		mail_write_text(writer, ";");
		mail_write_fold(writer, type.params[i].name.len + type.params[i].value.len + 2);
		mail_write_raw(writer, type.params[i].name);
		mail_write_text(writer, "=");
		mail_write_raw(writer, type.params[i].value);
		has_charset |= span_equal_text_nocase(type.params[i].name, "charset");
	}
	/* Text in UTF-8 that does not say so would be guessed at. */
	if (!has_charset && mail_media_type_is(&type, "text/") && is_8bit(attachment->content) &&
	    utf8_is_valid(attachment->content)) {
		mail_write_text(writer, "; charset=utf-8");
	}
	mail_write_crlf(writer);
}

static void write_attachment(struct composer *self, const struct mail_attachment *attachment)
{
	struct mail_writer *writer = &self->writer;
	bool is_raw = is_message(attachment);

	write_media_type(self, attachment);
	mail_write_text(writer, "Content-Disposition: ");
	mail_write_raw(writer, attachment->disposition == MAIL_INLINE ? SPAN_LIT("inline") : SPAN_LIT("attachment"));
	if (attachment->name.len > 0) {
		mail_write_param(writer, "filename", attachment->name);
	}
	mail_write_crlf(writer);
	if (!span_is_nil(attachment->cid)) {
		mail_write_ids(writer, "Content-ID",
			       &(struct mail_ids){.items = (struct span[]){attachment->cid}, .n_items = 1});
	}
	mail_write_text(writer, "Content-Transfer-Encoding: ");
	mail_write_raw(writer, !is_raw                        ? SPAN_LIT("base64")
			       : is_8bit(attachment->content) ? SPAN_LIT("8bit")
							      : SPAN_LIT("7bit"));
	mail_write_text(writer, "\r\n\r\n");
	writer->column = 0;
	if (!is_raw) {
		add_content(self, PIECE_BASE64, attachment->content);
	} else if (has_good_lines(attachment->content)) {
		add_content(self, PIECE_RAW, attachment->content);
	} else {
		mail_write_lines(writer, attachment->content);
	}
}

/* Shown inside the HTML by its cid. */
static bool is_related(const struct composer *self, const struct mail_attachment *attachment)
{
	return !span_is_nil(self->draft->html) && attachment->disposition == MAIL_INLINE &&
	       !span_is_nil(attachment->cid) && !is_message(attachment);
}

static void write_attachments(struct composer *self, bool related, enum level level)
{
	for (size_t i = 0; i < self->draft->n_attachments; i++) {
		if (is_related(self, &self->draft->attachments[i]) == related) {
			write_delimiter(self, level, false);
			write_attachment(self, &self->draft->attachments[i]);
		}
	}
	write_delimiter(self, level, true);
}

static void write_html(struct composer *self, size_t n_related)
{
	if (n_related == 0) {
		write_text_part(self, SPAN_LIT("html"), self->draft->html);
		return;
	}
	write_multipart_head(self, RELATED, SPAN_LIT("related; type=\"text/html\""));
	write_delimiter(self, RELATED, false);
	write_text_part(self, SPAN_LIT("html"), self->draft->html);
	write_attachments(self, true, RELATED);
}

static bool is_alternative(const struct mail_draft *draft)
{
	return !span_is_nil(draft->text) && !span_is_nil(draft->html);
}

static void write_body(struct composer *self, size_t n_related)
{
	const struct mail_draft *draft = self->draft;

	if (span_is_nil(draft->html)) {
		write_text_part(self, SPAN_LIT("plain"), draft->text);
		return;
	}
	if (span_is_nil(draft->text)) {
		write_html(self, n_related);
		return;
	}
	write_multipart_head(self, ALTERNATIVE, SPAN_LIT("alternative"));
	write_delimiter(self, ALTERNATIVE, false);
	write_text_part(self, SPAN_LIT("plain"), draft->text);
	write_delimiter(self, ALTERNATIVE, false);
	write_html(self, n_related);
	write_delimiter(self, ALTERNATIVE, true);
}

static void write_parts(struct composer *self)
{
	const struct mail_draft *draft = self->draft;
	size_t n_related = 0;

	for (size_t i = 0; i < draft->n_attachments; i++) {
		n_related += is_related(self, &draft->attachments[i]);
	}
	if (n_related == draft->n_attachments) {
		write_body(self, n_related);
	} else {
		write_multipart_head(self, MIXED, SPAN_LIT("mixed"));
		if (!span_is_nil(draft->text) || !span_is_nil(draft->html)) {
			write_delimiter(self, MIXED, false);
			write_body(self, n_related);
		}
		write_attachments(self, false, MIXED);
	}
	if (n_related < draft->n_attachments || n_related > 0 || is_alternative(draft)) {
		mail_write_crlf(&self->writer); /* behind the last delimiter */
	}
}

/* ---- composing ---- */

static enum gp_status check_messages(struct composer *self, struct gp_error *error)
{
	const struct mail_draft *draft = self->draft;

	for (size_t i = 0; i < draft->n_attachments; i++) {
		const struct mail_attachment *attachment = &draft->attachments[i];
		if (!is_message(attachment)) {
			continue;
		}
		if (attachment->content.len > 0 && memchr(attachment->content.ptr, '\0', attachment->content.len)) {
			return gp_error_set(error, GP_INVALID,
					    "attachments[%zu]: the message holds the character NUL, which cannot be "
					    "sent: give it another type",
					    i);
		}
		self->is_8bit |= is_8bit(attachment->content);
	}
	return GP_OK;
}

static enum gp_status make(struct composer *self, struct gp_error *error)
{
	struct mail_composed *made = self->made;

	gp_buffer_init(&made->text, self->max_size);
	made->pieces = calloc(2 * self->draft->n_attachments + 1, sizeof *made->pieces);
	if (!made->pieces) {
		return gp_error_set(error, GP_NO_MEMORY, "%s", gp_status_text(GP_NO_MEMORY));
	}
	self->writer = (struct mail_writer){.out = &made->text, .status = GP_OK};
	make_boundaries(self);
	write_head(self);
	write_parts(self);
	flush(self);
	made->id = span_slice(gp_buffer_span(&made->text), self->id_offset, self->id_len);
	if (self->writer.status == GP_LIMIT) {
		return gp_error_set(error, GP_LIMIT, "the message would have more than %zu bytes", self->max_size);
	}
	return self->writer.status == GP_OK
		       ? GP_OK
		       : gp_error_set(error, self->writer.status, "%s", gp_status_text(self->writer.status));
}

enum gp_status mail_compose(const struct mail_draft *draft, size_t max_size, struct mail_composed **composed_out,
			    struct gp_error *error)
{
	struct composer self = {.draft = draft, .max_size = max_size};
	enum gp_status status = mail_draft_check(draft, error);

	if (status == GP_OK) {
		status = check_messages(&self, error);
	}
	if (status != GP_OK) {
		return status;
	}
	self.made = calloc(1, sizeof *self.made);
	if (!self.made) {
		return gp_error_set(error, GP_NO_MEMORY, "%s", gp_status_text(GP_NO_MEMORY));
	}
	status = make(&self, error);
	if (status != GP_OK) {
		mail_composed_free(&self.made);
		return status;
	}
	*composed_out = self.made;
	return GP_OK;
}

void mail_composed_free(struct mail_composed **composed)
{
	if (*composed) {
		gp_buffer_deinit(&(*composed)->text);
		free((*composed)->pieces);
		free(*composed);
		*composed = NULL;
	}
}

uint64_t mail_composed_size(const struct mail_composed *composed)
{
	return composed->size;
}

size_t mail_composed_text_size(const struct mail_composed *composed)
{
	return composed->text.len;
}

struct span mail_composed_id(const struct mail_composed *composed)
{
	return composed->id;
}

/* ---- reading ---- */

void mail_composed_rewind(struct mail_composed *composed)
{
	composed->at_piece = composed->at_byte = 0;
	composed->line_len = composed->line_at = 0;
}

static void make_line(struct mail_composed *composed, struct span content)
{
	struct span bytes = span_slice(content, composed->at_byte, BASE64_LINE_BYTES);

	composed->line_len = mail_encode_base64(bytes, composed->line);
	composed->line_at = 0;
	composed->at_byte += bytes.len;
	if (composed->at_byte < content.len) {
		composed->line[composed->line_len++] = '\r';
		composed->line[composed->line_len++] = '\n';
	}
}

/* Some bytes of the piece; 0: it is at its end. */
static size_t read_piece(struct mail_composed *composed, const struct piece *piece, char *to, size_t room)
{
	struct span rest;

	if (piece->kind == PIECE_BASE64) {
		if (composed->line_at == composed->line_len && composed->at_byte < piece->content.len) {
			make_line(composed, piece->content);
		}
		rest = span_make(composed->line + composed->line_at, composed->line_len - composed->line_at);
	} else {
		struct span whole = piece->kind == PIECE_RAW
					    ? piece->content
					    : span_slice(gp_buffer_span(&composed->text), piece->offset, piece->len);
		rest = span_from(whole, composed->at_byte);
	}
	size_t len = rest.len < room ? rest.len : room;
	if (len > 0) {
		memcpy(to, rest.ptr, len);
	}
	*(piece->kind == PIECE_BASE64 ? &composed->line_at : &composed->at_byte) += len;
	return len;
}

size_t mail_composed_read(struct mail_composed *composed, char *to, size_t room)
{
	size_t n_read = 0;

	while (n_read < room && composed->at_piece < composed->n_pieces) {
		size_t len = read_piece(composed, &composed->pieces[composed->at_piece], to + n_read, room - n_read);
		if (len == 0) {
			composed->at_piece++;
			composed->at_byte = composed->line_len = composed->line_at = 0;
		}
		n_read += len;
	}
	return n_read;
}
