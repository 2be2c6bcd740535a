/* JSON values that cannot fail silently: see api/reply.h; large documents are written by
 * json_writer.c. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/json.h"
#include "api/reply.h"
#include "base/utf8.h"

/* Values that could not be made since the program began. One loop, one thread: what
 * moves it while an exchange is under way may concern that exchange, and an exchange
 * that saw it move answers 503 rather than a document with a hole. */
static uint64_t n_failures;

static _Thread_local bool is_short;

static void *allocate(size_t size)
{
	void *memory = malloc(size);

	is_short |= !memory;
	return memory;
}

void api_json_init(void)
{
	json_set_alloc_funcs(allocate, free);
}

bool api_json_take_shortage(void)
{
	bool was_short = is_short;

	is_short = false;
	return was_short;
}

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
