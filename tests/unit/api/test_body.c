#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/body.h"
#include "base/limits.h"
#include "support/fake_exchange.h"

static struct api_app app = {.now_us = fake_now_us};

static void types(void **state)
{
	static const struct {
		const char *content_type, *origin, *sec_fetch_site, *encoding;
		unsigned status; /* 0: accepted */
	} cases[] = {
		{"application/json", NULL, NULL, NULL, 0},
		{"Application/JSON; Charset=\"UTF-8\"", NULL, NULL, NULL, 0},
		{"application/merge-patch+json", "https://a.example", "cross-site", NULL, 0},
		{"application/x-www-form-urlencoded", NULL, NULL, NULL, 0},
		{"application/x-www-form-urlencoded", "https://a.example", NULL, NULL, 415},
		{"application/x-www-form-urlencoded", NULL, "same-origin", NULL, 415},
		{"application/x-www-form-urlencoded", NULL, "", NULL, 415},
		{"text/plain", NULL, NULL, NULL, 415},
		{"multipart/form-data; boundary=x", NULL, NULL, NULL, 415},
		{"application/json; charset=iso-8859-1", NULL, NULL, NULL, 415},
		{"application/jsonx", NULL, NULL, NULL, 415},
		{"", NULL, NULL, NULL, 415},
		{NULL, NULL, NULL, NULL, 415},
		{"application/json", NULL, NULL, "gzip", 415},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct fake_exchange fake;
		fake_exchange_init(&fake, "PATCH", "/messages/7");
		fake.exchange.app = &app;
		const char *const headers[][2] = {{"Content-Type", cases[i].content_type},
						  {"Origin", cases[i].origin},
						  {"Sec-Fetch-Site", cases[i].sec_fetch_site},
						  {"Content-Encoding", cases[i].encoding}};
		for (size_t j = 0; j < 4; j++) {
			if (headers[j][1]) {
				fake_exchange_add_header(&fake, headers[j][0], headers[j][1]);
			}
		}
		fake_exchange_set_body(&fake, SPAN_LIT("{\"keywords\":{}}"));
		json_t *object = api_body_object(&fake.exchange);
		print_message("%s\n", cases[i].content_type ? cases[i].content_type : "(none)");
		assert_int_equal(object != NULL, cases[i].status == 0);
		assert_int_equal(fake.status, cases[i].status);
		if (cases[i].status == 415) {
			assert_non_null(fake_exchange_reply_header(&fake, "Accept-Patch"));
		}
		json_decref(object);
		fake_exchange_deinit(&fake);
	}
}

static void bodies(void **state)
{
#define DEEP16 "[[[[[[[[[[[[[[[["
#define SHALLOW16 "]]]]]]]]]]]]]]]]"
	static const struct {
		struct span body;
		const char *says; /* NULL: good */
	} cases[] = {
		{SPAN_LIT("{}"), NULL},
		{SPAN_LIT(" \r\n\t{\"a\": [1, 2.5, null, true, \"\\u00e9\"]} "), NULL},
		{SPAN_LIT("{\"a\":\"]]]\\\"[[[[{{{{\"}"), NULL},
		{SPAN_LIT("{\"a\":9223372036854775807}"), NULL},
		{SPAN_LIT("{\"a\":" DEEP16 "[[[[[[[[[[[[[[["
			  "]]]]]]]]]]]]]]]" SHALLOW16 "}"),
		 NULL}, /* 32 levels */
		{SPAN_LIT("{\"a\":" DEEP16 DEEP16 SHALLOW16 SHALLOW16 "}"), "deeper than 32"},
		{SPAN_LIT(DEEP16 DEEP16 DEEP16 DEEP16), "deeper than 32"},
		{SPAN_LIT("{\"a\":{\"a\":{\"a\":{\"a\":"), "not JSON"},
		{SPAN_LIT(""), "empty"},
		{SPAN_LIT(" "), "not JSON"},
		{SPAN_LIT("[]"), "must be an object"},
		{SPAN_LIT("\"{}\""), "must be an object"},
		{SPAN_LIT("null"), "must be an object"},
		{SPAN_LIT("{} {}"), "not JSON"},
		{SPAN_LIT("{\"a\":1,\"a\":2}"), "duplicate"},
		{SPAN_LIT("{\"a\":1,\"\\u0061\":2}"), "duplicate"},
		{SPAN_LIT("{\"a\":{\"b\":1,\"b\":1}}"), "duplicate"},
		{SPAN_LIT("{\"a\":9223372036854775808}"), "too big integer"},
		{SPAN_LIT("{\"a\":1e999}"), "overflow"},
		{SPAN_LIT("{\"a\":NaN}"), "not JSON"},
		{SPAN_LIT("{\"a\":01}"), "not JSON"},
		{SPAN_LIT("{'a':1}"), "not JSON"},
		{SPAN_LIT("{\"a\":1,}"), "not JSON"},
		{SPAN_LIT("{\"a\":\"\\u0000\"}"), "not JSON"},
		{SPAN_LIT("{\"\\u0000\":1}"), "not JSON"},
		{SPAN_LIT("{\"a\":\"\0\"}"), "not JSON"},
		{SPAN_LIT("{\"a\":\"\\ud800\"}"), "not JSON"},
		{SPAN_LIT("{\"a\":\"\xFF\"}"), "not UTF-8: byte 6"},
		{SPAN_LIT("{\"a\":\"\xED\xA0\x80\"}"), "not UTF-8"},
		{SPAN_LIT("\xEF\xBB\xBF{}"), "not JSON"},
		{SPAN_LIT("{\"a\":\""), "not JSON"},
		{SPAN_LIT("{\"a\":\"\\"), "not JSON"},
		{SPAN_LIT("keywords=%24seen"), "not JSON"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct gp_error error = {0};
		json_t *object = NULL;
		char *exact = malloc(cases[i].body.len + (cases[i].body.len == 0));
		assert_non_null(exact);
		memcpy(exact, cases[i].body.ptr, cases[i].body.len);
		enum gp_status status = api_body_parse(span_make(exact, cases[i].body.len), &object, &error);
		free(exact);
		print_message("%.*s: %s\n", SPAN_ARGS(cases[i].body), error.text);
		assert_int_equal(status, cases[i].says ? GP_INVALID : GP_OK);
		assert_int_equal(object != NULL, cases[i].says == NULL);
		if (cases[i].says) {
			assert_non_null(strstr(error.text, cases[i].says));
		}
		json_decref(object);
	}
}

static void too_large(void **state)
{
	struct fake_exchange fake;
	(void)state;

	fake_exchange_init(&fake, "PATCH", "/messages/7");
	fake.exchange.app = &app;
	fake_exchange_add_header(&fake, "Content-Type", "application/json");
	fake.exchange.is_body_too_large = true;
	assert_null(api_body_object(&fake.exchange));
	assert_int_equal(fake.status, 413);
	fake_exchange_deinit(&fake);
}

/* As many members as a body can hold: quickly read, and the unknown one is named. */
static void many_members(void **state)
{
	static const char *const names[] = {"keywords"};
	struct gp_buffer text;
	struct gp_error error = {0};
	json_t *object;
	(void)state;

	gp_buffer_init(&text, GP_MAX_JSON_BODY);
	assert_int_equal(gp_buffer_append(&text, SPAN_LIT("{\"keywords\":1")), GP_OK);
	for (unsigned i = 1; i < GP_MAX_JSON_VALUES; i++) {
		assert_int_equal(gp_buffer_printf(&text, ",\"k,%u\":0", i), GP_OK);
	}
	assert_int_equal(gp_buffer_append_char(&text, '}'), GP_OK);
	assert_int_equal(api_body_parse(gp_buffer_span(&text), &object, &error), GP_OK);
	assert_int_equal(api_body_check_members(object, NULL, names, 1, &error), GP_INVALID);
	assert_string_equal(error.text, "unknown member 'k,1'");
	json_decref(object);
	gp_buffer_truncate(&text, text.len - 1);
	assert_int_equal(gp_buffer_append(&text, SPAN_LIT(",\"a\":0}")), GP_OK);
	gp_error_clear(&error);
	assert_int_equal(api_body_parse(gp_buffer_span(&text), &object, &error), GP_INVALID);
	assert_string_equal(error.text, "the JSON body has more than 20000 values");
	gp_buffer_deinit(&text);

	gp_error_clear(&error);
	assert_int_equal(api_body_parse(SPAN_LIT("{\"a\\r\\nb\":1}"), &object, &error), GP_OK);
	assert_int_equal(api_body_check_members(object, "in 'keywords'", names, 1, &error), GP_INVALID);
	assert_string_equal(error.text, "in 'keywords': unknown member 'a??b'");
	json_decref(object);
	gp_error_clear(&error);
	assert_int_equal(api_body_parse(SPAN_LIT("{\"keywords\":1}"), &object, &error), GP_OK);
	assert_int_equal(api_body_check_members(object, NULL, names, 1, &error), GP_OK);
	json_decref(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types),
		cmocka_unit_test(bodies),
		cmocka_unit_test(too_large),
		cmocka_unit_test(many_members),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
