/* Request bodies that are streamed: what is read when, refusals before it, and who waits for whom. */
#include "tests/unit/gateway/http_fixture.h"

#define HOST "Host: x\r\n"

static void open_with(struct fixture *f, struct client *c, size_t want, uint64_t reply_at, bool is_held)
{
	fixture_open(f, NULL, NULL);
	f->upload.want = want;
	f->upload.reply_at = reply_at;
	f->upload.is_held = is_held;
	client_open(f, c);
}

static void end(struct fixture *f, struct client *c)
{
	client_close(f, c);
	fixture_close(f);
}

static void fill(char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bytes[i] = stream_byte(i);
	}
}

static void assert_uploaded(const struct fixture *f, size_t len)
{
	assert_int_equal(f->upload.body.len, len);
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(f->upload.body.data[i], stream_byte(i));
	}
}

static void test_whole(void **state)
{
	static char bytes[1 << 20];
	static const size_t wants[] = {1000, 16 * 1024, 10 * 1000 * 1000};

	(void)state;
	fill(bytes, sizeof bytes);
	for (size_t i = 0; i < sizeof wants / sizeof wants[0]; i++) {
		struct fixture f;
		struct client c;
		open_with(&f, &c, wants[i], UINT64_MAX, false);
		client_say(&f, &c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n");
		client_send(&f, &c, span_make(bytes, sizeof bytes));
		/* and the connection goes on */
		client_say(&f, &c, "GET /next HTTP/1.1\r\n" HOST "\r\n");
		RUN_UNTIL(&f, client_has(&c, "\r\n\r\n/next"));
		assert_true(client_has(&c, "HTTP/1.1 201 "));
		assert_false(client_has(&c, "100 Continue"));
		assert_int_equal(f.upload.length, 1048576);
		assert_int_equal(f.upload.n_ends, 1);
		assert_true(f.upload.max_piece <= wants[i]);
		assert_uploaded(&f, sizeof bytes);
		end(&f, &c);
	}
}

static void test_chunked(void **state)
{
	struct fixture f;
	struct client c;
	char byte[8];

	(void)state;
	open_with(&f, &c, 3, UINT64_MAX, false);
	client_say(&f, &c, "POST /upload HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	for (size_t i = 0; i < 20; i++) {
		snprintf(byte, sizeof byte, "1\r\n%c\r\n", stream_byte(i));
		client_say(&f, &c, byte);
		run_some(&f);
	}
	assert_int_equal(f.upload.n_ends, 0);
	client_say(&f, &c, "0\r\n\r\n");
	RUN_UNTIL(&f, client_has(&c, "uploaded"));
	assert_int_equal(f.upload.length, -1);
	assert_uploaded(&f, 20);
	end(&f, &c);
}

static void test_none(void **state)
{
	static const char *const requests[] = {"POST /upload HTTP/1.1\r\n" HOST "\r\n",
					       "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n",
					       "POST /upload HTTP/1.0\r\n\r\n"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct fixture f;
		struct client c;
		open_with(&f, &c, 3, UINT64_MAX, false);
		client_say(&f, &c, requests[i]);
		RUN_UNTIL(&f, client_has(&c, "uploaded"));
		assert_int_equal(f.upload.length, 0);
		assert_int_equal(f.upload.n_data, 0);
		end(&f, &c);
	}
}

/* Who waits for 100 Continue learns of a refusal that takes a while before he has sent a byte. */
static void test_refused_before_continue(void **state)
{
	(void)state;
	for (int is_late = 0; is_late < 2; is_late++) {
		struct fixture f;
		struct client c;
		open_with(&f, &c, 0, is_late ? UINT64_MAX : 0, is_late == 1);
		client_say(&f, &c,
			   "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n");
		RUN_UNTIL(&f, f.n_handled == 1);
		run_some(&f);
		assert_false(client_has(&c, "100 Continue"));
		if (is_late) {
			assert_int_equal(c.in.len, 0);
			upload_answer(&f.upload, 404);
		}
		RUN_UNTIL(&f, client_is_over(&c));
		assert_true(client_has(&c, "HTTP/1.1 404 "));
		assert_true(client_has(&c, "uploaded"));
		assert_false(client_has(&c, "100 Continue"));
		assert_int_equal(f.upload.n_data, 0);
		end(&f, &c);
	}
}

static void test_continue_comes_when_it_is_wanted(void **state)
{
	struct fixture f;
	struct client c;

	(void)state;
	open_with(&f, &c, 100, UINT64_MAX, true);
	client_say(&f, &c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-Continue\r\n\r\n");
	RUN_UNTIL(&f, f.n_handled == 1);
	run_some(&f);
	assert_int_equal(c.in.len, 0);
	upload_begin(&f.upload);
	RUN_UNTIL(&f, client_has(&c, "HTTP/1.1 100 Continue\r\n\r\n"));
	client_say(&f, &c, "ahb"); /* whatever it is */
	RUN_UNTIL(&f, client_has(&c, "HTTP/1.1 201 "));
	assert_int_equal(f.upload.body.len, 3);
	assert_false(client_is_over(&c));
	end(&f, &c);
}

/* Who does not wait sends it all, and then can read the answer. */
static void test_refused_without_continue(void **state)
{
	static char bytes[1 << 20];
	static const uint64_t moments[] = {0, 1, 5000, sizeof bytes};

	(void)state;
	for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
		struct fixture f;
		struct client c;
		open_with(&f, &c, 5000, moments[i], false);
		client_say(&f, &c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n");
		run_some(&f);
		assert_false(client_has(&c, "HTTP/1.1"));
		client_send(&f, &c, span_make(bytes, sizeof bytes));
		client_say(&f, &c, "GET /next HTTP/1.1\r\n" HOST "\r\n");
		RUN_UNTIL(&f, client_has(&c, "\r\n\r\n/next"));
		assert_true(client_has(&c, moments[i] == 0 ? "HTTP/1.1 404 " : "HTTP/1.1 507 "));
		assert_int_equal(f.upload.n_ends, 0);
		end(&f, &c);
	}
}

static void test_nothing_is_read_without_credit(void **state)
{
	static char bytes[2 << 20];
	struct fixture f;
	struct client c;
	size_t n_sent = 0;

	(void)state;
	open_with(&f, &c, 0, UINT64_MAX, false);
	client_say(&f, &c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 2097152\r\n\r\n");
	RUN_UNTIL(&f, f.n_handled == 1);
	/* as much as the kernel and the connection's own buffer hold */
	for (unsigned i = 0; i < 1000; i++) {
		ssize_t n = send(c.fd, bytes, 1000, MSG_NOSIGNAL | MSG_DONTWAIT);
		n_sent += n > 0 ? (size_t)n : 0;
		uv_run(&f.loop.uv, UV_RUN_NOWAIT);
	}
	assert_int_equal(f.upload.n_data, 0);
	f.upload.exchange->ops->upload_want(f.upload.exchange, 10);
	run_some(&f);
	assert_int_equal(f.upload.body.len, 10);
	f.upload.want = 100000;
	f.upload.exchange->ops->upload_want(f.upload.exchange, 1);
	client_send(&f, &c, span_make(bytes, sizeof bytes - n_sent));
	RUN_UNTIL(&f, client_has(&c, "uploaded"));
	assert_int_equal(f.upload.body.len, sizeof bytes);
	end(&f, &c);
}

static void test_larger_than_the_gateway_takes(void **state)
{
	struct fixture f;
	struct client c;

	(void)state;
	open_with(&f, &c, 1000, UINT64_MAX, false);
	client_say(&f, &c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 5000000\r\nExpect: 100-continue\r\n\r\n");
	RUN_UNTIL(&f, client_is_over(&c));
	assert_true(client_has(&c, "HTTP/1.1 413 "));
	assert_false(client_has(&c, "100 Continue"));
	assert_int_equal(f.n_handled, 0);
	end(&f, &c);
}

static void test_chunked_beyond_what_the_gateway_takes(void **state)
{
	static char chunk[65536];
	struct fixture f;
	struct client c;

	(void)state;
	open_with(&f, &c, 100000, UINT64_MAX, false);
	client_say(&f, &c, "POST /upload HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	for (unsigned i = 0; i < 65 && !client_is_over(&c); i++) {
		client_say(&f, &c, "10000\r\n");
		client_send(&f, &c, span_make(chunk, sizeof chunk));
		client_say(&f, &c, "\r\n");
		run_some(&f);
	}
	RUN_UNTIL(&f, client_is_over(&c));
	assert_int_equal(f.upload.n_gone, 1);
	assert_int_equal(f.upload.n_ends, 0);
	end(&f, &c);
}

/* 0: before it is wanted; 1: in the midst of it, waited for; 2: in the midst, not wanted; 3: after it */
static void leave_at(int moment, bool with_reset)
{
	struct fixture f;
	struct client c;

	open_with(&f, &c, moment == 1 ? 1000 : 0, UINT64_MAX, moment == 0);
	client_say(&f, &c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
	RUN_UNTIL(&f, f.n_handled == 1);
	if (moment > 0) {
		client_say(&f, &c, "some");
	}
	run_some(&f);
	assert_int_equal(f.upload.n_gone, 0);
	(with_reset ? client_reset : client_close)(&f, &c);
	RUN_UNTIL(&f, f.upload.n_gone == 1);
	assert_int_equal(f.upload.body.len, moment == 1 ? 4 : 0);
	assert_int_equal(f.upload.n_ends, 0);
	fixture_close(&f);
}

static void test_leaving(void **state)
{
	(void)state;
	for (int moment = 0; moment < 3; moment++) {
		leave_at(moment, false);
		leave_at(moment, true);
	}
}

static void test_a_slow_sender_ends(void **state)
{
	struct fixture f;
	struct client c;
	struct http_server_config config = default_config(&f);

	(void)state;
	/* no byte for a while */
	config.body_deadline_ms = 400; /* longer than a busy machine lets a client wait */
	fixture_open(&f, &config, NULL);
	f.upload = (struct upload_script){.want = 1000, .reply_at = UINT64_MAX};
	client_open(&f, &c);
	client_say(&f, &c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\nsome");
	RUN_UNTIL(&f, client_is_over(&c));
	RUN_UNTIL(&f, f.upload.n_gone == 1);
	client_close(&f, &c);
	/* a byte now and then: fewer than the least rate */
	gp_buffer_deinit(&f.upload.body);
	f.upload = (struct upload_script){.want = 1000, .reply_at = UINT64_MAX};
	client_open(&f, &c);
	client_say(&f, &c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\n");
	RUN_UNTIL(&f, f.n_handled == 2);
	uint64_t next_ms = 0, until_ms = f.loop.timers.now_ms + 10000;
	while (!client_is_over(&c)) {
		assert_true(f.loop.timers.now_ms < until_ms);
		if (f.loop.timers.now_ms >= next_ms) {
			client_say(&f, &c, "x");
			next_ms = f.loop.timers.now_ms + 3;
		}
		uv_run(&f.loop.uv, UV_RUN_NOWAIT);
	}
	RUN_UNTIL(&f, f.upload.n_gone == 1);
	assert_true(f.upload.body.len < 1000);
	client_close(&f, &c);
	fixture_close(&f);
}

static void test_who_is_not_waited_for_is_not_slow(void **state)
{
	struct fixture f;
	struct client c;
	struct http_server_config config = default_config(&f);

	(void)state;
	config.body_deadline_ms = 20;
	fixture_open(&f, &config, NULL);
	f.upload = (struct upload_script){.reply_at = UINT64_MAX, .is_held = true};
	client_open(&f, &c);
	client_say(&f, &c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 8\r\n\r\n12345678");
	RUN_UNTIL(&f, f.n_handled == 1);
	for (int moment = 0; moment < 2; moment++) {
		uint64_t until_ms = f.loop.timers.now_ms + 60;
		gp_timer_start_at(&f.later, until_ms);
		RUN_UNTIL(&f, !gp_timer_is_running(&f.later));
		assert_int_equal(f.upload.n_gone, 0);
		if (moment == 0) {
			upload_begin(&f.upload);
			f.upload.exchange->ops->upload_want(f.upload.exchange, 4);
			run_some(&f);
			assert_int_equal(f.upload.body.len, 4);
		}
	}
	f.upload.exchange->ops->upload_want(f.upload.exchange, 4);
	RUN_UNTIL(&f, client_has(&c, "uploaded"));
	end(&f, &c);
}

static void drained(void *ctx)
{
	((struct fixture *)ctx)->is_drained = true;
}

static void test_drain_gives_up(void **state)
{
	(void)state;
	for (int is_held = 0; is_held < 2; is_held++) {
		struct fixture f;
		struct client c;
		open_with(&f, &c, 1000, UINT64_MAX, is_held == 1);
		client_say(&f, &c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\nsome");
		RUN_UNTIL(&f, f.n_handled == 1);
		run_some(&f);
		http_server_drain(f.server, 20, drained, &f);
		RUN_UNTIL(&f, f.is_drained);
		assert_int_equal(f.upload.n_gone, 1);
		end(&f, &c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_chunked),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_refused_before_continue),
		cmocka_unit_test(test_continue_comes_when_it_is_wanted),
		cmocka_unit_test(test_refused_without_continue),
		cmocka_unit_test(test_nothing_is_read_without_credit),
		cmocka_unit_test(test_larger_than_the_gateway_takes),
		cmocka_unit_test(test_chunked_beyond_what_the_gateway_takes),
		cmocka_unit_test(test_leaving),
		cmocka_unit_test(test_a_slow_sender_ends),
		cmocka_unit_test(test_who_is_not_waited_for_is_not_slow),
		cmocka_unit_test(test_drain_gives_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
