#include "gateway/http_ring.h"
#include "http_fixture.h"

#define HOST "Host: localhost\r\n"
#define GET_STREAM "GET /stream HTTP/1.1\r\n" HOST "\r\n"

/* ---- the ring ---- */

static void test_ring(void **state)
{
	(void)state;
	static char bytes[HTTP_RING_MAX];
	static char out[HTTP_RING_MAX];
	struct http_ring ring;
	uint64_t written = 0;
	uint64_t taken = 0;
	uint32_t random = 1;

	http_ring_init(&ring);
	assert_int_equal(http_ring_read(&ring, out, sizeof out), 0);
	assert_int_equal(http_ring_write(&ring, SPAN_LIT("")), GP_OK);
	assert_null(ring.data);
	for (unsigned round = 0; round < 2000; round++) {
		random = random * 1664525 + 1013904223;
		size_t len = (random >> 8) % (round % 10 == 0 ? 200000 : 3000);
		if (len > http_ring_room(&ring)) {
			assert_int_equal(http_ring_write(&ring, span_make(bytes, http_ring_room(&ring) + 1)), GP_LIMIT);
			len = http_ring_room(&ring);
		}
		for (size_t i = 0; i < len; i++) {
			bytes[i] = stream_byte(written + i);
		}
		assert_int_equal(http_ring_write(&ring, span_make(bytes, len)), GP_OK);
		written += len;
		random = random * 1664525 + 1013904223;
		len = http_ring_read(&ring, out, (random >> 8) % 60000);
		for (size_t i = 0; i < len; i++) {
			assert_int_equal(out[i], stream_byte(taken + i));
		}
		taken += len;
		assert_int_equal(ring.len, written - taken);
	}
	/* small again after it ran empty with little in it */
	while (http_ring_read(&ring, out, sizeof out) > 0) {
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(http_ring_write(&ring, SPAN_LIT("event")), GP_OK);
		assert_int_equal(http_ring_read(&ring, out, sizeof out), 5);
	}
	assert_true(ring.size <= HTTP_RING_MIN);
	http_ring_deinit(&ring);
}

/* ---- bodies in pieces ---- */

static void check_bytes(struct span body, uint64_t total)
{
	assert_int_equal(body.len, total);
	for (size_t i = 0; i < body.len; i++) {
		if (body.ptr[i] != stream_byte(i)) {
			print_error("differs at %zu\n", i);
			fail();
		}
	}
}

/* Joins the chunks in place; false when the last one is missing. */
static bool dechunk(struct span body, struct gp_buffer *out)
{
	for (;;) {
		ptrdiff_t end = span_find(body, SPAN_LIT("\r\n"));
		if (end < 0) {
			return false;
		}
		char digits[20] = "";
		memcpy(digits, body.ptr, (size_t)end < sizeof digits - 1 ? (size_t)end : sizeof digits - 1);
		size_t len = strtoul(digits, NULL, 16);
		body = span_from(body, (size_t)end + 2);
		if (body.len < len + 2) {
			return false;
		}
		assert_int_equal(gp_buffer_append(out, span_slice(body, 0, len)), GP_OK);
		body = span_from(body, len + 2);
		if (len == 0) {
			return true;
		}
	}
}

static void test_known_length(void **state)
{
	(void)state;
	static const uint64_t totals[] = {1, 4095, 524288, 524289, 9 * 1024 * 1024};
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
		f.stream = (struct stream_script){.total = totals[i], .is_known = true};
		gp_buffer_reset(&c.in, 0);
		client_say(&f, &c, GET_STREAM);
		RUN_UNTIL(&f, client_body(&c).len == totals[i]);
		check_bytes(client_body(&c), totals[i]);
		assert_int_equal(f.stream.n_gone, 0);
	}
	assert_false(client_is_over(&c));
	client_close(&f, &c);
	fixture_close(&f);
}

static void test_chunked(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;
	struct gp_buffer whole;

	gp_buffer_init(&whole, 64 * GP_MIB);
	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	f.stream.total = 3 * GP_MIB + 17;
	client_say(&f, &c, GET_STREAM);
	RUN_UNTIL(&f, client_has(&c, "\r\n0\r\n\r\n"));
	assert_true(client_has(&c, "Transfer-Encoding: chunked\r\n"));
	assert_true(dechunk(client_body(&c), &whole));
	check_bytes(gp_buffer_span(&whole), f.stream.total);
	assert_int_equal(f.stream.n_gone, 0);
	assert_false(client_is_over(&c));
	client_close(&f, &c);
	gp_buffer_deinit(&whole);
	fixture_close(&f);
}

/* An event stream: bytes come when the program has them. */
static void test_trickle(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	client_say(&f, &c, "GET /stream HTTP/1.0\r\n\r\n");
	f.stream.total = 1;
	RUN_UNTIL(&f, f.n_handled == 1);
	client_close(&f, &c);
	RUN_UNTIL(&f, http_server_stats(f.server).n_connections == 0);
	/* begin without writing, as a handler does that waits for its first event */
	client_open(&f, &c);
	client_say(&f, &c, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
	RUN_UNTIL(&f, f.n_held == 1);
	struct api_exchange *exchange = f.held[0];
	f.held[0] = NULL;
	f.stream = (struct stream_script){.exchange = exchange};
	exchange->gone = stream_gone;
	exchange->gone_ctx = &f.stream;
	exchange->ops->stream_begin(exchange, 200, -1, NULL, NULL);
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\n"));
	assert_int_equal(http_server_stats(f.server).n_suspended, 1);
	for (unsigned i = 1; i <= 5; i++) {
		exchange->ops->stream_write(exchange, SPAN_LIT("data: x\n\n"));
		RUN_UNTIL(&f, count(&c, "data: x\n\n") == i);
		run_some(&f);
		assert_int_equal(http_server_stats(f.server).n_suspended, 1);
	}
	client_close(&f, &c);
	RUN_UNTIL(&f, f.stream.n_gone == 1);
	RUN_UNTIL(&f, http_server_stats(f.server).n_connections == 0);
	fixture_close(&f);
}

/* What breaks off must not look whole. */
static void test_broken(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;
	struct gp_buffer whole;

	gp_buffer_init(&whole, 64 * GP_MIB);
	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	f.stream = (struct stream_script){.total = GP_MIB, .is_known = true, .is_breaking = true};
	client_say(&f, &c, GET_STREAM);
	RUN_UNTIL(&f, client_is_over(&c));
	assert_true(client_has(&c, "Content-Length: 1049576\r\n"));
	assert_int_equal(client_body(&c).len, GP_MIB);
	client_close(&f, &c);
	client_open(&f, &c);
	f.stream = (struct stream_script){.total = GP_MIB, .is_breaking = true};
	client_say(&f, &c, GET_STREAM);
	RUN_UNTIL(&f, client_is_over(&c));
	assert_true(client_has(&c, "Transfer-Encoding: chunked\r\n"));
	assert_false(dechunk(client_body(&c), &whole));
	client_close(&f, &c);
	/* HTTP/1.0 knows the end of a body only by the connection's: a reset */
	client_open(&f, &c);
	f.stream = (struct stream_script){.total = 10, .is_breaking = true};
	client_say(&f, &c, "GET /stream HTTP/1.0\r\n\r\n");
	RUN_UNTIL(&f, client_is_over(&c));
	assert_true(c.is_reset);
	client_close(&f, &c);
	client_open(&f, &c);
	f.stream = (struct stream_script){.total = 10};
	client_say(&f, &c, "GET /stream HTTP/1.0\r\n\r\n");
	RUN_UNTIL(&f, client_is_over(&c));
	assert_true(c.is_eof);
	check_bytes(client_body(&c), 10);
	client_close(&f, &c);
	assert_int_equal(f.stream.n_gone, 0);
	gp_buffer_deinit(&whole);
	fixture_close(&f);
}

/* A handler that promises more than it gives, without saying so. */
static void test_short(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	client_say(&f, &c, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
	RUN_UNTIL(&f, f.n_held == 1);
	struct api_exchange *exchange = f.held[0];
	f.held[0] = NULL;
	exchange->ops->stream_begin(exchange, 200, 100, NULL, NULL);
	exchange->ops->stream_write(exchange, SPAN_LIT("too little"));
	exchange->ops->stream_end(exchange, true);
	RUN_UNTIL(&f, client_is_over(&c));
	assert_int_equal(client_body(&c).len, 10);
	client_close(&f, &c);
	fixture_close(&f);
}

static void test_slow_reader(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;
	uint64_t total = 40 * GP_MIB;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	client_stop_reading(&c);
	f.stream = (struct stream_script){.total = total, .is_known = true};
	client_say(&f, &c, GET_STREAM);
	/* until nothing moves: ring and socket buffers are full */
	uint64_t before;
	do {
		before = f.stream.written;
		for (unsigned i = 0; i < 100; i++) {
			run_some(&f);
		}
	} while (f.stream.written != before || before == 0);
	assert_true(f.stream.written < total / 2);
	assert_non_null(f.stream.exchange);
	assert_true(f.stream.exchange->ops->stream_room(f.stream.exchange) < HTTP_RING_MAX / 2);
	assert_true(uv_backend_timeout(&f.loop.uv) != 0);
	size_t n_rooms = f.stream.n_rooms;
	assert_int_equal(uv_poll_start(&c.poll, UV_READABLE, client_readable), 0);
	RUN_UNTIL(&f, client_body(&c).len == total);
	check_bytes(client_body(&c), total);
	assert_true(f.stream.n_rooms > n_rooms);
	client_close(&f, &c);
	fixture_close(&f);
}

static void test_slow_reader_leaves(void **state)
{
	(void)state;
	for (unsigned is_reset = 0; is_reset < 2; is_reset++) {
		struct fixture f;
		struct client c;

		fixture_open(&f, NULL, NULL);
		client_open(&f, &c);
		client_stop_reading(&c);
		f.stream.total = 64 * GP_MIB;
		client_say(&f, &c, GET_STREAM);
		RUN_UNTIL(&f, f.stream.written > GP_MIB);
		if (is_reset) {
			client_reset(&f, &c);
		} else {
			client_close(&f, &c);
		}
		RUN_UNTIL(&f, f.stream.n_gone == 1);
		RUN_UNTIL(&f, http_server_stats(f.server).n_connections == 0);
		fixture_close(&f);
	}
}

/* The body and the client end together. */
static void test_end_as_the_client_leaves(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	client_say(&f, &c, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
	RUN_UNTIL(&f, f.n_held == 1);
	struct api_exchange *exchange = f.held[0];
	exchange->ops->stream_begin(exchange, 200, -1, NULL, NULL);
	exchange->ops->stream_write(exchange, SPAN_LIT("x"));
	RUN_UNTIL(&f, client_has(&c, "x"));
	f.held[0] = NULL;
	exchange->ops->stream_end(exchange, true);
	client_reset(&f, &c);
	RUN_UNTIL(&f, http_server_stats(f.server).n_connections == 0);
	assert_int_equal(f.n_gone, 0);
	fixture_close(&f);
}

static void drained(void *ctx)
{
	struct fixture *f = ctx;

	f->is_drained = true;
}

static void test_drain_finishes_streams(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	f.stream = (struct stream_script){.total = 8 * GP_MIB, .is_known = true};
	client_stop_reading(&c);
	client_say(&f, &c, GET_STREAM);
	RUN_UNTIL(&f, f.stream.written > 0);
	http_server_drain(f.server, GP_DRAIN_MS, drained, &f);
	run_some(&f);
	assert_false(f.is_drained);
	assert_int_equal(uv_poll_start(&c.poll, UV_READABLE, client_readable), 0);
	RUN_UNTIL(&f, f.is_drained);
	RUN_UNTIL(&f, client_body(&c).len == f.stream.total);
	client_close(&f, &c);
	fixture_close(&f);
}

/* One stream waits for its handler, one for its client. */
static void test_drain_breaks_streams(void **state)
{
	(void)state;
	struct fixture f;
	struct client waiting, slow;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &waiting);
	client_say(&f, &waiting, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
	RUN_UNTIL(&f, f.n_held == 1);
	f.held[0]->ops->stream_begin(f.held[0], 200, -1, NULL, NULL);
	client_open(&f, &slow);
	client_stop_reading(&slow);
	f.stream.total = 64 * GP_MIB;
	client_say(&f, &slow, GET_STREAM);
	RUN_UNTIL(&f, f.stream.written > GP_MIB && client_has(&waiting, "\r\n\r\n"));
	http_server_drain(f.server, 1, drained, &f);
	RUN_UNTIL(&f, f.is_drained);
	assert_int_equal(f.n_gone, 1);
	assert_int_equal(f.stream.n_gone, 1);
	RUN_UNTIL(&f, client_is_over(&waiting));
	assert_false(client_has(&waiting, "\r\n0\r\n\r\n"));
	client_close(&f, &waiting);
	client_close(&f, &slow);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring),
		cmocka_unit_test(test_known_length),
		cmocka_unit_test(test_chunked),
		cmocka_unit_test(test_trickle),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_slow_reader_leaves),
		cmocka_unit_test(test_end_as_the_client_leaves),
		cmocka_unit_test(test_drain_finishes_streams),
		cmocka_unit_test(test_drain_breaks_streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
