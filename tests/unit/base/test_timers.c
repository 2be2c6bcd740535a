#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/timers.h"

enum { N = 200 };

struct log {
	struct gp_timers timers;
	struct gp_timer timer[N];
	int fired[N * 4];
	size_t n_fired;
	size_t n_changed;
};

static struct log *log_of(struct gp_timer *timer)
{
	return timer->ctx;
}

static void fire(struct gp_timer *timer)
{
	struct log *log = log_of(timer);

	assert_false(gp_timer_is_running(timer));
	log->fired[log->n_fired++] = (int)(timer - log->timer);
}

static void fire_and_start_again(struct gp_timer *timer)
{
	fire(timer);
	gp_timer_start(timer, 0);
}

static void fire_and_stop_next(struct gp_timer *timer)
{
	fire(timer);
	gp_timer_stop(timer + 1);
}

static void count_change(void *ctx)
{
	((struct log *)ctx)->n_changed++;
}

static void setup(struct log *log, gp_timer_fn fn)
{
	*log = (struct log){.n_fired = 0};
	gp_timers_init(&log->timers);
	log->timers.changed = count_change;
	log->timers.changed_ctx = log;
	for (size_t i = 0; i < N; i++) {
		gp_timer_init(&log->timer[i], &log->timers, fn, log);
	}
}

static void test_order(void **state)
{
	(void)state;
	static struct log log;
	uint64_t at;

	setup(&log, fire);
	assert_false(gp_timers_next(&log.timers, &at));
	gp_timers_set_now(&log.timers, 1000);
	gp_timers_set_now(&log.timers, 10); /* never back */
	uint32_t seed = 5;
	for (int i = 0; i < N; i++) {
		seed = seed * 1664525u + 1013904223u;
		gp_timer_start(&log.timer[i], (seed >> 16) % 50);
	}
	for (int i = 0; i < N; i += 3) {
		gp_timer_stop(&log.timer[i]);
		gp_timer_stop(&log.timer[i]);
	}
	assert_true(gp_timers_next(&log.timers, &at));
	assert_in_range(at, 1000, 1050);
	uint64_t times[N];
	uint64_t sequences[N];
	for (int i = 0; i < N; i++) {
		times[i] = log.timer[i].at_ms;
		sequences[i] = log.timer[i].sequence;
	}
	for (uint64_t now = 1000; now < 1050; now++) {
		size_t before = log.n_fired;
		gp_timers_run(&log.timers, now);
		for (size_t i = before; i < log.n_fired; i++) {
			assert_true(times[log.fired[i]] == now);
			assert_true(i == before || sequences[log.fired[i - 1]] < sequences[log.fired[i]]);
			assert_int_not_equal(log.fired[i] % 3, 0);
		}
	}
	assert_int_equal(log.n_fired, N - (N + 2) / 3);
	assert_false(gp_timers_next(&log.timers, &at));
	gp_timers_deinit(&log.timers);
}

static void test_start_inside(void **state)
{
	(void)state;
	static struct log log;

	setup(&log, fire_and_start_again);
	gp_timer_start(&log.timer[0], 0);
	gp_timers_run(&log.timers, 0);
	assert_int_equal(log.n_fired, 1);
	gp_timers_run(&log.timers, 0);
	assert_int_equal(log.n_fired, 2);
	gp_timers_deinit(&log.timers);
	assert_false(gp_timer_is_running(&log.timer[0]));
}

static void test_stop_inside_and_restart(void **state)
{
	(void)state;
	static struct log log;

	setup(&log, fire_and_stop_next);
	gp_timer_start(&log.timer[0], 5);
	gp_timer_start(&log.timer[1], 5);
	gp_timer_start(&log.timer[2], 9);
	gp_timer_start(&log.timer[2], 5);
	gp_timers_run(&log.timers, 5);
	assert_int_equal(log.n_fired, 2);
	assert_int_equal(log.fired[0], 0);
	assert_int_equal(log.fired[1], 2);
	gp_timers_deinit(&log.timers);
}

static void test_changed(void **state)
{
	(void)state;
	static struct log log;

	setup(&log, fire);
	gp_timer_start(&log.timer[0], 10);
	assert_int_equal(log.n_changed, 1);
	gp_timer_start(&log.timer[1], 20); /* not the first: nothing to look at */
	assert_int_equal(log.n_changed, 1);
	gp_timer_start(&log.timer[2], 5);
	assert_int_equal(log.n_changed, 2);
	gp_timers_run(&log.timers, 5);
	assert_int_equal(log.n_changed, 3);
	gp_timers_deinit(&log.timers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_start_inside),
		cmocka_unit_test(test_stop_inside_and_restart),
		cmocka_unit_test(test_changed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
