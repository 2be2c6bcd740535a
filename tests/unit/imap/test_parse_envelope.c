#include "parser_support.h"

#define ROW(quirk, envelope, expected)                                                                                 \
	CASE(quirk, "* 1 FETCH (ENVELOPE " envelope " UID 7)\r\n", "FETCH 1 uid=7 UID ENVELOPE {" expected " }\n")
#define LOST(quirk, envelope)                                                                                          \
	CASE(quirk, "* 1 FETCH (UID 7 ENVELOPE " envelope " FLAGS (x))\r\n", "FETCH 1 uid=7 UID FLAGS flags=[x]\n")
#define ANN "(\"Ann\" NIL \"ann\" \"a.org\")"

static const struct parser_case cases[] = {
	ROW("as the RFC has it",
	    "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1\" (" ANN ") (" ANN ") (" ANN
	    ") ((NIL NIL \"imap\" \"b.edu\")(NIL NIL \"x\" \"c.edu\")) NIL NIL \"<a@b>\" \"<c@d>\")",
	    " date=Wed, 17 Jul 1996 02:23:25 -0700 (PDT) subject=IMAP4rev1 from=<Ann|ann|a.org> sender=<Ann|ann|a.org> "
	    "reply-to=<Ann|ann|a.org> to=<~|imap|b.edu><~|x|c.edu> irt=<a@b> id=<c@d>"),
	ROW("all NIL", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)", " date=~ subject=~ irt=~ id=~"),
	ROW("literals", "({1}\r\nd {3}\r\na\"b NIL NIL NIL NIL NIL NIL NIL {3}\r\n<i>)",
	    " date=d subject=a\"b irt=~ id=<i>"),
	ROW("() instead of NIL", "(() () () () () () () () () ())", " date=~ subject=~ irt=~ id=~"),
	ROW("spaces between addresses", "(NIL NIL ( " ANN "  " ANN " ) NIL NIL NIL NIL NIL NIL NIL )",
	    " date=~ subject=~ from=<Ann|ann|a.org><Ann|ann|a.org> irt=~ id=~"),
	ROW("no spaces at all", "(\"d\"\"s\"(" ANN ANN ")NIL NIL NIL NIL NIL NIL\"<i>\")",
	    " date=d subject=s from=<Ann|ann|a.org><Ann|ann|a.org> irt=~ id=<i>"),
	ROW("NIL in a list", "(NIL NIL (NIL " ANN " NIL) NIL NIL NIL NIL NIL NIL NIL)",
	    " date=~ subject=~ from=<Ann|ann|a.org> irt=~ id=~"),
	ROW("neither In-Reply-To nor Message-ID", "(NIL \"s\" NIL NIL NIL NIL NIL NIL)",
	    " date=~ subject=s irt=~ id=~"),
	ROW("one of In-Reply-To and Message-ID", "(NIL NIL NIL NIL NIL NIL NIL NIL \"<i>\")",
	    " date=~ subject=~ irt=~ id=<i>"),
	ROW("cut short", "(NIL \"s\")", " date=~ subject=s irt=~ id=~"),
	ROW("name and mailbox swapped",
	    "(NIL NIL ((\"ann\" NIL \"Ann B. Smith\" \"a.org\")) NIL NIL NIL NIL NIL NIL NIL)",
	    " date=~ subject=~ from=<Ann B. Smith|ann|a.org> irt=~ id=~"),
	ROW("swapped and encoded",
	    "(NIL NIL ((\"ann\" NIL \"=?utf-8?q?=C3=84?=\" \"a.org\")) NIL NIL NIL NIL NIL NIL NIL)",
	    " date=~ subject=~ from=<=?utf-8?q?=C3=84?=|ann|a.org> irt=~ id=~"),
	ROW("a mailbox with a space is no swap when the name is one",
	    "(NIL NIL ((\"Ann B\" NIL \"ann b\" \"a.org\")) NIL NIL NIL NIL NIL NIL NIL)",
	    " date=~ subject=~ from=<Ann B|ann b|a.org> irt=~ id=~"),
	ROW("a group", "(NIL NIL NIL NIL NIL ((NIL NIL \"list\" NIL)" ANN "(NIL NIL NIL NIL)) NIL NIL NIL NIL)",
	    " date=~ subject=~ to=<~|list|~><Ann|ann|a.org><~|~|~> irt=~ id=~"),
	ROW("NIL host that is no group", "(NIL NIL ((\"Ann\" NIL \"ann\" NIL)) NIL NIL NIL NIL NIL NIL NIL)",
	    " date=~ subject=~ from=<Ann|ann|> irt=~ id=~"),
	ROW("the whole address as mailbox", "(NIL NIL ((NIL NIL \"ann@a.org\" NIL)) NIL NIL NIL NIL NIL NIL NIL)",
	    " date=~ subject=~ from=<~|ann|a.org> irt=~ id=~"),
	ROW("NIL host before a group",
	    "(NIL NIL NIL NIL NIL ((NIL NIL \"a\" NIL)(NIL NIL \"g\" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL)",
	    " date=~ subject=~ to=<~|a|><~|g|~><~|~|~> irt=~ id=~"),
	ROW("the end of no group", "(NIL NIL ((NIL NIL NIL NIL)" ANN "(NIL NIL NIL NIL)) NIL NIL NIL NIL NIL NIL NIL)",
	    " date=~ subject=~ from=<Ann|ann|a.org> irt=~ id=~"),
	ROW("marks of a group without its name",
	    "(NIL NIL NIL NIL NIL ((NIL NIL \"\" NIL)" ANN "(NIL NIL \"\" NIL)" ANN ") NIL NIL NIL NIL)",
	    " date=~ subject=~ to=<Ann|ann|a.org><Ann|ann|a.org> irt=~ id=~"),
	ROW("MISSING_DOMAIN",
	    "(NIL NIL ((NIL NIL \"ann\" \"MISSING_DOMAIN\")) ((NIL NIL \"MISSING_MAILBOX\" \"a\")) "
	    "((NIL NIL \"x\" \".MISSING-HOST-NAME.\")) NIL NIL NIL NIL NIL)",
	    " date=~ subject=~ from=<~|ann|> sender=<~||a> reply-to=<~|x|> irt=~ id=~"),
	ROW("unescaped quotes",
	    "(\"d\" \"say \"hi\" to \"her\"\" ((\"A \"B\" C\" NIL \"a\" \"b\")) NIL NIL NIL NIL NIL NIL \"<i>\")",
	    " date=d subject=say \"hi\" to \"her\" from=<A \"B\" C|a|b> irt=~ id=<i>"),
	ROW("an unescaped quote first", "(\"d\" \"\"hi\" there\" NIL NIL NIL NIL NIL NIL NIL \"<i>\")",
	    " date=d subject=\"hi\" there irt=~ id=<i>"),
	ROW("escapes", "(\"d\" \"a\\\"b\\\\c\\d\" NIL NIL NIL NIL NIL NIL NIL NIL)",
	    " date=d subject=a\"b\\c\\d irt=~ id=~"),
	ROW("parentheses around it all", "(((\"d\" \"s\" NIL NIL NIL NIL NIL NIL NIL \"<i>\")))",
	    " date=d subject=s irt=~ id=<i>"),
	ROW("parentheses around an address", "(NIL NIL ((" ANN ANN ")) NIL NIL NIL NIL NIL NIL NIL)",
	    " date=~ subject=~ from=<Ann|ann|a.org><Ann|ann|a.org> irt=~ id=~"),
	ROW("a flat address", "(NIL NIL " ANN " NIL NIL NIL NIL NIL NIL NIL)",
	    " date=~ subject=~ from=<Ann|ann|a.org> irt=~ id=~"),
	ROW("an address of too many fields",
	    "(NIL NIL ((\"Ann\" NIL \"ann\" \"a.org\" \"x\" (y))) NIL NIL NIL NIL NIL NIL NIL)",
	    " date=~ subject=~ from=<Ann|ann|a.org> irt=~ id=~"),
	ROW("an address of too few fields", "(NIL NIL ((\"Ann\" NIL \"ann\")) NIL NIL NIL NIL NIL NIL NIL)",
	    " date=~ subject=~ from=<Ann|ann|> irt=~ id=~"),
	ROW("a string for a list", "(NIL NIL \"ann@a.org\" NIL NIL NIL NIL NIL NIL \"<i>\")",
	    " date=~ subject=~ irt=~ id=<i>"),
	ROW("too many fields", "(NIL \"s\" NIL NIL NIL NIL NIL NIL NIL \"<i>\" \"x\" (\"y\"))",
	    " date=~ subject=s irt=~ id=<i>"),
	ROW("bare words", "(now s NIL NIL NIL NIL NIL NIL NIL i)", " date=now subject=s irt=~ id=i"),
	ROW("8-bit", "(NIL \"\xFF\x01\" NIL NIL NIL NIL NIL NIL NIL NIL)", " date=~ subject=\\xFF\\x01 irt=~ id=~"),
	LOST("a string for it all", "\"x\""),
	LOST("NIL for it all", "NIL"),
	CASE("no end", "* 1 FETCH (UID 7 ENVELOPE (NIL \"s\" ((NIL NIL \"b\" \"c\" FLAGS (x))\r\n",
	     "FETCH 1 uid=7 UID FLAGS flags=[x]\n"),
	CASE("a literal in it that is too long to keep stays NIL and the row lives",
	     "* 1 FETCH (UID 7 ENVELOPE (NIL {0}\r\n NIL NIL NIL NIL NIL NIL NIL NIL))\r\n",
	     "FETCH 1 uid=7 UID ENVELOPE { date=~ subject= irt=~ id=~ }\n"),
};

static void test_cases(void **state)
{
	(void)state;
	RUN_CASES(cases);
}

static void test_address_cap(void **state)
{
	(void)state;
	struct gp_buffer stream;
	const struct imap_response *response;

	gp_buffer_init(&stream, GP_MIB);
	DUMP(&stream, "* 1 FETCH (ENVELOPE (NIL NIL NIL NIL NIL (");
	for (int i = 0; i < GP_MAX_IMAP_ADDRESSES + 5; i++) {
		DUMP(&stream, "(NIL NIL \"a\" \"b\")");
	}
	DUMP(&stream, ") NIL NIL NIL \"<i>\"))\r\n");
	struct imap_parser *parser = imap_parser_new();
	struct span input = gp_buffer_span(&stream);
	assert_int_equal(imap_parser_next(parser, &input, &response, NULL), IMAP_PARSER_RESPONSE);
	assert_int_equal(response->fetch.envelope->to.n_items, GP_MAX_IMAP_ADDRESSES);
	assert_true(span_equal_text(response->fetch.envelope->message_id, "<i>"));
	imap_parser_free(&parser);
	gp_buffer_deinit(&stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_address_cap)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
