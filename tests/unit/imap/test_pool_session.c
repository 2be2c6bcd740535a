/*
 * The life of pooled sessions, and what becomes of leases when deadlines, logins,
 * mailboxes and connections fail.
 */
#include "pool_support.h"

/* ---- deadlines ---- */

static void test_deadline_without_a_connection(void **state)
{
	(void)state;
	struct probe probe;

	begin(1, 100);
	pool->config.connect_timeout_ms = 2 * REQUEST_MS;
	start(&probe, "INBOX");
	fake_turn(net, REQUEST_MS - 1);
	assert_true(is_waiting(&probe));
	fake_turn(net, 1);
	expect_failed(&probe, GP_CONNECT_TIMEOUT);
	finish();
}

static void test_deadline_while_others_work(void **state)
{
	(void)state;
	struct probe a, b;

	begin(1, 100);
	start(&a, "A");
	log_in(0);
	examine(0, "A");
	start(&b, "B");
	fake_turn(net, REQUEST_MS);
	expect_failed(&b, GP_DEADLINE);
	assert_true(is_granted(&a));
	assert_false(fake_is_closed(at(0)));
	end(&a);
	finish();
}

static void test_deadline_without_room(void **state)
{
	(void)state;
	struct imap_credential *ann = credential("ann", "x");
	struct probe a, b = {.n_done = 0};

	begin(1, 1);
	start(&a, "A");
	log_in(0);
	examine(0, "A");
	start_as(&b, ann, "B", false, false);
	fake_turn(net, REQUEST_MS);
	expect_failed(&b, GP_POOL_FULL);
	end(&a);
	assert_false(fake_is_closed(at(0))); /* nobody waits any more */
	imap_credential_unref(&ann);
	finish();
}

static void test_deadline_under_select(void **state)
{
	(void)state;
	struct probe probe, other;

	begin(4, 100);
	pool->config.silence_timeout_ms = 2 * REQUEST_MS;
	start(&probe, "INBOX");
	log_in(0);
	expect_examine(0, "INBOX");
	fake_turn(net, REQUEST_MS - 1000);
	start(&other, "INBOX");
	fake_turn(net, 1000);
	expect_failed(&probe, GP_DEADLINE);
	assert_false(fake_is_closed(at(0))); /* somebody still waits for the same */
	fake_turn(net, REQUEST_MS);
	expect_failed(&other, GP_DEADLINE);
	assert_true(fake_is_closed(at(0))); /* silent: not used again */
	assert_int_equal(stats().n_accounts, 0);
	finish();
}

/* ---- idle, age ---- */

static void test_idle_sessions_are_kept_alive_and_logged_out(void **state)
{
	(void)state;

	begin(4, 100);
	warm(0, "INBOX");
	fake_turn(net, GP_SESSION_KEEPALIVE_MS - 1);
	fake_expect_nothing(at(0));
	fake_turn(net, 1);
	fake_expect(at(0), "NOOP");
	fake_reply(at(0), "$ OK\r\n");
	fake_turn(net, GP_SESSION_KEEPALIVE_MS);
	fake_expect(at(0), "NOOP");
	fake_reply(at(0), "$ OK\r\n");
	fake_turn(net, IDLE_MS - 2 * GP_SESSION_KEEPALIVE_MS);
	log_out(0);
	assert_int_equal(stats().n_sessions, 0);
	assert_int_equal(stats().n_accounts, 0);
	finish();
}

static void test_a_short_idle_timeout(void **state)
{
	(void)state;

	begin(4, 100);
	pool->config.idle_timeout_ms = 1000;
	warm(0, "INBOX");
	fake_turn(net, 999);
	fake_expect_nothing(at(0));
	fake_turn(net, 1);
	log_out(0);
	finish();
}

static void test_use_puts_the_idle_timeout_off(void **state)
{
	(void)state;
	struct probe probe;

	begin(4, 100);
	pool->config.idle_timeout_ms = 1000;
	warm(0, "INBOX");
	fake_turn(net, 900);
	start(&probe, "INBOX");
	fake_turn(net, 5000); /* at work for long */
	end(&probe);
	fake_turn(net, 999);
	fake_expect_nothing(at(0));
	fake_turn(net, 1);
	log_out(0);
	finish();
}

static void test_a_keepalive_that_is_not_answered(void **state)
{
	(void)state;

	begin(4, 100);
	warm(0, "INBOX");
	fake_turn(net, GP_SESSION_KEEPALIVE_MS);
	fake_expect(at(0), "NOOP");
	fake_turn(net, 60000);
	assert_true(fake_is_closed(at(0)));
	assert_int_equal(stats().n_sessions, 0);
	finish();
}

static void test_a_keepalive_under_way_when_a_lease_comes(void **state)
{
	(void)state;
	struct probe probe;

	begin(4, 100);
	warm(0, "INBOX");
	fake_turn(net, GP_SESSION_KEEPALIVE_MS);
	fake_expect(at(0), "NOOP");
	start(&probe, "INBOX");
	assert_true(is_granted(&probe));
	fake_reply(at(0), "$ OK\r\n");
	end(&probe);
	finish();
}

static void test_an_idle_session_that_the_server_ends(void **state)
{
	(void)state;
	struct probe probe;

	begin(4, 100);
	warm(0, "INBOX");
	fake_end(at(0), GP_LOST, "reset");
	assert_int_equal(stats().n_sessions, 0);
	start(&probe, "INBOX");
	log_in(1);
	examine(1, "INBOX");
	end(&probe);
	finish();
}

static void test_an_old_session_takes_no_new_lease(void **state)
{
	(void)state;
	struct probe old, probe;

	begin(4, 100);
	pool->config.idle_timeout_ms = 4 * (uint64_t)GP_MAX_SESSION_AGE_MS;
	start(&old, "INBOX");
	log_in(0);
	examine(0, "INBOX");
	fake_turn(net, GP_MAX_SESSION_AGE_MS);
	start(&probe, "INBOX");
	assert_true(is_granted(&probe)); /* not older than that */
	end(&probe);
	fake_turn(net, 1);
	start(&probe, "INBOX");
	assert_true(is_waiting(&probe));
	log_in(1);
	examine(1, "INBOX");
	fake_expect_nothing(at(0)); /* it is still at work */
	assert_true(is_granted(&old));
	end(&old);
	log_out(0);
	end(&probe);
	finish();
}

static void test_a_session_nobody_waits_for_any_more(void **state)
{
	(void)state;
	struct probe probe;

	begin(4, 100);
	start(&probe, "INBOX");
	end(&probe);
	log_in(0);
	assert_int_equal(stats().n_sessions, 1);
	start(&probe, "INBOX");
	examine(0, "INBOX");
	end(&probe);
	finish();
}

/* ---- failures ---- */

static void test_a_wrong_password_fails_all_and_retires(void **state)
{
	(void)state;
	struct probe held, other, third;

	begin(4, 100);
	warm(0, "INBOX");
	start(&held, "INBOX");
	start(&other, "A");
	start(&third, "B");
	/* the password was changed meanwhile */
	fake_connect(at(1));
	fake_feed(at(1), "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n");
	fake_expect(at(1), "AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=");
	fake_reply(at(1), "$ NO [AUTHENTICATIONFAILED] wrong\r\n");
	expect_failed(&other, GP_AUTH);
	expect_failed(&third, GP_AUTH);
	assert_string_equal(other.code, "AUTHENTICATIONFAILED");
	assert_int_equal(stats().n_login_failures, 1);
	assert_true(is_granted(&held)); /* what runs may end */
	end(&held);
	log_out(0);
	/* two were on their way: the second one fails like the first */
	for (size_t i = 2; i < fake_n_opened(net); i++) {
		fake_end(at(i), GP_REFUSED, "no");
	}
	assert_int_equal(stats().n_accounts, 0);
	finish();
}

static void test_a_limit_lowers_the_cap_for_a_minute(void **state)
{
	(void)state;
	struct probe a, b, c;

	begin(4, 100);
	start(&a, "A");
	log_in(0);
	examine(0, "A");
	start(&b, "B");
	fake_connect(at(1));
	fake_feed(at(1), "* BYE Too many simultaneous connections\r\n");
	assert_true(is_waiting(&b)); /* it waits for the one there is */
	start(&c, "C");
	assert_int_equal(fake_n_opened(net), 2);
	end(&a);
	examine(0, "B");
	assert_true(is_granted(&b));
	fake_turn(net, POOL_CAP_LOWERED_MS / 2);
	assert_int_equal(fake_n_opened(net), 2);
	end(&c);
	fake_turn(net, POOL_CAP_LOWERED_MS / 2);
	start(&c, "C");
	assert_int_equal(fake_n_opened(net), 3);
	log_in(2);
	examine(2, "C");
	end(&b);
	end(&c);
	finish();
}

static void test_a_limit_at_the_first_session_fails_all(void **state)
{
	(void)state;
	struct probe a, b;

	begin(4, 100);
	start(&a, "A");
	start(&b, "B");
	fake_connect(at(0));
	fake_feed(at(0), "* BYE Too many simultaneous connections\r\n");
	expect_failed(&a, GP_TOO_MANY);
	expect_failed(&b, GP_TOO_MANY);
	assert_int_equal(stats().n_accounts, 0);
	start(&a, "A"); /* the next one tries anew */
	assert_int_equal(fake_n_opened(net), 2);
	end(&a);
	finish();
}

static void test_refused(void **state)
{
	(void)state;
	struct probe probe;

	begin(4, 100);
	start(&probe, "INBOX");
	fake_end(at(0), GP_REFUSED, "refused");
	expect_failed(&probe, GP_REFUSED);
	finish();
}

/* Everybody who waited for the mailbox is told; another try is theirs to make. */
static void test_lost_under_select(void **state)
{
	(void)state;
	struct probe probe, second;

	begin(4, 100);
	start(&probe, "INBOX");
	log_in(0);
	expect_examine(0, "INBOX");
	start(&second, "INBOX");
	fake_end(at(0), GP_LOST, "reset");
	expect_failed(&probe, GP_LOST);
	expect_failed(&second, GP_LOST);
	assert_int_equal(stats().n_accounts, 0);
	finish();
}

static void test_silent_under_select(void **state)
{
	(void)state;
	struct probe probe;

	begin(4, 100);
	pool->config.silence_timeout_ms = 1000;
	start(&probe, "INBOX");
	log_in(0);
	expect_examine(0, "INBOX");
	fake_turn(net, 1000);
	expect_failed(&probe, GP_DEADLINE); /* a silent server is not asked again */
	finish();
}

static void start_another(struct probe *self)
{
	start_as(self->other, bob, "B", false, false);
}

static void test_a_lease_that_starts_another_when_it_fails(void **state)
{
	(void)state;
	struct probe second = {.n_done = 0}, first = {.on_done = start_another, .other = &second};

	begin(4, 100);
	start_as(&first, bob, "A", false, false);
	fake_turn(net, 0);
	log_in(0);
	expect_examine(0, "A");
	fake_reply(at(0), "$ NO [NOPERM] not you\r\n");
	expect_failed(&first, GP_NO);
	examine(0, "B");
	assert_true(is_granted(&second));
	end(&second);
	finish();
}

/* Those behind it in the queue fail with it, the new one does not. */
static void test_a_lease_that_starts_another_when_the_login_fails(void **state)
{
	(void)state;
	struct probe third = {.n_done = 0}, second = {.n_done = 0}, first = {.on_done = start_another, .other = &third};

	begin(4, 100);
	start_as(&first, bob, "A", false, false);
	start_as(&second, bob, "A", false, false);
	fake_turn(net, 0);
	fake_end(at(0), GP_REFUSED, "no");
	expect_failed(&first, GP_REFUSED);
	expect_failed(&second, GP_REFUSED);
	assert_true(is_waiting(&third));
	log_in(1);
	examine(1, "B");
	end(&third);
	finish();
}

static void end_other(struct probe *self)
{
	imap_lease_end(&self->other->lease, false);
}

/* A callback may end the leases that would have come next. */
static void test_a_lease_that_ends_another_when_it_is_granted(void **state)
{
	(void)state;
	struct probe third = {.n_done = 0}, second = {.n_done = 0}, first = {.on_done = end_other, .other = &second};

	begin(4, 100);
	start_as(&first, bob, "A", false, false);
	start_as(&second, bob, "A", false, false);
	start_as(&third, bob, "A", false, false);
	fake_turn(net, 0);
	log_in(0);
	expect_examine(0, "A");
	answer(0);
	assert_true(is_granted(&first));
	assert_int_equal(second.n_done, 0);
	assert_true(is_granted(&third));
	end(&first);
	end(&third);
	finish();
}

static void test_lost_while_granted(void **state)
{
	(void)state;
	struct probe probe;

	begin(4, 100);
	start(&probe, "INBOX");
	log_in(0);
	examine(0, "INBOX");
	fake_end(at(0), GP_LOST, "reset");
	assert_true(is_granted(&probe)); /* its calls end with GP_LOST */
	assert_int_equal(imap_session_state(imap_lease_session(probe.lease)), IMAP_SESSION_CLOSED);
	assert_int_equal(stats().n_sessions, 0);
	assert_int_equal(stats().n_accounts, 1);
	end(&probe);
	assert_int_equal(stats().n_accounts, 0);
	finish();
}

static void test_a_suspect_session_is_closed(void **state)
{
	(void)state;
	struct probe probe, other, next;

	begin(4, 100);
	start(&probe, "INBOX");
	log_in(0);
	examine(0, "INBOX");
	start(&other, "INBOX");
	imap_lease_end(&probe.lease, true);
	fake_turn(net, 0);
	start(&next, "INBOX"); /* no new lease gets it */
	assert_true(is_waiting(&next));
	assert_false(fake_is_closed(at(0)));
	imap_lease_end(&other.lease, true);
	fake_turn(net, 0);
	fake_expect_nothing(at(0)); /* no LOGOUT: what would answer it? */
	assert_true(fake_is_closed(at(0)));
	log_in(1);
	examine(1, "INBOX");
	end(&next);
	finish();
}

static void test_no_memory_for_a_session(void **state)
{
	(void)state;
	struct probe probe;

	begin(4, 100);
	fake_set_open_fails(net, true);
	start(&probe, "INBOX");
	expect_failed(&probe, GP_NO_MEMORY);
	assert_int_equal(stats().n_accounts, 0);
	fake_set_open_fails(net, false);
	warm(0, "INBOX");
	finish();
}

/* ---- cancelled, drained, freed ---- */

static void test_cancel_in_every_state(void **state)
{
	(void)state;
	struct probe probe, other;

	begin(1, 100);
	imap_lease_end(&(struct imap_lease *){NULL}, false);
	/* before the turn that looks at it */
	probe = (struct probe){.n_done = 0};
	start_as(&probe, bob, "A", false, false);
	end(&probe);
	assert_int_equal(fake_n_opened(net), 0);
	assert_int_equal(stats().n_accounts, 0);
	/* while connecting */
	start(&probe, "A");
	end(&probe);
	log_in(0);
	/* while it is selected */
	start(&probe, "A");
	expect_examine(0, "A");
	end(&probe);
	answer(0);
	/* in the queue, behind another */
	start(&other, "B");
	examine(0, "B");
	start(&probe, "A");
	end(&probe);
	fake_expect_nothing(at(0));
	/* granted */
	end(&other);
	assert_int_equal(probe.n_done, 0);
	assert_int_equal(stats().n_leases, 0);
	assert_int_equal(stats().n_waiting, 0);
	assert_int_equal(stats().n_sessions, 1);
	finish();
}

static size_t n_drained;

static void on_drained(void *ctx)
{
	assert_ptr_equal(ctx, &n_drained);
	n_drained++;
}

static void test_drain(void **state)
{
	(void)state;
	struct imap_credential *ann = credential("ann", "x"), *eve = credential("eve", "x");
	struct probe held, waiting, idle = {.n_done = 0}, connecting = {.n_done = 0}, late;

	n_drained = 0;
	begin(1, 100);
	start(&held, "A");
	log_in(0);
	examine(0, "A");
	start(&waiting, "B");
	start_as(&idle, ann, NULL, false, false);
	fake_turn(net, 0);
	log_in(1);
	end(&idle);
	start_as(&connecting, eve, NULL, false, false);
	fake_turn(net, 0);

	imap_pool_drain(pool, on_drained, &n_drained);
	fake_turn(net, 0);
	expect_failed(&waiting, GP_DRAINING);
	expect_failed(&connecting, GP_DRAINING);
	assert_true(fake_is_closed(at(2)));
	log_out(1);
	start(&late, "A");
	expect_failed(&late, GP_DRAINING);
	assert_true(is_granted(&held));
	assert_int_equal(n_drained, 0);
	end(&held);
	assert_int_equal(n_drained, 0);
	log_out(0);
	fake_turn(net, 0);
	assert_int_equal(n_drained, 1);
	assert_int_equal(stats().n_accounts, 0);
	imap_credential_unref(&ann);
	imap_credential_unref(&eve);
	finish();
}

static void test_drain_of_nothing(void **state)
{
	(void)state;

	n_drained = 0;
	begin(1, 100);
	imap_pool_drain(pool, on_drained, &n_drained);
	assert_int_equal(n_drained, 0); /* from the loop */
	fake_turn(net, 0);
	assert_int_equal(n_drained, 1);
	finish();

	begin(1, 100);
	imap_pool_drain(pool, NULL, NULL);
	fake_turn(net, 0);
	finish();
}

static void test_lost_under_select_while_draining(void **state)
{
	(void)state;
	struct probe probe;

	n_drained = 0;
	begin(1, 100);
	start(&probe, "A");
	log_in(0);
	expect_examine(0, "A");
	imap_pool_drain(pool, on_drained, &n_drained);
	fake_turn(net, 0);
	fake_end(at(0), GP_LOST, "reset");
	expect_failed(&probe, GP_LOST);
	fake_turn(net, 0);
	assert_int_equal(n_drained, 1);
	finish();
}

static void test_free_closes_what_there_is(void **state)
{
	(void)state;
	struct imap_credential *ann = credential("ann", "x");
	struct probe probe = {.n_done = 0};

	begin(2, 100);
	imap_pool_free(&(struct imap_pool *){NULL});
	warm(0, "A");
	/* a SELECT under way that nobody wants, a NOOP, a connection, a closed session's last turn */
	start(&probe, "B");
	expect_examine(0, "B");
	end(&probe);
	start_as(&probe, ann, NULL, false, false);
	fake_turn(net, 0);
	end(&probe);
	assert_int_equal(stats().n_sessions, 2);
	finish();

	begin(2, 100);
	warm(0, "A");
	fake_turn(net, GP_SESSION_KEEPALIVE_MS);
	fake_expect(at(0), "NOOP");
	finish();
	imap_credential_unref(&ann);
}

static void on_tenant(void *ctx, struct imap_lease *lease, const struct gp_error *error)
{
	enum gp_status *status = ctx;

	assert_null(lease);
	*status = error->status;
}

/* A short lease that comes in the same turn takes the only session there may be. */
static void test_a_tenant_yields_to_a_short_lease(void **state)
{
	static const struct pool_tenant_events events = {.leave = NULL};
	enum gp_status status = GP_OK;
	struct probe first = {.n_done = 0};

	(void)state;
	begin(2, 1);
	warm(0, "A");
	struct imap_lease *tenant =
		pool_tenant_start(pool, bob, fake_now_ms(net) + REQUEST_MS, &events, on_tenant, &status);
	assert_non_null(tenant);
	start_as(&first, bob, NULL, false, false);
	fake_turn(net, 0);
	assert_int_equal(status, GP_POOL_FULL);
	assert_int_equal(fake_n_opened(net), 1);
	assert_int_equal(first.n_done, 1);
	assert_int_equal(first.status, GP_OK);
	imap_lease_end(&first.lease, false);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deadline_without_a_connection),
		cmocka_unit_test(test_deadline_while_others_work),
		cmocka_unit_test(test_deadline_without_room),
		cmocka_unit_test(test_deadline_under_select),
		cmocka_unit_test(test_idle_sessions_are_kept_alive_and_logged_out),
		cmocka_unit_test(test_a_short_idle_timeout),
		cmocka_unit_test(test_use_puts_the_idle_timeout_off),
		cmocka_unit_test(test_a_keepalive_that_is_not_answered),
		cmocka_unit_test(test_a_keepalive_under_way_when_a_lease_comes),
		cmocka_unit_test(test_an_idle_session_that_the_server_ends),
		cmocka_unit_test(test_an_old_session_takes_no_new_lease),
		cmocka_unit_test(test_a_session_nobody_waits_for_any_more),
		cmocka_unit_test(test_a_wrong_password_fails_all_and_retires),
		cmocka_unit_test(test_a_limit_lowers_the_cap_for_a_minute),
		cmocka_unit_test(test_a_limit_at_the_first_session_fails_all),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_lost_under_select),
		cmocka_unit_test(test_silent_under_select),
		cmocka_unit_test(test_a_lease_that_starts_another_when_it_fails),
		cmocka_unit_test(test_a_lease_that_starts_another_when_the_login_fails),
		cmocka_unit_test(test_a_lease_that_ends_another_when_it_is_granted),
		cmocka_unit_test(test_lost_while_granted),
		cmocka_unit_test(test_a_suspect_session_is_closed),
		cmocka_unit_test(test_no_memory_for_a_session),
		cmocka_unit_test(test_cancel_in_every_state),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_drain_of_nothing),
		cmocka_unit_test(test_lost_under_select_while_draining),
		cmocka_unit_test(test_free_closes_what_there_is),
		cmocka_unit_test(test_a_tenant_yields_to_a_short_lease),
	};

	gp_log_setup(GP_LOG_ERROR, GP_LOG_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
