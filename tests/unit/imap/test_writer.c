#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "imap/writer.h"
#include "unit/strict_command.h"

#define TEXT(s)                                                                                                        \
	{                                                                                                              \
		"" s, sizeof(s) - 1                                                                                    \
	}

static void begin(struct imap_writer *writer, enum imap_literal_mode literals, bool is_utf8)
{
	imap_writer_init(writer, literals, is_utf8);
	imap_writer_command(writer, "A1", "X");
}

/* Finishes, compares, and has it read again: one command of `n_arguments` behind tag
 * and name. */
static void expect(struct imap_writer *writer, const char *expected, size_t n_arguments)
{
	assert_int_equal(imap_writer_finish(writer), GP_OK);
	assert_string_equal(writer->bytes.data, expected);
	struct strict_command command = strict_command_parse(gp_buffer_span(&writer->bytes));
	assert_true(command.is_valid);
	assert_int_equal(command.n_commands, 1);
	assert_int_equal(command.n_arguments, n_arguments + 2);
	imap_writer_deinit(writer);
}

static void expect_refused(struct imap_writer *writer, enum gp_status status)
{
	assert_int_equal(imap_writer_finish(writer), status);
	imap_writer_deinit(writer);
}

static void test_arguments(void **state)
{
	(void)state;
	struct imap_writer writer;

	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_word(&writer, "RETURN");
	imap_writer_open(&writer);
	imap_writer_word(&writer, "ALL");
	imap_writer_open(&writer);
	imap_writer_close(&writer);
	imap_writer_close(&writer);
	imap_writer_number(&writer, UINT64_MAX);
	imap_writer_nstring(&writer, SPAN_NIL);
	imap_writer_nstring(&writer, SPAN_LIT(""));
	imap_writer_string(&writer, SPAN_LIT("atom"));
	imap_writer_astring(&writer, SPAN_LIT("atom"));
	expect(&writer, "A1 X RETURN (ALL ()) 18446744073709551615 NIL \"\" \"atom\" atom\r\n", 7);
}

static void test_words_are_checked(void **state)
{
	(void)state;
	static const char *const words[] = {"", "a\"", "a\\b", "{5}", "a}", "a\r\n", "a\tb", "\x7F", "caf\xC3\xA9"};
	struct imap_writer writer;

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		begin(&writer, IMAP_LITERAL_PLUS, false);
		imap_writer_word(&writer, words[i]);
		expect_refused(&writer, GP_INVALID);
	}
	static const char *const tags[] = {"", "A 1", "A1\r\n", "+", "*"};
	for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
		imap_writer_init(&writer, IMAP_LITERAL_SYNC, false);
		imap_writer_command(&writer, tags[i], "NOOP");
		expect_refused(&writer, GP_INVALID);
	}
	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_word(&writer, "\\Seen");
	expect(&writer, "A1 X \\Seen\r\n", 1);
	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_open(&writer);
	expect_refused(&writer, GP_INVALID);
	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_close(&writer);
	expect_refused(&writer, GP_INVALID);
}

static void test_first_failure_sticks(void **state)
{
	(void)state;
	struct imap_writer writer;

	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_astring(&writer, SPAN_LIT("a\0b"));
	size_t len = writer.bytes.len;
	imap_writer_astring(&writer, SPAN_LIT("more"));
	imap_writer_range(&writer, 0, 0);
	assert_int_equal(writer.bytes.len, len);
	expect_refused(&writer, GP_INVALID);
}

static void test_astrings(void **state)
{
	(void)state;
	static const struct {
		struct span text;
		const char *expected; /* LITERAL+; NULL: refused */
	} cases[] = {
		{TEXT("plain"), "plain"},
		{TEXT("a.b/c-d_e+f@g"), "a.b/c-d_e+f@g"},
		{TEXT(""), "\"\""},
		{TEXT("nil"), "\"nil\""},
		{TEXT("a b"), "\"a b\""},
		{TEXT("say \"hi\""), "\"say \\\"hi\\\"\""},
		{TEXT("back\\slash\\"), "\"back\\\\slash\\\\\""},
		{TEXT("{5}"), "\"{5}\""},
		{TEXT("{5+}"), "\"{5+}\""},
		{TEXT("x{10}"), "\"x{10}\""},
		{TEXT("x {10+}"), "\"x {10+}\""},
		{TEXT("*%()[]~"), "\"*%()[]~\""},
		{TEXT("x\r\nA2 LOGOUT"), "{12+}\r\nx\r\nA2 LOGOUT"},
		{TEXT("x\r"), "{2+}\r\nx\r"},
		{TEXT("\n"), "{1+}\r\n\n"},
		{TEXT("x{5}\r\nA2 DELETE x"), "{17+}\r\nx{5}\r\nA2 DELETE x"},
		{TEXT("\t"), "{1+}\r\n\t"},
		{TEXT("\x7F"), "{1+}\r\n\x7F"},
		{TEXT("\u560d\u560a"), "{6+}\r\n\u560d\u560a"},
		{TEXT("caf\xE9"), "{4+}\r\ncaf\xE9"},
		{TEXT("a\0b"), NULL},
		{TEXT("\0"), NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct imap_writer writer;
		struct gp_buffer line;
		begin(&writer, IMAP_LITERAL_PLUS, false);
		imap_writer_astring(&writer, cases[i].text);
		imap_writer_word(&writer, "END");
		if (!cases[i].expected) {
			expect_refused(&writer, GP_INVALID);
			continue;
		}
		gp_buffer_init(&line, 1000);
		assert_int_equal(gp_buffer_printf(&line, "A1 X %s END\r\n", cases[i].expected), GP_OK);
		expect(&writer, line.data, 2);
		gp_buffer_deinit(&line);
	}
}

static void test_literal_modes(void **state)
{
	(void)state;
	static char big[5000];
	struct imap_writer writer;

	memset(big, 'x', sizeof big);
	begin(&writer, IMAP_LITERAL_SYNC, false);
	imap_writer_astring(&writer, SPAN_LIT("\xE9"));
	imap_writer_astring(&writer, SPAN_LIT("\xE8"));
	assert_int_equal(writer.n_sync_points, 2);
	assert_int_equal(writer.sync_points[0], strlen("A1 X {1}\r\n"));
	assert_int_equal(writer.sync_points[1], strlen("A1 X {1}\r\n\xE9 {1}\r\n"));
	expect(&writer, "A1 X {1}\r\n\xE9 {1}\r\n\xE8\r\n", 2);

	static const struct {
		enum imap_literal_mode mode;
		size_t len, n_sync_points;
		const char *head;
	} cases[] = {
		{IMAP_LITERAL_PLUS, 5000, 0, "A1 X {5000+}\r\n"}, {IMAP_LITERAL_MINUS, 4096, 0, "A1 X {4096+}\r\n"},
		{IMAP_LITERAL_MINUS, 4097, 1, "A1 X {4097}\r\n"}, {IMAP_LITERAL_SYNC, 5000, 1, "A1 X {5000}\r\n"},
		{IMAP_LITERAL_SYNC, 1000, 0, "A1 X \"xxx"},       {IMAP_LITERAL_SYNC, 1001, 1, "A1 X {1001}\r\n"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		begin(&writer, cases[i].mode, false);
		imap_writer_string(&writer, span_make(big, cases[i].len));
		assert_int_equal(imap_writer_finish(&writer), GP_OK);
		assert_int_equal(writer.n_sync_points, cases[i].n_sync_points);
		assert_true(span_starts_with(gp_buffer_span(&writer.bytes), cases[i].head));
		if (cases[i].n_sync_points) {
			assert_int_equal(writer.sync_points[0], strlen(cases[i].head));
		}
		struct strict_command command = strict_command_parse(gp_buffer_span(&writer.bytes));
		assert_true(command.is_valid);
		assert_int_equal(command.n_arguments, 3);
		assert_int_equal(command.arguments[2].len, cases[i].len);
		imap_writer_deinit(&writer);
	}
}

static void test_mailboxes(void **state)
{
	(void)state;
	static const struct {
		struct span name;
		bool is_utf8;
		const char *expected; /* NULL: refused */
	} cases[] = {
		{TEXT("inBox"), false, "INBOX"},
		{TEXT("Work/2024"), false, "Work/2024"},
		{TEXT("R\u00e9sum\u00e9s"), false, "R&AOk-sum&AOk-s"},
		{TEXT("R\u00e9sum\u00e9s"), true, "\"R\u00e9sum\u00e9s\""},
		{TEXT("a & b"), false, "\"a &- b\""},
		{TEXT("a & b"), true, "\"a & b\""},
		{TEXT("\u560d\u560aA2 LOGOUT"), false, "\"&Vg1WCg-A2 LOGOUT\""},
		{TEXT("\u560d"), true, "\"\u560d\""},
		{TEXT("x{5}"), false, "\"x{5}\""},
		{TEXT("x\ty"), false, "x&AAk-y"},
		{TEXT(""), false, "\"\""},
		{TEXT("nil"), false, "\"nil\""},
		{TEXT("../../etc"), false, "../../etc"},
		{TEXT("%"), false, "\"%\""},
		{TEXT("a\r\nb"), false, NULL},
		{TEXT("a\nb"), true, NULL},
		{TEXT("a\rb"), false, NULL},
		{TEXT("a\0b"), false, NULL},
		{TEXT("caf\xE9"), false, NULL},
		{TEXT("caf\xE9"), true, NULL},
		{TEXT("\xED\xA0\x80"), true, NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct imap_writer writer;
		struct gp_buffer line;
		begin(&writer, IMAP_LITERAL_PLUS, cases[i].is_utf8);
		imap_writer_mailbox(&writer, cases[i].name);
		if (!cases[i].expected) {
			expect_refused(&writer, GP_INVALID);
			continue;
		}
		gp_buffer_init(&line, 1000);
		assert_int_equal(gp_buffer_printf(&line, "A1 X %s\r\n", cases[i].expected), GP_OK);
		expect(&writer, line.data, 1);
		gp_buffer_deinit(&line);
	}
	struct imap_writer writer;
	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_list_pattern(&writer, SPAN_LIT("*"));
	imap_writer_list_pattern(&writer, SPAN_LIT("W\u00e4/%"));
	expect(&writer, "A1 X \"*\" \"W&AOQ-/%\"\r\n", 2);
}

static void test_flags(void **state)
{
	(void)state;
	static const struct {
		struct span flag;
		bool is_keyword, is_written;
	} cases[] = {
		{TEXT("\\Seen"), true, true},        {TEXT("\\dRAFT"), true, true},  {TEXT("\\Recent"), true, false},
		{TEXT("\\Foo"), true, false},        {TEXT("$Junk"), true, true},    {TEXT("work"), true, true},
		{TEXT("a+b'c"), true, true},         {TEXT("}"), true, true},        {TEXT(""), false, false},
		{TEXT("\\"), false, false},          {TEXT("\\*"), false, false},    {TEXT("a]b"), false, false},
		{TEXT("a b"), false, false},         {TEXT("a\"b"), false, false},   {TEXT("a\\b"), false, false},
		{TEXT("{5}"), false, false},         {TEXT("a("), false, false},     {TEXT("a)"), false, false},
		{TEXT("a%"), false, false},          {TEXT("a\r\nb"), false, false}, {TEXT("a\0"), false, false},
		{TEXT("caf\xC3\xA9"), false, false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct imap_writer writer;
		assert_int_equal(imap_is_keyword(cases[i].flag), cases[i].is_keyword);
		begin(&writer, IMAP_LITERAL_PLUS, false);
		imap_writer_flags(&writer, &cases[i].flag, 1);
		assert_int_equal(imap_writer_finish(&writer), cases[i].is_written ? GP_OK : GP_INVALID);
		imap_writer_deinit(&writer);
	}
	assert_false(imap_is_keyword(SPAN_NIL));
	struct imap_writer writer;
	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_flags(&writer, (const struct span[]){SPAN_LIT("\\Seen"), SPAN_LIT("x")}, 2);
	imap_writer_flags(&writer, NULL, 0);
	expect(&writer, "A1 X (\\Seen x) ()\r\n", 2);
}

static void test_sets_and_sections(void **state)
{
	(void)state;
	struct imap_writer writer;
	struct imap_uidset set;
	size_t at = 0;

	imap_uidset_init(&set);
	assert_int_equal(imap_uidset_parse(&set, SPAN_LIT("1:3,7,9:*")), GP_OK);
	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_uidset(&writer, &set, &at);
	imap_writer_range(&writer, 3, 3);
	imap_writer_range(&writer, 3, 9);
	imap_writer_range(&writer, 3, IMAP_UID_STAR);
	imap_writer_range(&writer, IMAP_UID_STAR, IMAP_UID_STAR);
	assert_int_equal(at, 3);
	expect(&writer, "A1 X 1:3,7,9:* 3 3:9 3:* *\r\n", 5);
	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_uidset(&writer, &set, &at); /* nothing left */
	expect_refused(&writer, GP_INVALID);
	imap_uidset_deinit(&set);
	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_range(&writer, 9, 3);
	expect_refused(&writer, GP_INVALID);

	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_body_peek(&writer, "", 0, 0);
	imap_writer_body_peek(&writer, "1.20.MIME", 5, 1024);
	imap_writer_body_peek(&writer, "HEADER", 0, 1);
	imap_writer_body_peek(&writer, "2.TEXT", 0, 0);
	expect(&writer, "A1 X BODY.PEEK[] BODY.PEEK[1.20.MIME]<5.1024> BODY.PEEK[HEADER]<0.1> BODY.PEEK[2.TEXT]\r\n",
	       4);
	static const char *const bad[] = {"0",          "1.",   ".1",       "1..2",  "01",
					  "1.0",        "MIME", "1.header", "1.FOO", "1 2",
					  "1]\r\nA2 X", "x",    "TEXT.1",   "1.2.",  "HEADER.FIELDS (A)"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		begin(&writer, IMAP_LITERAL_PLUS, false);
		imap_writer_body_peek(&writer, bad[i], 0, 0);
		expect_refused(&writer, GP_INVALID);
	}

	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_body_peek_fields(&writer, (const struct span[]){SPAN_LIT("From"), SPAN_LIT("X-[a]\"")}, 2);
	imap_writer_word(&writer, "UID");
	assert_int_equal(imap_writer_finish(&writer), GP_OK);
	assert_string_equal(writer.bytes.data, "A1 X BODY.PEEK[HEADER.FIELDS (From \"X-[a]\\\"\")] UID\r\n");
	imap_writer_deinit(&writer);
	static const struct span names[] = {TEXT(""), TEXT("a:b"), TEXT("a b"), TEXT("a\r\nb"), TEXT("\xC3\xA9")};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		begin(&writer, IMAP_LITERAL_PLUS, false);
		imap_writer_body_peek_fields(&writer, &names[i], 1);
		expect_refused(&writer, GP_INVALID);
	}
	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_body_peek_fields(&writer, NULL, 0);
	expect_refused(&writer, GP_INVALID);
}

static void test_long_sets_are_split(void **state)
{
	(void)state;
	struct imap_uidset set, back;
	size_t at = 0;
	size_t n_commands = 0;

	imap_uidset_init(&set);
	imap_uidset_init(&back);
	for (uint32_t uid = 1000000; uid < 1010000; uid += 2) {
		assert_int_equal(imap_uidset_add(&set, uid, uid), GP_OK);
	}
	while (at < set.n_ranges) {
		struct imap_writer writer;
		begin(&writer, IMAP_LITERAL_PLUS, false);
		imap_writer_uidset(&writer, &set, &at);
		assert_int_equal(imap_writer_finish(&writer), GP_OK);
		assert_true(writer.bytes.len <= GP_MAX_IMAP_SET_BYTES + strlen("A1 X \r\n"));
		struct span written = span_from(gp_buffer_span(&writer.bytes), strlen("A1 X "));
		written.len -= 2;
		assert_int_equal(imap_uidset_parse(&back, written), GP_OK);
		imap_writer_deinit(&writer);
		n_commands++;
	}
	assert_true(n_commands > 1);
	assert_int_equal(back.n_ranges, set.n_ranges);
	assert_memory_equal(back.ranges, set.ranges, set.n_ranges * sizeof *set.ranges);

	/* a search cannot be split by the writer */
	struct imap_writer writer;
	struct imap_search_term term = {.kind = IMAP_SEARCH_UID, .uids = &set};
	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_search(&writer, &(struct imap_search){&term, 1});
	expect_refused(&writer, GP_LIMIT);
	imap_uidset_deinit(&set);
	imap_uidset_deinit(&back);
}

#define TERMS(...)                                                                                                     \
	(const struct imap_search_term[]){__VA_ARGS__},                                                                \
		sizeof((const struct imap_search_term[]){__VA_ARGS__}) / sizeof(struct imap_search_term)

static void test_searches(void **state)
{
	(void)state;
	struct imap_uidset uids;
	imap_uidset_init(&uids);
	assert_int_equal(imap_uidset_parse(&uids, SPAN_LIT("1:5")), GP_OK);
	const struct {
		const struct imap_search_term *terms;
		size_t n_terms;
		const char *expected; /* NULL: refused */
	} cases[] = {
		{NULL, 0, "ALL"},
		{TERMS({.kind = IMAP_SEARCH_ALL}), "ALL"},
		{TERMS({.kind = IMAP_SEARCH_FROM, .text = TEXT("ann")},
		       {.kind = IMAP_SEARCH_SUBJECT, .text = TEXT("a \"b\"")}),
		 "FROM \"ann\" SUBJECT \"a \\\"b\\\"\""},
		{TERMS({.kind = IMAP_SEARCH_TO, .text = TEXT("")},
		       {.kind = IMAP_SEARCH_CC, .text = TEXT("x\r\nA2 LOGOUT")}),
		 "TO \"\" CC {12+}\r\nx\r\nA2 LOGOUT"},
		{TERMS({.kind = IMAP_SEARCH_BCC, .text = TEXT("x")}, {.kind = IMAP_SEARCH_BODY, .text = TEXT("y")},
		       {.kind = IMAP_SEARCH_TEXT, .text = TEXT("{3}")}),
		 "BCC \"x\" BODY \"y\" TEXT \"{3}\""},
		{TERMS({.kind = IMAP_SEARCH_HEADER, .name = TEXT("List-Id"), .text = TEXT("v")}),
		 "HEADER List-Id \"v\""},
		{TERMS({.kind = IMAP_SEARCH_HEADER, .name = TEXT("a b"), .text = TEXT("v")}), NULL},
		{TERMS({.kind = IMAP_SEARCH_HEADER, .text = TEXT("v")}), NULL},
		{TERMS({.kind = IMAP_SEARCH_TEXT, .text = TEXT("a\0b")}), NULL},
		{TERMS({.kind = IMAP_SEARCH_BEFORE, .day = 0}, {.kind = IMAP_SEARCH_ON, .day = 19782},
		       {.kind = IMAP_SEARCH_SINCE, .day = 11016}),
		 "BEFORE 1-Jan-1970 ON 29-Feb-2024 SINCE 29-Feb-2000"},
		{TERMS({.kind = IMAP_SEARCH_SENTBEFORE, .day = -1}, {.kind = IMAP_SEARCH_SENTON, .day = 2932896},
		       {.kind = IMAP_SEARCH_SENTSINCE, .day = -719162}),
		 "SENTBEFORE 31-Dec-1969 SENTON 31-Dec-9999 SENTSINCE 1-Jan-0001"},
		{TERMS({.kind = IMAP_SEARCH_BEFORE, .day = 2932897}), NULL},
		{TERMS({.kind = IMAP_SEARCH_BEFORE, .day = INT64_MIN}), NULL},
		{TERMS({.kind = IMAP_SEARCH_LARGER, .number = 7}, {.kind = IMAP_SEARCH_SMALLER, .number = 8},
		       {.kind = IMAP_SEARCH_MODSEQ, .number = 9}),
		 "LARGER 7 SMALLER 8 MODSEQ 9"},
		{TERMS({.kind = IMAP_SEARCH_SEEN}, {.kind = IMAP_SEARCH_NOT}, {.kind = IMAP_SEARCH_DRAFT}),
		 "SEEN UNDRAFT"},
		{TERMS({.kind = IMAP_SEARCH_KEYWORD, .text = TEXT("$x")}, {.kind = IMAP_SEARCH_NOT},
		       {.kind = IMAP_SEARCH_KEYWORD, .text = TEXT("y")}),
		 "KEYWORD $x UNKEYWORD y"},
		{TERMS({.kind = IMAP_SEARCH_KEYWORD, .text = TEXT("a b")}), NULL},
		{TERMS({.kind = IMAP_SEARCH_KEYWORD, .text = TEXT("\\Seen")}), NULL},
		{TERMS({.kind = IMAP_SEARCH_UID, .uids = &uids}), "UID 1:5"},
		{TERMS({.kind = IMAP_SEARCH_EMAILID, .text = TEXT("M1")},
		       {.kind = IMAP_SEARCH_THREADID, .text = TEXT("T_-1")}),
		 "EMAILID M1 THREADID T_-1"},
		{TERMS({.kind = IMAP_SEARCH_THREADID, .text = TEXT("T 1")}), NULL},
		{TERMS({.kind = IMAP_SEARCH_THREADID, .text = TEXT("")}), NULL},
		{TERMS({.kind = IMAP_SEARCH_NOT}, {.kind = IMAP_SEARCH_FROM, .text = TEXT("x")}), "NOT FROM \"x\""},
		{TERMS({.kind = IMAP_SEARCH_OR}, {.kind = IMAP_SEARCH_SEEN}, {.kind = IMAP_SEARCH_OR},
		       {.kind = IMAP_SEARCH_NOT}, {.kind = IMAP_SEARCH_SEEN}, {.kind = IMAP_SEARCH_AND, .number = 2},
		       {.kind = IMAP_SEARCH_DELETED}, {.kind = IMAP_SEARCH_AND, .number = 1},
		       {.kind = IMAP_SEARCH_ANSWERED}, {.kind = IMAP_SEARCH_FLAGGED}),
		 "OR SEEN OR UNSEEN (DELETED (ANSWERED)) FLAGGED"},
		{TERMS({.kind = IMAP_SEARCH_NOT}, {.kind = IMAP_SEARCH_AND, .number = 2}, {.kind = IMAP_SEARCH_SEEN},
		       {.kind = IMAP_SEARCH_NOT}, {.kind = IMAP_SEARCH_NOT}, {.kind = IMAP_SEARCH_FLAGGED}),
		 "NOT (SEEN NOT UNFLAGGED)"},
		{TERMS({.kind = IMAP_SEARCH_NOT}), NULL},
		{TERMS({.kind = IMAP_SEARCH_OR}, {.kind = IMAP_SEARCH_SEEN}), NULL},
		{TERMS({.kind = IMAP_SEARCH_AND, .number = 2}, {.kind = IMAP_SEARCH_SEEN}), NULL},
		{TERMS({.kind = IMAP_SEARCH_AND, .number = 0}), NULL},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct imap_writer writer;
		struct gp_buffer line;
		begin(&writer, IMAP_LITERAL_PLUS, false);
		imap_writer_search(&writer, &(struct imap_search){cases[i].terms, cases[i].n_terms});
		if (!cases[i].expected) {
			expect_refused(&writer, GP_INVALID);
			continue;
		}
		gp_buffer_init(&line, 1000);
		assert_int_equal(gp_buffer_printf(&line, "A1 X %s\r\n", cases[i].expected), GP_OK);
		assert_int_equal(imap_writer_finish(&writer), GP_OK);
		assert_string_equal(writer.bytes.data, line.data);
		struct strict_command command = strict_command_parse(gp_buffer_span(&writer.bytes));
		assert_true(command.is_valid);
		assert_int_equal(command.n_commands, 1);
		imap_writer_deinit(&writer);
		gp_buffer_deinit(&line);
	}
	imap_uidset_deinit(&uids);
}

static void test_search_charset(void **state)
{
	(void)state;
	struct imap_writer writer;
	struct imap_search_term term = {.kind = IMAP_SEARCH_SUBJECT, .text = TEXT("caf\u00e9")};
	struct imap_search search = {&term, 1};

	assert_true(imap_search_needs_charset(&search));
	begin(&writer, IMAP_LITERAL_SYNC, false);
	imap_writer_search(&writer, &search);
	assert_true(writer.needs_charset);
	assert_int_equal(writer.n_sync_points, 1);
	expect(&writer, "A1 X SUBJECT {5}\r\ncaf\u00e9\r\n", 2);
	begin(&writer, IMAP_LITERAL_SYNC, true);
	imap_writer_search(&writer, &search);
	expect(&writer, "A1 X SUBJECT \"caf\u00e9\"\r\n", 2);
	term.text = SPAN_LIT("cafe");
	assert_false(imap_search_needs_charset(&search));
}

static void test_search_gmail(void **state)
{
	(void)state;
	struct imap_writer writer;
	struct imap_search_term terms[] = {{.kind = IMAP_SEARCH_EMAILID, .text = TEXT("12")},
					   {.kind = IMAP_SEARCH_THREADID, .text = TEXT("13")}};

	begin(&writer, IMAP_LITERAL_SYNC, false);
	writer.is_gmail = true;
	imap_writer_search(&writer, &(struct imap_search){terms, 2});
	expect(&writer, "A1 X X-GM-MSGID 12 X-GM-THRID 13\r\n", 4);
	begin(&writer, IMAP_LITERAL_SYNC, false);
	writer.is_gmail = true;
	terms[0].text = SPAN_LIT("M12");
	imap_writer_search(&writer, &(struct imap_search){terms, 2});
	expect_refused(&writer, GP_INVALID);
}

static void test_search_depth(void **state)
{
	(void)state;
	struct imap_search_term terms[GP_MAX_IMAP_NESTING + 2];
	struct imap_writer writer;

	for (size_t i = 0; i < GP_MAX_IMAP_NESTING + 1; i++) {
		terms[i] = (struct imap_search_term){.kind = IMAP_SEARCH_AND, .number = 1};
	}
	terms[GP_MAX_IMAP_NESTING + 1] = (struct imap_search_term){.kind = IMAP_SEARCH_ALL};
	begin(&writer, IMAP_LITERAL_SYNC, false);
	imap_writer_search(&writer, &(struct imap_search){terms, GP_MAX_IMAP_NESTING + 2});
	expect_refused(&writer, GP_LIMIT);
	begin(&writer, IMAP_LITERAL_SYNC, false);
	imap_writer_search(&writer, &(struct imap_search){terms + 1, GP_MAX_IMAP_NESTING + 1});
	assert_int_equal(imap_writer_finish(&writer), GP_OK);
	imap_writer_deinit(&writer);
}

static void test_base64(void **state)
{
	(void)state;
	static const struct {
		struct span secret;
		const char *expected;
	} cases[] = {
		{TEXT(""), "=\r\n"},
		{TEXT("f"), "Zg==\r\n"},
		{TEXT("fo"), "Zm8=\r\n"},
		{TEXT("foo"), "Zm9v\r\n"},
		{TEXT("\0ann\0se\xFFret"), "AGFubgBzZf9yZXQ=\r\n"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct imap_writer writer;
		/* without a tag: the answer to a continuation request */
		imap_writer_init(&writer, IMAP_LITERAL_SYNC, false);
		imap_writer_base64(&writer, cases[i].secret);
		imap_writer_secret(&writer);
		assert_int_equal(imap_writer_finish(&writer), GP_OK);
		assert_string_equal(writer.bytes.data, cases[i].expected);
		assert_true(writer.has_secret);
		imap_writer_deinit(&writer);
	}
}

static void test_cap(void **state)
{
	(void)state;
	static char big[100 * 1024];
	struct imap_writer writer;

	memset(big, 'x', sizeof big);
	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_string(&writer, span_make(big, sizeof big));
	imap_writer_string(&writer, span_make(big, sizeof big));
	imap_writer_string(&writer, span_make(big, sizeof big));
	expect_refused(&writer, GP_LIMIT);
}

/* What no caller asks for, and what may not be written then. */
static void test_refused(void **state)
{
	(void)state;
	struct imap_writer writer;
	static char name[200 * 1024];

	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_literal(&writer, span_make("a\0b", 3));
	expect_refused(&writer, GP_INVALID);

	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_open(&writer);
	imap_writer_literal_head(&writer, 3);
	expect_refused(&writer, GP_INVALID);

	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_date_time(&writer, INT64_MAX);
	imap_writer_date_time(&writer, INT64_MIN);
	expect_refused(&writer, GP_INVALID);

	/* three bytes become six: the name is over the cap before the command is */
	for (size_t i = 0; i < sizeof name; i++) {
		name[i] = i % 3 == 0 ? 'a' : i % 3 == 1 ? '\xC3' : '\xA4';
	}
	begin(&writer, IMAP_LITERAL_PLUS, false);
	imap_writer_mailbox(&writer, span_make(name, sizeof name / 3 * 3));
	expect_refused(&writer, GP_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_words_are_checked),
		cmocka_unit_test(test_first_failure_sticks),
		cmocka_unit_test(test_astrings),
		cmocka_unit_test(test_literal_modes),
		cmocka_unit_test(test_mailboxes),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_sets_and_sections),
		cmocka_unit_test(test_long_sets_are_split),
		cmocka_unit_test(test_searches),
		cmocka_unit_test(test_search_charset),
		cmocka_unit_test(test_search_gmail),
		cmocka_unit_test(test_search_depth),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_cap),
		cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
