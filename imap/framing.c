#include "imap/framing.h"

#include "base/limits.h"

#define KEPT_BYTES (64 * GP_KIB)

void imap_framing_init(struct imap_framing *framing)
{
	*framing = (struct imap_framing){.state = IMAP_FRAMING_START};
	gp_buffer_init(&framing->bytes, GP_MAX_IMAP_RESPONSE);
}

void imap_framing_deinit(struct imap_framing *framing)
{
	gp_buffer_deinit(&framing->bytes);
}

bool imap_framing_is_at_boundary(const struct imap_framing *framing)
{
	return framing->state == IMAP_FRAMING_START || framing->state == IMAP_FRAMING_COMPLETE;
}

void imap_framing_trim(struct imap_framing *framing)
{
	if (imap_framing_is_at_boundary(framing)) {
		gp_buffer_reset(&framing->bytes, KEPT_BYTES);
		framing->state = IMAP_FRAMING_START;
	}
}

static enum imap_parser_result fail(struct imap_framing *framing, struct gp_error *error, enum gp_status status,
				    const char *text)
{
	framing->state = IMAP_FRAMING_FAILED;
	gp_error_set(error, status, "%s", text);
	return IMAP_PARSER_ERROR;
}

static enum imap_parser_result fail_append(struct imap_framing *framing, struct gp_error *error, enum gp_status status)
{
	return fail(framing, error, status, status == GP_LIMIT ? "a response is too long" : gp_status_text(status));
}

static struct span first_word(struct span *line)
{
	while (line->len > 0 && line->ptr[0] == ' ') {
		*line = span_from(*line, 1);
	}
	size_t len = 0;
	while (len < line->len && line->ptr[len] != ' ' && line->ptr[len] != '[') {
		len++;
	}
	struct span word = span_slice(*line, 0, len);
	*line = span_from(*line, len);
	return word;
}

static enum imap_framing_rule rule_of(struct span line)
{
	static const char *const conditions[] = {"OK", "NO", "BAD", "BYE", "PREAUTH"};

	if (!span_equal_text(first_word(&line), "*")) {
		return IMAP_LITERALS_IN_CODE;
	}
	struct span word = first_word(&line);
	for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
		if (span_equal_text_nocase(word, conditions[i])) {
			return IMAP_LITERALS_IN_CODE;
		}
	}
	return IMAP_LITERALS_ANYWHERE;
}

/* Whether a response code is still open at the end of `line`. */
static bool is_code_open(struct span line, bool is_first_line)
{
	if (is_first_line) {
		first_word(&line);
		first_word(&line);
		first_word(&line);
	}
	if (is_first_line && (line.len == 0 || line.ptr[0] != '[')) {
		return false;
	}
	return span_find_char(line, ']') < 0;
}

/* The digits of "{123}" or "{123+}" at the end of `line`; NIL when there are none. */
static struct span announced_digits(struct span line)
{
	if (line.len < 3 || line.ptr[line.len - 1] != '}') {
		return SPAN_NIL;
	}
	size_t end = line.len - 1;
	if (line.ptr[end - 1] == '+') {
		end--;
	}
	size_t start = end;
	while (start > 0 && line.ptr[start - 1] >= '0' && line.ptr[start - 1] <= '9') {
		start--;
	}
	if (start == end || start == 0 || line.ptr[start - 1] != '{') {
		return SPAN_NIL;
	}
	return span_make(line.ptr + start, end - start);
}

/* A line, with its line end, is whole. */
static enum imap_parser_result end_line(struct imap_framing *framing, struct span *response_out, struct gp_error *error)
{
	bool is_first_line = framing->line_start == 0;
	struct span line = span_from(gp_buffer_span(&framing->bytes), framing->line_start);

	line.len--;
	while (line.len > 0 && line.ptr[line.len - 1] == '\r') {
		line.len--;
	}
	if (is_first_line && line.len == 0) {
		gp_buffer_truncate(&framing->bytes, 0);
		framing->state = IMAP_FRAMING_START;
		return IMAP_PARSER_NEED_MORE;
	}

	struct span digits = announced_digits(line);
	if (!span_is_nil(digits)) {
		if (is_first_line) {
			framing->rule = rule_of(line);
		}
		if (framing->rule == IMAP_LITERALS_ANYWHERE || is_code_open(line, is_first_line)) {
			if (!span_to_u64(digits, &framing->literal_left)) {
				return fail(framing, error, GP_LIMIT, "a literal of impossible length");
			}
			framing->state = framing->literal_left > GP_MAX_IMAP_LITERAL ? IMAP_FRAMING_OVERSIZE
										     : IMAP_FRAMING_LITERAL;
			return IMAP_PARSER_NEED_MORE;
		}
	}
	gp_buffer_truncate(&framing->bytes, framing->line_start + line.len);
	framing->state = IMAP_FRAMING_COMPLETE;
	*response_out = gp_buffer_span(&framing->bytes);
	return IMAP_PARSER_RESPONSE;
}

static enum imap_parser_result take_line(struct imap_framing *framing, struct span *input, struct span *response_out,
					 struct gp_error *error)
{
	ptrdiff_t at = span_find_char(*input, '\n');
	struct span piece = at < 0 ? *input : span_slice(*input, 0, (size_t)at + 1);

	if (piece.len > GP_MAX_IMAP_LINE - (framing->bytes.len - framing->line_start)) {
		return fail(framing, error, GP_LIMIT, "a line is too long");
	}
	enum gp_status status = gp_buffer_append(&framing->bytes, piece);
	if (status != GP_OK) {
		return fail_append(framing, error, status);
	}
	*input = span_from(*input, piece.len);
	return at < 0 ? IMAP_PARSER_NEED_MORE : end_line(framing, response_out, error);
}

static enum imap_parser_result take_literal(struct imap_framing *framing, struct span *input, struct gp_error *error)
{
	struct span piece = *input;

	if (piece.len > framing->literal_left) {
		piece.len = (size_t)framing->literal_left;
	}
	if (framing->state == IMAP_FRAMING_LITERAL) {
		enum gp_status status = gp_buffer_append(&framing->bytes, piece);
		if (status != GP_OK) {
			return fail_append(framing, error, status);
		}
	}
	*input = span_from(*input, piece.len);
	framing->literal_left -= piece.len;
	return IMAP_PARSER_NEED_MORE;
}

enum imap_parser_result imap_framing_next(struct imap_framing *framing, struct span *input, struct span *response_out,
					  struct gp_error *error)
{
	enum imap_parser_result result = IMAP_PARSER_NEED_MORE;

	if (framing->state == IMAP_FRAMING_COMPLETE) {
		gp_buffer_truncate(&framing->bytes, 0);
		framing->state = IMAP_FRAMING_START;
	}
	while (result == IMAP_PARSER_NEED_MORE && input->len > 0) {
		switch (framing->state) {
		case IMAP_FRAMING_START:
			if (input->ptr[0] == '\0') {
				*input = span_from(*input, 1);
				break;
			}
			framing->line_start = 0;
			framing->state = IMAP_FRAMING_LINE;
			break;
		case IMAP_FRAMING_LINE:
			result = take_line(framing, input, response_out, error);
			break;
		case IMAP_FRAMING_LITERAL:
		case IMAP_FRAMING_OVERSIZE:
			if (framing->literal_left > 0) {
				result = take_literal(framing, input, error);
			} else {
				framing->line_start = framing->bytes.len;
				framing->state = IMAP_FRAMING_LINE;
			}
			break;
		case IMAP_FRAMING_FAILED:
			return fail(framing, error, GP_PROTOCOL, "the stream was lost before");
		case IMAP_FRAMING_COMPLETE:
			/* reset above */
			return IMAP_PARSER_NEED_MORE;
		}
	}
	return result;
}
