#include "api/json_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "api/json.h"
#include "api/reply.h"
#include "base/limits.h"

#define FFFD "\xEF\xBF\xBD"

struct text_case {
	const char *name;
	struct span text;
	const char *json;
};

static const struct text_case text_cases[] = {
	{"NIL", {NULL, 0}, "null"},
	{"empty", SPAN_LIT(""), "\"\""},
	{"plain", SPAN_LIT("Hello, world"), "\"Hello, world\""},
	{"eight bytes and none more", SPAN_LIT("12345678"), "\"12345678\""},
	{"quote and backslash", SPAN_LIT("a\"b\\c"), "\"a\\\"b\\\\c\""},
	{"quote at each end of a word", SPAN_LIT("\"23456789012345\""), "\"\\\"23456789012345\\\"\""},
	{"slash stays", SPAN_LIT("</script>"), "\"</script>\""},
	{"short escapes", SPAN_LIT("\b\t\n\f\r"), "\"\\b\\t\\n\\f\\r\""},
	{"NUL", SPAN_LIT("a\0b"), "\"a\\u0000b\""},
	{"controls", SPAN_LIT("\x01\x0B\x1F\x7F"), "\"\\u0001\\u000B\\u001F\x7F\""},
	{"control in a long run",
	 SPAN_LIT("0123456789\x1B"
		  "0123456789"),
	 "\"0123456789\\u001B0123456789\""},
	{"two, three, four bytes", SPAN_LIT("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
	 "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""},
	{"line separators", SPAN_LIT("\xE2\x80\xA8\xE2\x80\xA9"), "\"\xE2\x80\xA8\xE2\x80\xA9\""},
	{"last code point", SPAN_LIT("\xF4\x8F\xBF\xBF"), "\"\xF4\x8F\xBF\xBF\""},
	{"noncharacter", SPAN_LIT("\xEF\xBF\xBF"), "\"\xEF\xBF\xBF\""},
	{"surrogate", SPAN_LIT("\xED\xA0\x80"), "\"" FFFD FFFD FFFD "\""},
	{"surrogate pair", SPAN_LIT("\xED\xA0\xBD\xED\xB8\x80"), "\"" FFFD FFFD FFFD FFFD FFFD FFFD "\""},
	{"above the last code point", SPAN_LIT("\xF4\x90\x80\x80"), "\"" FFFD FFFD FFFD FFFD "\""},
	{"overlong", SPAN_LIT("\xC0\xAF\xE0\x80\xAF"), "\"" FFFD FFFD FFFD FFFD FFFD "\""},
	{"lone continuation", SPAN_LIT("a\x80z"), "\"a" FFFD "z\""},
	{"never a byte", SPAN_LIT("\xFE\xFF"), "\"" FFFD FFFD "\""},
	{"cut after one of two", SPAN_LIT("a\xC3"), "\"a" FFFD "\""},
	{"cut after two of three", SPAN_LIT("a\xE2\x82"), "\"a" FFFD "\""},
	{"cut after three of four", SPAN_LIT("a\xF0\x9F\x98"), "\"a" FFFD "\""},
	{"cut by a quote", SPAN_LIT("\xE2\x82\""), "\"" FFFD "\\\"\""},
	{"bad after much good", SPAN_LIT("abcdefghijklmnop\xFFq"), "\"abcdefghijklmnop" FFFD "q\""},
};

/* The text of one JSON value is what Jansson reads from it, and what it would write. */
static void assert_is_jansson(struct span json, bool is_pretty)
{
	json_error_t error;
	struct gp_buffer again;

	json_t *value =
		json_loadb(json.ptr, json.len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
	if (!value) {
		fail_msg("%s in: %.*s", error.text, SPAN_ARGS(json));
	}
	gp_buffer_init(&again, GP_MIB);
	assert_int_equal(api_json_write(value, is_pretty, &again), GP_OK);
	gp_buffer_truncate(&again, again.len - 1); /* the newline */
	if (!span_equal(gp_buffer_span(&again), json)) {
		fail_msg("written: %.*s\nJansson: %s", SPAN_ARGS(json), again.data);
	}
	gp_buffer_deinit(&again);
	json_decref(value);
}

static void texts(void **state)
{
	(void)state;

	for (size_t i = 0; i < sizeof text_cases / sizeof text_cases[0]; i++) {
		const struct text_case *c = &text_cases[i];
		struct gp_buffer out;
		struct api_json_writer writer;
		gp_buffer_init(&out, GP_KIB);
		api_json_writer_init(&writer, &out, false, 0);
		api_json_writer_text(&writer, c->text);
		assert_int_equal(api_json_writer_status(&writer), GP_OK);
		if (!span_equal_text(gp_buffer_span(&out), c->json)) {
			fail_msg("%s: %s", c->name, out.data);
		}
		assert_is_jansson(gp_buffer_span(&out), false);
		gp_buffer_deinit(&out);
	}
}

static struct span write_one(struct gp_buffer *out, struct span text)
{
	struct api_json_writer writer;

	gp_buffer_truncate(out, 0);
	api_json_writer_init(&writer, out, false, 0);
	api_json_writer_text(&writer, text);
	assert_int_equal(api_json_writer_status(&writer), GP_OK);
	return gp_buffer_span(out);
}

/* Each byte at each place of the words that are looked at together. */
static void every_byte_everywhere(void **state)
{
	struct gp_buffer out, jansson;
	(void)state;

	gp_buffer_init(&out, GP_KIB);
	gp_buffer_init(&jansson, GP_KIB);
	for (unsigned c = 0; c < 256; c++) {
		for (size_t at = 0; at < 17; at++) {
			char text[17];
			memset(text, 'x', sizeof text);
			text[at] = (char)c;
			gp_buffer_truncate(&jansson, 0);
			json_t *value = api_json_text(span_make(text, sizeof text));
			assert_int_equal(api_json_write(value, false, &jansson), GP_OK);
			gp_buffer_truncate(&jansson, jansson.len - 1);
			json_decref(value);
			struct span written = write_one(&out, span_make(text, sizeof text));
			if (!span_equal(written, gp_buffer_span(&jansson))) {
				fail_msg("byte %u at %zu: %s, Jansson %s", c, at, out.data, jansson.data);
			}
		}
	}
	gp_buffer_deinit(&jansson);
	gp_buffer_deinit(&out);
}

/* Mixtures of what is good and bad, always the same ones. */
static void mixtures(void **state)
{
	static const struct span pieces[] = {
		SPAN_LIT("a"),
		SPAN_LIT("plain text "),
		SPAN_LIT("\""),
		SPAN_LIT("\\"),
		SPAN_LIT("\n"),
		SPAN_LIT("\0"),
		SPAN_LIT("\xC3\xA9"),
		SPAN_LIT("\xC3"),
		SPAN_LIT("\xA9"),
		SPAN_LIT("\xE2\x82\xAC"),
		SPAN_LIT("\xE2\x82"),
		SPAN_LIT("\xED\xA0\x80"),
		SPAN_LIT("\xFF"),
		SPAN_LIT("\xF0\x9F\x98"),
		SPAN_LIT("\xF0\x9F\x98\x80"),
	};
	uint32_t random = 1;
	struct gp_buffer text, out, jansson;
	(void)state;

	gp_buffer_init(&text, 4 * GP_KIB);
	gp_buffer_init(&out, 64 * GP_KIB);
	gp_buffer_init(&jansson, 64 * GP_KIB);
	for (size_t i = 0; i < 2000; i++) {
		gp_buffer_truncate(&text, 0);
		gp_buffer_truncate(&jansson, 0);
		for (size_t n = i % 24; n > 0; n--) {
			random = random * 1664525 + 1013904223;
			assert_int_equal(
				gp_buffer_append(&text, pieces[(random >> 16) % (sizeof pieces / sizeof *pieces)]),
				GP_OK);
		}
		json_t *value = api_json_text(gp_buffer_span(&text));
		assert_int_equal(api_json_write(value, false, &jansson), GP_OK);
		gp_buffer_truncate(&jansson, jansson.len - 1);
		json_decref(value);
		if (!span_equal(write_one(&out, gp_buffer_span(&text)), gp_buffer_span(&jansson))) {
			fail_msg("%s, Jansson %s", out.data, jansson.data);
		}
	}
	gp_buffer_deinit(&jansson);
	gp_buffer_deinit(&out);
	gp_buffer_deinit(&text);
}

/* One of everything, nested, with a run that was written apart. */
static void write_document(struct api_json_writer *writer, struct gp_buffer *run)
{
	struct api_json_writer apart;

	gp_buffer_truncate(run, 0);
	api_json_writer_init(&apart, run, writer->is_pretty, 3);
	api_json_writer_key(&apart, "uid");
	api_json_writer_number(&apart, 7);
	api_json_writer_key(&apart, "empty");
	api_json_writer_object(&apart);
	api_json_writer_object_end(&apart);
	assert_int_equal(api_json_writer_status(&apart), GP_OK);

	api_json_writer_object(writer);
	api_json_writer_key(writer, "messages");
	api_json_writer_array(writer);
	for (int i = 0; i < 2; i++) {
		api_json_writer_object(writer);
		api_json_writer_run(writer, gp_buffer_span(run));
		api_json_writer_run(writer, SPAN_LIT(""));
		api_json_writer_key(writer, "behind");
		api_json_writer_bool(writer, i == 0);
		api_json_writer_object_end(writer);
	}
	api_json_writer_object(writer);
	api_json_writer_run(writer, SPAN_LIT(""));
	api_json_writer_object_end(writer);
	api_json_writer_array_end(writer);
	api_json_writer_key(writer, "none");
	api_json_writer_array(writer);
	api_json_writer_array_end(writer);
	api_json_writer_text_key(writer, SPAN_LIT("a\"\xFF\n"));
	api_json_writer_null(writer);
	api_json_writer_key(writer, "numbers");
	api_json_writer_array(writer);
	api_json_writer_number(writer, 0);
	api_json_writer_number(writer, 4294967295);
	api_json_writer_number(writer, INT64_MAX);
	api_json_writer_number_text(writer, UINT64_MAX);
	api_json_writer_array_end(writer);
	api_json_writer_key(writer, "email");
	api_json_writer_text_begin(writer);
	api_json_writer_text_piece(writer, SPAN_LIT("\xC3"));
	api_json_writer_text_piece(writer, SPAN_LIT("@"));
	api_json_writer_text_piece(writer, SPAN_NIL);
	api_json_writer_text_piece(writer, SPAN_LIT("b\""));
	api_json_writer_text_end(writer);
	api_json_writer_key(writer, "absent");
	api_json_writer_string(writer, NULL);
	api_json_writer_key(writer, "at");
	api_json_writer_time(writer, 1769860800, 90);
	api_json_writer_object_end(writer);
}

static void documents(void **state)
{
	static const char expected[] =
		"{\"messages\":[{\"uid\":7,\"empty\":{},\"behind\":true},{\"uid\":7,\"empty\":{},\"behind\":false},{}],"
		"\"none\":[],\"a\\\"" FFFD "\\n\":null,"
		"\"numbers\":[0,4294967295,9223372036854775807,\"18446744073709551615\"],"
		"\"email\":\"" FFFD "@b\\\"\",\"absent\":null,\"at\":\"2026-01-31T13:30:00+01:30\"}";
	struct gp_buffer out, run;
	struct api_json_writer writer;
	(void)state;

	gp_buffer_init(&run, GP_KIB);
	for (int is_pretty = 0; is_pretty < 2; is_pretty++) {
		gp_buffer_init(&out, 4 * GP_KIB);
		api_json_writer_init(&writer, &out, is_pretty, 0);
		write_document(&writer, &run);
		if (!is_pretty) {
			assert_string_equal(out.data, expected);
		}
		assert_is_jansson(gp_buffer_span(&out), is_pretty);
		assert_int_equal(api_json_writer_finish(&writer), GP_OK);
		assert_int_equal(out.data[out.len - 1], '\n');
		gp_buffer_deinit(&out);
	}
	gp_buffer_deinit(&run);
}

/* Numbers beyond what Jansson holds are still numbers. */
static void huge_number(void **state)
{
	struct gp_buffer out;
	struct api_json_writer writer;
	(void)state;

	gp_buffer_init(&out, GP_KIB);
	api_json_writer_init(&writer, &out, false, 0);
	api_json_writer_number(&writer, UINT64_MAX);
	assert_string_equal(out.data, "18446744073709551615");
	gp_buffer_deinit(&out);
}

/* Whatever the cap: within it, the first failure sticks, and nothing comes behind it. */
static void caps(void **state)
{
	struct gp_buffer whole, run;
	struct api_json_writer writer;
	(void)state;

	gp_buffer_init(&run, GP_KIB);
	for (int is_pretty = 0; is_pretty < 2; is_pretty++) {
		gp_buffer_init(&whole, 4 * GP_KIB);
		api_json_writer_init(&writer, &whole, is_pretty, 0);
		write_document(&writer, &run);
		for (size_t cap = 1; cap <= whole.len; cap++) {
			struct gp_buffer out;
			gp_buffer_init(&out, cap);
			api_json_writer_init(&writer, &out, is_pretty, 0);
			write_document(&writer, &run);
			assert_int_equal(api_json_writer_status(&writer), cap == whole.len ? GP_OK : GP_LIMIT);
			assert_true(out.len <= cap);
			assert_true(out.len == 0 || memcmp(out.data, whole.data, out.len) == 0);
			assert_int_equal(api_json_writer_finish(&writer), GP_LIMIT);
			gp_buffer_deinit(&out);
		}
		gp_buffer_deinit(&whole);
	}
	gp_buffer_deinit(&run);
}

static void failures_stick(void **state)
{
	struct gp_buffer out;
	struct api_json_writer writer;
	(void)state;

	gp_buffer_init(&out, GP_KIB);
	api_json_writer_init(&writer, &out, false, 0);
	api_json_writer_fail(&writer, GP_OK);
	api_json_writer_bool(&writer, true);
	api_json_writer_fail(&writer, GP_NO_MEMORY);
	api_json_writer_fail(&writer, GP_LIMIT);
	api_json_writer_text(&writer, SPAN_LIT("never\""));
	assert_int_equal(api_json_writer_finish(&writer), GP_NO_MEMORY);
	assert_string_equal(out.data, "true");
	gp_buffer_deinit(&out);
}

static void times(void **state)
{
	static const struct {
		int64_t seconds;
		int offset;
		const char *json;
	} cases[] = {
		{0, 0, "\"1970-01-01T00:00:00Z\""},
		{1769860800, 0, "\"2026-01-31T12:00:00Z\""},
		{1769860800, 90, "\"2026-01-31T13:30:00+01:30\""},
		{1769860800, -330, "\"2026-01-31T06:30:00-05:30\""},
		{951782400, 0, "\"2000-02-29T00:00:00Z\""},
		{4107542399, 1, "\"2100-03-01T00:00:59+00:01\""},
		{1709251199, -1439, "\"2024-02-29T00:00:59-23:59\""},
		{-62135596800, 0, "\"0001-01-01T00:00:00Z\""},
		{-62167219200 + 86400, -1439, "\"0000-01-01T00:01:00-23:59\""},
		{253402300799 - 86400, 1439, "\"9999-12-31T23:58:59+23:59\""},
		{-1, 0, "\"1969-12-31T23:59:59Z\""},
		{1769860800, 1440, "\"2026-01-31T12:00:00Z\""},
		{1769860800, -100000, "\"2026-01-31T12:00:00Z\""},
		{253402300799, 0, "null"},
		{INT64_MAX, 0, "null"},
		{INT64_MIN, -60, "null"},
	};
	struct gp_buffer out;
	(void)state;

	gp_buffer_init(&out, GP_KIB);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct api_json_writer writer;
		gp_buffer_truncate(&out, 0);
		api_json_writer_init(&writer, &out, false, 0);
		api_json_writer_time(&writer, cases[i].seconds, cases[i].offset);
		assert_string_equal(out.data, cases[i].json);
	}
	gp_buffer_deinit(&out);
}

/* Against the C library, a day at a time through eight centuries. */
static void calendar(void **state)
{
	struct gp_buffer out;
	(void)state;

	gp_buffer_init(&out, GP_KIB);
	for (int64_t day = -146097; day < 146097; day++) {
		time_t seconds = (time_t)(day * 86400 + 3723);
		struct api_json_writer writer;
		struct tm tm;
		char text[40];
		assert_non_null(gmtime_r(&seconds, &tm));
		assert_true(strftime(text, sizeof text, "\"%Y-%m-%dT%H:%M:%SZ\"", &tm) > 0);
		gp_buffer_truncate(&out, 0);
		api_json_writer_init(&writer, &out, false, 0);
		api_json_writer_time(&writer, seconds, 0);
		assert_string_equal(out.data, text);
	}
	gp_buffer_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),          cmocka_unit_test(every_byte_everywhere),
		cmocka_unit_test(mixtures),       cmocka_unit_test(documents),
		cmocka_unit_test(huge_number),    cmocka_unit_test(caps),
		cmocka_unit_test(failures_stick), cmocka_unit_test(times),
		cmocka_unit_test(calendar),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
