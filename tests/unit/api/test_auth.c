#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/auth.h"
#include "support/fake_exchange.h"
#include "tests/unit/strict_end.h"

static void basic(void **state)
{
	static const struct {
		const char *authorization;
		const char *username, *password; /* NULL: refused */
	} cases[] = {
		{"Basic ZGVtbzpkZW1v", "demo", "demo"},
		{"basic ZGVtbzpkZW1v", "demo", "demo"},
		{"BASIC    ZGVtbzpkZW1v  ", "demo", "demo"},
		{"Basic YTpi", "a", "b"},
		{"Basic YTpiOmM=", "a", "b:c"},
		{"Basic YTpiYw==", "a", "bc"},
		{"Basic w6k6w6k=", "é", "é"},
		{"Basic YSBiOiA=", "a b", " "},
		{"", NULL, NULL},
		{"Basic", NULL, NULL},
		{"Basic ", NULL, NULL},
		{"BasicZGVtbzpkZW1v", NULL, NULL},
		{"Bearer ZGVtbzpkZW1v", NULL, NULL},
		{"Basic\tZGVtbzpkZW1v", NULL, NULL},
		{"Basic ZGVtbzpkZW1v ZGVtbzpkZW1v", NULL, NULL},
		{"Basic ZGVtbzpkZW1", NULL, NULL}, /* no padding */
		{"Basic YTpiYw=", NULL, NULL},     /* half of it */
		{"Basic YTpiYx==", NULL, NULL},    /* stray bits */
		{"Basic YTpiOmN=", NULL, NULL},
		{"Basic ====", NULL, NULL},
		{"Basic =", NULL, NULL},
		{"Basic YT=i", NULL, NULL},
		{"Basic Z-V_bzpkZW1v", NULL, NULL}, /* base64url */
		{"Basic Z\nVtbzpkZW1v", NULL, NULL},
		{"Basic \xC3\xA9\xC3\xA9", NULL, NULL},
		{"Basic ZGVtbw==", NULL, NULL}, /* demo */
		{"Basic OmRlbW8=", NULL, NULL}, /* :demo */
		{"Basic ZGVtbzo=", NULL, NULL}, /* demo: */
		{"Basic Og==", NULL, NULL},     /* : */
		{"Basic YToAYg==", NULL, NULL}, /* a:\0b */
		{"Basic AGE6Yg==", NULL, NULL}, /* \0a:b */
		{"Basic YQ0KOmI=", NULL, NULL}, /* a\r\n:b */
		{"Basic YTpifw==", NULL, NULL}, /* a:b\x7F */
		{"Basic 6TphYg==", NULL, NULL}, /* Latin-1 */
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char buffer[API_AUTH_MAX];
		struct span username, password;
		struct gp_error error = {0};
		print_message("%s\n", cases[i].authorization);
		enum gp_status status =
			api_auth_parse_basic(span_of(cases[i].authorization), buffer, &username, &password, &error);
		assert_int_equal(status, cases[i].username ? GP_OK : GP_AUTH);
		assert_int_equal(error.status, status);
		if (cases[i].username) {
			assert_true(span_equal_text(username, cases[i].username));
			assert_true(span_equal_text(password, cases[i].password));
		}
	}
}

static void lengths(void **state)
{
	static const struct {
		size_t n_quads;
		bool fits;
	} cases[] = {{API_AUTH_MAX / 3, true}, {API_AUTH_MAX / 3 + 1, false}, {100000, false}};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char buffer[API_AUTH_MAX];
		struct span username, password;
		struct gp_error error = {0};
		char *text = malloc(6 + 4 * cases[i].n_quads);
		assert_non_null(text);
		memcpy(text, "Basic YTph", 10); /* a:a, then "aaa" for each further quad */
		for (size_t j = 1; j < cases[i].n_quads; j++) {
			memcpy(text + 6 + 4 * j, "YWFh", 4);
		}
		enum gp_status status = api_auth_parse_basic(span_make(text, 6 + 4 * cases[i].n_quads), buffer,
							     &username, &password, &error);
		assert_int_equal(status, cases[i].fits ? GP_OK : GP_AUTH);
		free(text);
	}
}

static void credential(void **state)
{
	struct imap_credential *made = NULL;
	struct gp_error error = {0};
	struct fake_exchange fake;
	(void)state;

	fake_exchange_init(&fake, "GET", "/");
	assert_int_equal(api_auth_credential(&fake.exchange, &made, &error), GP_AUTH);
	assert_null(made);
	assert_non_null(strstr(error.text, "Authorization"));
	fake_exchange_login(&fake);
	gp_error_clear(&error);
	assert_int_equal(api_auth_credential(&fake.exchange, &made, &error), GP_OK);
	assert_true(span_equal_text(imap_credential_username(made), "demo"));
	imap_credential_unref(&made);
	fake_exchange_deinit(&fake);
}

struct answer {
	struct api_exchange *exchange;
	struct imap_credential *credential;
};

static void give_answer(void *ctx)
{
	struct answer *answer = ctx;

	api_auth_check_owner(answer->exchange, answer->credential);
}

/* The last look before an answer goes out is at the request itself. */
static void whose_answer(void **state)
{
	static const char *const others[][2] = {{"demo", "Demo"}, {"dem", "o:demo"}, {"ann", "demo"}};
	struct imap_credential *own = NULL;
	struct fake_exchange fake, nobody;
	(void)state;

	fake_exchange_init(&fake, "GET", "/");
	fake_exchange_login(&fake);
	fake_exchange_init(&nobody, "GET", "/");
	assert_int_equal(imap_credential_new(SPAN_LIT("demo"), SPAN_LIT("demo"), &own), GP_OK);
	api_auth_check_owner(&fake.exchange, own);
	expect_abort(give_answer, &(struct answer){&nobody.exchange, own});
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		struct imap_credential *other = NULL;
		assert_int_equal(imap_credential_new(span_of(others[i][0]), span_of(others[i][1]), &other), GP_OK);
		expect_abort(give_answer, &(struct answer){&fake.exchange, other});
		imap_credential_unref(&other);
	}
	imap_credential_unref(&own);
	fake_exchange_deinit(&nobody);
	fake_exchange_deinit(&fake);
}

/* It decodes, but is longer than any server's. */
static void too_long(void **state)
{
	struct imap_credential *made = NULL;
	struct gp_error error = {0};
	struct fake_exchange fake;
	char text[10 + 4 * 400 + 1];
	(void)state;

	memcpy(text, "Basic YTph", 10); /* a:a, then "aaa" for each further quad */
	for (size_t i = 0; i < 400; i++) {
		memcpy(text + 10 + 4 * i, "YWFh", 4);
	}
	text[sizeof text - 1] = '\0';
	fake_exchange_init(&fake, "GET", "/");
	fake_exchange_add_header(&fake, "Authorization", text);
	assert_int_equal(api_auth_credential(&fake.exchange, &made, &error), GP_AUTH);
	assert_null(made);
	assert_string_equal(error.text, "the user name or password is too long");
	fake_exchange_deinit(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(basic),        cmocka_unit_test(lengths),  cmocka_unit_test(credential),
		cmocka_unit_test(whose_answer), cmocka_unit_test(too_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
