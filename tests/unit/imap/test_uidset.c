#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "imap/uidset.h"

static void expect_set(const struct imap_uidset *set, const char *expected)
{
	struct gp_buffer text;
	size_t at = 0;

	gp_buffer_init(&text, GP_MIB);
	assert_int_equal(imap_uidset_write(set, &at, GP_MIB, &text), GP_OK);
	assert_int_equal(at, set->n_ranges);
	assert_string_equal(text.data ? text.data : "", expected);
	gp_buffer_deinit(&text);
	for (size_t i = 0; i < set->n_ranges; i++) {
		assert_true(set->ranges[i].first <= set->ranges[i].last);
		assert_true(i == 0 || set->ranges[i].first > (uint64_t)set->ranges[i - 1].last + 1);
	}
}

static void test_parse(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum gp_status status;
		const char *expected;
	} cases[] = {
		{"1", GP_OK, "1"},
		{"1,5:9,12:*", GP_OK, "1,5:9,12:*"},
		{"9:5,3,2", GP_OK, "2:3,5:9"},
		{"*:4", GP_OK, "4:*"},
		{"*", GP_OK, "*"},
		{"4294967295", GP_OK, "*"},
		{"1:4294967295", GP_OK, "1:*"},
		{"4294967294,4294967295", GP_OK, "4294967294:*"},
		{"5,5,5:5", GP_OK, "5"},
		{"10,8,6,4,2", GP_OK, "2,4,6,8,10"},
		{"1:3,2:7,8,20:30,25", GP_OK, "1:8,20:30"},
		{"007", GP_OK, "7"},
		{"", GP_INVALID, ""},
		{"0", GP_INVALID, ""},
		{"1,", GP_INVALID, ""},
		{",1", GP_INVALID, ""},
		{"1,,2", GP_INVALID, ""},
		{"1:", GP_INVALID, ""},
		{":1", GP_INVALID, ""},
		{"1:2:3", GP_INVALID, ""},
		{"0:5", GP_INVALID, ""},
		{"4294967296", GP_INVALID, ""},
		{"1 ,2", GP_INVALID, ""},
		{"-1", GP_INVALID, ""},
		{"**", GP_INVALID, ""},
		{"1\r\n", GP_INVALID, ""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct imap_uidset set;
		imap_uidset_init(&set);
		assert_int_equal(imap_uidset_parse(&set, span_of(cases[i].text)), cases[i].status);
		expect_set(&set, cases[i].expected);
		/* into a set that has something; nothing changes on failure */
		imap_uidset_deinit(&set);
		assert_int_equal(imap_uidset_add(&set, 100, 100), GP_OK);
		assert_int_equal(imap_uidset_parse(&set, span_of(cases[i].text)), cases[i].status);
		assert_true(imap_uidset_contains(&set, 100));
		if (cases[i].status != GP_OK) {
			expect_set(&set, "100");
		}
		imap_uidset_deinit(&set);
	}
}

static void test_nil(void **state)
{
	(void)state;
	struct imap_uidset set;

	imap_uidset_init(&set);
	assert_int_equal(imap_uidset_parse(&set, SPAN_NIL), GP_INVALID);
	assert_true(imap_uidset_is_empty(&set));
	assert_false(imap_uidset_contains(&set, 0));
	assert_false(imap_uidset_contains(&set, 1));
	assert_int_equal(imap_uidset_count(&set), 0);
	assert_int_equal(imap_uidset_add(&set, 0, 4), GP_INVALID);
	imap_uidset_deinit(&set);
}

/* Every operation against a plain array of flags. */
static void test_against_a_bitmap(void **state)
{
	(void)state;
	enum { N = 80 };
	uint32_t seed = 1;

	for (int round = 0; round < 2000; round++) {
		bool has[N + 1] = {false};
		struct imap_uidset set, other;
		imap_uidset_init(&set);
		imap_uidset_init(&other);
		for (int i = 0; i < 12; i++) {
			seed = seed * 1664525u + 1013904223u;
			uint32_t a = 1 + (seed >> 8) % N;
			uint32_t b = 1 + (seed >> 20) % N;
			b = i % 3 ? a : b;
			struct imap_uidset *into = i < 6 ? &set : &other;
			assert_int_equal(imap_uidset_add(into, a, b), GP_OK);
			for (uint32_t uid = a < b ? a : b; uid <= (a < b ? b : a); uid++) {
				has[uid] = true;
			}
		}
		assert_int_equal(imap_uidset_add_all(&set, &other), GP_OK);
		uint64_t count = 0;
		for (uint32_t uid = 1; uid <= N; uid++) {
			assert_int_equal(imap_uidset_contains(&set, uid), has[uid]);
			assert_int_equal(imap_uidset_count_below(&set, uid), count);
			count += has[uid];
		}
		assert_int_equal(imap_uidset_count(&set), count);
		assert_int_equal(imap_uidset_count_below(&set, UINT64_MAX), count);

		struct imap_uidset highest;
		size_t n = 99;
		uint32_t below = 1 + seed % (N + 5);
		size_t limit = (seed >> 16) % 30;
		imap_uidset_init(&highest);
		assert_int_equal(imap_uidset_highest(&set, below, limit, &highest, &n), GP_OK);
		size_t expected = 0;
		for (uint32_t uid = below < N + 1 ? below - 1 : N; uid >= 1 && expected < limit; uid--) {
			if (has[uid]) {
				assert_true(imap_uidset_contains(&highest, uid));
				expected++;
			}
		}
		assert_int_equal(n, expected);
		assert_int_equal(imap_uidset_count(&highest), expected);
		imap_uidset_deinit(&highest);
		imap_uidset_deinit(&other);
		imap_uidset_deinit(&set);
	}
}

static void test_whole_range(void **state)
{
	(void)state;
	struct imap_uidset set, highest;
	size_t n;

	imap_uidset_init(&set);
	imap_uidset_init(&highest);
	assert_int_equal(imap_uidset_add(&set, 1, UINT32_MAX), GP_OK);
	assert_int_equal(imap_uidset_add(&set, UINT32_MAX, UINT32_MAX), GP_OK);
	assert_true(imap_uidset_count(&set) == UINT32_MAX);
	assert_int_equal(imap_uidset_highest(&set, UINT32_MAX + 1ull, 3, &highest, &n), GP_OK);
	assert_int_equal(n, 3);
	expect_set(&highest, "4294967293:*");
	imap_uidset_deinit(&highest);
	imap_uidset_deinit(&set);
}

static void test_write_in_pieces(void **state)
{
	(void)state;
	struct imap_uidset set;
	struct gp_buffer text;
	size_t at = 0;

	imap_uidset_init(&set);
	gp_buffer_init(&text, 100);
	assert_int_equal(imap_uidset_parse(&set, SPAN_LIT("1,10:19,100")), GP_OK);
	assert_int_equal(imap_uidset_write(&set, &at, 7, &text), GP_OK);
	assert_string_equal(text.data, "1,10:19");
	assert_int_equal(at, 2);
	assert_int_equal(imap_uidset_write(&set, &at, 2, &text), GP_LIMIT);
	assert_int_equal(at, 2);
	gp_buffer_truncate(&text, 0);
	assert_int_equal(imap_uidset_write(&set, &at, 3, &text), GP_OK);
	assert_string_equal(text.data, "100");
	assert_int_equal(at, 3);
	assert_int_equal(imap_uidset_write(&set, &at, 3, &text), GP_OK);
	assert_string_equal(text.data, "100");
	gp_buffer_deinit(&text);
	imap_uidset_deinit(&set);
}

static void test_cap(void **state)
{
	(void)state;
	struct imap_uidset set, other;

	imap_uidset_init(&set);
	imap_uidset_init(&other);
	for (uint32_t i = 0; i < GP_MAX_IMAP_UID_RANGES; i++) {
		assert_int_equal(imap_uidset_add(&set, 2 + i * 2, 2 + i * 2), GP_OK);
	}
	assert_int_equal(imap_uidset_add(&set, 3000001, 3000001), GP_LIMIT);
	assert_int_equal(imap_uidset_add(&other, 3000001, 3000001), GP_OK);
	assert_int_equal(imap_uidset_add_all(&set, &other), GP_LIMIT);
	assert_int_equal(set.n_ranges, GP_MAX_IMAP_UID_RANGES);
	assert_int_equal(imap_uidset_add(&set, 3, 3), GP_OK);
	assert_int_equal(set.n_ranges, GP_MAX_IMAP_UID_RANGES - 1);
	imap_uidset_deinit(&other);
	imap_uidset_deinit(&set);
}

/* A server that lists a set backwards must not cost the square of its length. */
static void test_backwards_is_not_quadratic(void **state)
{
	(void)state;
	struct imap_uidset set;
	struct gp_buffer text;

	imap_uidset_init(&set);
	gp_buffer_init(&text, 8 * GP_MIB);
	for (uint32_t uid = 900000; uid > 2; uid -= 2) {
		assert_int_equal(gp_buffer_printf(&text, "%u,", uid), GP_OK);
	}
	assert_int_equal(gp_buffer_append(&text, SPAN_LIT("2")), GP_OK);
	assert_int_equal(imap_uidset_parse(&set, gp_buffer_span(&text)), GP_OK);
	assert_int_equal(set.n_ranges, 450000);
	gp_buffer_deinit(&text);
	imap_uidset_deinit(&set);
}

static void test_common_and_difference(void **state)
{
	static const struct {
		const char *a, *b, *common, *difference;
	} cases[] = {
		{"1:10", "3,5:6", "3,5:6", "1:2,4,7:10"},
		{"1:10", "1:10", "1:10", ""},
		{"1:10", "11:20", "", "1:10"},
		{"5:6,8:9,20", "1:5,9:30", "5,9,20", "6,8"},
		{"1,3,5,7,9", "2:8", "3,5,7", "1,9"},
		{"4:*", "*", "*", "4:4294967294"},
		{"4:*", "5:*", "5:*", "4"},
		{"*", "1:4294967294", "", "*"},
		{"2:3,7:8", "1:9", "2:3,7:8", ""},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct imap_uidset a, b, common, difference;
		imap_uidset_init(&a);
		imap_uidset_init(&b);
		imap_uidset_init(&common);
		imap_uidset_init(&difference);
		assert_int_equal(imap_uidset_parse(&a, span_of(cases[i].a)), GP_OK);
		assert_int_equal(imap_uidset_parse(&b, span_of(cases[i].b)), GP_OK);
		assert_int_equal(imap_uidset_add_common(&common, &a, &b), GP_OK);
		assert_int_equal(imap_uidset_add_difference(&difference, &a, &b), GP_OK);
		expect_set(&common, cases[i].common);
		expect_set(&difference, cases[i].difference);
		imap_uidset_deinit(&a);
		imap_uidset_deinit(&b);
		imap_uidset_deinit(&common);
		imap_uidset_deinit(&difference);
	}
}

/* Every pair of sets of small numbers, against one bit for each. */
static void test_common_and_difference_of_all(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 1u << 14; bits++) {
		struct imap_uidset a, b, common, difference;
		imap_uidset_init(&a);
		imap_uidset_init(&b);
		imap_uidset_init(&common);
		imap_uidset_init(&difference);
		for (uint32_t uid = 1; uid <= 7; uid++) {
			assert_true(!(bits >> (uid - 1) & 1) || imap_uidset_add(&a, uid, uid) == GP_OK);
			assert_true(!(bits >> (uid + 6) & 1) || imap_uidset_add(&b, uid, uid) == GP_OK);
		}
		assert_int_equal(imap_uidset_add_common(&common, &a, &b), GP_OK);
		assert_int_equal(imap_uidset_add_difference(&difference, &a, &b), GP_OK);
		for (uint32_t uid = 1; uid <= 7; uid++) {
			bool in_a = bits >> (uid - 1) & 1, in_b = bits >> (uid + 6) & 1;
			assert_int_equal(imap_uidset_contains(&common, uid), in_a && in_b);
			assert_int_equal(imap_uidset_contains(&difference, uid), in_a && !in_b);
		}
		imap_uidset_deinit(&a);
		imap_uidset_deinit(&b);
		imap_uidset_deinit(&common);
		imap_uidset_deinit(&difference);
	}
}

static struct imap_uidset parsed(const char *text)
{
	struct imap_uidset set;

	imap_uidset_init(&set);
	if (text[0] != '\0') {
		assert_int_equal(imap_uidset_parse(&set, span_of(text)), GP_OK);
	}
	return set;
}

static void test_within_and_without(void **state)
{
	static const struct {
		const char *set, *without;
		uint32_t first, last;
		const char *within, *rest;
	} cases[] = {
		{"1:10", "3,5:6", 2, 4, "2:4", "1:2,4,7:10"},
		{"1:10", "", 10, 20, "10", "1:10"},
		{"", "1:5", 1, UINT32_MAX, "", ""},
		{"5:9,20,30:*", "1:*", 9, 30, "9,20,30", ""},
		{"5:9,20,30:*", "*", 10, 19, "", "5:9,20,30:4294967294"},
		{"1:*", "2:4294967294", 7, 3, "", "1,*"},
		{"1:3,5:7,9:11", "3:5,7:9", 3, 9, "3,5:7,9", "1:2,6,10:11"},
		{"4,6,8", "1:3,5,7,9", 0, 6, "4,6", "4,6,8"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct imap_uidset set = parsed(cases[i].set), without = parsed(cases[i].without);
		struct imap_uidset within = parsed(""), rest = parsed("");
		assert_int_equal(imap_uidset_add_within(&within, &set, cases[i].first, cases[i].last), GP_OK);
		assert_int_equal(imap_uidset_add_difference(&rest, &set, &without), GP_OK);
		expect_set(&within, cases[i].within);
		expect_set(&rest, cases[i].rest);
		assert_true(imap_uidset_is_equal(&set, &set));
		assert_int_equal(imap_uidset_is_equal(&set, &rest), strcmp(cases[i].set, cases[i].rest) == 0);
		imap_uidset_deinit(&set);
		imap_uidset_deinit(&without);
		imap_uidset_deinit(&within);
		imap_uidset_deinit(&rest);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_nil),
		cmocka_unit_test(test_common_and_difference),
		cmocka_unit_test(test_common_and_difference_of_all),
		cmocka_unit_test(test_against_a_bitmap),
		cmocka_unit_test(test_whole_range),
		cmocka_unit_test(test_write_in_pieces),
		cmocka_unit_test(test_within_and_without),
		cmocka_unit_test(test_cap),
		cmocka_unit_test(test_backwards_is_not_quadratic),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
