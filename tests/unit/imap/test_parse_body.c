#include "parser_support.h"

#define ROW(quirk, body, expected)                                                                                     \
	CASE(quirk, "* 1 FETCH (BODYSTRUCTURE " body " UID 7)\r\n", "FETCH 1 uid=7 UID BODYSTRUCTURE " expected "\n")
#define LOST(quirk, body)                                                                                              \
	CASE(quirk, "* 1 FETCH (UID 7 BODYSTRUCTURE " body " FLAGS (x))\r\n", "FETCH 1 uid=7 UID FLAGS flags=[x]\n")
#define TEXT "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 1)"
#define TEXT_IS " text/plain enc=7bit octets=5 lines=1"
#define ENVELOPE "(NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL)"
#define ENVELOPE_IS "envelope={ date=~ subject=s irt=~ id=~ }"

static const struct parser_case plain[] = {
	ROW("a text", "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") \"<i>\" \"d\" \"7BIT\" 1152 23)",
	    "[1] TEXT/PLAIN;CHARSET=US-ASCII id=<i> desc=d enc=7BIT octets=1152 lines=23"),
	ROW("extensions",
	    "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 1 \"m\" (\"attachment\" (\"filename\" \"a\" \"x\" \"y\")) "
	    "(\"en\" \"de\") \"l\" (1 2) \"z\")",
	    "[1] text/plain enc=7bit md5=m disp=attachment;filename=a;x=y lang=en loc=l octets=5 lines=1"),
	ROW("BODY without extensions", "(" TEXT TEXT " \"mixed\")",
	    "[] multipart/mixed multipart ([1]" TEXT_IS ", [2]" TEXT_IS ")"),
	ROW("multipart",
	    "(" TEXT "(" TEXT TEXT " \"alternative\" (\"boundary\" \"b\") (\"inline\" NIL) \"en\" \"l\") \"mixed\" "
	    "(\"boundary\" \"c\") NIL NIL NIL)",
	    "[] multipart/mixed;boundary=c multipart ([1]" TEXT_IS
	    ", [2] multipart/alternative;boundary=b disp=inline lang=en loc=l multipart ([2.1]" TEXT_IS
	    ", [2.2]" TEXT_IS "))"),
	ROW("a message whose body is a multipart",
	    "(" TEXT "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 90 " ENVELOPE "(" TEXT "(" TEXT
	    " \"related\") \"mixed\") 4 NIL (\"inline\" NIL)) \"mixed\")",
	    "[] multipart/mixed multipart ([1]" TEXT_IS
	    ", [2] message/rfc822 enc=7bit disp=inline octets=90 lines=4 message " ENVELOPE_IS
	    " ([] multipart/mixed multipart ([2.1]" TEXT_IS ", [2.2] multipart/related multipart ([2.2.1]" TEXT_IS
	    "))))"),
	ROW("a message whose body is one part",
	    "(" TEXT "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 90 " ENVELOPE TEXT " 4) \"mixed\")",
	    "[] multipart/mixed multipart ([1]" TEXT_IS
	    ", [2] message/rfc822 enc=7bit octets=90 lines=4 message " ENVELOPE_IS " ([2.1]" TEXT_IS "))"),
	ROW("a message at the root",
	    "(\"message\" \"global\" NIL NIL NIL \"7bit\" 90 " ENVELOPE "(" TEXT " \"mixed\") 4)",
	    "[1] message/global enc=7bit octets=90 lines=4 message " ENVELOPE_IS
	    " ([] multipart/mixed multipart ([1.1]" TEXT_IS "))"),
	ROW("a message in a message",
	    "(\"message\" \"rfc822\" NIL NIL NIL NIL 9 " ENVELOPE
	    "(\"message\" \"rfc822\" NIL NIL NIL NIL 8 " ENVELOPE TEXT " 1) 1)",
	    "[1] message/rfc822 octets=9 lines=1 message " ENVELOPE_IS
	    " ([1.1] message/rfc822 octets=8 lines=1 message " ENVELOPE_IS " ([1.1.1]" TEXT_IS "))"),
};

static const struct parser_case quirks[] = {
	ROW("a multipart with NIL for children", "(NIL \"mixed\" (\"boundary\" \"b\") NIL NIL)",
	    "[] multipart/mixed;boundary=b multipart"),
	ROW("a multipart with nothing for children", "(\"mixed\" (\"boundary\" \"b\") NIL NIL)",
	    "[] multipart/mixed;boundary=b multipart"),
	ROW("a subtype alone", "(\"alternative\")", "[] multipart/alternative multipart"),
	ROW("a subtype alone, with NILs", "(\"mixed\" NIL (\"inline\" (\"a\" \"b\")) \"en\")",
	    "[] multipart/mixed disp=inline;a=b lang=en multipart"),
	ROW("a NIL child behind others", "(" TEXT " NIL \"mixed\" (\"boundary\" \"b\"))",
	    "[] multipart/mixed;boundary=b multipart ([1]" TEXT_IS ")"),
	ROW("an empty child keeps its number", "(() " TEXT " \"mixed\")",
	    "[] multipart/mixed multipart ([1] application/octet-stream, [2]" TEXT_IS ")"),
	ROW("no subtype", "(" TEXT " NIL (\"boundary\" \"b\"))",
	    "[] multipart/mixed;boundary=b multipart ([1]" TEXT_IS ")"),
	ROW("nothing behind the children", "(" TEXT ")", "[] multipart/mixed multipart ([1]" TEXT_IS ")"),
	ROW("all NIL", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)", "[1] application/octet-stream"),
	ROW("() as a body", "()", "[1] application/octet-stream"),
	ROW("() as a location", "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 1 NIL NIL NIL ())", "[1]" TEXT_IS),
	ROW("() in every place", "(\"text\" \"plain\" () () () () 5 1 NIL () () ())",
	    "[1] text/plain octets=5 lines=1"),
	ROW("a media type as one string", "(\"text/plain\" (\"charset\" \"x\") NIL NIL \"7bit\" 5 1)",
	    "[1] text/plain;charset=x enc=7bit octets=5 lines=1"),
	ROW("a media type as one string and NIL", "(\"text/plain\" NIL (\"charset\" \"x\") NIL NIL \"7bit\" 5 1)",
	    "[1] text/plain;charset=x enc=7bit octets=5 lines=1"),
	ROW("disposition as a bare string", "(\"image\" \"png\" NIL NIL NIL \"base64\" 5 NIL \"attachment\" \"en\")",
	    "[1] image/png enc=base64 disp=attachment lang=en octets=5"),
	ROW("disposition as (NIL NIL)", "(\"image\" \"png\" NIL NIL NIL \"base64\" 5 NIL (NIL NIL) \"en\" \"l\")",
	    "[1] image/png enc=base64 lang=en loc=l octets=5"),
	ROW("disposition without parameters",
	    "(\"image\" \"png\" NIL NIL NIL \"base64\" 5 NIL (\"attachment\") \"en\")",
	    "[1] image/png enc=base64 disp=attachment lang=en octets=5"),
	ROW("disposition unknown", "(\"image\" \"png\" NIL NIL NIL \"base64\" 5 NIL (\"form-data\" NIL))",
	    "[1] image/png enc=base64 disp=form-data octets=5"),
	ROW("disposition flat", "(\"image\" \"png\" NIL NIL NIL \"base64\" 5 NIL (\"attachment\" \"filename\" \"a\"))",
	    "[1] image/png enc=base64 disp=attachment;filename=a octets=5"),
	ROW("the language in its place", "(\"image\" \"png\" NIL NIL NIL \"base64\" 5 NIL (\"en\") \"http://l\")",
	    "[1] image/png enc=base64 lang=en loc=http://l octets=5"),
	ROW("the location in its place", "(\"image\" \"png\" NIL NIL NIL \"base64\" 5 NIL \"http://l\")",
	    "[1] image/png enc=base64 loc=http://l octets=5"),
	ROW("disposition one place late",
	    "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 NIL NIL (\"attachment\" (\"filename\" \"a\")) \"en\")",
	    "[1] text/plain enc=7bit disp=attachment;filename=a lang=en octets=5"),
	ROW("disposition for the md5",
	    "(\"image\" \"png\" NIL NIL NIL \"base64\" 5 (\"attachment\" (\"filename\" \"a\")))",
	    "[1] image/png enc=base64 disp=attachment;filename=a octets=5"),
	ROW("NIL parameter values", "(\"text\" \"plain\" (\"charset\" NIL \"x\" \"y\" NIL \"z\") NIL NIL \"7bit\" 5 1)",
	    "[1] text/plain;charset=~;x=y enc=7bit octets=5 lines=1"),
	ROW("a parameter without value", "(\"text\" \"plain\" (\"a\" \"b\" \"c\") NIL NIL \"7bit\" 5 1)",
	    "[1] text/plain;a=b;c=~ enc=7bit octets=5 lines=1"),
	ROW("a parameter with a list", "(\"text\" \"plain\" (\"a\" (\"b\" (c)) \"d\" \"e\") NIL NIL \"7bit\" 5 1)",
	    "[1] text/plain;a=~;d=e enc=7bit octets=5 lines=1"),
	ROW("a message as a basic part, base64",
	    "(\"message\" \"rfc822\" (\"name\" \"a\") NIL NIL \"base64\" 500 NIL (\"attachment\" (\"filename\" "
	    "\"a\")))",
	    "[1] message/rfc822;name=a enc=base64 disp=attachment;filename=a octets=500"),
	ROW("a message with NIL for the envelope", "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 500 NIL " TEXT " 7)",
	    "[1] message/rfc822 enc=7bit octets=500 lines=7 message ([1.1]" TEXT_IS ")"),
	ROW("a message with an envelope and NIL for the body",
	    "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 500 " ENVELOPE " NIL 7)",
	    "[1] message/rfc822 enc=7bit octets=500 lines=7 " ENVELOPE_IS),
	ROW("a text without lines", "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 NIL (\"inline\" NIL))",
	    "[1] text/plain enc=7bit disp=inline octets=5"),
	ROW("an image with lines", "(\"image\" \"png\" NIL NIL NIL \"base64\" 5 7 NIL (\"inline\" NIL))",
	    "[1] image/png enc=base64 disp=inline octets=5 lines=7"),
	ROW("-1 octets and lines", "(\"text\" \"plain\" NIL NIL NIL \"7bit\" -1 -1 \"m\")",
	    "[1] text/plain enc=7bit md5=m"),
	ROW("exponents", "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 9.37e+06 1)", "[1] text/plain enc=7bit lines=1"),
	ROW("encoding NIL", "(\"text\" \"plain\" NIL NIL NIL NIL 5 1)", "[1] text/plain octets=5 lines=1"),
	ROW("encoding unquoted", "(\"text\" \"plain\" NIL NIL NIL base64 5 1)",
	    "[1] text/plain enc=base64 octets=5 lines=1"),
	ROW("encoding unquoted behind a string", "(\"text\" \"plain\" NIL NIL \"d\" quoted-printable 5 1)",
	    "[1] text/plain desc=d enc=quoted-printable octets=5 lines=1"),
	ROW("encoding padded", "(\"text\" \"plain\" NIL NIL NIL \" 7bit \" 5 1)", "[1]" TEXT_IS),
	ROW("encoding left out", "(\"text\" \"plain\" NIL NIL NIL 5 1)", "[1] text/plain octets=5 lines=1"),
	ROW("unescaped quotes",
	    "(\"application\" \"pdf\" (\"name\" \"the \"new\" one.pdf\") NIL \"a \"b\"\" \"base64\" 5)",
	    "[1] application/pdf;name=the \"new\" one.pdf desc=a \"b\" enc=base64 octets=5"),
	ROW("spaces between parts", "( " TEXT "  " TEXT " \"mixed\" )",
	    "[] multipart/mixed multipart ([1]" TEXT_IS ", [2]" TEXT_IS ")"),
	ROW("no spaces between fields", "(\"text\"\"plain\"(\"a\"\"b\")NIL NIL\"7bit\"5 1)",
	    "[1] text/plain;a=b enc=7bit octets=5 lines=1"),
	ROW("8-bit literals", "(\"text\" \"plain\" (\"name\" {2}\r\n\xE9\") NIL ~{1}\r\n\xFF \"7bit\" 5 1)",
	    "[1] text/plain;name=\\xE9\" desc=\\xFF enc=7bit octets=5 lines=1"),
	ROW("NIL in the language list", "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 1 NIL NIL (NIL \"en\" NIL) \"l\")",
	    "[1] text/plain enc=7bit lang=en loc=l octets=5 lines=1"),
	ROW("NIL behind the language", "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 1 NIL NIL (\"en\" NIL) \"l\")",
	    "[1] text/plain enc=7bit lang=en loc=l octets=5 lines=1"),
	ROW("a multipart as a basic part",
	    "(" TEXT "(\"multipart\" \"mixed\" (\"boundary\" \"b\") NIL NIL \"7bit\" 50) \"mixed\")",
	    "[] multipart/mixed multipart ([1]" TEXT_IS ", [2] multipart/mixed;boundary=b enc=7bit octets=50)"),
	ROW("cut short", "(\"text\" \"plain\")", "[1] text/plain"),
	ROW("a type alone", "(\"text\")", "[1] text/~"),
	ROW("quoted numbers", "(\"text\" \"plain\" NIL NIL NIL \"7bit\" \"5\" 1)", "[1]" TEXT_IS),
	LOST("NIL", "NIL"),
	LOST("a string", "\"x\""),
	CASE("a parenthesis too many", "* 1 FETCH (BODYSTRUCTURE " TEXT ") UID 7)\r\n",
	     "FETCH 1 uid=7 UID BODYSTRUCTURE [1]" TEXT_IS "\n"),
	CASE("a parenthesis too few",
	     "* 1 FETCH (UID 7 BODYSTRUCTURE (" TEXT
	     "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 1 FLAGS (x) BODY[1] {3}\r\nabc)\r\n",
	     "FETCH 1 uid=7 UID FLAGS SECTION flags=[x] BODY[1]=abc\n"),
	CASE("cut at the end", "* 1 FETCH (UID 7 BODYSTRUCTURE (\"text\" \"pl\r\n", "FETCH 1 uid=7 UID\n"),
	CASE("BODY as an item", "* 1 FETCH (BODY " TEXT " UID 7)\r\n",
	     "FETCH 1 uid=7 UID BODYSTRUCTURE [1]" TEXT_IS "\n"),
};

static void test_plain(void **state)
{
	(void)state;
	RUN_CASES(plain);
}

static void test_quirks(void **state)
{
	(void)state;
	RUN_CASES(quirks);
}

static void repeat(struct gp_buffer *out, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		DUMP(out, "%s", text);
	}
}

/* A row with one multipart of `n` parts, or `n` deep; whether its structure was read. */
static bool reads_row(const char *open, const char *middle, const char *close, size_t n_open, size_t n_middle)
{
	struct gp_buffer stream;
	const struct imap_response *response;

	gp_buffer_init(&stream, 8 * GP_MIB);
	DUMP(&stream, "* 1 FETCH (UID 5 BODYSTRUCTURE ");
	repeat(&stream, open, n_open);
	repeat(&stream, middle, n_middle);
	repeat(&stream, close, n_open);
	DUMP(&stream, " FLAGS (x))\r\n");
	struct imap_parser *parser = imap_parser_new();
	struct span input = gp_buffer_span(&stream);
	assert_int_equal(imap_parser_next(parser, &input, &response, NULL), IMAP_PARSER_RESPONSE);
	assert_int_equal(response->type, IMAP_RESPONSE_FETCH);
	assert_int_equal(response->fetch.uid, 5);
	assert_true(response->fetch.items & IMAP_ITEM_FLAGS);
	bool is_read = response->fetch.items & IMAP_ITEM_BODYSTRUCTURE;
	assert_true(is_read == (response->fetch.body != NULL));
	imap_parser_free(&parser);
	gp_buffer_deinit(&stream);
	return is_read;
}

static void test_caps(void **state)
{
	(void)state;
	assert_true(reads_row("(", TEXT, " \"mixed\")", GP_MAX_IMAP_NESTING - 1, 1));
	assert_false(reads_row("(", TEXT, " \"mixed\")", GP_MAX_IMAP_NESTING, 1));
	assert_false(reads_row("(", TEXT, " \"mixed\")", 100000, 1));
	assert_false(
		reads_row("(\"message\" \"rfc822\" NIL NIL NIL NIL 9 " ENVELOPE, TEXT, " 1)", GP_MAX_IMAP_NESTING, 1));
	assert_true(reads_row("(", TEXT, " \"mixed\")", 1, GP_MAX_IMAP_PARTS - 1));
	assert_false(reads_row("(", TEXT, " \"mixed\")", 1, GP_MAX_IMAP_PARTS));
	/* lists are passed over at any depth, and parameters in any number */
	assert_true(reads_row("(\"text\" \"plain\" NIL NIL NIL NIL 5 1 NIL NIL NIL NIL ", "(((((((((((x)))))))))))",
			      ")", 1, 20000));
	assert_true(reads_row("(\"text\" \"plain\" (", "\"a\" \"b\" ", ") NIL NIL NIL 5 1)", 1, 100000));
	assert_false(reads_row("(\"text\" \"plain\" (", "\"a\" \"b\" ", ") NIL NIL NIL 5 1)", 1, 700000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_quirks),
		cmocka_unit_test(test_caps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
