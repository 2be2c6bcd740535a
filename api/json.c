/* JSON values that cannot fail silently: see api/reply.h; large documents are written by
 * json_writer.c. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/reply.h"
#include "base/limits.h"
#include "base/utf8.h"

/* Values that could not be made since the program began. One loop, one thread: what
 * moves it while an exchange is under way may concern that exchange, and an exchange
 * that saw it move answers 503 rather than a document with a hole. */
static uint64_t n_failures;

/* ---- reading ---- */

/*
 * What Jansson's lexer has no memory for it leaves out of a string, and believes all the
 * same that it is there: it reads on behind the end, or stops the program. So while a text
 * is read, memory that is refused is taken from here, and the text ends: what was read is
 * thrown away. A string's buffer is doubled, and each piece of a text makes few values.
 */
#define MAX_PIECE ((size_t)1024)
#define RESERVE (2 * GP_MAX_JSON_BODY + 256 * MAX_PIECE)

static _Alignas(max_align_t) char reserve[RESERVE]; /* not touched, it is no memory */

struct reading {
	struct span rest;
	bool is_short;
	size_t n_reserved;
};

static _Thread_local struct reading *reading; /* under way; NULL: none */

static void *allocate(size_t size)
{
	void *memory = malloc(size);

	if (!memory && reading && size <= RESERVE - reading->n_reserved) {
		memory = reserve + reading->n_reserved;
		reading->n_reserved += (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
		reading->n_reserved = reading->n_reserved < RESERVE ? reading->n_reserved : RESERVE;
	}
	if (reading && (!memory || reading->n_reserved > 0)) {
		reading->is_short = true;
	}
	return memory;
}

static void deallocate(void *memory)
{
	bool is_reserved = (uintptr_t)memory - (uintptr_t)reserve < sizeof reserve;

	if (!is_reserved) {
		free(memory);
	}
}

void api_json_init(void)
{
	json_set_alloc_funcs(allocate, deallocate);
}

static size_t next_piece(void *to, size_t room, void *ctx)
{
	struct reading *self = ctx;
	size_t n = self->is_short ? 0 : self->rest.len;

	n = n < room ? n : room;
	n = n < MAX_PIECE ? n : MAX_PIECE;
	if (n > 0) {
		memcpy(to, self->rest.ptr, n);
		self->rest = span_from(self->rest, n);
	}
	return n;
}

enum gp_status api_json_read(struct span text, size_t flags, json_t **value_out, json_error_t *where_out)
{
	struct reading self = {.rest = text};

	reading = &self;
	json_t *value = json_load_callback(next_piece, &self, flags, where_out);
	reading = NULL;
	if (self.is_short) {
		json_decref(value);
		return GP_NO_MEMORY;
	}
	*value_out = value;
	return value ? GP_OK : GP_INVALID;
}

/* ---- values ---- */

uint64_t api_json_failures(void)
{
	return n_failures;
}

void api_json_set(json_t *object, const char *name, json_t *value)
{
	if (json_object_set_new(object, name, value) != 0) {
		n_failures++;
	}
}

void api_json_append(json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) != 0) {
		n_failures++;
	}
}

json_t *api_json_text(struct span text)
{
	if (span_is_nil(text)) {
		return json_null();
	}
	if (utf8_is_valid(text)) {
		return json_stringn_nocheck(text.ptr, text.len);
	}

	struct gp_buffer repaired;
	json_t *value = NULL;
	gp_buffer_init(&repaired, text.len > SIZE_MAX / 4 ? SIZE_MAX / 4 : 3 * text.len + 1);
	if (utf8_append_repaired(&repaired, text, NULL) == GP_OK) {
		value = json_stringn_nocheck(gp_buffer_span(&repaired).ptr, repaired.len);
	}
	gp_buffer_deinit(&repaired);
	return value;
}

json_t *api_json_number_string(uint64_t number)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, number);
	return json_string(text);
}

struct sink {
	struct gp_buffer *out; /* borrow */
	enum gp_status status;
};

static int append_piece(const char *piece, size_t len, void *ctx)
{
	struct sink *sink = ctx;

	/* Jansson does not look at each answer: once a piece is missing, no other follows it. */
	if (sink->status == GP_OK) {
		sink->status = gp_buffer_append(sink->out, span_make(piece, len));
	}
	return sink->status == GP_OK ? 0 : -1;
}

enum gp_status api_json_write(const json_t *value, bool is_pretty, struct gp_buffer *out)
{
	struct sink sink = {.out = out, .status = GP_OK};
	size_t flags = JSON_ENCODE_ANY | (is_pretty ? JSON_INDENT(2) : JSON_COMPACT);

	if (!value || json_dump_callback(value, append_piece, &sink, flags) != 0 || sink.status != GP_OK) {
		return sink.status != GP_OK ? sink.status : GP_NO_MEMORY;
	}
	return gp_buffer_append_char(out, '\n');
}
