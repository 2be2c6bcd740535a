/* Header fields: every function of mail/header.h on the same bytes. What comes out
 * is valid UTF-8 in one line. */
#include <stdlib.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "mail/header.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_true)
{
	if (!is_true) {
		abort();
	}
}

static void check_line(struct gp_buffer *out)
{
	struct span line = gp_buffer_span(out);

	check(utf8_is_valid(line));
	for (size_t i = 0; i < line.len; i++) {
		check(line.ptr[i] != '\r' && line.ptr[i] != '\n' && line.ptr[i] != '\0');
	}
	gp_buffer_truncate(out, 0);
}

/* Lines of name=value. */
static size_t split_params(struct span input, struct mail_param *params, size_t n_most)
{
	size_t n = 0;

	while (input.len > 0 && n < n_most) {
		ptrdiff_t lf = span_find_char(input, '\n');
		struct span line = span_slice(input, 0, lf < 0 ? input.len : (size_t)lf);
		ptrdiff_t sign = span_find_char(line, '=');
		params[n].name = span_slice(line, 0, sign < 0 ? line.len : (size_t)sign);
		params[n].value = sign < 0 ? SPAN_NIL : span_from(line, (size_t)sign + 1);
		n++;
		input = span_from(input, line.len + 1);
	}
	return n;
}

static void fuzz_params(struct span input, struct gp_buffer *out)
{
	struct mail_param params[64];
	size_t n = split_params(input, params, 64);
	bool is_found;

	check(mail_decode_param(params, n, "filename", out, &is_found) == GP_OK);
	check(is_found || out->len == 0);
	check_line(out);
	check(mail_decode_filename(params, n, params, n, out, &is_found) == GP_OK);
	check(is_found == (out->len > 0) && out->len <= 255);
	check(span_find_char(gp_buffer_span(out), '/') < 0);
	check_line(out);
}

static void fuzz_ids(struct span input, struct gp_arena *arena, struct gp_buffer *out)
{
	struct span *ids;
	size_t n_ids;

	check(mail_parse_ids(input, arena, &ids, &n_ids) == GP_OK && n_ids <= 1000);
	for (size_t i = 0; i < n_ids; i++) {
		check(ids[i].len > 0 && gp_buffer_append(out, ids[i]) == GP_OK);
	}
	check_line(out);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	mail_init();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = span_make((const char *)data, size);
	struct gp_arena arena;
	struct gp_buffer out;
	struct gp_buffer subject;
	struct mail_field *fields;
	size_t n_fields;
	int64_t seconds;
	int offset;

	gp_arena_init(&arena, 64 * GP_MIB);
	gp_buffer_init(&out, 16 * GP_MIB);
	gp_buffer_init(&subject, GP_MIB);
	check(mail_decode_text(input, &out, NULL) == GP_OK);
	check(mail_base_subject(gp_buffer_span(&out), &subject) == GP_OK);
	check_line(&out);
	check_line(&subject);
	fuzz_params(input, &out);
	fuzz_ids(input, &arena, &out);
	if (mail_parse_date(input, &seconds, &offset)) {
		check(seconds >= INT64_C(-62135683200) && seconds <= INT64_C(253402387199));
		check(offset > -24 * 60 && offset < 24 * 60);
	}
	check(mail_parse_fields(input, &arena, &fields, &n_fields) == GP_OK);
	for (size_t i = 0; i < n_fields; i++) {
		check(fields[i].name.len > 0 && fields[i].raw.ptr >= input.ptr &&
		      fields[i].raw.ptr + fields[i].raw.len <= input.ptr + input.len);
	}
	gp_buffer_deinit(&out);
	gp_buffer_deinit(&subject);
	gp_arena_deinit(&arena);
	return 0;
}
