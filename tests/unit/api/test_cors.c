#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/cors.h"
#include "api/reply.h"
#include "support/fake_exchange.h"

static const char *const listed[] = {"https://app.example", "http://localhost:5173"};
static const char *const listed_and_any[] = {"https://app.example", "*"};

static void begin(struct fake_exchange *fake, const char *method, const char *origin, const char *host, bool is_tls)
{
	fake_exchange_init(fake, method, "/messages/7");
	fake->exchange.is_tls = is_tls;
	if (origin) {
		fake_exchange_add_header(fake, "Origin", origin);
	}
	if (host) {
		fake_exchange_add_header(fake, "Host", host);
	}
}

static void origins(void **state)
{
	static const struct {
		const char *origin, *host;
		bool is_tls;
		enum api_origin with_list, with_any;
	} cases[] = {
		{NULL, "gw.example", false, API_ORIGIN_ABSENT, API_ORIGIN_ABSENT},
		{"http://gw.example", "gw.example", false, API_ORIGIN_OWN, API_ORIGIN_OWN},
		{"http://gw.example", "gw.example:80", false, API_ORIGIN_OWN, API_ORIGIN_OWN},
		{"https://gw.example", "gw.example:443", true, API_ORIGIN_OWN, API_ORIGIN_OWN},
		{"http://127.0.0.1:8080", "127.0.0.1:8080", false, API_ORIGIN_OWN, API_ORIGIN_OWN},
		{"http://[::1]:8080", "[::1]:8080", false, API_ORIGIN_OWN, API_ORIGIN_OWN},
		{"HTTP://GW.example", "gw.EXAMPLE", false, API_ORIGIN_OWN, API_ORIGIN_OWN},
		{"https://gw.example", "gw.example", false, API_ORIGIN_FOREIGN, API_ORIGIN_ANY},
		{"http://gw.example", "gw.example", true, API_ORIGIN_FOREIGN, API_ORIGIN_ANY},
		{"http://gw.example:81", "gw.example", false, API_ORIGIN_FOREIGN, API_ORIGIN_ANY},
		{"http://gw.example:443", "gw.example", false, API_ORIGIN_FOREIGN, API_ORIGIN_ANY},
		{"http://gw.example.evil", "gw.example", false, API_ORIGIN_FOREIGN, API_ORIGIN_ANY},
		{"http://evil-gw.example", "gw.example", false, API_ORIGIN_FOREIGN, API_ORIGIN_ANY},
		{"http://", NULL, false, API_ORIGIN_FOREIGN, API_ORIGIN_ANY},
		{"http://", "", false, API_ORIGIN_FOREIGN, API_ORIGIN_ANY},
		{"https://app.example", "gw.example", false, API_ORIGIN_ALLOWED, API_ORIGIN_ALLOWED},
		{"https://app.example.evil", "gw.example", false, API_ORIGIN_FOREIGN, API_ORIGIN_ANY},
		{"https://xapp.example", "gw.example", false, API_ORIGIN_FOREIGN, API_ORIGIN_ANY},
		{"http://app.example", "gw.example", false, API_ORIGIN_FOREIGN, API_ORIGIN_ANY},
		{"http://localhost:5173", "gw.example", false, API_ORIGIN_ALLOWED, API_ORIGIN_ANY},
		{"null", "gw.example", false, API_ORIGIN_FOREIGN, API_ORIGIN_FOREIGN},
		{"null", "null", false, API_ORIGIN_FOREIGN, API_ORIGIN_FOREIGN},
		{"", "gw.example", false, API_ORIGIN_FOREIGN, API_ORIGIN_ANY},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct api_app with_list = {.cors_origins = listed, .n_cors_origins = 2, .now_us = fake_now_us};
		const struct api_app with_any = {
			.cors_origins = listed_and_any, .n_cors_origins = 2, .now_us = fake_now_us};
		struct fake_exchange fake;
		print_message("%s at %s\n", cases[i].origin ? cases[i].origin : "(none)",
			      cases[i].host ? cases[i].host : "(none)");
		begin(&fake, "PATCH", cases[i].origin, cases[i].host, cases[i].is_tls);
		assert_int_equal(api_cors_origin(&with_list, &fake.exchange), cases[i].with_list);
		assert_int_equal(api_cors_origin(&with_any, &fake.exchange), cases[i].with_any);
		fake_exchange_deinit(&fake);
	}
}

static void headers_on_every_reply(void **state)
{
	static const struct {
		const char *origin;
		const char *allowed; /* NULL: no Access-Control-* */
		bool has_credentials;
	} cases[] = {
		{NULL, NULL, false},
		{"http://gw.example", NULL, false},
		{"https://app.example", "https://app.example", true},
		{"https://other.example", "*", false},
		{"null", NULL, false},
	};
	struct api_app app = {.cors_origins = listed_and_any, .n_cors_origins = 2, .now_us = fake_now_us};
	(void)state;

	for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
		struct fake_exchange fake;
		begin(&fake, "GET", cases[i / 2].origin, "gw.example", false);
		fake.exchange.app = &app;
		if (i % 2 == 0) {
			api_reply_problem(&fake.exchange, API_PROBLEM_UNAUTHORIZED, NULL, "no");
		} else {
			api_reply_json(&fake.exchange, 200, json_object());
		}
		const char *allowed = fake_exchange_reply_header(&fake, "Access-Control-Allow-Origin");
		const char *credentials = fake_exchange_reply_header(&fake, "Access-Control-Allow-Credentials");
		const char *exposed = fake_exchange_reply_header(&fake, "Access-Control-Expose-Headers");
		assert_string_equal(allowed ? allowed : "-", cases[i / 2].allowed ? cases[i / 2].allowed : "-");
		assert_int_equal(credentials != NULL, cases[i / 2].has_credentials);
		assert_int_equal(exposed != NULL, cases[i / 2].allowed != NULL);
		if (exposed) {
			assert_non_null(strstr(exposed, "ETag"));
			assert_non_null(strstr(exposed, "Server-Timing"));
		}
		assert_non_null(strstr(fake_exchange_reply_header(&fake, "Vary"), "Origin"));
		fake_exchange_deinit(&fake);
	}
}

static void guard(void **state)
{
	static const struct {
		const char *method, *origin;
		const char *site; /* Sec-Fetch-Site */
		bool passes;
	} cases[] = {
		{"GET", "https://evil.example", NULL, true},
		{"HEAD", "https://evil.example", NULL, true},
		{"PATCH", NULL, NULL, true},
		{"PATCH", "http://gw.example", NULL, true},
		{"PATCH", "https://app.example", NULL, true},
		{"PATCH", "https://evil.example", NULL, false},
		{"PUT", "https://evil.example", NULL, false},
		{"DELETE", "null", NULL, false},
		{"POST", "https://evil.example", NULL, false},
		{"BREW", "https://evil.example", NULL, false},
		{"GET", NULL, "cross-site", true},
		{"POST", NULL, "same-origin", true},
		{"POST", NULL, "none", true},
		{"POST", NULL, "cross-site", false},
		{"DELETE", NULL, "same-site", false},
		{"PATCH", NULL, "what is not known yet", false},
		{"POST", "https://app.example", "cross-site", true},
		{"POST", "https://app.example", "same-site", true},
		{"POST", "https://evil.example", "same-site", false},
		{"POST", "http://gw.example", "same-origin", true},
	};
	struct api_app app = {.cors_origins = listed, .n_cors_origins = 2, .now_us = fake_now_us};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct fake_exchange fake;
		begin(&fake, cases[i].method, cases[i].origin, "gw.example", false);
		fake.exchange.app = &app;
		if (cases[i].site) {
			fake_exchange_add_header(&fake, "Sec-Fetch-Site", cases[i].site);
		}
		assert_int_equal(api_cors_guard(&app, &fake.exchange), cases[i].passes);
		assert_int_equal(fake.is_replied, !cases[i].passes);
		if (!cases[i].passes) {
			assert_int_equal(fake.status, 403);
			assert_non_null(strstr(fake.body.data, cases[i].origin ? cases[i].origin : "another site"));
		}
		fake_exchange_deinit(&fake);
	}
}

static void preflight(void **state)
{
	struct api_app app = {.cors_origins = listed, .n_cors_origins = 2, .now_us = fake_now_us};
	struct fake_exchange fake;
	(void)state;

	begin(&fake, "OPTIONS", "https://app.example", "gw.example", false);
	fake.exchange.app = &app;
	assert_false(api_cors_is_preflight(&fake.exchange));
	fake_exchange_add_header(&fake, "Access-Control-Request-Method", "PATCH");
	assert_true(api_cors_is_preflight(&fake.exchange));
	api_cors_preflight(&app, &fake.exchange, "GET, HEAD, PATCH, OPTIONS");
	assert_int_equal(fake.status, 204);
	assert_string_equal(fake_exchange_reply_header(&fake, "Access-Control-Allow-Methods"),
			    "GET, HEAD, PATCH, OPTIONS");
	assert_string_equal(fake_exchange_reply_header(&fake, "Access-Control-Allow-Origin"), "https://app.example");
	assert_non_null(strstr(fake_exchange_reply_header(&fake, "Access-Control-Allow-Headers"), "Authorization"));
	fake_exchange_deinit(&fake);

	begin(&fake, "OPTIONS", "https://evil.example", "gw.example", false);
	fake.exchange.app = &app;
	fake_exchange_add_header(&fake, "Access-Control-Request-Method", "PATCH");
	api_cors_preflight(&app, &fake.exchange, "GET");
	assert_int_equal(fake.status, 403);
	assert_null(fake_exchange_reply_header(&fake, "Access-Control-Allow-Origin"));
	fake_exchange_deinit(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(origins),
		cmocka_unit_test(headers_on_every_reply),
		cmocka_unit_test(guard),
		cmocka_unit_test(preflight),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
