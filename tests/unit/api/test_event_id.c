/* Ids of event streams: what is written reads back, what does not fit is told by a digest,
 * and what is malformed is refused. And events as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "api/event_id.h"
#include "api/event_text.h"
#include "base/limits.h"

static struct api_state state_of(uint64_t modseq)
{
	return (struct api_state){.kind = API_STATE_QRESYNC,
				  .uidvalidity = 1700000000,
				  .uidnext = 4711,
				  .pieces = {{1, modseq}},
				  .n_pieces = 1};
}

static void test_round_trip(void **state)
{
	struct api_event_id_writer writer;
	struct api_event_id id;
	struct gp_buffer text;
	struct api_state one = state_of(60);
	char inbox[API_EVENT_HASH + 1], work[API_EVENT_HASH + 1], same[API_EVENT_HASH + 1];

	(void)state;
	api_event_hash(SPAN_LIT("INBOX"), inbox);
	api_event_hash(SPAN_LIT("inbox"), same);
	api_event_hash(SPAN_LIT("Work"), work);
	assert_string_equal(inbox, same);
	assert_string_not_equal(inbox, work);
	gp_buffer_init(&text, GP_MIB);
	api_event_id_begin(&writer, &text, 2);
	api_event_id_add(&writer, inbox, &one);
	api_event_id_add(&writer, work, NULL);
	assert_int_equal(api_event_id_end(&writer), GP_OK);
	assert_int_equal(api_event_id_parse(gp_buffer_span(&text), &id), GP_OK);
	assert_int_equal(id.n_entries, 2);
	assert_true(id.digest == 0);
	assert_true(span_equal_text(api_event_id_find(&id, inbox)->state, "q1700000000.60.4711"));
	assert_true(span_equal_text(api_event_id_find(&id, work)->state, "-"));
	assert_null(api_event_id_find(&id, "AAAAAA"));
	api_event_id_deinit(&id);
	gp_buffer_deinit(&text);
}

/* A thousand mailboxes: the first ones are in it, the others in its digest. */
static void write_many(struct gp_buffer *text, uint64_t modseq_of_last)
{
	struct api_event_id_writer writer;

	api_event_id_begin(&writer, text, 1000);
	for (unsigned i = 0; i < 1000; i++) {
		char name[16], hash[API_EVENT_HASH + 1];
		struct api_state one = state_of(i == 999 ? modseq_of_last : i + 1);
		snprintf(name, sizeof name, "Box %u", i);
		api_event_hash(span_of(name), hash);
		api_event_id_add(&writer, hash, &one);
	}
	assert_int_equal(api_event_id_end(&writer), GP_OK);
	assert_true(text->len <= API_EVENT_ID_MAX);
}

static void test_too_many(void **state)
{
	struct gp_buffer text, other;
	struct api_event_id id, changed;
	uint64_t digest = 0;

	(void)state;
	gp_buffer_init(&text, GP_MIB);
	gp_buffer_init(&other, GP_MIB);
	write_many(&text, 1000);
	write_many(&other, 1001);
	assert_int_equal(api_event_id_parse(gp_buffer_span(&text), &id), GP_OK);
	assert_int_equal(api_event_id_parse(gp_buffer_span(&other), &changed), GP_OK);
	assert_true(id.n_entries > 150 && id.n_entries < 1000);
	assert_true(id.digest != 0 && id.digest != changed.digest);
	/* from the other end: the order does not matter */
	for (unsigned i = 1000; i-- > 0;) {
		char name[16], hash[API_EVENT_HASH + 1];
		struct api_state one = state_of(i + 1);
		snprintf(name, sizeof name, "Box %u", i);
		api_event_hash(span_of(name), hash);
		if (!api_event_id_find(&id, hash)) {
			digest = api_event_id_digest(digest, hash, &one);
		}
	}
	assert_true(digest == id.digest);
	api_event_id_deinit(&id);
	api_event_id_deinit(&changed);
	gp_buffer_deinit(&text);
	gp_buffer_deinit(&other);
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"0",
		"2~AAAAAA-",
		"1~",
		"1~AAAAAA",
		"1~AAAAA",
		"1~AAA AA-",
		"1AAAAAA-",
		"1~AAAAAA-~",
		"1~+0123456789abcde",
		"1~+0123456789ABCDEF",
		"1~+0000000000000000",
		"1~+0123456789abcdef~AAAAAA-",
	};
	struct api_event_id id;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (api_event_id_parse(span_of(bad[i]), &id) != GP_INVALID) {
			fail_msg("'%s' was taken", bad[i]);
		}
	}
	assert_int_equal(api_event_id_parse(SPAN_LIT("1"), &id), GP_OK);
	api_event_id_deinit(&id);
	/* one hash for two mailboxes is none */
	assert_int_equal(api_event_id_parse(SPAN_LIT("1~AAAAAA-~AAAAAA-"), &id), GP_OK);
	assert_null(api_event_id_find(&id, "AAAAAA"));
	api_event_id_deinit(&id);
}

static void test_text(void **state)
{
	struct gp_buffer text;
	struct imap_uidset uids;

	(void)state;
	gp_buffer_init(&text, GP_MIB);
	imap_uidset_init(&uids);
	assert_int_equal(api_event_uids(&text, "updated", SPAN_LIT("A"), 7, &uids), GP_OK);
	assert_int_equal(text.len, 0);
	assert_int_equal(imap_uidset_parse(&uids, SPAN_LIT("1:3,9")), GP_OK);
	assert_int_equal(api_event_uids(&text, "created", SPAN_LIT("R\303\251\"\n"), 7, &uids), GP_OK);
	assert_int_equal(api_event_reset(&text, SPAN_NIL), GP_OK);
	assert_int_equal(api_event_deleted(&text, SPAN_LIT("B")), GP_OK);
	assert_int_equal(api_event_end(&text, SPAN_LIT("1~x")), GP_OK);
	assert_string_equal(
		text.data,
		"event: created\ndata: {\"mailbox\":\"R\303\251\\\"\\n\",\"uidValidity\":7,\"uids\":[1,2,3,9]}\n"
		"\nevent: reset\ndata: {\"mailbox\":null}\n"
		"\nevent: mailbox\ndata: {\"name\":\"B\",\"deleted\":true}\nid: 1~x\n\n");
	gp_buffer_deinit(&text);
	imap_uidset_deinit(&uids);
}

/* Long sets are several events, each with all it needs. */
static void test_long_sets(void **state)
{
	struct gp_buffer text;
	struct imap_uidset uids;
	unsigned n_events = 0;

	(void)state;
	gp_buffer_init(&text, GP_MIB);
	imap_uidset_init(&uids);
	assert_int_equal(imap_uidset_parse(&uids, SPAN_LIT("1:1500,2000,4294966296:4294967295")), GP_OK);
	assert_int_equal(api_event_uids(&text, "destroyed", SPAN_LIT("A"), 7, &uids), GP_OK);
	for (const char *at = text.data; (at = strstr(at, "event: destroyed\ndata: {\"mailbox\":\"A\"")); at++) {
		n_events++;
	}
	assert_int_equal(n_events, 3);
	assert_non_null(strstr(text.data, ",1000]}\n\nevent:"));
	assert_non_null(strstr(text.data, "[1001,"));
	assert_non_null(strstr(text.data, ",4294967295]}\n"));
	gp_buffer_deinit(&text);
	imap_uidset_deinit(&uids);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_too_many),  cmocka_unit_test(test_refused),
		cmocka_unit_test(test_text),       cmocka_unit_test(test_long_sets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
