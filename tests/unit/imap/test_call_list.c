/* The list of mailboxes, and all the ways to it. */
#include "tests/unit/imap/test_call_script.h"

static const struct {
	unsigned attribute;
	const char *name;
} attribute_names[] = {
	{IMAP_MAILBOX_NOSELECT, "noselect"},
	{IMAP_MAILBOX_HASCHILDREN, "children"},
	{IMAP_MAILBOX_HASNOCHILDREN, "leaf"},
	{IMAP_MAILBOX_SUBSCRIBED, "subscribed"},
	{IMAP_MAILBOX_NOINFERIORS, "noinferiors"},
	{IMAP_MAILBOX_ALL, "all"},
	{IMAP_MAILBOX_ARCHIVE, "archive"},
	{IMAP_MAILBOX_DRAFTS, "drafts"},
	{IMAP_MAILBOX_FLAGGED, "flagged"},
	{IMAP_MAILBOX_JUNK, "junk"},
	{IMAP_MAILBOX_SENT, "sent"},
	{IMAP_MAILBOX_TRASH, "trash"},
	{IMAP_MAILBOX_IMPORTANT, "important"},
};

static void note_mailbox(struct fixture *f, const struct imap_mailbox *mailbox)
{
	assert_true(mailbox->has_status == (mailbox->status.items != 0));
	note(f, "%.*s %c", SPAN_ARGS(mailbox->name), mailbox->delimiter ? mailbox->delimiter : '-');
	for (size_t i = 0; i < sizeof attribute_names / sizeof *attribute_names; i++) {
		if (mailbox->attributes & attribute_names[i].attribute) {
			note(f, " %s", attribute_names[i].name);
		}
	}
	if (mailbox->status.items & IMAP_STATUS_MESSAGES) {
		note(f, " messages=%u", (unsigned)mailbox->status.messages);
	}
	if (mailbox->status.items & IMAP_STATUS_MAILBOXID) {
		note(f, " id=%.*s", SPAN_ARGS(mailbox->status.mailbox_id));
	}
	if (!span_is_nil(mailbox->my_rights)) {
		note(f, " rights=%.*s", SPAN_ARGS(mailbox->my_rights));
	}
	note(f, "\n");
}

static void on_mailboxes(void *ctx, const struct gp_error *error, const struct imap_mailbox *mailboxes,
			 size_t n_mailboxes)
{
	note_end(ctx, error);
	note(ctx, "\n");
	for (size_t i = 0; i < n_mailboxes; i++) {
		note_mailbox(ctx, &mailboxes[i]);
	}
}

struct list_case {
	const char *pattern;
	unsigned items; /* 0: without STATUS */
	bool with_my_rights;
};

static struct imap_call *start_list(struct fixture *f, const void *spec_pointer)
{
	const struct list_case *c = spec_pointer;
	char pattern[64];

	snprintf(pattern, sizeof pattern, "%s", c->pattern);
	const struct imap_list_spec spec = {.pattern = span_of(pattern),
					    .with_status = c->items != 0,
					    .status_items = c->items,
					    .with_my_rights = c->with_my_rights};
	struct imap_call *call = imap_list_start(f->fake->session, &spec, on_mailboxes, f);
	memset(pattern, 'x', sizeof pattern);
	return call;
}

static const struct list_case names = {"*", 0, false};
static const struct list_case counts = {"*", IMAP_STATUS_MESSAGES, false};
static const struct list_case ids = {"*", IMAP_STATUS_MESSAGES | IMAP_STATUS_MAILBOXID, false};
static const struct list_case rights = {"*", 0, true};
static const struct list_case one = {"R\303\251sum\303\251s", IMAP_STATUS_MESSAGES, true};
static const struct list_case inbox = {"inbox", 0, false};

#define PLAIN "IMAP4rev1"
#define EXTENDED "IMAP4rev1 LIST-EXTENDED SPECIAL-USE"
#define STATUSES EXTENDED " LIST-STATUS"

#define LIST(name_, capabilities_, spec_, ...)                                                                         \
	{                                                                                                              \
		.name = name_, .capabilities = capabilities_, .start = start_list, .spec = spec_, __VA_ARGS__          \
	}

#define ASK "LIST \"\" \"*\" RETURN (SUBSCRIBED CHILDREN SPECIAL-USE)"
#define ASK_COUNTS "LIST \"\" \"*\" RETURN (SUBSCRIBED CHILDREN SPECIAL-USE STATUS (MESSAGES))"
#define ASK_IDS "LIST \"\" \"*\" RETURN (STATUS (MAILBOXID))"
#define LSUB "LSUB \"\" \"*\""

static void test_extended(void **state)
{
	static const struct script scripts[] = {
		LIST("one command", STATUSES, &counts,
		     .steps = {C(ASK_COUNTS), S("* LIST (\\Subscribed \\HasNoChildren) \"/\" INBOX\r\n"
						"* STATUS INBOX (MESSAGES 7)\r\n"
						"* LIST (\\HASCHILDREN \\noselect) \"/\" Work\r\n"
						"* LIST (\\Trash) \"/\" \"Bin & Co\"\r\n"
						"* STATUS \"Nobody\" (MESSAGES 7)\r\n$ OK\r\n")},
		     .expected = "done OK\nINBOX / leaf subscribed messages=7\nWork / noselect children\n"
				 "Bin & Co / trash\n"),
		LIST("STATUS before LIST, and again", STATUSES, &counts,
		     .steps = {C(ASK_COUNTS), S("* STATUS a (MESSAGES 1)\r\n* LIST (\\All) \".\" a\r\n"
						"* STATUS a (MESSAGES 2)\r\n$ OK\r\n")},
		     .expected = "done OK\na . all messages=2\n"),
		LIST("ids by themselves", STATUSES " OBJECTID", &ids,
		     .steps = {C(ASK_COUNTS), S("* LIST (\\All) NIL \"a\"\r\n* STATUS \"a\" (MESSAGES 1)\r\n$ OK\r\n"),
			       C(ASK_IDS), S("* LIST () NIL \"a\"\r\n* STATUS \"a\" (MAILBOXID (M9))\r\n$ OK\r\n")},
		     .expected = "done OK\na - all messages=1 id=M9\n"),
		LIST("no ids after all", STATUSES " OBJECTID", &ids,
		     .steps = {C(ASK_COUNTS), S("* LIST (\\All) NIL \"a\"\r\n* STATUS \"a\" (MESSAGES 1)\r\n$ OK\r\n"),
			       C(ASK_IDS), S("$ BAD what\r\n")},
		     .expected = "done OK\na - all messages=1\n"),
		LIST("STATUS one by one", EXTENDED, &counts,
		     .steps = {C(ASK),
			       S("* LIST (\\All) \"/\" a\r\n* LIST (\\NonExistent) \"/\" b\r\n"
				 "* LIST () \"/\" c\r\n$ OK\r\n"),
			       C("STATUS a (MESSAGES)"), C("STATUS c (MESSAGES)"),
			       S("* STATUS a (MESSAGES 1)\r\n$ OK\r\n$ NO gone\r\n")},
		     .expected = "done OK\na / all messages=1\nb / noselect\nc /\n"),
		LIST("rights", EXTENDED " LIST-MYRIGHTS ACL", &rights,
		     .steps = {C("LIST \"\" \"*\" RETURN (SUBSCRIBED CHILDREN SPECIAL-USE MYRIGHTS)"),
			       S("* LIST (\\All) \"/\" a\r\n* MYRIGHTS a lrs\r\n$ OK\r\n")},
		     .expected = "done OK\na / all rights=lrs\n"),
		LIST("rights of all cannot be had one by one", EXTENDED " ACL", &rights,
		     .steps = {C(ASK), S("* LIST (\\All) \"/\" a\r\n$ OK\r\n")}, .expected = "done OK\na / all\n"),
		LIST("one mailbox", STATUSES " ACL", &one,
		     .steps =
			     {C("LIST \"\" R&AOk-sum&AOk-s RETURN (SUBSCRIBED CHILDREN SPECIAL-USE STATUS (MESSAGES))"),
			      C("MYRIGHTS R&AOk-sum&AOk-s"),
			      S("* LIST (\\Sent) \"/\" R&AOk-sum&AOk-s\r\n* STATUS R&AOk-sum&AOk-s (MESSAGES 1)\r\n$ "
				"OK\r\n"
				"* MYRIGHTS R&AOk-sum&AOk-s lr\r\n$ OK\r\n")},
		     .expected = "done OK\nR\303\251sum\303\251s / sent messages=1 rights=lr\n"),
		LIST("one that is not there", STATUSES " ACL", &one,
		     .steps =
			     {C("LIST \"\" R&AOk-sum&AOk-s RETURN (SUBSCRIBED CHILDREN SPECIAL-USE STATUS (MESSAGES))"),
			      C("MYRIGHTS R&AOk-sum&AOk-s"), S("$ OK\r\n$ NO Mailbox doesn't exist\r\n")},
		     .expected = "done OK\n"),
		LIST("refused", EXTENDED, &names, .steps = {C(ASK), S("$ NO [UNAVAILABLE] later\r\n")},
		     .expected = "done NO UNAVAILABLE\n"),
		LIST("throttled", EXTENDED, &names, .steps = {C(ASK), S("$ BAD Request is throttled.\r\n")},
		     .expected = "done THROTTLED\n"),
	};
	(void)state;
	play_scripts(scripts);
}

static void test_fallbacks(void **state)
{
	static const struct script scripts[] = {
		LIST("not understood", STATUSES, &counts,
		     .steps = {C(ASK_COUNTS), S("* LIST () \"/\" half\r\n$ BAD what\r\n"), C("LIST \"\" \"*\""),
			       C(LSUB), S("* LIST () \"/\" a\r\n$ OK\r\n* LSUB () \"/\" a\r\n$ OK\r\n"),
			       C("STATUS a (MESSAGES)"), S("* STATUS a (MESSAGES 1)\r\n$ OK\r\n")},
		     .expected = "done OK\na / subscribed messages=1\n"),
		LIST("RETURN yields nothing", STATUSES, &names,
		     .steps = {C(ASK), S("$ OK\r\n"), C("LIST \"\" \"*\""), C(LSUB),
			       S("* LIST () \"/\" INBOX\r\n$ OK\r\n$ OK\r\n")},
		     .expected = "done OK\nINBOX /\n"),
		LIST("RETURN yields nothing for INBOX", STATUSES, &inbox,
		     .steps = {C("LIST \"\" INBOX RETURN (SUBSCRIBED CHILDREN SPECIAL-USE)"), S("$ OK\r\n"),
			       C("LIST \"\" INBOX"), C("LSUB \"\" INBOX"),
			       S("* LIST () \"/\" INBOX\r\n$ OK\r\n$ OK\r\n")},
		     .expected = "done OK\nINBOX /\n"),
		LIST("RETURN hides special uses", PLAIN " LIST-EXTENDED LIST-STATUS", &counts,
		     .steps = {C("LIST \"\" \"*\" RETURN (SUBSCRIBED CHILDREN STATUS (MESSAGES))"),
			       S("* LIST (\\Subscribed) \"/\" a\r\n* STATUS a (MESSAGES 4)\r\n$ OK\r\n"),
			       C("LIST \"\" \"*\""), S("* LIST (\\Sent) \"/\" a\r\n$ OK\r\n")},
		     .expected = "done OK\na / subscribed sent messages=4\n"),
		LIST("RETURN shows special uses", PLAIN " LIST-EXTENDED", &names,
		     .steps = {C("LIST \"\" \"*\" RETURN (SUBSCRIBED CHILDREN)"),
			       S("* LIST (\\Sent) \"/\" a\r\n$ OK\r\n")},
		     .expected = "done OK\na / sent\n"),
	};
	(void)state;
	play_scripts(scripts);
}

static void test_plain(void **state)
{
	static const struct script scripts[] = {
		LIST("names", PLAIN, &names,
		     .steps = {C("LIST \"\" \"*\""), C(LSUB),
			       S("* LIST (\\HasChildren) \".\" INBOX\r\n* LIST () \".\" INBOX.a\r\n$ OK\r\n"
				 "* LSUB () \".\" INBOX.a\r\n* LSUB (\\Noselect) \".\" INBOX\r\n"
				 "* LSUB () \".\" INBOX.gone\r\n$ OK\r\n")},
		     .expected = "done OK\nINBOX . children\nINBOX.a . subscribed\n"),
		LIST("subscriptions first", PLAIN, &names,
		     .steps = {C("LIST \"\" \"*\""), C(LSUB),
			       S("* LSUB () \".\" b\r\n* LIST () \".\" a\r\n* LIST () \".\" b\r\n$ OK\r\n$ OK\r\n")},
		     .expected = "done OK\na .\nb . subscribed\n"),
		LIST("no LSUB", PLAIN, &names,
		     .steps = {C("LIST \"\" \"*\""), C(LSUB), S("* LIST () \".\" a\r\n$ OK\r\n$ BAD what\r\n")},
		     .expected = "done OK\na .\n"),
		LIST("counts", PLAIN, &counts,
		     .steps = {C("LIST \"\" \"*\""), C(LSUB),
			       S("* LIST () \"/\" a\r\n* LIST (\\Noselect) \"/\" b\r\n* LIST () \"/\" &Jjo-\r\n"
				 "$ OK\r\n$ OK\r\n"),
			       C("STATUS a (MESSAGES)"), C("STATUS &Jjo- (MESSAGES)"),
			       S("* STATUS &Jjo- (MESSAGES 2)\r\n* STATUS a (MESSAGES 1)\r\n$ OK\r\n$ OK\r\n")},
		     .expected = "done OK\na / messages=1\nb / noselect\n\342\230\272 / messages=2\n"),
		LIST("ids", PLAIN " OBJECTID", &ids,
		     .steps = {C("LIST \"\" \"*\""), C(LSUB), S("* LIST () \"/\" \"a\"\r\n$ OK\r\n$ OK\r\n"),
			       C("STATUS a (MESSAGES)"), C("STATUS a (MAILBOXID)"),
			       S("* STATUS \"a\" (MESSAGES 1)\r\n$ OK\r\n* STATUS \"a\" (MAILBOXID (M1))\r\n$ OK\r\n")},
		     .expected = "done OK\na / messages=1 id=M1\n"),
		LIST("names that cannot be sent back get no STATUS", PLAIN, &counts,
		     .steps = {C("LIST \"\" \"*\""), C(LSUB),
			       S("* LIST () \"/\" \"a&b\"\r\n* LIST () \"/\" \"x\377y\"\r\n$ OK\r\n$ OK\r\n")},
		     .expected = "done OK\na&b /\nx\357\277\275y /\n"),
		LIST("refused", PLAIN, &names, .steps = {C("LIST \"\" \"*\""), C(LSUB), S("$ NO no\r\n$ OK\r\n")},
		     .expected = "done NO\n"),
	};
	(void)state;
	play_scripts(scripts);
}

static void test_oddities(void **state)
{
	static const struct script scripts[] = {
		LIST("INBOX twice", EXTENDED, &names,
		     .steps = {C(ASK), S("* LIST (\\HasNoChildren) \"/\" Inbox\r\n* LIST (\\Sent) \"/\" a\r\n"
					 "* LIST (\\Subscribed) \"/\" \"INBOX\"\r\n* LIST () NIL inbox\r\n$ OK\r\n")},
		     .expected = "done OK\nINBOX / leaf subscribed\na / sent\n"),
		LIST("attributes glued together, in any case, contradicting", EXTENDED, &names,
		     .steps = {C(ASK), S("* LIST (\\HasNoChildren\\SENT\\Junk) \"/\" a\r\n"
					 "* LIST (\\NoInferiors) \"/\" b\r\n"
					 "* LIST (\\HasChildren \\HasNoChildren \\Unknown \\Important) \"/\" c\r\n"
					 "* LIST (\\AllMail) \"/\" d\r\n* LIST (\\Starred \\Spam) \"/\" e\r\n"
					 "* LIST (\\Archive \\Drafts \\Flagged) \"/\" f\r\n$ OK\r\n")},
		     .expected = "done OK\na / leaf junk sent\nb / leaf noinferiors\nc / children important\nd / all\n"
				 "e / flagged junk\nf / archive drafts flagged\n"),
		LIST("empty names", EXTENDED, &names,
		     .steps = {C(ASK), S("* LIST (\\Noselect) \"/\" \"\"\r\n* LIST (\\Sent) \"/\" a\r\n$ OK\r\n")},
		     .expected = "done OK\na / sent\n"),
		LIST("STATUS is not understood", PLAIN, &counts,
		     .steps = {C("LIST \"\" \"*\""), C(LSUB),
			       S("* LIST () \"/\" a\r\n* LIST () \"/\" b\r\n$ OK\r\n$ OK\r\n"),
			       C("STATUS a (MESSAGES)"), C("STATUS b (MESSAGES)"),
			       S("$ BAD what\r\n* STATUS b (MESSAGES 2)\r\n$ OK\r\n")},
		     .expected = "done OK\na /\nb / messages=2\n"),
	};
	(void)state;
	play_scripts(scripts);
}

#define N_MANY 100

/* At most 32 STATUS at a time; and a server that understands none is not asked on. */
static void test_many_statuses(void **state)
{
	(void)state;
	for (int is_bad = 0; is_bad < 2; is_bad++) {
		struct fixture f;
		char line[100];
		size_t n_asked = 0;

		fixture_init(&f, PLAIN, NULL);
		f.call = start_list(&f, &counts);
		fake_turn(f.fake->network, 0);
		fake_expect(f.fake->transport, "LIST \"\" \"*\"");
		fake_expect(f.fake->transport, LSUB);
		for (int i = 0; i < N_MANY; i++) {
			snprintf(line, sizeof line, "* LIST () \"/\" m%d\r\n", i);
			fake_feed(f.fake->transport, line);
		}
		fake_reply(f.fake->transport, "$ OK\r\n$ OK\r\n");
		while (f.n_done == 0) {
			char *taken = strdup(fake_take(f.fake->transport));
			size_t n = 0;
			assert_non_null(taken);
			assert_true(*taken != '\0');
			for (const char *at = taken; *at; at = strstr(at, "\r\n") + 2, n++) {
				char tag[32];
				assert_int_equal(sscanf(at, "%31s STATUS", tag), 1);
				snprintf(line, sizeof line, "%s %s\r\n", tag, is_bad ? "BAD what" : "OK");
				fake_feed(f.fake->transport, line);
			}
			assert_true(n <= 32);
			n_asked += n;
			free(taken);
		}
		if (is_bad) {
			assert_true(n_asked <= 35);
		} else {
			assert_int_equal(n_asked, N_MANY);
		}
		assert_true(span_starts_with(gp_buffer_span(&f.log), "done OK\nm0 /\nm1 /\n"));
		fixture_deinit(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_extended), cmocka_unit_test(test_fallbacks),     cmocka_unit_test(test_plain),
		cmocka_unit_test(test_oddities), cmocka_unit_test(test_many_statuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
