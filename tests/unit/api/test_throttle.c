/* Failed logins on a virtual clock. */
#include "api/throttle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/limits.h"
#include "imap/credential.h"
#include "support/fake_exchange.h"

#define V4 "\xC0\x00\x02\x01"
#define V6_A "\x20\x01\x0D\xB8\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01"
#define V6_A2 "\x20\x01\x0D\xB8\x00\x00\x00\x01\xFF\x00\x00\x00\x00\x00\x00\x02"
#define V6_B "\x20\x01\x0D\xB8\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01"

static struct gp_timers timers;
static struct api_app app;

static bool fixed(void *to, size_t len)
{
	memset(to, 7, len);
	return true;
}

static bool none(void *to, size_t len)
{
	(void)to;
	(void)len;
	return false;
}

static int set_up(void **state)
{
	(void)state;
	gp_timers_init(&timers);
	gp_timers_set_now(&timers, 1000);
	app = (struct api_app){.timers = &timers, .throttle = api_throttle_new(&timers, fixed)};
	return app.throttle ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	api_throttle_free(&app.throttle);
	gp_timers_deinit(&timers);
	return 0;
}

static void advance(uint64_t ms)
{
	gp_timers_set_now(&timers, timers.now_ms + ms);
}

static bool enter(struct fake_exchange *exchange, const char *user, const char *password, const char *address)
{
	struct imap_credential *credential;

	assert_int_equal(imap_credential_new(span_of(user), span_of(password), &credential), GP_OK);
	fake_exchange_init(exchange, "GET", "/messages/7");
	exchange->exchange.app = &app;
	if (address) {
		fake_exchange_set_client(exchange, span_make(address, address[0] == V4[0] ? 4 : 16));
	}
	bool is_in = api_throttle_enter(&exchange->exchange, credential);
	imap_credential_unref(&credential);
	assert_true(is_in == !exchange->is_replied);
	return is_in;
}

/* The status of a request whose login the server answers with `status`. */
static unsigned attempt(const char *user, const char *password, const char *address, unsigned status)
{
	struct fake_exchange exchange;
	unsigned told = status;

	if (!enter(&exchange, user, password, address)) {
		told = exchange.status;
	} else if (status == 200) {
		api_throttle_prove(&exchange.exchange);
		api_throttle_settle(&exchange.exchange, 200);
	} else {
		api_throttle_settle(&exchange.exchange, status);
	}
	fake_exchange_deinit(&exchange);
	return told;
}

static unsigned guess(const char *user, unsigned number, const char *address)
{
	char password[16];

	snprintf(password, sizeof password, "p%u", number);
	return attempt(user, password, address, 401);
}

static void exhaust(const char *user, const char *address)
{
	for (unsigned i = 0; i < API_THROTTLE_ACCOUNT_BURST; i++) {
		assert_int_equal(guess(user, i, address), 401);
	}
}

static void test_account(void **state)
{
	struct fake_exchange exchange;

	(void)state;
	exhaust("ann", V4);
	assert_false(enter(&exchange, "ann", "x", V6_A));
	assert_int_equal(exchange.status, 429);
	assert_string_equal(fake_exchange_reply_header(&exchange, "Retry-After"), "60");
	fake_exchange_deinit(&exchange);
	/* any case of the name, and with or without an address */
	assert_int_equal(guess("ANN", 99, NULL), 429);
	assert_int_equal(guess("bob", 0, V4), 401);
	/* one more in each interval */
	advance(API_THROTTLE_ACCOUNT_MS - 1);
	assert_int_equal(guess("ann", 99, V4), 429);
	advance(1);
	assert_int_equal(guess("ann", 99, V4), 401);
	assert_int_equal(guess("ann", 99, V4), 429);
	/* and all of them again when nothing happened for long */
	advance(API_THROTTLE_ACCOUNT_BURST * API_THROTTLE_ACCOUNT_MS);
	exhaust("ann", V4);
	assert_int_equal(guess("ann", 99, V4), 429);
}

static void test_address(void **state)
{
	char user[16];

	(void)state;
	for (unsigned i = 0; i < API_THROTTLE_ADDRESS_BURST; i++) {
		snprintf(user, sizeof user, "u%u", i);
		assert_int_equal(guess(user, 0, V6_A), 401);
	}
	/* the rest of the /64 is the same, the next one is not; other accounts are free */
	assert_int_equal(guess("v", 0, V6_A2), 429);
	assert_int_equal(guess("v", 0, V6_B), 401);
	assert_int_equal(guess("v", 0, NULL), 401);
	advance(API_THROTTLE_ADDRESS_MS);
	assert_int_equal(guess("v", 0, V6_A), 401);
	assert_int_equal(guess("v", 0, V6_A), 429);
}

/* Behind a Unix socket there are no addresses, and only accounts are counted. */
static void test_no_address(void **state)
{
	char user[16];

	(void)state;
	for (unsigned i = 0; i < 2 * API_THROTTLE_ADDRESS_BURST; i++) {
		snprintf(user, sizeof user, "u%u", i);
		assert_int_equal(guess(user, 0, NULL), 401);
	}
}

static void test_what_does_not_count(void **state)
{
	static const unsigned statuses[] = {200, 400, 404, 429, 500, 502, 503, 504};

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		char password[16];
		snprintf(password, sizeof password, "p%u", i);
		unsigned status = statuses[i % (sizeof statuses / sizeof statuses[0])];
		assert_int_equal(attempt("ann", password, V4, status), status);
	}
	exhaust("ann", V4);
}

static void test_many_at_once_are_paid_in_advance(void **state)
{
	struct fake_exchange exchanges[API_THROTTLE_ACCOUNT_BURST + 1];
	char password[16];

	(void)state;
	for (unsigned i = 0; i < API_THROTTLE_ACCOUNT_BURST; i++) {
		snprintf(password, sizeof password, "p%u", i);
		assert_true(enter(&exchanges[i], "ann", password, V4));
	}
	assert_false(enter(&exchanges[API_THROTTLE_ACCOUNT_BURST], "ann", "x", V4));
	/* the client that does not wait pays, too */
	for (unsigned i = 0; i < API_THROTTLE_ACCOUNT_BURST; i++) {
		api_throttle_leave(&exchanges[i].exchange);
		api_throttle_leave(&exchanges[i].exchange);
	}
	assert_int_equal(guess("ann", 99, V4), 429);
	for (unsigned i = 0; i <= API_THROTTLE_ACCOUNT_BURST; i++) {
		fake_exchange_deinit(&exchanges[i]);
	}
}

/* The pool tries a credential once for all that wait. */
static void test_one_credential_is_one_attempt(void **state)
{
	struct fake_exchange exchanges[3 * API_THROTTLE_ACCOUNT_BURST];
	const unsigned n = sizeof exchanges / sizeof exchanges[0];

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		assert_true(enter(&exchanges[i], "ann", "x", V4));
	}
	for (unsigned i = 0; i < n; i++) {
		if (i % 2) {
			api_throttle_leave(&exchanges[i].exchange);
		} else {
			api_throttle_settle(&exchanges[i].exchange, i == 0 ? 401 : 503);
		}
		fake_exchange_deinit(&exchanges[i]);
	}
	for (unsigned i = 1; i < API_THROTTLE_ACCOUNT_BURST; i++) {
		assert_int_equal(guess("ann", i, V4), 401);
	}
	assert_int_equal(guess("ann", 99, V4), 429);
}

static void test_a_proof_pays_back_for_all(void **state)
{
	struct fake_exchange first, second;

	(void)state;
	assert_true(enter(&first, "ann", "right", V4));
	assert_true(enter(&second, "ann", "right", V4));
	api_throttle_prove(&first.exchange);
	api_throttle_leave(&second.exchange);
	fake_exchange_deinit(&first);
	fake_exchange_deinit(&second);
	exhaust("ann", V4);
}

static void test_known_stay_in(void **state)
{
	(void)state;
	assert_int_equal(attempt("ann", "right", V6_A, 200), 200);
	exhaust("ann", V4);
	assert_int_equal(attempt("ann", "right", V4, 200), 429);
	assert_int_equal(attempt("ann", "right", V6_B, 200), 429);
	assert_int_equal(attempt("ann", "right", V6_A2, 200), 200);
	assert_int_equal(attempt("ann", "right", V6_A, 503), 503);
	/* until it is refused once */
	assert_int_equal(attempt("ann", "right", V6_A, 401), 401);
	assert_int_equal(attempt("ann", "right", V6_A, 200), 429);
}

static void test_known_for_a_day(void **state)
{
	(void)state;
	assert_int_equal(attempt("ann", "right", V4, 200), 200);
	advance(API_THROTTLE_KNOWN_MS - API_THROTTLE_ACCOUNT_MS);
	exhaust("ann", V6_A);
	assert_int_equal(attempt("ann", "right", V4, 503), 503);
	advance(API_THROTTLE_ACCOUNT_MS);
	assert_int_equal(guess("ann", 98, V6_A), 401);
	assert_int_equal(attempt("ann", "right", V4, 200), 429);
}

/* A guesser at the same address must not learn from what is let in. */
static void test_too_many_refused_shut_out_the_known(void **state)
{
	(void)state;
	assert_int_equal(attempt("ann", "right", V4, 200), 200);
	exhaust("ann", V4);
	for (unsigned i = 0; i < API_THROTTLE_REFUSED_BURST; i++) {
		assert_int_equal(attempt("ann", "right", V4, 200), 200);
		assert_int_equal(guess("ann", 100 + i, V4), 429);
	}
	assert_int_equal(attempt("ann", "right", V4, 200), 429);
	advance(2 * API_THROTTLE_REFUSED_MS);
	assert_int_equal(attempt("ann", "right", V4, 200), 200);
}

static void test_bounded(void **state)
{
	char user[16];

	(void)state;
	exhaust("ann", NULL);
	for (unsigned i = 0; i < GP_MAX_THROTTLED - 1; i++) {
		snprintf(user, sizeof user, "u%u", i);
		assert_int_equal(guess(user, 0, NULL), 401);
	}
	assert_int_equal(guess("ann", 99, NULL), 429);
	/* that one told it again: the oldest are now others, and then it is forgotten */
	for (unsigned i = 0; i < 2; i++) {
		snprintf(user, sizeof user, "w%u", i);
		assert_int_equal(guess(user, 0, NULL), 401);
	}
	assert_int_equal(guess("ann", 99, NULL), 401);
}

/* What was paid is forgotten meanwhile. */
static void test_paid_back_after_it_was_forgotten(void **state)
{
	struct fake_exchange exchange;
	char user[16];

	(void)state;
	assert_true(enter(&exchange, "ann", "x", NULL));
	for (unsigned i = 0; i < GP_MAX_THROTTLED; i++) {
		snprintf(user, sizeof user, "u%u", i);
		assert_int_equal(guess(user, 0, NULL), 401);
	}
	api_throttle_settle(&exchange.exchange, 503);
	fake_exchange_deinit(&exchange);
	exhaust("ann", NULL);
}

static void test_without(void **state)
{
	struct fake_exchange exchange;
	struct api_throttle *throttle = app.throttle;

	(void)state;
	assert_null(api_throttle_new(&timers, none));
	app.throttle = NULL;
	for (unsigned i = 0; i < 3 * API_THROTTLE_ACCOUNT_BURST; i++) {
		assert_int_equal(guess("ann", i, V4), 401);
	}
	assert_true(enter(&exchange, "ann", "x", V4));
	api_throttle_prove(&exchange.exchange);
	api_throttle_leave(&exchange.exchange);
	fake_exchange_deinit(&exchange);
	app.throttle = throttle;
	struct api_throttle *nothing = NULL;
	api_throttle_free(&nothing);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_account),
		TEST(test_address),
		TEST(test_no_address),
		TEST(test_what_does_not_count),
		TEST(test_many_at_once_are_paid_in_advance),
		TEST(test_one_credential_is_one_attempt),
		TEST(test_a_proof_pays_back_for_all),
		TEST(test_known_stay_in),
		TEST(test_known_for_a_day),
		TEST(test_too_many_refused_shut_out_the_known),
		TEST(test_bounded),
		TEST(test_paid_back_after_it_was_forgotten),
		TEST(test_without),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
