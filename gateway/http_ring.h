/*
 * The bytes between a handler that streams and a client that reads: a ring that
 * grows with what is written, up to HTTP_RING_MAX, and gives memory back when it has
 * run empty with little in it (an event stream holds 4 KiB, a download its window).
 */
#ifndef GP_GATEWAY_HTTP_RING_H
#define GP_GATEWAY_HTTP_RING_H

#include "base/limits.h"
#include "base/span.h"
#include "base/status.h"

#define HTTP_RING_MIN (4 * GP_KIB)
#define HTTP_RING_MAX (512 * GP_KIB)

struct http_ring {
	char *data;  /* own; NULL while nothing was written */
	size_t size; /* allocated: a power of two */
	size_t at;   /* of the first byte */
	size_t len;
	size_t peak; /* the most that was held since it was last empty */
};

void http_ring_init(struct http_ring *ring);
void http_ring_deinit(struct http_ring *ring);
static inline size_t http_ring_room(const struct http_ring *ring)
{
	return HTTP_RING_MAX - ring->len;
}
/* All or nothing: GP_LIMIT when it is more than the room, GP_NO_MEMORY. */
enum gp_status http_ring_write(struct http_ring *ring, struct span bytes) GP_MUST_USE;
/* Takes at most `size` bytes and returns how many. */
size_t http_ring_read(struct http_ring *ring, char *out, size_t size);

#endif
