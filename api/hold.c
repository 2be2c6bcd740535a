#include "api/app.h"

#include "base/limits.h"

bool api_hold(struct api_app *app, size_t *n_held, size_t n_bytes)
{
	if (n_bytes > *n_held && n_bytes - *n_held > GP_MAX_HELD - app->n_held) {
		return false;
	}
	app->n_held = app->n_held - *n_held + n_bytes;
	*n_held = n_bytes;
	return true;
}

void api_hold_end(struct api_app *app, size_t *n_held)
{
	app->n_held -= *n_held;
	*n_held = 0;
}
