/* Cursors: what is read back, what is refused, and the address of the next page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/cursor.h"

static struct api_target parse(struct gp_arena *arena, const char *text)
{
	struct api_target target;
	struct gp_error error = {.status = GP_OK};

	assert_int_equal(api_target_parse(span_of(text), arena, &target, &error), GP_OK);
	return target;
}

static void test_round_trip(void **state)
{
	const char *request = "/messages?mailbox=@inbox&subject=a+%62,|&cursor=old&sort=-size";
	struct api_cursor cursor = {
		.uidvalidity = 7, .uid = 4294967294, .position = 3, .query = 9, .earlier = {5, 6}, .n_earlier = 2};
	struct gp_arena arena;

	(void)state;
	gp_arena_init(&arena, 1 << 20);
	struct api_target target = parse(&arena, request);
	char *next = api_cursor_next(&arena, span_of(request), &target, &cursor);
	assert_string_equal(next, "/messages?mailbox=@inbox&subject=a+%62,%7C&sort=-size&cursor=7.4294967294.3.9.5.6");

	struct api_cursor again;
	assert_true(api_cursor_parse(SPAN_LIT("7.4294967294.3.9.5.6"), &again));
	assert_int_equal(again.uidvalidity, 7);
	assert_int_equal(again.uid, 4294967294);
	assert_int_equal(again.position, 3);
	assert_int_equal(again.query, 9);
	assert_int_equal(again.n_earlier, 2);
	assert_int_equal(again.earlier[1], 6);
	gp_arena_deinit(&arena);
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"",
		".",
		"1",
		"1.2.3",
		"1.2.3.",
		".1.2.3",
		"1..2.3",
		"1.0.3.4",
		"1.2.3.x",
		"1.2.3.-4",
		"1.2.3.4294967296",
		"1.2.3.4.",
		"1.2.3.4 ",
		"1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20",
	};
	struct api_cursor cursor;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_false(api_cursor_parse(span_of(bad[i]), &cursor));
	}
	assert_true(api_cursor_parse(SPAN_LIT("1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19"), &cursor));
}

/* What decides which messages a list holds is part of a cursor's query; how they are
 * shown is not. */
static void test_query(void **state)
{
	static const struct {
		const char *a, *b;
		bool is_same;
	} cases[] = {
		{"/m?seen=0", "/m?seen=0&limit=5&fields=uid&pretty=1&cursor=1.2.3.4&preview=1&maxBodyValueBytes=9",
		 true},
		{"/m?seen=0&from=ann", "/m?from=ann&seen=0", true},
		{"/m?body=text,html", "/m", true},
		{"/m?body=invoice", "/m", false},
		{"/m?seen=0", "/m?seen=1", false},
		{"/m?seen=0", "/m", false},
		{"/m?from=ab&to=c", "/m?from=a&to=bc", false},
		{"/m?sort=size", "/m?sort=-size", false},
	};
	struct gp_arena arena;

	(void)state;
	gp_arena_init(&arena, 1 << 20);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct api_target a = parse(&arena, cases[i].a);
		struct api_target b = parse(&arena, cases[i].b);
		assert_int_equal(api_cursor_query_hash(&a) == api_cursor_query_hash(&b), cases[i].is_same);
	}
	gp_arena_deinit(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_query),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
