/* api_app.work on the virtual clock: run() and done() both come on the next turn, or after
 * as many milliseconds as `app->work_ctx`, a uint64_t, says. */
#ifndef TEST_FAKE_WORK_H
#define TEST_FAKE_WORK_H

#include "api/app.h"

/* `app->timers` must be set. */
bool fake_work(struct api_app *app, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx);

#endif
