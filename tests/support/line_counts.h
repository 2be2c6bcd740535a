/*
 * ./test coverage counts the lines that a process has reached when it exits. A child that
 * ends otherwise keeps what it has counted with this; in other builds it does nothing.
 */
#ifndef GP_TESTS_SUPPORT_LINE_COUNTS_H
#define GP_TESTS_SUPPORT_LINE_COUNTS_H

#ifdef GATEPOST_COVERAGE
void __gcov_dump(void);
#endif

static inline void line_counts_keep(void)
{
#ifdef GATEPOST_COVERAGE
	__gcov_dump();
#endif
}

#endif
