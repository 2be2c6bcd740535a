/* Any bytes as a request target: what is parsed is valid, and encodes to what parses
 * to the same again. */
#include <stdlib.h>

#include "api/fields.h"
#include "api/query.h"
#include "api/target.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition) {
		abort();
	}
}

static void check_text(struct span text)
{
	require(!span_is_nil(text) && utf8_is_valid(text) && span_find_char(text, '\0') < 0 && text.ptr[text.len] == 0);
}

static void check_round_trip(struct span text, struct gp_arena *arena)
{
	struct api_target again;
	struct gp_error error = {0};
	char *encoded = api_percent_encode(arena, text);

	require(encoded != NULL);
	char *path = gp_arena_printf(arena, "/x/%s?v=%s", encoded, encoded);
	require(path != NULL);
	if (strlen(path) > GP_MAX_TARGET) {
		return;
	}
	require(api_target_parse(span_of(path), arena, &again, &error) == GP_OK);
	require(again.n_params == 1 && span_equal(again.params[0].value, text));
	require(text.len == 0 ? again.has_trailing_slash : span_equal(again.segments[1].text, text));
}

static void read_query(struct api_target *target, struct gp_arena *arena)
{
	static const char *const names[] = {"uid", "subject", "from"};
	struct api_query query;

	api_query_init(&query, target, arena);
	(void)api_query_number(&query, "limit", 1, 1000, 50);
	(void)api_query_tristate(&query, "seen");
	(void)api_fields_read(&query, names, 3, 7);
	enum gp_status status = api_query_finish(&query);
	require(status == query.error.status && (status == GP_OK || status == GP_INVALID));
	require(utf8_is_valid(span_of(query.error.text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gp_arena arena;
	struct api_target target;
	struct gp_error error = {0};

	gp_arena_init(&arena, 16 * GP_MIB);
	enum gp_status status = api_target_parse(span_make((const char *)data, size), &arena, &target, &error);
	require(status == error.status && utf8_is_valid(span_of(error.text)));
	if (status == GP_OK) {
		for (size_t i = 0; i < target.n_segments; i++) {
			check_text(target.segments[i].text);
			check_round_trip(target.segments[i].text, &arena);
		}
		for (size_t i = 0; i < target.n_params; i++) {
			check_text(target.params[i].name);
			check_text(target.params[i].value);
			require(!span_is_nil(target.params[i].raw_value));
		}
		read_query(&target, &arena);
	}
	gp_arena_deinit(&arena);
	return 0;
}
