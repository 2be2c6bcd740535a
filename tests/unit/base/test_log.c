/* What the log makes of texts that others chose: one line each, and nothing a terminal or a
 * reader of JSON would act on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/span.h"
#include "base/utf8.h"

#define ROOM 4096

/* What gp_log() writes for `text`, without the time in front of it. */
static struct span logged(enum gp_log_format format, const char *text, char out[ROOM])
{
	int ends[2];
	int saved = dup(STDERR_FILENO);

	assert_int_equal(pipe(ends), 0);
	assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
	gp_log_setup(GP_LOG_INFO, format);
	gp_log(GP_LOG_INFO, "test", "text=%s", text);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	close(ends[1]);
	ssize_t len = read(ends[0], out, ROOM);
	close(ends[0]);
	assert_true(len > 0);
	struct span line = span_make(out, (size_t)len);
	ptrdiff_t at = span_find(line, SPAN_LIT("text="));
	assert_true(at >= 0);
	return span_from(line, (size_t)at + strlen("text="));
}

static void test_nothing_begins_a_line(void **state)
{
	static const struct {
		const char *text, *as_text, *as_json;
	} cases[] = {
		{"plain words", "plain words", "plain words"},
		{"a\r\n2026-01-01T00:00:00.000Z error pool: b", "a\\x0d\\x0a2026-01-01T00:00:00.000Z error pool: b",
		 "a\\u000d\\u000a2026-01-01T00:00:00.000Z error pool: b"},
		{"\x1B[2J", "\\x1b[2J", "\\u001b[2J"},
		{"\x7F", "\\x7f", "\\u007f"},
		{"a\"},{\"b\\", "a\"},{\"b\\", "a\\\"},{\\\"b\\\\"},
		/* CSI in one character, and NEL: terminals act on both */
		{"\xC2\x9B"
		 "2J",
		 "\\x9b2J", "\\u009b2J"},
		{"a\xC2\x85"
		 "b",
		 "a\\x85b", "a\\u0085b"},
		{"a\xE2\x80\xA8"
		 "b\xE2\x80\xA9"
		 "c",
		 "a\\x2028b\\x2029c", "a\\u2028b\\u2029c"},
		{"Gr\xC3\xBC\xC3\x9F"
		 "e \xF0\x9F\x8D\x9C",
		 "Gr\xC3\xBC\xC3\x9F"
		 "e \xF0\x9F\x8D\x9C",
		 "Gr\xC3\xBC\xC3\x9F"
		 "e \xF0\x9F\x8D\x9C"},
		{"a\xFF\xC3", "a??", "a??"},
	};
	char out[ROOM];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char expected[ROOM];
		snprintf(expected, sizeof expected, "%s\n", cases[i].as_text);
		assert_true(span_equal_text(logged(GP_LOG_TEXT, cases[i].text, out), expected));
		snprintf(expected, sizeof expected, "%s\"}\n", cases[i].as_json);
		assert_true(span_equal_text(logged(GP_LOG_JSON, cases[i].text, out), expected));
	}
}

static void test_long_texts_are_cut(void **state)
{
	char text[3000];
	char out[ROOM];

	(void)state;
	for (size_t i = 0; i + 2 < sizeof text; i += 2) {
		memcpy(text + i, i % 4 == 0 ? "\x01\x01" : "\xC2\x9B", 2);
	}
	text[sizeof text - 2] = '\0';
	for (int format = GP_LOG_TEXT; format <= GP_LOG_JSON; format++) {
		struct span line = logged((enum gp_log_format)format, text, out);
		assert_true(line.len < 1200);
		assert_int_equal(line.ptr[line.len - 1], '\n');
		assert_int_equal(span_find_char(line, '\n'), (ptrdiff_t)line.len - 1);
		assert_true(utf8_is_valid(line));
		assert_true(format == GP_LOG_TEXT || span_equal_text(span_from(line, line.len - 3), "\"}\n"));
	}
}

static void test_levels(void **state)
{
	(void)state;
	gp_log_setup(GP_LOG_WARN, GP_LOG_TEXT);
	assert_true(gp_log_enabled(GP_LOG_ERROR));
	assert_true(gp_log_enabled(GP_LOG_WARN));
	assert_false(gp_log_enabled(GP_LOG_INFO));
	assert_false(gp_log_enabled(GP_LOG_DEBUG));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_begins_a_line),
		cmocka_unit_test(test_long_texts_are_cut),
		cmocka_unit_test(test_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
