/*
 * An IMAP network whose other end is the test, on a virtual clock.
 *
 * The test is the loop: it moves the clock with fake_turn() and makes things arrive
 * with fake_connect(), fake_feed() and so on. Each of these delivers its event and
 * then runs a turn of 0 ms, so that what the code under test puts off to "the next
 * turn of the loop" has happened when it returns. Nothing is delivered from within
 * a call of an operation, and none of these functions may be called from within an
 * event (the fake fails the test if one is).
 *
 *	struct fake_network *net = fake_network_new();
 *	... imap_pool_new() or imap_session_new() with fake_as_network(net), fake_timers(net) ...
 *	struct fake_transport *t = fake_transport(net, 0);   the first that was opened
 *	fake_log_in(t, "IMAP4rev1 LITERAL+ ESEARCH");        connect, greeting, login
 *	fake_expect(t, "SELECT INBOX");                      the next line, without its tag
 *	fake_reply(t, "* 3 EXISTS\r\n$ OK [READ-WRITE] done\r\n");
 *	...
 *	fake_network_free(&net);                             fails if a transport was not closed
 *
 * In fake_reply(), "$" at the start of a line stands for the tag of the oldest line
 * passed by fake_expect() that has not been answered with "$" yet, so that scripts
 * do not depend on how tags are made. Answers out of order use the tag that
 * fake_expect() returns.
 *
 * What was written stays in order: fake_expect() takes one line (a literal is part
 * of the line: "LOGIN {3}" is one line, "bob {6}" the next); fake_take() takes all
 * that is left as text. A test that ends with something unread was not careful:
 * fake_expect_nothing() says that there is nothing.
 *
 * It can be made to fail by itself: tests/support/fault.h.
 *
 * Lifetimes: a struct fake_transport stays until fake_network_free(), also after both
 * sides closed it. Failures are cmocka's (fail_msg).
 */
#ifndef GP_TESTS_SUPPORT_FAKE_NETWORK_H
#define GP_TESTS_SUPPORT_FAKE_NETWORK_H

#include "base/timers.h"
#include "imap/transport.h"

struct fake_network;
struct fake_transport;

/* ---- the network and the clock ---- */

struct fake_network *fake_network_new(void);
/* Fails when a transport is still open or a timer is still running: something was
 * not freed. Leaves NULL. */
void fake_network_free(struct fake_network **network);
struct imap_network *fake_as_network(struct fake_network *network);
struct gp_timers *fake_timers(struct fake_network *network);
uint64_t fake_now_ms(const struct fake_network *network);

/* Moves the clock by `ms`, firing each timer at its own moment, those that fire set
 * going included, until nothing is due. */
void fake_turn(struct fake_network *network, uint64_t ms);
/* From now on what is fed arrives in pieces of `n` bytes, a turn of the loop between
 * two; 0: whole. */
void fake_set_split(struct fake_network *network, size_t n);
/* From now on open() answers NULL (memory ended), or works again. */
void fake_set_open_fails(struct fake_network *network, bool fails);

/* Sees all bytes that arrive, at either end, on the transport with this index. */
typedef void (*fake_tap_fn)(void *ctx, size_t index, bool is_to_server, struct span bytes);
void fake_set_tap(struct fake_network *network, fake_tap_fn tap, void *ctx);

/* ---- transports, in the order they were opened ---- */

size_t fake_n_opened(const struct fake_network *network);
size_t fake_n_open(const struct fake_network *network); /* not closed by the code under test */
struct fake_transport *fake_transport(struct fake_network *network, size_t index);
struct fake_transport *fake_newest(struct fake_network *network);

/* ---- what the code under test did ---- */

/* All that is unread, NUL-terminated, valid until the next call on this transport. */
const char *fake_take(struct fake_transport *transport);
/* Takes one line, which must be a tag, SP and `command` (without CRLF). Returns the
 * tag, valid until the network is freed. */
const char *fake_expect(struct fake_transport *transport, const char *command);
/* Takes one line, which must be exactly `line`: a piece after a "+", which has no tag. */
void fake_expect_line(struct fake_transport *transport, const char *line);
/* Nothing is unread. */
void fake_expect_nothing(struct fake_transport *transport);
/* How many calls of write() there were. */
size_t fake_n_writes(const struct fake_transport *transport);
bool fake_is_closed(const struct fake_transport *transport); /* by close() */
bool fake_is_live(const struct fake_transport *transport);   /* not closed, not ended, and not about to */
bool fake_is_connected(const struct fake_transport *transport);
bool fake_wants_tls(const struct fake_transport *transport); /* start_tls() came, fake_secure() did not yet */
bool fake_is_paused(const struct fake_transport *transport);
const struct imap_endpoint *fake_endpoint(const struct fake_transport *transport);
uint64_t fake_connect_timeout_ms(const struct fake_transport *transport);

/* ---- what the network and the server do ---- */

void fake_connect(struct fake_transport *transport);
void fake_secure(struct fake_transport *transport);
/* From now on the network takes nothing of what is written: it is unsent, though the
 * test can read it. fake_drain() ends that: `drained` comes. */
void fake_hold(struct fake_transport *transport);
void fake_drain(struct fake_transport *transport);
/* Bytes as they are. While the reader has paused they are kept and arrive when it
 * continues; what is left when the transport is closed is dropped. */
void fake_feed(struct fake_transport *transport, const char *text);
void fake_feed_bytes(struct fake_transport *transport, struct span bytes);
/* The same, with "$" at the start of a line replaced (see above). */
void fake_reply(struct fake_transport *transport, const char *script);
/* The connection ends with this status and text. */
void fake_end(struct fake_transport *transport, enum gp_status status, const char *text);

/* Connects (unless that was done), greets, takes the login, whichever mechanism the
 * capabilities lead to, answers ID where it is sent, and leaves the session READY
 * with nothing unread. The capabilities hold before and after the login, AUTH=PLAIN
 * and SASL-IR are added before it. Not for STARTTLS. */
void fake_log_in(struct fake_transport *transport, const char *capabilities);

#endif
