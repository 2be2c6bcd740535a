#include "tests/support/loopback.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"

/* ---- the server ---- */

struct sending {
	uv_write_t request;
	size_t len;
	char bytes[];
};

static void on_peer_closed(uv_handle_t *handle)
{
	struct peer *peer = handle->data;

	peer->loopback->n_peers_closed++;
	if (peer->loopback->ended) {
		peer->loopback->ended(peer);
	}
	free(peer);
}

static void unlink_peer(struct peer *peer)
{
	for (struct peer **link = &peer->loopback->peers; *link; link = &(*link)->next) {
		if (*link == peer) {
			*link = peer->next;
			return;
		}
	}
}

void peer_close(struct peer *peer)
{
	if (!uv_is_closing((uv_handle_t *)&peer->tcp)) {
		unlink_peer(peer);
		uv_close((uv_handle_t *)&peer->tcp, on_peer_closed);
	}
}

void peer_reset(struct peer *peer)
{
	unlink_peer(peer);
	assert_int_equal(uv_tcp_close_reset(&peer->tcp, on_peer_closed), 0);
}

static void on_sent(uv_write_t *request, int status)
{
	struct sending *sending = (struct sending *)(void *)request;
	struct peer *peer = request->data;

	(void)status;
	peer->n_unsent -= sending->len;
	free(sending);
}

void peer_send(struct peer *peer, struct span bytes)
{
	struct sending *sending = malloc(sizeof *sending + bytes.len);

	assert_non_null(sending);
	memcpy(sending->bytes, bytes.ptr, bytes.len);
	sending->len = bytes.len;
	sending->request.data = peer;
	peer->n_unsent += bytes.len;
	uv_buf_t buffer = uv_buf_init(sending->bytes, (unsigned)bytes.len);
	assert_int_equal(uv_write(&sending->request, (uv_stream_t *)&peer->tcp, &buffer, 1, on_sent), 0);
}

static void on_peer_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	static char room[64 * 1024];

	(void)handle;
	(void)suggested;
	*buffer = uv_buf_init(room, sizeof room);
}

static void on_peer_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
	struct peer *peer = stream->data;

	if (n < 0) {
		peer_close(peer);
	} else if (n > 0) {
		peer->n_received += (size_t)n;
		if (peer->loopback->received) {
			peer->loopback->received(peer, span_make(buffer->base, (size_t)n));
		} else {
			peer_send(peer, span_make(buffer->base, (size_t)n));
		}
	}
}

static void on_accept(uv_stream_t *listener, int status)
{
	struct loopback *self = listener->data;
	struct peer *peer = calloc(1, sizeof *peer);

	assert_int_equal(status, 0);
	assert_non_null(peer);
	peer->loopback = self;
	assert_int_equal(uv_tcp_init(&self->loop, &peer->tcp), 0);
	peer->tcp.data = peer;
	assert_int_equal(uv_accept(listener, (uv_stream_t *)&peer->tcp), 0);
	assert_int_equal(uv_read_start((uv_stream_t *)&peer->tcp, on_peer_alloc, on_peer_read), 0);
	peer->next = self->peers;
	self->peers = peer;
	self->n_accepted++;
	if (self->accepted) {
		self->accepted(peer);
	}
}

/* ---- the client ---- */

static bool in_operation; /* events must not come meanwhile */

static void event(struct loopback *self, enum client_moment moment)
{
	assert_false(in_operation);
	assert_int_equal(self->n_closed, moment == AT_CLOSED ? 1 : 0);
	assert_non_null(self->transport);
	if (self->pause_at == moment) {
		loopback_pause(self, true);
	}
	if (self->close_at == moment) {
		loopback_close(self);
	}
	if (self->hook) {
		self->hook(self, moment);
	}
}

static void on_connected(void *ctx)
{
	struct loopback *self = ctx;

	self->n_connected++;
	assert_int_equal(self->n_connected, 1);
	event(self, AT_CONNECTED);
}

static void on_secured(void *ctx)
{
	struct loopback *self = ctx;

	self->n_secured++;
	event(self, AT_SECURED);
}

static void on_received(void *ctx, struct span bytes)
{
	struct loopback *self = ctx;

	self->n_received++;
	assert_true(bytes.len > 0);
	assert_int_equal(self->n_connected, 1);
	assert_int_equal(gp_buffer_append(&self->bytes, bytes), GP_OK);
	event(self, AT_RECEIVED);
}

static void on_closed(void *ctx, const struct gp_error *error)
{
	struct loopback *self = ctx;

	self->n_closed++;
	self->error = *error;
	event(self, AT_CLOSED);
	assert_int_equal(error->status, self->error.status); /* close() in the event leaves it readable */
}

static const struct imap_transport_events client_events = {
	.connected = on_connected,
	.secured = on_secured,
	.received = on_received,
	.closed = on_closed,
};

void loopback_open(struct loopback *self, uint64_t timeout_ms)
{
	loopback_close(self);
	self->n_connected = self->n_secured = self->n_received = self->n_closed = 0;
	gp_buffer_truncate(&self->bytes, 0);
	in_operation = true;
	self->transport = self->network->open(self->network, &self->endpoint, timeout_ms, &client_events, self);
	in_operation = false;
	assert_non_null(self->transport);
}

void loopback_write(struct loopback *self, struct span bytes)
{
	in_operation = true;
	imap_transport_write(self->transport, bytes);
	in_operation = false;
}

void loopback_start_tls(struct loopback *self)
{
	in_operation = true;
	imap_transport_start_tls(self->transport);
	in_operation = false;
}

void loopback_pause(struct loopback *self, bool is_paused)
{
	in_operation = true;
	imap_transport_set_paused(self->transport, is_paused);
	in_operation = false;
}

void loopback_close(struct loopback *self)
{
	in_operation = true;
	imap_transport_close(&self->transport);
	in_operation = false;
}

/* ---- the loop ---- */

void loopback_begin(struct loopback *self, enum imap_security security, struct imap_tls_context *tls)
{
	struct sockaddr_in address;
	int len = sizeof address;

	signal(SIGPIPE, SIG_IGN);
	*self = (struct loopback){.endpoint = {.host = "127.0.0.1", .security = security}};
	gp_buffer_init(&self->bytes, 64 * GP_MIB);
	assert_int_equal(uv_loop_init(&self->loop), 0);
	uv_timers_init(&self->pump, &self->loop);
	self->network = imap_tcp_network_new(&self->loop, &self->pump.timers, tls);
	assert_non_null(self->network);

	assert_int_equal(uv_tcp_init(&self->loop, &self->listener), 0);
	self->listener.data = self;
	self->is_listening = true;
	assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &address), 0);
	assert_int_equal(uv_tcp_bind(&self->listener, (struct sockaddr *)&address, 0), 0);
	assert_int_equal(uv_listen((uv_stream_t *)&self->listener, 16, on_accept), 0);
	assert_int_equal(uv_tcp_getsockname(&self->listener, (struct sockaddr *)&address, &len), 0);
	self->endpoint.port = ntohs(address.sin_port);
}

void loopback_end(struct loopback *self)
{
	loopback_close(self);
	while (self->peers) {
		peer_close(self->peers);
	}
	uv_close((uv_handle_t *)&self->listener, NULL);
	imap_tcp_network_free(&self->network);
	uv_run(&self->loop, UV_RUN_DEFAULT);
	assert_int_equal(self->pump.timers.n_running, 0);
	uv_timers_deinit(&self->pump);
	uv_run(&self->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&self->loop), 0);
	gp_buffer_deinit(&self->bytes);
}

void loopback_run_until(struct loopback *self, bool (*is_true)(const struct loopback *self))
{
	while (!is_true(self)) {
		assert_true(uv_run(&self->loop, UV_RUN_ONCE) != 0 || is_true(self));
	}
}

void loopback_settle(struct loopback *self)
{
	for (int i = 0; i < 50; i++) {
		uv_run(&self->loop, UV_RUN_NOWAIT);
	}
}

void loopback_run_to_closed(struct loopback *self, enum gp_status status)
{
	loopback_run_until(self, loopback_is_closed);
	if (self->error.status != status) {
		fail_msg("%s: %s", gp_status_name(self->error.status), self->error.text);
	}
	assert_string_not_equal(self->error.text, "");
}

bool loopback_is_connected(const struct loopback *self)
{
	return self->n_connected > 0 || self->n_closed > 0;
}

bool loopback_is_secured(const struct loopback *self)
{
	return self->n_secured > 0 || self->n_closed > 0;
}

bool loopback_is_closed(const struct loopback *self)
{
	return self->n_closed > 0;
}

bool loopback_is_served(const struct loopback *self)
{
	return self->n_accepted > 0;
}

bool loopback_has_lost_peers(const struct loopback *self)
{
	return self->n_accepted > 0 && self->n_peers_closed == self->n_accepted;
}
