#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/router.h"
#include "support/fake_exchange.h"
#include "unit/api/fake_pool.h"

/* ---- the message handlers: they write down what they were given ---- */

static struct {
	const char *handler;
	char mailbox[64], role[16], part_id[64], keyword[64];
	uint32_t uid, uidvalidity;
	bool is_in_path, has_credential;
} seen;

static void note(struct api_request *request, const char *handler)
{
	seen.handler = handler;
	snprintf(seen.mailbox, sizeof seen.mailbox, "%.*s", SPAN_ARGS(request->mailbox.name));
	snprintf(seen.role, sizeof seen.role, "%s", request->mailbox.role ? request->mailbox.role : "");
	snprintf(seen.part_id, sizeof seen.part_id, "%.*s", SPAN_ARGS(request->part_id));
	snprintf(seen.keyword, sizeof seen.keyword, "%.*s", SPAN_ARGS(request->keyword));
	seen.uid = request->uid;
	seen.uidvalidity = request->has_uidvalidity ? request->uidvalidity : 0;
	seen.is_in_path = request->is_mailbox_in_path;
	seen.has_credential = request->credential != NULL;
	if (api_query_finish(&request->query) != GP_OK) {
		api_reply_error(request->exchange, &request->query.error);
		return;
	}
	api_reply_json(request->exchange, 200, json_object());
}

#define HANDLER(name)                                                                                                  \
	void name(struct api_request *request)                                                                         \
	{                                                                                                              \
		note(request, #name);                                                                                  \
	}
API_HANDLER_MAP(HANDLER)

static struct api_app app = {.now_us = fake_now_us, .request_timeout_ms = 60000};

static void request(struct fake_exchange *fake, const char *method, const char *target, bool has_login)
{
	memset(&seen, 0, sizeof seen);
	fake_exchange_init(fake, method, target);
	if (has_login) {
		fake_exchange_login(fake);
	}
	api_handle(&app, &fake->exchange);
}

/* ---- what the path names ---- */

static void routes(void **state)
{
	static const struct {
		const char *method, *target, *handler, *mailbox, *role;
		uint32_t uid;
		const char *part_id, *keyword;
		uint32_t uidvalidity;
	} cases[] = {
		{"GET", "/mailboxes/INBOX/messages", "api_messages_get", "INBOX", "", 0, "", "", 0},
		{"GET", "/messages?mailbox=Work/2024", "api_messages_get", "Work/2024", "", 0, "", "", 0},
		{"PATCH", "/mailboxes/INBOX/messages", "api_messages_patch", "INBOX", "", 0, "", "", 0},
		{"DELETE", "/messages?mailbox=@trash&uidValidity=3", "api_messages_delete", "", "trash", 0, "", "", 3},
		{"HEAD", "/messages/7/attachments.zip", "api_message_attachments_get", "INBOX", "", 7, "", "", 0},
		{"GET", "/mailboxes/Work%2F2024/messages/7", "api_message_get", "Work/2024", "", 7, "", "", 0},
		{"HEAD", "/messages/7", "api_message_get", "INBOX", "", 7, "", "", 0},
		{"GET", "/messages/4294967294", "api_message_get", "INBOX", "", 4294967294u, "", "", 0},
		{"PATCH", "/messages/7?uidValidity=3", "api_message_patch", "INBOX", "", 7, "", "", 3},
		{"DELETE", "/messages/7", "api_message_delete", "INBOX", "", 7, "", "", 0},
		{"POST", "/mailboxes/@sent/messages/7/copy", "api_message_copy", "", "sent", 7, "", "", 0},
		{"GET", "/messages/7/raw", "api_message_raw_get", "INBOX", "", 7, "", "", 0},
		{"GET", "/messages/7/headers", "api_message_headers_get", "INBOX", "", 7, "", "", 0},
		{"GET", "/messages/7/text", "api_message_text_get", "INBOX", "", 7, "", "", 0},
		{"GET", "/messages/7/html", "api_message_html_get", "INBOX", "", 7, "", "", 0},
		{"GET", "/messages/7/parts/1.2.10", "api_message_part_get", "INBOX", "", 7, "1.2.10", "", 0},
		{"PUT", "/messages/7/keywords/$flagged", "api_message_keyword_put", "INBOX", "", 7, "", "$flagged", 0},
		{"PATCH", "/mailboxes/Work%2F2024", "api_mailbox_patch", "Work/2024", "", 0, "", "", 0},
		{"DELETE", "/mailboxes/@trash", "api_mailbox_delete", "", "trash", 0, "", "", 0},
		{"DELETE", "/mailboxes/a/messages/7/keywords/%24seen", "api_message_keyword_delete", "a", "", 7, "",
		 "$seen", 0},
		/* roles are plain, names are encoded */
		{"GET", "/mailboxes/@sent/messages", "api_messages_get", "", "sent", 0, "", "", 0},
		{"GET", "/mailboxes/%40sent/messages", "api_messages_get", "@sent", "", 0, "", "", 0},
		{"GET", "/mailboxes/%40x/messages", "api_messages_get", "@x", "", 0, "", "", 0},
		{"GET", "/messages?mailbox=@drafts", "api_messages_get", "", "drafts", 0, "", "", 0},
		{"GET", "/messages/7?mailbox=%40drafts", "api_message_get", "@drafts", "", 7, "", "", 0},
		{"GET", "/messages/7?mailbox=a+b", "api_message_get", "a b", "", 7, "", "", 0},
		/* names that only look like something else */
		{"GET", "/mailboxes/messages/messages", "api_messages_get", "messages", "", 0, "", "", 0},
		{"GET", "/mailboxes/a%22b%5C%7B5%7D/messages", "api_messages_get", "a\"b\\{5}", "", 0, "", "", 0},
		{"GET", "/mailboxes/../messages", "api_messages_get", "..", "", 0, "", "", 0},
		{"GET", "/m%65ssages/7", "api_message_get", "INBOX", "", 7, "", "", 0},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct fake_exchange fake;
		print_message("%s %s\n", cases[i].method, cases[i].target);
		request(&fake, cases[i].method, cases[i].target, true);
		assert_int_equal(fake.status, 200);
		assert_string_equal(seen.handler, cases[i].handler);
		assert_string_equal(seen.mailbox, cases[i].mailbox);
		assert_string_equal(seen.role, cases[i].role);
		assert_int_equal(seen.uid, cases[i].uid);
		assert_string_equal(seen.part_id, cases[i].part_id);
		assert_string_equal(seen.keyword, cases[i].keyword);
		assert_int_equal(seen.uidvalidity, cases[i].uidvalidity);
		assert_true(seen.has_credential);
		assert_int_equal(seen.is_in_path, strncmp(cases[i].target, "/mailboxes", 10) == 0);
		fake_exchange_deinit(&fake);
	}
}

static void refusals(void **state)
{
	static const struct {
		const char *method, *target;
		bool has_login;
		unsigned status;
		const char *says; /* part of the detail */
	} cases[] = {
		{"GET", "/nothing", true, 404, "/nothing"},
		{"GET", "/mailboxes/", true, 404, "slash at the end"},
		{"GET", "/messages/7/", true, 404, "slash at the end"},
		{"GET", "//", true, 404, "'//'"},
		{"GET", "/messages/7/parts", true, 404, "parts"},
		{"GET", "/messages/7/raw/x", true, 404, "raw"},
		{"GET", "/mailboxes/a/messages/7/raw/x/y/z", true, 404, "/mailboxes/a"},
		{"GET", "/Messages/7", true, 404, "/Messages/7"},
		{"GET", "/nothing", false, 404, "/nothing"},
		{"POST", "/messages/7", true, 405, "POST"},
		{"BREW", "/messages/7", true, 405, "BREW"},
		{"get", "/messages/7", true, 405, "get"},
		{"GET", "/messages/7/keywords/$seen", true, 405, "GET"},
		{"DELETE", "/", false, 405, "DELETE"},
		{"GET", "/messages/7", false, 401, "Authorization"},
		{"GET", "/mailboxes", false, 401, "Authorization"},
		{"GET", "/messages/abc", false, 401, "Authorization"},
		{"GET", "/messages/abc", true, 400, "'abc' is not a UID"},
		{"GET", "/messages/0", true, 400, "'0' is not a UID"},
		{"GET", "/messages/07", true, 400, "'07' is not a UID"},
		{"GET", "/messages/-1", true, 400, "'-1' is not a UID"},
		{"GET", "/messages/1:*", true, 400, "'1:*' is not a UID"},
		{"GET", "/messages/7%0D%0A", true, 400, "'7?\?' is not a UID"},
		{"GET", "/messages/4294967296", true, 400, "'4294967296' is not a UID"},
		{"GET", "/messages/4294967295", true, 404, "4294967295"},
		{"GET", "/messages/7/parts/0", true, 400, "'0' is not a part id"},
		{"GET", "/messages/7/parts/1.", true, 400, "'1.'"},
		{"GET", "/messages/7/parts/.1", true, 400, "'.1'"},
		{"GET", "/messages/7/parts/1..2", true, 400, "'1..2'"},
		{"GET", "/messages/7/parts/1.02", true, 400, "'1.02'"},
		{"GET", "/messages/7/parts/TEXT", true, 400, "'TEXT'"},
		{"GET", "/messages/7/parts/1]%20BODY[", true, 400, "'1] BODY['"},
		{"GET", "/mailboxes/@x/messages", true, 404, "'@x' is no role"},
		{"GET", "/mailboxes/@", true, 404, "'@' is no role"},
		{"GET", "/mailboxes/@Sent", true, 404, "'@Sent' is no role"},
		{"GET", "/messages/7?mailbox=@x", true, 404, "'@x' is no role"},
		{"GET", "/messages/7?mailbox=", true, 400, "mailbox name ''"},
		{"GET", "/mailboxes//messages", true, 400, "mailbox name ''"},
		{"GET", "/mailboxes/a%0D%0Ab/messages", true, 400, "control character 0x0D"},
		{"GET", "/messages/7?mailbox=a%0Ab", true, 400, "control character 0x0A"},
		{"GET", "/messages/7?mailbox=a&mailbox=b", true, 400, "'mailbox' may not be repeated"},
		{"GET", "/messages", true, 422, "mailbox"},
		{"GET", "/messages?mailbox=a&mailbox=b", true, 422, "several"},
		{"GET", "/mailboxes/a/messages?mailbox=b", true, 400, "unknown parameter 'mailbox'"},
		{"GET", "/messages/7?uidvalidity=3", true, 400, "did you mean 'uidValidity'"},
		{"GET", "/messages/7?uidValidity=0", true, 400, "'uidValidity' is '0'"},
		{"GET", "/messages/7?pretty=x", true, 400, "'pretty' is 'x'"},
		{"GET", "/?x=1", false, 400, "unknown parameter 'x'"},
		{"GET", "/healthz?x=1", false, 400, "unknown parameter 'x'"},
		{"GET", "/messages/%", false, 400, "percent-encoding"},
		{"GET", "/messages/%00", false, 400, "NUL"},
		{"GET", "x", false, 400, "begin with '/'"},
		{"GET", "/a/b/c/d/e/f/g/h/i/j/k/l/m", false, 414, "segments"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct fake_exchange fake;
		request(&fake, cases[i].method, cases[i].target, cases[i].has_login);
		print_message("%s %s: %u %s\n", cases[i].method, cases[i].target, fake.status,
			      fake_exchange_member(&fake, "detail"));
		assert_int_equal(fake.status, cases[i].status);
		assert_non_null(strstr(fake_exchange_member(&fake, "detail"), cases[i].says));
		assert_string_equal(fake_exchange_reply_header(&fake, "Content-Type"), "application/problem+json");
		assert_int_equal(fake_exchange_reply_header(&fake, "Allow") != NULL, cases[i].status == 405);
		assert_int_equal(fake_exchange_reply_header(&fake, "WWW-Authenticate") != NULL, cases[i].status == 401);
		fake_exchange_deinit(&fake);
	}
}

static void allowed_methods(void **state)
{
	static const char *const cases[][2] = {
		{"/", "GET, HEAD, OPTIONS"},
		{"/mailboxes", "GET, HEAD, POST, OPTIONS"},
		{"/mailboxes/a", "GET, HEAD, PATCH, DELETE, OPTIONS"},
		{"/messages/7", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"},
		{"/messages/7/keywords/x", "PUT, DELETE, OPTIONS"},
	};
	static const char *const methods[] = {"OPTIONS", "TRACE"};
	(void)state;

	for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
		struct fake_exchange fake;
		request(&fake, methods[i % 2], cases[i / 2][0], false);
		assert_int_equal(fake.status, i % 2 ? 405 : 204);
		assert_string_equal(fake_exchange_reply_header(&fake, "Allow"), cases[i / 2][1]);
		fake_exchange_deinit(&fake);
	}
}

static void foreign_origin(void **state)
{
	struct fake_exchange fake;
	(void)state;

	memset(&seen, 0, sizeof seen);
	fake_exchange_init(&fake, "PATCH", "/messages/7");
	fake_exchange_login(&fake);
	fake_exchange_add_header(&fake, "Host", "gw.example");
	fake_exchange_add_header(&fake, "Origin", "https://evil.example");
	api_handle(&app, &fake.exchange);
	assert_int_equal(fake.status, 403);
	assert_null(seen.handler);
	fake_exchange_deinit(&fake);
}

static void service(void **state)
{
	static const struct {
		const char *target;
		bool is_draining;
		unsigned status;
		const char *type;
	} cases[] = {
		{"/", false, 200, "application/json"},
		{"/", true, 200, "application/json"},
		{"/openapi.yaml", false, 200, "application/yaml"},
		{"/healthz", false, 200, "application/json"},
		{"/healthz", true, 200, "application/json"},
		{"/readyz", false, 200, "application/json"},
		{"/readyz", true, 503, "application/problem+json"},
		{"/mailboxes", true, 503, "application/problem+json"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct fake_exchange fake;
		app.is_draining = cases[i].is_draining;
		request(&fake, "GET", cases[i].target, true);
		print_message("%s %u\n", cases[i].target, fake.status);
		assert_int_equal(fake.status, cases[i].status);
		assert_string_equal(fake_exchange_reply_header(&fake, "Content-Type"), cases[i].type);
		assert_int_equal(fake.body.data[fake.body.len - 1], '\n');
		fake_exchange_deinit(&fake);
	}
	app.is_draining = false;
}

static void root_is_conditional(void **state)
{
	static const char *const targets[] = {"/", "/openapi.yaml"};
	(void)state;

	for (size_t i = 0; i < 2; i++) {
		struct fake_exchange fake;
		char etag[100];
		request(&fake, "GET", targets[i], false);
		snprintf(etag, sizeof etag, "%s", fake_exchange_reply_header(&fake, "ETag"));
		fake_exchange_deinit(&fake);

		fake_exchange_init(&fake, "GET", targets[i]);
		fake_exchange_add_header(&fake, "If-None-Match", etag);
		api_handle(&app, &fake.exchange);
		assert_int_equal(fake.status, 304);
		assert_int_equal(fake.body.len, 0);
		assert_string_equal(fake_exchange_reply_header(&fake, "ETag"), etag);
		fake_exchange_deinit(&fake);
	}
}

static void pretty(void **state)
{
	struct fake_exchange fake;
	(void)state;

	request(&fake, "GET", "/healthz", false);
	assert_string_equal(fake.body.data, "{\"status\":\"ok\"}\n");
	fake_exchange_deinit(&fake);
	request(&fake, "GET", "/healthz?pretty", false);
	assert_string_equal(fake.body.data, "{\n  \"status\": \"ok\"\n}\n");
	fake_exchange_deinit(&fake);
	request(&fake, "GET", "/nothing?pretty=1", false);
	assert_non_null(strstr(fake.body.data, "\n  \"status\": 404,\n"));
	fake_exchange_deinit(&fake);
}

static void addresses(void **state)
{
	struct gp_arena arena;
	(void)state;

	gp_arena_init(&arena, GP_MIB);
	assert_string_equal(api_message_href(&arena, span_of("Work/2024"), 7, "/parts/2"),
			    "/mailboxes/Work%2F2024/messages/7/parts/2");
	assert_string_equal(api_mailbox_href(&arena, span_of("@x é")), "/mailboxes/%40x%20%C3%A9");
	gp_arena_deinit(&arena);
}

/* However early memory ends, there is a reply. */
static void little_memory(void **state)
{
	(void)state;

	for (size_t cap = 1; cap < 8192; cap += 97) {
		struct fake_exchange fake;
		memset(&seen, 0, sizeof seen);
		fake_exchange_init(&fake, "GET", "/messages/7?mailbox=a");
		fake_exchange_login(&fake);
		fake.exchange.arena.cap = cap;
		api_handle(&app, &fake.exchange);
		assert_true(fake.is_replied);
		assert_true(fake.status == 503 || fake.status == 200);
		fake_exchange_deinit(&fake);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(routes),         cmocka_unit_test(refusals),  cmocka_unit_test(allowed_methods),
		cmocka_unit_test(foreign_origin), cmocka_unit_test(service),   cmocka_unit_test(root_is_conditional),
		cmocka_unit_test(pretty),         cmocka_unit_test(addresses), cmocka_unit_test(little_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
