/*
 * A real loop with both ends of a loopback connection in it: a listening server whose
 * behaviour is two functions of the test's, and a recorder of one transport's events
 * that checks the contract of imap/transport.h as they come. Assertions are cmocka's.
 */
#ifndef GP_TESTS_LOOPBACK_H
#define GP_TESTS_LOOPBACK_H

#include <uv.h>

#include "base/buffer.h"
#include "imap/tcp.h"
#include "tests/support/uv_timers.h"

struct loopback;
struct peer;

/* One accepted connection; freed when it is closed. */
struct peer {
	uv_tcp_t tcp;
	struct loopback *loopback; /* borrow */
	void *ctx;                 /* the test's */
	struct peer *next;         /* link */
	size_t n_unsent;           /* bytes */
	size_t n_received;
};

enum client_moment { NEVER, AT_CONNECTED, AT_SECURED, AT_RECEIVED, AT_CLOSED };

struct loopback {
	uv_loop_t loop;
	struct uv_timers pump;
	struct imap_network *network; /* own */
	struct imap_endpoint endpoint;

	/* the server */
	uv_tcp_t listener;
	bool is_listening;
	struct peer *peers; /* own until closed */
	size_t n_accepted, n_peers_closed;
	void (*accepted)(struct peer *peer);                    /* may be NULL */
	void (*received)(struct peer *peer, struct span bytes); /* NULL: echoes */
	void (*ended)(struct peer *peer);                       /* its peer is closed; may be NULL */

	/* the client */
	struct imap_transport *transport; /* own */
	unsigned n_connected, n_secured, n_received, n_closed;
	struct gp_buffer bytes;
	struct gp_error error;
	enum client_moment close_at, pause_at;
	void (*hook)(struct loopback *loopback, enum client_moment moment); /* after the above; may be NULL */
};

/* Starts a server on a free port of 127.0.0.1, which `endpoint` names. */
void loopback_begin(struct loopback *self, enum imap_security security, struct imap_tls_context *tls);
void loopback_end(struct loopback *self); /* closes all, runs the loop empty and checks that it is */

void loopback_open(struct loopback *self, uint64_t timeout_ms);
void loopback_write(struct loopback *self, struct span bytes);
void loopback_start_tls(struct loopback *self);
void loopback_pause(struct loopback *self, bool is_paused);
void loopback_close(struct loopback *self);

/* Runs the loop until it is true; fails when the loop has nothing left to do. */
void loopback_run_until(struct loopback *self, bool (*is_true)(const struct loopback *self));
/* A few turns that do not wait: what is ready happens. */
void loopback_settle(struct loopback *self);
void loopback_run_to_closed(struct loopback *self, enum gp_status status);

bool loopback_is_connected(const struct loopback *self);
bool loopback_is_secured(const struct loopback *self);
bool loopback_is_closed(const struct loopback *self);
bool loopback_is_served(const struct loopback *self); /* the first peer was accepted */
bool loopback_has_lost_peers(const struct loopback *self);

/* Copies. */
void peer_send(struct peer *peer, struct span bytes);
void peer_close(struct peer *peer);
void peer_reset(struct peer *peer);

#endif
