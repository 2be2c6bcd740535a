/* A case as it runs, line by line: see README.md. */
#ifndef GP_TESTS_WIRE_RUN_H
#define GP_TESTS_WIRE_RUN_H

#include "tests/wire/script.h"
#include "tests/wire/world.h"

struct run {
	struct world world;
	const struct script_case *test; /* borrow */
	size_t at;                      /* the next line */
};

void run_begin(struct run *run, const struct script_case *test, enum world_split split, uint64_t seed);
/* The next line with what belongs to it; false: there is none. */
bool run_next(struct run *run);
/* The client sends all of its upload that is wanted now; false: there was nothing. */
bool run_send_wanted(struct run *run, struct world_request *request);

#endif
