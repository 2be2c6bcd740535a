/*
 * One transport is one connection, from the dialling (imap/dial.c) to the last byte:
 *
 *   CONNECTING → [SECURING →] OPEN [→ SECURING → OPEN]
 *       any of them → FAILED (`closed` is under way or was given) → CLOSED
 *
 * SECURING is a TLS handshake: at once for implicit TLS, later for STARTTLS.
 *
 * The transport is freed in the last close callback of its two handles: the socket, and
 * the idle handle `later`. Events come from libuv's callbacks only. Whatever goes wrong
 * inside an operation is recorded by fail() and told by `later` on the next turn of the
 * loop; so is what a resumed transport had already received. After an event the code
 * looks at the state again, because the receiver may have closed.
 *
 * The clock of the borrowed timers must be uv_now()'s. Their set only knows the time
 * of its last run, so it is moved on in each callback that may start a timer: without
 * that, a deadline set after a quiet minute would be over at once.
 *
 * libuv writes without MSG_NOSIGNAL: the program ignores SIGPIPE.
 */
#include "imap/tcp.h"

#include <assert.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/limits.h"
#include "base/log.h"
#include "imap/dial.h"
#include "imap/tls.h"

#define RECEIVE_BYTES (128 * GP_KIB)
#define MAX_UNSENT (64 * GP_MIB) /* bytes that the server has not taken yet; an APPEND keeps far below */
#define KEEP_UNSENT GP_KIB       /* a queue that is empty again gives more than this back */
#define KEEPALIVE_S 60
#define LAST_WORDS_MS 1000 /* after a failed write: for what the server said before it closed */

#define TCP_STATE_MAP(X)                                                                                               \
	X(CONNECTING)                                                                                                  \
	X(SECURING)                                                                                                    \
	X(OPEN)                                                                                                        \
	X(FAILED)                                                                                                      \
	X(CLOSED)

enum tcp_state {
#define X(name) TCP_##name,
	TCP_STATE_MAP(X)
#undef X
};

#define BIT(state) (1U << (state))

static const char *const state_names[] = {
#define X(name) #name,
	TCP_STATE_MAP(X)
#undef X
};

static const unsigned arrows[] = {
	[TCP_CONNECTING] = BIT(TCP_SECURING) | BIT(TCP_OPEN) | BIT(TCP_FAILED) | BIT(TCP_CLOSED),
	[TCP_SECURING] = BIT(TCP_OPEN) | BIT(TCP_FAILED) | BIT(TCP_CLOSED),
	[TCP_OPEN] = BIT(TCP_SECURING) | BIT(TCP_FAILED) | BIT(TCP_CLOSED),
	[TCP_FAILED] = BIT(TCP_CLOSED),
	[TCP_CLOSED] = 0,
};

struct tcp_network {
	struct imap_network network;
	uv_loop_t *loop;              /* borrow */
	struct gp_timers *timers;     /* borrow */
	struct imap_tls_context *tls; /* borrow; may be NULL */
	size_t n_transports;          /* not yet freed */
	unsigned long n_opened;       /* names transports in the log */
	bool is_freed;                /* goes with its last transport */
	/* One for all connections: what is in them is used up before the loop goes on. */
	char received[RECEIVE_BYTES];
	char plain[IMAP_TLS_MAX_PLAIN];
};

struct tcp_transport {
	struct imap_transport transport;
	struct tcp_network *network;          /* borrow */
	const struct imap_endpoint *endpoint; /* borrow; not touched after close() */
	unsigned long number;
	enum tcp_state state;
	size_t n_handles; /* not yet closed: `later`, *tcp */
	uv_idle_t later;
	struct gp_timer deadline; /* of name, TCP and TLS; then of a handshake, or of the last words */
	uint64_t connect_timeout_ms;

	struct imap_dial *dial; /* own; while CONNECTING */
	uv_tcp_t *tcp;          /* own until closed; once connected */
	struct imap_tls *tls;   /* own; NULL in clear */
	bool is_upgrade;        /* SECURING was start_tls() */
	bool is_paused, is_reading;
	bool has_backlog; /* resumed: there may be plain text that `later` hands out */

	/* what is to be sent, in this order */
	uv_write_t writing;
	struct gp_buffer sending; /* libuv has it while is_sending */
	struct gp_buffer queued;
	bool is_sending;
	size_t n_dropped; /* bytes that were written and will not be sent */
	int write_error;

	struct gp_error error; /* for `closed` */
};

static struct tcp_transport *of(struct imap_transport *transport)
{
	return (struct tcp_transport *)transport; /* its first member */
}

static void set_state(struct tcp_transport *t, enum tcp_state state)
{
	bool is_arrow = (arrows[t->state] & BIT(state)) != 0;

	assert(is_arrow);
	(void)is_arrow;
	gp_log(GP_LOG_DEBUG, "imap", "transport=%lu %s -> %s", t->number, state_names[t->state], state_names[state]);
	t->state = state;
}

static bool is_done(const struct tcp_transport *t)
{
	return t->state == TCP_FAILED || t->state == TCP_CLOSED;
}

static void update_clock(struct tcp_network *network)
{
	gp_timers_set_now(network->timers, uv_now(network->loop));
}

/* ---- lifetime ---- */

static void network_release(struct tcp_network *network)
{
	if (network->is_freed && network->n_transports == 0) {
		free(network);
	}
}

static void release(struct tcp_transport *t)
{
	if (--t->n_handles > 0) {
		return;
	}
	struct tcp_network *network = t->network;

	gp_buffer_deinit(&t->sending);
	free(t);
	network->n_transports--;
	network_release(network);
}

static void on_tcp_closed(uv_handle_t *handle)
{
	struct tcp_transport *t = handle->data;

	free(handle);
	release(t);
}

/* Lets go of everything but `later` and the memory. */
static void disconnect(struct tcp_transport *t)
{
	gp_timer_stop(&t->deadline);
	imap_dial_cancel(&t->dial);
	if (t->tcp) {
		uv_close((uv_handle_t *)t->tcp, on_tcp_closed);
		t->tcp = NULL;
	}
	imap_tls_free(&t->tls);
	t->n_dropped += t->queued.len;
	gp_buffer_deinit(&t->queued);
}

/* ---- sending ---- */

static void flush(struct tcp_transport *t);

/* The server may have said why before it closed ("* BYE …"), and that is still to be
 * read: reading goes on until it ends by itself, or for a moment. */
static void write_failed(struct tcp_transport *t, int error)
{
	t->write_error = error;
	t->n_dropped += t->queued.len > 0 ? t->queued.len : 1;
	gp_buffer_deinit(&t->queued);
	if (t->state == TCP_OPEN) {
		gp_timer_start(&t->deadline, LAST_WORDS_MS);
	}
}

static void on_written(uv_write_t *request, int status)
{
	struct tcp_transport *t = request->data;

	update_clock(t->network);
	t->is_sending = false;
	gp_buffer_deinit(&t->sending);
	if (is_done(t)) {
		return;
	}
	if (status < 0) {
		write_failed(t, status);
		return;
	}
	flush(t);
	if (t->state == TCP_OPEN && t->transport.events->drained) {
		t->transport.events->drained(t->transport.ctx);
	}
}

static size_t tcp_unsent(const struct imap_transport *transport)
{
	const struct tcp_transport *t = (const struct tcp_transport *)transport;

	return t->n_dropped + (t->is_sending ? t->sending.len : 0) + t->queued.len;
}

/* What the kernel takes goes at once; the rest becomes the one write in flight, and
 * what is queued behind it goes out together when that has ended. */
static void flush(struct tcp_transport *t)
{
	if (t->is_sending || t->queued.len == 0 || !t->tcp) {
		return;
	}
	if (t->write_error) {
		gp_buffer_deinit(&t->queued);
		return;
	}
	uv_stream_t *stream = (uv_stream_t *)t->tcp;
	uv_buf_t rest = uv_buf_init(t->queued.data, (unsigned)t->queued.len);
	int n = uv_try_write(stream, &rest, 1);
	if (n < 0 && n != UV_EAGAIN) {
		write_failed(t, n);
		return;
	}
	if (n == (int)t->queued.len) {
		gp_buffer_reset(&t->queued, KEEP_UNSENT);
		return;
	}
	if (n > 0) {
		rest = uv_buf_init(rest.base + n, (unsigned)(t->queued.len - (size_t)n));
	}
	t->sending = t->queued;
	gp_buffer_init(&t->queued, MAX_UNSENT);
	t->is_sending = true;
	t->writing.data = t;
	n = uv_write(&t->writing, stream, &rest, 1, on_written);
	if (n < 0) {
		t->is_sending = false;
		gp_buffer_deinit(&t->sending);
		write_failed(t, n);
	}
}

/* ---- ending ---- */

static void on_later(uv_idle_t *handle);

/* The first failure. `closed` follows from the loop. */
static void fail(struct tcp_transport *t, enum gp_status status, const struct gp_error *error)
{
	if (is_done(t)) {
		return;
	}
	t->error = *error;
	t->error.status = status;
	if (t->tls) {
		flush(t); /* the alert that tells the server why */
	}
	set_state(t, TCP_FAILED);
	disconnect(t);
	uv_idle_start(&t->later, on_later);
}

static void fail_text(struct tcp_transport *t, enum gp_status status, const char *text)
{
	struct gp_error error = {.status = GP_OK};

	gp_error_set(&error, status, "%s port %u: %s", t->endpoint->host, (unsigned)t->endpoint->port, text);
	fail(t, status, &error);
}

static void on_later_closed(uv_handle_t *handle)
{
	release(handle->data);
}

static void tcp_close(struct imap_transport *transport)
{
	struct tcp_transport *t = of(transport);

	if (t->state == TCP_CLOSED) {
		return;
	}
	if (t->state == TCP_OPEN) {
		if (t->tls) {
			imap_tls_shutdown(t->tls);
		}
		flush(t);
	}
	set_state(t, TCP_CLOSED);
	disconnect(t);
	uv_close((uv_handle_t *)&t->later, on_later_closed);
}

static void on_deadline(struct gp_timer *timer)
{
	struct tcp_transport *t = timer->ctx;

	switch (t->state) {
	case TCP_CONNECTING:
		fail_text(t, GP_CONNECT_TIMEOUT,
			  imap_dial_is_resolving(t->dial) ? "its name was not resolved in time"
							  : "no connection in time");
		break;
	case TCP_SECURING:
		fail_text(t, GP_CONNECT_TIMEOUT, "no TLS handshake in time");
		break;
	case TCP_OPEN:
		if (t->is_paused) {
			gp_timer_start(timer, LAST_WORDS_MS); /* the last words are still unread */
		} else {
			fail_text(t, GP_LOST, uv_strerror(t->write_error));
		}
		break;
	case TCP_FAILED:
	case TCP_CLOSED:
		break;
	}
}

/* ---- receiving ---- */

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer);

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct tcp_transport *t = handle->data;
	struct tcp_network *network = t->network;

	(void)suggested;
	*buffer = uv_buf_init(network->received, sizeof network->received);
}

static void update_reading(struct tcp_transport *t)
{
	/* A handshake goes on while the receiver is paused: it is told nothing of it. */
	bool wanted = t->state == TCP_SECURING || (t->state == TCP_OPEN && !t->is_paused && !t->has_backlog);

	if (is_done(t) || wanted == t->is_reading) {
		return;
	}
	uv_stream_t *stream = (uv_stream_t *)t->tcp;
	t->is_reading = wanted;
	if (!wanted) {
		uv_read_stop(stream);
		return;
	}
	int error = uv_read_start(stream, on_alloc, on_read);
	if (error < 0) {
		fail_text(t, GP_LOST, uv_strerror(error));
	}
}

static void become_open(struct tcp_transport *t)
{
	gp_timer_stop(&t->deadline);
	set_state(t, TCP_OPEN);
	if (t->write_error) {
		write_failed(t, t->write_error);
	}
}

static void shake_hands(struct tcp_transport *t)
{
	struct gp_error error = {.status = GP_OK};
	bool is_done_now = false;
	enum gp_status status = imap_tls_handshake(t->tls, &is_done_now, &error);

	if (status != GP_OK) {
		fail(t, status, &error);
		return;
	}
	flush(t);
	if (!is_done_now) {
		return;
	}
	gp_log(GP_LOG_DEBUG, "imap", "transport=%lu %s%s", t->number, imap_tls_version(t->tls),
	       imap_tls_is_resumed(t->tls) ? " resumed" : "");
	become_open(t);
	if (t->is_upgrade) {
		t->transport.events->secured(t->transport.ctx);
	} else {
		t->transport.events->connected(t->transport.ctx);
	}
}

/* Takes what was fed to TLS as far as it goes or the receiver wants it. */
static void pump_tls(struct tcp_transport *t)
{
	char *plain = t->network->plain;
	struct gp_error error = {.status = GP_OK};
	enum gp_status status;

	if (t->state == TCP_SECURING) {
		shake_hands(t);
	}
	while (t->state == TCP_OPEN && !t->is_paused) {
		size_t len = 0;
		status = imap_tls_read(t->tls, plain, sizeof t->network->plain, &len, &error);
		if (status != GP_OK) {
			fail(t, status, &error);
			return;
		}
		if (len == 0) {
			break;
		}
		t->transport.events->received(t->transport.ctx, span_make(plain, len));
	}
	if (is_done(t)) {
		return;
	}
	flush(t); /* reading may answer: a key update */
	status = imap_tls_keep(t->tls);
	if (status != GP_OK) {
		fail_text(t, status, gp_status_text(status));
		return;
	}
	update_reading(t);
}

static void on_end(struct tcp_transport *t, int why)
{
	bool is_handshake = t->state == TCP_SECURING;

	if (t->tls && why == UV_EOF) {
		imap_tls_end(t->tls);
		pump_tls(t);
	}
	if (!is_done(t)) {
		fail_text(t, is_handshake ? GP_TLS : GP_LOST,
			  why == UV_EOF ? "the server closed the connection" : uv_strerror(why));
	}
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
	struct tcp_transport *t = stream->data;

	update_clock(t->network);
	if (n < 0) {
		on_end(t, (int)n);
	} else if (n > 0 && t->tls) {
		imap_tls_feed(t->tls, span_make(buffer->base, (size_t)n));
		pump_tls(t);
	} else if (n > 0) {
		t->transport.events->received(t->transport.ctx, span_make(buffer->base, (size_t)n));
	}
}

static void on_later(uv_idle_t *handle)
{
	struct tcp_transport *t = handle->data;

	uv_idle_stop(handle);
	update_clock(t->network);
	if (t->state == TCP_FAILED) {
		/* a copy: the receiver may close, and read on in it */
		struct gp_error error = t->error;
		t->transport.events->closed(t->transport.ctx, &error);
	} else if (t->has_backlog) {
		t->has_backlog = false;
		pump_tls(t);
	}
}

/* ---- the other operations ---- */

static void tcp_write(struct imap_transport *transport, struct span bytes)
{
	struct tcp_transport *t = of(transport);
	struct gp_error error = {.status = GP_OK};
	enum gp_status status = GP_OK;

	if (is_done(t) || t->write_error || bytes.len == 0) {
		return;
	}
	if (t->state != TCP_OPEN) {
		/* It would go out in clear, or not at all. */
		fail_text(t, GP_INVALID, "written to before it was open");
		return;
	}
	if (t->tls) {
		status = imap_tls_write(t->tls, bytes, &error);
	} else {
		/* What goes at once is not copied. */
		if (!t->is_sending && t->queued.len == 0) {
			uv_buf_t all = uv_buf_init((char *)(uintptr_t)bytes.ptr,
						   bytes.len > MAX_UNSENT ? (unsigned)MAX_UNSENT : (unsigned)bytes.len);
			int n = uv_try_write((uv_stream_t *)t->tcp, &all, 1);
			bytes = n > 0 ? span_from(bytes, (size_t)n) : bytes;
		}
		status = gp_buffer_append(&t->queued, bytes);
		if (status != GP_OK) {
			gp_error_set(&error, status, "%s: too much waits to be sent", t->endpoint->host);
		}
	}
	if (status != GP_OK) {
		fail(t, status, &error);
		return;
	}
	flush(t);
}

/* From CONNECTING or OPEN; the first flight is sent. */
static void start_handshake(struct tcp_transport *t)
{
	struct gp_error error = {.status = GP_OK};

	if (!t->network->tls) {
		fail_text(t, GP_TLS, "TLS is not configured");
		return;
	}
	t->tls = imap_tls_new(t->network->tls, t->endpoint, &t->queued, &error);
	if (!t->tls) {
		fail(t, error.status, &error);
		return;
	}
	set_state(t, TCP_SECURING);
	shake_hands(t); /* cannot be done yet: the server has not spoken */
	update_reading(t);
}

static void tcp_start_tls(struct imap_transport *transport)
{
	struct tcp_transport *t = of(transport);

	if (is_done(t)) {
		return;
	}
	if (t->state != TCP_OPEN || t->tls) {
		fail_text(t, GP_INVALID, "TLS was asked for out of turn");
		return;
	}
	update_clock(t->network);
	t->is_upgrade = true;
	gp_timer_start(&t->deadline, t->connect_timeout_ms);
	start_handshake(t);
}

static void tcp_set_paused(struct imap_transport *transport, bool is_paused)
{
	struct tcp_transport *t = of(transport);

	if (is_done(t) || t->is_paused == is_paused) {
		return;
	}
	t->is_paused = is_paused;
	if (t->state != TCP_OPEN) {
		return;
	}
	if (!is_paused && t->tls) {
		t->has_backlog = true;
		uv_idle_start(&t->later, on_later);
	}
	update_reading(t);
}

static const struct imap_transport_ops tcp_ops = {
	.write = tcp_write,
	.start_tls = tcp_start_tls,
	.unsent = tcp_unsent,
	.set_paused = tcp_set_paused,
	.close = tcp_close,
};

/* ---- opening ---- */

static void on_dialled(void *ctx, uv_tcp_t *tcp, const struct gp_error *error)
{
	struct tcp_transport *t = ctx;

	update_clock(t->network);
	t->dial = NULL;
	if (!tcp) {
		fail(t, error->status, error);
		return;
	}
	t->tcp = tcp;
	tcp->data = t;
	t->n_handles++;
	uv_tcp_nodelay(tcp, 1);
	uv_tcp_keepalive(tcp, 1, KEEPALIVE_S);
	if (t->endpoint->security == IMAP_SECURITY_TLS) {
		start_handshake(t);
		return;
	}
	become_open(t);
	t->transport.events->connected(t->transport.ctx);
	update_reading(t);
}

static struct imap_transport *tcp_open(struct imap_network *network, const struct imap_endpoint *endpoint,
				       uint64_t connect_timeout_ms, const struct imap_transport_events *events,
				       void *ctx)
{
	struct tcp_network *self = (struct tcp_network *)network;
	struct tcp_transport *t = calloc(1, sizeof *t);

	if (!t || uv_idle_init(self->loop, &t->later) < 0) {
		free(t);
		return NULL;
	}
	t->transport = (struct imap_transport){.ops = &tcp_ops, .events = events, .ctx = ctx};
	t->network = self;
	t->endpoint = endpoint;
	t->number = ++self->n_opened;
	t->state = TCP_CONNECTING;
	t->connect_timeout_ms = connect_timeout_ms;
	t->later.data = t;
	t->n_handles = 1;
	self->n_transports++;
	gp_buffer_init(&t->sending, MAX_UNSENT);
	gp_buffer_init(&t->queued, MAX_UNSENT);
	gp_timer_init(&t->deadline, self->timers, on_deadline, t);

	update_clock(self);
	gp_timer_start(&t->deadline, connect_timeout_ms);
	t->dial = imap_dial_start(self->loop, self->timers, endpoint, on_dialled, t);
	if (!t->dial) {
		fail_text(t, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
	}
	return &t->transport;
}

struct imap_network *imap_tcp_network_new(uv_loop_t *loop, struct gp_timers *timers, struct imap_tls_context *tls)
{
	struct tcp_network *network = malloc(sizeof *network);

	if (!network) {
		return NULL;
	}
	network->network = (struct imap_network){.open = tcp_open};
	network->loop = loop;
	network->timers = timers;
	network->tls = tls;
	network->n_transports = 0;
	network->n_opened = 0;
	network->is_freed = false;
	return &network->network;
}

void imap_tcp_network_free(struct imap_network **network)
{
	struct tcp_network *self = (struct tcp_network *)*network;

	if (!self) {
		return;
	}
	*network = NULL;
	self->is_freed = true;
	network_release(self);
}
