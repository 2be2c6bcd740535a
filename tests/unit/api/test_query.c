#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/fields.h"
#include "api/query.h"

struct fixture {
	struct gp_arena arena;
	struct api_target target;
	struct api_query query;
};

static void begin(struct fixture *f, const char *target)
{
	struct gp_error error = {0};

	gp_arena_init(&f->arena, GP_MIB);
	assert_int_equal(api_target_parse(span_of(target), &f->arena, &f->target, &error), GP_OK);
	api_query_init(&f->query, &f->target, &f->arena);
}

static void end(struct fixture *f)
{
	gp_arena_deinit(&f->arena);
}

/* Every reader reads its parameter; the query is good, or says what is not. */
static void one_of_each(void **state)
{
	static const struct {
		const char *query;
		const char *says; /* NULL: good */
	} cases[] = {
		{"", NULL},
		{"limit=1", NULL},
		{"limit=1000", NULL},
		{"limit=007", NULL},
		{"limit=0", "'limit' is '0', but must be a whole number from 1 to 1000"},
		{"limit=1001", "'limit' is '1001'"},
		{"limit=", "'limit' is ''"},
		{"limit=-1", "'limit' is '-1'"},
		{"limit=+1", "'limit' is ' 1'"},
		{"limit=1e3", "'limit' is '1e3'"},
		{"limit=18446744073709551617", "'limit' is '18446744073709551617'"},
		{"limit=1&limit=2", "'limit' may not be repeated"},
		{"seen=1&all", NULL},
		{"seen=false&all=true", NULL},
		{"seen=2", "'seen' is '2', but must be 1 or 0"},
		{"seen=TRUE", "'seen' is 'TRUE'"},
		{"all=yes", "'all' is 'yes'"},
		{"mailbox=a&mailbox=b", NULL},
		{"pretty", NULL},
		{"pretty=1", NULL},
		{"pretty=2", "'pretty' is '2'"},
		{"text=%0D%0A", NULL},
		{"lmit=1", "unknown parameter 'lmit': did you mean 'limit'?"},
		{"Limit=1", "unknown parameter 'Limit': did you mean 'limit'?"},
		{"mailboxes=a", "did you mean 'mailbox'?"},
		{"xyzzy=1", "unknown parameter 'xyzzy'"},
		{"=1", "unknown parameter ''"},
		{"a%0D%0Ab=1", "unknown parameter 'a??b'"},
		{"limit=x&seen=x", "'limit' is 'x'"}, /* the first that was read */
		{"xyzzy=1&limit=0", "'limit' is '0'"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct fixture f;
		char target[256];
		struct span value;
		snprintf(target, sizeof target, "/x?%s", cases[i].query);
		begin(&f, target);
		(void)api_query_number(&f.query, "limit", 1, 1000, 50);
		(void)api_query_tristate(&f.query, "seen");
		(void)api_query_bool(&f.query, "all", false);
		(void)api_query_text(&f.query, "text");
		for (size_t n = 0; api_query_nth(&f.query, "mailbox", n, &value); n++) {
		}
		enum gp_status status = api_query_finish(&f.query);
		print_message("%s: %s\n", cases[i].query, f.query.error.text);
		assert_int_equal(status, cases[i].says ? GP_INVALID : GP_OK);
		if (cases[i].says) {
			assert_non_null(strstr(f.query.error.text, cases[i].says));
		}
		end(&f);
	}
}

static void values(void **state)
{
	struct fixture f;
	struct span value;
	(void)state;

	begin(&f, "/x?limit=7&seen=0&draft=1&text=a+b&m=1&m=%402&m=@3&empty");
	assert_int_equal(api_query_number(&f.query, "limit", 1, 10, 5), 7);
	assert_int_equal(api_query_number(&f.query, "other", 1, 10, 5), 5);
	assert_int_equal(api_query_tristate(&f.query, "seen"), 0);
	assert_int_equal(api_query_tristate(&f.query, "draft"), 1);
	assert_int_equal(api_query_tristate(&f.query, "answered"), -1);
	assert_true(api_query_bool(&f.query, "absent", true));
	assert_true(api_query_bool(&f.query, "empty", false));
	assert_true(span_equal_text(api_query_text(&f.query, "text"), "a b"));
	assert_true(span_is_nil(api_query_text(&f.query, "absent")));
	assert_false(span_is_nil(api_query_text(&f.query, "empty")));
	assert_true(api_query_nth(&f.query, "m", 1, &value));
	assert_true(span_equal_text(value, "@2"));
	assert_true(span_equal_text(api_query_param(&f.query, "m", 1)->raw_value, "%402"));
	assert_true(span_equal_text(api_query_param(&f.query, "m", 2)->raw_value, "@3"));
	assert_false(api_query_nth(&f.query, "m", 3, &value));
	/* m=1 was never read */
	assert_int_equal(api_query_finish(&f.query), GP_INVALID);
	end(&f);
}

static void fields(void **state)
{
	static const char *const names[] = {"uid", "subject", "from"};
	static const struct {
		const char *query;
		uint64_t mask;
		const char *says;
	} cases[] = {
		{"", 99, NULL},
		{"fields=uid", 1, NULL},
		{"fields=from,uid", 5, NULL},
		{"fields=uid,uid", 1, NULL},
		{"fields=uid,%20subject", 3, NULL},
		{"fields=", 99, "unknown member ''"},
		{"fields=uid,", 99, "unknown member ''"},
		{"fields=,uid", 99, "unknown member ''"},
		{"fields=uid,Subject", 99, "unknown member 'Subject'"},
		{"fields=uid&fields=from", 1, "may not be repeated"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct fixture f;
		char target[128];
		snprintf(target, sizeof target, "/x?%s", cases[i].query);
		begin(&f, target);
		assert_int_equal(api_fields_read(&f.query, names, 3, 99), cases[i].mask);
		if (cases[i].says) {
			assert_int_equal(api_query_finish(&f.query), GP_INVALID);
			assert_non_null(strstr(f.query.error.text, cases[i].says));
		} else {
			assert_int_equal(api_query_finish(&f.query), GP_OK);
		}
		end(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_of_each),
		cmocka_unit_test(values),
		cmocka_unit_test(fields),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
