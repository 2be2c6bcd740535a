/* Names of files: fit for every disk, and unique. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "mail/filename.h"

#define LONG32 "abcdefghijklmnopqrstuvwxyzabcdef"

static void test_fit(void **state)
{
	static const struct {
		const char *name, *expected;
	} cases[] = {
		{"report.pdf", "report.pdf"},
		{"Grüße 🍜.txt", "Grüße 🍜.txt"},
		{"", "unnamed"},
		{"   ", "unnamed"},
		{".", "unnamed"},
		{"..", "unnamed"},
		{"../../etc/passwd", "_._.._etc_passwd"},
		{"/etc/passwd", "_etc_passwd"},
		{"..\\x", "_._x"},
		{"C:\\x", "C__x"},
		{".htaccess", "_htaccess"},
		{"a\x01"
		 "b\x7F"
		 "c\r\nd",
		 "a_b_c__d"},
		{"a\u202E"
		 "fdp.exe",
		 "afdp.exe"},
		{"\u200B\u2066\uFEFF", "unnamed"},
		{"a\xFF"
		 "b",
		 "a_b"},
		{"\xC0\x80", "__"},
		{"con", "_con"},
		{"NUL.txt", "_NUL.txt"},
		{"com1.tar.gz", "_com1.tar.gz"},
		{"com10", "com10"},
		{"console", "console"},
		{"x. . .", "x"},
		{"a?b*c\"d<e>f|g", "a_b_c_d_e_f_g"},
		{LONG32 LONG32 ".pdf", "abcdefghijklmnopqrstuvwxyzab.pdf"},
		{LONG32 "." LONG32, LONG32},
		{"üüüüüüüüüüüüüüüüüüüü.pdf", "üüüüüüüüüüüüüü.pdf"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct gp_buffer out;
		gp_buffer_init(&out, 4096);
		assert_int_equal(mail_filename_append(span_of(cases[i].name), 32, &out), GP_OK);
		assert_string_equal(out.data, cases[i].expected);
		assert_true(out.len <= 32 && utf8_is_valid(gp_buffer_span(&out)));
		gp_buffer_deinit(&out);
	}
}

static void test_unique(void **state)
{
	static const struct {
		const char *name, *expected;
	} cases[] = {
		{"a.txt", "a.txt"},
		{"a.txt", "a (2).txt"},
		{"A.TXT", "A (3).TXT"},
		{"a (4).txt", "a (4).txt"},
		{"a.txt", "a (5).txt"},
		{"\u00E9.txt", "\u00E9.txt"},
		{"e\u0301.txt", "e\u0301 (6).txt"},
		{"STRASSE", "STRASSE"},
		{"stra\u00DFe", "stra\u00DFe (7)"},
		{"", "unnamed"},
		{"..", "unnamed (8)"},
		{LONG32 LONG32, LONG32},
		{LONG32 "abc", "abcdefghijklmnopqrstuvwxyzab (9)"},
	};
	struct mail_filenames *names = mail_filenames_new();
	struct gp_buffer out;
	(void)state;

	assert_non_null(names);
	gp_buffer_init(&out, 4096);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(mail_filenames_add(names, span_of(cases[i].name), 32, &out), GP_OK);
		assert_string_equal(out.data, cases[i].expected);
	}
	gp_buffer_deinit(&out);
	mail_filenames_free(&names);
	assert_null(names);
}

/* Names made to collide do not make it slow. */
static void test_many(void **state)
{
	struct mail_filenames *names = mail_filenames_new();
	struct gp_buffer out;
	char name[32];
	(void)state;

	assert_non_null(names);
	gp_buffer_init(&out, 4096);
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof name, "a (%d)", i);
		assert_int_equal(mail_filenames_add(names, span_of(name), 200, &out), GP_OK);
	}
	for (int i = 0; i < 5000; i++) {
		assert_int_equal(mail_filenames_add(names, SPAN_LIT("a"), 200, &out), GP_OK);
	}
	gp_buffer_deinit(&out);
	mail_filenames_free(&names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fit),
		cmocka_unit_test(test_unique),
		cmocka_unit_test(test_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
