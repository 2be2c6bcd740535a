/* The published test vectors of FNV-1a: states and ids that clients hold are made with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"

static void test_vectors(void **state)
{
	(void)state;
	assert_int_equal(gp_hash_span(GP_HASH_START, SPAN_NIL), 0xcbf29ce484222325u);
	assert_int_equal(gp_hash_span(GP_HASH_START, SPAN_LIT("a")), 0xaf63dc4c8601ec8cu);
	assert_int_equal(gp_hash_span(GP_HASH_START, SPAN_LIT("foobar")), 0x85944171f73967e8u);
	/* octets are unsigned, and a number is eight of them, the lowest first */
	assert_int_equal(gp_hash_number(GP_HASH_START, 0xFF80u),
			 gp_hash_span(GP_HASH_START, SPAN_LIT("\x80\xFF\0\0\0\0\0\0")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
