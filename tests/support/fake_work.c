#include "support/fake_work.h"

#include <stdlib.h>

struct fake_job {
	struct gp_timer timer;
	void (*run)(void *ctx);
	void (*done)(void *ctx);
	void *ctx;
};

static void fired(struct gp_timer *timer)
{
	struct fake_job job = *(struct fake_job *)timer->ctx;

	free(timer->ctx);
	job.run(job.ctx);
	job.done(job.ctx);
}

bool fake_work(struct api_app *app, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx)
{
	struct fake_job *job = malloc(sizeof *job);

	if (!job) {
		return false;
	}
	*job = (struct fake_job){.run = run, .done = done, .ctx = ctx};
	gp_timer_init(&job->timer, app->timers, fired, job);
	gp_timer_start(&job->timer, app->work_ctx ? *(const uint64_t *)app->work_ctx : 0);
	return true;
}
