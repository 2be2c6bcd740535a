/*
 * The account invariant: a lease speaks on its own account's session, in its own mailbox,
 * and leaves nothing behind; else the program ends. And what is no defect of ours, a
 * session that a server or a cancel left in doubt, is not given to anybody.
 */
#include "pool_support.h"

#include "imap/session_internal.h"
#include "tests/unit/strict_end.h"

static void use(void *ctx)
{
	struct probe *probe = ctx;

	(void)imap_lease_session(probe->lease);
}

/* ---- what no input brings about ---- */

static void become_ann(void *ctx)
{
	struct probe *probe = ctx;

	probe->lease->credential = credential("ann", "x");
	use(ctx);
}

static void change_password(void *ctx)
{
	struct probe *probe = ctx;

	probe->lease->credential = credential("bob", "Secret");
	use(ctx);
}

static void change_account(void *ctx)
{
	static struct pool_account other;
	struct probe *probe = ctx;

	other = *probe->lease->account;
	probe->lease->account = &other;
	use(ctx);
}

static void change_server(void *ctx)
{
	static struct imap_endpoint other;

	other = endpoint;
	pool->config.endpoint = &other;
	use(ctx);
}

static void change_mailbox(void *ctx)
{
	struct probe *probe = ctx;

	probe->lease->mailbox = strdup("Work");
	use(ctx);
}

static void test_a_lease_that_is_not_its_sessions(void **state)
{
	(void)state;
	void (*const works[])(void *) = {become_ann, change_password, change_account, change_server, change_mailbox};
	struct probe probe;

	begin(4, 100);
	start(&probe, "INBOX");
	log_in(0);
	examine(0, "INBOX");
	assert_non_null(imap_lease_session(probe.lease));
	for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
		expect_abort(works[i], &probe);
	}
	assert_non_null(imap_lease_session(probe.lease));
	end(&probe);
	finish();
}

static void grant_anns(void *ctx)
{
	struct imap_credential *ann = credential("ann", "x");
	struct probe probe = {.n_done = 0};
	struct pool_session *bobs = ctx;

	start_as(&probe, ann, NULL, false, false);
	pool_lease_list_remove(&probe.lease->account->waiting[POOL_QUEUE_SHORT], probe.lease);
	pool_session_attach(bobs, probe.lease);
}

/* As a pool would that found the account by half of its key. */
static void test_a_grant_of_anothers_session(void **state)
{
	(void)state;
	struct probe probe;

	begin(4, 100);
	start(&probe, NULL);
	log_in(0);
	expect_abort(grant_anns, probe.lease->session);
	end(&probe);
	finish();
}

static void ignore(void *ctx, const struct gp_error *error)
{
	(void)ctx;
	(void)error;
}

static void end_lease(void *ctx)
{
	struct probe *probe = ctx;

	imap_lease_end(&probe->lease, false);
}

static void test_a_call_that_outlives_its_lease(void **state)
{
	(void)state;
	struct probe probe;

	begin(4, 100);
	start(&probe, NULL);
	log_in(0);
	struct imap_call *call = imap_noop_start(imap_lease_session(probe.lease), ignore, NULL);
	expect_abort(end_lease, &probe); /* in the queue */
	fake_turn(net, 0);
	fake_expect(at(0), "NOOP");
	expect_abort(end_lease, &probe); /* in flight */
	imap_call_cancel(&call);
	end(&probe);
	fake_reply(at(0), "$ OK\r\n");
	finish();
}

/* What the session asks behind its login is its own, and may outlast leases. */
static void test_the_sessions_own_questions(void **state)
{
	(void)state;
	struct probe probe;

	begin(4, 100);
	start(&probe, NULL);
	fake_log_in(at(0), "IMAP4rev1 ENABLE CONDSTORE NAMESPACE");
	assert_true(is_granted(&probe));
	struct imap_call *call = imap_noop_start(imap_lease_session(probe.lease), ignore, NULL);
	expect_abort(end_lease, &probe);
	imap_call_cancel(&call);
	end(&probe);
	finish();
}

/* ---- what servers, cancels and losses bring about ---- */

/* What was cancelled on the session is drained before its mailbox changes. */
static void test_drained_before_another_mailbox(void **state)
{
	(void)state;
	struct probe probe, next;

	begin(1, 100);
	start(&probe, "INBOX");
	log_in(0);
	examine(0, "INBOX");
	struct imap_call *call = imap_noop_start(imap_lease_session(probe.lease), ignore, NULL);
	fake_turn(net, 0);
	fake_expect(at(0), "NOOP");
	imap_call_cancel(&call);
	end(&probe);
	start(&next, "Work");
	fake_expect_nothing(at(0));
	assert_true(is_waiting(&next));
	fake_reply(at(0), "$ OK\r\n");
	fake_turn(net, 0);
	examine(0, "Work");
	assert_true(is_granted(&next));
	end(&next);
	finish();
}

/* An answer to nothing: in doubt from this moment on, not only when `closed` was told. */
static void test_in_doubt_within_the_turn(void **state)
{
	(void)state;
	struct probe next = {.n_done = 0};

	begin(4, 100);
	warm(0, "INBOX");
	struct imap_session *session = NULL;
	for (size_t i = 0; i < POOL_BUCKETS && !session; i++) {
		session = pool->buckets[i] ? pool->buckets[i]->first_session->session : NULL;
	}
	assert_true(imap_session_is_in_step(session));
	start_as(&next, bob, "INBOX", false, false); /* looked at before the session's end is told */
	imap_session_fail(session, GP_PROTOCOL, "in doubt");
	assert_false(imap_session_is_in_step(session));
	fake_turn(net, 0);
	assert_true(is_waiting(&next));
	log_in(1);
	examine(1, "INBOX");
	assert_true(is_granted(&next));
	end(&next);
	finish();
}

/* RFC 7162: the server says that it is none any more. What is asked next selects it anew. */
/* What the server has said of the mailbox cannot be: it is selected anew, once nobody holds it. */
static void test_a_mailbox_in_doubt(void **state)
{
	(void)state;
	struct probe first, next;

	begin(1, 100);
	warm(0, "INBOX");
	start(&first, "INBOX");
	assert_true(is_granted(&first));
	fake_feed(at(0), "* VANISHED 4294967295\r\n");
	start(&next, "INBOX");
	assert_true(is_waiting(&next));
	end(&first);
	examine(0, "INBOX");
	assert_true(is_granted(&next));
	assert_true(imap_lease_is_fresh(next.lease));
	end(&next);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_lease_that_is_not_its_sessions),
		cmocka_unit_test(test_a_grant_of_anothers_session),
		cmocka_unit_test(test_a_call_that_outlives_its_lease),
		cmocka_unit_test(test_the_sessions_own_questions),
		cmocka_unit_test(test_drained_before_another_mailbox),
		cmocka_unit_test(test_in_doubt_within_the_turn),
		cmocka_unit_test(test_a_mailbox_in_doubt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
