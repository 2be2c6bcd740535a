#include "api/hub_internal.h"

void feed_free(struct api_feed **feed)
{
	*feed = NULL;
}

bool feed_has_streams(const struct api_feed *feed)
{
	(void)feed;
	return false;
}

bool feed_wants(const struct api_feed *feed, void (*add)(void *ctx, struct span mailbox), void *ctx)
{
	(void)feed;
	(void)add;
	(void)ctx;
	return false;
}

void feed_changed(struct api_feed *feed, struct span mailbox, const struct imap_status *status)
{
	(void)feed;
	(void)mailbox;
	(void)status;
}

void feed_listed(struct api_feed *feed)
{
	(void)feed;
}

void feed_up(struct api_feed *feed)
{
	(void)feed;
}

void feed_end(struct api_feed *feed, const struct gp_error *error)
{
	(void)feed;
	(void)error;
}
