#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "imap/utf7.h"

#define TEXT(s)                                                                                                        \
	{                                                                                                              \
		"" s, sizeof(s) - 1                                                                                    \
	}

static void test_pairs(void **state)
{
	(void)state;
	static const struct {
		struct span utf8, utf7;
	} pairs[] = {
		{TEXT(""), TEXT("")},
		{TEXT("INBOX"), TEXT("INBOX")},
		{TEXT("~peter/mail/\u53f0\u5317/\u65e5\u672c\u8a9e"), TEXT("~peter/mail/&U,BTFw-/&ZeVnLIqe-")},
		{TEXT("R\u00e9sum\u00e9s"), TEXT("R&AOk-sum&AOk-s")},
		{TEXT("a & b"), TEXT("a &- b")},
		{TEXT("&&"), TEXT("&-&-")},
		{TEXT("\u00e4&\u00e4"), TEXT("&AOQ-&-&AOQ-")},
		{TEXT("\U0001F600"), TEXT("&2D3eAA-")},
		{TEXT("\uE000\uFFFD"), TEXT("&4AD,,Q-")},
		{TEXT("\u560d\u560a"), TEXT("&Vg1WCg-")},
		{TEXT("a\tb\x7F"), TEXT("a&AAk-b&AH8-")},
		{TEXT("\r\n"), TEXT("&AA0ACg-")},
		{TEXT("\"\\{5}%*"), TEXT("\"\\{5}%*")},
	};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		struct gp_buffer out;
		gp_buffer_init(&out, 200);
		assert_int_equal(gp_buffer_append(&out, SPAN_LIT("<")), GP_OK);
		assert_int_equal(imap_utf7_encode(pairs[i].utf8, &out), GP_OK);
		assert_true(span_equal(span_from(gp_buffer_span(&out), 1), pairs[i].utf7));
		gp_buffer_truncate(&out, 1);
		assert_int_equal(imap_utf7_decode(pairs[i].utf7, &out), GP_OK);
		assert_true(span_equal(span_from(gp_buffer_span(&out), 1), pairs[i].utf8));
		gp_buffer_deinit(&out);
	}
}

static void test_refused(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		struct span raw;
	} names[] = {
		{"a bare ampersand", TEXT("a&b")},
		{"no end", TEXT("&AOk")},
		{"a character of base64 that is not of this one", TEXT("&AO/-")},
		{"ASCII that need not be encoded", TEXT("&AGE-")},
		{"an ampersand that need not be", TEXT("&ACY-")},
		{"two runs that should be one", TEXT("&AOQ-&AOQ-")},
		{"bits left over that are not zero", TEXT("&AOl-")},
		{"too few bits", TEXT("&AO-")},
		{"a lone high surrogate", TEXT("&2D0-")},
		{"a lone low surrogate", TEXT("&3gA-")},
		{"surrogates in the wrong order", TEXT("&3gDYPQ-")},
		{"padding", TEXT("&AOk=-")},
		{"8-bit", TEXT("caf\xC3\xA9")},
		{"control characters", TEXT("a\x01")},
		{"NUL", TEXT("a\0b")},
		{"NUL in a run", TEXT("a&AAA-b")},
		{"an empty run inside", TEXT("&-&")},
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct gp_buffer out;
		gp_buffer_init(&out, 200);
		assert_int_equal(gp_buffer_append(&out, SPAN_LIT("x")), GP_OK);
		if (imap_utf7_decode(names[i].raw, &out) != GP_INVALID) {
			fail_msg("accepted: %s", names[i].what);
		}
		assert_string_equal(out.data, "x");
		gp_buffer_deinit(&out);
	}
	struct gp_buffer out;
	gp_buffer_init(&out, 200);
	assert_int_equal(imap_utf7_encode(SPAN_LIT("a\xC3"), &out), GP_INVALID);
	assert_int_equal(imap_utf7_encode(SPAN_LIT("a\0b"), &out), GP_INVALID);
	assert_int_equal(imap_utf7_encode(SPAN_LIT("\xED\xA0\x80"), &out), GP_INVALID);
	assert_int_equal(out.len, 0);
	gp_buffer_deinit(&out);
}

static void test_every_character(void **state)
{
	(void)state;
	struct gp_buffer raw, back;

	gp_buffer_init(&raw, 100);
	gp_buffer_init(&back, 100);
	for (uint32_t c = 1; c <= 0x10FFFF; c += c < 0x3000 ? 1 : 37) {
		char bytes[4];
		if (c >= 0xD800 && c <= 0xDFFF) {
			continue;
		}
		struct span text = span_make(bytes, utf8_encode(c, bytes));
		assert_int_equal(imap_utf7_encode(text, &raw), GP_OK);
		assert_int_equal(imap_utf7_decode(gp_buffer_span(&raw), &back), GP_OK);
		assert_true(span_equal(gp_buffer_span(&back), text));
		for (size_t i = 0; i < raw.len; i++) {
			assert_true(raw.data[i] >= 0x20 && raw.data[i] < 0x7F);
		}
		gp_buffer_truncate(&raw, 0);
		gp_buffer_truncate(&back, 0);
	}
	gp_buffer_deinit(&raw);
	gp_buffer_deinit(&back);
}

static void test_cap(void **state)
{
	(void)state;
	struct gp_buffer out;

	gp_buffer_init(&out, 4);
	assert_int_equal(imap_utf7_encode(SPAN_LIT("\u00e4"), &out), GP_LIMIT);
	assert_int_equal(out.len, 0);
	assert_int_equal(imap_utf7_decode(SPAN_LIT("abcde"), &out), GP_LIMIT);
	assert_int_equal(out.len, 0);
	gp_buffer_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_every_character),
		cmocka_unit_test(test_cap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
