#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/buffer.h"

static void test_append_to_the_cap(void **state)
{
	(void)state;
	struct gp_buffer buffer;

	gp_buffer_init(&buffer, 8);
	assert_true(span_equal_text(gp_buffer_span(&buffer), ""));
	assert_int_equal(gp_buffer_append(&buffer, SPAN_LIT("abcde")), GP_OK);
	assert_int_equal(gp_buffer_append(&buffer, SPAN_LIT("fghi")), GP_LIMIT);
	assert_string_equal(buffer.data, "abcde");
	assert_int_equal(gp_buffer_append(&buffer, SPAN_LIT("fgh")), GP_OK);
	assert_int_equal(gp_buffer_append_char(&buffer, 'i'), GP_LIMIT);
	assert_int_equal(gp_buffer_append(&buffer, SPAN_NIL), GP_OK);
	assert_string_equal(buffer.data, "abcdefgh");
	assert_int_equal(buffer.len, 8);
	assert_true(buffer.size <= 9);
	gp_buffer_deinit(&buffer);
	assert_int_equal(buffer.cap, 8);
	assert_int_equal(gp_buffer_append(&buffer, SPAN_LIT("again")), GP_OK);
	gp_buffer_deinit(&buffer);
}

static void test_printf(void **state)
{
	(void)state;
	struct gp_buffer buffer;

	gp_buffer_init(&buffer, 10);
	assert_int_equal(gp_buffer_printf(&buffer, "%s-%d", "ab", 123), GP_OK);
	assert_string_equal(buffer.data, "ab-123");
	assert_int_equal(gp_buffer_printf(&buffer, "%s", "12345"), GP_LIMIT);
	assert_string_equal(buffer.data, "ab-123");
	assert_int_equal(gp_buffer_printf(&buffer, "%s", "1234"), GP_OK);
	assert_string_equal(buffer.data, "ab-1231234");
	gp_buffer_deinit(&buffer);
}

static void test_reserve_consume_truncate(void **state)
{
	(void)state;
	struct gp_buffer buffer;
	char *room;

	gp_buffer_init(&buffer, 1000);
	assert_int_equal(gp_buffer_reserve(&buffer, 500, &room), GP_OK);
	assert_int_equal(gp_buffer_reserve(&buffer, 1001, &room), GP_LIMIT);
	memcpy(room, "hello", 5);
	gp_buffer_commit(&buffer, 5);
	gp_buffer_consume(&buffer, 0);
	gp_buffer_consume(&buffer, 2);
	assert_string_equal(buffer.data, "llo");
	gp_buffer_truncate(&buffer, 9);
	gp_buffer_truncate(&buffer, 1);
	assert_string_equal(buffer.data, "l");
	gp_buffer_consume(&buffer, 1);
	assert_string_equal(buffer.data, "");
	gp_buffer_reset(&buffer, 1000);
	assert_non_null(buffer.data);
	gp_buffer_reset(&buffer, 10);
	assert_null(buffer.data);
	gp_buffer_truncate(&buffer, 0);
	gp_buffer_consume(&buffer, 0);
	gp_buffer_deinit(&buffer);
}

static void test_take_and_wipe(void **state)
{
	(void)state;
	struct gp_buffer buffer;
	size_t len = 9;

	gp_buffer_init(&buffer, 100);
	char *text = gp_buffer_take(&buffer, &len);
	assert_string_equal(text, "");
	assert_int_equal(len, 0);
	free(text);
	assert_int_equal(gp_buffer_append(&buffer, SPAN_LIT("a\0b")), GP_OK);
	text = gp_buffer_take(&buffer, &len);
	assert_memory_equal(text, "a\0b", 4);
	assert_int_equal(len, 3);
	assert_int_equal(buffer.len, 0);
	free(text);
	assert_int_equal(gp_buffer_append(&buffer, SPAN_LIT("secret")), GP_OK);
	gp_buffer_wipe(&buffer);
	assert_int_equal(buffer.len, 0);
	gp_buffer_wipe(&buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_to_the_cap),
		cmocka_unit_test(test_printf),
		cmocka_unit_test(test_reserve_consume_truncate),
		cmocka_unit_test(test_take_and_wipe),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
