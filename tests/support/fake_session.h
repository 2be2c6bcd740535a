/*
 * A session on a fake network, with what it said counted: for tests of the session
 * and of what is made of sessions. The user is "bob", his password "secret".
 *
 *	struct fake_session *fake = fake_session_ready("IMAP4rev1 ESEARCH");
 *	struct imap_call *call = imap_noop_start(fake->session, ...);
 *	fake_turn(fake->network, 0);
 *	fake_expect(fake->transport, "NOOP");
 *	...
 *	fake_session_free(&fake);
 */
#ifndef GP_TESTS_SUPPORT_FAKE_SESSION_H
#define GP_TESTS_SUPPORT_FAKE_SESSION_H

#include "imap/session.h"
#include "tests/support/fake_network.h"

#define FAKE_CONNECT_TIMEOUT_MS 10000
#define FAKE_SILENCE_TIMEOUT_MS 60000

struct fake_session {
	struct fake_network *network;     /* own */
	struct imap_endpoint endpoint;    /* imap.test, 993 or 143 */
	struct imap_session *session;     /* own */
	struct fake_transport *transport; /* borrow: the network's */
	size_t n_ready, n_closed, n_idle; /* events */
	struct gp_error error;            /* what `closed` said */
	/* called within these events when set */
	void (*on_ready)(struct fake_session *fake);
	void (*on_closed)(struct fake_session *fake);
	void *user; /* borrow: the test's, for the hooks */
};

/* Opened, not connected. */
struct fake_session *fake_session_new(enum imap_security security);
/* READY, over TLS from the first byte, nothing unread, all counts 0. */
struct fake_session *fake_session_ready(const char *capabilities);
/* `closed` came once, with this; nothing is left of the connection and the commands. */
void fake_session_expect_closed(const struct fake_session *fake, enum gp_status status);
/* Ends all of it; leaves NULL. */
void fake_session_free(struct fake_session **fake);

#endif
