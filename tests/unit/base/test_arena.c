#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>

#include "base/arena.h"

static void test_alloc(void **state)
{
	(void)state;
	struct gp_arena arena;

	gp_arena_init(&arena, 100000);
	for (size_t len = 0; len < 300; len++) {
		unsigned char *memory = gp_arena_alloc(&arena, len);
		assert_non_null(memory);
		assert_int_equal((uintptr_t)memory % alignof(max_align_t), 0);
		for (size_t i = 0; i < len; i++) {
			assert_int_equal(memory[i], 0);
		}
		memset(memory, 0xFF, len);
	}
	/* what was written before is zero again */
	gp_arena_reset(&arena);
	assert_int_equal(arena.used, 0);
	unsigned char *memory = gp_arena_alloc(&arena, 4000);
	for (size_t i = 0; i < 4000; i++) {
		assert_int_equal(memory[i], 0);
	}
	memset(gp_arena_alloc(&arena, 50000), 1, 50000);
	gp_arena_deinit(&arena);
	gp_arena_deinit(&arena);
}

static void test_cap(void **state)
{
	(void)state;
	struct gp_arena arena;

	gp_arena_init(&arena, 1000);
	assert_null(gp_arena_alloc(&arena, 1001));
	assert_null(gp_arena_alloc(&arena, SIZE_MAX));
	assert_null(gp_arena_array(&arena, SIZE_MAX / 2, 3));
	assert_null(gp_arena_strdup(&arena, span_make("", SIZE_MAX)));
	assert_non_null(gp_arena_alloc(&arena, 1000));
	assert_null(gp_arena_alloc(&arena, 1));
	gp_arena_reset(&arena);
	size_t n = 0;
	while (gp_arena_alloc(&arena, 1)) {
		n++;
	}
	assert_in_range(n, 1, 1000);
	assert_true(arena.used <= arena.cap);
	gp_arena_deinit(&arena);
}

static void test_copies(void **state)
{
	(void)state;
	struct gp_arena arena;
	struct span copy = SPAN_LIT("x");

	gp_arena_init(&arena, 10000);
	assert_string_equal(gp_arena_strdup(&arena, SPAN_LIT("abc")), "abc");
	assert_string_equal(gp_arena_strdup(&arena, SPAN_NIL), "");
	assert_true(gp_arena_copy(&arena, SPAN_NIL, &copy));
	assert_true(span_is_nil(copy));
	assert_true(gp_arena_copy(&arena, SPAN_LIT(""), &copy));
	assert_false(span_is_nil(copy));
	assert_true(gp_arena_copy(&arena, SPAN_LIT("a\0b"), &copy));
	assert_memory_equal(copy.ptr, "a\0b", 4);
	assert_string_equal(gp_arena_printf(&arena, "%d %s", 7, "x"), "7 x");
	assert_null(gp_arena_printf(&arena, "%20000d", 7));
	gp_arena_deinit(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alloc),
		cmocka_unit_test(test_cap),
		cmocka_unit_test(test_copies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
