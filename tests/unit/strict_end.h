/*
 * That the program ends, by abort(), where going on would be worse: run in a child.
 */
#ifndef TEST_STRICT_END_H
#define TEST_STRICT_END_H

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/line_counts.h"

/* abort() goes on to end the process when this has returned. */
static inline void on_expected_abort(int number)
{
	(void)number;
	line_counts_keep();
}

static inline void expect_abort(void (*work)(void *ctx), void *ctx)
{
	int status = 0;

	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, on_expected_abort); /* cmocka's would go on */
		if (!freopen("/dev/null", "w", stderr)) {
			_exit(2);
		}
		work(ctx);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

#endif
