/*
 * The event loop: one libuv loop, the program's deadlines (base/timers.h) on one
 * uv_timer, and the two signals that end the program.
 *
 * Contract of one iteration. libuv waits, then calls back what became ready; around
 * the wait, in prepare and in check, a *turn* runs: the clock is set, due timers
 * fire, and `turn` (the HTTP server's pump) is called; this repeats a few times while
 * one gives work to the other, so that a timer of delay 0 and a resumed request cost
 * no extra wake-up. What is still due after that keeps the loop from sleeping. With
 * nothing to do the process sleeps until the earliest timer.
 */
#ifndef GP_GATEWAY_LOOP_H
#define GP_GATEWAY_LOOP_H

#include <uv.h>

#include "base/timers.h"

struct gateway_loop {
	uv_loop_t uv;
	struct gp_timers timers;
	/* Called in each turn. True: there is more to do at once. May be NULL. */
	bool (*turn)(void *ctx);
	void *turn_ctx;
	/* SIGTERM and SIGINT; set by gateway_loop_watch_signals(). */
	void (*signalled)(void *ctx, int signal_number);
	void *signalled_ctx;
	bool is_watching_signals;
	uv_timer_t timer;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_signal_t sigterm, sigint;
	bool is_armed;
	uint64_t armed_at_ms; /* when is_armed */
};

/* 0 or a libuv error code. */
int gateway_loop_init(struct gateway_loop *loop);
/* Closes its handles and runs the loop until every handle is closed. What others
 * started in it must be closed, or closing. */
void gateway_loop_deinit(struct gateway_loop *loop);
/* 0 or a libuv error code. */
int gateway_loop_watch_signals(struct gateway_loop *loop, void (*signalled)(void *ctx, int signal_number), void *ctx);
/* Until gateway_loop_stop(). */
void gateway_loop_run(struct gateway_loop *loop);
void gateway_loop_stop(struct gateway_loop *loop);
/* Monotonic microseconds. */
uint64_t gateway_now_us(void);

#endif
