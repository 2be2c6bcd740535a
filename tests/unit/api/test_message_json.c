/* Rows made by hand, as the parser would hand them out. */
#include "api/message_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#include "api/message_rows.h"
#include "base/limits.h"

#define S(text) SPAN_LIT(text)
#define FFFD "\xEF\xBF\xBD"

struct fixture {
	struct gp_arena arena;
	struct gp_buffer out;
	struct api_message_view view;
};

static void begin(struct fixture *f, uint64_t members)
{
	gp_arena_init(&f->arena, 64 * GP_MIB);
	gp_buffer_init(&f->out, 64 * GP_MIB);
	assert_int_equal(api_message_view_init(&f->view, members, &f->arena, S("Work/\xC3\xA9"), 99), GP_OK);
}

static void end(struct fixture *f)
{
	gp_buffer_deinit(&f->out);
	gp_arena_deinit(&f->arena);
}

/* The row as a document, in f->out; it must be JSON with each member once. */
static const char *write_row(struct fixture *f, const struct imap_fetch *row)
{
	struct api_message_parts parts;
	struct api_json_writer writer;

	assert_int_equal(api_message_parts(row, &f->arena, &parts), GP_OK);
	gp_buffer_truncate(&f->out, 0);
	api_json_writer_init(&writer, &f->out, false, 0);
	api_json_writer_object(&writer);
	api_message_write_facts(&writer, &f->view, row);
	api_message_write_content(&writer, &f->view, row, &parts);
	api_json_writer_object_end(&writer);
	assert_int_equal(api_json_writer_status(&writer), GP_OK);

	json_error_t error;
	json_t *value = json_loadb(f->out.data, f->out.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (!value) {
		fail_msg("%s: %s", error.text, f->out.data);
	}
	json_decref(value);
	return f->out.data;
}

static const struct span flags[] = {SPAN_LIT("\\Seen"), SPAN_LIT("\\Recent"), SPAN_LIT("$Forwarded")};
static const struct imap_address ann[] = {
	{SPAN_LIT("=?utf-8?q?Ann_K=C3=A9ller?="), SPAN_LIT("ann"), SPAN_LIT("example.test")}};
static const struct imap_address group[] = {
	{SPAN_NIL, SPAN_LIT("friends"), SPAN_NIL},
	{SPAN_LIT("Bob \"B\""), SPAN_LIT("bob"), SPAN_LIT("example.test")},
	{SPAN_NIL, SPAN_NIL, SPAN_NIL},
};
static const struct imap_envelope envelope = {
	.date = SPAN_LIT("Mon, 23 Nov 2026 10:11:12 +0100"),
	.subject = SPAN_LIT("Plain"),
	.message_id = SPAN_LIT("<1@example.test>"),
	.from = {ann, 1},
	.to = {group, 3},
};
static const struct imap_section references = {.spec = SPAN_LIT("HEADER.FIELDS (REFERENCES)"),
					       .value = SPAN_LIT("References: <a@b>\r\n <c@d>\r\n\r\n")};
static const struct imap_fetch full_row = {
	.seq = 3,
	.uid = 7,
	.items = IMAP_ITEM_UID | IMAP_ITEM_FLAGS | IMAP_ITEM_SIZE | IMAP_ITEM_INTERNALDATE | IMAP_ITEM_MODSEQ,
	.flags = flags,
	.n_flags = 3,
	.modseq = 9007199254740993,
	.size = 12345,
	.internal_date = 1769860800,
	.envelope = &envelope,
	.sections = &references,
	.n_sections = 1,
};

static void members_of_a_list(void **state)
{
	struct fixture f;
	(void)state;

	begin(&f, API_MEMBERS_LIST);
	assert_string_equal(
		write_row(&f, &full_row),
		"{\"uid\":7,\"uidValidity\":99,\"mailbox\":\"Work/\xC3\xA9\",\"modseq\":\"9007199254740993\","
		"\"size\":12345,\"receivedAt\":\"2026-01-31T12:00:00Z\","
		"\"keywords\":{\"$seen\":true,\"$forwarded\":true},"
		"\"sentAt\":\"2026-11-23T10:11:12+01:00\",\"subject\":\"Plain\","
		"\"from\":[{\"name\":\"Ann K\xC3\xA9ller\",\"email\":\"ann@example.test\"}],"
		"\"sender\":[],\"replyTo\":[],"
		"\"to\":[{\"name\":\"Bob \\\"B\\\"\",\"email\":\"bob@example.test\"}],\"cc\":[],\"bcc\":[],"
		"\"messageId\":[\"1@example.test\"],\"inReplyTo\":[],\"references\":[\"a@b\",\"c@d\"],"
		"\"hasAttachment\":null,\"attachments\":[],\"emailId\":null,\"threadId\":null,"
		"\"href\":\"/mailboxes/Work%2F%C3%A9/messages/7\"}");
	end(&f);
}

/* What the server leaves out is null or empty, never missing. */
static void nothing_known(void **state)
{
	static const struct imap_fetch row = {.uid = 4294967295};
	struct fixture f;
	(void)state;

	begin(&f, API_MEMBER_BIT(UID) | API_MEMBER_BIT(MODSEQ) | API_MEMBER_BIT(SIZE) | API_MEMBER_BIT(RECEIVED_AT) |
			  API_MEMBER_BIT(KEYWORDS) | API_MEMBER_BIT(SENT_AT) | API_MEMBER_BIT(SUBJECT) |
			  API_MEMBER_BIT(FROM) | API_MEMBER_BIT(BODY_STRUCTURE) | API_MEMBER_BIT(TEXT_BODY) |
			  API_MEMBER_BIT(PREVIEW) | API_MEMBER_BIT(HEADERS));
	assert_string_equal(write_row(&f, &row),
			    "{\"uid\":4294967295,\"modseq\":null,\"size\":null,\"receivedAt\":null,\"keywords\":{},"
			    "\"sentAt\":null,\"subject\":null,\"from\":[],\"bodyStructure\":null,\"textBody\":[],"
			    "\"headers\":null}");
	end(&f);
	begin(&f, 0);
	assert_string_equal(write_row(&f, &row), "{}");
	end(&f);
}

struct subject_case {
	struct span raw;
	const char *json;
};

static void header_texts(void **state)
{
	static const struct subject_case cases[] = {
		{SPAN_LIT(""), "{\"subject\":\"\"}"},
		{SPAN_LIT("  blanks around\t"), "{\"subject\":\"blanks around\"}"},
		{SPAN_LIT("tab\tinside"), "{\"subject\":\"tab\\tinside\"}"},
		{SPAN_LIT("What? 1=1"), "{\"subject\":\"What? 1=1\"}"},
		{SPAN_LIT("01234567=?utf-8?q?=C3=A9?="), "{\"subject\":\"01234567\xC3\xA9\"}"},
		{SPAN_LIT("0123456=?utf-8?q?=C3=A9?="), "{\"subject\":\"0123456\xC3\xA9\"}"},
		{SPAN_LIT("=?utf-8?q?a=00=22b?="), "{\"subject\":\"a" FFFD "\\\"b\"}"},
		{SPAN_LIT("folded\r\n text"), "{\"subject\":\"folded text\"}"},
		{SPAN_LIT("a\x01z"), "{\"subject\":\"a\\u0001z\"}"},
		{SPAN_LIT("del\x7F"), "{\"subject\":\"del\x7F\"}"},
		{SPAN_LIT("latin \xE9"), "{\"subject\":\"latin \xC3\xA9\"}"},
	};
	struct fixture f;
	(void)state;

	begin(&f, API_MEMBER_BIT(SUBJECT));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct imap_envelope with_subject = {.subject = cases[i].raw};
		const struct imap_fetch row = {.uid = 1, .envelope = &with_subject};
		assert_string_equal(write_row(&f, &row), cases[i].json);
	}
	end(&f);
}

static void addresses(void **state)
{
	static const struct imap_address hostile[] = {
		{SPAN_LIT(""), SPAN_LIT("a\"\xE2\x82"), SPAN_LIT("\x82\xAC.test")},
		{SPAN_NIL, SPAN_NIL, SPAN_LIT("host")},
		{SPAN_NIL, SPAN_LIT("local"), SPAN_LIT("")},
	};
	static const struct imap_envelope with_from = {.from = {hostile, 3}};
	static const struct imap_fetch row = {.uid = 1, .envelope = &with_from};
	struct fixture f;
	(void)state;

	begin(&f, API_MEMBER_BIT(FROM));
	assert_string_equal(write_row(&f, &row),
			    "{\"from\":[{\"name\":null,\"email\":\"a\\\"" FFFD "@" FFFD FFFD ".test\"},"
			    "{\"name\":null,\"email\":\"@host\"},{\"name\":null,\"email\":\"local\"}]}");
	end(&f);
}

/* A member stands once, the first time, however often and in whatever way a flag comes. */
static void keywords(void **state)
{
	static const struct span odd[] = {
		SPAN_LIT("Work"),      SPAN_LIT("\\SEEN"),  SPAN_LIT("work"), SPAN_LIT("$Seen"),
		SPAN_LIT("\\Unknown"), SPAN_LIT("\\*"),     SPAN_LIT("\\"),   SPAN_LIT("a\xFF"),
		SPAN_LIT("A\xFE"),     SPAN_LIT("q\"\\\n"), SPAN_LIT(""),     SPAN_LIT("WORK"),
	};
	static const struct imap_fetch row = {.uid = 1, .flags = odd, .n_flags = sizeof odd / sizeof odd[0]};
	struct fixture f;
	(void)state;

	begin(&f, API_MEMBER_BIT(KEYWORDS));
	assert_string_equal(write_row(&f, &row), "{\"keywords\":{\"work\":true,\"$seen\":true,\"a" FFFD "\":true}}");
	end(&f);
}

#define MANY 20000

static void many_keywords(void **state)
{
	static char names[MANY][8];
	static struct span many[MANY];
	struct fixture f;
	(void)state;

	for (size_t i = 0; i < MANY; i++) {
		int len = snprintf(names[i], sizeof names[i], "%c%zu", i % 2 ? 'k' : 'K', i / 2 % 5000);
		many[i] = span_make(names[i], (size_t)len);
	}
	many[MANY - 1] = S("last");
	const struct imap_fetch row = {.uid = 1, .flags = many, .n_flags = MANY};
	begin(&f, API_MEMBER_BIT(KEYWORDS));
	json_t *value = json_loads(write_row(&f, &row), 0, NULL);
	assert_int_equal(json_object_size(json_object_get(value, "keywords")), 5001);
	json_decref(value);
	assert_true(span_starts_with(gp_buffer_span(&f.out), "{\"keywords\":{\"k0\":true,\"k1\":true,"));
	end(&f);
}

static void part_tree(void **state)
{
	static const struct imap_param file[] = {{SPAN_LIT("FileName*"), SPAN_LIT("utf-8''%e2%82%ac.txt")}};
	static const struct imap_param charset[] = {{SPAN_LIT("CharSet"), SPAN_LIT("UTF-8")}};
	static struct imap_body root, text, attachment;
	static const struct imap_fetch row = {.uid = 7, .body = &root};
	struct fixture f;
	(void)state;

	root = (struct imap_body){.section = "", .type = S("multipart"), .subtype = S("MIXED"), .is_multipart = true};
	text = (struct imap_body){.section = "1",
				  .type = S("TEXT"),
				  .subtype = S("Pl\xFF"),
				  .params = {charset, 1},
				  .encoding = S("7BIT"),
				  .octets = 10};
	attachment = (struct imap_body){.section = "2",
					.type = S("application"),
					.subtype = S("pdf"),
					.id = S(" <a\"b@c> "),
					.encoding = S("base64"),
					.octets = 78,
					.disposition = S("ATTACHMENT"),
					.disposition_params = {file, 1},
					.language = S("de"),
					.location = S("x\xC3")};
	root.first_child = &text;
	text.parent = attachment.parent = &root;
	text.next = &attachment;

	begin(&f, API_MEMBER_BIT(HAS_ATTACHMENT) | API_MEMBER_BIT(BODY_STRUCTURE));
	assert_string_equal(
		write_row(&f, &row),
		"{\"hasAttachment\":true,\"bodyStructure\":{\"partId\":null,\"type\":\"multipart/"
		"mixed\",\"charset\":null,"
		"\"name\":null,\"disposition\":null,\"cid\":null,\"language\":null,\"location\":null,\"subParts\":["
		"{\"partId\":\"1\",\"type\":\"text/pl" FFFD
		"\",\"charset\":\"utf-8\",\"name\":null,\"disposition\":null,"
		"\"cid\":null,\"language\":null,\"location\":null,\"size\":10,"
		"\"href\":\"/mailboxes/Work%2F%C3%A9/messages/7/parts/1\"},"
		"{\"partId\":\"2\",\"type\":\"application/pdf\",\"charset\":null,\"name\":\"\xE2\x82\xAC.txt\","
		"\"disposition\":\"attachment\",\"cid\":\"a\\\"b@c\",\"language\":\"de\",\"location\":\"x" FFFD
		"\",\"size\":57,\"sizeIsEstimate\":true,"
		"\"href\":\"/mailboxes/Work%2F%C3%A9/messages/7/parts/2\"}]}}");
	end(&f);
}

/* Deeper than what is shown, and closed all the same. */
static void deep_tree(void **state)
{
	static struct imap_body parts[3 * GP_MAX_IMAP_NESTING];
	const size_t n_parts = sizeof parts / sizeof parts[0];
	const struct imap_fetch row = {.uid = 7, .body = &parts[0]};
	struct fixture f;
	(void)state;

	for (size_t i = 0; i < n_parts; i++) {
		parts[i] = (struct imap_body){.section = "", .type = S("multipart"), .subtype = S("mixed")};
		parts[i].is_multipart = true;
		parts[i].parent = i > 0 ? &parts[i - 1] : NULL;
		parts[i].first_child = i + 1 < n_parts ? &parts[i + 1] : NULL;
	}
	begin(&f, API_MEMBER_BIT(BODY_STRUCTURE));
	struct span rest = span_of(write_row(&f, &row));
	size_t n_levels = 0;
	for (ptrdiff_t at; (at = span_find(rest, S("subParts"))) >= 0; n_levels++) {
		rest = span_from(rest, (size_t)at + 1);
	}
	assert_int_equal(n_levels, GP_MAX_IMAP_NESTING);
	end(&f);
}

static void headers(void **state)
{
	struct fixture f;
	struct api_json_writer writer;
	(void)state;

	begin(&f, 0);
	api_json_writer_init(&writer, &f.out, false, 0);
	api_headers_write(&writer, S("Subject: =?utf-8?q?=C3=A9?=\r\nX-Odd:\xFF\r\n b\r\nno field\r\n\r\n"), &f.arena);
	assert_int_equal(api_json_writer_status(&writer), GP_OK);
	assert_string_equal(f.out.data,
			    "[{\"name\":\"Subject\",\"value\":\"\xC3\xA9\",\"raw\":\" =?utf-8?q?=C3=A9?=\"},"
			    "{\"name\":\"X-Odd\",\"value\":\"\xC3\xBF b\",\"raw\":\"" FFFD "\\r\\n b\"}]");
	end(&f);
}

/* Memory that ends in an arena is a failure, and never a document with a hole. */
static void arena_ends(void **state)
{
	struct api_message_parts parts = {.root = NULL};
	bool has_failed = false, has_passed = false;
	(void)state;

	for (size_t cap = 64; cap < 2048; cap += 8) {
		struct gp_arena arena;
		struct gp_buffer out;
		struct api_message_view view;
		struct api_json_writer writer;
		gp_arena_init(&arena, cap);
		gp_buffer_init(&out, 64 * GP_KIB);
		api_json_writer_init(&writer, &out, false, 0);
		if (api_message_view_init(&view, API_MEMBERS_LIST, &arena, S("INBOX"), 1) == GP_OK) {
			api_message_write_facts(&writer, &view, &full_row);
			api_message_write_content(&writer, &view, &full_row, &parts);
			bool is_good = api_json_writer_status(&writer) == GP_OK;
			assert_true(is_good || api_json_writer_status(&writer) == GP_NO_MEMORY);
			has_failed |= !is_good;
			has_passed |= is_good;
		}
		gp_buffer_deinit(&out);
		gp_arena_deinit(&arena);
	}
	assert_true(has_failed && has_passed);
}

static void rows(void **state)
{
	static const uint32_t uids[] = {5, 9, 5, 2, 7};
	const struct api_message_parts parts = {.root = NULL};
	struct api_rows page;
	struct fixture f;
	(void)state;

	begin(&f, API_MEMBER_BIT(UID));
	api_rows_init(&page, false);
	gp_buffer_init(&page.text, 4 * strlen("\"uid\":5") + strlen("\"uid\":10"));
	for (size_t i = 0; i < sizeof uids / sizeof uids[0]; i++) {
		const struct imap_fetch row = {.uid = uids[i], .seq = (uint32_t)i + 1};
		assert_int_equal(api_rows_add(&page, &f.view, &row, &parts, UINT32_MAX - uids[i]), GP_OK);
	}
	assert_int_equal(page.n_items, 4);
	api_rows_remove(&page, 1);
	api_rows_finish(&page, 2);
	assert_int_equal(page.n_items, 2);
	assert_true(span_equal_text(api_row_text(&page, &page.items[0]), "\"uid\":7"));
	assert_true(span_equal_text(api_row_text(&page, &page.items[1]), "\"uid\":5"));

	/* a row that does not fit leaves nothing behind */
	size_t len = page.text.len;
	const struct imap_fetch row = {.uid = 100};
	assert_int_equal(api_rows_add(&page, &f.view, &row, &parts, 0), GP_LIMIT);
	assert_int_equal(page.text.len, len);
	assert_int_equal(page.n_items, 2);
	api_rows_deinit(&page);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_of_a_list), cmocka_unit_test(nothing_known), cmocka_unit_test(header_texts),
		cmocka_unit_test(addresses),         cmocka_unit_test(keywords),      cmocka_unit_test(many_keywords),
		cmocka_unit_test(part_tree),         cmocka_unit_test(deep_tree),     cmocka_unit_test(headers),
		cmocka_unit_test(arena_ends),        cmocka_unit_test(rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
