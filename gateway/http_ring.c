#include "gateway/http_ring.h"

#include <stdlib.h>

void http_ring_init(struct http_ring *ring)
{
	*ring = (struct http_ring){.data = NULL};
}

void http_ring_deinit(struct http_ring *ring)
{
	free(ring->data);
	http_ring_init(ring);
}

static void copy_out(const struct http_ring *ring, char *out, size_t len)
{
	size_t first = ring->size - ring->at;

	if (first > len) {
		first = len;
	}
	memcpy(out, ring->data + ring->at, first);
	if (len > first) {
		memcpy(out + first, ring->data, len - first);
	}
}

/* A new block, with what is held at its beginning. */
static bool resize(struct http_ring *ring, size_t size)
{
	char *data = malloc(size);

	if (!data) {
		return false;
	}
	if (ring->len > 0) {
		copy_out(ring, data, ring->len);
	}
	free(ring->data);
	ring->data = data;
	ring->size = size;
	ring->at = 0;
	return true;
}

enum gp_status http_ring_write(struct http_ring *ring, struct span bytes)
{
	if (bytes.len == 0) {
		return GP_OK;
	}
	if (bytes.len > http_ring_room(ring)) {
		return GP_LIMIT;
	}
	size_t needed = ring->len + bytes.len;
	if (needed > ring->size) {
		size_t size = ring->size ? ring->size : HTTP_RING_MIN;
		while (size < needed) {
			size *= 2;
		}
		if (!resize(ring, size)) {
			return GP_NO_MEMORY;
		}
	}
	size_t end = (ring->at + ring->len) & (ring->size - 1);
	size_t first = ring->size - end;
	if (first > bytes.len) {
		first = bytes.len;
	}
	memcpy(ring->data + end, bytes.ptr, first);
	if (bytes.len > first) {
		memcpy(ring->data, bytes.ptr + first, bytes.len - first);
	}
	ring->len = needed;
	if (needed > ring->peak) {
		ring->peak = needed;
	}
	return GP_OK;
}

size_t http_ring_read(struct http_ring *ring, char *out, size_t size)
{
	size_t len = ring->len < size ? ring->len : size;

	if (len == 0) {
		return 0;
	}
	copy_out(ring, out, len);
	ring->at = (ring->at + len) & (ring->size - 1);
	ring->len -= len;
	if (ring->len == 0) {
		/* Little was in it: the next ones will be small too. */
		if (ring->size > HTTP_RING_MIN && ring->peak <= ring->size / 8) {
			http_ring_deinit(ring);
		}
		ring->at = 0;
		ring->peak = 0;
	}
	return len;
}
