/*
 * The session's queue: what is sent when, how commands end or are taken back.
 * Every test runs twice: with the server's bytes in whole pieces, and one at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "imap/session_internal.h"
#include "tests/support/fake_command.h"
#include "tests/support/fake_session.h"

#define BASIC "IMAP4rev1"

static const struct imap_command_spec plain = {.kind = IMAP_COMMAND_PLAIN};
static const struct imap_command_spec search = {.kind = IMAP_COMMAND_SEARCH};

static size_t split; /* of the run: 0 or 1 */

static struct fake_session *ready(const char *capabilities)
{
	struct fake_session *fake = fake_session_ready(capabilities);

	fake_set_split(fake->network, split);
	fake_command_reset_order();
	return fake;
}

/* SEARCH SUBJECT with text that needs a literal. */
static void start_literal(struct fake_command *command, struct fake_session *fake, const char *text)
{
	fake_command_new(command, fake->session, "SEARCH", &search);
	imap_writer_word(imap_command_writer(command->command), "SUBJECT");
	imap_writer_string(imap_command_writer(command->command), span_of(text));
	fake_command_submit(command);
}

/* ---- sending ---- */

static void test_one_turn_one_write(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command commands[3];
	size_t n_writes = fake_n_writes(fake->transport);

	for (size_t i = 0; i < 3; i++) {
		fake_command_start(&commands[i], fake->session, "NOOP", &plain);
	}
	fake_expect_nothing(fake->transport);
	assert_int_equal(imap_session_n_commands(fake->session), 3);
	fake_turn(fake->network, 0);
	assert_int_equal(fake_n_writes(fake->transport), n_writes + 1);
	for (size_t i = 0; i < 3; i++) {
		fake_expect(fake->transport, "NOOP");
	}
	fake_expect_nothing(fake->transport);
	fake_reply(fake->transport, "$ OK 1\r\n$ NO [X-Strange  y] 2\r\n");
	assert_int_equal(fake->n_idle, 0);
	fake_reply(fake->transport, "$ BAD 3\r\n");
	assert_int_equal(fake->n_idle, 1);
	fake_command_expect(&commands[0], GP_OK);
	fake_command_expect(&commands[1], GP_NO);
	assert_string_equal(commands[1].error.code, "X-STRANGE");
	assert_string_equal(commands[1].error.text, "2");
	fake_command_expect(&commands[2], GP_BAD);
	assert_int_equal(imap_session_n_commands(fake->session), 0);
	fake_session_free(&fake);
}

/* What a debug log says of commands costs none of them anything. */
static void test_logged(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command good, refused, lost;

	gp_log_setup(GP_LOG_DEBUG, GP_LOG_TEXT);
	fake_command_start(&good, fake->session, "NOOP", &plain);
	fake_command_start(&refused, fake->session, "CHECK", &plain);
	fake_command_start(&lost, fake->session, "NOOP", &plain);
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "NOOP");
	fake_expect(fake->transport, "CHECK");
	fake_expect(fake->transport, "NOOP");
	fake_reply(fake->transport, "$ OK\r\n$ NO [NOPERM] no\r\n");
	fake_end(fake->transport, GP_LOST, "cut");
	gp_log_setup(GP_LOG_INFO, GP_LOG_TEXT);
	fake_command_expect(&good, GP_OK);
	fake_command_expect(&refused, GP_NO);
	fake_command_expect(&lost, GP_LOST);
	fake_session_free(&fake);
}

static void test_answers_in_any_order(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command first, second;
	char line[64];

	fake_command_start(&first, fake->session, "NOOP", &plain);
	fake_command_start(&second, fake->session, "CHECK", &plain);
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "NOOP");
	snprintf(line, sizeof line, "%s OK done\r\n", fake_expect(fake->transport, "CHECK"));
	fake_feed(fake->transport, line);
	assert_int_equal(first.n_done, 0);
	fake_command_expect(&second, GP_OK);
	fake_reply(fake->transport, "$ OK done\r\n");
	fake_command_expect(&first, GP_OK);
	fake_session_free(&fake);
}

static void test_commands_wait_for_the_login(void **state)
{
	(void)state;
	struct fake_session *fake = fake_session_new(IMAP_SECURITY_TLS);
	struct fake_command command;

	fake_command_reset_order();
	fake_set_split(fake->network, split);
	fake_command_start(&command, fake->session, "NOOP", &plain);
	fake_turn(fake->network, 10);
	fake_connect(fake->transport);
	fake_log_in(fake->transport, BASIC " ID");
	assert_int_equal(fake->n_ready, 1);
	fake_expect(fake->transport, "NOOP");
	fake_reply(fake->transport, "$ OK\r\n");
	fake_command_expect(&command, GP_OK);
	fake_session_free(&fake);
}

static void test_barriers(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command before[2], select, behind[2];

	fake_command_start(&before[0], fake->session, "NOOP", &plain);
	fake_command_start(&before[1], fake->session, "NOOP", &plain);
	fake_command_select(&select, fake->session, "Work", false);
	fake_command_start(&behind[0], fake->session, "CHECK", &plain);
	fake_command_start(&behind[1], fake->session, "CHECK", &plain);
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "NOOP");
	fake_expect(fake->transport, "NOOP");
	fake_expect_nothing(fake->transport);
	fake_reply(fake->transport, "$ OK\r\n");
	fake_expect_nothing(fake->transport);
	fake_reply(fake->transport, "$ OK\r\n");
	fake_expect(fake->transport, "SELECT Work");
	fake_expect_nothing(fake->transport);
	fake_reply(fake->transport, "$ OK\r\n");
	fake_expect(fake->transport, "CHECK");
	fake_expect(fake->transport, "CHECK");
	fake_reply(fake->transport, "$ OK\r\n$ OK\r\n");
	fake_command_expect(&behind[1], GP_OK);
	assert_int_equal(behind[1].order, 5);
	assert_int_equal(fake->n_idle, 1);
	fake_session_free(&fake);
}

static void test_ambiguous_answers_are_not_pipelined(void **state)
{
	(void)state;
	static const struct {
		const char *capabilities;
		enum imap_command_kind kind;
		bool is_held;
	} cases[] = {
		{BASIC, IMAP_COMMAND_SEARCH, true},
		{BASIC " ESEARCH", IMAP_COMMAND_SEARCH, false},
		{BASIC " ESEARCH", IMAP_COMMAND_SORT, true},
		{BASIC, IMAP_COMMAND_LIST, true},
		{BASIC, IMAP_COMMAND_LSUB, true},
		{BASIC, IMAP_COMMAND_NAMESPACE, true},
		{BASIC, IMAP_COMMAND_MYRIGHTS, true},
		{BASIC, IMAP_COMMAND_STATUS, false},
		{BASIC, IMAP_COMMAND_FETCH, false},
		{BASIC, IMAP_COMMAND_PLAIN, false},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake_session *fake = ready(cases[i].capabilities);
		const struct imap_command_spec spec = {.kind = cases[i].kind};
		struct fake_command first, second, other;
		fake_command_start(&first, fake->session, "FIRST", &spec);
		fake_command_start(&other, fake->session, "OTHER", &plain);
		fake_command_start(&second, fake->session, "SECOND", &spec);
		fake_turn(fake->network, 0);
		fake_expect(fake->transport, "FIRST");
		fake_expect(fake->transport, "OTHER");
		if (cases[i].is_held) {
			fake_expect_nothing(fake->transport);
		}
		fake_reply(fake->transport, "$ OK\r\n");
		fake_expect(fake->transport, "SECOND");
		fake_reply(fake->transport, "$ OK\r\n$ OK\r\n");
		fake_command_expect(&second, GP_OK);
		fake_session_free(&fake);
	}
}

static void test_not_too_many_in_flight(void **state)
{
	(void)state;
	enum { N = IMAP_SESSION_MAX_IN_FLIGHT + 2 };
	struct fake_session *fake = ready(BASIC);
	struct fake_command *commands = calloc(N, sizeof *commands);

	for (size_t i = 0; i < N; i++) {
		fake_command_start(&commands[i], fake->session, "NOOP", &plain);
	}
	fake_turn(fake->network, 0);
	for (size_t i = 0; i < IMAP_SESSION_MAX_IN_FLIGHT; i++) {
		fake_expect(fake->transport, "NOOP");
	}
	fake_expect_nothing(fake->transport);
	fake_reply(fake->transport, "$ OK\r\n");
	fake_expect(fake->transport, "NOOP");
	fake_expect_nothing(fake->transport);
	fake_session_free(&fake);
	free(commands);
}

/* ---- literals ---- */

static void test_literal_waits_for_plus(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command literal, behind;

	start_literal(&literal, fake, "gr\xC3\xBC\xC3\x9F");
	fake_command_start(&behind, fake->session, "NOOP", &plain);
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "SEARCH SUBJECT {6}");
	fake_expect_nothing(fake->transport);
	fake_feed(fake->transport, "* 3 EXISTS\r\n+ go\r\n");
	fake_expect_line(fake->transport, "gr\xC3\xBC\xC3\x9F");
	fake_expect(fake->transport, "NOOP");
	fake_expect_nothing(fake->transport);
	fake_reply(fake->transport, "* SEARCH 1 2\r\n$ OK\r\n$ OK\r\n");
	assert_string_equal(literal.rows, "SEARCH 2;");
	fake_command_expect(&behind, GP_OK);
	fake_session_free(&fake);
}

static void test_literal_refused(void **state)
{
	(void)state;
	static const struct {
		const char *answer;
		enum gp_status status;
	} cases[] = {{"$ NO [BADCHARSET (US-ASCII)] no\r\n", GP_NO}, {"$ BAD no\r\n", GP_BAD}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake_session *fake = ready(BASIC);
		struct fake_command literal, behind;
		start_literal(&literal, fake, "\xC3\xBC");
		fake_command_start(&behind, fake->session, "NOOP", &plain);
		fake_turn(fake->network, 0);
		fake_expect(fake->transport, "SEARCH SUBJECT {2}");
		fake_reply(fake->transport, cases[i].answer);
		fake_command_expect(&literal, cases[i].status);
		/* and not a byte of the literal */
		fake_expect(fake->transport, "NOOP");
		fake_expect_nothing(fake->transport);
		fake_reply(fake->transport, "$ OK\r\n");
		fake_command_expect(&behind, GP_OK);
		fake_session_free(&fake);
	}
}

static void test_literal_answered_too_early(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command literal;

	start_literal(&literal, fake, "\xC3\xBC");
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "SEARCH SUBJECT {2}");
	fake_reply(fake->transport, "$ OK done\r\n");
	fake_expect_nothing(fake->transport);
	fake_command_expect(&literal, GP_PROTOCOL);
	fake_session_expect_closed(fake, GP_PROTOCOL);
	fake_session_free(&fake);
}

/* "+" and NO in one piece: whether the server still waits for the literal is open. */
static void test_literal_asked_for_and_refused(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command literal;

	fake_set_split(fake->network, 0);
	start_literal(&literal, fake, "\xC3\xBC");
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "SEARCH SUBJECT {2}");
	fake_reply(fake->transport, "+ go\r\n$ NO no\r\n");
	fake_expect_nothing(fake->transport);
	fake_session_expect_closed(fake, GP_PROTOCOL);
	fake_session_free(&fake);
}

static void test_literal_modes(void **state)
{
	(void)state;
	static const struct {
		const char *capabilities, *line;
	} cases[] = {
		{BASIC " LITERAL+", "SEARCH SUBJECT {2+}"},
		{BASIC " LITERAL-", "SEARCH SUBJECT {2+}"},
		{BASIC " LITERAL +", "SEARCH SUBJECT {2+}"},
		{BASIC " LITERALS", "SEARCH SUBJECT {2}"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake_session *fake = ready(cases[i].capabilities);
		struct fake_command literal;
		start_literal(&literal, fake, "\xC3\xBC");
		fake_turn(fake->network, 0);
		fake_expect(fake->transport, cases[i].line);
		if (strstr(cases[i].line, "+}")) {
			fake_expect_line(fake->transport, "\xC3\xBC");
		}
		fake_expect_nothing(fake->transport);
		fake_session_free(&fake);
	}
}

static void test_stray_plus(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command command;

	fake_feed(fake->transport, "+ tell me\r\n");
	fake_expect_nothing(fake->transport);
	fake_command_start(&command, fake->session, "NOOP", &plain);
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "NOOP");
	fake_feed(fake->transport, "+ tell me\r\n+\r\n");
	fake_expect_nothing(fake->transport);
	fake_reply(fake->transport, "$ OK\r\n");
	fake_command_expect(&command, GP_OK);
	fake_session_free(&fake);
}

/* ---- tags ---- */

static void test_answers_to_nothing(void **state)
{
	(void)state;
	struct fake_session *fake;
	struct fake_command command, queued;
	char line[64];

	/* never made */
	fake = ready(BASIC);
	fake_feed(fake->transport, "A999 OK done\r\n");
	fake_session_expect_closed(fake, GP_PROTOCOL);
	fake_session_free(&fake);

	/* already ended */
	fake = ready(BASIC);
	fake_command_start(&command, fake->session, "NOOP", &plain);
	fake_turn(fake->network, 0);
	snprintf(line, sizeof line, "%s OK again\r\n", fake_expect(fake->transport, "NOOP"));
	fake_reply(fake->transport, "$ OK\r\n");
	fake_feed(fake->transport, line);
	fake_command_expect(&command, GP_OK);
	fake_session_expect_closed(fake, GP_PROTOCOL);
	fake_session_free(&fake);

	/* in the queue, not sent */
	fake = ready(BASIC);
	fake_command_select(&command, fake->session, "INBOX", false);
	fake_command_start(&queued, fake->session, "NOOP", &plain);
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "SELECT INBOX");
	snprintf(line, sizeof line, "%s OK early\r\n", queued.command->tag);
	fake_feed(fake->transport, line);
	fake_command_expect(&queued, GP_PROTOCOL);
	fake_session_expect_closed(fake, GP_PROTOCOL);
	fake_session_free(&fake);
}

/* Neither BYE nor PREAUTH answers a command: the answer is still to come. */
static void test_answers_that_are_none(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command command;
	char lines[128];

	fake_command_start(&command, fake->session, "NOOP", &plain);
	fake_turn(fake->network, 0);
	const char *tag = fake_expect(fake->transport, "NOOP");
	snprintf(lines, sizeof lines, "%s BYE done\r\n%s PREAUTH done\r\n", tag, tag);
	fake_feed(fake->transport, lines);
	assert_int_equal(command.n_done, 0);
	fake_reply(fake->transport, "$ OK\r\n");
	fake_command_expect(&command, GP_OK);
	assert_int_equal(fake->n_closed, 0);
	fake_session_free(&fake);
}

static void test_refusals(void **state)
{
	(void)state;
	static const struct {
		const char *answer;
		enum gp_status status;
		const char *code, *text;
	} cases[] = {
		{"$ NO [NONEXISTENT] gone\r\n", GP_NO, "NONEXISTENT", "gone"},
		{"$ NO\r\n", GP_NO, "", "the IMAP server refused the command"},
		{"$ BAD [CLIENTBUG] eh\r\n", GP_BAD, "CLIENTBUG", "eh"},
		{"$ NO [THROTTLED] slow\r\n", GP_THROTTLED, "THROTTLED", "slow"},
		{"$ BAD Request is throttled. Suggested Backoff Time: 5\r\n", GP_THROTTLED, "",
		 "Request is throttled. Suggested Backoff Time: 5"},
		{"$ BAD User is authenticated but not connected.\r\n", GP_AUTH_UNAVAILABLE, "",
		 "User is authenticated but not connected."},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake_session *fake = ready(BASIC);
		struct fake_command command;
		fake_command_start(&command, fake->session, "NOOP", &plain);
		fake_turn(fake->network, 0);
		fake_expect(fake->transport, "NOOP");
		fake_reply(fake->transport, cases[i].answer);
		fake_command_expect(&command, cases[i].status);
		assert_string_equal(command.error.code, cases[i].code);
		assert_string_equal(command.error.text, cases[i].text);
		assert_true(command.has_response);
		assert_int_equal(fake->n_closed, 0);
		fake_session_free(&fake);
	}
}

static void test_what_cannot_be_written(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command bad, good;

	fake_command_new(&bad, fake->session, "LIST", &plain);
	imap_writer_astring(imap_command_writer(bad.command), span_make("a\0b", 3));
	fake_command_submit(&bad);
	fake_command_start(&good, fake->session, "NOOP", &plain);
	fake_turn(fake->network, 0);
	fake_command_expect(&bad, GP_INVALID);
	assert_false(bad.has_response);
	fake_expect(fake->transport, "NOOP");
	fake_expect_nothing(fake->transport);
	fake_reply(fake->transport, "$ OK\r\n");
	fake_command_expect(&good, GP_OK);
	assert_int_equal(fake->n_idle, 1);
	fake_session_free(&fake);
}

static void test_too_many_in_the_queue(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command last, refused;

	fake->session->in_flight.n += IMAP_SESSION_MAX_COMMANDS - 1; /* as if */
	fake_command_start(&last, fake->session, "NOOP", &plain);
	fake_command_start(&refused, fake->session, "CHECK", &plain);
	fake->session->in_flight.n -= IMAP_SESSION_MAX_COMMANDS - 1;
	fake_turn(fake->network, 0);
	fake_command_expect(&refused, GP_LIMIT);
	fake_expect(fake->transport, "NOOP");
	fake_expect_nothing(fake->transport);
	fake_reply(fake->transport, "$ OK\r\n");
	fake_command_expect(&last, GP_OK);
	fake_session_free(&fake);
}

/* ---- cancel ---- */

static void test_cancel_before_it_is_sent(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command draft, queued, failed, kept;

	fake_command_new(&draft, fake->session, "NOOP", &plain);
	imap_command_cancel(&draft.command);
	assert_null(draft.command);
	imap_command_cancel(&draft.command);
	fake_command_start(&queued, fake->session, "NOOP", &plain);
	fake_command_new(&failed, fake->session, "LIST", &plain);
	imap_writer_astring(imap_command_writer(failed.command), span_make("\0", 1));
	fake_command_submit(&failed);
	imap_command_cancel(&queued.command);
	imap_command_cancel(&failed.command);
	assert_int_equal(imap_session_n_commands(fake->session), 0);
	fake_turn(fake->network, 0);
	fake_expect_nothing(fake->transport);
	assert_int_equal(fake->n_idle, 1);
	fake_command_start(&kept, fake->session, "CHECK", &plain);
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "CHECK");
	assert_int_equal(queued.n_done + failed.n_done + draft.n_done, 0);
	fake_session_free(&fake);
}

static void test_cancel_in_flight(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC " ESEARCH");
	struct fake_command cancelled, kept;

	fake_command_start(&cancelled, fake->session, "SEARCH", &search);
	fake_command_start(&kept, fake->session, "SEARCH", &search);
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "SEARCH");
	fake_expect(fake->transport, "SEARCH");
	imap_command_cancel(&cancelled.command);
	fake_turn(fake->network, 0);
	assert_int_equal(imap_session_n_commands(fake->session), 2);
	/* its answer is not the other's */
	fake_reply(fake->transport, "* SEARCH 1 2 3\r\n$ OK\r\n* SEARCH 4\r\n");
	assert_int_equal(fake->n_idle, 0);
	fake_reply(fake->transport, "$ OK\r\n");
	assert_int_equal(cancelled.n_done, 0);
	assert_string_equal(cancelled.rows, "");
	assert_string_equal(kept.rows, "SEARCH 1;");
	fake_command_expect(&kept, GP_OK);
	assert_int_equal(fake->n_idle, 1);
	fake_session_free(&fake);
}

static void test_cancel_with_half_of_it_sent(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command literal, behind;

	start_literal(&literal, fake, "\xC3\xBC");
	fake_command_start(&behind, fake->session, "NOOP", &plain);
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "SEARCH SUBJECT {2}");
	imap_command_cancel(&literal.command);
	fake_turn(fake->network, 0);
	fake_expect_nothing(fake->transport);
	/* The server has the announcement: the stream stays in step. */
	fake_feed(fake->transport, "+ go\r\n");
	fake_expect_line(fake->transport, "\xC3\xBC");
	fake_expect(fake->transport, "NOOP");
	fake_reply(fake->transport, "* SEARCH 1\r\n$ OK\r\n$ OK\r\n");
	assert_int_equal(literal.n_done, 0);
	fake_command_expect(&behind, GP_OK);
	fake_session_free(&fake);
}

static void cancel_other(struct fake_command *self)
{
	imap_command_cancel(&self->other->command);
}

static void cancel_self(struct fake_command *self)
{
	imap_command_cancel(&self->command);
}

static void test_cancel_in_callbacks(void **state)
{
	(void)state;
	static const struct {
		bool is_in_row, is_self;
		size_t n_done, n_other_done;
	} cases[] = {{true, true, 0, 1}, {true, false, 1, 0}, {false, true, 1, 1}, {false, false, 1, 0}};
	struct imap_uidset uids;

	imap_uidset_init(&uids);
	assert_int_equal(imap_uidset_add(&uids, 7, 9), GP_OK);
	const struct imap_command_spec fetch = {.kind = IMAP_COMMAND_FETCH, .uids = &uids};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake_session *fake = ready(BASIC);
		struct fake_command first, second;
		fake_command_start(&first, fake->session, "FETCH", &fetch);
		fake_command_start(&second, fake->session, "FETCH", &fetch);
		first.other = &second;
		void (*hook)(struct fake_command * self) = cases[i].is_self ? cancel_self : cancel_other;
		*(cases[i].is_in_row ? &first.on_row : &first.on_done) = hook;
		fake_turn(fake->network, 0);
		fake_expect(fake->transport, "FETCH");
		fake_expect(fake->transport, "FETCH");
		fake_reply(fake->transport, "* 1 FETCH (UID 7)\r\n* 2 FETCH (UID 8)\r\n$ OK\r\n$ OK\r\n");
		assert_int_equal(first.n_done, cases[i].n_done);
		assert_int_equal(second.n_done, cases[i].n_other_done);
		assert_string_equal(first.rows,
				    cases[i].is_in_row && cases[i].is_self ? "FETCH 7;" : "FETCH 7;FETCH 8;");
		assert_string_equal(second.rows, cases[i].is_in_row && !cases[i].is_self ? "" : "FETCH 7;FETCH 8;");
		assert_int_equal(fake->n_idle, 1);
		fake_session_free(&fake);
	}
	imap_uidset_deinit(&uids);
}

static void start_other(struct fake_command *self)
{
	fake_command_start(self->other, self->session, "CHECK", &plain);
}

static void test_start_in_a_callback(void **state)
{
	(void)state;
	struct fake_session *fake = ready(BASIC);
	struct fake_command first, second;

	fake_command_start(&first, fake->session, "NOOP", &plain);
	first.other = &second;
	first.on_done = start_other;
	fake_turn(fake->network, 0);
	fake_expect(fake->transport, "NOOP");
	fake_reply(fake->transport, "$ OK\r\n");
	assert_int_equal(fake->n_idle, 0);
	fake_expect(fake->transport, "CHECK");
	fake_reply(fake->transport, "$ OK\r\n");
	fake_command_expect(&second, GP_OK);
	assert_int_equal(fake->n_idle, 1);
	fake_session_free(&fake);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_turn_one_write),
		cmocka_unit_test(test_logged),
		cmocka_unit_test(test_answers_in_any_order),
		cmocka_unit_test(test_commands_wait_for_the_login),
		cmocka_unit_test(test_barriers),
		cmocka_unit_test(test_ambiguous_answers_are_not_pipelined),
		cmocka_unit_test(test_not_too_many_in_flight),
		cmocka_unit_test(test_literal_waits_for_plus),
		cmocka_unit_test(test_literal_refused),
		cmocka_unit_test(test_literal_answered_too_early),
		cmocka_unit_test(test_literal_asked_for_and_refused),
		cmocka_unit_test(test_literal_modes),
		cmocka_unit_test(test_stray_plus),
		cmocka_unit_test(test_answers_to_nothing),
		cmocka_unit_test(test_answers_that_are_none),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_what_cannot_be_written),
		cmocka_unit_test(test_too_many_in_the_queue),
		cmocka_unit_test(test_cancel_before_it_is_sent),
		cmocka_unit_test(test_cancel_in_flight),
		cmocka_unit_test(test_cancel_with_half_of_it_sent),
		cmocka_unit_test(test_cancel_in_callbacks),
		cmocka_unit_test(test_start_in_a_callback),
	};

	return cmocka_run_group_tests_name(split ? "session, a byte at a time" : "session", tests, NULL, NULL);
}

int main(void)
{
	int n_failed = run();

	split = 1;
	return n_failed + run();
}
