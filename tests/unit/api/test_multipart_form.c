#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/multipart_form.h"
#include "base/limits.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))
#define S(text) SPAN_LIT(text)

/* ---- what was told, as text: "name|filename|type=data;" ---- */

static void put(void *ctx, struct span text)
{
	assert_int_equal(gp_buffer_append(ctx, text), GP_OK);
}

static enum gp_status on_part(void *ctx, const struct api_form_part *part, struct gp_error *error)
{
	(void)error;
	put(ctx, part->name);
	put(ctx, S("|"));
	put(ctx, part->has_filename ? part->filename : S("-"));
	put(ctx, S("|"));
	put(ctx, span_is_nil(part->type) ? S("-") : part->type);
	put(ctx, S("="));
	return GP_OK;
}

static enum gp_status on_data(void *ctx, struct span bytes, struct gp_error *error)
{
	(void)error;
	assert_true(bytes.len > 0);
	put(ctx, bytes);
	return GP_OK;
}

static enum gp_status on_part_end(void *ctx, struct gp_error *error)
{
	(void)error;
	put(ctx, S(";"));
	return GP_OK;
}

static const struct api_form_events events = {.part = on_part, .data = on_data, .part_end = on_part_end};

/* In pieces of `step` bytes, each in memory of exactly its size. */
static enum gp_status parse(struct span text, size_t step, struct gp_buffer *told, struct gp_error *error)
{
	struct api_form *form = api_form_new(S("b"), &events, told);
	enum gp_status status = GP_OK;

	assert_non_null(form);
	while (text.len > 0 && status == GP_OK) {
		size_t len = text.len < step ? text.len : step;
		char *piece = malloc(len);
		assert_non_null(piece);
		memcpy(piece, text.ptr, len);
		status = api_form_feed(form, span_make(piece, len), error);
		free(piece);
		text = span_from(text, len);
	}
	if (status == GP_OK) {
		status = api_form_finish(form, error);
	}
	api_form_free(&form);
	assert_null(form);
	return status;
}

#define HEAD(params) "--b\r\nContent-Disposition: form-data; " params "\r\n\r\n"

static const struct {
	struct span form;
	const char *told; /* NULL: refused */
	const char *says;
} cases[] = {
	{S("--b--"), "", NULL},
	{S("--b--\r\n"), "", NULL},
	{S("preamble\r\n--b--\r\nepilogue --b\r\n--b"), "", NULL},
	{S(HEAD("name=a") "1\r\n--b--\r\n"), "a|-|-=1;", NULL},
	{S(HEAD("name=\"a\"") "1\r\n" HEAD("name=\"\"") "\r\n--b--"), "a|-|-=1;|-|-=;", NULL},
	{S(HEAD("name=\"a\"") "\r\n--\r\n--c\r\n-\r--b\n--b\r\r\n--b--"), "a|-|-=\r\n--\r\n--c\r\n-\r--b\n--b\r;",
	 NULL},
	{S(HEAD("name=a") "\r\n\r\n\r\n--b--"), "a|-|-=\r\n\r\n;", NULL},
	{S("--b \t \r\ncontent-disposition:form-data;name=a\r\ncontent-type:  text/plain \r\n\r\n1\r\n--b  \r\n"
	   "Content-Disposition: FORM-DATA; NAME=b\r\nX-Other: y\r\n\r\n2\r\n--b--"),
	 "a|-|text/plain=1;b|-|-=2;", NULL},
	{S(HEAD("name=\"f\"; filename=\"a b.txt\"") "1\r\n--b--"), "f|a b.txt|-=1;", NULL},
	{S(HEAD("name=\"f\"; filename=\"\"") "\r\n--b--"), "f||-=;", NULL},
	{S(HEAD("filename=x; name=f;") "1\r\n--b--"), "f|x|-=1;", NULL},
	/* browsers and newer curl; older curl; Windows paths */
	{S(HEAD("name=\"f\"; filename=\"a%22b%0D%0ac%41%.txt\"") "1\r\n--b--"), "f|a\"b\r\nc%41%.txt|-=1;", NULL},
	{S(HEAD("name=\"f\"; filename=\"a\\\"b\\\\c\\d.txt\"") "1\r\n--b--"), "f|a\"b\\c\\d.txt|-=1;", NULL},
	{S(HEAD("name=\"f\"; filename=\"\xE6\xBC\xA2;\xC3\xA9=.txt\"") "1\r\n--b--"),
	 "f|\xE6\xBC\xA2;\xC3\xA9=.txt|-=1;", NULL},
	{S(HEAD("name=\"f\"; filename=\"x\"; filename*=UTF-8''%e2%82%ac%20'.txt") "1\r\n--b--"),
	 "f|\xE2\x82\xAC '.txt|-=1;", NULL},
	{S(HEAD("name=\"f\"; filename*=utf-8'en'%C3%A9; filename=\"x\"") "1\r\n--b--"), "f|\xC3\xA9|-=1;", NULL},
	{S("--b\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: Binary\r\n\r\n1\r\n--b--"),
	 "a|-|-=1;", NULL},

	{S(""), NULL, "last boundary is missing"},
	{S("--b"), NULL, "last boundary is missing"},
	{S("--b\r\n"), NULL, "last boundary is missing"},
	{S("--a--"), NULL, "last boundary is missing"},
	{S("x--b--"), NULL, "last boundary is missing"},
	{S(HEAD("name=a") "1"), NULL, "last boundary is missing"},
	{S(HEAD("name=a") "1\r\n--b"), NULL, "last boundary is missing"},
	{S(HEAD("name=a") "1\r\n--b-"), NULL, "last boundary is missing"},
	{S(HEAD("name=a") "1\n--b--"), NULL, "last boundary is missing"},
	{S(HEAD("name=a") "1\r\n--bc\r\n--b--"), NULL, "behind a boundary"},
	{S(HEAD("name=a") "1\r\n--b -\r\n--b--"), NULL, "behind a boundary"},
	{S("--b\r\n\r\n1\r\n--b--"), NULL, "no Content-Disposition"},
	{S("--b\r\nContent-Type: text/plain\r\n\r\n1\r\n--b--"), NULL, "no Content-Disposition"},
	{S("--b\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--b--"), NULL, "not form-data"},
	{S("--b\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\n1\r\n--b--"),
	 NULL, "two fields"},
	{S(HEAD("filename=a") "1\r\n--b--"), NULL, "no name"},
	{S(HEAD("name=\"a") "1\r\n--b--"), NULL, "cannot be read"},
	{S(HEAD("name=\"a\\\"") "1\r\n--b--"), NULL, "cannot be read"},
	{S(HEAD("name=a; x") "1\r\n--b--"), NULL, "cannot be read"},
	{S(HEAD("name=\"a\"b") "1\r\n--b--"), NULL, "cannot be read"},
	{S(HEAD("name=\"\xFF\"") "1\r\n--b--"), NULL, "not UTF-8"},
	{S(HEAD("name=a; filename*=iso-8859-1''%E9") "1\r\n--b--"), NULL, "not UTF-8"},
	{S(HEAD("name=a; filename*=UTF-8''%E9") "1\r\n--b--"), NULL, "not UTF-8"},
	{S(HEAD("name=a; filename*=UTF-8''%4") "1\r\n--b--"), NULL, "not UTF-8"},
	{S(HEAD("name=a; filename*=x") "1\r\n--b--"), NULL, "not UTF-8"},
	{S("--b\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\n1\r\n--b--"), NULL, "no name"},
	{S("--b\r\nContent-Disposition\r\n\r\n1\r\n--b--"), NULL, "no field"},
	{S("--b\r\n: form-data\r\n\r\n1\r\n--b--"), NULL, "no field"},
	{S("--b\r\nContent-Disposition: form-data; name=\"a\0\"\r\n\r\n1\r\n--b--"), NULL, "no field"},
	{S("--b\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\nMQ==\r\n--b--"),
	 NULL, "Transfer-Encoding"},
};

static void forms(void **state)
{
	(void)state;

	for (size_t i = 0; i < N_OF(cases); i++) {
		for (size_t step = 1; step <= cases[i].form.len + 1; step++) {
			struct gp_buffer told;
			struct gp_error error = {.status = GP_OK};
			gp_buffer_init(&told, GP_MIB);
			enum gp_status status = parse(cases[i].form, step, &told, &error);
			if (status != (cases[i].told ? GP_OK : GP_INVALID) || status != error.status) {
				fail_msg("case %zu, step %zu: %s %s", i, step, gp_status_name(status), error.text);
			}
			if (cases[i].told && !span_equal_text(gp_buffer_span(&told), cases[i].told)) {
				fail_msg("case %zu, step %zu: %.*s", i, step, SPAN_ARGS(gp_buffer_span(&told)));
			}
			if (cases[i].says && !strstr(error.text, cases[i].says)) {
				fail_msg("case %zu, step %zu: %s", i, step, error.text);
			}
			gp_buffer_deinit(&told);
		}
	}
}

static void boundaries(void **state)
{
	static const struct {
		struct span type;
		const char *boundary; /* NULL: none */
	} types[] = {
		{S("multipart/form-data; boundary=abc"), "abc"},
		{S("Multipart/Form-Data;BOUNDARY=\"a b'()+_,-./:=?\""), "a b'()+_,-./:=?"},
		{S("multipart/form-data; charset=utf-8; boundary=----WebKitFormBoundaryABC"),
		 "----WebKitFormBoundaryABC"},
		{S("multipart/form-data; "
		   "boundary=1234567890123456789012345678901234567890123456789012345678901234567890"),
		 "1234567890123456789012345678901234567890123456789012345678901234567890"},
		{S("multipart/form-data; "
		   "boundary=12345678901234567890123456789012345678901234567890123456789012345678901"),
		 NULL},
		{S("multipart/form-data"), NULL},
		{S("multipart/form-data; boundary="), NULL},
		{S("multipart/form-data; boundary=\"\""), NULL},
		{S("multipart/form-data; boundary=\"a"), NULL},
		{S("multipart/form-data; boundary=\"a \""), NULL},
		{S("multipart/form-data; boundary=\"a\\\"b\""), NULL},
		{S("multipart/form-data; boundary=\"a\r\nb\""), NULL},
		{S("multipart/form-data; boundary=a; boundary=b"), NULL},
		{S("multipart/form-data; boundary=a; x"), NULL},
		{S("multipart/form-data; boundary=\xC3\xA9"), NULL},
		{S("multipart/mixed; boundary=a"), NULL},
		{S("application/json"), NULL},
		{S(""), NULL},
	};
	(void)state;

	for (size_t i = 0; i < N_OF(types); i++) {
		struct span boundary = SPAN_NIL;
		print_message("%.*s\n", SPAN_ARGS(types[i].type));
		assert_int_equal(api_form_boundary(types[i].type, &boundary), types[i].boundary != NULL);
		assert_true(span_equal(boundary, span_of(types[i].boundary)));
	}
}

static void caps(void **state)
{
	struct gp_buffer form, told;
	struct gp_error error = {.status = GP_OK};
	(void)state;

	gp_buffer_init(&form, GP_MIB);
	gp_buffer_init(&told, GP_MIB);
	for (size_t i = 0; i < API_MAX_FORM_PARTS; i++) {
		assert_int_equal(gp_buffer_append(&form, S(HEAD("name=a") "1\r\n")), GP_OK);
	}
	assert_int_equal(gp_buffer_append(&form, S("--b--")), GP_OK);
	assert_int_equal(parse(gp_buffer_span(&form), 1000, &told, &error), GP_OK);
	gp_buffer_truncate(&form, form.len - strlen("--b--"));
	assert_int_equal(gp_buffer_append(&form, S(HEAD("name=a") "1\r\n--b--")), GP_OK);
	assert_int_equal(parse(gp_buffer_span(&form), 1000, &told, &error), GP_INVALID);
	assert_non_null(strstr(error.text, "more than 256 parts"));
	gp_buffer_deinit(&form);

	/* endless lines: refused when the cap is passed, in any pieces */
	static const char *const begins[] = {"--b\r\nX-Y: ", "--b\r\nContent-Disposition: form-data; name=\"", "--b ",
					     "--b\r\n"};
	for (size_t i = 0; i < N_OF(begins); i++) {
		for (size_t step = 1; step < 70000; step *= 5) {
			gp_buffer_truncate(&form, 0);
			assert_int_equal(gp_buffer_append(&form, span_of(begins[i])), GP_OK);
			for (size_t j = 0; j < 100000; j++) {
				assert_int_equal(gp_buffer_append_char(&form, i == 2 ? ' ' : 'x'), GP_OK);
			}
			gp_error_clear(&error);
			assert_int_equal(parse(gp_buffer_span(&form), step, &told, &error), GP_INVALID);
			assert_null(strstr(error.text, "missing"));
		}
	}
	gp_buffer_deinit(&form);
	gp_buffer_deinit(&told);
}

static enum gp_status refuse(void *ctx, struct span bytes, struct gp_error *error)
{
	(void)bytes;
	++*(unsigned *)ctx;
	return gp_error_set(error, GP_LIMIT, "enough");
}

static enum gp_status accept_part(void *ctx, const struct api_form_part *part, struct gp_error *error)
{
	(void)ctx;
	(void)part;
	(void)error;
	return GP_OK;
}

static void refusing(void **state)
{
	static const struct api_form_events refusing_events = {
		.part = accept_part, .data = refuse, .part_end = on_part_end};
	struct gp_error error = {.status = GP_OK};
	unsigned n_calls = 0;
	struct api_form *form = api_form_new(S("b"), &refusing_events, &n_calls);
	(void)state;

	assert_int_equal(api_form_feed(form, S(HEAD("name=a") "1\r\n--b--"), &error), GP_LIMIT);
	assert_string_equal(error.text, "enough");
	assert_int_equal(n_calls, 1);
	api_form_free(&form);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms),
		cmocka_unit_test(boundaries),
		cmocka_unit_test(caps),
		cmocka_unit_test(refusing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
