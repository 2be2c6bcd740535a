/* Where responses begin and end, whatever is in them. */
#include "parser_support.h"

static const struct parser_case cases[] = {
	CASE("two in one piece", "* OK a\r\n* OK b\r\n", "* OK text=a\n* OK text=b\n"),
	CASE("lone line feeds", "* OK a\n* OK b\n", "* OK text=a\n* OK text=b\n"),
	CASE("NUL bytes before a response", "\0\0* OK a\r\n\0* OK b\r\n", "* OK text=a\n* OK text=b\n"),
	CASE("empty lines between responses", "\r\n\n* OK a\r\n\r\n* OK b\r\n", "* OK text=a\n* OK text=b\n"),
	CASE("not finished", "* OK a", ""),
	CASE("a literal", "* 1 FETCH (BODY[] {5}\r\na\r\nb) UID 3)\r\n",
	     "FETCH 1 uid=3 UID SECTION BODY[]=a\\x0D\\x0Ab)\n"),
	CASE("a literal behind a lone line feed", "* 1 FETCH (BODY[] {3}\nabc UID 3)\n",
	     "FETCH 1 uid=3 UID SECTION BODY[]=abc\n"),
	CASE("an empty literal", "* 1 FETCH (BODY[] {0}\r\n)\r\n", "FETCH 1 uid=0 SECTION BODY[]=\n"),
	CASE("an empty literal at the end of the line", "* LIST () \"/\" {0}\r\n\r\n",
	     "LIST mailbox= delimiter=/ attributes=[]\n"),
	CASE("literal8", "* 1 FETCH (BINARY[1] ~{3}\r\na\0b)\r\n", "FETCH 1 uid=0 SECTION BODY[1]=a\\x00b\n"),
	CASE("a non-synchronising literal from a server", "* 1 FETCH (BODY[] {3+}\r\nabc)\r\n",
	     "FETCH 1 uid=0 SECTION BODY[]=abc\n"),
	CASE("leading zeros", "* 1 FETCH (BODY[] {0000000000000000000000000003}\r\nabc)\r\n",
	     "FETCH 1 uid=0 SECTION BODY[]=abc\n"),
	CASE("no space before the literal", "* 1 FETCH (BODY[]{3}\r\nabc RFC822{1}\r\nx)\r\n",
	     "FETCH 1 uid=0 SECTION BODY[]=abc BODY[]=x\n"),
	CASE("several literals", "* 1 FETCH (BODY[1] {1}\r\na BODY[2] {2}\r\n{1 BODY[3] {3}\r\n{1} UID 4)\r\n",
	     "FETCH 1 uid=4 UID SECTION BODY[1]=a BODY[2]={1 BODY[3]={1}\n"),
	CASE("a literal that looks like responses",
	     "* 1 FETCH (BODY[] {25}\r\n* 1 FETCH (UID 9)\r\nA1 OK )\r\nA1 OK x\r\n",
	     "FETCH 1 uid=0 SECTION BODY[]=* 1 FETCH (UID 9)\\x0D\\x0AA1 OK \nTAGGED tag=A1 OK text=x\n"),
	CASE("{-1} is a line end", "* 1 FETCH (UID 2 BODY[] {-1}\r\n* OK b\r\n", "FETCH 1 uid=2 UID\n* OK text=b\n"),
	CASE("{} and {x} are line ends", "* X {}\r\n* X {5x}\r\n* X {+}\r\n",
	     "OTHER text=* X {}\nOTHER text=* X {5x}\nOTHER text=* X {+}\n"),
	CASE("text announces nothing", "A1 NO no such mailbox x{500}\r\nA2 OK x\r\n",
	     "TAGGED tag=A1 NO text=no such mailbox x{500}\nTAGGED tag=A2 OK text=x\n"),
	CASE("text behind a code announces nothing", "* NO [NONEXISTENT] x {5}\r\n* OK x\r\n",
	     "* NO code=NONEXISTENT value= text=x {5}\n* OK text=x\n"),
	CASE("text of a continuation announces nothing", "+ {5}\r\n* OK x\r\n", "+ text={5}\n* OK text=x\n"),
	CASE("a line that is not IMAP announces nothing", "Error {5}\r\n* OK x\r\n",
	     "OTHER text=Error {5}\n* OK text=x\n"),
	CASE("a code that is still open can", "A1 NO [BADCHARSET ({7}\r\nx]{5}\r\n)] {9}\r\n* OK x\r\n",
	     "TAGGED tag=A1 NO code=BADCHARSET value=({7}\\x0D\\x0Ax]{5}\\x0D\\x0A) text={9}\n* OK text=x\n"),
	CASE("a quote before a literal does not hide it",
	     "* 1 FETCH (X \"a BODY[] {9}\r\n\" UID 99 UID 3)\r\n* OK x\r\n", "FETCH 1 uid=3 UID\n* OK text=x\n"),
	CASE("a length beyond 2^64", "* 1 FETCH (BODY[] {18446744073709551616}\r\n", "ERROR LIMIT\n"),
};

static void test_cases(void **state)
{
	(void)state;
	RUN_CASES(cases);
}

static void feed_many(struct feeder *feeder, char c, size_t len)
{
	static char block[64 * 1024];

	memset(block, c, sizeof block);
	while (len > 0) {
		size_t n = len < sizeof block ? len : sizeof block;
		feeder_feed(feeder, span_make(block, n));
		len -= n;
	}
}

static void expect_feeder(struct feeder *feeder, const char *expected)
{
	assert_string_equal(feeder->lines.data ? feeder->lines.data : "", expected);
	gp_buffer_truncate(&feeder->lines, 0);
}

static void test_oversize_literal_is_passed_over(void **state)
{
	(void)state;
	struct feeder feeder;
	struct gp_buffer announcement;

	feeder_init(&feeder, GP_MIB);
	gp_buffer_init(&announcement, 200);
	DUMP(&announcement, "* 1 FETCH (BODY[] {%zu}\r\n", GP_MAX_IMAP_LITERAL + 1);
	feeder_feed(&feeder, gp_buffer_span(&announcement));
	feed_many(&feeder, '\n', GP_MAX_IMAP_LITERAL + 1);
	assert_false(imap_parser_is_at_boundary(feeder.parser));
	feeder_feed(&feeder, SPAN_LIT(" UID 4)\r\n* OK x\r\n"));
	expect_feeder(&feeder, "FETCH 1 uid=4 UID SECTION BODY[]=(too long)~\n* OK text=x\n");
	assert_true(imap_parser_is_at_boundary(feeder.parser));

	/* the longest that is kept */
	gp_buffer_truncate(&announcement, 0);
	DUMP(&announcement, "* LIST () \"/\" {%zu}\r\n", GP_MAX_IMAP_LITERAL);
	feeder_feed(&feeder, gp_buffer_span(&announcement));
	feed_many(&feeder, 'x', GP_MAX_IMAP_LITERAL);
	feeder_feed(&feeder, SPAN_LIT("\r\n"));
	assert_int_equal(feeder.lines.len, GP_MAX_IMAP_LITERAL + strlen("LIST mailbox= delimiter=/ attributes=[]\n"));
	imap_parser_trim(feeder.parser);
	gp_buffer_deinit(&announcement);
	feeder_deinit(&feeder);
}

static void test_announced_memory_is_not_taken(void **state)
{
	(void)state;
	struct imap_framing framing;
	struct span text;

	imap_framing_init(&framing);
	struct span input = SPAN_LIT("* 1 FETCH (BODY[] {2097152}\r\nabc");
	assert_int_equal(imap_framing_next(&framing, &input, &text, NULL), IMAP_PARSER_NEED_MORE);
	assert_true(framing.bytes.size < 4096);
	input = SPAN_LIT("* 1 FETCH (BODY[] {4294967295}\r\nabc");
	imap_framing_deinit(&framing);
	imap_framing_init(&framing);
	assert_int_equal(imap_framing_next(&framing, &input, &text, NULL), IMAP_PARSER_NEED_MORE);
	assert_true(framing.bytes.size < 4096);
	/* nor is it, once it comes: what is passed over is not kept */
	static char octets[64 * GP_KIB];
	input = span_make(octets, sizeof octets);
	assert_int_equal(imap_framing_next(&framing, &input, &text, NULL), IMAP_PARSER_NEED_MORE);
	assert_int_equal(input.len, 0);
	assert_true(framing.bytes.size < 4096);
	imap_framing_deinit(&framing);
}

static void test_line_cap(void **state)
{
	(void)state;
	struct feeder feeder;

	feeder_init(&feeder, GP_MIB);
	feed_many(&feeder, 'x', GP_MAX_IMAP_LINE);
	expect_feeder(&feeder, "");
	feeder_feed(&feeder, SPAN_LIT("x"));
	expect_feeder(&feeder, "ERROR LIMIT\n");
	/* what failed stays failed */
	feeder_feed(&feeder, SPAN_LIT("\r\n* OK x\r\n"));
	expect_feeder(&feeder, "ERROR PROTOCOL\n");
	feeder_deinit(&feeder);
}

static void test_response_cap(void **state)
{
	(void)state;
	struct feeder feeder;

	feeder_init(&feeder, GP_MIB);
	feeder_feed(&feeder, SPAN_LIT("* 1 FETCH ("));
	for (int i = 0; i < 7; i++) {
		feeder_feed(&feeder, SPAN_LIT("BODY[] {2097152}\r\n"));
		feed_many(&feeder, 'x', GP_MAX_IMAP_LITERAL);
	}
	expect_feeder(&feeder, "");
	feeder_feed(&feeder, SPAN_LIT("BODY[] {2097152}\r\n"));
	struct span block = SPAN_LIT("0123456789abcdef");
	for (size_t i = 0; i < GP_MAX_IMAP_LITERAL && feeder.lines.len == 0; i += block.len) {
		feeder_feed(&feeder, block);
	}
	expect_feeder(&feeder, "ERROR LIMIT\n");
	feeder_deinit(&feeder);
}

static void test_tiny_literals_are_linear(void **state)
{
	(void)state;
	struct feeder feeder;

	feeder_init(&feeder, GP_MIB);
	feeder_feed(&feeder, SPAN_LIT("* 1 FETCH (UID 7"));
	for (int i = 0; i < 200000; i++) {
		feeder_feed(&feeder, SPAN_LIT(" X {0}\r\n"));
	}
	feeder_feed(&feeder, SPAN_LIT(")\r\n"));
	expect_feeder(&feeder, "FETCH 1 uid=7 UID\n");
	feeder_deinit(&feeder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_oversize_literal_is_passed_over),
		cmocka_unit_test(test_announced_memory_is_not_taken),
		cmocka_unit_test(test_line_cap),
		cmocka_unit_test(test_response_cap),
		cmocka_unit_test(test_tiny_literals_are_linear),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
