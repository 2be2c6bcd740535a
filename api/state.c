#include "api/state.h"

#include <inttypes.h>
#include <stdio.h>

bool api_state_write(const struct api_state *state, char state_out[API_STATE_SIZE])
{
	if (state->uidvalidity == 0) {
		return false;
	}
	if (state->highestmodseq != 0) {
		snprintf(state_out, API_STATE_SIZE, "%" PRIu32 ".%" PRIu64, state->uidvalidity, state->highestmodseq);
		return true;
	}
	if (!state->has_counts) {
		return false;
	}
	snprintf(state_out, API_STATE_SIZE, "%" PRIu32 ".%" PRIu32 ".%" PRIu32 ".%" PRIu32, state->uidvalidity,
		 state->uidnext, state->total, state->unread);
	return true;
}
