/* Any bytes as a state: what is taken is written as the same text again, and one that
 * only detects can be made of it. */
#include <stdlib.h>

#include "api/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct api_state state, detect, copy;
	struct gp_buffer text;
	struct span given = span_make((const char *)data, size);

	api_state_init(&state);
	api_state_init(&detect);
	api_state_init(&copy);
	gp_buffer_init(&text, API_STATE_MAX);
	if (api_state_parse(given, &state) == GP_OK) {
		uint64_t n_messages = 0;
		for (size_t i = 0; i < state.n_runs; i++) {
			n_messages += state.runs[i].n;
		}
		require(state.kind != API_STATE_FLAGS || n_messages == imap_uidset_count(&state.uids));
		require(state.uidvalidity > 0 && state.n_pieces > 0 && state.pieces[0].from == 1);
		require(api_state_write(&state, API_STATE_MAX, &text) == GP_OK);
		require(span_equal(gp_buffer_span(&text), given));
		require(api_state_copy(&copy, &state) == GP_OK && api_state_is_equal(&copy, &state));
		require(api_state_to_detect(&state, &detect) == GP_OK);
	}
	gp_buffer_deinit(&text);
	api_state_deinit(&copy);
	api_state_deinit(&detect);
	api_state_deinit(&state);
	return 0;
}
