#include "base/timers.h"

static bool is_before(const struct gp_timer *a, const struct gp_timer *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->sequence < b->sequence;
}

/* Two heaps, not empty, become one: the later of the two roots is the other's eldest child. */
static struct gp_timer *meld(struct gp_timer *a, struct gp_timer *b)
{
	struct gp_timer *root = is_before(b, a) ? b : a, *child = root == a ? b : a;

	child->before = root;
	child->next = root->child;
	if (root->child) {
		root->child->before = child;
	}
	root->child = child;
	root->next = root->before = NULL;
	return root;
}

/* Siblings become one heap: by twos first, then each pair with those to its right. */
static struct gp_timer *meld_siblings(struct gp_timer *eldest)
{
	struct gp_timer *pairs = NULL, *root = NULL;

	while (eldest) {
		struct gp_timer *a = eldest, *b = a->next;
		eldest = b ? b->next : NULL;
		a->next = a->before = NULL;
		if (b) {
			b->next = b->before = NULL;
			a = meld(a, b);
		}
		a->next = pairs;
		pairs = a;
	}
	while (pairs) {
		struct gp_timer *pair = pairs;
		pairs = pair->next;
		pair->next = NULL;
		root = root ? meld(root, pair) : pair;
	}
	return root;
}

/* With all below it. */
static void cut(struct gp_timer *timer)
{
	if (timer->before->child == timer) {
		timer->before->child = timer->next;
	} else {
		timer->before->next = timer->next;
	}
	if (timer->next) {
		timer->next->before = timer->before;
	}
}

static void notify(struct gp_timers *timers)
{
	if (timers->changed) {
		timers->changed(timers->changed_ctx);
	}
}

void gp_timers_init(struct gp_timers *timers)
{
	*timers = (struct gp_timers){.first = NULL};
}

void gp_timers_deinit(struct gp_timers *timers)
{
	while (timers->first) {
		gp_timer_stop(timers->first);
	}
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
	if (!timers->first) {
		return false;
	}
	*at_ms_out = timers->first->at_ms;
	return true;
}

void gp_timers_run(struct gp_timers *timers, uint64_t now_ms)
{
	gp_timers_set_now(timers, now_ms);
	uint64_t last = timers->sequence;

	while (timers->first) {
		struct gp_timer *timer = timers->first;
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
	/* A moment that has passed is now: before it, it would go ahead of all that is due,
	 * and one that starts itself so again would be the only one ever to fire. */
	timer->at_ms = at_ms > timers->now_ms ? at_ms : timers->now_ms;
	timer->sequence = ++timers->sequence;
	timer->is_running = true;
	timers->n_running++;
	timers->first = timers->first ? meld(timers->first, timer) : timer;
	if (timers->first == timer) {
		notify(timers);
	}
}

void gp_timer_stop(struct gp_timer *timer)
{
	if (!timer->is_running) {
		return;
	}
	struct gp_timers *timers = timer->set;
	struct gp_timer *below = meld_siblings(timer->child);

	if (timer == timers->first) {
		timers->first = below;
	} else {
		cut(timer);
		if (below) {
			timers->first = meld(timers->first, below);
		}
	}
	timer->child = timer->next = timer->before = NULL;
	timer->is_running = false;
	timers->n_running--;
}
