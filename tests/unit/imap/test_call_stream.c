/* A section as a stream of windows. */
#include "tests/unit/imap/test_call_script.h"

static void on_data(void *ctx, struct span bytes)
{
	note(ctx, "data %.*s\n", SPAN_ARGS(bytes));
	on_callback(ctx);
}

static const struct imap_stream_events events = {.data = on_data, .done = script_on_done};

static struct imap_call *start_stream(struct fixture *f, const void *spec_pointer)
{
	struct imap_stream_spec spec = *(const struct imap_stream_spec *)spec_pointer;
	char section[32];

	snprintf(section, sizeof section, "%s", spec.section);
	spec.section = section;
	f->stream = imap_stream_start(f->fake->session, &spec, &events, f);
	assert_non_null(f->stream);
	memset(section, 'x', sizeof section);
	imap_stream_want(f->stream, GP_STREAM_WINDOW * 3);
	return (struct imap_call *)f->stream;
}

#define PLAIN "IMAP4rev1"
#define THREE "* 3 EXISTS\r\n"

static const struct imap_stream_spec ten = {.uid = 7, .section = "1", .origin = 20, .len = 10};
static const struct imap_stream_spec first_ten = {.uid = 7, .section = "1", .origin = 0, .len = 10};
static const struct imap_stream_spec to_end = {.uid = 7, .section = "", .origin = 0, .len = UINT64_MAX};
static const struct imap_stream_spec nothing = {.uid = 7, .section = "", .origin = 0, .len = 0};
static const struct imap_stream_spec no_section = {.uid = 7, .section = "1.a", .origin = 0, .len = 10};

#define STREAM(name_, spec_, ...)                                                                                      \
	{                                                                                                              \
		.name = name_, .capabilities = PLAIN, .selected = THREE, .start = start_stream, .spec = spec_,         \
		__VA_ARGS__                                                                                            \
	}
#define ASK_TEN C("UID FETCH 7 (UID BODY.PEEK[1]<20.10>)")
#define ASK_FIRST C("UID FETCH 7 (UID BODY.PEEK[1]<0.10>)")
#define ASK_ALL C("UID FETCH 7 (UID BODY.PEEK[]<0.262144>)")
#define TEN "\"0123456789\""

static void test_one_window(void **state)
{
	static const struct script scripts[] = {
		STREAM("full", &ten,
		       .steps = {ASK_TEN, S("* 1 FETCH (UID 7 BODY[1]<20> {10}\r\n0123456789)\r\n$ OK\r\n")},
		       .expected = "data 0123456789\ndone OK\n"),
		STREAM("short", &ten, .steps = {ASK_TEN, S("* 1 FETCH (UID 7 BODY[1]<20> \"012\")\r\n$ OK\r\n")},
		       .expected = "data 012\ndone OK\n"),
		STREAM("empty", &ten, .steps = {ASK_TEN, S("* 1 FETCH (UID 7 BODY[1]<20> \"\")\r\n$ OK\r\n")},
		       .expected = "done OK\n"),
		STREAM("to the end", &to_end, .steps = {ASK_ALL, S("* 1 FETCH (BODY[]<0> \"012\" UID 7)\r\n$ OK\r\n")},
		       .expected = "data 012\ndone OK\n"),
		STREAM("an empty message", &to_end,
		       .steps = {ASK_ALL, S("* 1 FETCH (UID 7 BODY[]<0> \"\")\r\n$ OK\r\n")}, .expected = "done OK\n"),
		STREAM("nothing is not asked", &nothing, .expected = "done OK\n"),
		STREAM("what is no section", &no_section, .expected = "done INVALID\n"),
		STREAM("a server without partial FETCH", &first_ten,
		       .steps = {ASK_FIRST, S("* 1 FETCH (UID 7 BODY[1] \"012\")\r\n$ OK\r\n")},
		       .expected = "data 012\ndone OK\n"),
		STREAM("full, and NO for another reason", &ten,
		       .steps = {ASK_TEN, S("* 1 FETCH (UID 7 BODY[1]<20> " TEN ")\r\n$ NO [EXPUNGEISSUED] some\r\n")},
		       .expected = "data 0123456789\ndone OK\n"),
	};
	(void)state;
	play_scripts(scripts);
}

static void test_gone(void **state)
{
	static const struct script scripts[] = {
		STREAM("no row", &ten, .steps = {ASK_TEN, S("$ OK\r\n")}, .expected = "done NOT_FOUND\n"),
		STREAM("NIL", &ten, .steps = {ASK_TEN, S("* 1 FETCH (UID 7 BODY[1]<20> NIL)\r\n$ OK\r\n")},
		       .expected = "done NOT_FOUND\n"),
		STREAM("EXPUNGEISSUED", &ten, .steps = {ASK_TEN, S("$ NO [EXPUNGEISSUED] gone\r\n")},
		       .expected = "done NOT_FOUND\n"),
		STREAM("in words", &ten, .steps = {ASK_TEN, S("$ NO Some messages no longer exist\r\n")},
		       .expected = "done NOT_FOUND\n"),
		STREAM("short, and NO", &ten,
		       .steps = {ASK_TEN, S("* 1 FETCH (UID 7 BODY[1]<20> \"012\")\r\n$ NO [SERVERBUG] oops\r\n")},
		       .expected = "done NO SERVERBUG\n"),
		STREAM("refused", &ten, .steps = {ASK_TEN, S("$ NO [LIMIT] no\r\n")}, .expected = "done NO LIMIT\n"),
		STREAM("not understood", &ten, .steps = {ASK_TEN, S("$ BAD what\r\n")}, .expected = "done BAD\n"),
	};
	(void)state;
	play_scripts(scripts);
}

static void test_hostile(void **state)
{
	static const struct script scripts[] = {
		STREAM("another message", &ten,
		       .steps = {ASK_TEN, S("* 1 FETCH (UID 8 BODY[1]<20> " TEN ")\r\n$ OK\r\n")},
		       .expected = "done NOT_FOUND\n"),
		STREAM("no UID", &ten, .steps = {ASK_TEN, S("* 1 FETCH (BODY[1]<20> " TEN ")\r\n$ OK\r\n")},
		       .expected = "done NOT_FOUND\n"),
		STREAM("another section", &ten,
		       .steps = {ASK_TEN, S("* 1 FETCH (UID 7 BODY[1.1]<20> " TEN ")\r\n$ OK\r\n")},
		       .expected = "done NOT_FOUND\n"),
		STREAM("another origin", &ten,
		       .steps = {ASK_TEN, S("* 1 FETCH (UID 7 BODY[1]<0> " TEN ")\r\n$ OK\r\n")},
		       .expected = "done PROTOCOL\n"),
		STREAM("no origin", &ten, .steps = {ASK_TEN, S("* 1 FETCH (UID 7 BODY[1] " TEN ")\r\n$ OK\r\n")},
		       .expected = "done PROTOCOL\n"),
		STREAM("too long", &ten,
		       .steps = {ASK_TEN, S("* 1 FETCH (UID 7 BODY[1]<20> \"0123456789a\")\r\n$ OK\r\n")},
		       .expected = "done PROTOCOL\n"),
		STREAM("all of it for a part", &first_ten,
		       .steps = {ASK_FIRST, S("* 1 FETCH (UID 7 BODY[1] \"0123456789a\")\r\n$ OK\r\n")},
		       .expected = "done PROTOCOL\n"),
		STREAM("twice", &ten,
		       .steps = {ASK_TEN, S("* 1 FETCH (UID 7 BODY[1]<20> " TEN " BODY[1]<20> " TEN ")\r\n"
					    "* 1 FETCH (UID 7 BODY[1]<20> \"x\")\r\n$ OK\r\n")},
		       .expected = "data 0123456789\ndone OK\n"),
		STREAM("another reader's shorter piece first", &ten,
		       .steps = {ASK_TEN, S("* 1 FETCH (UID 7 BODY[1]<20> \"01\")\r\n"
					    "* 1 FETCH (UID 7 BODY[1]<20> \"01234\")\r\n"
					    "* 1 FETCH (UID 7 BODY[1]<20> \"012\")\r\n$ OK\r\n")},
		       .expected = "data 01234\ndone OK\n"),
		STREAM("another reader's pieces around", &ten,
		       .steps = {ASK_TEN, S("* 1 FETCH (UID 7 BODY[1]<20> \"0123456789ab\")\r\n"
					    "* 1 FETCH (UID 7 BODY[1]<0> \"xx\" FLAGS ())\r\n"
					    "* 1 FETCH (UID 7 BODY[1]<20> " TEN ")\r\n$ OK\r\n")},
		       .expected = "data 0123456789\ndone OK\n"),
	};
	(void)state;
	play_scripts(scripts);
}

/* ---- several windows ---- */

#define W GP_STREAM_WINDOW

struct receiver {
	struct fixture f;
	struct imap_stream *stream; /* link */
	uint64_t origin;
	uint64_t n_received;
	size_t n_done;
	enum gp_status status;
	size_t want_next; /* credit that is given within each data(); 0: none */
	bool must_cancel;
};

/* The byte of the section at this place. */
static char byte_at(uint64_t place)
{
	return (char)('a' + place * 7 % 23 + place / W % 3);
}

static void on_piece(void *ctx, struct span bytes)
{
	struct receiver *r = ctx;

	assert_int_equal(r->n_done, 0);
	assert_non_null(r->stream);
	for (size_t i = 0; i < bytes.len; i++) {
		if (bytes.ptr[i] != byte_at(r->origin + r->n_received + i)) {
			fail_msg("byte %zu after %zu is wrong", i, (size_t)r->n_received);
		}
	}
	r->n_received += bytes.len;
	if (r->must_cancel) {
		imap_stream_cancel(&r->stream);
	} else if (r->want_next > 0) {
		imap_stream_want(r->stream, r->want_next);
	}
}

static void on_end(void *ctx, const struct gp_error *error)
{
	struct receiver *r = ctx;

	assert_int_equal(r->n_done, 0);
	r->n_done++;
	r->status = error ? error->status : GP_OK;
	imap_stream_want(r->stream, W * 9); /* too late, and harmless */
	r->stream = NULL;
}

static const struct imap_stream_events piece_events = {.data = on_piece, .done = on_end};

static void receiver_init(struct receiver *r, uint64_t origin, uint64_t len)
{
	memset(r, 0, sizeof *r);
	r->origin = origin;
	fixture_init(&r->f, PLAIN, THREE);
	const struct imap_stream_spec spec = {.uid = 7, .section = "1", .origin = origin, .len = len};
	r->stream = imap_stream_start(r->f.fake->session, &spec, &piece_events, r);
	assert_non_null(r->stream);
}

static void receiver_deinit(struct receiver *r)
{
	imap_stream_cancel(&r->stream);
	fixture_deinit(&r->f);
}

static void want(struct receiver *r, size_t credit)
{
	imap_stream_want(r->stream, credit);
	fake_turn(r->f.fake->network, 0);
}

static const char *expect_window(struct receiver *r, uint64_t origin, size_t len)
{
	char line[100];

	snprintf(line, sizeof line, "UID FETCH 7 (UID BODY.PEEK[1]<%llu.%zu>)", (unsigned long long)origin, len);
	return fake_expect(r->f.fake->transport, line);
}

static void expect_nothing(struct receiver *r)
{
	fake_expect_nothing(r->f.fake->transport);
}

static void send_row(struct receiver *r, uint64_t origin, size_t len)
{
	struct gp_buffer text;
	char *room;

	gp_buffer_init(&text, W * 2);
	assert_int_equal(
		gp_buffer_printf(&text, "* 1 FETCH (UID 7 BODY[1]<%llu> {%zu}\r\n", (unsigned long long)origin, len),
		GP_OK);
	assert_int_equal(gp_buffer_reserve(&text, len, &room), GP_OK);
	for (size_t i = 0; i < len; i++) {
		room[i] = byte_at(origin + i);
	}
	gp_buffer_commit(&text, len);
	assert_int_equal(gp_buffer_append(&text, SPAN_LIT(")\r\n")), GP_OK);
	fake_feed_bytes(r->f.fake->transport, gp_buffer_span(&text));
	gp_buffer_deinit(&text);
}

static void send_tagged(struct receiver *r, const char *tag, const char *text)
{
	char line[200];

	snprintf(line, sizeof line, "%s %s\r\n", tag, text);
	fake_feed(r->f.fake->transport, line);
}

static void answer(struct receiver *r, const char *tag, uint64_t origin, size_t len)
{
	send_row(r, origin, len);
	send_tagged(r, tag, "OK");
}

static void test_credit(void **state)
{
	struct receiver r;

	(void)state;
	receiver_init(&r, 5, W * 2 + 10);
	fake_turn(r.f.fake->network, 0);
	expect_nothing(&r);
	want(&r, W - 1);
	expect_nothing(&r);
	want(&r, W);
	const char *first = expect_window(&r, 5, W);
	expect_nothing(&r);
	want(&r, W * 2 - 1);
	expect_nothing(&r);
	want(&r, W * 2);
	const char *second = expect_window(&r, 5 + W, W);
	/* two in flight at most, whatever the credit */
	want(&r, W * 9);
	expect_nothing(&r);
	want(&r, W * 2);
	answer(&r, first, 5, W);
	assert_int_equal(r.n_received, W);
	/* the credit that is left is for the window in flight */
	expect_nothing(&r);
	want(&r, W + 9);
	expect_nothing(&r);
	want(&r, W + 10);
	const char *third = expect_window(&r, 5 + W * 2, 10);
	answer(&r, second, 5 + W, W);
	assert_int_equal(r.n_done, 0);
	answer(&r, third, 5 + W * 2, 10);
	expect_nothing(&r);
	assert_int_equal(r.n_received, W * 2 + 10);
	assert_int_equal(r.n_done, 1);
	assert_int_equal(r.status, GP_OK);
	receiver_deinit(&r);
}

static void test_credit_from_within(void **state)
{
	struct receiver r;

	(void)state;
	receiver_init(&r, 0, W * 10);
	r.want_next = W * 2;
	want(&r, W * 2);
	const char *tags[2] = {expect_window(&r, 0, W), expect_window(&r, W, W)};
	for (uint64_t i = 0; i < 10; i++) {
		const char *tag = tags[i % 2];
		answer(&r, tag, i * W, W);
		if (i + 2 < 10) {
			tags[i % 2] = expect_window(&r, (i + 2) * W, W);
		}
		expect_nothing(&r);
	}
	assert_int_equal(r.n_received, W * 10);
	assert_int_equal(r.n_done, 1);
	receiver_deinit(&r);
}

static void test_out_of_order(void **state)
{
	struct receiver r;

	(void)state;
	/* the rows, and the tagged answers, in either order */
	for (int way = 0; way < 4; way++) {
		receiver_init(&r, 0, W * 2);
		want(&r, W * 2);
		const char *first = expect_window(&r, 0, W);
		const char *second = expect_window(&r, W, W);
		if (way == 0 || way == 3) {
			answer(&r, second, W, W);
			assert_int_equal(r.n_received, 0);
			answer(&r, first, 0, W);
		} else {
			send_row(&r, way == 1 ? W : 0, W);
			send_row(&r, way == 1 ? 0 : W, W);
			assert_int_equal(r.n_received, W * 2);
			assert_int_equal(r.n_done, 0);
			send_tagged(&r, second, "OK");
			send_tagged(&r, first, "OK");
		}
		assert_int_equal(r.n_received, W * 2);
		assert_int_equal(r.n_done, 1);
		assert_int_equal(r.status, GP_OK);
		receiver_deinit(&r);
	}
}

/* The second window waits for the first, then they go in pairs. */
static void test_unknown_length(void **state)
{
	struct receiver r;

	(void)state;
	receiver_init(&r, 0, UINT64_MAX);
	r.want_next = W * 4;
	want(&r, W * 4);
	const char *first = expect_window(&r, 0, W);
	expect_nothing(&r);
	answer(&r, first, 0, W);
	const char *second = expect_window(&r, W, W);
	const char *third = expect_window(&r, W * 2, W);
	expect_nothing(&r);
	answer(&r, second, W, 10);
	assert_int_equal(r.n_done, 1);
	assert_int_equal(r.status, GP_OK);
	assert_int_equal(r.n_received, W + 10);
	/* nobody waits for the third, and it harms nobody */
	answer(&r, third, W * 2, 0);
	expect_nothing(&r);
	assert_int_equal(imap_session_n_commands(r.f.fake->session), 0);
	receiver_deinit(&r);

	/* a section of exactly one window costs one command more */
	receiver_init(&r, 0, UINT64_MAX);
	want(&r, W);
	first = expect_window(&r, 0, W);
	answer(&r, first, 0, W);
	assert_int_equal(r.n_done, 0);
	want(&r, W);
	second = expect_window(&r, W, W);
	answer(&r, second, W, 0);
	assert_int_equal(r.n_done, 1);
	assert_int_equal(r.status, GP_OK);
	receiver_deinit(&r);
}

static void test_gone_in_mid_stream(void **state)
{
	static const char *const answers[] = {"OK", "NO [EXPUNGEISSUED] gone", "NO it does not matter why"};
	static const enum gp_status statuses[] = {GP_NOT_FOUND, GP_NOT_FOUND, GP_NO};

	(void)state;
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		struct receiver r;
		receiver_init(&r, 0, W * 4);
		want(&r, W * 4);
		const char *first = expect_window(&r, 0, W);
		const char *second = expect_window(&r, W, W);
		answer(&r, first, 0, W);
		const char *third = expect_window(&r, W * 2, W);
		send_tagged(&r, second, answers[i]);
		/* nothing more is sent, and nothing is passed on behind a hole */
		expect_nothing(&r);
		answer(&r, third, W * 2, W);
		assert_int_equal(r.n_received, W);
		assert_int_equal(r.n_done, 1);
		assert_int_equal(r.status, statuses[i]);
		receiver_deinit(&r);
	}
}

static void test_cancel_and_loss(void **state)
{
	struct receiver r;

	(void)state;
	receiver_init(&r, 0, W * 4);
	r.must_cancel = true;
	want(&r, W * 4);
	const char *first = expect_window(&r, 0, W);
	const char *second = expect_window(&r, W, W);
	/* both windows become ready at once: the first one's data() cancels */
	send_row(&r, W, W);
	send_row(&r, 0, W);
	assert_int_equal(r.n_received, W);
	assert_null(r.stream);
	send_tagged(&r, first, "OK");
	send_tagged(&r, second, "OK");
	expect_nothing(&r);
	assert_int_equal(r.n_done, 0);
	assert_int_equal(imap_session_n_commands(r.f.fake->session), 0);
	receiver_deinit(&r);

	receiver_init(&r, 0, W * 2);
	want(&r, W * 2);
	(void)expect_window(&r, 0, W);
	(void)expect_window(&r, W, W);
	send_row(&r, 0, W);
	fake_end(r.f.fake->transport, GP_LOST, "cut");
	assert_int_equal(r.n_received, W);
	assert_int_equal(r.n_done, 1);
	assert_int_equal(r.status, GP_LOST);
	receiver_deinit(&r);

	/* lost while it waits for credit: told with the next command */
	receiver_init(&r, 0, W * 2);
	fake_turn(r.f.fake->network, 0);
	fake_end(r.f.fake->transport, GP_LOST, "cut");
	assert_int_equal(r.n_done, 0);
	want(&r, W * 2);
	assert_int_equal(r.n_done, 1);
	assert_int_equal(r.status, GP_LOST);
	receiver_deinit(&r);
}

/* Two readers of one section on one session: neither takes the other's pieces. */
static void test_two_readers(void **state)
{
	struct receiver r, other = {.n_done = 0};
	const struct imap_stream_spec spec = {.uid = 7, .section = "1", .origin = 0, .len = 10};

	(void)state;
	for (int way = 0; way < 2; way++) {
		receiver_init(&r, 0, W);
		memset(&other, 0, sizeof other);
		other.stream = imap_stream_start(r.f.fake->session, &spec, &piece_events, &other);
		imap_stream_want(way == 0 ? r.stream : other.stream, W);
		imap_stream_want(way == 0 ? other.stream : r.stream, W);
		fake_turn(r.f.fake->network, 0);
		const char *tag = expect_window(&r, 0, way == 0 ? W : 10);
		const char *other_tag = expect_window(&r, 0, way == 0 ? 10 : W);
		answer(&r, tag, 0, way == 0 ? W : 10);
		answer(&r, other_tag, 0, way == 0 ? 10 : W);
		assert_int_equal(r.n_received, W);
		assert_int_equal(other.n_received, 10);
		assert_true(r.n_done == 1 && r.status == GP_OK);
		assert_true(other.n_done == 1 && other.status == GP_OK);
		receiver_deinit(&r);
	}
}

/* The caller may ask for less at a time, never for more. */
static void test_window(void **state)
{
	static const size_t windows[] = {16, W * 2};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		size_t window = i == 0 ? 16 : W;
		const struct imap_stream_spec spec = {
			.uid = 7, .section = "1", .len = UINT64_MAX, .window = windows[i]};
		struct receiver r;
		memset(&r, 0, sizeof r);
		fixture_init(&r.f, PLAIN, THREE);
		r.stream = imap_stream_start(r.f.fake->session, &spec, &piece_events, &r);
		want(&r, window - 1);
		expect_nothing(&r);
		want(&r, window * 2);
		const char *tag = expect_window(&r, 0, window);
		expect_nothing(&r);
		answer(&r, tag, 0, window);
		tag = expect_window(&r, window, window);
		expect_nothing(&r);
		answer(&r, tag, window, 3);
		assert_true(r.n_done == 1 && r.status == GP_OK && r.n_received == window + 3);
		receiver_deinit(&r);
	}
}

static void test_no_stream_without_end(void **state)
{
	struct receiver r;

	(void)state;
	receiver_init(&r, UINT32_MAX - W, UINT64_MAX);
	r.want_next = W * 4;
	want(&r, W * 4);
	const char *tag = expect_window(&r, UINT32_MAX - W, W);
	answer(&r, tag, UINT32_MAX - W, W);
	expect_nothing(&r);
	assert_int_equal(r.n_done, 1);
	assert_int_equal(r.status, GP_LIMIT);
	receiver_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_window),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_credit),
		cmocka_unit_test(test_credit_from_within),
		cmocka_unit_test(test_out_of_order),
		cmocka_unit_test(test_unknown_length),
		cmocka_unit_test(test_gone_in_mid_stream),
		cmocka_unit_test(test_cancel_and_loss),
		cmocka_unit_test(test_two_readers),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_no_stream_without_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
