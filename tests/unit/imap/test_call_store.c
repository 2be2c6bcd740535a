/* UID STORE. */
#include "tests/unit/imap/test_call_script.h"

struct store_case {
	const char *uids;
	enum imap_store_mode mode;
	const char *flags[3];
	bool is_conditional;
	bool is_silent;
};

static void on_stored(void *ctx, const struct gp_error *error, const struct imap_uidset *modified)
{
	note_end(ctx, error);
	note_uids(ctx, modified);
	note(ctx, "\n");
}

static struct imap_call *start_store(struct fixture *f, const void *spec_pointer)
{
	const struct store_case *c = spec_pointer;
	struct imap_uidset uids;
	struct span flags[3];
	char texts[3][32];
	size_t n = 0;

	imap_uidset_init(&uids);
	if (*c->uids) {
		assert_int_equal(imap_uidset_parse(&uids, span_of(c->uids)), GP_OK);
	}
	for (; n < 3 && c->flags[n]; n++) {
		snprintf(texts[n], sizeof texts[n], "%s", c->flags[n]);
		flags[n] = span_of(texts[n]);
	}
	const struct imap_store_spec spec = {.uids = &uids,
					     .mode = c->mode,
					     .flags = flags,
					     .n_flags = n,
					     .is_silent = c->is_silent,
					     .has_unchanged_since = c->is_conditional,
					     .unchanged_since = 12345678901};
	struct imap_call *call = imap_store_start(f->fake->session, &spec, script_on_row, on_stored, f);
	memset(texts, 'x', sizeof texts);
	imap_uidset_deinit(&uids);
	return call;
}

#define PLAIN "IMAP4rev1"
#define MODSEQ "IMAP4rev1 CONDSTORE"
#define THREE "* 3 EXISTS\r\n"
#define THREE_MODSEQ "* 3 EXISTS\r\n* OK [HIGHESTMODSEQ 5] ok\r\n"

static const struct store_case add = {"4,7:9", IMAP_STORE_ADD, {"\\Seen", "$x"}, false, false};
static const struct store_case take = {"4,7:9", IMAP_STORE_REMOVE, {"\\Seen"}, false, false};
static const struct store_case add_silent = {"4", IMAP_STORE_ADD, {"\\Deleted"}, false, true};
static const struct store_case take_silent = {"4", IMAP_STORE_REMOVE, {"\\Deleted"}, false, true};
static const struct store_case no_flags = {"4", IMAP_STORE_ADD, {NULL}, false, false};
static const struct store_case no_uids = {"", IMAP_STORE_ADD, {"\\Seen"}, false, false};
static const struct store_case bad_flag = {"4", IMAP_STORE_ADD, {"a b"}, false, false};
static const struct store_case if_unchanged = {"4,7:9", IMAP_STORE_ADD, {"\\Seen"}, true, false};

static void test_store(void **state)
{
	static const struct script scripts[] = {
		{.name = "add",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_store,
		 .spec = &add,
		 .steps = {C("UID STORE 4,7:9 +FLAGS (\\Seen $x)"),
			   S("* 1 FETCH (UID 4 FLAGS (\\Seen $x))\r\n* 2 FETCH (UID 5 FLAGS ())\r\n"
			     "* 2 FETCH (FLAGS ())\r\n* 3 FETCH (UID 8 FLAGS ($x))\r\n$ OK\r\n")},
		 .expected = "row 4 \\Seen $x\nrow 8 $x\ndone OK []\n"},
		{.name = "remove",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_store,
		 .spec = &take,
		 .steps = {C("UID STORE 4,7:9 -FLAGS (\\Seen)"), S("$ OK\r\n")},
		 .expected = "done OK []\n"},
		{.name = "add, silent",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_store,
		 .spec = &add_silent,
		 .steps = {C("UID STORE 4 +FLAGS.SILENT (\\Deleted)"), S("$ OK\r\n")},
		 .expected = "done OK []\n"},
		{.name = "remove, silent",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_store,
		 .spec = &take_silent,
		 .steps = {C("UID STORE 4 -FLAGS.SILENT (\\Deleted)"), S("$ OK\r\n")},
		 .expected = "done OK []\n"},
		{.name = "no flags",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_store,
		 .spec = &no_flags,
		 .expected = "done OK []\n"},
		{.name = "no messages",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_store,
		 .spec = &no_uids,
		 .expected = "done OK []\n"},
		{.name = "what is no flag",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_store,
		 .spec = &bad_flag,
		 .expected = "done INVALID []\n"},
		{.name = "some are gone",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_store,
		 .spec = &take,
		 .steps = {C("UID STORE 4,7:9 -FLAGS (\\Seen)"),
			   S("* 1 FETCH (UID 4 FLAGS ())\r\n$ NO [EXPUNGEISSUED] some\r\n")},
		 .expected = "row 4\ndone OK []\n"},
		{.name = "refused after a row",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_store,
		 .spec = &take,
		 .steps = {C("UID STORE 4,7:9 -FLAGS (\\Seen)"),
			   S("* 1 FETCH (UID 4 FLAGS ())\r\n$ NO [LIMIT] keywords\r\n")},
		 .expected = "row 4\ndone NO LIMIT []\n"},
	};
	(void)state;
	play_scripts(scripts);
}

#define CONDITIONAL(name_, rows_, answer_, expected_)                                                                  \
	{                                                                                                              \
		.name = name_, .capabilities = MODSEQ, .selected = THREE_MODSEQ, .start = start_store,                 \
		.spec = &if_unchanged,                                                                                 \
		.steps = {C("UID STORE 4,7:9 (UNCHANGEDSINCE 12345678901) +FLAGS (\\Seen)"), S(rows_ answer_)},        \
		.expected = expected_                                                                                  \
	}

static void test_unchanged_since(void **state)
{
	static const struct script scripts[] = {
		CONDITIONAL("all", "* 1 FETCH (UID 4 MODSEQ (9) FLAGS (\\Seen))\r\n", "$ OK\r\n",
			    "row 4 \\Seen modseq=9\ndone OK []\n"),
		CONDITIONAL("a row with the modseq only", "* 1 FETCH (UID 4 MODSEQ (9))\r\n", "$ OK\r\n",
			    "row 4 modseq=9\ndone OK []\n"),
		CONDITIONAL("some", "", "$ OK [MODIFIED 7,9] no\r\n", "done OK [7,9]\n"),
		CONDITIONAL("more than was asked", "", "$ OK [MODIFIED 1:8,4000000000] no\r\n", "done OK [4,7:8]\n"),
		CONDITIONAL("some, and NO", "", "$ NO [MODIFIED 4] gone\r\n", "done OK [4]\n"),
		CONDITIONAL("BAD", "", "$ BAD [MODIFIED 4] what\r\n", "done BAD MODIFIED [4]\n"),
		{.name = "where it cannot be",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_store,
		 .spec = &if_unchanged,
		 .expected = "done UNSUPPORTED []\n"},
	};
	(void)state;
	play_scripts(scripts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_unchanged_since),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
