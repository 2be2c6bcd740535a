/* The watch by IDLE and by STATUS. */
#include "tests/unit/imap/watch_support.h"

#define LIST_ALL                                                                                                       \
	"LIST \"\" \"*\" RETURN (SUBSCRIBED CHILDREN SPECIAL-USE STATUS (MESSAGES UNSEEN UIDNEXT UIDVALIDITY "         \
	"HIGHESTMODSEQ))"
#define ROW(attributes, name, counts) "* LIST (" attributes ") \"/\" " name "\r\n* STATUS " name " (" counts ")\r\n"
#define COUNTS "MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1 HIGHESTMODSEQ 3"
#define OTHER_COUNTS "MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1 HIGHESTMODSEQ 4"
#define STATUS_OF(name) "STATUS " name " (MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ)"

static void examined(size_t index, const char *mailbox)
{
	char line[128];

	snprintf(line, sizeof line, "EXAMINE %s (CONDSTORE)", mailbox);
	fake_expect(at(index), line);
	fake_reply(at(index), "* 1 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n* OK [HIGHESTMODSEQ 3] ok\r\n$ OK done\r\n");
}

static void idles(size_t index)
{
	fake_expect(at(index), "IDLE");
	fake_feed(at(index), "+ idling\r\n");
	fake_expect_nothing(at(index));
}

static void interrupted(size_t index)
{
	fake_expect_line(at(index), "DONE");
	fake_reply(at(index), "$ OK idled\r\n");
}

/* The pauses after which it looks again double, up to those of a round: 31 s in all. */
static void settled(size_t index)
{
	for (unsigned look_ms = GP_WATCH_LOOK_MS; look_ms < GP_WATCH_POLL_MS; look_ms *= 2) {
		fake_turn(net, look_ms - 1);
		fake_expect_nothing(at(index));
		fake_turn(net, 1);
		interrupted(index);
		idles(index);
	}
}

/* Less than until the next round: it looks again now and then, and finds nothing. */
static void pass(size_t index, uint64_t ms)
{
	while (ms > 0) {
		uint64_t step_ms = ms < 1000 ? ms : 1000;
		fake_turn(net, step_ms);
		ms -= step_ms;
		size_t n_writes = fake_n_writes(at(index));
		const char *line = fake_take(at(index));
		if (line[0] != '\0') {
			assert_string_equal(line, "DONE\r\n");
			fake_reply(at(index), "$ OK idled\r\n");
			idles(index);
		}
		assert_true(fake_n_writes(at(index)) <= n_writes + 1);
	}
}

static void until_round(size_t index)
{
	pass(index, GP_WATCH_POLL_MS - 1);
	fake_turn(net, 1);
	interrupted(index);
}

/* All mailboxes: INBOX in IDLE, all by LIST-STATUS. */
static void come_up(void)
{
	watch_mailboxes(NULL, NULL, NULL);
	fake_log_in(at(0), IDLE_CAPS);
	examined(0, "INBOX");
	fake_expect(at(0), LIST_ALL);
	expect_told("");
	fake_reply(at(0), ROW("\\Subscribed", "INBOX", COUNTS) ROW("", "Work", COUNTS) "$ OK\r\n");
	expect_told("up;");
	idles(0);
}

static void leave_idle(size_t index)
{
	stop_watch();
	interrupted(index);
	log_out(index);
	finish();
}

static void test_the_open_mailbox(void **state)
{
	(void)state;
	begin(4, 100);
	come_up();
	fake_feed(at(0), "* 2 EXISTS\r\n");
	expect_told("INBOX;");
	fake_feed(at(0), "* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (5))\r\n");
	expect_told("INBOX;");
	fake_feed(at(0), "* 1 EXPUNGE\r\n");
	expect_told("INBOX;");
	fake_feed(at(0), "* VANISHED 2\r\n* 1 RECENT\r\n* 1 EXISTS\r\n* 2 EXISTS\r\n");
	expect_told("INBOX;");
	fake_feed(at(0), "* 0 RECENT\r\n* OK Still here\r\n* FLAGS (a)\r\n* OK [HIGHESTMODSEQ 9] x\r\n");
	expect_told("");
	leave_idle(0);
}

/* It closes what is quiet for 25 s: from then on IDLE is renewed before that. */
static void test_an_impatient_server(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes("INBOX", NULL, NULL);
	fake_log_in(at(0), IDLE_CAPS);
	examined(0, "INBOX");
	idles(0);
	expect_told("up;");
	settled(0);
	fake_turn(net, 25000);
	fake_expect_nothing(at(0));
	fake_end(at(0), GP_LOST, "closed");
	expect_told("down LOST;");
	fake_turn(net, GP_WATCH_BACKOFF_MS);
	fake_log_in(at(1), IDLE_CAPS);
	examined(1, "INBOX");
	idles(1);
	expect_told("up;");
	settled(1);
	fake_turn(net, GP_WATCH_MIN_RENEW_MS - 1);
	fake_expect_nothing(at(1));
	fake_turn(net, 1);
	interrupted(1);
	idles(1);
	leave_idle(1);
}

static void test_the_others(void **state)
{
	(void)state;
	static const struct {
		const char *rows, *told;
	} rounds[] = {
		{ROW("\\Subscribed", "INBOX", COUNTS) ROW("", "Work", COUNTS), ""},
		/* what IDLE tells is not told twice */
		{ROW("\\Subscribed", "INBOX", OTHER_COUNTS) ROW("", "Work", OTHER_COUNTS), "Work m=1 n=2 h=4;"},
		{ROW("\\Subscribed", "INBOX", OTHER_COUNTS) ROW("", "Work", OTHER_COUNTS) ROW("", "New", COUNTS),
		 "listed;New m=1 n=2 h=3;"},
		/* in any order */
		{ROW("", "New", COUNTS) ROW("", "Work", OTHER_COUNTS) ROW("\\Subscribed", "INBOX", OTHER_COUNTS), ""},
		{ROW("\\Subscribed", "INBOX", OTHER_COUNTS) ROW("", "Newer", COUNTS) ROW("", "Work", OTHER_COUNTS),
		 "listed;Newer m=1 n=2 h=3;"},
		{ROW("\\Subscribed", "INBOX", OTHER_COUNTS) ROW("", "Work", OTHER_COUNTS), "listed;"},
		{ROW("\\Subscribed", "INBOX", OTHER_COUNTS) ROW("\\Subscribed", "Work", OTHER_COUNTS), "listed;"},
		{ROW("\\Subscribed", "INBOX", OTHER_COUNTS) "* LIST (\\Noselect) \"/\" Work\r\n", "listed;Work;"},
	};

	begin(4, 100);
	come_up();
	for (size_t i = 0; i < sizeof rounds / sizeof *rounds; i++) {
		until_round(0);
		fake_expect(at(0), LIST_ALL);
		/* what happens meanwhile is not lost */
		if (i == 0) {
			fake_feed(at(0), "* 3 EXISTS\r\n");
			expect_told("INBOX;");
		}
		fake_reply(at(0), rounds[i].rows);
		fake_reply(at(0), "$ OK\r\n");
		expect_told(rounds[i].told);
		idles(0);
	}
	leave_idle(0);
}

/* At most a twentieth of the time is spent with it. */
static void test_a_slow_round(void **state)
{
	(void)state;
	begin(4, 100);
	come_up();
	until_round(0);
	fake_expect(at(0), LIST_ALL);
	fake_turn(net, 10000);
	fake_reply(at(0), ROW("\\Subscribed", "INBOX", COUNTS) ROW("", "Work", COUNTS) "$ OK\r\n");
	idles(0);
	pass(0, GP_WATCH_POLL_FACTOR * 10000 - 1);
	fake_turn(net, 1);
	interrupted(0);
	fake_expect(at(0), LIST_ALL);
	stop_watch();
	finish();
}

static void test_named_ones(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes("INBOX", "Work", "Third");
	fake_log_in(at(0), IDLE_CAPS);
	examined(0, "INBOX");
	/* until its own session is up, the second one is asked for too */
	fake_expect(at(0), STATUS_OF("Work"));
	fake_expect(at(0), STATUS_OF("Third"));
	fake_reply(at(0), "* STATUS Work (" COUNTS ")\r\n$ OK\r\n* STATUS Third (" COUNTS ")\r\n$ OK\r\n");
	expect_told("up;");
	idles(0);
	fake_log_in(at(1), IDLE_CAPS);
	examined(1, "Work");
	expect_told("Work;");
	idles(1);
	fake_feed(at(1), "* 2 EXISTS\r\n");
	expect_told("Work;");
	until_round(0);
	fake_expect(at(0), STATUS_OF("Third"));
	fake_reply(at(0), "* STATUS Third (" OTHER_COUNTS ")\r\n$ OK\r\n");
	expect_told("Third m=1 n=2 h=4;");
	idles(0);
	/* others from now on */
	const struct span names[] = {SPAN_LIT("Third")};
	assert_int_equal(imap_watch_set(watch, false, names, 1), GP_OK);
	fake_turn(net, 0);
	interrupted(1);
	log_out(1);
	interrupted(0);
	examined(0, "Third");
	expect_told("up;");
	idles(0);
	fake_feed(at(0), "* 2 EXISTS\r\n");
	expect_told("Third;");
	/* nothing is asked for */
	pass(0, 2 * GP_WATCH_POLL_MS);
	leave_idle(0);
}

/* With two sessions there is one for the watch. */
static void test_no_second_session(void **state)
{
	(void)state;
	begin(2, 100);
	watch_mailboxes("INBOX", "Work", NULL);
	fake_log_in(at(0), IDLE_CAPS);
	examined(0, "INBOX");
	fake_expect(at(0), STATUS_OF("Work"));
	fake_reply(at(0), "* STATUS Work (" COUNTS ")\r\n$ OK\r\n");
	expect_told("up;");
	idles(0);
	assert_int_equal(fake_n_opened(net), 1);
	until_round(0);
	fake_expect(at(0), STATUS_OF("Work"));
	fake_reply(at(0), "* STATUS Work (" OTHER_COUNTS ")\r\n$ OK\r\n");
	expect_told("Work m=1 n=2 h=4;");
	idles(0);
	leave_idle(0);
}

/* What Dovecot missed as IDLE began: the next beginning tells it, and soon. */
static void test_looks_again(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes("INBOX", NULL, NULL);
	fake_log_in(at(0), IDLE_CAPS);
	examined(0, "INBOX");
	expect_told("up;");
	idles(0);
	settled(0);
	for (int i = 0; i < 3; i++) {
		fake_turn(net, GP_WATCH_POLL_MS - 1);
		fake_expect_nothing(at(0));
		fake_turn(net, 1);
		interrupted(0);
		idles(0);
	}
	/* after a change as in the beginning */
	fake_feed(at(0), "* 2 EXISTS\r\n");
	expect_told("INBOX;");
	fake_turn(net, 0);
	fake_turn(net, GP_WATCH_LOOK_MS);
	fake_expect_line(at(0), "DONE");
	fake_reply(at(0), "* 3 EXISTS\r\n$ OK idled\r\n");
	expect_told("INBOX;");
	idles(0);
	leave_idle(0);
}

static void begin_lively(void)
{
	begin(4, 100);
	watch_mailboxes("INBOX", NULL, NULL);
	fake_log_in(at(0), IDLE_CAPS);
	examined(0, "INBOX");
	expect_told("up;");
	idles(0);
	pool->n_lively = 1; /* this one, as it has just begun */
	fake_feed(at(0), "* 2 EXISTS\r\n");
	expect_told("INBOX;");
}

/* Where changes come, NOOPs ask for the next one; IDLE goes on when it is quiet again. */
static void test_probes(void **state)
{
	(void)state;
	begin_lively();
	uint64_t until_ms = fake_now_ms(net) + GP_WATCH_LIVELY_MS;
	fake_turn(net, GP_WATCH_PROBE_MS);
	interrupted(0);
	assert_int_equal(pool->n_lively, 1);
	while (fake_now_ms(net) + GP_WATCH_PROBE_MS < until_ms) {
		fake_expect(at(0), "NOOP");
		fake_reply(at(0), "$ OK\r\n");
		fake_expect_nothing(at(0));
		fake_turn(net, GP_WATCH_PROBE_MS);
	}
	fake_expect(at(0), "NOOP");
	fake_reply(at(0), "$ OK\r\n");
	fake_turn(net, GP_WATCH_PROBE_MS);
	assert_int_equal(pool->n_lively, 0);
	idles(0);
	leave_idle(0);
}

/* In place of IDLE, but then all probes are others': IDLE goes on. */
static void test_probes_end_early(void **state)
{
	(void)state;
	begin_lively();
	fake_turn(net, GP_WATCH_PROBE_MS);
	interrupted(0);
	fake_expect(at(0), "NOOP");
	pool->n_lively = TOO_MANY_LIVELY;
	fake_reply(at(0), "$ OK\r\n");
	fake_turn(net, GP_WATCH_PROBE_MS);
	idles(0);
	leave_idle(0);
}

/* The mailbox was deleted, and made anew with its name: all that Dovecot has is a warning. */
static void test_a_warning(void **state)
{
	(void)state;
	begin(4, 100);
	come_up();
	fake_feed(at(0), "* NO Internal error occurred.\r\n");
	fake_turn(net, GP_WATCH_LOOK_MS - 1);
	fake_expect_nothing(at(0));
	fake_turn(net, 1);
	interrupted(0);
	examined(0, "INBOX");
	expect_told("INBOX;");
	idles(0);
	/* warned without end, it looks ever seldomer */
	fake_feed(at(0), "* NO Internal error occurred.\r\n");
	fake_turn(net, 2 * GP_WATCH_LOOK_MS - 1);
	fake_expect_nothing(at(0));
	fake_turn(net, 1);
	interrupted(0);
	fake_expect(at(0), "EXAMINE INBOX (CONDSTORE)");
	fake_reply(at(0), "$ NO [NONEXISTENT] gone\r\n");
	/* asked for, by any session */
	log_out(0);
	fake_log_in(at(1), IDLE_CAPS);
	fake_expect(at(1), LIST_ALL);
	stop_watch();
	finish();
}

static void test_silent(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes("INBOX", NULL, NULL);
	fake_log_in(at(0), IDLE_CAPS);
	examined(0, "INBOX");
	expect_told("up;");
	idles(0);
	fake_turn(net, GP_WATCH_LOOK_MS);
	fake_expect_line(at(0), "DONE");
	fake_turn(net, 60000 - 1);
	expect_told("");
	fake_turn(net, 1);
	expect_told("down DEADLINE;");
	while (fake_n_opened(net) == 1) {
		fake_turn(net, 10);
	}
	stop_watch();
	finish();
}

/* One that ends each IDLE at once is not asked without a pause. */
static void test_a_server_that_ends_it(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes("INBOX", NULL, NULL);
	fake_log_in(at(0), IDLE_CAPS);
	examined(0, "INBOX");
	expect_told("up;");
	for (int i = 0; i < 3; i++) {
		idles(0);
		fake_reply(at(0), "$ OK enough\r\n");
		fake_expect_nothing(at(0));
		fake_turn(net, 1000);
	}
	idles(0);
	/* after a while it is begun again at once */
	pass(0, 3500);
	fake_reply(at(0), "$ OK enough\r\n");
	idles(0);
	leave_idle(0);
}

static void test_idle_refused(void **state)
{
	(void)state;
	struct probe probe;

	begin(4, 100);
	watch_mailboxes("INBOX", NULL, NULL);
	fake_log_in(at(0), IDLE_CAPS);
	examined(0, "INBOX");
	expect_told("up;");
	fake_expect(at(0), "IDLE");
	fake_reply(at(0), "$ BAD no\r\n");
	log_out(0);
	/* from now on it polls, on any session */
	fake_log_in(at(1), IDLE_CAPS);
	fake_expect(at(1), STATUS_OF("INBOX"));
	fake_reply(at(1), "* STATUS INBOX (" COUNTS ")\r\n$ OK\r\n");
	expect_told("up;");
	start(&probe, NULL);
	assert_true(is_granted(&probe));
	end(&probe);
	fake_turn(net, GP_WATCH_POLL_MS);
	fake_expect(at(1), STATUS_OF("INBOX"));
	fake_reply(at(1), "* STATUS INBOX (" OTHER_COUNTS ")\r\n$ OK\r\n");
	expect_told("INBOX m=1 n=2 h=4;");
	stop_watch();
	finish();
}

/* It is asked for; and tried again soon, then ever seldomer. */
static void test_mailbox_is_not_there(void **state)
{
	(void)state;
	uint64_t pause_ms = GP_WATCH_LOOK_MS;

	begin(4, 100);
	watch_mailboxes("Gone", NULL, NULL);
	fake_log_in(at(0), IDLE_CAPS);
	for (size_t i = 0; i < 4; i++) {
		fake_expect(at(i), "EXAMINE Gone (CONDSTORE)");
		fake_reply(at(i), "$ NO [NONEXISTENT] none\r\n");
		log_out(i);
		fake_log_in(at(i + 1), IDLE_CAPS);
		fake_expect(at(i + 1), STATUS_OF("Gone"));
		fake_reply(at(i + 1), "$ NO [NONEXISTENT] none\r\n");
		expect_told("up;");
		fake_turn(net, pause_ms - 1);
		fake_expect_nothing(at(i + 1));
		fake_turn(net, 1);
		pause_ms *= 2;
	}
	examined(4, "Gone");
	expect_told("up;");
	idles(4);
	leave_idle(4);
}

/* While it is asked for, it is seen when it comes. */
static void test_mailbox_comes(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes("INBOX", "Gone", NULL);
	fake_log_in(at(0), IDLE_CAPS);
	examined(0, "INBOX");
	fake_expect(at(0), STATUS_OF("Gone"));
	fake_reply(at(0), "$ NO [NONEXISTENT] none\r\n");
	expect_told("up;");
	idles(0);
	fake_log_in(at(1), IDLE_CAPS);
	fake_expect(at(1), "EXAMINE Gone (CONDSTORE)");
	fake_reply(at(1), "$ NO [NONEXISTENT] none\r\n");
	log_out(1);
	until_round(0);
	fake_expect(at(0), STATUS_OF("Gone"));
	fake_reply(at(0), "* STATUS Gone (" COUNTS ")\r\n$ OK\r\n");
	expect_told("listed;Gone m=1 n=2 h=3;");
	idles(0);
	leave_idle(0);
}

/* Neither NOTIFY nor IDLE nor mod-sequences: what cannot be seen is named all the same. */
static void test_blind(void **state)
{
	(void)state;
	size_t n_told = 0;

	begin(4, 100);
	watch_mailboxes("INBOX", "Empty", NULL);
	fake_log_in(at(0), "IMAP4rev1");
	log_out(0);
	fake_log_in(at(1), "IMAP4rev1");
	for (int i = 0; i < 24; i++) {
		fake_expect(at(1), "STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)");
		fake_expect(at(1), "STATUS Empty (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)");
		fake_reply(at(1), "* STATUS INBOX (MESSAGES 1)\r\n$ OK\r\n* STATUS Empty (MESSAGES 0)\r\n$ OK\r\n");
		if (i == 0) {
			expect_told("up;");
		} else if (told[0]) {
			n_told++;
			expect_told("INBOX m=1 n=0 h=0;");
		}
		fake_turn(net, GP_WATCH_POLL_MS);
	}
	assert_in_range(n_told, 1, 24 * GP_WATCH_POLL_MS / GP_WATCH_BLIND_MS);
	stop_watch();
	finish();
}

/* About to be deleted: the session that has it open goes first. */
static void test_mailbox_is_forgotten(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes("Work", NULL, NULL);
	fake_log_in(at(0), IDLE_CAPS);
	examined(0, "Work");
	expect_told("up;");
	idles(0);
	imap_pool_forget_mailbox(pool, bob, SPAN_LIT("Work"), '/');
	fake_turn(net, 0);
	interrupted(0);
	log_out(0);
	fake_log_in(at(1), IDLE_CAPS);
	examined(1, "Work");
	expect_told("up;");
	idles(1);
	leave_idle(1);
}

static void test_lost_at_each_moment(void **state)
{
	(void)state;
	for (int moment = 0; moment < 6; moment++) {
		begin(4, 100);
		watch_mailboxes(NULL, NULL, NULL);
		fake_log_in(at(0), IDLE_CAPS);
		if (moment > 0) {
			examined(0, "INBOX");
			fake_expect(at(0), LIST_ALL);
		}
		if (moment > 1) {
			fake_reply(at(0), ROW("", "INBOX", COUNTS) "$ OK\r\n");
			fake_expect(at(0), "IDLE");
		}
		if (moment > 2) {
			fake_feed(at(0), "+ idling\r\n");
		}
		if (moment > 3) {
			fake_turn(net, GP_WATCH_LOOK_MS);
			fake_expect_line(at(0), "DONE");
		}
		if (moment > 4) {
			fake_reply(at(0), "$ OK\r\n");
		}
		told[0] = '\0';
		fake_end(at(0), GP_LOST, "gone");
		expect_told("down LOST;");
		while (fake_n_opened(net) == 1) {
			fake_turn(net, 10);
		}
		fake_log_in(at(1), IDLE_CAPS);
		examined(1, "INBOX");
		stop_watch();
		finish();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_open_mailbox),
		cmocka_unit_test(test_an_impatient_server),
		cmocka_unit_test(test_the_others),
		cmocka_unit_test(test_a_slow_round),
		cmocka_unit_test(test_named_ones),
		cmocka_unit_test(test_no_second_session),
		cmocka_unit_test(test_looks_again),
		cmocka_unit_test(test_probes),
		cmocka_unit_test(test_probes_end_early),
		cmocka_unit_test(test_a_warning),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_a_server_that_ends_it),
		cmocka_unit_test(test_idle_refused),
		cmocka_unit_test(test_mailbox_is_not_there),
		cmocka_unit_test(test_mailbox_comes),
		cmocka_unit_test(test_blind),
		cmocka_unit_test(test_mailbox_is_forgotten),
		cmocka_unit_test(test_lost_at_each_moment),
	};

	gp_log_setup(GP_LOG_ERROR, GP_LOG_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
