#include "tests/support/fake_session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void on_ready(void *ctx)
{
	struct fake_session *fake = ctx;

	fake->n_ready++;
	if (fake->on_ready) {
		fake->on_ready(fake);
	}
}

static void on_closed(void *ctx, const struct gp_error *error)
{
	struct fake_session *fake = ctx;

	/* the last event: every command has had its done */
	assert_int_equal(imap_session_n_commands(fake->session), 0);
	fake->n_closed++;
	fake->error = *error;
	if (fake->on_closed) {
		fake->on_closed(fake);
	}
}

static void on_idle(void *ctx)
{
	struct fake_session *fake = ctx;

	fake->n_idle++;
}

static const struct imap_session_events events = {.ready = on_ready, .closed = on_closed, .idle = on_idle};

struct fake_session *fake_session_new(enum imap_security security)
{
	struct fake_session *fake = calloc(1, sizeof *fake);
	struct imap_credential *credential = NULL;

	assert_non_null(fake);
	fake->network = fake_network_new();
	snprintf(fake->endpoint.host, sizeof fake->endpoint.host, "imap.test");
	fake->endpoint.port = security == IMAP_SECURITY_TLS ? 993 : 143;
	fake->endpoint.security = security;
	assert_int_equal(imap_credential_new(SPAN_LIT("bob"), SPAN_LIT("secret"), &credential), GP_OK);
	const struct imap_session_config config = {
		.network = fake_as_network(fake->network),
		.endpoint = &fake->endpoint,
		.timers = fake_timers(fake->network),
		.credential = credential,
		.connect_timeout_ms = FAKE_CONNECT_TIMEOUT_MS,
		.silence_timeout_ms = FAKE_SILENCE_TIMEOUT_MS,
	};
	fake->session = imap_session_new(&config, &events, fake);
	assert_non_null(fake->session);
	imap_credential_unref(&credential);
	fake->transport = fake_newest(fake->network);
	return fake;
}

struct fake_session *fake_session_ready(const char *capabilities)
{
	struct fake_session *fake = fake_session_new(IMAP_SECURITY_TLS);

	fake_log_in(fake->transport, capabilities);
	if (strstr(capabilities, "ENABLE") && strstr(capabilities, "QRESYNC")) {
		fake_expect(fake->transport, "ENABLE QRESYNC");
		fake_reply(fake->transport, "* ENABLED QRESYNC\r\n$ OK\r\n");
	}
	assert_int_equal(fake->n_ready, 1);
	assert_int_equal(imap_session_state(fake->session), IMAP_SESSION_READY);
	fake->n_ready = 0;
	return fake;
}

void fake_session_expect_closed(const struct fake_session *fake, enum gp_status status)
{
	if (fake->n_closed != 1 || fake->error.status != status) {
		fail_msg("closed %zu times, with %s: %s", fake->n_closed, gp_status_name(fake->error.status),
			 fake->error.text);
	}
	assert_int_equal(imap_session_state(fake->session), IMAP_SESSION_CLOSED);
	assert_true(fake_is_closed(fake->transport));
	assert_int_equal(imap_session_n_commands(fake->session), 0);
}

void fake_session_free(struct fake_session **fake)
{
	struct fake_session *self = *fake;

	if (!self) {
		return;
	}
	*fake = NULL;
	imap_session_free(&self->session);
	fake_network_free(&self->network);
	free(self);
}
