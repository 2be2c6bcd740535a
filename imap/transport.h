/*
 * A byte stream to an IMAP server, as the session sees it: a TCP connection with or
 * without TLS (imap/tcp.c, imap/tls.c), or a script in the tests.
 *
 * Contract. No event is delivered from within a call of an operation: events come
 * from the loop. `closed` comes at most once, is the last event, and says why
 * (GP_LOST for an orderly end of the stream as well as a reset; GP_TLS for a close
 * without close_notify or a failed verification; GP_RESOLVE, GP_REFUSED,
 * GP_CONNECT_TIMEOUT before `connected`). After close() no event comes.
 *
 * write() takes whatever it is given; who writes much looks at unsent() and waits for
 * `drained`.
 */
#ifndef GP_IMAP_TRANSPORT_H
#define GP_IMAP_TRANSPORT_H

#include "base/status.h"
#include "imap/endpoint.h"

struct imap_transport_events {
	void (*connected)(void *ctx);                   /* the first byte may be sent; TLS is up where it is implicit */
	void (*secured)(void *ctx);                     /* after start_tls() */
	void (*received)(void *ctx, struct span bytes); /* borrowed for the call; close() is allowed in it */
	/* The network has taken what waited for it: unsent() is less. May be NULL. */
	void (*drained)(void *ctx);
	void (*closed)(void *ctx, const struct gp_error *error);
};

struct imap_transport;

struct imap_transport_ops {
	/* Copies the bytes and sends them in order. Failures arrive as `closed`. */
	void (*write)(struct imap_transport *transport, struct span bytes);
	/* The caller has seen STARTTLS's OK and no byte behind it. */
	void (*start_tls)(struct imap_transport *transport);
	/* How many bytes the network has not taken. Those that will never be sent count, also
	 * after `closed`. Where it is not 0, `drained` follows, or `closed`. */
	size_t (*unsent)(const struct imap_transport *transport);
	/* Stops and continues reading from the network: back-pressure. */
	void (*set_paused)(struct imap_transport *transport, bool is_paused);
	/* Sends what is written (and close_notify) if it goes at once, closes, frees later. */
	void (*close)(struct imap_transport *transport);
};

struct imap_transport {
	const struct imap_transport_ops *ops;
	const struct imap_transport_events *events; /* borrow */
	void *ctx;                                  /* borrow, for events */
};

/* Makes transports. The endpoint is borrowed and outlives the transport. NULL when
 * memory ends. Connecting starts at once and gives up after connect_timeout_ms
 * (name, TCP and TLS together). */
struct imap_network {
	struct imap_transport *(*open)(struct imap_network *network, const struct imap_endpoint *endpoint,
				       uint64_t connect_timeout_ms, const struct imap_transport_events *events,
				       void *ctx);
};

static inline void imap_transport_write(struct imap_transport *t, struct span bytes)
{
	t->ops->write(t, bytes);
}

static inline size_t imap_transport_unsent(const struct imap_transport *t)
{
	return t->ops->unsent(t);
}

static inline void imap_transport_start_tls(struct imap_transport *t)
{
	t->ops->start_tls(t);
}

static inline void imap_transport_set_paused(struct imap_transport *t, bool is_paused)
{
	t->ops->set_paused(t, is_paused);
}

/* Takes the transport and leaves NULL; NULL is a no-op. */
static inline void imap_transport_close(struct imap_transport **t)
{
	if (*t) {
		struct imap_transport *transport = *t;
		*t = NULL;
		transport->ops->close(transport);
	}
}

#endif
