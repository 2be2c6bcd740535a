#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void gp_buffer_init(struct gp_buffer *buffer, size_t cap)
{
	*buffer = (struct gp_buffer){.cap = cap};
}

void gp_buffer_deinit(struct gp_buffer *buffer)
{
	free(buffer->data);
	gp_buffer_init(buffer, buffer->cap);
}

enum gp_status gp_buffer_reserve(struct gp_buffer *buffer, size_t len, char **room_out)
{
	if (len > buffer->cap - buffer->len) {
		return GP_LIMIT;
	}
	size_t need = buffer->len + len + 1;
	if (need > buffer->size) {
		size_t size = buffer->size ? buffer->size : 64;
		while (size < need) {
			size = size > SIZE_MAX / 2 ? need : size * 2;
		}
		if (size > buffer->cap + 1) {
			size = buffer->cap + 1;
		}
		char *data = realloc(buffer->data, size);
		if (!data) {
			return GP_NO_MEMORY;
		}
		buffer->data = data;
		buffer->size = size;
	}
	*room_out = buffer->data + buffer->len;
	return GP_OK;
}

void gp_buffer_commit(struct gp_buffer *buffer, size_t len)
{
	buffer->len += len;
	buffer->data[buffer->len] = '\0';
}

enum gp_status gp_buffer_append(struct gp_buffer *buffer, struct span bytes)
{
	char *room;
	enum gp_status status = gp_buffer_reserve(buffer, bytes.len, &room);

	if (status == GP_OK) {
		if (bytes.len > 0) {
			memcpy(room, bytes.ptr, bytes.len);
		}
		gp_buffer_commit(buffer, bytes.len);
	}
	return status;
}

enum gp_status gp_buffer_append_char(struct gp_buffer *buffer, char c)
{
	return gp_buffer_append(buffer, span_make(&c, 1));
}

enum gp_status gp_buffer_printf(struct gp_buffer *buffer, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0) {
		return GP_INVALID;
	}

	char *room;
	enum gp_status status = gp_buffer_reserve(buffer, (size_t)len, &room);
	if (status == GP_OK) {
		va_start(args, format);
		vsnprintf(room, (size_t)len + 1, format, args);
		va_end(args);
		gp_buffer_commit(buffer, (size_t)len);
	}
	return status;
}

void gp_buffer_consume(struct gp_buffer *buffer, size_t len)
{
	if (len == 0) {
		return;
	}
	buffer->len -= len;
	memmove(buffer->data, buffer->data + len, buffer->len + 1);
}

void gp_buffer_truncate(struct gp_buffer *buffer, size_t len)
{
	if (len < buffer->len) {
		buffer->len = len;
		buffer->data[len] = '\0';
	}
}

void gp_buffer_reset(struct gp_buffer *buffer, size_t keep)
{
	if (buffer->size > keep) {
		gp_buffer_deinit(buffer);
	} else {
		gp_buffer_truncate(buffer, 0);
	}
}

char *gp_buffer_take(struct gp_buffer *buffer, size_t *len_out)
{
	char *data = buffer->data;

	if (!data) {
		data = calloc(1, 1);
	}
	if (data && len_out) {
		*len_out = buffer->len;
	}
	gp_buffer_init(buffer, buffer->cap);
	return data;
}

void gp_buffer_wipe(struct gp_buffer *buffer)
{
	if (buffer->data) {
		explicit_bzero(buffer->data, buffer->size);
	}
	gp_buffer_deinit(buffer);
}
