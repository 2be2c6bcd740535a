#include "gateway/worker.h"

#include <stdlib.h>

struct work {
	uv_work_t request;
	struct gateway_loop *loop; /* borrow */
	void (*run)(void *ctx);
	void (*done)(void *ctx);
	void *ctx; /* borrow: its owner's until done() */
};

static void run(uv_work_t *request)
{
	struct work *work = request->data;

	work->run(work->ctx);
}

/* Nothing cancels it: `status` is always 0. */
static void ran(uv_work_t *request, int status)
{
	struct work *work = request->data;
	void (*done)(void *ctx) = work->done;
	void *ctx = work->ctx;

	(void)status;
	/* It may start timers, and the wait may have been long. */
	gp_timers_set_now(&work->loop->timers, uv_now(&work->loop->uv));
	free(work);
	done(ctx);
}

bool gateway_work(struct api_app *app, void (*run_fn)(void *ctx), void (*done)(void *ctx), void *ctx)
{
	struct work *work = malloc(sizeof *work);

	if (!work) {
		return false;
	}
	*work = (struct work){.loop = app->work_ctx, .run = run_fn, .done = done, .ctx = ctx};
	work->request.data = work;
	if (uv_queue_work(&work->loop->uv, &work->request, run, ran) != 0) {
		free(work);
		return false;
	}
	return true;
}
