/*
 * How a session ends: closed, lost, silent, logged out; and what becomes of its commands.
 * Every test runs twice: with the server's bytes in whole pieces, and one at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "imap/session_internal.h"
#include "tests/support/fake_command.h"
#include "tests/support/fake_session.h"

#define BASIC "IMAP4rev1"

static const struct imap_command_spec plain = {.kind = IMAP_COMMAND_PLAIN};

static size_t split; /* of the run: 0 or 1 */

static struct fake_session *ready(const char *capabilities)
{
	struct fake_session *fake = fake_session_ready(capabilities);

	fake_set_split(fake->network, split);
	fake_command_reset_order();
	return fake;
}

/* ---- closed ---- */

static void start_last(struct fake_command *self)
{
	fake_command_start(self->other, self->session, "NOOP", &plain);
}

/* One that starts another when it ends. */
static void start_other(struct fake_command *self)
{
	struct fake_command *last = self->other->other;

	fake_command_start(self->other, self->session, "CHECK", &plain);
	self->other->other = last;
	self->other->on_done = start_last;
}

static void close_session(struct fake_command *self)
{
	struct gp_error error = {.status = GP_CANCELLED, .text = "enough"};

	imap_session_close(self->session, &error);
}

static void test_close_ends_everything(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command flying, queued[2], failed, draft;
	struct gp_error error = {.status = GP_CANCELLED, .text = "enough"};
	struct gp_error other = {.status = GP_TLS, .text = "too late"};

	fake_command_select(&flying, fake->session, "INBOX", false);
	fake_command_start(&queued[0], fake->session, "NOOP", &plain);
	fake_command_start(&queued[1], fake->session, "NOOP", &plain);
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "SELECT INBOX");
	fake_command_new(&failed, fake->session, "LIST", &plain);
	imap_writer_astring(imap_command_writer(failed.command), span_make("\0", 1));
	fake_command_submit(&failed);
	fake_command_new(&draft, fake->session, "NOOP", &plain);
	imap_session_close(fake->session, &error);
	imap_session_close(fake->session, &other);
	assert_int_equal(flying.n_done + queued[0].n_done + fake->n_closed, 0);
	imap_command_cancel(&queued[0].command);
	fake_turn(fake->network, 0);
	fake_command_expect(&flying, GP_CANCELLED);
	assert_false(flying.has_response);
	fake_command_expect(&queued[1], GP_CANCELLED);
	fake_command_expect(&failed, GP_INVALID);
	assert_int_equal(queued[0].n_done, 0);
	fake_session_expect_closed(fake, GP_CANCELLED);
	assert_string_equal(fake->error.text, "enough");
	/* what comes late is lost, from the loop */
	fake_command_submit(&draft);
	fake_turn(fake->network, 0);
	fake_command_expect(&draft, GP_LOST);
	fake_command_start(&draft, fake->session, "NOOP", &plain);
	imap_command_cancel(&draft.command);
	fake_turn(fake->network, 60000);
	fake_session_expect_closed(fake, GP_CANCELLED);
	assert_int_equal(fake->n_idle, 0);
	fake_session_free(&fake);
}

static void test_close_in_callbacks(void **state)
{
	(void)state;
	struct imap_uidset uids;

	imap_uidset_init(&uids);
	assert_int_equal(imap_uidset_add(&uids, 7, 9), GP_OK);
	const struct imap_command_spec fetch = {.kind = IMAP_COMMAND_FETCH, .uids = &uids};
	for (int is_in_row = 0; is_in_row < 2; is_in_row++) {
		struct fake_session *fake = ready(BASIC);
		struct fake_command first, second, late, last;
		fake_command_start(&first, fake->session, "FETCH", &fetch);
		fake_command_start(&second, fake->session, "FETCH", &fetch);
		*(is_in_row ? &first.on_row : &first.on_done) = close_session;
		second.other = &late;
		late.other = &last;
		second.on_done = start_other;
		fake_turn(fake->network, 0);
		fake_expect(fake->transport, "FETCH");
		fake_expect(fake->transport, "FETCH");
		fake_reply(fake->transport, "* 1 FETCH (UID 7)\r\n$ OK\r\n$ OK\r\n* 2 FETCH (UID 8)\r\n");
		fake_command_expect(&first, is_in_row ? GP_CANCELLED : GP_OK);
		fake_command_expect(&second, GP_CANCELLED);
		assert_string_equal(first.rows, "FETCH 7;");
		assert_string_equal(second.rows, is_in_row ? "" : "FETCH 7;");
		/* started in a done() of the end: they too before `closed` */
		fake_command_expect(&late, GP_LOST);
		fake_command_expect(&last, GP_LOST);
		fake_session_expect_closed(fake, GP_CANCELLED);
		fake_session_free(&fake);
	}
	imap_uidset_deinit(&uids);
}

static void free_session(struct fake_session *fake)
{
	imap_session_free(&fake->session);
}

static void close_ready(struct fake_session *fake)
{
	struct gp_error error = {.status = GP_CANCELLED, .text = "enough"};

	imap_session_close(fake->session, &error);
}

/* Whoever gives no reason does not make it a success. */
static void test_close_without_a_reason(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command command;
	struct gp_error error = {.status = GP_OK};

	fake_command_start(&command, fake->session, "NOOP", &plain);
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "NOOP");
	imap_session_close(fake->session, &error);
	fake_turn(fake->network, 0);
	fake_command_expect(&command, GP_LOST);
	fake_session_expect_closed(fake, GP_LOST);
	fake_session_free(&fake);
}

static void test_closed_may_free(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command command;

	fake->on_closed = free_session;
	fake_command_start(&command, fake->session, "NOOP", &plain);
	fake_turn(fake->network, 0);
	fake_end(fake->transport, GP_LOST, "reset");
	fake_command_expect(&command, GP_LOST);
	assert_null(fake->session);
	fake_session_free(&fake);
}

static void test_close_in_ready(void **state)
{
	(void)state;
	struct fake_session *fake = fake_session_new(IMAP_SECURITY_TLS);
	struct fake_command command;

	fake_set_split(fake->network, split);
	fake->on_ready = close_ready;
	fake_command_start(&command, fake->session, "NOOP", &plain);
	fake_log_in(fake->transport, BASIC);
	fake_command_expect(&command, GP_CANCELLED);
	fake_session_expect_closed(fake, GP_CANCELLED);
	fake_session_free(&fake);
}

static void test_free_says_nothing(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command flying, queued, draft;

	fake_command_select(&flying, fake->session, "INBOX", false);
	fake_command_start(&queued, fake->session, "NOOP", &plain);
	fake_turn(fake->network, 0);
	fake_command_new(&draft, fake->session, "NOOP", &plain);
	imap_session_free(&fake->session);
	fake_turn(fake->network, 100000);
	assert_int_equal(flying.n_done + queued.n_done + fake->n_closed, 0);
	assert_true(fake_is_closed(fake->transport));
	imap_session_free(&fake->session);
	fake_session_free(&fake);
}

static void test_no_memory_for_a_transport(void **state)
{
	(void)state;
	struct fake_network *network = fake_network_new();
	struct imap_endpoint endpoint = {.host = "h", .port = 993};
	const struct imap_session_events events = {.ready = NULL};
	struct imap_credential *credential = NULL;

	assert_int_equal(imap_credential_new(SPAN_LIT("a"), SPAN_LIT("b"), &credential), GP_OK);
	const struct imap_session_config config = {.network = fake_as_network(network),
						   .endpoint = &endpoint,
						   .timers = fake_timers(network),
						   .credential = credential};
	fake_set_open_fails(network, true);
	assert_null(imap_session_new(&config, &events, NULL));
	imap_credential_unref(&credential);
	fake_network_free(&network);
}

static void test_lost(void **state)
{
	(void)state;
	static const struct {
		const char *bytes; /* before the end; "$" is the NOOP */
		enum gp_status end, status;
		const char *code, *text;
	} cases[] = {
		{"", GP_LOST, GP_LOST, "", "cut"},
		{"", GP_TLS, GP_LOST, "", "cut"},
		{"* 1 FETCH (UID 7 BODY[] {100}\r\nabc", GP_TLS, GP_LOST, "", "cut"},
		{"$ O", GP_LOST, GP_LOST, "", "cut"},
		{"* BYE Disconnected for inactivity.\r\n", GP_LOST, GP_LOST, "", "Disconnected for inactivity."},
		{"* BYE [UNAVAILABLE] Restart\r\n", GP_LOST, GP_LOST, "UNAVAILABLE", "Restart"},
		{"* BYE\r\n* BYE\r\n$ OK\r\n", GP_LOST, GP_LOST, "", "the connection to the IMAP server was lost"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake_session *fake = ready(BASIC);
		struct fake_command command, queued;
		fake_command_start(&command, fake->session, "NOOP", &plain);
		fake_command_select(&queued, fake->session, "INBOX", false);
		fake_turn(fake->network, 0);
		fake_expect(fake->transport, "NOOP");
		fake_reply(fake->transport, cases[i].bytes);
		fake_end(fake->transport, cases[i].end, "cut");
		fake_command_expect(&command, cases[i].status);
		fake_command_expect(&queued, cases[i].status);
		assert_string_equal(command.error.code, cases[i].code);
		assert_string_equal(command.error.text, cases[i].text);
		fake_session_expect_closed(fake, cases[i].status);
		fake_session_free(&fake);
	}
}

static void test_line_without_end(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	char *bytes = malloc(1 << 20);

	assert_non_null(bytes);
	memset(bytes, 'x', 1 << 20);
	fake_set_split(fake->network, 0);
	for (int i = 0; i < 64 && fake->n_closed == 0; i++) {
		fake_feed_bytes(fake->transport, span_make(bytes, 1 << 20));
	}
	free(bytes);
	fake_session_expect_closed(fake, GP_PROTOCOL);
	fake_session_free(&fake);
}

/* ---- silence ---- */

static void test_silence(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command first, second;

	/* nothing in flight: it may be silent for ever */
	fake_turn(fake->network, 10 * FAKE_SILENCE_TIMEOUT_MS);
	fake_command_start(&first, fake->session, "NOOP", &plain);
	fake_turn(fake->network, FAKE_SILENCE_TIMEOUT_MS - 1);
	fake_expect(fake->transport, "NOOP");
	/* any byte is a sign of life */
	fake_feed(fake->transport, "* OK Still her");
	assert_int_equal(imap_session_last_received_ms(fake->session), fake_now_ms(fake->network));
	fake_turn(fake->network, FAKE_SILENCE_TIMEOUT_MS - 1);
	fake_feed(fake->transport, "e\r\n");
	/* but sending is none */
	fake_turn(fake->network, FAKE_SILENCE_TIMEOUT_MS / 2);
	fake_command_start(&second, fake->session, "CHECK", &plain);
	fake_turn(fake->network, FAKE_SILENCE_TIMEOUT_MS / 2 - 1);
	assert_int_equal(fake->n_closed, 0);
	fake_turn(fake->network, 1);
	fake_command_expect(&first, GP_DEADLINE);
	assert_non_null(strstr(first.error.text, "silent"));
	fake_command_expect(&second, GP_DEADLINE);
	fake_session_expect_closed(fake, GP_DEADLINE);
	fake_session_free(&fake);
}

static void test_silence_ends_with_the_answer(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command command;

	for (int i = 0; i < 3; i++) {
		fake_command_start(&command, fake->session, "NOOP", &plain);
		fake_turn(fake->network, FAKE_SILENCE_TIMEOUT_MS - 1);
		fake_expect(fake->transport, "NOOP");
		fake_reply(fake->transport, "$ OK\r\n");
		fake_command_expect(&command, GP_OK);
		fake_turn(fake->network, 7);
	}
	fake_turn(fake->network, 10 * FAKE_SILENCE_TIMEOUT_MS);
	assert_int_equal(fake->n_closed, 0);
	fake_session_free(&fake);
}

/* A command that was cancelled is still waited for. */
static void test_silence_while_draining(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command command;

	fake_command_start(&command, fake->session, "NOOP", &plain);
	fake_turn(fake->network, 0);
	imap_command_cancel(&command.command);
	fake_turn(fake->network, FAKE_SILENCE_TIMEOUT_MS);
	fake_session_expect_closed(fake, GP_DEADLINE);
	fake_session_free(&fake);
}

/* ---- logout ---- */

static void test_logout(void **state)
{
	(void)state;
	static const struct {
		const char *answer; /* NULL: the connection ends; "": silence */
		const char *text;
	} cases[] = {
		{"* BYE bye\r\n$ OK done\r\n", "logged out"},
		{"$ BAD no\r\n", "logged out"},
		{"* BYE bye\r\n", "the IMAP server did not answer LOGOUT in time"},
		{"", "the IMAP server did not answer LOGOUT in time"},
		{NULL, "logged out"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake_session *fake = ready(BASIC);
		struct fake_command before, behind;
		fake_command_start(&before, fake->session, "NOOP", &plain);
		imap_session_logout(fake->session);
		imap_session_logout(fake->session);
		fake_command_start(&behind, fake->session, "NOOP", &plain);
		assert_int_equal(imap_session_state(fake->session), IMAP_SESSION_LOGOUT);
		fake_turn(fake->network, 0);
		fake_expect(fake->transport, "NOOP");
		fake_expect_nothing(fake->transport);
		fake_reply(fake->transport, "$ OK\r\n");
		fake_command_expect(&before, GP_OK);
		fake_expect(fake->transport, "LOGOUT");
		fake_expect_nothing(fake->transport);
		if (cases[i].answer) {
			fake_reply(fake->transport, cases[i].answer);
		} else {
			fake_end(fake->transport, GP_LOST, "eof");
		}
		fake_turn(fake->network, IMAP_SESSION_LOGOUT_MS);
		fake_command_expect(&behind, GP_LOST);
		fake_session_expect_closed(fake, GP_LOST);
		assert_string_equal(fake->error.text, cases[i].text);
		fake_session_free(&fake);
	}
}

static void test_logout_before_ready(void **state)
{
	(void)state;
	struct fake_session *fake = fake_session_new(IMAP_SECURITY_TLS);

	imap_session_logout(fake->session);
	assert_int_equal(fake->n_closed, 0);
	fake_turn(fake->network, 0);
	fake_session_expect_closed(fake, GP_CANCELLED);
	imap_session_logout(fake->session);
	fake_turn(fake->network, 10000);
	fake_session_expect_closed(fake, GP_CANCELLED);
	fake_session_free(&fake);
}

/* What is in front of LOGOUT may not hold it up for ever. */
static void test_logout_behind_a_hanging_command(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command command;

	fake_command_start(&command, fake->session, "NOOP", &plain);
	imap_session_logout(fake->session);
	fake_turn(fake->network, IMAP_SESSION_LOGOUT_MS - 1);
	assert_int_equal(fake->n_closed, 0);
	fake_turn(fake->network, 1);
	fake_command_expect(&command, GP_LOST);
	fake_session_expect_closed(fake, GP_LOST);
	fake_session_free(&fake);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_close_ends_everything),
		cmocka_unit_test(test_close_in_callbacks),
		cmocka_unit_test(test_close_without_a_reason),
		cmocka_unit_test(test_closed_may_free),
		cmocka_unit_test(test_close_in_ready),
		cmocka_unit_test(test_free_says_nothing),
		cmocka_unit_test(test_no_memory_for_a_transport),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_line_without_end),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_silence_ends_with_the_answer),
		cmocka_unit_test(test_silence_while_draining),
		cmocka_unit_test(test_logout),
		cmocka_unit_test(test_logout_before_ready),
		cmocka_unit_test(test_logout_behind_a_hanging_command),
	};

	return cmocka_run_group_tests_name(split ? "end of a session, a byte at a time" : "end of a session", tests,
					   NULL, NULL);
}

int main(void)
{
	int n_failed = run();

	split = 1;
	return n_failed + run();
}
