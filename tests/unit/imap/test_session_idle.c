/* IDLE: a command that lasts until something else is to be sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "imap/calls.h"
#include "tests/support/fake_command.h"
#include "tests/support/fake_session.h"

struct ended {
	struct imap_call *call; /* own: while it runs */
	size_t n_done;
	enum gp_status status;
};

static void on_done(void *ctx, const struct gp_error *error)
{
	struct ended *self = ctx;

	self->call = NULL;
	self->n_done++;
	self->status = error ? error->status : GP_OK;
}

static void start_idle(struct fake_session *fake, struct ended *ended)
{
	*ended = (struct ended){.n_done = 0};
	ended->call = imap_idle_start(fake->session, on_done, ended);
	assert_non_null(ended->call);
	fake_turn(fake->network, 0);
}

static void noop(struct fake_session *fake, struct ended *ended)
{
	*ended = (struct ended){.n_done = 0};
	ended->call = imap_noop_start(fake->session, on_done, ended);
	assert_non_null(ended->call);
	fake_turn(fake->network, 0);
}

static void end(struct fake_session *fake, struct ended *first, struct ended *second)
{
	imap_call_cancel(&first->call);
	imap_call_cancel(&second->call);
	fake_session_free(&fake);
}

static void test_another_command_ends_it(void **state)
{
	(void)state;
	struct fake_session *fake = fake_session_ready("IMAP4rev1 IDLE");
	struct ended idle, other = {.n_done = 0};

	start_idle(fake, &idle);
	fake_expect(fake->transport, "IDLE");
	fake_feed(fake->transport, "+ idling\r\n");
	fake_expect_nothing(fake->transport);
	/* however long it is silent */
	fake_turn(fake->network, 60 * FAKE_SILENCE_TIMEOUT_MS);
	assert_int_equal(fake->n_closed, 0);
	noop(fake, &other);
	fake_expect_line(fake->transport, "DONE");
	fake_expect_nothing(fake->transport); /* NOOP waits for the end of IDLE */
	fake_reply(fake->transport, "$ OK idled\r\n");
	assert_int_equal(idle.n_done, 1);
	assert_int_equal(idle.status, GP_OK);
	fake_expect(fake->transport, "NOOP");
	fake_reply(fake->transport, "$ OK\r\n");
	assert_int_equal(other.n_done, 1);
	end(fake, &idle, &other);
}

static void test_never_done_before_the_server_is_ready(void **state)
{
	(void)state;
	for (int is_cancelled = 0; is_cancelled < 2; is_cancelled++) {
		struct fake_session *fake = fake_session_ready("IMAP4rev1 IDLE");
		struct ended idle, other = {.n_done = 0};
		start_idle(fake, &idle);
		fake_expect(fake->transport, "IDLE");
		if (is_cancelled) {
			imap_call_cancel(&idle.call);
			fake_turn(fake->network, 0);
		} else {
			noop(fake, &other);
		}
		fake_expect_nothing(fake->transport);
		fake_feed(fake->transport, "* 3 EXISTS\r\n");
		fake_expect_nothing(fake->transport);
		fake_feed(fake->transport, "+ idling\r\n");
		fake_expect_line(fake->transport, "DONE");
		fake_reply(fake->transport, "$ OK\r\n");
		assert_int_equal(idle.n_done, is_cancelled ? 0 : 1);
		if (!is_cancelled) {
			fake_expect(fake->transport, "NOOP");
		}
		fake_expect_nothing(fake->transport);
		end(fake, &idle, &other);
	}
}

static void test_waits_for_those_before(void **state)
{
	(void)state;
	struct fake_session *fake = fake_session_ready("IMAP4rev1 IDLE");
	struct ended idle, other = {.n_done = 0};

	noop(fake, &other);
	fake_expect(fake->transport, "NOOP");
	start_idle(fake, &idle);
	fake_expect_nothing(fake->transport);
	fake_reply(fake->transport, "$ OK\r\n");
	fake_expect(fake->transport, "IDLE");
	fake_feed(fake->transport, "+\r\n");
	imap_session_logout(fake->session);
	fake_turn(fake->network, 0);
	fake_expect_line(fake->transport, "DONE");
	fake_reply(fake->transport, "$ OK\r\n");
	fake_expect(fake->transport, "LOGOUT");
	end(fake, &idle, &other);
}

/* Its "+", and the answer to DONE, are owed. */
static void test_silence_when_something_is_owed(void **state)
{
	(void)state;
	for (int is_begun = 0; is_begun < 2; is_begun++) {
		struct fake_session *fake = fake_session_ready("IMAP4rev1 IDLE");
		struct ended idle, other = {.n_done = 0};
		start_idle(fake, &idle);
		fake_expect(fake->transport, "IDLE");
		if (is_begun) {
			fake_feed(fake->transport, "+ idling\r\n");
			fake_turn(fake->network, 10 * FAKE_SILENCE_TIMEOUT_MS);
			noop(fake, &other);
			fake_expect_line(fake->transport, "DONE");
		}
		fake_turn(fake->network, FAKE_SILENCE_TIMEOUT_MS - 1);
		assert_int_equal(fake->n_closed, 0);
		fake_turn(fake->network, 1);
		fake_session_expect_closed(fake, GP_DEADLINE);
		assert_int_equal(idle.n_done, 1);
		assert_int_equal(idle.status, GP_DEADLINE);
		end(fake, &idle, &other);
	}
}

static void test_answers(void **state)
{
	(void)state;
	static const struct {
		const char *feeds[2];
		enum gp_status status;
		bool is_closed;
	} cases[] = {
		{{"$ NO not now\r\n", NULL}, GP_NO, false},
		{{"$ BAD what\r\n", NULL}, GP_BAD, false},
		{{"$ OK no\r\n", NULL}, GP_PROTOCOL, true}, /* it was not sent whole */
		{{"+ idling\r\n", "$ OK enough\r\n"}, GP_OK, false},
		{{"+ idling\r\n", "$ BAD enough\r\n"}, GP_BAD, false},
		{{"+ idling\r\n", "* BYE enough\r\n"}, GP_LOST, true},
		{{"+ idling\r\n", "+ again\r\n"}, GP_OK, false},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake_session *fake = fake_session_ready("IMAP4rev1 IDLE");
		struct ended idle, other = {.n_done = 0};
		start_idle(fake, &idle);
		fake_expect(fake->transport, "IDLE");
		for (size_t k = 0; k < 2 && cases[i].feeds[k]; k++) {
			fake_reply(fake->transport, cases[i].feeds[k]);
		}
		bool is_on = i == sizeof cases / sizeof *cases - 1;
		assert_int_equal(idle.n_done, !is_on);
		if (idle.status != cases[i].status) {
			fail_msg("case %zu: %s", i, gp_status_name(idle.status));
		}
		assert_int_equal(fake->n_closed, cases[i].is_closed);
		if (!cases[i].is_closed && !is_on) {
			noop(fake, &other);
			fake_expect(fake->transport, "NOOP");
		}
		end(fake, &idle, &other);
	}
}

/* One after another, without a moment between. */
static void test_renewed(void **state)
{
	(void)state;
	struct fake_session *fake = fake_session_ready("IMAP4rev1 IDLE");
	struct ended first, second;

	start_idle(fake, &first);
	fake_expect(fake->transport, "IDLE");
	fake_feed(fake->transport, "+ idling\r\n");
	imap_call_cancel(&first.call);
	start_idle(fake, &second);
	fake_expect_line(fake->transport, "DONE");
	fake_reply(fake->transport, "$ OK\r\n");
	fake_expect(fake->transport, "IDLE");
	fake_feed(fake->transport, "+ idling\r\n");
	assert_int_equal(first.n_done, 0);
	assert_int_equal(second.n_done, 0);
	fake_end(fake->transport, GP_LOST, "gone");
	assert_int_equal(second.n_done, 1);
	assert_int_equal(second.status, GP_LOST);
	end(fake, &first, &second);
}

static void test_not_offered(void **state)
{
	(void)state;
	struct fake_session *fake = fake_session_ready("IMAP4rev1");
	struct ended ended;

	start_idle(fake, &ended);
	assert_int_equal(ended.status, GP_UNSUPPORTED);
	assert_non_null(imap_notify_start(fake->session, on_done, &ended));
	fake_turn(fake->network, 0);
	assert_int_equal(ended.n_done, 2);
	assert_int_equal(ended.status, GP_UNSUPPORTED);
	fake_expect_nothing(fake->transport);
	fake_session_free(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_another_command_ends_it),
		cmocka_unit_test(test_never_done_before_the_server_is_ready),
		cmocka_unit_test(test_waits_for_those_before),
		cmocka_unit_test(test_silence_when_something_is_owed),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_renewed),
		cmocka_unit_test(test_not_offered),
	};

	gp_log_setup(GP_LOG_ERROR, GP_LOG_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
