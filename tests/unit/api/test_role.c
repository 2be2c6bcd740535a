#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/role.h"

#define MAX_MAILBOXES 8

struct row {
	const char *name; /* NULL: no more */
	unsigned attributes;
	const char *role, *source; /* expected; NULL: none */
};

static void assignments(void **state)
{
	static const struct {
		const char *title;
		struct row rows[MAX_MAILBOXES];
	} cases[] = {
		{"the server says",
		 {{"INBOX", 0, "inbox", "server"},
		  {"Mine", IMAP_MAILBOX_SENT, "sent", "server"},
		  {"Sent", 0, NULL, NULL},
		  {"Papierkorb", IMAP_MAILBOX_TRASH, "trash", "server"}}},
		{"names, in any case",
		 {{"inbox", 0, "inbox", "server"},
		  {"SENT ITEMS", 0, "sent", "name"},
		  {"ENTWÜRFE", 0, "drafts", "name"},
		  {"КОРЗИНА", 0, "trash", "name"},
		  {"迷惑メール", 0, "junk", "name"},
		  {"Archív", 0, "archive", "name"}}},
		{"both",
		 {{"INBOX", 0, "inbox", "server"},
		  {"Drafts", 0, "drafts", "name"},
		  {"Sent", IMAP_MAILBOX_SENT, "sent", "server"},
		  {"Sent Messages", IMAP_MAILBOX_SENT, NULL, NULL}}},
		{"the likelier of several names",
		 {{"Gesendete Objekte", 0, NULL, NULL}, {"Sent Messages", 0, NULL, NULL}, {"Sent", 0, "sent", "name"}}},
		{"one role for one mailbox",
		 {{"Archive", IMAP_MAILBOX_ALL | IMAP_MAILBOX_ARCHIVE, "archive", "server"},
		  {"All Mail", 0, "all", "name"}}},
		{"where names count",
		 {{"INBOX/Sent", 0, "sent", "name"},
		  {"[Gmail]/Trash", 0, "trash", "name"},
		  {"Work/Drafts", 0, NULL, NULL},
		  {"INBOX/Old/Spam", 0, NULL, NULL},
		  {"[Gmail]", IMAP_MAILBOX_NOSELECT, NULL, NULL}}},
		{"what cannot be selected has none",
		 {{"Trash", IMAP_MAILBOX_NOSELECT, NULL, NULL},
		  {"Deleted Items", 0, "trash", "name"},
		  {"Junk", IMAP_MAILBOX_NOSELECT | IMAP_MAILBOX_JUNK, NULL, NULL}}},
		{"INBOX stays inbox",
		 {{"INBOX", IMAP_MAILBOX_ARCHIVE, "inbox", "server"},
		  {"Koš", 0, "trash", "name"},
		  {"Sent\xFF", 0, NULL, NULL},
		  {"", 0, NULL, NULL}}},
		{"nothing", {{NULL, 0, NULL, NULL}}},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct imap_mailbox mailboxes[MAX_MAILBOXES] = {0};
		struct api_role roles[MAX_MAILBOXES];
		size_t n = 0;
		for (; n < MAX_MAILBOXES && cases[i].rows[n].name; n++) {
			mailboxes[n].name = span_of(cases[i].rows[n].name);
			mailboxes[n].delimiter = '/';
			mailboxes[n].attributes = cases[i].rows[n].attributes;
		}
		print_message("%s\n", cases[i].title);
		api_roles_assign(mailboxes, n, roles);
		for (size_t j = 0; j < n; j++) {
			const struct row *row = &cases[i].rows[j];
			print_message("  %s: %s\n", row->name, roles[j].role ? roles[j].role : "-");
			assert_string_equal(roles[j].role ? roles[j].role : "-", row->role ? row->role : "-");
			assert_string_equal(roles[j].source ? roles[j].source : "-", row->source ? row->source : "-");
			if (row->role) {
				assert_true(api_role_is_candidate(&mailboxes[j]));
				assert_ptr_equal(api_role_mailbox(row->role, mailboxes, n), &mailboxes[j]);
			}
		}
	}
}

static void names(void **state)
{
	static const char *const good[] = {"inbox", "sent", "drafts", "trash", "junk", "archive", "flagged", "all"};
	static const char *const bad[] = {"", "Inbox", "inbo", "inboxx", "spam", "important", "@inbox"};
	(void)state;

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_string_equal(api_role_find(span_of(good[i])), good[i]);
		assert_non_null(strstr(api_role_list(), good[i]));
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_null(api_role_find(span_of(bad[i])));
	}
	assert_null(api_role_mailbox("sent", NULL, 0));
	const struct imap_mailbox work = {.name = SPAN_LIT("Work"), .delimiter = '/'};
	assert_false(api_role_is_candidate(&work));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(assignments),
		cmocka_unit_test(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
