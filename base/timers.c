#include "base/timers.h"

#include <stdio.h>
#include <stdlib.h>

static bool is_before(const struct gp_timer *a, const struct gp_timer *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->sequence < b->sequence;
}

static void place(struct gp_timers *timers, struct gp_timer *timer, size_t index)
{
	timers->heap[index] = timer;
	timer->slot = index + 1;
}

static void sift_up(struct gp_timers *timers, size_t index)
{
	struct gp_timer *timer = timers->heap[index];

	while (index > 0) {
		size_t parent = (index - 1) / 2;
		if (!is_before(timer, timers->heap[parent])) {
			break;
		}
		place(timers, timers->heap[parent], index);
		index = parent;
	}
	place(timers, timer, index);
}

static void sift_down(struct gp_timers *timers, size_t index)
{
	struct gp_timer *timer = timers->heap[index];

	for (;;) {
		size_t child = index * 2 + 1;
		if (child >= timers->n_heap) {
			break;
		}
		if (child + 1 < timers->n_heap && is_before(timers->heap[child + 1], timers->heap[child])) {
			child++;
		}
		if (!is_before(timers->heap[child], timer)) {
			break;
		}
		place(timers, timers->heap[child], index);
		index = child;
	}
	place(timers, timer, index);
}

static void notify(struct gp_timers *timers)
{
	if (timers->changed) {
		timers->changed(timers->changed_ctx);
	}
}

void gp_timers_init(struct gp_timers *timers)
{
	*timers = (struct gp_timers){.heap = NULL};
}

void gp_timers_deinit(struct gp_timers *timers)
{
	for (size_t i = 0; i < timers->n_heap; i++) {
		timers->heap[i]->slot = 0;
	}
	free(timers->heap);
	gp_timers_init(timers);
}

void gp_timers_set_now(struct gp_timers *timers, uint64_t now_ms)
{
	if (now_ms > timers->now_ms) {
		timers->now_ms = now_ms;
	}
}

bool gp_timers_next(const struct gp_timers *timers, uint64_t *at_ms_out)
{
	if (timers->n_heap == 0) {
		return false;
	}
	*at_ms_out = timers->heap[0]->at_ms;
	return true;
}

void gp_timers_run(struct gp_timers *timers, uint64_t now_ms)
{
	gp_timers_set_now(timers, now_ms);
	uint64_t last = timers->sequence;

	while (timers->n_heap > 0) {
		struct gp_timer *timer = timers->heap[0];
		if (timer->at_ms > timers->now_ms || timer->sequence > last) {
			break;
		}
		gp_timer_stop(timer);
		timer->fn(timer);
	}
	notify(timers);
}

void gp_timer_init(struct gp_timer *timer, struct gp_timers *set, gp_timer_fn fn, void *ctx)
{
	*timer = (struct gp_timer){.set = set, .fn = fn, .ctx = ctx};
}

void gp_timer_start(struct gp_timer *timer, uint64_t delay_ms)
{
	gp_timer_start_at(timer, timer->set->now_ms + delay_ms);
}

void gp_timer_start_at(struct gp_timer *timer, uint64_t at_ms)
{
	struct gp_timers *timers = timer->set;

	gp_timer_stop(timer);
	if (timers->n_heap == timers->size) {
		size_t size = timers->size ? timers->size * 2 : 64;
		struct gp_timer **heap = realloc(timers->heap, size * sizeof *heap);
		if (!heap) {
			fputs("gatepost: out of memory for timers\n", stderr);
			abort();
		}
		timers->heap = heap;
		timers->size = size;
	}
	/* A moment that has passed is now: before it, it would go ahead of all that is due,
	 * and one that starts itself so again would be the only one ever to fire. */
	timer->at_ms = at_ms > timers->now_ms ? at_ms : timers->now_ms;
	timer->sequence = ++timers->sequence;
	timers->heap[timers->n_heap] = timer;
	timers->n_heap++;
	sift_up(timers, timers->n_heap - 1);
	if (timer->slot == 1) {
		notify(timers);
	}
}

void gp_timer_stop(struct gp_timer *timer)
{
	if (timer->slot == 0) {
		return;
	}
	struct gp_timers *timers = timer->set;
	size_t index = timer->slot - 1;
	struct gp_timer *moved = timers->heap[--timers->n_heap];

	timer->slot = 0;
	if (moved != timer) {
		place(timers, moved, index);
		sift_down(timers, index);
		sift_up(timers, moved->slot - 1);
	}
}
