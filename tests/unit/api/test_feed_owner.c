/* A batch of events goes to a stream of the account that it is of, or the program ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/feed_internal.h"
#include "tests/unit/strict_end.h"

struct told {
	unsigned n;
};

static void on_events(void *ctx, struct span text)
{
	struct told *told = ctx;

	assert_true(span_equal_text(text, "event: created\n\n"));
	told->n++;
}

static const struct api_listener_events events = {.events = on_events};

static struct imap_credential *credential(const char *username)
{
	struct imap_credential *made = NULL;

	assert_int_equal(imap_credential_new(span_of(username), SPAN_LIT("secret"), &made), GP_OK);
	return made;
}

/* Tells a stream of `owner`, on the feed of ann. */
static void tell(struct imap_credential *ann, struct imap_credential *owner, struct told *told)
{
	struct api_hub hub = {.credential = ann};
	struct api_feed feed = {.hub = &hub};
	struct api_listener stream = {
		.feed = &feed, .credential = owner, .has_begun = true, .events = &events, .ctx = told};
	struct gp_buffer text;

	gp_buffer_init(&text, GP_KIB);
	assert_int_equal(gp_buffer_append(&text, SPAN_LIT("event: created\n\n")), GP_OK);
	feed_tell(&stream, &text);
	gp_buffer_deinit(&text);
}

struct pair {
	struct imap_credential *ann, *bob;
};

static void tell_bob_of_ann(void *ctx)
{
	struct pair *pair = ctx;
	struct told told = {0};

	tell(pair->ann, pair->bob, &told);
}

static void test_events_of_another_account_are_not_told(void **state)
{
	(void)state;
	struct imap_credential *ann = credential("ann"), *again = credential("ann"), *bob = credential("bob");
	struct told told = {0};

	tell(ann, ann, &told);
	tell(ann, again, &told);
	assert_int_equal(told.n, 2);

	expect_abort(tell_bob_of_ann, &(struct pair){ann, bob});
	imap_credential_unref(&ann);
	imap_credential_unref(&again);
	imap_credential_unref(&bob);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events_of_another_account_are_not_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
