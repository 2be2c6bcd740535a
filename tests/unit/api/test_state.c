/* States as text: what is written reads back as the same, what is malformed is refused,
 * and what is too long becomes one that only detects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/state.h"
#include "base/limits.h"

static char *write_state(const struct api_state *state, size_t max)
{
	struct gp_buffer text;
	size_t len;

	gp_buffer_init(&text, GP_MIB);
	assert_int_equal(api_state_write(state, max, &text), GP_OK);
	return gp_buffer_take(&text, &len);
}

static void expect_round_trip(const struct api_state *state, char letter)
{
	struct api_state again;
	char *text = write_state(state, API_STATE_MAX);

	api_state_init(&again);
	assert_int_equal(text[0], letter);
	assert_int_equal(api_state_parse(span_of(text), &again), GP_OK);
	assert_true(api_state_is_equal(state, &again));
	for (size_t i = 0; text[i]; i++) {
		assert_non_null(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", text[i]));
	}
	/* each of them, cut short, is none: numbers at the end are the exception */
	for (size_t len = 0; letter != 'q' && len < strlen(text); len++) {
		struct api_state cut;
		api_state_init(&cut);
		if (api_state_parse(span_make(text, len), &cut) == GP_OK) {
			assert_false(api_state_is_equal(state, &cut));
		}
		api_state_deinit(&cut);
	}
	free(text);
	api_state_deinit(&again);
}

static void test_qresync(void **state)
{
	struct api_state one = {.kind = API_STATE_QRESYNC,
				.uidvalidity = 7,
				.uidnext = 100,
				.pieces = {{1, 4711}, {50, 4000}},
				.n_pieces = 2};
	char *text = write_state(&one, API_STATE_MAX);
	char listed[API_STATE_LISTED_SIZE];

	(void)state;
	assert_string_equal(text, "q7.4711.100.50.4000");
	free(text);
	expect_round_trip(&one, 'q');
	one.n_pieces = 1;
	expect_round_trip(&one, 'q');
	text = write_state(&one, API_STATE_MAX);
	assert_true(api_state_write_listed(true, 7, 4711, 100, listed));
	assert_string_equal(listed, text);
	free(text);
	assert_false(api_state_write_listed(false, 7, 4711, 100, listed));
	assert_false(api_state_write_listed(true, 0, 4711, 100, listed));
	assert_false(api_state_write_listed(true, 7, 0, 100, listed));
	assert_false(api_state_write_listed(true, 7, 4711, 0, listed));
	assert_true(api_state_write_listed(true, UINT32_MAX, INT64_MAX, UINT32_MAX, listed));
}

static void add_uids(struct api_state *state, const char *uids)
{
	assert_int_equal(imap_uidset_parse(&state->uids, span_of(uids)), GP_OK);
}

static void test_condstore(void **state)
{
	static const char *const sets[] = {"1", "1:3,5,7:4294967294", "4294967295", "2,4,6,8,10:200000"};

	(void)state;
	for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
		struct api_state one = {.kind = API_STATE_CONDSTORE,
					.uidvalidity = UINT32_MAX,
					.uidnext = UINT32_MAX,
					.pieces = {{1, INT64_MAX}},
					.n_pieces = 1};
		add_uids(&one, sets[i]);
		expect_round_trip(&one, 'c');
		api_state_deinit(&one);
	}
	struct api_state none = {
		.kind = API_STATE_CONDSTORE, .uidvalidity = 1, .uidnext = 1, .pieces = {{1, 1}}, .n_pieces = 1};
	char *text = write_state(&none, API_STATE_MAX);
	assert_string_equal(text, "c1.1.1_AA");
	free(text);
	expect_round_trip(&none, 'c');
}

static void add_runs(struct api_state *state, const uint64_t *flags, const uint64_t *n, size_t n_runs)
{
	for (size_t i = 0; i < n_runs; i++) {
		assert_int_equal(api_state_add_run(state, flags[i], n[i]), GP_OK);
	}
}

static void test_flags(void **state)
{
	const uint64_t flags[] = {0, 0xFFFFFFFFFFFF, 7, 0, 7}, n[] = {1, 2, 300, 1, 3};
	struct api_state one = {
		.kind = API_STATE_FLAGS, .uidvalidity = 9, .uidnext = 0, .pieces = {{1, 0}}, .n_pieces = 1};

	(void)state;
	expect_round_trip(&one, 'f');
	add_uids(&one, "3,5:310");
	add_runs(&one, flags, n, 5);
	expect_round_trip(&one, 'f');
	struct api_state copy;
	api_state_init(&copy);
	assert_int_equal(api_state_copy(&copy, &one), GP_OK);
	assert_true(api_state_is_equal(&one, &copy));
	copy.runs[2].flags = 8;
	assert_false(api_state_is_equal(&one, &copy));
	api_state_deinit(&copy);
	api_state_deinit(&one);
}

static void test_flags_number(void **state)
{
	const struct span seen[] = {SPAN_LIT("\\Seen"), SPAN_LIT("$Forwarded")};
	const struct span same[] = {SPAN_LIT("$FORWARDED"), SPAN_LIT("\\Recent"), SPAN_LIT("\\seen")};
	const struct span other[] = {SPAN_LIT("\\Seen"), SPAN_LIT("$Forwarde")};

	(void)state;
	assert_true(api_state_flags(seen, 2) == api_state_flags(same, 3));
	assert_true(api_state_flags(seen, 2) != api_state_flags(seen, 1));
	assert_true(api_state_flags(seen, 2) != api_state_flags(other, 2));
	assert_true(api_state_flags(same + 1, 1) == api_state_flags(NULL, 0));
	assert_true(api_state_flags(seen, 2) >> 48 == 0);
}

/* Every other message, with flags that alternate: nothing is short about it. */
static void test_too_long(void **state)
{
	struct api_state one = {
		.kind = API_STATE_FLAGS, .uidvalidity = 9, .uidnext = 90000, .pieces = {{1, 0}}, .n_pieces = 1};
	struct api_state detect, again, other;

	(void)state;
	for (uint32_t uid = 1; uid < 9000; uid += 2) {
		assert_int_equal(imap_uidset_add(&one.uids, uid, uid), GP_OK);
		assert_int_equal(api_state_add_run(&one, uid % 3, 1), GP_OK);
	}
	api_state_init(&detect);
	api_state_init(&again);
	api_state_init(&other);
	assert_int_equal(api_state_to_detect(&one, &detect), GP_OK);
	assert_int_equal(detect.n_messages, 4500);
	expect_round_trip(&detect, 'd');
	char *text = write_state(&one, API_STATE_MAX);
	assert_true(strlen(text) <= 80);
	assert_int_equal(api_state_parse(span_of(text), &again), GP_OK);
	assert_true(api_state_is_equal(&again, &detect));
	free(text);
	/* one flag tells them apart */
	one.runs[17].flags = 5;
	assert_int_equal(api_state_to_detect(&one, &other), GP_OK);
	assert_false(api_state_is_equal(&other, &detect));
	api_state_deinit(&other);
	api_state_deinit(&again);
	api_state_deinit(&detect);
	api_state_deinit(&one);
}

/* 4,000 messages with few holes and few flags fit. */
static void test_compact(void **state)
{
	struct api_state one = {
		.kind = API_STATE_FLAGS, .uidvalidity = 9, .uidnext = 90000, .pieces = {{1, 0}}, .n_pieces = 1};

	(void)state;
	for (uint32_t uid = 1; uid < 40000; uid += 100) {
		assert_int_equal(imap_uidset_add(&one.uids, uid, uid + 9), GP_OK);
		assert_int_equal(api_state_add_run(&one, uid % 3, 10), GP_OK);
	}
	char *text = write_state(&one, API_STATE_MAX);
	assert_true(strlen(text) < 3000);
	free(text);
	expect_round_trip(&one, 'f');
	api_state_deinit(&one);
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"q",
		"x7.4711.100",
		"7.4711.100",
		"Q7.4711.100",
		"q7.4711",
		"q7.4711.100.",
		"q7.4711.100.50",
		"q7.4711.100.50.",
		"q7.4711.100.100.5",
		"q7.4711.100.1.5",
		"q7.4711.100.50.5.50.4",
		"q7.4711.100.50.0",
		"q7.4711.100.2.9.3.8.4.7.5.6",
		"q0.4711.100",
		"q7.0.100",
		"q7.4711.0",
		"q07.4711.100",
		"q7.+1.100",
		"q7.-1.100",
		"q4294967296.1.1",
		"q1.9223372036854775808.1",
		"q1.1.4294967296",
		"q7.4711.100 ",
		"q7.4711.100_",
		"q7.4711.100_AA",
		"c7.4711.100",
		"c7.4711.100_",
		"c7.4711.100_A",
		"c7.4711.100_AQ",
		"c7.4711.100_AAA",
		"c7.4711.100_AB",
		"c7.4711.100_A A",
		"c7.4711.100_AA==",
		"c7.4711.100_AQAAAA",     /* a byte too many */
		"c7.4711.100_AgAAAAA",    /* ranges that touch */
		"c7.4711.100_gICAgBAA",   /* more ranges than bytes */
		"c7.4711.100_Af____8PAQ", /* beyond 32 bits */
		"c7.4711.100_AYAAAA",     /* longer than it needs to be */
		"f7_AA",
		"f7.100.1_AA",
		"f7.100_AQAA",            /* a message without flags */
		"f7.100_AQAAAAAAAAAAAAE", /* more flags than messages */
		"f0.100_AA",
		"d7.1.100.36",
		"d7.1.100.36.0123456789abcde",
		"d7.1.100.36.0123456789ABCDEF",
		"d0.1.100.36.0123456789abcdef",
		"d7.100.36.0123456789abcdef",
		"d7.1.100.36.4.0123456789abcdef",
	};
	struct api_state untouched;

	(void)state;
	api_state_init(&untouched);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (api_state_parse(span_of(bad[i]), &untouched) != GP_INVALID) {
			fail_msg("'%s' was taken", bad[i]);
		}
		assert_int_equal(untouched.kind, API_STATE_NONE);
	}
	assert_int_equal(api_state_parse(SPAN_LIT("f7.100_AQAAAAAAAAAAAAA"), &untouched), GP_OK);
	assert_int_equal(untouched.n_runs, 1);
	assert_int_equal(api_state_parse(SPAN_LIT("c7.4711.100_Af7___8PAA"), &untouched), GP_OK);
	assert_true(imap_uidset_contains(&untouched.uids, UINT32_MAX));
	api_state_deinit(&untouched);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_qresync),      cmocka_unit_test(test_condstore), cmocka_unit_test(test_flags),
		cmocka_unit_test(test_flags_number), cmocka_unit_test(test_too_long),  cmocka_unit_test(test_compact),
		cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
