#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "tests/support/loopback.h"

#define LONG_MS 60000 /* never reached */
#define SHORT_MS 50   /* reached by the tests of timeouts alone */
#define BULK (10 * GP_MIB)

static void fill(char *bytes, size_t len)
{
	uint32_t x = 12345;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		bytes[i] = (char)(x >> 24);
	}
}

static void open_and_connect(struct loopback *lo)
{
	loopback_open(lo, LONG_MS);
	loopback_run_until(lo, loopback_is_connected);
	assert_int_equal(lo->n_closed, 0);
}

static bool has_echo(const struct loopback *lo)
{
	return lo->bytes.len >= 5 || lo->n_closed > 0;
}

static void test_echo(void **state)
{
	struct loopback lo;
	static const char *const hosts[] = {"127.0.0.1", "localhost"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
		memcpy(lo.endpoint.host, hosts[i], strlen(hosts[i]) + 1);
		open_and_connect(&lo);
		loopback_write(&lo, SPAN_LIT("he"));
		loopback_write(&lo, SPAN_LIT(""));
		loopback_write(&lo, SPAN_LIT("llo"));
		loopback_run_until(&lo, has_echo);
		assert_true(span_equal_text(gp_buffer_span(&lo.bytes), "hello"));
		loopback_end(&lo);
		assert_int_equal(lo.n_closed, 0);
	}
}

static void test_refused(void **state)
{
	struct loopback lo;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof address;
	int unheard = socket(AF_INET, SOCK_STREAM, 0); /* bound, never listening: nobody else gets the port */

	(void)state;
	assert_int_equal(bind(unheard, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(unheard, (struct sockaddr *)&address, &len), 0);
	for (int i = 0; i < 2; i++) {
		loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
		memcpy(lo.endpoint.host, i ? "localhost" : "127.0.0.1", 10);
		lo.endpoint.port = ntohs(address.sin_port);
		loopback_open(&lo, LONG_MS);
		loopback_run_to_closed(&lo, GP_REFUSED);
		assert_int_equal(lo.n_connected, 0);
		assert_non_null(strstr(lo.error.text, "refused"));
		loopback_end(&lo);
	}
	close(unheard);
}

static void test_unresolvable(void **state)
{
	static const char *const hosts[] = {"nothing.invalid", "", "a..b", "two words", "fe80::1::2"};
	struct loopback lo;

	(void)state;
	for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
		loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
		memcpy(lo.endpoint.host, hosts[i], strlen(hosts[i]) + 1);
		loopback_open(&lo, LONG_MS);
		loopback_run_to_closed(&lo, GP_RESOLVE);
		loopback_end(&lo);
	}
}

/* Linux answers no SYN when the queue of those not yet accepted is full. */
static void test_black_hole(void **state)
{
	struct loopback lo;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int callers[4];

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	for (size_t i = 0; i < 4; i++) {
		callers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(callers[i], (struct sockaddr *)&address, len);
	}
	loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
	lo.endpoint.port = ntohs(address.sin_port);
	loopback_open(&lo, SHORT_MS);
	loopback_run_to_closed(&lo, GP_CONNECT_TIMEOUT);
	assert_int_equal(lo.n_connected, 0);
	loopback_end(&lo);
	for (size_t i = 0; i < 4; i++) {
		close(callers[i]);
	}
	close(listener);
}

/* ---- names of our own: libuv's workers call this getaddrinfo() ---- */

static uv_sem_t resolver_may_go;

static bool is_ours(const char *node)
{
	size_t len = node ? strlen(node) : 0;

	return len > 5 && strcmp(node + len - 5, ".test") == 0;
}

__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *port, const struct addrinfo *hints,
						       struct addrinfo **list_out)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (!is_ours(node)) {
		return real(node, port, hints, list_out);
	}
	if (strcmp(node, "slow.test") == 0) {
		uv_sem_wait(&resolver_may_go);
	}
	int result = real("127.0.0.2", port, hints, list_out);
	return result ? result : real("127.0.0.1", port, hints, &(*list_out)->ai_next);
}

static void set_host(struct loopback *lo, const char *host)
{
	memcpy(lo->endpoint.host, host, strlen(host) + 1);
}

/* The first address swallows every SYN: the second is tried while it is pending, and
 * wins. With nobody at the first address the second is tried at once. */
static void test_second_address(void **state)
{
	struct loopback lo;
	struct sockaddr_in address = {.sin_family = AF_INET};
	int callers[4];

	(void)state;
	for (int is_hole = 0; is_hole < 2; is_hole++) {
		int listener = socket(AF_INET, SOCK_STREAM, 0);
		loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
		set_host(&lo, "two.test");
		assert_int_equal(uv_ip4_addr("127.0.0.2", lo.endpoint.port, &address), 0);
		assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
		if (is_hole) {
			assert_int_equal(listen(listener, 0), 0);
		}
		for (size_t i = 0; i < 4; i++) {
			callers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
			(void)connect(callers[i], (struct sockaddr *)&address, sizeof address);
		}
		open_and_connect(&lo);
		loopback_write(&lo, SPAN_LIT("hello"));
		loopback_run_until(&lo, has_echo);
		assert_true(span_equal_text(gp_buffer_span(&lo.bytes), "hello"));
		loopback_end(&lo);
		for (size_t i = 0; i < 4; i++) {
			close(callers[i]);
		}
		close(listener);
	}
}

/* A worker that hangs in a name holds up neither the deadline nor close(), and finds
 * nothing but its own when it comes back; names that wait for a worker are cancelled. */
static void test_stuck_resolver(void **state)
{
	struct loopback lo;
	int n_names = 12; /* more than libuv has workers */

	(void)state;
	assert_int_equal(uv_sem_init(&resolver_may_go, 0), 0);
	loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
	set_host(&lo, "slow.test");
	for (int i = 0; i < n_names; i++) {
		loopback_open(&lo, LONG_MS); /* closes the one before */
		uv_run(&lo.loop, UV_RUN_NOWAIT);
	}
	loopback_open(&lo, SHORT_MS);
	loopback_run_to_closed(&lo, GP_CONNECT_TIMEOUT);
	assert_non_null(strstr(lo.error.text, "name"));
	loopback_close(&lo);
	for (int i = 0; i < n_names; i++) {
		uv_sem_post(&resolver_may_go);
	}
	loopback_end(&lo);
	uv_sem_destroy(&resolver_may_go);
}

static bool has_bulk(const struct loopback *lo)
{
	return lo->bytes.len >= BULK || lo->n_closed > 0;
}

static void test_bulk_echo(void **state)
{
	struct loopback lo;
	char *bulk = malloc(BULK);
	size_t piece = 1;

	(void)state;
	assert_non_null(bulk);
	fill(bulk, BULK);
	loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
	open_and_connect(&lo);
	for (size_t at = 0; at < BULK;) {
		size_t len = piece < BULK - at ? piece : BULK - at;
		loopback_write(&lo, span_make(bulk + at, len));
		at += len;
		piece = piece * 3 % 70001 + 1;
	}
	loopback_run_until(&lo, has_bulk);
	assert_true(span_equal(gp_buffer_span(&lo.bytes), span_make(bulk, BULK)));
	loopback_end(&lo);
	free(bulk);
}

static void send_bulk(struct peer *peer)
{
	char *bulk = malloc(BULK);

	assert_non_null(bulk);
	fill(bulk, BULK);
	peer_send(peer, span_make(bulk, BULK));
	free(bulk);
}

static void test_pause(void **state)
{
	struct loopback lo;

	(void)state;
	loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
	lo.accepted = send_bulk;
	lo.pause_at = AT_RECEIVED;
	open_and_connect(&lo);
	for (unsigned round = 1; round <= 5; round++) {
		while (lo.n_received < round) {
			uv_run(&lo.loop, UV_RUN_ONCE);
		}
		loopback_settle(&lo);
		assert_int_equal(lo.n_received, round);
		assert_true(lo.peers->n_unsent > 0); /* the server feels it */
		loopback_pause(&lo, false);
		loopback_pause(&lo, false);
	}
	lo.pause_at = NEVER;
	loopback_pause(&lo, false);
	loopback_run_until(&lo, has_bulk);
	assert_int_equal(lo.bytes.len, BULK);
	loopback_end(&lo);
}

static void on_shut_down(uv_shutdown_t *request, int status)
{
	(void)status;
	free(request);
}

static void greet_and_close(struct peer *peer)
{
	uv_shutdown_t *request = calloc(1, sizeof *request);

	assert_non_null(request);
	peer_send(peer, SPAN_LIT("* BYE\r\n"));
	assert_int_equal(uv_shutdown(request, (uv_stream_t *)&peer->tcp, on_shut_down), 0);
}

static void test_end_is_lost(void **state)
{
	struct loopback lo;

	(void)state;
	loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
	lo.accepted = greet_and_close;
	loopback_open(&lo, LONG_MS);
	loopback_run_to_closed(&lo, GP_LOST);
	assert_true(span_equal_text(gp_buffer_span(&lo.bytes), "* BYE\r\n"));
	loopback_write(&lo, SPAN_LIT("into the void"));
	loopback_pause(&lo, true);
	loopback_pause(&lo, false);
	loopback_start_tls(&lo);
	loopback_settle(&lo);
	assert_int_equal(lo.n_closed, 1);
	loopback_end(&lo);
}

static void test_end_waits_for_the_reader(void **state)
{
	struct loopback lo;

	(void)state;
	loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
	lo.accepted = greet_and_close;
	lo.pause_at = AT_CONNECTED;
	open_and_connect(&lo);
	loopback_settle(&lo);
	assert_int_equal(lo.n_received, 0);
	assert_int_equal(lo.n_closed, 0);
	loopback_pause(&lo, false);
	loopback_run_to_closed(&lo, GP_LOST);
	assert_int_equal(lo.bytes.len, 7);
	loopback_end(&lo);
}

static void test_reset_is_lost(void **state)
{
	struct loopback lo;

	(void)state;
	loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
	open_and_connect(&lo);
	loopback_run_until(&lo, loopback_is_served);
	peer_reset(lo.peers);
	loopback_run_to_closed(&lo, GP_LOST);
	loopback_end(&lo);
}

/* The writes fail while the reader is held; what the server said is still told. */
static void test_last_words(void **state)
{
	struct loopback lo;
	static char much[GP_MIB];

	(void)state;
	loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
	lo.accepted = greet_and_close;
	lo.pause_at = AT_CONNECTED;
	open_and_connect(&lo);
	loopback_run_until(&lo, loopback_is_served);
	loopback_settle(&lo);
	peer_close(lo.peers);
	loopback_run_until(&lo, loopback_has_lost_peers);
	for (int i = 0; i < 3; i++) {
		loopback_write(&lo, span_make(much, sizeof much));
		loopback_settle(&lo);
	}
	assert_int_equal(lo.n_closed, 0);
	loopback_pause(&lo, false);
	loopback_run_to_closed(&lo, GP_LOST);
	assert_true(span_equal_text(gp_buffer_span(&lo.bytes), "* BYE\r\n"));
	loopback_end(&lo);
}

static void ignore_peer(struct peer *peer)
{
	uv_read_stop((uv_stream_t *)&peer->tcp);
}

static void test_unsent_is_bounded(void **state)
{
	struct loopback lo;
	static char mib[GP_MIB];

	(void)state;
	loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
	lo.accepted = ignore_peer;
	open_and_connect(&lo);
	loopback_run_until(&lo, loopback_is_served);
	for (int i = 0; i < 200; i++) {
		loopback_write(&lo, span_make(mib, sizeof mib));
	}
	loopback_run_to_closed(&lo, GP_LIMIT);
	loopback_end(&lo);
}

static void test_out_of_turn(void **state)
{
	struct loopback lo;

	(void)state;
	loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
	loopback_open(&lo, LONG_MS);
	loopback_write(&lo, SPAN_LIT("too early"));
	loopback_run_to_closed(&lo, GP_INVALID);
	loopback_open(&lo, LONG_MS);
	loopback_start_tls(&lo);
	loopback_run_to_closed(&lo, GP_INVALID);
	loopback_end(&lo);
}

static void test_tls_without_configuration(void **state)
{
	struct loopback lo;

	(void)state;
	loopback_begin(&lo, IMAP_SECURITY_TLS, NULL);
	loopback_open(&lo, LONG_MS);
	loopback_run_to_closed(&lo, GP_TLS);
	loopback_end(&lo);
}

static void test_close_in_events(void **state)
{
	static const enum client_moment moments[] = {AT_CONNECTED, AT_RECEIVED, AT_CLOSED};
	struct loopback lo;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
		lo.accepted = greet_and_close;
		lo.close_at = moments[i];
		loopback_open(&lo, LONG_MS);
		while (lo.transport) {
			uv_run(&lo.loop, UV_RUN_ONCE);
		}
		loopback_settle(&lo);
		assert_int_equal(lo.n_closed, moments[i] == AT_CLOSED);
		loopback_end(&lo);
	}
}

static void test_close_early(void **state)
{
	static const char *const hosts[] = {"127.0.0.1", "localhost", "nothing.invalid", ""};
	struct loopback lo;

	(void)state;
	for (size_t i = 0; i < 8; i++) {
		loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
		memcpy(lo.endpoint.host, hosts[i / 2], strlen(hosts[i / 2]) + 1);
		loopback_open(&lo, LONG_MS);
		if (i % 2) {
			uv_run(&lo.loop, UV_RUN_NOWAIT);
		}
		loopback_close(&lo);
		unsigned n_events = lo.n_connected + lo.n_closed;
		loopback_settle(&lo);
		assert_int_equal(lo.n_connected + lo.n_closed, n_events);
		loopback_end(&lo);
	}
}

static void test_close_sends_what_is_written(void **state)
{
	struct loopback lo;

	(void)state;
	loopback_begin(&lo, IMAP_SECURITY_NONE, NULL);
	open_and_connect(&lo);
	loopback_run_until(&lo, loopback_is_served);
	loopback_write(&lo, SPAN_LIT("a LOGOUT\r\n"));
	loopback_close(&lo);
	while (lo.peers && lo.peers->n_received < 10) {
		assert_true(uv_run(&lo.loop, UV_RUN_ONCE) != 0);
	}
	assert_non_null(lo.peers);
	loopback_end(&lo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_unresolvable),
		cmocka_unit_test(test_black_hole),
		cmocka_unit_test(test_second_address),
		cmocka_unit_test(test_bulk_echo),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_end_is_lost),
		cmocka_unit_test(test_end_waits_for_the_reader),
		cmocka_unit_test(test_reset_is_lost),
		cmocka_unit_test(test_last_words),
		cmocka_unit_test(test_unsent_is_bounded),
		cmocka_unit_test(test_out_of_turn),
		cmocka_unit_test(test_tls_without_configuration),
		cmocka_unit_test(test_close_in_events),
		cmocka_unit_test(test_close_early),
		cmocka_unit_test(test_stuck_resolver),
		cmocka_unit_test(test_close_sends_what_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
