/* mbox files whole and in pieces of every size, and the dates of From lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/mbox_reader.h"
#include "base/limits.h"

static void test_from_lines(void **state)
{
	static const struct {
		const char *line;
		int64_t date; /* -1: none */
	} cases[] = {
		{"From ann@x Mon Jan  1 10:00:00 2024", 1704103200},
		{"From ann@x  Mon Jan 01 10:00 2024", 1704103200},
		{"From ann@x Jan 1 10:00:00 2024", 1704103200},
		{"From MAILER-DAEMON Mon Jan  1 10:00:00 UTC 2024", 1704103200},
		{"From ann@x Mon Jan  1 11:00:00 2024 +0100", 1704103200},
		{"From ann@x Mon Jan  1 05:30:00 -0430 2024", 1704103200},
		{"From ann x Mon Jan  1 10:00:00 2024 remote from y", 1704103200},
		{"From Mon Jan  1 10:00:00 2024", 1704103200},
		{"From here on it is text", -1},
		{"From ann@x Mon Jan 32 10:00:00 2024", -1},
		{"From ann@x Mon Foo  1 10:00:00 2024", -1},
		{"From ann@x Mon Jan  1 25:00:00 2024", -1},
		{"From ann@x Mon Jan  1 10:00:00", -1},
		{"From ", -1},
		{"From", -1},
		{"Frommage Mon Jan  1 10:00:00 2024", -1},
		{">From ann@x Mon Jan  1 10:00:00 2024", -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t date = -1;
		bool is_one = mbox_parse_from(span_of(cases[i].line), &date);
		if (is_one != (cases[i].date >= 0) || date != cases[i].date) {
			fail_msg("%s: %d %lld", cases[i].line, is_one, (long long)date);
		}
	}
}

/* What a file is read as: each message in brackets. */
static void read_all(struct span file, size_t piece, size_t cap, struct gp_buffer *out)
{
	struct mbox_reader reader;
	enum mbox_result result = MBOX_NEED_MORE;

	mbox_reader_init(&reader, cap);
	gp_buffer_init(out, GP_MIB);
	while (file.len > 0 || result == MBOX_MESSAGE) {
		struct span bytes = span_slice(file, 0, piece);
		char *copy = malloc(bytes.len + 1); /* ends where the sanitizer sees it */
		assert_non_null(copy);
		memcpy(copy, bytes.len ? bytes.ptr : "", bytes.len);
		struct span rest = span_make(copy, bytes.len);
		bool is_end = file.len == 0;
		result = is_end ? mbox_reader_end(&reader) : mbox_reader_feed(&reader, &rest);
		file = span_from(file, bytes.len - rest.len);
		free(copy);
		if (result == MBOX_MESSAGE) {
			assert_int_equal(gp_buffer_printf(out, "[%s", reader.is_too_long ? "!" : ""), GP_OK);
			assert_int_equal(gp_buffer_append(out, gp_buffer_span(&reader.message)), GP_OK);
			assert_int_equal(gp_buffer_append_char(out, ']'), GP_OK);
			mbox_reader_next(&reader);
		} else if (result == MBOX_NOT_ONE) {
			assert_int_equal(gp_buffer_append(out, SPAN_LIT("not one")), GP_OK);
			break;
		}
		if (file.len == 0 && !is_end) {
			result = MBOX_MESSAGE; /* the end is yet to be said */
		}
	}
	mbox_reader_deinit(&reader);
}

#define FROM "From a Mon Jan  1 10:00:00 2024\n"

static void test_files(void **state)
{
	static const struct {
		const char *file, *expected;
		size_t cap;
	} cases[] = {
		{FROM "A: 1\n\nx\n", "[A: 1\r\n\r\nx\r\n]", 0},
		{FROM "A: 1\n\nx", "[A: 1\r\n\r\nx\r\n]", 0},
		{FROM "A: 1\n\nx\n\n", "[A: 1\r\n\r\nx\r\n]", 0},
		{FROM "A: 1\n\nx\n\n\n", "[A: 1\r\n\r\nx\r\n\r\n]", 0},
		{FROM "A\n\n" FROM "B\n\n" FROM "C\n", "[A\r\n][B\r\n][C\r\n]", 0},
		{"From a Mon Jan  1 10:00:00 2024\r\nA\r\n\r\nFrom b Mon Jan  1 10:00:00 2024\r\nB\r\n",
		 "[A\r\n][B\r\n]", 0},
		/* not behind an empty line, or without a date */
		{FROM "A\n" FROM "B\n", "[A\r\nFrom a Mon Jan  1 10:00:00 2024\r\nB\r\n]", 0},
		{FROM "A\n\nFrom here on\nB\n", "[A\r\n\r\nFrom here on\r\nB\r\n]", 0},
		/* quoting */
		{FROM "A\n\n>From x\n>>From y\n>Fromage\n> From z\n",
		 "[A\r\n\r\nFrom x\r\n>From y\r\n>Fromage\r\n> From z\r\n]", 0},
		{FROM "a\rb\r\r\n", "[a\rb\r\r\n]", 0},
		{FROM, "[]", 0},
		{FROM FROM "A\n", "[][A\r\n]", 0},
		{"from the first line\n", "not one", 0},
		{"\n" FROM, "not one", 0},
		{"From someone without a date\nA\n", "[A\r\n]", 0},
		{FROM "0123456789\n\n" FROM "B\n", "[!][B\r\n]", 8},
		{"", "", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (size_t piece = 1; piece < 80; piece++) {
			struct gp_buffer out;
			read_all(span_of(cases[i].file), piece, cases[i].cap ? cases[i].cap : GP_MIB, &out);
			if (!span_equal_text(gp_buffer_span(&out), cases[i].expected)) {
				fail_msg("case %zu in pieces of %zu: %.*s", i, piece, SPAN_ARGS(gp_buffer_span(&out)));
			}
			gp_buffer_deinit(&out);
		}
	}
}

static void test_long_lines(void **state)
{
	static const size_t lengths[] = {998, 999, 1000, 1001, 1002, 5000};

	(void)state;
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		for (size_t piece = 1; piece < 3000; piece += 333) {
			struct gp_buffer file, expected, out;
			gp_buffer_init(&file, GP_MIB);
			gp_buffer_init(&expected, GP_MIB);
			assert_int_equal(gp_buffer_append(&file, SPAN_LIT(FROM "\n>From ")), GP_OK);
			assert_int_equal(gp_buffer_append(&expected, SPAN_LIT("[\r\nFrom ")), GP_OK);
			for (size_t k = 6; k < lengths[i]; k++) {
				char c = k % 97 == 0 ? '\r' : 'x';
				assert_int_equal(gp_buffer_append_char(&file, c), GP_OK);
				assert_int_equal(gp_buffer_append_char(&expected, c), GP_OK);
			}
			assert_int_equal(gp_buffer_append(&file, SPAN_LIT("y\r\nnext\n")), GP_OK);
			assert_int_equal(gp_buffer_append(&expected, SPAN_LIT("y\r\nnext\r\n]")), GP_OK);
			read_all(gp_buffer_span(&file), piece, GP_MIB, &out);
			size_t same = 0;
			while (same < out.len && same < expected.len && out.data[same] == expected.data[same]) {
				same++;
			}
			if (same < out.len || same < expected.len) {
				fail_msg("a line of %zu in pieces of %zu: %zu bytes of %zu, not %zu, are right",
					 lengths[i], piece, same, out.len, expected.len);
			}
			gp_buffer_deinit(&file);
			gp_buffer_deinit(&expected);
			gp_buffer_deinit(&out);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_lines),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_long_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
