#include "unit/mail/support.h"

#include <stdlib.h>

#include "mail/content.h"
#include "mail/header.h"

#define IDENTITY MAIL_ENCODING_IDENTITY
#define B64 MAIL_ENCODING_BASE64
#define QP MAIL_ENCODING_QUOTED_PRINTABLE
#define UU MAIL_ENCODING_UUENCODE

struct stream_case {
	const char *name;
	enum mail_encoding encoding;
	const char *charset; /* NULL: NIL; used when is_text */
	bool is_text;
	struct span in, want;
	bool has_problem;
};

/* Feeds `step` bytes at a time; each piece is a heap copy, so that reading past it
 * is seen. */
static bool run_stream(enum mail_encoding encoding, bool is_text, struct span charset, struct span in, size_t step,
		       struct gp_buffer *out)
{
	struct mail_content *content = mail_content_new(encoding, is_text, charset);

	assert_non_null(content);
	for (size_t at = 0; at < in.len; at += step) {
		struct span piece = span_slice(in, at, step);
		char *copy = malloc(piece.len);
		assert_non_null(copy);
		memcpy(copy, piece.ptr, piece.len);
		assert_int_equal(mail_content_feed(content, span_make(copy, piece.len), out), GP_OK);
		free(copy);
	}
	assert_int_equal(mail_content_finish(content, out), GP_OK);
	bool has_problem = mail_content_has_problem(content);
	mail_content_free(&content);
	assert_null(content);
	return has_problem;
}

static void run_cases(const struct stream_case *cases, size_t n_cases)
{
	static const size_t steps[] = {SIZE_MAX / 2, 1, 2, 3, 7};

	for (size_t i = 0; i < n_cases; i++) {
		const struct stream_case *c = &cases[i];
		for (size_t j = 0; j < N_OF(steps); j++) {
			struct gp_buffer out;
			gp_buffer_init(&out, GP_MIB);
			bool has_problem =
				run_stream(c->encoding, c->is_text, span_of(c->charset), c->in, steps[j], &out);
			expect_bytes(c->name, gp_buffer_span(&out), c->want);
			if (c->is_text) {
				expect_text(c->name, gp_buffer_span(&out));
			}
			if (has_problem != c->has_problem) {
				fail_msg("%s: has_problem is %d", c->name, has_problem);
			}
			gp_buffer_deinit(&out);
		}
	}
}

#define BYTES(name, encoding, in, want, problem)                                                                       \
	{                                                                                                              \
		name, encoding, NULL, false, S(in), S(want), problem                                                   \
	}
#define TEXT(name, charset, in, want, problem)                                                                         \
	{                                                                                                              \
		name, IDENTITY, charset, true, S(in), S(want), problem                                                 \
	}

static void test_base64(void **state)
{
	static const struct stream_case cases[] = {
		BYTES("nothing", B64, "", "", false),
		BYTES("one group", B64, "TWFu", "Man", false),
		BYTES("one pad", B64, "TWE=", "Ma", false),
		BYTES("two pads", B64, "TQ==", "M", false),
		BYTES("no padding, two", B64, "TQ", "M", false),
		BYTES("no padding, three", B64, "TWE", "Ma", false),
		BYTES("one sextet alone", B64, "TWFuT", "Man", true),
		BYTES("lines", B64, "TWFu\r\nTWFu\nTW\tFu \r\n\r\n", "ManManMan", false),
		BYTES("padding in the middle", B64, "TWE=TQ==\r\nTWFuTWFu", "MaMManMan", false),
		BYTES("padding only", B64, "====", "", false),
		BYTES("one sextet and padding", B64, "T===TWFu", "Man", true),
		BYTES("junk", B64, "T-W*F\x80u\x00TWFu", "ManMan", true),
		BYTES("every sextet", B64, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
		      "\x00\x10\x83\x10\x51\x87\x20\x92\x8B\x30\xD3\x8F\x41\x14\x93\x51\x55\x97\x61\x96\x9B\x71\xD7"
		      "\x9F\x82\x18\xA3\x92\x59\xA7\xA2\x9A\xAB\xB2\xDB\xAF\xC3\x1C\xB3\xD3\x5D\xB7\xE3\x9E\xBB\xF3"
		      "\xDF\xBF",
		      false),
	};

	(void)state;
	run_cases(cases, N_OF(cases));
}

static void test_quoted_printable(void **state)
{
	static const struct stream_case cases[] = {
		BYTES("plain", QP, "plain text\r\n", "plain text\r\n", false),
		BYTES("escapes", QP, "a=3Db=3dc=00=FF", "a=b=c\x00\xFF", false),
		BYTES("soft break", QP, "one =\r\nline=\nhere", "one linehere", false),
		BYTES("soft break with padding", QP, "one=  \t\r\nline= \nhere", "onelinehere", false),
		BYTES("soft break at the end", QP, "text=", "text", false),
		BYTES("soft break and blank at the end", QP, "text= \r", "text", false),
		BYTES("bad escape", QP, "a=ZZb", "a=ZZb", true),
		BYTES("half an escape", QP, "a=4Zb", "a=4Zb", true),
		BYTES("cut escape", QP, "a=4", "a=4", true),
		BYTES("two signs", QP, "a==41", "a=A", true),
		BYTES("CR without LF", QP, "a=\rb", "a=\rb", true),
		BYTES("CR, then an escape", QP, "a=\r=41", "a=\rA", true),
		BYTES("blank, then text", QP, "a= b", "a= b", true),
		BYTES("blanks at a line's end stay", QP, "-- \r\n", "-- \r\n", false),
		BYTES("raw 8-bit", QP, "caf\xE9", "caf\xE9", false),
	};

	(void)state;
	run_cases(cases, N_OF(cases));
}

static void test_uuencode(void **state)
{
	static const struct stream_case cases[] = {
		BYTES("file", UU, "begin 644 cat.txt\r\n#0V%T\r\n`\r\nend\r\n", "Cat", false),
		BYTES("text before and behind", UU, "Hi,\nbegin 644 a\n#0V%T\n`\nend\nBye\n", "Cat", false),
		BYTES("two files", UU, "begin 644 a\n#0V%T\n`\nend\nbegin 600 b\n#0V%T\n \nend\n", "CatCat", false),
		BYTES("no end", UU, "begin 644 a\n#0V%T", "Cat", true),
		BYTES("no begin", UU, "M5&AE('%U:6-K(&)R;W=N(&9O>\"!J=6UP<R!O=F5R('1H92!L87IY(&1O9RX@\n`\nend\n",
		      "The quick brown fox jumps over the lazy dog. ", true),
		BYTES("blanks at the end taken off", UU, "begin 644 a\n&0V%T\n`\nend\n", "Cat\0\0\0", false),
		BYTES("announces more than it has", UU, "begin 644 a\nM0\nend\n", "\x40\x00", true),
		BYTES("empty line", UU, "begin 644 a\n\n#0V%T\nend\n", "Cat", false),
		BYTES("not uuencoded at all", UU, "just text\n", "", true),
		BYTES("8-bit", UU, "begin 644 a\n#\xFF\xFF\xFF\xFF\nend\n", "\x7D\xF7\xDF", true),
	};

	(void)state;
	run_cases(cases, N_OF(cases));
}

static void test_charsets(void **state)
{
	static const struct stream_case cases[] = {
		TEXT("utf-8", "utf-8", "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x93\xA7",
		     "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x93\xA7", false),
		TEXT("utf-8, names", "\"UTF8\"", "\xC3\xBC", "\xC3\xBC", false),
		TEXT("utf-8, mark", "utf-8", "\xEF\xBB\xBFtext\xEF\xBB\xBF", "text\xEF\xBB\xBF", false),
		TEXT("utf-8, bad", "utf-8",
		     "a\xFF"
		     "b\xE2\x82"
		     "c\xC3",
		     "a" FFFD "b" FFFD "c" FFFD, true),
		TEXT("utf-8, overlong and surrogate", "utf-8", "\xC0\xAF\xED\xA0\x80", FFFD FFFD FFFD FFFD FFFD, true),
		TEXT("utf-8, above the last", "utf-8", "\xF4\x90\x80\x80", FFFD FFFD FFFD FFFD, true),
		TEXT("NUL", "utf-8", "a\0b", "a" FFFD "b", true),
		TEXT("controls stay", "utf-8", "a\x01\xC2\x85\x1B\r\n", "a\x01\xC2\x85\x1B\r\n", false),
		TEXT("windows-1252", "windows-1252", "\x80\x93\xE9\x81", "\xE2\x82\xAC\xE2\x80\x9C\xC3\xA9\xC2\x81",
		     false),
		TEXT("iso-8859-1 is windows-1252", "ISO-8859-1", "\x80", "\xE2\x82\xAC", false),
		TEXT("iso_8859-1:1987", "ISO_8859-1:1987", "\xE9", "\xC3\xA9", false),
		TEXT("latin1, NUL", "latin1", "\0\xE9", FFFD "\xC3\xA9", true),
		TEXT("none, utf-8", NULL, "\xC3\xA9t\xC3\xA9", "\xC3\xA9t\xC3\xA9", false),
		TEXT("none, windows-1252", NULL, "\xE9t\xE9", "\xC3\xA9t\xC3\xA9", true),
		TEXT("us-ascii, windows-1252", "us-ascii", "a\xE2\x82 b\xE9", "a\xC3\xA2\xE2\x80\x9A b\xC3\xA9", true),
		TEXT("us-ascii, cut at the end", "us-ascii", "a\xE2\x82", "a\xC3\xA2\xE2\x80\x9A", true),
		TEXT("us-ascii, ascii", "US-ASCII", "plain", "plain", false),
		TEXT("us-ascii, NUL", "us-ascii", "a\0\xC3\xA9", "a" FFFD "\xC3\xA9", true),
		TEXT("unknown-8bit", "unknown-8bit", "\xC3\xA9", "\xC3\xA9", false),
		TEXT("x-unknown", "x-unknown", "\xE9", "\xC3\xA9", true),
		TEXT("not a charset", "x-klingon", "plain", "plain", true),
		TEXT("not a charset, 8-bit", "x-klingon", "\xC3\xA9", "\xC3\xA9", true),
		TEXT("a path", "../../etc/passwd", "a", "a", true),
		TEXT("an option", "utf-16//TRANSLIT", "a", "a", true),
		TEXT("a very long name", "utf-8utf-8utf-8utf-8utf-8utf-8utf-8utf-8utf-8utf-8utf-8", "a", "a", true),
		TEXT("koi8-r", "KOI8-R", "\xF0\xD2\xC9\xD7\xC5\xD4", "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82",
		     false),
		TEXT("cp1251", "windows-1251", "\xCF\xF0", "\xD0\x9F\xD1\x80", false),
		TEXT("iso-8859-2", "iso8859-2", "\xB1", "\xC4\x85", false),
		TEXT("gb2312 is gb18030", "gb2312", "\xC4\xE3\x81\x30\x81\x30", "\xE4\xBD\xA0\xC2\x80", false),
		TEXT("gb18030, split and bad", "gb18030",
		     "\xC4\xE3\xFF"
		     "a\x81",
		     "\xE4\xBD\xA0" FFFD "a" FFFD, true),
		TEXT("big5", "big5", "\xA7\x41\xA6\x6E", "\xE4\xBD\xA0\xE5\xA5\xBD", false),
		TEXT("ks_c_5601-1987 is cp949", "ks_c_5601-1987", "\xB0\xA1\x81\x41", "\xEA\xB0\x80\xEA\xB0\x82",
		     false),
		TEXT("shift_jis is cp932", "Shift_JIS", "\x93\xFA\x87\x40\xB1", "\xE6\x97\xA5\xE2\x91\xA0\xEF\xBD\xB1",
		     false),
		TEXT("shift_jis, bad second byte keeps pairs", "shift_jis", "\x93\xFF\x93\xFA", FFFD "\xE6\x97\xA5",
		     true),
		TEXT("euc-jp", "x-euc-jp", "\xC6\xFC\xAD\xA1", "\xE6\x97\xA5\xE2\x91\xA0", false),
		TEXT("cp1255, marks", "windows-1255", "\xE0\xC7x", "\xEF\xAC\xAEx", false),
		TEXT("cp1258, mark joined", "windows-1258", "a\xEC", "\xC3\xA1", false),
		TEXT("cp1258, held letter before a bad byte", "windows-1258",
		     "a\xD2"
		     "b\xD2",
		     "\xE1\xBA\xA3"
		     "b\xCC\x89",
		     false),
		TEXT("utf-7", "utf-7", "1 +- 1, +AOk-t+AOk", "1 + 1, \xC3\xA9t\xC3\xA9", false),
		TEXT("utf-7, pair", "unicode-1-1-utf-7", "+2D3c5w!", "\xF0\x9F\x93\xA7!", false),
		TEXT("utf-7, lone surrogates", "utf-7", "+2D0-a+3OcAYQ-", FFFD "a" FFFD "a", true),
		TEXT("utf-7, bits left over", "utf-7", "+AOkA-b+", "\xC3\xA9" FFFD "b", true),
		TEXT("utf-7, 8-bit and U+0000", "utf-7", "\xE9+AAA-", FFFD FFFD, true),
		TEXT("iso-2022-kr", "iso-2022-kr",
		     "\x1B$)C\x0E\x30\x21\x0F"
		     "a",
		     "\xEA\xB0\x80"
		     "a",
		     false),
	};

	(void)state;
	run_cases(cases, N_OF(cases));
}

static void test_utf16(void **state)
{
	static const struct stream_case cases[] = {
		TEXT("mark, little", "utf-16", "\xFF\xFEh\0\xE9\0", "h\xC3\xA9", false),
		TEXT("mark, big", "utf-16", "\xFE\xFF\0h\0\xE9", "h\xC3\xA9", false),
		TEXT("no mark, little", "utf-16", "h\0i\0", "hi", false),
		TEXT("no mark, big", "utf-16", "\0h\0i", "hi", false),
		TEXT("no mark, no zeros: big", "utf-16", "\x65\xE5", "\xE6\x97\xA5", false),
		TEXT("stated, mark", "utf-16le", "\xFF\xFEh\0", "h", false),
		TEXT("pair", "utf-16be", "\xD8\x3D\xDC\xE7", "\xF0\x9F\x93\xA7", false),
		TEXT("lone surrogate", "utf-16be", "\0a\xD8\x3D\0b", "a" FFFD "b", true),
		TEXT("odd byte", "utf-16be", "\0a\0", "a" FFFD, true),
		TEXT("cut pair", "utf-16be", "\0a\xD8\x3D", "a" FFFD, true),
		TEXT("U+0000", "utf-16be", "\0a\0\0\0b", "a" FFFD "b", true),
		TEXT("one byte only", "utf-16", "a", FFFD, true),
		TEXT("utf-32, mark", "utf-32", "\xFF\xFE\0\0h\0\0\0", "h", false),
		TEXT("utf-32, none", "utf-32", "\0\0\0h", "h", false),
		TEXT("utf-32, too large", "utf-32be", "\0\x11\0\0\0\0\0h", FFFD "h", true),
	};

	(void)state;
	run_cases(cases, N_OF(cases));
}

static void test_iso_2022_jp(void **state)
{
	static const struct stream_case cases[] = {
		TEXT("kanji", "iso-2022-jp", "a\x1B$BF|\x1B(Bb",
		     "a\xE6\x97\xA5"
		     "b",
		     false),
		TEXT("state goes on", "ISO-2022-JP", "\x1B$BF|K\\\x1B(J!", "\xE6\x97\xA5\xE6\x9C\xAC!", false),
		TEXT("old escape", "iso-2022-jp", "\x1B$@F|\x1B(B", "\xE6\x97\xA5", false),
		TEXT("circled digit", "iso-2022-jp", "\x1B$B-!\x1B(B", "\xE2\x91\xA0", false),
		TEXT("half-width katakana", "iso-2022-jp", "\x1B(I1\x1B(B", "\xEF\xBD\xB1", false),
		TEXT("half-width katakana, 8-bit", "iso-2022-jp", "\xB1", "\xEF\xBD\xB1", false),
		TEXT("supplement", "iso-2022-jp", "\x1B$(D0!\x1B(B", "\xE4\xB8\x82", false),
		TEXT("line end resets", "iso-2022-jp", "\x1B$BF|\nabc", "\xE6\x97\xA5\nabc", false),
		TEXT("half a pair", "iso-2022-jp", "\x1B$BF|K\x1B(Bb", "\xE6\x97\xA5" FFFD "b", true),
		TEXT("half a pair at the end", "iso-2022-jp", "\x1B$BF|K", "\xE6\x97\xA5" FFFD, true),
		TEXT("unassigned pair", "iso-2022-jp", "\x1B$B)!F|\x1B(B", FFFD "\xE6\x97\xA5", true),
		TEXT("unassigned in the supplement", "iso-2022-jp", "\x1B$(D!!0!\x1B(B", FFFD "\xE4\xB8\x82", true),
		TEXT("unassigned, then ASCII", "iso-2022-jp", "\x1B$(D!!\x1B(Bab", FFFD "ab", true),
		TEXT("no such escape", "iso-2022-jp", "\x1B$xF", FFFD "$xF", true),
		TEXT("escape in an escape", "iso-2022-jp", "\x1B$\x1B$BF|\x1B(B", FFFD "$\xE6\x97\xA5", true),
		TEXT("cut escape", "iso-2022-jp", "a\x1B$", "a" FFFD, true),
		TEXT("8-bit", "iso-2022-jp",
		     "a\xFF"
		     "b",
		     "a" FFFD "b", true),
	};

	(void)state;
	run_cases(cases, N_OF(cases));
}

static void test_both(void **state)
{
	static const struct stream_case cases[] = {
		{"base64, utf-8", B64, "utf-8", true, S("w6k\r\n="), S("\xC3\xA9"), false},
		{"base64, koi8-r", B64, "koi8-r", true, S("8NLJ18XU"),
		 S("\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82"), false},
		{"quoted-printable, utf-8", QP, "utf-8", true, S("=C3=\r\n=A9=C3"), S("\xC3\xA9" FFFD), true},
		{"quoted-printable, guess", QP, NULL, true, S("=E9t=E9"), S("\xC3\xA9t\xC3\xA9"), true},
		{"base64, bytes with NUL", B64, "utf-8", false, S("AAEC"), S("\0\x01\x02"), false},
		{"identity, bytes", IDENTITY, "utf-16", false, S("\xFF\xFE\0"), S("\xFF\xFE\0"), false},
	};

	(void)state;
	run_cases(cases, N_OF(cases));
}

/* Random bytes through every encoding and charset: whole and in pieces alike. */
static void test_pieces(void **state)
{
	static const char *const charsets[] = {
		"utf-8",         "us-ascii",       "latin1",      "gb18030",     "big5",   "shift_jis", "euc-jp",
		"cp949",         "iso-2022-jp",    "iso-2022-kr", "iso-2022-cn", "utf-7",  "utf-16",    "utf-32",
		"cp1255",        "cp1258",         "tcvn",        "koi8-r",      "euc-tw", "johab",     "iso-2022-jp-2",
		"iso-2022-jp-3", "shift_jis-2004", "cp874",       "armscii-8",
	};
	static const char flavours[][17] = {"\x1B$B(JI@DF|K\\\n a\xE9", "+-AOk=\r\n\t 3DZ\xC3\xA9",
					    "\x81\xFE\x40\xA1\xDF\x30\x8F\x8E\xC4\xE3\xD2\xEC\0\xFF\xD8",
					    "TWFuTQ==\r\n-*AZ09"};
	uint32_t seed = 2463534242u;

	(void)state;
	for (size_t i = 0; i < N_OF(charsets) * 4 * 40; i++) {
		char in[64];
		for (size_t j = 0; j < sizeof in; j++) {
			seed = seed * 1664525u + 1013904223u;
			in[j] = seed >> 31 ? (char)(seed >> 16) : flavours[i / 40 % 4][seed >> 20 & 15];
		}
		struct span charset = span_of(charsets[i / 160]);
		enum mail_encoding encoding = (enum mail_encoding)(i % 4);
		struct gp_buffer whole;
		struct gp_buffer pieces;
		gp_buffer_init(&whole, GP_MIB);
		gp_buffer_init(&pieces, GP_MIB);
		bool has_problem = run_stream(encoding, true, charset, span_make(in, sizeof in), sizeof in, &whole);
		assert_int_equal(run_stream(encoding, true, charset, span_make(in, sizeof in), 1, &pieces),
				 has_problem);
		expect_bytes(charset.ptr, gp_buffer_span(&pieces), gp_buffer_span(&whole));
		expect_text(charset.ptr, gp_buffer_span(&whole));
		gp_buffer_deinit(&whole);
		gp_buffer_deinit(&pieces);
	}
}

static void test_encoding_names(void **state)
{
	static const struct {
		const char *name;
		enum mail_encoding want;
		bool is_known;
	} cases[] = {
		{"7bit", IDENTITY, true},       {"8BIT", IDENTITY, true},
		{"binary", IDENTITY, true},     {"", IDENTITY, true},
		{NULL, IDENTITY, true},         {"BASE64", B64, true},
		{" \"base64\" ", B64, true},    {"base64; x=y", B64, true},
		{"Quoted-Printable", QP, true}, {"'quoted-printable'", QP, true},
		{"x-uuencode", UU, true},       {"x-gzip64", IDENTITY, false},
		{"base641", IDENTITY, false},
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		bool is_known = !cases[i].is_known;
		if (mail_encoding_parse(span_of(cases[i].name), &is_known) != cases[i].want ||
		    is_known != cases[i].is_known) {
			fail_msg("%s", cases[i].name);
		}
		assert_int_equal(mail_encoding_parse(span_of(cases[i].name), NULL), cases[i].want);
	}
}

/* A buffer with little room takes what fits, and says so when it does not. */
static void test_small_buffer(void **state)
{
	struct gp_buffer out;
	struct mail_content *content = mail_content_new(B64, false, SPAN_NIL);

	(void)state;
	gp_buffer_init(&out, 3);
	assert_int_equal(mail_content_feed(content, S("TWFu"), &out), GP_OK);
	assert_int_equal(mail_content_feed(content, S("TWFu"), &out), GP_LIMIT);
	expect_bytes("small", gp_buffer_span(&out), S("Man"));
	gp_buffer_deinit(&out);
	mail_content_free(&content);
	mail_content_free(&content);
}

/* More than one internal piece. */
static void test_large(void **state)
{
	enum { N = 100000 };
	char *in = malloc(N * 4);
	struct gp_buffer out;

	(void)state;
	assert_non_null(in);
	for (size_t i = 0; i < N; i++) {
		memcpy(in + i * 4, "w6kK", 4);
	}
	gp_buffer_init(&out, N * 3);
	assert_false(run_stream(B64, true, S("utf-8"), span_make(in, N * 4), N * 4 - 1, &out));
	assert_int_equal(out.len, N * 3);
	for (size_t i = 0; i < N; i++) {
		assert_memory_equal(out.data + i * 3, "\xC3\xA9\n", 3);
	}
	gp_buffer_deinit(&out);
	free(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64),         cmocka_unit_test(test_quoted_printable),
		cmocka_unit_test(test_uuencode),       cmocka_unit_test(test_charsets),
		cmocka_unit_test(test_utf16),          cmocka_unit_test(test_iso_2022_jp),
		cmocka_unit_test(test_both),           cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_encoding_names), cmocka_unit_test(test_small_buffer),
		cmocka_unit_test(test_large),
	};

	mail_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
