/*
 * A growing byte buffer that cannot be made without a cap. Appending past the
 * cap fails with GP_LIMIT and leaves the content as it was; an allocation that
 * fails gives GP_NO_MEMORY, likewise. There is always a NUL behind the content
 * (not counted), so text can be read as a C string.
 */
#ifndef GP_BASE_BUFFER_H
#define GP_BASE_BUFFER_H

#include "base/span.h"
#include "base/status.h"

struct gp_buffer {
	char *data;  /* own; NULL while nothing was ever appended */
	size_t len;  /* bytes of content */
	size_t size; /* bytes allocated */
	size_t cap;  /* the most that `len` may become; > 0 */
};

void gp_buffer_init(struct gp_buffer *buffer, size_t cap);
/* Frees the content; the buffer can be used again with the same cap. */
void gp_buffer_deinit(struct gp_buffer *buffer);

enum gp_status gp_buffer_append(struct gp_buffer *buffer, struct span bytes) GP_MUST_USE;
enum gp_status gp_buffer_append_char(struct gp_buffer *buffer, char c) GP_MUST_USE;
enum gp_status gp_buffer_printf(struct gp_buffer *buffer, const char *format, ...) GP_PRINTF(2, 3) GP_MUST_USE;
/* Room for `len` more bytes at the end; `*room_out` points at it and is valid
 * until the next call. gp_buffer_commit() says how many were written. */
enum gp_status gp_buffer_reserve(struct gp_buffer *buffer, size_t len, char **room_out) GP_MUST_USE;
void gp_buffer_commit(struct gp_buffer *buffer, size_t len);
/* Removes `len` bytes from the front. */
void gp_buffer_consume(struct gp_buffer *buffer, size_t len);
void gp_buffer_truncate(struct gp_buffer *buffer, size_t len);
/* Empties it and gives the memory back when more than `keep` bytes are held. */
void gp_buffer_reset(struct gp_buffer *buffer, size_t keep);
/* Hands the allocation over: free() it. "" (allocated) when empty, NULL when even
 * that cannot be had. The buffer is empty afterwards. */
char *gp_buffer_take(struct gp_buffer *buffer, size_t *len_out);
/* Overwrites the content before freeing it: for secrets. */
void gp_buffer_wipe(struct gp_buffer *buffer);

static inline struct span gp_buffer_span(const struct gp_buffer *buffer)
{
	return (struct span){buffer->data ? buffer->data : "", buffer->len};
}

#endif
