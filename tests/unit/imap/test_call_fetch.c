/* FETCH by UID and by position. */
#include "tests/unit/imap/test_call_script.h"

struct fetch_case {
	const char *uids; /* NULL: by position */
	uint32_t first, last;
	unsigned items;
	const char *field; /* NULL: none */
	const char *section;
	uint64_t origin, len;
};

static struct imap_call *start_fetch(struct fixture *f, const void *spec_pointer)
{
	const struct fetch_case *c = spec_pointer;
	struct imap_uidset uids;
	char name[64] = "", field[64] = "";

	imap_uidset_init(&uids);
	if (c->uids && *c->uids) {
		assert_int_equal(imap_uidset_parse(&uids, span_of(c->uids)), GP_OK);
	}
	snprintf(name, sizeof name, "%s", c->section ? c->section : "");
	snprintf(field, sizeof field, "%s", c->field ? c->field : "");
	struct span fields[] = {span_of(field)};
	struct imap_section_spec sections[] = {{name, c->origin, c->len}};
	const struct imap_fetch_spec spec = {
		.uids = c->uids ? &uids : NULL,
		.first_position = c->first,
		.last_position = c->last,
		.items = c->items,
		.fields = fields,
		.n_fields = c->field ? 1 : 0,
		.sections = sections,
		.n_sections = c->section ? 1 : 0,
	};
	struct imap_call *call = imap_fetch_start(f->fake->session, &spec, script_on_row, script_on_done, f);
	/* What is passed need not outlive the call of start. */
	memset(name, 'x', sizeof name - 1);
	memset(field, 'x', sizeof field - 1);
	imap_uidset_deinit(&uids);
	return call;
}

#define PLAIN "IMAP4rev1"
#define THREE "* 3 EXISTS\r\n"

static const struct fetch_case sizes = {.uids = "4,7:9", .items = IMAP_ITEM_SIZE};
static const struct fetch_case flags = {.uids = "4,7:9", .items = IMAP_ITEM_FLAGS};
static const struct fetch_case nothing_else = {.uids = "4", .items = IMAP_ITEM_UID};
static const struct fetch_case no_uids = {.uids = "", .items = IMAP_ITEM_SIZE};
static const struct fetch_case open_end = {.uids = "7:*", .items = IMAP_ITEM_SIZE};
static const struct fetch_case extensions = {.uids = "4",
					     .items = IMAP_ITEM_SIZE | IMAP_ITEM_MODSEQ | IMAP_ITEM_EMAILID |
						      IMAP_ITEM_THREADID | IMAP_ITEM_PREVIEW};
static const struct fetch_case everything = {.uids = "4",
					     .items = IMAP_ITEM_FLAGS | IMAP_ITEM_INTERNALDATE | IMAP_ITEM_SIZE |
						      IMAP_ITEM_ENVELOPE | IMAP_ITEM_BODYSTRUCTURE,
					     .field = "REFERENCES",
					     .section = "1.2",
					     .len = 100};

static void test_rows(void **state)
{
	static const struct script scripts[] = {
		{.name = "rows",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &sizes,
		 .steps = {C("UID FETCH 4,7:9 (UID RFC822.SIZE)"),
			   S("* 1 FETCH (UID 4 RFC822.SIZE 10)\r\n* 2 FETCH (RFC822.SIZE 20 UID 8)\r\n$ OK done\r\n")},
		 .expected = "row 4 size=10\nrow 8 size=20\ndone OK\n"},
		{.name = "no row",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &sizes,
		 .steps = {C("UID FETCH 4,7:9 (UID RFC822.SIZE)"), S("$ OK done\r\n")},
		 .expected = "done OK\n"},
		{.name = "UIDs and positions that were not asked, no UID, no items",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &sizes,
		 .steps = {C("UID FETCH 4,7:9 (UID RFC822.SIZE)"),
			   S("* 1 FETCH (UID 5 RFC822.SIZE 10)\r\n* 2 FETCH (RFC822.SIZE 20)\r\n* 3 FETCH ()\r\n"
			     "* 0 FETCH (UID 0 RFC822.SIZE 1)\r\n* 3 FETCH (UID 9 RFC822.SIZE 30)\r\n$ OK done\r\n")},
		 .expected = "row 9 size=30\ndone OK\n"},
		{.name = "unsolicited flags are noise",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &sizes,
		 .steps = {C("UID FETCH 4,7:9 (UID RFC822.SIZE)"),
			   S("* 1 FETCH (UID 4 FLAGS (\\Seen))\r\n* 1 FETCH (UID 4 RFC822.SIZE 10)\r\n$ OK done\r\n")},
		 .expected = "row 4 size=10\ndone OK\n"},
		{.name = "flags that were asked",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &flags,
		 .steps = {C("UID FETCH 4,7:9 (UID FLAGS)"),
			   S("* 1 FETCH (UID 4 FLAGS (\\Seen $x))\r\n* 1 FETCH (UID 7 RFC822.SIZE 1)\r\n$ OK\r\n")},
		 .expected = "row 4 \\Seen $x\ndone OK\n"},
		{.name = "nothing but the UID",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &nothing_else,
		 .steps = {C("UID FETCH 4 (UID)"), S("* 1 FETCH (UID 4)\r\n$ OK\r\n")},
		 .expected = "row 4\ndone OK\n"},
		{.name = "the same row twice",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &sizes,
		 .steps = {C("UID FETCH 4,7:9 (UID RFC822.SIZE)"),
			   S("* 1 FETCH (UID 4 RFC822.SIZE 10)\r\n* 1 FETCH (UID 4 RFC822.SIZE 10)\r\n$ OK done\r\n")},
		 .expected = "row 4 size=10\nrow 4 size=10\ndone OK\n"},
		{.name = "an empty set is not asked",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &no_uids,
		 .expected = "done OK\n"},
		{.name = "the last message is not in 7:*",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &open_end,
		 .steps = {C("UID FETCH 7:* (UID RFC822.SIZE)"), S("* 3 FETCH (UID 5 RFC822.SIZE 10)\r\n$ OK\r\n")},
		 .expected = "done OK\n"},
	};
	(void)state;
	play_scripts(scripts);
}

#define REFUSED(name_, rows_, answer_, expected_)                                                                      \
	{                                                                                                              \
		.name = name_, .capabilities = PLAIN, .selected = THREE, .start = start_fetch, .spec = &sizes,         \
		.steps = {C("UID FETCH 4,7:9 (UID RFC822.SIZE)"), S(rows_ answer_)}, .expected = expected_             \
	}
#define ROW "* 1 FETCH (UID 4 RFC822.SIZE 10)\r\n"
#define NOISE "* 1 FETCH (UID 4 FLAGS ())\r\n"

static void test_refusals(void **state)
{
	static const struct script scripts[] = {
		REFUSED("NO after a row", ROW, "$ NO Some messages could not be had\r\n", "row 4 size=10\ndone OK\n"),
		REFUSED("EXPUNGEISSUED", "", "$ NO [EXPUNGEISSUED] gone\r\n", "done OK\n"),
		REFUSED("no longer exist", "", "$ NO Some of the messages No Longer Exist.\r\n", "done OK\n"),
		REFUSED("NO without a row", "", "$ NO not today\r\n", "done NO\n"),
		REFUSED("NO after noise", NOISE, "$ NO not today\r\n", "done NO\n"),
		REFUSED("a failure after a row", ROW, "$ NO [SERVERBUG] oops\r\n",
			"row 4 size=10\ndone NO SERVERBUG\n"),
		REFUSED("LIMIT", "", "$ NO [LIMIT] too much\r\n", "done NO LIMIT\n"),
		REFUSED("BAD", ROW, "$ BAD what\r\n", "row 4 size=10\ndone BAD\n"),
		REFUSED("throttled", "", "$ BAD Request is throttled.\r\n", "done THROTTLED\n"),
	};
	(void)state;
	play_scripts(scripts);
}

#define ENVELOPE "(NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL)"

static void test_items(void **state)
{
	static const struct script scripts[] = {
		{.name = "all that is in RFC 3501",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &everything,
		 .steps = {C("UID FETCH 4 (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE "
			     "BODY.PEEK[HEADER.FIELDS (REFERENCES)] BODY.PEEK[1.2]<0.100>)"),
			   S("* 1 FETCH (UID 4 RFC822.SIZE 9 BODY[1.2]<0> \"abc\" "
			     "BODY[HEADER.FIELDS (\"References\")] \"r\" ENVELOPE " ENVELOPE ")\r\n$ OK\r\n")},
		 .expected = "row 4 size=9 [HEADER.FIELDS (\"References\")]=r [1.2]=abc\ndone OK\n"},
		{.name = "a row in two",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &everything,
		 .steps = {C("UID FETCH 4 (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE "
			     "BODY.PEEK[HEADER.FIELDS (REFERENCES)] BODY.PEEK[1.2]<0.100>)"),
			   S("* 1 FETCH (UID 4 RFC822.SIZE 9)\r\n* 1 FETCH (UID 4 BODY[1.2] \"abc\")\r\n$ OK\r\n")},
		 .expected = "row 4 size=9\nrow 4 [1.2]=abc\ndone OK\n"},
		{.name = "extensions that are not there",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &extensions,
		 .steps = {C("UID FETCH 4 (UID RFC822.SIZE)"), S("$ OK\r\n")},
		 .expected = "done OK\n"},
		{.name = "extensions that are",
		 .capabilities = PLAIN " CONDSTORE OBJECTID PREVIEW X-GM-EXT-1",
		 .selected = "* 3 EXISTS\r\n* OK [HIGHESTMODSEQ 5] ok\r\n",
		 .start = start_fetch,
		 .spec = &extensions,
		 .steps = {C("UID FETCH 4 (UID RFC822.SIZE MODSEQ PREVIEW EMAILID THREADID)"),
			   S("* 1 FETCH (UID 4 MODSEQ (6))\r\n* 1 FETCH (UID 4 EMAILID (M1) MODSEQ (6))\r\n$ OK\r\n")},
		 .expected = "row 4 modseq=6 email=M1\ndone OK\n"},
		{.name = "a mailbox without modseqs; Gmail's ids",
		 .capabilities = PLAIN " CONDSTORE X-GM-EXT-1",
		 .selected = "* 3 EXISTS\r\n* OK [NOMODSEQ] no\r\n",
		 .start = start_fetch,
		 .spec = &extensions,
		 .steps = {C("UID FETCH 4 (UID RFC822.SIZE X-GM-MSGID X-GM-THRID)"),
			   S("* 1 FETCH (UID 4 X-GM-MSGID 1278455344230334865)\r\n$ OK\r\n")},
		 .expected = "row 4 email=1278455344230334865\ndone OK\n"},
	};
	(void)state;
	play_scripts(scripts);
}

static const struct fetch_case whole = {.uids = "4", .section = "HEADER"};
static const struct fetch_case window = {.uids = "4", .section = "1", .origin = 10, .len = 3};
static const struct fetch_case beginning = {.uids = "4", .section = "1", .len = 3};
static const struct fetch_case subject = {.uids = "4", .field = "Subject"};

#define SECTION(name_, spec_, command_, rows_, expected_)                                                              \
	{                                                                                                              \
		.name = name_, .capabilities = PLAIN, .selected = THREE, .start = start_fetch, .spec = spec_,          \
		.steps = {C(command_), S(rows_ "$ OK\r\n")}, .expected = expected_ "done OK\n"                         \
	}

static void test_sections(void **state)
{
	static const struct script scripts[] = {
		SECTION("whole", &whole, "UID FETCH 4 (UID BODY.PEEK[HEADER])",
			"* 1 FETCH (UID 4 BODY[header] {3}\r\na\r\n)\r\n", "row 4 [header]=a\r\n\n"),
		SECTION("another command's window", &whole, "UID FETCH 4 (UID BODY.PEEK[HEADER])",
			"* 1 FETCH (UID 4 BODY[HEADER]<0> \"a\")\r\n", ""),
		SECTION("another section", &whole, "UID FETCH 4 (UID BODY.PEEK[HEADER])",
			"* 1 FETCH (UID 4 BODY[1] \"a\")\r\n", ""),
		SECTION("a window", &window, "UID FETCH 4 (UID BODY.PEEK[1]<10.3>)",
			"* 1 FETCH (UID 4 BODY[1]<10> \"abc\")\r\n", "row 4 [1]=abc\n"),
		SECTION("the wrong window", &window, "UID FETCH 4 (UID BODY.PEEK[1]<10.3>)",
			"* 1 FETCH (UID 4 BODY[1]<0> \"abc\")\r\n* 1 FETCH (UID 4 BODY[1] \"abc\")\r\n", ""),
		SECTION("more than asked", &beginning, "UID FETCH 4 (UID BODY.PEEK[1]<0.3>)",
			"* 1 FETCH (UID 4 BODY[1] \"abcd\")\r\n", "row 4 [1]=abc\n"),
		SECTION("NIL", &beginning, "UID FETCH 4 (UID BODY.PEEK[1]<0.3>)", "* 1 FETCH (UID 4 BODY[1] NIL)\r\n",
			"row 4 [1]=\n"),
		SECTION("fields", &subject, "UID FETCH 4 (UID BODY.PEEK[HEADER.FIELDS (Subject)])",
			"* 1 FETCH (UID 4 BODY[HEADER.FIELDS (DATE SUBJECT)] \"x\")\r\n",
			"row 4 [HEADER.FIELDS (DATE SUBJECT)]=x\n"),
		SECTION("other fields", &subject, "UID FETCH 4 (UID BODY.PEEK[HEADER.FIELDS (Subject)])",
			"* 1 FETCH (UID 4 BODY[HEADER.FIELDS (SUBJECTS)] \"x\")\r\n"
			"* 1 FETCH (UID 4 BODY[HEADER.FIELDS.NOT (SUBJECT)] \"x\")\r\n",
			""),
	};
	(void)state;
	play_scripts(scripts);
}

/* What Dovecot says of a message that is gone by the time it gets there. */
#define GHOST "* 1 FETCH (UID 4 RFC822.SIZE 0 ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) BODY[HEADER] NIL)\r\n"
#define GHOST_COMMAND "UID FETCH 4 (UID RFC822.SIZE ENVELOPE BODY.PEEK[HEADER])"

static const struct fetch_case in_doubt = {
	.uids = "4", .items = IMAP_ITEM_SIZE | IMAP_ITEM_ENVELOPE, .section = "HEADER"};

static void test_rows_in_doubt(void **state)
{
	static const struct script scripts[] = {
		{.name = "gone: never told",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &in_doubt,
		 .steps = {C(GHOST_COMMAND), S(GHOST "* 1 EXPUNGE\r\n$ OK [EXPUNGEISSUED] some\r\n"), C(GHOST_COMMAND),
			   S("$ OK nothing\r\n")},
		 .expected = "done OK\n"},
		{.name = "gone, and the server goes on with it",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &in_doubt,
		 .steps = {C(GHOST_COMMAND), S(GHOST "$ OK [EXPUNGEISSUED] some\r\n"), C(GHOST_COMMAND),
			   S(GHOST "$ OK [EXPUNGEISSUED] some\r\n")},
		 .expected = "done OK\n"},
		{.name = "another was gone",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &in_doubt,
		 .steps = {C(GHOST_COMMAND), S(GHOST "$ OK [EXPUNGEISSUED] some\r\n"), C(GHOST_COMMAND),
			   S(GHOST "$ OK\r\n"), C(GHOST_COMMAND), S(GHOST "$ OK\r\n")},
		 .expected = "row 4 size=0 [HEADER]=\ndone OK\n"},
		{.name = "there, and so: told as it is",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &in_doubt,
		 .steps = {C(GHOST_COMMAND), S(GHOST "$ OK\r\n"), C(GHOST_COMMAND), S(GHOST "$ OK\r\n")},
		 .expected = "row 4 size=0 [HEADER]=\ndone OK\n"},
		{.name = "a better row comes: not asked again",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &in_doubt,
		 .steps = {C(GHOST_COMMAND), S(GHOST "* 1 FETCH (UID 4 RFC822.SIZE 5 BODY[HEADER] \"a\")\r\n$ OK\r\n")},
		 .expected = "row 4 size=5 [HEADER]=a\ndone OK\n"},
	};
	(void)state;
	play_scripts(scripts);
}

static const struct fetch_case second_on = {.first = 2, .last = IMAP_UID_STAR, .items = IMAP_ITEM_SIZE};
static const struct fetch_case past_end = {.first = 4, .last = IMAP_UID_STAR, .items = IMAP_ITEM_SIZE};
static const struct fetch_case clipped = {.first = 2, .last = 50, .items = IMAP_ITEM_SIZE};
static const struct fetch_case no_range = {.first = 3, .last = 2, .items = IMAP_ITEM_SIZE};

static void test_positions(void **state)
{
	static const struct script scripts[] = {
		{.name = "by position",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &second_on,
		 .steps = {C("FETCH 2:* (UID RFC822.SIZE)"),
			   S("* 1 FETCH (UID 1 RFC822.SIZE 1)\r\n* 2 FETCH (UID 7 RFC822.SIZE 20)\r\n"
			     "* 3 FETCH (RFC822.SIZE 20)\r\n$ OK\r\n")},
		 .expected = "row 7 size=20\ndone OK\n"},
		{.name = "past the end",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &past_end,
		 .expected = "done OK\n"},
		{.name = "an empty mailbox",
		 .capabilities = PLAIN,
		 .selected = "* 0 EXISTS\r\n",
		 .start = start_fetch,
		 .spec = &second_on,
		 .expected = "done OK\n"},
		{.name = "clipped",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &clipped,
		 .steps = {C("FETCH 2:3 (UID RFC822.SIZE)"), S("* 3 FETCH (UID 9 RFC822.SIZE 20)\r\n$ OK\r\n")},
		 .expected = "row 9 size=20\ndone OK\n"},
		{.name = "not a row of what is there",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &clipped,
		 .steps = {C("FETCH 2:3 (UID RFC822.SIZE)"), S("$ OK\r\n")},
		 .expected = "done STALE\n"},
		{.name = "no range",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &no_range,
		 .expected = "done INVALID\n"},
		{.name = "positions moved",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &second_on,
		 .steps = {C("FETCH 2:* (UID RFC822.SIZE)"),
			   S("* 2 FETCH (UID 7 RFC822.SIZE 20)\r\n* 1 EXPUNGE\r\n$ OK\r\n")},
		 .expected = "row 7 size=20\ndone STALE\n"},
		{.name = "positions moved before it came, and that is why it says BAD",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &second_on,
		 .steps = {C("FETCH 2:* (UID RFC822.SIZE)"),
			   S("* 2 EXPUNGE\r\n* 2 EXPUNGE\r\n$ BAD Invalid messageset\r\n")},
		 .expected = "done STALE\n"},
		{.name = "BAD for another reason",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &second_on,
		 .steps = {C("FETCH 2:* (UID RFC822.SIZE)"), S("$ BAD Invalid messageset\r\n")},
		 .expected = "done BAD\n"},
		{.name = "positions moved, and that is why it says NO",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_fetch,
		 .spec = &second_on,
		 .steps = {C("FETCH 2:* (UID RFC822.SIZE)"), S("* 1 EXPUNGE\r\n$ NO [EXPUNGEISSUED] gone\r\n")},
		 .expected = "done STALE\n"},
	};
	(void)state;
	play_scripts(scripts);
}

/* ---- long sets ---- */

static size_t count_rows(struct fixture *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->log.len; i++) {
		n += f->log.data[i] == '\n';
	}
	return n;
}

#define N_SPARSE 10000 /* 2, 4, 6, …: some 60,000 bytes */

/* The tag and the set of the next line; false when there is none. */
static bool next_set(const char **lines, char tag[32], struct imap_uidset *set)
{
	char text[GP_MAX_IMAP_SET_BYTES + 1];
	int used = 0;

	if (sscanf(*lines, "%31s UID FETCH %7000[0-9,:] (UID RFC822.SIZE)\r\n%n", tag, text, &used) != 2 || used == 0) {
		return false;
	}
	*lines += used;
	assert_int_equal(imap_uidset_parse(set, span_of(text)), GP_OK);
	return true;
}

static void test_long_set(void **state)
{
	struct fixture f;
	struct imap_uidset all, seen;
	size_t n_commands = 0;

	(void)state;
	imap_uidset_init(&all);
	imap_uidset_init(&seen);
	for (uint32_t i = 1; i <= N_SPARSE; i++) {
		assert_int_equal(imap_uidset_add(&all, i * 2, i * 2), GP_OK);
	}
	fixture_init(&f, PLAIN, "* 30000 EXISTS\r\n");
	const struct imap_fetch_spec spec = {.uids = &all, .items = IMAP_ITEM_SIZE};
	f.call = imap_fetch_start(f.fake->session, &spec, script_on_row, script_on_done, &f);
	imap_uidset_deinit(&all);
	for (;;) {
		fake_turn(f.fake->network, 0);
		char *taken = strdup(fake_take(f.fake->transport));
		const char *lines = taken;
		char tag[32], reply[300];
		struct imap_uidset part;
		size_t n = 0;
		imap_uidset_init(&part);
		for (; next_set(&lines, tag, &part); n++) {
			assert_false(imap_uidset_contains(&seen, part.ranges[0].first));
			assert_int_equal(imap_uidset_add_all(&seen, &part), GP_OK);
			uint32_t uid = part.ranges[part.n_ranges - 1].last;
			/* the second row is of the first command's: it has ended */
			snprintf(reply, sizeof reply,
				 "* 1 FETCH (UID %u RFC822.SIZE 1)\r\n%s OK\r\n* 1 FETCH (UID %u RFC822.SIZE 1)\r\n",
				 (unsigned)uid, tag, (unsigned)uid);
			fake_feed(f.fake->transport, reply);
			imap_uidset_deinit(&part);
			imap_uidset_init(&part);
		}
		assert_int_equal(*lines, '\0');
		free(taken);
		n_commands += n;
		assert_true(n <= 4);
		if (n == 0) {
			break;
		}
	}
	assert_true(n_commands >= 8 && n_commands <= 12);
	assert_int_equal(imap_uidset_count(&seen), N_SPARSE);
	assert_int_equal(count_rows(&f), n_commands + 1);
	assert_int_equal(f.n_done, 1);
	imap_uidset_deinit(&seen);
	fixture_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),     cmocka_unit_test(test_refusals),      cmocka_unit_test(test_items),
		cmocka_unit_test(test_sections), cmocka_unit_test(test_rows_in_doubt), cmocka_unit_test(test_positions),
		cmocka_unit_test(test_long_set),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
