/* NOOP, SELECT, EXAMINE and STATUS. */
#include "tests/unit/imap/test_call_script.h"

struct select_spec {
	const char *mailbox;
	bool is_examine;
};

static struct imap_call *start_noop(struct fixture *f, const void *spec)
{
	(void)spec;
	return imap_noop_start(f->fake->session, script_on_done, f);
}

static struct imap_call *start_select(struct fixture *f, const void *spec)
{
	const struct select_spec *select = spec;
	char name[100];

	/* What is passed need not outlive the call of start. */
	snprintf(name, sizeof name, "%s", select->mailbox);
	struct imap_call *call =
		imap_select_start(f->fake->session, span_of(name), select->is_examine, script_on_done, f);
	memset(name, 'x', sizeof name);
	return call;
}

static const struct select_spec inbox = {"INBOX", false};
static const struct select_spec examined = {"R\303\251sum\303\251s", true};
static const struct select_spec unsendable = {"a\r\nb", false};

static void test_noop(void **state)
{
	static const struct script scripts[] = {
		{.name = "ok",
		 .capabilities = "IMAP4rev1",
		 .start = start_noop,
		 .steps = {C("NOOP"), S("$ OK done\r\n")},
		 .expected = "done OK\n"},
		{.name = "refused",
		 .capabilities = "IMAP4rev1",
		 .start = start_noop,
		 .steps = {C("NOOP"), S("$ NO [INUSE] later\r\n")},
		 .expected = "done NO INUSE\n"},
		{.name = "throttled",
		 .capabilities = "IMAP4rev1",
		 .start = start_noop,
		 .steps = {C("NOOP"), S("$ BAD Request is throttled. Suggested Backoff Time: 5000\r\n")},
		 .expected = "done THROTTLED\n"},
	};
	(void)state;
	play_scripts(scripts);
}

#define SELECT_SCRIPT(name_, answer_, expected_)                                                                       \
	{                                                                                                              \
		.name = name_, .capabilities = "IMAP4rev1", .start = start_select, .spec = &inbox,                     \
		.steps = {C("SELECT INBOX"), S(answer_)}, .expected = expected_                                        \
	}

static void test_select(void **state)
{
	static const struct script scripts[] = {
		SELECT_SCRIPT("ok", "* 3 EXISTS\r\n$ OK [READ-WRITE] done\r\n", "done OK\n"),
		SELECT_SCRIPT("no code", "$ NO Mailbox doesn't exist\r\n", "done NOT_FOUND\n"),
		SELECT_SCRIPT("no reason", "$ NO\r\n", "done NOT_FOUND\n"),
		SELECT_SCRIPT("NONEXISTENT", "$ NO [NONEXISTENT] no\r\n", "done NOT_FOUND NONEXISTENT\n"),
		SELECT_SCRIPT("in words", "$ NO [TRYCREATE] No such mailbox\r\n", "done NOT_FOUND TRYCREATE\n"),
		SELECT_SCRIPT("NOPERM", "$ NO [NOPERM] Mailbox doesn't exist or no right\r\n", "done NO NOPERM\n"),
		SELECT_SCRIPT("INUSE", "$ NO [INUSE] locked\r\n", "done NO INUSE\n"),
		SELECT_SCRIPT("UNAVAILABLE", "$ NO [UNAVAILABLE] later\r\n", "done NO UNAVAILABLE\n"),
		SELECT_SCRIPT("throttled", "$ NO Request is throttled\r\n", "done THROTTLED\n"),
		SELECT_SCRIPT("bad", "$ BAD what\r\n", "done BAD\n"),
		{.name = "examine, condstore",
		 .capabilities = "IMAP4rev1 CONDSTORE",
		 .start = start_select,
		 .spec = &examined,
		 .steps = {C("EXAMINE R&AOk-sum&AOk-s (CONDSTORE)"), S("* 0 EXISTS\r\n$ OK [READ-ONLY]\r\n")},
		 .expected = "done OK\n"},
		{.name = "a name that cannot be sent",
		 .capabilities = "IMAP4rev1",
		 .start = start_select,
		 .spec = &unsendable,
		 .expected = "done INVALID\n"},
	};
	(void)state;
	play_scripts(scripts);
}

/* ---- STATUS ---- */

static void on_status(void *ctx, const struct gp_error *error, const struct imap_status *status)
{
	struct fixture *f = ctx;

	note_end(f, error);
	assert_true(!error == !!status);
	if (status) {
		note(f, " %.*s", SPAN_ARGS(status->mailbox));
	}
	if (status && (status->items & IMAP_STATUS_MESSAGES)) {
		note(f, " messages=%u", (unsigned)status->messages);
	}
	if (status && (status->items & IMAP_STATUS_UNSEEN)) {
		note(f, " unseen=%u", (unsigned)status->unseen);
	}
	if (status && (status->items & IMAP_STATUS_HIGHESTMODSEQ)) {
		note(f, " modseq=%u", (unsigned)status->highestmodseq);
	}
	if (status && (status->items & IMAP_STATUS_SIZE)) {
		note(f, " size=%u", (unsigned)status->size);
	}
	if (status && (status->items & IMAP_STATUS_MAILBOXID)) {
		note(f, " id=%.*s", SPAN_ARGS(status->mailbox_id));
	}
	note(f, "\n");
}

static struct imap_call *start_status(struct fixture *f, const void *spec)
{
	return imap_status_start(f->fake->session, SPAN_LIT("Work"), *(const unsigned *)spec, on_status, f);
}

#define ALL_ITEMS                                                                                                      \
	(IMAP_STATUS_MESSAGES | IMAP_STATUS_UNSEEN | IMAP_STATUS_UIDNEXT | IMAP_STATUS_UIDVALIDITY |                   \
	 IMAP_STATUS_HIGHESTMODSEQ | IMAP_STATUS_SIZE | IMAP_STATUS_MAILBOXID)

static const unsigned all_items = ALL_ITEMS;
static const unsigned only_size = IMAP_STATUS_SIZE;
static const unsigned only_id = IMAP_STATUS_MAILBOXID;

#define COUNTS "STATUS Work (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)"
#define ALL_COUNTS "STATUS Work (MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ SIZE)"
#define ID "STATUS Work (MAILBOXID)"

static void test_status(void **state)
{
	static const struct script scripts[] = {
		{.name = "of what the server can",
		 .capabilities = "IMAP4rev1",
		 .start = start_status,
		 .spec = &all_items,
		 .steps = {C(COUNTS), S("* STATUS Work (MESSAGES 3 UNSEEN 1 UIDNEXT 9 UIDVALIDITY 7)\r\n$ OK\r\n")},
		 .expected = "done OK Work messages=3 unseen=1\n"},
		{.name = "the id by itself",
		 .capabilities = "IMAP4rev1 CONDSTORE STATUS=SIZE OBJECTID",
		 .start = start_status,
		 .spec = &all_items,
		 .steps = {C(ALL_COUNTS), C(ID), S("* STATUS Work (MESSAGES 3 HIGHESTMODSEQ 8 SIZE 99)\r\n$ OK\r\n"),
			   S("* STATUS \"Work\" (MAILBOXID (F-1_a))\r\n$ OK\r\n")},
		 .expected = "done OK Work messages=3 modseq=8 size=99 id=F-1_a\n"},
		{.name = "no id",
		 .capabilities = "IMAP4rev1 OBJECTID",
		 .start = start_status,
		 .spec = &all_items,
		 .steps = {C(COUNTS), C(ID), S("* STATUS Work (MESSAGES 3)\r\n$ OK\r\n$ BAD what\r\n")},
		 .expected = "done OK Work messages=3\n"},
		{.name = "an id of raw bytes",
		 .capabilities = "IMAP4rev1 OBJECTID",
		 .start = start_status,
		 .spec = &only_id,
		 .steps = {C(ID), S("* STATUS \"Work\" (MAILBOXID (\"\001\377 \"))\r\n$ OK\r\n")},
		 .expected = "done OK Work\n"},
		{.name = "an id that is none",
		 .capabilities = "IMAP4rev1 OBJECTID",
		 .start = start_status,
		 .spec = &only_id,
		 .steps = {C(ID), S("* STATUS \"Work\" (MAILBOXID (a;b))\r\n$ OK\r\n")},
		 .expected = "done OK Work\n"},
		{.name = "nothing that it can",
		 .capabilities = "IMAP4rev1",
		 .start = start_status,
		 .spec = &only_size,
		 .steps = {C("STATUS Work (MESSAGES)"), S("* STATUS Work (MESSAGES 3)\r\n$ OK\r\n")},
		 .expected = "done OK Work messages=3\n"},
		{.name = "no such mailbox",
		 .capabilities = "IMAP4rev1 OBJECTID",
		 .start = start_status,
		 .spec = &all_items,
		 .steps = {C(COUNTS), C(ID), S("$ NO Mailbox doesn't exist\r\n$ NO Mailbox doesn't exist\r\n")},
		 .expected = "done NOT_FOUND\n"},
		{.name = "another mailbox's",
		 .capabilities = "IMAP4rev1",
		 .start = start_status,
		 .spec = &all_items,
		 .steps = {C(COUNTS), S("* STATUS Home (MESSAGES 3)\r\n$ OK\r\n")},
		 .expected = "done OK \n"},
	};
	(void)state;
	play_scripts(scripts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_noop),
		cmocka_unit_test(test_select),
		cmocka_unit_test(test_status),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
