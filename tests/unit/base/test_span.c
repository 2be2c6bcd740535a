#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/span.h"

static void test_equal(void **state)
{
	(void)state;
	static const struct {
		const char *a, *b; /* NULL: NIL */
		bool is_equal, is_equal_nocase;
	} cases[] = {
		{"abc", "abc", true, true},    {"abc", "aBC", false, true},
		{"abc", "abcd", false, false}, {"", "", true, true},
		{NULL, NULL, true, true},      {NULL, "", true, true},
		{NULL, "a", false, false},     {"[", "{", false, false},
		{"@", "`", false, false},      {"\xC3\x84", "\xC3\xA4", false, false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct span a = span_of(cases[i].a);
		struct span b = span_of(cases[i].b);
		assert_int_equal(span_equal(a, b), cases[i].is_equal);
		assert_int_equal(span_equal(b, a), cases[i].is_equal);
		assert_int_equal(span_equal_nocase(a, b), cases[i].is_equal_nocase);
		if (cases[i].b) {
			assert_int_equal(span_equal_text(a, cases[i].b), cases[i].is_equal);
			assert_int_equal(span_equal_text_nocase(a, cases[i].b), cases[i].is_equal_nocase);
		}
	}
	assert_true(span_is_nil(SPAN_NIL));
	assert_false(span_is_nil(SPAN_LIT("")));
	assert_false(span_equal(SPAN_LIT("a\0b"), SPAN_LIT("a\0c")));
}

static void test_compare(void **state)
{
	(void)state;
	static const struct span ascending[] = {
		SPAN_NIL, {"\0", 1}, {"A", 1}, {"a", 1}, {"a\0", 2}, {"ab", 2}, {"b", 1}, {"\xC3", 1},
	};
	const size_t n = sizeof ascending / sizeof *ascending;

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < n; j++) {
			int order = span_compare(ascending[i], ascending[j]);
			assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
			assert_int_equal(span_compare_items(&ascending[i], &ascending[j]), order);
		}
	}
	assert_int_equal(span_compare(SPAN_NIL, SPAN_LIT("")), 0);
}

static void test_find(void **state)
{
	(void)state;
	struct span text = SPAN_LIT("Hello\0World");

	assert_int_equal(span_find(text, SPAN_LIT("World")), 6);
	assert_int_equal(span_find(text, SPAN_LIT("world")), -1);
	assert_int_equal(span_find_nocase(text, SPAN_LIT("wORLD")), 6);
	assert_int_equal(span_find_nocase(text, SPAN_LIT("worlds")), -1);
	assert_int_equal(span_find_nocase(SPAN_NIL, SPAN_LIT("a")), -1);
	assert_int_equal(span_find(text, SPAN_LIT("")), 0);
	assert_int_equal(span_find(SPAN_NIL, SPAN_LIT("a")), -1);
	assert_int_equal(span_find_char(text, '\0'), 5);
	assert_int_equal(span_find_char(text, 'x'), -1);
	assert_int_equal(span_find_char(SPAN_NIL, 'x'), -1);
	assert_true(span_starts_with(text, "Hel"));
	assert_false(span_starts_with(text, "hel"));
	assert_true(span_starts_with_nocase(text, "hEL"));
	assert_true(span_starts_with(SPAN_NIL, ""));
	assert_false(span_starts_with(SPAN_LIT("He"), "Hel"));
}

static void test_slices(void **state)
{
	(void)state;
	struct span text = SPAN_LIT("abcdef");

	assert_true(span_equal_text(span_from(text, 2), "cdef"));
	assert_true(span_equal_text(span_from(text, 7), ""));
	assert_true(span_equal_text(span_slice(text, 1, 3), "bcd"));
	assert_true(span_equal_text(span_slice(text, 4, SIZE_MAX), "ef"));
	assert_true(span_is_nil(span_from(SPAN_NIL, 3)));
	assert_true(span_equal_text(span_trim(SPAN_LIT(" \t\r\n a b \r\n")), "a b"));
	assert_int_equal(span_trim(SPAN_LIT("  ")).len, 0);
}

static void test_numbers(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool is_u64, is_u32;
		uint64_t value;
	} cases[] = {
		{"0", true, true, 0},
		{"007", true, true, 7},
		{"4294967295", true, true, UINT32_MAX},
		{"4294967296", true, false, 4294967296},
		{"18446744073709551615", true, false, UINT64_MAX},
		{"18446744073709551616", false, false, 0},
		{"18446744073709551620", false, false, 0},
		{"99999999999999999999999", false, false, 0},
		{"0000000000000000000000000018446744073709551615", true, false, UINT64_MAX},
		{"", false, false, 0},
		{"-1", false, false, 0},
		{"+1", false, false, 0},
		{" 1", false, false, 0},
		{"1 ", false, false, 0},
		{"0x1", false, false, 0},
		{"1e3", false, false, 0},
		{"\xB2", false, false, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t wide = 77;
		uint32_t narrow = 77;
		assert_int_equal(span_to_u64(span_of(cases[i].text), &wide), cases[i].is_u64);
		assert_true(wide == (cases[i].is_u64 ? cases[i].value : 77));
		assert_int_equal(span_to_u32(span_of(cases[i].text), &narrow), cases[i].is_u32);
		assert_true(narrow == (cases[i].is_u32 ? cases[i].value : 77));
	}
	uint64_t value;
	assert_false(span_to_u64(SPAN_NIL, &value));
}

static void test_hex(void **state)
{
	(void)state;
	static const char *const bad[] = {"",
					  "0",
					  "0123456789abcde",
					  "0123456789abcdef0",
					  "0123456789ABCDEF",
					  "0123456789abcdeg",
					  "-123456789abcdef"};
	uint64_t value = 77;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_false(span_hex_to_u64(span_of(bad[i]), &value));
		assert_int_equal(value, 77);
	}
	assert_true(span_hex_to_u64(SPAN_LIT("0123456789abcdef"), &value));
	assert_true(value == 0x0123456789abcdef);
}

static void test_dup(void **state)
{
	(void)state;
	/* nothing behind the end is looked at: ASan would see it */
	char *exact = malloc(3);
	assert_non_null(exact);
	memcpy(exact, "abc", 3);
	char *copy = span_dup(span_make(exact, 3));
	assert_string_equal(copy, "abc");
	free(copy);
	free(exact);
	copy = span_dup(SPAN_NIL);
	assert_string_equal(copy, "");
	free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dup),  cmocka_unit_test(test_equal),  cmocka_unit_test(test_compare),
		cmocka_unit_test(test_find), cmocka_unit_test(test_slices), cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_hex),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
