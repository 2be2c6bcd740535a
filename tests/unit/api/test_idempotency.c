/* Keys of many accounts side by side, and what the memory is held to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/idempotency.h"
#include "base/limits.h"
#include "support/fake_exchange.h"

struct world {
	struct gp_timers timers;
	struct api_app app;
};

static void world_init(struct world *world)
{
	gp_timers_init(&world->timers);
	gp_timers_set_now(&world->timers, 1000);
	world->app = (struct api_app){.timers = &world->timers, .now_us = fake_now_us};
	world->app.idempotency = api_idempotency_new(&world->timers);
	assert_non_null(world->app.idempotency);
}

static void world_deinit(struct world *world)
{
	api_idempotency_free(&world->app.idempotency);
	assert_null(world->app.idempotency);
	gp_timers_deinit(&world->timers);
}

/* Enters, and answers with `text` where it is new: the status, and whether it was replayed. */
static unsigned play(struct world *world, const char *user, const char *key, const char *body, const char *text,
		     bool *is_replayed_out, bool *is_right_out)
{
	struct fake_exchange fake;
	struct api_request request = {.app = &world->app, .exchange = &fake.exchange};
	struct gp_buffer reply;

	assert_int_equal(imap_credential_new(span_of(user), SPAN_LIT("secret"), &request.credential), GP_OK);
	fake_exchange_init(&fake, "POST", "/mailboxes");
	fake_exchange_add_header(&fake, "Idempotency-Key", key);
	fake_exchange_set_body(&fake, span_of(body));
	fake.exchange.app = &world->app;
	if (api_idempotency_enter(&request)) {
		gp_buffer_init(&reply, 64 * GP_KIB);
		assert_int_equal(gp_buffer_append(&reply, span_of(text)), GP_OK);
		api_reply_buffer(&fake.exchange, 201, "application/json", &reply);
	}
	assert_true(fake.is_replied);
	assert_null(fake.exchange.idempotent);
	*is_replayed_out = fake_exchange_reply_header(&fake, "Idempotent-Replayed") != NULL;
	*is_right_out = span_equal_text(gp_buffer_span(&fake.body), text);
	unsigned status = fake.status;
	fake_exchange_deinit(&fake);
	imap_credential_unref(&request.credential);
	return status;
}

static void test_each_account_has_its_own(void **state)
{
	struct world world;
	char user[16];
	bool is_replayed, is_right;

	(void)state;
	world_init(&world);
	/* more than there are buckets */
	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 3000; i++) {
			snprintf(user, sizeof user, "user%u", i);
			assert_int_equal(play(&world, user, "key", "{}", user, &is_replayed, &is_right), 201);
			assert_int_equal(is_replayed, round == 1);
			assert_true(is_right);
		}
	}
	world_deinit(&world);
}

static void test_each_key_is_for_one_body(void **state)
{
	struct world world;
	bool is_replayed, is_right;

	(void)state;
	world_init(&world);
	assert_int_equal(play(&world, "ann", "key", "{\"a\":1}", "x", &is_replayed, &is_right), 201);
	assert_int_equal(play(&world, "ann", "key", "{\"a\":2}", "x", &is_replayed, &is_right), 422);
	assert_int_equal(play(&world, "ann", "Key", "{\"a\":2}", "x", &is_replayed, &is_right), 201);
	assert_false(is_replayed);
	assert_int_equal(play(&world, "ann", "\"key\"", "{\"a\":1}", "x", &is_replayed, &is_right), 201);
	assert_true(is_replayed);
	world_deinit(&world);
}

static void test_the_oldest_are_forgotten(void **state)
{
	struct world world;
	static char text[16 * 1024];
	char key[16];
	bool is_replayed, is_right;

	(void)state;
	/* by number */
	world_init(&world);
	for (unsigned i = 0; i <= GP_MAX_IDEMPOTENCY_KEYS; i++) {
		snprintf(key, sizeof key, "k%u", i);
		assert_int_equal(play(&world, "ann", key, "{}", "x", &is_replayed, &is_right), 201);
	}
	play(&world, "ann", "k1", "{}", "x", &is_replayed, &is_right);
	assert_true(is_replayed);
	play(&world, "ann", "k0", "{}", "x", &is_replayed, &is_right);
	assert_false(is_replayed);
	world_deinit(&world);
	/* by bytes: each is nearly 16 KiB, and 16 MiB may be kept */
	memset(text, 'x', sizeof text - 1);
	world_init(&world);
	for (unsigned i = 0; i < 1200; i++) {
		snprintf(key, sizeof key, "k%u", i);
		assert_int_equal(play(&world, "ann", key, "{}", text, &is_replayed, &is_right), 201);
	}
	play(&world, "ann", "k1199", "{}", text, &is_replayed, &is_right);
	assert_true(is_replayed && is_right);
	play(&world, "ann", "k0", "{}", text, &is_replayed, &is_right);
	assert_false(is_replayed);
	/* by age */
	gp_timers_set_now(&world.timers, world.timers.now_ms + GP_IDEMPOTENCY_MS + 1);
	play(&world, "ann", "k1199", "{}", text, &is_replayed, &is_right);
	assert_false(is_replayed);
	world_deinit(&world);
}

static void test_what_is_too_long_is_not_kept(void **state)
{
	struct world world;
	static char text[17 * 1024];
	bool is_replayed, is_right;

	(void)state;
	memset(text, 'x', sizeof text - 1);
	world_init(&world);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(play(&world, "ann", "key", "{}", text, &is_replayed, &is_right), 201);
		assert_false(is_replayed);
	}
	world_deinit(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_account_has_its_own),
		cmocka_unit_test(test_each_key_is_for_one_body),
		cmocka_unit_test(test_the_oldest_are_forgotten),
		cmocka_unit_test(test_what_is_too_long_is_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
