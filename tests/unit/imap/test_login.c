/*
 * From the connection to READY, as scripts of both ends. Each is played twice: with
 * what the server says in whole lines, and a byte at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/support/fake_session.h"

#define SASL "AGJvYgBzZWNyZXQ=" /* NUL bob NUL secret */
#define ID "ID (\"name\" \"gatepost\" \"version\" \"" GATEPOST_VERSION "\")"

#define MAX_STEPS 24

enum step_kind {
	STEP_END,
	STEP_SERVER, /* the server says this; "$" is the tag it answers */
	STEP_CLIENT, /* the session has written a tag and this */
	STEP_LINE,   /* the session has written this, without a tag */
	STEP_SECURE, /* the session wants TLS, and gets it */
	STEP_WAIT,   /* `ms` pass */
	STEP_CUT,    /* the connection ends with `status` */
};

struct step {
	enum step_kind kind;
	const char *text; /* borrow: a literal */
	uint64_t ms;
	enum gp_status status;
};

#define S(text_)                                                                                                       \
	{                                                                                                              \
		STEP_SERVER, text_, 0, GP_OK                                                                           \
	}
#define C(text_)                                                                                                       \
	{                                                                                                              \
		STEP_CLIENT, text_, 0, GP_OK                                                                           \
	}
#define L(text_)                                                                                                       \
	{                                                                                                              \
		STEP_LINE, text_, 0, GP_OK                                                                             \
	}
#define TLS_UP                                                                                                         \
	{                                                                                                              \
		STEP_SECURE, NULL, 0, GP_OK                                                                            \
	}
#define WAIT(ms_)                                                                                                      \
	{                                                                                                              \
		STEP_WAIT, NULL, ms_, GP_OK                                                                            \
	}
#define CUT(status_)                                                                                                   \
	{                                                                                                              \
		STEP_CUT, "cut", 0, status_                                                                            \
	}

struct script {
	const char *name;
	enum imap_security security;
	struct step steps[MAX_STEPS];
	enum gp_status status; /* GP_OK: READY at the end; else closed with it */
	const char *code;      /* of the error; NULL: none */
};

#define TLS IMAP_SECURITY_TLS
#define STARTTLS IMAP_SECURITY_STARTTLS
#define PLAIN IMAP_SECURITY_NONE
#define HELLO(capabilities) S("* OK [CAPABILITY IMAP4rev1 " capabilities "] hello\r\n")
#define IN(capabilities) S("$ OK [CAPABILITY IMAP4rev1 " capabilities "] in\r\n")

static const struct script ladders[] = {
	{"SASL-IR", TLS, {HELLO("SASL-IR AUTH=PLAIN"), C("AUTHENTICATE PLAIN " SASL), IN("ESEARCH")}, GP_OK, NULL},
	{"SASL without an initial response",
	 TLS,
	 {HELLO("AUTH=PLAIN"), C("AUTHENTICATE PLAIN"), S("+ \r\n"), L(SASL), IN("X")},
	 GP_OK,
	 NULL},
	{"a plus without a space",
	 TLS,
	 {HELLO("AUTH=PLAIN"), C("AUTHENTICATE PLAIN"), S("+\r\n"), L(SASL), IN("X")},
	 GP_OK,
	 NULL},
	{"LOGIN", TLS, {HELLO("X"), C("LOGIN bob secret"), IN("X")}, GP_OK, NULL},
	{"words in any case", TLS, {HELLO("sasl-ir auth=plain"), C("AUTHENTICATE PLAIN " SASL), IN("X")}, GP_OK, NULL},
	{"capabilities asked before and after",
	 TLS,
	 {S("* OK hello\r\n"), C("CAPABILITY"), S("* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN \r\n$ OK\r\n"),
	  C("AUTHENTICATE PLAIN " SASL), S("$ OK in\r\n"), C("CAPABILITY"), S("* CAPABILITY IMAP4rev1 X\r\n$ OK\r\n")},
	 GP_OK,
	 NULL},
	{"capabilities untagged behind the login",
	 TLS,
	 {HELLO("X"), C("LOGIN bob secret"), S("* CAPABILITY IMAP4rev1 ESEARCH\r\n$ OK in\r\n")},
	 GP_OK,
	 NULL},
	{"CAPABILITY refused: LOGIN all the same",
	 TLS,
	 {S("* OK hello\r\n"), C("CAPABILITY"), S("$ BAD what?\r\n"), C("LOGIN bob secret"), S("$ OK in\r\n"),
	  C("CAPABILITY"), S("$ NO no\r\n")},
	 GP_OK,
	 NULL},
	{"capabilities in the tagged OK of CAPABILITY",
	 TLS,
	 {S("* OK hello\r\n"), C("CAPABILITY"), S("$ OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] x\r\n"),
	  C("AUTHENTICATE PLAIN " SASL), IN("X")},
	 GP_OK,
	 NULL},
	{"ID once it is offered",
	 TLS,
	 {HELLO("ID"), C("LOGIN bob secret"), IN("ID"), C(ID), S("* ID NIL\r\n$ OK\r\n")},
	 GP_OK,
	 NULL},
	{"ID offered before the login only", TLS, {HELLO("ID"), C("LOGIN bob secret"), IN("X")}, GP_OK, NULL},
	{"ID refused", TLS, {HELLO("X"), C("LOGIN bob secret"), IN("ID"), C(ID), S("$ BAD no\r\n")}, GP_OK, NULL},
	{"Cyrus lists LOGINDISABLED after the login",
	 TLS,
	 {HELLO("X"), C("LOGIN bob secret"), IN("LOGINDISABLED")},
	 GP_OK,
	 NULL},
	{"LOGINDISABLED with AUTH=PLAIN",
	 TLS,
	 {HELLO("LOGINDISABLED AUTH=PLAIN SASL-IR"), C("AUTHENTICATE PLAIN " SASL), IN("X")},
	 GP_OK,
	 NULL},
	{"the initial response is BAD",
	 TLS,
	 {HELLO("AUTH=PLAIN SASL-IR"), C("AUTHENTICATE PLAIN " SASL), S("$ BAD Too many arguments\r\n"),
	  C("AUTHENTICATE PLAIN"), S("+ \r\n"), L(SASL), IN("SASL-IR")},
	 GP_OK,
	 NULL},
	{"AUTHENTICATE is BAD in both forms, LOGIN is not",
	 TLS,
	 {HELLO("AUTH=PLAIN SASL-IR"), C("AUTHENTICATE PLAIN " SASL), S("$ BAD syntax\r\n"), C("AUTHENTICATE PLAIN"),
	  S("$ BAD syntax\r\n"), C("LOGIN bob secret"), IN("X")},
	 GP_OK,
	 NULL},
	{"the mechanism is not there after all",
	 TLS,
	 {HELLO("AUTH=PLAIN SASL-IR"), C("AUTHENTICATE PLAIN " SASL),
	  S("$ NO Unsupported authentication mechanism\r\n"), C("LOGIN bob secret"), IN("X")},
	 GP_OK,
	 NULL},
	{"nor is LOGIN",
	 TLS,
	 {HELLO("AUTH=PLAIN LOGINDISABLED"), C("AUTHENTICATE PLAIN"), S("$ NO [CANNOT] mechanism\r\n")},
	 GP_AUTH,
	 "CANNOT"},
	{"untagged lines before the OK",
	 TLS,
	 {HELLO("X"), C("LOGIN bob secret"), S("* OK [ALERT] Read the news\r\n* 5 EXISTS\r\n* FLAGS (a)\r\n"), IN("X")},
	 GP_OK,
	 NULL},
	{"plain text where it is allowed", PLAIN, {HELLO("STARTTLS"), C("LOGIN bob secret"), IN("X")}, GP_OK, NULL},
	{"STARTTLS",
	 STARTTLS,
	 {HELLO("STARTTLS LOGINDISABLED"), C("STARTTLS"), S("$ OK go\r\n"), TLS_UP, C("CAPABILITY"),
	  S("* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n$ OK\r\n"), C("AUTHENTICATE PLAIN " SASL), IN("X")},
	 GP_OK,
	 NULL},
	{"STARTTLS, offered when asked",
	 STARTTLS,
	 {S("* OK hello\r\n"), C("CAPABILITY"), S("* CAPABILITY IMAP4rev1 STARTTLS\r\n$ OK\r\n"), C("STARTTLS"),
	  S("$ OK go\r\n"), TLS_UP, C("CAPABILITY"), S("* CAPABILITY IMAP4rev1\r\n$ OK\r\n"), C("LOGIN bob secret"),
	  IN("X")},
	 GP_OK,
	 NULL},
	{"what was offered in clear is not believed under TLS",
	 STARTTLS,
	 {HELLO("STARTTLS AUTH=PLAIN SASL-IR ID"), C("STARTTLS"), S("$ OK go\r\n"), TLS_UP, C("CAPABILITY"),
	  S("$ NO\r\n"), C("LOGIN bob secret"), IN("X")},
	 GP_OK,
	 NULL},
};

static const struct script refusals[] = {
	/* the greeting */
	{"PREAUTH", TLS, {S("* PREAUTH welcome back, alice\r\n")}, GP_GREETING, NULL},
	{"PREAUTH in clear", STARTTLS, {S("* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n")}, GP_GREETING, NULL},
	{"BYE", TLS, {S("* BYE go away\r\n")}, GP_GREETING, NULL},
	{"BYE, full", TLS, {S("* BYE Too many simultaneous connections\r\n")}, GP_TOO_MANY, NULL},
	{"BYE, unavailable by its text", TLS, {S("* BYE Server temporarily unavailable\r\n")}, GP_GREETING, NULL},
	{"BYE, full, by code", TLS, {S("* BYE [LIMIT] no\r\n")}, GP_TOO_MANY, "LIMIT"},
	{"BYE, throttled", TLS, {S("* BYE [THROTTLED] slow down\r\n")}, GP_THROTTLED, "THROTTLED"},
	{"BYE, unavailable", TLS, {S("* BYE [UNAVAILABLE] restarting\r\n")}, GP_AUTH_UNAVAILABLE, "UNAVAILABLE"},
	{"NO as a greeting", TLS, {S("* NO not today\r\n")}, GP_GREETING, NULL},
	{"BAD as a greeting", TLS, {S("* BAD not today\r\n")}, GP_GREETING, NULL},
	{"no IMAP server", TLS, {S("220 mail.example ESMTP\r\n")}, GP_GREETING, NULL},
	{"a line without a tag", TLS, {S("Server Unavailable.\r\n")}, GP_GREETING, NULL},
	{"data before the greeting", TLS, {S("* 3 EXISTS\r\n")}, GP_GREETING, NULL},
	{"plus before the greeting", TLS, {S("+ go\r\n")}, GP_GREETING, NULL},
	{"an answer before the greeting", TLS, {S("A1 OK in\r\n")}, GP_PROTOCOL, NULL},
	{"no greeting", TLS, {WAIT(9999), WAIT(1)}, GP_CONNECT_TIMEOUT, NULL},
	{"half a greeting", TLS, {S("* OK hel"), WAIT(10000)}, GP_CONNECT_TIMEOUT, NULL},
	{"cut before the greeting", TLS, {CUT(GP_LOST)}, GP_LOST, NULL},
	{"no TLS", TLS, {CUT(GP_TLS)}, GP_TLS, NULL},
	/* STARTTLS */
	{"STARTTLS stripped", STARTTLS, {HELLO("AUTH=PLAIN SASL-IR")}, GP_TLS, NULL},
	{"STARTTLS stripped from CAPABILITY",
	 STARTTLS,
	 {S("* OK hi\r\n"), C("CAPABILITY"), S("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n$ OK\r\n")},
	 GP_TLS,
	 NULL},
	{"CAPABILITY refused before STARTTLS",
	 STARTTLS,
	 {S("* OK hi\r\n"), C("CAPABILITY"), S("$ NO no\r\n")},
	 GP_TLS,
	 NULL},
	{"STARTTLS refused: NO", STARTTLS, {HELLO("STARTTLS"), C("STARTTLS"), S("$ NO no\r\n")}, GP_TLS, NULL},
	{"STARTTLS refused: BAD", STARTTLS, {HELLO("STARTTLS"), C("STARTTLS"), S("$ BAD no\r\n")}, GP_TLS, NULL},
	{"STARTTLS answered with +", STARTTLS, {HELLO("STARTTLS"), C("STARTTLS"), S("+ go\r\n")}, GP_PROTOCOL, NULL},
	{"a response injected behind STARTTLS's OK",
	 STARTTLS,
	 {HELLO("STARTTLS"), C("STARTTLS"), S("$ OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n")},
	 GP_TLS,
	 NULL},
	{"a byte injected behind STARTTLS's OK",
	 STARTTLS,
	 {HELLO("STARTTLS"), C("STARTTLS"), S("$ OK go\r\n ")},
	 GP_TLS,
	 NULL},
	{"bytes in clear while TLS is negotiated",
	 STARTTLS,
	 {HELLO("STARTTLS"), C("STARTTLS"), S("$ OK go\r\n"), S("*")},
	 GP_TLS,
	 NULL},
	{"TLS fails", STARTTLS, {HELLO("STARTTLS"), C("STARTTLS"), S("$ OK go\r\n"), CUT(GP_TLS)}, GP_TLS, NULL},
	{"TLS hangs",
	 STARTTLS,
	 {HELLO("STARTTLS"), C("STARTTLS"), S("$ OK go\r\n"), WAIT(10000)},
	 GP_CONNECT_TIMEOUT,
	 NULL},
	{"the answer to a login that was not sent",
	 STARTTLS,
	 {HELLO("STARTTLS"), C("STARTTLS"), S("A2 OK in\r\n")},
	 GP_PROTOCOL,
	 NULL},
	{"BYE to STARTTLS", STARTTLS, {HELLO("STARTTLS"), C("STARTTLS"), S("* BYE bye\r\n"), WAIT(250)}, GP_LOST, NULL},
	/* no way in */
	{"LOGINDISABLED over TLS", TLS, {HELLO("LOGINDISABLED")}, GP_AUTH_UNAVAILABLE, NULL},
	{"LOGINDISABLED in clear", PLAIN, {HELLO("LOGINDISABLED STARTTLS")}, GP_TLS, NULL},
	/* the dialogue */
	{"plus, and a NO instead of the challenge",
	 TLS,
	 {HELLO("AUTH=PLAIN"), C("AUTHENTICATE PLAIN"), S("$ NO [AUTHENTICATIONFAILED] no\r\n")},
	 GP_AUTH,
	 "AUTHENTICATIONFAILED"},
	{"an OK before the response",
	 TLS,
	 {HELLO("AUTH=PLAIN"), C("AUTHENTICATE PLAIN"), S("$ OK in\r\n")},
	 GP_PROTOCOL,
	 NULL},
	{"a second challenge",
	 TLS,
	 {HELLO("AUTH=PLAIN"), C("AUTHENTICATE PLAIN"), S("+ \r\n"), L(SASL), S("+ more\r\n")},
	 GP_PROTOCOL,
	 NULL},
	{"a challenge to an initial response",
	 TLS,
	 {HELLO("AUTH=PLAIN SASL-IR"), C("AUTHENTICATE PLAIN " SASL), S("+ \r\n")},
	 GP_PROTOCOL,
	 NULL},
	{"a plus for CAPABILITY", TLS, {S("* OK hi\r\n"), C("CAPABILITY"), S("+ \r\n")}, GP_PROTOCOL, NULL},
	{"login hangs", TLS, {HELLO("X"), C("LOGIN bob secret"), WAIT(10000)}, GP_CONNECT_TIMEOUT, NULL},
	{"login drips",
	 TLS,
	 {HELLO("X"), C("LOGIN bob secret"), WAIT(6000), S("* OK still\r\n"), WAIT(4000)},
	 GP_CONNECT_TIMEOUT,
	 NULL},
	{"cut in the login", TLS, {HELLO("X"), C("LOGIN bob secret"), CUT(GP_LOST)}, GP_LOST, NULL},
	{"a NO with a literal that never ends",
	 TLS,
	 {HELLO("X"), C("LOGIN bob secret"), S("* LIST () NIL {10}\r\nab"), CUT(GP_LOST)},
	 GP_LOST,
	 NULL},
	{"the login's answer twice",
	 TLS,
	 {HELLO("X"), C("LOGIN bob secret"), S("A1 OK [CAPABILITY IMAP4rev1 ID] in\r\n"), C(ID), S("A1 OK in\r\n")},
	 GP_PROTOCOL,
	 NULL},
	/* BYE in the login */
	{"BYE and the reason behind it",
	 TLS,
	 {HELLO("X"), C("LOGIN bob secret"), S("* BYE bye\r\n$ NO [EXPIRED] old\r\n")},
	 GP_AUTH,
	 "EXPIRED"},
	{"BYE with the reason, and a bare NO",
	 TLS,
	 {HELLO("X"), C("LOGIN bob secret"), S("* BYE Too many connections\r\n$ NO no\r\n")},
	 GP_TOO_MANY,
	 NULL},
	{"BYE and an OK that comes to nothing",
	 TLS,
	 {HELLO("X"), C("LOGIN bob secret"), S("* BYE bye\r\n$ OK in\r\n"), WAIT(250)},
	 GP_LOST,
	 NULL},
	{"BYE and the end",
	 TLS,
	 {HELLO("X"), C("LOGIN bob secret"), S("* BYE [UNAVAILABLE] x\r\n"), CUT(GP_LOST)},
	 GP_AUTH_UNAVAILABLE,
	 "UNAVAILABLE"},
	{"BYE and silence",
	 TLS,
	 {HELLO("X"), C("LOGIN bob secret"), S("* BYE\r\n* BYE Too many\r\n"), WAIT(249), WAIT(1)},
	 GP_LOST,
	 NULL},
};

/* What the tagged answer to LOGIN says. */
static const struct {
	const char *answer;
	enum gp_status status;
	const char *code;
} answers[] = {
	{"NO [AUTHENTICATIONFAILED] Authentication failed.", GP_AUTH, "AUTHENTICATIONFAILED"},
	{"NO [authenticationfailed] Authentication failed.", GP_AUTH, "AUTHENTICATIONFAILED"},
	{"NO [EXPIRED] Password is too old", GP_AUTH, "EXPIRED"},
	{"NO [AUTHORIZATIONFAILED] no", GP_AUTH, "AUTHORIZATIONFAILED"},
	{"NO [AUTHENTICATIONFAILED] Too many connections, temporarily unavailable", GP_AUTH, "AUTHENTICATIONFAILED"},
	{"NO Login failed: authentication failure", GP_AUTH, NULL},
	{"NO", GP_AUTH, NULL},
	{"NO [ALERT] Application-specific password required", GP_AUTH, "ALERT"},
	{"NO Invalid credentials, please try again", GP_AUTH, NULL},
	{"NO [LIMIT] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", GP_TOO_MANY,
	 "LIMIT"},
	{"NO Maximum number of connections from user+IP exceeded", GP_TOO_MANY, NULL},
	{"NO too many open connections for bob", GP_TOO_MANY, NULL},
	{"NO [ALERT] Too many simultaneous connections. (Failure)", GP_TOO_MANY, "ALERT"},
	{"NO Too many failed login attempts", GP_THROTTLED, NULL},
	{"NO [THROTTLED] x", GP_THROTTLED, "THROTTLED"},
	{"NO Account is throttled", GP_THROTTLED, NULL},
	{"NO [UNAVAILABLE] Temporary authentication failure.", GP_AUTH_UNAVAILABLE, "UNAVAILABLE"},
	{"NO [SERVERBUG] Internal error occurred.", GP_AUTH_UNAVAILABLE, "SERVERBUG"},
	{"NO [CONTACTADMIN] x", GP_AUTH_UNAVAILABLE, "CONTACTADMIN"},
	{"NO [INUSE] Mailbox is locked", GP_AUTH_UNAVAILABLE, "INUSE"},
	{"NO Internal error, try again later", GP_AUTH_UNAVAILABLE, NULL},
	{"NO Server temporarily down", GP_AUTH_UNAVAILABLE, NULL},
	{"NO Try again later", GP_AUTH_UNAVAILABLE, NULL},
	{"NO [PRIVACYREQUIRED] Plaintext authentication disallowed", GP_TLS, "PRIVACYREQUIRED"},
	{"BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds", GP_THROTTLED, NULL},
	{"BAD User is authenticated but not connected.", GP_AUTH_UNAVAILABLE, NULL},
	{"BAD Too many connections", GP_TOO_MANY, NULL},
	{"BAD Too many arguments", GP_PROTOCOL, NULL},
	{"BAD syntax", GP_PROTOCOL, NULL},
	{"BAD [CLIENTBUG] syntax", GP_PROTOCOL, "CLIENTBUG"},
	{"BAD [AUTHENTICATIONFAILED] no", GP_AUTH, "AUTHENTICATIONFAILED"},
};

static void play_step(struct fake_session *fake, const struct step *step)
{
	switch (step->kind) {
	case STEP_SERVER:
		fake_reply(fake->transport, step->text);
		break;
	case STEP_CLIENT:
		(void)fake_expect(fake->transport, step->text);
		fake_expect_nothing(fake->transport);
		break;
	case STEP_LINE:
		fake_expect_line(fake->transport, step->text);
		fake_expect_nothing(fake->transport);
		break;
	case STEP_SECURE:
		assert_true(fake_wants_tls(fake->transport));
		fake_secure(fake->transport);
		break;
	case STEP_WAIT:
		fake_turn(fake->network, step->ms);
		break;
	case STEP_CUT:
		fake_end(fake->transport, step->status, step->text);
		break;
	case STEP_END:
		break;
	}
}

static void check_end(const struct fake_session *fake, const char *name, enum gp_status status, const char *code)
{
	fake_expect_nothing(fake->transport);
	if (fake->error.status != status) {
		fail_msg("%s: %s %s", name, gp_status_name(fake->error.status), fake->error.text);
	}
	bool is_ready = status == GP_OK;
	if (imap_session_state(fake->session) != (is_ready ? IMAP_SESSION_READY : IMAP_SESSION_CLOSED) ||
	    fake->n_ready != is_ready || fake->n_closed != !is_ready || fake->n_idle != 0) {
		fail_msg("%s: state %d, ready %zu, closed %zu, idle %zu", name, (int)imap_session_state(fake->session),
			 fake->n_ready, fake->n_closed, fake->n_idle);
	}
	if (!is_ready) {
		assert_string_equal(fake->error.code, code ? code : "");
		assert_true(fake->error.text[0] != '\0');
		assert_true(fake_is_closed(fake->transport));
	}
	assert_null(strstr(fake->error.text, "secret"));
	assert_null(strstr(fake->error.text, SASL));
}

static void play(const struct script *script, size_t split)
{
	struct fake_session *fake = fake_session_new(script->security);

	fake_set_split(fake->network, split);
	fake_connect(fake->transport);
	for (const struct step *step = script->steps; step->kind != STEP_END; step++) {
		bool is_last = step[1].kind == STEP_END;
		/* Not earlier than by the last step: refusals would not tell one from the other. */
		if (!is_last && (fake->n_ready > 0 || fake->n_closed > 0)) {
			fail_msg("%s: over after step %d", script->name, (int)(step - script->steps));
		}
		play_step(fake, step);
	}
	check_end(fake, script->name, script->status, script->code);
	/* A READY session stays so, and one that has ended says nothing more. */
	fake_turn(fake->network, 60 * 60 * 1000);
	check_end(fake, script->name, script->status, script->code);
	fake_session_free(&fake);
}

static void test_ladders(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof ladders / sizeof *ladders; i++) {
		play(&ladders[i], 0);
		play(&ladders[i], 1);
	}
}

static void test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		play(&refusals[i], 0);
		play(&refusals[i], 1);
	}
}

static void test_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		char line[256];
		snprintf(line, sizeof line, "$ %s\r\n", answers[i].answer);
		struct script script = {
			answers[i].answer, TLS, {HELLO("X"), C("LOGIN bob secret"), S(line)}, answers[i].status,
			answers[i].code,
		};
		play(&script, 0);
		play(&script, 1);
	}
}

/* User names and passwords that need a quoted string or a literal, and wait for "+". */
static void test_literals_in_login(void **state)
{
	(void)state;
	struct imap_endpoint endpoint = {.host = "imap.test", .port = 993, .security = IMAP_SECURITY_TLS};
	const struct imap_session_events events = {.ready = NULL};
	struct fake_network *network = fake_network_new();
	struct imap_credential *credential = NULL;

	assert_int_equal(imap_credential_new(SPAN_LIT("b\xC3\xB6"
						      "b"),
					     SPAN_LIT("a\r\nb"), &credential),
			 GP_OK);
	const struct imap_session_config config = {.network = fake_as_network(network),
						   .endpoint = &endpoint,
						   .timers = fake_timers(network),
						   .credential = credential,
						   .connect_timeout_ms = 1000,
						   .silence_timeout_ms = 1000};
	struct imap_session *session = imap_session_new(&config, &events, NULL);
	imap_credential_unref(&credential);
	struct fake_transport *transport = fake_newest(network);
	fake_connect(transport);
	fake_feed(transport, "* OK [CAPABILITY IMAP4rev1] hello\r\n");
	fake_expect(transport, "LOGIN {4}");
	fake_expect_nothing(transport);
	fake_feed(transport, "+ go on\r\n");
	fake_expect_line(transport, "b\xC3\xB6"
				    "b {4}");
	fake_expect_nothing(transport);
	fake_feed(transport, "+\r\n");
	assert_string_equal(fake_take(transport), "a\r\nb\r\n");
	fake_reply(transport, "$ OK [CAPABILITY IMAP4rev1] in\r\n");
	assert_int_equal(imap_session_state(session), IMAP_SESSION_READY);
	imap_session_free(&session);
	fake_network_free(&network);
}

static void test_capabilities_are_those_after_the_login(void **state)
{
	(void)state;
	struct fake_session *fake = fake_session_new(IMAP_SECURITY_TLS);

	fake_connect(fake->transport);
	fake_feed(fake->transport, "* OK [CAPABILITY IMAP4rev1 ESEARCH] hello\r\n");
	assert_true(imap_session_can(fake->session, IMAP_CAP_ESEARCH));
	fake_expect(fake->transport, "LOGIN bob secret");
	fake_reply(fake->transport,
		   "$ OK [CAPABILITY IMAP4rev1 LITERAL + appendlimit=5 QRESYNC THREAD=REFS SORTED] in\r\n");
	assert_false(imap_session_can(fake->session, IMAP_CAP_ESEARCH));
	assert_true(imap_session_can(fake->session, IMAP_CAP_LITERAL_PLUS));
	assert_true(imap_session_can(fake->session, IMAP_CAP_APPENDLIMIT));
	assert_true(imap_session_can(fake->session, IMAP_CAP_CONDSTORE));
	assert_true(imap_session_can(fake->session, IMAP_CAP_THREAD_REFS));
	assert_false(imap_session_can(fake->session, IMAP_CAP_THREAD_REFERENCES));
	assert_false(imap_session_can(fake->session, IMAP_CAP_SORT));
	imap_session_disable(fake->session, IMAP_CAP_THREAD_REFS);
	fake_feed(fake->transport, "* CAPABILITY IMAP4rev1 THREAD=REFS SORT\r\n");
	assert_false(imap_session_can(fake->session, IMAP_CAP_THREAD_REFS));
	assert_true(imap_session_can(fake->session, IMAP_CAP_SORT));
	assert_false(imap_session_can(fake->session, IMAP_CAP_LITERAL_PLUS));
	fake_session_free(&fake);
}

static void test_capabilities_from_before_the_login_are_forgotten(void **state)
{
	(void)state;
	struct fake_session *fake = fake_session_new(IMAP_SECURITY_TLS);

	fake_connect(fake->transport);
	fake_feed(fake->transport, "* OK [CAPABILITY IMAP4rev1 ESEARCH] hello\r\n");
	fake_expect(fake->transport, "LOGIN bob secret");
	fake_reply(fake->transport, "$ OK in\r\n");
	fake_expect(fake->transport, "CAPABILITY");
	fake_reply(fake->transport, "$ NO no\r\n");
	assert_int_equal(fake->n_ready, 1);
	assert_false(imap_session_can(fake->session, IMAP_CAP_ESEARCH));
	fake_session_free(&fake);
}

/* A goodbye in the same piece as the greeting: no password goes out any more. */
static void test_greeting_and_bye(void **state)
{
	(void)state;
	struct fake_session *fake = fake_session_new(IMAP_SECURITY_TLS);

	fake_connect(fake->transport);
	fake_feed(fake->transport, "* OK [CAPABILITY IMAP4rev1] hello\r\n* BYE Too many connections\r\n");
	fake_expect_nothing(fake->transport);
	fake_turn(fake->network, 250);
	check_end(fake, "greeting and BYE", GP_TOO_MANY, NULL);
	fake_session_free(&fake);
}

static void test_no_connection(void **state)
{
	(void)state;
	static const enum gp_status statuses[] = {GP_RESOLVE, GP_REFUSED, GP_CONNECT_TIMEOUT, GP_TLS};

	for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
		struct fake_session *fake = fake_session_new(IMAP_SECURITY_TLS);
		assert_int_equal(fake_connect_timeout_ms(fake->transport), FAKE_CONNECT_TIMEOUT_MS);
		fake_end(fake->transport, statuses[i], "no");
		check_end(fake, "no connection", statuses[i], NULL);
		fake_session_free(&fake);
	}
	struct fake_session *fake = fake_session_new(IMAP_SECURITY_TLS);
	fake_turn(fake->network, FAKE_CONNECT_TIMEOUT_MS);
	check_end(fake, "a hanging connection", GP_CONNECT_TIMEOUT, NULL);
	fake_session_free(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ladders),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_literals_in_login),
		cmocka_unit_test(test_capabilities_are_those_after_the_login),
		cmocka_unit_test(test_capabilities_from_before_the_login_are_forgotten),
		cmocka_unit_test(test_greeting_and_bye),
		cmocka_unit_test(test_no_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
