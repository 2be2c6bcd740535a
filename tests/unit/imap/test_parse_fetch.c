#include "parser_support.h"

static const struct parser_case cases[] = {
	CASE("items in any order",
	     "* 12 FETCH (RFC822.SIZE 44827 UID 7 MODSEQ (65402) FLAGS (\\Seen $x) INTERNALDATE \"17-Jul-1996 02:44:25 "
	     "-0700\")\r\n",
	     "FETCH 12 uid=7 UID FLAGS INTERNALDATE SIZE MODSEQ flags=[\\Seen|$x] date=837596665 size=44827 "
	     "modseq=65402\n"),
	CASE("lower case", "* 1 fetch (uid 7 flags ())\r\n", "FETCH 1 uid=7 UID FLAGS flags=[]\n"),
	CASE("no UID", "* 1 FETCH (FLAGS (\\Seen))\r\n", "FETCH 1 uid=0 FLAGS flags=[\\Seen]\n"),
	CASE("position 0", "* 0 FETCH (UID 7)\r\n", "FETCH 0 uid=7 UID\n"),
	CASE("UID 0", "* 1 FETCH (UID 0)\r\n", "FETCH 1 uid=0\n"),
	CASE("a UID over 32 bits", "* 1 FETCH (UID 4294967296)\r\n", "FETCH 1 uid=0\n"),
	CASE("two UIDs are none", "* 1 FETCH (UID 7 FLAGS () UID 8)\r\n", "FETCH 1 uid=0 FLAGS flags=[]\n"),
	CASE("the same UID twice", "* 1 FETCH (UID 7 UID 7)\r\n", "FETCH 1 uid=7 UID\n"),
	CASE("nothing in it", "* 1 FETCH ()\r\n", "FETCH 1 uid=0\n"),
	CASE("nothing behind it", "* 1 FETCH\r\n", "FETCH 1 uid=0\n"),
	CASE("no space before the list", "* 1 FETCH(UID 7)\r\n", "FETCH 1 uid=7 UID\n"),
	CASE("a space before the end", "* 1 FETCH (UID 7 )\r\n", "FETCH 1 uid=7 UID\n"),
	CASE("two spaces before a literal", "* 1 FETCH (BODY[]  {3}\r\nabc)\r\n", "FETCH 1 uid=0 SECTION BODY[]=abc\n"),
	CASE("items behind the list", "* 1 FETCH (UID 7) FLAGS (\\Seen)\r\n",
	     "FETCH 1 uid=7 UID FLAGS flags=[\\Seen]\n"),
	CASE("a list too many", "* 1 FETCH ((UID 7 FLAGS (a)))\r\n", "FETCH 1 uid=7 UID FLAGS flags=[a]\n"),
	CASE("no end", "* 1 FETCH (UID 7 FLAGS (a\r\n", "FETCH 1 uid=7 UID\n"),
	CASE("UIDFETCH", "* 7 UIDFETCH (FLAGS ())\r\n", "FETCH 0 uid=7 UID FLAGS flags=[]\n"),
	CASE("UIDFETCH of none", "* 0 UIDFETCH (FLAGS ())\r\n", "FETCH 0 uid=0 FLAGS flags=[]\n"),
	CASE("odd flags", "* 1 FETCH (FLAGS (] [ + \\* NIL (x (y)) a[b]) UID 7)\r\n",
	     "FETCH 1 uid=7 UID FLAGS flags=[]|[|+|\\*|a[b]]\n"),
	CASE("NIL for flags", "* 1 FETCH (FLAGS NIL UID 7)\r\n", "FETCH 1 uid=7 UID FLAGS flags=[]\n"),
	CASE("flags without parentheses", "* 1 FETCH (FLAGS \\Seen \\Draft UID 7)\r\n",
	     "FETCH 1 uid=7 UID FLAGS flags=[\\Seen|\\Draft]\n"),
	CASE("flags without a value", "* 1 FETCH (FLAGS UID 7)\r\n", "FETCH 1 uid=7 UID\n"),
	CASE("MODSEQ bare and -1", "* 1 FETCH (MODSEQ 7)\r\n* 1 FETCH (MODSEQ (-1) UID 7)\r\n",
	     "FETCH 1 uid=0 MODSEQ modseq=7\nFETCH 1 uid=7 UID\n"),
	CASE("size -1, with exponent, of 64 bits",
	     "* 1 FETCH (RFC822.SIZE -1 UID 7)\r\n* 1 FETCH (RFC822.SIZE 9.37e+06 UID 7)\r\n* 1 FETCH (RFC822.SIZE "
	     "5000000000)\r\n",
	     "FETCH 1 uid=7 UID\nFETCH 1 uid=7 UID\nFETCH 1 uid=0 SIZE size=5000000000\n"),
	CASE("dates that are none",
	     "* 1 FETCH (INTERNALDATE \"00-Jan-0000 00:00:00 +0000\" UID 7 INTERNALDATE NIL)\r\n",
	     "FETCH 1 uid=7 UID\n"),
	CASE("object ids", "* 1 FETCH (EMAILID (M6d99) THREADID (T64b) UID 7)\r\n",
	     "FETCH 1 uid=7 UID EMAILID THREADID email=M6d99 thread=T64b\n"),
	CASE("THREADID NIL, EMAILID bare", "* 1 FETCH (THREADID NIL EMAILID M1)\r\n",
	     "FETCH 1 uid=0 EMAILID THREADID email=M1 thread=~\n"),
	CASE("Gmail",
	     "* 1 FETCH (X-GM-THRID 1278455344230334866 X-GM-MSGID 1278455344230334865 X-GM-LABELS (\\Inbox \"a b\" "
	     "(x)) UID 7)\r\n",
	     "FETCH 1 uid=7 UID EMAILID THREADID email=1278455344230334865 thread=1278455344230334866\n"),
	CASE("EMAILID goes before X-GM-MSGID",
	     "* 1 FETCH (EMAILID (M1) X-GM-MSGID 5)\r\n* 1 FETCH (X-GM-MSGID 5 EMAILID (M1))\r\n",
	     "FETCH 1 uid=0 EMAILID email=M1\nFETCH 1 uid=0 EMAILID email=M1\n"),
	CASE("preview",
	     "* 1 FETCH (PREVIEW \"hi\" UID 7)\r\n* 1 FETCH (PREVIEW NIL)\r\n* 1 FETCH (PREVIEW (FUZZY {2}\r\nhi))\r\n",
	     "FETCH 1 uid=7 UID PREVIEW preview=hi\nFETCH 1 uid=0 PREVIEW preview=~\nFETCH 1 uid=0 PREVIEW "
	     "preview=hi\n"),
	CASE("SAVEDATE and what is unknown",
	     "* 1 FETCH (SAVEDATE \"1-Jan-2020 00:00:00 +0000\" X-FOO (1 (2 \"3)\")) X-BAR UID 7)\r\n",
	     "FETCH 1 uid=7 UID\n"),
	CASE("sections",
	     "* 1 FETCH (BODY[1.2.MIME] \"a\\\"b\" BODY[TEXT]<10> {1}\r\nc BODY[2] NIL BODY[3]<0.5> \"\")\r\n",
	     "FETCH 1 uid=0 SECTION BODY[1.2.MIME]=a\"b BODY[TEXT]<10>=c BODY[2]=~ BODY[3]<0>=\n"),
	CASE("header fields", "* 1 FETCH (BODY[HEADER.FIELDS (FROM \"TO\")] {4}\r\na)\r\n UID 7)\r\n",
	     "FETCH 1 uid=7 UID SECTION BODY[HEADER.FIELDS (FROM \"TO\")]=a)\\x0D\\x0A\n"),
	CASE("brackets in a section",
	     "* 1 FETCH (BODY[HEADER.FIELDS (X-[a] \"b)]\" {3}\r\nc]) )] NIL BODY[a[b]c] NIL UID 7)\r\n",
	     "FETCH 1 uid=7 UID SECTION BODY[HEADER.FIELDS (X-[a] \"b)]\" {3}\\x0D\\x0Ac]) )]=~ BODY[a[b]c]=~\n"),
	CASE("a section that is not balanced", "* 1 FETCH (BODY[HEADER.FIELDS (FROM] {1}\r\na UID 7)\r\n",
	     "FETCH 1 uid=7 UID SECTION BODY[HEADER.FIELDS (FROM]=a\n"),
	CASE("a section without end", "* 1 FETCH (UID 7 BODY[TEXT {1}\r\na FLAGS ())\r\n",
	     "FETCH 1 uid=7 UID FLAGS flags=[]\n"),
	CASE("a section with no value", "* 1 FETCH (BODY[1] UID 7 BODY[2] BODY[3] \"x\" BODY[4])\r\n",
	     "FETCH 1 uid=7 UID SECTION BODY[3]=x\n"),
	CASE("a section with a list", "* 1 FETCH (BODY[1] (a (b)) UID 7)\r\n", "FETCH 1 uid=7 UID\n"),
	CASE("binary", "* 1 FETCH (BINARY[1] ~{1}\r\na BINARY.SIZE[1] 77 BINARY[2]<3> NIL UID 7)\r\n",
	     "FETCH 1 uid=7 UID SECTION BODY[1]=a BODY[2]<3>=~\n"),
	CASE("RFC822 and its parts", "* 1 FETCH (RFC822 \"a\" RFC822.HEADER {1}\r\nb RFC822.TEXT NIL)\r\n",
	     "FETCH 1 uid=0 SECTION BODY[]=a BODY[HEADER]=b BODY[TEXT]=~\n"),
	CASE("a literal cannot be taken for items", "* 1 FETCH (X \"a {17}\r\n\" UID 9 FLAGS (b) UID 7)\r\n",
	     "FETCH 1 uid=7 UID\n"),
	CASE("strings among items", "* 1 FETCH (\"x\" UID 7 {3}\r\nUID \"UID\" 8)\r\n", "FETCH 1 uid=7 UID\n"),
};

static void test_cases(void **state)
{
	(void)state;
	RUN_CASES(cases);
}

static void test_many_flags_cost_the_item_only(void **state)
{
	(void)state;
	struct gp_buffer stream;
	const struct imap_response *response;

	gp_buffer_init(&stream, 8 * GP_MIB);
	DUMP(&stream, "* 1 FETCH (UID 7 FLAGS (");
	for (int i = 0; i < 3000000; i++) {
		assert_int_equal(gp_buffer_append(&stream, SPAN_LIT("a ")), GP_OK);
	}
	DUMP(&stream, ") RFC822.SIZE 3)\r\n");
	struct imap_parser *parser = imap_parser_new();
	struct span input = gp_buffer_span(&stream);
	assert_int_equal(imap_parser_next(parser, &input, &response, NULL), IMAP_PARSER_RESPONSE);
	assert_int_equal(response->fetch.items, IMAP_ITEM_UID | IMAP_ITEM_SIZE);
	imap_parser_free(&parser);
	gp_buffer_deinit(&stream);
}

/* The time for each is in proportion to its length; in proportion to the square none of
 * them would end. */
static void test_hostile_rows_are_linear(void **state)
{
	(void)state;
	static const char *const pieces[] = {
		"UID (",
		"BODY[(] ",
		"BODY[( ",
		"BODY[",
		"BODYSTRUCTURE (",
		"BODYSTRUCTURE ((\"a\" ",
		"ENVELOPE (",
		"ENVELOPE (NIL NIL ((",
		"FLAGS (",
		"MODSEQ (",
		"PREVIEW (",
		"X (",
		"\"",
		"\"\\",
		"x\"",
		"{",
		"{1",
		"~",
		"BODY[\" ",
		"((((",
		"))))",
		"NIL ",
		"BODYSTRUCTURE NIL ",
		"BODY[]<1",
		"(\"a\" \"b\" ",
		"\"a/b\" (",
		"ENVELOPE ((\"a\"",
		"\"mixed\" ",
		"\"message\" \"rfc822\" (",
	};
	static const char *const heads[] = {"* 1 FETCH (",
					    "* 1 FETCH (BODYSTRUCTURE (",
					    "* 1 FETCH (ENVELOPE (",
					    "* STATUS x (",
					    "* LIST (",
					    "* NAMESPACE (",
					    "* SEARCH ",
					    "* ESEARCH (",
					    "* OK [",
					    "* MYRIGHTS "};
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
			struct gp_buffer stream;
			const struct imap_response *response;
			gp_buffer_init(&stream, GP_MIB);
			DUMP(&stream, "%s", heads[i]);
			while (stream.len < 300 * GP_KIB) {
				assert_int_equal(gp_buffer_append(&stream, span_of(pieces[k])), GP_OK);
			}
			assert_int_equal(gp_buffer_append(&stream, SPAN_LIT("\r\n")), GP_OK);
			struct imap_parser *parser = imap_parser_new();
			struct span input = gp_buffer_span(&stream);
			assert_int_equal(imap_parser_next(parser, &input, &response, NULL), IMAP_PARSER_RESPONSE);
			imap_parser_free(&parser);
			gp_buffer_deinit(&stream);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_many_flags_cost_the_item_only),
		cmocka_unit_test(test_hostile_rows_are_linear),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
