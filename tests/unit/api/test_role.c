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

static void check(const struct api_role_config *config, const struct row *rows)
{
	struct imap_mailbox mailboxes[MAX_MAILBOXES] = {0};
	struct api_role roles[MAX_MAILBOXES];
	size_t n = 0;

	for (; n < MAX_MAILBOXES && rows[n].name; n++) {
		mailboxes[n].name = span_of(rows[n].name);
		mailboxes[n].delimiter = '/';
		mailboxes[n].attributes = rows[n].attributes;
	}
	api_roles_assign(config, mailboxes, n, roles);
	for (size_t i = 0; i < n; i++) {
		const struct row *row = &rows[i];
		print_message("  %s: %s\n", row->name, roles[i].role ? roles[i].role : "-");
		assert_string_equal(roles[i].role ? roles[i].role : "-", row->role ? row->role : "-");
		assert_string_equal(roles[i].source ? roles[i].source : "-", row->source ? row->source : "-");
		if (row->role) {
			assert_true(api_role_is_candidate(config, &mailboxes[i]));
			assert_ptr_equal(api_role_mailbox(config, row->role, mailboxes, n), &mailboxes[i]);
		}
	}
}

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
		print_message("%s\n", cases[i].title);
		check(NULL, cases[i].rows);
	}
}

static void laid_down(void **state)
{
	static const struct {
		const char *title;
		const char *config[2];
		struct row rows[MAX_MAILBOXES];
	} cases[] = {
		{"before the server's word, and that before names",
		 {"sent=Old/Sent 2024", "junk=Drafts"},
		 {{"INBOX", 0, "inbox", "server"},
		  {"Old/Sent 2024", 0, "sent", "config"},
		  {"Sent", IMAP_MAILBOX_SENT, NULL, NULL},
		  {"Drafts", IMAP_MAILBOX_DRAFTS, "junk", "config"},
		  {"Brouillons", 0, "drafts", "name"},
		  {"Trash", IMAP_MAILBOX_TRASH, "trash", "server"}}},
		{"an account without that mailbox, or where it cannot be selected, is as any other",
		 {"sent=Sent Items", "trash=Gone"},
		 {{"Sent", 0, "sent", "name"},
		  {"Gone", IMAP_MAILBOX_NOSELECT, NULL, NULL},
		  {"Bin", IMAP_MAILBOX_TRASH, "trash", "server"},
		  {"sent items", 0, NULL, NULL}}},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct api_role_config config = {0};
		struct gp_error error;
		print_message("%s\n", cases[i].title);
		for (size_t j = 0; j < 2; j++) {
			assert_int_equal(api_role_config_add(&config, span_of(cases[i].config[j]), &error), GP_OK);
		}
		check(&config, cases[i].rows);
	}
	const struct imap_mailbox work = {.name = SPAN_LIT("Work"), .delimiter = '/'};
	struct api_role_config config = {0};
	struct gp_error error;
	assert_int_equal(api_role_config_add(&config, SPAN_LIT("all=Work"), &error), GP_OK);
	assert_true(api_role_is_candidate(&config, &work));
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
	assert_null(api_role_mailbox(NULL, "sent", NULL, 0));
	const struct imap_mailbox work = {.name = SPAN_LIT("Work"), .delimiter = '/'};
	assert_false(api_role_is_candidate(NULL, &work));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(assignments),
		cmocka_unit_test(laid_down),
		cmocka_unit_test(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
