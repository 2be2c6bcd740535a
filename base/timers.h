/*
 * Deadlines on a clock that can be virtual. A timer is embedded in its owner;
 * the set is a binary heap, so starting and stopping cost O(log n). The program
 * drives one set from one uv_timer (gateway/loop.c); tests move the clock by
 * hand. Nothing here reads the system's clock.
 *
 * A timer fires once, from gp_timers_run(), never from gp_timer_start(); it is
 * stopped before its function is called, so the function may start it again or
 * free its owner. A delay of 0 means "on the next turn of the loop" and is how
 * a callback is put off until the caller has returned.
 */
#ifndef GP_BASE_TIMERS_H
#define GP_BASE_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gp_timer;
typedef void (*gp_timer_fn)(struct gp_timer *timer);

struct gp_timers {
	struct gp_timer **heap; /* own */
	size_t n_heap, size;
	uint64_t now_ms;            /* monotonic; set by gp_timers_run() and gp_timers_set_now() */
	uint64_t sequence;          /* breaks ties: first started fires first */
	void (*changed)(void *ctx); /* the next moment may have moved: look again; may be NULL */
	void *changed_ctx;
};

struct gp_timer {
	struct gp_timers *set; /* borrow */
	gp_timer_fn fn;
	void *ctx; /* the owner, for fn */
	uint64_t at_ms, sequence;
	size_t slot; /* index in the heap + 1; 0: not running */
};

void gp_timers_init(struct gp_timers *timers);
void gp_timers_deinit(struct gp_timers *timers);
void gp_timers_set_now(struct gp_timers *timers, uint64_t now_ms);
/* The moment of the earliest timer, false when there is none. */
bool gp_timers_next(const struct gp_timers *timers, uint64_t *at_ms_out);
/* Moves the clock to `now_ms` and fires what is due. A timer started with delay 0
 * while this runs fires in the next run. */
void gp_timers_run(struct gp_timers *timers, uint64_t now_ms);

void gp_timer_init(struct gp_timer *timer, struct gp_timers *set, gp_timer_fn fn, void *ctx);
/* (Re)starts it. Memory is reserved per running timer; when it ends, the process
 * cannot keep its deadlines and stops. */
void gp_timer_start(struct gp_timer *timer, uint64_t delay_ms);
void gp_timer_start_at(struct gp_timer *timer, uint64_t at_ms);
void gp_timer_stop(struct gp_timer *timer);

static inline bool gp_timer_is_running(const struct gp_timer *timer)
{
	return timer->slot != 0;
}

#endif
