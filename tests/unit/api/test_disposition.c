/* One clean header whatever the name of a part holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/disposition.h"
#include "base/utf8.h"

static void test_names(void **state)
{
	static const struct {
		bool is_attachment;
		const char *name, *header;
	} cases[] = {
		{true, NULL, "attachment"},
		{false, "", "inline"},
		{true, "a.pdf", "attachment; filename=\"a.pdf\""},
		{false, "two words.png", "inline; filename=\"two words.png\""},
		{true, "r\xC3\xA9sum\xC3\xA9.pdf",
		 "attachment; filename=\"r_sum_.pdf\"; filename*=UTF-8''r%C3%A9sum%C3%A9.pdf"},
		{true, "a\"b.txt", "attachment; filename=\"a_b.txt\""},
		{true, "a\r\nSet-Cookie: x.txt", "attachment; filename=\"a__Set-Cookie_ x.txt\""},
		{true, "../../etc/passwd", "attachment; filename=\".._.._etc_passwd\""},
		{true, "C:\\x\\y.exe", "attachment; filename=\"C__x_y.exe\""},
		/* RIGHT-TO-LEFT OVERRIDE would show "gpj.exe" as "exe.jpg" */
		{true, "photo\xE2\x80\xAEgpj.exe", "attachment; filename=\"photogpj.exe\""},
		/* ARABIC LETTER MARK turns what follows, too; a tag is seen by nobody */
		{true, "a\xD8\x9C\xF3\xA0\x81\xA1.txt", "attachment; filename=\"a.txt\""},
		{true, "\xFF\xFE", "attachment; filename=\"__\""},
	};
	struct gp_arena arena;

	(void)state;
	gp_arena_init(&arena, 1 << 20);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_string_equal(api_disposition(&arena, cases[i].is_attachment, cases[i].name), cases[i].header);
	}
	gp_arena_deinit(&arena);
}

static void test_long_name(void **state)
{
	char name[10001];
	struct gp_arena arena;

	(void)state;
	gp_arena_init(&arena, 1 << 20);
	memset(name, 'x', sizeof name);
	memcpy(name + sizeof name - 5, ".jpg", 5);
	char *header = api_disposition(&arena, true, name);
	assert_true(strlen(header) < 260);
	assert_non_null(strstr(header, "xx.jpg\""));
	/* not in the middle of a character */
	for (size_t i = 0; i + 2 < sizeof name; i += 2) {
		memcpy(name + i, "\xC3\xA9", 2);
	}
	name[10000] = '\0';
	header = api_disposition(&arena, true, name);
	assert_null(strstr(header, "%EF%BF%BD"));
	assert_true(utf8_is_valid(span_of(header)));
	gp_arena_deinit(&arena);
}

static void test_types(void **state)
{
	struct gp_arena arena;

	(void)state;
	gp_arena_init(&arena, 1 << 20);
	assert_string_equal(api_content_type(&arena, "text/plain", "koi8-r"), "text/plain; charset=koi8-r");
	assert_string_equal(api_content_type(&arena, "text/plain", NULL), "text/plain");
	assert_string_equal(api_content_type(&arena, "text/plain", "x\"\r\ny"), "text/plain");
	assert_string_equal(api_content_type(&arena, "text", NULL), "application/octet-stream");
	assert_string_equal(api_content_type(&arena, "text/", NULL), "application/octet-stream");
	assert_string_equal(api_content_type(&arena, "te xt/html", NULL), "application/octet-stream");
	assert_string_equal(api_content_type(&arena, "text/html\r\nX: y", NULL), "application/octet-stream");
	gp_arena_deinit(&arena);
}

static void test_inline(void **state)
{
	static const char *const safe[] = {"text/plain", "image/png", "audio/mpeg", "video/mp4"};
	static const char *const unsafe[] = {
		"text/html",       "image/svg+xml", "text/xml",       "application/xhtml+xml",
		"application/pdf", "text/plainx",   "message/rfc822", "application/javascript"};

	(void)state;
	for (size_t i = 0; i < sizeof safe / sizeof *safe; i++) {
		assert_true(api_disposition_is_inline_safe(safe[i]));
	}
	for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++) {
		assert_false(api_disposition_is_inline_safe(unsafe[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_long_name),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_inline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
