#include "api/sink.h"

#include "base/limits.h"

/* A reader that took nothing for so long lets another stream onto its session. */
#define STALL_MS 200
#define KEEP (256 * GP_KIB)

static void on_stall(struct gp_timer *timer)
{
	struct api_sink *sink = timer->ctx;

	imap_lease_set_stalled(sink->job->lease, true);
}

void api_sink_init(struct api_sink *sink, struct api_job *job, void (*moved)(struct api_job *job))
{
	*sink = (struct api_sink){.job = job, .moved = moved};
	gp_timer_init(&sink->stall, job->app->timers, on_stall, sink);
	gp_buffer_init(&sink->waiting, GP_MAX_JSON_REPLY);
}

void api_sink_deinit(struct api_sink *sink)
{
	gp_timer_stop(&sink->stall);
	gp_buffer_deinit(&sink->waiting);
}

static void flush(struct api_sink *sink)
{
	struct api_exchange *exchange = sink->job->exchange;
	size_t room = exchange->ops->stream_room(exchange);
	struct span bytes = span_slice(gp_buffer_span(&sink->waiting), 0, room);

	if (bytes.len > 0) {
		exchange->ops->stream_write(exchange, bytes);
		gp_buffer_consume(&sink->waiting, bytes.len);
	}
	if (sink->waiting.len == 0) {
		gp_buffer_reset(&sink->waiting, KEEP);
	}
}

static void on_room(void *ctx)
{
	struct api_sink *sink = ctx;

	api_job_touch(sink->job);
	flush(sink);
	(void)api_sink_room(sink); /* it is not stalled any more, or is again */
	sink->moved(sink->job);
}

static const struct api_stream_events events = {.room = on_room};

enum gp_status api_sink_begin(struct api_sink *sink)
{
	if (!api_stream_may_begin(sink->job->exchange)) {
		return GP_NO_MEMORY;
	}
	api_job_touch(sink->job);
	api_stream_begin(sink->job->exchange, 200, -1, &events, sink);
	return GP_OK;
}

enum gp_status api_sink_write(struct api_sink *sink, struct span bytes)
{
	struct api_exchange *exchange = sink->job->exchange;

	if (sink->waiting.len == 0) {
		size_t room = exchange->ops->stream_room(exchange);
		struct span now = span_slice(bytes, 0, room);
		if (now.len > 0) {
			exchange->ops->stream_write(exchange, now);
		}
		bytes = span_from(bytes, now.len);
	}
	return bytes.len > 0 ? gp_buffer_append(&sink->waiting, bytes) : GP_OK;
}

bool api_sink_is_empty(const struct api_sink *sink)
{
	return sink->waiting.len == 0;
}

size_t api_sink_room(struct api_sink *sink)
{
	struct api_job *job = sink->job;
	size_t room = 2 * GP_STREAM_WINDOW; /* before the head: what is then empty */

	if (job->exchange->is_streaming) {
		room = sink->waiting.len > 0 ? 0 : job->exchange->ops->stream_room(job->exchange);
	}
	if (room >= GP_STREAM_WINDOW) {
		gp_timer_stop(&sink->stall);
		imap_lease_set_stalled(job->lease, false);
	} else if (!gp_timer_is_running(&sink->stall)) {
		gp_timer_start(&sink->stall, STALL_MS);
	}
	return room;
}

bool api_sink_is_ready(struct api_sink *sink)
{
	return api_sink_room(sink) >= GP_STREAM_WINDOW;
}

void api_sink_end(struct api_sink *sink)
{
	struct api_exchange *exchange = api_job_finish(sink->job);

	exchange->ops->stream_end(exchange, true);
}
