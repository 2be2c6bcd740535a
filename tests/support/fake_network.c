#include "tests/support/fake_network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "tests/support/fault.h"

#define MAX_TRANSPORTS 4096
#define MAX_BYTES ((size_t)256 << 20)
#define MAX_RUNS 1000000 /* more timers than this in one turn: two of them chase each other */

struct fake_transport {
	struct imap_transport base;
	struct fake_network *network;         /* borrow */
	const struct imap_endpoint *endpoint; /* borrow */
	uint64_t connect_timeout_ms;
	struct gp_buffer written; /* not read by the test yet */
	struct gp_buffer taken;   /* what fake_take() gave out */
	struct gp_buffer pending; /* fed while paused */
	char **tags;              /* own, each own: passed by fake_expect() */
	size_t n_tags, n_answered;
	size_t n_writes, n_unsent;
	size_t index;
	bool is_held; /* the network takes nothing */
	bool is_connected, is_ended, is_closed, wants_tls, is_secured, is_paused;
	struct gp_timer resume;
	struct gp_timer failure; /* a fault: `closed` comes */
	enum gp_status failure_status;
};

struct fake_network {
	struct imap_network base;
	struct gp_timers timers;
	struct fake_transport **transports; /* own, each own */
	size_t n_transports, split;
	fake_tap_fn tap; /* may be NULL */
	void *tap_ctx;   /* borrow */
	bool open_fails;
	bool is_delivering; /* an event or a timer is running */
};

/* ---- operations ---- */

static struct fake_transport *from_base(struct imap_transport *base)
{
	struct fake_transport *transport = (struct fake_transport *)(void *)base;

	if (transport->is_closed) {
		fail_msg("an operation on a transport that was closed");
	}
	return transport;
}

static void must(enum gp_status status)
{
	if (status != GP_OK) {
		fail_msg("fake network: %s", gp_status_text(status));
	}
}

/* From the loop, as everything. */
static void fail_later(struct fake_transport *transport, enum gp_status status)
{
	transport->failure_status = status;
	gp_timer_start(&transport->failure, 0);
}

static void tap(struct fake_transport *transport, bool is_to_server, struct span bytes)
{
	if (transport->network->tap && bytes.len > 0) {
		transport->network->tap(transport->network->tap_ctx, transport->index, is_to_server, bytes);
	}
}

/* What the server gets of what is written: nothing, when its connection is about to end. */
static struct span that_arrives(struct fake_transport *transport, struct span bytes)
{
	size_t n_passes;

	if (transport->is_ended || gp_timer_is_running(&transport->failure)) {
		return SPAN_LIT("");
	}
	if (fault_strikes(FAULT_WRITE)) {
		fail_later(transport, GP_LOST);
		return SPAN_LIT("");
	}
	if (fault_cuts(FAULT_CUT_UP, bytes.len, &n_passes)) {
		fail_later(transport, GP_LOST);
		return span_slice(bytes, 0, n_passes);
	}
	return bytes;
}

static void op_write(struct imap_transport *base, struct span bytes)
{
	struct fake_transport *transport = from_base(base);
	unsigned depth = fault_pause();

	if (!transport->is_connected || (transport->wants_tls && !transport->is_secured)) {
		fail_msg("write() before the transport was ready for it");
	}
	transport->n_writes++;
	struct span arrives = that_arrives(transport, bytes);
	transport->n_unsent += transport->is_held ? bytes.len : bytes.len - arrives.len;
	must(gp_buffer_append(&transport->written, arrives));
	tap(transport, true, arrives);
	fault_resume(depth);
}

static void op_start_tls(struct imap_transport *base)
{
	struct fake_transport *transport = from_base(base);

	if (transport->wants_tls || transport->is_secured) {
		fail_msg("start_tls() twice");
	}
	transport->wants_tls = true;
}

static void op_set_paused(struct imap_transport *base, bool is_paused)
{
	struct fake_transport *transport = from_base(base);

	transport->is_paused = is_paused;
	if (!is_paused && transport->pending.len > 0) {
		gp_timer_start(&transport->resume, 0);
	}
}

static size_t op_unsent(const struct imap_transport *base)
{
	return ((const struct fake_transport *)(const void *)base)->n_unsent;
}

static void op_close(struct imap_transport *base)
{
	struct fake_transport *transport = from_base(base);

	transport->is_closed = true;
	gp_timer_stop(&transport->resume);
	gp_timer_stop(&transport->failure);
}

static const struct imap_transport_ops ops = {
	.write = op_write,
	.start_tls = op_start_tls,
	.unsent = op_unsent,
	.set_paused = op_set_paused,
	.close = op_close,
};

/* ---- events ---- */

static bool is_live(const struct fake_transport *transport)
{
	return !transport->is_closed && !transport->is_ended;
}

static void enter(struct fake_network *network)
{
	if (network->is_delivering) {
		fail_msg("the fake network was driven from within an event");
	}
	network->is_delivering = true;
	fault_enter();
}

static void leave(struct fake_network *network)
{
	network->is_delivering = false;
	fault_leave();
}

static void tell_end(struct fake_transport *transport, enum gp_status status, const char *text)
{
	struct gp_error error;

	gp_error_clear(&error);
	gp_error_set(&error, status, "%s", text);
	transport->is_ended = true;
	transport->base.events->closed(transport->base.ctx, &error);
}

static void on_failure(struct gp_timer *timer)
{
	struct fake_transport *transport = timer->ctx;

	if (is_live(transport)) {
		tell_end(transport, transport->failure_status, "a fault on purpose");
	}
}

/* A reader may pause or close in the middle of what is fed. */
static void deliver(struct fake_transport *transport, struct span bytes)
{
	size_t n_passes;

	if (!is_live(transport) || gp_timer_is_running(&transport->failure)) {
		return;
	}
	unsigned depth = fault_pause();
	if (transport->is_paused) {
		must(gp_buffer_append(&transport->pending, bytes));
		fault_resume(depth);
		return;
	}
	if (fault_strikes(FAULT_READ)) {
		bytes = SPAN_LIT("");
		fail_later(transport, GP_LOST);
	} else if (fault_cuts(FAULT_CUT_DOWN, bytes.len, &n_passes)) {
		bytes = span_slice(bytes, 0, n_passes);
		fail_later(transport, GP_LOST);
	}
	tap(transport, false, bytes);
	if (bytes.len == 0) {
		fault_resume(depth);
		return;
	}
	/* A copy on the heap, exactly as long as the piece: a reader that keeps or
	 * overruns it is caught by the address sanitizer. */
	char *copy = malloc(bytes.len ? bytes.len : 1);
	if (!copy) {
		fail_msg("out of memory");
		return;
	}
	memcpy(copy, bytes.ptr, bytes.len);
	fault_resume(depth);
	transport->base.events->received(transport->base.ctx, span_make(copy, bytes.len));
	depth = fault_pause();
	free(copy);
	fault_resume(depth);
}

static void on_resume(struct gp_timer *timer)
{
	struct fake_transport *transport = timer->ctx;
	size_t len;
	unsigned depth = fault_pause();
	char *bytes = gp_buffer_take(&transport->pending, &len);

	fault_resume(depth);
	if (bytes) {
		deliver(transport, span_make(bytes, len));
	}
	free(bytes);
}

/* How an attempt to connect fails; GP_OK: it does not. */
static enum gp_status fate(void)
{
	static const struct {
		enum fault_kind kind;
		enum gp_status status;
	} fates[] = {{FAULT_CONNECT, GP_REFUSED},
		     {FAULT_NAME, GP_RESOLVE},
		     {FAULT_HANDSHAKE, GP_TLS},
		     {FAULT_SLOW_CONNECT, GP_CONNECT_TIMEOUT}};
	enum gp_status status = GP_OK;

	for (size_t i = 0; i < sizeof fates / sizeof fates[0]; i++) {
		status = fault_strikes(fates[i].kind) ? fates[i].status : status;
	}
	return status;
}

static struct fake_transport *new_transport(struct fake_network *network, const struct imap_endpoint *endpoint,
					    uint64_t connect_timeout_ms, const struct imap_transport_events *events,
					    void *ctx);

static struct imap_transport *op_open(struct imap_network *base, const struct imap_endpoint *endpoint,
				      uint64_t connect_timeout_ms, const struct imap_transport_events *events,
				      void *ctx)
{
	struct fake_network *network = (struct fake_network *)(void *)base;

	if (network->open_fails || fault_strikes(FAULT_OPEN)) {
		return NULL;
	}
	unsigned depth = fault_pause();
	struct fake_transport *transport = new_transport(network, endpoint, connect_timeout_ms, events, ctx);
	enum gp_status status = fate();
	if (status != GP_OK) {
		transport->failure_status = status;
		gp_timer_start(&transport->failure, status == GP_CONNECT_TIMEOUT ? connect_timeout_ms : 0);
	}
	fault_resume(depth);
	return &transport->base;
}

static struct fake_transport *new_transport(struct fake_network *network, const struct imap_endpoint *endpoint,
					    uint64_t connect_timeout_ms, const struct imap_transport_events *events,
					    void *ctx)
{
	struct fake_transport *transport = calloc(1, sizeof *transport);

	if (!transport || network->n_transports == MAX_TRANSPORTS) {
		fail_msg("more than %d transports were opened, or no memory", MAX_TRANSPORTS);
		abort();
	}
	transport->base = (struct imap_transport){.ops = &ops, .events = events, .ctx = ctx};
	transport->network = network;
	transport->endpoint = endpoint;
	transport->connect_timeout_ms = connect_timeout_ms;
	transport->index = network->n_transports;
	gp_buffer_init(&transport->written, MAX_BYTES);
	gp_buffer_init(&transport->taken, MAX_BYTES);
	gp_buffer_init(&transport->pending, MAX_BYTES);
	gp_timer_init(&transport->resume, &network->timers, on_resume, transport);
	gp_timer_init(&transport->failure, &network->timers, on_failure, transport);
	network->transports[network->n_transports++] = transport;
	return transport;
}

/* ---- the network and the clock ---- */

struct fake_network *fake_network_new(void)
{
	struct fake_network *network = calloc(1, sizeof *network);

	if (!network) {
		fail_msg("out of memory");
		return NULL;
	}
	network->transports = calloc(MAX_TRANSPORTS, sizeof *network->transports);
	if (!network->transports) {
		fail_msg("out of memory");
	}
	network->base.open = op_open;
	gp_timers_init(&network->timers);
	/* Not 0, so that a moment that was never set shows. */
	gp_timers_set_now(&network->timers, 1000000);
	return network;
}

void fake_network_free(struct fake_network **network)
{
	struct fake_network *self = *network;
	uint64_t at_ms;

	if (!self) {
		return;
	}
	*network = NULL;
	size_t n_open = fake_n_open(self);
	bool has_timer = gp_timers_next(&self->timers, &at_ms);

	for (size_t i = 0; i < self->n_transports; i++) {
		struct fake_transport *transport = self->transports[i];
		for (size_t t = 0; t < transport->n_tags; t++) {
			free(transport->tags[t]);
		}
		free(transport->tags);
		gp_buffer_deinit(&transport->written);
		gp_buffer_deinit(&transport->taken);
		gp_buffer_deinit(&transport->pending);
		free(transport);
	}
	free(self->transports);
	gp_timers_deinit(&self->timers);
	free(self);
	if (n_open > 0) {
		fail_msg("%zu transports were never closed", n_open);
	}
	if (has_timer) {
		fail_msg("a timer was left running");
	}
}

struct imap_network *fake_as_network(struct fake_network *network)
{
	return &network->base;
}

struct gp_timers *fake_timers(struct fake_network *network)
{
	return &network->timers;
}

uint64_t fake_now_ms(const struct fake_network *network)
{
	return network->timers.now_ms;
}

void fake_turn(struct fake_network *network, uint64_t ms)
{
	uint64_t end_ms = network->timers.now_ms + ms;
	uint64_t at_ms;

	enter(network);
	for (size_t n = 0; gp_timers_next(&network->timers, &at_ms) && at_ms <= end_ms; n++) {
		if (n == MAX_RUNS) {
			fail_msg("timers start each other without end");
		}
		gp_timers_run(&network->timers, at_ms);
	}
	gp_timers_set_now(&network->timers, end_ms);
	leave(network);
}

void fake_set_split(struct fake_network *network, size_t n)
{
	network->split = n;
}

void fake_set_tap(struct fake_network *network, fake_tap_fn tap_fn, void *ctx)
{
	network->tap = tap_fn;
	network->tap_ctx = ctx;
}

void fake_set_open_fails(struct fake_network *network, bool fails)
{
	network->open_fails = fails;
}

size_t fake_n_opened(const struct fake_network *network)
{
	return network->n_transports;
}

size_t fake_n_open(const struct fake_network *network)
{
	size_t n = 0;

	for (size_t i = 0; i < network->n_transports; i++) {
		n += !network->transports[i]->is_closed;
	}
	return n;
}

struct fake_transport *fake_transport(struct fake_network *network, size_t index)
{
	if (index >= network->n_transports) {
		fail_msg("transport %zu was not opened, only %zu were", index, network->n_transports);
	}
	return network->transports[index];
}

struct fake_transport *fake_newest(struct fake_network *network)
{
	if (network->n_transports == 0) {
		fail_msg("no transport was opened");
	}
	return network->transports[network->n_transports - 1];
}

/* ---- what the code under test did ---- */

const char *fake_take(struct fake_transport *transport)
{
	gp_buffer_truncate(&transport->taken, 0);
	must(gp_buffer_append(&transport->taken, gp_buffer_span(&transport->written)));
	gp_buffer_truncate(&transport->written, 0);
	return transport->taken.data;
}

/* The next line without its CRLF, in `taken`. */
static struct span take_line(struct fake_transport *transport, const char *expected)
{
	struct span written = gp_buffer_span(&transport->written);
	ptrdiff_t end = span_find(written, SPAN_LIT("\r\n"));

	if (end < 0) {
		fail_msg("expected the line \"%s\", but %s%.*s", expected,
			 written.len ? "only this was written: " : "nothing was written", SPAN_ARGS(written));
	}
	gp_buffer_truncate(&transport->taken, 0);
	must(gp_buffer_append(&transport->taken, span_slice(written, 0, (size_t)end)));
	gp_buffer_consume(&transport->written, (size_t)end + 2);
	return gp_buffer_span(&transport->taken);
}

const char *fake_expect(struct fake_transport *transport, const char *command)
{
	struct span line = take_line(transport, command);
	ptrdiff_t space = span_find_char(line, ' ');

	if (space <= 0 || !span_equal_text(span_from(line, (size_t)space + 1), command)) {
		fail_msg("expected a tag and \"%s\", but this was written: \"%.*s\"", command, SPAN_ARGS(line));
	}
	char **tags = realloc(transport->tags, (transport->n_tags + 1) * sizeof *tags);
	char *tag = strndup(line.ptr, (size_t)space);
	if (!tags || !tag) {
		fail_msg("out of memory");
		abort();
	}
	transport->tags = tags;
	transport->tags[transport->n_tags++] = tag;
	return tag;
}

void fake_expect_line(struct fake_transport *transport, const char *line)
{
	struct span written = take_line(transport, line);

	if (!span_equal_text(written, line)) {
		fail_msg("expected \"%s\", but this was written: \"%.*s\"", line, SPAN_ARGS(written));
	}
}

void fake_expect_nothing(struct fake_transport *transport)
{
	if (transport->written.len > 0) {
		fail_msg("expected nothing, but this was written: %.*s",
			 SPAN_ARGS(gp_buffer_span(&transport->written)));
	}
}

size_t fake_n_writes(const struct fake_transport *transport)
{
	return transport->n_writes;
}

bool fake_is_closed(const struct fake_transport *transport)
{
	return transport->is_closed;
}

bool fake_is_live(const struct fake_transport *transport)
{
	return is_live(transport) && !gp_timer_is_running(&transport->failure);
}

bool fake_is_connected(const struct fake_transport *transport)
{
	return transport->is_connected;
}

bool fake_wants_tls(const struct fake_transport *transport)
{
	return transport->wants_tls && !transport->is_secured;
}

bool fake_is_paused(const struct fake_transport *transport)
{
	return transport->is_paused;
}

const struct imap_endpoint *fake_endpoint(const struct fake_transport *transport)
{
	return transport->endpoint;
}

uint64_t fake_connect_timeout_ms(const struct fake_transport *transport)
{
	return transport->connect_timeout_ms;
}

/* ---- what the network and the server do ---- */

void fake_connect(struct fake_transport *transport)
{
	if (!is_live(transport) && fault_has_struck()) {
		return; /* a script that does not know it yet */
	}
	if (!is_live(transport) || transport->is_connected) {
		fail_msg("fake_connect() on a transport that is connected or closed");
	}
	transport->is_connected = true;
	enter(transport->network);
	transport->base.events->connected(transport->base.ctx);
	leave(transport->network);
	fake_turn(transport->network, 0);
}

void fake_secure(struct fake_transport *transport)
{
	if (!is_live(transport) && fault_has_struck()) {
		return;
	}
	if (!is_live(transport) || !fake_wants_tls(transport)) {
		fail_msg("fake_secure() without start_tls()");
	}
	transport->is_secured = true;
	enter(transport->network);
	transport->base.events->secured(transport->base.ctx);
	leave(transport->network);
	fake_turn(transport->network, 0);
}

void fake_feed_bytes(struct fake_transport *transport, struct span bytes)
{
	struct fake_network *network = transport->network;

	if (!is_live(transport) && fault_has_struck()) {
		return;
	}
	if (!transport->is_connected) {
		fail_msg("fake_feed() before fake_connect()");
	}
	size_t piece = network->split ? network->split : bytes.len;
	for (size_t at = 0; at < bytes.len; at += piece) {
		enter(network);
		deliver(transport, span_slice(bytes, at, piece));
		leave(network);
		fake_turn(network, 0);
	}
}

void fake_hold(struct fake_transport *transport)
{
	transport->is_held = true;
}

void fake_drain(struct fake_transport *transport)
{
	transport->is_held = false;
	transport->n_unsent = 0;
	if (!is_live(transport) || !transport->base.events->drained) {
		return;
	}
	enter(transport->network);
	transport->base.events->drained(transport->base.ctx);
	leave(transport->network);
	fake_turn(transport->network, 0);
}

void fake_feed(struct fake_transport *transport, const char *text)
{
	fake_feed_bytes(transport, span_of(text));
}

void fake_reply(struct fake_transport *transport, const char *script)
{
	struct gp_buffer text;
	bool is_at_start = true;

	gp_buffer_init(&text, MAX_BYTES);
	for (const char *c = script; *c; c++) {
		if (*c == '$' && is_at_start) {
			if (transport->n_answered == transport->n_tags) {
				gp_buffer_deinit(&text);
				fail_msg("\"$\" without a line that waits for an answer: %s", script);
			}
			must(gp_buffer_append(&text, span_of(transport->tags[transport->n_answered++])));
		} else {
			must(gp_buffer_append_char(&text, *c));
		}
		is_at_start = *c == '\n';
	}
	fake_feed_bytes(transport, gp_buffer_span(&text));
	gp_buffer_deinit(&text);
}

void fake_end(struct fake_transport *transport, enum gp_status status, const char *text)
{
	if (!is_live(transport)) {
		return;
	}
	enter(transport->network);
	tell_end(transport, status, text);
	leave(transport->network);
	fake_turn(transport->network, 0);
}

/* ---- login ---- */

void fake_log_in(struct fake_transport *transport, const char *capabilities)
{
	char script[2048];
	struct span line;

	if (!transport->is_connected) {
		fake_connect(transport);
	}
	snprintf(script, sizeof script, "* OK [CAPABILITY %s AUTH=PLAIN SASL-IR] ready\r\n", capabilities);
	fake_feed(transport, script);
	line = take_line(transport, "AUTHENTICATE PLAIN");
	if (span_find(line, SPAN_LIT(" AUTHENTICATE PLAIN ")) < 0) {
		fail_msg("expected AUTHENTICATE PLAIN, but this was written: \"%.*s\"", SPAN_ARGS(line));
	}
	int tag_len = (int)span_find_char(line, ' ');
	snprintf(script, sizeof script, "%.*s OK [CAPABILITY %s] in\r\n", tag_len, line.ptr, capabilities);
	fake_feed(transport, script);
	if (span_find(gp_buffer_span(&transport->written), SPAN_LIT(" ID (")) >= 0) {
		line = take_line(transport, "ID");
		tag_len = (int)span_find_char(line, ' ');
		snprintf(script, sizeof script, "* ID NIL\r\n%.*s OK\r\n", tag_len, line.ptr);
		fake_feed(transport, script);
	}
}
