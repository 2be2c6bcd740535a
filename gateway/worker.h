/*
 * Work on libuv's threads: what would hold up the loop for longer than a request may wait.
 * The same threads resolve names. Work cannot be stopped once it was given: at the end of
 * the program gateway_loop_deinit() waits for it, and `done` still comes.
 */
#ifndef GP_GATEWAY_WORKER_H
#define GP_GATEWAY_WORKER_H

#include "api/app.h"
#include "gateway/loop.h"

/* api_app.work, with `work_ctx` the loop. */
bool gateway_work(struct api_app *app, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx);

#endif
