/* Dates and times of requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/moment.h"

static void test_read(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds;
		bool is_date;
	} cases[] = {
		{"1970-01-01", 0, true},
		{"2026-01-31", 1769817600, true},
		{"2024-02-29", 1709164800, true},
		{"1969-12-31", -86400, true},
		{"0001-01-01", -62135596800, true},
		{"9999-12-31", 253402214400, true},
		{"2026-01-31T12:00:00Z", 1769860800, false},
		{"2026-01-31t12:00:00z", 1769860800, false},
		{"2026-01-31T12:00:00.25Z", 1769860800, false},
		{"2026-01-31T12:00:00+01:00", 1769857200, false},
		{"2026-01-31T12:00:00 01:00", 1769857200, false}, /* a "+" that nobody encoded */
		{"2026-01-31T12:00:00-05:30", 1769880600, false},
		{"1998-12-31T23:59:60Z", 915148800, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct api_moment moment;
		assert_true(api_moment_parse(span_of(cases[i].text), &moment));
		assert_int_equal(moment.seconds, cases[i].seconds);
		assert_int_equal(moment.is_date, cases[i].is_date);
	}
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"2026",
		"2026-1-31",
		"2026-13-01",
		"2026-00-01",
		"2026-02-29",
		"2026-04-31",
		"0000-01-01",
		"2026-01-32",
		"2026/01/31",
		"yesterday",
		" 2026-01-31",
		"2026-01-31 ",
		"2026-01-31T",
		"2026-01-31T12:00",
		"2026-01-31T12:00:00",
		"2026-01-31T24:00:00Z",
		"2026-01-31T12:60:00Z",
		"2026-01-31T12:00:61Z",
		"2026-01-31T12:00:00.Z",
		"2026-01-31T12:00:00+0100",
		"2026-01-31T12:00:00+24:00",
		"2026-01-31T12:00:00Zx",
		"-2026-01-31",
		"20260131",
		"2026-01-31T12:00:00+01:60",
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct api_moment moment;
		assert_false(api_moment_parse(span_of(bad[i]), &moment));
	}
}

static void test_day(void **state)
{
	(void)state;
	assert_int_equal(api_moment_day(0), 0);
	assert_int_equal(api_moment_day(86399), 0);
	assert_int_equal(api_moment_day(86400), 1);
	assert_int_equal(api_moment_day(-1), -1);
	assert_int_equal(api_moment_day(-86400), -1);
	assert_int_equal(api_moment_day(-86401), -2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_day),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
