#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/conditional.h"
#include "api/etag.h"

#define HUGE "99999999999999999999999999"

static void entity_tags(void **state)
{
	static const struct {
		const char *header; /* NULL: absent */
		const char *etag;
		bool none_match_hits, match_allows;
	} cases[] = {
		{NULL, "\"a\"", false, true},          {"*", "\"a\"", true, true},
		{"\"a\"", "\"a\"", true, true},        {"W/\"a\"", "\"a\"", true, true},
		{"\"a\"", "W/\"a\"", true, true},      {"\"b\"", "\"a\"", false, false},
		{"\"b\", \"a\"", "\"a\"", true, true}, {"\"b\" ,,\t W/\"a\" , ", "\"a\"", true, true},
		{"\"a,b\"", "\"a,b\"", true, true},    {"\"x\", \"a,b\"", "\"b\"", false, false},
		{"\"A\"", "\"a\"", false, false},      {"", "\"a\"", false, false},
		{"a", "\"a\"", false, false},          {"\"a", "\"a\"", false, false},
		{"W/a", "\"a\"", false, false},        {"w/\"a\"", "\"a\"", false, false},
		{"\"", "\"a\"", false, false},         {"\"a\"\"b\"", "\"a\"", false, false},
		{"**", "\"a\"", false, false},         {"\"a\"", NULL, false, false},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct span header = cases[i].header ? span_of(cases[i].header) : SPAN_NIL;
		print_message("%s\n", cases[i].header ? cases[i].header : "(absent)");
		assert_int_equal(api_none_match_hits(header, cases[i].etag), cases[i].none_match_hits);
		assert_int_equal(api_match_allows(header, cases[i].etag), cases[i].match_allows);
	}
}

static void ranges(void **state)
{
	static const struct {
		const char *range; /* NULL: absent */
		uint64_t size;
		enum api_range_result result;
		uint64_t first, last;
	} cases[] = {
		{NULL, 10, API_RANGE_NONE, 0, 0},
		{"bytes=0-0", 10, API_RANGE_OK, 0, 0},
		{"bytes=0-9", 10, API_RANGE_OK, 0, 9},
		{"bytes=3-", 10, API_RANGE_OK, 3, 9},
		{"BYTES= 3-5 ", 10, API_RANGE_OK, 3, 5},
		{"bytes=3-" HUGE, 10, API_RANGE_OK, 3, 9},
		{"bytes=9-100", 10, API_RANGE_OK, 9, 9},
		{"bytes=-4", 10, API_RANGE_OK, 6, 9},
		{"bytes=-" HUGE, 10, API_RANGE_OK, 0, 9},
		{"bytes=10-", 10, API_RANGE_UNMET, 0, 0},
		{"bytes=" HUGE "-", 10, API_RANGE_UNMET, 0, 0},
		{"bytes=-0", 10, API_RANGE_UNMET, 0, 0},
		{"bytes=0-", 0, API_RANGE_UNMET, 0, 0},
		{"bytes=-5", 0, API_RANGE_UNMET, 0, 0},
		{"bytes=5-3", 10, API_RANGE_NONE, 0, 0},
		{"bytes=0-1,3-4", 10, API_RANGE_NONE, 0, 0},
		{"bytes=-1,-2", 10, API_RANGE_NONE, 0, 0},
		{"bytes=", 10, API_RANGE_NONE, 0, 0},
		{"bytes=-", 10, API_RANGE_NONE, 0, 0},
		{"bytes=a-b", 10, API_RANGE_NONE, 0, 0},
		{"bytes=--1", 10, API_RANGE_NONE, 0, 0},
		{"bytes=1--2", 10, API_RANGE_NONE, 0, 0},
		{"bytes=+1-2", 10, API_RANGE_NONE, 0, 0},
		{"bytes 1-2", 10, API_RANGE_NONE, 0, 0},
		{"lines=1-2", 10, API_RANGE_NONE, 0, 0},
		{"", 10, API_RANGE_NONE, 0, 0},
		{"bytes=18446744073709551615-", UINT64_MAX, API_RANGE_UNMET, 0, 0},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct api_range range = {77, 77};
		struct span header = cases[i].range ? span_of(cases[i].range) : SPAN_NIL;
		print_message("%s\n", cases[i].range ? cases[i].range : "(absent)");
		assert_int_equal(api_range_parse(header, cases[i].size, &range), cases[i].result);
		if (cases[i].result == API_RANGE_OK) {
			assert_int_equal(range.first, cases[i].first);
			assert_int_equal(range.last, cases[i].last);
		} else {
			assert_int_equal(range.first, 77);
		}
	}
}

static void if_range(void **state)
{
	static const struct {
		const char *header, *etag;
		bool holds;
	} cases[] = {
		{NULL, "\"a\"", true},
		{"\"a\"", "\"a\"", true},
		{" \"a\" ", "\"a\"", true},
		{"\"b\"", "\"a\"", false},
		{"W/\"a\"", "\"a\"", false},
		{"\"a\"", "W/\"a\"", false},
		{"\"a\", \"a\"", "\"a\"", false},
		{"*", "\"a\"", false},
		{"Sat, 31 Jan 2026 12:00:00 GMT", "\"a\"", false},
		{"\"a\"", NULL, false},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct span header = cases[i].header ? span_of(cases[i].header) : SPAN_NIL;
		assert_int_equal(api_if_range_holds(header, cases[i].etag), cases[i].holds);
	}
}

static void message_tags(void **state)
{
	const struct span ab[] = {SPAN_LIT("\\Seen"), SPAN_LIT("$Forwarded")};
	const struct span ba[] = {SPAN_LIT("$forwarded"), SPAN_LIT("\\Recent"), SPAN_LIT("\\SEEN"), SPAN_LIT("\\Seen")};
	const struct span a[] = {SPAN_LIT("\\Seen")};
	char one[API_ETAG_SIZE], two[API_ETAG_SIZE], account[API_ETAG_ACCOUNT_SIZE];
	uint64_t modseq;
	(void)state;

	struct imap_fetch row = {.items = IMAP_ITEM_MODSEQ, .uid = 7, .modseq = UINT64_MAX};
	assert_int_equal(api_etag_of_message("ab", 5, &row, one), GP_OK);
	assert_string_equal(one, "W/\"ab.5.7.18446744073709551615\"");
	assert_true(api_etag_modseq(span_of(one), "ab", 5, 7, &modseq));
	assert_true(modseq == UINT64_MAX);
	assert_false(api_etag_modseq(span_of(one), "ab", 5, 8, &modseq));
	assert_false(api_etag_modseq(span_of(one), "ac", 5, 7, &modseq));
	assert_false(api_etag_modseq(span_of("W/\"ab.5.7."), "ab", 5, 7, &modseq));
	assert_false(api_etag_modseq(span_of("*"), "ab", 5, 7, &modseq));
	assert_false(api_etag_modseq(SPAN_NIL, "ab", 5, 7, &modseq));

	row = (struct imap_fetch){.uid = 7, .flags = ab, .n_flags = 2};
	assert_int_equal(api_etag_of_message("ab", 5, &row, one), GP_OK);
	assert_false(api_etag_modseq(span_of(one), "ab", 5, 7, &modseq));
	row.flags = ba;
	row.n_flags = 4;
	assert_int_equal(api_etag_of_message("ab", 5, &row, two), GP_OK);
	assert_string_equal(one, two);
	row.flags = a;
	row.n_flags = 1;
	assert_int_equal(api_etag_of_message("ab", 5, &row, two), GP_OK);
	assert_string_not_equal(one, two);
	row.n_flags = 0;
	assert_int_equal(api_etag_of_message("ab", 5, &row, two), GP_OK);
	assert_string_not_equal(one, two);

	static const char many[] = "1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1";
	assert_int_equal(api_etag_of_content("ab", 5, 7, "1.2", one), GP_OK);
	assert_string_equal(one, "\"ab.5.7.1.2\"");
	assert_int_equal(api_etag_of_content("ab", 5, 7, NULL, one), GP_OK);
	assert_string_equal(one, "\"ab.5.7\"");
	assert_int_equal(api_etag_of_content("ab", 5, 7, many, one), GP_OK);
	assert_int_equal(api_etag_of_content("ab", 5, 7, "1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.2", two), GP_OK);
	assert_string_not_equal(one, two);
	/* SHA-256 of the empty string and of "demo" are known */
	assert_int_equal(api_etag_account(span_of("demo"), account), GP_OK);
	assert_string_equal(account, "2a97516c");
	assert_int_equal(api_etag_of_bytes("ab", SPAN_NIL, one), GP_OK);
	assert_string_equal(one, "W/\"ab.e3b0c44298fc1c149afbf4c8996fb924\"");
	assert_int_equal(api_etag_of_bytes("", SPAN_NIL, one), GP_OK);
	assert_string_equal(one, "W/\"e3b0c44298fc1c149afbf4c8996fb924\"");

	/* the longest of each has room */
	const char *longest = "12345678";
	row = (struct imap_fetch){.items = IMAP_ITEM_MODSEQ, .uid = UINT32_MAX, .modseq = UINT64_MAX};
	assert_int_equal(api_etag_of_message(longest, UINT32_MAX, &row, one), GP_OK);
	assert_string_equal(one, "W/\"12345678.4294967295.4294967295.18446744073709551615\"");
	assert_true(api_etag_modseq(span_of(one), longest, UINT32_MAX, UINT32_MAX, &modseq));
	assert_int_equal(api_etag_of_content(longest, UINT32_MAX, UINT32_MAX, many, one), GP_OK);
	assert_int_equal(one[strlen(one) - 1], '"');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entity_tags),
		cmocka_unit_test(ranges),
		cmocka_unit_test(if_range),
		cmocka_unit_test(message_tags),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
