/* UID COPY, UID MOVE and UID EXPUNGE of one message. */
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
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_move),
		cmocka_unit_test(test_expunge),
		cmocka_unit_test(test_one_at_a_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
