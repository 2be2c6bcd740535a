/*
 * A watch on a pool on a fake network, and a log of what it tells. Included by one test
 * file each.
 */
#ifndef TEST_IMAP_WATCH_SUPPORT_H
#define TEST_IMAP_WATCH_SUPPORT_H

#include "imap/watch.h"
#include "tests/unit/imap/pool_support.h"

static struct imap_watch *watch;
static char told[8192]; /* since the last expect_told() */
/* called in each callback when set */
static void (*on_told)(const char *what);

static inline void tell(const char *line)
{
	size_t len = strlen(told);

	snprintf(told + len, sizeof told - len, "%s;", line);
	if (on_told) {
		on_told(line);
	}
}

static inline void on_changed(void *ctx, struct span mailbox, const struct imap_status *status)
{
	char line[256];

	assert_ptr_equal(ctx, &watch);
	if (status) {
		snprintf(line, sizeof line, "%.*s m=%u n=%u h=%u", SPAN_ARGS(mailbox), status->messages,
			 status->uidnext, (unsigned)status->highestmodseq);
	} else {
		snprintf(line, sizeof line, "%.*s", SPAN_ARGS(mailbox));
	}
	tell(line);
}

static inline void on_listed(void *ctx)
{
	assert_ptr_equal(ctx, &watch);
	tell("listed");
}

static inline void on_up(void *ctx)
{
	assert_ptr_equal(ctx, &watch);
	tell("up");
}

static inline void on_down(void *ctx, const struct gp_error *error, bool is_final)
{
	char line[128];

	assert_ptr_equal(ctx, &watch);
	snprintf(line, sizeof line, "down %s%s", gp_status_name(error->status), is_final ? " final" : "");
	tell(line);
}

static const struct imap_watch_events watch_events = {
	.changed = on_changed, .listed = on_listed, .up = on_up, .down = on_down};

static inline void expect_told(const char *expected)
{
	if (strcmp(told, expected) != 0) {
		fail_msg("expected \"%s\", but this was told: \"%s\"", expected, told);
	}
	told[0] = '\0';
}

/* So many other watches probe that none does. */
#define TOO_MANY_LIVELY 1000

/* All mailboxes, or up to three; runs a turn. It does not probe. */
static inline void watch_mailboxes(const char *first, const char *second, const char *third)
{
	const char *names[] = {first, second, third};
	struct span spans[3];
	size_t n = 0;

	while (n < 3 && names[n]) {
		spans[n] = span_of(names[n]);
		n++;
	}
	const struct imap_watch_spec spec = {.credential = bob, .is_all = n == 0, .mailboxes = spans, .n_mailboxes = n};
	told[0] = '\0';
	on_told = NULL;
	pool->n_lively = TOO_MANY_LIVELY;
	watch = imap_watch_start(pool, &spec, &watch_events, &watch);
	assert_non_null(watch);
	expect_told("");
	fake_turn(net, 0);
}

static inline void stop_watch(void)
{
	imap_watch_stop(&watch);
	assert_null(watch);
	fake_turn(net, 0);
	expect_told("");
}

#define NOTIFY_CAPS "IMAP4rev1 LITERAL+ NOTIFY IDLE CONDSTORE"
#define IDLE_CAPS "IMAP4rev1 LITERAL+ IDLE CONDSTORE LIST-EXTENDED LIST-STATUS SPECIAL-USE"
#define POLL_CAPS "IMAP4rev1 LITERAL+ CONDSTORE LIST-EXTENDED LIST-STATUS SPECIAL-USE"
#define NOTIFY_SET "NOTIFY SET STATUS (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))"

#endif
