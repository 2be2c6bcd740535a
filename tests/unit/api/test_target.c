#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/query.h"
#include "api/target.h"
#include "base/utf8.h"

/* Parses a copy without a byte to spare, so that a sanitizer sees a read past its end. */
static enum gp_status parse(struct span text, struct gp_arena *arena, struct api_target *target, struct gp_error *error)
{
	char *copy = malloc(text.len > 0 ? text.len : 1);

	assert_non_null(copy);
	if (text.len > 0) {
		memcpy(copy, text.ptr, text.len);
	}
	struct span exact = {copy, text.len};
	enum gp_status status = api_target_parse(exact, arena, target, error);
	/* raw spans point into the target: give them a home that lasts */
	for (size_t i = 0; status == GP_OK && i < target->n_segments; i++) {
		assert_true(gp_arena_copy(arena, target->segments[i].raw, &target->segments[i].raw));
	}
	for (size_t i = 0; status == GP_OK && i < target->n_params; i++) {
		assert_true(gp_arena_copy(arena, target->params[i].raw_value, &target->params[i].raw_value));
	}
	free(copy);
	return status;
}

static void good_targets(void **state)
{
	static const struct {
		const char *target;
		const char *segments[4]; /* decoded, then NULL */
		bool has_trailing_slash;
		const char *params[6]; /* name, value, … then NULL */
	} cases[] = {
		{"/", {NULL}, false, {NULL}},
		{"/?", {NULL}, false, {NULL}},
		{"/?&&", {NULL}, false, {NULL}},
		{"/mailboxes", {"mailboxes"}, false, {NULL}},
		{"/mailboxes/", {"mailboxes"}, true, {NULL}},
		{"/mailboxes/Work%2F2024", {"mailboxes", "Work/2024"}, false, {NULL}},
		{"/mailboxes/R%C3%A9sum%c3%a9s", {"mailboxes", "Résumés"}, false, {NULL}},
		{"/a+b/%2B", {"a+b", "+"}, false, {NULL}},
		{"//", {""}, true, {NULL}},
		{"//a", {"", "a"}, false, {NULL}},
		{"/../%2e%2E", {"..", ".."}, false, {NULL}},
		{"/a?x=1&y=2", {"a"}, false, {"x", "1", "y", "2"}},
		{"/a?x", {"a"}, false, {"x", ""}},
		{"/a?x=", {"a"}, false, {"x", ""}},
		{"/a?=x", {"a"}, false, {"", "x"}},
		{"/a?x=1=2", {"a"}, false, {"x", "1=2"}},
		{"/a?x=a+b%2Bc", {"a"}, false, {"x", "a b+c"}},
		{"/a?x=/b?c", {"a"}, false, {"x", "/b?c"}},
		{"/a?%78=%26%3D", {"a"}, false, {"x", "&="}},
		{"/a?x=%0d%0a", {"a"}, false, {"x", "\r\n"}},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct gp_arena arena;
		struct api_target target;
		struct gp_error error = {0};
		gp_arena_init(&arena, GP_MIB);
		print_message("%s\n", cases[i].target);
		assert_int_equal(parse(span_of(cases[i].target), &arena, &target, &error), GP_OK);
		size_t n = 0;
		for (; cases[i].segments[n]; n++) {
			assert_true(n < target.n_segments);
			assert_string_equal(target.segments[n].text.ptr, cases[i].segments[n]);
		}
		assert_int_equal(target.n_segments, n);
		assert_int_equal(target.has_trailing_slash, cases[i].has_trailing_slash);
		for (n = 0; cases[i].params[2 * n]; n++) {
			assert_true(n < target.n_params);
			assert_string_equal(target.params[n].name.ptr, cases[i].params[2 * n]);
			assert_string_equal(target.params[n].value.ptr, cases[i].params[2 * n + 1]);
			assert_non_null(target.params[n].raw_value.ptr);
		}
		assert_int_equal(target.n_params, n);
		gp_arena_deinit(&arena);
	}
}

static void bad_targets(void **state)
{
	static const struct {
		struct span target;
		enum gp_status status;
		const char *says; /* part of the error */
	} cases[] = {
		{{"", 0}, GP_INVALID, "begin with '/'"},
		{{"*", 1}, GP_INVALID, "begin with '/'"},
		{{"http://host/", 12}, GP_INVALID, "begin with '/'"},
		{{"/a%", 3}, GP_INVALID, "'a%'"},
		{{"/a%2", 4}, GP_INVALID, "'%2'"},
		{{"/a%zz", 5}, GP_INVALID, "'%zz'"},
		{{"/a%2z?b", 7}, GP_INVALID, "'%2z'"},
		{{"/a%%20", 6}, GP_INVALID, "percent-encoding"},
		{{"/a%00b", 6}, GP_INVALID, "NUL"},
		{{"/?x=%00", 7}, GP_INVALID, "parameter 'x': '%00' holds a NUL"},
		{{"/?%00=1", 7}, GP_INVALID, "NUL"},
		{{"/a\0b", 4}, GP_INVALID, "0x00"},
		{{"/%ff", 4}, GP_INVALID, "'%ff' is not UTF-8"},
		{{"/%C0%AF", 7}, GP_INVALID, "not UTF-8"},
		{{"/%ED%A0%80", 10}, GP_INVALID, "not UTF-8"},
		{{"/?x=%C3", 7}, GP_INVALID, "not UTF-8"},
		{{"/a b", 4}, GP_INVALID, "0x20"},
		{{"/\xC3\xA9", 3}, GP_INVALID, "0xC3"},
		{{"/a\r\nX: y", 8}, GP_INVALID, "0x0D"},
		{{"/a#b", 4}, GP_INVALID, "0x23"},
		{{"/a\x7F", 3}, GP_INVALID, "0x7F"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct gp_arena arena;
		struct api_target target = {.n_segments = 99};
		struct gp_error error = {0};
		gp_arena_init(&arena, GP_MIB);
		assert_int_equal(parse(cases[i].target, &arena, &target, &error), cases[i].status);
		print_message("%s\n", error.text);
		assert_int_equal(error.status, cases[i].status);
		assert_non_null(strstr(error.text, cases[i].says));
		assert_int_equal(target.n_segments, 99);
		gp_arena_deinit(&arena);
	}
}

/* The largest that is allowed passes, one more does not. */
static void limits(void **state)
{
	static const struct {
		const char *head, *repeated;
		size_t n_allowed;
	} cases[] = {
		{"/", "a", GP_MAX_TARGET - 1},
		{"", "/a", API_MAX_SEGMENTS},
		{"/?x", "&x", GP_MAX_QUERY_PARAMETERS - 1},
	};
	(void)state;

	for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
		size_t n = cases[i / 2].n_allowed + i % 2;
		struct gp_arena arena;
		struct api_target target;
		struct gp_error error = {0};
		struct gp_buffer text;
		gp_arena_init(&arena, GP_MIB);
		gp_buffer_init(&text, 2 * GP_MAX_TARGET);
		assert_int_equal(gp_buffer_append(&text, span_of(cases[i / 2].head)), GP_OK);
		for (size_t j = 0; j < n; j++) {
			assert_int_equal(gp_buffer_append(&text, span_of(cases[i / 2].repeated)), GP_OK);
		}
		assert_int_equal(parse(gp_buffer_span(&text), &arena, &target, &error), i % 2 ? GP_LIMIT : GP_OK);
		gp_buffer_deinit(&text);
		gp_arena_deinit(&arena);
	}

	struct gp_arena small;
	struct api_target target;
	struct gp_error error = {0};
	gp_arena_init(&small, 8);
	assert_int_equal(parse(SPAN_LIT("/mailboxes/INBOX?x=1"), &small, &target, &error), GP_NO_MEMORY);
	gp_arena_deinit(&small);
}

static void percent_encoding(void **state)
{
	static const char *const cases[][2] = {
		{"", ""},
		{"INBOX", "INBOX"},
		{"Work/2024", "Work%2F2024"},
		{"Résumés", "R%C3%A9sum%C3%A9s"},
		{"@home", "%40home"},
		{"$seen", "$seen"},
		{"a b+c&d=e?f#g%h", "a%20b%2Bc%26d%3De%3Ff%23g%25h"},
		{"-_.!~*'()", "-_.!~%2A%27%28%29"},
		{"\"\\\r\n", "%22%5C%0D%0A"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct gp_arena arena;
		struct api_target target;
		struct gp_error error = {0};
		gp_arena_init(&arena, GP_MIB);
		char *encoded = api_percent_encode(&arena, span_of(cases[i][0]));
		assert_string_equal(encoded, cases[i][1]);
		char *path = gp_arena_printf(&arena, "/x/%s", encoded);
		assert_int_equal(parse(span_of(path), &arena, &target, &error), GP_OK);
		if (cases[i][0][0]) {
			assert_string_equal(target.segments[1].text.ptr, cases[i][0]);
		}
		gp_arena_deinit(&arena);
	}
}

static void excerpts(void **state)
{
	static const char *const cases[][2] = {
		{"plain", "plain"},
		{"a\r\nb\x7F", "a??b?"},
		{"\xff\xfe", "??"},
		{"é", "é"},
		{"\xC2\x85", "?"},
		{"123456789012345678901234567890123456789012345678901234567890",
		 "123456789012345678901234567890123456789012345678901234567890"},
		{"1234567890123456789012345678901234567890123456789012345678901",
		 "123456789012345678901234567890123456789012345678901234567890…"},
		{"12345678901234567890123456789012345678901234567890123456789é",
		 "12345678901234567890123456789012345678901234567890123456789…"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_string_equal(api_excerpt(span_of(cases[i][0])).text, cases[i][1]);
	}
	assert_string_equal(api_excerpt(SPAN_NIL).text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_targets),     cmocka_unit_test(bad_targets), cmocka_unit_test(limits),
		cmocka_unit_test(percent_encoding), cmocka_unit_test(excerpts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
