/* CREATE, RENAME, DELETE, SUBSCRIBE and UNSUBSCRIBE. */
#include "tests/unit/imap/test_call_script.h"

enum kind { CREATE, RENAME, DELETE, SUBSCRIBE, UNSUBSCRIBE };

struct mailbox_spec {
	enum kind kind;
	const char *name, *new_name;
	unsigned special_use;
};

static struct imap_call *start(struct fixture *f, const void *ctx)
{
	const struct mailbox_spec *spec = ctx;
	struct imap_session *session = f->fake->session;
	struct imap_call *call = NULL;
	char text[2][100];

	/* What is passed need not outlive the call of start. */
	snprintf(text[0], sizeof text[0], "%s", spec->name);
	snprintf(text[1], sizeof text[1], "%s", spec->new_name ? spec->new_name : "");
	struct span name = span_of(text[0]);
	switch (spec->kind) {
	case CREATE:
		call = imap_create_start(session, name, spec->special_use, script_on_done, f);
		break;
	case RENAME:
		call = imap_rename_start(session, name, span_of(text[1]), script_on_done, f);
		break;
	case DELETE:
		call = imap_delete_start(session, name, script_on_done, f);
		break;
	case SUBSCRIBE:
	case UNSUBSCRIBE:
		call = imap_subscribe_start(session, name, spec->kind == SUBSCRIBE, script_on_done, f);
		break;
	}
	memset(text, 'x', sizeof text);
	return call;
}

#define ROW(name_, capabilities_, spec_, command_, answer_, expected_)                                                 \
	{                                                                                                              \
		.name = name_, .capabilities = capabilities_, .start = start, .spec = spec_,                           \
		.steps = {C(command_), S(answer_)}, .expected = expected_                                              \
	}

static const struct mailbox_spec create = {CREATE, "Work/2024", NULL, 0};
static const struct mailbox_spec create_trash = {CREATE, "My Bin", NULL, IMAP_MAILBOX_TRASH};
static const struct mailbox_spec create_important = {CREATE, "a", NULL, IMAP_MAILBOX_IMPORTANT};
static const struct mailbox_spec create_two_uses = {CREATE, "a", NULL, IMAP_MAILBOX_SENT | IMAP_MAILBOX_JUNK};
static const struct mailbox_spec create_no_use = {CREATE, "a", NULL, IMAP_MAILBOX_NOSELECT};
static const struct mailbox_spec create_line_break = {CREATE, "a\r\nb NOOP", NULL, 0};
static const struct mailbox_spec rename_ = {RENAME, "R\303\251sum\303\251s", "Old (2023)", 0};
static const struct mailbox_spec rename_line_break = {RENAME, "a", "b\r\nc", 0};
static const struct mailbox_spec delete = {DELETE, "Work \"x\"", NULL, 0};
static const struct mailbox_spec subscribe = {SUBSCRIBE, "Work", NULL, 0};
static const struct mailbox_spec unsubscribe = {UNSUBSCRIBE, "Work", NULL, 0};

#define USE "IMAP4rev1 CREATE-SPECIAL-USE"

static void test_commands(void **state)
{
	static const struct script scripts[] = {
		ROW("create", "IMAP4rev1", &create, "CREATE Work/2024", "$ OK [MAILBOXID (F1)] done\r\n", "done OK\n"),
		ROW("create with a use", USE, &create_trash, "CREATE \"My Bin\" (USE (\\Trash))", "$ OK done\r\n",
		    "done OK\n"),
		ROW("create important", USE, &create_important, "CREATE a (USE (\\Important))", "$ OK done\r\n",
		    "done OK\n"),
		ROW("rename", "IMAP4rev1", &rename_, "RENAME R&AOk-sum&AOk-s \"Old (2023)\"", "$ OK done\r\n",
		    "done OK\n"),
		ROW("delete", "IMAP4rev1", &delete, "DELETE \"Work \\\"x\\\"\"", "$ OK done\r\n", "done OK\n"),
		ROW("subscribe", "IMAP4rev1", &subscribe, "SUBSCRIBE Work", "$ OK done\r\n", "done OK\n"),
		ROW("unsubscribe", "IMAP4rev1", &unsubscribe, "UNSUBSCRIBE Work", "$ OK done\r\n", "done OK\n"),
		ROW("what is said meanwhile", "IMAP4rev1", &delete, "DELETE \"Work \\\"x\\\"\"",
		    "* LIST (\\NonExistent) \"/\" Work\r\n* 3 EXISTS\r\n$ OK done\r\n", "done OK\n"),
	};
	(void)state;
	play_scripts(scripts);
}

#define REFUSED(name_, answer_, expected_) ROW(name_, "IMAP4rev1", &subscribe, "SUBSCRIBE Work", answer_, expected_)

static void test_refusals(void **state)
{
	static const struct script scripts[] = {
		REFUSED("no code is no sign of anything", "$ NO no\r\n", "done NO\n"),
		REFUSED("no text", "$ NO\r\n", "done NO\n"),
		REFUSED("ALREADYEXISTS", "$ NO [ALREADYEXISTS] there\r\n", "done NO ALREADYEXISTS\n"),
		REFUSED("HASCHILDREN", "$ NO [HASCHILDREN] has\r\n", "done NO HASCHILDREN\n"),
		REFUSED("INUSE", "$ NO [INUSE] open\r\n", "done NO INUSE\n"),
		REFUSED("NOPERM", "$ NO [NOPERM] doesn't exist\r\n", "done NO NOPERM\n"),
		REFUSED("NONEXISTENT", "$ NO [NONEXISTENT] where?\r\n", "done NOT_FOUND NONEXISTENT\n"),
		REFUSED("in words", "$ NO Mailbox does not exist\r\n", "done NOT_FOUND\n"),
		REFUSED("bad", "$ BAD what?\r\n", "done BAD\n"),
	};
	(void)state;
	play_scripts(scripts);
}

static void test_not_sent(void **state)
{
	static const struct script scripts[] = {
		{.name = "a use where it is not offered",
		 .capabilities = "IMAP4rev1 SPECIAL-USE",
		 .start = start,
		 .spec = &create_trash,
		 .expected = "done UNSUPPORTED\n"},
		{.name = "two uses",
		 .capabilities = USE,
		 .start = start,
		 .spec = &create_two_uses,
		 .expected = "done UNSUPPORTED\n"},
		{.name = "an attribute that is no use",
		 .capabilities = USE,
		 .start = start,
		 .spec = &create_no_use,
		 .expected = "done UNSUPPORTED\n"},
		{.name = "a line break in a name",
		 .capabilities = "IMAP4rev1",
		 .start = start,
		 .spec = &create_line_break,
		 .expected = "done INVALID\n"},
		{.name = "a line break in the new name",
		 .capabilities = "IMAP4rev1",
		 .start = start,
		 .spec = &rename_line_break,
		 .expected = "done INVALID\n"},
	};
	(void)state;
	play_scripts(scripts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
