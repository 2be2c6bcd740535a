#include "tests/support/fault.h"

static struct {
	enum fault_kind kind;
	size_t n;
	bool is_armed, is_lasting, has_struck;
	size_t counts[FAULT_N_KINDS];
	unsigned depth; /* calls into the program that have not returned */
	void (*on_strike)(void);
} plan;

const char *fault_name(enum fault_kind kind)
{
	static const char *const names[] = {
#define X(name, text) text,
		FAULT_MAP(X)
#undef X
	};

	return names[kind];
}

void fault_arm(enum fault_kind kind, size_t n, bool is_lasting)
{
	plan.kind = kind;
	plan.n = n;
	plan.is_lasting = is_lasting;
	plan.is_armed = n > 0;
	plan.has_struck = false;
	for (size_t i = 0; i < FAULT_N_KINDS; i++) {
		plan.counts[i] = 0;
	}
}

void fault_disarm(void)
{
	plan.is_armed = false;
}

bool fault_has_struck(void)
{
	return plan.has_struck;
}

size_t fault_count(enum fault_kind kind)
{
	return plan.counts[kind];
}

void fault_on_strike(void (*fn)(void))
{
	plan.on_strike = fn;
}

/* ---- whose code runs ---- */

void fault_enter(void)
{
	plan.depth++;
}

void fault_leave(void)
{
	plan.depth--;
}

unsigned fault_pause(void)
{
	unsigned depth = plan.depth;

	plan.depth = 0;
	return depth;
}

void fault_resume(unsigned depth)
{
	plan.depth = depth;
}

bool fault_is_in_program(void)
{
	return plan.depth > 0;
}

/* ---- the moments ---- */

static void strike(void)
{
	plan.has_struck = true;
	if (plan.on_strike) {
		unsigned depth = fault_pause();
		plan.on_strike();
		fault_resume(depth);
	}
}

bool fault_strikes(enum fault_kind kind)
{
	size_t n = ++plan.counts[kind];

	if (!plan.is_armed || plan.kind != kind || (plan.is_lasting ? n < plan.n : n != plan.n)) {
		return false;
	}
	strike();
	return true;
}

bool fault_cuts(enum fault_kind kind, size_t len, size_t *passes_out)
{
	size_t before = plan.counts[kind];

	plan.counts[kind] += len;
	if (!plan.is_armed || plan.kind != kind || plan.counts[kind] < plan.n ||
	    (before >= plan.n && !plan.is_lasting)) {
		return false;
	}
	strike();
	*passes_out = before >= plan.n ? 0 : plan.n - before;
	return true;
}
