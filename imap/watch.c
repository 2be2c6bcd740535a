#include "imap/watch.h"

#include <stdlib.h>

#include "imap/pool_internal.h"

struct imap_watch {
	struct imap_pool *pool;             /* borrow */
	struct imap_credential *credential; /* own (a reference) */
	const struct imap_watch_events *events;
	void *ctx;
	struct gp_timer timer;
};

static void on_timer(struct gp_timer *timer)
{
	struct imap_watch *self = timer->ctx;

	self->events->up(self->ctx);
}

struct imap_watch *imap_watch_start(struct imap_pool *pool, const struct imap_watch_spec *spec,
				    const struct imap_watch_events *events, void *ctx)
{
	struct imap_watch *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	self->pool = pool;
	self->credential = imap_credential_ref(spec->credential);
	self->events = events;
	self->ctx = ctx;
	gp_timer_init(&self->timer, pool->config.timers, on_timer, self);
	gp_timer_start(&self->timer, 0);
	return self;
}

enum gp_status imap_watch_set(struct imap_watch *watch, bool is_all, const struct span *mailboxes, size_t n_mailboxes)
{
	(void)is_all;
	(void)mailboxes;
	(void)n_mailboxes;
	gp_timer_start(&watch->timer, 0);
	return GP_OK;
}

void imap_watch_stop(struct imap_watch **watch)
{
	struct imap_watch *self = *watch;

	*watch = NULL;
	if (self) {
		gp_timer_stop(&self->timer);
		imap_credential_unref(&self->credential);
		free(self);
	}
}
