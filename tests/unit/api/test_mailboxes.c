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

/* Not asked for here; defined so that the message files stay out of this program. */
#define HANDLER(name)                                                                                                  \
	void name(struct api_request *request)                                                                         \
	{                                                                                                              \
		(void)request;                                                                                         \
		abort();                                                                                               \
	}
API_HANDLER_MAP(HANDLER)

static struct gp_timers timers;
static struct api_app app = {.now_us = fake_now_us, .timers = &timers, .request_timeout_ms = 60000};

static void begin(struct fake_exchange *fake, const char *target)
{
	fake_pool_reset();
	gp_timers_init(&timers);
	fake_exchange_init(fake, "GET", target);
	fake_exchange_login(fake);
}

static void end(struct fake_exchange *fake, unsigned status)
{
	assert_int_equal(fake->status, status);
	assert_true(fake_pool_is_quiet());
	gp_timers_deinit(&timers);
	fake_exchange_deinit(fake);
}

#define ALL_ITEMS                                                                                                      \
	(IMAP_STATUS_MESSAGES | IMAP_STATUS_UNSEEN | IMAP_STATUS_UIDNEXT | IMAP_STATUS_UIDVALIDITY |                   \
	 IMAP_STATUS_HIGHESTMODSEQ | IMAP_STATUS_SIZE)

static const struct imap_mailbox account[] = {
	{.name = SPAN_LIT("INBOX"),
	 .delimiter = '/',
	 .attributes = IMAP_MAILBOX_SUBSCRIBED | IMAP_MAILBOX_HASNOCHILDREN,
	 .has_status = true,
	 .status = {.items = ALL_ITEMS,
		    .messages = 3,
		    .unseen = 1,
		    .uidnext = 8,
		    .uidvalidity = 5,
		    .highestmodseq = INT64_MAX,
		    .size = 4096},
	 .my_rights = SPAN_LIT("lrs")},
	{.name = SPAN_LIT("Work"), .delimiter = '/', .attributes = IMAP_MAILBOX_NOSELECT},
	{.name = SPAN_LIT("Work-old"), .delimiter = '/'},
	{.name = SPAN_LIT("Work/R\xC3\xA9sum\xC3\xA9s"),
	 .delimiter = '/',
	 .attributes = IMAP_MAILBOX_SUBSCRIBED,
	 .has_status = true,
	 .status = {.items = IMAP_STATUS_MESSAGES | IMAP_STATUS_UNSEEN | IMAP_STATUS_UIDNEXT | IMAP_STATUS_UIDVALIDITY,
		    .messages = 2,
		    .uidnext = 3,
		    .uidvalidity = 6}},
	{.name = SPAN_LIT("Gesendet"), .delimiter = '/'},
};
#define N_ACCOUNT (sizeof account / sizeof account[0])

/* The whole text of one object, so that a member more or less shows. */
static void every_member(void **state)
{
	static const char inbox[] =
		"{\"name\":\"INBOX\",\"leafName\":\"INBOX\",\"parent\":null,\"delimiter\":\"/\",\"role\":\"inbox\","
		"\"roleSource\":\"server\",\"isSubscribed\":true,\"isSelectable\":true,\"hasChildren\":false,"
		"\"totalEmails\":3,\"unreadEmails\":1,\"size\":4096,\"uidValidity\":5,\"uidNext\":8,"
		"\"highestModseq\":\"9223372036854775807\",\"state\":\"q5.9223372036854775807.8\",\"myRights\":\"lrs\","
		"\"href\":\"/mailboxes/INBOX\"}";
	static const char resumes[] =
		"{\"name\":\"Work/Résumés\",\"leafName\":\"Résumés\",\"parent\":\"Work\",\"delimiter\":\"/\","
		"\"role\":null,\"roleSource\":null,\"isSubscribed\":true,\"isSelectable\":true,\"hasChildren\":false,"
		"\"totalEmails\":2,\"unreadEmails\":0,\"size\":null,\"uidValidity\":6,\"uidNext\":3,"
		"\"highestModseq\":null,\"state\":null,\"myRights\":null,"
		"\"href\":\"/mailboxes/Work%2FR%C3%A9sum%C3%A9s\"}";
	static const char work[] =
		"{\"name\":\"Work\",\"leafName\":\"Work\",\"parent\":null,\"delimiter\":\"/\",\"role\":null,"
		"\"roleSource\":null,\"isSubscribed\":false,\"isSelectable\":false,\"hasChildren\":true,"
		"\"totalEmails\":null,\"unreadEmails\":null,\"size\":null,\"uidValidity\":null,\"uidNext\":null,"
		"\"highestModseq\":null,\"state\":null,\"myRights\":null,\"href\":\"/mailboxes/Work\"}";
	struct fake_exchange fake;
	(void)state;

	begin(&fake, "/mailboxes");
	fake_pool.can_acl = true;
	api_handle(&app, &fake.exchange);
	fake_pool_grant();
	assert_string_equal(fake_pool.list_pattern, "*");
	assert_int_equal(fake_pool.list_items, ALL_ITEMS);
	assert_true(fake_pool.with_my_rights);
	fake_pool_list(account, N_ACCOUNT);
	assert_non_null(strstr(fake.body.data, inbox));
	assert_non_null(strstr(fake.body.data, resumes));
	assert_non_null(strstr(fake.body.data, work));
	end(&fake, 200);
}

static void filters(void **state)
{
	static const struct {
		const char *query;
		unsigned items;
		const char *body; /* NULL: not compared */
	} cases[] = {
		{"fields=name", 0,
		 "{\"mailboxes\":[{\"name\":\"INBOX\"},{\"name\":\"Work\"},{\"name\":\"Work-old\"},"
		 "{\"name\":\"Work/Résumés\"},{\"name\":\"Gesendet\"}]}\n"},
		{"fields=name&subscribed=1", 0, "{\"mailboxes\":[{\"name\":\"INBOX\"},{\"name\":\"Work/Résumés\"}]}\n"},
		{"fields=name&role=sent", 0, "{\"mailboxes\":[{\"name\":\"Gesendet\"}]}\n"},
		{"fields=role,roleSource&role=sent", 0,
		 "{\"mailboxes\":[{\"role\":\"sent\",\"roleSource\":\"name\"}]}\n"},
		{"fields=name&role=junk", 0, "{\"mailboxes\":[]}\n"},
		{"fields=name&parent=Work", 0, "{\"mailboxes\":[{\"name\":\"Work/Résumés\"}]}\n"},
		{"fields=name&parent=", 0,
		 "{\"mailboxes\":[{\"name\":\"INBOX\"},{\"name\":\"Work\"},{\"name\":\"Work-old\"},"
		 "{\"name\":\"Gesendet\"}]}\n"},
		{"fields=hasChildren&parent=", 0,
		 "{\"mailboxes\":[{\"hasChildren\":false},{\"hasChildren\":true},{\"hasChildren\":false},"
		 "{\"hasChildren\":false}]}\n"},
		{"fields=unreadEmails&role=inbox", IMAP_STATUS_UNSEEN, "{\"mailboxes\":[{\"unreadEmails\":1}]}\n"},
		{"counts=0", 0, NULL},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct fake_exchange fake;
		char target[128];
		print_message("%s\n", cases[i].query);
		snprintf(target, sizeof target, "/mailboxes?%s", cases[i].query);
		begin(&fake, target);
		api_handle(&app, &fake.exchange);
		fake_pool_grant();
		assert_int_equal(fake_pool.list_items, cases[i].items);
		fake_pool_list(account, N_ACCOUNT);
		if (cases[i].body) {
			assert_string_equal(fake.body.data, cases[i].body);
		}
		end(&fake, 200);
	}
}

/* Nothing reaches the pool when the request is bad. */
static void bad_parameters(void **state)
{
	static const char *const cases[][2] = {
		{"/mailboxes?role=Sent", "'role' is 'Sent'"},
		{"/mailboxes?subscribed=2", "'subscribed' is '2'"},
		{"/mailboxes?counts=no", "'counts' is 'no'"},
		{"/mailboxes?fields=name,colour", "unknown member 'colour'"},
		{"/mailboxes?field=name", "did you mean 'fields'"},
		{"/mailboxes/INBOX?role=sent", "unknown parameter 'role'"},
		{"/mailboxes?parent=a&parent=b", "'parent' may not be repeated"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct fake_exchange fake;
		begin(&fake, cases[i][0]);
		api_handle(&app, &fake.exchange);
		assert_int_equal(fake_pool.n_leases, 0);
		assert_non_null(strstr(fake_exchange_member(&fake, "detail"), cases[i][1]));
		end(&fake, 400);
	}
}

static void one(void **state)
{
	static const struct {
		const char *target;
		size_t found;            /* in `account`: what the LIST of the name answers */
		const char *patterns[3]; /* of the LISTs, in order */
		const char *body;        /* NULL: 404 */
	} cases[] = {
		{"/mailboxes/inbox?fields=name,role", 0, {"inbox"}, "{\"name\":\"INBOX\",\"role\":\"inbox\"}\n"},
		{"/mailboxes/@inbox?fields=state", 0, {"INBOX"}, "{\"state\":\"q5.9223372036854775807.8\"}\n"},
		/* a name that may have a role: only the whole list tells */
		{"/mailboxes/Gesendet?fields=role,name",
		 4,
		 {"Gesendet", "*"},
		 "{\"name\":\"Gesendet\",\"role\":\"sent\"}\n"},
		{"/mailboxes/Gesendet?fields=name", 4, {"Gesendet"}, "{\"name\":\"Gesendet\"}\n"},
		{"/mailboxes/Work?fields=hasChildren", 1, {"Work", "*"}, "{\"hasChildren\":true}\n"},
		{"/mailboxes/Work?fields=isSelectable", 1, {"Work"}, "{\"isSelectable\":false}\n"},
		{"/mailboxes/@sent?fields=name", 4, {"*", "Gesendet"}, "{\"name\":\"Gesendet\"}\n"},
		{"/mailboxes/@trash", 4, {"*"}, NULL},
		{"/mailboxes/Nowhere", 4, {"Nowhere"}, NULL},
		/* wildcards match more: names are compared */
		{"/mailboxes/W%25", 1, {"W%"}, NULL},
		{"/mailboxes/*", 1, {"*"}, NULL},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct fake_exchange fake;
		print_message("%s\n", cases[i].target);
		begin(&fake, cases[i].target);
		api_handle(&app, &fake.exchange);
		assert_string_equal(fake_pool.lease_mailbox, "");
		fake_pool_grant();
		size_t n = 0;
		for (; n < 3 && cases[i].patterns[n]; n++) {
			assert_true(fake_pool.is_call_running);
			assert_string_equal(fake_pool.list_pattern, cases[i].patterns[n]);
			if (strcmp(fake_pool.list_pattern, "*") == 0) {
				fake_pool_list(account, N_ACCOUNT);
			} else {
				fake_pool_list(&account[cases[i].found], 1);
			}
		}
		assert_int_equal(fake_pool.n_lists, n);
		if (cases[i].body) {
			assert_string_equal(fake.body.data, cases[i].body);
		}
		end(&fake, cases[i].body ? 200 : 404);
	}
}

static void not_modified(void **state)
{
	static const char *const targets[] = {"/mailboxes", "/mailboxes/INBOX"};
	(void)state;

	for (size_t i = 0; i < 2; i++) {
		char etag[100] = "";
		for (unsigned n = 0; n < 3; n++) {
			struct imap_mailbox inbox = account[0];
			struct fake_exchange fake;
			begin(&fake, targets[i]);
			if (n > 0) {
				fake_exchange_add_header(&fake, "If-None-Match", etag);
			}
			inbox.status.unseen = n == 2 ? 0 : 1;
			api_handle(&app, &fake.exchange);
			fake_pool_grant();
			fake_pool_list(&inbox, 1);
			snprintf(etag, sizeof etag, "%s", fake_exchange_reply_header(&fake, "ETag"));
			assert_int_equal(strncmp(etag, "W/\"", 3), 0);
			end(&fake, n == 1 ? 304 : 200);
		}
	}
}

/* A retry, a refusal or a client that leaves between two steps leaks nothing. */
static void broken_off(void **state)
{
	struct fake_exchange fake;
	(void)state;

	for (unsigned how = 0; how < 4; how++) {
		begin(&fake, "/mailboxes/Gesendet");
		api_handle(&app, &fake.exchange);
		fake_pool_grant();
		fake_pool_list(&account[4], 1);
		assert_true(fake_pool.is_call_running);
		switch (how) {
		case 0:
			fake_exchange_leave(&fake);
			end(&fake, 0);
			break;
		case 1:
			gp_timers_run(&timers, 60000);
			end(&fake, 504);
			break;
		case 2:
			fake_pool_fail_list(GP_NO, "NOPERM");
			end(&fake, 403);
			break;
		default:
			fake_pool_fail_list(GP_LOST, "");
			fake_pool_grant();
			fake_pool_list(&account[4], 1);
			fake_pool_list(account, N_ACCOUNT);
			assert_string_equal(fake_exchange_member(&fake, "role"), "sent");
			end(&fake, 200);
			break;
		}
	}
}

/* Only what stands behind the delimiter is a child. */
static void siblings(void **state)
{
	static const struct imap_mailbox names[] = {
		{.name = SPAN_LIT("A"), .delimiter = '/'},
		{.name = SPAN_LIT("A0"), .delimiter = '/'},
		{.name = SPAN_LIT("A-"), .delimiter = '/'},
	};
	struct fake_exchange fake;
	(void)state;

	begin(&fake, "/mailboxes?fields=hasChildren");
	api_handle(&app, &fake.exchange);
	fake_pool_grant();
	fake_pool_list(names, sizeof names / sizeof names[0]);
	assert_null(strstr(fake.body.data, "true"));
	end(&fake, 200);
}

/* Names of any bytes make valid JSON. */
static void hostile_names(void **state)
{
	static const struct imap_mailbox odd[] = {
		{.name = SPAN_LIT("a\"b\\c\r\n\x01"), .delimiter = '"'},
		{.name = SPAN_LIT("\xFF\xFE"), .delimiter = (char)0x80},
		{.name = SPAN_LIT(""), .delimiter = '/'},
		{.name = SPAN_LIT("/"), .delimiter = '/'},
		{.name = SPAN_LIT("//"), .delimiter = '/'},
		{.name = SPAN_LIT("x\0y"), .delimiter = 0},
	};
	struct fake_exchange fake;
	(void)state;

	begin(&fake, "/mailboxes");
	api_handle(&app, &fake.exchange);
	fake_pool_grant();
	fake_pool_list(odd, sizeof odd / sizeof odd[0]);
	json_t *object = fake_exchange_json(&fake);
	assert_int_equal(json_array_size(json_object_get(object, "mailboxes")), sizeof odd / sizeof odd[0]);
	json_decref(object);
	end(&fake, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_member), cmocka_unit_test(filters),       cmocka_unit_test(bad_parameters),
		cmocka_unit_test(one),          cmocka_unit_test(not_modified),  cmocka_unit_test(broken_off),
		cmocka_unit_test(siblings),     cmocka_unit_test(hostile_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
