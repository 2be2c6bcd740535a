/* Messages to an mbox: in any pieces the same, and back again what it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "mail/mbox.h"

static void write_message(struct span message, size_t piece, struct gp_buffer *out)
{
	struct mail_mbox mbox;

	gp_buffer_init(out, GP_MIB);
	assert_int_equal(mail_mbox_begin(&mbox, SPAN_LIT("ann@example.test"), 1700000000, out), GP_OK);
	for (size_t at = 0; at < message.len; at += piece) {
		assert_int_equal(mail_mbox_feed(&mbox, span_slice(message, at, piece), out), GP_OK);
	}
	assert_int_equal(mail_mbox_end(&mbox, out), GP_OK);
}

#define HEAD "From ann@example.test Tue Nov 14 22:13:20 2023\n"

static void test_messages(void **state)
{
	static const struct {
		const char *message, *expected;
	} cases[] = {
		{"", HEAD "\n"},
		{"Subject: x\r\n\r\nHello.\r\n", HEAD "Subject: x\n\nHello.\n\n"},
		{"no line end", HEAD "no line end\n\n"},
		{"From me\r\n", HEAD ">From me\n\n"},
		{">From me\r\n>>From me\r\n", HEAD ">>From me\n>>>From me\n\n"},
		{"> From me\r\n>>Fro\r\nFrom:\r\n from \r\n", HEAD "> From me\n>>Fro\nFrom:\n from \n\n"},
		{"a\r\nFrom \r\nFrom ", HEAD "a\n>From \n>From \n\n"},
		{"From", HEAD "From\n\n"},
		{">", HEAD ">\n\n"},
		{"FFrom a\r\nFFrFrom b\r\n", HEAD "FFrom a\nFFrFrom b\n\n"},
		{"F>From a\r\nF\r\nFrom b", HEAD "F>From a\nF\n>From b\n\n"},
		{"a\rb\r\r\n\rFrom x\r", HEAD "a\rb\r\n\rFrom x\r\n\n"},
		{"a\nFrom b\n", HEAD "a\n>From b\n\n"},
		{"\r\n\r\nFrom x\r\n", HEAD "\n\n>From x\n\n"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (size_t piece = 1; piece < 40; piece++) {
			struct gp_buffer out;
			write_message(span_of(cases[i].message), piece, &out);
			assert_string_equal(out.data, cases[i].expected);
			gp_buffer_deinit(&out);
		}
	}
}

static void test_bytes_that_are_no_text(void **state)
{
	static const char message[] = "\0\xFF\nFrom \0\n";
	struct gp_buffer out;
	(void)state;

	write_message(span_make(message, sizeof message - 1), 3, &out);
	assert_memory_equal(out.data + strlen(HEAD), "\0\xFF\n>From \0\n\n", 12);
	gp_buffer_deinit(&out);
}

static void test_first_lines(void **state)
{
	static const struct {
		const char *sender;
		int64_t received;
		const char *expected;
	} cases[] = {
		{"a@b", 0, "From a@b Thu Jan  1 00:00:00 1970\n"},
		{"a@b", 1709251199, "From a@b Thu Feb 29 23:59:59 2024\n"},
		{"a@b", -1, "From a@b Wed Dec 31 23:59:59 1969\n"},
		{"a@b", INT64_MAX, "From a@b Thu Jan  1 00:00:00 1970\n"},
		{"a@b", INT64_MIN, "From a@b Thu Jan  1 00:00:00 1970\n"},
		{NULL, 0, "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n"},
		{"", 0, "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n"},
		{"a b@c", 0, "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n"},
		{"a@b\nFrom x", 0, "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct mail_mbox mbox;
		struct gp_buffer out;
		gp_buffer_init(&out, 4096);
		assert_int_equal(mail_mbox_begin(&mbox, span_of(cases[i].sender), cases[i].received, &out), GP_OK);
		assert_string_equal(out.data, cases[i].expected);
		gp_buffer_deinit(&out);
	}
}

/* Any message, in any pieces: what comes out holds no line "From ", and unquoted it is the message. */
static void test_round_trip(void **state)
{
	static const char *const bits[] = {"From ", "From", ">", "\r\n", "\n", "\r", "F", "x", ">>From ", " "};
	uint32_t seed = 1;
	(void)state;

	for (size_t round = 0; round < 20000; round++) {
		char message[128], plain[256];
		size_t len = 0, plain_len = 0;
		for (int i = 0; i < 12; i++) {
			seed = seed * 1664525 + 1013904223;
			const char *bit = bits[(seed >> 16) % 10];
			memcpy(message + len, bit, strlen(bit));
			len += strlen(bit);
		}
		struct gp_buffer out;
		write_message(span_make(message, len), 1 + seed % 7, &out);
		struct span body = span_from(gp_buffer_span(&out), strlen(HEAD));
		for (size_t at = 0; at < body.len;) {
			ptrdiff_t end = span_find_char(span_from(body, at), '\n');
			assert_true(end >= 0);
			struct span line = span_slice(body, at, (size_t)end + 1);
			at += line.len;
			size_t n_marks = 0;
			while (line.ptr[n_marks] == '>') {
				n_marks++;
			}
			bool is_quoted = span_starts_with(span_from(line, n_marks), "From ");
			assert_false(is_quoted && n_marks == 0);
			line = span_from(line, is_quoted ? 1 : 0);
			memcpy(plain + plain_len, line.ptr, line.len);
			plain_len += line.len;
		}
		/* the message with LF, ended, and the empty line */
		char expected[256];
		size_t expected_len = 0;
		for (size_t i = 0; i < len; i++) {
			if (!(message[i] == '\r' && i + 1 < len && message[i + 1] == '\n')) {
				expected[expected_len++] = message[i];
			}
		}
		if (expected_len > 0 && expected[expected_len - 1] != '\n') {
			expected[expected_len++] = '\n';
		}
		expected[expected_len++] = '\n';
		assert_int_equal(plain_len, expected_len);
		assert_memory_equal(plain, expected, expected_len);
		gp_buffer_deinit(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_bytes_that_are_no_text),
		cmocka_unit_test(test_first_lines),
		cmocka_unit_test(test_round_trip),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
