/* The watch by NOTIFY, and what all watches do: age, back-off, caps, the end. */
#include "tests/unit/imap/watch_support.h"

#define STATUSES                                                                                                       \
	"* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1 HIGHESTMODSEQ 3)\r\n"                                      \
	"* STATUS Work (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1 HIGHESTMODSEQ 3)\r\n"

/* The next connection comes up and tells. */
static void come_up(size_t index)
{
	fake_log_in(at(index), NOTIFY_CAPS);
	fake_expect(at(index), NOTIFY_SET);
	expect_told("");
	fake_reply(at(index), STATUSES "$ OK told\r\n");
	expect_told("up;");
}

static void test_changes(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes(NULL, NULL, NULL);
	come_up(0);
	fake_feed(at(0), "* STATUS Work (MESSAGES 2 UIDNEXT 3 HIGHESTMODSEQ 4)\r\n");
	expect_told("Work m=2 n=3 h=4;");
	fake_feed(at(0), "* STATUS &AOk- (HIGHESTMODSEQ 5)\r\n");
	expect_told("é m=0 n=0 h=5;");
	fake_feed(at(0), "* STATUS inbox (UNSEEN 5)\r\n* STATUS a&b (UNSEEN 1)\r\n");
	expect_told("INBOX m=0 n=0 h=0;a&b m=0 n=0 h=0;");
	/* a burst is told once, with all that is known */
	fake_feed(at(0), "* STATUS Work (MESSAGES 3 UIDNEXT 4 HIGHESTMODSEQ 5)\r\n* STATUS Work (HIGHESTMODSEQ 6)\r\n"
			 "* STATUS INBOX (MESSAGES 9)\r\n* STATUS Work (HIGHESTMODSEQ 7)\r\n");
	expect_told("Work m=3 n=4 h=7;INBOX m=9 n=0 h=0;");
	fake_feed(at(0), "* LIST () \"/\" New\r\n* LIST (\\NonExistent) \"/\" Old\r\n");
	expect_told("listed;");
	fake_feed(at(0), "* OK Still here\r\n* 3 EXISTS\r\n");
	expect_told("");
	fake_expect_nothing(at(0));
	stop_watch();
	log_out(0);
	finish();
}

static void test_named_ones(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes("Work", "inbox", NULL);
	come_up(0);
	fake_feed(at(0), "* STATUS Work (HIGHESTMODSEQ 4)\r\n* STATUS Other (HIGHESTMODSEQ 4)\r\n"
			 "* STATUS INBOX (HIGHESTMODSEQ 4)\r\n");
	expect_told("Work m=0 n=0 h=4;INBOX m=0 n=0 h=4;");
	/* others, on the same session */
	const struct span names[] = {SPAN_LIT("INBOX")};
	assert_int_equal(imap_watch_set(watch, false, names, 1), GP_OK);
	fake_turn(net, 0);
	fake_expect(at(0), "NOTIFY NONE");
	fake_reply(at(0), "$ OK silent\r\n");
	fake_expect(at(0), NOTIFY_SET);
	fake_reply(at(0), STATUSES "$ OK told\r\n");
	expect_told("up;");
	fake_feed(at(0), "* STATUS Work (HIGHESTMODSEQ 5)\r\n* STATUS INBOX (HIGHESTMODSEQ 5)\r\n");
	expect_told("INBOX m=0 n=0 h=5;");
	stop_watch();
	log_out(0);
	finish();
}

/* Outside of the personal namespace, or not there yet: it is asked for. */
static void test_what_is_not_notified(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes("INBOX", "Shared/x", NULL);
	fake_log_in(at(0), NOTIFY_CAPS);
	fake_expect(at(0), NOTIFY_SET);
	fake_reply(at(0), STATUSES "$ OK told\r\n");
	expect_told("");
	fake_expect(at(0), "STATUS Shared/x (MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ)");
	fake_reply(at(0), "* STATUS Shared/x (MESSAGES 1 HIGHESTMODSEQ 1)\r\n$ OK\r\n");
	expect_told("up;");
	fake_turn(net, GP_WATCH_POLL_MS);
	fake_expect(at(0), "STATUS Shared/x (MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ)");
	fake_reply(at(0), "* STATUS Shared/x (MESSAGES 1 HIGHESTMODSEQ 2)\r\n$ OK\r\n");
	expect_told("Shared/x m=1 n=0 h=2;");
	fake_turn(net, GP_WATCH_POLL_MS);
	fake_expect(at(0), "STATUS Shared/x (MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ)");
	fake_reply(at(0), "$ NO gone\r\n");
	expect_told("listed;Shared/x;");
	stop_watch();
	log_out(0);
	finish();
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const refusals[] = {"$ NO [BADEVENT (MessageNew)] no\r\n", "$ BAD what\r\n"};

	for (size_t i = 0; i < 2; i++) {
		begin(4, 100);
		watch_mailboxes("INBOX", NULL, NULL);
		fake_log_in(at(0), NOTIFY_CAPS);
		fake_expect(at(0), NOTIFY_SET);
		fake_reply(at(0), refusals[i]);
		fake_expect(at(0), "EXAMINE INBOX (CONDSTORE)");
		answer(0);
		fake_expect(at(0), "IDLE");
		expect_told("up;");
		stop_watch();
		fake_feed(at(0), "+ idling\r\n");
		fake_expect_line(at(0), "DONE");
		fake_reply(at(0), "$ OK\r\n");
		log_out(0);
		finish();
	}
}

static void test_overflow(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes(NULL, NULL, NULL);
	come_up(0);
	fake_feed(at(0), "* OK [NOTIFICATIONOVERFLOW] too much\r\n");
	expect_told("down LOST;");
	log_out(0);
	fake_turn(net, GP_WATCH_BACKOFF_MS);
	come_up(1);
	stop_watch();
	log_out(1);
	finish();
}

/* Silence is looked into, and what does not answer is lost. */
static void test_silence(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes(NULL, NULL, NULL);
	come_up(0);
	fake_turn(net, GP_WATCH_SILENT_MS - 1);
	fake_expect_nothing(at(0));
	fake_turn(net, 1);
	fake_expect(at(0), "NOOP");
	fake_reply(at(0), "$ OK\r\n");
	fake_turn(net, GP_WATCH_SILENT_MS - 1);
	fake_expect_nothing(at(0));
	fake_turn(net, 1);
	fake_expect(at(0), "NOOP");
	fake_turn(net, 60000);
	expect_told("down DEADLINE;");
	assert_true(fake_is_closed(at(0)));
	fake_turn(net, GP_WATCH_BACKOFF_MS);
	come_up(1);
	stop_watch();
	log_out(1);
	finish();
}

/* A server that speaks is sent something all the same: for what is between. */
static void test_renewed(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes(NULL, NULL, NULL);
	come_up(0);
	fake_turn(net, GP_WATCH_SILENT_MS - 1000);
	fake_feed(at(0), "* OK Still here\r\n");
	expect_told("");
	fake_turn(net, GP_WATCH_RENEW_MS - GP_WATCH_SILENT_MS + 999);
	fake_expect_nothing(at(0));
	fake_turn(net, 1);
	fake_expect(at(0), "NOOP");
	fake_reply(at(0), "$ OK\r\n");
	stop_watch();
	log_out(0);
	finish();
}

/* Where changes come, the next is asked for: a server may wait for more before it tells. */
static void test_probes(void **state)
{
	(void)state;
	uint64_t until_ms;

	begin(4, 100);
	watch_mailboxes(NULL, NULL, NULL);
	pool->n_lively = 0;
	come_up(0);
	/* whoever begins to follow expects something */
	until_ms = fake_now_ms(net) + GP_WATCH_FRESH_MS;
	while (fake_now_ms(net) + GP_WATCH_PROBE_MS < until_ms) {
		fake_turn(net, GP_WATCH_PROBE_MS);
		fake_expect(at(0), "NOOP");
		fake_reply(at(0), "$ OK\r\n");
	}
	fake_turn(net, 10000);
	fake_expect_nothing(at(0));
	fake_feed(at(0), "* STATUS Work (HIGHESTMODSEQ 9)\r\n");
	expect_told("Work m=0 n=0 h=9;");
	fake_expect(at(0), "NOOP"); /* the last thing was sent long ago */
	fake_reply(at(0), "$ OK\r\n");
	fake_turn(net, GP_WATCH_PROBE_MS - 1);
	fake_expect_nothing(at(0));
	fake_turn(net, 1);
	fake_expect(at(0), "NOOP");
	/* one at a time */
	fake_turn(net, 10 * GP_WATCH_PROBE_MS);
	fake_expect_nothing(at(0));
	fake_reply(at(0), "* STATUS Work (HIGHESTMODSEQ 10)\r\n$ OK\r\n");
	expect_told("Work m=0 n=0 h=10;");
	until_ms = fake_now_ms(net) + GP_WATCH_LIVELY_MS;
	assert_int_equal(pool->n_lively, 1);
	fake_expect(at(0), "NOOP");
	while (fake_now_ms(net) + GP_WATCH_PROBE_MS < until_ms) {
		fake_reply(at(0), "$ OK\r\n");
		fake_turn(net, GP_WATCH_PROBE_MS);
		fake_expect(at(0), "NOOP");
	}
	fake_reply(at(0), "$ OK\r\n");
	/* and then it is quiet again */
	fake_turn(net, 60000);
	fake_expect_nothing(at(0));
	assert_int_equal(pool->n_lively, 0);
	stop_watch();
	finish();
}

/* However many watches there are, and none where it would not help. */
static void test_budget_of_probes(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes(NULL, NULL, NULL);
	come_up(0);
	assert_int_equal(pool->n_lively, TOO_MANY_LIVELY + 1);
	fake_turn(net, GP_WATCH_FRESH_MS);
	assert_int_equal(pool->n_lively, TOO_MANY_LIVELY);
	pool->n_lively = 99; /* with this one 100: 400 a second are one each 250 ms */
	fake_feed(at(0), "* LIST () \"/\" New\r\n");
	expect_told("listed;");
	fake_expect(at(0), "NOOP");
	fake_reply(at(0), "$ OK\r\n");
	fake_turn(net, 249);
	fake_expect_nothing(at(0));
	fake_turn(net, 1);
	fake_expect(at(0), "NOOP");
	pool->n_lively = 200;
	fake_reply(at(0), "$ OK\r\n");
	fake_turn(net, 10000);
	fake_expect_nothing(at(0));
	pool->n_lively = 1;
	stop_watch();
	assert_int_equal(pool->n_lively, 0);
	log_out(0);
	finish();
}

static void test_logs_in_anew(void **state)
{
	(void)state;
	uint64_t began_ms;

	begin(4, 100);
	watch_mailboxes(NULL, NULL, NULL);
	come_up(0);
	began_ms = fake_now_ms(net);
	while (fake_n_opened(net) == 1) {
		const char *line;
		assert_true(fake_now_ms(net) - began_ms <= GP_MAX_SESSION_AGE_MS);
		fake_turn(net, 10000);
		line = fake_take(at(0));
		if (strstr(line, "NOOP")) {
			char reply[64];
			snprintf(reply, sizeof reply, "%.*s OK\r\n", (int)strcspn(line, " "), line);
			fake_feed(at(0), reply);
		}
	}
	assert_true(fake_now_ms(net) - began_ms > GP_MAX_SESSION_AGE_MS / 2);
	come_up(1);
	assert_int_equal(stats().n_leases, 1);
	stop_watch();
	finish();
}

/* ---- failures ---- */

static void test_back_off(void **state)
{
	(void)state;
	uint64_t bound_ms = GP_WATCH_BACKOFF_MS;

	begin(4, 100);
	watch_mailboxes(NULL, NULL, NULL);
	for (size_t i = 0; i < 12; i++) {
		assert_int_equal(fake_n_opened(net), i + 1);
		fake_end(at(i), GP_REFUSED, "refused");
		/* the first is told, the others are the same */
		expect_told(i == 0 ? "down REFUSED;" : "");
		for (uint64_t ms = 0; ms < bound_ms && fake_n_opened(net) == i + 1; ms += 10) {
			fake_turn(net, 10);
		}
		bound_ms = 2 * bound_ms > GP_WATCH_MAX_BACKOFF_MS ? GP_WATCH_MAX_BACKOFF_MS : 2 * bound_ms;
	}
	come_up(12);
	/* it does not begin anew at once */
	fake_end(at(12), GP_LOST, "gone");
	expect_told("down LOST;");
	while (fake_n_opened(net) == 13) {
		fake_turn(net, 10);
	}
	come_up(13);
	stop_watch();
	log_out(13);
	finish();
}

static void test_credential_refused(void **state)
{
	(void)state;
	begin(4, 100);
	watch_mailboxes(NULL, NULL, NULL);
	fake_connect(at(0));
	fake_feed(at(0), "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n");
	const char *line = fake_take(at(0));
	char reply[64];
	snprintf(reply, sizeof reply, "%.*s NO [AUTHENTICATIONFAILED] no\r\n", (int)strcspn(line, " "), line);
	fake_feed(at(0), reply);
	expect_told("down AUTH final;");
	fake_turn(net, 3600 * 1000);
	assert_int_equal(fake_n_opened(net), 1);
	expect_told("");
	stop_watch();
	finish();
}

static struct imap_watch *many[300];

/* Those that are cut off together come back one after another. */
static void test_many_come_back(void **state)
{
	(void)state;
	static const struct imap_watch_spec all = {.is_all = true};
	struct imap_watch_spec spec = all;
	struct imap_credential *who[300];
	size_t n = 300;

	begin(4, 1000);
	told[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		char name[32];
		snprintf(name, sizeof name, "user%zu", i);
		who[i] = credential(name, "x");
		spec.credential = who[i];
		many[i] = imap_watch_start(pool, &spec, &watch_events, &watch);
	}
	fake_turn(net, 0);
	assert_int_equal(fake_n_opened(net), n);
	for (size_t i = 0; i < n; i++) {
		fake_end(at(i), GP_LOST, "restart");
	}
	size_t most = 0;
	size_t in_all = 0;
	for (size_t ms = 0; ms < 4000; ms += 100) {
		size_t before = fake_n_opened(net);
		fake_turn(net, 100);
		size_t now = fake_n_opened(net) - before;
		in_all += now;
		most = now > most ? now : most;
	}
	assert_int_equal(in_all, n);
	assert_true(most <= 11);
	for (size_t i = 0; i < n; i++) {
		imap_watch_stop(&many[i]);
		imap_credential_unref(&who[i]);
	}
	told[0] = '\0';
	fake_turn(net, 0);
	finish();
}

/* ---- caps ---- */

static void list_round(size_t index, unsigned modseq)
{
	char reply[256];

	fake_expect(at(index),
		    "LIST \"\" \"*\" RETURN (SUBSCRIBED CHILDREN SPECIAL-USE STATUS (MESSAGES UNSEEN UIDNEXT "
		    "UIDVALIDITY HIGHESTMODSEQ))");
	snprintf(reply, sizeof reply,
		 "* LIST () \"/\" INBOX\r\n* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1 HIGHESTMODSEQ %u)\r\n"
		 "$ OK\r\n",
		 modseq);
	fake_reply(at(index), reply);
}

/* With a cap of one it polls by short leases, and requests go on beside it. */
static void test_cap_of_one(void **state)
{
	(void)state;
	struct probe probe;

	begin(1, 100);
	watch_mailboxes(NULL, NULL, NULL);
	fake_log_in(at(0), NOTIFY_CAPS " LIST-EXTENDED LIST-STATUS SPECIAL-USE");
	list_round(0, 1);
	expect_told("up;");
	start(&probe, NULL);
	assert_true(is_granted(&probe));
	fake_turn(net, GP_WATCH_POLL_MS);
	list_round(0, 2);
	expect_told("INBOX m=1 n=2 h=2;");
	end(&probe);
	fake_turn(net, GP_WATCH_POLL_MS);
	list_round(0, 2);
	expect_told("");
	assert_int_equal(fake_n_opened(net), 1);
	stop_watch();
	finish();
}

/* STATUS of what the only session has open tells of an old view: a NOOP brings it up to date. */
static void test_cap_of_one_that_has_a_mailbox(void **state)
{
	(void)state;
	struct probe probe;

	begin(1, 100);
	start(&probe, "INBOX");
	fake_log_in(at(0), "IMAP4rev1");
	fake_expect(at(0), "EXAMINE INBOX");
	fake_reply(at(0), "* 1 EXISTS\r\n$ OK [READ-ONLY] done\r\n");
	assert_true(is_granted(&probe));
	end(&probe);
	watch_mailboxes("INBOX", NULL, NULL);
	fake_expect(at(0), "NOOP");
	fake_expect_nothing(at(0));
	fake_reply(at(0), "$ OK\r\n");
	fake_expect(at(0), "STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)");
	fake_reply(at(0), "* STATUS INBOX (MESSAGES 1)\r\n$ OK\r\n");
	expect_told("up;");
	fake_turn(net, GP_WATCH_POLL_MS);
	fake_expect(at(0), "NOOP");
	fake_reply(at(0), "* 2 EXISTS\r\n$ OK\r\n");
	fake_expect(at(0), "STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)");
	fake_reply(at(0), "* STATUS INBOX (MESSAGES 2)\r\n$ OK\r\n");
	expect_told("INBOX m=2 n=0 h=0;");
	fake_turn(net, GP_WATCH_POLL_MS);
	fake_expect(at(0), "NOOP");
	fake_end(at(0), GP_LOST, "gone");
	expect_told("down LOST;");
	stop_watch();
	finish();
}

/* A session that served a request has its mailbox open, and NOTIFY tells of all but that. */
static void test_session_with_a_mailbox(void **state)
{
	(void)state;
	struct probe probe;

	begin(4, 100);
	start(&probe, "INBOX");
	fake_log_in(at(0), NOTIFY_CAPS " UNSELECT");
	fake_expect(at(0), "EXAMINE INBOX (CONDSTORE)");
	fake_reply(at(0), "* 1 EXISTS\r\n$ OK [READ-ONLY] done\r\n");
	assert_true(is_granted(&probe));
	end(&probe);
	watch_mailboxes(NULL, NULL, NULL);
	fake_expect(at(0), "UNSELECT");
	fake_expect_nothing(at(0));
	fake_reply(at(0), "* OK [CLOSED] closed\r\n$ OK done\r\n");
	fake_expect(at(0), NOTIFY_SET);
	fake_reply(at(0), STATUSES "$ OK told\r\n");
	expect_told("up;");
	assert_int_equal(fake_n_opened(net), 1);
	stop_watch();
	log_out(0);
	finish();
}

static void test_at_most_all_but_one(void **state)
{
	(void)state;
	struct imap_watch *first;
	struct probe probe;

	begin(2, 100);
	watch_mailboxes(NULL, NULL, NULL);
	come_up(0);
	first = watch;
	watch_mailboxes(NULL, NULL, NULL);
	/* the second watch has none of its own */
	assert_int_equal(fake_n_opened(net), 2);
	fake_log_in(at(1), NOTIFY_CAPS " LIST-EXTENDED LIST-STATUS SPECIAL-USE");
	list_round(1, 1);
	expect_told("up;");
	start(&probe, "INBOX");
	fake_expect(at(1), "EXAMINE INBOX (CONDSTORE)");
	answer(1);
	assert_true(is_granted(&probe));
	end(&probe);
	imap_watch_stop(&first);
	fake_turn(net, 0);
	log_out(0);
	stop_watch();
	finish();
}

/* A watch gives its session to whoever waits, and polls. */
static void test_pool_is_full(void **state)
{
	(void)state;
	struct probe probe;
	struct imap_credential *ann = NULL;

	begin(4, 2);
	ann = credential("ann", "x");
	watch_mailboxes(NULL, NULL, NULL);
	come_up(0);
	start(&probe, "INBOX");
	fake_log_in(at(1), NOTIFY_CAPS " LIST-EXTENDED LIST-STATUS SPECIAL-USE");
	fake_expect(at(1), "EXAMINE INBOX (CONDSTORE)");
	answer(1);
	assert_true(is_granted(&probe));
	struct probe other = {.n_done = 0};
	start_as(&other, ann, "INBOX", false, false);
	fake_turn(net, 0);
	assert_true(is_waiting(&other));
	/* the watch asks for another one, which it does not get; it polls beside the request */
	log_out(0);
	fake_expect(at(1), "NOOP");
	answer(1);
	list_round(1, 1);
	expect_told("up;");
	assert_int_equal(fake_n_opened(net), 3);
	log_in(2);
	examine(2, "INBOX");
	assert_true(is_granted(&other));
	imap_lease_end(&other.lease, false);
	end(&probe);
	stop_watch();
	imap_credential_unref(&ann);
	finish();
}

/* The server permits fewer sessions than the cap: a request that waits has the watch's. */
static void test_cap_is_lowered(void **state)
{
	(void)state;
	struct probe probe;

	begin(4, 100);
	watch_mailboxes(NULL, NULL, NULL);
	come_up(0);
	start(&probe, "INBOX");
	assert_int_equal(fake_n_opened(net), 2);
	fake_connect(at(1));
	fake_feed(at(1), "* BYE Too many connections\r\n");
	assert_true(is_waiting(&probe));
	log_out(0);
	assert_int_equal(fake_n_opened(net), 3);
	fake_log_in(at(2), NOTIFY_CAPS " LIST-EXTENDED LIST-STATUS SPECIAL-USE");
	fake_expect(at(2), "EXAMINE INBOX (CONDSTORE)");
	answer(2);
	assert_true(is_granted(&probe));
	list_round(2, 1);
	expect_told("up;");
	end(&probe);
	stop_watch();
	finish();
}

/* ---- the end ---- */

static bool is_drained;

static void on_drained(void *ctx)
{
	(void)ctx;
	is_drained = true;
}

static void test_drain(void **state)
{
	(void)state;
	begin(4, 100);
	is_drained = false;
	watch_mailboxes(NULL, NULL, NULL);
	come_up(0);
	imap_pool_drain(pool, on_drained, NULL);
	fake_turn(net, 0);
	expect_told("down DRAINING final;");
	log_out(0);
	assert_true(is_drained);
	stop_watch();
	finish();
}

static void stop_in_callback(const char *what)
{
	(void)what;
	imap_watch_stop(&watch);
}

static void test_stopped_in_each_callback(void **state)
{
	(void)state;
	static const char *const feeds[] = {"* LIST () \"/\" New\r\n* STATUS Work (HIGHESTMODSEQ 5)\r\n",
					    "* STATUS Work (HIGHESTMODSEQ 5)\r\n* STATUS INBOX (HIGHESTMODSEQ 5)\r\n",
					    "* BYE\r\n"};

	for (size_t i = 0; i < 3; i++) {
		begin(4, 100);
		watch_mailboxes(NULL, NULL, NULL);
		come_up(0);
		on_told = stop_in_callback;
		fake_feed(at(0), feeds[i]);
		assert_null(watch);
		/* once */
		assert_int_equal(strcspn(told, ";"), strlen(told) - 1);
		finish();
	}
	begin(4, 100);
	watch_mailboxes(NULL, NULL, NULL);
	on_told = stop_in_callback;
	fake_log_in(at(0), NOTIFY_CAPS);
	fake_expect(at(0), NOTIFY_SET);
	fake_reply(at(0), STATUSES "$ OK told\r\n");
	assert_null(watch);
	finish();
}

static void test_stopped_at_each_moment(void **state)
{
	(void)state;
	for (size_t moment = 0; moment < 4; moment++) {
		begin(4, 100);
		watch_mailboxes(NULL, NULL, NULL);
		if (moment > 0) {
			fake_log_in(at(0), NOTIFY_CAPS);
			fake_expect(at(0), NOTIFY_SET);
		}
		if (moment > 1) {
			fake_feed(at(0), STATUSES);
		}
		if (moment > 2) {
			fake_reply(at(0), "$ NO\r\n");
		}
		imap_watch_stop(&watch);
		fake_turn(net, 0);
		finish();
	}
}

/* The mailbox's sessions are asked for by the credential, and are its own. */
static void test_its_own_session(void **state)
{
	(void)state;
	struct imap_credential *ann = NULL;
	struct probe probe = {.n_done = 0};

	begin(4, 100);
	ann = credential("ann", "x");
	start_as(&probe, ann, NULL, false, false);
	fake_turn(net, 0);
	log_in(0);
	assert_true(is_granted(&probe));
	imap_lease_end(&probe.lease, false);
	watch_mailboxes(NULL, NULL, NULL);
	assert_int_equal(fake_n_opened(net), 2); /* ann's idle one is none for bob */
	come_up(1);
	/* and nobody else's request comes onto the watch's session */
	start(&probe, NULL);
	assert_int_equal(fake_n_opened(net), 3);
	log_in(2);
	assert_true(is_granted(&probe));
	end(&probe);
	stop_watch();
	imap_credential_unref(&ann);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_named_ones),
		cmocka_unit_test(test_what_is_not_notified),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_renewed),
		cmocka_unit_test(test_probes),
		cmocka_unit_test(test_budget_of_probes),
		cmocka_unit_test(test_logs_in_anew),
		cmocka_unit_test(test_back_off),
		cmocka_unit_test(test_credential_refused),
		cmocka_unit_test(test_many_come_back),
		cmocka_unit_test(test_cap_of_one),
		cmocka_unit_test(test_cap_of_one_that_has_a_mailbox),
		cmocka_unit_test(test_session_with_a_mailbox),
		cmocka_unit_test(test_at_most_all_but_one),
		cmocka_unit_test(test_pool_is_full),
		cmocka_unit_test(test_cap_is_lowered),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_stopped_in_each_callback),
		cmocka_unit_test(test_stopped_at_each_moment),
		cmocka_unit_test(test_its_own_session),
	};

	gp_log_setup(GP_LOG_ERROR, GP_LOG_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
