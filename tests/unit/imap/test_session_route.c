/*
 * Where untagged answers go: to which commands, and into what the session knows about
 * the mailbox. Every test runs twice: in whole pieces, and a byte at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "imap/session_internal.h"
#include "tests/support/fake_command.h"
#include "tests/support/fake_session.h"

#define CAPABILITIES "IMAP4rev1 ESEARCH CONDSTORE QRESYNC"

static size_t split; /* of the run: 0 or 1 */

static struct fake_session *ready(void)
{
	struct fake_session *fake = fake_session_ready(CAPABILITIES);

	fake_set_split(fake->network, split);
	fake_command_reset_order();
	return fake;
}

/* Sends what is queued; `n` lines that are only a name. */
static void expect_lines(struct fake_session *fake, const char *name, size_t n)
{
	fake_turn(fake->network, 0);
	for (size_t i = 0; i < n; i++) {
		fake_expect(fake->transport, name);
	}
	fake_expect_nothing(fake->transport);
}

/* ---- FETCH ---- */

static void test_fetch_rows(void **state)
{
	(void)state;
	static const char answers[] = "* 1 FETCH (UID 7 FLAGS ())\r\n"
				      "* 2 FETCH (UID 8 FLAGS ())\r\n"
				      "* 3 FETCH (FLAGS (\\Seen))\r\n"
				      "* 4 FETCH (FLAGS () UID 20)\r\n"
				      "* 5 FETCH (UID 0 FLAGS ())\r\n"
				      "* 0 FETCH (UID 9)\r\n"
				      "* 1 FETCH (UID 7 FLAGS ())\r\n"
				      "* 9 FETCH (UID 4294967295)\r\n";
	static const struct {
		const char *uids; /* NULL: by position */
		uint32_t first, last;
		const char *rows;
	} cases[] = {
		{"7:9", 0, 0, "FETCH 7;FETCH 8;FETCH 9;FETCH 7;"},
		{"8,20", 0, 0, "FETCH 8;FETCH 20;"},
		{"9:*", 0, 0, "FETCH 20;FETCH 9;FETCH 4294967295;"},
		{"21:30", 0, 0, ""},
		{NULL, 2, 3, "FETCH 8;FETCH #3;"},
		{NULL, 4, IMAP_UID_STAR, "FETCH 20;FETCH #5;FETCH 4294967295;"},
		{NULL, 0, IMAP_UID_STAR, "FETCH 7;FETCH 8;FETCH #3;FETCH 20;FETCH #5;FETCH 7;FETCH 4294967295;"},
	};
	enum { N = sizeof cases / sizeof *cases };
	struct fake_session *fake = ready();
	struct fake_command commands[N], other;
	struct imap_uidset uids[N];

	for (size_t i = 0; i < N; i++) {
		imap_uidset_init(&uids[i]);
		struct imap_command_spec spec = {.kind = IMAP_COMMAND_FETCH};
		if (cases[i].uids) {
			assert_int_equal(imap_uidset_parse(&uids[i], span_of(cases[i].uids)), GP_OK);
			spec.uids = &uids[i];
		} else {
			spec.is_by_position = true;
			spec.first_position = cases[i].first;
			spec.last_position = cases[i].last;
		}
		fake_command_start(&commands[i], fake->session, "FETCH", &spec);
	}
	fake_command_start(&other, fake->session, "FETCH", &(struct imap_command_spec){.kind = IMAP_COMMAND_PLAIN});
	expect_lines(fake, "FETCH", N + 1);
	fake_feed(fake->transport, answers);
	for (size_t i = 0; i < N; i++) {
		assert_string_equal(commands[i].rows, cases[i].rows);
		fake_reply(fake->transport, "$ OK\r\n");
		imap_uidset_deinit(&uids[i]);
	}
	assert_string_equal(other.rows, "");
	/* Only to those that are in flight. */
	fake_feed(fake->transport, "* 1 FETCH (UID 7)\r\n");
	assert_int_equal(fake->session->n_rows_dropped, 1);
	fake_session_free(&fake);
}

static void test_fetch_row_in_a_cancelled_command(void **state)
{
	(void)state;
	struct fake_session *fake = ready();
	struct fake_command command;
	struct imap_uidset *uids = test_calloc(1, sizeof *uids);

	assert_int_equal(imap_uidset_add(uids, 1, 9), GP_OK);
	const struct imap_command_spec spec = {.kind = IMAP_COMMAND_FETCH, .uids = uids};
	fake_command_start(&command, fake->session, "FETCH", &spec);
	expect_lines(fake, "FETCH", 1);
	imap_command_cancel(&command.command);
	imap_uidset_deinit(uids); /* borrowed until the cancel, not longer */
	test_free(uids);
	fake_reply(fake->transport, "* 1 FETCH (UID 7)\r\n$ OK\r\n");
	assert_string_equal(command.rows, "");
	assert_int_equal(fake->session->n_rows_dropped, 1);
	fake_session_free(&fake);
}

/* ---- one answer, one command ---- */

static void test_search_by_tag(void **state)
{
	(void)state;
	struct fake_session *fake = ready();
	const struct imap_command_spec spec = {.kind = IMAP_COMMAND_SEARCH};
	struct fake_command first, second;
	char line[128];

	fake_command_start(&first, fake->session, "SEARCH", &spec);
	fake_command_start(&second, fake->session, "SEARCH", &spec);
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "SEARCH");
	snprintf(line, sizeof line, "* ESEARCH (TAG \"%s\") UID ALL 1:3\r\n", fake_expect(fake->transport, "SEARCH"));
	fake_feed(fake->transport, line);
	assert_string_equal(first.rows, "");
	assert_string_equal(second.rows, "ESEARCH;");
	fake_feed(fake->transport, "* ESEARCH (TAG \"A999\") UID ALL 1:3\r\n* ESEARCH UID COUNT 1\r\n* SEARCH 5 6\r\n");
	assert_string_equal(first.rows, "ESEARCH;SEARCH 2;");
	assert_string_equal(second.rows, "ESEARCH;");
	fake_reply(fake->transport, "$ OK\r\n* SEARCH\r\n$ OK\r\n* SEARCH 1\r\n");
	assert_string_equal(second.rows, "ESEARCH;SEARCH 0;");
	fake_session_free(&fake);
}

/* What one command of a kind gets, out of everything there is. */
static void test_kinds(void **state)
{
	(void)state;
	static const char answers[] = "* LIST () \"/\" Work\r\n* LSUB () \"/\" Sub\r\n"
				      "* STATUS Work (MESSAGES 3)\r\n* STATUS inbox (MESSAGES 4)\r\n"
				      "* MYRIGHTS Work lrs\r\n* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n"
				      "* SEARCH 1 2\r\n* SORT 2 1 3\r\n* FLAGS (x)\r\n* ID NIL\r\n* ENABLED X\r\n"
				      "* XYZZY (\r\n* 3 RECENT\r\n* OK [UNSEEN 4] x\r\n* NO beware\r\n* BAD beware\r\n";
	static const struct {
		enum imap_command_kind kind;
		const char *mailbox;
		const char *rows;
	} cases[] = {
		{IMAP_COMMAND_PLAIN, NULL, ""},
		{IMAP_COMMAND_FETCH, NULL, ""},
		{IMAP_COMMAND_SEARCH, NULL, "SEARCH 2;"},
		{IMAP_COMMAND_SORT, NULL, "SORT 3;"},
		{IMAP_COMMAND_LIST, NULL, "LIST Work;STATUS Work;STATUS inbox;MYRIGHTS Work;"},
		{IMAP_COMMAND_LSUB, NULL, "LSUB Sub;"},
		{IMAP_COMMAND_STATUS, "Work", "STATUS Work;"},
		{IMAP_COMMAND_STATUS, "INBOX", "STATUS inbox;"},
		{IMAP_COMMAND_STATUS, "work", ""},
		{IMAP_COMMAND_STATUS, NULL, ""},
		{IMAP_COMMAND_NAMESPACE, NULL, "NAMESPACE;"},
		{IMAP_COMMAND_ENABLE, NULL, "ENABLED;"},
		{IMAP_COMMAND_MYRIGHTS, NULL, "MYRIGHTS Work;"},
		{IMAP_COMMAND_MYRIGHTS, "Work", "MYRIGHTS Work;"},
		{IMAP_COMMAND_MYRIGHTS, "Sub", ""},
		{IMAP_COMMAND_SELECT, "Work", ""},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake_session *fake = ready();
		struct fake_command command;
		const struct imap_command_spec spec = {.kind = cases[i].kind, .mailbox = span_of(cases[i].mailbox)};
		fake_command_start(&command, fake->session, "X", &spec);
		expect_lines(fake, "X", 1);
		fake_feed(fake->transport, answers);
		assert_string_equal(command.rows, cases[i].rows);
		fake_reply(fake->transport, "$ OK\r\n");
		assert_int_equal(command.n_done, 1);
		/* and nothing when it has ended */
		fake_feed(fake->transport, answers);
		assert_string_equal(command.rows, cases[i].rows);
		assert_int_equal(fake->n_closed, 0);
		fake_session_free(&fake);
	}
}

static void test_status_of_several(void **state)
{
	(void)state;
	struct fake_session *fake = ready();
	static const char *const mailboxes[] = {"Entw\xC3\xBCrfe", "A&B", "A&B", "INBOX"};
	struct fake_command commands[4];

	for (size_t i = 0; i < 4; i++) {
		const struct imap_command_spec spec = {.kind = IMAP_COMMAND_STATUS, .mailbox = span_of(mailboxes[i])};
		fake_command_start(&commands[i], fake->session, "STATUS", &spec);
	}
	expect_lines(fake, "STATUS", 4);
	fake_feed(fake->transport, "* STATUS \"A&-B\" (MESSAGES 1)\r\n* STATUS {12}\r\nEntw&APw-rfe (MESSAGES 2)\r\n"
				   "* STATUS A&-B (MESSAGES 3)\r\n* STATUS Inbox (MESSAGES 3)\r\n"
				   "* STATUS Other (MESSAGES 3)\r\n* STATUS A&-B (MESSAGES 9)\r\n");
	assert_string_equal(commands[0].rows, "STATUS Entw&APw-rfe;");
	/* the third answer has no command left: the oldest gets it */
	assert_string_equal(commands[1].rows, "STATUS A&-B;STATUS A&-B;");
	assert_string_equal(commands[2].rows, "STATUS A&-B;");
	assert_string_equal(commands[3].rows, "STATUS Inbox;");
	fake_session_free(&fake);
}

/* ---- the mailbox ---- */

static void start_select(struct fake_command *command, struct fake_session *fake, const char *mailbox, bool is_examine)
{
	fake_command_select(command, fake->session, mailbox, is_examine);
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, is_examine ? "EXAMINE Work" : "SELECT Work");
}

#define OPENED "* 10 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n* OK [UIDNEXT 50] x\r\n* OK [HIGHESTMODSEQ 100] x\r\n"

static void test_select(void **state)
{
	(void)state;
	static const struct {
		const char *answers;
		bool is_examine;
		struct imap_selected selected; /* mailbox "": selected */
	} cases[] = {
		{OPENED "* FLAGS (a b)\r\n* OK [PERMANENTFLAGS (\\Seen \\*)] x\r\n$ OK [READ-WRITE] done\r\n",
		 false,
		 {.uidvalidity = 5,
		  .uidnext = 50,
		  .exists = 10,
		  .highestmodseq = 100,
		  .has_modseq = true,
		  .can_create_keywords = true,
		  .n_changes = 2}},
		{"* 3 EXISTS\r\n$ OK\r\n", false, {.exists = 3, .can_create_keywords = true, .n_changes = 1}},
		{"* 3 EXISTS\r\n$ OK\r\n",
		 true,
		 {.exists = 3, .can_create_keywords = true, .is_read_only = true, .is_examine = true, .n_changes = 1}},
		{"* 3 EXISTS\r\n$ OK [READ-ONLY] done\r\n",
		 false,
		 {.exists = 3, .can_create_keywords = true, .is_read_only = true, .n_changes = 1}},
		{"$ OK [READ-WRITE] EXAMINE, they say\r\n",
		 true,
		 {.can_create_keywords = true, .is_read_only = true, .is_examine = true}},
		{"* OK [PERMANENTFLAGS (\\Seen)] x\r\n* OK [NOMODSEQ] x\r\n$ OK [read-write] done\r\n",
		 false,
		 {.uidnext = 0}},
		{"$ OK [HIGHESTMODSEQ 9223372036854775807] done\r\n",
		 false,
		 {.highestmodseq = INT64_MAX, .has_modseq = true, .can_create_keywords = true}},
		{"* FLAGS (\\Seen \\Draft)\r\n$ OK done\r\n",
		 false,
		 {.can_create_keywords = true, .is_without_keywords = true}},
		{"* FLAGS (\\Seen)\r\n* FLAGS (\\Seen x)\r\n$ OK done\r\n", false, {.can_create_keywords = true}},
		{"* FLAGS ()\r\n$ OK done\r\n", false, {.can_create_keywords = true, .is_without_keywords = true}},
		/* more than the 63 bits of RFC 7162 */
		{"$ OK [HIGHESTMODSEQ 9223372036854775808] done\r\n", false, {.can_create_keywords = true}},
		{"$ OK [HIGHESTMODSEQ 18446744073709551615] done\r\n", false, {.can_create_keywords = true}},
		{"$ OK [HIGHESTMODSEQ 18446744073709551616] done\r\n", false, {.can_create_keywords = true}},
		/* what comes before [CLOSED] is the old mailbox's */
		{"* 99 EXISTS\r\n* 3 EXPUNGE\r\n* OK [HIGHESTMODSEQ 999] x\r\n* 1 FETCH (UID 1 MODSEQ (7777))\r\n"
		 "* OK [CLOSED] x\r\n" OPENED "* VANISHED (EARLIER) 1:30\r\n$ OK [READ-WRITE] done\r\n",
		 false,
		 {.uidvalidity = 5,
		  .uidnext = 50,
		  .exists = 10,
		  .highestmodseq = 100,
		  .has_modseq = true,
		  .can_create_keywords = true,
		  .n_changes = 2}},
		{"* OK [CLOSED] x\r\n* OK [READ-ONLY] x\r\n$ OK\r\n",
		 true,
		 {.can_create_keywords = true, .is_read_only = true, .is_examine = true}},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake_session *fake = ready();
		const struct imap_selected *selected = imap_session_selected(fake->session);
		const struct imap_selected *expected = &cases[i].selected;
		struct fake_command command;
		start_select(&command, fake, "Work", cases[i].is_examine);
		assert_null(selected->mailbox);
		fake_reply(fake->transport, cases[i].answers);
		assert_int_equal(command.n_done, 1);
		assert_string_equal(selected->mailbox, "Work");
		if (selected->uidvalidity != expected->uidvalidity || selected->uidnext != expected->uidnext ||
		    selected->exists != expected->exists || selected->highestmodseq != expected->highestmodseq ||
		    selected->has_modseq != expected->has_modseq || selected->n_changes != expected->n_changes ||
		    selected->can_create_keywords != expected->can_create_keywords ||
		    selected->is_without_keywords != expected->is_without_keywords ||
		    selected->is_read_only != expected->is_read_only || selected->is_examine != expected->is_examine ||
		    selected->n_expunged != 0) {
			fail_msg("case %zu", i);
		}
		fake_session_free(&fake);
	}
}

static void test_select_fails(void **state)
{
	(void)state;
	static const char *const answers[] = {
		"* 10 EXISTS\r\n$ NO [NONEXISTENT] no\r\n",
		"* OK [CLOSED] x\r\n$ NO no\r\n",
		"$ BAD no\r\n",
	};

	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		struct fake_session *fake = ready();
		const struct imap_selected *selected = imap_session_selected(fake->session);
		struct fake_command first, second, third;
		start_select(&first, fake, "Work", false);
		fake_reply(fake->transport, OPENED "$ OK\r\n");
		assert_string_equal(selected->mailbox, "Work");
		start_select(&second, fake, "Work", true);
		assert_null(selected->mailbox);
		fake_reply(fake->transport, answers[i]);
		assert_true(second.error.status == GP_NO || second.error.status == GP_BAD);
		assert_null(selected->mailbox);
		assert_int_equal(selected->exists, 0);
		/* and what is said about it now is about nothing */
		fake_feed(fake->transport, "* 20 EXISTS\r\n* OK [UIDVALIDITY 9] x\r\n");
		assert_int_equal(selected->exists, 0);
		start_select(&third, fake, "Work", false);
		fake_reply(fake->transport, "$ OK\r\n");
		assert_string_equal(selected->mailbox, "Work");
		assert_int_equal(selected->exists, 0);
		fake_session_free(&fake);
	}
}

/* A SELECT nobody waits for any more still selects. */
static void test_select_cancelled(void **state)
{
	(void)state;
	struct fake_session *fake = ready();
	struct fake_command command;

	start_select(&command, fake, "Work", false);
	imap_command_cancel(&command.command);
	fake_reply(fake->transport, OPENED "$ OK\r\n");
	assert_string_equal(imap_session_selected(fake->session)->mailbox, "Work");
	assert_int_equal(imap_session_selected(fake->session)->exists, 10);
	fake_session_free(&fake);
}

/* Commands that are under way would be answered from another mailbox, or from none. */
static void test_another_mailbox_by_itself(void **state)
{
	(void)state;
	static const char *const news[] = {"* OK [UIDVALIDITY 6] x\r\n", "* OK [UIDVALIDITY 0] x\r\n",
					   "* OK [CLOSED] x\r\n"};

	for (size_t i = 0; i < sizeof news / sizeof *news; i++) {
		struct fake_session *fake = ready();
		struct fake_command select, noop;
		start_select(&select, fake, "Work", false);
		fake_reply(fake->transport, OPENED "$ OK\r\n");
		fake_command_start(&noop, fake->session, "NOOP",
				   &(struct imap_command_spec){.kind = IMAP_COMMAND_PLAIN});
		expect_lines(fake, "NOOP", 1);
		fake_feed(fake->transport, news[i]);
		fake_session_expect_closed(fake, GP_LOST);
		assert_int_equal(noop.error.status, GP_LOST);
		fake_session_free(&fake);
	}
}

static void test_doubt(void **state)
{
	(void)state;
	static const struct {
		const char *answers; /* after OPENED: UIDs up to 49 */
		bool is_doubtful;
	} cases[] = {
		{"* VANISHED 41,43:44\r\n", false},
		{"* 3 EXPUNGE\r\n", false},
		{"* 11 EXISTS\r\n* VANISHED 50\r\n", false},
		{"* VANISHED 50\r\n", true},
		{"* VANISHED 4294967295\r\n", true},
		{"* VANISHED 20:31\r\n", true},
		{"* 7 EXISTS\r\n", true},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake_session *fake = ready();
		const struct imap_selected *selected = imap_session_selected(fake->session);
		struct fake_command select;
		for (int again = 0; again < 2; again++) {
			start_select(&select, fake, "Work", false);
			fake_reply(fake->transport, OPENED "$ OK\r\n");
			assert_false(selected->is_doubtful);
			fake_feed(fake->transport, cases[i].answers);
			if (selected->is_doubtful != cases[i].is_doubtful) {
				fail_msg("case %zu", i);
			}
		}
		fake_session_free(&fake);
	}
}

static void test_changes(void **state)
{
	(void)state;
	static const struct {
		const char *answers; /* after OPENED; "$" is a NOOP */
		uint32_t exists;
		uint64_t n_expunged, n_changes, highestmodseq;
	} cases[] = {
		{"", 10, 0, 0, 100},
		{"* 12 EXISTS\r\n", 12, 0, 1, 100},
		{"* 10 EXISTS\r\n", 10, 0, 0, 100},
		{"* 7 EXISTS\r\n", 7, 3, 1, 100},
		{"* 3 EXPUNGE\r\n* 10 EXPUNGE\r\n* 9 EXPUNGE\r\n", 8, 2, 2, 100},
		{"* 0 EXPUNGE\r\n* 11 EXPUNGE\r\n* 4294967295 EXPUNGE\r\n", 10, 0, 0, 100},
		{"* 12 EXISTS\r\n* 12 EXPUNGE\r\n", 11, 1, 2, 100},
		{"* VANISHED 41,43:44\r\n", 7, 3, 1, 100},
		{"* VANISHED 1:4294967295\r\n", 0, 10, 1, 100},
		{"* VANISHED (EARLIER) 41,43:44\r\n", 10, 0, 0, 100},
		{"* 1 FETCH (UID 9 FLAGS (x) MODSEQ (120))\r\n", 10, 0, 1, 120},
		{"* 1 FETCH (UID 9 MODSEQ (90))\r\n", 10, 0, 0, 100},
		{"* 1 FETCH (MODSEQ (130))\r\n* 2 FETCH (MODSEQ (125))\r\n", 10, 0, 0, 130},
		{"$ OK [HIGHESTMODSEQ 140] done\r\n", 10, 0, 0, 140},
		{"$ NO [HIGHESTMODSEQ 140] no\r\n", 10, 0, 0, 100},
		{"* OK [HIGHESTMODSEQ 99] x\r\n", 10, 0, 0, 100},
		{"* NO [HIGHESTMODSEQ 199] x\r\n", 10, 0, 0, 100},
		{"* OK [UIDNEXT 51] x\r\n", 10, 0, 0, 100},
		{"* OK [UIDVALIDITY 5] x\r\n", 10, 0, 0, 100},
		{"* 4294967295 EXISTS\r\n", 4294967295, 0, 1, 100},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake_session *fake = ready();
		const struct imap_selected *selected = imap_session_selected(fake->session);
		struct fake_command select, noop;
		start_select(&select, fake, "Work", false);
		fake_reply(fake->transport, OPENED "$ OK\r\n");
		fake_command_start(&noop, fake->session, "NOOP",
				   &(struct imap_command_spec){.kind = IMAP_COMMAND_PLAIN});
		expect_lines(fake, "NOOP", 1);
		uint64_t n_changes = selected->n_changes;
		fake_reply(fake->transport, cases[i].answers);
		if (selected->exists != cases[i].exists || selected->n_expunged != cases[i].n_expunged ||
		    selected->n_changes - n_changes != cases[i].n_changes ||
		    selected->highestmodseq != cases[i].highestmodseq) {
			fail_msg("case %zu: exists %u, expunged %u, changes %u, highestmodseq %u", i,
				 (unsigned)selected->exists, (unsigned)selected->n_expunged,
				 (unsigned)(selected->n_changes - n_changes), (unsigned)selected->highestmodseq);
		}
		fake_session_free(&fake);
	}
}

static void test_read_only_and_closed_in_mid_session(void **state)
{
	(void)state;
	struct fake_session *fake = ready();
	const struct imap_selected *selected = imap_session_selected(fake->session);
	struct fake_command command;

	start_select(&command, fake, "Work", false);
	fake_reply(fake->transport, OPENED "$ OK [READ-WRITE] x\r\n");
	assert_false(selected->is_read_only);
	fake_feed(fake->transport, "* OK [READ-ONLY] your rights have changed\r\n");
	assert_true(selected->is_read_only);
	fake_feed(fake->transport, "* OK [READ-WRITE] and again\r\n");
	assert_false(selected->is_read_only);
	fake_feed(fake->transport, "* OK [CLOSED] gone\r\n* 3 EXISTS\r\n");
	assert_null(selected->mailbox);
	assert_int_equal(selected->exists, 0);
	fake_session_free(&fake);
}

/* A proxy that has found its way to the server says so whenever it likes. */
static void test_capabilities_in_a_code(void **state)
{
	(void)state;
	struct fake_session *fake = ready();

	assert_false(imap_session_can(fake->session, IMAP_CAP_MOVE));
	fake_feed(fake->transport, "* OK [CAPABILITY IMAP4rev1 MOVE] it can do more now\r\n");
	assert_true(imap_session_can(fake->session, IMAP_CAP_MOVE));
	fake_session_free(&fake);
}

/* A MODSEQ where the mailbox has none to compare with raises nothing. */
static void test_modseq_without_condstore(void **state)
{
	(void)state;
	struct fake_session *fake = ready();
	const struct imap_selected *selected = imap_session_selected(fake->session);
	struct fake_command command;

	start_select(&command, fake, "Work", false);
	fake_reply(fake->transport, "* 3 EXISTS\r\n* OK [NOMODSEQ] x\r\n$ OK\r\n");
	fake_feed(fake->transport, "* 1 FETCH (UID 9 FLAGS (x) MODSEQ (120))\r\n");
	assert_false(selected->has_modseq);
	assert_int_equal(selected->highestmodseq, 0);
	fake_session_free(&fake);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fetch_rows),
		cmocka_unit_test(test_fetch_row_in_a_cancelled_command),
		cmocka_unit_test(test_search_by_tag),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_status_of_several),
		cmocka_unit_test(test_select),
		cmocka_unit_test(test_select_fails),
		cmocka_unit_test(test_select_cancelled),
		cmocka_unit_test(test_another_mailbox_by_itself),
		cmocka_unit_test(test_doubt),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_read_only_and_closed_in_mid_session),
		cmocka_unit_test(test_capabilities_in_a_code),
		cmocka_unit_test(test_modseq_without_condstore),
	};

	return cmocka_run_group_tests_name(split ? "routing, a byte at a time" : "routing", tests, NULL, NULL);
}

int main(void)
{
	int n_failed = run();

	split = 1;
	return n_failed + run();
}
