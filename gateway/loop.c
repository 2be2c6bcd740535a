#include "gateway/loop.h"

#include <assert.h>
#include <signal.h>

/* How often timers and the pump may give each other work before libuv looks at its
 * descriptors again. */
#define MAX_ROUNDS 8

static bool is_due(const struct gateway_loop *loop)
{
	uint64_t at_ms;

	return gp_timers_next(&loop->timers, &at_ms) && at_ms <= uv_now(&loop->uv);
}

static void timer_fired(uv_timer_t *timer)
{
	struct gateway_loop *loop = timer->data;

	loop->is_armed = false; /* the turn that follows does the work */
}

static void arm_at(struct gateway_loop *loop, uint64_t at_ms)
{
	uint64_t now_ms = uv_now(&loop->uv);

	/* An earlier alarm stays: it costs at most one wake-up, and a set of timers whose
	 * first one moves with each request costs nothing. */
	if (loop->is_armed && loop->armed_at_ms <= at_ms) {
		return;
	}
	loop->is_armed = uv_timer_start(&loop->timer, timer_fired, at_ms > now_ms ? at_ms - now_ms : 0, 0) == 0;
	loop->armed_at_ms = at_ms;
}

static void turn(struct gateway_loop *loop)
{
	bool is_busy = false;
	uint64_t next_ms;

	for (unsigned round = 0; round < MAX_ROUNDS; round++) {
		gp_timers_set_now(&loop->timers, uv_now(&loop->uv));
		if (is_due(loop)) {
			gp_timers_run(&loop->timers, uv_now(&loop->uv));
		}
		is_busy = loop->turn && loop->turn(loop->turn_ctx);
		if (!is_busy && !is_due(loop)) {
			break;
		}
	}
	if (is_busy) {
		arm_at(loop, uv_now(&loop->uv));
	} else if (gp_timers_next(&loop->timers, &next_ms)) {
		arm_at(loop, next_ms);
	}
}

static void prepared(uv_prepare_t *prepare)
{
	turn(prepare->data);
}

static void checked(uv_check_t *check)
{
	turn(check->data);
}

static void signal_arrived(uv_signal_t *handle, int signal_number)
{
	struct gateway_loop *loop = handle->data;

	/* The last turn was before the wait, which may have been long. */
	gp_timers_set_now(&loop->timers, uv_now(&loop->uv));
	loop->signalled(loop->signalled_ctx, signal_number);
}

int gateway_loop_init(struct gateway_loop *loop)
{
	*loop = (struct gateway_loop){.turn = NULL};
	int rc = uv_loop_init(&loop->uv);
	if (rc != 0) {
		return rc;
	}
	gp_timers_init(&loop->timers);
	gp_timers_set_now(&loop->timers, uv_now(&loop->uv));
	/* These four cannot fail. */
	uv_timer_init(&loop->uv, &loop->timer);
	uv_prepare_init(&loop->uv, &loop->prepare);
	uv_check_init(&loop->uv, &loop->check);
	loop->timer.data = loop->prepare.data = loop->check.data = loop;
	uv_prepare_start(&loop->prepare, prepared);
	uv_check_start(&loop->check, checked);
	return 0;
}

void gateway_loop_deinit(struct gateway_loop *loop)
{
	uv_close((uv_handle_t *)&loop->timer, NULL);
	uv_close((uv_handle_t *)&loop->prepare, NULL);
	uv_close((uv_handle_t *)&loop->check, NULL);
	if (loop->is_watching_signals) {
		uv_close((uv_handle_t *)&loop->sigterm, NULL);
		uv_close((uv_handle_t *)&loop->sigint, NULL);
	}
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	int rc = uv_loop_close(&loop->uv);
	assert(rc == 0);
	(void)rc;
	gp_timers_deinit(&loop->timers);
}

int gateway_loop_watch_signals(struct gateway_loop *loop, void (*signalled)(void *ctx, int signal_number), void *ctx)
{
	int rc;

	loop->signalled = signalled;
	loop->signalled_ctx = ctx;
	rc = uv_signal_init(&loop->uv, &loop->sigterm);
	if (rc != 0) {
		return rc;
	}
	rc = uv_signal_init(&loop->uv, &loop->sigint);
	if (rc != 0) {
		uv_close((uv_handle_t *)&loop->sigterm, NULL);
		return rc;
	}
	loop->is_watching_signals = true;
	loop->sigterm.data = loop->sigint.data = loop;
	rc = uv_signal_start(&loop->sigterm, signal_arrived, SIGTERM);
	return rc != 0 ? rc : uv_signal_start(&loop->sigint, signal_arrived, SIGINT);
}

void gateway_loop_run(struct gateway_loop *loop)
{
	uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void gateway_loop_stop(struct gateway_loop *loop)
{
	uv_stop(&loop->uv);
}

uint64_t gateway_now_us(void)
{
	return uv_hrtime() / 1000;
}
