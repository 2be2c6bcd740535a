/* UID COPY, UID MOVE and UID EXPUNGE, of one message and of sets. */
#include "tests/unit/imap/test_call_script.h"

struct copy_case {
	uint32_t uid;
	const char *mailbox; /* NULL: EXPUNGE */
	bool is_move;
};

static void on_copied(void *ctx, const struct gp_error *error, const struct imap_copied *copied)
{
	note_end(ctx, error);
	note(ctx, " %u/%u\n", (unsigned)copied->uidvalidity, (unsigned)copied->uid);
}

static struct imap_call *start_copy(struct fixture *f, const void *spec_pointer)
{
	const struct copy_case *c = spec_pointer;
	char name[64];

	if (!c->mailbox) {
		return imap_expunge_start(f->fake->session, c->uid, script_on_done, f);
	}
	snprintf(name, sizeof name, "%s", c->mailbox);
	struct imap_call *call = imap_copy_start(f->fake->session, c->uid, span_of(name), c->is_move, on_copied, f);
	memset(name, 'x', sizeof name);
	return call;
}

#define PLUS "IMAP4rev1 UIDPLUS MOVE"
#define THREE "* 3 EXISTS\r\n"

static const struct copy_case copy = {7, "Archive", false};
static const struct copy_case move = {7, "Archive", true};
static const struct copy_case expunge = {7, NULL, false};
static const struct copy_case copy_star = {4294967295, "Archive", false};
static const struct copy_case expunge_star = {4294967295, NULL, false};
static const struct copy_case copy_none = {0, "Archive", false};
static const struct copy_case expunge_none = {0, NULL, false};
static const struct copy_case smuggled = {7, "a\r\nb", false};

#define CASE(name_, capabilities_, spec_, command_, answers_, expected_)                                               \
	{                                                                                                              \
		.name = name_, .capabilities = capabilities_, .selected = THREE, .start = start_copy,                  \
		.spec = &(spec_), .steps = {C(command_), S(answers_)}, .expected = expected_                           \
	}
#define UNSENT(name_, capabilities_, spec_, expected_)                                                                 \
	{                                                                                                              \
		.name = name_, .capabilities = capabilities_, .selected = THREE, .start = start_copy,                  \
		.spec = &(spec_), .expected = expected_                                                                \
	}
#define COPY(name_, answers_, expected_) CASE(name_, PLUS, copy, "UID COPY 7 Archive", answers_, expected_)
#define MOVE(name_, answers_, expected_) CASE(name_, PLUS, move, "UID MOVE 7 Archive", answers_, expected_)

static void test_copy(void **state)
{
	static const struct script scripts[] = {
		COPY("told", "$ OK [COPYUID 9 7 12] copied\r\n", "done OK 9/12\n"),
		COPY("told as a range of one", "$ OK [COPYUID 9 7:7 12:12] copied\r\n", "done OK 9/12\n"),
		COPY("not told", "$ OK copied\r\n", "done OK 0/0\n"),
		COPY("empty sets", "$ OK [COPYUID 9  ] nothing\r\n", "done OK 0/0\n"),
		COPY("of another message", "$ OK [COPYUID 9 8 12] copied\r\n", "done OK 0/0\n"),
		COPY("of several", "$ OK [COPYUID 9 7:8 12:13] copied\r\n", "done OK 0/0\n"),
		COPY("to several", "$ OK [COPYUID 9 7 12:13] copied\r\n", "done OK 0/0\n"),
		COPY("a UIDVALIDITY that is none", "$ OK [COPYUID 0 7 12] copied\r\n", "done OK 0/0\n"),
		COPY("a UIDVALIDITY past 32 bits", "$ OK [COPYUID 4294967296 7 12] copied\r\n", "done OK 0/0\n"),
		COPY("a UID that is none", "$ OK [COPYUID 9 7 4294967295] copied\r\n", "done OK 0/0\n"),
		COPY("another code", "$ OK [APPENDUID 9 12] copied\r\n", "done OK 0/0\n"),
		COPY("untagged, as of a MOVE", "* OK [COPYUID 9 7 12] copied\r\n$ OK\r\n", "done OK 9/12\n"),
		COPY("no such mailbox", "$ NO [TRYCREATE] none\r\n", "done NOT_FOUND TRYCREATE 0/0\n"),
		COPY("no such mailbox, RFC 5530", "$ NO [NONEXISTENT] none\r\n", "done NOT_FOUND NONEXISTENT 0/0\n"),
		COPY("no such mailbox, in words", "$ NO Mailbox does not exist\r\n", "done NOT_FOUND 0/0\n"),
		COPY("hidden", "$ NO [NOPERM] Mailbox doesn't exist\r\n", "done NO NOPERM 0/0\n"),
		COPY("gone meanwhile", "$ NO [EXPUNGEISSUED] some no longer exist\r\n", "done NO EXPUNGEISSUED 0/0\n"),
		COPY("no, for no reason", "$ NO no\r\n", "done NO 0/0\n"),
		COPY("BAD with a phrase is our mistake", "$ BAD does not exist\r\n", "done BAD 0/0\n"),
		UNSENT("all of them", PLUS, copy_star, "done INVALID 0/0\n"),
		UNSENT("none of them", PLUS, copy_none, "done INVALID 0/0\n"),
		UNSENT("a name with a line break", PLUS, smuggled, "done INVALID 0/0\n"),
	};
	(void)state;
	play_scripts(scripts);
}

static void test_move(void **state)
{
	static const struct script scripts[] = {
		MOVE("told before the EXPUNGE", "* OK [COPYUID 9 7 12] moved\r\n* 1 EXPUNGE\r\n$ OK\r\n",
		     "done OK 9/12\n"),
		MOVE("told at the end", "* 1 EXPUNGE\r\n$ OK [COPYUID 9 7 12] moved\r\n", "done OK 9/12\n"),
		MOVE("told without OK", "* COPYUID 9 7 12\r\n* VANISHED 7\r\n$ OK\r\n", "done OK 9/12\n"),
		MOVE("not told", "* 1 EXPUNGE\r\n$ OK\r\n", "done OK 0/0\n"),
		MOVE("of another message", "* OK [COPYUID 9 8 12] moved\r\n$ OK\r\n", "done OK 0/0\n"),
		MOVE("untagged NO", "* NO [COPYUID 9 7 12] what\r\n$ OK\r\n", "done OK 0/0\n"),
		MOVE("copied, then refused", "* OK [COPYUID 9 7 12] copied\r\n$ NO [NOPERM] no\r\n",
		     "done NO NOPERM 9/12\n"),
		UNSENT("not offered", "IMAP4rev1 UIDPLUS", move, "done UNSUPPORTED 0/0\n"),
	};
	(void)state;
	play_scripts(scripts);
}

static void test_expunge(void **state)
{
	static const struct script scripts[] = {
		CASE("this one", PLUS, expunge, "UID EXPUNGE 7", "* 1 EXPUNGE\r\n$ OK\r\n", "done OK\n"),
		CASE("none was marked", PLUS, expunge, "UID EXPUNGE 7", "$ OK\r\n", "done OK\n"),
		CASE("refused", PLUS, expunge, "UID EXPUNGE 7", "$ NO [NOPERM] no\r\n", "done NO NOPERM\n"),
		CASE("no mailbox is missing", PLUS, expunge, "UID EXPUNGE 7", "$ NO does not exist\r\n", "done NO\n"),
		UNSENT("not offered: never without UIDs", "IMAP4rev1 MOVE", expunge, "done UNSUPPORTED\n"),
		UNSENT("all of them", PLUS, expunge_star, "done INVALID\n"),
		UNSENT("none of them", PLUS, expunge_none, "done INVALID\n"),
	};
	(void)state;
	play_scripts(scripts);
}

/* ---- sets ---- */

struct set_case {
	const char *uids;
	const char *mailbox; /* NULL: EXPUNGE */
	bool is_move;
};

static void on_copies(void *ctx, const struct gp_error *error, const struct imap_copies *copies)
{
	note_end(ctx, error);
	note(ctx, " %u:", (unsigned)copies->uidvalidity);
	for (size_t i = 0; i < copies->n_pairs; i++) {
		note(ctx, " %u>%u", (unsigned)copies->pairs[i].source, (unsigned)copies->pairs[i].copy);
	}
	note(ctx, "\n");
}

/* Every other UID from 1000001 on: more than one command takes. */
static enum gp_status add_many(struct imap_uidset *set)
{
	enum gp_status status = GP_OK;

	for (uint32_t i = 0; i < 900 && status == GP_OK; i++) {
		status = imap_uidset_add(set, 1000001 + 2 * i, 1000001 + 2 * i);
	}
	return status;
}

static struct imap_call *start_set(struct fixture *f, const void *spec_pointer)
{
	const struct set_case *c = spec_pointer;
	struct imap_uidset uids;
	char name[64] = "";
	struct imap_call *call;

	imap_uidset_init(&uids);
	if (strcmp(c->uids, "many") == 0) {
		assert_int_equal(add_many(&uids), GP_OK);
	} else if (c->uids[0] != '\0') {
		assert_int_equal(imap_uidset_parse(&uids, span_of(c->uids)), GP_OK);
	}
	if (c->mailbox) {
		snprintf(name, sizeof name, "%s", c->mailbox);
		call = imap_copy_set_start(f->fake->session, &uids, span_of(name), c->is_move, on_copies, f);
	} else {
		call = imap_expunge_set_start(f->fake->session, &uids, script_on_done, f);
	}
	imap_uidset_deinit(&uids);
	memset(name, 'x', sizeof name);
	return call;
}

static const struct set_case set_copy = {"7:9,20", "Archive", false};
static const struct set_case set_move = {"7:9,20", "Archive", true};
static const struct set_case set_expunge = {"7:9,20", NULL, false};
static const struct set_case set_star = {"7:*", "Archive", false};
static const struct set_case set_expunge_star = {"7:*", NULL, false};
static const struct set_case set_none = {"", "Archive", false};
static const struct set_case set_expunge_none = {"", NULL, false};

#define SET(name_, spec_, command_, answers_, expected_)                                                               \
	{                                                                                                              \
		.name = name_, .capabilities = PLUS, .selected = THREE, .start = start_set, .spec = &(spec_),          \
		.steps = {C(command_), S(answers_)}, .expected = expected_                                             \
	}
#define UNSENT_SET(name_, capabilities_, spec_, expected_)                                                             \
	{                                                                                                              \
		.name = name_, .capabilities = capabilities_, .selected = THREE, .start = start_set, .spec = &(spec_), \
		.expected = expected_                                                                                  \
	}
#define COPY_SET(name_, answers_, expected_)                                                                           \
	SET(name_, set_copy, "UID COPY 7:9,20 Archive", answers_, "done " expected_ "\n")
#define MOVE_SET(name_, answers_, expected_)                                                                           \
	SET(name_, set_move, "UID MOVE 7:9,20 Archive", answers_, "done " expected_ "\n")

static void test_sets(void **state)
{
	static const struct script scripts[] = {
		COPY_SET("told", "$ OK [COPYUID 9 7:9,20 12:15] copied\r\n", "OK 9: 7>12 8>13 9>14 20>15"),
		COPY_SET("permuted", "$ OK [COPYUID 9 20,9,7:8 31,12,40:41] copied\r\n", "OK 9: 7>40 8>41 9>12 20>31"),
		COPY_SET("copies permuted alone", "$ OK [COPYUID 9 7:9,20 15,12:14] copied\r\n",
			 "OK 9: 7>15 8>12 9>13 20>14"),
		COPY_SET("ranges the other way round", "$ OK [COPYUID 9 9:7,20 14:12,15] copied\r\n",
			 "OK 9: 7>12 8>13 9>14 20>15"),
		COPY_SET("of a part", "$ OK [COPYUID 9 8,20 12:13] copied\r\n", "OK 9: 8>12 20>13"),
		COPY_SET("not told", "$ OK copied\r\n", "OK 0:"),
		COPY_SET("of others too", "$ OK [COPYUID 9 6:7 12:13] copied\r\n", "OK 0:"),
		COPY_SET("of more than were asked", "$ OK [COPYUID 9 1:4294967294 1:4294967294] copied\r\n", "OK 0:"),
		COPY_SET("more than copies", "$ OK [COPYUID 9 7:9 12:13] copied\r\n", "OK 0:"),
		COPY_SET("one of them twice", "$ OK [COPYUID 9 7,7,8 12:14] copied\r\n", "OK 0:"),
		COPY_SET("one set", "$ OK [COPYUID 9 7:9] copied\r\n", "OK 0:"),
		COPY_SET("refused", "$ NO [OVERQUOTA] full\r\n", "NO OVERQUOTA 0:"),
		COPY_SET("no such mailbox", "$ NO [TRYCREATE] none\r\n", "NOT_FOUND TRYCREATE 0:"),
		MOVE_SET("in several pieces",
			 "* OK [COPYUID 9 20 12] moved\r\n* 3 EXPUNGE\r\n"
			 "* OK [COPYUID 9 7:9 13:15] moved\r\n* 1 EXPUNGE\r\n$ OK\r\n",
			 "OK 9: 7>13 8>14 9>15 20>12"),
		MOVE_SET("told twice", "* OK [COPYUID 9 7:8 12:13] moved\r\n$ OK [COPYUID 9 7:8 12:13]\r\n",
			 "OK 9: 7>12 8>13"),
		MOVE_SET("a part, then refused", "* OK [COPYUID 9 7:8 12:13] moved\r\n$ NO [NOPERM] no\r\n",
			 "NO NOPERM 9: 7>12 8>13"),
		SET("removed", set_expunge, "UID EXPUNGE 7:9,20", "* 1 EXPUNGE\r\n$ OK\r\n", "done OK\n"),
		SET("not removed", set_expunge, "UID EXPUNGE 7:9,20", "$ NO [NOPERM] no\r\n", "done NO NOPERM\n"),
		UNSENT_SET("to the end", PLUS, set_star, "done INVALID 0:\n"),
		UNSENT_SET("removed to the end", PLUS, set_expunge_star, "done INVALID\n"),
		UNSENT_SET("nothing", PLUS, set_none, "done INVALID 0:\n"),
		UNSENT_SET("nothing removed", PLUS, set_expunge_none, "done INVALID\n"),
		UNSENT_SET("MOVE is not offered", "IMAP4rev1 UIDPLUS", set_move, "done UNSUPPORTED 0:\n"),
		UNSENT_SET("never without UIDs", "IMAP4rev1 MOVE", set_expunge, "done UNSUPPORTED\n"),
	};
	(void)state;
	play_scripts(scripts);
}

/* A long set goes in several commands, the second when the first is through; none after a refusal. */
static void test_long_sets(void **state)
{
	static const struct set_case many = {"many", "A", true};
	struct fixture f;
	char command[16384];
	(void)state;

	for (int is_refused = 0; is_refused < 2; is_refused++) {
		fixture_init(&f, PLUS, THREE);
		f.call = start_set(&f, &many);
		fake_turn(f.fake->network, 0);
		int len = snprintf(command, sizeof command, "UID MOVE ");
		for (unsigned i = 0; i < 875; i++) {
			len += snprintf(command + len, sizeof command - (size_t)len, "%s%u", i ? "," : "",
					1000001 + 2 * i);
		}
		snprintf(command + len, sizeof command - (size_t)len, " A");
		fake_expect(f.fake->transport, command);
		fake_expect_nothing(f.fake->transport);
		fake_reply(f.fake->transport,
			   is_refused ? "$ NO [OVERQUOTA] full\r\n" : "* OK [COPYUID 9 1000001 12] moved\r\n$ OK\r\n");
		fake_turn(f.fake->network, 0);
		if (!is_refused) {
			len = snprintf(command, sizeof command, "UID MOVE ");
			for (unsigned i = 875; i < 900; i++) {
				len += snprintf(command + len, sizeof command - (size_t)len, "%s%u", i > 875 ? "," : "",
						1000001 + 2 * i);
			}
			snprintf(command + len, sizeof command - (size_t)len, " A");
			fake_expect(f.fake->transport, command);
			fake_reply(f.fake->transport, "* OK [COPYUID 9 1001799 13] moved\r\n$ OK\r\n");
			fake_turn(f.fake->network, 0);
		}
		fake_expect_nothing(f.fake->transport);
		assert_string_equal(f.log.data,
				    is_refused ? "done NO OVERQUOTA 0:\n" : "done OK 9: 1000001>12 1001799>13\n");
		fixture_deinit(&f);
	}
}

/* Two at once: whose COPYUID an untagged OK is could not be told. */
static void test_one_at_a_time(void **state)
{
	struct fixture f;
	struct fixture second;
	(void)state;

	fixture_init(&f, PLUS, THREE);
	memset(&second, 0, sizeof second);
	gp_buffer_init(&second.log, GP_MIB);
	f.call = imap_copy_start(f.fake->session, 7, SPAN_LIT("A"), true, on_copied, &f);
	second.call = imap_copy_start(f.fake->session, 8, SPAN_LIT("B"), true, on_copied, &second);
	fake_turn(f.fake->network, 0);
	fake_expect(f.fake->transport, "UID MOVE 7 A");
	fake_expect_nothing(f.fake->transport);
	fake_reply(f.fake->transport, "* OK [COPYUID 9 7 12] moved\r\n$ OK\r\n");
	fake_turn(f.fake->network, 0);
	fake_expect(f.fake->transport, "UID MOVE 8 B");
	fake_reply(f.fake->transport, "* OK [COPYUID 9 8 13] moved\r\n$ OK\r\n");
	assert_true(span_equal_text(gp_buffer_span(&f.log), "done OK 9/12\n"));
	assert_true(span_equal_text(gp_buffer_span(&second.log), "done OK 9/13\n"));
	gp_buffer_deinit(&second.log);
	fixture_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copy), cmocka_unit_test(test_move),      cmocka_unit_test(test_expunge),
		cmocka_unit_test(test_sets), cmocka_unit_test(test_long_sets), cmocka_unit_test(test_one_at_a_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
