/* UID SEARCH, UID SORT, and the position of a message. */
#include "tests/unit/imap/test_call_script.h"

static void on_found(void *ctx, const struct gp_error *error, const struct imap_uidset *uids)
{
	assert_true(!error == !!uids);
	note_end(ctx, error);
	note_uids(ctx, uids);
	note(ctx, "\n");
}

static void on_sorted(void *ctx, const struct gp_error *error, const uint32_t *uids, size_t n_uids)
{
	note_end(ctx, error);
	for (size_t i = 0; i < n_uids; i++) {
		note(ctx, " %u", (unsigned)uids[i]);
	}
	note(ctx, "\n");
}

static void on_position(void *ctx, const struct gp_error *error, uint32_t position)
{
	note_end(ctx, error);
	note(ctx, " %u\n", (unsigned)position);
}

/* Terms made anew for each start, in memory that is spoiled behind it. */
struct search_case {
	struct imap_search_term terms[4];
	size_t n_terms;
	const char *uids; /* for the UID terms; NULL: an empty set */
	const char *text; /* for the text terms */
	struct imap_sort_term sort[3];
	size_t n_sort;
};

static struct imap_call *start_with(struct fixture *f, const struct search_case *c, bool is_sort)
{
	struct imap_search_term terms[4];
	struct imap_uidset uids;
	char text[64];

	imap_uidset_init(&uids);
	if (c->uids) {
		assert_int_equal(imap_uidset_parse(&uids, span_of(c->uids)), GP_OK);
	}
	snprintf(text, sizeof text, "%s", c->text ? c->text : "");
	for (size_t i = 0; i < c->n_terms; i++) {
		terms[i] = c->terms[i];
		terms[i].uids = terms[i].kind == IMAP_SEARCH_UID ? &uids : NULL;
		terms[i].text = terms[i].kind == IMAP_SEARCH_SUBJECT ? span_of(text) : SPAN_NIL;
	}
	const struct imap_search search = {.terms = terms, .n_terms = c->n_terms};
	struct imap_call *call = is_sort ? imap_sort_start(f->fake->session, c->sort, c->n_sort, &search, on_sorted, f)
					 : imap_search_start(f->fake->session, &search, on_found, f);
	imap_uidset_deinit(&uids);
	memset(text, 'x', sizeof text);
	memset(terms, 0xAA, sizeof terms);
	return call;
}

static struct imap_call *start_search(struct fixture *f, const void *spec)
{
	return start_with(f, spec, false);
}

static struct imap_call *start_sort(struct fixture *f, const void *spec)
{
	return start_with(f, spec, true);
}

static struct imap_call *start_position(struct fixture *f, const void *spec)
{
	return imap_position_start(f->fake->session, *(const uint32_t *)spec, on_position, f);
}

#define PLAIN "IMAP4rev1"
#define EXTENDED "IMAP4rev1 ESEARCH"
#define THREE "* 3 EXISTS\r\n"

static const struct search_case seen = {.terms = {{.kind = IMAP_SEARCH_SEEN}}, .n_terms = 1};
static const struct search_case all = {.n_terms = 0};
static const struct search_case none_of_these = {.terms = {{.kind = IMAP_SEARCH_SEEN}, {.kind = IMAP_SEARCH_UID}},
						 .n_terms = 2};
static const struct search_case but_none_of_these = {
	.terms = {{.kind = IMAP_SEARCH_NOT}, {.kind = IMAP_SEARCH_UID}, {.kind = IMAP_SEARCH_SEEN}}, .n_terms = 3};
static const struct search_case subject = {
	.terms = {{.kind = IMAP_SEARCH_SUBJECT}}, .n_terms = 1, .text = "na\303\257ve"};
static const struct search_case bad_text = {.terms = {{.kind = IMAP_SEARCH_NOT}}, .n_terms = 1};

#define SEARCH(name_, capabilities_, spec_, ...)                                                                       \
	{                                                                                                              \
		.name = name_, .capabilities = capabilities_, .selected = THREE, .start = start_search, .spec = spec_, \
		__VA_ARGS__                                                                                            \
	}

static void test_plain(void **state)
{
	static const struct script scripts[] = {
		SEARCH("found", PLAIN, &seen, .steps = {C("UID SEARCH SEEN"), S("* SEARCH 4 5 9\r\n$ OK\r\n")},
		       .expected = "done OK [4:5,9]\n"),
		SEARCH("nothing", PLAIN, &seen, .steps = {C("UID SEARCH SEEN"), S("* SEARCH\r\n$ OK\r\n")},
		       .expected = "done OK []\n"),
		SEARCH("no answer", PLAIN, &seen, .steps = {C("UID SEARCH SEEN"), S("$ OK\r\n")},
		       .expected = "done OK []\n"),
		SEARCH("any order, twice, 0", PLAIN, &all,
		       .steps = {C("UID SEARCH ALL"), S("* SEARCH 9 4 0 5\r\n* SEARCH 5 3 9\r\n$ OK\r\n")},
		       .expected = "done OK [3:5,9]\n"),
		SEARCH("an empty set matches nothing", PLAIN, &none_of_these, .expected = "done OK []\n"),
		SEARCH("what is not in an empty set", PLAIN, &but_none_of_these,
		       .steps = {C("UID SEARCH NOT NOT ALL SEEN"), S("* SEARCH 4\r\n$ OK\r\n")},
		       .expected = "done OK [4]\n"),
		SEARCH("a search that is none", PLAIN, &bad_text, .expected = "done INVALID []\n"),
		SEARCH("refused", PLAIN, &seen, .steps = {C("UID SEARCH SEEN"), S("$ NO [INUSE] later\r\n")},
		       .expected = "done NO INUSE []\n"),
	};
	(void)state;
	play_scripts(scripts);
}

#define ASK "UID SEARCH RETURN (ALL COUNT) SEEN"
#define ANSWER(rest) "* ESEARCH (TAG \"A3\") " rest "\r\n"

static void test_extended(void **state)
{
	static const struct script scripts[] = {
		SEARCH("found", EXTENDED, &seen, .steps = {C(ASK), S(ANSWER("UID COUNT 3 ALL 4:5,9") "$ OK\r\n")},
		       .expected = "done OK [4:5,9]\n"),
		SEARCH("nothing", EXTENDED, &seen, .steps = {C(ASK), S(ANSWER("UID COUNT 0") "$ OK\r\n")},
		       .expected = "done OK []\n"),
		SEARCH("another command's", EXTENDED, &seen,
		       .steps = {C(ASK), S("* ESEARCH (TAG \"A99\") UID ALL 1:9\r\n" ANSWER("UID COUNT 0") "$ OK\r\n")},
		       .expected = "done OK []\n"),
		SEARCH("a plain answer", EXTENDED, &seen, .steps = {C(ASK), S("* SEARCH 9 4 5\r\n$ OK\r\n")},
		       .expected = "done OK [4:5,9]\n"),
		SEARCH("a plain answer: nothing", EXTENDED, &seen, .steps = {C(ASK), S("* SEARCH\r\n$ OK\r\n")},
		       .expected = "done OK []\n"),
		SEARCH("ALL is missing", EXTENDED, &seen,
		       .steps = {C(ASK), S(ANSWER("UID COUNT 2") "$ OK\r\n"), C("UID SEARCH SEEN"),
				 S("* SEARCH 4 9\r\n$ OK\r\n")},
		       .expected = "done OK [4,9]\n"),
		SEARCH("no answer", EXTENDED, &seen,
		       .steps = {C(ASK), S("$ OK\r\n"), C("UID SEARCH SEEN"), S("* SEARCH 4 9\r\n$ OK\r\n")},
		       .expected = "done OK [4,9]\n"),
		SEARCH("an empty answer", EXTENDED, &seen,
		       .steps = {C(ASK), S(ANSWER("UID") "$ OK\r\n"), C("UID SEARCH SEEN"),
				 S("* SEARCH 4\r\n$ OK\r\n")},
		       .expected = "done OK [4]\n"),
		SEARCH("ranges over what does not match", EXTENDED, &seen,
		       .steps = {C(ASK), S(ANSWER("UID COUNT 2 ALL 4:9") "$ OK\r\n"), C("UID SEARCH SEEN"),
				 S("* SEARCH 4 9\r\n$ OK\r\n")},
		       .expected = "done OK [4,9]\n"),
		SEARCH("not understood", EXTENDED, &seen,
		       .steps = {C(ASK), S("$ BAD what\r\n"), C("UID SEARCH SEEN"), S("* SEARCH 4\r\n$ OK\r\n")},
		       .expected = "done OK [4]\n"),
		SEARCH("not understood either way", EXTENDED, &seen,
		       .steps = {C(ASK), S("$ BAD what\r\n"), C("UID SEARCH SEEN"), S("$ BAD what\r\n")},
		       .expected = "done BAD []\n"),
		SEARCH("throttled", EXTENDED, &seen, .steps = {C(ASK), S("$ BAD Request is throttled.\r\n")},
		       .expected = "done THROTTLED []\n"),
		{.name = "an empty mailbox",
		 .capabilities = EXTENDED,
		 .selected = "* 0 EXISTS\r\n",
		 .start = start_search,
		 .spec = &seen,
		 .steps = {C(ASK), S("$ OK\r\n")},
		 .expected = "done OK []\n"},
	};
	(void)state;
	play_scripts(scripts);
}

#define NAIVE "SUBJECT {6+}"

static void test_charset(void **state)
{
	static const char *const refusals[] = {"NO [BADCHARSET (US-ASCII)] no", "NO [BADCHARSET] no",
					       "BAD [BADCHARSET] no", "NO Charset not supported"};

	(void)state;
	for (size_t i = 0; i <= sizeof refusals / sizeof *refusals; i++) {
		bool is_refused = i < sizeof refusals / sizeof *refusals;
		struct fixture f;
		char reply[100];
		fixture_init(&f, PLAIN " LITERAL+", THREE);
		f.call = start_search(&f, &subject);
		fake_turn(f.fake->network, 0);
		fake_expect(f.fake->transport, "UID SEARCH CHARSET UTF-8 " NAIVE);
		fake_expect_line(f.fake->transport, "na\303\257ve");
		snprintf(reply, sizeof reply, "$ %s\r\n", is_refused ? refusals[i] : "OK done");
		fake_reply(f.fake->transport, reply);
		assert_string_equal(f.log.data, is_refused ? "done UNSUPPORTED BADCHARSET []\n" : "done OK []\n");
		fixture_deinit(&f);
	}
}

/* What was learned holds for the session. */
static void test_esearch_is_given_up(void **state)
{
	static const char *const answers[] = {"$ OK\r\n", "$ BAD what\r\n", ANSWER("UID COUNT 2") "$ OK\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		struct fixture f;
		fixture_init(&f, EXTENDED, THREE);
		f.call = start_search(&f, &seen);
		fake_turn(f.fake->network, 0);
		fake_expect(f.fake->transport, ASK);
		fake_reply(f.fake->transport, answers[i]);
		fake_expect(f.fake->transport, "UID SEARCH SEEN");
		fake_reply(f.fake->transport, "* SEARCH 4\r\n$ OK\r\n");
		assert_int_equal(f.n_done, 1);
		assert_false(imap_session_can(f.fake->session, IMAP_CAP_ESEARCH));
		fixture_deinit(&f);
	}
	struct fixture f;
	fixture_init(&f, EXTENDED, THREE);
	f.call = start_search(&f, &seen);
	fake_turn(f.fake->network, 0);
	fake_expect(f.fake->transport, ASK);
	fake_reply(f.fake->transport, ANSWER("UID COUNT 0") "$ OK\r\n");
	assert_true(imap_session_can(f.fake->session, IMAP_CAP_ESEARCH));
	fixture_deinit(&f);
}

#define N_SPARSE 4000

static void test_long_set(void **state)
{
	static const char *const capabilities[] = {PLAIN, EXTENDED};

	(void)state;
	for (size_t way = 0; way < 2; way++) {
		struct imap_uidset uids, asked;
		struct imap_search_term terms[] = {{.kind = IMAP_SEARCH_SEEN},
						   {.kind = IMAP_SEARCH_UID, .uids = &uids}};
		const struct imap_search search = {.terms = terms, .n_terms = 2};
		struct fixture f;
		size_t n_commands = 0;

		imap_uidset_init(&uids);
		imap_uidset_init(&asked);
		for (uint32_t i = 1; i <= N_SPARSE; i++) {
			assert_int_equal(imap_uidset_add(&uids, i * 3, i * 3), GP_OK);
		}
		fixture_init(&f, capabilities[way], "* 30000 EXISTS\r\n");
		f.call = imap_search_start(f.fake->session, &search, on_found, &f);
		imap_uidset_deinit(&uids);
		for (fake_turn(f.fake->network, 0); f.n_done == 0; n_commands++) {
			char text[GP_MAX_IMAP_SET_BYTES + 1], tag[32], reply[300];
			char *taken = strdup(fake_take(f.fake->transport));
			assert_non_null(taken);
			for (const char *line = taken; *line; line = strstr(line, "\r\n") + 2) {
				const char *set = strstr(line, " SEEN UID ");
				struct imap_uidset part;
				assert_non_null(set);
				assert_int_equal(sscanf(line, "%31s", tag), 1);
				assert_int_equal(sscanf(set, " SEEN UID %7000[0-9,:]", text), 1);
				imap_uidset_init(&part);
				assert_int_equal(imap_uidset_parse(&part, span_of(text)), GP_OK);
				assert_int_equal(imap_uidset_add_all(&asked, &part), GP_OK);
				unsigned first = (unsigned)part.ranges[0].first;
				imap_uidset_deinit(&part);
				if (way == 0) {
					snprintf(reply, sizeof reply, "* SEARCH %u\r\n%s OK\r\n", first, tag);
				} else {
					snprintf(reply, sizeof reply,
						 "* ESEARCH (TAG \"%s\") UID COUNT 1 ALL %u\r\n%s OK\r\n", tag, first,
						 tag);
				}
				fake_feed(f.fake->transport, reply);
			}
			assert_true(*taken != '\0');
			free(taken);
		}
		assert_true(n_commands >= 1);
		assert_int_equal(imap_uidset_count(&asked), N_SPARSE);
		assert_true(span_starts_with(gp_buffer_span(&f.log), "done OK [3,"));
		imap_uidset_deinit(&asked);
		fixture_deinit(&f);
	}
}

/* ---- SORT ---- */

static const struct search_case by_two = {.terms = {{.kind = IMAP_SEARCH_SEEN}},
					  .n_terms = 1,
					  .sort = {{IMAP_SORT_ARRIVAL, true}, {IMAP_SORT_FROM, false}},
					  .n_sort = 2};
static const struct search_case by_subject = {
	.terms = {{.kind = IMAP_SEARCH_ALL}}, .n_terms = 1, .sort = {{IMAP_SORT_SUBJECT, false}}, .n_sort = 1};
static const struct search_case by_subject_of_none = {
	.terms = {{.kind = IMAP_SEARCH_UID}}, .n_terms = 1, .sort = {{IMAP_SORT_SUBJECT, false}}, .n_sort = 1};
static const struct search_case by_nothing = {.terms = {{.kind = IMAP_SEARCH_ALL}}, .n_terms = 1};

#define SORT(name_, capabilities_, spec_, ...)                                                                         \
	{                                                                                                              \
		.name = name_, .capabilities = capabilities_, .selected = THREE, .start = start_sort, .spec = spec_,   \
		__VA_ARGS__                                                                                            \
	}

static void test_sort(void **state)
{
	static const struct script scripts[] = {
		SORT("order is kept", PLAIN " SORT", &by_two,
		     .steps = {C("UID SORT (REVERSE ARRIVAL FROM) US-ASCII SEEN"), S("* SORT 9 4 0 5\r\n$ OK\r\n")},
		     .expected = "done OK 9 4 5\n"),
		SORT("by display names", PLAIN " SORT SORT=DISPLAY", &by_two,
		     .steps = {C("UID SORT (REVERSE ARRIVAL DISPLAYFROM) US-ASCII SEEN"), S("* SORT\r\n$ OK\r\n")},
		     .expected = "done OK\n"),
		SORT("no answer", PLAIN " SORT", &by_subject,
		     .steps = {C("UID SORT (SUBJECT) US-ASCII ALL"), S("$ OK\r\n")}, .expected = "done OK\n"),
		SORT("of nothing", PLAIN " SORT", &by_subject_of_none, .expected = "done OK\n"),
		SORT("by nothing", PLAIN " SORT", &by_nothing, .expected = "done INVALID\n"),
		SORT("cannot", PLAIN, &by_subject, .expected = "done UNSUPPORTED\n"),
		SORT("refused", PLAIN " SORT", &by_subject,
		     .steps = {C("UID SORT (SUBJECT) US-ASCII ALL"), S("* SORT 4\r\n$ NO [LIMIT] no\r\n")},
		     .expected = "done NO LIMIT\n"),
		SORT("charset", PLAIN " SORT", &by_subject,
		     .steps = {C("UID SORT (SUBJECT) US-ASCII ALL"), S("$ NO [BADCHARSET] no\r\n")},
		     .expected = "done UNSUPPORTED BADCHARSET\n"),
	};
	(void)state;
	play_scripts(scripts);
}

/* ---- position ---- */

static const uint32_t uid_100 = 100;
static const uint32_t uid_0 = 0;
static const uint32_t uid_max = UINT32_MAX;

#define POSITION(name_, capabilities_, ...)                                                                            \
	{                                                                                                              \
		.name = name_, .capabilities = capabilities_, .selected = THREE, .start = start_position,              \
		.spec = &uid_100, __VA_ARGS__                                                                          \
	}
#define ASK_MIN "SEARCH RETURN (MIN COUNT) UID 100:4294967294"
#define ASK_PLAIN "SEARCH UID 100:4294967294"

static void test_position(void **state)
{
	static const struct script scripts[] = {
		POSITION("plain", PLAIN, .steps = {C(ASK_PLAIN), S("* SEARCH 3 2\r\n$ OK\r\n")},
			 .expected = "done OK 2\n"),
		POSITION("plain: none", PLAIN, .steps = {C(ASK_PLAIN), S("* SEARCH\r\n$ OK\r\n")},
			 .expected = "done OK 0\n"),
		POSITION("extended", EXTENDED, .steps = {C(ASK_MIN), S(ANSWER("MIN 2 COUNT 2") "$ OK\r\n")},
			 .expected = "done OK 2\n"),
		POSITION("extended: none", EXTENDED, .steps = {C(ASK_MIN), S(ANSWER("COUNT 0") "$ OK\r\n")},
			 .expected = "done OK 0\n"),
		POSITION("a plain answer", EXTENDED, .steps = {C(ASK_MIN), S("* SEARCH 2 3\r\n$ OK\r\n")},
			 .expected = "done OK 2\n"),
		POSITION("a UID in its place", EXTENDED,
			 .steps = {C(ASK_MIN), S(ANSWER("UID MIN 2") "$ OK\r\n"), C(ASK_PLAIN),
				   S("* SEARCH 3\r\n$ OK\r\n")},
			 .expected = "done OK 3\n"),
		POSITION("MIN is missing", EXTENDED,
			 .steps = {C(ASK_MIN), S(ANSWER("COUNT 2") "$ OK\r\n"), C(ASK_PLAIN),
				   S("* SEARCH 2 3\r\n$ OK\r\n")},
			 .expected = "done OK 2\n"),
		POSITION("not understood", EXTENDED,
			 .steps = {C(ASK_MIN), S("$ BAD what\r\n"), C(ASK_PLAIN), S("* SEARCH 2 3\r\n$ OK\r\n")},
			 .expected = "done OK 2\n"),
		POSITION("messages go meanwhile", EXTENDED,
			 .steps = {C(ASK_MIN), S(ANSWER("MIN 2 COUNT 2") "* 1 EXPUNGE\r\n$ OK\r\n"), C(ASK_MIN),
				   S(ANSWER("MIN 2 COUNT 1") "* ESEARCH (TAG \"A4\") MIN 1 COUNT 2\r\n$ OK\r\n")},
			 .expected = "done OK 1\n"),
		POSITION("all of them go", EXTENDED,
			 .steps = {C(ASK_MIN),
				   S(ANSWER("MIN 2 COUNT 2") "* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n$ OK\r\n")},
			 .expected = "done OK 0\n"),
		POSITION("past the end", PLAIN, .steps = {C(ASK_PLAIN), S("* SEARCH 4\r\n$ OK\r\n")},
			 .expected = "done PROTOCOL 0\n"),
		POSITION("refused", EXTENDED, .steps = {C(ASK_MIN), S("$ NO no\r\n")}, .expected = "done NO 0\n"),
		{.name = "of any UID",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_position,
		 .spec = &uid_0,
		 .steps = {C("SEARCH UID 1:4294967294"), S("* SEARCH 1 2 3\r\n$ OK\r\n")},
		 .expected = "done OK 1\n"},
		{.name = "of the last UID there can be",
		 .capabilities = PLAIN,
		 .selected = THREE,
		 .start = start_position,
		 .spec = &uid_max,
		 .expected = "done OK 0\n"},
		{.name = "in an empty mailbox",
		 .capabilities = EXTENDED,
		 .selected = "* 0 EXISTS\r\n",
		 .start = start_position,
		 .spec = &uid_100,
		 .expected = "done OK 0\n"},
	};
	(void)state;
	play_scripts(scripts);
}

static void test_position_never_rests(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, PLAIN, "* 1000 EXISTS\r\n");
	f.call = start_position(&f, &uid_100);
	fake_turn(f.fake->network, 0);
	for (int i = 0; i < 4; i++) {
		fake_expect(f.fake->transport, ASK_PLAIN);
		fake_reply(f.fake->transport, "* 1 EXPUNGE\r\n* SEARCH 2\r\n$ OK\r\n");
	}
	fake_expect_nothing(f.fake->transport);
	assert_string_equal(f.log.data, "done STALE 0\n");
	fixture_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),    cmocka_unit_test(test_extended),
		cmocka_unit_test(test_charset),  cmocka_unit_test(test_esearch_is_given_up),
		cmocka_unit_test(test_long_set), cmocka_unit_test(test_sort),
		cmocka_unit_test(test_position), cmocka_unit_test(test_position_never_rests),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
