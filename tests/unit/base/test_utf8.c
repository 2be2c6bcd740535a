#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "unit/guard_page.h"

#define TEXT(s)                                                                                                        \
	{                                                                                                              \
		"" s, sizeof(s) - 1                                                                                    \
	}

static const struct {
	struct span text;
	size_t valid_prefix;
	const char *repaired; /* R for U+FFFD */
} cases[] = {
	{TEXT(""), 0, ""},
	{TEXT("abc"), 3, "abc"},
	{TEXT("\xC3\xA9"), 2, "\xC3\xA9"},
	{TEXT("\xE2\x82\xAC\xF0\x9F\x98\x80"), 7, "\xE2\x82\xAC\xF0\x9F\x98\x80"},
	{TEXT("\xF4\x8F\xBF\xBF"), 4, "\xF4\x8F\xBF\xBF"},
	{TEXT("a\x80z"), 1, "aRz"},
	{TEXT("\xC0\x80"), 0, "RR"}, /* overlong */
	{TEXT("\xC1\xBF"), 0, "RR"},
	{TEXT("\xE0\x80\x80"), 0, "RRR"},
	{TEXT("\xF0\x80\x80\x80"), 0, "RRRR"},
	{TEXT("\xED\xA0\x80"), 0, "RRR"},      /* a surrogate */
	{TEXT("\xF4\x90\x80\x80"), 0, "RRRR"}, /* above U+10FFFF */
	{TEXT("\xF5\x80\x80\x80"), 0, "RRRR"},
	{TEXT("\xFF\xFE"), 0, "RR"},
	{TEXT("\xE2\x82"), 0, "R"}, /* cut short */
	{TEXT("a\xE2\x82z"), 1, "aRz"},
	{TEXT("\xF0\x9F\x98"), 0, "R"},
	{TEXT("\xF0\x9F\xC3\xA9"), 0, "R\xC3\xA9"},
	{TEXT("\xC3"), 0, "R"},
	{TEXT("\xC3("), 0, "R("},
};

static void test_cases(void **state)
{
	(void)state;
	struct guard_page page;

	guard_page_init(&page, 100);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct gp_buffer repaired, expected;
		bool was_repaired = false;
		struct span text = guard_page_put(&page, cases[i].text);
		assert_int_equal(utf8_valid_prefix(text), cases[i].valid_prefix);
		assert_int_equal(utf8_is_valid(text), cases[i].valid_prefix == text.len);
		gp_buffer_init(&repaired, 100);
		gp_buffer_init(&expected, 100);
		assert_int_equal(utf8_append_repaired(&repaired, text, &was_repaired), GP_OK);
		for (const char *c = cases[i].repaired; *c; c++) {
			assert_int_equal(*c == 'R' ? gp_buffer_append(&expected, SPAN_LIT("\xEF\xBF\xBD"))
						   : gp_buffer_append_char(&expected, *c),
					 GP_OK);
		}
		assert_true(span_equal(gp_buffer_span(&repaired), gp_buffer_span(&expected)));
		assert_int_equal(was_repaired, strchr(cases[i].repaired, 'R') != NULL);
		assert_int_equal(utf8_append_repaired(&repaired, text, NULL), GP_OK);
		gp_buffer_deinit(&repaired);
		gp_buffer_deinit(&expected);
	}
	guard_page_deinit(&page);
}

static void test_every_code_point(void **state)
{
	(void)state;

	for (uint32_t c = 0; c < 0x120000; c += c < 0x20000 ? 1 : 61) {
		char bytes[4];
		uint32_t back = 0;
		size_t len = utf8_encode(c, bytes);
		bool is_scalar = c <= 0x10FFFF && !(c >= 0xD800 && c <= 0xDFFF);
		assert_int_equal(utf8_decode(span_make(bytes, len), &back), len);
		assert_int_equal(back, is_scalar ? c : 0xFFFD);
		assert_int_equal(utf8_decode(span_make(bytes, len - 1), &back), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_every_code_point)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
