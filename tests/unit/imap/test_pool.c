/*
 * Who gets which session of the pool, and who waits: sharing, caps, streams, accounts.
 */
#include "pool_support.h"

/* ---- sharing and choice ---- */

static void test_one_login_for_all_that_come(void **state)
{
	(void)state;
	struct probe probes[3];

	begin(4, 100);
	for (size_t i = 0; i < 3; i++) {
		start(&probes[i], "INBOX");
	}
	assert_int_equal(fake_n_opened(net), 1); /* a wrong password would be tried once */
	assert_int_equal(stats().n_waiting, 3);
	log_in(0);
	/* the third finds the session well used: another is opened, and it does not wait for that */
	assert_int_equal(fake_n_opened(net), 2);
	examine(0, "INBOX");
	for (size_t i = 0; i < 3; i++) {
		assert_true(is_granted(&probes[i]));
		assert_int_equal(probes[i].order, i + 1);
		assert_true(imap_lease_is_fresh(probes[i].lease));
		assert_ptr_equal(imap_lease_session(probes[i].lease), imap_lease_session(probes[0].lease));
		assert_int_equal(imap_lease_queue_ms(probes[i].lease), 0);
	}
	log_in(1);
	assert_int_equal(stats().n_logins, 2);
	for (size_t i = 0; i < 3; i++) {
		end(&probes[i]);
	}
	assert_int_equal(stats().n_leases, 0);
	assert_int_equal(stats().n_sessions, 2);
	finish();
}

static void test_a_later_lease_is_not_fresh(void **state)
{
	(void)state;
	struct probe first, second;

	begin(4, 100);
	start(&first, "inbox");
	log_in(0);
	examine(0, "INBOX");
	start(&second, "INBOX");
	assert_true(is_granted(&second));
	assert_false(imap_lease_is_fresh(second.lease));
	fake_expect_nothing(at(0));
	end(&first);
	end(&second);
	finish();
}

/* What the server says of the mailbox may be older than the second one's question. */
static void test_who_joins_a_select_under_way_is_not_fresh(void **state)
{
	(void)state;
	struct probe first, second, third;

	begin(4, 100);
	start(&first, "INBOX");
	log_in(0);
	fake_turn(net, 0);
	fake_turn(net, 0);
	start(&second, "INBOX");
	start(&third, NULL);
	/* the server may have opened it before now, and answers STATUS of what it saw then */
	assert_true(is_granted(&third));
	assert_false(imap_lease_is_fresh(third.lease));
	examine(0, "INBOX");
	assert_true(is_granted(&first) && is_granted(&second));
	assert_true(imap_lease_is_fresh(first.lease));
	assert_false(imap_lease_is_fresh(second.lease));
	end(&first);
	end(&second);
	end(&third);
	finish();
}

static void test_hard_limit_of_sharing(void **state)
{
	(void)state;
	struct probe probes[POOL_SHARE_HARD + 2];
	const size_t n = POOL_SHARE_HARD + 2;

	begin(1, 100);
	for (size_t i = 0; i < n; i++) {
		start(&probes[i], "INBOX");
	}
	log_in(0);
	examine(0, "INBOX");
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(is_granted(&probes[i]), i < POOL_SHARE_HARD);
	}
	assert_int_equal(stats().n_waiting, 2);
	end(&probes[7]);
	assert_true(is_granted(&probes[POOL_SHARE_HARD]));
	assert_true(is_waiting(&probes[POOL_SHARE_HARD + 1]));
	end(&probes[9]);
	assert_true(is_granted(&probes[POOL_SHARE_HARD + 1]));
	for (size_t i = 0; i < n; i++) {
		end(&probes[i]);
	}
	assert_int_equal(fake_n_opened(net), 1);
	finish();
}

static void test_order_of_choice(void **state)
{
	(void)state;
	struct probe a, b, c, d;

	begin(3, 100);
	/* two sessions at work on A and B */
	start(&a, "A");
	log_in(0);
	examine(0, "A");
	start(&b, "B");
	assert_int_equal(fake_n_opened(net), 2);
	log_in(1);
	examine(1, "B");
	/* the one that has it open */
	start(&c, "B");
	assert_true(is_granted(&c));
	assert_ptr_equal(imap_lease_session(c.lease), imap_lease_session(b.lease));
	end(&c);
	/* an idle one, rather than a new one */
	fake_turn(net, 1000);
	end(&b);
	start(&c, "C");
	assert_int_equal(fake_n_opened(net), 2);
	examine(1, "C");
	/* a new one, where all are at work */
	start(&d, "D");
	assert_int_equal(fake_n_opened(net), 3);
	log_in(2);
	examine(2, "D");
	/* at the cap: whoever holds the mailbox, else it waits */
	start(&b, "E");
	assert_true(is_waiting(&b));
	assert_int_equal(fake_n_opened(net), 3);
	/* of two idle ones, the one that is idle longest */
	imap_lease_end(&a.lease, false);
	fake_turn(net, 0);
	examine(0, "E");
	assert_true(is_granted(&b));
	fake_turn(net, 500);
	end(&d);
	fake_turn(net, 500);
	end(&c);
	start(&a, "F");
	examine(2, "F");
	assert_true(is_granted(&a));
	end(&a);
	end(&b);
	finish();
}

static void test_a_session_without_a_mailbox_is_taken_first(void **state)
{
	(void)state;
	struct probe a, b, none;

	begin(3, 100);
	warm(0, "A");
	start(&a, "A");
	start(&none, NULL); /* shares */
	assert_true(is_granted(&none));
	start(&b, "B");
	log_in(1);
	expect_examine(1, "B");
	fake_reply(at(1), "$ NO [NONEXISTENT] no such mailbox\r\n");
	expect_failed(&b, GP_NOT_FOUND);
	assert_string_equal(b.code, "NONEXISTENT");
	end(&a);
	end(&none);
	fake_turn(net, 10);
	start(&b, "C"); /* the first is idle longer, but the second has nothing to lose */
	examine(1, "C");
	end(&b);
	finish();
}

static void test_a_writer_needs_select(void **state)
{
	(void)state;
	struct probe reader, writer = {.n_done = 0};

	begin(4, 100);
	warm(0, "INBOX");
	start_as(&writer, bob, "INBOX", true, false);
	fake_turn(net, 0);
	fake_expect(at(0), "SELECT INBOX"); /* nobody holds it: opened anew */
	answer(0);
	assert_true(is_granted(&writer));
	start(&reader, "INBOX"); /* reading is served by either */
	assert_true(is_granted(&reader));
	assert_int_equal(fake_n_opened(net), 1);
	end(&reader);
	end(&writer);
	finish();
}

static void test_a_writer_beside_readers(void **state)
{
	(void)state;
	struct probe reader, writer = {.n_done = 0};

	begin(4, 100);
	start(&reader, "INBOX");
	log_in(0);
	examine(0, "INBOX");
	start_as(&writer, bob, "INBOX", true, false);
	fake_turn(net, 0);
	fake_expect_nothing(at(0)); /* the reader's mailbox is not taken from it */
	log_in(1);
	fake_expect(at(1), "SELECT INBOX");
	answer(1);
	assert_true(is_granted(&writer));
	end(&writer);
	end(&reader);
	finish();
}

static void test_what_waits_behind_a_select_comes_next(void **state)
{
	(void)state;
	struct probe a, b;

	begin(1, 100);
	start(&a, "A");
	log_in(0);
	expect_examine(0, "A");
	end(&a); /* its client left */
	start(&b, "B");
	assert_true(is_waiting(&b));
	answer(0);
	examine(0, "B");
	assert_true(is_granted(&b));
	end(&b);
	finish();
}

/* ---- credentials ---- */

static void test_two_credentials_never_share(void **state)
{
	(void)state;
	struct probe probes[4] = {{.n_done = 0}};
	struct imap_credential *others[] = {credential("bob", "Secret"), credential("ann", "secret"),
					    credential("bob", "secret")};

	begin(4, 100);
	warm(0, "INBOX");
	for (size_t i = 0; i < 3; i++) {
		start_as(&probes[i], others[i], "INBOX", false, false);
	}
	fake_turn(net, 0);
	/* the same user with another password, another user with the same one: sessions of their own */
	assert_int_equal(fake_n_opened(net), 3);
	assert_true(is_waiting(&probes[0]));
	assert_true(is_waiting(&probes[1]));
	/* an equal credential, made anew: the warm one */
	assert_true(is_granted(&probes[2]));
	assert_int_equal(stats().n_accounts, 3);

	fake_connect(at(1));
	fake_feed(at(1), "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n");
	fake_expect(at(1), "AUTHENTICATE PLAIN AGJvYgBTZWNyZXQ=");
	fake_reply(at(1), "$ NO [AUTHENTICATIONFAILED] wrong\r\n");
	expect_failed(&probes[0], GP_AUTH);
	assert_false(fake_is_closed(at(0))); /* the right password's session is not touched */
	assert_int_equal(stats().n_accounts, 2);

	log_in(2);
	examine(2, "INBOX");
	assert_ptr_not_equal(imap_lease_session(probes[1].lease), imap_lease_session(probes[2].lease));
	end(&probes[1]);
	end(&probes[2]);
	for (size_t i = 0; i < 3; i++) {
		imap_credential_unref(&others[i]);
	}
	finish();
}

/* More accounts than buckets would hold one each: collisions are told apart. */
static void test_many_accounts(void **state)
{
	(void)state;
	static struct probe probes[2 * POOL_BUCKETS];
	struct imap_credential *all[2 * POOL_BUCKETS];

	begin(1, 2);
	for (size_t i = 0; i < 2 * POOL_BUCKETS; i++) {
		char name[24];
		snprintf(name, sizeof name, "user%zu", i);
		all[i] = credential(name, "secret");
		probes[i] = (struct probe){.n_done = 0};
		start_as(&probes[i], all[i], NULL, false, false);
	}
	fake_turn(net, 0);
	assert_int_equal(stats().n_accounts, 2 * POOL_BUCKETS);
	assert_int_equal(stats().n_sessions, 2);
	for (size_t i = 0; i < 2 * POOL_BUCKETS; i++) {
		end(&probes[i]);
		imap_credential_unref(&all[i]);
	}
	assert_int_equal(stats().n_accounts, 2); /* those with a session */
	finish();
}

/* ---- caps ---- */

static void test_cap_of_an_account(void **state)
{
	(void)state;
	struct probe probes[4];
	const char *const names[] = {"A", "B", "C", "D"};

	begin(2, 100);
	for (size_t i = 0; i < 4; i++) {
		start(&probes[i], names[i]);
	}
	log_in(0);
	log_in(1);
	examine(0, "A");
	examine(1, "B");
	assert_int_equal(fake_n_opened(net), 2);
	/* in order, whoever it is that ends */
	end(&probes[1]);
	examine(1, "C");
	assert_true(is_granted(&probes[2]));
	assert_true(is_waiting(&probes[3]));
	end(&probes[2]);
	examine(1, "D");
	end(&probes[3]);
	end(&probes[0]);
	finish();
}

static void test_the_first_in_line_stops_those_behind(void **state)
{
	(void)state;
	struct probe a, b, again;

	begin(1, 100);
	start(&a, "A");
	log_in(0);
	examine(0, "A");
	start(&b, "B");
	start(&again, "A"); /* could share at once, but then B might wait for ever */
	assert_true(is_waiting(&again));
	end(&a);
	examine(0, "B");
	end(&b);
	examine(0, "A");
	assert_true(is_granted(&again));
	end(&again);
	finish();
}

static void test_cap_of_the_pool(void **state)
{
	(void)state;
	struct imap_credential *ann = credential("ann", "x"), *eve = credential("eve", "x");
	struct probe a, b = {.n_done = 0}, c = {.n_done = 0};

	begin(4, 1);
	start(&a, "A");
	log_in(0);
	examine(0, "A");
	start_as(&b, ann, "B", false, false);
	start_as(&c, eve, "C", false, false);
	fake_turn(net, 0);
	assert_int_equal(fake_n_opened(net), 1);
	/* when it is idle, it makes room for whoever waited first */
	end(&a);
	log_out(0);
	assert_int_equal(fake_n_opened(net), 2);
	log_in(1);
	examine(1, "B");
	assert_true(is_granted(&b));
	assert_true(is_waiting(&c));
	end(&b);
	log_out(1);
	log_in(2);
	examine(2, "C");
	end(&c);
	imap_credential_unref(&ann);
	imap_credential_unref(&eve);
	finish();
}

static void test_the_longest_idle_makes_room(void **state)
{
	(void)state;
	struct imap_credential *others[3] = {credential("a", "x"), credential("b", "x"), credential("c", "x")};
	struct probe probe = {.n_done = 0};

	begin(4, 2);
	for (size_t i = 0; i < 2; i++) {
		start_as(&probe, others[i], NULL, false, false);
		fake_turn(net, 0);
		log_in(i);
		assert_true(is_granted(&probe));
		end(&probe);
		fake_turn(net, 1000);
	}
	start_as(&probe, others[2], NULL, false, false);
	fake_turn(net, 0);
	fake_expect_nothing(at(1));
	log_out(0);
	log_in(2);
	assert_true(is_granted(&probe));
	end(&probe);
	for (size_t i = 0; i < 3; i++) {
		imap_credential_unref(&others[i]);
	}
	finish();
}

/* One session goes for each account that waits, however many leases it waits with; and
 * the keep-alive of one that goes has nothing to do any more. */
static void test_no_more_is_evicted_than_is_wanted(void **state)
{
	(void)state;
	struct imap_credential *ann = credential("ann", "x"), *eve = credential("eve", "x");
	struct probe probes[3] = {{.n_done = 0}}, probe = {.n_done = 0};

	begin(4, 2);
	warm(0, "A");
	fake_turn(net, 1);
	start_as(&probe, ann, NULL, false, false);
	fake_turn(net, 0);
	log_in(1);
	end(&probe);
	fake_turn(net, GP_SESSION_KEEPALIVE_MS - 1000);
	for (size_t i = 0; i < 3; i++) {
		start_as(&probes[i], eve, "C", false, false);
		fake_turn(net, 0);
	}
	fake_expect(at(0), "LOGOUT");
	fake_expect_nothing(at(1));
	fake_turn(net, 1500);
	fake_expect_nothing(at(0));
	fake_expect(at(1), "NOOP");
	fake_turn(net, 500); /* LOGOUT is not waited for any longer */
	assert_true(fake_is_closed(at(0)));
	log_in(2);
	examine(2, "C");
	for (size_t i = 0; i < 3; i++) {
		assert_true(is_granted(&probes[i]));
		end(&probes[i]);
	}
	imap_credential_unref(&ann);
	imap_credential_unref(&eve);
	finish();
}

static void test_queue_of_an_account(void **state)
{
	(void)state;
	static struct probe probes[GP_MAX_WAITING_PER_ACCOUNT + 1];
	const size_t n = GP_MAX_WAITING_PER_ACCOUNT;

	begin(1, 100);
	for (size_t i = 0; i <= n; i++) {
		probes[i] = (struct probe){.n_done = 0};
		start_as(&probes[i], bob, "INBOX", false, false);
	}
	fake_turn(net, 0);
	expect_failed(&probes[n], GP_QUEUE_FULL);
	assert_int_equal(stats().n_waiting, n);
	for (size_t i = 0; i < n; i++) {
		imap_lease_end(&probes[i].lease, false);
	}
	assert_int_equal(stats().n_waiting, 0);
	fake_turn(net, 0);
	finish();
}

static void open_idle(size_t n)
{
	struct probe probes[32];
	char name[24];

	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof name, "m%zu", i);
		start(&probes[i], name);
		log_in(i);
		examine(i, name);
	}
	for (size_t i = 0; i < n; i++) {
		end(&probes[i]);
	}
}

/* The queue was full, and in the same turn there are sessions for all of it. */
static void test_refused_where_the_queue_moves_at_once(void **state)
{
	(void)state;
	static struct probe probes[GP_MAX_WAITING_PER_ACCOUNT];
	struct probe left = {.n_done = 0}, refused = {.n_done = 0};
	const size_t n = GP_MAX_WAITING_PER_ACCOUNT, n_sessions = n / POOL_SHARE_HARD + 1;

	begin(n_sessions, 100);
	open_idle(n_sessions);
	for (size_t i = 0; i < n; i++) {
		probes[i] = (struct probe){.n_done = 0};
		start_as(&probes[i], bob, "INBOX", false, false);
	}
	start_as(&left, bob, "INBOX", false, false);
	imap_lease_end(&left.lease, false); /* before it is told */
	start_as(&refused, bob, "INBOX", false, false);
	fake_turn(net, 0);
	expect_failed(&refused, GP_QUEUE_FULL);
	assert_int_equal(left.n_done, 0);
	assert_int_equal(stats().n_waiting, 0);
	for (size_t i = 0; i < n_sessions; i++) {
		examine(i, "INBOX");
	}
	for (size_t i = 0; i < n; i++) {
		assert_true(is_granted(&probes[i]));
		imap_lease_end(&probes[i].lease, false);
	}
	finish();
}

/* ---- bulk ---- */

static void test_streams_have_sessions_of_their_own(void **state)
{
	(void)state;
	struct probe short_one, streams[3];

	begin(3, 100);
	start(&short_one, "INBOX");
	log_in(0);
	examine(0, "INBOX");
	start_bulk(&streams[0], "INBOX");
	assert_int_equal(fake_n_opened(net), 2);
	assert_true(is_waiting(&streams[0]));
	log_in(1);
	examine(1, "INBOX");
	assert_true(is_granted(&streams[0]));
	assert_ptr_not_equal(imap_lease_session(streams[0].lease), imap_lease_session(short_one.lease));
	/* a second one too; the account's last session is kept for short ones */
	start_bulk(&streams[1], "INBOX");
	log_in(2);
	examine(2, "INBOX");
	assert_true(is_granted(&streams[1]));
	start_bulk(&streams[2], "INBOX");
	assert_true(is_waiting(&streams[2]));
	end(&short_one);
	assert_true(is_waiting(&streams[2]));
	/* one that ends makes way */
	end(&streams[0]);
	assert_true(is_granted(&streams[2]));
	assert_false(imap_lease_is_fresh(streams[2].lease));
	end(&streams[1]);
	end(&streams[2]);
	finish();
}

static void test_a_stream_takes_an_idle_session(void **state)
{
	(void)state;
	struct probe stream;

	begin(2, 100);
	warm(0, "INBOX");
	start_bulk(&stream, "INBOX");
	assert_true(is_granted(&stream));
	end(&stream);
	start_bulk(&stream, "Sent"); /* of another mailbox */
	examine(0, "Sent");
	assert_true(is_granted(&stream));
	end(&stream);
	assert_int_equal(fake_n_opened(net), 1);
	finish();
}

static void test_a_short_one_beside_a_stream(void **state)
{
	(void)state;
	struct probe stream, probe, other;

	begin(2, 100);
	warm(0, "INBOX");
	start_bulk(&stream, "INBOX");
	/* goes between the windows at once, and those to come get a session */
	start(&probe, "INBOX");
	assert_true(is_granted(&probe));
	assert_int_equal(fake_n_opened(net), 2);
	log_in(1);
	start(&other, "INBOX");
	examine(1, "INBOX");
	assert_true(is_granted(&other));
	end(&probe);
	end(&other);
	end(&stream);
	finish();
}

static void test_with_one_session_a_stream_shares(void **state)
{
	(void)state;
	struct probe probe, first, second;

	begin(1, 100);
	start(&probe, "INBOX");
	log_in(0);
	examine(0, "INBOX");
	start_bulk(&first, "INBOX"); /* no other can be had: with the short one */
	assert_true(is_granted(&first));
	fake_turn(net, 10);
	/* the next one waits for its end, or until it has waited enough */
	start_bulk(&second, "INBOX");
	fake_turn(net, POOL_BULK_PATIENCE_MS - 1);
	assert_true(is_waiting(&second));
	fake_turn(net, 1);
	assert_true(is_granted(&second));
	assert_int_equal(imap_lease_queue_ms(second.lease), POOL_BULK_PATIENCE_MS);
	end(&probe);
	end(&first);
	end(&second);
	finish();
}

static void test_a_stalled_stream_makes_way(void **state)
{
	(void)state;
	struct probe probe, first, second, third;

	begin(1, 100);
	start(&probe, "INBOX");
	log_in(0);
	imap_lease_set_stalled(probe.lease, true); /* no stream: no effect */
	examine(0, "INBOX");
	start_bulk(&first, "INBOX");
	start_bulk(&second, "INBOX");
	assert_true(is_waiting(&second));
	imap_lease_set_stalled(second.lease, true); /* not granted: no effect */
	imap_lease_set_stalled(first.lease, true);
	imap_lease_set_stalled(first.lease, true);
	fake_turn(net, 0);
	assert_true(is_granted(&second));
	imap_lease_set_stalled(first.lease, false); /* it goes on, beside the other */
	start_bulk(&third, "INBOX");
	assert_true(is_waiting(&third));
	end(&second);
	assert_true(is_waiting(&third));
	imap_lease_set_stalled(first.lease, true);
	end(&first);
	assert_true(is_granted(&third));
	end(&third);
	end(&probe);
	finish();
}

/* An upload: nobody joins it. Runs a turn. */
static void start_alone(struct probe *self, const char *target)
{
	const struct imap_lease_spec spec = {
		.credential = bob,
		.target = span_of(target),
		.is_bulk = true,
		.is_alone = true,
		.deadline_at_ms = fake_now_ms(net) + REQUEST_MS,
	};

	*self = (struct probe){.n_done = 0};
	self->lease = imap_lease_start(pool, &spec, on_lease, self);
	assert_non_null(self->lease);
	fake_turn(net, 0);
}

/* It would stop whoever it joins: it waits, and fails at its deadline. */
static void test_an_upload_joins_nobody(void **state)
{
	(void)state;
	struct probe stream, upload, late;

	begin(1, 100);
	start_bulk(&stream, "A");
	log_in(0);
	examine(0, "A");
	start_alone(&upload, "B");
	fake_turn(net, REQUEST_MS - 1);
	assert_true(is_waiting(&upload));
	fake_turn(net, 1);
	expect_failed(&upload, GP_DEADLINE);
	start_alone(&upload, "B");
	fake_turn(net, POOL_BULK_PATIENCE_MS);
	imap_lease_set_stalled(stream.lease, true);
	start_bulk(&late, "A"); /* goes past it */
	assert_true(is_granted(&late));
	assert_true(is_waiting(&upload));
	end(&late);
	end(&stream);
	assert_true(is_granted(&upload));
	end(&upload);
	finish();
}

static void test_an_upload_leaves_the_last_session(void **state)
{
	(void)state;
	struct probe first, second, short_one;

	begin(2, 100);
	start_alone(&first, "A");
	log_in(0);
	assert_true(is_granted(&first));
	start(&short_one, "B");
	log_in(1);
	examine(1, "B");
	end(&short_one);
	start_alone(&second, "A");
	fake_turn(net, POOL_BULK_PATIENCE_MS);
	assert_true(is_waiting(&second));
	start(&short_one, "B");
	assert_true(is_granted(&short_one));
	end(&first);
	assert_true(is_granted(&second));
	end(&second);
	end(&short_one);
	finish();
}

/* Requests that follow each other would keep an upload waiting for ever. */
static void test_an_upload_does_not_starve(void **state)
{
	(void)state;
	struct probe a, b, c, upload;

	begin(1, 100);
	start(&a, "A");
	log_in(0);
	examine(0, "A");
	start_alone(&upload, "B");
	start(&b, "A"); /* at first they go ahead */
	assert_true(is_granted(&b));
	end(&a);
	fake_turn(net, POOL_BULK_PATIENCE_MS);
	start(&c, "A");
	assert_true(is_waiting(&c));
	/* it gives up, and with it what was kept for it */
	end(&upload);
	assert_true(is_granted(&c));
	start_alone(&upload, "B");
	fake_turn(net, POOL_BULK_PATIENCE_MS);
	end(&b);
	start(&b, "A");
	assert_true(is_waiting(&b));
	end(&c);
	assert_true(is_granted(&upload));
	assert_true(is_waiting(&b));
	end(&upload);
	assert_true(is_granted(&b));
	end(&b);
	finish();
}

static void open_two(struct probe *a, struct probe *b)
{
	start(a, "A");
	log_in(0);
	examine(0, "A");
	start(b, "B");
	log_in(1);
	examine(1, "B");
	assert_true(is_granted(a) && is_granted(b));
}

/* Slow readers would take one session after another, and the account would have none. */
static void test_stalled_streams_are_put_together(void **state)
{
	(void)state;
	struct probe a, b, first, second, other;

	begin(2, 100);
	open_two(&a, &b);
	end(&a);
	start_bulk(&first, "A");
	assert_true(is_granted(&first));
	end(&b);
	imap_lease_set_stalled(first.lease, true);
	start_bulk(&second, "A");
	assert_true(is_granted(&second));
	assert_ptr_equal(imap_lease_session(second.lease), imap_lease_session(first.lease));
	/* and one of another mailbox waits, however long: a short one must find a session */
	start_bulk(&other, "B");
	fake_turn(net, 2 * POOL_BULK_PATIENCE_MS);
	assert_true(is_waiting(&other));
	start(&a, "C");
	examine(1, "C");
	assert_true(is_granted(&a));
	end(&a);
	assert_true(is_waiting(&other));
	end(&first);
	end(&second);
	examine(1, "B");
	assert_true(is_granted(&other));
	end(&other);
	finish();
}

static void test_patience_leaves_the_last_session(void **state)
{
	(void)state;
	struct probe a, b, first, second;

	begin(2, 100);
	open_two(&a, &b);
	end(&a);
	start_bulk(&first, "A");
	assert_true(is_granted(&first));
	end(&b);
	start(&a, "A");
	examine(1, "A");
	assert_true(is_granted(&a));
	start_bulk(&second, "A");
	fake_turn(net, POOL_BULK_PATIENCE_MS);
	assert_true(is_granted(&second));
	assert_ptr_equal(imap_lease_session(second.lease), imap_lease_session(first.lease));
	end(&a);
	end(&first);
	end(&second);
	finish();
}

/* Who waits for another mailbox cannot have a session that a stream holds. */
static void test_a_stream_is_joined_past_those_that_wait(void **state)
{
	(void)state;
	struct probe stream, next_stream, a, b, late;

	begin(1, 100);
	start_bulk(&stream, "A");
	log_in(0);
	examine(0, "A");
	start(&b, "B");
	start(&a, "A");
	assert_true(is_waiting(&b));
	assert_true(is_granted(&a));
	/* when it has ended, those that joined leave to whoever has waited */
	start_bulk(&next_stream, "A");
	assert_true(is_waiting(&next_stream));
	end(&stream);
	assert_true(is_waiting(&next_stream));
	start(&late, "A");
	assert_true(is_waiting(&late));
	end(&a);
	examine(0, "B");
	assert_true(is_granted(&b));
	end(&b);
	examine(0, "A");
	assert_true(is_granted(&late) && is_granted(&next_stream));
	end(&late);
	end(&next_stream);
	finish();
}

/* Each of those that wait has its own patience. */
static void test_streams_pass_one_of_another_mailbox(void **state)
{
	(void)state;
	struct probe first, other, second, third;

	begin(1, 100);
	start_bulk(&first, "A");
	log_in(0);
	examine(0, "A");
	start_bulk(&other, "B");
	fake_turn(net, POOL_BULK_PATIENCE_MS / 2);
	start_bulk(&second, "A");
	start_bulk(&third, "A");
	fake_turn(net, POOL_BULK_PATIENCE_MS - 1);
	assert_true(is_waiting(&second));
	fake_turn(net, 1);
	assert_true(is_granted(&second) && is_granted(&third));
	assert_true(is_waiting(&other));
	end(&second);
	imap_lease_set_stalled(first.lease, true);
	imap_lease_set_stalled(third.lease, true);
	start_bulk(&second, "A");
	assert_true(is_granted(&second));
	end(&first);
	end(&second);
	end(&third);
	examine(0, "B");
	assert_true(is_granted(&other));
	end(&other);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_login_for_all_that_come),
		cmocka_unit_test(test_a_later_lease_is_not_fresh),
		cmocka_unit_test(test_who_joins_a_select_under_way_is_not_fresh),
		cmocka_unit_test(test_hard_limit_of_sharing),
		cmocka_unit_test(test_order_of_choice),
		cmocka_unit_test(test_a_session_without_a_mailbox_is_taken_first),
		cmocka_unit_test(test_a_writer_needs_select),
		cmocka_unit_test(test_a_writer_beside_readers),
		cmocka_unit_test(test_what_waits_behind_a_select_comes_next),
		cmocka_unit_test(test_two_credentials_never_share),
		cmocka_unit_test(test_many_accounts),
		cmocka_unit_test(test_cap_of_an_account),
		cmocka_unit_test(test_the_first_in_line_stops_those_behind),
		cmocka_unit_test(test_cap_of_the_pool),
		cmocka_unit_test(test_the_longest_idle_makes_room),
		cmocka_unit_test(test_no_more_is_evicted_than_is_wanted),
		cmocka_unit_test(test_queue_of_an_account),
		cmocka_unit_test(test_refused_where_the_queue_moves_at_once),
		cmocka_unit_test(test_streams_have_sessions_of_their_own),
		cmocka_unit_test(test_a_stream_takes_an_idle_session),
		cmocka_unit_test(test_a_short_one_beside_a_stream),
		cmocka_unit_test(test_with_one_session_a_stream_shares),
		cmocka_unit_test(test_a_stalled_stream_makes_way),
		cmocka_unit_test(test_an_upload_joins_nobody),
		cmocka_unit_test(test_an_upload_leaves_the_last_session),
		cmocka_unit_test(test_an_upload_does_not_starve),
		cmocka_unit_test(test_stalled_streams_are_put_together),
		cmocka_unit_test(test_patience_leaves_the_last_session),
		cmocka_unit_test(test_a_stream_is_joined_past_those_that_wait),
		cmocka_unit_test(test_streams_pass_one_of_another_mailbox),
	};

	gp_log_setup(GP_LOG_ERROR, GP_LOG_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
