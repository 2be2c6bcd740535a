#include "unit/mail/support.h"

#include <stdlib.h>

#include "mail/address.h"
#include "mail/header.h"

static void emails(void **state)
{
	static const struct {
		struct span email;
		const char *ascii; /* NULL: refused */
	} cases[] = {
		{S("ann@x.example"), "ann@x.example"},
		{S("a.b+c=d!#$%&'*/?^_`{|}~-@x-1.example"), "a.b+c=d!#$%&'*/?^_`{|}~-@x-1.example"},
		{S("root@localhost"), "root@localhost"},
		{S("\"a b\\\"@c\"@x.example"), "\"a b\\\"@c\"@x.example"},
		{S("a@[192.0.2.1]"), "a@[192.0.2.1]"},
		{S("a@[IPv6:2001:db8::1]"), "a@[IPv6:2001:db8::1]"},
		{S("ann@b\xC3\xBC"
		   "cher.example"),
		 "ann@xn--bcher-kva.example"},
		{S("ann@\xE4\xBE\x8B\xE3\x81\x88\xE3\x80\x82test"), "ann@xn--r8jz45g.test"},
		{S(""), NULL},
		{S("ann"), NULL},
		{S("@x.example"), NULL},
		{S("ann@"), NULL},
		{S("ann@x..example"), NULL},
		{S("ann@.example"), NULL},
		{S("ann@x.example."), NULL},
		{S(".ann@x.example"), NULL},
		{S("ann.@x.example"), NULL},
		{S("a..b@x.example"), NULL},
		{S("a b@x.example"), NULL},
		{S("a@b@x.example"), NULL},
		{S("<ann@x.example>"), NULL},
		{S("ann@x.example "), NULL},
		{S("ann@x.example\r\nBcc: eve@y.example"), NULL},
		{S("ann\r\n@x.example"), NULL},
		{S("ann@x.example, bob@y.example"), NULL},
		{S("ann@x.example\0"), NULL},
		{S("\"a\r\n\"@x.example"), NULL},
		{S("\"a\\\"@x.example"), NULL},
		{S("a@[1]>"), NULL},
		{S("a@[\r\n]"), NULL},
		{S("j\xC3\xB6rg@x.example"), NULL},
		{S("ann@\xFF.example"), NULL},
		/* forms that normalise to what is no letter of a domain */
		{S("ann@x\xEF\xBC\x8Fy.example"), NULL},
		{S("ann@x\xEF\xBC\xA0y.example"), NULL},
		{S("1234567890123456789012345678901234567890123456789012345678901234@x"),
		 "1234567890123456789012345678901234567890123456789012345678901234@x"},
		{S("12345678901234567890123456789012345678901234567890123456789012345@x"), NULL},
		{S("a@1234567890123456789012345678901234567890123456789012345678901234"), NULL},
	};
	(void)state;

	for (size_t i = 0; i < N_OF(cases); i++) {
		struct gp_arena arena;
		struct gp_error error = {.status = GP_OK};
		struct span ascii = SPAN_NIL;
		gp_arena_init(&arena, GP_MIB);
		enum gp_status status = mail_address_check(cases[i].email, &arena, &ascii, &error);
		print_message("%.*s: %s\n", SPAN_ARGS(cases[i].email), error.text);
		assert_int_equal(status, cases[i].ascii ? GP_OK : GP_INVALID);
		if (cases[i].ascii) {
			expect_bytes("ascii", ascii, span_of(cases[i].ascii));
			assert_true(mail_address_is_ascii(ascii));
		} else {
			assert_false(mail_address_is_ascii(cases[i].email));
			assert_true(error.text[0] != '\0');
		}
		gp_arena_deinit(&arena);
	}
}

static void lists(void **state)
{
	static const struct {
		struct span text;
		const char *result; /* "name|email;…" */
		const char *fault;
	} cases[] = {
		{S(""), "", NULL},
		{S("  "), "", NULL},
		{S("ann@x.example"), "|ann@x.example;", NULL},
		{S("<ann@x.example>"), "|ann@x.example;", NULL},
		{S("Ann <ann@x.example>"), "Ann|ann@x.example;", NULL},
		{S(" Ann Example  <ann@x.example> , bob@y.example,"), "Ann Example|ann@x.example;|bob@y.example;",
		 NULL},
		{S("\"Doe, Jane\" <j@x.example>"), "Doe, Jane|j@x.example;", NULL},
		{S("\"a \\\"b\\\\ <c>\" <j@x.example>"), "a \"b\\ <c>|j@x.example;", NULL},
		{S("J\xC3\xB6rg M. <j@x.example>"), "J\xC3\xB6rg M.|j@x.example;", NULL},
		{S("=?utf-8?q?J=C3=B6rg?= <j@x.example>"), "J\xC3\xB6rg|j@x.example;", NULL},
		{S("\"=?utf-8?q?J=C3=B6rg?=\" <j@x.example>"), "=?utf-8?q?J=C3=B6rg?=|j@x.example;", NULL},
		{S("ann@x.example <ann@x.example>"), "ann@x.example|ann@x.example;", NULL},
		{S("Ann (Sales) <a@x.example>"), "Ann (Sales)|a@x.example;", NULL},
		{S("\"a b\"@x.example, \"c,d\" <\"e,f\"@x.example>"), "|\"a b\"@x.example;c,d|\"e,f\"@x.example;",
		 NULL},
		{S("a@b\xC3\xBC"
		   "cher.example"),
		 "|a@xn--bcher-kva.example;", NULL},
		{S("Ann"), NULL, "'Ann': there is no '@'"},
		{S("Doe, Jane <j@x.example>"), NULL, "'Doe': there is no '@'"},
		{S("a@x.example b@y.example"), NULL, "not allowed"},
		{S("a@x.example; b@y.example"), NULL, "separated by ','"},
		{S("team: a@x.example, b@y.example;"), NULL, "groups"},
		{S("Ann <a@x.example"), NULL, "'<' without"},
		{S("Ann a@x.example>"), NULL, "'>' without"},
		{S("Ann <<a@x.example>>"), NULL, "'<' without"},
		{S("<a@x.example>junk"), NULL, "no ','"},
		{S("<a@x.example> <b@y.example>"), NULL, "no ','"},
		{S("\"Ann <a@x.example>"), NULL, "does not end"},
		{S("Ann <>"), NULL, "no '@'"},
		{S("a@x.example\r\nBcc: b@y.example"), NULL, "groups"},
		{S("\"\\"), NULL, "does not end"},
		{S("<\"a>"), NULL, "'<' without"},
	};
	(void)state;

	for (size_t i = 0; i < N_OF(cases); i++) {
		struct gp_arena arena;
		struct gp_buffer result;
		struct gp_error error = {.status = GP_OK};
		struct mail_address *addresses = NULL;
		size_t n = 0;
		char *exact = malloc(cases[i].text.len + (cases[i].text.len == 0));
		assert_non_null(exact);
		memcpy(exact, cases[i].text.ptr, cases[i].text.len);
		gp_arena_init(&arena, GP_MIB);
		gp_buffer_init(&result, GP_MIB);
		enum gp_status status =
			mail_address_parse(span_make(exact, cases[i].text.len), 10, &arena, &addresses, &n, &error);
		free(exact);
		print_message("%.*s: %s\n", SPAN_ARGS(cases[i].text), error.text);
		assert_int_equal(status, cases[i].result ? GP_OK : GP_INVALID);
		for (size_t j = 0; j < n; j++) {
			assert_int_equal(gp_buffer_printf(&result, "%.*s|%.*s;", SPAN_ARGS(addresses[j].name),
							  SPAN_ARGS(addresses[j].email)),
					 GP_OK);
		}
		if (cases[i].result) {
			expect_bytes("list", gp_buffer_span(&result), span_of(cases[i].result));
		} else {
			assert_non_null(strstr(error.text, cases[i].fault));
		}
		gp_buffer_deinit(&result);
		gp_arena_deinit(&arena);
	}
}

static void too_many(void **state)
{
	struct gp_arena arena;
	struct gp_error error = {.status = GP_OK};
	struct mail_address *addresses;
	size_t n;
	(void)state;

	gp_arena_init(&arena, GP_MIB);
	assert_int_equal(mail_address_parse(S("a@x,b@x,c@x"), 3, &arena, &addresses, &n, &error), GP_OK);
	assert_int_equal(n, 3);
	assert_int_equal(mail_address_parse(S("a@x,b@x,c@x,d@x"), 3, &arena, &addresses, &n, &error), GP_INVALID);
	gp_arena_deinit(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(emails),
		cmocka_unit_test(lists),
		cmocka_unit_test(too_many),
	};
	mail_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
