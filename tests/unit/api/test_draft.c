#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/base64.h"
#include "api/draft.h"
#include "mail/header.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))
#define S(text) SPAN_LIT(text)

static void expect(struct span got, const char *want)
{
	if (!span_equal_text(got, want)) {
		fail_msg("got [%.*s], want [%s]", SPAN_ARGS(got), want);
	}
}

/* ---- base64 ---- */

static void base64(void **state)
{
	static const struct {
		struct span text, bytes;
		const char *says; /* NULL: good */
	} cases[] = {
		{S(""), S(""), NULL},
		{S("AA=="), S("\0"), NULL},
		{S("/+8="), S("\xFF\xEF"), NULL},
		{S("AAEC"), S("\0\1\2"), NULL},
		{S("SGVsbG8gd29ybGQ="), S("Hello world"), NULL},
		{S("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
		 S("\x00\x10\x83\x10\x51\x87\x20\x92\x8b\x30\xd3\x8f\x41\x14\x93\x51\x55\x97\x61\x96\x9b\x71\xd7\x9f"
		   "\x82\x18\xa3\x92\x59\xa7\xa2\x9a\xab\xb2\xdb\xaf\xc3\x1c\xb3\xd3\x5d\xb7\xe3\x9e\xbb\xf3\xdf\xbf"),
		 NULL},
		{S("A"), S(""), "multiple of 4"},
		{S("AA"), S(""), "multiple of 4"},
		{S("AAA"), S(""), "multiple of 4"},
		{S("AA="), S(""), "multiple of 4"},
		{S("AAAA="), S(""), "multiple of 4"},
		{S("===="), S(""), "only at the end"},
		{S("="), S(""), "multiple of 4"},
		{S("A==="), S(""), "only at the end"},
		{S("AA==AA=="), S(""), "character 2 is '='"},
		{S("AB=="), S(""), "bits too many"},
		{S("AAB="), S(""), "bits too many"},
		{S("AAAA\nAA="), S(""), "character 4 is a line break"},
		{S("AAAA\r\nAA"), S(""), "character 4 is a line break"},
		{S("AA A"), S(""), "character 2"},
		{S("AA-A"), S(""), "base64url"},
		{S("AAA_"), S(""), "base64url"},
		{S("AA\xC3\xA9"), S(""), "character 2"},
		{S("AA*="), S(""), "character 2"},
	};
	(void)state;

	for (size_t i = 0; i < N_OF(cases); i++) {
		struct gp_buffer out;
		struct gp_error error = {.status = GP_OK};
		char *exact = malloc(cases[i].text.len + (cases[i].text.len == 0));
		assert_non_null(exact);
		memcpy(exact, cases[i].text.ptr, cases[i].text.len);
		gp_buffer_init(&out, 1);
		enum gp_status status = api_base64_decode(span_make(exact, cases[i].text.len), &out, &error);
		free(exact);
		print_message("%.*s: %s\n", SPAN_ARGS(cases[i].text), error.text);
		assert_int_equal(status, cases[i].says ? GP_INVALID : GP_OK);
		assert_true(span_equal(gp_buffer_span(&out), cases[i].bytes));
		if (cases[i].says) {
			assert_non_null(strstr(error.text, cases[i].says));
		}
		gp_buffer_deinit(&out);
	}
}

/* ---- JSON ---- */

static void whole(void **state)
{
	struct api_draft *draft = api_draft_new();
	struct gp_error error = {.status = GP_OK};
	char json[] =
		"{\"from\":[{\"name\":\"Ann\",\"email\":\"ann@b\\u00fccher.example\"}],"
		"\"sender\":[{\"email\":\"s@x\"}],\"replyTo\":[{\"name\":null,\"email\":\"r@x\"}],"
		"\"to\":[{\"name\":\"\\u6f22\",\"email\":\"a@x\"},{\"email\":\"b@x\"}],\"cc\":[],\"bcc\":null,"
		"\"subject\":\"Hi\",\"text\":\"t\",\"html\":\"<p>\",\"inReplyTo\":[\"<1@x>\"],"
		"\"references\":[\"0@x\",\"1@x\"],\"messageId\":[\"2@x\"],\"sentAt\":\"2026-01-01T01:30:00+01:30\","
		"\"headers\":{\"X-A\":\"b\"},\"keywords\":{\"$draft\":true,\"Work\":true},"
		"\"receivedAt\":\"1970-01-01T00:00:07Z\","
		"\"attachments\":[{\"name\":\"a\",\"type\":\"text/plain\",\"content\":\"SGk=\"},"
		"{\"source\":{\"mailbox\":\"In/Box\",\"uid\":7,\"partId\":\"1.2\",\"uidValidity\":3}},"
		"{\"cid\":\"<c@x>\",\"content\":\"\"},"
		"{\"cid\":\"c@x\",\"disposition\":\"attachment\",\"source\":{\"mailbox\":\"A\",\"uid\":1}}]}";
	(void)state;

	assert_non_null(draft);
	assert_int_equal(api_draft_read_json(draft, span_of(json), &error), GP_OK);
	memset(json, 'x', sizeof json); /* nothing points into it */
	const struct mail_draft *mail = &draft->mail;
	expect(mail->from.items[0].name, "Ann");
	expect(mail->from.items[0].email, "ann@xn--bcher-kva.example");
	expect(mail->sender.items[0].email, "s@x");
	assert_true(span_is_nil(mail->reply_to.items[0].name));
	assert_int_equal(mail->to.n_items, 2);
	expect(mail->to.items[0].name, "\xE6\xBC\xA2");
	assert_int_equal(mail->cc.n_items, 0);
	assert_int_equal(mail->bcc.n_items, 0);
	expect(mail->subject, "Hi");
	expect(mail->text, "t");
	expect(mail->html, "<p>");
	expect(mail->in_reply_to.items[0], "1@x");
	assert_int_equal(mail->references.n_items, 2);
	expect(mail->message_id, "2@x");
	assert_true(draft->has_date);
	assert_int_equal(mail->date, 1767225600);
	assert_int_equal(mail->date_offset, 90);
	expect(mail->headers[0].name, "X-A");
	expect(mail->headers[0].value, "b");
	assert_true(draft->has_keywords);
	assert_int_equal(draft->n_flags, 2);
	assert_true(draft->has_received_at);
	assert_int_equal(draft->received_at, 7);

	assert_int_equal(mail->n_attachments, 4);
	expect(mail->attachments[0].name, "a");
	expect(mail->attachments[0].content, "Hi");
	assert_int_equal(mail->attachments[0].disposition, MAIL_ATTACHMENT);
	assert_true(span_is_nil(draft->sources[0].mailbox));
	expect(draft->sources[1].mailbox, "In/Box");
	assert_int_equal(draft->sources[1].uid, 7);
	assert_int_equal(draft->sources[1].uidvalidity, 3);
	expect(draft->sources[1].part_id, "1.2");
	expect(mail->attachments[2].cid, "c@x");
	expect(mail->attachments[2].content, "");
	assert_int_equal(mail->attachments[2].disposition, MAIL_INLINE);
	assert_int_equal(mail->attachments[3].disposition, MAIL_ATTACHMENT);
	assert_true(span_is_nil(draft->sources[3].part_id));
	assert_int_equal(api_draft_size(draft), 1 + 3 + 2);
	api_draft_free(&draft);
	assert_null(draft);
}

static void refused(void **state)
{
	static const struct {
		const char *json, *says;
	} cases[] = {
		{"{\"form\":[]}", "unknown member 'form'"},
		{"{\"From\":[]}", "unknown member 'From'"},
		{"[]", "must be an object"},
		{"{\"subject\":1}", "subject: must be a string"},
		{"{\"subject\":\"a\\nBcc: x@y\"}", "subject: holds a line break"},
		{"{\"text\":{}}", "text: must be a string"},
		{"{\"html\":[]}", "html: must be a string"},
		{"{\"to\":\"a@x\"}", "to: must be a list as"},
		{"{\"to\":{\"email\":\"a@x\"}}", "to: must be a list as"},
		{"{\"to\":[\"a@x\"]}", "to[0]: must be an object"},
		{"{\"to\":[{\"email\":\"a@x\"},{\"name\":\"a\"}]}", "to[1].email: is missing"},
		{"{\"to\":[{\"email\":null}]}", "to[0].email: is missing"},
		{"{\"to\":[{\"email\":1}]}", "to[0].email: must be a string"},
		{"{\"to\":[{\"email\":\"a\"}]}", "to[0].email: 'a': there is no '@'"},
		{"{\"cc\":[{\"email\":\"a@x, b@y\"}]}", "cc[0].email: 'a@x, b@y': what is before"},
		{"{\"bcc\":[{\"email\":\"a@x\\r\\nTo: b@y\"}]}", "bcc[0].email: "},
		{"{\"from\":[{\"email\":\"j\xC3\xB6rg@x\"}]}",
		 "from[0].email: 'j\xC3\xB6rg@x': what is before the '@' must be ASCII"},
		{"{\"from\":[{\"email\":\"a@x\",\"name\":\"A\\nB\"}]}", "from[0].name: holds a line break"},
		{"{\"from\":[{\"email\":\"a@x\",\"nmae\":\"A\"}]}", "from[0]: unknown member 'nmae'"},
		{"{\"sender\":[{\"email\":\"a@x\"},{\"email\":\"b@x\"}]}", "sender: there is more than one"},
		{"{\"inReplyTo\":\"1@x\"}", "inReplyTo: must be a list"},
		{"{\"inReplyTo\":[1]}", "inReplyTo[0]: must be a string"},
		{"{\"references\":[\"1@x\",\"a b\"]}", "references[1]: is not a message id"},
		{"{\"references\":[\"1@x>\\r\\nTo: b@y\"]}", "references[0]: is not a message id"},
		{"{\"messageId\":[\"a@x\",\"b@x\"]}", "messageId: must be a list of at most 1"},
		{"{\"messageId\":[\"a\"]}", "messageId: is not a message id"},
		{"{\"sentAt\":\"2026-01-01\"}", "sentAt: must be a time"},
		{"{\"sentAt\":\"yesterday\"}", "sentAt: must be a time"},
		{"{\"receivedAt\":1}", "receivedAt: must be a string"},
		{"{\"receivedAt\":\"2026-13-01T00:00:00Z\"}", "receivedAt: must be a time"},
		{"{\"receivedAt\":\"1969-12-31T23:59:59Z\"}", "receivedAt: must lie between 1970 and 2106"},
		{"{\"receivedAt\":\"2106-02-07T07:28:16+01:00\"}", "receivedAt: must lie between 1970 and 2106"},
		{"{\"headers\":[]}", "headers: must be an object"},
		{"{\"headers\":{\"X-A\":1}}", "headers.X-A: must be a string"},
		{"{\"headers\":{\"X-A\":\"a\\r\\nb\"}}", "headers.X-A: holds a line break"},
		{"{\"headers\":{\"X-A: a\\r\\nX-B\":\"b\"}}", "headers: 'X-A: a??X-B' is not the name"},
		{"{\"headers\":{\"Subject\":\"b\"}}", "headers.Subject: use the member 'subject'"},
		{"{\"headers\":{\"content-type\":\"b\"}}", "headers.content-type: fields of MIME"},
		{"{\"keywords\":[\"$seen\"]}", "keywords: must be an object"},
		{"{\"keywords\":{\"$seen\":1}}", "keywords.$seen: must be true"},
		{"{\"keywords\":{\"$seen\":false}}", "keywords.$seen: must be true"},
		{"{\"keywords\":{\"a b\":true}}", "keywords: 'a b' is no keyword"},
		{"{\"keywords\":{\"\\\\Deleted\":true}}", "is no keyword"},
		{"{\"attachments\":{}}", "attachments: must be a list"},
		{"{\"attachments\":[1]}", "attachments[0]: must be an object"},
		{"{\"attachments\":[{\"name\":\"a\"}]}", "attachments[0]: must have either 'content' or 'source'"},
		{"{\"attachments\":[{\"content\":\"\",\"source\":{}}]}", "attachments[0]: must have either"},
		{"{\"attachments\":[{\"content\":\"\"},{\"content\":\"\"},{\"content\":\"AAAA!AA=\"}]}",
		 "attachments[2].content: is not base64: character 4"},
		{"{\"attachments\":[{\"content\":1}]}", "attachments[0].content: must be a string"},
		{"{\"attachments\":[{\"content\":\"\",\"filename\":\"a\"}]}",
		 "attachments[0]: unknown member 'filename'"},
		{"{\"attachments\":[{\"content\":\"\",\"name\":\"a\\nb\"}]}",
		 "attachments[0].name: holds a line break"},
		{"{\"attachments\":[{\"content\":\"\",\"type\":\"png\"}]}",
		 "attachments[0].type: it is not a media type"},
		{"{\"attachments\":[{\"content\":\"\",\"type\":\"multipart/mixed\"}]}",
		 "attachments[0].type: a multipart"},
		{"{\"attachments\":[{\"content\":\"\",\"disposition\":\"form-data\"}]}",
		 "attachments[0].disposition: must"},
		{"{\"attachments\":[{\"content\":\"\",\"cid\":\"a b\"}]}", "attachments[0].cid: must"},
		{"{\"attachments\":[{\"source\":{\"uid\":1}}]}", "attachments[0].source.mailbox: must"},
		{"{\"attachments\":[{\"source\":{\"mailbox\":\"A\"}}]}", "attachments[0].source.uid: is missing"},
		{"{\"attachments\":[{\"source\":{\"mailbox\":\"A\",\"uid\":0}}]}", "attachments[0].source.uid: must"},
		{"{\"attachments\":[{\"source\":{\"mailbox\":\"A\",\"uid\":\"1\"}}]}",
		 "attachments[0].source.uid: must"},
		{"{\"attachments\":[{\"source\":{\"mailbox\":\"A\",\"uid\":4294967295}}]}",
		 "attachments[0].source.uid: must"},
		{"{\"attachments\":[{\"source\":{\"mailbox\":\"A\\r\\n\",\"uid\":1}}]}",
		 "attachments[0].source.mailbox: must"},
		{"{\"attachments\":[{\"source\":{\"mailbox\":\"A\",\"uid\":1,\"partId\":\"1]\"}}]}",
		 "attachments[0].source.partId: must"},
		{"{\"attachments\":[{\"source\":{\"mailbox\":\"A\",\"uid\":1,\"partId\":\"\"}}]}",
		 "attachments[0].source.partId: must"},
		{"{\"attachments\":[{\"source\":{\"mailbox\":\"A\",\"uid\":1,\"part\":\"1\"}}]}",
		 "attachments[0].source: unknown member 'part'"},
	};
	(void)state;

	for (size_t i = 0; i < N_OF(cases); i++) {
		struct api_draft *draft = api_draft_new();
		struct gp_error error = {.status = GP_OK};
		enum gp_status status = api_draft_read_json(draft, span_of(cases[i].json), &error);
		if (status == GP_OK) {
			status = api_draft_finish(draft, &error);
		}
		print_message("%s\n  %s\n", cases[i].json, error.text);
		assert_int_equal(status, GP_INVALID);
		assert_int_equal(error.status, GP_INVALID);
		assert_non_null(strstr(error.text, cases[i].says));
		api_draft_free(&draft);
	}
}

static void many(void **state)
{
	static const struct {
		const char *head, *item, *tail, *says;
		size_t good;
	} cases[] = {
		{"{\"to\":[", "{\"email\":\"a@x\"}", "]}", "to: there are more than", MAIL_MAX_RECIPIENTS},
		{"{\"references\":[", "\"a@x\"", "]}", "references: must be a list of at most", MAIL_MAX_REFERENCES},
		{"{\"attachments\":[", "{\"content\":\"\"}", "]}", "attachments: must be a list of at most",
		 MAIL_MAX_ATTACHMENTS},
	};
	(void)state;

	for (size_t i = 0; i < N_OF(cases); i++) {
		for (size_t n = cases[i].good; n <= cases[i].good + 1; n++) {
			struct api_draft *draft = api_draft_new();
			struct gp_error error = {.status = GP_OK};
			struct gp_buffer json;
			gp_buffer_init(&json, GP_MIB);
			assert_int_equal(gp_buffer_append(&json, span_of(cases[i].head)), GP_OK);
			for (size_t j = 0; j < n; j++) {
				assert_int_equal(gp_buffer_printf(&json, "%s%s", j > 0 ? "," : "", cases[i].item),
						 GP_OK);
			}
			assert_int_equal(gp_buffer_append(&json, span_of(cases[i].tail)), GP_OK);
			enum gp_status status = api_draft_read_json(draft, gp_buffer_span(&json), &error);
			assert_int_equal(status, n == cases[i].good ? GP_OK : GP_INVALID);
			if (status != GP_OK) {
				assert_non_null(strstr(error.text, cases[i].says));
			}
			gp_buffer_deinit(&json);
			api_draft_free(&draft);
		}
	}
}

/* ---- forms ---- */

static enum gp_status set(struct api_draft *draft, const char *name, const char *value, struct gp_error *error)
{
	struct gp_buffer buffer;

	gp_buffer_init(&buffer, GP_MIB);
	assert_int_equal(gp_buffer_append(&buffer, span_of(value)), GP_OK);
	return api_draft_set_field(draft, span_of(name), &buffer, error);
}

static void fields(void **state)
{
	struct api_draft *draft = api_draft_new();
	struct gp_error error = {.status = GP_OK};
	struct gp_buffer content;
	(void)state;

	assert_int_equal(set(draft, "from", "Ann <ann@x>", &error), GP_OK);
	assert_int_equal(set(draft, "to", "a@x, \"B, B\" <b@x>", &error), GP_OK);
	assert_int_equal(set(draft, "to", "c@x", &error), GP_OK);
	assert_int_equal(set(draft, "cc", "", &error), GP_OK);
	assert_int_equal(set(draft, "bcc", "d@x", &error), GP_OK);
	assert_int_equal(set(draft, "subject", "Hi", &error), GP_OK);
	assert_int_equal(set(draft, "text", "text\r\n", &error), GP_OK);
	assert_int_equal(set(draft, "html", "", &error), GP_OK);
	gp_buffer_init(&content, GP_MIB);
	assert_int_equal(gp_buffer_append(&content, S("%PDF")), GP_OK);
	assert_int_equal(api_draft_add_file(draft, S("a.pdf"), S("application/pdf"), &content, &error), GP_OK);
	assert_int_equal(api_draft_add_file(draft, S("b"), SPAN_NIL, &content, &error), GP_OK);
	assert_int_equal(api_draft_finish(draft, &error), GP_OK);
	assert_int_equal(draft->mail.to.n_items, 3);
	expect(draft->mail.to.items[1].name, "B, B");
	expect(draft->mail.to.items[2].email, "c@x");
	expect(draft->mail.subject, "Hi");
	expect(draft->mail.text, "text\r\n");
	assert_false(span_is_nil(draft->mail.html));
	assert_int_equal(draft->mail.n_attachments, 2);
	expect(draft->mail.attachments[0].content, "%PDF");
	assert_true(span_is_nil(draft->mail.attachments[1].type));

	static const struct {
		const char *name, *value, *says;
	} bad[] = {
		{"subject", "again", "subject: is there twice"}, {"text", "again", "text: is there twice"},
		{"to", "x", "to: 'x': there is no '@'"},         {"Subject", "x", "unknown field 'Subject'"},
		{"replyTo", "x", "unknown field 'replyTo'"},     {"", "x", "unknown field ''"},
	};
	for (size_t i = 0; i < N_OF(bad); i++) {
		gp_error_clear(&error);
		assert_int_equal(set(draft, bad[i].name, bad[i].value, &error), GP_INVALID);
		print_message("%s\n", error.text);
		assert_non_null(strstr(error.text, bad[i].says));
	}
	api_draft_free(&draft);
}

/* Files that came before the JSON stand behind its attachments, in their order. */
static void files_and_json(void **state)
{
	static const size_t n_files[] = {0, 1, 2, 3, 198, 199};
	(void)state;

	for (size_t i = 0; i < N_OF(n_files); i++) {
		struct api_draft *draft = api_draft_new();
		struct gp_error error = {.status = GP_OK};
		for (size_t n = 0; n < n_files[i]; n++) {
			struct gp_buffer content;
			gp_buffer_init(&content, 10);
			assert_int_equal(gp_buffer_printf(&content, "%zu", n + 1), GP_OK);
			assert_int_equal(api_draft_add_file(draft, S("f"), SPAN_NIL, &content, &error), GP_OK);
		}
		assert_int_equal(api_draft_read_json(draft, S("{\"attachments\":[{\"content\":\"MA==\"}]}"), &error),
				 GP_OK);
		assert_int_equal(api_draft_finish(draft, &error), GP_OK);
		assert_int_equal(draft->mail.n_attachments, n_files[i] + 1);
		for (size_t n = 0; n <= n_files[i]; n++) {
			char want[10];
			snprintf(want, sizeof want, "%zu", n);
			expect(draft->mail.attachments[n].content, want);
			expect(draft->mail.attachments[n].name, n == 0 ? "" : "f");
			assert_false(api_draft_wants_source(draft, n));
		}
		api_draft_free(&draft);
	}

	/* one too many */
	struct api_draft *draft = api_draft_new();
	struct gp_error error = {.status = GP_OK};
	for (size_t n = 0; n <= MAIL_MAX_ATTACHMENTS; n++) {
		struct gp_buffer content;
		gp_buffer_init(&content, 10);
		assert_int_equal(gp_buffer_append(&content, S("x")), GP_OK);
		enum gp_status status = api_draft_add_file(draft, S("f"), SPAN_NIL, &content, &error);
		assert_int_equal(status, n < MAIL_MAX_ATTACHMENTS ? GP_OK : GP_INVALID);
	}
	gp_error_clear(&error);
	assert_int_equal(api_draft_read_json(draft, S("{\"attachments\":[{\"content\":\"\"}]}"), &error), GP_INVALID);
	api_draft_free(&draft);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64), cmocka_unit_test(whole),  cmocka_unit_test(refused),
		cmocka_unit_test(many),   cmocka_unit_test(fields), cmocka_unit_test(files_and_json),
	};
	mail_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
