#include "mail/html.h"
#include "mail/text.h"

struct plain {
	struct gp_buffer *out; /* borrow */
	enum gp_status status;
	bool has_text;   /* a line was written */
	bool gap_is_due; /* an empty line goes before the next one */
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

/* Runs of white space become one space. */
static enum gp_status append_folded(struct gp_buffer *out, struct span line)
{
	enum gp_status status = GP_OK;

	while (line.len > 0 && status == GP_OK) {
		size_t n = 0;
		while (n < line.len && !is_space(line.ptr[n])) {
			n++;
		}
		status = gp_buffer_append(out, span_slice(line, 0, n));
		line = span_from(line, n);
		if (line.len > 0 && status == GP_OK) {
			status = gp_buffer_append_char(out, ' ');
		}
		while (line.len > 0 && is_space(line.ptr[0])) {
			line = span_from(line, 1);
		}
	}
	return status;
}

static bool put_line(void *ctx, struct span line, bool is_quoted)
{
	struct plain *plain = ctx;

	line = span_trim(line);
	if (line.len == 0) {
		plain->gap_is_due = plain->has_text;
		return true;
	}
	if (plain->gap_is_due) {
		plain->status = gp_buffer_append_char(plain->out, '\n');
	}
	if (plain->status == GP_OK && is_quoted) {
		plain->status = gp_buffer_append(plain->out, SPAN_LIT("> "));
	}
	if (plain->status == GP_OK) {
		plain->status = append_folded(plain->out, line);
	}
	if (plain->status == GP_OK) {
		plain->status = gp_buffer_append_char(plain->out, '\n');
	}
	plain->has_text = true;
	plain->gap_is_due = false;
	return plain->status == GP_OK;
}

enum gp_status mail_html_to_text(struct span utf8, struct gp_buffer *out)
{
	struct plain plain = {.out = out, .status = GP_OK};
	enum gp_status status = mail_html_lines(utf8, put_line, &plain);

	return plain.status != GP_OK ? plain.status : status;
}
