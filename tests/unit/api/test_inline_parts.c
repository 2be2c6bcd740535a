/* Which part a cid: names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "api/inline_parts.h"

static void test_by_content_id(void **state)
{
	static const char deep[] = "1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.2";
	struct mail_part root = {.is_multipart = true, .cid = "root@x"};
	struct mail_part parts[] = {{.part_id = "1", .type = "text/html"},
				    {.part_id = "2", .cid = "b@x"},
				    {.part_id = "3", .cid = "a@x"},
				    {.part_id = "4", .cid = "b@x"},
				    {.part_id = deep, .cid = "B@x"}};
	static const struct {
		const char *cid, *part_id;
	} cases[] = {{"a@x", "3"},   {"b@x", "2"}, {"B@x", deep},   {"b@", NULL},
		     {"b@xx", NULL}, {"", NULL},   {"root@x", NULL}};
	struct api_inline_parts inlined;
	struct gp_arena arena;
	(void)state;

	for (size_t i = 0; i < 5; i++) {
		parts[i].parent = &root;
		parts[i].next = i < 4 ? &parts[i + 1] : NULL;
	}
	root.first_child = parts;
	gp_arena_init(&arena, 1 << 20);
	assert_int_equal(api_inline_parts_init(&inlined, &arena, &root, SPAN_LIT("A/B"), 7), GP_OK);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *href = api_inline_parts_href(&inlined, span_of(cases[i].cid));
		if (cases[i].part_id) {
			char wanted[128];
			snprintf(wanted, sizeof wanted, "/mailboxes/A%%2FB/messages/7/parts/%s", cases[i].part_id);
			assert_string_equal(href, wanted);
			/* made once */
			assert_ptr_equal(api_inline_parts_href(&inlined, span_of(cases[i].cid)), href);
		} else {
			assert_null(href);
		}
	}
	gp_arena_deinit(&arena);
}

static void test_none_at_all(void **state)
{
	struct mail_part root = {.part_id = "1", .type = "text/html"};
	struct api_inline_parts inlined;
	struct gp_arena arena;
	(void)state;

	gp_arena_init(&arena, 1 << 20);
	assert_int_equal(api_inline_parts_init(&inlined, &arena, &root, SPAN_LIT("INBOX"), 7), GP_OK);
	assert_null(api_inline_parts_href(&inlined, SPAN_LIT("a@x")));
	gp_arena_deinit(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_content_id),
		cmocka_unit_test(test_none_at_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
