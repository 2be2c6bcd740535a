/* Fresh views: a mailbox selected for one lease, and alone while it is held. */
#include "tests/unit/imap/pool_support.h"

static void answer_with(size_t index, unsigned exists)
{
	char line[128];

	snprintf(line, sizeof line,
		 "* %u EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n* OK [UIDNEXT %u] ok\r\n"
		 "* OK [HIGHESTMODSEQ %u] ok\r\n$ OK done\r\n",
		 exists, exists + 1, exists);
	fake_reply(at(index), line);
}

static const struct imap_selected *selected(const struct probe *probe)
{
	return imap_session_selected(imap_lease_session(probe->lease));
}

/* The mailbox is open already: it is opened again. */
static void test_is_selected_anew(void **state)
{
	(void)state;
	struct probe view;

	begin(4, 100);
	warm(0, "INBOX");
	start_fresh(&view, "inbox");
	assert_true(is_waiting(&view));
	expect_examine(0, "INBOX");
	answer_with(0, 7);
	assert_true(is_granted(&view));
	assert_true(imap_lease_is_fresh(view.lease));
	assert_int_equal(selected(&view)->exists, 7);
	assert_int_equal(selected(&view)->uidnext, 8);
	assert_int_equal(selected(&view)->highestmodseq, 7);
	end(&view);
	/* and once more for the next */
	start_fresh(&view, "INBOX");
	expect_examine(0, "INBOX");
	answer_with(0, 9);
	assert_int_equal(selected(&view)->exists, 9);
	end(&view);
	assert_int_equal(fake_n_opened(net), 1);
	finish();
}

static void test_nobody_joins(void **state)
{
	(void)state;
	struct probe view, same, other_view, list;

	begin(2, 100);
	warm(0, "INBOX");
	start_fresh(&view, "INBOX");
	/* who needs no mailbox may */
	start(&list, NULL);
	assert_true(is_granted(&list));
	/* others neither while it is being selected, nor when it is granted */
	start(&same, "INBOX");
	assert_int_equal(fake_n_opened(net), 2);
	examine(0, "INBOX");
	assert_true(is_granted(&view));
	assert_true(is_waiting(&same));
	assert_ptr_equal(imap_lease_session(list.lease), imap_lease_session(view.lease));
	log_in(1);
	examine(1, "INBOX");
	assert_true(is_granted(&same));
	assert_ptr_not_equal(imap_lease_session(same.lease), imap_lease_session(view.lease));
	/* another view waits for a session without holders, though both have it open */
	start_fresh(&other_view, "INBOX");
	assert_true(is_waiting(&other_view));
	end(&view);
	examine(0, "INBOX");
	assert_true(is_granted(&other_view));
	end(&other_view);
	/* held no more: it is shared again */
	end(&same);
	start(&same, "INBOX");
	assert_true(is_granted(&same));
	end(&same);
	end(&list);
	fake_expect_nothing(at(0));
	fake_expect_nothing(at(1));
	finish();
}

/* Requests that follow each other would keep a view waiting for ever. */
static void test_does_not_starve(void **state)
{
	(void)state;
	struct probe a, b, c, view;

	begin(1, 100);
	start(&a, "INBOX");
	log_in(0);
	examine(0, "INBOX");
	start_fresh(&view, "INBOX");
	/* at first they go ahead */
	start(&b, "INBOX");
	assert_true(is_granted(&b));
	end(&a);
	assert_true(is_waiting(&view));
	fake_turn(net, POOL_FRESH_PATIENCE_MS);
	start(&c, "INBOX");
	assert_true(is_waiting(&c));
	end(&b);
	assert_true(is_waiting(&c));
	examine(0, "INBOX");
	assert_true(is_granted(&view));
	assert_true(is_waiting(&c));
	end(&view);
	assert_true(is_granted(&c));
	end(&c);
	finish();
}

/* A view that gives up gives back what was kept for it. */
static void test_reservation_ends_with_it(void **state)
{
	(void)state;
	struct probe a, c, view;

	begin(1, 100);
	start(&a, "INBOX");
	log_in(0);
	examine(0, "INBOX");
	start_fresh(&view, "INBOX");
	fake_turn(net, POOL_FRESH_PATIENCE_MS);
	fake_turn(net, REQUEST_MS / 2);
	start(&c, "INBOX");
	assert_true(is_waiting(&c));
	fake_turn(net, REQUEST_MS / 2);
	expect_failed(&view, GP_DEADLINE);
	assert_true(is_granted(&c));
	start_fresh(&view, "INBOX");
	fake_turn(net, POOL_FRESH_PATIENCE_MS);
	end(&view);
	end(&c);
	start(&c, "INBOX");
	assert_true(is_granted(&c));
	end(&c);
	end(&a);
	finish();
}

/* A stream is not waited for while there is another session. */
static void test_beside_a_stream(void **state)
{
	(void)state;
	struct probe stream, first, a, b, view;

	begin(2, 100);
	start_bulk(&stream, "INBOX");
	log_in(0);
	examine(0, "INBOX");
	start(&first, "INBOX");
	log_in(1);
	end(&first);
	start(&a, "INBOX");
	examine(1, "INBOX");
	assert_true(is_granted(&a));
	start_fresh(&view, "INBOX");
	fake_turn(net, POOL_FRESH_PATIENCE_MS);
	start(&b, "INBOX");
	assert_true(is_granted(&b)); /* onto the stream's session */
	assert_ptr_equal(imap_lease_session(b.lease), imap_lease_session(stream.lease));
	end(&a);
	examine(1, "INBOX");
	assert_true(is_granted(&view));
	end(&view);
	end(&b);
	end(&stream);
	finish();
}

/* A stream whose reader has stalled is no more likely to end. */
static void test_beside_a_stalled_stream(void **state)
{
	(void)state;
	struct probe stream, a, b, c, view;

	begin(2, 100);
	start_bulk(&stream, "INBOX");
	log_in(0);
	examine(0, "INBOX");
	start(&a, "INBOX");
	end(&a);
	log_in(1);
	start(&a, "INBOX");
	examine(1, "INBOX");
	start(&b, "INBOX");
	assert_ptr_equal(imap_lease_session(b.lease), imap_lease_session(a.lease));
	imap_lease_set_stalled(stream.lease, true);
	start_fresh(&view, "INBOX");
	fake_turn(net, POOL_FRESH_PATIENCE_MS);
	start(&c, "INBOX");
	assert_ptr_equal(imap_lease_session(c.lease), imap_lease_session(stream.lease));
	end(&a);
	end(&b);
	examine(1, "INBOX");
	assert_true(is_granted(&view));
	end(&view);
	end(&c);
	end(&stream);
	finish();
}

/* Where there is only that one, nobody is kept from it until the stream has ended. */
static void test_with_one_session_and_a_stalled_stream(void **state)
{
	(void)state;
	struct probe stream, a, b, view;

	begin(1, 100);
	start_bulk(&stream, "INBOX");
	log_in(0);
	examine(0, "INBOX");
	imap_lease_set_stalled(stream.lease, true);
	start_fresh(&view, "INBOX");
	fake_turn(net, POOL_FRESH_PATIENCE_MS);
	start(&a, "INBOX");
	assert_true(is_granted(&a));
	end(&stream);
	start(&b, "INBOX");
	assert_true(is_waiting(&b));
	end(&a);
	examine(0, "INBOX");
	assert_true(is_granted(&view));
	end(&view);
	assert_true(is_granted(&b));
	end(&b);
	finish();
}

/* `first`: three leases on the one session, `second`: two on the other. A view waits, for which
 * the second session is kept. */
static void wait_for_second(struct probe first[3], struct probe second[2], struct probe *view)
{
	begin(2, 100);
	start(&first[0], "INBOX");
	log_in(0);
	examine(0, "INBOX");
	start(&first[1], "INBOX");
	start(&first[2], "INBOX");
	log_in(1);
	start(&second[0], "INBOX");
	examine(1, "INBOX");
	start(&second[1], "INBOX");
	assert_ptr_equal(imap_lease_session(first[2].lease), imap_lease_session(first[0].lease));
	assert_ptr_equal(imap_lease_session(second[1].lease), imap_lease_session(second[0].lease));
	start_fresh(view, "INBOX");
	fake_turn(net, POOL_FRESH_PATIENCE_MS);
}

static void test_another_session_is_left_sooner(void **state)
{
	(void)state;
	struct probe first[3], second[2], late, view;

	wait_for_second(first, second, &view);
	end(&first[0]);
	start(&late, "INBOX"); /* as many: the same one is kept */
	assert_ptr_equal(imap_lease_session(late.lease), imap_lease_session(first[1].lease));
	end(&late);
	end(&first[1]);
	start(&late, "INBOX");
	assert_ptr_equal(imap_lease_session(late.lease), imap_lease_session(second[0].lease));
	end(&first[2]);
	examine(0, "INBOX");
	assert_true(is_granted(&view));
	end(&view);
	end(&late);
	end(&second[0]);
	end(&second[1]);
	finish();
}

static void test_the_session_that_was_kept_goes(void **state)
{
	(void)state;
	struct probe first[3], second[2], late, view;

	wait_for_second(first, second, &view);
	imap_lease_end(&second[0].lease, true);
	fake_turn(net, 0);
	start(&late, "INBOX");
	assert_true(is_waiting(&late));
	for (size_t i = 0; i < 3; i++) {
		end(&first[i]);
	}
	examine(0, "INBOX");
	assert_true(is_granted(&view));
	end(&view);
	assert_true(is_granted(&late));
	end(&late);
	end(&second[1]);
	finish();
}

static void test_failures(void **state)
{
	(void)state;
	struct probe view, after;

	begin(1, 100);
	warm(0, "INBOX");
	start_fresh(&view, "Gone");
	start(&after, "INBOX");
	expect_examine(0, "Gone");
	fake_reply(at(0), "$ NO [NONEXISTENT] none\r\n");
	expect_failed(&view, GP_NOT_FOUND);
	examine(0, "INBOX");
	assert_true(is_granted(&after));
	end(&after);
	start_fresh(&view, "INBOX");
	expect_examine(0, "INBOX");
	fake_end(at(0), GP_LOST, "gone");
	expect_failed(&view, GP_LOST);
	/* cancelled while it is selected */
	start_fresh(&view, "INBOX");
	log_in(1);
	expect_examine(1, "INBOX");
	end(&view);
	start(&after, "INBOX");
	answer(1);
	assert_true(is_granted(&after));
	end(&after);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_selected_anew),
		cmocka_unit_test(test_nobody_joins),
		cmocka_unit_test(test_does_not_starve),
		cmocka_unit_test(test_reservation_ends_with_it),
		cmocka_unit_test(test_beside_a_stream),
		cmocka_unit_test(test_beside_a_stalled_stream),
		cmocka_unit_test(test_with_one_session_and_a_stalled_stream),
		cmocka_unit_test(test_another_session_is_left_sooner),
		cmocka_unit_test(test_the_session_that_was_kept_goes),
		cmocka_unit_test(test_failures),
	};

	gp_log_setup(GP_LOG_ERROR, GP_LOG_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
