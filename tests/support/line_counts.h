/*
 * ./test coverage counts the lines that a process has reached when it exits. A child that
 * ends otherwise keeps what it has counted with line_counts_keep(); one that may not write
 * files counts in its parent's memory, when line_counts_fork() made it. In other builds these
 * are nothing, and fork().
 */
#ifndef GP_TESTS_SUPPORT_LINE_COUNTS_H
#define GP_TESTS_SUPPORT_LINE_COUNTS_H

#include <unistd.h>

#ifdef GATEPOST_COVERAGE
void __gcov_dump(void);
/* The parent waits for the child's end. */
#define line_counts_fork() vfork()
#else
#define line_counts_fork() fork()
#endif

static inline void line_counts_keep(void)
{
#ifdef GATEPOST_COVERAGE
	__gcov_dump();
#endif
}

#endif
