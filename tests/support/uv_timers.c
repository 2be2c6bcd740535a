#include "tests/support/uv_timers.h"

static void on_timer(uv_timer_t *timer)
{
	struct uv_timers *pump = timer->data;

	gp_timers_run(&pump->timers, uv_now(timer->loop));
}

static void aim(struct uv_timers *pump)
{
	uint64_t at_ms;
	uint64_t now_ms = uv_now(pump->timer.loop);

	if (!gp_timers_next(&pump->timers, &at_ms)) {
		uv_timer_stop(&pump->timer);
	} else {
		uv_timer_start(&pump->timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
	}
}

static void on_prepare(uv_prepare_t *prepare)
{
	aim(prepare->data);
}

/* The loop may have nothing else to wait for, and would not come to the prepare. */
static void on_changed(void *ctx)
{
	struct uv_timers *pump = ctx;

	if (!uv_is_closing((uv_handle_t *)&pump->timer)) {
		aim(pump);
	}
}

void uv_timers_init(struct uv_timers *pump, uv_loop_t *loop)
{
	gp_timers_init(&pump->timers);
	gp_timers_set_now(&pump->timers, uv_now(loop));
	pump->timers.changed = on_changed;
	pump->timers.changed_ctx = pump;
	uv_timer_init(loop, &pump->timer);
	pump->timer.data = pump;
	uv_prepare_init(loop, &pump->prepare);
	pump->prepare.data = pump;
	uv_prepare_start(&pump->prepare, on_prepare);
	uv_unref((uv_handle_t *)&pump->prepare);
}

void uv_timers_deinit(struct uv_timers *pump)
{
	gp_timers_deinit(&pump->timers);
	uv_close((uv_handle_t *)&pump->timer, NULL);
	uv_close((uv_handle_t *)&pump->prepare, NULL);
}
