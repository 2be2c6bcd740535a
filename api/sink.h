/*
 * Where a streamed body goes: the HTTP side's room, and behind it a buffer for what one
 * step of the work made beyond the room. Nothing new is begun while the sink is not
 * ready, so that the buffer holds no more than one step makes, and a slow reader stops
 * the reading upstream.
 *
 * The owner begins the body by api_sink_begin(), writes, and asks api_sink_is_ready()
 * before the next step; when it is not, `moved` will come. A reader that takes nothing
 * lets other downloads onto its session. The deadline counts from the last progress.
 */
#ifndef GP_API_SINK_H
#define GP_API_SINK_H

#include "api/job.h"

struct api_sink {
	struct api_job *job; /* borrow */
	void (*moved)(struct api_job *job);
	struct gp_timer stall;
	struct gp_buffer waiting; /* own: what there was no room for */
};

/* In zeroed memory, before the job starts or in its run. `moved` comes from the loop,
 * when there is more room than there was. */
void api_sink_init(struct api_sink *sink, struct api_job *job, void (*moved)(struct api_job *job));
/* At the end of a run. */
void api_sink_deinit(struct api_sink *sink);

/* The head; its header fields are set. */
enum gp_status api_sink_begin(struct api_sink *sink) GP_MUST_USE;
/* GP_NO_MEMORY, GP_LIMIT: the body must break off. */
enum gp_status api_sink_write(struct api_sink *sink, struct span bytes) GP_MUST_USE;
/* Nothing waits, and there is room for a window. */
bool api_sink_is_ready(struct api_sink *sink);
/* How many bytes may come now: for imap_stream_want(). */
size_t api_sink_room(struct api_sink *sink);
/* All was written: ends the job, and the body. What waits must have gone. */
void api_sink_end(struct api_sink *sink);
bool api_sink_is_empty(const struct api_sink *sink);

#endif
