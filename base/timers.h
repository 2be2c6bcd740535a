/*
 * Deadlines on a clock that can be virtual. A timer is embedded in its owner, and so are
 * its links in the set, a pairing heap: starting one takes no memory and cannot fail,
 * and costs O(1), stopping O(log n) in the long run. The program drives one set from one
 * uv_timer (gateway/loop.c); tests move the clock by hand. Nothing here reads the
 * system's clock.
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
	struct gp_timer *first; /* link: the earliest; NULL when none runs */
	size_t n_running;
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
	/* link: in the heap, while it runs. None of a timer's children is before it; `before` is
	 * the elder sibling, or the parent of the eldest. */
	struct gp_timer *child, *next, *before;
	bool is_running;
};

void gp_timers_init(struct gp_timers *timers);
/* Stops them all. */
void gp_timers_deinit(struct gp_timers *timers);
void gp_timers_set_now(struct gp_timers *timers, uint64_t now_ms);
/* The moment of the earliest timer, false when there is none. */
bool gp_timers_next(const struct gp_timers *timers, uint64_t *at_ms_out);
/* Moves the clock to `now_ms` and fires what is due. A timer started with delay 0
 * while this runs fires in the next run. */
void gp_timers_run(struct gp_timers *timers, uint64_t now_ms);

void gp_timer_init(struct gp_timer *timer, struct gp_timers *set, gp_timer_fn fn, void *ctx);
/* (Re)starts it. */
void gp_timer_start(struct gp_timer *timer, uint64_t delay_ms);
void gp_timer_start_at(struct gp_timer *timer, uint64_t at_ms);
void gp_timer_stop(struct gp_timer *timer);

static inline bool gp_timer_is_running(const struct gp_timer *timer)
{
	return timer->is_running;
}

#endif
