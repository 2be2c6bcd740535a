/* Kinds of responses, status texts and codes, mailboxes, searches. */
#include "parser_support.h"

static const struct parser_case conditions[] = {
	CASE("tagged", "A1 OK done\r\n", "TAGGED tag=A1 OK text=done\n"),
	CASE("lower case", "a1 no nope\r\n", "TAGGED tag=a1 NO text=nope\n"),
	CASE("untagged", "* BAD [CLIENTBUG] hm\r\n", "* BAD code=CLIENTBUG value= text=hm\n"),
	CASE("greeting", "* PREAUTH hi\r\n", "* PREAUTH text=hi\n"),
	CASE("bye", "* BYE\r\n* BYE again\r\n", "* BYE text=\n* BYE text=again\n"),
	CASE("continuation", "+ go on\r\n", "+ text=go on\n"),
	CASE("continuation without space and text", "+\r\n", "+ text=\n"),
	CASE("continuation without space", "+go\r\n", "+ text=go\n"),
	CASE("no tag at all", "Server Unavailable.\r\n", "OTHER text=Server Unavailable.\n"),
	CASE("one word", "huh\r\n", "OTHER text=huh\n"),
	CASE("a tagged BYE is none", "A1 BYE x\r\n", "OTHER text=A1 BYE x\n"),
	CASE("a star alone", "*\r\n", "OTHER text=*\n"),
	CASE("unknown", "* XYZZY 1 2\r\n", "OTHER text=* XYZZY 1 2\n"),
	CASE("two spaces before the text", "* OK  [ALERT]  x\r\n", "* OK code=ALERT value= text=x\n"),
	CASE("no text after the code", "A1 OK [READ-ONLY]\r\n", "TAGGED tag=A1 OK code=READ-ONLY value= text=\n"),
	CASE("no space before the code", "* OK[UIDNEXT 7] x\r\n", "* OK code=UIDNEXT value=7 n=7 text=x\n"),
	CASE("text that is not UTF-8", "* OK caf\xE9\r\n", "* OK text=caf\\xE9\n"),
	CASE("several carriage returns", "* OK x\r\r\n", "* OK text=x\n"),
};

static void test_conditions(void **state)
{
	(void)state;
	RUN_CASES(conditions);
}

static const struct parser_case codes[] = {
	CASE("UIDVALIDITY", "* OK [UIDVALIDITY 3857529045] x\r\n",
	     "* OK code=UIDVALIDITY value=3857529045 n=3857529045 text=x\n"),
	CASE("HIGHESTMODSEQ above 2^63", "* OK [HIGHESTMODSEQ 18446744073709551615] x\r\n",
	     "* OK code=HIGHESTMODSEQ value=18446744073709551615 n=18446744073709551615 text=x\n"),
	CASE("a negative number", "* OK [HIGHESTMODSEQ -1] x\r\n", "* OK code=HIGHESTMODSEQ value=-1 text=x\n"),
	CASE("UIDVALIDITY 0", "* OK [UIDVALIDITY 0] x\r\n", "* OK code=UIDVALIDITY value=0 text=x\n"),
	CASE("APPENDUID", "A1 OK [APPENDUID 38505 3955] x\r\n",
	     "TAGGED tag=A1 OK code=APPENDUID value=38505 3955 n=38505 uids=3955 text=x\n"),
	CASE("COPYUID", "A1 OK [COPYUID 38505 304,319:320 3956:3958] x\r\n",
	     "TAGGED tag=A1 OK code=COPYUID value=38505 304,319:320 3956:3958 n=38505 source=304,319:320 "
	     "uids=3956:3958 text=x\n"),
	CASE("COPYUID permuted", "A1 OK [COPYUID 5 9,3,7 12,10,11] x\r\n",
	     "TAGGED tag=A1 OK code=COPYUID value=5 9,3,7 12,10,11 n=5 source=3,7,9 uids=10:12 text=x\n"),
	CASE("COPYUID without OK", "* COPYUID 5 1 2\r\n", "* OK code=COPYUID value=5 1 2 n=5 source=1 uids=2 text=~\n"),
	CASE("a code without OK", "* [COPYUID 5 1 2] moved\r\n",
	     "* OK code=COPYUID value=5 1 2 n=5 source=1 uids=2 text=moved\n"),
	CASE("COPYUID with empty sets", "A1 OK [COPYUID 5  ] x\r\n",
	     "TAGGED tag=A1 OK code=COPYUID value=5 n=5 text=x\n"),
	CASE("COPYUID with quoted empty sets", "A1 OK [COPYUID 5 \"\" \"\"] x\r\n",
	     "TAGGED tag=A1 OK code=COPYUID value=5 \"\" \"\" n=5 text=x\n"),
	CASE("MODIFIED", "A1 OK [MODIFIED 7,9] x\r\n", "TAGGED tag=A1 OK code=MODIFIED value=7,9 uids=7,9 text=x\n"),
	CASE("nested brackets", "* OK [X [y] z] t\r\n", "* OK code=X value=[y] z text=t\n"),
	CASE("a bracket among flags", "* OK [PERMANENTFLAGS (\\Seen a] [b \\*)] t\r\n",
	     "* OK code=PERMANENTFLAGS value=(\\Seen a] [b \\*) text=t\n"),
	CASE("a quote that does not end", "* OK [PERMANENTFLAGS (a\"b)] t\r\n",
	     "* OK code=PERMANENTFLAGS value=(a\"b) text=t\n"),
	CASE("a quoted bracket", "* NO [BADCHARSET (\"a]b\")] t\r\n", "* NO code=BADCHARSET value=(\"a]b\") text=t\n"),
	CASE("a name that is no atom", "* OK [(\x01%] t\r\n", "* OK code=(\\x01% value= text=t\n"),
	CASE("an empty code", "* OK [] t\r\n", "* OK text=t\n"),
	CASE("a bracket that does not end", "* OK [ALERT t\r\n", "* OK text=[ALERT t\n"),
	CASE("CAPABILITY in the code", "* OK [CAPABILITY IMAP4rev1 IDLE ] t\r\n",
	     "* OK code=CAPABILITY value=IMAP4rev1 IDLE words=[IMAP4rev1|IDLE] text=t\n"),
	CASE("a literal in the code", "* NO [BADCHARSET ({5}\r\nUTF-8)] t\r\n",
	     "* NO code=BADCHARSET value=({5}\\x0D\\x0AUTF-8) text=t\n"),
};

static void test_codes(void **state)
{
	(void)state;
	RUN_CASES(codes);
}

static const struct parser_case words[] = {
	CASE("capability", "* CAPABILITY IMAP4rev1 LITERAL+\r\n", "CAPABILITY words=[IMAP4rev1|LITERAL+]\n"),
	CASE("LITERAL + split in two", "* CAPABILITY LITERAL + IDLE LITERAL -\r\n",
	     "CAPABILITY words=[LITERAL+|IDLE|LITERAL-]\n"),
	CASE("trailing spaces", "* CAPABILITY  A  B  \r\n", "CAPABILITY words=[A|B]\n"),
	CASE("none", "* CAPABILITY\r\n", "CAPABILITY words=[]\n"),
	CASE("enabled", "* ENABLED CONDSTORE\r\n", "ENABLED words=[CONDSTORE]\n"),
	CASE("flags", "* FLAGS (\\Seen $Junk)\r\n", "FLAGS words=[\\Seen|$Junk]\n"),
	CASE("odd flags", "* FLAGS (] [ + \\* NIL (a (b)) \"q\" x[y])\r\n", "FLAGS words=[]|[|+|\\*|q|x[y]]\n"),
	CASE("no space before flags", "* FLAGS(\\Seen)\r\n", "FLAGS words=[\\Seen]\n"),
	CASE("flags without end", "* FLAGS (\\Seen\r\n", "OTHER text=* FLAGS (\\Seen\n"),
	CASE("exists", "* 23 EXISTS\r\n* 0 recent \r\n* 4 EXPUNGE\r\n", "EXISTS 23\nRECENT 0\nEXPUNGE 4\n"),
	CASE("expunge of nothing", "* 0 EXPUNGE\r\n", "OTHER text=* 0 EXPUNGE\n"),
	CASE("a number over 32 bits", "* 4294967296 EXISTS\r\n", "OTHER text=* 4294967296 EXISTS\n"),
	CASE("id", "* ID (\"name\" \"x\")\r\n* ID NIL \r\n", "ID\nID\n"),
};

static void test_words(void **state)
{
	(void)state;
	RUN_CASES(words);
}

static const struct parser_case lists[] = {
	CASE("list", "* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent Mail\"\r\n",
	     "LIST mailbox=Sent Mail delimiter=/ attributes=[\\HasNoChildren|\\Sent]\n"),
	CASE("lsub", "* LSUB () \".\" INBOX.x\r\n", "LSUB mailbox=INBOX.x delimiter=. attributes=[]\n"),
	CASE("NIL delimiter", "* LIST (\\NoInferiors) NIL INBOX\r\n",
	     "LIST mailbox=INBOX delimiter=~ attributes=[\\NoInferiors]\n"),
	CASE("NIL as a name", "* LIST () \"/\" NIL\r\n", "LIST mailbox=NIL delimiter=/ attributes=[]\n"),
	CASE("an empty name", "* LIST (\\Noselect) \"/\" \"\"\r\n",
	     "LIST mailbox= delimiter=/ attributes=[\\Noselect]\n"),
	CASE("no name", "* LIST () \"/\"\r\n", "OTHER text=* LIST () \"/\"\n"),
	CASE("a literal", "* LIST () \"/\" {5}\r\na\"b\\c\r\n", "LIST mailbox=a\"b\\c delimiter=/ attributes=[]\n"),
	CASE("escapes", "* LIST () \"\\\\\" \"a\\\"b\\\\c\"\r\n", "LIST mailbox=a\"b\\c delimiter=\\ attributes=[]\n"),
	CASE("a delimiter that is not escaped", "* LIST () \"\\\" a\r\n",
	     "LIST mailbox=a delimiter=\\ attributes=[]\n"),
	CASE("spaces without quotes", "* LIST () \"/\" My  Box (old) \r\n",
	     "LIST mailbox=My  Box (old) delimiter=/ attributes=[]\n"),
	CASE("control characters without quotes",
	     "* LIST () \"/\" a\x01\x7F"
	     "b\r\n",
	     "LIST mailbox=a\\x01\\x7Fb delimiter=/ attributes=[]\n"),
	CASE("led by digits", "* LIST () \"/\" 2024 x\r\n", "LIST mailbox=2024 x delimiter=/ attributes=[]\n"),
	CASE("glued attributes", "* LIST (\\HasNoChildren\\Sent) \"/\" S\r\n",
	     "LIST mailbox=S delimiter=/ attributes=[\\HasNoChildren|\\Sent]\n"),
	CASE("not modified UTF-7", "* LIST () \"/\" \"a&b\xE9\"\r\n",
	     "LIST mailbox=a&b\\xE9 delimiter=/ attributes=[]\n"),
	CASE("quotes in the name", "* LIST () \"/\" \"say \"hi\" now\"\r\n",
	     "LIST mailbox=say \"hi\" now delimiter=/ attributes=[]\n"),
	CASE("extended data", "* LIST () \"/\" \"a\" (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n",
	     "LIST mailbox=a delimiter=/ attributes=[]\n"),
	CASE("extended data behind a bare name", "* LIST () \"/\" a b (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n",
	     "LIST mailbox=a b delimiter=/ attributes=[]\n"),
	CASE("attributes left out", "* LIST \"/\" a\r\n", "LIST mailbox=a delimiter=/ attributes=[]\n"),
	CASE("braces that are no literal", "* LIST () \"/\" \"a{5}\"\r\n",
	     "LIST mailbox=a{5} delimiter=/ attributes=[]\n"),
	CASE("namespace", "* NAMESPACE ((\"\" \"/\")(\"#mh/\" \"/\" \"X\" (\"a\"))) NIL ((\"s.\" NIL))\r\n",
	     "NAMESPACE personal::/ personal:#mh/:/ shared:s.:~\n"),
	CASE("namespace with empty lists", "* NAMESPACE ((NIL \".\")) () ()\r\n", "NAMESPACE personal::.\n"),
	CASE("namespace cut short", "* NAMESPACE ((\"\" \"/\"\r\n", "NAMESPACE\n"),
	CASE("my rights", "* MYRIGHTS INBOX rwiptsldaex\r\n", "MYRIGHTS mailbox=INBOX rights=rwiptsldaex\n"),
	CASE("my rights of a bare name", "* MYRIGHTS a b \"lr\"\r\n", "MYRIGHTS mailbox=a b rights=lr\n"),
	CASE("my rights, quoted", "* MYRIGHTS \"a b\" lr \r\n", "MYRIGHTS mailbox=a b rights=lr\n"),
	CASE("my rights of nothing", "* MYRIGHTS lr\r\n", "OTHER text=* MYRIGHTS lr\n"),
};

static void test_lists(void **state)
{
	(void)state;
	RUN_CASES(lists);
}

static const struct parser_case statuses[] = {
	CASE("status", "* STATUS \"a b\" (MESSAGES 231 UIDNEXT 44292 UNSEEN 2 UIDVALIDITY 5 SIZE 5000000000)\r\n",
	     "STATUS mailbox=a b messages=231 unseen=2 uidnext=44292 uidvalidity=5 size=5000000000\n"),
	CASE("trailing spaces", "* STATUS a (MESSAGES 1 ) \r\n", "STATUS mailbox=a messages=1\n"),
	CASE("a bare name with spaces", "* STATUS a (b) c (MESSAGES 1)\r\n", "STATUS mailbox=a (b) c messages=1\n"),
	CASE("HIGHESTMODSEQ above 2^63", "* STATUS a (HIGHESTMODSEQ 9223372036854775809)\r\n",
	     "STATUS mailbox=a highestmodseq=9223372036854775809\n"),
	CASE("-1, exponents, over 32 bits", "* STATUS a (SIZE 9.37e+06 UNSEEN -1 UIDNEXT 4294967296 MESSAGES 3)\r\n",
	     "STATUS mailbox=a messages=3\n"),
	CASE("UIDVALIDITY 0", "* STATUS a (UIDVALIDITY 0)\r\n", "STATUS mailbox=a uidvalidity=0\n"),
	CASE("mailbox id", "* STATUS a (MAILBOXID (F22) MESSAGES 1)\r\n", "STATUS mailbox=a messages=1 id=F22\n"),
	CASE("a mailbox id of raw bytes", "* STATUS a (MESSAGES 1 MAILBOXID (\x01\x80 (x) UNSEEN 0)\r\n",
	     "STATUS mailbox=a messages=1\n"),
	CASE("unknown items", "* STATUS a (X (1 (2)) APPENDLIMIT NIL DELETED 4 UNSEEN 2)\r\n",
	     "STATUS mailbox=a unseen=2\n"),
	CASE("no items", "* STATUS a ()\r\n", "STATUS mailbox=a\n"),
	CASE("no list", "* STATUS a\r\n", "OTHER text=* STATUS a\n"),
	CASE("no end", "* STATUS a (MESSAGES 1\r\n", "STATUS mailbox=a messages=1\n"),
};

static void test_statuses(void **state)
{
	(void)state;
	RUN_CASES(statuses);
}

static const struct parser_case searches[] = {
	CASE("search", "* SEARCH 2 84 882\r\n", "SEARCH 2 84 882\n"),
	CASE("nothing found", "* SEARCH\r\n* SEARCH \r\n", "SEARCH\nSEARCH\n"),
	CASE("trailing spaces", "* SEARCH 1  2  \r\n", "SEARCH 1 2\n"),
	CASE("modseq", "* SEARCH 2 5 (MODSEQ 917162500)\r\n", "SEARCH 2 5 modseq=917162500\n"),
	CASE("modseq first, another list", "* SEARCH (MODSEQ 3) 7 (X 4) 8\r\n", "SEARCH 7 8 modseq=3\n"),
	CASE("what is no UID", "* SEARCH 1 x 0 4294967296 -3 2\r\n", "SEARCH 1 2\n"),
	CASE("sort keeps the order", "* SORT 5 3 4\r\n", "SORT 5 3 4\n"),
	CASE("esearch", "* ESEARCH (TAG \"A282\") UID MIN 2 MAX 9 COUNT 3 ALL 4:5,2 MODSEQ 7\r\n",
	     "ESEARCH tag=A282 uid all=2,4:5 count=3 min=2 max=9 modseq=7\n"),
	CASE("esearch without all", "* ESEARCH (TAG \"A1\") UID\r\n", "ESEARCH tag=A1 uid\n"),
	CASE("esearch without tag", "* ESEARCH UID COUNT 0\r\n", "ESEARCH tag=~ uid count=0\n"),
	CASE("esearch with what is new", "* ESEARCH (MAILBOX x TAG A) UID PARTIAL (1:2 5) ADDTO (0 3) ALL 9\r\n",
	     "ESEARCH tag=A uid all=9\n"),
	CASE("esearch with a set that is none", "* ESEARCH (TAG A) UID ALL 0:x COUNT 1\r\n",
	     "ESEARCH tag=A uid count=1\n"),
	CASE("a huge range", "* ESEARCH (TAG A) UID ALL 1:4294967295\r\n", "ESEARCH tag=A uid all=1:*\n"),
	CASE("vanished", "* VANISHED 5:3,9\r\n", "VANISHED uids=3:5,9\n"),
	CASE("vanished earlier", "* VANISHED (EARLIER) 41,43:116\r\n", "VANISHED uids=41,43:116 earlier\n"),
	CASE("vanished to the end", "* VANISHED 5:4294967295\r\n", "VANISHED uids=5:*\n"),
	CASE("vanished, unreadable", "* VANISHED x\r\n", "OTHER text=* VANISHED x\n"),
};

static void test_searches(void **state)
{
	(void)state;
	RUN_CASES(searches);
}

static void test_search_of_many(void **state)
{
	(void)state;
	struct gp_buffer stream;
	const struct imap_response *response;

	gp_buffer_init(&stream, 8 * GP_MIB);
	DUMP(&stream, "* SEARCH");
	for (unsigned i = 1; i <= 300000; i++) {
		DUMP(&stream, " %u", i * 2);
	}
	DUMP(&stream, "\r\n");
	struct imap_parser *parser = imap_parser_new();
	struct span input = gp_buffer_span(&stream);
	assert_int_equal(imap_parser_next(parser, &input, &response, NULL), IMAP_PARSER_RESPONSE);
	assert_int_equal(response->n_numbers, 300000);
	assert_int_equal(response->numbers[299999], 600000);
	imap_parser_free(&parser);
	gp_buffer_deinit(&stream);
}

static void test_date_time(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool is_valid;
		int64_t seconds;
	} dates[] = {
		{"17-Jul-1996 02:44:25 -0700", true, 837596665},
		{" 1-Jan-1970 00:00:00 +0000", true, 0},
		{"1-jan-1970 01:00:00 +0100", true, 0},
		{"29-Feb-2000 12:00:00 +0000", true, 951825600},
		{"29-Feb-1900 12:00:00 +0000", false, 0},
		{"31-Dec-1969 23:59:59 +0000", true, -1},
		{"01-Jan-0001 00:00:00 +0000", true, -62135596800},
		{"17-Jul-1996 02:44:25", true, 837571465},
		{"00-Jan-0000 00:00:00 +0000", false, 0},
		{"17-Jul-1996 24:44:25 -0700", false, 0},
		{"17-Jul-1996 02:44:25 -070", false, 0},
		{"17-Jul-1996 02:44:25 0700", false, 0},
		{"17-Foo-1996 02:44:25 -0700", false, 0},
		{"17-Jul-1996", false, 0},
		{"", false, 0},
	};
	for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
		int64_t seconds = 0;
		assert_int_equal(imap_parse_date_time(span_of(dates[i].text), &seconds), dates[i].is_valid);
		assert_int_equal(seconds, dates[i].seconds);
	}
	int64_t seconds;
	assert_false(imap_parse_date_time(SPAN_NIL, &seconds));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conditions),     cmocka_unit_test(test_codes),
		cmocka_unit_test(test_words),          cmocka_unit_test(test_lists),
		cmocka_unit_test(test_statuses),       cmocka_unit_test(test_searches),
		cmocka_unit_test(test_search_of_many), cmocka_unit_test(test_date_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
