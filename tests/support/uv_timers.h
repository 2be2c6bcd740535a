/*
 * Drives a set of timers from a real loop, for tests: its clock is uv_now()'s. One
 * uv_timer waits for the earliest, a uv_prepare looks before each wait what that is.
 * An unstopped timer keeps the loop running; the pump itself does not.
 */
#ifndef GP_TESTS_UV_TIMERS_H
#define GP_TESTS_UV_TIMERS_H

#include <uv.h>

#include "base/timers.h"

struct uv_timers {
	struct gp_timers timers;
	uv_timer_t timer;
	uv_prepare_t prepare;
};

/* The caller's memory, until the loop has run after uv_timers_deinit(). */
void uv_timers_init(struct uv_timers *pump, uv_loop_t *loop);
void uv_timers_deinit(struct uv_timers *pump);

#endif
