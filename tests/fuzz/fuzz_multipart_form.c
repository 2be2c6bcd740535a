/* Any bytes as a form, whole and in pieces: the same parts, names in UTF-8, no more bytes
 * than there were. The first byte says how the pieces are cut. */
#include <stdlib.h>

#include "api/multipart_form.h"
#include "base/limits.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition) {
		abort();
	}
}

struct told {
	struct gp_buffer text;
	size_t n_data;
	bool is_in_part;
};

static void put(struct told *told, struct span text)
{
	require(gp_buffer_append(&told->text, text) == GP_OK);
}

static enum gp_status on_part(void *ctx, const struct api_form_part *part, struct gp_error *error)
{
	struct told *told = ctx;

	(void)error;
	require(!told->is_in_part && utf8_is_valid(part->name) && utf8_is_valid(part->filename));
	told->is_in_part = true;
	put(told, SPAN_LIT("<"));
	put(told, part->name);
	put(told, part->has_filename ? SPAN_LIT("|") : SPAN_LIT("/"));
	put(told, part->filename);
	put(told, part->type);
	put(told, SPAN_LIT(">"));
	return GP_OK;
}

static enum gp_status on_data(void *ctx, struct span bytes, struct gp_error *error)
{
	struct told *told = ctx;

	(void)error;
	require(told->is_in_part && bytes.len > 0);
	told->n_data += bytes.len;
	put(told, bytes);
	return GP_OK;
}

static enum gp_status on_part_end(void *ctx, struct gp_error *error)
{
	struct told *told = ctx;

	(void)error;
	require(told->is_in_part);
	told->is_in_part = false;
	put(told, SPAN_LIT("."));
	return GP_OK;
}

static const struct api_form_events events = {.part = on_part, .data = on_data, .part_end = on_part_end};

static enum gp_status parse(struct span bytes, size_t step, struct told *told)
{
	struct gp_error error = {0};
	struct api_form *form = api_form_new(SPAN_LIT("b"), &events, told);
	enum gp_status status = GP_OK;
	size_t n_bytes = bytes.len;

	require(form != NULL);
	while (bytes.len > 0 && status == GP_OK) {
		status = api_form_feed(form, span_slice(bytes, 0, step), &error);
		bytes = span_from(bytes, step);
	}
	if (status == GP_OK) {
		status = api_form_finish(form, &error);
	}
	require(status == error.status && utf8_is_valid(span_of(error.text)));
	require(told->n_data <= n_bytes && (status != GP_OK || !told->is_in_part));
	api_form_free(&form);
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct told whole = {.n_data = 0}, pieces = {.n_data = 0};
	struct span boundary;

	if (size == 0) {
		return 0;
	}
	struct span bytes = span_make((const char *)data + 1, size - 1);
	if (api_form_boundary(bytes, &boundary)) {
		require(boundary.len > 0 && boundary.len <= API_MAX_BOUNDARY);
	}
	gp_buffer_init(&whole.text, 4 * GP_MIB);
	gp_buffer_init(&pieces.text, 4 * GP_MIB);
	enum gp_status status = parse(bytes, bytes.len + 1, &whole);
	require(parse(bytes, (size_t)data[0] + 1, &pieces) == status);
	if (status == GP_OK) {
		require(span_equal(gp_buffer_span(&whole.text), gp_buffer_span(&pieces.text)));
	}
	gp_buffer_deinit(&whole.text);
	gp_buffer_deinit(&pieces.text);
	return 0;
}
