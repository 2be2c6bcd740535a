/* Syncs: what is asked of each kind of server, what is made of its answers, and where a
 * page ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/sync.h"
#include "base/limits.h"
#include "support/fake_command.h"
#include "support/fake_session.h"

#define QRESYNC "IMAP4rev1 ENABLE CONDSTORE QRESYNC ESEARCH"
#define CONDSTORE "IMAP4rev1 ENABLE CONDSTORE"
#define PLAIN "IMAP4rev1"

struct fixture {
	struct fake_session *fake; /* own */
	struct fake_command select;
	struct api_sync_moment moment; /* own */
	struct api_sync *sync;         /* own while it runs */
	char result[2048];             /* "STATUS created … updated … destroyed … [more] state" */
	unsigned n_done;
};

static void put_set(struct gp_buffer *out, const char *name, const struct imap_uidset *set)
{
	size_t at = 0;

	assert_int_equal(gp_buffer_printf(out, " %s ", name), GP_OK);
	assert_int_equal(imap_uidset_write(set, &at, GP_MIB, out), GP_OK);
}

static void on_synced(void *ctx, const struct gp_error *error, struct api_changes *changes)
{
	struct fixture *f = ctx;
	struct gp_buffer out;

	f->sync = NULL;
	f->n_done++;
	gp_buffer_init(&out, GP_MIB);
	assert_int_equal(gp_buffer_printf(&out, "%s", gp_status_name(error ? error->status : GP_OK)), GP_OK);
	if (!error) {
		put_set(&out, "created", &changes->created);
		put_set(&out, "updated", &changes->updated);
		put_set(&out, "destroyed", &changes->destroyed);
		assert_int_equal(gp_buffer_printf(&out, "%s ", changes->has_more ? " more" : ""), GP_OK);
		assert_int_equal(api_state_write(&changes->state, API_STATE_MAX, &out), GP_OK);
	}
	snprintf(f->result, sizeof f->result, "%s", out.data);
	gp_buffer_deinit(&out);
}

/* Selects INBOX; `answer` without its last line. */
static void select_inbox(struct fixture *f, const char *answer)
{
	struct fake_network *network = f->fake->network;

	fake_command_select(&f->select, f->fake->session, "INBOX", true);
	fake_turn(network, 0);
	fake_expect(f->fake->transport, "EXAMINE INBOX");
	fake_feed(f->fake->transport, answer);
	fake_reply(f->fake->transport, "$ OK [READ-ONLY] done\r\n");
	fake_command_expect(&f->select, GP_OK);
}

static void begin(struct fixture *f, const char *capabilities, const char *answer)
{
	*f = (struct fixture){.fake = fake_session_ready(capabilities)};
	if (strstr(capabilities, "ENABLE") && !strstr(capabilities, "QRESYNC")) {
		fake_expect(f->fake->transport, "ENABLE CONDSTORE");
		fake_reply(f->fake->transport, "* ENABLED CONDSTORE\r\n$ OK\r\n");
	}
	select_inbox(f, answer);
}

static void start(struct fixture *f, const char *since, uint64_t max_changes)
{
	struct api_state state;

	api_state_init(&state);
	if (since) {
		assert_int_equal(api_state_parse(span_of(since), &state), GP_OK);
	}
	f->result[0] = '\0';
	f->n_done = 0;
	f->sync = api_sync_start(f->fake->session, &f->moment, since ? &state : NULL, max_changes, on_synced, f);
	assert_non_null(f->sync);
	assert_int_equal(f->n_done, 0);
	api_state_deinit(&state);
	fake_turn(f->fake->network, 0);
}

static void expect(struct fixture *f, const char *result)
{
	fake_turn(f->fake->network, 0);
	fake_expect_nothing(f->fake->transport);
	assert_int_equal(f->n_done, 1);
	assert_string_equal(f->result, result);
}

static void end(struct fixture *f)
{
	api_sync_cancel(&f->sync);
	api_sync_moment_deinit(&f->moment);
	fake_session_free(&f->fake);
}

static void exchange(struct fixture *f, const char *command, const char *answer)
{
	fake_expect(f->fake->transport, command);
	fake_reply(f->fake->transport, answer);
}

#define MODSEQ_60 "* 5 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [UIDNEXT 100]\r\n* OK [HIGHESTMODSEQ 60]\r\n"

static void test_qresync(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, QRESYNC, MODSEQ_60);
	start(&f, NULL, 100);
	expect(&f, "OK created  updated  destroyed  q7.60.100");
	/* the same state costs nothing */
	start(&f, "q7.60.100", 100);
	expect(&f, "OK created  updated  destroyed  q7.60.100");
	/* flags alone */
	start(&f, "q7.50.100", 100);
	exchange(&f, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 50 VANISHED)",
		 "* VANISHED (EARLIER) 3,41:44,100:4294967295\r\n* 1 FETCH (UID 9 FLAGS () MODSEQ (51))\r\n$ OK\r\n");
	expect(&f, "OK created  updated 9 destroyed 3,41:44 q7.60.100");
	/* what came: also one that changed again after the moment, which its row does not tell */
	start(&f, "q7.50.90", 100);
	exchange(
		&f, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 50 VANISHED)",
		"* VANISHED (EARLIER) 3,91\r\n* 1 FETCH (UID 9 FLAGS () MODSEQ (51))\r\n"
		"* 4 FETCH (UID 95 FLAGS () MODSEQ (55))\r\n* 5 FETCH (UID 97 FLAGS (\\Seen) MODSEQ (61))\r\n$ OK\r\n");
	exchange(&f, "UID SEARCH RETURN (ALL COUNT) UID 90:99", "* ESEARCH UID COUNT 2 ALL 95,97\r\n$ OK\r\n");
	expect(&f, "OK created 95,97 updated 9 destroyed 3 q7.60.100");
	end(&f);
}

/* What happens while the sync runs belongs to the next one. */
static void test_later(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, QRESYNC, MODSEQ_60);
	start(&f, "q7.50.100", 100);
	exchange(&f, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 50 VANISHED)",
		 "* VANISHED (EARLIER) 3\r\n* VANISHED 8\r\n* 1 FETCH (UID 9 FLAGS () MODSEQ (61))\r\n"
		 "* 5 EXISTS\r\n* 5 FETCH (UID 100 FLAGS () MODSEQ (62))\r\n$ OK [HIGHESTMODSEQ 63]\r\n");
	expect(&f, "OK created  updated  destroyed 3 q7.60.100");
	/* from another state to the same moment: nothing of it is asked anew */
	start(&f, "q7.55.100", 100);
	exchange(&f, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 55 VANISHED)",
		 "* 1 FETCH (UID 9 FLAGS () MODSEQ (61))\r\n* 2 FETCH (UID 11 FLAGS () MODSEQ (60))\r\n$ OK\r\n");
	expect(&f, "OK created  updated 11 destroyed  q7.60.100");
	end(&f);
}

/* What was there at the moment came, though it is gone since: the next sync says so. */
static void test_came_and_went_since(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, QRESYNC, MODSEQ_60);
	start(&f, "q7.50.90", 100);
	exchange(&f, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 50 VANISHED)",
		 "* VANISHED (EARLIER) 3,8,95\r\n* VANISHED 8,95,120\r\n$ OK\r\n");
	exchange(&f, "UID SEARCH RETURN (ALL COUNT) UID 90:99", "* ESEARCH UID COUNT 1 ALL 97\r\n$ OK\r\n");
	expect(&f, "OK created 95,97 updated  destroyed 3 q7.60.100");
	end(&f);
}

static void test_cannot(void **state)
{
	static const struct {
		const char *capabilities, *since, *result;
	} cases[] = {
		{QRESYNC, "q8.50.100", "UIDVALIDITY"}, {QRESYNC, "q7.61.100", "STALE"},
		{QRESYNC, "q7.50.101", "STALE"},       {QRESYNC, "q7.50.100.20.61", "STALE"},
		{QRESYNC, "f7.100_AA", "STALE"},       {QRESYNC, "d7.60.100.5.0123456789abcdef", "STALE"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct fixture f;
		begin(&f, cases[i].capabilities, MODSEQ_60);
		start(&f, cases[i].since, 100);
		expect(&f, cases[i].result);
		assert_int_equal(f.moment.state.kind, API_STATE_QRESYNC);
		end(&f);
	}
}

static void test_failures(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, QRESYNC, MODSEQ_60);
	start(&f, "q7.50.100", 100);
	exchange(&f, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 50 VANISHED)", "$ NO [INUSE] later\r\n");
	expect(&f, "NO");
	/* cancelled: what comes is drained */
	start(&f, "q7.50.100", 100);
	fake_expect(f.fake->transport, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 50 VANISHED)");
	api_sync_cancel(&f.sync);
	fake_reply(f.fake->transport, "* 1 FETCH (UID 9 FLAGS () MODSEQ (51))\r\n$ OK\r\n");
	f.sync = api_sync_start(f.fake->session, &f.moment, NULL, 100, on_synced, &f);
	api_sync_cancel(&f.sync);
	fake_turn(f.fake->network, 0);
	assert_int_equal(f.n_done, 0);
	start(&f, "q7.50.100", 100);
	fake_expect(f.fake->transport, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 50 VANISHED)");
	fake_end(f.fake->transport, GP_LOST, "reset");
	expect(&f, "LOST");
	end(&f);
	begin(&f, PLAIN, "* 1 EXISTS\r\n");
	start(&f, NULL, 100);
	expect(&f, "UNSUPPORTED");
	end(&f);
}

/* Each page is exact: pages add up to what one answer would have said. */
static void test_pages(void **state)
{
	static const char answer[] =
		"* VANISHED (EARLIER) 3:5,20:1000000\r\n"
		"* 1 FETCH (UID 2 FLAGS () MODSEQ (51))\r\n* 2 FETCH (UID 9 FLAGS () MODSEQ (52))\r\n"
		"* 3 FETCH (UID 15 FLAGS () MODSEQ (53))\r\n$ OK\r\n";
	struct fixture f;

	(void)state;
	begin(&f, QRESYNC, MODSEQ_60);
	start(&f, "q7.50.30", 4);
	exchange(&f, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 50 VANISHED)", answer);
	exchange(&f, "UID SEARCH RETURN (ALL COUNT) UID 30:99", "* ESEARCH UID COUNT 21 ALL 40:60\r\n$ OK\r\n");
	expect(&f, "OK created  updated 2 destroyed 3:5 more q7.60.30.9.50");
	/* the rest, at a later moment: what is below 9 is known as of 60 */
	api_sync_moment_deinit(&f.moment);
	select_inbox(&f, "* 5 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [UIDNEXT 101]\r\n* OK [HIGHESTMODSEQ 70]\r\n");
	start(&f, "q7.60.30.9.50", 4);
	exchange(&f, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 60 VANISHED)",
		 "* VANISHED (EARLIER) 6,9\r\n* 1 FETCH (UID 2 FLAGS () MODSEQ (70))\r\n$ OK\r\n");
	exchange(&f, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 50 VANISHED)",
		 "* VANISHED (EARLIER) 3:6,9,20:1000000\r\n* 1 FETCH (UID 2 FLAGS () MODSEQ (70))\r\n"
		 "* 3 FETCH (UID 15 FLAGS () MODSEQ (53))\r\n$ OK\r\n");
	exchange(&f, "UID SEARCH RETURN (ALL COUNT) UID 30:100", "* ESEARCH UID COUNT 22 ALL 40:60,100\r\n$ OK\r\n");
	expect(&f, "OK created  updated 2,15 destroyed 6,9 more q7.70.30.20.50");
	/* into what is new: all below the cut is known */
	start(&f, "q7.70.30.20.50", 12);
	exchange(&f, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 50 VANISHED)",
		 "* VANISHED (EARLIER) 20:1000000\r\n$ OK\r\n");
	exchange(&f, "UID SEARCH RETURN (ALL COUNT) UID 30:100", "* ESEARCH UID COUNT 22 ALL 40:60,100\r\n$ OK\r\n");
	expect(&f, "OK created 40:41 updated  destroyed 20:29 more q7.70.42");
	start(&f, "q7.70.42", 20);
	exchange(&f, "UID SEARCH RETURN (ALL COUNT) UID 42:100", "* ESEARCH UID COUNT 20 ALL 42:60,100\r\n$ OK\r\n");
	expect(&f, "OK created 42:60,100 updated  destroyed  q7.70.101");
	end(&f);
}

/* No more moments than there is room for: then a page is longer than it was to be. */
static void test_many_pieces(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, QRESYNC, MODSEQ_60);
	start(&f, "q7.55.100.20.54.30.53.40.52", 1);
	for (unsigned since = 55; since > 51; since--) {
		char command[100];
		snprintf(command, sizeof command, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE %u VANISHED)", since);
		exchange(&f, command,
			 "* VANISHED (EARLIER) 3,21\r\n* 1 FETCH (UID 2 FLAGS () MODSEQ (60))\r\n"
			 "* 2 FETCH (UID 5 FLAGS () MODSEQ (60))\r\n* 3 FETCH (UID 45 FLAGS () MODSEQ (60))\r\n$ "
			 "OK\r\n");
	}
	expect(&f, "OK created  updated 2,5 destroyed 3 more q7.60.100.20.54.30.53.40.52");
	start(&f, "q7.60.100.20.54.30.53.40.52", 1);
	for (unsigned since = 54; since > 51; since--) {
		char command[100];
		snprintf(command, sizeof command, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE %u VANISHED)", since);
		exchange(&f, command, "* VANISHED (EARLIER) 21\r\n* 3 FETCH (UID 45 FLAGS () MODSEQ (60))\r\n$ OK\r\n");
	}
	expect(&f, "OK created  updated  destroyed 21 more q7.60.100.45.52");
	end(&f);
}

static void test_condstore(void **state)
{
	struct fixture f;
	char first[200];

	(void)state;
	begin(&f, CONDSTORE, MODSEQ_60);
	start(&f, NULL, 100);
	exchange(&f, "UID SEARCH ALL", "* SEARCH 2 3 4 9 11 100\r\n$ OK\r\n");
	assert_non_null(strstr(f.result, "OK created  updated  destroyed  c7.60.100_"));
	snprintf(first, sizeof first, "%s", strstr(f.result, "c7."));
	api_sync_moment_deinit(&f.moment);
	select_inbox(&f, "* 5 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [UIDNEXT 103]\r\n* OK [HIGHESTMODSEQ 70]\r\n");
	start(&f, first, 100);
	exchange(&f, "UID SEARCH ALL", "* SEARCH 2 4 11 100 102 103\r\n$ OK\r\n");
	exchange(&f, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 60)",
		 "* 1 FETCH (UID 4 FLAGS () MODSEQ (70))\r\n* 5 FETCH (UID 102 FLAGS () MODSEQ (69))\r\n"
		 "* 6 FETCH (UID 103 FLAGS () MODSEQ (71))\r\n$ OK\r\n");
	assert_non_null(strstr(f.result, "OK created 100,102 updated 4 destroyed 3,9 c7.70.103_"));
	/* in two pages; the moment is there already */
	start(&f, first, 2);
	exchange(&f, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 60)",
		 "* 1 FETCH (UID 4 FLAGS () MODSEQ (70))\r\n* 5 FETCH (UID 102 FLAGS () MODSEQ (69))\r\n$ OK\r\n");
	assert_non_null(strstr(f.result, "OK created  updated 4 destroyed 3 more c7.70.100.9.60_"));
	snprintf(first, sizeof first, "%s", strstr(f.result, "c7."));
	start(&f, first, 2);
	exchange(&f, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 60)",
		 "* 1 FETCH (UID 4 FLAGS () MODSEQ (70))\r\n* 5 FETCH (UID 102 FLAGS () MODSEQ (69))\r\n$ OK\r\n");
	assert_non_null(strstr(f.result, "OK created 100 updated  destroyed 9 more c7.70.102_"));
	snprintf(first, sizeof first, "%s", strstr(f.result, "c7."));
	start(&f, first, 2);
	assert_non_null(strstr(f.result, "OK created 102 updated  destroyed  c7.70.103_"));
	end(&f);
}

static void test_flags(void **state)
{
	struct fixture f;
	char first[200];

	(void)state;
	begin(&f, PLAIN, "* 4 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n");
	start(&f, NULL, 100);
	exchange(&f, "UID FETCH 1:* (UID FLAGS)",
		 "* 1 FETCH (UID 2 FLAGS (\\Seen))\r\n* 2 FETCH (UID 3 FLAGS ())\r\n* 4 FETCH (UID 9 FLAGS (a))\r\n"
		 "* 3 FETCH (UID 5 FLAGS (a B))\r\n* 3 FETCH (UID 5 FLAGS (a b))\r\n$ OK\r\n");
	assert_non_null(strstr(f.result, "OK created  updated  destroyed  f7.0_"));
	snprintf(first, sizeof first, "%s", strstr(f.result, "f7."));
	/* order, case and \Recent are no change */
	api_sync_moment_deinit(&f.moment);
	select_inbox(&f, "* 4 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n");
	start(&f, first, 100);
	exchange(&f, "UID FETCH 1:* (UID FLAGS)",
		 "* 1 FETCH (UID 2 FLAGS (\\Recent \\Seen))\r\n* 2 FETCH (UID 5 FLAGS (b A))\r\n"
		 "* 3 FETCH (UID 9 FLAGS ())\r\n* 4 FETCH (UID 12 FLAGS ())\r\n$ OK\r\n");
	assert_non_null(strstr(f.result, "OK created 12 updated 9 destroyed 3 f7.0_"));
	start(&f, first, 1);
	assert_non_null(strstr(f.result, "OK created  updated  destroyed 3 more f7.0_"));
	snprintf(first, sizeof first, "%s", strstr(f.result, "f7."));
	start(&f, first, 1);
	assert_non_null(strstr(f.result, "OK created  updated 9 destroyed  more f7.0_"));
	snprintf(first, sizeof first, "%s", strstr(f.result, "f7."));
	start(&f, first, 1);
	assert_non_null(strstr(f.result, "OK created 12 updated  destroyed  f7.0_"));
	/* of another kind of server */
	start(&f, "q7.60.100", 1);
	expect(&f, "STALE");
	/* a set of four thousand million messages is no work */
	start(&f, "f7.0_AQD-____DwAAAAAAAAD-____Dw", 1000);
	assert_non_null(strstr(f.result, "OK created "));
	end(&f);
}

static void test_flags_bounds(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, PLAIN, "* 20001 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [UIDNEXT 30000]\r\n");
	start(&f, NULL, 100);
	expect(&f, "LIMIT");
	end(&f);
	begin(&f, PLAIN, "* 0 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [UIDNEXT 30000]\r\n");
	start(&f, NULL, 100);
	expect(&f, "OK created  updated  destroyed  f7.30000_AA");
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_qresync),
		cmocka_unit_test(test_later),
		cmocka_unit_test(test_came_and_went_since),
		cmocka_unit_test(test_cannot),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_many_pieces),
		cmocka_unit_test(test_condstore),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_flags_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
