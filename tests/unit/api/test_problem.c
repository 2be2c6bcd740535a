#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/problem.h"
#include "api/reply.h"
#include "support/fake_exchange.h"

static struct gp_error make_error(enum gp_status status, const char *code, const char *text)
{
	struct gp_error error = {0};

	gp_error_set(&error, status, "%s", text);
	snprintf(error.code, sizeof error.code, "%s", code);
	return error;
}

static void statuses(void **state)
{
	static const struct {
		enum gp_status status;
		const char *code;
		unsigned http;
	} cases[] = {
		{GP_INVALID, "", 400},
		{GP_AUTH, "", 401},
		{GP_AUTH, "AUTHENTICATIONFAILED", 401},
		{GP_AUTH, "EXPIRED", 401},
		{GP_AUTH, "NONEXISTENT", 401},
		{GP_AUTH, "ALERT", 401},
		{GP_AUTH, "AUTHORIZATIONFAILED", 403},
		{GP_AUTH, "CONTACTADMIN", 403},
		{GP_AUTH, "LIMIT", 429},
		{GP_AUTH, "UNAVAILABLE", 503},
		{GP_AUTH, "PRIVACYREQUIRED", 502},
		{GP_NO, "", 422},
		{GP_NO, "XODD", 422},
		{GP_NO, "AUTHENTICATIONFAILED", 401},
		{GP_NO, "EXPIRED", 401},
		{GP_NO, "NOPERM", 403},
		{GP_NO, "noperm", 403},
		{GP_NO, "AUTHORIZATIONFAILED", 403},
		{GP_NO, "CONTACTADMIN", 403},
		{GP_NO, "NONEXISTENT", 404},
		{GP_NO, "TRYCREATE", 404},
		{GP_NO, "EXPUNGEISSUED", 404},
		{GP_NO, "ALREADYEXISTS", 409},
		{GP_NO, "INUSE", 409},
		{GP_NO, "HASCHILDREN", 409},
		{GP_NO, "MODIFIED", 412},
		{GP_NO, "OVERQUOTA", 507},
		{GP_NO, "LIMIT", 429},
		{GP_NO, "THROTTLED", 429},
		{GP_NO, "CANNOT", 422},
		{GP_NO, "BADCHARSET", 422},
		{GP_NO, "UNAVAILABLE", 503},
		{GP_NO, "SERVERBUG", 502},
		{GP_NO, "CORRUPTION", 502},
		{GP_NO, "CLIENTBUG", 500},
		{GP_BAD, "", 500},
		{GP_BAD, "OVERQUOTA", 500},
		{GP_UNSUPPORTED, "", 422},
		{GP_LIMIT, "", 422},
		{GP_NOT_FOUND, "", 404},
		{GP_UIDVALIDITY, "", 410},
		{GP_DEADLINE, "", 504},
		{GP_CONNECT_TIMEOUT, "", 504},
		{GP_RESOLVE, "", 503},
		{GP_REFUSED, "", 503},
		{GP_TLS, "", 502},
		{GP_GREETING, "", 502},
		{GP_PROTOCOL, "", 502},
		{GP_LOST, "", 502},
		{GP_TOO_MANY, "", 503},
		{GP_POOL_FULL, "", 503},
		{GP_AUTH_UNAVAILABLE, "", 503},
		{GP_DRAINING, "", 503},
		{GP_NO_MEMORY, "", 503},
		{GP_STALE, "", 503},
		{GP_THROTTLED, "", 429},
		{GP_QUEUE_FULL, "", 429},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct gp_error error = make_error(cases[i].status, cases[i].code, "text");
		print_message("%s [%s]\n", gp_status_name(cases[i].status), cases[i].code);
		assert_int_equal(api_problem_status(api_problem_of(&error)), cases[i].http);
	}
}

static struct api_app app = {.now_us = fake_now_us};

static void begin(struct fake_exchange *fake, const char *target)
{
	fake_exchange_init(fake, "GET", target);
	fake->exchange.app = &app;
}

static void whole_reply(void **state)
{
	struct fake_exchange fake;
	(void)state;

	begin(&fake, "/messages/7");
	fake.exchange.queue_us = 1500;
	fake.exchange.imap_us = 20001;
	fake_set_now_us(fake.exchange.started_us + 30042);
	api_header_add(&fake.exchange, "ETag", "\"x\"");
	api_header_add(&fake.exchange, "Cache-Control", "private, immutable");
	struct gp_error error = make_error(GP_NO, "OVERQUOTA", "Quota \xF0\x9F\x92\xA5 exceeded");
	api_reply_error(&fake.exchange, &error);

	assert_int_equal(fake.status, 507);
	assert_string_equal(fake_exchange_reply_header(&fake, "Content-Type"), "application/problem+json");
	assert_string_equal(fake_exchange_reply_header(&fake, "X-Request-Id"), "test-1");
	assert_string_equal(fake_exchange_reply_header(&fake, "Server-Timing"),
			    "queue;dur=1.500, imap;dur=20.001, total;dur=30.042");
	assert_string_equal(fake_exchange_reply_header(&fake, "X-Content-Type-Options"), "nosniff");
	assert_string_equal(fake_exchange_reply_header(&fake, "Cache-Control"), "no-store");
	assert_null(fake_exchange_reply_header(&fake, "ETag"));
	assert_int_equal(fake.body.data[fake.body.len - 1], '\n');

	json_t *object = fake_exchange_json(&fake);
	assert_non_null(object);
	assert_string_equal(json_string_value(json_object_get(object, "type")), "/problems/over-quota");
	assert_int_equal(json_integer_value(json_object_get(object, "status")), 507);
	assert_string_equal(json_string_value(json_object_get(object, "instance")), "/messages/7");
	assert_string_equal(json_string_value(json_object_get(object, "requestId")), "test-1");
	assert_true(json_is_false(json_object_get(object, "retryable")));
	assert_null(json_object_get(object, "outcome"));
	json_t *imap = json_object_get(object, "imap");
	assert_string_equal(json_string_value(json_object_get(imap, "status")), "NO");
	assert_string_equal(json_string_value(json_object_get(imap, "code")), "OVERQUOTA");
	assert_string_equal(json_string_value(json_object_get(imap, "text")), "Quota \xF0\x9F\x92\xA5 exceeded");
	json_decref(object);
	fake_exchange_deinit(&fake);
}

static void headers_by_status(void **state)
{
	static const struct {
		enum api_problem problem;
		const char *retry_after, *challenge;
	} cases[] = {
		{API_PROBLEM_UNAUTHORIZED, NULL, "Basic realm=\"gatepost\", charset=\"UTF-8\""},
		{API_PROBLEM_TOO_MANY_REQUESTS, "10", NULL},
		{API_PROBLEM_UNAVAILABLE, "5", NULL},
		{API_PROBLEM_UPSTREAM_FAILED, NULL, NULL},
		{API_PROBLEM_FORBIDDEN, NULL, NULL},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct fake_exchange fake;
		begin(&fake, "/x");
		api_reply_problem(&fake.exchange, cases[i].problem, NULL, "because of %d", 3);
		const char *retry_after = fake_exchange_reply_header(&fake, "Retry-After");
		const char *challenge = fake_exchange_reply_header(&fake, "WWW-Authenticate");
		assert_string_equal(retry_after ? retry_after : "-", cases[i].retry_after ? cases[i].retry_after : "-");
		assert_string_equal(challenge ? challenge : "-", cases[i].challenge ? cases[i].challenge : "-");
		assert_string_equal(fake_exchange_member(&fake, "detail"), "because of 3");
		fake_exchange_deinit(&fake);
	}
}

/* A refused login reads the same whatever the server said. */
static void login_is_quiet(void **state)
{
	char bodies[2][1024];
	static const char *const texts[] = {"no such user", "wrong password"};
	(void)state;

	for (size_t i = 0; i < 2; i++) {
		struct fake_exchange fake;
		begin(&fake, "/x");
		struct gp_error error = make_error(GP_AUTH, "AUTHENTICATIONFAILED", texts[i]);
		api_reply_error(&fake.exchange, &error);
		snprintf(bodies[i], sizeof bodies[i], "%s", fake.body.data);
		fake_exchange_deinit(&fake);
	}
	assert_string_equal(bodies[0], bodies[1]);
	assert_null(strstr(bodies[0], "no such user"));
}

static void hostile_bytes(void **state)
{
	struct fake_exchange fake;
	(void)state;

	fake_exchange_init_bytes(&fake, SPAN_LIT("GET"), SPAN_LIT("/\xFF\x00\r\n\"\\"));
	fake.exchange.is_outcome_unknown = true;
	api_reply_problem(&fake.exchange, API_PROBLEM_BAD_REQUEST, NULL, "%s", "\xC3 and \"\r\n");
	assert_int_equal(fake.status, 400);
	json_t *object = fake_exchange_json(&fake);
	assert_non_null(object);
	assert_string_equal(json_string_value(json_object_get(object, "detail")), "\xEF\xBF\xBD and \"\r\n");
	assert_string_equal(json_string_value(json_object_get(object, "outcome")), "unknown");
	json_decref(object);
	fake_exchange_deinit(&fake);

	begin(&fake, "/x");
	api_header_add(&fake.exchange, "X-Bad", "a\r\nSet-Cookie: b");
	api_header_addf(&fake.exchange, "X-Worse", "%s\n", "a");
	api_header_addf(&fake.exchange, "X-Worst", "a%cb", '\0');
	api_header_add(&fake.exchange, "X-None", NULL);
	assert_int_equal(fake.exchange.n_headers, 0);
	for (size_t i = 0; i < 2 * API_MAX_REPLY_HEADERS; i++) {
		api_header_add(&fake.exchange, "X-Many", "1");
	}
	assert_int_equal(fake.exchange.n_headers, API_MAX_REPLY_HEADERS);
	fake_exchange_deinit(&fake);
}

static void number_string(void **state)
{
	(void)state;

	json_t *number = api_json_number_string(UINT64_MAX);
	assert_string_equal(json_string_value(number), "18446744073709551615");
	json_decref(number);
}

static void a_hole_is_503(void **state)
{
	struct fake_exchange fake;
	(void)state;

	begin(&fake, "/x");
	json_t *object = json_object();
	api_json_set(object, "a", NULL);
	api_reply_json(&fake.exchange, 200, object);
	assert_int_equal(fake.status, 503);
	fake_exchange_deinit(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statuses),       cmocka_unit_test(whole_reply),   cmocka_unit_test(headers_by_status),
		cmocka_unit_test(login_is_quiet), cmocka_unit_test(hostile_bytes), cmocka_unit_test(number_string),
		cmocka_unit_test(a_hole_is_503),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
