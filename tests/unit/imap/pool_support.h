/*
 * A pool on a fake network, and leases that say what became of them. Included by one
 * test file each.
 *
 * Connections are named by their order: fake_transport(net, 0) is the first that the
 * pool opened.
 */
#ifndef TEST_IMAP_POOL_SUPPORT_H
#define TEST_IMAP_POOL_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/log.h"
#include "imap/pool_internal.h"
#include "tests/support/fake_network.h"

#define CAPS "IMAP4rev1 LITERAL+"
#define REQUEST_MS 60000
#define IDLE_MS 300000

static struct fake_network *net;
static struct imap_pool *pool;
static struct imap_endpoint endpoint = {.host = "imap.test", .port = 993, .security = IMAP_SECURITY_TLS};
static size_t n_ended; /* leases that were granted or failed, in order */
static struct imap_credential *bob;

/* ---- a lease of a test ---- */

struct probe {
	struct imap_lease *lease; /* own while it lives */
	size_t n_done, order;
	enum gp_status status; /* GP_OK when it was granted */
	char code[40];
	/* called in the callback when set */
	void (*on_done)(struct probe *self);
	struct probe *other; /* borrow: for the hook */
};

static inline void on_lease(void *ctx, struct imap_lease *lease, const struct gp_error *error)
{
	struct probe *self = ctx;

	assert_int_equal(self->n_done, 0);
	self->n_done++;
	self->order = ++n_ended;
	if (error) {
		assert_null(lease);
		self->lease = NULL;
		self->status = error->status;
		snprintf(self->code, sizeof self->code, "%s", error->code);
	} else {
		assert_ptr_equal(lease, self->lease);
	}
	if (self->on_done) {
		self->on_done(self);
	}
}

static inline void start_as(struct probe *self, struct imap_credential *credential, const char *mailbox, bool is_write,
			    bool is_bulk)
{
	const struct imap_lease_spec spec = {
		.credential = credential,
		.mailbox = mailbox ? span_of(mailbox) : SPAN_NIL,
		.is_write = is_write,
		.is_bulk = is_bulk,
		.deadline_at_ms = fake_now_ms(net) + REQUEST_MS,
	};
	void (*on_done)(struct probe *) = self->on_done;
	struct probe *other = self->other;

	*self = (struct probe){.on_done = on_done, .other = other};
	self->lease = imap_lease_start(pool, &spec, on_lease, self);
	assert_non_null(self->lease);
	assert_int_equal(self->n_done, 0);
}

/* To read `mailbox`; runs a turn. */
static inline void start(struct probe *self, const char *mailbox)
{
	*self = (struct probe){.n_done = 0};
	start_as(self, bob, mailbox, false, false);
	fake_turn(net, 0);
}

static inline void start_bulk(struct probe *self, const char *mailbox)
{
	*self = (struct probe){.n_done = 0};
	start_as(self, bob, mailbox, false, true);
	fake_turn(net, 0);
}

/* A fresh view of `mailbox`; runs a turn. */
static inline void start_fresh(struct probe *self, const char *mailbox)
{
	const struct imap_lease_spec spec = {
		.credential = bob,
		.mailbox = span_of(mailbox),
		.is_fresh_view = true,
		.deadline_at_ms = fake_now_ms(net) + REQUEST_MS,
	};

	*self = (struct probe){.n_done = 0};
	self->lease = imap_lease_start(pool, &spec, on_lease, self);
	assert_non_null(self->lease);
	fake_turn(net, 0);
}

static inline bool is_granted(const struct probe *self)
{
	return self->n_done == 1 && self->lease;
}

static inline bool is_waiting(const struct probe *self)
{
	return self->n_done == 0 && self->lease;
}

static inline void expect_failed(const struct probe *self, enum gp_status status)
{
	if (self->n_done != 1 || self->status != status) {
		fail_msg("%zu times, %s, not %s", self->n_done, gp_status_name(self->status), gp_status_name(status));
	}
	assert_null(self->lease);
}

static inline void end(struct probe *self)
{
	imap_lease_end(&self->lease, false);
	assert_null(self->lease);
	fake_turn(net, 0);
}

/* ---- the world ---- */

static inline struct imap_credential *credential(const char *username, const char *password)
{
	struct imap_credential *made = NULL;

	assert_int_equal(imap_credential_new(span_of(username), span_of(password), &made), GP_OK);
	return made;
}

static inline void begin(size_t per_account, size_t in_all)
{
	net = fake_network_new();
	const struct imap_pool_config config = {
		.network = fake_as_network(net),
		.endpoint = &endpoint,
		.timers = fake_timers(net),
		.max_sessions_per_account = per_account,
		.max_sessions = in_all,
		.connect_timeout_ms = 10000,
		.idle_timeout_ms = IDLE_MS,
		.silence_timeout_ms = 60000,
	};
	pool = imap_pool_new(&config);
	assert_non_null(pool);
	bob = credential("bob", "secret");
	n_ended = 0;
}

static inline void finish(void)
{
	imap_pool_free(&pool);
	assert_null(pool);
	imap_credential_unref(&bob);
	fake_network_free(&net);
}

static inline struct imap_pool_stats stats(void)
{
	struct imap_pool_stats now;

	imap_pool_stats(pool, &now);
	return now;
}

static inline struct fake_transport *at(size_t index)
{
	return fake_transport(net, index);
}

/* What comes of the login stays unread: fake_log_in() wants nothing to. */
static inline void log_in(size_t index)
{
	struct fake_transport *transport = at(index);
	char reply[128];

	fake_connect(transport);
	fake_feed(transport, "* OK [CAPABILITY " CAPS " AUTH=PLAIN SASL-IR] ready\r\n");
	const char *line = fake_take(transport);
	assert_non_null(strstr(line, " AUTHENTICATE PLAIN "));
	snprintf(reply, sizeof reply, "%.*s OK [CAPABILITY " CAPS "] in\r\n", (int)strcspn(line, " "), line);
	fake_feed(transport, reply);
}

static inline void expect_examine(size_t index, const char *mailbox)
{
	char line[128];

	snprintf(line, sizeof line, "EXAMINE %s", mailbox);
	fake_expect(at(index), line);
}

static inline void answer(size_t index)
{
	fake_reply(at(index), "* 1 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n$ OK done\r\n");
}

static inline void examine(size_t index, const char *mailbox)
{
	expect_examine(index, mailbox);
	answer(index);
}

static inline void log_out(size_t index)
{
	fake_expect(at(index), "LOGOUT");
	fake_reply(at(index), "* BYE\r\n$ OK\r\n");
	assert_true(fake_is_closed(at(index)));
}

/* One session, with `mailbox` open and idle. */
static inline void warm(size_t index, const char *mailbox)
{
	struct probe probe;

	start(&probe, mailbox);
	log_in(index);
	examine(index, mailbox);
	assert_true(is_granted(&probe));
	end(&probe);
}

#endif
