#include "http_fixture.h"

#define HOST "Host: localhost\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

/* ---- ordinary requests ---- */

static void test_immediate(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	client_say(&f, &c, GET("/now?a=b%2Fc+d"));
	RUN_UNTIL(&f, client_has(&c, "/now?a=b%2Fc+d"));
	assert_true(span_starts_with(gp_buffer_span(&c.in), "HTTP/1.1 200 OK\r\n"));
	assert_true(client_has(&c, "\r\nContent-Length: 14\r\n"));
	assert_int_equal(f.n_suspended_at_handle, 0);
	assert_int_equal(http_server_stats(f.server).n_exchanges, 0);
	/* the same connection again */
	client_say(&f, &c, GET("/again"));
	RUN_UNTIL(&f, client_has(&c, "/again"));
	assert_int_equal(http_server_stats(f.server).n_connections, 1);
	assert_false(client_is_over(&c));
	client_close(&f, &c);
	RUN_UNTIL(&f, http_server_stats(f.server).n_connections == 0);
	fixture_close(&f);
}

static void test_deferred(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	client_say(&f, &c, GET("/hold"));
	RUN_UNTIL(&f, f.n_held == 1);
	run_some(&f);
	assert_int_equal(http_server_stats(f.server).n_suspended, 1);
	assert_int_equal(c.in.len, 0);
	release_held();
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\n/hold"));
	assert_int_equal(http_server_stats(f.server).n_suspended, 0);
	for (unsigned i = 2; i <= 20; i++) {
		client_say(&f, &c, GET("/later"));
		RUN_UNTIL(&f, count(&c, "\r\n\r\n/") == i);
	}
	assert_int_equal(f.n_gone, 0);
	client_close(&f, &c);
	fixture_close(&f);
}

static void test_pipelined(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	client_say(&f, &c,
		   GET("/later1") GET("/now2") GET("/later3") "POST /now4 HTTP/1.1\r\n" HOST
							      "Content-Length: 5\r\n\r\nbody4" GET("/later5"));
	RUN_UNTIL(&f, client_has(&c, "/later5"));
	struct span all = gp_buffer_span(&c.in);
	static const char *const bodies[] = {"\r\n\r\n/later1", "\r\n\r\n/now2", "\r\n\r\n/later3", "\r\n\r\nbody4",
					     "\r\n\r\n/later5"};
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		ptrdiff_t at = span_find(all, span_of(bodies[i]));
		assert_true(at >= 0);
		all = span_from(all, (size_t)at + 4);
	}
	assert_int_equal(f.n_handled, 5);
	client_close(&f, &c);
	fixture_close(&f);
}

static void test_methods(void **state)
{
	(void)state;
	static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "get"};
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		client_say(&f, &c, methods[i]);
		client_say(&f, &c, " /m HTTP/1.1\r\n" HOST "\r\n");
		RUN_UNTIL(&f, count(&c, "\r\n\r\n/m") == i + 1);
		assert_string_equal(f.last_method, methods[i]);
	}
	client_close(&f, &c);
	client_open(&f, &c);
	client_say(&f, &c, "HEAD /head HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	RUN_UNTIL(&f, client_is_over(&c));
	assert_true(client_has(&c, "Content-Length: 5\r\n"));
	assert_int_equal(client_body(&c).len, 0);
	client_close(&f, &c);
	client_open(&f, &c);
	f.stream.total = 12345;
	f.stream.is_known = true;
	client_say(&f, &c, "HEAD /stream HTTP/1.1\r\n" HOST "\r\n" GET("/behind"));
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\n/behind"));
	assert_true(client_has(&c, "Content-Length: 12345\r\n"));
	assert_int_equal(f.stream.n_gone, 0);
	client_close(&f, &c);
	fixture_close(&f);
}

static void test_request_id_and_headers(void **state)
{
	(void)state;
	static const struct {
		const char *id;
		bool is_kept;
	} items[] = {
		{"abc-DEF_1.2", true},
		{"0123456789012345678901234567890123456789012345678901234567890123", true},
		{"01234567890123456789012345678901234567890123456789012345678901234", false},
		{"a b", false},
		{"a\"b", false},
		{"", false},
	};
	struct fixture f;
	struct client c;
	char text[256];
	char before[65] = "";

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
		snprintf(text, sizeof text, "GET /id HTTP/1.1\r\n" HOST "x-request-ID: %s\r\n\r\n", items[i].id);
		client_say(&f, &c, text);
		RUN_UNTIL(&f, count(&c, "\r\n\r\n/id") == i + 1);
		assert_int_equal(strcmp(f.last_id, items[i].id) == 0, items[i].is_kept);
		if (!items[i].is_kept) {
			assert_int_equal(strspn(f.last_id, "0123456789abcdef"), 16);
			assert_int_equal(strlen(f.last_id), 16);
			assert_string_not_equal(f.last_id, before);
			memcpy(before, f.last_id, sizeof before);
		}
	}
	client_say(&f, &c, GET("/agent") "GET /agent HTTP/1.1\r\n" HOST "User-Agent: tester/1\r\n\r\n");
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\ntester/1"));
	assert_true(client_has(&c, "\r\n\r\n(none)"));
	client_close(&f, &c);
	fixture_close(&f);
}

/* RFC 9110 section 5.3: several lines are one list, in their order, whatever stands between them. */
static void test_fields_in_lines(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	client_say(&f, &c,
		   "GET /agent HTTP/1.1\r\n" HOST
		   "User-Agent: a\r\nX: -\r\nuser-agent: b, c\r\nX: -\r\nUSER-AGENT: d\r\n\r\n");
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\na, b, c, d"));
	client_say(&f, &c, "GET /agent HTTP/1.1\r\n" HOST "User-Agent:\r\nUser-Agent: e\r\n\r\n");
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\ne"));
	client_say(&f, &c, "GET /agent HTTP/1.1\r\n" HOST "User-Agent: f\r\n\r\n");
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\nf"));
	client_close(&f, &c);
	fixture_close(&f);
}

/* What many repeated fields are joined into takes no more memory than they do themselves. */
static void test_memory_of_fields_in_lines(void **state)
{
	(void)state;
	static char text[GP_MAX_TARGET * 2];
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	size_t len = (size_t)snprintf(text, sizeof text, "GET /now HTTP/1.1\r\n" HOST "X: %05000d\r\n", 0);
	for (int i = 0; i < 96; i++) {
		len += (size_t)snprintf(text + len, sizeof text - len, "A%d: 1\r\n", i / 2);
	}
	snprintf(text + len, sizeof text - len, "\r\n");
	client_say(&f, &c, text);
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\n/now"));
	assert_true(f.last_arena < (size_t)16 * 1024);
	client_close(&f, &c);
	fixture_close(&f);
}

/* RFC 9112 section 3.2.2 */
static void test_absolute_form(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	client_say(&f, &c, GET("http://Gate.example:81/host?a=%2F"));
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\nGate.example:81"));
	assert_string_equal(f.last_target, "/host?a=%2F");
	client_say(&f, &c, GET("http://b") GET("HTTP://b?c"));
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\n/?c"));
	client_say(&f, &c, GET("/host"));
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\nlocalhost"));
	client_close(&f, &c);
	fixture_close(&f);
}

/* No body, no word of its length where libmicrohttpd can leave it out, and the connection goes on. */
static void test_not_modified(void **state)
{
	(void)state;
	bool is_old = strcmp(http_server_library_version(), "0.9.77.01") < 0;
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	client_say(&f, &c, GET("/unchanged") "HEAD /unchanged HTTP/1.1\r\n" HOST "\r\n");
	RUN_UNTIL(&f, count(&c, "\r\n\r\n") == 2);
	assert_int_equal(count(&c, "HTTP/1.1 304 "), 2);
	assert_int_equal(count(&c, "ETag: \"1\"\r\n"), 2);
	assert_int_equal(count(&c, "Content-Length:"), is_old ? 2 : 0);
	assert_false(client_has(&c, "Transfer-Encoding"));
	client_say(&f, &c, GET("/next"));
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\n/next"));
	client_close(&f, &c);
	fixture_close(&f);
}

/* More parameters than libmicrohttpd's own list of them could hold. */
static void test_long_query(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;
	static char text[GP_MAX_TARGET + 256];
	size_t len = (size_t)snprintf(text, sizeof text, "GET /q?");

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	while (len < GP_MAX_TARGET) {
		len += (size_t)snprintf(text + len, sizeof text - len, "a=&");
	}
	snprintf(text + len, sizeof text - len, " HTTP/1.1\r\n" HOST "\r\n");
	client_say(&f, &c, text);
	RUN_UNTIL(&f, client_has(&c, "HTTP/1.1 200"));
	assert_int_equal(strlen(f.last_target), len - 4);
	client_close(&f, &c);
	fixture_close(&f);
}

/* ---- bodies ---- */

static void test_bodies(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	client_say(&f, &c, "POST /e HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\nabc");
	run_some(&f);
	assert_int_equal(f.n_handled, 0);
	client_say(&f, &c, "def");
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\nabcdef"));
	client_say(&f, &c,
		   "POST /e HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nghi\r\n4\r\njklm\r\n0\r\n\r\n");
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\nghijklm"));
	client_say(&f, &c, "POST /empty HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\n/empty"));
	client_say(&f, &c, "POST /e HTTP/1.1\r\n" HOST "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n");
	RUN_UNTIL(&f, client_has(&c, "HTTP/1.1 100 Continue\r\n\r\n"));
	client_say(&f, &c, "nopq");
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\nnopq"));
	/* while the program waits, not only while it reads */
	client_say(&f, &c, "POST /later HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nrstu");
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\n/later"));
	client_close(&f, &c);
	fixture_close(&f);
}

static void send_body(struct fixture *f, struct client *c, size_t len, bool is_chunked)
{
	static char bytes[64 * 1024];
	char head[32];

	memset(bytes, 'x', sizeof bytes);
	while (len > 0 && !client_is_over(c)) {
		size_t n = len < sizeof bytes ? len : sizeof bytes;
		if (is_chunked) {
			snprintf(head, sizeof head, "%zx\r\n", n);
			client_say(f, c, head);
		}
		client_send(f, c, span_make(bytes, n));
		if (is_chunked) {
			client_say(f, c, "\r\n");
		}
		len -= n;
	}
	if (is_chunked) {
		client_say(f, c, "0\r\n\r\n");
	}
}

static void test_oversize_bodies(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;
	char text[128];

	fixture_open(&f, NULL, NULL); /* max_body 4 MiB */
	client_open(&f, &c);
	snprintf(text, sizeof text, "POST /e HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n", GP_MAX_JSON_BODY);
	client_say(&f, &c, text);
	send_body(&f, &c, GP_MAX_JSON_BODY, false);
	RUN_UNTIL(&f, client_body(&c).len == GP_MAX_JSON_BODY);
	gp_buffer_reset(&c.in, 0);
	snprintf(text, sizeof text, "POST /e HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n", GP_MAX_JSON_BODY + 1);
	client_say(&f, &c, text);
	send_body(&f, &c, GP_MAX_JSON_BODY + 1, false);
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\ntoo large"));
	assert_true(client_has(&c, "HTTP/1.1 413 "));
	client_say(&f, &c, "POST /e HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	send_body(&f, &c, 4 * GP_MIB, true);
	RUN_UNTIL(&f, count(&c, "\r\n\r\ntoo large") == 2);
	assert_false(client_is_over(&c));
	/* over max_body, announced: refused at once, even when the client waits for a word */
	size_t n_handled = f.n_handled;
	client_say(&f, &c, "POST /e HTTP/1.1\r\n" HOST "Content-Length: 4194305\r\nExpect: 100-continue\r\n\r\n");
	RUN_UNTIL(&f, client_is_over(&c));
	assert_true(client_has(&c, "/problems/too-large"));
	assert_false(client_has(&c, "100 Continue"));
	client_close(&f, &c);
	/* and in chunks: it cannot be answered while it is sent */
	client_open(&f, &c);
	client_say(&f, &c, "POST /e HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	send_body(&f, &c, 5 * GP_MIB, true);
	RUN_UNTIL(&f, client_is_over(&c));
	assert_int_equal(f.n_handled, n_handled);
	client_close(&f, &c);
	RUN_UNTIL(&f, http_server_stats(f.server).n_exchanges == 0);
	fixture_close(&f);
}

/* What all requests together hold is bounded, whoever sends them. */
static void test_bodies_of_all(void **state)
{
	(void)state;
	struct fixture f;
	struct client first, second;

	fixture_open(&f, NULL, NULL);
	f.app.n_held = GP_MAX_HELD - 100;
	client_open(&f, &first);
	client_open(&f, &second);
	client_say(&f, &first, "POST /e HTTP/1.1\r\n" HOST "Content-Length: 80\r\n\r\n");
	send_body(&f, &first, 60, false);
	RUN_UNTIL(&f, f.app.n_held == GP_MAX_HELD - 40);
	size_t n_handled = f.n_handled;
	client_say(&f, &second, "POST /e HTTP/1.1\r\n" HOST "Content-Length: 80\r\n\r\n");
	send_body(&f, &second, 80, false);
	RUN_UNTIL(&f, client_has(&second, "HTTP/1.1 503 "));
	assert_true(client_has(&second, "Retry-After: "));
	assert_int_equal(f.n_handled, n_handled);
	assert_int_equal(f.app.n_held, GP_MAX_HELD - 40);
	send_body(&f, &first, 20, false);
	RUN_UNTIL(&f, client_body(&first).len == 80);
	client_close(&f, &first);
	client_close(&f, &second);
	RUN_UNTIL(&f, http_server_stats(f.server).n_exchanges == 0);
	assert_int_equal(f.app.n_held, GP_MAX_HELD - 100);
	fixture_close(&f);
}

/* ---- bad requests ---- */

static const struct {
	const char *what;
	const char *text;
	bool is_good;
} requests[] = {
	{"benign", "GET /x HTTP/1.1\r\n" HOST "\r\n", true},
	{"HTTP/1.0", "GET /x HTTP/1.0\r\n\r\n", true},
	{"no host", "GET /x HTTP/1.1\r\n\r\n", false},
	{"two hosts", "GET /x HTTP/1.1\r\n" HOST "Host: b\r\n\r\n", false},
	{"HTTP/0.9", "GET /x\r\n\r\n", false},
	{"HTTP/3", "GET /x HTTP/3.0\r\n" HOST "\r\n", false},
	{"no protocol", "GET /x PTTH/1.1\r\n" HOST "\r\n", false},
	{"space in the target", "GET /x y HTTP/1.1\r\n" HOST "\r\n", false},
	{"absolute target", "GET http://b/x HTTP/1.1\r\n" HOST "\r\n", true},
	{"absolute target of a user", "GET http://a@b/x HTTP/1.1\r\n" HOST "\r\n", false},
	{"no target", "GET  HTTP/1.1\r\n" HOST "\r\n", false},
	{"raw UTF-8", "GET /\xC3\xA9 HTTP/1.1\r\n" HOST "\r\n", false},
	{"method", "G@T /x HTTP/1.1\r\n" HOST "\r\n", false},
	{"two lengths",
	 "POST /x HTTP/1.1\r\n" HOST "Content-Length: 0\r\nContent-Length: 28\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
	 false},
	{"the same length twice", "POST /x HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", false},
	{"length and chunked",
	 "POST /x HTTP/1.1\r\n" HOST
	 "Content-Length: 33\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n" HOST "\r\n",
	 false},
	{"chunked twice",
	 "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
	 false},
	{"not chunked", "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", false},
	{"chunked in HTTP/1.0", "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
	{"space before the colon", "POST /x HTTP/1.1\r\n" HOST "Content-Length : 4\r\n\r\nGET ", false},
	{"name with a space", "GET /x HTTP/1.1\r\n" HOST "X Y: z\r\n\r\n", false},
	{"bad length", "POST /x HTTP/1.1\r\n" HOST "Content-Length: 1x\r\n\r\na", false},
	{"bad chunk", "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n", false},
	{"two authorizations",
	 "GET /x HTTP/1.1\r\n" HOST "Authorization: Basic YTpi\r\nAuthorization: Basic YTpj\r\n\r\n", false},
	{"no colon", "GET /x HTTP/1.1\r\n" HOST "nonsense\r\n\r\n", false},
};

/* Whole and a byte at a time: never handled, and nothing that follows is either. */
static void test_bad_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
		for (unsigned is_slow = 0; is_slow < 2; is_slow++) {
			struct fixture f;
			struct client c;
			struct span text = span_of(requests[i].text);

			fixture_open(&f, NULL, NULL);
			client_open(&f, &c);
			for (size_t at = 0; is_slow && at < text.len; at++) {
				client_send(&f, &c, span_slice(text, at, 1));
				run_some(&f);
			}
			if (!is_slow) {
				client_send(&f, &c, text);
			}
			if (requests[i].is_good) {
				RUN_UNTIL(&f, client_has(&c, "\r\n\r\n/x"));
			} else {
				client_say(&f, &c, GET("/smuggled"));
				RUN_UNTIL(&f, client_is_over(&c));
			}
			if (f.n_handled != (requests[i].is_good ? 1 : 0) ||
			    client_has(&c, "HTTP/1.1 200") != requests[i].is_good) {
				print_error("%s: %.*s\n", requests[i].what, SPAN_ARGS(gp_buffer_span(&c.in)));
				fail();
			}
			client_close(&f, &c);
			RUN_UNTIL(&f, http_server_stats(f.server).n_connections == 0);
			assert_int_equal(http_server_stats(f.server).n_exchanges, 0);
			fixture_close(&f);
		}
	}
}

static void test_nul_in_target(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	client_send(&f, &c, SPAN_LIT("GET /a\0b HTTP/1.1\r\n" HOST "\r\n"));
	RUN_UNTIL(&f, client_is_over(&c));
	assert_int_equal(f.n_handled, 0);
	client_close(&f, &c);
	fixture_close(&f);
}

static void test_refusal_is_a_problem(void **state)
{
	(void)state;
	static char text[GP_MAX_TARGET + 256];
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	client_say(&f, &c, "GET /x HTTP/1.1\r\n" HOST "Host: b\r\nX-Request-Id: me\r\n\r\n");
	RUN_UNTIL(&f, client_is_over(&c));
	assert_true(client_has(&c, "HTTP/1.1 400 "));
	assert_true(client_has(&c, "Content-Type: application/problem+json\r\n"));
	assert_true(client_has(&c, "X-Request-Id: me\r\n"));
	assert_true(client_has(&c, "{\"type\":\"/problems/bad-request\",\"title\":\"The request is malformed\","
				   "\"status\":400,\"detail\":\"Host is given more than once.\",\"requestId\":\"me\","
				   "\"retryable\":false}\n"));
	client_close(&f, &c);
	client_open(&f, &c);
	memset(text, 'a', sizeof text);
	memcpy(text, "GET /", 5);
	snprintf(text + GP_MAX_TARGET + 5, sizeof text - GP_MAX_TARGET - 5, " HTTP/1.1\r\n" HOST "\r\n");
	client_say(&f, &c, text);
	RUN_UNTIL(&f, client_is_over(&c));
	assert_true(client_has(&c, "HTTP/1.1 414 "));
	assert_true(client_has(&c, "/problems/uri-too-long"));
	client_close(&f, &c);
	fixture_close(&f);
}

/* Else a page that may read the others sees nothing but that its request failed. */
static void test_refusal_is_for_pages(void **state)
{
	(void)state;
	static const char *const origins[] = {"https://app.example"};
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	f.app.cors_origins = origins;
	f.app.n_cors_origins = 1;
	client_open(&f, &c);
	client_say(&f, &c, "GET /x HTTP/1.1\r\n" HOST "Host: b\r\nOrigin: https://app.example\r\n\r\n");
	RUN_UNTIL(&f, client_is_over(&c));
	assert_true(client_has(&c, "HTTP/1.1 400 "));
	assert_true(client_has(&c, "Access-Control-Allow-Origin: https://app.example\r\n"));
	assert_true(client_has(&c, "Access-Control-Expose-Headers: "));
	client_close(&f, &c);
	client_open(&f, &c);
	client_say(&f, &c, "GET /x HTTP/1.1\r\n" HOST "Host: b\r\nOrigin: https://evil.example\r\n\r\n");
	RUN_UNTIL(&f, client_is_over(&c));
	assert_true(client_has(&c, "HTTP/1.1 400 "));
	assert_false(client_has(&c, "Access-Control-"));
	client_close(&f, &c);
	fixture_close(&f);
}

/* On a connection of its own, which the gateway ends. */
static bool is_refused(struct fixture *f, struct span head, const char *status)
{
	struct client c;

	client_open(f, &c);
	client_send(f, &c, head);
	RUN_UNTIL(f, client_is_over(&c));
	bool is_said = client_has(&c, status);
	client_close(f, &c);
	return is_said;
}

/* The refusal has to find room beside what it refuses; libmicrohttpd's own begin at 16,200. */
static void test_refusal_of_long_heads(void **state)
{
	(void)state;
	static const size_t lengths[] = {13500, 15000, 15700, 15950, 16300, 30000};
	static char text[32 * 1024];
	struct fixture f;

	fixture_open(&f, NULL, NULL);
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		size_t len = (size_t)snprintf(text, sizeof text, "GET /x HTTP/1.1\r\n" HOST "X: ");
		memset(text + len, 'a', lengths[i] - len - 4);
		memcpy(text + lengths[i] - 4, "\r\n\r\n", 4);
		assert_true(is_refused(&f, span_make(text, lengths[i]), "HTTP/1.1 431 "));
	}
	assert_int_equal(f.n_handled, 0);
	fixture_close(&f);
}

/* Many small fields take more than their text; and what is wrong with the line is said first. */
static void test_refusal_of_full_heads(void **state)
{
	(void)state;
	static const struct {
		const char *status;
		size_t target, n_fields;
	} heads[] = {{"HTTP/1.1 431 ", 1, 190},   {"HTTP/1.1 431 ", 1, 219},   {"HTTP/1.1 431 ", 1, 220},
		     {"HTTP/1.1 414 ", 15000, 1}, {"HTTP/1.1 414 ", 15900, 1}, {"HTTP/1.1 414 ", 16000, 1},
		     {"HTTP/1.1 414 ", 9000, 85}, {"HTTP/1.1 414 ", 9000, 95}, {"HTTP/1.1 414 ", 9000, 96}};
	static char text[32 * 1024];
	struct fixture f;

	fixture_open(&f, NULL, NULL);
	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
		size_t len = (size_t)snprintf(text, sizeof text, "GET /");
		memset(text + len, 'a', heads[i].target);
		len += heads[i].target;
		len += (size_t)snprintf(text + len, sizeof text - len, " HTTP/1.1\r\n" HOST);
		for (size_t n = 0; n < heads[i].n_fields; n++) {
			len += (size_t)snprintf(text + len, sizeof text - len, "X%03zu: 1\r\n", n);
		}
		len += (size_t)snprintf(text + len, sizeof text - len, "\r\n");
		if (!is_refused(&f, span_make(text, len), heads[i].status)) {
			fail_msg("a target of %zu bytes, %zu fields: not %s", heads[i].target, heads[i].n_fields,
				 heads[i].status);
		}
	}
	assert_int_equal(f.n_handled, 0);
	fixture_close(&f);
}

/* ---- slow clients ---- */

static void test_header_deadline(void **state)
{
	(void)state;
	struct fixture f;
	struct client fresh, used;
	struct http_server_config config;

	config = default_config(&f);
	config.header_deadline_ms = 30;
	config.idle_timeout_s = 1;
	fixture_open(&f, &config, NULL);
	client_open(&f, &used);
	client_say(&f, &used, GET("/now"));
	RUN_UNTIL(&f, client_has(&used, "\r\n\r\n/now"));
	client_open(&f, &fresh);
	client_say(&f, &fresh, "GET / HTTP/1.1\r\nX: ");
	/* it never stops sending, so inactivity would not catch it, nor sends so much that it would be too much */
	uint64_t until_ms = f.loop.timers.now_ms + 5000, next_ms = 0;
	while (!client_is_over(&fresh)) {
		assert_true(f.loop.timers.now_ms < until_ms);
		if (f.loop.timers.now_ms >= next_ms) {
			client_say(&f, &fresh, "y");
			next_ms = f.loop.timers.now_ms + 1;
		}
		uv_run(&f.loop.uv, UV_RUN_NOWAIT);
	}
	assert_int_equal(f.n_handled, 1);
	assert_int_equal(fresh.in.len, 0);
	/* the one that has behaved may idle, but not trickle for ever */
	client_say(&f, &used, "GET / HTTP/1.1\r\n");
	RUN_UNTIL(&f, client_is_over(&used));
	client_close(&f, &fresh);
	client_close(&f, &used);
	fixture_close(&f);
}

static void test_body_deadline(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;
	struct http_server_config config;

	config = default_config(&f);
	config.body_deadline_ms = 30;
	fixture_open(&f, &config, NULL);
	client_open(&f, &c);
	client_say(&f, &c, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\n");
	uint64_t end_ms = f.loop.timers.now_ms + 5000, next_ms = 0;
	while (!client_is_over(&c)) {
		assert_true(f.loop.timers.now_ms < end_ms);
		if (f.loop.timers.now_ms >= next_ms) {
			client_say(&f, &c, "x");
			next_ms = f.loop.timers.now_ms + 1;
		}
		uv_run(&f.loop.uv, UV_RUN_NOWAIT);
	}
	assert_int_equal(f.n_handled, 0);
	client_close(&f, &c);
	/* a request that waits for its answer is not subject to it */
	client_open(&f, &c);
	client_say(&f, &c, "POST /hold HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx");
	RUN_UNTIL(&f, f.n_held == 1);
	uint64_t until_ms = f.loop.timers.now_ms + 60;
	gp_timer_start_at(&f.later, until_ms);
	RUN_UNTIL(&f, client_has(&c, "\r\n\r\n/hold"));
	client_close(&f, &c);
	fixture_close(&f);
}

/* ---- clients that leave ---- */

static void test_leaving(void **state)
{
	(void)state;
	static const char *const stages[] = {"",
					     "GE",
					     "GET / HTTP/1.1\r\nHo",
					     "POST / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nabc",
					     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
					     GET("/now"),
					     GET("/later")};
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
		for (unsigned is_reset = 0; is_reset < 2; is_reset++) {
			client_open(&f, &c);
			client_say(&f, &c, stages[i]);
			run_some(&f);
			if (is_reset) {
				client_reset(&f, &c);
			} else {
				client_close(&f, &c);
			}
			RUN_UNTIL(&f, http_server_stats(f.server).n_connections == 0);
			assert_int_equal(http_server_stats(f.server).n_exchanges, 0);
		}
	}
	assert_int_equal(f.n_gone, 0);
	fixture_close(&f);
}

static void test_leaving_while_suspended(void **state)
{
	(void)state;
	struct fixture f;
	struct client c[3];

	fixture_open(&f, NULL, NULL);
	for (unsigned i = 0; i < 3; i++) {
		client_open(&f, &c[i]);
		client_say(&f, &c[i], GET("/hold") GET("/pipelined"));
	}
	RUN_UNTIL(&f, f.n_held == 3);
	client_close(&f, &c[0]);
	RUN_UNTIL(&f, f.n_gone == 1);
	client_reset(&f, &c[1]);
	RUN_UNTIL(&f, f.n_gone == 2);
	RUN_UNTIL(&f, http_server_stats(f.server).n_connections == 1);
	assert_int_equal(f.n_handled, 3);
	release_held();
	RUN_UNTIL(&f, client_has(&c[2], "\r\n\r\n/pipelined"));
	assert_int_equal(f.n_gone, 2);
	client_close(&f, &c[2]);
	fixture_close(&f);
}

/* The answer and the leaving in the same turn, in either order. */
static void test_leaving_as_the_answer_comes(void **state)
{
	(void)state;
	struct fixture f;
	struct client c;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &c);
	client_say(&f, &c, GET("/hold"));
	RUN_UNTIL(&f, f.n_held == 1);
	release_held();
	client_reset(&f, &c);
	RUN_UNTIL(&f, http_server_stats(f.server).n_connections == 0);
	assert_int_equal(f.n_gone, 0);
	fixture_close(&f);
}

/* ---- the end ---- */

static void drained(void *ctx)
{
	struct fixture *f = ctx;

	assert_false(f->is_drained);
	f->is_drained = true;
}

static void test_drain_waits(void **state)
{
	(void)state;
	struct fixture f;
	struct client waiting, idle;

	fixture_open(&f, NULL, NULL);
	client_open(&f, &waiting);
	client_open(&f, &idle);
	client_say(&f, &waiting, GET("/hold"));
	client_say(&f, &idle, GET("/now"));
	RUN_UNTIL(&f, f.n_held == 1 && client_has(&idle, "/now"));
	http_server_drain(f.server, GP_DRAIN_MS, drained, &f);
	run_some(&f);
	assert_true(f.app.is_draining);
	assert_false(f.is_drained);
	struct gp_error error = {.status = GP_OK};
	int fd;
	assert_int_equal(gateway_address_connect(&f.address, 1000, &fd, &error), GP_REFUSED);
	client_say(&f, &idle, GET("/late"));
	RUN_UNTIL(&f, client_is_over(&idle));
	assert_true(client_has(&idle, "HTTP/1.1 503 "));
	assert_true(client_has(&idle, "Connection: close\r\n"));
	assert_false(f.is_drained);
	release_held();
	RUN_UNTIL(&f, f.is_drained);
	RUN_UNTIL(&f, client_is_over(&waiting));
	assert_true(client_has(&waiting, "\r\n\r\n/hold"));
	assert_int_equal(f.n_gone, 0);
	client_close(&f, &waiting);
	client_close(&f, &idle);
	fixture_close(&f);
}

static void test_drain_gives_up(void **state)
{
	(void)state;
	struct fixture f;
	struct client c[20];

	fixture_open(&f, NULL, NULL);
	for (unsigned i = 0; i < 20; i++) {
		client_open(&f, &c[i]);
		client_say(&f, &c[i], GET("/hold"));
	}
	RUN_UNTIL(&f, f.n_held == 20);
	http_server_drain(f.server, GP_DRAIN_MS, drained, &f);
	run_some(&f);
	assert_false(f.is_drained);
	http_server_drain(f.server, 0, drained, &f);
	RUN_UNTIL(&f, f.is_drained);
	assert_int_equal(f.n_gone, 20);
	for (unsigned i = 0; i < 20; i++) {
		RUN_UNTIL(&f, client_is_over(&c[i]));
		client_close(&f, &c[i]);
	}
	fixture_close(&f);
}

/* Without a drain, as when start-up fails later on. */
static void test_free_with_requests(void **state)
{
	(void)state;
	struct fixture f;
	struct client c[5];
	static const char *const texts[] = {GET("/hold"), "GET / HT",
					    "POST / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nabc", GET("/now"),
					    GET("/stream")};

	fixture_open(&f, NULL, NULL);
	for (unsigned i = 0; i < 5; i++) {
		client_open(&f, &c[i]);
		client_stop_reading(&c[i]);
		client_say(&f, &c[i], texts[i]);
	}
	RUN_UNTIL(&f, f.n_held == 1 && f.stream.written > 0);
	run_some(&f);
	http_server_free(&f.server);
	assert_int_equal(f.n_gone, 1);
	assert_int_equal(f.stream.n_gone, 1);
	for (unsigned i = 0; i < 5; i++) {
		client_close(&f, &c[i]);
	}
	fixture_close(&f);
}

/* ---- where it listens ---- */

static void test_addresses(void **state)
{
	(void)state;
	char path[64];
	snprintf(path, sizeof path, "unix:/tmp/gatepost-test-%d.sock", (int)getpid());
	const char *const addresses[] = {"localhost:0", "0.0.0.0:0", path, path, "[::1]:0"};
	struct gateway_address v6 = {.host = "::1"};
	struct gp_error error = {.status = GP_OK};
	int fd = -1;
	bool has_v6 = gateway_address_listen(&v6, &fd, &error) == GP_OK;

	if (has_v6) {
		close(fd);
	}
	for (size_t i = 0; i < sizeof addresses / sizeof addresses[0] - !has_v6; i++) {
		struct fixture f;
		struct client c;
		fixture_open(&f, NULL, addresses[i]);
		client_open(&f, &c);
		client_say(&f, &c, GET("/later"));
		RUN_UNTIL(&f, client_has(&c, "\r\n\r\n/later"));
		client_close(&f, &c);
		fixture_close(&f);
	}
	assert_int_equal(access(path + 5, F_OK), -1);
}

static void test_address_in_use(void **state)
{
	(void)state;
	struct fixture f;
	struct http_server *second = NULL;
	struct gp_error error = {.status = GP_OK};

	fixture_open(&f, NULL, NULL);
	struct http_server_config config = default_config(&f);
	config.address = &f.address;
	assert_int_equal(http_server_new(&config, &second, &error), GP_IO);
	assert_null(second);
	assert_non_null(strstr(error.text, "in use"));
	fixture_close(&f);
}

/* A loop with connections that do nothing sleeps until the next deadline. */
static void test_idle_costs_nothing(void **state)
{
	(void)state;
	struct fixture f;
	struct client c[4];

	fixture_open(&f, NULL, NULL);
	for (unsigned i = 0; i < 4; i++) {
		client_open(&f, &c[i]);
		client_say(&f, &c[i], i % 2 ? GET("/hold") : GET("/now"));
	}
	RUN_UNTIL(&f, f.n_held == 2 && client_has(&c[0], "/now") && client_has(&c[2], "/now"));
	run_some(&f);
	assert_true(uv_backend_timeout(&f.loop.uv) > 1000);
	for (unsigned i = 0; i < 4; i++) {
		client_close(&f, &c[i]);
	}
	RUN_UNTIL(&f, f.n_gone == 2);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_immediate),
		cmocka_unit_test(test_deferred),
		cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_request_id_and_headers),
		cmocka_unit_test(test_fields_in_lines),
		cmocka_unit_test(test_memory_of_fields_in_lines),
		cmocka_unit_test(test_absolute_form),
		cmocka_unit_test(test_not_modified),
		cmocka_unit_test(test_long_query),
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_oversize_bodies),
		cmocka_unit_test(test_bodies_of_all),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_nul_in_target),
		cmocka_unit_test(test_refusal_is_a_problem),
		cmocka_unit_test(test_refusal_is_for_pages),
		cmocka_unit_test(test_refusal_of_long_heads),
		cmocka_unit_test(test_refusal_of_full_heads),
		cmocka_unit_test(test_header_deadline),
		cmocka_unit_test(test_body_deadline),
		cmocka_unit_test(test_leaving),
		cmocka_unit_test(test_leaving_while_suspended),
		cmocka_unit_test(test_leaving_as_the_answer_comes),
		cmocka_unit_test(test_drain_waits),
		cmocka_unit_test(test_drain_gives_up),
		cmocka_unit_test(test_free_with_requests),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_address_in_use),
		cmocka_unit_test(test_idle_costs_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
