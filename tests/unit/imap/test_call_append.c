/*
 * APPEND with a streamed literal: what is written when, how much may be, and what is left
 * of the session when it ends at any moment.
 */
#include "tests/unit/imap/test_call_script.h"

#define MESSAGE "Subject: x\r\n\r\nHi there"

struct upload {
	struct fake_session *fake;
	struct imap_append *append; /* link: NULL once it has ended */
	size_t room;                /* what room() said last */
	size_t n_rooms, n_done;
	struct gp_error error;
	struct imap_append_result result;
	bool cancels_in_room;
};

static void on_room(void *ctx, size_t n)
{
	struct upload *upload = ctx;

	assert_int_equal(upload->n_done, 0);
	upload->n_rooms++;
	upload->room = n;
	assert_int_equal(n, imap_append_room(upload->append));
	if (upload->cancels_in_room) {
		imap_append_cancel(&upload->append);
	}
}

static void on_done(void *ctx, const struct gp_error *error, const struct imap_append_result *result)
{
	struct upload *upload = ctx;

	assert_non_null(upload->append);
	upload->append = NULL;
	upload->n_done++;
	upload->result = *result;
	gp_error_clear(&upload->error);
	if (error) {
		upload->error = *error;
	}
}

static const struct imap_append_events events = {.room = on_room, .done = on_done};

static void start(struct upload *upload, const char *capabilities, uint64_t size)
{
	static const struct span flags[] = {{"\\Seen", 5}, {"Work", 4}};
	const struct imap_append_spec spec = {
		.mailbox = SPAN_LIT("Arch ive"), .flags = flags, .n_flags = 2, .size = size};

	memset(upload, 0, sizeof *upload);
	upload->fake = fake_session_ready(capabilities);
	upload->append = imap_append_start(upload->fake->session, &spec, &events, upload);
	assert_non_null(upload->append);
	assert_int_equal(upload->n_rooms + upload->n_done, 0);
	fake_turn(upload->fake->network, 0);
}

static void expect_head(struct upload *upload, const char *command)
{
	fake_expect(upload->fake->transport, command);
	fake_expect_nothing(upload->fake->transport);
	assert_int_equal(imap_append_room(upload->append), 0);
}

static void end(struct upload *upload)
{
	imap_append_cancel(&upload->append);
	fake_session_free(&upload->fake);
}

static void assert_goes_on(struct upload *upload)
{
	bool is_done = false;

	assert_non_null(imap_noop_start(upload->fake->session, ignore_done, &is_done));
	fake_turn(upload->fake->network, 0);
	fake_expect(upload->fake->transport, "NOOP");
	fake_reply(upload->fake->transport, "$ OK\r\n");
	assert_true(is_done);
}

#define HEAD(size) "APPEND \"Arch ive\" (\\Seen Work) {" size "}"

static void test_in_pieces(void **state)
{
	(void)state;
	for (size_t piece = 1; piece <= strlen(MESSAGE); piece++) {
		struct upload upload;
		struct span rest = SPAN_LIT(MESSAGE);
		bool is_noop_done = false;
		struct imap_call *noop = NULL;

		/* the synchronising literal also where another is offered */
		start(&upload, "IMAP4rev1 LITERAL+ UIDPLUS", rest.len);
		expect_head(&upload, HEAD("22"));
		fake_reply(upload.fake->transport, "+ go on\r\n");
		assert_int_equal(upload.n_rooms, 1);
		assert_int_equal(upload.room, rest.len);
		while (rest.len > 0) {
			/* nothing goes between */
			if (rest.len == strlen(MESSAGE)) {
				noop = imap_noop_start(upload.fake->session, ignore_done, &is_noop_done);
			}
			imap_append_write(upload.append, span_slice(rest, 0, piece));
			rest = span_from(rest, piece < rest.len ? piece : rest.len);
			assert_int_equal(imap_append_room(upload.append), rest.len);
			if (rest.len > 0) {
				fake_turn(upload.fake->network, 0);
			}
		}
		fake_turn(upload.fake->network, 0);
		const char *written = fake_take(upload.fake->transport);
		assert_int_equal(strncmp(written, MESSAGE "\r\nA", strlen(MESSAGE) + 3), 0);
		assert_non_null(strstr(written, " NOOP\r\n"));
		fake_reply(upload.fake->transport, "* 1 EXISTS\r\n$ OK [APPENDUID 7 100] done\r\n");
		assert_int_equal(upload.n_done, 1);
		assert_int_equal(upload.error.status, GP_OK);
		assert_int_equal(upload.result.appended.uidvalidity, 7);
		assert_int_equal(upload.result.appended.uid, 100);
		assert_true(upload.result.is_sent);
		assert_false(is_noop_done);
		imap_call_cancel(&noop);
		end(&upload);
	}
}

static void test_appenduid_is_believed_when_it_is_one(void **state)
{
	static const struct {
		const char *answer;
		uint32_t uid;
	} cases[] = {
		{"$ OK done\r\n", 0},
		{"$ OK [APPENDUID 7 100:101] done\r\n", 0},
		{"$ OK [APPENDUID 0 100] done\r\n", 0},
		{"$ OK [APPENDUID 7 *] done\r\n", 0},
		{"$ OK [APPENDUID 7] done\r\n", 0},
		{"$ OK [COPYUID 7 1 100] done\r\n", 0},
		{"$ OK [appenduid 7 4294967294] done\r\n", 4294967294},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct upload upload;
		start(&upload, "IMAP4rev1", 1);
		expect_head(&upload, HEAD("1"));
		fake_reply(upload.fake->transport, "+\r\n");
		imap_append_write(upload.append, SPAN_LIT("x"));
		fake_turn(upload.fake->network, 0);
		fake_expect_line(upload.fake->transport, "x");
		fake_reply(upload.fake->transport, cases[i].answer);
		assert_int_equal(upload.n_done, 1);
		assert_int_equal(upload.error.status, GP_OK);
		assert_int_equal(upload.result.appended.uid, cases[i].uid);
		assert_goes_on(&upload);
		end(&upload);
	}
}

static void test_refused_before_it(void **state)
{
	static const struct {
		const char *answer;
		enum gp_status status;
	} cases[] = {
		{"$ NO [TRYCREATE] no\r\n", GP_NOT_FOUND},
		{"$ NO [NONEXISTENT] no\r\n", GP_NOT_FOUND},
		{"$ NO Mailbox doesn't exist\r\n", GP_NOT_FOUND},
		{"$ NO [OVERQUOTA] full\r\n", GP_NO},
		{"$ NO [TOOBIG] no\r\n", GP_NO},
		{"$ NO no\r\n", GP_NO},
		{"$ BAD what\r\n", GP_BAD},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct upload upload;
		start(&upload, "IMAP4rev1 LITERAL-", 5);
		expect_head(&upload, HEAD("5"));
		fake_reply(upload.fake->transport, cases[i].answer);
		assert_int_equal(upload.n_done, 1);
		assert_int_equal(upload.n_rooms, 0);
		assert_int_equal(upload.error.status, cases[i].status);
		assert_goes_on(&upload);
		end(&upload);
	}
}

static void test_refused_in_the_midst_of_it(void **state)
{
	struct upload upload;

	(void)state;
	start(&upload, "IMAP4rev1", 5);
	expect_head(&upload, HEAD("5"));
	fake_reply(upload.fake->transport, "+\r\n");
	imap_append_write(upload.append, SPAN_LIT("abc"));
	fake_reply(upload.fake->transport, "+ again\r\n$ NO [OVERQUOTA] full\r\n");
	assert_int_equal(upload.n_done, 1);
	assert_int_equal(upload.error.status, GP_NO);
	assert_string_equal(upload.error.code, "OVERQUOTA");
	assert_string_equal(fake_take(upload.fake->transport), "abc");
	fake_session_expect_closed(upload.fake, GP_LOST);
	end(&upload);
}

static void test_sizes_that_cannot_be(void **state)
{
	static const uint64_t sizes[] = {0, 8};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct upload upload;
		start(&upload, "IMAP4rev1 APPENDLIMIT=7", sizes[i]);
		assert_int_equal(imap_session_append_limit(upload.fake->session), 7);
		fake_expect_nothing(upload.fake->transport);
		assert_int_equal(upload.n_done, 1);
		assert_int_equal(upload.error.status, GP_INVALID);
		assert_goes_on(&upload);
		end(&upload);
	}
}

static void write_much(struct upload *upload, size_t len)
{
	char *bytes = calloc(1, len + 1);

	assert_non_null(bytes);
	memset(bytes, 'x', len);
	imap_append_write(upload->append, span_make(bytes, len));
	free(bytes);
}

static void test_credit_follows_the_network(void **state)
{
	struct upload upload;
	size_t cap = GP_MAX_IMAP_UNSENT, size = 3 * cap;

	(void)state;
	start(&upload, "IMAP4rev1", size);
	expect_head(&upload, HEAD("1572864"));
	fake_reply(upload.fake->transport, "+\r\n");
	assert_int_equal(upload.room, cap);
	/* the network takes all at once: as much again */
	write_much(&upload, cap);
	assert_int_equal(imap_append_room(upload.append), cap);
	/* it takes nothing */
	fake_hold(upload.fake->transport);
	write_much(&upload, cap - 10);
	assert_int_equal(imap_append_room(upload.append), 10);
	write_much(&upload, 10);
	assert_int_equal(imap_append_room(upload.append), 0);
	assert_int_equal(upload.n_rooms, 1);
	fake_drain(upload.fake->transport);
	assert_int_equal(upload.n_rooms, 2);
	assert_int_equal(upload.room, cap);
	write_much(&upload, cap);
	assert_int_equal(imap_append_room(upload.append), 0);
	fake_turn(upload.fake->network, 0);
	fake_take(upload.fake->transport);
	fake_reply(upload.fake->transport, "$ OK done\r\n");
	assert_int_equal(upload.n_done, 1);
	assert_goes_on(&upload);
	end(&upload);
}

static void test_silence_is_the_servers_only(void **state)
{
	struct upload upload;

	(void)state;
	start(&upload, "IMAP4rev1", 5);
	expect_head(&upload, HEAD("5"));
	fake_reply(upload.fake->transport, "+\r\n");
	/* the caller has nothing to write */
	fake_turn(upload.fake->network, 5 * FAKE_SILENCE_TIMEOUT_MS);
	assert_int_equal(upload.n_done, 0);
	/* the server takes nothing */
	fake_hold(upload.fake->transport);
	imap_append_write(upload.append, SPAN_LIT("abc"));
	fake_turn(upload.fake->network, 2 * FAKE_SILENCE_TIMEOUT_MS);
	assert_int_equal(upload.n_done, 1);
	assert_int_equal(upload.error.status, GP_DEADLINE);
	assert_false(upload.result.is_sent);
	fake_take(upload.fake->transport);
	end(&upload);
}

/* 0: queued, 1: head sent, 2: "+" came, 3: some written, 4: all written, 5: answered */
static void play_to(struct upload *upload, int moment)
{
	memset(upload, 0, sizeof *upload);
	start(upload, "IMAP4rev1", 5);
	expect_head(upload, HEAD("5"));
	if (moment >= 2) {
		fake_reply(upload->fake->transport, "+\r\n");
	}
	if (moment >= 3) {
		imap_append_write(upload->append, SPAN_LIT("abc"));
	}
	if (moment >= 4) {
		imap_append_write(upload->append, SPAN_LIT("de"));
		fake_turn(upload->fake->network, 0);
	}
	fake_take(upload->fake->transport);
}

static void test_cancelled_at_each_moment(void **state)
{
	(void)state;
	for (int moment = 1; moment <= 4; moment++) {
		struct upload upload;
		play_to(&upload, moment);
		imap_append_cancel(&upload.append);
		assert_null(upload.append);
		fake_turn(upload.fake->network, 0);
		fake_expect_nothing(upload.fake->transport); /* never padded */
		if (moment < 4) {
			fake_session_expect_closed(upload.fake, GP_LOST);
		} else {
			fake_reply(upload.fake->transport, "$ OK [APPENDUID 7 1] done\r\n");
			assert_goes_on(&upload);
		}
		assert_int_equal(upload.n_done, 0);
		end(&upload);
	}
}

static void test_cancelled_before_it_is_sent(void **state)
{
	struct upload upload;
	const struct imap_append_spec spec = {.mailbox = SPAN_LIT("INBOX"), .size = 5};

	(void)state;
	memset(&upload, 0, sizeof upload);
	upload.fake = fake_session_ready("IMAP4rev1");
	upload.append = imap_append_start(upload.fake->session, &spec, &events, &upload);
	imap_append_cancel(&upload.append);
	fake_turn(upload.fake->network, 0);
	fake_expect_nothing(upload.fake->transport);
	assert_goes_on(&upload);
	end(&upload);
}

static void test_cancelled_in_room(void **state)
{
	struct upload upload;

	(void)state;
	play_to(&upload, 1);
	upload.cancels_in_room = true;
	fake_reply(upload.fake->transport, "+\r\n");
	assert_null(upload.append);
	fake_expect_nothing(upload.fake->transport);
	fake_session_expect_closed(upload.fake, GP_LOST);
	end(&upload);
}

static void test_lost_at_each_moment(void **state)
{
	(void)state;
	for (int moment = 1; moment <= 4; moment++) {
		struct upload upload;
		play_to(&upload, moment);
		fake_end(upload.fake->transport, GP_LOST, "cut");
		assert_int_equal(upload.n_done, 1);
		assert_int_equal(upload.error.status, GP_LOST);
		assert_int_equal(upload.result.is_sent, moment == 4);
		assert_int_equal(upload.result.appended.uid, 0);
		end(&upload);
	}
}

/* Between the end of the session and its being told, the client's next piece may come. */
static void test_written_to_a_closed_session(void **state)
{
	(void)state;
	struct upload upload;
	const struct gp_error error = {.status = GP_LOST, .text = "cut"};

	play_to(&upload, 3);
	imap_session_close(upload.fake->session, &error);
	imap_append_write(upload.append, SPAN_LIT("de"));
	assert_int_equal(upload.n_done, 0);
	fake_turn(upload.fake->network, 0);
	assert_int_equal(upload.n_done, 1);
	assert_int_equal(upload.error.status, GP_LOST);
	assert_false(upload.result.is_sent);
	end(&upload);
}

static void test_what_never_left_was_not_sent(void **state)
{
	struct upload upload;

	(void)state;
	play_to(&upload, 2);
	fake_hold(upload.fake->transport);
	imap_append_write(upload.append, SPAN_LIT("abcde"));
	fake_turn(upload.fake->network, 0);
	fake_end(upload.fake->transport, GP_LOST, "cut");
	assert_int_equal(upload.n_done, 1);
	assert_false(upload.result.is_sent);
	fake_take(upload.fake->transport);
	end(&upload);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_pieces),
		cmocka_unit_test(test_appenduid_is_believed_when_it_is_one),
		cmocka_unit_test(test_refused_before_it),
		cmocka_unit_test(test_refused_in_the_midst_of_it),
		cmocka_unit_test(test_sizes_that_cannot_be),
		cmocka_unit_test(test_credit_follows_the_network),
		cmocka_unit_test(test_silence_is_the_servers_only),
		cmocka_unit_test(test_cancelled_at_each_moment),
		cmocka_unit_test(test_cancelled_before_it_is_sent),
		cmocka_unit_test(test_cancelled_in_room),
		cmocka_unit_test(test_lost_at_each_moment),
		cmocka_unit_test(test_written_to_a_closed_session),
		cmocka_unit_test(test_what_never_left_was_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
