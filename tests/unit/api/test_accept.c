#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/accept.h"

static void test_choose(void **state)
{
	static const char *const types[] = {"application/json", "application/x-ndjson", "application/mbox",
					    "text/html"};
	static const struct {
		const char *accept;
		ptrdiff_t expected;
	} cases[] = {
		{NULL, 0},
		{"", 0},
		{"nonsense", 0},
		{", ,", 0},
		{"*/*", 0},
		{"application/json", 0},
		{"application/x-ndjson", 1},
		{"APPLICATION/X-NDJSON", 1},
		{"application/x-ndjson;charset=utf-8", 1},
		{"application/mbox, application/x-ndjson", 1},
		{"application/mbox, application/x-ndjson;q=0.9", 2},
		{"application/x-ndjson;q=0.5,application/mbox;q=0.501", 2},
		{"application/*", 0},
		{"application/*;q=0.5, application/mbox", 2},
		{"application/mbox;q=0, application/*", 0},
		{"application/json;q=0, application/*;q=0.1", 1},
		{"*/*;q=0.1, application/json;q=0", 1},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 3},
		{"text/*", 3},
		{"text/plain", -1},
		{"image/*, text/plain", -1},
		{"*/*;q=0", -1},
		{"application/json;q=0", -1},
		{"application/json;q=0.000", -1},
		{"application/json;q=0.001", 0},
		{"application/json;q=1.000", 0},
		{"application/json;q=2, application/mbox;q=0.9", 0},
		{"application/json;q=abc", 0},
		{"application/json ; q=0.2 , application/mbox ; q=0.3", 2},
		{"text/plain;a=\"x,application/json;q=1\", application/mbox", 2},
		{"text/plain;a=\"x\\\",application/json\", application/mbox", 2},
		{"application/jsonx, x/application/json", -1},
		{"application/json;q=0.1, application/json;q=0.9, application/mbox;q=0.5", 0},
		{"*/json, application/mbox", 2},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ptrdiff_t chosen = api_accept_choose(span_of(cases[i].accept), types, 4);
		if (chosen != cases[i].expected) {
			fail_msg("%s: %td", cases[i].accept ? cases[i].accept : "none", chosen);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_choose)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
