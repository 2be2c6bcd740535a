/* What changed since a mod-sequence. */
#include "tests/unit/imap/test_call_script.h"

struct span_of_modseq {
	uint64_t since, until;
};

static void on_changes(void *ctx, const struct gp_error *error, const struct imap_changes *changes)
{
	note_end(ctx, error);
	assert_int_equal(changes == NULL, error != NULL);
	if (changes) {
		note_uids(ctx, changes->changed);
		note_uids(ctx, changes->vanished);
		note(ctx, changes->has_vanished ? "" : " not told");
	}
	note(ctx, "\n");
}

static struct imap_call *start_changes(struct fixture *f, const void *spec)
{
	const struct span_of_modseq *span = spec;

	return imap_changes_start(f->fake->session, span->since, span->until, on_changes, f);
}

#define CONDSTORE "IMAP4rev1 CONDSTORE"
#define QRESYNC "IMAP4rev1 ENABLE QRESYNC"
#define OPEN "* 3 EXISTS\r\n* OK [HIGHESTMODSEQ 20] ok\r\n"

static const struct span_of_modseq some = {7, 20};
static const struct span_of_modseq from_nothing = {0, 20};
static const struct span_of_modseq too_large = {UINT64_C(9223372036854775808), 20};
static const struct span_of_modseq largest = {INT64_MAX, INT64_MAX};

#define CASE(name_, capabilities_, spec_, command_, answer_, expected_)                                                \
	{                                                                                                              \
		.name = name_, .capabilities = capabilities_, .selected = OPEN, .start = start_changes, .spec = spec_, \
		.steps = {C("UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE " command_ ")"), S(answer_)},                     \
		.expected = expected_                                                                                  \
	}

static void test_changes(void **state)
{
	static const struct script scripts[] = {
		CASE("some", QRESYNC, &some, "7 VANISHED",
		     "* VANISHED (EARLIER) 2,5:6\r\n* 1 FETCH (UID 3 FLAGS (\\Seen) MODSEQ (8))\r\n"
		     "* 2 FETCH (UID 9 FLAGS () MODSEQ (20))\r\n$ OK\r\n",
		     "done OK [3,9] [2,5:6]\n"),
		CASE("none", QRESYNC, &some, "7 VANISHED", "$ OK\r\n", "done OK [] []\n"),
		CASE("what is later comes next time", QRESYNC, &some, "7 VANISHED",
		     "* 1 FETCH (UID 3 FLAGS () MODSEQ (21))\r\n* VANISHED 4\r\n* 3 EXISTS\r\n"
		     "* 2 FETCH (UID 9 FLAGS () MODSEQ (8))\r\n$ OK [HIGHESTMODSEQ 22] more\r\n",
		     "done OK [9] []\n"),
		CASE("what is earlier was known", QRESYNC, &some, "7 VANISHED",
		     "* 1 FETCH (UID 3 FLAGS () MODSEQ (7))\r\n$ OK\r\n", "done OK [] []\n"),
		CASE("a row twice, and before the other", QRESYNC, &some, "7 VANISHED",
		     "* 2 FETCH (UID 9 FLAGS () MODSEQ (8))\r\n* 1 FETCH (UID 3 FLAGS () MODSEQ (9))\r\n"
		     "* 2 FETCH (UID 9 MODSEQ (8))\r\n$ OK\r\n",
		     "done OK [3,9] []\n"),
		CASE("rows without MODSEQ", QRESYNC, &some, "7 VANISHED",
		     "* 1 FETCH (UID 3 FLAGS (\\Seen))\r\n* 2 FETCH (UID 4 FLAGS () MODSEQ (0))\r\n"
		     "* 2 FETCH (UID 5 FLAGS () MODSEQ (9223372036854775808))\r\n$ OK\r\n",
		     "done OK [3:5] []\n"),
		CASE("rows without UID", QRESYNC, &some, "7 VANISHED",
		     "* 1 FETCH (FLAGS (\\Seen) MODSEQ (8))\r\n$ OK\r\n", "done OK [] []\n"),
		/* a server that has forgotten names all there may ever have been */
		CASE("a superset", QRESYNC, &some, "7 VANISHED",
		     "* VANISHED (EARLIER) 1:4294967295\r\n* VANISHED (EARLIER) 7\r\n"
		     "* 1 FETCH (UID 3 FLAGS () MODSEQ (8))\r\n$ OK\r\n",
		     "done OK [3] [1:*]\n"),
		CASE("in pieces, in any order", QRESYNC, &some, "7 VANISHED",
		     "* VANISHED (EARLIER) 10:12\r\n* VANISHED (EARLIER) 1:2,4\r\n* VANISHED (EARLIER) 3\r\n$ OK\r\n",
		     "done OK [] [1:4,10:12]\n"),
		CASE("without QRESYNC", CONDSTORE, &some, "7", "* 1 FETCH (UID 3 FLAGS () MODSEQ (8))\r\n$ OK\r\n",
		     "done OK [3] [] not told\n"),
		CASE("VANISHED nobody asked for", CONDSTORE, &some, "7", "* VANISHED (EARLIER) 1:2\r\n$ OK\r\n",
		     "done OK [] [] not told\n"),
		CASE("the largest", QRESYNC, &largest, "9223372036854775807 VANISHED", "$ OK\r\n", "done OK [] []\n"),
		CASE("NO", QRESYNC, &some, "7 VANISHED",
		     "* 1 FETCH (UID 3 FLAGS () MODSEQ (8))\r\n$ NO [EXPUNGEISSUED] no\r\n", "done NO EXPUNGEISSUED\n"),
		CASE("BAD", QRESYNC, &some, "7 VANISHED", "$ BAD what\r\n", "done BAD\n"),
	};
	(void)state;
	play_scripts(scripts);
}

#define REFUSED(name_, selected_, spec_, expected_)                                                                    \
	{                                                                                                              \
		.name = name_, .capabilities = QRESYNC, .selected = selected_, .start = start_changes, .spec = spec_,  \
		.expected = expected_                                                                                  \
	}

static void test_nothing_is_sent(void **state)
{
	static const struct script scripts[] = {
		REFUSED("no mod-sequences", "* 3 EXISTS\r\n* OK [NOMODSEQ] none\r\n", &some, "done UNSUPPORTED\n"),
		REFUSED("none told", "* 3 EXISTS\r\n", &some, "done UNSUPPORTED\n"),
		REFUSED("64 bits", "* 3 EXISTS\r\n* OK [HIGHESTMODSEQ 9223372036854775808] no\r\n", &some,
			"done UNSUPPORTED\n"),
		REFUSED("since nothing", OPEN, &from_nothing, "done INVALID\n"),
		REFUSED("since too much", OPEN, &too_large, "done INVALID\n"),
		{.name = "neither",
		 .capabilities = "IMAP4rev1",
		 .selected = "* 3 EXISTS\r\n",
		 .start = start_changes,
		 .spec = &some,
		 .expected = "done UNSUPPORTED\n"},
	};
	(void)state;
	play_scripts(scripts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_nothing_is_sent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
