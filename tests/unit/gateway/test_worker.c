#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "gateway/worker.h"

struct task {
	pthread_t loop_thread;
	struct gateway_loop *loop;
	bool is_elsewhere, is_run, is_back;
	unsigned *n_done;
	uv_sem_t *go; /* run() waits for it; NULL: it does not */
	bool is_now;  /* the timers' clock was the loop's when it was done */
};

static void task_run(void *ctx)
{
	struct task *task = ctx;

	if (task->go) {
		uv_sem_wait(task->go);
	}
	task->is_elsewhere = !pthread_equal(pthread_self(), task->loop_thread);
	task->is_run = true;
}

static void task_done(void *ctx)
{
	struct task *task = ctx;

	task->is_back = pthread_equal(pthread_self(), task->loop_thread) != 0;
	task->is_now = task->loop->timers.now_ms == uv_now(&task->loop->uv);
	++*task->n_done;
}

static void expect_done(const struct task *task)
{
	assert_true(task->is_run);
	assert_true(task->is_elsewhere);
	assert_true(task->is_back);
}

/* Elsewhere and back, with the loop free meanwhile. */
static void elsewhere(void **state)
{
	struct gateway_loop loop;
	struct api_app app = {.work_ctx = &loop};
	unsigned n_done = 0;
	uv_sem_t go;
	(void)state;

	assert_int_equal(uv_sem_init(&go, 0), 0);
	assert_int_equal(gateway_loop_init(&loop), 0);
	struct task task = {.loop_thread = pthread_self(), .loop = &loop, .n_done = &n_done, .go = &go};
	assert_true(gateway_work(&app, task_run, task_done, &task));
	assert_int_equal(n_done, 0);
	for (unsigned i = 0; i < 10; i++) {
		uv_run(&loop.uv, UV_RUN_NOWAIT);
	}
	assert_int_equal(n_done, 0);
	uv_sem_post(&go);
	while (n_done == 0) {
		uv_run(&loop.uv, UV_RUN_ONCE);
	}
	expect_done(&task);
	assert_true(task.is_now);
	gateway_loop_deinit(&loop);
	uv_sem_destroy(&go);
}

/* The end of the program waits for what is under way. */
static void at_the_end(void **state)
{
	enum { N_TASKS = 10 };
	struct gateway_loop loop;
	struct api_app app = {.work_ctx = &loop};
	struct task tasks[N_TASKS];
	unsigned n_done = 0;
	uv_sem_t go;
	(void)state;

	assert_int_equal(uv_sem_init(&go, 0), 0);
	assert_int_equal(gateway_loop_init(&loop), 0);
	for (unsigned i = 0; i < N_TASKS; i++) {
		tasks[i] = (struct task){
			.loop_thread = pthread_self(), .loop = &loop, .n_done = &n_done, .go = i == 0 ? &go : NULL};
		assert_true(gateway_work(&app, task_run, task_done, &tasks[i]));
	}
	uv_sem_post(&go);
	gateway_loop_deinit(&loop);
	assert_int_equal(n_done, N_TASKS);
	for (unsigned i = 0; i < N_TASKS; i++) {
		expect_done(&tasks[i]);
	}
	uv_sem_destroy(&go);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(elsewhere),
		cmocka_unit_test(at_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
