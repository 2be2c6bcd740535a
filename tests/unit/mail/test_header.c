#include "unit/mail/support.h"

#include <stdlib.h>

#include "mail/header.h"

struct text_case {
	const char *name;
	struct span raw, want;
	bool has_problem;
};

static void test_text(void **state)
{
	static const struct text_case cases[] = {
		{"nothing", S(""), S(""), false},
		{"plain", S("  Hello, world \t"), S("Hello, world"), false},
		{"folded", S("one\r\n two\r\n\tthree"), S("one two three"), false},
		{"folded, blanks kept", S("one \r\n  two"), S("one   two"), false},
		{"bare LF and CR", S("one\ntwo\rthree\r\n\r\n"), S("one two three"), false},
		{"Q", S("=?utf-8?Q?caf=C3=A9_=3F?="), S("caf\xC3\xA9 ?"), false},
		{"B", S("=?UTF-8?b?Y2Fmw6k=?="), S("caf\xC3\xA9"), false},
		{"B without padding", S("=?UTF-8?b?Y2Fmw6k?="), S("caf\xC3\xA9"), false},
		{"language", S("=?utf-8*fr?Q?caf=C3=A9?="), S("caf\xC3\xA9"), false},
		{"text around", S("a =?utf-8?q?b?= c"), S("a b c"), false},
		{"no blanks around", S("a=?utf-8?q?b?=c"), S("abc"), false},
		{"adjacent", S("=?utf-8?q?a?= \r\n\t =?utf-8?q?b?="), S("ab"), false},
		{"adjacent, touching", S("=?utf-8?q?a?==?utf-8?q?b?="), S("ab"), false},
		{"adjacent, character split", S("=?utf-8?q?=E2=9C?= =?utf-8?q?=93?="), S("\xE2\x9C\x93"), false},
		{"adjacent, split over B and Q", S("=?utf-8?q?=E2=9C?= =?UTF-8?B?kw==?="), S("\xE2\x9C\x93"), false},
		{"adjacent, other charsets", S("=?utf-8?q?=C3=A9?= =?latin1?q?=E9?="), S("\xC3\xA9\xC3\xA9"), false},
		{"adjacent, iso-2022-jp state", S("=?iso-2022-jp?B?GyRCRnw=?= =?iso-2022-jp?B?S1wbKEI=?="),
		 S("\xE6\x97\xA5\xE6\x9C\xAC"), false},
		{"koi8-r", S("=?koi8-r?Q?=F0=D2?="), S("\xD0\x9F\xD1\x80"), false},
		{"quoted charset", S("=?\"utf-8\"?Q?=C3=A9?="), S("\xC3\xA9"), false},
		{"blanks in a word", S("=?utf-8?Q?a b =C3=A9?= c"), S("a b \xC3\xA9 c"), false},
		{"question mark in a word", S("=?utf-8?Q?what? yes?="), S("what? yes"), false},
		{"question mark at the end of a word", S("=?utf-8?Q?what?\?="), S("what?"), false},
		{"folded word", S("=?utf-8?Q?a\r\n b?="), S("a b"), false},
		{"empty word", S("=?utf-8?Q?\?= x"), S("x"), false},
		{"without an end", S("=?utf-8?Q?abc"), S("=?utf-8?Q?abc"), false},
		{"without an end, half", S("=?utf-8?Q?abc?"), S("=?utf-8?Q?abc?"), false},
		{"without an end, then a whole one", S("=?utf-8?Q?abc =?utf-8?Q?d?="), S("=?utf-8?Q?abc d"), false},
		{"a word in a word", S("=?utf-8?Q?=3D=3Futf-8=3FQ=3Fx=3F=3D?="), S("=?utf-8?Q?x?="), false},
		{"no encoding", S("=?utf-8?X?abc?="), S("=?utf-8?X?abc?="), false},
		{"no charset", S("=??Q?abc?="), S("=??Q?abc?="), false},
		{"marks only", S("=?=?=?=?"), S("=?=?=?=?"), false},
		{"unknown charset", S("=?x-klingon?Q?caf=C3=A9?="), S("caf\xC3\xA9"), true},
		{"unknown charset, latin", S("=?x-klingon?Q?caf=E9?="), S("caf\xC3\xA9"), true},
		{"bad bytes", S("=?utf-8?Q?a=FFb?="), S("a" FFFD "b"), true},
		{"bad escape", S("=?utf-8?Q?a=ZZb=4?="), S("a=ZZb=4"), true},
		{"bad base64", S("=?utf-8?B?Y2F*mw6k=?="), S("caf\xC3\xA9"), true},
		{"cut character", S("=?utf-8?Q?a=E2=9C?="), S("a" FFFD), true},
		{"line ends smuggled in", S("=?utf-8?Q?a=0D=0AX-Evil:_b?="), S("a X-Evil: b"), false},
		{"NUL smuggled in", S("=?utf-8?Q?a=00b?="), S("a" FFFD "b"), true},
		{"NUL", S("a\0b"), S("a" FFFD "b"), true},
		{"raw utf-8", S("caf\xC3\xA9"), S("caf\xC3\xA9"), false},
		{"raw latin", S("caf\xE9 \x80"), S("caf\xC3\xA9 \xE2\x82\xAC"), true},
		{"raw utf-8 and a word", S("\xC3\xA9 =?utf-8?Q?=C3=A9?="), S("\xC3\xA9 \xC3\xA9"), false},
		{"raw iso-2022-jp", S("\x1B$BF|\x1B(B"), S("\xE6\x97\xA5"), false},
		{"utf-16 in a word", S("=?utf-16?B?/v8A6Q==?="), S("\xC3\xA9"), false},
		{"utf-7 in a word", S("=?utf-7?Q?+AOk-?="), S("\xC3\xA9"), false},
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct gp_buffer out;
		bool has_problem = false;
		/* A copy without anything behind it: reading past the end is seen. */
		char *copy = malloc(cases[i].raw.len ? cases[i].raw.len : 1);
		assert_non_null(copy);
		memcpy(copy, cases[i].raw.ptr, cases[i].raw.len);
		gp_buffer_init(&out, GP_MIB);
		assert_int_equal(mail_decode_text(span_make(copy, cases[i].raw.len), &out, &has_problem), GP_OK);
		expect_bytes(cases[i].name, gp_buffer_span(&out), cases[i].want);
		expect_text(cases[i].name, gp_buffer_span(&out));
		if (has_problem != cases[i].has_problem) {
			fail_msg("%s: has_problem is %d", cases[i].name, has_problem);
		}
		free(copy);
		/* Appends; and a problem found before is not forgotten. */
		has_problem = true;
		assert_int_equal(mail_decode_text(S("x"), &out, &has_problem), GP_OK);
		assert_true(has_problem);
		assert_int_equal(out.len, cases[i].want.len + 1);
		gp_buffer_deinit(&out);
	}
}

/* Whatever a field of many megabytes repeats, it is cut, and linear in time. */
static void test_text_large(void **state)
{
	static const struct {
		struct span unit;
		size_t most;
	} cases[] = {
		{S("=?"), GP_MIB},
		{S("=?a?q?"), GP_MIB},
		{S("=?a?q??"), GP_MIB},
		{S("=?utf-8?q?x?= "), GP_MIB},
		{S("=?utf-8?B?AA==?="), GP_MIB},
		{S("\xE9"), 2 * GP_MIB},
		{S("\xF0\x9F\x93\xA7"), GP_MIB},
		{S("\0"), 3 * GP_MIB},
		{S("\r\n "), GP_MIB},
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		size_t n = 3 * GP_MIB / cases[i].unit.len;
		struct gp_buffer raw;
		struct gp_buffer out;
		gp_buffer_init(&raw, 4 * GP_MIB);
		gp_buffer_init(&out, 8 * GP_MIB);
		for (size_t j = 0; j < n; j++) {
			assert_int_equal(gp_buffer_append(&raw, cases[i].unit), GP_OK);
		}
		assert_int_equal(mail_decode_text(gp_buffer_span(&raw), &out, NULL), GP_OK);
		assert_true(out.len <= cases[i].most);
		expect_text("large", gp_buffer_span(&out));
		gp_buffer_deinit(&raw);
		gp_buffer_deinit(&out);
	}
}

#define P(name, value)                                                                                                 \
	{                                                                                                              \
		S(name), S(value)                                                                                      \
	}
#define NO_MORE                                                                                                        \
	{                                                                                                              \
		{NULL, 0},                                                                                             \
		{                                                                                                      \
			NULL, 0                                                                                        \
		}                                                                                                      \
	}

struct param_case {
	const char *name;
	struct mail_param params[6];
	struct span want; /* NIL: not found */
};

static size_t n_params(const struct mail_param *params)
{
	size_t n = 0;

	while (n < 6 && params[n].name.ptr) {
		n++;
	}
	return n;
}

static void test_param(void **state)
{
	static const struct param_case cases[] = {
		{"none", {NO_MORE}, {NULL, 0}},
		{"other", {P("file", "a"), P("filename2", "b"), P("filename*x", "c")}, {NULL, 0}},
		{"plain", {P("FileName", "a b.txt")}, S("a b.txt")},
		{"NIL value", {{S("filename"), {NULL, 0}}}, {NULL, 0}},
		{"extended", {P("filename*", "utf-8'en'caf%C3%A9%20%25")}, S("caf\xC3\xA9 %")},
		{"extended, before plain", {P("filename", "a"), P("filename*", "utf-8''b")}, S("b")},
		{"extended, latin", {P("filename*", "iso-8859-1''caf%E9")}, S("caf\xC3\xA9")},
		{"extended, no quotes", {P("filename*", "caf%C3%A9")}, S("caf\xC3\xA9")},
		{"extended, one quote", {P("filename*", "it's%20")}, S("it's ")},
		{"extended, more quotes", {P("filename*", "utf-8''it's")}, S("it's")},
		{"extended, no charset", {P("filename*", "''caf%E9")}, S("caf\xC3\xA9")},
		{"extended, unknown charset", {P("filename*", "klingon''caf%C3%A9")}, S("caf\xC3\xA9")},
		{"extended, bad escapes", {P("filename*", "utf-8''a%ZZ%4%")}, S("a%ZZ%4%")},
		{"extended, bad bytes", {P("filename*", "utf-8''a%FFb%C3")}, S("a" FFFD "b" FFFD)},
		{"extended, line ends and NUL", {P("filename*", "utf-8''a%0D%0Ab%00c")}, S("a  b" FFFD "c")},
		{"numbered", {P("filename*0", "one "), P("filename*1", "two")}, S("one two")},
		{"numbered, unordered", {P("filename*2", "c"), P("filename*0", "a"), P("filename*1", "b")}, S("abc")},
		{"numbered, gap", {P("filename*0", "a"), P("filename*2", "c")}, S("a")},
		{"numbered, first lost", {P("filename*1", "b"), P("filename*2", "c")}, S("bc")},
		{"numbered, first lost, plain there", {P("filename*1", "b"), P("filename", "plain")}, S("plain")},
		{"numbered, duplicates", {P("filename*0", "a"), P("filename*0", "x"), P("filename*1", "b")}, S("ab")},
		{"numbered, before plain", {P("filename", "x"), P("filename*0", "a")}, S("a")},
		{"numbered, extended",
		 {P("filename*0*", "utf-8''caf%C3"), P("filename*1*", "%A9%20"), P("filename*2", "%41")},
		 S("caf\xC3\xA9 %41")},
		{"numbered, extended later",
		 {P("filename*0", "a'"), P("filename*1*", "%C3%A9'x'")},
		 S("a'\xC3\xA9'x'")},
		{"numbered, words", {P("filename*0", "=?utf-8?Q?caf"), P("filename*1", "=C3=A9?=")}, S("caf\xC3\xA9")},
		{"numbers too large",
		 {P("filename*99999999999", "a"), P("filename*1000", "b"), P("filename*-1", "c")},
		 {NULL, 0}},
		{"words", {P("filename", "=?utf-8?B?Y2Fmw6k=?=.txt")}, S("caf\xC3\xA9.txt")},
		{"raw utf-8", {P("filename", "caf\xC3\xA9")}, S("caf\xC3\xA9")},
		{"raw latin", {P("filename", "caf\xE9")}, S("caf\xC3\xA9")},
		{"empty", {P("filename", "")}, S("")},
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct gp_buffer out;
		bool is_found = span_is_nil(cases[i].want);
		gp_buffer_init(&out, GP_MIB);
		assert_int_equal(
			mail_decode_param(cases[i].params, n_params(cases[i].params), "filename", &out, &is_found),
			GP_OK);
		expect_bytes(cases[i].name, gp_buffer_span(&out), cases[i].want);
		if (is_found == span_is_nil(cases[i].want)) {
			fail_msg("%s: found is %d", cases[i].name, is_found);
		}
		gp_buffer_deinit(&out);
	}
}

static void test_filename(void **state)
{
	static const struct {
		const char *name;
		struct mail_param disposition[6];
		struct mail_param type[6];
		struct span want;
	} cases[] = {
		{"none", {NO_MORE}, {NO_MORE}, {NULL, 0}},
		{"disposition first", {P("filename", "a")}, {P("name*", "utf-8''b")}, S("a")},
		{"type", {NO_MORE}, {P("name", "b")}, S("b")},
		{"type, extended", {NO_MORE}, {P("name", "b"), P("name*", "utf-8''c")}, S("c")},
		{"empty, then type", {P("filename", "")}, {P("name", "b")}, S("b")},
		{"blank", {P("filename", " ")}, {NO_MORE}, {NULL, 0}},
		{"separators", {P("filename", "../a\\b/c")}, {NO_MORE}, S(".._a_b_c")},
		{"dots", {P("filename", "..")}, {NO_MORE}, S("__")},
		{"hidden", {P("filename", ".a")}, {NO_MORE}, S(".a")},
		{"line ends", {P("filename*", "utf-8''a%0D%0AX: b")}, {NO_MORE}, S("a  X: b")},
		{"controls", {P("filename*", "utf-8''a%01%7F%C2%85b")}, {NO_MORE}, S("a___b")},
		{"bidi", {P("filename*", "utf-8''a%E2%80%AEtxt.exe%E2%81%A6")}, {NO_MORE}, S("a_txt.exe_")},
		{"line separator", {P("filename*", "utf-8''a%E2%80%A8b")}, {NO_MORE}, S("a_b")},
		{"quotes stay", {P("filename", "a\"b'c")}, {NO_MORE}, S("a\"b'c")},
		{"NUL", {P("filename*", "utf-8''a%00b")}, {NO_MORE}, S("a" FFFD "b")},
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct gp_buffer out;
		bool is_found = span_is_nil(cases[i].want);
		gp_buffer_init(&out, GP_MIB);
		assert_int_equal(mail_decode_filename(cases[i].disposition, n_params(cases[i].disposition),
						      cases[i].type, n_params(cases[i].type), &out, &is_found),
				 GP_OK);
		expect_bytes(cases[i].name, gp_buffer_span(&out), cases[i].want);
		expect_text(cases[i].name, gp_buffer_span(&out));
		assert_int_equal(is_found, !span_is_nil(cases[i].want));
		gp_buffer_deinit(&out);
	}
}

static void test_filename_long(void **state)
{
	static const struct {
		const char *unit, *tail, *want_tail;
	} cases[] = {
		{"a", ".txt", "a.txt"},
		{"\xC3\xA9", ".txt", "\xC3\xA9.txt"},
		{"\xF0\x9F\x93\xA7", "", "\xF0\x9F\x93\xA7"},
		{".", ".x", "..x"},
		{"a", ".extensionthatistoolong", "aaaa"},
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct gp_buffer name;
		struct gp_buffer out;
		bool is_found = false;
		gp_buffer_init(&name, GP_MIB);
		gp_buffer_init(&out, GP_MIB);
		while (name.len < 10000) {
			assert_int_equal(gp_buffer_append(&name, span_of(cases[i].unit)), GP_OK);
		}
		assert_int_equal(gp_buffer_append(&name, span_of(cases[i].tail)), GP_OK);
		struct mail_param param = {S("name"), gp_buffer_span(&name)};
		assert_int_equal(mail_decode_filename(NULL, 0, &param, 1, &out, &is_found), GP_OK);
		assert_true(is_found);
		assert_in_range(out.len, 250, 255);
		struct span want = span_of(cases[i].want_tail);
		expect_bytes("tail", span_from(gp_buffer_span(&out), out.len - want.len), want);
		expect_text("long", gp_buffer_span(&out));
		gp_buffer_deinit(&name);
		gp_buffer_deinit(&out);
	}
}

static void test_ids(void **state)
{
	static const struct {
		const char *name;
		struct span raw;
		const char *want; /* separated by "|" */
	} cases[] = {
		{"none", S(""), ""},
		{"one", S(" <a@b>"), "a@b"},
		{"several, folded", S("<a@b>\r\n <c@d>\t<e@f>"), "a@b|c@d|e@f"},
		{"touching", S("<a@b><c@d>"), "a@b|c@d"},
		{"text between", S("Message of Ann on Monday <a@b> (was: x), <c@d>"), "a@b|c@d"},
		{"folded inside", S("<a\r\n @b>"), "a@b"},
		{"opened twice", S("<a<b@c>"), "b@c"},
		{"not closed", S("<a@b> <c@d"), "a@b"},
		{"empty", S("<> < > <a@b>"), "a@b"},
		{"no at sign", S("<abc>"), "abc"},
		{"bare", S(" a@b "), "a@b"},
		{"bare, several", S("a@b, c@d"), "a@b|c@d"},
		{"bare, no at sign", S("abc"), "abc"},
		{"bare, text", S("reply to Ann's mail"), ""},
		{"bare, not closed", S("<a@b"), "a@b"},
		{"bad bytes", S("<a\xFF@\0b>"), "a" FFFD "@b"},
		{"utf-8", S("<\xC3\xA9@b>"), "\xC3\xA9@b"},
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct gp_arena arena;
		struct gp_buffer joined;
		struct span *ids;
		size_t n_ids;
		gp_arena_init(&arena, GP_MIB);
		gp_buffer_init(&joined, GP_MIB);
		assert_int_equal(mail_parse_ids(cases[i].raw, &arena, &ids, &n_ids), GP_OK);
		for (size_t j = 0; j < n_ids; j++) {
			assert_int_equal(gp_buffer_append(&joined, j ? S("|") : S("")), GP_OK);
			assert_int_equal(gp_buffer_append(&joined, ids[j]), GP_OK);
		}
		expect_bytes(cases[i].name, gp_buffer_span(&joined), span_of(cases[i].want));
		gp_arena_deinit(&arena);
		gp_buffer_deinit(&joined);
	}
}

static void test_ids_many(void **state)
{
	static const struct span units[] = {S("<a@b> "), S("a@b "), S("<"), S(">"), S("<a@b")};
	static const size_t want[] = {1000, 1000, 0, 0, 1};

	(void)state;
	for (size_t i = 0; i < N_OF(units); i++) {
		struct gp_arena arena;
		struct gp_buffer raw;
		struct span *ids;
		size_t n_ids;
		gp_arena_init(&arena, 4 * GP_MIB);
		gp_buffer_init(&raw, GP_MIB);
		for (size_t j = 0; j < 5000; j++) {
			assert_int_equal(gp_buffer_append(&raw, units[i]), GP_OK);
		}
		assert_int_equal(mail_parse_ids(gp_buffer_span(&raw), &arena, &ids, &n_ids), GP_OK);
		assert_int_equal(n_ids, want[i]);
		gp_arena_deinit(&arena);
		/* An arena that is too small is a status. */
		gp_arena_init(&arena, 8);
		assert_int_equal(mail_parse_ids(gp_buffer_span(&raw), &arena, &ids, &n_ids),
				 want[i] ? GP_NO_MEMORY : GP_OK);
		gp_arena_deinit(&arena);
		gp_buffer_deinit(&raw);
	}
}

static void test_date(void **state)
{
	static const struct {
		struct span raw;
		bool is_date;
		int64_t seconds;
		int offset;
	} cases[] = {
		{S("Mon, 23 Nov 2026 22:03:47 +0100"), true, 1795467827, 60},
		{S("23 Nov 2026 22:03:47 +0000"), true, 1795471427, 0},
		{S("  Mon,\r\n 23 Nov 2026 22:03:47 -0330 (NST)"), true, 1795484027, -210},
		{S("23 Nov 2026 22:03 GMT"), true, 1795471380, 0},
		{S("Mon, 23 Nov 26 22:03:47 EST"), true, 1795489427, -300},
		{S("Mon, 23 Nov 2026 22:03:47 -0000"), true, 1795471427, 0},
		{S("Mon, 23 Nov 2026 22:03:60 +0000"), true, 1795471439, 0},
		{S("Mon Nov 23 22:03:47 2026"), true, 1795471427, 0},
		{S("2026-11-23T22:03:47Z"), true, 1795471427, 0},
		{S("2026-11-23 22:03:47+01:00"), true, 1795467827, 60},
		{S("1 Jan 1970 00:00:00 +0000"), true, 0, 0},
		{S("31 Dec 1969 23:59:59 +0000"), true, -1, 0},
		{S("31 Dec 9999 23:59:59 +0000"), true, 253402300799, 0},
		{S("1 Jan 99999 00:00:00 +0000"), false, 0, 0},
		{S("31 Feb 2026 00:00:00 +0000"), false, 0, 0},
		{S("29 Feb 2024 00:00:00 +0000"), true, 1709164800, 0},
		{S("29 Feb 2023 00:00:00 +0000"), false, 0, 0},
		{S("1 Mar 2024 00:00:00 +0000"), true, 1709251200, 0},
		{S("31 Dec 2024 23:59:59 +1400"), true, 1735639199, 840},
		{S("1 Mar 2100 00:00:00 -0015"), true, 4107543300, -15},
		{S(""), false, 0, 0},
		{S("yesterday"), false, 0, 0},
		{S("\0\xFF\xFE"), false, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		int64_t seconds = 42;
		int offset = 42;
		bool is_date = mail_parse_date(cases[i].raw, &seconds, &offset);
		if (is_date != cases[i].is_date || seconds != (is_date ? cases[i].seconds : 42) ||
		    offset != (is_date ? cases[i].offset : 42)) {
			fail_msg("%.*s: %d %lld %d", SPAN_ARGS(cases[i].raw), is_date, (long long)seconds, offset);
		}
	}
	char *large = calloc(1, 100000);
	int64_t seconds;
	int offset;
	assert_non_null(large);
	memset(large, '1', 100000);
	assert_false(mail_parse_date(span_make(large, 100000), &seconds, &offset));
	free(large);
}

static void test_fields(void **state)
{
	static const struct {
		const char *name;
		struct span block;
		const char *want; /* name=raw, separated by "|" */
	} cases[] = {
		{"none", S(""), ""},
		{"one", S("A: b\r\n"), "A= b"},
		{"no line end", S("A: b"), "A= b"},
		{"LF", S("A: b\nC:d\n"), "A= b|C=d"},
		{"folded", S("A: b\r\n c\r\n\td\r\nE: f\r\n"), "A= b\r\n c\r\n\td|E= f"},
		{"empty value", S("A:\r\nB: \r\n"), "A=|B= "},
		{"blank before the colon", S("A \t: b\r\n"), "A= b"},
		{"same name twice", S("A: 1\r\nA: 2\r\n"), "A= 1|A= 2"},
		{"colons in the value", S("A: b: c\r\n"), "A= b: c"},
		{"no field", S("A: b\r\nno field\r\n of mine: x\r\nC: d\r\n"), "A= b|C= d"},
		{"mbox line", S("From ann@example.org Mon Nov 23 22:03:47 2026\nA: b\n"), "A= b"},
		{"no name", S(": b\r\nA: c\r\n"), "A= c"},
		{"8-bit name", S("\xC3\xA9: b\r\nA: c\r\n"), "A= c"},
		{"begins with a continuation", S(" x: y\r\nA: b\r\n"), "A= b"},
		{"stops at the empty line", S("A: b\r\n\r\nC: d\r\n"), "A= b"},
		{"colon on the next line", S("A\r\n : b\r\nC: d"), "C= d"},
		{"NUL", S("A: b\0c\r\n"), "A= b"},
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct gp_arena arena;
		struct gp_buffer joined;
		struct mail_field *fields;
		size_t n_fields;
		gp_arena_init(&arena, GP_MIB);
		gp_buffer_init(&joined, GP_MIB);
		assert_int_equal(mail_parse_fields(cases[i].block, &arena, &fields, &n_fields), GP_OK);
		for (size_t j = 0; j < n_fields; j++) {
			assert_int_equal(gp_buffer_printf(&joined, "%s%.*s=%.*s", j ? "|" : "",
							  SPAN_ARGS(fields[j].name), SPAN_ARGS(fields[j].raw)),
					 GP_OK);
		}
		expect_bytes(cases[i].name, gp_buffer_span(&joined), span_of(cases[i].want));
		gp_arena_deinit(&arena);
		gp_buffer_deinit(&joined);
	}
}

static void test_fields_many(void **state)
{
	struct gp_arena arena;
	struct gp_buffer block;
	struct mail_field *fields;
	size_t n_fields;

	(void)state;
	gp_arena_init(&arena, GP_MIB);
	gp_buffer_init(&block, GP_MIB);
	for (size_t i = 0; i < 20000; i++) {
		assert_int_equal(gp_buffer_append(&block, S("A:b\n")), GP_OK);
	}
	assert_int_equal(mail_parse_fields(gp_buffer_span(&block), &arena, &fields, &n_fields), GP_OK);
	assert_int_equal(n_fields, 10000);
	gp_arena_deinit(&arena);
	gp_arena_init(&arena, 16);
	assert_int_equal(mail_parse_fields(gp_buffer_span(&block), &arena, &fields, &n_fields), GP_NO_MEMORY);
	gp_arena_deinit(&arena);
	gp_buffer_deinit(&block);
}

static void test_base_subject(void **state)
{
	static const struct {
		const char *subject, *want;
	} cases[] = {
		{"", ""},
		{"Hello", "hello"},
		{"Re: Hello", "hello"},
		{"RE:Hello", "hello"},
		{"Fwd: Re: FW : Hello", "hello"},
		{"Re[2]: Hello", "hello"},
		{"Re [x] : Hello", "hello"},
		{"[list] Re: [list] Hello", "hello"},
		{"[list] Hello", "hello"},
		{"[a][b]Re: Hello", "hello"},
		{"[only]", "[only]"},
		{"[a] [only]", "[only]"},
		{"Re: [only]", "[only]"},
		{"Hello (fwd) (FWD) ", "hello"},
		{"[Fwd: Hello]", "hello"},
		{"[Fwd: Re: [x] Hello (fwd)]", "hello"},
		{"Re:", ""},
		{"(fwd)", ""},
		{"  two \t  blanks ", "two blanks"},
		{"Regarding: x", "regarding: x"},
		{"[unclosed Hello", "[unclosed hello"},
		{"\xC3\x89t\xC3\x89 \xD0\x9F", "\xC3\xA9t\xC3\xA9 \xD0\xBF"},
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct gp_buffer out;
		gp_buffer_init(&out, GP_MIB);
		assert_int_equal(mail_base_subject(span_of(cases[i].subject), &out), GP_OK);
		expect_bytes(cases[i].subject, gp_buffer_span(&out), span_of(cases[i].want));
		gp_buffer_deinit(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),        cmocka_unit_test(test_text_large),    cmocka_unit_test(test_param),
		cmocka_unit_test(test_filename),    cmocka_unit_test(test_filename_long), cmocka_unit_test(test_ids),
		cmocka_unit_test(test_ids_many),    cmocka_unit_test(test_date),          cmocka_unit_test(test_fields),
		cmocka_unit_test(test_fields_many), cmocka_unit_test(test_base_subject),
	};

	mail_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
