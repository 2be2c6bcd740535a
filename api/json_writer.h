/*
 * JSON as it is written: typed appenders into a buffer, without a tree in between, for
 * documents with many members (message rows, part trees). Small documents are made
 * with Jansson (api/reply.h); docs/decisions/0002-json-writer.md says why.
 *
 * Every text comes out as valid UTF-8 (U+FFFD for what is not) and escaped, so no data
 * can make invalid JSON. What is the caller's business: that what is opened is closed,
 * that a member is a key and then one value, and that keys do not repeat. The bytes are
 * those that Jansson writes, compact or indented by two.
 *
 * The first failure sticks: appenders after it do nothing, and
 * api_json_writer_status() tells. GP_LIMIT is the buffer's cap. What the buffer then
 * holds is a part of a document: throw it away, or truncate it to where it was good.
 *
 * A run of members may be written apart and put into its place later
 * (api_json_writer_run): its writer begins with the depth that the members will have.
 */
#ifndef GP_API_JSON_WRITER_H
#define GP_API_JSON_WRITER_H

#include "base/buffer.h"

struct api_json_writer {
	struct gp_buffer *out; /* borrow: what it holds already stays */
	enum gp_status status;
	unsigned depth; /* objects and arrays that are open */
	bool is_pretty;
	bool is_after_key;
	bool needs_comma; /* something stands before in the object or array that is open */
};

void api_json_writer_init(struct api_json_writer *writer, struct gp_buffer *out, bool is_pretty, unsigned depth);

static inline enum gp_status api_json_writer_status(const struct api_json_writer *writer)
{
	return writer->status;
}
/* The end of a document: a newline. Returns the status of all that was written. */
enum gp_status api_json_writer_finish(struct api_json_writer *writer) GP_MUST_USE;
/* For a caller that could not make a value; GP_OK is a no-op. */
void api_json_writer_fail(struct api_json_writer *writer, enum gp_status status);

void api_json_writer_object(struct api_json_writer *writer);
void api_json_writer_object_end(struct api_json_writer *writer);
void api_json_writer_array(struct api_json_writer *writer);
void api_json_writer_array_end(struct api_json_writer *writer);

/* A key from the program's own text, written as it is. */
void api_json_writer_plain_key(struct api_json_writer *writer, struct span name);
/* A key from data. */
void api_json_writer_text_key(struct api_json_writer *writer, struct span name);
/* A string literal: its length is known to the compiler, and nothing in it needs an escape. */
#define api_json_writer_key(writer, literal) api_json_writer_plain_key((writer), SPAN_LIT(literal))

/* A string; NIL is null. */
void api_json_writer_text(struct api_json_writer *writer, struct span text);
/* The same for NUL-terminated text; NULL is null. */
void api_json_writer_string(struct api_json_writer *writer, const char *text);
/* A string in pieces, each repaired by itself. */
void api_json_writer_text_begin(struct api_json_writer *writer);
void api_json_writer_text_piece(struct api_json_writer *writer, struct span piece);
void api_json_writer_text_end(struct api_json_writer *writer);

void api_json_writer_number(struct api_json_writer *writer, uint64_t number);
/* As a decimal string, for numbers that do not survive JavaScript. */
void api_json_writer_number_text(struct api_json_writer *writer, uint64_t number);
void api_json_writer_bool(struct api_json_writer *writer, bool value);
void api_json_writer_null(struct api_json_writer *writer);
/* RFC 3339, "2026-01-31T12:00:00Z", or with an offset in minutes (one of a day or more
 * counts as none); null outside of the years 0000 to 9999. */
void api_json_writer_time(struct api_json_writer *writer, int64_t seconds, int offset_minutes);

/* Members (or elements) that a writer of this depth has made, between which and what
 * stands around them only commas are missing. Nothing, when it is empty. */
void api_json_writer_run(struct api_json_writer *writer, struct span run);

/* The decimal digits of `number`, without a NUL; returns how many. */
#define API_JSON_WRITER_DIGITS 20
size_t api_json_writer_digits(uint64_t number, char digits_out[API_JSON_WRITER_DIGITS]);

#endif
